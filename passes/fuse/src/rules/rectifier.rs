//! Rectifiers from comparisons, bounds and sums.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::ops::{
    Add, ClampedRelu, Clip, Elu, Exp, LeakyRelu, Minimum, Mul, Prelu, Relu, Reshape, Select, Sub,
    ThresholdedRelu, Transpose,
};
use mlc_ir::{F64, Op};

pub(super) const FAMILY: Family = Family {
    name: "rectifier",
    source: include_str!("rectifier.rs"),
    rules: &[
        rule!(Exact, "relu-of-select", ["select"], relu_of_select),
        rule!(Exact, "relu-of-minimum", ["relu"], relu_of_minimum),
        rule!(Exact, "clip-of-relu", ["clip"], clip_of_relu),
        rule!(Exact, "thresholded-relu", ["select"], thresholded_relu),
        rule!(Exact, "clamped-relu", ["minimum"], clamped_relu),
        rule!(Close, "elu-of-select", ["select"], elu_of_select),
        rule!(Close, "elu-of-parts", ["add"], elu_of_parts),
        rule!(Close, "leaky-relu-of-parts", ["add", "sub"], leaky_relu_of_parts),
        rule!(Close, "prelu-of-parts", ["add", "sub"], prelu_of_parts),
        rule!(Close, "prelu-of-select", ["select"], prelu_of_select),
    ],
};

/// `x` and `c` where a class is `x > c` or `x ≥ c` (with `above`), or `x < c` or `x ≤ c`; the last is whether
/// equal numbers are left out.
fn compared(test: Class<'_>, above: bool) -> Option<(Class<'_>, f64, bool)> {
    test.ops().into_iter().find_map(|op| {
        let (greater, strict) = match op.payload() {
            Op::Greater(_) => (true, true),
            Op::GreaterEqual(_) => (true, false),
            Op::Less(_) => (false, true),
            Op::LessEqual(_) => (false, false),
            _ => return None,
        };
        let (x, c) = if greater == above { (0, 1) } else { (1, 0) };
        Some((op.operand(x), op.operand(c).scalar()?, strict))
    })
}

fn is_above(test: Class<'_>) -> Option<(Class<'_>, f64, bool)> {
    compared(test, true)
}

fn is_below(test: Class<'_>) -> Option<(Class<'_>, f64)> {
    compared(test, false).map(|(x, c, _)| (x, c))
}

/// `x` with the value it has above 0 and the one it has below where a `select` chooses by its sign; both
/// are equal at 0.
fn by_sign<'m>(m: &'m Match<'m>) -> Option<(Class<'m>, Class<'m>, Class<'m>)> {
    let select = m.op::<Select>()?;
    let (test, yes, no) = (select.operand(0), select.operand(1), select.operand(2));
    m.ty().filter(|ty| ty.dtype.is_float())?;
    let (x, above, below) = match is_above(test).filter(|(_, c, _)| *c == 0.0) {
        Some((x, ..)) => (x, yes, no),
        None => (is_below(test).filter(|(_, c)| *c == 0.0)?.0, no, yes),
    };
    (x.ty() == m.ty()).then_some((x, above, below))
}

/// `x < 0 ? 0 : x = relu(x)`, and with `≤`; what is no number stays none
fn relu_of_select(m: &Match<'_>) -> Option<Build> {
    let select = m.op::<Select>()?;
    let (x, _) = is_below(select.operand(0)).filter(|(_, c)| *c == 0.0)?;
    let fits = select.operand(1).scalar() == Some(0.0)
        && select.operand(2) == x
        && x.ty() == m.ty()
        && x.dtype()?.is_float();
    fits.then(|| m.build(Relu {}, [x.into()]))
}

/// `relu(min(x, b)) = clip(x, 0, b)` for `b ≥ 0`
fn relu_of_minimum(m: &Match<'_>) -> Option<Build> {
    m.op::<Relu>()?;
    let (x, high) = m.operand(0).find::<Minimum>()?.with_scalar()?;
    let fits = high >= 0.0 && x.ty() == m.ty();
    fits.then(|| m.build(Clip { alpha: F64(0.0), beta: F64(high) }, [x.into()]))
}

/// `clip(relu(x), a, b) = clip(x, max(a, 0), b)` for `b ≥ 0`
fn clip_of_relu(m: &Match<'_>) -> Option<Build> {
    let clip = m.op::<Clip>()?;
    let x = clip.operand(0).find::<Relu>()?.operand(0);
    let low = clip.alpha.0.max(0.0);
    let op = Clip { alpha: F64(low), beta: clip.beta };
    (clip.beta.0 >= low).then(|| m.build(op, [x.into()]))
}

/// `x ≥ t ? x : 0 = thresholded_relu(x; t)`, at 0 also with `>`; what is no number becomes 0
fn thresholded_relu(m: &Match<'_>) -> Option<Build> {
    let select = m.op::<Select>()?;
    let (x, t, strict) = is_above(select.operand(0))?;
    let is_exact = if t == 0.0 { true } else { !strict && (1e-3..=1e3).contains(&t.abs()) };
    let fits = is_exact
        && select.operand(1) == x
        && select.operand(2).scalar() == Some(0.0)
        && x.ty() == m.ty()
        && x.dtype()?.is_float();
    fits.then(|| m.build(ThresholdedRelu { alpha: F64(t) }, [x.into()]))
}

/// `min(leaky_relu(x; a), b) = clamped_relu(x; a, b)`
fn clamped_relu(m: &Match<'_>) -> Option<Build> {
    let (inner, high) = m.op::<Minimum>()?.with_scalar()?;
    let leaky = inner.find::<LeakyRelu>()?;
    let fits = (1e-3..=1e3).contains(&high.abs()) && inner.ty() == m.ty();
    let op = ClampedRelu { alpha: leaky.alpha, beta: F64(high) };
    fits.then(|| m.build(op, [leaky.operand(0).into()]))
}

/// `x` where a class is `eˣ − 1`.
fn expm1(class: Class<'_>) -> Option<Class<'_>> {
    let by_add = class.find::<Add>().and_then(|add| add.with_scalar());
    let by_sub = || {
        let sub = class.find::<Sub>()?;
        Some((sub.operand(0), -sub.operand(1).scalar()?))
    };
    let (power, _) = by_add.or_else(by_sub).filter(|(_, minus)| *minus == -1.0)?;
    Some(power.find::<Exp>()?.operand(0))
}

/// `x` and `a` where a class is `a · (eˣ − 1)`.
fn scaled_expm1(class: Class<'_>) -> Option<(Class<'_>, f64)> {
    if let Some(x) = expm1(class) {
        return Some((x, 1.0));
    }
    let (inner, a) = class.find::<Mul>()?.with_scalar()?;
    Some((expm1(inner)?, a))
}

/// `x > 0 ? x : a·(eˣ − 1) = elu(x; a)`
fn elu_of_select(m: &Match<'_>) -> Option<Build> {
    let (x, above, below) = by_sign(m)?;
    let (argument, a) = scaled_expm1(below)?;
    let is_same = argument == x || below_zero(argument) == Some(x);
    let fits = above == x && is_same && a.is_finite();
    fits.then(|| m.build(Elu { alpha: F64(a) }, [x.into()]))
}

/// `x` where a class is `min(x, 0)`.
fn below_zero(class: Class<'_>) -> Option<Class<'_>> {
    let (x, _) = class.find::<Minimum>()?.with_scalar().filter(|(_, zero)| *zero == 0.0)?;
    Some(x)
}

/// `relu(x) + a·(e^min(x, 0) − 1) = elu(x; a)`
fn elu_of_parts(m: &Match<'_>) -> Option<Build> {
    let pairs = m.op::<Add>()?.pairs();
    let (x, a) = pairs.into_iter().find_map(|(rectified, rest)| {
        let x = rectified.find::<Relu>()?.operand(0);
        let (argument, a) = scaled_expm1(rest)?;
        (below_zero(argument)? == x).then_some((x, a))
    })?;
    (a.is_finite() && x.ty() == m.ty()).then(|| m.build(Elu { alpha: F64(a) }, [x.into()]))
}

/// `x` where a class is `relu(−x)`, which is −1 times the part of `x` below 0.
fn mirrored(class: Class<'_>) -> Option<Class<'_>> {
    let negative = class.find::<Relu>()?.operand(0);
    let (x, _) = negative.find::<Mul>()?.with_scalar().filter(|(_, minus)| *minus == -1.0)?;
    Some(x)
}

/// `x` and the sign where a class is the part of `x` below 0 or its negative.
fn negative_part(class: Class<'_>) -> Option<(Class<'_>, f64)> {
    if let Some(x) = mirrored(class) {
        return Some((x, -1.0));
    }
    Some((below_zero(class)?, 1.0))
}

/// `x`, a constant and its sign where an op is `relu(x) ± a · min(x, 0)`.
fn parts<'m>(m: &'m Match<'m>) -> Option<(Class<'m>, Class<'m>, f64)> {
    let (root, sign) = match m.op::<Add>() {
        Some(add) => (add.pairs().to_vec(), 1.0),
        None => (m.op::<Sub>()?.pairs()[..1].to_vec(), -1.0),
    };
    m.ty().filter(|ty| ty.dtype.is_float())?;
    root.into_iter().find_map(|(rectified, rest)| {
        let x = rectified.find::<Relu>()?.operand(0);
        let (part, slope) = rest.find::<Mul>()?.with_constant()?;
        let (own, direction) = negative_part(part)?;
        (own == x && x.ty() == m.ty()).then_some((x, slope, sign * direction))
    })
}

/// `relu(x) + a·min(x, 0) = leaky_relu(x; a)`, also with `−a·relu(−x)`
fn leaky_relu_of_parts(m: &Match<'_>) -> Option<Build> {
    let (x, slope, sign) = parts(m)?;
    let a = slope.scalar().filter(|a| a.is_finite())?;
    Some(m.build(LeakyRelu { alpha: F64(a * sign) }, [x.into()]))
}

/// `relu(x) + a·min(x, 0) = prelu(x; a)` for `a` along the channels, also with `−a·relu(−x)`; channels that
/// come last are moved
fn prelu_of_parts(m: &Match<'_>) -> Option<Build> {
    let (x, slope, sign) = parts(m)?;
    prelu(m, (x, slope, sign))
}

/// `x > 0 ? x : a·x = prelu(x; a)` for `a` along the channels
fn prelu_of_select(m: &Match<'_>) -> Option<Build> {
    let (x, above, below) = by_sign(m)?;
    let (own, slope) = below.find::<Mul>()?.with_constant()?;
    (above == x && own == x).then(|| prelu(m, (x, slope, 1.0)))?
}

fn prelu(m: &Match<'_>, (x, slope, sign): (Class<'_>, Class<'_>, f64)) -> Option<Build> {
    let rank = x.rank();
    let mut shape = slope.static_shape()?;
    if !(3..=5).contains(&rank) || slope.dtype() != x.dtype() || shape.len() > rank {
        return None;
    }
    while shape.len() < rank {
        shape.insert(0, 1);
    }
    let axis = shape.iter().position(|&n| n != 1)?;
    let channels = i64::try_from(shape[axis]).ok()?;
    let fits = shape.iter().enumerate().all(|(i, &n)| i == axis || n == 1);
    if !fits || !x.shape()[axis].is(channels) {
        return None;
    }
    let flat = m.build(Reshape {}, [slope.into(), m.ints(&[channels])?]);
    let alpha = match sign < 0.0 {
        true => m.build(Mul {}, [flat, m.number(-1.0)?]),
        false => flat,
    };
    if axis == 1 {
        return Some(m.build(Prelu {}, [x.into(), alpha]));
    }
    let rank = rank as i64;
    let first: Vec<i64> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    let last: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).collect();
    (axis as i64 == rank - 1).then(|| {
        let moved = m.build(Transpose { perm: first }, [x.into()]);
        let y = m.build(Prelu {}, [moved, alpha]);
        m.build(Transpose { perm: last }, [y])
    })
}
