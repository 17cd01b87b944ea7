//! Elementwise functions with type promotion that are made of a few others.

use std::f64::consts::PI;

use mlc_ir::Value;
use mlc_ir::ops::{Exp2, Pow, Sin};
use mlc_tensor::{DType, DTypeKind};

use super::unary::float_operand;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::formula::Formula;
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.copysign", lower: copysign },
    Lowering { name: "aten.signbit", lower: signbit },
    Lowering { name: "aten.heaviside", lower: heaviside },
    Lowering { name: "aten.ldexp", lower: ldexp },
    Lowering { name: "aten.frexp", lower: frexp },
    Lowering { name: "aten.hypot", lower: hypot },
    Lowering { name: "aten.logaddexp", lower: |cx, call| log_sum(cx, call, 1.0) },
    Lowering {
        name: "aten.logaddexp2",
        lower: |cx, call| log_sum(cx, call, std::f64::consts::LN_2),
    },
    Lowering { name: "aten.float_power", lower: float_power },
    Lowering { name: "aten.isclose", lower: isclose },
    Lowering { name: "aten.isposinf", lower: |cx, call| is_infinity(cx, call, f64::INFINITY) },
    Lowering { name: "aten.isneginf", lower: |cx, call| is_infinity(cx, call, f64::NEG_INFINITY) },
    Lowering { name: "aten.isreal", lower: isreal },
    Lowering { name: "aten.deg2rad", lower: |cx, call| scaled(cx, call, 180f64.recip() * PI) },
    Lowering { name: "aten.rad2deg", lower: |cx, call| scaled(cx, call, 180.0 / PI) },
    Lowering { name: "aten.sinc", lower: sinc },
    Lowering { name: "aten.special_xlog1py", lower: xlog1py },
    Lowering { name: "aten.special_entr", lower: entr },
];

/// Both operands in the float type they are promoted to.
fn floats(cx: &mut Cx<'_>, call: &Call<'_>, names: [&str; 2]) -> LowerResult<(DType, [Value; 2])> {
    let (a, b) = (call.operand(names[0])?, call.operand(names[1])?);
    let dtype = cx.promoted(&[&a, &b])?;
    let dtype = if dtype.is_float() { dtype } else { DType::F32 };
    Ok((dtype, [cx.operand(&a, dtype)?, cx.operand(&b, dtype)?]))
}

/// Whether the sign is minus, that of −0 too: its reciprocal is −∞.
fn negative(f: &mut Formula<'_, '_>, x: Value) -> LowerResult<Value> {
    let below = f.lt(x, 0.0)?;
    if !f.dtype.is_float() {
        return Ok(below);
    }
    let zero = f.eq(x, 0.0)?;
    let inverse = f.over(1.0, x)?;
    let under = f.lt(inverse, 0.0)?;
    let minus_zero = f.and(zero, under)?;
    f.or(below, minus_zero)
}

fn copysign(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dtype, [x, y]) = floats(cx, call, ["self", "other"])?;
    let mut f = Formula::new(cx, dtype);
    let size = f.abs(x)?;
    let minus = f.times(size, -1.0)?;
    let test = negative(&mut f, y)?;
    let z = f.select(test, minus, size)?;
    cx.one(z)
}

fn signbit(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    if cx.dtype(x)? == DType::Bool {
        return cx.call("aten.zeros_like", &[("self", Val::Tensor(x))]);
    }
    let x = cx.read(x)?;
    let mut f = Formula::of(cx, x)?;
    let y = negative(&mut f, x)?;
    cx.one(y)
}

/// 0 below 0, 1 above, `values` at 0.
fn heaviside(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("values")?);
    let dtype = cx.promoted(&[&a, &b])?;
    let wide = if dtype == DType::Bool { DType::I32 } else { dtype };
    let (x, at_zero) = (cx.operand(&a, wide)?, cx.operand(&b, wide)?);
    let mut f = Formula::new(cx, wide);
    let above = f.gt(x, 0.0)?;
    let step = f.cx.cast(above, wide)?;
    let zero = f.eq(x, 0.0)?;
    let y = f.select(zero, at_zero, step)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// `x · 2ʸ`
fn ldexp(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dtype, [x, y]) = floats(cx, call, ["self", "other"])?;
    let power = cx.unary(Exp2 {}, y)?;
    let z = Formula::new(cx, dtype).mul(x, power)?;
    cx.one(z)
}

/// Mantissa in `[½, 1)` and exponent, by steps of halving: each scales by a power of 2 where the
/// number is too large or too small for it, which is exact.
fn frexp(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let mut f = Formula::of(cx, x)?;
    let steps: &[i32] = match f.dtype {
        DType::F16 => &[16, 8, 4, 2, 1],
        DType::F32 | DType::Bf16 => &[64, 64, 32, 16, 8, 4, 2, 1],
        dtype => return Err(LowerError::dtype(format!("the exponents of {dtype}"))),
    };
    let size = f.abs(x)?;
    let (mut mantissa, mut rest) = (x, size);
    let zeros = f.times(size, 0.0)?;
    let mut exponent = zeros;
    for &step in steps {
        let power = 2f64.powi(step);
        // At least 2^(step−1) is halved `step` times; under 2^−step is doubled as often.
        for (factor, test, by) in [
            (power.recip(), f.ge(rest, power / 2.0)?, f64::from(step)),
            (power, f.lt(rest, power.recip())?, -f64::from(step)),
        ] {
            let scale = f.num(factor)?;
            let scale = f.select_or(test, scale, 1.0)?;
            mantissa = f.mul(mantissa, scale)?;
            rest = f.mul(rest, scale)?;
            let shift = f.num(by)?;
            let shift = f.select_or(test, shift, 0.0)?;
            exponent = f.add(exponent, shift)?;
        }
    }
    let last = f.ge(rest, 1.0)?;
    let small = f.lt(rest, 0.5)?;
    for (test, factor, by) in [(last, 0.5, 1.0), (small, 2.0, -1.0)] {
        let scale = f.num(factor)?;
        let scale = f.select_or(test, scale, 1.0)?;
        mantissa = f.mul(mantissa, scale)?;
        let shift = f.num(by)?;
        let shift = f.select_or(test, shift, 0.0)?;
        exponent = f.add(exponent, shift)?;
    }
    let infinite = f.eq(size, f64::INFINITY)?;
    let mantissa = f.select(infinite, x, mantissa)?;
    let zero = f.eq(size, 0.0)?;
    let odd = f.or(zero, infinite)?;
    let nan = f.is_nan(x)?;
    let odd = f.or(odd, nan)?;
    let exponent = f.select_num(odd, 0.0, exponent)?;
    let exponent = cx.cast(exponent, DType::I32)?;
    Ok(vec![cx.fresh(mantissa), cx.fresh(exponent)])
}

fn hypot(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("other")?);
    let dtype = cx.promoted(&[&a, &b])?;
    if !dtype.is_float() {
        return Err(LowerError::dtype(format!("the hypotenuse of {dtype}")));
    }
    let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
    let mut z = super::complex::magnitude(cx, x, y)?;
    let mut f = Formula::new(cx, dtype);
    // An infinite side counts, whatever the other.
    for side in [x, y] {
        let size = f.abs(side)?;
        let infinite = f.eq(size, f64::INFINITY)?;
        z = f.select_num(infinite, f64::INFINITY, z)?;
    }
    cx.one(z)
}

/// `log(eˣ + eʸ)` to the base whose logarithm is `unit`: from the greater of both; of equal ones
/// `x + log 2`, which serves for infinities.
fn log_sum(cx: &mut Cx<'_>, call: &Call<'_>, unit: f64) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("other")?);
    let dtype = cx.promoted(&[&a, &b])?;
    let dtype = if dtype.is_float() { dtype } else { DType::F32 };
    let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
    let mut f = Formula::new(cx, dtype);
    let greater = f.max(x, y)?;
    let gap = f.sub(x, y)?;
    let gap = f.abs(gap)?;
    let gap = f.times(gap, -unit)?;
    let lesser = f.exp(gap)?;
    let log = super::unary::log1p_value(f.cx, lesser)?;
    let log = f.times(log, unit.recip())?;
    let apart = f.add(greater, log)?;
    let same = f.plus(x, std::f64::consts::LN_2 / unit)?;
    let equal = f.same(x, y)?;
    let z = f.select(equal, same, apart)?;
    cx.one(z)
}

fn float_power(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("exponent")?);
    let (x, y) = (cx.operand(&a, DType::F64)?, cx.operand(&b, DType::F64)?);
    let z = cx.binary(Pow {}, x, y)?;
    cx.one(z)
}

/// `x = y`, or `|x − y| <= atol + |rtol · y|` where the difference is finite.
fn isclose(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let own = cx.dtype(a)?;
    let (rtol, atol) = (call.float_or("rtol", 1e-5)?, call.float_or("atol", 1e-8)?);
    let equal_nan = call.bool_or("equal_nan", false)?;
    let args = [("self", Val::Tensor(a)), ("other", Val::Tensor(b))];
    let mut close = {
        let equal = cx.call_tensor("aten.eq", &args)?;
        cx.read(equal)?
    };
    let dtype = if own.is_float() { own } else { DType::F32 };
    let (x, y) = (cx.read_as(a, dtype)?, cx.read_as(b, dtype)?);
    let mut f = Formula::new(cx, dtype);
    if equal_nan && own.is_float() {
        let (x_nan, y_nan) = (f.is_nan(x)?, f.is_nan(y)?);
        let both = f.and(x_nan, y_nan)?;
        close = f.or(close, both)?;
    }
    if rtol == 0.0 && atol == 0.0 {
        return cx.one(close);
    }
    let allowed = f.times(y, rtol)?;
    let allowed = f.abs(allowed)?;
    let allowed = f.plus(allowed, atol)?;
    let actual = f.sub(x, y)?;
    let actual = f.abs(actual)?;
    let finite = f.lt(actual, f64::INFINITY)?;
    let near = f.cx.binary(mlc_ir::ops::LessEqual {}, actual, allowed)?;
    let near = f.and(finite, near)?;
    let z = f.or(close, near)?;
    cx.one(z)
}

/// Whether each element is that infinity.
fn is_infinity(cx: &mut Cx<'_>, call: &Call<'_>, which: f64) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    if !cx.dtype(x)?.is_float() {
        let args = [("self", Val::Tensor(x)), ("dtype", Val::DType(DType::Bool))];
        return cx.call("aten.zeros_like", &args);
    }
    let x = cx.read(x)?;
    let y = Formula::of(cx, x)?.eq(x, which)?;
    cx.one(y)
}

fn isreal(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    if cx.dtype(x)?.kind() == DTypeKind::Complex {
        let (_, imaginary) = cx.parts(x)?;
        let imaginary = imaginary.ok_or_else(|| LowerError::invalid("no imaginary part"))?;
        let y = Formula::of(cx, imaginary)?.eq(imaginary, 0.0)?;
        return cx.one(y);
    }
    let args = [("self", Val::Tensor(x)), ("dtype", Val::DType(DType::Bool))];
    cx.call("aten.ones_like", &args)
}

fn scaled(cx: &mut Cx<'_>, call: &Call<'_>, factor: f64) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let y = Formula::of(cx, x)?.times(x, factor)?;
    cx.one(y)
}

/// `sin(πx) / πx`, 1 at 0.
fn sinc(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let mut f = Formula::of(cx, x)?;
    let angle = f.times(x, PI)?;
    let sin = f.cx.unary(Sin {}, angle)?;
    let zero = f.eq(x, 0.0)?;
    let divisor = f.select_num(zero, 1.0, angle)?;
    let ratio = f.div(sin, divisor)?;
    let y = f.select_num(zero, 1.0, ratio)?;
    cx.one(y)
}

/// `x · ln(1 + y)`; 0 for an `x` of 0 unless `y` is NaN.
fn xlog1py(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dtype, [x, y]) = floats(cx, call, ["self", "other"])?;
    let log = super::unary::log1p_value(cx, y)?;
    let mut f = Formula::new(cx, dtype);
    let product = f.mul(x, log)?;
    let zero = f.eq(x, 0.0)?;
    let z = f.select_num(zero, 0.0, product)?;
    let nan = f.is_nan(y)?;
    let z = f.select_num(nan, f64::NAN, z)?;
    cx.one(z)
}

/// `−x·ln x` above 0, 0 at 0, −∞ below.
fn entr(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let mut f = Formula::of(cx, x)?;
    let above = f.gt(x, 0.0)?;
    let one = f.num(1.0)?;
    let inside = f.select(above, x, one)?;
    let log = f.ln(inside)?;
    let product = f.mul(x, log)?;
    let product = f.times(product, -1.0)?;
    let zero = f.eq(x, 0.0)?;
    let y = f.select_num(zero, 0.0, product)?;
    let below = f.lt(x, 0.0)?;
    let y = f.select_num(below, f64::NEG_INFINITY, y)?;
    cx.one(y)
}
