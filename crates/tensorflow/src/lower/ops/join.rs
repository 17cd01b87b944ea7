//! Joining, splitting, repeating and filling.

use mlc_ir::ops::{Concat, Fill, Gather, Range1d, Split, Stack, Tile};
use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, Tensor};

use super::axes;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "Concat", lower: |cx, call| concat(cx, call, true) },
    Lowering { name: "ConcatV2", lower: |cx, call| concat(cx, call, false) },
    Lowering { name: "Empty", lower: empty },
    Lowering { name: "Fill", lower: fill },
    Lowering { name: "LinSpace", lower: lin_space },
    Lowering { name: "OnesLike", lower: |cx, call| like(cx, call, 1.0) },
    Lowering { name: "Pack", lower: pack },
    Lowering { name: "Range", lower: range },
    Lowering { name: "Split", lower: split },
    Lowering { name: "SplitV", lower: split_v },
    Lowering { name: "Tile", lower: tile },
    Lowering { name: "Unpack", lower: unpack },
    Lowering { name: "ZerosLike", lower: |cx, call| like(cx, call, 0.0) },
];

/// Elements of `x` along one axis, at the places of a vector.
pub(super) fn gathered(cx: &mut Cx<'_>, x: Value, at: Value, axis: usize) -> LowerResult<Value> {
    let op = Gather { axis: axis as i64, batch_dims: 0, validate_indices: false };
    Ok(op.build(&mut cx.b, x, at)?)
}

/// Tensors one after another along an axis; of small constants, a constant.
pub(super) fn joined(cx: &mut Cx<'_>, values: Vec<Value>, axis: usize) -> LowerResult<Value> {
    if let [one] = values[..] {
        return Ok(one);
    }
    if let Some(all) = small(cx, &values) {
        return made_now(cx, &Tensor::concat(axis, &all)?);
    }
    Ok(Concat { axis: axis as i64, interleave: false }.build(&mut cx.b, values)?)
}

/// The tensors, if all are known and small enough that sizes may be computed of them.
fn small(cx: &Cx<'_>, values: &[Value]) -> Option<Vec<Tensor>> {
    let all: Vec<Tensor> = values.iter().map(|&value| cx.known(value)).collect::<Option<_>>()?;
    let count: usize = all.iter().map(Tensor::count).sum();
    let plain = all.iter().all(|t| t.dtype().size().is_some() && !t.shape().is_empty());
    (count <= 1024 && plain).then_some(all)
}

/// A constant whose elements are made now, so that what is computed of them can be too.
pub(super) fn made_now(cx: &mut Cx<'_>, tensor: &Tensor) -> LowerResult<Value> {
    let made = Tensor::from_bytes(tensor.dtype(), tensor.shape(), &*tensor.bytes()?)?;
    Ok(cx.b.constant(made)?)
}

fn concat(cx: &mut Cx<'_>, call: &Call<'_>, axis_first: bool) -> LowerResult<Vec<Val>> {
    call.ignore(&["N"]);
    let mut values = call.tensors(0)?;
    if values.len() < 2 {
        return Err(LowerError::invalid("nothing to join"));
    }
    let axis = if axis_first { values.remove(0) } else { values.pop().unwrap_or(values[0]) };
    let axis = cx.need_int(axis, "axis")?;
    let axis = axes::axis(axis, cx.rank(values[0])?)?;
    // Tensors without elements may have been written by tracing; they add nothing.
    if values.len() > 1 {
        let mut kept = Vec::new();
        for &value in &values {
            let shape = cx.shape(value)?;
            if !shape.get(axis).is_some_and(|dim| dim.is(0)) {
                kept.push(value);
            }
        }
        if !kept.is_empty() {
            values = kept;
        }
    }
    let y = joined(cx, values, axis)?;
    cx.one(y)
}

fn pack(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["N"]);
    let axis = call.int_or("axis", 0)?;
    if call.inputs().iter().all(|val| matches!(val, Val::Text(_))) && !call.inputs().is_empty() {
        let all = call.inputs().iter().flat_map(|val| match val {
            Val::Text(all) => all.clone(),
            _ => vec![],
        });
        return Ok(vec![Val::Text(all.collect())]);
    }
    let values = call.tensors(0)?;
    let first = *values.first().ok_or_else(|| LowerError::invalid("nothing to join"))?;
    let axis = axes::axis(axis, cx.rank(first)? + 1)?;
    let known: Option<Vec<Tensor>> = values
        .iter()
        .map(|&v| cx.known(v).filter(|t| t.shape().is_empty() && t.dtype().size().is_some()))
        .collect();
    if let Some(known) = known {
        let dtype = known[0].dtype();
        let mut bytes = Vec::new();
        for tensor in &known {
            bytes.extend_from_slice(&tensor.bytes()?);
        }
        let tensor = Tensor::from_bytes(dtype, &[known.len() as u64], bytes)?;
        let y = cx.b.constant(tensor)?;
        return cx.one(y);
    }
    let y = stacked(cx, values, axis)?;
    cx.one(y)
}

/// Tensors side by side along a new axis.
pub(super) fn stacked(cx: &mut Cx<'_>, values: Vec<Value>, axis: usize) -> LowerResult<Value> {
    if let [one] = values[..] {
        return cx.expand_dims(one, &[axis as i64]);
    }
    let scalars = cx.rank(values[0])? == 0;
    if scalars || small(cx, &values).is_some() {
        // A vector of scalars that may be sizes: its contents stay known.
        let mut parts = Vec::with_capacity(values.len());
        for value in values {
            parts.push(cx.expand_dims(value, &[axis as i64])?);
        }
        return joined(cx, parts, axis);
    }
    Ok(Stack { axis: axis as i64 }.build(&mut cx.b, values)?)
}

fn unpack(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let axis = axes::axis(call.int_or("axis", 0)?, cx.rank(x)?)?;
    let count = call.int("num")?;
    let extent = cx.shape(x)?[axis].clone();
    if extent.as_const().is_some_and(|n| n != count) {
        return Err(LowerError::invalid(format!("{count} parts of the extent {extent}")));
    }
    if count == 1 {
        let y = cx.squeeze(x, &[axis])?;
        return cx.one(y);
    }
    let parts = equal_parts(cx, x, axis, count)?;
    parts.into_iter().map(|part| cx.squeeze(part, &[axis]).map(Val::Tensor)).collect()
}

fn equal_parts(cx: &mut Cx<'_>, x: Value, axis: usize, count: i64) -> LowerResult<Vec<Value>> {
    if count < 1 {
        return Ok(Vec::new());
    }
    if count == 1 {
        return Ok(vec![x]);
    }
    let op = Split { num_splits: Some(count), split_sizes: None, axis: axis as i64 };
    Ok(op.build_many(&mut cx.b, x)?)
}

fn split(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (axis, x) = (call.tensor(0)?, call.tensor(1)?);
    let axis = axes::axis(cx.need_int(axis, "split_dim")?, cx.rank(x)?)?;
    let parts = equal_parts(cx, x, axis, call.int("num_split")?)?;
    Ok(parts.into_iter().map(Val::Tensor).collect())
}

fn split_v(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, sizes, axis) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    call.ignore(&["num_split"]);
    let axis = axes::axis(cx.need_int(axis, "split_dim")?, cx.rank(x)?)?;
    let mut sizes = cx.need_ints(sizes, "size_splits")?;
    if let Some(hole) = sizes.iter().position(|&n| n == -1) {
        let extent = cx.shape(x)?[axis]
            .as_const()
            .ok_or_else(|| LowerError::dynamic("one part of an open extent takes what is left"))?;
        let others: i64 = sizes.iter().filter(|&&n| n != -1).sum();
        sizes[hole] = extent - others;
    }
    if sizes.len() == 1 {
        return cx.one(x);
    }
    if sizes.contains(&0) || sizes.iter().any(|&n| n < 0) {
        // Parts without elements are constants.
        let mut at = 0;
        let mut parts = Vec::new();
        for &n in &sizes {
            if n < 0 {
                return Err(LowerError::invalid(format!("`size_splits` is {sizes:?}")));
            }
            parts.push(Val::Tensor(super::slice::window(cx, x, axis, (at, n))?));
            at += n;
        }
        return Ok(parts);
    }
    let op = Split { num_splits: None, split_sizes: Some(sizes), axis: axis as i64 };
    Ok(op.build_many(&mut cx.b, x)?.into_iter().map(Val::Tensor).collect())
}

fn tile(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, reps) = (call.tensor(0)?, call.tensor(1)?);
    if cx.rank(x)? == 0 {
        return cx.one(x);
    }
    if let Some(known) = cx.ints(reps) {
        if known.iter().all(|&n| n == 1) {
            return cx.one(x);
        }
        if known.contains(&0) {
            let mut shape = cx.shape(x)?;
            for (dim, n) in shape.iter_mut().zip(&known) {
                *dim = dim.mul(&Dim::Const(*n));
            }
            let zero = cx.scalar_like(x, 0.0)?;
            let y = cx.filled(&shape, zero)?;
            return cx.one(y);
        }
    }
    let reps = cx.cast(reps, DType::I32)?;
    let y = Tile {}.build(&mut cx.b, x, reps)?;
    cx.one(y)
}

fn fill(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (shape, value) = (call.tensor(0)?, call.tensor(1)?);
    let known = match cx.b.content(shape) {
        Some(content) => Some(content.to_vec()),
        None => cx.ints(shape).map(|all| all.into_iter().map(Dim::Const).collect()),
    };
    let y = match known {
        Some(dims) => cx.filled(&dims, value)?,
        None => {
            let shape = cx.cast(shape, DType::I32)?;
            Fill {}.build(&mut cx.b, shape, Some(value))?
        }
    };
    cx.one(y)
}

/// A tensor whose elements nobody reads before they are written: zeros.
fn empty(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["init"]);
    let zero = cx.number(call.dtype("dtype")?, 0.0)?;
    let shape = cx.extents(call.tensor(0)?, "shape")?;
    let y = cx.filled(&shape, zero)?;
    cx.one(y)
}

fn like(cx: &mut Cx<'_>, call: &Call<'_>, value: f64) -> LowerResult<Vec<Val>> {
    if let Val::List(list) = call.input(0)? {
        let items = crate::lower::value::Items::Unset(cx.list_length(list)?);
        let element = cx.list_element(list);
        let list = crate::lower::value::List { items, element, ..list.clone() };
        return Ok(vec![Val::List(list)]);
    }
    let x = call.tensor(0)?;
    let shape = cx.shape(x)?;
    let number = cx.scalar_like(x, value)?;
    let y = if shape.iter().all(|dim| dim.as_const().is_some()) {
        cx.filled(&shape, number)?
    } else {
        let shape = cx.shape_value(x)?;
        Fill {}.build(&mut cx.b, shape, Some(number))?
    };
    cx.one(y)
}

fn range(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (start, limit, delta) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let y = ranged(cx, start, limit, delta)?;
    cx.one(y)
}

/// `start`, `start + delta`, … before `limit`.
pub(super) fn ranged(
    cx: &mut Cx<'_>,
    start: Value,
    limit: Value,
    delta: Value,
) -> LowerResult<Value> {
    let dtype = cx.dtype(start)?;
    let known = [start, limit, delta].map(|v| cx.floats(v).and_then(|all| all.first().copied()));
    if let [Some(start), Some(limit), Some(delta)] = known
        && delta != 0.0
    {
        let count = ((limit - start) / delta).ceil().max(0.0);
        if count <= 65536.0 {
            let count = count as usize;
            if dtype.is_float() {
                let all: Vec<f64> = (0..count).map(|i| start + i as f64 * delta).collect();
                let tensor = Tensor::from_f64s(dtype, &[count as u64], &all)?;
                return Ok(cx.b.constant(tensor)?);
            }
            let all: Vec<i64> =
                (0..count as i64).map(|i| start as i64 + i * delta as i64).collect();
            let tensor = Tensor::from_i64s(dtype, &[count as u64], &all)?;
            return Ok(cx.b.constant(tensor)?);
        }
    }
    // The length is arithmetic of extents where it is one of i32.
    let wide = if dtype.is_float() { dtype } else { DType::I32 };
    let (start, limit, delta) =
        (cx.cast(start, wide)?, cx.cast(limit, wide)?, cx.cast(delta, wide)?);
    let y = Range1d {}.build(&mut cx.b, limit, start, delta)?;
    let length = cx.shape(y)?;
    if let (Some(symbol), false) = (length[0].as_symbol(), wide.is_float())
        && cx.b.program.symbols.is_fresh(symbol)
    {
        // Where the ends are extents, so is the length.
        let ends = [start, limit, delta].map(|v| match cx.b.content(v) {
            Some([one]) => Some(one.clone()),
            _ => None,
        });
        if let [Some(start), Some(limit), Some(delta)] = ends
            && delta.as_const().is_some_and(|n| n > 0)
        {
            let count = limit.sub(&start).ceil_div(&delta).maximum(&Dim::Const(0));
            cx.refine(y, &[count])?;
        }
    }
    cx.cast(y, dtype)
}

fn lin_space(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (start, stop) = (call.tensor(0)?, call.tensor(1)?);
    let count = cx.need_int(call.tensor(2)?, "num")?;
    let dtype = cx.dtype(start)?;
    if !(1..=1 << 24).contains(&count) {
        return Err(LowerError::argument(format!("`num` is {count}")));
    }
    let steps: Vec<f64> = (0..count).map(|i| i as f64 / (count - 1).max(1) as f64).collect();
    let steps = Tensor::from_f64s(dtype, &[count as u64], &steps)?;
    if let (Some([a]), Some([b])) = (cx.floats(start).as_deref(), cx.floats(stop).as_deref()) {
        let all: Vec<f64> = (0..count)
            .map(|i| match i {
                0 => *a,
                i if i == count - 1 => *b,
                i => a + (b - a) / (count - 1) as f64 * i as f64,
            })
            .collect();
        let tensor = Tensor::from_f64s(dtype, &[count as u64], &all)?;
        let y = cx.b.constant(tensor)?;
        return cx.one(y);
    }
    let steps = cx.b.constant(steps)?;
    let gap = cx.binary(mlc_ir::ops::Sub {}, stop, start)?;
    let along = cx.binary(mlc_ir::ops::Mul {}, gap, steps)?;
    let y = cx.binary(mlc_ir::ops::Add {}, along, start)?;
    cx.one(y)
}

/// The shape of `x` with the extent of one axis replaced.
#[must_use]
pub(super) fn with_extent(shape: &[Dim], axis: usize, extent: Dim) -> Vec<Dim> {
    let mut shape = shape.to_vec();
    if let Some(slot) = shape.get_mut(axis) {
        *slot = extent;
    }
    shape
}

/// Rows `0, 1, …` of a shape as a tensor of one integer vector for each position of `shape`.
pub(super) fn iota(cx: &mut Cx<'_>, count: &Dim, dtype: DType) -> LowerResult<Value> {
    let (zero, one) = (cx.b.int(0)?, cx.b.int(1)?);
    let end = dims::scalar(cx, count)?;
    let y = ranged(cx, zero, end, one)?;
    if count.as_const().is_none() {
        cx.refine(y, std::slice::from_ref(count))?;
    }
    cx.cast(y, dtype)
}
