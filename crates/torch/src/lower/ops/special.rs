//! Special functions, by approximations that are accurate to single precision.
//!
//! Sources: rational Chebyshev fit of `erfc` (Press et al., *Numerical Recipes*, `erfcc`), Wichura's
//! algorithm AS 241 (`PPND7`) for normal quantiles, Abramowitz and Stegun 9.8 for Bessel functions,
//! Lanczos's series for `ln Γ`, and the asymptotic series of its derivative.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use mlc_ir::Value;
use mlc_ir::ops::{Cos, Sin};
use mlc_tensor::DType;

use super::unary::{float_operand, log1p_value};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::formula::Formula;
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.erfc", lower: |cx, call| of(cx, call, erfc) },
    Lowering { name: "aten.special_erfcx", lower: |cx, call| of(cx, call, erfcx) },
    Lowering { name: "aten.erfinv", lower: |cx, call| of(cx, call, erfinv) },
    Lowering { name: "aten.special_ndtr", lower: |cx, call| of(cx, call, ndtr) },
    Lowering { name: "aten.special_log_ndtr", lower: |cx, call| of(cx, call, log_ndtr) },
    Lowering { name: "aten.special_ndtri", lower: |cx, call| of(cx, call, ndtri) },
    Lowering { name: "aten.i0", lower: |cx, call| of(cx, call, |f, x| bessel(f, x, (0, false))) },
    Lowering {
        name: "aten.special_i0e",
        lower: |cx, call| of(cx, call, |f, x| bessel(f, x, (0, true))),
    },
    Lowering {
        name: "aten.special_i1",
        lower: |cx, call| of(cx, call, |f, x| bessel(f, x, (1, false))),
    },
    Lowering {
        name: "aten.special_i1e",
        lower: |cx, call| of(cx, call, |f, x| bessel(f, x, (1, true))),
    },
    Lowering { name: "aten.lgamma", lower: |cx, call| of(cx, call, lgamma) },
    Lowering { name: "aten.digamma", lower: |cx, call| of(cx, call, digamma) },
    Lowering { name: "aten.mvlgamma", lower: mvlgamma },
];

/// A function of a float operand; of doubles there is no approximation good enough.
fn of(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    function: fn(&mut Formula<'_, '_>, Value) -> LowerResult<Value>,
) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let dtype = cx.b.tensor(x)?.dtype;
    if dtype == DType::F64 {
        return Err(LowerError::dtype(format!("`{}` in double precision", call.op))
            .help("convert the operand to float32, which Core ML computes with in any case"));
    }
    let x = cx.cast(x, DType::F32)?;
    let mut f = Formula::new(cx, DType::F32);
    let y = function(&mut f, x)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// `e^(z²)·erfc(z)` for `z >= 0`.
fn scaled_erfc(f: &mut Formula<'_, '_>, z: Value) -> LowerResult<Value> {
    const FIT: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let half = f.times(z, 0.5)?;
    let below = f.plus(half, 1.0)?;
    let t = f.over(1.0, below)?;
    let exponent = f.polynomial(t, &FIT)?;
    let e = f.exp(exponent)?;
    f.mul(t, e)
}

fn erfc(f: &mut Formula<'_, '_>, x: Value) -> LowerResult<Value> {
    let z = f.abs(x)?;
    let scaled = scaled_erfc(f, z)?;
    let square = f.mul(z, z)?;
    let square = f.times(square, -1.0)?;
    let e = f.exp(square)?;
    let upper = f.mul(scaled, e)?;
    let lower = f.from(2.0, upper)?;
    let below = f.lt(x, 0.0)?;
    f.select(below, lower, upper)
}

/// `e^(x²)·erfc(x)`
fn erfcx(f: &mut Formula<'_, '_>, x: Value) -> LowerResult<Value> {
    let z = f.abs(x)?;
    let upper = scaled_erfc(f, z)?;
    let square = f.mul(z, z)?;
    let e = f.exp(square)?;
    let e = f.times(e, 2.0)?;
    let lower = f.sub(e, upper)?;
    let below = f.lt(x, 0.0)?;
    f.select(below, lower, upper)
}

/// The quantile of the normal distribution at `½ + q`, and, far from the middle, by the probability of
/// the nearer tail.
fn normal_quantile(f: &mut Formula<'_, '_>, q: Value, tail: Value) -> LowerResult<Value> {
    let square = f.mul(q, q)?;
    let r = f.from(0.180_625, square)?;
    let over =
        f.polynomial(r, &[59.109_374_720, 159.291_132_02, 50.434_271_938, 3.387_132_717_9])?;
    let under = f.polynomial(r, &[67.187_563_6, 78.757_757_664, 17.895_169_469, 1.0])?;
    let ratio = f.div(over, under)?;
    let middle = f.mul(q, ratio)?;
    let log = f.ln(tail)?;
    let log = f.times(log, -1.0)?;
    let root = f.sqrt(log)?;
    let r = f.plus(root, -1.6)?;
    let over =
        f.polynomial(r, &[0.170_238_211_03, 1.306_728_481_6, 2.756_815_39, 1.423_437_277_7])?;
    let under = f.polynomial(r, &[0.120_211_329_75, 0.737_001_642_5, 1.0])?;
    let near = f.div(over, under)?;
    let r = f.plus(root, -5.0)?;
    let over =
        f.polynomial(r, &[0.017_337_203_997, 0.428_682_943_37, 3.081_226_386, 6.657_905_115])?;
    let under = f.polynomial(r, &[0.012_258_202_635, 0.241_978_942_25, 1.0])?;
    let far = f.div(over, under)?;
    let close = f.le(root, 5.0)?;
    let outer = f.select(close, near, far)?;
    // At a probability of 0 the quotient of infinities is none.
    let end = f.eq(tail, 0.0)?;
    let outer = f.select_num(end, f64::INFINITY, outer)?;
    let minus = f.times(outer, -1.0)?;
    let below = f.lt(q, 0.0)?;
    let outer = f.select(below, minus, outer)?;
    let size = f.abs(q)?;
    let inner = f.le(size, 0.425)?;
    f.select(inner, middle, outer)
}

fn erfinv(f: &mut Formula<'_, '_>, x: Value) -> LowerResult<Value> {
    let q = f.times(x, 0.5)?;
    let size = f.abs(x)?;
    let tail = f.from(1.0, size)?;
    let tail = f.times(tail, 0.5)?;
    let z = normal_quantile(f, q, tail)?;
    f.times(z, FRAC_1_SQRT_2)
}

fn ndtri(f: &mut Formula<'_, '_>, p: Value) -> LowerResult<Value> {
    let q = f.plus(p, -0.5)?;
    let other = f.from(1.0, p)?;
    let tail = f.min(p, other)?;
    normal_quantile(f, q, tail)
}

fn ndtr(f: &mut Formula<'_, '_>, x: Value) -> LowerResult<Value> {
    let z = f.times(x, -FRAC_1_SQRT_2)?;
    let y = erfc(f, z)?;
    f.times(y, 0.5)
}

/// `ln` of [`ndtr`], without its underflow.
fn log_ndtr(f: &mut Formula<'_, '_>, x: Value) -> LowerResult<Value> {
    let z = f.times(x, FRAC_1_SQRT_2)?;
    let minus = f.times(z, -1.0)?;
    let zero = f.num(0.0)?;
    let left = f.max(minus, zero)?;
    let scaled = scaled_erfc(f, left)?;
    let scaled = f.times(scaled, 0.5)?;
    let log = f.ln(scaled)?;
    let square = f.mul(z, z)?;
    let far = f.sub(log, square)?;
    let upper = erfc(f, z)?;
    let upper = f.times(upper, -0.5)?;
    let near = log1p_value(f.cx, upper)?;
    let below = f.lt(x, -1.0)?;
    f.select(below, far, near)
}

/// The modified Bessel function of the first kind of order 0 or 1, times `e^−|x|` if `scaled`.
fn bessel(f: &mut Formula<'_, '_>, x: Value, (order, scaled): (u8, bool)) -> LowerResult<Value> {
    const NEAR: [[f64; 7]; 2] = [
        [0.004_581_3, 0.036_076_8, 0.265_973_2, 1.206_749_2, 3.089_942_4, 3.515_622_9, 1.0],
        [0.000_324_11, 0.003_015_32, 0.026_587_33, 0.150_849_34, 0.514_988_69, 0.878_905_94, 0.5],
    ];
    const FAR: [[f64; 9]; 2] = [
        [
            0.003_923_77,
            -0.016_476_33,
            0.026_355_37,
            -0.020_577_06,
            0.009_162_81,
            -0.001_575_65,
            0.002_253_19,
            0.013_285_92,
            0.398_942_28,
        ],
        [
            -0.004_200_59,
            0.017_876_54,
            -0.028_953_12,
            0.022_829_67,
            -0.010_315_55,
            0.001_638_01,
            -0.003_620_18,
            -0.039_880_24,
            0.398_942_28,
        ],
    ];
    let order = usize::from(order != 0);
    let size = f.abs(x)?;
    let t = f.times(size, 1.0 / 3.75)?;
    let one = f.num(1.0)?;
    let inside = f.min(t, one)?;
    let square = f.mul(inside, inside)?;
    let mut near = f.polynomial(square, &NEAR[order])?;
    if order == 1 {
        near = f.mul(near, size)?;
    }
    let outside = f.max(t, one)?;
    let inverse = f.over(1.0, outside)?;
    let far = f.polynomial(inverse, &FAR[order])?;
    let held = f.times(outside, 3.75)?;
    let root = f.sqrt(held)?;
    let mut far = f.div(far, root)?;
    if scaled {
        let minus = f.times(size, -1.0)?;
        let e = f.exp(minus)?;
        near = f.mul(near, e)?;
    } else {
        let e = f.exp(size)?;
        far = f.mul(far, e)?;
    }
    let close = f.lt(t, 1.0)?;
    let y = f.select(close, near, far)?;
    if order == 0 {
        return Ok(y);
    }
    let minus = f.times(y, -1.0)?;
    let below = f.lt(x, 0.0)?;
    f.select(below, minus, y)
}

/// `sin πx`, of the distance from the nearest integer.
fn sin_pi(f: &mut Formula<'_, '_>, x: Value) -> LowerResult<[Value; 2]> {
    let whole = f.cx.unary(mlc_ir::ops::Round {}, x)?;
    let rest = f.sub(x, whole)?;
    let angle = f.times(rest, PI)?;
    Ok([f.cx.unary(Sin {}, angle)?, f.cx.unary(Cos {}, angle)?])
}

/// `ln |Γ(x)|`; below ½ by reflection.
fn lgamma(f: &mut Formula<'_, '_>, x: Value) -> LowerResult<Value> {
    const SERIES: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.001_208_650_973_866_179,
        -0.000_005_395_239_384_953,
    ];
    let low = f.lt(x, 0.5)?;
    let mirrored = f.from(1.0, x)?;
    let z = f.select(low, mirrored, x)?;
    let mut sum = f.num(1.000_000_000_190_015)?;
    for (k, &c) in SERIES.iter().enumerate() {
        let below = f.plus(z, (k + 1) as f64)?;
        let term = f.over(c, below)?;
        sum = f.add(sum, term)?;
    }
    let ratio = f.div(sum, z)?;
    let ratio = f.times(ratio, 2.506_628_274_631_000_5)?;
    let tail = f.ln(ratio)?;
    let base = f.plus(z, 5.5)?;
    let log = f.ln(base)?;
    let exponent = f.plus(z, 0.5)?;
    let power = f.mul(exponent, log)?;
    let power = f.sub(power, base)?;
    let high = f.add(power, tail)?;
    let [sin, _] = sin_pi(f, x)?;
    let sin = f.abs(sin)?;
    let reflected = f.over(PI, sin)?;
    let reflected = f.ln(reflected)?;
    let reflected = f.sub(reflected, high)?;
    let y = f.select(low, reflected, high)?;
    let size = f.abs(x)?;
    let infinite = f.eq(size, f64::INFINITY)?;
    f.select_num(infinite, f64::INFINITY, y)
}

/// The derivative of `ln Γ(x)`; below 0 by reflection.
fn digamma(f: &mut Formula<'_, '_>, x: Value) -> LowerResult<Value> {
    const STEPS: i32 = 6;
    let low = f.le(x, 0.0)?;
    let mirrored = f.from(1.0, x)?;
    let z = f.select(low, mirrored, x)?;
    let mut before: Option<Value> = None;
    for k in 0..STEPS {
        let at = f.plus(z, f64::from(k))?;
        let term = f.over(1.0, at)?;
        before = Some(match before {
            Some(sum) => f.add(sum, term)?,
            None => term,
        });
    }
    let y = f.plus(z, f64::from(STEPS))?;
    let inverse = f.over(1.0, y)?;
    let square = f.mul(inverse, inverse)?;
    // ln y − 1/2y − 1/12y² + 1/120y⁴ − 1/252y⁶ + 1/240y⁸
    let series = f.polynomial(square, &[1.0 / 240.0, -1.0 / 252.0, 1.0 / 120.0, -1.0 / 12.0])?;
    let series = f.mul(series, square)?;
    let half = f.times(inverse, -0.5)?;
    let log = f.ln(y)?;
    let sum = f.add(log, half)?;
    let mut sum = f.add(sum, series)?;
    if let Some(before) = before {
        sum = f.sub(sum, before)?;
    }
    let [sin, cos] = sin_pi(f, x)?;
    let turn = f.div(cos, sin)?;
    let turn = f.times(turn, PI)?;
    let reflected = f.sub(sum, turn)?;
    let pole = f.eq(sin, 0.0)?;
    let reflected = f.select_num(pole, f64::NAN, reflected)?;
    let zero = f.eq(x, 0.0)?;
    let inverse = f.over(-1.0, x)?;
    let reflected = f.select(zero, inverse, reflected)?;
    f.select(low, reflected, sum)
}

/// `p(p − 1)/4 · ln π + Σ ln Γ(x − k/2)` for `k` below `p`.
fn mvlgamma(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let p = call.int("p")?;
    let x = float_operand(cx, call)?;
    let dtype = cx.b.tensor(x)?.dtype;
    if !(1..=64).contains(&p) || dtype == DType::F64 {
        return Err(LowerError::argument(format!("`p` is {p}, of {dtype}")));
    }
    let x = cx.cast(x, DType::F32)?;
    let mut f = Formula::new(cx, DType::F32);
    let mut sum = f.num((p * (p - 1)) as f64 / 4.0 * PI.ln())?;
    for k in 0..p {
        let at = f.plus(x, -(k as f64) / 2.0)?;
        let term = lgamma(&mut f, at)?;
        sum = f.add(sum, term)?;
    }
    let y = cx.cast(sum, dtype)?;
    cx.one(y)
}
