//! Indices: made positive, broadcast, and used to pick or replace elements.

use mlc_ir::attr::ScatterMode;
use mlc_ir::infer::{broadcast, may_equal};
use mlc_ir::ops::{
    Add, Gather, GatherNd, GreaterEqual, Mul, Scatter, ScatterNd, Select, Stack, Tile, Transpose,
};
use mlc_ir::{Def, Dim, Op, Value};
use mlc_tensor::{DType, Tensor};

use super::axes::{inverse, moved_first};
use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::value::Scalar;

/// Indices into an axis of `extent`, negative ones counted from its end, as Core ML takes them: not
/// negative.
pub(super) fn non_negative(cx: &mut Cx<'_>, indices: Value, extent: &Dim) -> LowerResult<Value> {
    let ty = cx.b.tensor(indices)?.clone();
    if !ty.dtype.is_int() {
        return Err(LowerError::dtype(format!("indices of {}", ty.dtype)));
    }
    if let Some(known) = cx.b.constant_of(indices).map(Tensor::to_i64s).transpose()? {
        if known.iter().all(|&i| i >= 0) {
            return Ok(indices);
        }
        if let (Some(extent), Some(shape)) = (extent.as_const(), known_shape(&ty.shape)) {
            let front: Vec<i64> =
                known.iter().map(|&i| if i < 0 { i.saturating_add(extent) } else { i }).collect();
            let tensor = Tensor::from_i64s(ty.dtype, &shape, &front)?;
            return Ok(cx.b.constant(tensor)?);
        }
    } else if is_non_negative(cx, indices, 12) {
        return Ok(indices);
    }
    let zero = cx.b.scalar(ty.dtype, 0.0)?;
    let extent = cx.number(&Scalar::Int(extent.clone()), ty.dtype)?;
    let positive = cx.binary(GreaterEqual {}, indices, zero)?;
    let moved = cx.binary(Add {}, indices, extent)?;
    Ok(Select {}.build(&mut cx.b, positive, indices, moved)?)
}

fn known_shape(shape: &[Dim]) -> Option<Vec<u64>> {
    shape.iter().map(|dim| u64::try_from(dim.as_const()?).ok()).collect()
}

/// Whether no element of an integer value can be negative, as far as the ops that made it tell.
fn is_non_negative(cx: &Cx<'_>, value: Value, depth: u32) -> bool {
    let symbols = &cx.b.program.symbols;
    if let Some(content) = cx.b.content(value) {
        return content.iter().all(|dim| symbols.bounds(dim).0 >= Some(0));
    }
    if let Some(tensor) = cx.b.constant_of(value) {
        return tensor.count() < 1 << 20
            && tensor.to_i64s().is_ok_and(|all| all.iter().all(|&i| i >= 0));
    }
    let function = cx.b.function();
    let Def::Result(node, index) = function.values[value].def else { return false };
    let Some(depth) = depth.checked_sub(1) else { return false };
    let data = &function.nodes[node];
    let operand = |slot: usize| data.operands.slot(slot).first().copied();
    let fine = |slot: usize| operand(slot).is_some_and(|value| is_non_negative(cx, value, depth));
    match &data.op {
        Op::NonZero(_)
        | Op::Argsort(_)
        | Op::ReduceArgmax(_)
        | Op::ReduceArgmin(_)
        | Op::Shape(_) => true,
        Op::Topk(_) => index == 1,
        Op::Cast(_) => match operand(0).map(|x| &function.values[x].ty) {
            Some(mlc_ir::Type::Tensor(ty)) if ty.dtype == DType::Bool => true,
            Some(mlc_ir::Type::Tensor(ty)) if ty.dtype.is_int() => fine(0),
            _ => false,
        },
        Op::Reshape(_)
        | Op::ExpandDims(_)
        | Op::Squeeze(_)
        | Op::Transpose(_)
        | Op::Tile(_)
        | Op::SliceByIndex(_)
        | Op::Reverse(_)
        | Op::Split(_)
        | Op::Gather(_)
        | Op::Cumsum(_)
        | Op::ReduceSum(_)
        | Op::ReduceMax(_)
        | Op::ReduceMin(_) => fine(0),
        Op::Add(_) | Op::Mul(_) | Op::Minimum(_) | Op::FloorDiv(_) => fine(0) && fine(1),
        Op::Maximum(_) => fine(0) || fine(1),
        // The operands are the end, the start and the step.
        Op::Range1d(_) => fine(1) && fine(2),
        Op::Concat(_) | Op::Stack(_) => {
            data.operands.slot(0).iter().all(|&value| is_non_negative(cx, value, depth))
        }
        Op::Select(_) => fine(1) && fine(2),
        _ => false,
    }
}

/// What indexes each axis of a tensor.
pub(super) struct Index {
    /// The axes that are indexed, in order.
    pub(super) axes: Vec<usize>,
    /// The indices of each, not negative, of one element type.
    pub(super) values: Vec<Value>,
    /// The shape that the indices broadcast to.
    pub(super) shape: Vec<Dim>,
}

impl Index {
    /// From one entry an axis; axes that are taken whole have none.
    pub(super) fn new(
        cx: &mut Cx<'_>,
        extents: &[Dim],
        entries: &[Option<Value>],
    ) -> LowerResult<Self> {
        let mut index = Self { axes: Vec::new(), values: Vec::new(), shape: Vec::new() };
        let mut dtype = None;
        for (axis, entry) in entries.iter().enumerate() {
            let Some(value) = *entry else { continue };
            let extent =
                extents.get(axis).ok_or_else(|| LowerError::invalid("more indices than axes"))?;
            let value = non_negative(cx, value, extent)?;
            let ty = cx.b.tensor(value)?.clone();
            index.shape = broadcast(&index.shape, &ty.shape)?;
            let common = dtype.map_or(ty.dtype, |d| crate::lower::promote::join(d, ty.dtype));
            dtype = Some(common);
            index.axes.push(axis);
            index.values.push(value);
        }
        if let Some(dtype) = dtype {
            for value in &mut index.values {
                *value = cx.cast(*value, dtype)?;
            }
        }
        Ok(index)
    }

    /// Whether the indexed axes follow one another: then the picked elements stand in their place,
    /// otherwise in front.
    fn is_adjacent(&self) -> bool {
        self.axes.windows(2).all(|pair| pair[0] + 1 == pair[1])
    }

    /// The shape of what is picked of a tensor of `extents`.
    pub(super) fn picked_shape(&self, extents: &[Dim]) -> Vec<Dim> {
        let others = |range: std::ops::Range<usize>| {
            range.filter(|a| !self.axes.contains(a)).map(|a| extents[a].clone())
        };
        match self.axes.first() {
            Some(&first) if self.is_adjacent() => others(0..first)
                .chain(self.shape.iter().cloned())
                .chain(others(first..extents.len()))
                .collect(),
            _ => self.shape.iter().cloned().chain(others(0..extents.len())).collect(),
        }
    }

    /// The elements of `x` at the indices.
    pub(super) fn pick(&self, cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
        let &[axis, ..] = &self.axes[..] else { return Ok(x) };
        if let [indices] = self.values[..] {
            return gather(cx, x, axis, indices);
        }
        let shape = cx.b.tensor(x)?.shape.clone();
        if self.is_adjacent() {
            if let Some(vectors) = self.as_grid(cx)? {
                let mut y = x;
                for (&axis, vector) in self.axes.iter().zip(vectors) {
                    y = gather(cx, y, axis, vector)?;
                }
                return Ok(y);
            }
            if axis > 0 {
                let (flat, indices) = self.linear(cx, &shape)?;
                let x = cx.reshape(x, &flat)?;
                return gather(cx, x, axis, indices);
            }
        }
        let x = transposed(cx, x, &moved_first(&self.axes, shape.len()))?;
        let places = self.places(cx)?;
        Ok(GatherNd { batch_dims: 0, validate_indices: false }.build(&mut cx.b, x, places)?)
    }

    /// The indices as one vector an axis, where they pick every combination of them in order.
    fn as_grid(&self, cx: &mut Cx<'_>) -> LowerResult<Option<Vec<Value>>> {
        let rank = self.shape.len();
        if rank != self.axes.len() {
            return Ok(None);
        }
        for (place, &value) in self.values.iter().enumerate() {
            let shape = &cx.b.tensor(value)?.shape;
            let added = rank - shape.len();
            let fits = |at: usize| match at.checked_sub(added).and_then(|k| shape.get(k)) {
                Some(extent) if at == place => *extent == self.shape[place],
                Some(extent) => extent.is(1),
                None => at != place,
            };
            if !(0..rank).all(fits) {
                return Ok(None);
            }
        }
        let vectors = self.values.iter().zip(&self.shape);
        let vectors =
            vectors.map(|(&value, extent)| cx.reshape(value, std::slice::from_ref(extent)));
        vectors.collect::<LowerResult<_>>().map(Some)
    }

    /// The shape of the indexed tensor with the indexed axes as one, and indices into that.
    fn linear(&self, cx: &mut Cx<'_>, shape: &[Dim]) -> LowerResult<(Vec<Dim>, Value)> {
        let (first, last) = (self.axes[0], self.axes[self.axes.len() - 1]);
        let mut flat = shape[..first].to_vec();
        flat.push(Dim::product(&shape[first..=last]));
        flat.extend_from_slice(&shape[last + 1..]);
        let mut sum = self.values[0];
        for (&axis, &value) in self.axes.iter().zip(&self.values).skip(1) {
            let dtype = cx.b.tensor(value)?.dtype;
            let extent = cx.number(&Scalar::Int(shape[axis].clone()), dtype)?;
            sum = cx.binary(Mul {}, sum, extent)?;
            sum = cx.binary(Add {}, sum, value)?;
        }
        Ok((flat, sum))
    }

    /// The indices of all axes, side by side along a new last axis.
    fn places(&self, cx: &mut Cx<'_>) -> LowerResult<Value> {
        let mut values = Vec::with_capacity(self.values.len());
        for &value in &self.values {
            values.push(widened(cx, value, &self.shape)?);
        }
        Ok(Stack { axis: self.shape.len() as i64 }.build(&mut cx.b, values)?)
    }

    /// `x` with the elements at the indices combined with `updates`, which broadcast to their shape.
    pub(super) fn put(
        &self,
        cx: &mut Cx<'_>,
        (x, updates): (Value, Value),
        mode: ScatterMode,
    ) -> LowerResult<Value> {
        let extents = cx.b.tensor(x)?.shape.clone();
        let updates = widened(cx, updates, &self.picked_shape(&extents))?;
        let &[axis, ..] = &self.axes[..] else {
            return Err(LowerError::argument("elements are replaced without an index"));
        };
        if let [indices] = self.values[..] {
            let count = Dim::product(&self.shape);
            let indices = cx.reshape(indices, std::slice::from_ref(&count))?;
            let mut flat = extents;
            flat[axis] = count;
            let updates = if self.shape.len() == 1 { updates } else { cx.reshape(updates, &flat)? };
            let op = Scatter { axis: axis as i64, mode, validate_indices: false };
            return Ok(op.build(&mut cx.b, x, indices, updates)?);
        }
        let perm = moved_first(&self.axes, extents.len());
        let target = transposed(cx, x, &perm)?;
        let updates = if self.is_adjacent() && axis > 0 {
            let own: Vec<usize> = (axis..axis + self.shape.len()).collect();
            let rank = cx.b.tensor(updates)?.rank();
            transposed(cx, updates, &moved_first(&own, rank))?
        } else {
            updates
        };
        let places = self.places(cx)?;
        let op = ScatterNd { mode, validate_indices: false };
        let y = op.build(&mut cx.b, target, places, updates)?;
        transposed(cx, y, &inverse(&perm))
    }
}

/// `x` with its axes in the order `perm`.
pub(super) fn transposed(cx: &mut Cx<'_>, x: Value, perm: &[usize]) -> LowerResult<Value> {
    if perm.iter().copied().eq(0..perm.len()) {
        return Ok(x);
    }
    let perm = perm.iter().map(|&p| p as i64).collect();
    cx.unary(Transpose { perm }, x)
}

/// Axis `axis` of `x` replaced by the axes of `indices`, which are not negative.
pub(super) fn gather(cx: &mut Cx<'_>, x: Value, axis: usize, indices: Value) -> LowerResult<Value> {
    let op = Gather { axis: axis as i64, batch_dims: 0, validate_indices: false };
    Ok(op.build(&mut cx.b, x, indices)?)
}

/// `x` repeated to the extents `to`; extents that cannot be compared are taken to be equal.
pub(super) fn widened(cx: &mut Cx<'_>, x: Value, to: &[Dim]) -> LowerResult<Value> {
    let rank = cx.b.tensor(x)?.rank();
    let added = to.len().checked_sub(rank).ok_or_else(|| {
        LowerError::invalid(format!("{rank} axes do not broadcast to {}", to.len()))
    })?;
    let y = alias::unsqueeze(cx, x, &(0..added).collect::<Vec<_>>())?;
    let shape = cx.b.tensor(y)?.shape.clone();
    let mut reps = Vec::with_capacity(to.len());
    for (have, want) in shape.iter().zip(to) {
        reps.push(match have {
            have if have == want => Dim::Const(1),
            Dim::Const(1) => want.clone(),
            have if may_equal(have, want) => Dim::Const(1),
            have => return Err(LowerError::invalid(format!("extent {have} cannot be {want}"))),
        });
    }
    if reps.iter().all(|r| r.is(1)) {
        return Ok(y);
    }
    let reps = dims::vector(cx, &reps)?;
    Ok(Tile {}.build(&mut cx.b, y, reps)?)
}
