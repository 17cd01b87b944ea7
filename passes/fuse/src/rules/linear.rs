//! Products of matrices with constant weights.

use mlc_egraph::{Build, Family, Match, rule};
use mlc_ir::ops::{Add, Linear, Matmul, Mul, Reshape, Transpose};

pub(super) const FAMILY: Family = Family {
    name: "linear",
    source: include_str!("linear.rs"),
    rules: &[
        rule!(Close, "linear-of-matmul", ["matmul"], linear_of_matmul),
        rule!(Close, "linear-scale", ["mul"], linear_scale),
        rule!(Close, "linear-bias", ["add"], linear_bias),
    ],
};

/// `matmul(x, W) = linear(x, Wᵀ)` for a constant matrix `W`
fn linear_of_matmul(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Matmul>()?;
    let (x, weight) = (op.operand(0), op.operand(1));
    weight.constant()?;
    let fits =
        weight.rank() == 2 && x.rank() >= 2 && !op.transpose_x && x.dtype() == weight.dtype();
    if !fits || !x.dtype()?.is_float() {
        return None;
    }
    let rows = match op.transpose_y {
        true => weight.into(),
        false => m.build(Transpose { perm: vec![1, 0] }, [weight.into()]),
    };
    Some(m.build(Linear {}, [x.into(), rows]))
}

/// `linear(x, W, b) · c = linear(x, W·c, b·c)` for a constant `c` along the last axis
fn linear_scale(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Mul>()?.with_constant()?;
    let linear = inner.find::<Linear>()?;
    let weight = linear.operand(1);
    weight.constant()?;
    let rows = weight.static_shape()?[0];
    let shape = c.static_shape()?;
    let (last, rest) = shape.split_last().map_or((1, &[][..]), |(&last, rest)| (last, rest));
    let along = (last == rows || last == 1) && rest.iter().all(|&n| n == 1);
    if !along || inner.ty() != m.ty() || weight.dtype() != c.dtype() {
        return None;
    }
    let flat = m.build(Reshape {}, [c.into(), m.ints(&[-1])?]);
    let column = m.build(Reshape {}, [flat.clone(), m.ints(&[-1, 1])?]);
    let scaled = m.build(Mul {}, [weight.into(), column]);
    let mut operands = vec![linear.operand(0).into(), scaled];
    if let Some(bias) = linear.opt(2) {
        bias.constant().filter(|_| bias.dtype() == c.dtype())?;
        operands.push(m.build(Mul {}, [bias.into(), flat]));
    }
    Some(Build::of(Linear {}, operands))
}

/// `linear(x, W, b) + c = linear(x, W, b + c)` for a constant `c` along the last axis
fn linear_bias(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Add>()?.with_constant()?;
    let linear = inner.find::<Linear>()?;
    linear.operand(1).constant()?;
    let rows = linear.operand(1).static_shape()?[0];
    let shape = c.static_shape()?;
    let (last, rest) = shape.split_last()?;
    if *last != rows || rest.iter().any(|&d| d != 1) || inner.ty() != m.ty() {
        return None;
    }
    let flat = m.build(Reshape {}, [c.into(), m.ints(&[i64::try_from(rows).ok()?])?]);
    let bias = match linear.opt(2) {
        Some(bias) => {
            bias.constant()?;
            m.build(Add {}, [bias.into(), flat])
        }
        None => flat,
    };
    Some(m.build(Linear {}, [linear.operand(0).into(), linear.operand(1).into(), bias]))
}
