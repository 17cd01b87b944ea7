//! Elementwise functions of one operand.

use mlc_ir::ops::{
    Abs, Acos, Add, Asin, Atan, Atanh, Ceil, Cos, Cosh, Erf, Exp, Exp2, Floor, Inverse, Log, Mul,
    RealDiv, Round, Rsqrt, Select, Sigmoid, Sign, Sin, Sinh, Sqrt, Square, Sub, Tan, Tanh,
};
use mlc_ir::{F64, Op, Value};
use mlc_tensor::DType;

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.abs", lower: abs },
    Lowering { name: "aten.neg", lower: neg },
    Lowering { name: "aten.positive", lower: positive },
    Lowering { name: "aten.sign", lower: sign },
    Lowering { name: "aten.sgn", lower: sign },
    Lowering { name: "aten.ceil", lower: |cx, call| rounding(cx, call, Ceil {}) },
    Lowering { name: "aten.floor", lower: |cx, call| rounding(cx, call, Floor {}) },
    Lowering { name: "aten.round", lower: round },
    Lowering { name: "aten.trunc", lower: trunc },
    Lowering { name: "aten.frac", lower: frac },
    Lowering { name: "aten.acos", lower: |cx, call| float(cx, call, Acos {}) },
    Lowering { name: "aten.asin", lower: |cx, call| float(cx, call, Asin {}) },
    Lowering { name: "aten.atan", lower: |cx, call| float(cx, call, Atan {}) },
    Lowering { name: "aten.atanh", lower: |cx, call| float(cx, call, Atanh {}) },
    Lowering { name: "aten.acosh", lower: acosh },
    Lowering { name: "aten.asinh", lower: asinh },
    Lowering { name: "aten.cos", lower: |cx, call| float(cx, call, Cos {}) },
    Lowering { name: "aten.cosh", lower: |cx, call| float(cx, call, Cosh {}) },
    Lowering { name: "aten.sin", lower: |cx, call| float(cx, call, Sin {}) },
    Lowering { name: "aten.sinh", lower: |cx, call| float(cx, call, Sinh {}) },
    Lowering { name: "aten.tan", lower: |cx, call| float(cx, call, Tan {}) },
    Lowering { name: "aten.tanh", lower: |cx, call| float(cx, call, Tanh {}) },
    Lowering { name: "aten.erf", lower: |cx, call| float(cx, call, Erf {}) },
    Lowering { name: "aten.exp", lower: |cx, call| float(cx, call, Exp {}) },
    Lowering { name: "aten.exp2", lower: |cx, call| float(cx, call, Exp2 {}) },
    Lowering { name: "aten.expm1", lower: expm1 },
    Lowering { name: "aten.sqrt", lower: |cx, call| float(cx, call, Sqrt {}) },
    Lowering { name: "aten.rsqrt", lower: |cx, call| float(cx, call, Rsqrt { epsilon: F64(0.0) }) },
    Lowering { name: "aten.log", lower: |cx, call| float(cx, call, Log { epsilon: F64(0.0) }) },
    Lowering {
        name: "aten.log2",
        lower: |cx, call| scaled_log(cx, call, std::f64::consts::LOG2_E),
    },
    Lowering {
        name: "aten.log10",
        lower: |cx, call| scaled_log(cx, call, std::f64::consts::LOG10_E),
    },
    Lowering { name: "aten.log1p", lower: log1p },
    Lowering {
        name: "aten.reciprocal",
        lower: |cx, call| float(cx, call, Inverse { epsilon: F64(0.0) }),
    },
    Lowering { name: "aten.sigmoid", lower: |cx, call| float(cx, call, Sigmoid {}) },
    Lowering { name: "aten.logit", lower: logit },
];

/// The value of `self`, integers and truth values as `f32`: what functions with float results do.
pub(super) fn float_operand(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Value> {
    let x = call.tensor("self")?;
    let dtype = cx.dtype(x)?;
    cx.read_as(x, if dtype.is_float() { dtype } else { DType::F32 })
}

fn float(cx: &mut Cx<'_>, call: &Call<'_>, op: impl Into<Op>) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let y = cx.unary(op, x)?;
    cx.one(y)
}

fn abs(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let y = if cx.b.tensor(x)?.dtype == DType::Bool { x } else { cx.unary(Abs {}, x)? };
    cx.one(y)
}

fn neg(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let dtype = cx.b.tensor(x)?.dtype;
    if dtype == DType::Bool {
        return Err(LowerError::dtype("the negative of a truth value"));
    }
    let minus = cx.b.scalar(dtype, -1.0)?;
    let y = if dtype.is_float() || dtype.int_range().is_some_and(|r| r.0 < 0) {
        cx.binary(Mul {}, x, minus)?
    } else {
        let zero = cx.b.scalar(dtype, 0.0)?;
        cx.binary(Sub {}, zero, x)?
    };
    cx.one(y)
}

fn positive(_: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    Ok(vec![Val::Tensor(call.tensor("self")?)])
}

fn sign(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let y = if cx.b.tensor(x)?.dtype == DType::Bool { x } else { cx.unary(Sign {}, x)? };
    cx.one(y)
}

/// An op that integers are fixed points of.
fn rounding(cx: &mut Cx<'_>, call: &Call<'_>, op: impl Into<Op>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let y = if cx.b.tensor(x)?.dtype.is_float() { cx.unary(op, x)? } else { x };
    cx.one(y)
}

/// `round(x · 10^decimals) / 10^decimals`, halves to even.
fn round(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let decimals = call.int_or("decimals", 0)?;
    if decimals == 0 {
        return rounding(cx, call, Round {});
    }
    let x = cx.read(call.tensor("self")?)?;
    let dtype = cx.b.tensor(x)?.dtype;
    if !dtype.is_float() {
        return Err(LowerError::dtype(format!("{dtype} rounded to {decimals} decimals")));
    }
    let factor = 10f64.powi(i32::try_from(decimals.abs()).unwrap_or(i32::MAX));
    let factor = cx.b.scalar(dtype, factor)?;
    let y = if decimals > 0 {
        let x = cx.binary(Mul {}, x, factor)?;
        let x = cx.unary(Round {}, x)?;
        cx.binary(RealDiv {}, x, factor)?
    } else {
        let x = cx.binary(RealDiv {}, x, factor)?;
        let x = cx.unary(Round {}, x)?;
        cx.binary(Mul {}, x, factor)?
    };
    cx.one(y)
}

/// `x` without its fraction: `⌊x⌋` above 0, `⌈x⌉` below.
pub(super) fn trunc_value(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let dtype = cx.b.tensor(x)?.dtype;
    let (down, up) = (cx.unary(Floor {}, x)?, cx.unary(Ceil {}, x)?);
    let zero = cx.b.scalar(dtype, 0.0)?;
    let negative = cx.binary(mlc_ir::ops::Less {}, x, zero)?;
    Ok(Select {}.build(&mut cx.b, negative, up, down)?)
}

fn trunc(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let y = if cx.b.tensor(x)?.dtype.is_float() { trunc_value(cx, x)? } else { x };
    cx.one(y)
}

fn frac(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let whole = trunc_value(cx, x)?;
    let y = cx.binary(Sub {}, x, whole)?;
    cx.one(y)
}

/// `ln(x + √(x² − 1))`
fn acosh(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let one = cx.b.scalar(cx.b.tensor(x)?.dtype, 1.0)?;
    let square = cx.unary(Square {}, x)?;
    let inner = cx.binary(Sub {}, square, one)?;
    let root = cx.unary(Sqrt {}, inner)?;
    let sum = cx.binary(Add {}, x, root)?;
    let y = cx.unary(Log { epsilon: F64(0.0) }, sum)?;
    cx.one(y)
}

/// `sign(x) · ln(|x| + √(x² + 1))`: the absolute value keeps the sum from cancelling.
fn asinh(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let one = cx.b.scalar(cx.b.tensor(x)?.dtype, 1.0)?;
    let square = cx.unary(Square {}, x)?;
    let inner = cx.binary(Add {}, square, one)?;
    let root = cx.unary(Sqrt {}, inner)?;
    let size = cx.unary(Abs {}, x)?;
    let sum = cx.binary(Add {}, size, root)?;
    let log = cx.unary(Log { epsilon: F64(0.0) }, sum)?;
    let sign = cx.unary(Sign {}, x)?;
    let y = cx.binary(Mul {}, sign, log)?;
    cx.one(y)
}

/// `2·e^(x/2)·sinh(x/2)`, which does not cancel near 0.
fn expm1(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let y = expm1_value(cx, x)?;
    cx.one(y)
}

/// `eˣ − 1`.
pub(super) fn expm1_value(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let dtype = cx.b.tensor(x)?.dtype;
    let (half, two) = (cx.b.scalar(dtype, 0.5)?, cx.b.scalar(dtype, 2.0)?);
    let h = cx.binary(Mul {}, x, half)?;
    let (e, s) = (cx.unary(Exp {}, h)?, cx.unary(Sinh {}, h)?);
    let product = cx.binary(Mul {}, e, s)?;
    cx.binary(Mul {}, product, two)
}

fn scaled_log(cx: &mut Cx<'_>, call: &Call<'_>, factor: f64) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let log = cx.unary(Log { epsilon: F64(0.0) }, x)?;
    let factor = cx.b.scalar(cx.b.tensor(x)?.dtype, factor)?;
    let y = cx.binary(Mul {}, log, factor)?;
    cx.one(y)
}

/// `2·artanh(x / (x + 2))`, which does not cancel near 0.
fn log1p(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let y = log1p_value(cx, x)?;
    cx.one(y)
}

/// `ln(1 + x)`.
pub(super) fn log1p_value(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let two = cx.b.scalar(cx.b.tensor(x)?.dtype, 2.0)?;
    let below = cx.binary(Add {}, x, two)?;
    let ratio = cx.binary(RealDiv {}, x, below)?;
    let area = cx.unary(Atanh {}, ratio)?;
    cx.binary(Mul {}, area, two)
}

/// `ln(z / (1 − z))`, `z` being `x` held within `[eps, 1 − eps]` where `eps` is given.
fn logit(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut x = float_operand(cx, call)?;
    let dtype = cx.b.tensor(x)?.dtype;
    if let Some(eps) = call.opt_float("eps")? {
        let (low, high) = (cx.b.scalar(dtype, eps)?, cx.b.scalar(dtype, 1.0 - eps)?);
        x = cx.binary(mlc_ir::ops::Maximum {}, x, low)?;
        x = cx.binary(mlc_ir::ops::Minimum {}, x, high)?;
    }
    let one = cx.b.scalar(dtype, 1.0)?;
    let rest = cx.binary(Sub {}, one, x)?;
    let odds = cx.binary(RealDiv {}, x, rest)?;
    let y = cx.unary(Log { epsilon: F64(0.0) }, odds)?;
    cx.one(y)
}
