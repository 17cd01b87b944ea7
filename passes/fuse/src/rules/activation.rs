//! Activations from the ops that spell them.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::F64;
use mlc_ir::attr::GeluMode;
use mlc_ir::ops::{
    Add, Clip, Erf, Gelu, Maximum, Minimum, Mul, RealDiv, Relu, Relu6, Sigmoid, Silu,
};

pub(super) const FAMILY: Family = Family {
    name: "activation",
    source: include_str!("activation.rs"),
    rules: &[
        rule!(Close, "silu", ["mul"], silu),
        rule!(Close, "gelu-exact", ["mul"], gelu_exact),
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
