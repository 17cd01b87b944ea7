//! Activations from the ops that spell them.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::F64;
use mlc_ir::attr::GeluMode;
use mlc_ir::ops::{
    Add, Clip, Erf, Gelu, Greater, GreaterEqual, LeakyRelu, Maximum, Minimum, Mul, Pow, Prelu,
    RealDiv, Relu, Relu6, Select, Sigmoid, SigmoidHard, Silu, Square, Tanh,
};

pub(super) const FAMILY: Family = Family {
    name: "activation",
    source: include_str!("activation.rs"),
    rules: &[
        rule!(Close, "silu", ["mul"], silu),
        rule!(Close, "gelu-exact", ["mul"], gelu_exact),
        rule!(Close, "gelu-tanh", ["mul"], gelu_tanh),
        rule!(Close, "leaky-relu", ["maximum"], leaky_relu),
        rule!(Close, "leaky-relu-of-select", ["select"], leaky_relu_of_select),
        rule!(Exact, "prelu-to-leaky-relu", ["prelu"], prelu_to_leaky_relu),
        rule!(Close, "sigmoid-hard", ["mul"], sigmoid_hard),
        rule!(Exact, "relu-of-relu", ["relu"], relu_of_relu),
        rule!(Exact, "clip-to-relu6", ["clip"], clip_to_relu6),
        rule!(Exact, "maximum-of-minimum", ["maximum"], maximum_of_minimum),
    ],
};

/// `x · sigmoid(x) = silu(x)`
fn silu(m: &Match<'_>) -> Option<Build> {
    let pairs = m.op::<Mul>()?.pairs();
    let (x, _) = pairs
        .into_iter()
        .find(|(x, gate)| gate.find::<Sigmoid>().is_some_and(|sigmoid| sigmoid.operand(0) == *x))?;
    Some(m.build(Silu {}, [x.into()]))
}

/// `x/2 · (1 + erf(x/√2)) = gelu(x)`, the factors in any grouping
fn gelu_exact(m: &Match<'_>) -> Option<Build> {
    let factors = product(m)?;
    let x = gelu_operand(&factors, |bell, x| {
        let (inner, _) = bell.find::<Add>()?.with_scalar().filter(|(_, one)| *one == 1.0)?;
        let scaled = inner.find::<Erf>()?.operand(0);
        let by_mul = scaled.find::<Mul>().and_then(|mul| mul.with_scalar());
        let by_div = || {
            let div = scaled.find::<RealDiv>()?;
            Some((div.operand(0), 1.0 / div.operand(1).scalar()?))
        };
        let (operand, scale) = by_mul.or_else(by_div)?;
        let is_root = (scale - std::f64::consts::FRAC_1_SQRT_2).abs() < 1e-4;
        (is_root && operand == x).then_some(())
    })?;
    (x.ty() == m.ty()).then(|| m.build(Gelu { mode: GeluMode::Exact }, [x.into()]))
}

/// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))) = gelu(x)` by tanh, the factors in any grouping
fn gelu_tanh(m: &Match<'_>) -> Option<Build> {
    let factors = product(m)?;
    let near = |a: f64, b: f64| (a - b).abs() <= 2e-5 * b;
    let x = gelu_operand(&factors, |bell, x| {
        let (inner, _) = bell.find::<Add>()?.with_scalar().filter(|(_, one)| *one == 1.0)?;
        let (sum, scale) = inner.find::<Tanh>()?.operand(0).find::<Mul>()?.with_scalar()?;
        let root = (2.0 / std::f64::consts::PI).sqrt();
        let pairs = sum.find::<Add>()?.pairs();
        let (_, cubic) = pairs.into_iter().find(|(own, _)| *own == x)?;
        let (cube, third) = cubic.find::<Mul>()?.with_scalar()?;
        let fits = near(scale, root) && near(third, 0.044715) && is_cube(cube, x);
        fits.then_some(())
    })?;
    let gelu = Gelu { mode: GeluMode::TanhApproximation };
    (x.ty() == m.ty()).then(|| m.build(gelu, [x.into()]))
}

/// Whether a class is `x³`, as a power or as products.
fn is_cube(class: Class<'_>, x: Class<'_>) -> bool {
    let by_power = class
        .find::<Pow>()
        .is_some_and(|pow| pow.operand(0) == x && pow.operand(1).scalar() == Some(3.0));
    let by_product = || {
        let mul = class.find::<Mul>()?;
        let (_, square) = mul.pairs().into_iter().find(|(own, _)| *own == x)?;
        let is_square = square.find::<Square>().is_some_and(|op| op.operand(0) == x)
            || square.find::<Mul>().is_some_and(|op| op.operand(0) == x && op.operand(1) == x);
        is_square.then_some(())
    };
    by_power || by_product().is_some()
}

/// `max(x, a·x) = leaky_relu(x, a)` for `0 ≤ a ≤ 1`
fn leaky_relu(m: &Match<'_>) -> Option<Build> {
    m.ty().filter(|ty| ty.dtype.is_float())?;
    let pairs = m.op::<Maximum>()?.pairs();
    let (x, slope) = pairs.into_iter().find_map(|(x, scaled)| {
        let (own, slope) = scaled.find::<Mul>()?.with_scalar()?;
        (own == x && x.ty() == m.ty()).then_some((x, slope))
    })?;
    (0.0..=1.0).contains(&slope).then(|| m.build(LeakyRelu { alpha: F64(slope) }, [x.into()]))
}

/// `x > 0 ? x : a·x = leaky_relu(x, a)`, and with `≥`
fn leaky_relu_of_select(m: &Match<'_>) -> Option<Build> {
    let select = m.op::<Select>()?;
    let (test, x) = (select.operand(0), select.operand(1));
    x.dtype().filter(|dtype| dtype.is_float())?;
    let (own, slope) = select.operand(2).find::<Mul>()?.with_scalar()?;
    let compared = test
        .find::<Greater>()
        .map(|op| (op.operand(0), op.operand(1)))
        .or_else(|| test.find::<GreaterEqual>().map(|op| (op.operand(0), op.operand(1))))?;
    let fits = compared.0 == x && compared.1.scalar() == Some(0.0) && own == x && x.ty() == m.ty();
    (fits && slope.is_finite()).then(|| m.build(LeakyRelu { alpha: F64(slope) }, [x.into()]))
}

/// `prelu(x, a) = leaky_relu(x, a)` where all slopes are equal
fn prelu_to_leaky_relu(m: &Match<'_>) -> Option<Build> {
    let prelu = m.op::<Prelu>()?;
    let slope = prelu.operand(1).scalar()?;
    Some(m.build(LeakyRelu { alpha: F64(slope) }, [prelu.operand(0).into()]))
}

/// `clip(x + b, 0, c) · (1/c) = sigmoid_hard(x; 1/c, b/c)`
fn sigmoid_hard(m: &Match<'_>) -> Option<Build> {
    let (inner, scale) = m.op::<Mul>()?.with_scalar()?;
    let bounded = |high: f64| (high * scale - 1.0).abs() < 1e-6;
    let clipped = match inner.find::<Relu6>() {
        Some(relu6) if bounded(6.0) => relu6.operand(0),
        _ => inner.find::<Clip>().filter(|c| c.alpha.0 == 0.0 && bounded(c.beta.0))?.operand(0),
    };
    let (x, b) = clipped.find::<Add>()?.with_scalar()?;
    let hard = SigmoidHard { alpha: F64(scale), beta: F64(b * scale) };
    (x.ty() == m.ty()).then(|| m.build(hard, [x.into()]))
}

/// The factors of a product, two levels deep: values, and the product of the numbers among them.
fn product<'m>(m: &'m Match<'m>) -> Option<(Vec<Class<'m>>, f64)> {
    let root = m.op::<Mul>()?;
    let (mut values, mut number) = (Vec::new(), 1.0);
    let mut add = |class: Class<'m>, values: &mut Vec<Class<'m>>| match class.scalar() {
        Some(c) => number *= c,
        None => values.push(class),
    };
    for class in [root.operand(0), root.operand(1)] {
        match class.find::<Mul>() {
            Some(inner) => {
                add(inner.operand(0), &mut values);
                add(inner.operand(1), &mut values);
            }
            None => add(class, &mut values),
        }
    }
    Some((values, number))
}

/// `x`, if the factors are 1/2, `x` and something that `is_bell` of `x`.
fn gelu_operand<'m>(
    (values, number): &(Vec<Class<'m>>, f64),
    is_bell: impl Fn(Class<'m>, Class<'m>) -> Option<()>,
) -> Option<Class<'m>> {
    let [a, b] = values[..] else { return None };
    if (number - 0.5).abs() > 1e-6 {
        return None;
    }
    [(a, b), (b, a)].into_iter().find_map(|(x, bell)| is_bell(bell, x).map(|()| x))
}

/// `relu(relu(x)) = relu(x)`
fn relu_of_relu(m: &Match<'_>) -> Option<Build> {
    m.op::<Relu>()?;
    let inner = m.operand(0).find::<Relu>()?;
    Some(inner.class().into())
}

/// `clip(x, 0, 6) = relu6(x)`
fn clip_to_relu6(m: &Match<'_>) -> Option<Build> {
    let clip = m.op::<Clip>()?;
    (clip.alpha == F64(0.0) && clip.beta == F64(6.0))
        .then(|| m.build(Relu6 {}, [clip.operand(0).into()]))
}

/// `max(min(x, b), a) = clip(x, a, b)` for `a ≤ b`
fn maximum_of_minimum(m: &Match<'_>) -> Option<Build> {
    let (inner, low) = m.op::<Maximum>()?.with_scalar()?;
    let (x, high) = inner.find::<Minimum>()?.with_scalar()?;
    x.dtype().filter(|dtype| dtype.is_float())?;
    let ordered = low <= high && x.ty() == m.ty();
    ordered.then(|| m.build(Clip { alpha: F64(low), beta: F64(high) }, [x.into()]))
}
