//! Powers, roots, signs, bounds and choices.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::F64;
use mlc_ir::ops::{
    Abs, Add, Clip, Equal, Exp2, Inverse, Log, LogicalNot, Maximum, Minimum, Mul, NotEqual, Pow,
    RealDiv, Relu, Rsqrt, Select, Sigmoid, Sqrt, Square, Sub,
};

pub(super) const FAMILY: Family = Family {
    name: "algebra",
    source: include_str!("algebra.rs"),
    rules: &[
        rule!(Close, "pow-to-square", ["pow"], pow_to_square),
        rule!(Close, "pow-to-sqrt", ["pow"], pow_to_sqrt),
        rule!(Close, "pow-to-rsqrt", ["pow"], pow_to_rsqrt),
        rule!(Exact, "pow-one", ["pow"], pow_one),
        rule!(Close, "pow-of-two", ["pow"], pow_of_two),
        rule!(Exact, "mul-to-square", ["mul"], mul_to_square),
        rule!(Close, "div-by-sqrt", ["real_div"], div_by_sqrt),
        rule!(Close, "epsilon-of-sum", ["rsqrt", "log", "inverse"], epsilon_of_sum),
        rule!(Exact, "add-of-negative", ["add"], add_of_negative),
        rule!(Exact, "sub-of-negative", ["sub"], sub_of_negative),
        rule!(Exact, "abs-of-positive", ["abs", "relu"], abs_of_positive),
        rule!(Close, "sqrt-of-square", ["sqrt"], sqrt_of_square),
        rule!(Exact, "square-of-abs", ["square"], square_of_abs),
        rule!(Exact, "bound-of-same", ["maximum", "minimum"], bound_of_same),
        rule!(Exact, "select-same", ["select"], select_same),
        rule!(Exact, "select-constant", ["select"], select_constant),
        rule!(Exact, "not-of-not", ["logical_not"], not_of_not),
        rule!(Exact, "not-of-equal", ["logical_not"], not_of_equal),
        rule!(Exact, "maximum-zero", ["maximum"], maximum_zero),
        rule!(Exact, "minimum-of-maximum", ["minimum"], minimum_of_maximum),
        rule!(Exact, "clip-of-clip", ["clip"], clip_of_clip),
        rule!(Exact, "minimum-of-relu", ["minimum"], minimum_of_relu),
    ],
};

/// The base of a power whose exponent is the number `exponent`.
fn power<'m>(m: &'m Match<'m>, exponent: f64) -> Option<Class<'m>> {
    let pow = m.op::<Pow>()?;
    let (x, y) = (pow.operand(0), pow.operand(1));
    let fits = y.scalar() == Some(exponent) && x.ty() == m.ty() && x.dtype()?.is_float();
    fits.then_some(x)
}

/// `x² = square(x)`
fn pow_to_square(m: &Match<'_>) -> Option<Build> {
    Some(m.build(Square {}, [power(m, 2.0)?.into()]))
}

/// `x^½ = √x`
fn pow_to_sqrt(m: &Match<'_>) -> Option<Build> {
    Some(m.build(Sqrt {}, [power(m, 0.5)?.into()]))
}

/// `x^(−½) = rsqrt(x)`
fn pow_to_rsqrt(m: &Match<'_>) -> Option<Build> {
    Some(m.build(Rsqrt { epsilon: F64(0.0) }, [power(m, -0.5)?.into()]))
}

/// `x¹ = x`
fn pow_one(m: &Match<'_>) -> Option<Build> {
    Some(power(m, 1.0)?.into())
}

/// `x · x = square(x)`
fn mul_to_square(m: &Match<'_>) -> Option<Build> {
    let mul = m.op::<Mul>()?;
    let x = mul.operand(0);
    (x == mul.operand(1)).then(|| m.build(Square {}, [x.into()]))
}

/// `y / √x = y · rsqrt(x)`, the factor 1 left out
fn div_by_sqrt(m: &Match<'_>) -> Option<Build> {
    let div = m.op::<RealDiv>()?;
    let (y, root) = (div.operand(0), div.operand(1).find::<Sqrt>()?);
    let rsqrt = m.build(Rsqrt { epsilon: F64(0.0) }, [root.operand(0).into()]);
    if y.scalar() == Some(1.0) {
        return (root.class().ty() == m.ty()).then_some(rsqrt);
    }
    Some(m.build(Mul {}, [y.into(), rsqrt]))
}

/// `2^x = exp2(x)`
fn pow_of_two(m: &Match<'_>) -> Option<Build> {
    let pow = m.op::<Pow>()?;
    let x = pow.operand(1);
    let fits = pow.operand(0).scalar() == Some(2.0) && x.ty() == m.ty() && x.dtype()?.is_float();
    fits.then(|| m.build(Exp2 {}, [x.into()]))
}

/// `f(x + c; ε) = f(x; ε + c)` for `rsqrt`, `log` and `inverse`, whose ε is added to `x`
fn epsilon_of_sum(m: &Match<'_>) -> Option<Build> {
    let (x, c) = m.operand(0).find::<Add>()?.with_scalar()?;
    if x.ty() != m.ty() || !c.is_finite() {
        return None;
    }
    let sum = |epsilon: F64| F64(epsilon.0 + c);
    if let Some(op) = m.op::<Rsqrt>() {
        return Some(m.build(Rsqrt { epsilon: sum(op.epsilon) }, [x.into()]));
    }
    if let Some(op) = m.op::<Log>() {
        return Some(m.build(Log { epsilon: sum(op.epsilon) }, [x.into()]));
    }
    let op = m.op::<Inverse>()?;
    Some(m.build(Inverse { epsilon: sum(op.epsilon) }, [x.into()]))
}

/// The value whose negative a class is.
fn negative<'m>(class: Class<'m>) -> Option<Class<'m>> {
    let (x, minus) = class.find::<Mul>()?.with_scalar()?;
    (minus == -1.0 && x.ty() == class.ty()).then_some(x)
}

/// `x + (−1)·y = x − y`
fn add_of_negative(m: &Match<'_>) -> Option<Build> {
    let pairs = m.op::<Add>()?.pairs();
    let (x, y) = pairs.into_iter().find_map(|(x, y)| Some((x, negative(y)?)))?;
    Some(m.build(Sub {}, [x.into(), y.into()]))
}

/// `x − (−1)·y = x + y`
fn sub_of_negative(m: &Match<'_>) -> Option<Build> {
    let sub = m.op::<Sub>()?;
    let y = negative(sub.operand(1))?;
    Some(m.build(Add {}, [sub.operand(0).into(), y.into()]))
}

/// `|x| = x` and `max(x, 0) = x` for what is never negative
fn abs_of_positive(m: &Match<'_>) -> Option<Build> {
    let x = m.operand(0);
    let is_positive = x.find::<Relu>().is_some()
        || x.find::<Sigmoid>().is_some()
        || x.find::<Abs>().is_some()
        || (x.dtype()?.is_float() && x.find::<Square>().is_some());
    is_positive.then(|| x.into())
}

/// `√(x²) = |x|`
fn sqrt_of_square(m: &Match<'_>) -> Option<Build> {
    m.op::<Sqrt>()?;
    let square = m.operand(0).find::<Square>()?;
    // Half precision overflows at 256 already.
    (m.ty()?.dtype.bits() >= 32).then(|| m.build(Abs {}, [square.operand(0).into()]))
}

/// `|x|² = x²`
fn square_of_abs(m: &Match<'_>) -> Option<Build> {
    m.op::<Square>()?;
    let abs = m.operand(0).find::<Abs>()?;
    Some(m.build(Square {}, [abs.operand(0).into()]))
}

/// `max(x, x) = x`, and the minimum
fn bound_of_same(m: &Match<'_>) -> Option<Build> {
    let x = m.operand(0);
    (x == m.operand(1)).then(|| x.into())
}

/// `select(c, x, x) = x`
fn select_same(m: &Match<'_>) -> Option<Build> {
    let select = m.op::<Select>()?;
    let x = select.operand(1);
    (x == select.operand(2) && x.ty() == m.ty()).then(|| x.into())
}

/// `select(true, a, b) = a`, `select(false, a, b) = b`
fn select_constant(m: &Match<'_>) -> Option<Build> {
    let select = m.op::<Select>()?;
    let taken = if select.operand(0).scalar()? != 0.0 { 1 } else { 2 };
    let x = select.operand(taken);
    (x.ty() == m.ty()).then(|| x.into())
}

/// `¬¬x = x`
fn not_of_not(m: &Match<'_>) -> Option<Build> {
    m.op::<LogicalNot>()?;
    Some(m.operand(0).find::<LogicalNot>()?.operand(0).into())
}

/// `¬(x = y) = (x ≠ y)`, and the other way round
fn not_of_equal(m: &Match<'_>) -> Option<Build> {
    m.op::<LogicalNot>()?;
    if let Some(equal) = m.operand(0).find::<Equal>() {
        return Some(m.build(NotEqual {}, [equal.operand(0).into(), equal.operand(1).into()]));
    }
    let differs = m.operand(0).find::<NotEqual>()?;
    Some(m.build(Equal {}, [differs.operand(0).into(), differs.operand(1).into()]))
}

/// `max(x, 0) = relu(x)`
fn maximum_zero(m: &Match<'_>) -> Option<Build> {
    let (x, zero) = m.op::<Maximum>()?.with_scalar()?;
    let fits = zero == 0.0 && x.ty() == m.ty() && x.dtype()?.is_float();
    fits.then(|| m.build(Relu {}, [x.into()]))
}

/// `min(max(x, a), b) = clip(x, a, b)`
fn minimum_of_maximum(m: &Match<'_>) -> Option<Build> {
    let (inner, high) = m.op::<Minimum>()?.with_scalar()?;
    let (x, low) = inner.find::<Maximum>()?.with_scalar()?;
    let fits = x.ty() == m.ty() && x.dtype()?.is_float() && low <= high;
    fits.then(|| m.build(Clip { alpha: F64(low), beta: F64(high) }, [x.into()]))
}

/// `clip(clip(x, a, b), c, d) = clip(x, max(a, c), min(b, d))` where the bounds overlap
fn clip_of_clip(m: &Match<'_>) -> Option<Build> {
    let outer = m.op::<Clip>()?;
    let inner = outer.operand(0).find::<Clip>()?;
    let (low, high) = (inner.alpha.0.max(outer.alpha.0), inner.beta.0.min(outer.beta.0));
    let ordered = inner.alpha.0 <= inner.beta.0 && outer.alpha.0 <= outer.beta.0 && low <= high;
    ordered.then(|| m.build(Clip { alpha: F64(low), beta: F64(high) }, [inner.operand(0).into()]))
}

/// `min(relu(x), b) = clip(x, 0, b)` for `b ≥ 0`
fn minimum_of_relu(m: &Match<'_>) -> Option<Build> {
    let (inner, high) = m.op::<Minimum>()?.with_scalar()?;
    let relu = inner.find::<Relu>()?;
    let fits = high >= 0.0 && inner.ty() == m.ty();
    fits.then(|| m.build(Clip { alpha: F64(0.0), beta: F64(high) }, [relu.operand(0).into()]))
}
