//! Tensors side by side, repeated, and in another order.

use mlc_ir::ops::{Concat, Cumsum, Gather, LessEqual, ReduceSum, Reverse, Stack, Tile};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::axes::{axes, axis};
use super::view::{reshaped, viewed};
use crate::lower::Cx;
use crate::lower::alias::{self, View};
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.cat", lower: cat },
    Lowering { name: "aten.stack", lower: stack },
    Lowering { name: "aten.hstack", lower: hstack },
    Lowering { name: "aten.vstack", lower: |cx, call| raised(cx, call, "aten.atleast_2d", 0) },
    Lowering { name: "aten.dstack", lower: |cx, call| raised(cx, call, "aten.atleast_3d", 2) },
    Lowering { name: "aten.column_stack", lower: column_stack },
    Lowering { name: "aten.block_diag", lower: block_diag },
    Lowering { name: "aten.cartesian_prod", lower: cartesian_prod },
    Lowering { name: "aten.repeat", lower: |cx, call| repeat(cx, call, "repeats") },
    Lowering { name: "aten.tile", lower: |cx, call| repeat(cx, call, "dims") },
    Lowering { name: "aten.repeat_interleave", lower: repeat_interleave },
    Lowering { name: "aten.roll", lower: roll },
    Lowering { name: "aten.flip", lower: flip },
    Lowering { name: "aten.fliplr", lower: |cx, call| flip_axis(cx, call, 1) },
    Lowering { name: "aten.flipud", lower: |cx, call| flip_axis(cx, call, 0) },
    Lowering { name: "aten.rot90", lower: rot90 },
    Lowering { name: "aten.meshgrid", lower: meshgrid },
];

/// The values of tensors in the element type they are promoted to.
fn promoted(cx: &mut Cx<'_>, tensors: &[TensorId]) -> LowerResult<Vec<Value>> {
    let operands: Vec<Operand> = tensors.iter().map(|&t| Operand::Tensor(t)).collect();
    let dtype = cx.promoted(&operands.iter().collect::<Vec<_>>())?;
    tensors.iter().map(|&t| cx.read_as(t, dtype)).collect()
}

/// `values` one after another; a single one stays as it is.
pub(super) fn concat(cx: &mut Cx<'_>, values: Vec<Value>, axis: usize) -> LowerResult<Value> {
    match values[..] {
        [one] => Ok(one),
        _ => Ok(Concat { axis: axis as i64, interleave: false }.build(&mut cx.b, values)?),
    }
}

/// Vectors without elements are left out whatever the rank of the others: they tell the element type
/// alone.
fn joined(cx: &mut Cx<'_>, tensors: &[TensorId], dim: i64) -> LowerResult<Vec<Val>> {
    let values = promoted(cx, tensors)?;
    let mut kept = Vec::with_capacity(values.len());
    for &value in &values {
        let shape = &cx.b.tensor(value)?.shape;
        if shape.is_empty() {
            return Err(LowerError::invalid("a scalar among tensors to join"));
        }
        if !matches!(&shape[..], [extent] if extent.is(0)) {
            kept.push(value);
        }
    }
    let Some(&first) = kept.first() else {
        let first = values.first().ok_or_else(|| LowerError::invalid("no tensors to join"))?;
        return cx.one(*first);
    };
    let at = axis(dim, cx.b.tensor(first)?.rank())?;
    // Parts without elements along the axis add nothing.
    let mut filled = Vec::with_capacity(kept.len());
    for &value in &kept {
        if !cx.b.tensor(value)?.shape.get(at).is_some_and(|extent| extent.is(0)) {
            filled.push(value);
        }
    }
    if filled.is_empty() {
        return cx.one(first);
    }
    let y = concat(cx, filled, at)?;
    cx.one(y)
}

fn cat(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    joined(cx, &call.tensors("tensors")?, call.int_or("dim", 0)?)
}

fn stack(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let values = promoted(cx, &call.tensors("tensors")?)?;
    let first = *values.first().ok_or_else(|| LowerError::invalid("no tensors to stack"))?;
    let at = axis(call.int_or("dim", 0)?, cx.b.tensor(first)?.rank() + 1)?;
    let y = match values[..] {
        [one] => alias::unsqueeze(cx, one, &[at])?,
        _ => Stack { axis: at as i64 }.build(&mut cx.b, values)?,
    };
    cx.one(y)
}

/// Tensors given more axes by another op and then joined along `dim`.
fn raised(cx: &mut Cx<'_>, call: &Call<'_>, by: &str, dim: i64) -> LowerResult<Vec<Val>> {
    let tensors = raise(cx, &call.tensors("tensors")?, by)?;
    joined(cx, &tensors, dim)
}

fn raise(cx: &mut Cx<'_>, tensors: &[TensorId], by: &str) -> LowerResult<Vec<TensorId>> {
    tensors.iter().map(|&x| cx.call_tensor(by, &[("self", Val::Tensor(x))])).collect()
}

fn hstack(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let tensors = raise(cx, &call.tensors("tensors")?, "aten.atleast_1d")?;
    let first = *tensors.first().ok_or_else(|| LowerError::invalid("no tensors to stack"))?;
    let dim = i64::from(cx.rank(first)? > 1);
    joined(cx, &tensors, dim)
}

/// Vectors and scalars become columns.
fn column_stack(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut columns = Vec::new();
    for x in call.tensors("tensors")? {
        let new = match cx.rank(x)? {
            0 => vec![0, 1],
            1 => vec![1],
            _ => vec![],
        };
        columns.push(viewed(cx, x, View::Unsqueeze(new))?);
    }
    joined(cx, &columns, 1)
}

/// Matrices along a diagonal, zeros elsewhere.
fn block_diag(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let blocks = raise(cx, &call.tensors("tensors")?, "aten.atleast_2d")?;
    let values = promoted(cx, &blocks)?;
    let mut widths = Vec::with_capacity(values.len());
    for &value in &values {
        widths.push(cx.b.tensor(value)?.shape[1].clone());
    }
    let total = widths.iter().fold(Dim::Const(0), |sum, w| sum.add(w));
    let mut rows = Vec::with_capacity(values.len());
    let mut before = Dim::Const(0);
    for (&value, width) in values.iter().zip(&widths) {
        let after = total.sub(&before).sub(width);
        let zero = Dim::Const(0);
        rows.push(super::pad::constant(
            cx,
            value,
            &[(zero.clone(), zero), (before.clone(), after)],
            0.0,
        )?);
        before = before.add(width);
    }
    let y = concat(cx, rows, 0)?;
    cx.one(y)
}

fn cartesian_prod(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let vectors = call.tensors("tensors")?;
    if let [one] = vectors[..] {
        return Ok(vec![Val::Tensor(one)]);
    }
    let grids = grids(cx, &vectors, false)?;
    let values = promoted(cx, &grids)?;
    let rank = vectors.len();
    let y = Stack { axis: rank as i64 }.build(&mut cx.b, values)?;
    let shape = cx.b.tensor(y)?.shape.clone();
    let y = cx.reshape(y, &[Dim::product(&shape[..rank]), Dim::Const(rank as i64)])?;
    cx.one(y)
}

/// `x` repeated as often as `name` says for its last axes; further entries add axes in front.
fn repeat(cx: &mut Cx<'_>, call: &Call<'_>, name: &str) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    let mut reps = call.dims(name)?;
    if reps.len() < rank {
        if name == "repeats" {
            return Err(LowerError::invalid("`repeats` has fewer entries than axes"));
        }
        reps.splice(0..0, vec![Dim::Const(1); rank - reps.len()]);
    }
    let mut y = cx.read(x)?;
    y = alias::unsqueeze(cx, y, &(0..reps.len() - rank).collect::<Vec<_>>())?;
    if reps.iter().any(|r| r.is(0)) {
        let ty = cx.b.tensor(y)?.clone();
        let shape: Vec<Dim> = ty.shape.iter().zip(&reps).map(|(n, r)| n.mul(r)).collect();
        let zero = cx.b.scalar(ty.dtype, 0.0)?;
        let y = super::create::filled(cx, &shape, zero)?;
        return cx.one(y);
    }
    if reps.iter().any(|r| !r.is(1)) {
        let reps = dims::vector(cx, &reps)?;
        y = Tile {}.build(&mut cx.b, y, reps)?;
    }
    cx.one(y)
}

/// Each element along an axis repeated; along the elements as a vector where no axis is named.
fn repeat_interleave(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["output_size"]);
    if !call.has("self") {
        let repeats = cx.read(call.tensor("repeats")?)?;
        let dtype = cx.b.tensor(repeats)?.dtype;
        let y = repeated_places(cx, repeats)?;
        let y = cx.cast(y, dtype)?;
        return cx.one(y);
    }
    let x = call.tensor("self")?;
    let mut value = cx.read(x)?;
    let at = match call.opt_int("dim")? {
        Some(dim) => axis(dim, cx.rank(x)?)?,
        None => {
            let count = Dim::product(&cx.shape(x)?);
            value = cx.reshape(value, &[count])?;
            0
        }
    };
    if cx.b.tensor(value)?.rank() == 0 {
        value = alias::unsqueeze(cx, value, &[0])?;
    }
    let shape = cx.b.tensor(value)?.shape.clone();
    let times = match call.get("repeats") {
        Some(Val::Tensor(repeats)) => {
            let repeats = *repeats;
            match cx.shape(repeats)?.iter().all(|extent| extent.is(1)) {
                true => {
                    let times = cx.read(repeats)?;
                    dims::from_scalar(cx, times)?
                }
                false => {
                    let repeats = cx.read(repeats)?;
                    let places = repeated_places(cx, repeats)?;
                    let op = Gather { axis: at as i64, batch_dims: 0, validate_indices: false };
                    let y = op.build(&mut cx.b, value, places)?;
                    return cx.one(y);
                }
            }
        }
        _ => call.dim("repeats")?,
    };
    if times.is(1) {
        return cx.one(value);
    }
    let y = alias::unsqueeze(cx, value, &[at + 1])?;
    let mut reps = vec![Dim::Const(1); shape.len() + 1];
    reps[at + 1] = times.clone();
    let reps = dims::vector(cx, &reps)?;
    let y = Tile {}.build(&mut cx.b, y, reps)?;
    let mut to = shape;
    to[at] = to[at].mul(&times);
    let y = cx.reshape(y, &to)?;
    cx.one(y)
}

/// Place `k` as often as `repeats[k]` says: for each place of the result, how many running totals it
/// has reached.
fn repeated_places(cx: &mut Cx<'_>, repeats: Value) -> LowerResult<Value> {
    if cx.b.tensor(repeats)?.rank() != 1 {
        return Err(LowerError::invalid("`repeats` is no vector"));
    }
    if let Some(known) = cx.b.constant_of(repeats).map(|t| t.to_i64s()).transpose()? {
        let total = known.iter().try_fold(0i64, |sum, &n| sum.checked_add(n.max(0)));
        if total.is_none_or(|n| n > 1 << 22) || known.iter().any(|&n| n < 0) {
            return Err(LowerError::argument("`repeats` asks for too many elements"));
        }
        let places: Vec<i64> =
            (0i64..).zip(known).flat_map(|(k, n)| std::iter::repeat_n(k, n as usize)).collect();
        return Ok(cx.b.ints(&places)?);
    }
    let repeats = cx.cast(repeats, DType::I32)?;
    let totals = Cumsum { axis: 0, exclusive: false, reverse: false }.build(&mut cx.b, repeats)?;
    let last = alias::select(cx, totals, 0, &Dim::Const(-1))?;
    let total = dims::from_scalar(cx, last)?;
    let places = alias::range(cx, &Dim::Const(0), &total, 1)?;
    let totals = alias::unsqueeze(cx, totals, &[0])?;
    let places = alias::unsqueeze(cx, places, &[1])?;
    let reached = cx.binary(LessEqual {}, totals, places)?;
    let reached = cx.cast(reached, DType::I32)?;
    Ok(ReduceSum { axes: Some(vec![1]), keep_dims: false }.build(&mut cx.b, reached)?)
}

/// `x` with the last `shift` elements along an axis moved to the front.
fn rolled(cx: &mut Cx<'_>, x: Value, axis: usize, shift: &Dim) -> LowerResult<Value> {
    let extent = cx.b.tensor(x)?.shape[axis].clone();
    let symbols = &cx.b.program.symbols;
    let fits = |shift: &Dim| symbols.bounds(&extent.sub(shift)).0 >= Some(1);
    // The element that comes first.
    let first = match (shift.as_const(), extent.as_const()) {
        (_, Some(0)) => return Ok(x),
        (Some(n), Some(extent)) => Dim::Const(n.wrapping_neg().rem_euclid(extent)),
        (Some(n), None) if n >= 0 && fits(shift) => match n {
            0 => Dim::Const(0),
            n => extent.sub(&Dim::Const(n)),
        },
        (Some(n), None) if n < 0 && fits(&Dim::Const(n.wrapping_neg())) => {
            Dim::Const(n.wrapping_neg())
        }
        _ => shift.mul(&Dim::Const(-1)).modulo(&extent),
    };
    if first.is(0) {
        return Ok(x);
    }
    let tail = alias::slice(cx, x, axis, (&first, &extent, 1))?;
    let head = alias::slice(cx, x, axis, (&Dim::Const(0), &first, 1))?;
    let y = concat(cx, vec![tail, head], axis)?;
    let shape = cx.b.tensor(x)?.shape.clone();
    cx.refine(y, &shape)?;
    Ok(y)
}

fn roll(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let shape = cx.shape(x)?;
    let shifts = call.dims("shifts")?;
    let named = call.opt_ints("dims")?.unwrap_or_default();
    let mut y = cx.read(x)?;
    if named.is_empty() {
        let [shift] = &shifts[..] else {
            return Err(LowerError::invalid("several `shifts` without `dims`"));
        };
        y = cx.reshape(y, &[Dim::product(&shape)])?;
        y = rolled(cx, y, 0, shift)?;
        y = cx.reshape(y, &shape)?;
        return cx.one(y);
    }
    if named.len() != shifts.len() {
        return Err(LowerError::invalid("`shifts` and `dims` differ in length"));
    }
    for (&dim, shift) in named.iter().zip(&shifts) {
        let at = axis(dim, shape.len())?;
        if !shape.is_empty() {
            y = rolled(cx, y, at, shift)?;
        }
    }
    cx.one(y)
}

/// `x` with the order along `axes` turned round.
pub(super) fn reversed(cx: &mut Cx<'_>, x: Value, axes: &[usize]) -> LowerResult<Value> {
    if axes.is_empty() {
        return Ok(x);
    }
    let axes = axes.iter().map(|&a| a as i64).collect();
    Ok(Reverse { axes: Some(axes) }.build(&mut cx.b, x)?)
}

fn flip(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    let mut at = axes(&call.ints("dims")?, rank)?;
    at.retain(|_| rank > 0);
    let y = cx.read(x)?;
    let y = reversed(cx, y, &at)?;
    cx.one(y)
}

fn flip_axis(cx: &mut Cx<'_>, call: &Call<'_>, axis: usize) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    if cx.rank(x)? <= axis {
        return Err(LowerError::invalid(format!("no axis {axis} to flip")));
    }
    let y = cx.read(x)?;
    let y = reversed(cx, y, &[axis])?;
    cx.one(y)
}

/// Quarter turns from the first to the second of two axes.
fn rot90(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    let named = call.opt_ints("dims")?.unwrap_or_else(|| vec![0, 1]);
    let &[a, b] = &axes(&named, rank)?[..] else {
        return Err(LowerError::invalid("`dims` of a rotation are two axes"));
    };
    let mut swapped: Vec<i64> = (0..rank as i64).collect();
    swapped.swap(a, b);
    let turned = |cx: &mut Cx<'_>, x: Value, axes: &[usize]| reversed(cx, x, axes);
    let swap = mlc_ir::ops::Transpose { perm: swapped };
    let y = cx.read(x)?;
    let y = match call.int_or("k", 1)?.rem_euclid(4) {
        0 => y,
        1 => {
            let y = turned(cx, y, &[b])?;
            cx.unary(swap, y)?
        }
        2 => turned(cx, y, &[a, b])?,
        _ => {
            let y = turned(cx, y, &[a])?;
            cx.unary(swap, y)?
        }
    };
    cx.one(y)
}

/// Each vector along an axis of its own, repeated along the axes of the others.
fn grids(cx: &mut Cx<'_>, vectors: &[TensorId], swap: bool) -> LowerResult<Vec<TensorId>> {
    let mut extents = Vec::with_capacity(vectors.len());
    for &x in vectors {
        if cx.rank(x)? > 1 {
            return Err(LowerError::invalid("a grid of tensors that are no vectors"));
        }
        extents.push(cx.shape(x)?.first().cloned().unwrap_or(Dim::Const(1)));
    }
    let mut order: Vec<usize> = (0..vectors.len()).collect();
    if swap && order.len() > 1 {
        order.swap(0, 1);
    }
    let to: Vec<Dim> = order.iter().map(|&i| extents[i].clone()).collect();
    let mut all = Vec::with_capacity(vectors.len());
    for (i, &x) in vectors.iter().enumerate() {
        let mut own = vec![Dim::Const(1); to.len()];
        let place = order.iter().position(|&k| k == i).unwrap_or(i);
        own[place] = extents[i].clone();
        let y = if cx.rank(x)? == 1 {
            let new = (0..to.len()).filter(|&k| k != place).collect();
            viewed(cx, x, View::Unsqueeze(new))?
        } else {
            reshaped(cx, x, own)?
        };
        all.push(viewed(cx, y, View::Expand { to: to.clone() })?);
    }
    Ok(all)
}

fn meshgrid(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let vectors = call.tensors("tensors")?;
    let swap = match call.opt_str("indexing")? {
        None | Some("ij") => false,
        Some("xy") => true,
        Some(other) => return Err(LowerError::argument(format!("`indexing` is `{other}`"))),
    };
    let all = grids(cx, &vectors, swap)?;
    Ok(vec![Val::List(all.into_iter().map(Val::Tensor).collect())])
}
