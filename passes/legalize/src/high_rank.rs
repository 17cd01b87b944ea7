//! Values of more than five axes under fewer.
//!
//! A *carrier* holds the elements of a value of high rank in row-major order under another shape; the
//! shape that the value has in the program is its *logical* one.

use std::collections::BTreeMap;

use mlc_ir::infer::{normalize_axes, normalize_axis};
use mlc_ir::ops::{Concat, Identity, Reshape, Softmax, Transpose};
use mlc_ir::{
    AttrKind, AttrValue, Builder, Dim, Node, Op, OpError, OpResult, Operands, Trait, Type, Value,
};
use mlc_pass::Result;
use mlc_target::io::MAX_RANK;

use crate::shape_vector::shape_vector;

#[derive(Default)]
pub(crate) struct HighRank {
    /// Logical shapes of carriers.
    shapes: BTreeMap<Value, Vec<Dim>>,
}

impl HighRank {
    pub(crate) fn is_high(&self, value: Value) -> bool {
        self.shapes.contains_key(&value)
    }

    /// Lets a value that could not be lowered stand for itself.
    pub(crate) fn forget(&mut self, value: Value, ty: Type) {
        if let Type::Tensor(ty) = ty
            && ty.rank() > MAX_RANK
        {
            self.shapes.insert(value, ty.shape);
        }
    }

    /// Whether an operand or a result of `node` has high rank.
    pub(crate) fn concerns(&self, b: &Builder<'_>, node: Node) -> bool {
        let data = &b.function().nodes[node];
        let high = |&value: &Value| {
            self.is_high(value) || b.ty(value).as_tensor().is_some_and(|ty| ty.rank() > MAX_RANK)
        };
        data.operands.all().iter().any(high) || data.results.iter().any(high)
    }

    pub(crate) fn logical(&self, b: &Builder<'_>, value: Value) -> OpResult<Vec<Dim>> {
        match self.shapes.get(&value) {
            Some(shape) => Ok(shape.clone()),
            None => Ok(b.tensor(value)?.shape.clone()),
        }
    }

    /// What stands for the results of `node`; none where it has no spelling in five axes.
    pub(crate) fn lower(&mut self, b: &mut Builder<'_>, node: Node) -> Result<Option<Vec<Value>>> {
        let data = &b.function().nodes[node];
        let (op, operands) = (data.op.clone(), data.operands.clone());
        if let Op::Split(op) = &op {
            return self.split(b, (op, operands.all()[0], node));
        }
        let [result] = data.results[..] else { return Ok(None) };
        let Type::Tensor(ty) = b.ty(result) else { return Ok(None) };
        let shape = ty.shape.clone();
        let reduces = op.spec().name.starts_with("reduce_") && op.spec().attr("axes").is_some();
        let value = match &op {
            Op::Const(op) => {
                let tensor = b.program.consts.get(op.value).clone();
                let flat = tensor.reshape(&[tensor.count() as u64])?;
                Some(b.constant(flat)?)
            }
            Op::Reshape(_)
            | Op::ReshapeLike(_)
            | Op::Flatten2d(_)
            | Op::ExpandDims(_)
            | Op::Squeeze(_) => {
                return self.reshaped(b, (operands.all()[0], shape));
            }
            Op::Transpose(op) => self.transpose(b, operands.all()[0], &op.perm)?,
            Op::Softmax(op) => self.softmax(b, operands.all()[0], op.axis)?,
            Op::Concat(op) if !op.interleave => self.join(b, operands.all(), op.axis)?,
            op if op.spec().traits.has(Trait::Elementwise) => {
                self.elementwise(b, (op, &operands), &shape)?
            }
            op if reduces => self.reduce(b, operands.all()[0], op)?,
            op => self.moved(b, (op, &operands), &shape)?,
        };
        let Some(value) = value else { return Ok(None) };
        self.finish(b, value, shape).map(|value| value.map(|value| vec![value]))
    }

    fn reshaped(
        &mut self,
        b: &mut Builder<'_>,
        (x, shape): (Value, Vec<Dim>),
    ) -> Result<Option<Vec<Value>>> {
        if shape.len() <= MAX_RANK {
            let Some(value) = view(b, x, &shape)? else { return Ok(None) };
            return Ok(Some(vec![self.low(b, value)?]));
        }
        let Some(value) = view(b, x, &[Dim::product(&shape)])? else { return Ok(None) };
        self.shapes.insert(value, shape);
        Ok(Some(vec![value]))
    }

    /// `value` as one of few axes, though it may carry one of many: under another name then.
    fn low(&self, b: &mut Builder<'_>, value: Value) -> OpResult<Value> {
        if self.is_high(value) { Identity {}.build(b, value) } else { Ok(value) }
    }

    /// `value`, which holds a tensor of the logical `shape`, under that shape or as a carrier.
    pub(crate) fn finish(
        &mut self,
        b: &mut Builder<'_>,
        value: Value,
        shape: Vec<Dim>,
    ) -> Result<Option<Value>> {
        if shape.len() <= MAX_RANK {
            let Some(value) = view(b, value, &shape)? else { return Ok(None) };
            return Ok(Some(self.low(b, value)?));
        }
        self.shapes.insert(value, shape);
        Ok(Some(value))
    }

    fn transpose(&self, b: &mut Builder<'_>, x: Value, perm: &[i64]) -> Result<Option<Value>> {
        let logical = self.logical(b, x)?;
        let mut axes: Vec<usize> = Vec::new();
        for &axis in perm {
            axes.push(normalize_axis(axis, logical.len())?);
        }
        // Axes of extent 1 move freely; the others in runs that stay together.
        axes.retain(|&axis| !logical[axis].is(1));
        let mut kept: Vec<usize> = axes.clone();
        kept.sort_unstable();
        let position = |axis: usize| kept.binary_search(&axis).unwrap_or(0);
        let mut runs: Vec<Vec<usize>> = Vec::new();
        for axis in axes {
            match runs.last_mut() {
                Some(run) if position(axis) == position(run[run.len() - 1]) + 1 => run.push(axis),
                _ => runs.push(vec![axis]),
            }
        }
        let mut sources: Vec<&Vec<usize>> = runs.iter().collect();
        sources.sort();
        let extent = |run: &Vec<usize>| Dim::product(run.iter().map(|&axis| &logical[axis]));
        let extents: Vec<Dim> = sources.iter().map(|run| extent(run)).collect();
        let order: Vec<usize> =
            runs.iter().map(|run| sources.iter().position(|s| *s == run).unwrap_or(0)).collect();
        if order.len() <= MAX_RANK {
            let Some(x) = view(b, x, &extents)? else { return Ok(None) };
            let perm: Vec<i64> = order.iter().map(|&i| i as i64).collect();
            return Ok(Some(Transpose { perm }.build(b, x)?));
        }
        move_blocks(b, x, (extents, order))
    }

    fn softmax(&self, b: &mut Builder<'_>, x: Value, axis: i64) -> Result<Option<Value>> {
        let logical = self.logical(b, x)?;
        let axis = normalize_axis(axis, logical.len())?;
        let Some(x) = view(b, x, &around(&logical, axis))? else { return Ok(None) };
        Ok(Some(Softmax { axis: 1 }.build(b, x)?))
    }

    fn join(&self, b: &mut Builder<'_>, values: &[Value], axis: i64) -> Result<Option<Value>> {
        let mut parts = Vec::new();
        for &value in values {
            let logical = self.logical(b, value)?;
            let axis = normalize_axis(axis, logical.len())?;
            let Some(part) = view(b, value, &around(&logical, axis))? else { return Ok(None) };
            parts.push(part);
        }
        Ok(Some(Concat { axis: 1, interleave: false }.build(b, parts)?))
    }

    /// A reduction, neighbouring axes of one kind taken together.
    fn reduce(&self, b: &mut Builder<'_>, x: Value, op: &Op) -> Result<Option<Value>> {
        let logical = self.logical(b, x)?;
        let spec = op.spec();
        let mut values: Vec<Option<AttrValue>> = op.attrs().into_iter().map(Some).collect();
        let Some(at) = spec.attrs.iter().position(|a| a.kind == AttrKind::OptInts) else {
            return Ok(None);
        };
        let axes = match &values[at] {
            Some(AttrValue::Ints(axes)) => normalize_axes(axes, logical.len())?,
            _ => (0..logical.len()).collect(),
        };
        let groups = group(logical.len(), |axis| axes.contains(&axis));
        if groups.len() > MAX_RANK {
            return Ok(None);
        }
        let reduced = groups.iter().enumerate().filter(|(_, g)| axes.contains(&g[0]));
        values[at] = Some(AttrValue::Ints(reduced.map(|(i, _)| i as i64).collect()));
        let grouped: Vec<Dim> =
            groups.iter().map(|g| Dim::product(g.iter().map(|&axis| &logical[axis]))).collect();
        let Some(x) = view(b, x, &grouped)? else { return Ok(None) };
        let Some(Ok(op)) = Op::from_attrs(spec.name, &values) else { return Ok(None) };
        let mut operands = Operands::new();
        operands.push_slot([x]);
        let node = b.push(op, operands, Vec::new())?;
        Ok(Some(b.results(node)[0]))
    }

    /// An elementwise op, neighbouring axes taken together where each operand has all of them or none.
    fn elementwise(
        &self,
        b: &mut Builder<'_>,
        (op, operands): (&Op, &Operands),
        shape: &[Dim],
    ) -> Result<Option<Value>> {
        let mut full: Vec<(Value, Vec<bool>)> = Vec::new();
        for &value in operands.all() {
            let logical = self.logical(b, value)?;
            let missing = shape.len().saturating_sub(logical.len());
            let has = |axis: usize| axis >= missing && !logical[axis - missing].is(1);
            full.push((value, (0..shape.len()).map(has).collect()));
        }
        let groups = group(shape.len(), |axis| {
            let kinds: Vec<bool> = full.iter().map(|(_, has)| has[axis]).collect();
            (shape[axis].is(1), kinds)
        });
        // Axes of extent 1 in the result belong to any group.
        let groups: Vec<Vec<usize>> = groups.into_iter().filter(|g| !shape[g[0]].is(1)).collect();
        let mut merged: Vec<Vec<usize>> = Vec::new();
        for next in groups {
            let same = |last: &Vec<usize>| full.iter().all(|(_, has)| has[last[0]] == has[next[0]]);
            match merged.last_mut() {
                Some(last) if same(last) => last.extend(next),
                _ => merged.push(next),
            }
        }
        if merged.len() > MAX_RANK {
            return Ok(None);
        }
        let mut views = full.iter();
        let mut slots = Operands::new();
        for slot in 0..operands.slots() {
            let mut values = Vec::new();
            for _ in operands.slot(slot) {
                let Some((value, has)) = views.next() else { return Ok(None) };
                let extent = |g: &Vec<usize>| {
                    if has[g[0]] { Dim::product(g.iter().map(|&a| &shape[a])) } else { 1.into() }
                };
                let dims: Vec<Dim> = merged.iter().map(extent).collect();
                let Some(view) = view(b, *value, &dims)? else { return Ok(None) };
                values.push(view);
            }
            slots.push_slot(values);
        }
        let node = b.push(op.clone(), slots, Vec::new())?;
        Ok(Some(b.results(node)[0]))
    }
}

/// Runs of neighbouring axes with equal keys.
fn group<K: PartialEq>(rank: usize, key: impl Fn(usize) -> K) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for axis in 0..rank {
        match groups.last_mut() {
            Some(last) if key(last[0]) == key(axis) => last.push(axis),
            _ => groups.push(vec![axis]),
        }
    }
    groups
}

/// The extents before `axis`, of it and after it.
pub(crate) fn around(shape: &[Dim], axis: usize) -> [Dim; 3] {
    [Dim::product(&shape[..axis]), shape[axis].clone(), Dim::product(&shape[axis + 1..])]
}

/// Axes of `extents` in the given order, one move of a block at a time, each of four axes.
fn move_blocks(
    b: &mut Builder<'_>,
    x: Value,
    (mut extents, order): (Vec<Dim>, Vec<usize>),
) -> Result<Option<Value>> {
    let mut at: Vec<usize> = (0..extents.len()).collect();
    let mut value = x;
    for (i, &wanted) in order.iter().enumerate() {
        let j = at.iter().position(|&axis| axis == wanted).unwrap_or(i);
        if i == j {
            continue;
        }
        let dims = [
            Dim::product(&extents[..i]),
            Dim::product(&extents[i..j]),
            extents[j].clone(),
            Dim::product(&extents[j + 1..]),
        ];
        let Some(apart) = view(b, value, &dims)? else { return Ok(None) };
        value = Transpose { perm: vec![0, 2, 1, 3] }.build(b, apart)?;
        let (extent, axis) = (extents.remove(j), at.remove(j));
        extents.insert(i, extent);
        at.insert(i, axis);
    }
    Ok(Some(value))
}

/// The elements of `value` under `dims`; of what it is a reshape of, if it is one. None where the
/// extents cannot be told while the program runs.
pub(crate) fn view(b: &mut Builder<'_>, value: Value, dims: &[Dim]) -> OpResult<Option<Value>> {
    let mut root = value;
    while let Some((_, data)) = b.function().def(root)
        && matches!(data.op, Op::Reshape(_))
    {
        root = data.operands.all()[0];
    }
    if b.tensor(root)?.shape == dims {
        return Ok(Some(root));
    }
    if let (Some(tensor), Some(shape)) = (b.constant_of(root), numbers(dims)) {
        let tensor = tensor.reshape(&shape).map_err(|e| OpError::shape(e.to_string()))?;
        return Ok(Some(b.constant(tensor)?));
    }
    if dims.iter().any(|dim| dim.is(0)) {
        return Ok(None);
    }
    // The extent that is hardest to tell is left to the op.
    let mut wanted = dims.to_vec();
    let open = (0..dims.len()).filter(|&i| dims[i].as_const().is_none());
    if let Some(hole) = open.max_by_key(|&i| dims[i].as_symbol().is_none()) {
        wanted[hole] = Dim::Const(-1);
    }
    let known: Option<Vec<i64>> = wanted.iter().map(Dim::as_const).collect();
    let shape = match known {
        Some(known) => b.ints(&known)?,
        None => match shape_vector(b, &wanted) {
            Ok(shape) => shape,
            Err(_) => return Ok(None),
        },
    };
    Ok(Some(Reshape {}.build(b, root, shape)?))
}

fn numbers(dims: &[Dim]) -> Option<Vec<u64>> {
    dims.iter().map(|dim| dim.as_const().and_then(|n| u64::try_from(n).ok())).collect()
}
