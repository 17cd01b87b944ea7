//! Permutations of axes.

use mlc_egraph::{Build, Family, Match, rule};
use mlc_ir::Trait;
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{Matmul, Reshape, Transpose};

pub(super) const FAMILY: Family = Family {
    name: "transpose",
    source: include_str!("transpose.rs"),
    rules: &[
        rule!(Exact, "transpose-of-transpose", ["transpose"], transpose_of_transpose),
        rule!(Exact, "transpose-identity", ["transpose"], transpose_identity),
        rule!(Exact, "transpose-after-unary", UNARY, transpose_after_unary),
        rule!(Exact, "transpose-after-binary", BINARY, transpose_after_binary),
        rule!(Close, "matmul-of-transpose", ["matmul"], matmul_of_transpose),
    ],
};

/// Ops of one operand whose elements are computed one by one.
pub(super) const UNARY: [&str; 40] = [
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

/// Ops of two operands that are computed element by element.
pub(super) const BINARY: [&str; 15] = [
    "add",
    "equal",
    "floor_div",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "maximum",
    "minimum",
    "mod",
    "mul",
    "not_equal",
    "pow",
    "real_div",
    "sub",
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

/// `f(transpose(x, p), transpose(y, p)) = transpose(f(x, y), p)`, one of the two a constant or both
/// permuted alike
fn transpose_after_binary(m: &Match<'_>) -> Option<Build> {
    let f = m.any();
    let operands = [f.operand(0), f.operand(1)];
    let found = operands.map(|class| class.find::<Transpose>());
    let perm = axes(&found.into_iter().flatten().next()?.perm)?;
    let mut inverse = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        inverse[p as usize] = i as i64;
    }
    let mut moved = Vec::new();
    for (class, transpose) in operands.into_iter().zip(found) {
        let shape = class.static_shape();
        moved.push(match transpose {
            Some(own) if axes(&own.perm)? == perm => own.operand(0).into(),
            // One element is where it is under every permutation.
            None if shape.as_deref().is_some_and(|s| s.iter().all(|&n| n == 1)) => {
                (class.rank() <= perm.len()).then(|| class.into())?
            }
            None if class.constant().is_some() => {
                let mut full = vec![1; perm.len().checked_sub(class.rank())?];
                for n in shape? {
                    full.push(i64::try_from(n).ok()?);
                }
                let wide = m.build(Reshape {}, [class.into(), m.ints(&full)?]);
                m.build(Transpose { perm: inverse.clone() }, [wide])
            }
            _ => return None,
        });
    }
    let value = Build::of(f.payload().clone(), moved);
    Some(m.build(Transpose { perm }, [value]))
}

/// `matmul(x, transpose(y)) = matmul(x, y)` with a flag the other way, the last two axes swapped
fn matmul_of_transpose(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Matmul>()?;
    let swapped = |slot: usize| {
        let inner = op.operand(slot).find::<Transpose>()?;
        inner.is_of_last_two().then(|| inner.operand(0))
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
