//! How much work evaluating a program is.

use mlc_ir::ops::Op;
use mlc_ir::{Dim, Function, NodeData, Program, TensorType};

use crate::sizes::Sizes;

/// Multiply-adds of one run of `function` with extents of these sizes. Nested regions count once, and
/// an extent that only running tells as 1.
#[must_use]
pub(crate) fn multiply_adds(program: &Program, function: &Function, sizes: &Sizes) -> f64 {
    let extent = |dim: &Dim| -> f64 {
        let number = |name: &str| match program.symbols.is_fresh(name) {
            true => Some(Dim::Const(1)),
            false => Some(Dim::Const(sizes.number(program, name))),
        };
        dim.substitute(&number).as_const().unwrap_or(1).max(1) as f64
    };
    let mut total = 0.0;
    function.for_each_node(&mut |_, node| {
        total += node_cost(function, &function.nodes[node], &extent);
    });
    total
}

fn node_cost(function: &Function, node: &NodeData, extent: &dyn Fn(&Dim) -> f64) -> f64 {
    let ty = |value: mlc_ir::Value| function.ty(value).as_tensor();
    let elements = |ty: &TensorType| -> f64 { ty.shape.iter().map(extent).product() };
    let out: f64 = node.results.iter().filter_map(|&r| ty(r)).map(elements).sum();
    let slot = |i: usize| node.operands.slot(i).first().and_then(|&v| ty(v));
    match &node.op {
        Op::Const(_) => 0.0,
        Op::Conv(_) | Op::ConvTranspose(_) => {
            let weight = slot(1).map_or(1.0, elements);
            let channels = slot(1).and_then(|w| w.shape.first()).map_or(1.0, extent);
            out * weight / channels
        }
        Op::Linear(_) | Op::Matmul(_) | Op::ScaledDotProductAttention(_) => {
            let inner = slot(0).and_then(|x| x.shape.last()).map_or(1.0, extent);
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
pub(crate) fn verify_seconds(program: &Program, function: &Function, sizes: &Sizes) -> f64 {
    2.0 * multiply_adds(program, function, sizes) / SPEED
}
