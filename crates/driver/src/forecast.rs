//! How much work evaluating a program is.

use mlc_ir::ops::Op;
use mlc_ir::{Function, NodeData, TensorType};

/// Multiply-adds of one run of `function`, every symbolic extent taken as 1. Nested regions count
/// once.
#[must_use]
pub(crate) fn multiply_adds(function: &Function) -> f64 {
    let mut total = 0.0;
    function.for_each_node(&mut |_, node| total += node_cost(function, &function.nodes[node]));
    total
}

fn elements(ty: &TensorType) -> f64 {
    ty.shape.iter().map(|d| d.as_const().unwrap_or(1) as f64).product()
}

fn node_cost(function: &Function, node: &NodeData) -> f64 {
    let ty = |value: mlc_ir::Value| function.ty(value).as_tensor();
    let out: f64 = node.results.iter().filter_map(|&r| ty(r)).map(elements).sum();
    let slot = |i: usize| node.operands.slot(i).first().and_then(|&v| ty(v));
    match &node.op {
        Op::Const(_) => 0.0,
        Op::Conv(_) | Op::ConvTranspose(_) => {
            let weight = slot(1).map_or(1.0, elements);
            let channels = slot(1)
                .and_then(|w| w.shape.first())
                .and_then(mlc_ir::Dim::as_const)
                .unwrap_or(1)
                .max(1) as f64;
            out * weight / channels
        }
        Op::Linear(_) | Op::Matmul(_) | Op::ScaledDotProductAttention(_) => {
            let inner =
                slot(0).and_then(|x| x.shape.last()).and_then(mlc_ir::Dim::as_const).unwrap_or(1)
                    as f64;
            out * inner
        }
        // Moving or mapping an element costs about as much as a few multiply-adds here.
        _ => out * 16.0,
    }
}

/// Multiply-adds a second that the evaluator does at least, on one core of a small machine.
const SPEED: f64 = 1e9;

/// Seconds that comparing two runs of `function` takes at most, roughly.
#[must_use]
pub(crate) fn verify_seconds(function: &Function, samples: usize) -> f64 {
    2.0 * samples.max(1) as f64 * multiply_adds(function) / SPEED
}
