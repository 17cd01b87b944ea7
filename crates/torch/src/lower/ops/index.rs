//! Elements by index tensors and masks, as `x[…]` and `x[…] = …` in Python.

use mlc_ir::attr::ScatterMode;
use mlc_ir::ops::{Add, NonZero, Select};
use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, Tensor};

use super::axes::axis_arg;
use super::indices::{Index, gather, non_negative};
use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.index", lower: index },
    Lowering { name: "aten._unsafe_index", lower: index },
    Lowering { name: "aten._unsafe_masked_index", lower: masked_index },
    Lowering { name: "aten.index_put", lower: index_put },
    Lowering { name: "aten._unsafe_index_put", lower: index_put },
    Lowering { name: "aten._index_put_impl", lower: index_put },
    Lowering { name: "aten.index_select", lower: index_select },
    Lowering { name: "aten.take", lower: take },
    Lowering { name: "aten.put", lower: put },
    Lowering { name: "aten.index_add", lower: index_add },
    Lowering { name: "aten.index_copy", lower: index_copy },
    Lowering { name: "aten.index_fill", lower: index_fill },
    Lowering { name: "aten.masked_select", lower: masked_select },
    Lowering { name: "aten.nonzero", lower: nonzero },
    Lowering { name: "aten.argwhere", lower: nonzero },
    Lowering { name: "aten.nonzero_numpy", lower: nonzero_numpy },
];

fn is_mask(cx: &Cx<'_>, tensor: TensorId) -> LowerResult<bool> {
    Ok(matches!(cx.dtype(tensor)?, DType::Bool | DType::U8))
}

/// The places of what is not 0 as rows of i32, one column an axis; constant where the mask is. The
/// number of rows can be read from it later on.
pub(super) fn places(cx: &mut Cx<'_>, mask: Value) -> LowerResult<Value> {
    let shape = cx.b.tensor(mask)?.shape.clone();
    if shape.is_empty() {
        return Err(LowerError::argument("a mask without axes")
            .help("index with a mask of the tensor's shape, or use `torch.where`"));
    }
    let known: Option<Vec<usize>> =
        shape.iter().map(|dim| usize::try_from(dim.as_const()?).ok()).collect();
    let small = |tensor: &&Tensor| tensor.count() < 1 << 20;
    if let (Some(extents), Some(tensor)) = (known, cx.b.constant_of(mask).filter(small)) {
        let mut rows = Vec::new();
        let mut count = 0u64;
        for (at, _) in tensor.to_f64s()?.iter().enumerate().filter(|entry| *entry.1 != 0.0) {
            let mut rest = at;
            let mut row = vec![0i64; extents.len()];
            for (slot, &extent) in row.iter_mut().zip(&extents).rev() {
                *slot = (rest % extent) as i64;
                rest /= extent;
            }
            rows.extend(row);
            count += 1;
        }
        let tensor = Tensor::from_i64s(DType::I32, &[count, extents.len() as u64], &rows)?;
        return Ok(cx.b.constant(tensor)?);
    }
    let found = NonZero {}.build(&mut cx.b, mask)?;
    let shape = cx.b.tensor(found)?.shape.clone();
    cx.symbols.add_tensor(found, &shape);
    Ok(found)
}

/// One entry an axis: masks become the indices of what they let through, one an axis they cover.
fn entries(cx: &mut Cx<'_>, list: &[Option<TensorId>]) -> LowerResult<Vec<Option<Value>>> {
    let mut entries = Vec::new();
    for tensor in list {
        match tensor {
            Some(tensor) if is_mask(cx, *tensor)? => {
                let mask = cx.read(*tensor)?;
                let rank = cx.b.tensor(mask)?.rank();
                let found = places(cx, mask)?;
                for column in 0..rank {
                    let column = alias::select(cx, found, 1, &Dim::Const(column as i64))?;
                    entries.push(Some(column));
                }
            }
            Some(tensor) => entries.push(Some(cx.read(*tensor)?)),
            None => entries.push(None),
        }
    }
    Ok(entries)
}

/// A mask of the first axes of a tensor, if that is all it is indexed with.
fn leading_mask(cx: &Cx<'_>, list: &[Option<TensorId>]) -> LowerResult<Option<TensorId>> {
    match list {
        [Some(mask), rest @ ..] if rest.iter().all(Option::is_none) && is_mask(cx, *mask)? => {
            Ok(Some(*mask))
        }
        _ => Ok(None),
    }
}

fn index(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let list = call.opt_tensors("indices")?;
    let extents = cx.shape(x)?;
    let x = cx.read(x)?;
    if let Some(mask) = leading_mask(cx, &list)? {
        let mask = cx.read(mask)?;
        let found = places(cx, mask)?;
        let op = mlc_ir::ops::GatherNd { batch_dims: 0, validate_indices: false };
        let y = op.build(&mut cx.b, x, found)?;
        return cx.one(y);
    }
    let entries = entries(cx, &list)?;
    let y = Index::new(cx, &extents, &entries)?.pick(cx, x)?;
    cx.one(y)
}

/// `mask ? x[indices] : fill`, where indices under a false mask may lie outside.
fn masked_index(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (extents, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let list = call.opt_tensors("indices")?;
    let mask = cx.read_as(call.tensor("mask")?, DType::Bool)?;
    let fill = super::create::converted(cx, &call.scalar("fill")?, dtype)?;
    let x = cx.read(x)?;
    let mut held = Vec::with_capacity(list.len());
    for (axis, tensor) in list.into_iter().enumerate() {
        held.push(match tensor {
            Some(tensor) => {
                let value = cx.read(tensor)?;
                let own = cx.b.tensor(value)?.dtype;
                let last = extents.get(axis).map(|d| d.sub(&Dim::Const(1)));
                let last = last.ok_or_else(|| LowerError::invalid("more indices than axes"))?;
                let last = cx.number(&crate::lower::value::Scalar::Int(last), own)?;
                let zero = cx.b.scalar(own, 0.0)?;
                let value = cx.binary(mlc_ir::ops::Maximum {}, value, zero)?;
                Some(cx.binary(mlc_ir::ops::Minimum {}, value, last)?)
            }
            None => None,
        });
    }
    let y = Index::new(cx, &extents, &held)?.pick(cx, x)?;
    let y = Select {}.build(&mut cx.b, mask, y, fill)?;
    cx.one(y)
}

fn index_put(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["unsafe"]);
    let x = call.tensor("self")?;
    let (extents, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let list = call.opt_tensors("indices")?;
    let values = cx.read_as(call.tensor("values")?, dtype)?;
    let accumulate = call.bool_or("accumulate", false)?;
    if accumulate && dtype == DType::Bool {
        return Err(LowerError::dtype("truth values cannot be accumulated"));
    }
    let single = cx.b.tensor(values)?.count().is(1);
    let x = cx.read(x)?;
    let mask = leading_mask(cx, &list)?;
    if let (Some(mask), true) = (mask, single) {
        let mask = cx.read_as(mask, DType::Bool)?;
        let rank = cx.b.tensor(mask)?.rank();
        let mask = alias::unsqueeze(cx, mask, &(rank..extents.len()).collect::<Vec<_>>())?;
        let value = cx.reshape(values, &[])?;
        let value = if accumulate { cx.binary(Add {}, x, value)? } else { value };
        let y = Select {}.build(&mut cx.b, mask, value, x)?;
        return cx.one(y);
    }
    let mode = if accumulate { ScatterMode::Add } else { ScatterMode::Update };
    let entries = entries(cx, &list)?;
    let y = Index::new(cx, &extents, &entries)?.put(cx, (x, values), mode)?;
    cx.one(y)
}

/// The operands of ops that index one axis: tensor, axis and a vector of indices. Scalars are vectors
/// of one.
struct OneAxis {
    x: Value,
    axis: usize,
    extents: Vec<Dim>,
    indices: Value,
    scalar: bool,
}

fn one_axis(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<OneAxis> {
    let x = call.tensor("self")?;
    let scalar = cx.rank(x)? == 0;
    let axis = axis_arg(call, "dim", 0, cx.rank(x)?)?;
    let mut x = cx.read(x)?;
    if scalar {
        x = alias::unsqueeze(cx, x, &[0])?;
    }
    let mut indices = cx.read(call.tensor("index")?)?;
    if cx.b.tensor(indices)?.rank() == 0 {
        indices = alias::unsqueeze(cx, indices, &[0])?;
    }
    let extents = cx.b.tensor(x)?.shape.clone();
    Ok(OneAxis { x, axis, extents, indices, scalar })
}

impl OneAxis {
    /// `x` with the elements at the indices combined with `updates`.
    fn put(&self, cx: &mut Cx<'_>, updates: Value, mode: ScatterMode) -> LowerResult<Vec<Val>> {
        let index = Index {
            axes: vec![self.axis],
            values: vec![self.indices],
            shape: cx.b.tensor(self.indices)?.shape.clone(),
        };
        let y = index.put(cx, (self.x, updates), mode)?;
        let y = if self.scalar { cx.reshape(y, &[])? } else { y };
        cx.one(y)
    }

    /// The source in the element type of the target; a scalar is a vector of one.
    fn source(&self, cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Value> {
        let dtype = cx.b.tensor(self.x)?.dtype;
        let source = cx.read_as(call.tensor("source")?, dtype)?;
        match cx.b.tensor(source)?.rank() {
            0 => alias::unsqueeze(cx, source, &[0]),
            _ => Ok(source),
        }
    }
}

fn index_select(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let args = one_axis(cx, call)?;
    let y = gather(cx, args.x, args.axis, args.indices)?;
    let y = if args.scalar { cx.reshape(y, &[])? } else { y };
    cx.one(y)
}

fn index_add(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let args = one_axis(cx, call)?;
    let mut source = args.source(cx, call)?;
    let dtype = cx.b.tensor(source)?.dtype;
    if dtype == DType::Bool {
        return Err(LowerError::dtype("truth values cannot be accumulated"));
    }
    if let Some(alpha) = call.opt_scalar("alpha")?.filter(|a| a.as_f64() != Some(1.0)) {
        let alpha = cx.number(&alpha, dtype)?;
        source = cx.binary(mlc_ir::ops::Mul {}, source, alpha)?;
    }
    args.put(cx, source, ScatterMode::Add)
}

fn index_copy(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let args = one_axis(cx, call)?;
    let source = args.source(cx, call)?;
    args.put(cx, source, ScatterMode::Update)
}

fn index_fill(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut args = one_axis(cx, call)?;
    let dtype = cx.b.tensor(args.x)?.dtype;
    let value = match call.operand("value")? {
        Operand::Tensor(value) => cx.read_as(value, dtype)?,
        Operand::Scalar(number) => super::create::converted(cx, &number, dtype)?,
    };
    let value = cx.reshape(value, &[])?;
    args.indices = non_negative(cx, args.indices, &args.extents[args.axis])?;
    args.put(cx, value, ScatterMode::Update)
}

/// The elements as one vector.
pub(super) fn flat(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let shape = cx.b.tensor(x)?.shape.clone();
    match shape.len() {
        1 => Ok(x),
        _ => cx.reshape(x, &[Dim::product(&shape)]),
    }
}

fn take(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let x = flat(cx, x)?;
    let extent = cx.b.tensor(x)?.shape[0].clone();
    let indices = cx.read(call.tensor("index")?)?;
    let indices = non_negative(cx, indices, &extent)?;
    let y = gather(cx, x, 0, indices)?;
    cx.one(y)
}

fn put(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let accumulate = call.bool_or("accumulate", false)?;
    if accumulate && dtype == DType::Bool {
        return Err(LowerError::dtype("truth values cannot be accumulated"));
    }
    let mode = if accumulate { ScatterMode::Add } else { ScatterMode::Update };
    let x = cx.read(x)?;
    let x = flat(cx, x)?;
    let indices = cx.read(call.tensor("index")?)?;
    let indices = flat(cx, indices)?;
    let source = cx.read_as(call.tensor("source")?, dtype)?;
    let source = flat(cx, source)?;
    let extents = cx.b.tensor(x)?.shape.clone();
    let y = Index::new(cx, &extents, &[Some(indices)])?.put(cx, (x, source), mode)?;
    let y = cx.reshape(y, &shape)?;
    cx.one(y)
}

fn masked_select(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let both = [call.tensor("self")?, call.tensor("mask")?];
    let shape = super::view::common_shape(cx, &both)?;
    let x = cx.read(both[0])?;
    let mask = cx.read_as(both[1], DType::Bool)?;
    let mut x = super::indices::widened(cx, x, &shape)?;
    let mut mask = super::indices::widened(cx, mask, &shape)?;
    if shape.is_empty() {
        x = flat(cx, x)?;
        mask = flat(cx, mask)?;
    }
    let found = places(cx, mask)?;
    let op = mlc_ir::ops::GatherNd { batch_dims: 0, validate_indices: false };
    let y = op.build(&mut cx.b, x, found)?;
    cx.one(y)
}

fn nonzero(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let y = places(cx, x)?;
    let y = cx.cast(y, DType::I64)?;
    let shape = cx.b.tensor(y)?.shape.clone();
    cx.symbols.add_tensor(y, &shape);
    cx.one(y)
}

/// The places of what is not 0, one vector an axis.
pub(super) fn nonzero_numpy(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(if call.has("self") { "self" } else { "condition" })?;
    let mut x = cx.read(x)?;
    if cx.b.tensor(x)?.rank() == 0 {
        x = alias::unsqueeze(cx, x, &[0])?;
    }
    let rank = cx.b.tensor(x)?.rank();
    let found = places(cx, x)?;
    let found = cx.cast(found, DType::I64)?;
    let mut columns = Vec::with_capacity(rank);
    for column in 0..rank {
        let column = alias::select(cx, found, 1, &Dim::Const(column as i64))?;
        columns.push(cx.fresh(column));
    }
    Ok(vec![Val::List(columns)])
}
