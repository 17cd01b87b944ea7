//! Padding.

use mlc_ir::attr::PadMode;
use mlc_ir::ops::{Pad, Tile};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::DType;

use super::join::{concat, reversed};
use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.pad", lower: pad },
    Lowering { name: "aten.constant_pad_nd", lower: constant_pad_nd },
    Lowering { name: "aten.reflection_pad1d", lower: |cx, call| named(cx, call, Mode::Reflect) },
    Lowering { name: "aten.reflection_pad2d", lower: |cx, call| named(cx, call, Mode::Reflect) },
    Lowering { name: "aten.reflection_pad3d", lower: |cx, call| named(cx, call, Mode::Reflect) },
    Lowering { name: "aten.replication_pad1d", lower: |cx, call| named(cx, call, Mode::Replicate) },
    Lowering { name: "aten.replication_pad2d", lower: |cx, call| named(cx, call, Mode::Replicate) },
    Lowering { name: "aten.replication_pad3d", lower: |cx, call| named(cx, call, Mode::Replicate) },
    Lowering { name: "aten._pad_circular", lower: |cx, call| named(cx, call, Mode::Circular) },
    Lowering { name: "aten._pad_enum", lower: pad_enum },
];

/// What stands beyond the edges.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    /// A number.
    Constant(f64),
    /// The elements mirrored at the edge element.
    Reflect,
    /// The edge element.
    Replicate,
    /// The elements from the other end.
    Circular,
}

/// Elements added before and after one axis; negative ones are cut off.
type Amounts = (Dim, Dim);

fn pad(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let value = call.opt_float("value")?;
    let mode = match call.opt_str("mode")? {
        None | Some("constant") => Mode::Constant(value.unwrap_or(0.0)),
        Some("reflect") => Mode::Reflect,
        Some("replicate") => Mode::Replicate,
        Some("circular") => Mode::Circular,
        Some(other) => return Err(LowerError::argument(format!("`mode` is `{other}`"))),
    };
    if value.is_some_and(|v| v != 0.0) && !matches!(mode, Mode::Constant(_)) {
        return Err(LowerError::invalid("`value` is for the mode `constant` alone"));
    }
    padded(cx, call, &call.dims("pad")?, mode)
}

fn constant_pad_nd(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let value = call.opt_float("value")?.unwrap_or(0.0);
    padded(cx, call, &call.dims("pad")?, Mode::Constant(value))
}

fn named(cx: &mut Cx<'_>, call: &Call<'_>, mode: Mode) -> LowerResult<Vec<Val>> {
    let name = if call.has("padding") { "padding" } else { "pad" };
    padded(cx, call, &call.dims(name)?, mode)
}

fn pad_enum(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let value = call.opt_float("value")?;
    let mode = match call.int("mode")? {
        0 => Mode::Constant(value.unwrap_or(0.0)),
        1 => Mode::Reflect,
        2 => Mode::Replicate,
        3 => Mode::Circular,
        other => return Err(LowerError::invalid(format!("`mode` is {other}"))),
    };
    padded(cx, call, &call.dims("pad")?, mode)
}

/// Torch's list, two entries an axis from the last axis on, as one pair for each axis from the first
/// padded one on.
fn pairs(list: &[Dim], rank: usize) -> LowerResult<Vec<Amounts>> {
    let (pairs, []) = list.as_chunks::<2>() else {
        return Err(LowerError::invalid(format!("{} amounts of padding", list.len())));
    };
    if pairs.len() > rank {
        return Err(LowerError::invalid(format!(
            "padding for {} axes of a tensor of rank {rank}",
            pairs.len()
        )));
    }
    Ok(pairs.iter().rev().map(|[before, after]| (before.clone(), after.clone())).collect())
}

fn padded(cx: &mut Cx<'_>, call: &Call<'_>, list: &[Dim], mode: Mode) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (rank, dtype) = (cx.rank(x)?, cx.dtype(x)?);
    let pairs = pairs(list, rank)?;
    let x = cx.read(x)?;
    let y = match mode {
        Mode::Constant(value) => {
            let value = representable(value, dtype)?;
            let x = cropped(cx, x, &pairs)?;
            constant(cx, x, &added(cx, &pairs)?, value)?
        }
        Mode::Circular => {
            let x = cropped(cx, x, &pairs)?;
            let amounts = added(cx, &pairs)?;
            let mut y = x;
            for (i, pair) in amounts.iter().enumerate() {
                y = extended(cx, y, (rank - amounts.len() + i, pair), mode)?;
            }
            y
        }
        Mode::Reflect | Mode::Replicate => {
            let amounts = added(cx, &pairs)?;
            let y = mirrored(cx, x, &amounts, mode)?;
            cropped(cx, y, &pairs)?
        }
    };
    cx.one(y)
}

/// The number as the element type holds it.
fn representable(value: f64, dtype: DType) -> LowerResult<f64> {
    let one = mlc_tensor::Tensor::from_f64s(dtype, &[], &[value])?;
    Ok(one.to_f64s()?.first().copied().unwrap_or(value))
}

/// The sign of an amount must be known.
fn is_negative(cx: &Cx<'_>, amount: &Dim) -> LowerResult<bool> {
    match cx.b.program.symbols.bounds(amount) {
        (Some(low), _) if low >= 0 => Ok(false),
        (_, Some(high)) if high < 0 => Ok(true),
        _ => Err(LowerError::dynamic(format!("whether `{amount}` adds or removes elements"))
            .help("make sure that the padding cannot be negative, or narrow the extents' ranges")),
    }
}

/// The amounts that add elements; 0 for the others.
fn added(cx: &Cx<'_>, pairs: &[Amounts]) -> LowerResult<Vec<Amounts>> {
    let one = |amount: &Dim| {
        Ok::<_, LowerError>(if is_negative(cx, amount)? { Dim::Const(0) } else { amount.clone() })
    };
    pairs.iter().map(|(before, after)| Ok((one(before)?, one(after)?))).collect()
}

/// `x` without the elements that negative amounts cut off its last axes.
fn cropped(cx: &mut Cx<'_>, x: Value, pairs: &[Amounts]) -> LowerResult<Value> {
    let mut y = x;
    for (i, (before, after)) in pairs.iter().enumerate() {
        let shape = cx.b.tensor(y)?.shape.clone();
        let axis = shape.len() - pairs.len() + i;
        let start = match is_negative(cx, before)? {
            true => before.mul(&Dim::Const(-1)),
            false => Dim::Const(0),
        };
        let end = match is_negative(cx, after)? {
            true => shape[axis].add(after),
            false => shape[axis].clone(),
        };
        y = alias::slice(cx, y, axis, (&start, &end, 1))?;
    }
    Ok(y)
}

/// `x` with `value` around its last axes; no amount is negative.
pub(super) fn constant(
    cx: &mut Cx<'_>,
    x: Value,
    pairs: &[Amounts],
    value: f64,
) -> LowerResult<Value> {
    emit(cx, x, pairs, (PadMode::Constant, value))
}

fn emit(
    cx: &mut Cx<'_>,
    x: Value,
    pairs: &[Amounts],
    (mode, value): (PadMode, f64),
) -> LowerResult<Value> {
    let skip = pairs.iter().take_while(|(a, b)| a.is(0) && b.is(0)).count();
    let mut flat: Vec<Dim> =
        pairs[skip..].iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    if flat.is_empty() {
        return Ok(x);
    }
    if flat.iter().any(|amount| amount.as_const().is_none()) {
        // Amounts that are not constant must be given for every axis.
        let rest = 2 * cx.b.tensor(x)?.rank() - flat.len();
        flat.splice(0..0, vec![Dim::Const(0); rest]);
    }
    let amounts = dims::vector(cx, &flat)?;
    Ok(Pad { mode, constant_val: F64(value) }.build(&mut cx.b, x, amounts)?)
}

/// Reflects or replicates: the last two axes by the op, which takes no more, the others by joining
/// parts.
fn mirrored(cx: &mut Cx<'_>, x: Value, pairs: &[Amounts], mode: Mode) -> LowerResult<Value> {
    let shape = cx.b.tensor(x)?.shape.clone();
    let (others, last) = pairs.split_at(pairs.len().saturating_sub(2));
    let word = if mode == Mode::Reflect { PadMode::Reflect } else { PadMode::Replicate };
    let mut y = emit(cx, x, last, (word, 0.0))?;
    for (i, pair) in others.iter().enumerate() {
        y = extended(cx, y, (shape.len() - pairs.len() + i, pair), mode)?;
    }
    Ok(y)
}

/// `x` with parts of itself before and after one axis.
fn extended(
    cx: &mut Cx<'_>,
    x: Value,
    (axis, (before, after)): (usize, &Amounts),
    mode: Mode,
) -> LowerResult<Value> {
    let extent = cx.b.tensor(x)?.shape[axis].clone();
    let room = if mode == Mode::Reflect { extent.sub(&Dim::Const(1)) } else { extent.clone() };
    let too_much = |amount: &Dim| cx.b.program.symbols.bounds(&room.sub(amount)).1 < Some(0);
    let bounded = |amount: &Dim| cx.b.program.symbols.bounds(&room.sub(amount)).1.is_some();
    if mode != Mode::Replicate
        && [before, after].into_iter().any(|amount| bounded(amount) && too_much(amount))
    {
        return Err(LowerError::invalid(format!(
            "padding of {before} and {after} around an extent of {extent}"
        )));
    }
    let (zero, one) = (Dim::Const(0), Dim::Const(1));
    let last = extent.sub(&one);
    let mut parts = Vec::with_capacity(3);
    if !before.is(0) {
        parts.push(match mode {
            Mode::Reflect => {
                let part = alias::slice(cx, x, axis, (&one, &before.add(&one), 1))?;
                reversed(cx, part, &[axis])?
            }
            Mode::Replicate => edge(cx, x, (axis, &zero), before)?,
            Mode::Circular | Mode::Constant(_) => {
                alias::slice(cx, x, axis, (&extent.sub(before), &extent, 1))?
            }
        });
    }
    parts.push(x);
    if !after.is(0) {
        parts.push(match mode {
            Mode::Reflect => {
                let part = alias::slice(cx, x, axis, (&last.sub(after), &last, 1))?;
                reversed(cx, part, &[axis])?
            }
            Mode::Replicate => edge(cx, x, (axis, &last), after)?,
            Mode::Circular | Mode::Constant(_) => alias::slice(cx, x, axis, (&zero, after, 1))?,
        });
    }
    concat(cx, parts, axis)
}

/// One element along an axis, repeated.
fn edge(cx: &mut Cx<'_>, x: Value, (axis, at): (usize, &Dim), times: &Dim) -> LowerResult<Value> {
    let part = alias::slice(cx, x, axis, (at, &at.add(&Dim::Const(1)), 1))?;
    if times.is(1) {
        return Ok(part);
    }
    let mut reps = vec![Dim::Const(1); cx.b.tensor(x)?.rank()];
    reps[axis] = times.clone();
    let reps = dims::vector(cx, &reps)?;
    Ok(Tile {}.build(&mut cx.b, part, reps)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torch_counts_from_the_last_axis() {
        let list: Vec<Dim> = [1, 2, 3, 4].map(Dim::Const).to_vec();
        let want = vec![(3.into(), 4.into()), (1.into(), 2.into())];
        assert_eq!(pairs(&list, 2), Ok(want));
        assert!(pairs(&list, 1).is_err());
        assert!(pairs(&list[..3], 2).is_err());
    }
}
