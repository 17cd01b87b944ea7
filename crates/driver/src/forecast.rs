//! How much work evaluating a program is.

use mlc_ir::ops::Op;
use mlc_ir::{Dim, EntityId, Function, NodeData, Program, TensorType, Uses, Value};
use mlc_tensor::DType;

use crate::sizes::Sizes;

/// Multiply-adds of one run of `function` with extents of these sizes. Nested regions count once, and
/// an extent that only running tells as 1.
#[must_use]
pub(crate) fn multiply_adds(program: &Program, function: &Function, sizes: &Sizes) -> f64 {
    let extent = extents(program, sizes);
    let mut total = 0.0;
    function.for_each_node(&mut |_, node| {
        total += node_cost(function, &function.nodes[node], &extent);
    });
    total
}

/// What an extent comes to.
fn extents<'a>(program: &'a Program, sizes: &'a Sizes) -> impl Fn(&Dim) -> f64 + 'a {
    move |dim| {
        let number = |name: &str| match program.symbols.is_fresh(name) {
            true => Some(Dim::Const(1)),
            false => Some(Dim::Const(sizes.number(program, name))),
        };
        dim.substitute(&number).as_const().unwrap_or(1).max(1) as f64
    }
}

/// Bytes that running `function` takes at most, roughly: results that are needed later, and twice the
/// operands and results of the op that runs. Large constants are there for the ops that take them.
#[must_use]
pub(crate) fn evaluation_bytes(program: &Program, function: &Function, sizes: &Sizes) -> u64 {
    let extent = extents(program, sizes);
    // Floats are held in 4 bytes, and integers and doubles in 8.
    let bytes = |value: Value| -> f64 {
        let Some(ty) = function.ty(value).as_tensor() else { return 0.0 };
        let wide = if ty.dtype.is_float() && ty.dtype != DType::F64 { 4.0 } else { 8.0 };
        ty.shape.iter().map(&extent).product::<f64>() * wide
    };
    let is_constant = |value: Value| matches!(function.def(value), Some((_, data)) if matches!(data.op, Op::Const(_)));
    let uses = Uses::of(function);
    let mut left: Vec<usize> = function.values.iter().map(|(value, _)| uses.count(value)).collect();
    let (mut live, mut most) = (0.0f64, 0.0f64);
    function.for_each_node(&mut |_, node| {
        let data = &function.nodes[node];
        if matches!(data.op, Op::Const(_)) {
            return;
        }
        let made: f64 = data.results.iter().map(|&value| bytes(value)).sum();
        let taken: f64 = data.operands.all().iter().map(|&value| bytes(value)).sum();
        most = most.max(live + 2.0 * (made + taken));
        live += made;
        for &value in data.operands.all() {
            let count = &mut left[value.index()];
            *count = count.saturating_sub(1);
            if *count == 0 && !is_constant(value) {
                live -= bytes(value);
            }
        }
    });
    most as u64
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
