//! Sums and products with constants.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::ops::{Add, FloorDiv, Mul, RealDiv, Sub};

pub(super) const FAMILY: Family = Family {
    name: "arithmetic",
    source: include_str!("arithmetic.rs"),
    rules: &[
        rule!(Exact, "add-zero", ["add"], add_zero),
        rule!(Exact, "mul-one", ["mul"], mul_one),
        rule!(Close, "div-by-constant", ["real_div"], div_by_constant),
        rule!(Close, "mul-of-mul", ["mul"], mul_of_mul),
        rule!(Close, "add-of-add", ["add"], add_of_add),
        rule!(Exact, "sub-constant", ["sub"], sub_constant),
        rule!(Exact, "floor-div-one", ["floor_div"], floor_div_one),
        rule!(Exact, "known-before", ["add", "sub", "mul", "floor_div"], known_before),
        rule!(Close, "mul-of-sum", ["mul"], mul_of_sum),
    ],
};

/// `x + 0 = x`
fn add_zero(m: &Match<'_>) -> Option<Build> {
    let (x, zero) = m.op::<Add>()?.with_scalar()?;
    (zero == 0.0 && x.ty() == m.ty()).then(|| x.into())
}

/// `x · 1 = x`
fn mul_one(m: &Match<'_>) -> Option<Build> {
    let (x, one) = m.op::<Mul>()?.with_scalar()?;
    (one == 1.0 && x.ty() == m.ty()).then(|| x.into())
}

/// `x / c = x · (1/c)`
fn div_by_constant(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<RealDiv>()?;
    let (x, c) = (op.operand(0), op.operand(1));
    let dtype = c.dtype().filter(|dtype| dtype.is_float())?;
    let numbers = c.constant().filter(|c| c.count() <= 1 << 14)?.to_f64s().ok()?;
    // The reciprocal must be a normal number of the type.
    let fits = |c: &f64| {
        let size = c.abs();
        if dtype.bits() < 32 {
            (1e-3..=1e3).contains(&size)
        } else {
            (1e-30..=1e30).contains(&size)
        }
    };
    if !numbers.iter().all(fits) {
        return None;
    }
    let one = m.number(1.0)?;
    let inverse = m.build(RealDiv {}, [one, c.into()]);
    Some(m.build(Mul {}, [x.into(), inverse]))
}

/// `(x · a) · b = x · (a · b)`
fn mul_of_mul(m: &Match<'_>) -> Option<Build> {
    let (inner, b) = m.op::<Mul>()?.with_constant()?;
    let (x, a) = inner.find::<Mul>()?.with_constant()?;
    let (p, q) = (a.scalar()?, b.scalar()?);
    let moderate = |c: f64| c == 0.0 || (1e-3..=1e3).contains(&c.abs());
    if !a.dtype()?.is_float() || ![p, q, p * q].into_iter().all(moderate) {
        return None;
    }
    let product = m.build(Mul {}, [a.into(), b.into()]);
    Some(m.build(Mul {}, [x.into(), product]))
}

/// `(x + a) + b = x + (a + b)`
fn add_of_add(m: &Match<'_>) -> Option<Build> {
    let (inner, b) = m.op::<Add>()?.with_constant()?;
    let (x, a) = inner.find::<Add>()?.with_constant()?;
    a.dtype().filter(|dtype| dtype.is_float())?;
    let sum = m.build(Add {}, [a.into(), b.into()]);
    Some(m.build(Add {}, [x.into(), sum]))
}

/// `x − c = x + (−c)`
fn sub_constant(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Sub>()?;
    let c = op.operand(1);
    c.constant()?;
    c.dtype().filter(|dtype| dtype.is_float())?;
    let negative = m.build(Mul {}, [c.into(), m.number(-1.0)?]);
    Some(m.build(Add {}, [op.operand(0).into(), negative]))
}

/// `⌊x / 1⌋ = x` for integers
fn floor_div_one(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<FloorDiv>()?;
    let x = op.operand(0);
    let fits = x.dtype()?.is_int() && op.operand(1).scalar() == Some(1.0) && x.ty() == m.ty();
    fits.then(|| x.into())
}

/// `(x + a) · b = x·b + a·b` for constants of moderate size
fn mul_of_sum(m: &Match<'_>) -> Option<Build> {
    let (inner, b) = m.op::<Mul>()?.with_constant()?;
    let (x, a) = inner.find::<Add>()?.with_constant()?;
    a.dtype().filter(|dtype| dtype.is_float())?;
    let moderate = |c: Class<'_>| {
        let numbers = c.constant().filter(|c| c.count() <= 1 << 12)?.to_f64s().ok()?;
        let size = |c: &f64| *c == 0.0 || (1e-3..=1e3).contains(&c.abs());
        numbers.iter().all(size).then_some(())
    };
    moderate(a).and(moderate(b))?;
    let shift = m.build(Mul {}, [a.into(), b.into()]);
    let scaled = m.build(Mul {}, [x.into(), b.into()]);
    Some(m.build(Add {}, [scaled, shift]))
}

/// `⌊(4·n) / 4⌋ · 4 = 4·n` and the like: an integer that stood in the computation before
fn known_before(m: &Match<'_>) -> Option<Build> {
    let content = m.root().content().filter(|content| !content.contains(&mlc_ir::Dim::Unknown))?;
    let same = |class: &Class<'_>| class.content() == Some(content) && class.ty() == m.ty();
    for operand in [m.operand(0), m.operand(1)] {
        if same(&operand) {
            return Some(operand.into());
        }
        for op in operand.ops() {
            let before = (0..op.spec().operands.len()).flat_map(|slot| op.operands(slot));
            if let Some(found) = before.into_iter().find(|class| same(class)) {
                return Some(found.into());
            }
        }
    }
    None
}
