//! Sums and products along an axis.

use mlc_ir::ops::{Add, Cumsum, Mul};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::axes;
use super::join::joined;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "Cumprod", lower: cumprod },
    Lowering { name: "Cumsum", lower: cumsum },
    Lowering { name: "CumulativeLogsumexp", lower: cumulative_logsumexp },
];

/// Along which axis, and how.
struct Scan {
    axis: usize,
    exclusive: bool,
    reverse: bool,
}

fn scan(cx: &Cx<'_>, call: &Call<'_>) -> LowerResult<(Value, Scan)> {
    let x = call.tensor(0)?;
    let axis = axes::axis(cx.need_int(call.tensor(1)?, "axis")?, cx.rank(x)?)?;
    let exclusive = call.bool_or("exclusive", false)?;
    let reverse = call.bool_or("reverse", false)?;
    Ok((x, Scan { axis, exclusive, reverse }))
}

fn cumsum(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, scan) = scan(cx, call)?;
    let dtype = cx.dtype(x)?;
    if dtype.is_int() && dtype.bits() < 32 {
        return Err(LowerError::dtype(format!("sums of {dtype} that wrap around")));
    }
    let (axis, exclusive, reverse) = (scan.axis as i64, scan.exclusive, scan.reverse);
    let y = cx.unary(Cumsum { axis, exclusive, reverse }, x)?;
    cx.one(y)
}

/// Products by doubling: after step k each element is the product of the last 2^k.
fn cumprod(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, scan) = scan(cx, call)?;
    let one = cx.scalar_like(x, 1.0)?;
    let y = doubled(cx, x, &scan, (one, |cx, a, b| cx.binary(Mul {}, a, b)))?;
    cx.one(y)
}

fn cumulative_logsumexp(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, scan) = scan(cx, call)?;
    // The least number stands for the logarithm of 0: the difference of two infinities is no number.
    let lowest = cx.scalar_like(x, if cx.dtype(x)? == DType::F16 { -65504.0 } else { -3.4e38 })?;
    let nothing = cx.scalar_like(x, f64::NEG_INFINITY)?;
    let x = cx.binary(mlc_ir::ops::Maximum {}, x, lowest)?;
    let y = doubled(cx, x, &scan, (lowest, log_add_exp))?;
    let empty = cx.binary(mlc_ir::ops::LessEqual {}, y, lowest)?;
    let y = cx.select(empty, nothing, y)?;
    cx.one(y)
}

/// `ln(eᵃ + eᵇ)`
fn log_add_exp(cx: &mut Cx<'_>, a: Value, b: Value) -> LowerResult<Value> {
    let high = cx.binary(mlc_ir::ops::Maximum {}, a, b)?;
    let gap = cx.binary(mlc_ir::ops::Sub {}, a, b)?;
    let gap = cx.unary(mlc_ir::ops::Abs {}, gap)?;
    let gap = super::elementwise::negated(cx, gap)?;
    let small = cx.unary(mlc_ir::ops::Exp {}, gap)?;
    let rest = super::elementwise::log1p_value(cx, small)?;
    cx.binary(Add {}, high, rest)
}

type Combine = fn(&mut Cx<'_>, Value, Value) -> LowerResult<Value>;

fn doubled(
    cx: &mut Cx<'_>,
    x: Value,
    scan: &Scan,
    (neutral, combine): (Value, Combine),
) -> LowerResult<Value> {
    let shape = cx.shape(x)?;
    let extent = shape[scan.axis]
        .as_const()
        .ok_or_else(|| LowerError::dynamic("a product along an axis whose extent is not known"))?;
    if extent == 0 {
        return Ok(x);
    }
    let mut y = x;
    if scan.exclusive {
        y = shifted(cx, y, scan, (1, neutral))?;
    }
    let mut step = 1;
    while step < extent {
        let moved = shifted(cx, y, scan, (step, neutral))?;
        y = combine(cx, y, moved)?;
        step *= 2;
    }
    Ok(y)
}

/// `x` moved along the axis in the direction of the walk, with `neutral` moved in.
fn shifted(
    cx: &mut Cx<'_>,
    x: Value,
    scan: &Scan,
    (by, neutral): (i64, Value),
) -> LowerResult<Value> {
    let mut shape = cx.shape(x)?;
    let extent = shape[scan.axis].as_const().unwrap_or(0);
    let by = by.min(extent);
    shape[scan.axis] = Dim::Const(by);
    let block = cx.filled(&shape, neutral)?;
    if by == extent {
        return Ok(block);
    }
    let start = if scan.reverse { by } else { 0 };
    let kept = super::slice::window(cx, x, scan.axis, (start, extent - by))?;
    let parts = if scan.reverse { vec![kept, block] } else { vec![block, kept] };
    joined(cx, parts, scan.axis)
}
