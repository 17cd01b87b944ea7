//! Ops that move elements, or work along one axis, on values of more than five axes: one axis at a
//! time, between all axes before it and all after it.

use mlc_ir::infer::{normalize_axes, normalize_axis};
use mlc_ir::ops::{
    Concat, Fill, Gather, GatherAlongAxis, LayerNorm, Linear, Matmul, Pad, Reverse, SliceByIndex,
    Split, Stack, Tile,
};
use mlc_ir::{AttrValue, Builder, Dim, Node, Op, OpResult, Operands, Value};
use mlc_pass::Result;
use mlc_target::io::MAX_RANK;

use crate::high_rank::{HighRank, around, view};

impl HighRank {
    /// A value for the only result of an op of this kind; none where it has no such spelling.
    pub(crate) fn moved(
        &self,
        b: &mut Builder<'_>,
        (op, operands): (&Op, &Operands),
        shape: &[Dim],
    ) -> Result<Option<Value>> {
        let all = operands.all();
        Ok(match op {
            Op::Cumsum(_) | Op::Argsort(_) | Op::ReduceArgmax(_) | Op::ReduceArgmin(_) => {
                self.along_axis(b, all[0], op)?
            }
            Op::Gather(op) if op.batch_dims == 0 => self.gather(b, op, (all[0], all[1]))?,
            Op::GatherAlongAxis(op) => self.gather_along(b, op, (all[0], all[1]))?,
            Op::GatherNd(op) if op.batch_dims == 0 => {
                let Some([x, indices, _]) = self.by_tuples(b, (all[0], all[1], None))? else {
                    return Ok(None);
                };
                Some(op.clone().build(b, x, indices)?)
            }
            Op::ScatterNd(op) => {
                let parts = self.by_tuples(b, (all[0], all[1], Some(all[2])))?;
                let Some([data, indices, updates]) = parts else { return Ok(None) };
                Some(op.clone().build(b, data, indices, updates)?)
            }
            Op::Stack(op) => self.stack(b, op, all)?,
            Op::SliceByIndex(op) => self.slice(b, op, all)?,
            Op::Reverse(op) => self.reverse(b, op, all[0])?,
            Op::Tile(_) => self.tile(b, (all[0], all[1]))?,
            Op::Pad(op) => self.pad(b, op, (all[0], all[1]))?,
            Op::Matmul(op) => self.matmul(b, op, (all[0], all[1], shape))?,
            Op::Linear(op) => self.linear(b, op, operands)?,
            Op::LayerNorm(op) => self.layer_norm(b, op, operands)?,
            Op::Fill(_) => match Dim::product(shape).as_const() {
                Some(count) => {
                    let shape = b.ints(&[count])?;
                    Some(Fill {}.build(b, shape, operands.slot(1).first().copied())?)
                }
                None => None,
            },
            _ => None,
        })
    }

    /// The results of a split, under the shapes that the op gives them.
    pub(crate) fn split(
        &mut self,
        b: &mut Builder<'_>,
        (op, x, node): (&Split, Value, Node),
    ) -> Result<Option<Vec<Value>>> {
        let logical = self.logical(b, x)?;
        let axis = normalize_axis(op.axis, logical.len())?;
        let Some(x) = view(b, x, &around(&logical, axis))? else { return Ok(None) };
        let parts = Split { axis: 1, ..op.clone() }.build_many(b, x)?;
        let mut values = Vec::with_capacity(parts.len());
        for (part, result) in parts.into_iter().zip(b.results(node).to_vec()) {
            let shape = b.tensor(result)?.shape.clone();
            let Some(value) = self.finish(b, part, shape)? else { return Ok(None) };
            values.push(value);
        }
        Ok(Some(values))
    }

    fn along_axis(&self, b: &mut Builder<'_>, x: Value, op: &Op) -> Result<Option<Value>> {
        let spec = op.spec();
        let Some(at) = spec.attrs.iter().position(|attr| attr.name == "axis") else {
            return Ok(None);
        };
        let mut attrs: Vec<Option<AttrValue>> = op.attrs().into_iter().map(Some).collect();
        let Some(AttrValue::Int(axis)) = attrs[at] else { return Ok(None) };
        attrs[at] = Some(AttrValue::Int(1));
        let logical = self.logical(b, x)?;
        let axis = normalize_axis(axis, logical.len())?;
        let Some(x) = view(b, x, &around(&logical, axis))? else { return Ok(None) };
        let Some(Ok(op)) = Op::from_attrs(spec.name, &attrs) else { return Ok(None) };
        let mut operands = Operands::new();
        operands.push_slot([x]);
        let node = b.push(op, operands, Vec::new())?;
        Ok(Some(b.results(node)[0]))
    }

    fn gather(
        &self,
        b: &mut Builder<'_>,
        op: &Gather,
        (x, indices): (Value, Value),
    ) -> Result<Option<Value>> {
        let (logical, places) = (self.logical(b, x)?, self.logical(b, indices)?);
        let axis = normalize_axis(op.axis, logical.len())?;
        let Some(x) = view(b, x, &around(&logical, axis))? else { return Ok(None) };
        let Some(indices) = view(b, indices, &[Dim::product(&places)])? else { return Ok(None) };
        Ok(Some(Gather { axis: 1, ..op.clone() }.build(b, x, indices)?))
    }

    fn gather_along(
        &self,
        b: &mut Builder<'_>,
        op: &GatherAlongAxis,
        (x, indices): (Value, Value),
    ) -> Result<Option<Value>> {
        let (logical, places) = (self.logical(b, x)?, self.logical(b, indices)?);
        let axis = normalize_axis(op.axis, logical.len())?;
        let equal = logical.len() == places.len()
            && (0..logical.len()).all(|i| i == axis || logical[i] == places[i]);
        if !equal {
            return Ok(None);
        }
        let Some(x) = view(b, x, &around(&logical, axis))? else { return Ok(None) };
        let Some(indices) = view(b, indices, &around(&places, axis))? else { return Ok(None) };
        Ok(Some(GatherAlongAxis { axis: 1, ..op.clone() }.build(b, x, indices)?))
    }

    /// Operands of an op that takes tuples of indices: the axes behind those that a tuple picks are
    /// one, and so are those of the tuples.
    fn by_tuples(
        &self,
        b: &mut Builder<'_>,
        (data, indices, updates): (Value, Value, Option<Value>),
    ) -> Result<Option<[Value; 3]>> {
        let (logical, tuples) = (self.logical(b, data)?, self.logical(b, indices)?);
        let Some((picked, lead)) = tuples.split_last() else { return Ok(None) };
        let Some(picked) = picked.as_const().and_then(|n| usize::try_from(n).ok()) else {
            return Ok(None);
        };
        if picked > logical.len() || picked + 1 > MAX_RANK {
            return Ok(None);
        }
        let rest = Dim::product(&logical[picked..]);
        let mut dims = logical[..picked].to_vec();
        dims.push(rest.clone());
        let count = Dim::product(lead);
        let Some(data) = view(b, data, &dims)? else { return Ok(None) };
        let Some(indices) = view(b, indices, &[count.clone(), (picked as i64).into()])? else {
            return Ok(None);
        };
        let updates = match updates {
            Some(updates) => view(b, updates, &[count, rest])?,
            None => Some(data),
        };
        Ok(updates.map(|updates| [data, indices, updates]))
    }

    fn stack(&self, b: &mut Builder<'_>, op: &Stack, values: &[Value]) -> Result<Option<Value>> {
        let mut parts = Vec::new();
        for &value in values {
            let logical = self.logical(b, value)?;
            let axis = normalize_axis(op.axis, logical.len() + 1)?;
            let dims = [Dim::product(&logical[..axis]), Dim::product(&logical[axis..])];
            let Some(part) = view(b, value, &dims)? else { return Ok(None) };
            parts.push(part);
        }
        Ok(Some(Stack { axis: 1 }.build(b, parts)?))
    }

    /// `x` after `step` at each axis of `touched`; `step` gives a value of three axes, or two where
    /// the one in the middle goes.
    fn at_each(
        &self,
        b: &mut Builder<'_>,
        (x, touched): (Value, Vec<usize>),
        step: &mut dyn FnMut(&mut Builder<'_>, Value, usize) -> OpResult<Value>,
    ) -> Result<Option<Value>> {
        let mut logical = self.logical(b, x)?;
        let mut value = x;
        if touched.is_empty() {
            return Ok(view(b, x, &[Dim::product(&logical)])?);
        }
        for axis in touched {
            let Some(apart) = view(b, value, &around(&logical, axis))? else { return Ok(None) };
            value = step(b, apart, axis)?;
            logical[axis] = match &b.tensor(value)?.shape[..] {
                [_, extent, _] => extent.clone(),
                _ => 1.into(),
            };
        }
        Ok(Some(value))
    }

    fn slice(
        &self,
        b: &mut Builder<'_>,
        op: &SliceByIndex,
        operands: &[Value],
    ) -> Result<Option<Value>> {
        let rank = self.logical(b, operands[0])?.len();
        let flag = |list: &[bool], axis: usize| list.get(axis).copied().unwrap_or(false);
        let stride = |axis: usize| op.stride.get(axis).copied().unwrap_or(1);
        let whole = |axis: usize| {
            let open = flag(&op.begin_mask, axis) && flag(&op.end_mask, axis);
            open && stride(axis) == 1 && !flag(&op.squeeze_mask, axis)
        };
        let touched = (0..rank).filter(|&axis| !whole(axis)).collect();
        self.at_each(b, (operands[0], touched), &mut |b, x, axis| {
            let [begin, end] = [operands[1], operands[2]].map(|v| middle(b, v, (axis, [0, 0])));
            SliceByIndex {
                stride: vec![1, stride(axis), 1],
                begin_mask: vec![true, flag(&op.begin_mask, axis), true],
                end_mask: vec![true, flag(&op.end_mask, axis), true],
                squeeze_mask: vec![false, flag(&op.squeeze_mask, axis), false],
            }
            .build(b, x, begin?, end?)
        })
    }

    fn reverse(&self, b: &mut Builder<'_>, op: &Reverse, x: Value) -> Result<Option<Value>> {
        let rank = self.logical(b, x)?.len();
        let axes = match &op.axes {
            Some(axes) => normalize_axes(axes, rank)?,
            None => (0..rank).collect(),
        };
        self.at_each(b, (x, axes), &mut |b, x, _| Reverse { axes: Some(vec![1]) }.build(b, x))
    }

    fn tile(&self, b: &mut Builder<'_>, (x, reps): (Value, Value)) -> Result<Option<Value>> {
        let rank = self.logical(b, x)?.len();
        let one = |axis: &usize| b.content(reps).is_some_and(|reps| reps[*axis].is(1));
        let touched = (0..rank).filter(|axis| !one(axis)).collect();
        self.at_each(b, (x, touched), &mut |b, x, axis| {
            let reps = middle(b, reps, (axis, [1, 1]))?;
            Tile {}.build(b, x, reps)
        })
    }

    fn pad(
        &self,
        b: &mut Builder<'_>,
        op: &Pad,
        (x, pad): (Value, Value),
    ) -> Result<Option<Value>> {
        let rank = self.logical(b, x)?.len();
        let Some(amounts) = b.content(pad).map(<[Dim]>::to_vec) else { return Ok(None) };
        let Some(amounts) = amounts.iter().map(Dim::as_const).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let first = rank.saturating_sub(amounts.len() / 2);
        let pair = |axis: usize| [amounts[2 * (axis - first)], amounts[2 * (axis - first) + 1]];
        let touched = (first..rank).filter(|&axis| pair(axis) != [0, 0]).collect();
        self.at_each(b, (x, touched), &mut |b, x, axis| {
            let [before, after] = pair(axis);
            let pad = b.ints(&[0, 0, before, after, 0, 0])?;
            op.clone().build(b, x, pad)
        })
    }

    /// A product of matrices, neighbouring axes before them taken together where each operand has all
    /// of them or none.
    fn matmul(
        &self,
        b: &mut Builder<'_>,
        op: &Matmul,
        (x, y, shape): (Value, Value, &[Dim]),
    ) -> Result<Option<Value>> {
        let (left, right) = (self.logical(b, x)?, self.logical(b, y)?);
        if left.len() < 2 || right.len() < 2 || shape.len() < 2 {
            return Ok(None);
        }
        let batch = shape.len() - 2;
        let has = |logical: &[Dim], axis: usize| {
            let missing = batch + 2 - logical.len();
            axis >= missing && !logical[axis - missing].is(1)
        };
        let mut merged: Vec<(Vec<usize>, [bool; 2])> = Vec::new();
        for axis in (0..batch).filter(|&axis| !shape[axis].is(1)) {
            let kinds = [has(&left, axis), has(&right, axis)];
            match merged.last_mut() {
                Some((axes, last)) if *last == kinds => axes.push(axis),
                _ => merged.push((vec![axis], kinds)),
            }
        }
        if merged.len() + 2 > MAX_RANK {
            return Ok(None);
        }
        let mut sides = Vec::new();
        for (side, (value, logical)) in [(x, &left), (y, &right)].into_iter().enumerate() {
            let extent = |(axes, kinds): &(Vec<usize>, [bool; 2])| {
                if kinds[side] { Dim::product(axes.iter().map(|&a| &shape[a])) } else { 1.into() }
            };
            let mut dims: Vec<Dim> = merged.iter().map(extent).collect();
            dims.extend_from_slice(&logical[logical.len() - 2..]);
            let Some(value) = view(b, value, &dims)? else { return Ok(None) };
            sides.push(value);
        }
        Ok(Some(op.clone().build(b, sides[0], sides[1])?))
    }

    fn linear(
        &self,
        b: &mut Builder<'_>,
        op: &Linear,
        operands: &Operands,
    ) -> Result<Option<Value>> {
        let x = operands.all()[0];
        let logical = self.logical(b, x)?;
        let Some((last, lead)) = logical.split_last() else { return Ok(None) };
        let Some(x) = view(b, x, &[Dim::product(lead), last.clone()])? else { return Ok(None) };
        let (weight, bias) = (operands.all()[1], operands.slot(2).first().copied());
        Ok(Some(op.clone().build(b, x, weight, bias)?))
    }

    fn layer_norm(
        &self,
        b: &mut Builder<'_>,
        op: &LayerNorm,
        operands: &Operands,
    ) -> Result<Option<Value>> {
        let x = operands.all()[0];
        let logical = self.logical(b, x)?;
        let axes = match &op.axes {
            Some(axes) => normalize_axes(axes, logical.len())?,
            None => (0..logical.len()).collect(),
        };
        let first = logical.len() - axes.len();
        if axes.iter().any(|&axis| axis < first) {
            return Ok(None);
        }
        let count = Dim::product(&logical[first..]);
        let dims = [Dim::product(&logical[..first]), count.clone()];
        let Some(x) = view(b, x, &dims)? else { return Ok(None) };
        let mut scales = [None, None];
        for (slot, scale) in scales.iter_mut().enumerate() {
            let Some(&value) = operands.slot(slot + 1).first() else { continue };
            let Some(value) = view(b, value, std::slice::from_ref(&count))? else {
                return Ok(None);
            };
            *scale = Some(value);
        }
        let op = LayerNorm { axes: Some(vec![1]), ..op.clone() };
        Ok(Some(op.build(b, x, scales[0], scales[1])?))
    }
}

/// Element `axis` of a vector between two numbers.
fn middle(
    b: &mut Builder<'_>,
    vector: Value,
    (axis, [before, after]): (usize, [i64; 2]),
) -> OpResult<Value> {
    let known = b.content(vector).and_then(|content| content.get(axis)).and_then(Dim::as_const);
    if let Some(known) = known {
        return b.ints(&[before, known, after]);
    }
    let at = b.ints(&[axis as i64])?;
    let part = Gather { axis: 0, batch_dims: 0, validate_indices: false }.build(b, vector, at)?;
    let (before, after) = (b.ints(&[before])?, b.ints(&[after])?);
    Concat { axis: 0, interleave: false }.build(b, vec![before, part, after])
}
