//! Products of matrices with constant weights.

use mlc_egraph::{Build, Family, Match, rule};
use mlc_ir::ops::{Add, Einsum, Linear, Matmul, Mul, Reshape, Transpose};

use super::conv::constant_less;
use super::transpose::axes;

pub(super) const FAMILY: Family = Family {
    name: "linear",
    source: include_str!("linear.rs"),
    rules: &[
        rule!(Close, "linear-of-matmul", ["matmul"], linear_of_matmul),
        rule!(Close, "linear-scale", ["mul"], linear_scale),
        rule!(Close, "linear-bias", ["add"], linear_bias),
        rule!(Close, "linear-of-scale", ["linear"], linear_of_scale),
        rule!(Close, "constant-less-linear", ["sub"], constant_less_linear),
        rule!(Close, "matmul-scale", ["mul"], matmul_scale),
        rule!(Close, "matmul-of-half-transpose", ["matmul"], matmul_of_half_transpose),
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

/// `linear(x · c, W, b) = linear(x, W·c, b)` for a constant `c` along the last axis
fn linear_of_scale(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Linear>()?;
    let (x, c) = op.operand(0).find::<Mul>()?.with_constant()?;
    let weight = op.operand(1);
    weight.constant().filter(|_| weight.dtype() == c.dtype() && x.ty() == op.operand(0).ty())?;
    let columns = weight.static_shape()?[1];
    let shape = c.static_shape()?;
    let (last, rest) = shape.split_last().map_or((1, &[][..]), |(&last, rest)| (last, rest));
    if (last != columns && last != 1) || rest.iter().any(|&n| n != 1) {
        return None;
    }
    let row = m.build(Reshape {}, [c.into(), m.ints(&[1, -1])?]);
    let scaled = m.build(Mul {}, [weight.into(), row]);
    Some(Build::with_slots(Linear {}, vec![vec![x.into()], vec![scaled], op.slot(2)]))
}

/// `c − linear(x, W, b) = linear(x, −W, −b) + c`
fn constant_less_linear(m: &Match<'_>) -> Option<Build> {
    constant_less::<Linear>(m)
}

/// `matmul(x, W) · c = matmul(x, W·c)` for a number `c` and a constant operand; of `einsum` too
fn matmul_scale(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Mul>()?.with_scalar().filter(|(inner, _)| inner.ty() == m.ty())?;
    let (op, operands) = match inner.find::<Matmul>() {
        Some(op) => (op.payload().clone().into(), vec![op.operand(0), op.operand(1)]),
        None => {
            let op = inner.find::<Einsum>()?;
            (mlc_ir::Op::from(op.payload().clone()), op.operands(0))
        }
    };
    let at = operands.iter().position(|operand| operand.constant().is_some())?;
    let dtype = m.ty()?.dtype;
    if !(1e-3..=1e3).contains(&c.abs()) || operands[at].dtype() != Some(dtype) || !dtype.is_float()
    {
        return None;
    }
    let mut given: Vec<Build> = operands.iter().map(|&operand| operand.into()).collect();
    given[at] = m.build(Mul {}, [operands[at].into(), m.number(c)?]);
    Some(Build::of(op, given))
}

/// `matmul(x, transpose(y, p)) = matmul(x, transpose(y, q))` with a flag the other way, where `q` is `p` with
/// the last two axes swapped and leaves the last axis of `y` where it is
fn matmul_of_half_transpose(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Matmul>()?;
    let turned = |slot: usize| {
        let inner = op.operand(slot).find::<Transpose>()?;
        let mut perm = axes(&inner.perm)?;
        let rank = perm.len();
        if rank < 3 || perm[rank - 2] != rank as i64 - 1 {
            return None;
        }
        perm.swap(rank - 1, rank - 2);
        let moves = !perm.is_sorted();
        moves.then(|| m.build(Transpose { perm }, [inner.operand(0).into()]))
    };
    let (x, y) = (turned(0), turned(1));
    if x.is_none() && y.is_none() {
        return None;
    }
    let flags = Matmul {
        transpose_x: op.transpose_x != x.is_some(),
        transpose_y: op.transpose_y != y.is_some(),
    };
    let operand = |new: Option<Build>, slot| new.unwrap_or_else(|| op.operand(slot).into());
    Some(m.build(flags, [operand(x, 0), operand(y, 1)]))
}
