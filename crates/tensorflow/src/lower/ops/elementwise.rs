//! Elementwise arithmetic.

use mlc_ir::ops::{
    Abs, Acos, Add, Asin, Atan, Atanh, Ceil, Clip, Cos, Cosh, Equal, Erf, Exp, Floor, FloorDiv,
    Greater, Inverse, Less, Log, LogicalAnd, Maximum, Minimum, Mod, Mul, NotEqual, Pow, RealDiv,
    Round, Rsqrt, Sign, Sin, Sinh, Sqrt, Square, Sub, Tan, Tanh,
};
use mlc_ir::{Dim, F64, Op, Value};
use mlc_tensor::DType;

use super::axes::Layout;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "Abs", lower: |cx, call| number(cx, call, Abs {}) },
    Lowering { name: "AccumulateNV2", lower: add_n },
    Lowering { name: "Acos", lower: |cx, call| float(cx, call, Acos {}) },
    Lowering { name: "Acosh", lower: acosh },
    Lowering { name: "Add", lower: |cx, call| arithmetic(cx, call, Add {}) },
    Lowering { name: "AddN", lower: add_n },
    Lowering { name: "AddV2", lower: |cx, call| arithmetic(cx, call, Add {}) },
    Lowering { name: "Asin", lower: |cx, call| float(cx, call, Asin {}) },
    Lowering { name: "Asinh", lower: asinh },
    Lowering { name: "Atan", lower: |cx, call| float(cx, call, Atan {}) },
    Lowering { name: "Atan2", lower: atan2 },
    Lowering { name: "Atanh", lower: |cx, call| float(cx, call, Atanh {}) },
    Lowering { name: "BiasAdd", lower: bias_add },
    Lowering { name: "BiasAddV1", lower: bias_add },
    Lowering { name: "Ceil", lower: |cx, call| float(cx, call, Ceil {}) },
    Lowering { name: "ClipByValue", lower: clip_by_value },
    Lowering { name: "Cos", lower: |cx, call| float(cx, call, Cos {}) },
    Lowering { name: "Cosh", lower: |cx, call| float(cx, call, Cosh {}) },
    Lowering { name: "Div", lower: divide },
    Lowering { name: "DivNoNan", lower: div_no_nan },
    Lowering { name: "Erf", lower: |cx, call| float(cx, call, Erf {}) },
    Lowering { name: "Erfc", lower: erfc },
    Lowering { name: "Exp", lower: |cx, call| float(cx, call, Exp {}) },
    Lowering { name: "Expm1", lower: expm1 },
    Lowering { name: "Floor", lower: |cx, call| float(cx, call, Floor {}) },
    Lowering { name: "FloorDiv", lower: |cx, call| arithmetic(cx, call, FloorDiv {}) },
    Lowering { name: "FloorMod", lower: |cx, call| arithmetic(cx, call, Mod {}) },
    Lowering { name: "Inv", lower: reciprocal },
    Lowering { name: "Log", lower: |cx, call| float(cx, call, Log { epsilon: F64(0.0) }) },
    Lowering { name: "Log1p", lower: log1p },
    Lowering { name: "Maximum", lower: |cx, call| arithmetic(cx, call, Maximum {}) },
    Lowering { name: "Minimum", lower: |cx, call| arithmetic(cx, call, Minimum {}) },
    Lowering { name: "Mod", lower: truncate_mod },
    Lowering { name: "Mul", lower: |cx, call| arithmetic(cx, call, Mul {}) },
    Lowering { name: "MulNoNan", lower: mul_no_nan },
    Lowering { name: "Neg", lower: neg },
    Lowering { name: "Pow", lower: pow },
    Lowering { name: "RealDiv", lower: divide },
    Lowering { name: "Reciprocal", lower: reciprocal },
    Lowering { name: "Rint", lower: |cx, call| float(cx, call, Round {}) },
    Lowering { name: "Round", lower: round },
    Lowering { name: "Rsqrt", lower: |cx, call| float(cx, call, Rsqrt { epsilon: F64(0.0) }) },
    Lowering { name: "Sign", lower: |cx, call| number(cx, call, Sign {}) },
    Lowering { name: "Sin", lower: |cx, call| float(cx, call, Sin {}) },
    Lowering { name: "Sinh", lower: |cx, call| float(cx, call, Sinh {}) },
    Lowering { name: "Sqrt", lower: |cx, call| float(cx, call, Sqrt {}) },
    Lowering { name: "Square", lower: |cx, call| number(cx, call, Square {}) },
    Lowering { name: "SquaredDifference", lower: squared_difference },
    Lowering { name: "Sub", lower: |cx, call| arithmetic(cx, call, Sub {}) },
    Lowering { name: "Tan", lower: |cx, call| float(cx, call, Tan {}) },
    Lowering { name: "Tanh", lower: |cx, call| float(cx, call, Tanh {}) },
    Lowering { name: "TruncateDiv", lower: truncate_div },
    Lowering { name: "TruncateMod", lower: truncate_mod },
    Lowering { name: "Xdivy", lower: xdivy },
    Lowering { name: "Xlog1py", lower: xlog1py },
    Lowering { name: "Xlogy", lower: xlogy },
];

/// Whether integers of that type wrap around within 32 bits.
fn is_narrow(dtype: DType) -> bool {
    dtype.is_int() && dtype.bits() < 32
}

/// `x`, an i32 tensor, wrapped around to the range of a narrow integer type.
pub(super) fn wrapped(cx: &mut Cx<'_>, x: Value, dtype: DType) -> LowerResult<Value> {
    let (low, _) = dtype.int_range().unwrap_or((0, 0));
    let range = cx.integer(DType::I32, 1 << dtype.bits())?;
    let shift = cx.integer(DType::I32, -low)?;
    let shifted = if low == 0 { x } else { cx.binary(Add {}, x, shift)? };
    let wrapped = cx.binary(Mod {}, shifted, range)?;
    let back = if low == 0 { wrapped } else { cx.binary(Sub {}, wrapped, shift)? };
    cx.cast(back, dtype)
}

/// `op` on two tensors of one type. Narrow integers are computed in 32 bits and wrap around.
pub(super) fn arithmetic_values(
    cx: &mut Cx<'_>,
    op: impl Into<Op>,
    x: Value,
    y: Value,
) -> LowerResult<Value> {
    let dtype = cx.dtype(x)?;
    if dtype == DType::Bool {
        return Err(LowerError::dtype("arithmetic on truth values"));
    }
    if !is_narrow(dtype) {
        return cx.binary(op, x, y);
    }
    let (x, y) = (cx.cast(x, DType::I32)?, cx.cast(y, DType::I32)?);
    let z = cx.binary(op, x, y)?;
    wrapped(cx, z, dtype)
}

fn arithmetic(cx: &mut Cx<'_>, call: &Call<'_>, op: impl Into<Op>) -> LowerResult<Vec<Val>> {
    let z = arithmetic_values(cx, op, call.tensor(0)?, call.tensor(1)?)?;
    cx.one(z)
}

fn float(cx: &mut Cx<'_>, call: &Call<'_>, op: impl Into<Op>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let y = cx.unary(op, x)?;
    cx.one(y)
}

/// Input `index`, a tensor of floats.
pub(super) fn float_input(cx: &Cx<'_>, call: &Call<'_>, index: usize) -> LowerResult<Value> {
    let x = call.tensor(index)?;
    match cx.dtype(x)? {
        dtype if dtype.is_float() => Ok(x),
        dtype => Err(LowerError::dtype(format!("input {index} is of {dtype}, not of floats"))),
    }
}

fn number(cx: &mut Cx<'_>, call: &Call<'_>, op: impl Into<Op>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let dtype = cx.dtype(x)?;
    if is_narrow(dtype) {
        let wide = cx.cast(x, DType::I32)?;
        let y = cx.unary(op, wide)?;
        let y = wrapped(cx, y, dtype)?;
        return cx.one(y);
    }
    let y = cx.unary(op, x)?;
    cx.one(y)
}

/// `x` as the first operand and a number of its type as the second.
fn with_number(cx: &mut Cx<'_>, op: impl Into<Op>, x: Value, n: f64) -> LowerResult<Value> {
    let n = cx.scalar_like(x, n)?;
    cx.binary(op, x, n)
}

fn neg(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let y = negated(cx, call.tensor(0)?)?;
    cx.one(y)
}

pub(super) fn negated(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let dtype = cx.dtype(x)?;
    if dtype.is_float() {
        return with_number(cx, Mul {}, x, -1.0);
    }
    let zero = cx.integer(dtype, 0)?;
    arithmetic_values(cx, Sub {}, zero, x)
}

fn round(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let y = if cx.dtype(x)?.is_float() { cx.unary(Round {}, x)? } else { x };
    cx.one(y)
}

/// `ln(x + √(x² − 1))`
fn acosh(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    // √(x − 1)·√(x + 1) keeps what x² − 1 loses near 1.
    let below = with_number(cx, Sub {}, x, 1.0)?;
    let above = with_number(cx, Add {}, x, 1.0)?;
    let (below, above) = (cx.unary(Sqrt {}, below)?, cx.unary(Sqrt {}, above)?);
    let root = cx.binary(Mul {}, below, above)?;
    let sum = cx.binary(Add {}, x, root)?;
    let y = cx.unary(Log { epsilon: F64(0.0) }, sum)?;
    cx.one(y)
}

/// `sign(x)·log1p(|x| + x²/(1 + √(1 + x²)))`
fn asinh(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let (magnitude, square) = (cx.unary(Abs {}, x)?, cx.unary(Square {}, x)?);
    let root = with_number(cx, Add {}, square, 1.0)?;
    let root = cx.unary(Sqrt {}, root)?;
    let root = with_number(cx, Add {}, root, 1.0)?;
    let part = cx.binary(RealDiv {}, square, root)?;
    let sum = cx.binary(Add {}, magnitude, part)?;
    let log = log1p_value(cx, sum)?;
    let sign = cx.unary(Sign {}, x)?;
    let y = cx.binary(Mul {}, sign, log)?;
    cx.one(y)
}

fn log1p(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let y = log1p_value(cx, x)?;
    cx.one(y)
}

/// `ln(1 + x)`, exact for small `x` too: with `u = 1 + x`, `x·ln(u)/(u − 1)`, or `x` where `u` is 1.
pub(super) fn log1p_value(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let u = with_number(cx, Add {}, x, 1.0)?;
    let log = cx.unary(Log { epsilon: F64(0.0) }, u)?;
    let rest = with_number(cx, Sub {}, u, 1.0)?;
    let one = cx.scalar_like(x, 1.0)?;
    let infinite = cx.scalar_like(x, f64::INFINITY)?;
    let flat = with_number(cx, Equal {}, rest, 0.0)?;
    let endless = cx.binary(Equal {}, x, infinite)?;
    let plain = cx.binary(mlc_ir::ops::LogicalOr {}, flat, endless)?;
    let safe = cx.select(plain, one, rest)?;
    let ratio = cx.binary(RealDiv {}, x, safe)?;
    let exact = cx.binary(Mul {}, log, ratio)?;
    let limit = cx.select(flat, x, log)?;
    cx.select(plain, limit, exact)
}

/// `e^x − 1`: for small `x` `2·sinh(x/2)·e^(x/2)`, which loses nothing.
fn expm1(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let low = with_number(cx, Maximum {}, x, -1.0)?;
    let small = with_number(cx, Minimum {}, low, 1.0)?;
    let half = with_number(cx, Mul {}, small, 0.5)?;
    let (sinh, exp) = (cx.unary(Sinh {}, half)?, cx.unary(Exp {}, half)?);
    let product = cx.binary(Mul {}, sinh, exp)?;
    let near = with_number(cx, Mul {}, product, 2.0)?;
    let whole = cx.unary(Exp {}, x)?;
    let far = with_number(cx, Sub {}, whole, 1.0)?;
    let magnitude = cx.unary(Abs {}, x)?;
    let is_near = with_number(cx, Less {}, magnitude, 1.0)?;
    let y = cx.select(is_near, near, far)?;
    cx.one(y)
}

fn erfc(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let erf = cx.unary(Erf {}, x)?;
    let one = cx.scalar_like(x, 1.0)?;
    let y = cx.binary(Sub {}, one, erf)?;
    cx.one(y)
}

fn reciprocal(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let y = if cx.dtype(x)?.is_float() {
        cx.unary(Inverse { epsilon: F64(0.0) }, x)?
    } else {
        let one = cx.scalar_like(x, 1.0)?;
        truncated_quotient(cx, one, x)?
    };
    cx.one(y)
}

fn add_n(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["N", "shape"]);
    let all = call.tensors(0)?;
    let (&first, rest) =
        all.split_first().ok_or_else(|| LowerError::invalid("a sum of nothing"))?;
    let mut sum = first;
    for &x in rest {
        sum = arithmetic_values(cx, Add {}, sum, x)?;
    }
    cx.one(sum)
}

fn bias_add(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let y = bias_added(cx, call, (call.tensor(0)?, call.tensor(1)?))?;
    cx.one(y)
}

/// `x` plus a number for each channel, which the attribute `data_format` places.
pub(super) fn bias_added(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (x, bias): (Value, Value),
) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    let layout = Layout::of(call, 2)?;
    let bias = if layout == Layout::First && rank > 2 {
        let mut shape = cx.shape(bias)?;
        shape.extend(vec![Dim::Const(1); rank - 2]);
        cx.reshape(bias, &shape)?
    } else {
        bias
    };
    arithmetic_values(cx, Add {}, x, bias)
}

fn clip_by_value(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, low, high) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let y = clipped(cx, x, low, high)?;
    cx.one(y)
}

/// `min(max(x, low), high)`
pub(super) fn clipped(cx: &mut Cx<'_>, x: Value, low: Value, high: Value) -> LowerResult<Value> {
    if cx.dtype(x)?.is_float()
        && let (Some([low]), Some([high])) = (cx.floats(low).as_deref(), cx.floats(high).as_deref())
        && low < high
        && low.is_finite()
        && high.is_finite()
    {
        return cx.unary(Clip { alpha: F64(*low), beta: F64(*high) }, x);
    }
    let y = arithmetic_values(cx, Minimum {}, x, high)?;
    arithmetic_values(cx, Maximum {}, y, low)
}

fn divide(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (call.tensor(0)?, call.tensor(1)?);
    let z = if cx.dtype(x)?.is_float() {
        cx.binary(RealDiv {}, x, y)?
    } else {
        truncated_quotient(cx, x, y)?
    };
    cx.one(z)
}

/// The quotient of integers, truncated toward zero; of floats too.
fn truncated_quotient(cx: &mut Cx<'_>, x: Value, y: Value) -> LowerResult<Value> {
    if !cx.dtype(x)?.is_float() {
        return arithmetic_values(cx, RealDiv {}, x, y);
    }
    let q = cx.binary(RealDiv {}, x, y)?;
    let (sign, magnitude) = (cx.unary(Sign {}, q)?, cx.unary(Abs {}, q)?);
    let whole = cx.unary(Floor {}, magnitude)?;
    cx.binary(Mul {}, sign, whole)
}

fn truncate_div(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let z = truncated_quotient(cx, call.tensor(0)?, call.tensor(1)?)?;
    cx.one(z)
}

/// The remainder with the sign of `x`: that of the absolute values, which no rounding of a quotient
/// disturbs.
fn truncate_mod(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (call.tensor(0)?, call.tensor(1)?);
    let dtype = cx.dtype(x)?;
    let (x, y) = match is_narrow(dtype) {
        true => (cx.cast(x, DType::I32)?, cx.cast(y, DType::I32)?),
        false => (x, y),
    };
    let (a, b) = (cx.unary(Abs {}, x)?, cx.unary(Abs {}, y)?);
    let r = cx.binary(Mod {}, a, b)?;
    let negative = with_number(cx, Less {}, x, 0.0)?;
    let zero = cx.scalar_like(x, 0.0)?;
    let minus = cx.binary(Sub {}, zero, r)?;
    let z = cx.select(negative, minus, r)?;
    let z = cx.cast(z, dtype)?;
    cx.one(z)
}

/// `x / y`, or 0 where `y` is 0.
fn div_no_nan(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (float_input(cx, call, 0)?, float_input(cx, call, 1)?);
    let none = with_number(cx, Equal {}, y, 0.0)?;
    let (one, zero) = (cx.scalar_like(y, 1.0)?, cx.scalar_like(y, 0.0)?);
    let safe = cx.select(none, one, y)?;
    let q = cx.binary(RealDiv {}, x, safe)?;
    let z = cx.select(none, zero, q)?;
    cx.one(z)
}

/// `x · y`, or 0 where `y` is 0.
fn mul_no_nan(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (float_input(cx, call, 0)?, float_input(cx, call, 1)?);
    let none = with_number(cx, Equal {}, y, 0.0)?;
    let product = cx.binary(Mul {}, x, y)?;
    let zero = cx.scalar_like(y, 0.0)?;
    let z = cx.select(none, zero, product)?;
    cx.one(z)
}

/// `f`, or 0 where `x` is 0.
fn unless_zero(cx: &mut Cx<'_>, x: Value, f: Value) -> LowerResult<Vec<Val>> {
    let none = with_number(cx, Equal {}, x, 0.0)?;
    let zero = cx.scalar_like(x, 0.0)?;
    let z = cx.select(none, zero, f)?;
    cx.one(z)
}

fn xdivy(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (float_input(cx, call, 0)?, float_input(cx, call, 1)?);
    let q = cx.binary(RealDiv {}, x, y)?;
    unless_zero(cx, x, q)
}

fn xlogy(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (float_input(cx, call, 0)?, float_input(cx, call, 1)?);
    let log = cx.unary(Log { epsilon: F64(0.0) }, y)?;
    let product = cx.binary(Mul {}, x, log)?;
    unless_zero(cx, x, product)
}

fn xlog1py(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (float_input(cx, call, 0)?, float_input(cx, call, 1)?);
    let log = log1p_value(cx, y)?;
    let product = cx.binary(Mul {}, x, log)?;
    unless_zero(cx, x, product)
}

fn squared_difference(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let gap = arithmetic_values(cx, Sub {}, call.tensor(0)?, call.tensor(1)?)?;
    let y = arithmetic_values(cx, Mul {}, gap, gap)?;
    let y = if cx.dtype(gap)?.is_float() { cx.unary(Square {}, gap)? } else { y };
    cx.one(y)
}

fn pow(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (call.tensor(0)?, call.tensor(1)?);
    let dtype = cx.dtype(x)?;
    if dtype.is_float()
        && cx.rank(y)? == 0
        && let Some([exponent]) = cx.floats(y).as_deref()
    {
        let special = match *exponent {
            1.0 => Some(x),
            2.0 => Some(cx.unary(Square {}, x)?),
            _ => None,
        };
        if let Some(z) = special {
            return cx.one(z);
        }
    }
    let z = arithmetic_values(cx, Pow {}, x, y)?;
    cx.one(z)
}

/// The angle of the point `(x, y)`, where `y` is the first input.
fn atan2(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (y, x) = (float_input(cx, call, 0)?, float_input(cx, call, 1)?);
    let z = atan2_value(cx, y, x)?;
    cx.one(z)
}

pub(super) fn atan2_value(cx: &mut Cx<'_>, y: Value, x: Value) -> LowerResult<Value> {
    use std::f64::consts::{FRAC_PI_2, PI};
    // The arctangent of the lesser over the greater magnitude keeps all quotients within 1.
    let (ax, ay) = (cx.unary(Abs {}, x)?, cx.unary(Abs {}, y)?);
    let (low, high) = (cx.binary(Minimum {}, ax, ay)?, cx.binary(Maximum {}, ax, ay)?);
    let origin = with_number(cx, Equal {}, high, 0.0)?;
    let (one, zero) = (cx.scalar_like(x, 1.0)?, cx.scalar_like(x, 0.0)?);
    let safe = cx.select(origin, one, high)?;
    let ratio = cx.binary(RealDiv {}, low, safe)?;
    let alike = cx.binary(Equal {}, low, high)?;
    let not_origin = with_number(cx, NotEqual {}, high, 0.0)?;
    let diagonal = cx.binary(LogicalAnd {}, alike, not_origin)?;
    let ratio = cx.select(diagonal, one, ratio)?;
    let angle = cx.unary(Atan {}, ratio)?;
    let steep = cx.binary(Greater {}, ay, ax)?;
    let quarter = cx.scalar_like(x, FRAC_PI_2)?;
    let turned = cx.binary(Sub {}, quarter, angle)?;
    let angle = cx.select(steep, turned, angle)?;
    let half = cx.scalar_like(x, PI)?;
    let mirrored = cx.binary(Sub {}, half, angle)?;
    let left = is_negative(cx, x)?;
    let angle = cx.select(left, mirrored, angle)?;
    let minus = cx.binary(Sub {}, zero, angle)?;
    let below = with_number(cx, Less {}, y, 0.0)?;
    cx.select(below, minus, angle)
}

/// Whether `x < 0`, or it is −0.
fn is_negative(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    // The reciprocal tells the zeros apart.
    let inverse = cx.unary(Inverse { epsilon: F64(0.0) }, x)?;
    let endless = cx.scalar_like(x, f64::NEG_INFINITY)?;
    let zero = cx.binary(Equal {}, inverse, endless)?;
    let less = with_number(cx, Less {}, x, 0.0)?;
    cx.binary(mlc_ir::ops::LogicalOr {}, less, zero)
}
