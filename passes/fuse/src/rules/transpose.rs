//! Permutations of axes.

use mlc_egraph::{Build, Family, Match, rule};
use mlc_ir::Trait;
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{Matmul, Transpose};

pub(super) const FAMILY: Family = Family {
    name: "transpose",
    source: include_str!("transpose.rs"),
    rules: &[
        rule!(Exact, "transpose-of-transpose", ["transpose"], transpose_of_transpose),
        rule!(Exact, "transpose-identity", ["transpose"], transpose_identity),
        rule!(Exact, "transpose-after-unary", UNARY, transpose_after_unary),
        rule!(Close, "matmul-of-transpose", ["matmul"], matmul_of_transpose),
    ],
};

/// Ops of one operand whose elements are computed one by one.
const UNARY: [&str; 40] = [
    "abs",
    "acos",
    "asin",
    "atan",
    "atanh",
    "cast",
    "ceil",
    "clip",
    "cos",
    "cosh",
    "elu",
    "erf",
    "exp",
    "exp2",
    "floor",
    "gelu",
    "inverse",
    "leaky_relu",
    "linear_activation",
    "log",
    "logical_not",
    "relu",
    "relu6",
    "round",
    "rsqrt",
    "scaled_tanh",
    "sigmoid",
    "sigmoid_hard",
    "sign",
    "silu",
    "sin",
    "sinh",
    "softplus",
    "softsign",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "threshold",
    "thresholded_relu",
];

/// The permutation with axes counted from the front.
pub(super) fn axes(perm: &[i64]) -> Option<Vec<i64>> {
    let from_front = |&p: &i64| normalize_axis(p, perm.len()).ok().map(|axis| axis as i64);
    perm.iter().map(from_front).collect()
}

/// `transpose(transpose(x, q), p) = transpose(x, q∘p)`
fn transpose_of_transpose(m: &Match<'_>) -> Option<Build> {
    let outer = axes(&m.op::<Transpose>()?.perm)?;
    let inner = m.operand(0).find::<Transpose>()?;
    let own = axes(&inner.perm)?;
    let perm = outer.iter().map(|&p| own[p as usize]).collect();
    Some(m.build(Transpose { perm }, [inner.operand(0).into()]))
}

/// `transpose(x, p) = x` for the identity `p`
fn transpose_identity(m: &Match<'_>) -> Option<Build> {
    let perm = axes(&m.op::<Transpose>()?.perm)?;
    perm.iter().copied().eq(0..perm.len() as i64).then(|| m.operand(0).into())
}

/// `f(transpose(x)) = transpose(f(x))` for `f` on single elements
fn transpose_after_unary(m: &Match<'_>) -> Option<Build> {
    let f = m.any();
    if !f.spec().traits.has(Trait::Elementwise) || f.spec().operands.len() != 1 {
        return None;
    }
    let inner = m.operand(0).find::<Transpose>()?;
    let value = m.build(f.payload().clone(), [inner.operand(0).into()]);
    Some(m.build(Transpose { perm: inner.perm.clone() }, [value]))
}

/// `matmul(x, transpose(y)) = matmul(x, y)` with a flag the other way, the last two axes swapped
fn matmul_of_transpose(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Matmul>()?;
    let swapped = |slot: usize| {
        let inner = op.operand(slot).find::<Transpose>()?;
        let perm = axes(&inner.perm)?;
        let rank = perm.len() as i64;
        let wanted = (0..rank - 2).chain([rank - 1, rank - 2]);
        (rank >= 2 && perm.iter().copied().eq(wanted)).then(|| inner.operand(0))
    };
    let (x, y) = (swapped(0), swapped(1));
    if x.is_none() && y.is_none() {
        return None;
    }
    let flags = Matmul {
        transpose_x: op.transpose_x != x.is_some(),
        transpose_y: op.transpose_y != y.is_some(),
    };
    let operand = |new: Option<_>, slot| Build::from(new.unwrap_or_else(|| op.operand(slot)));
    Some(m.build(flags, [operand(x, 0), operand(y, 1)]))
}
