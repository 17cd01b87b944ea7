//! Views of views.

use mlc_egraph::{Build, Family, Match, rule};
use mlc_ir::Dim;
use mlc_ir::infer::{normalize_axes, normalize_axis};
use mlc_ir::ops::{ExpandDims, Reshape, Split, Stack};

use super::slice::part_sizes;

pub(super) const FAMILY: Family = Family {
    name: "views",
    source: include_str!("views.rs"),
    rules: &[
        rule!(Exact, "expand-of-expand", ["expand_dims"], expand_of_expand),
        rule!(Exact, "stack-of-one", ["stack"], stack_of_one),
        rule!(Exact, "view-of-split", ["reshape", "expand_dims", "squeeze"], view_of_split),
    ],
};

/// `expand_dims(expand_dims(x, a), b) = expand_dims(x, c)`
fn expand_of_expand(m: &Match<'_>) -> Option<Build> {
    let outer = m.op::<ExpandDims>()?;
    let inner = outer.operand(0).find::<ExpandDims>()?;
    let rank = m.ty()?.rank();
    let mut new = normalize_axes(&outer.axes, rank).ok()?;
    let inner_axes = normalize_axes(&inner.axes, rank - new.len()).ok()?;
    let kept: Vec<usize> = (0..rank).filter(|axis| !new.contains(axis)).collect();
    for axis in inner_axes {
        new.push(*kept.get(axis)?);
    }
    new.sort_unstable();
    let axes = new.into_iter().map(|axis| axis as i64).collect();
    Some(m.build(ExpandDims { axes }, [inner.operand(0).into()]))
}

/// `stack([x], a) = expand_dims(x, [a])`
fn stack_of_one(m: &Match<'_>) -> Option<Build> {
    let stack = m.op::<Stack>()?;
    let [x] = stack.operands(0)[..] else { return None };
    Some(m.build(ExpandDims { axes: vec![stack.axis] }, [x.into()]))
}

/// The product of extents.
fn product(shape: &[i64]) -> Option<i64> {
    shape.iter().try_fold(1i64, |n, &d| n.checked_mul(d))
}

/// `view(split(x)ᵢ) = split(reshape(x))ᵢ` where all parts are whole numbers of rows of the view
fn view_of_split(m: &Match<'_>) -> Option<Build> {
    let (at, split) = m.operand(0).result_of::<Split>()?;
    let x = split.operand(0);
    let fixed = |shape: &[Dim]| shape.iter().map(Dim::as_const).collect::<Option<Vec<i64>>>();
    let (whole, view) = (fixed(x.shape())?, fixed(&m.ty()?.shape)?);
    let axis = normalize_axis(split.axis, whole.len()).ok()?;
    let sizes = part_sizes(&split, axis)?;
    let (outer, inner) = (product(&whole[..axis])?, product(&whole[axis + 1..])?);
    // The axis of the view that the parts lie along.
    let along = (0..view.len())
        .find(|&i| view[i] != 1 && product(&view[..i]) == Some(outer))
        .filter(|_| !whole.contains(&0))?;
    let row = product(&view[along + 1..])?;
    let rows = |size: i64| {
        let elements = size.checked_mul(inner)?;
        (elements % row == 0).then_some(elements / row)
    };
    let counts = sizes.into_iter().map(rows).collect::<Option<Vec<i64>>>()?;
    let mut shape = view.clone();
    shape[along] = counts.iter().sum();
    let value = m.build(Reshape {}, [x.into(), m.ints(&shape)?]);
    let op = Split { num_splits: None, split_sizes: Some(counts), axis: along as i64 };
    Some(m.build(op, [value]).result(at))
}
