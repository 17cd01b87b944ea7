//! Special functions and bits.

use std::f64::consts::PI;

use mlc_ir::ops::{
    Abs, Add, Cos, Equal, Exp, Floor, FloorDiv, Greater, GreaterEqual, Less, Log, Mod, Mul,
    RealDiv, Sin, Sqrt, Sub,
};
use mlc_ir::{F64, Value};
use mlc_tensor::DType;

use super::elementwise::{float_input, log1p_value, negated};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "BesselI0", lower: |cx, call| bessel_grown(cx, call, false) },
    Lowering { name: "BesselI0e", lower: |cx, call| bessel(cx, call, false) },
    Lowering { name: "BesselI1", lower: |cx, call| bessel_grown(cx, call, true) },
    Lowering { name: "BesselI1e", lower: |cx, call| bessel(cx, call, true) },
    Lowering { name: "BitwiseAnd", lower: |cx, call| bitwise(cx, call, Bits::And) },
    Lowering { name: "BitwiseOr", lower: |cx, call| bitwise(cx, call, Bits::Or) },
    Lowering { name: "BitwiseXor", lower: |cx, call| bitwise(cx, call, Bits::Xor) },
    Lowering { name: "Digamma", lower: digamma },
    Lowering { name: "Erfinv", lower: erfinv },
    Lowering { name: "Invert", lower: invert },
    Lowering { name: "LeftShift", lower: |cx, call| shift(cx, call, true) },
    Lowering { name: "Lgamma", lower: lgamma },
    Lowering { name: "Ndtri", lower: ndtri },
    Lowering { name: "NextAfter", lower: next_after },
    Lowering { name: "RightShift", lower: |cx, call| shift(cx, call, false) },
];

fn with(cx: &mut Cx<'_>, op: impl Into<mlc_ir::Op>, x: Value, n: f64) -> LowerResult<Value> {
    let n = cx.scalar_like(x, n)?;
    cx.binary(op, x, n)
}

/// `Σ c·xⁱ`, the coefficient of the highest power first.
fn polynomial(cx: &mut Cx<'_>, x: Value, coefficients: &[f64]) -> LowerResult<Value> {
    let mut sum = cx.scalar_like(x, coefficients.first().copied().unwrap_or(0.0))?;
    for &c in coefficients.iter().skip(1) {
        let product = cx.binary(Mul {}, sum, x)?;
        sum = with(cx, Add {}, product, c)?;
    }
    Ok(sum)
}

/// Lanczos' approximation with g = 7, nine terms; the reflection formula below 1/2.
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

fn lgamma(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let low = with(cx, Less {}, x, 0.5)?;
    let mirrored = negated(cx, x)?;
    let down = with(cx, Sub {}, x, 1.0)?;
    let z = cx.select(low, mirrored, down)?;
    let mut sum = cx.scalar_like(x, LANCZOS[0])?;
    for (i, &c) in LANCZOS.iter().enumerate().skip(1) {
        let at = with(cx, Add {}, z, i as f64)?;
        let c = cx.scalar_like(x, c)?;
        let term = cx.binary(RealDiv {}, c, at)?;
        sum = cx.binary(Add {}, sum, term)?;
    }
    // ln √(2π) + (z + 1/2)·ln(t) − t + ln(sum), t = z + 7.5; ln t as ln 7.5 + log1p(z/7.5).
    let part = with(cx, Mul {}, z, 1.0 / 7.5)?;
    let log_t = log1p_value(cx, part)?;
    let log_t = with(cx, Add {}, log_t, 7.5f64.ln())?;
    let half = with(cx, Add {}, z, 0.5)?;
    let t = with(cx, Add {}, z, 7.5)?;
    // (z + 1/2 − t/ln t)·ln t keeps large terms from cancelling.
    let ratio = cx.binary(RealDiv {}, t, log_t)?;
    let gap = cx.binary(Sub {}, half, ratio)?;
    let main = cx.binary(Mul {}, gap, log_t)?;
    let log_sum = cx.unary(Log { epsilon: F64(0.0) }, sum)?;
    let y = cx.binary(Add {}, main, log_sum)?;
    let y = with(cx, Add {}, y, 0.5 * (2.0 * PI).ln())?;
    // ln π − ln |sin πx| − y
    let size = cx.unary(Abs {}, x)?;
    let whole = cx.unary(Floor {}, size)?;
    let fraction = cx.binary(Sub {}, size, whole)?;
    let beyond = with(cx, Greater {}, fraction, 0.5)?;
    let one = cx.scalar_like(x, 1.0)?;
    let rest = cx.binary(Sub {}, one, fraction)?;
    let fraction = cx.select(beyond, rest, fraction)?;
    let angle = with(cx, Mul {}, fraction, PI)?;
    let sine = cx.unary(Sin {}, angle)?;
    let log_sine = cx.unary(Log { epsilon: F64(0.0) }, sine)?;
    let reflected = cx.scalar_like(x, PI.ln())?;
    let reflected = cx.binary(Sub {}, reflected, log_sine)?;
    let reflected = cx.binary(Sub {}, reflected, y)?;
    let y = cx.select(low, reflected, y)?;
    let infinite = cx.scalar_like(x, f64::INFINITY)?;
    let endless = cx.binary(Equal {}, size, infinite)?;
    let y = cx.select(endless, infinite, y)?;
    cx.one(y)
}

/// The number of the type that follows `x` in the direction of `y`.
///
/// `x ± (φ·|x| + η)` rounds to the neighbour of `x`, with `φ = u·(1 + 2u)`, `u` half the distance from 1
/// to the next number and `η` the least number above 0 (Rump, Zimmermann, Boldo, Melquiond: Computing
/// predecessor and successor in rounding to nearest).
fn next_after(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (float_input(cx, call, 0)?, call.tensor(1)?);
    let (unit, least, most) = match cx.dtype(x)? {
        DType::F32 => (2f64.powi(-24), f64::from(f32::from_bits(1)), f64::from(f32::MAX)),
        DType::F64 => (2f64.powi(-53), f64::from_bits(1), f64::MAX),
        other => return Err(LowerError::dtype(format!("the neighbours of numbers of {other}"))),
    };
    let size = cx.unary(Abs {}, x)?;
    let step = with(cx, Mul {}, size, unit * (1.0 + 2.0 * unit))?;
    let step = with(cx, Add {}, step, least)?;
    let (above, below) = (cx.binary(Add {}, x, step)?, cx.binary(Sub {}, x, step)?);
    let (is_less, is_greater) = (cx.binary(Less {}, x, y)?, cx.binary(Greater {}, x, y)?);
    let (same, sum) = (cx.binary(Equal {}, x, y)?, cx.binary(Add {}, x, y)?);
    // What is neither less, greater nor equal is no number, nor is the sum then.
    let rest = cx.select(same, y, sum)?;
    let down = cx.select(is_greater, below, rest)?;
    let near = cx.select(is_less, above, down)?;
    let endless = with(cx, Equal {}, size, f64::INFINITY)?;
    let apart = cx.unary(mlc_ir::ops::LogicalNot {}, same)?;
    let turned = cx.binary(mlc_ir::ops::LogicalAnd {}, endless, apart)?;
    let known = cx.binary(Equal {}, y, y)?;
    let turned = cx.binary(mlc_ir::ops::LogicalAnd {}, turned, known)?;
    let sign = cx.unary(mlc_ir::ops::Sign {}, x)?;
    let greatest = with(cx, Mul {}, sign, most)?;
    let z = cx.select(turned, greatest, near)?;
    cx.one(z)
}

/// The derivative of `lgamma`: recurrence up to 6, then the asymptotic series; reflected below 1/2.
fn digamma(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let low = with(cx, Less {}, x, 0.5)?;
    let one = cx.scalar_like(x, 1.0)?;
    let mirrored = cx.binary(Sub {}, one, x)?;
    let mut z = cx.select(low, mirrored, x)?;
    let mut sum = cx.scalar_like(x, 0.0)?;
    for _ in 0..6 {
        let inverse = cx.binary(RealDiv {}, one, z)?;
        sum = cx.binary(Sub {}, sum, inverse)?;
        z = cx.binary(Add {}, z, one)?;
    }
    let inverse = cx.binary(RealDiv {}, one, z)?;
    let square = cx.binary(Mul {}, inverse, inverse)?;
    let series = polynomial(
        cx,
        square,
        &[-1.0 / 132.0, 1.0 / 240.0, -1.0 / 252.0, 1.0 / 120.0, -1.0 / 12.0, 0.0],
    )?;
    // The signs above are those of −Σ B₂ₖ/(2k z²ᵏ).
    let log = cx.unary(Log { epsilon: F64(0.0) }, z)?;
    let half = with(cx, Mul {}, inverse, 0.5)?;
    let y = cx.binary(Sub {}, log, half)?;
    let y = cx.binary(Add {}, y, series)?;
    let y = cx.binary(Add {}, y, sum)?;
    // ψ(x) = ψ(1 − x) − π/tan(πx)
    let floor = cx.unary(Floor {}, x)?;
    let fraction = cx.binary(Sub {}, x, floor)?;
    let angle = with(cx, Mul {}, fraction, PI)?;
    let (sine, cosine) = (cx.unary(Sin {}, angle)?, cx.unary(Cos {}, angle)?);
    let pi = cx.scalar_like(x, PI)?;
    let cotangent = cx.binary(RealDiv {}, cosine, sine)?;
    let cotangent = cx.binary(Mul {}, cotangent, pi)?;
    let reflected = cx.binary(Sub {}, y, cotangent)?;
    let y = cx.select(low, reflected, y)?;
    cx.one(y)
}

fn erfinv(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let y = erfinv_value(cx, x)?;
    cx.one(y)
}

/// The inverse of `erf`: two polynomials of `−ln(1 − x²)` (M. Giles, 2010), good in single precision.
fn erfinv_value(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    const CENTRAL: [f64; 9] = [
        2.810_226_36e-8,
        3.432_739_39e-7,
        -3.523_387_7e-6,
        -4.391_506_54e-6,
        0.000_218_580_87,
        -0.001_253_725_03,
        -0.004_177_681_640,
        0.246_640_727,
        1.501_409_41,
    ];
    const TAIL: [f64; 9] = [
        -0.000_200_214_257,
        0.000_100_950_558,
        0.001_349_343_22,
        -0.003_673_428_44,
        0.005_739_507_73,
        -0.007_622_461_3,
        0.009_438_870_47,
        1.001_674_06,
        2.832_976_82,
    ];
    let square = cx.binary(Mul {}, x, x)?;
    let minus = negated(cx, square)?;
    let log = log1p_value(cx, minus)?;
    let w = negated(cx, log)?;
    let central = with(cx, Sub {}, w, 2.5)?;
    let central = polynomial(cx, central, &CENTRAL)?;
    let root = cx.unary(Sqrt {}, w)?;
    let tail = with(cx, Sub {}, root, 3.0)?;
    let tail = polynomial(cx, tail, &TAIL)?;
    let near = with(cx, Less {}, w, 5.0)?;
    let p = cx.select(near, central, tail)?;
    let y = cx.binary(Mul {}, p, x)?;
    // At ±1 the value is infinite.
    let size = cx.unary(Abs {}, x)?;
    let edge = with(cx, Equal {}, size, 1.0)?;
    let endless = with(cx, Mul {}, x, f64::INFINITY)?;
    cx.select(edge, endless, y)
}

fn ndtri(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let p = float_input(cx, call, 0)?;
    let y = ndtri_value(cx, p)?;
    cx.one(y)
}

/// The quantile of the normal distribution: `√2 · erfinv(2p − 1)`.
pub(super) fn ndtri_value(cx: &mut Cx<'_>, p: Value) -> LowerResult<Value> {
    let x = with(cx, Mul {}, p, 2.0)?;
    let x = with(cx, Sub {}, x, 1.0)?;
    let y = erfinv_value(cx, x)?;
    with(cx, Mul {}, y, std::f64::consts::SQRT_2)
}

/// `e^(−|x|)·I(x)` of order 0 or 1: the power series up to 3.75, the asymptotic one beyond
/// (Abramowitz and Stegun, 9.8.1 to 9.8.4).
fn bessel(cx: &mut Cx<'_>, call: &Call<'_>, first: bool) -> LowerResult<Vec<Val>> {
    let y = bessel_value(cx, call, first)?;
    cx.one(y)
}

/// The function without the factor `e^−|x|`.
fn bessel_grown(cx: &mut Cx<'_>, call: &Call<'_>, first: bool) -> LowerResult<Vec<Val>> {
    let y = bessel_value(cx, call, first)?;
    let size = cx.unary(Abs {}, call.tensor(0)?)?;
    let growth = cx.unary(Exp {}, size)?;
    let y = cx.binary(Mul {}, y, growth)?;
    cx.one(y)
}

fn bessel_value(cx: &mut Cx<'_>, call: &Call<'_>, first: bool) -> LowerResult<Value> {
    let x = float_input(cx, call, 0)?;
    let size = cx.unary(Abs {}, x)?;
    let near = with(cx, Less {}, size, 3.75)?;
    let part = with(cx, Mul {}, size, 1.0 / 3.75)?;
    let square = cx.binary(Mul {}, part, part)?;
    let series: &[f64] = if first {
        &[0.000_324_11, 0.003_015_32, 0.026_587_33, 0.150_849_34, 0.514_988_69, 0.878_905_94, 0.5]
    } else {
        &[0.004_581_3, 0.036_076_8, 0.265_973_2, 1.206_749_2, 3.089_942_4, 3.515_622_9, 1.0]
    };
    let small = polynomial(cx, square, series)?;
    let minus = negated(cx, size)?;
    let decay = cx.unary(Exp {}, minus)?;
    let small = cx.binary(Mul {}, small, decay)?;
    let small = if first { cx.binary(Mul {}, small, size)? } else { small };
    let least = with(cx, mlc_ir::ops::Maximum {}, size, 3.75)?;
    let t = cx.scalar_like(x, 3.75)?;
    let t = cx.binary(RealDiv {}, t, least)?;
    let asymptotic: &[f64] = if first {
        &[
            -0.004_200_59,
            0.017_876_54,
            -0.028_953_12,
            0.022_829_67,
            -0.010_315_55,
            0.001_638_01,
            -0.003_620_18,
            -0.039_880_24,
            0.398_942_28,
        ]
    } else {
        &[
            0.003_923_77,
            -0.016_476_33,
            0.026_355_37,
            -0.020_577_06,
            0.009_162_81,
            -0.001_575_65,
            0.002_253_19,
            0.013_285_92,
            0.398_942_28,
        ]
    };
    let large = polynomial(cx, t, asymptotic)?;
    let root = cx.unary(Sqrt {}, least)?;
    let large = cx.binary(RealDiv {}, large, root)?;
    let y = cx.select(near, small, large)?;
    let y = if first {
        let sign = cx.unary(mlc_ir::ops::Sign {}, x)?;
        cx.binary(Mul {}, y, sign)?
    } else {
        y
    };
    Ok(y)
}

/// Which bits of a result are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bits {
    And,
    Or,
    Xor,
}

/// `x` as a number of 32 bits that is not negative, in halves of 16 bits.
fn halves(cx: &mut Cx<'_>, x: Value) -> LowerResult<[Value; 2]> {
    let step = cx.b.int(1 << 16)?;
    let low = cx.binary(Mod {}, x, step)?;
    let high = cx.binary(FloorDiv {}, x, step)?;
    // The upper half of a negative number is that of its two's complement.
    let high = cx.binary(Mod {}, high, step)?;
    Ok([low, high])
}

/// The sign bits of floats, where `mask` asks for nothing else: the least integer or 0.
fn sign_bits(cx: &mut Cx<'_>, x: Value, mask: Value) -> LowerResult<Vec<Val>> {
    let dtype = cx.dtype(mask)?;
    let least = dtype.int_range().map_or(0, |(low, _)| low);
    if !cx.ints(mask).is_some_and(|all| all.iter().all(|&bits| bits == least)) {
        return Err(LowerError::dtype("bits of floats that are not their sign")
            .help("compute with the numbers instead of their bits"));
    }
    // The inverse tells the two zeros apart.
    let one = cx.scalar_like(x, 1.0)?;
    let inverse = cx.binary(RealDiv {}, one, x)?;
    let (zero, none) = (cx.scalar_like(x, 0.0)?, cx.integer(dtype, 0)?);
    let is_zero = cx.binary(Equal {}, x, zero)?;
    let side = cx.select(is_zero, inverse, x)?;
    let negative = cx.binary(Less {}, side, zero)?;
    let least = cx.integer(dtype, least)?;
    let y = cx.select(negative, least, none)?;
    cx.one(y)
}

/// Bit by bit: the bits that both have; from it and the sum the others follow.
fn bitwise(cx: &mut Cx<'_>, call: &Call<'_>, op: Bits) -> LowerResult<Vec<Val>> {
    match (op, call.input(0)?, call.input(1)?) {
        (Bits::And, Val::Bits(x), Val::Tensor(mask))
        | (Bits::And, Val::Tensor(mask), Val::Bits(x)) => {
            return sign_bits(cx, *x, *mask);
        }
        _ => {}
    }
    let (x, y) = (call.tensor(0)?, call.tensor(1)?);
    let dtype = cx.dtype(x)?;
    if dtype.bits() > 32 || dtype == DType::U32 {
        return Err(LowerError::dtype(format!("bits of {dtype}")));
    }
    let (a, b) = (cx.cast(x, DType::I32)?, cx.cast(y, DType::I32)?);
    let (a_parts, b_parts) = (halves(cx, a)?, halves(cx, b)?);
    let mut both: Option<Value> = None;
    let two = cx.b.int(2)?;
    for (part, (&a, &b)) in a_parts.iter().zip(&b_parts).enumerate() {
        let (mut a, mut b) = (a, b);
        for bit in 0..16 {
            let (low_a, low_b) = (cx.binary(Mod {}, a, two)?, cx.binary(Mod {}, b, two)?);
            let set = cx.binary(Mul {}, low_a, low_b)?;
            let place = part * 16 + bit;
            let weight = if place == 31 { i64::from(i32::MIN) } else { 1 << place };
            let weight = cx.b.int(weight)?;
            let value = cx.binary(Mul {}, set, weight)?;
            both = Some(match both {
                Some(both) => cx.binary(Add {}, both, value)?,
                None => value,
            });
            a = cx.binary(FloorDiv {}, a, two)?;
            b = cx.binary(FloorDiv {}, b, two)?;
        }
    }
    let both = both.ok_or_else(|| LowerError::invalid("no bits"))?;
    let z = match op {
        Bits::And => both,
        Bits::Or => {
            let rest = cx.binary(Sub {}, a, both)?;
            cx.binary(Add {}, rest, b)?
        }
        Bits::Xor => {
            let (a, b) = (cx.binary(Sub {}, a, both)?, cx.binary(Sub {}, b, both)?);
            cx.binary(Add {}, a, b)?
        }
    };
    let z = cx.cast(z, dtype)?;
    cx.one(z)
}

/// All bits turned round: `−1 − x`, or the greatest number less `x`.
fn invert(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let dtype = cx.dtype(x)?;
    let (low, high) = dtype.int_range().unwrap_or((0, 0));
    let all = if low < 0 { -1 } else { high };
    if dtype.bits() > 32 {
        let all = cx.integer(dtype, all)?;
        let y = cx.binary(Sub {}, all, x)?;
        return cx.one(y);
    }
    let wide = cx.cast(x, DType::I32)?;
    let all = cx.b.int(all)?;
    let y = cx.binary(Sub {}, all, wide)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// Multiplication with a power of two, or the floor of the quotient.
fn shift(cx: &mut Cx<'_>, call: &Call<'_>, left: bool) -> LowerResult<Vec<Val>> {
    let (x, by) = (call.tensor(0)?, call.tensor(1)?);
    let known = cx.ints(by);
    let bits = i64::from(cx.dtype(x)?.bits());
    // A power that is not known is a product of those that its bits stand for.
    let power = match &known {
        Some(all) if all.iter().all(|n| (0..bits - 1).contains(n)) => {
            let shape = cx.shape(by)?;
            let extents: Option<Vec<u64>> =
                shape.iter().map(|d| d.as_const().and_then(|n| u64::try_from(n).ok())).collect();
            let extents = extents.ok_or_else(|| LowerError::invalid("an open extent"))?;
            let powers: Vec<i64> = all.iter().map(|n| 1 << n).collect();
            let dtype = cx.dtype(x)?;
            let tensor = mlc_tensor::Tensor::from_i64s(dtype, &extents, &powers)?;
            cx.b.constant(tensor)?
        }
        _ => {
            let two = cx.scalar_like(x, 2.0)?;
            let mut power = cx.scalar_like(x, 1.0)?;
            for n in 1..bits - 1 {
                let at = cx.scalar_like(by, n as f64)?;
                let more = cx.binary(GreaterEqual {}, by, at)?;
                let double = super::elementwise::arithmetic_values(cx, Mul {}, power, two)?;
                power = cx.select(more, double, power)?;
            }
            power
        }
    };
    let y = match left {
        true => super::elementwise::arithmetic_values(cx, Mul {}, x, power)?,
        false => super::elementwise::arithmetic_values(cx, FloorDiv {}, x, power)?,
    };
    cx.one(y)
}
