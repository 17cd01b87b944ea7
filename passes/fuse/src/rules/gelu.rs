//! GELU in its three forms, from the ops that spell it.

use std::cell::Cell;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::Payload;
use mlc_ir::attr::GeluMode;
use mlc_ir::ops::{
    Add, Erf, Gelu, LinearActivation, Mul, Pow, RealDiv, Sigmoid, Square, Sub, Tanh,
};

pub(super) const FAMILY: Family = Family {
    name: "gelu",
    source: include_str!("gelu.rs"),
    rules: &[
        rule!(Close, "gelu-exact", ["mul"], gelu_exact),
        rule!(Close, "gelu-tanh", ["mul"], gelu_tanh),
        rule!(Close, "gelu-tanh-of-sigmoid", ["mul"], gelu_tanh_of_sigmoid),
        rule!(Close, "gelu-sigmoid", ["mul"], gelu_sigmoid),
    ],
};

/// `x · (1 + erf(x/√2))/2 = gelu(x)`, factors and numbers in any grouping
fn gelu_exact(m: &Match<'_>) -> Option<Build> {
    m.has::<Erf>().then_some(())?;
    gelu(m, GeluMode::Exact, |way| {
        let (argument, sign) = way.half_of::<Erf>()?;
        let [c, linear, square, cube] = polynomial(argument, way.x)?;
        let fits = (linear * sign - FRAC_1_SQRT_2).abs() < way.slack.max(1e-4);
        (fits && [c, square, cube] == [0.0; 3]).then_some(())
    })
}

/// `x · (1 + tanh(√(2/π)·(x + 0.044715·x³)))/2 = gelu(x)` by tanh, factors and numbers in any grouping
fn gelu_tanh(m: &Match<'_>) -> Option<Build> {
    m.has::<Tanh>().then_some(())?;
    gelu(m, GeluMode::TanhApproximation, |way| {
        let (argument, sign) = way.half_of::<Tanh>()?;
        way.is_bell(argument, sign)
    })
}

/// `x · sigmoid(2·√(2/π)·(x + 0.044715·x³)) = gelu(x)` by tanh
fn gelu_tanh_of_sigmoid(m: &Match<'_>) -> Option<Build> {
    m.has::<Sigmoid>().then_some(())?;
    gelu(m, GeluMode::TanhApproximation, |way| way.is_bell(way.sigmoid()?, 0.5))
}

/// `x · sigmoid(1.702·x) = gelu(x)` by sigmoid
fn gelu_sigmoid(m: &Match<'_>) -> Option<Build> {
    m.has::<Sigmoid>().then_some(())?;
    gelu(m, GeluMode::SigmoidApproximation, |way| {
        let [c, linear, square, cube] = polynomial(way.sigmoid()?, way.x)?;
        (way.near(linear, 1.702) && [c, square, cube] == [0.0; 3]).then_some(())
    })
}

fn gelu(m: &Match<'_>, mode: GeluMode, fits: impl Fn(&Way<'_>) -> Option<()>) -> Option<Build> {
    m.ty().filter(|ty| ty.dtype.is_float())?;
    let way = ways(m)?.into_iter().find(|way| way.x.ty() == m.ty() && fits(way).is_some())?;
    Some(m.build(Gelu { mode }, [way.x.into()]))
}

/// A product as `number · x · gate`.
struct Way<'m> {
    number: f64,
    x: Class<'m>,
    gate: Class<'m>,
    /// How far numbers may be off, relatively.
    slack: f64,
}

impl<'m> Way<'m> {
    /// The operand of `f` where the gate with the number is `(1 ± f)/2`, and the sign.
    fn half_of<P: Payload + 'm>(&self) -> Option<(Class<'m>, f64)> {
        let (argument, scale, shift) = affine::<P>(self.gate, 4)?;
        let fits =
            self.near(shift * self.number, 0.5) && self.near((scale * self.number).abs(), 0.5);
        fits.then_some((argument, (scale * self.number).signum()))
    }

    fn near(&self, a: f64, b: f64) -> bool {
        (a - b).abs() <= self.slack * b.abs()
    }

    /// Whether an argument times `scale` is what GELU by tanh takes the tanh of.
    fn is_bell(&self, argument: Class<'m>, scale: f64) -> Option<()> {
        let [c, linear, square, cube] = polynomial(argument, self.x)?;
        let root = (2.0 / PI).sqrt();
        let fits = self.near(linear * scale, root) && self.near(cube * scale, root * 0.044715);
        (fits && [c, square] == [0.0; 2]).then_some(())
    }

    /// The operand of the sigmoid that the gate is.
    fn sigmoid(&self) -> Option<Class<'m>> {
        (self.number == 1.0).then(|| self.gate.find::<Sigmoid>().map(|op| op.operand(0)))?
    }
}

/// A class without a constant factor, and the factor.
fn stripped(class: Class<'_>) -> Option<(Class<'_>, f64)> {
    class.find_all::<Mul>().iter().find_map(mlc_egraph::Found::with_scalar)
}

/// The ways to see a product as a number, a value and a gate.
fn ways<'m>(m: &'m Match<'m>) -> Option<Vec<Way<'m>>> {
    let root = m.op::<Mul>()?;
    let (products, number) = match root.with_scalar() {
        Some((inner, c)) => (inner.find_all::<Mul>(), c),
        None => (vec![root], 1.0),
    };
    // Half precision rounds the numbers.
    let slack = if m.ty()?.dtype.bits() < 32 { 1e-3 } else { 2e-5 };
    let mut ways = Vec::new();
    for product in products {
        for (x, gate) in product.pairs() {
            ways.push(Way { number, x, gate, slack });
            if let Some((x, c)) = stripped(x) {
                ways.push(Way { number: number * c, x, gate, slack });
            }
        }
    }
    Some(ways)
}

/// The operand of an op `f`, and `a` and `b` where a class is `a · f + b`.
fn affine<'m, P: Payload + 'm>(class: Class<'m>, depth: usize) -> Option<(Class<'m>, f64, f64)> {
    if let Some(found) = class.find::<P>() {
        return Some((found.operand(0), 1.0, 0.0));
    }
    let depth = depth.checked_sub(1)?;
    let next = |inner: Class<'m>, scale: f64, shift: f64| {
        let (argument, a, b) = affine::<P>(inner, depth)?;
        Some((argument, a * scale, b * scale + shift))
    };
    class.ops().into_iter().find_map(|found| {
        let op = found.payload();
        let slot = |i: usize| found.operand(i);
        if Add::of(op).is_some() {
            let (inner, c) = found.with_scalar()?;
            return next(inner, 1.0, c);
        }
        if Mul::of(op).is_some() {
            let (inner, c) = found.with_scalar()?;
            return next(inner, c, 0.0);
        }
        if Sub::of(op).is_some() {
            return match (slot(0).scalar(), slot(1).scalar()) {
                (Some(c), _) => next(slot(1), -1.0, c),
                (_, Some(c)) => next(slot(0), 1.0, -c),
                _ => None,
            };
        }
        let linear = LinearActivation::of(op)?;
        next(slot(0), linear.alpha.0, linear.beta.0)
    })
}

/// The coefficients of `1`, `x`, `x²` and `x³`.
type Polynomial = [f64; 4];

/// Most classes that are looked at for a polynomial.
const MOST_LOOKS: u32 = 200;

/// A class as a polynomial in `x`.
fn polynomial(class: Class<'_>, x: Class<'_>) -> Option<Polynomial> {
    expand(class, x, (7, &Cell::new(MOST_LOOKS)))
}

fn times(a: Polynomial, b: Polynomial) -> Option<Polynomial> {
    let mut product = [0.0; 7];
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            product[i + j] += a * b;
        }
    }
    let [c, linear, square, cube, rest @ ..] = product;
    (rest == [0.0; 3]).then_some([c, linear, square, cube])
}

fn expand(
    class: Class<'_>,
    x: Class<'_>,
    (depth, looks): (usize, &Cell<u32>),
) -> Option<Polynomial> {
    looks.set(looks.get().checked_sub(1)?);
    if class == x {
        return Some([0.0, 1.0, 0.0, 0.0]);
    }
    if let Some(c) = class.scalar() {
        return Some([c, 0.0, 0.0, 0.0]);
    }
    let depth = depth.checked_sub(1)?;
    class.ops().into_iter().find_map(|found| {
        let op = found.payload();
        let of = |i: usize| expand(found.operand(i), x, (depth, looks));
        if Add::of(op).is_some() || Sub::of(op).is_some() {
            let (a, b) = (of(0)?, of(1)?);
            let sign = if Sub::of(op).is_some() { -1.0 } else { 1.0 };
            return Some(std::array::from_fn(|i| a[i] + sign * b[i]));
        }
        if Mul::of(op).is_some() {
            return times(of(0)?, of(1)?);
        }
        if RealDiv::of(op).is_some() {
            let c = found.operand(1).scalar().filter(|&c| c != 0.0)?;
            return Some(of(0)?.map(|a| a / c));
        }
        if Square::of(op).is_some() {
            let a = of(0)?;
            return times(a, a);
        }
        if Pow::of(op).is_some() {
            let a = of(0)?;
            return match found.operand(1).scalar() {
                Some(2.0) => times(a, a),
                Some(3.0) => times(times(a, a)?, a),
                _ => None,
            };
        }
        let linear = LinearActivation::of(op)?;
        let mut a = of(0)?.map(|a| a * linear.alpha.0);
        a[0] += linear.beta.0;
        Some(a)
    })
}
