//! How much is moved in memory.

use mlc_ir::{Function, Node, Op, Uses, Value};

/// Elements that transposes move; open extents count as one. Attention takes operands whose last two axes are
/// swapped as they are.
pub(crate) fn moved(function: &Function) -> u64 {
    let uses = Uses::of(function);
    let mut moved = 0u64;
    function.for_each_node(&mut |_, node| {
        let data = &function.nodes[node];
        let (Op::Transpose(op), Some(&result)) = (&data.op, data.results.first()) else { return };
        let users = uses.users(result);
        let is_attention =
            |user: &Node| matches!(function.nodes[*user].op, Op::ScaledDotProductAttention(_));
        if op.is_of_last_two() && users.iter().all(is_attention) {
            return;
        }
        moved = moved.saturating_add(elements(function, result));
    });
    moved
}

fn elements(function: &Function, value: Value) -> u64 {
    let Some(ty) = function.ty(value).as_tensor() else { return 0 };
    let extents = ty.shape.iter().map(|dim| dim.as_const().unwrap_or(1).max(1) as u64);
    extents.fold(1, u64::saturating_mul)
}

/// Twice the elements of the largest operand of a `linear`: as much is moved where the images begin and end.
pub(crate) fn boundary(function: &Function) -> u64 {
    let body = &function.regions[function.body].nodes;
    let linears = body.iter().map(|&node| &function.nodes[node]);
    let linears = linears.filter(|data| matches!(data.op, Op::Linear(_)));
    let sizes = linears.filter_map(|data| Some(elements(function, *data.operands.all().first()?)));
    sizes.max().unwrap_or(0).saturating_mul(2)
}
