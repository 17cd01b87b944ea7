//! Running totals along an axis.
//!
//! All but sums are computed in steps that double the span: after the step of distance `d` an
//! element holds the total of the last `2d` elements up to it.

use mlc_ir::ops::{
    Abs, Add, Concat, Cumsum, Equal, Exp, Fill, GreaterEqual, LessEqual, Log, LogicalOr, Maximum,
    Mul, NotEqual, Select, Sub,
};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::{DType, Tensor};

use super::reduction::one_axis;
use crate::lower::alias::slice;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.cumsum", lower: cumsum },
    Lowering { name: "aten.cumprod", lower: cumprod },
    Lowering { name: "aten.logcumsumexp", lower: logcumsumexp },
    Lowering { name: "aten.cummax", lower: |cx, call| cumulative_extremum(cx, call, true) },
    Lowering { name: "aten.cummin", lower: |cx, call| cumulative_extremum(cx, call, false) },
];

/// The operand in the element type of the totals, and the axis.
fn operand(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<(Value, Option<usize>)> {
    let x = call.tensor("self")?;
    let own = cx.dtype(x)?;
    let default = if own.is_float() { own } else { DType::I64 };
    let x = cx.read_as(x, call.opt_dtype("dtype")?.unwrap_or(default))?;
    let axis = one_axis(call.int("dim")?, cx.b.tensor(x)?.rank())?;
    Ok((x, axis))
}

fn cumsum(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, axis) = operand(cx, call)?;
    let Some(axis) = axis else { return cx.one(x) };
    let y = cx.unary(Cumsum { axis: axis as i64, exclusive: false, reverse: false }, x)?;
    cx.one(y)
}

/// The distances of the steps: powers of 2 below the extent.
fn distances(cx: &Cx<'_>, extent: &Dim) -> LowerResult<Vec<i64>> {
    let most = cx.b.program.symbols.bounds(extent).1.ok_or_else(|| {
        LowerError::dynamic(format!("a running total over the extent {extent}, which has no bound"))
            .help("give the dynamic extent a maximum, `torch.export.Dim(name, max=…)`")
    })?;
    Ok((0..62).map(|i| 1i64 << i).take_while(|&d| d < most).collect())
}

/// `x` moved back by `distance` along `axis`, `fill` in the gap.
fn delayed(
    cx: &mut Cx<'_>,
    x: Value,
    axis: usize,
    (distance, fill): (i64, Value),
) -> LowerResult<Value> {
    let shape = cx.b.tensor(x)?.shape.clone();
    let extent = shape[axis].clone();
    let mut gap = shape;
    gap[axis] = Dim::Const(distance);
    let gap = dims::vector(cx, &gap)?;
    let gap = Fill {}.build(&mut cx.b, gap, Some(fill))?;
    let joined = Concat { axis: axis as i64, interleave: false }.build(&mut cx.b, vec![gap, x])?;
    slice(cx, joined, axis, (&Dim::Const(0), &extent, 1))
}

fn cumprod(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (mut x, axis) = operand(cx, call)?;
    let Some(axis) = axis else { return cx.one(x) };
    let ty = cx.b.tensor(x)?.clone();
    let one = cx.b.scalar(ty.dtype, 1.0)?;
    for distance in distances(cx, &ty.shape[axis])? {
        let before = delayed(cx, x, axis, (distance, one))?;
        x = cx.binary(Mul {}, before, x)?;
    }
    cx.one(x)
}

/// `ln(eᵃ + eᵇ)`, from the greater of both; of equal ones `a + ln 2`, which serves for infinities.
fn log_add_exp(cx: &mut Cx<'_>, a: Value, b: Value) -> LowerResult<Value> {
    let dtype = cx.b.tensor(a)?.dtype;
    let (one, zero) = (cx.b.scalar(dtype, 1.0)?, cx.b.scalar(dtype, 0.0)?);
    let ln2 = cx.b.scalar(dtype, std::f64::consts::LN_2)?;
    let greater = cx.binary(Maximum {}, a, b)?;
    let difference = cx.binary(Sub {}, a, b)?;
    let gap = cx.unary(Abs {}, difference)?;
    let gap = cx.binary(Sub {}, zero, gap)?;
    let lesser = cx.unary(Exp {}, gap)?;
    let sum = cx.binary(Add {}, one, lesser)?;
    let log = cx.unary(Log { epsilon: F64(0.0) }, sum)?;
    let apart = cx.binary(Add {}, greater, log)?;
    let same = cx.binary(Add {}, a, ln2)?;
    let equal = cx.binary(Equal {}, a, b)?;
    Ok(Select {}.build(&mut cx.b, equal, same, apart)?)
}

fn logcumsumexp(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut x = super::unary::float_operand(cx, call)?;
    let ty = cx.b.tensor(x)?.clone();
    let Some(axis) = one_axis(call.int("dim")?, ty.rank())? else { return cx.one(x) };
    let nothing = cx.b.scalar(ty.dtype, f64::NEG_INFINITY)?;
    for distance in distances(cx, &ty.shape[axis])? {
        let before = delayed(cx, x, axis, (distance, nothing))?;
        x = log_add_exp(cx, before, x)?;
    }
    cx.one(x)
}

/// The greatest or least element so far, and the last position that holds it. NaN, once met, stays.
fn cumulative_extremum(cx: &mut Cx<'_>, call: &Call<'_>, greatest: bool) -> LowerResult<Vec<Val>> {
    let own = cx.dtype(call.tensor("self")?)?;
    let wide = if own == DType::Bool { DType::I32 } else { own };
    let mut x = cx.read_as(call.tensor("self")?, wide)?;
    let ty = cx.b.tensor(x)?.clone();
    let Some(axis) = one_axis(call.int("dim")?, ty.rank())? else {
        let zero = cx.b.constant(Tensor::from_i64s(DType::I64, &[], &[0])?)?;
        let x = cx.cast(x, own)?;
        return Ok(vec![cx.fresh(x), cx.fresh(zero)]);
    };
    let mut at = positions(cx, &ty.shape, axis)?;
    let fill = match ty.dtype.int_range() {
        Some((low, high)) => {
            let least = if greatest { low } else { high };
            cx.b.constant(Tensor::from_i64s(ty.dtype, &[], &[least])?)?
        }
        None if greatest => cx.b.scalar(ty.dtype, f64::NEG_INFINITY)?,
        None => cx.b.scalar(ty.dtype, f64::INFINITY)?,
    };
    let none = cx.b.constant(Tensor::from_i64s(DType::I32, &[], &[0])?)?;
    for distance in distances(cx, &ty.shape[axis])? {
        let before = delayed(cx, x, axis, (distance, fill))?;
        let at_before = delayed(cx, at, axis, (distance, none))?;
        let mut newer = if greatest {
            cx.binary(GreaterEqual {}, x, before)?
        } else {
            cx.binary(LessEqual {}, x, before)?
        };
        if ty.dtype.is_float() {
            let nan = cx.binary(NotEqual {}, x, x)?;
            newer = cx.binary(LogicalOr {}, newer, nan)?;
        }
        x = Select {}.build(&mut cx.b, newer, x, before)?;
        at = Select {}.build(&mut cx.b, newer, at, at_before)?;
    }
    let (x, at) = (cx.cast(x, own)?, cx.cast(at, DType::I64)?);
    Ok(vec![cx.fresh(x), cx.fresh(at)])
}

/// The position of each element along `axis`, as `i32` of the given shape.
fn positions(cx: &mut Cx<'_>, shape: &[Dim], axis: usize) -> LowerResult<Value> {
    let extents = dims::vector(cx, shape)?;
    let one = cx.b.int(1)?;
    let ones = Fill {}.build(&mut cx.b, extents, Some(one))?;
    cx.unary(Cumsum { axis: axis as i64, exclusive: true, reverse: false }, ones)
}
