//! Parts that are taken out by position.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{ExpandDims, Gather, Reshape, SliceByIndex, Stack};
use mlc_tensor::Tensor;

pub(super) const FAMILY: Family = Family {
    name: "index",
    source: include_str!("index.rs"),
    rules: &[
        rule!(Exact, "slice-of-stack", ["slice_by_index"], slice_of_stack),
        rule!(Exact, "gather-of-stack", ["gather"], gather_of_stack),
        rule!(Exact, "expand-of-gather", ["expand_dims", "reshape"], expand_of_gather),
    ],
};

/// `xs[i]`, counted from the end if negative.
fn at<'m>(xs: &[Class<'m>], i: i64) -> Option<Class<'m>> {
    let count = i64::try_from(xs.len()).ok()?;
    let i = if i < 0 { i.checked_add(count)? } else { i };
    xs.get(usize::try_from(i).ok()?).copied()
}

/// `stack(x₀, x₁, …)[…, i, …] = xᵢ`, the other axes taken whole
fn slice_of_stack(m: &Match<'_>) -> Option<Build> {
    let slice = m.op::<SliceByIndex>()?;
    let stack = slice.operand(0).find::<Stack>()?;
    let rank = slice.operand(0).rank();
    let axis = normalize_axis(stack.axis, rank).ok()?;
    let walks = slice.payload().axes(rank).ok()?;
    for (i, walk) in walks.iter().enumerate() {
        let whole = walk.stride == 1 && walk.from_edge && walk.to_edge && !walk.single;
        if !whole && i != axis {
            return None;
        }
    }
    if !walks.get(axis)?.single {
        return None;
    }
    let begin = slice.operand(1).ints()?;
    Some(at(&stack.operands(0), *begin.get(axis)?)?.into())
}

/// `gather(stack(x₀, x₁, …), i) = xᵢ` along the new axis
fn gather_of_stack(m: &Match<'_>) -> Option<Build> {
    let gather = m.op::<Gather>().filter(|op| op.batch_dims == 0)?;
    let stack = gather.operand(0).find::<Stack>()?;
    let rank = gather.operand(0).rank();
    let same = normalize_axis(gather.axis, rank).ok()? == normalize_axis(stack.axis, rank).ok()?;
    if !same || gather.operand(1).rank() != 0 {
        return None;
    }
    let &[i] = &gather.operand(1).ints()?[..] else { return None };
    Some(at(&stack.operands(0), i)?.into())
}

/// `expand_dims(gather(x, i), [a]) = gather(x, [i])` for a known `i` along axis `a`
fn expand_of_gather(m: &Match<'_>) -> Option<Build> {
    let shape = &m.ty()?.shape;
    m.operand(0).find_all::<Gather>().into_iter().find_map(|gather| {
        let (x, indices) = (gather.operand(0), gather.operand(1));
        let axis = normalize_axis(gather.axis, x.rank()).ok()?;
        let expands = match m.op::<ExpandDims>() {
            Some(op) => normalize_axis(*op.axes.first()?, shape.len()).ok()? == axis,
            // A vector of one, as its elements cannot be ordered otherwise.
            None => m.op::<Reshape>().is_some() && x.rank() == 1,
        };
        let fits = expands
            && gather.batch_dims == 0
            && indices.rank() == 0
            && shape.len() == x.rank()
            && shape.get(axis)?.is(1);
        let index = indices.constant().filter(|_| fits)?;
        let vector = Tensor::from_i64s(index.dtype(), &[1], &index.to_i64s().ok()?).ok()?;
        let op = Gather { axis: axis as i64, ..gather.payload().clone() };
        Some(m.build(op, [x.into(), m.constant(vector)]))
    })
}
