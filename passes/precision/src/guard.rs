//! Ops that keep what comes after them from dividing by zero.

use mlc_ir::infer::normalize_axes;
use mlc_ir::{Function, Node, Op, Program, TensorType, Value};

use crate::facts::vanishes;

/// What an epsilon is added to, or bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarded {
    /// The variance of the value along these axes.
    Variance(Vec<usize>),
    /// The elements of the value.
    Element,
}

/// What `node` guards by a positive epsilon that half precision rounds to zero: the value, and what of it.
#[must_use]
pub fn guarded(program: &Program, function: &Function, node: Node) -> Option<(Value, Guarded)> {
    let data = &function.nodes[node];
    let operands = data.operands.all();
    let rank = || function.ty(*operands.first()?).as_tensor().map(TensorType::rank);
    let is_small = |x: f64| x > 0.0 && vanishes(x);
    match &data.op {
        Op::LayerNorm(op) if is_small(op.epsilon.0) => {
            let axes = match &op.axes {
                Some(axes) => normalize_axes(axes, rank()?).ok()?,
                None => (0..rank()?).collect(),
            };
            Some((operands[0], Guarded::Variance(axes)))
        }
        Op::InstanceNorm(op) if is_small(op.epsilon.0) => {
            Some((operands[0], Guarded::Variance((2..rank()?).collect())))
        }
        Op::Clip(op) if is_small(op.alpha.0) => Some((operands[0], Guarded::Element)),
        Op::Threshold(op) if is_small(op.alpha.0) => Some((operands[0], Guarded::Element)),
        Op::Add(_) | Op::Maximum(_) => {
            let &[x, y] = operands else { return None };
            let is_epsilon = |value: Value| {
                let one = program
                    .constant_of(function, value)
                    .filter(|tensor| tensor.dtype().is_float() && tensor.count() == 1);
                one.and_then(|tensor| tensor.to_f64s().ok()).is_some_and(|all| is_small(all[0]))
            };
            match (is_epsilon(x), is_epsilon(y)) {
                (false, true) => Some((x, Guarded::Element)),
                (true, false) => Some((y, Guarded::Element)),
                _ => None,
            }
        }
        _ => None,
    }
}
