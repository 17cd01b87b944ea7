//! Slices: where they are taken, and several that make up the whole.

use std::collections::BTreeSet;

use mlc_egraph::{Build, Class, Family, Found, Match, rule};
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{Concat, Reshape, SliceByIndex, Split, Transpose};

use super::shape::{extents, viewed};
use super::transpose::axes;

pub(super) const FAMILY: Family = Family {
    name: "slice",
    source: include_str!("slice.rs"),
    rules: &[
        rule!(Exact, "slice-of-transpose", ["slice_by_index"], slice_of_transpose),
        rule!(Exact, "slice-of-view", ["slice_by_index"], slice_of_view),
        rule!(Exact, "slices-to-split", ["slice_by_index"], slices_to_split),
        rule!(Exact, "concat-of-split", ["concat"], concat_of_split),
        rule!(Exact, "split-of-concat", ["split"], split_of_concat),
        rule!(Exact, "slice-of-concat", ["slice_by_index"], slice_of_concat),
    ],
};

/// `slice(transpose(x)) = transpose(slice(x))`, without axes that the slice drops
fn slice_of_transpose(m: &Match<'_>) -> Option<Build> {
    let slice = m.op::<SliceByIndex>()?;
    let inner = slice.operand(0).find::<Transpose>()?;
    let perm = axes(&inner.perm)?;
    let (begin, end) = (slice.operand(1).ints()?, slice.operand(2).ints()?);
    let mut at = vec![0; perm.len()];
    for (to, &from) in perm.iter().enumerate() {
        at[from as usize] = to;
    }
    fn moved<T: Clone>(list: &[T], at: &[usize]) -> Option<Vec<T>> {
        match list {
            [] => Some(Vec::new()),
            _ => at.iter().map(|&i| list.get(i).cloned()).collect(),
        }
    }
    let op = SliceByIndex {
        stride: moved(&slice.stride, &at)?,
        begin_mask: moved(&slice.begin_mask, &at)?,
        end_mask: moved(&slice.end_mask, &at)?,
        squeeze_mask: moved(&slice.squeeze_mask, &at)?,
    };
    let (begin, end) = (m.ints(&moved(&begin, &at)?)?, m.ints(&moved(&end, &at)?)?);
    let dropped = |axis: i64| op.squeeze_mask.get(axis as usize).copied().unwrap_or(false);
    let left: Vec<i64> = (0..perm.len() as i64).filter(|&axis| !dropped(axis)).collect();
    let kept: Vec<i64> = perm
        .iter()
        .filter(|&&axis| !dropped(axis))
        .filter_map(|axis| left.iter().position(|own| own == axis))
        .map(|axis| axis as i64)
        .collect();
    let value = m.build(op, [inner.operand(0).into(), begin, end]);
    if kept.is_sorted() {
        return Some(value);
    }
    Some(m.build(Transpose { perm: kept }, [value]))
}

/// The operand of a slice with strides of 1, the only axis that is not taken whole, and its range.
pub(super) struct Part<'m> {
    pub(super) x: Class<'m>,
    pub(super) axis: usize,
    pub(super) first: i64,
    pub(super) count: i64,
}

pub(super) fn part<'m>(slice: &Found<'m, SliceByIndex>) -> Option<Part<'m>> {
    let x = slice.operand(0);
    let shape = x.shape();
    let (begin, end) = (slice.operand(1).ints()?, slice.operand(2).ints()?);
    let mut found = None;
    for (axis, walk) in slice.payload().axes(shape.len()).ok()?.iter().enumerate() {
        if walk.stride != 1 {
            return None;
        }
        if walk.from_edge && walk.to_edge && !walk.single {
            continue;
        }
        let extent = shape[axis].as_const()?;
        let (first, count) = walk.walk(*begin.get(axis)?, *end.get(axis)?, extent).ok()?;
        if (first, count) == (0, extent) && !walk.single {
            continue;
        }
        if found.is_some() {
            return None;
        }
        found = Some(Part { x, axis, first, count });
    }
    found.filter(|part| part.count > 0)
}

/// The elements from `first` on along an axis, the others whole.
fn range(m: &Match<'_>, x: Class<'_>, (axis, first, count): (usize, i64, i64)) -> Option<Build> {
    let rank = x.rank();
    let (mut begin, mut end) = (vec![0; rank], vec![0; rank]);
    begin[axis] = first;
    end[axis] = first + count;
    let whole: Vec<bool> = (0..rank).map(|i| i != axis).collect();
    let op = SliceByIndex {
        stride: Vec::new(),
        begin_mask: whole.clone(),
        end_mask: whole,
        squeeze_mask: Vec::new(),
    };
    Some(m.build(op, [x.into(), m.ints(&begin)?, m.ints(&end)?]))
}

/// `slice(view(x)) = view(slice(x))` where the last axis of `x` is cut into several and all but the first of
/// these are taken whole
fn slice_of_view(m: &Match<'_>) -> Option<Build> {
    let slice = m.op::<SliceByIndex>()?;
    let part = part(&slice)?;
    let x = viewed(part.x)?;
    let inner = part.x.shape()[part.axis + 1..].iter().map(|dim| dim.as_const());
    let inner = inner.collect::<Option<Vec<i64>>>()?.into_iter().product::<i64>();
    let last = x.shape().last()?.as_const()?;
    let own = part.x.shape()[part.axis].as_const()?;
    if own.checked_mul(inner)? != last || inner == 0 {
        return None;
    }
    let value = range(m, x, (x.rank() - 1, part.first * inner, part.count * inner))?;
    let shape = &m.ty()?.shape;
    let same = x.rank() == shape.len()
        && x.shape()[..x.rank() - 1] == shape[..shape.len() - 1]
        && shape.last()?.is(part.count * inner);
    if same {
        return Some(value);
    }
    Some(m.build(Reshape {}, [value, extents(m, shape)?]))
}

/// `x[0:a], x[a:b], … = split(x)` for slices of one value that make up the whole
fn slices_to_split(m: &Match<'_>) -> Option<Build> {
    let own = m.op::<SliceByIndex>()?;
    let single = |slice: &SliceByIndex| slice.squeeze_mask.contains(&true);
    let Part { x, axis, first, count } = part(&own).filter(|_| !single(own.payload()))?;
    let extent = x.shape()[axis].as_const()?;
    let mut ranges = BTreeSet::from([(first, count)]);
    for slice in x.users::<SliceByIndex>() {
        let sibling = part(&slice)
            .filter(|part| part.x == x && part.axis == axis && !single(slice.payload()));
        ranges.extend(sibling.map(|part| (part.first, part.count)));
    }
    let mut next = 0;
    for &(first, count) in &ranges {
        if first != next {
            return None;
        }
        next += count;
    }
    if next != extent || !(2..=8).contains(&ranges.len()) {
        return None;
    }
    let at = ranges.iter().position(|&range| range == (first, count))?;
    let sizes = ranges.iter().map(|&(_, count)| count).collect();
    let split = Split { num_splits: None, split_sizes: Some(sizes), axis: axis as i64 };
    Some(m.build(split, [x.into()]).result(at))
}

/// `concat(split(x)₀, split(x)₁, …) = x`
fn concat_of_split(m: &Match<'_>) -> Option<Build> {
    let concat = m.op::<Concat>().filter(|concat| !concat.interleave)?;
    let values = concat.operands(0);
    let (_, split) = values.first()?.result_of::<Split>()?;
    let x = split.operand(0);
    let axis = normalize_axis(concat.axis, x.rank()).ok()?;
    let is_own = |(i, value): (usize, &Class<'_>)| {
        value
            .result_of::<Split>()
            .is_some_and(|(at, other)| at == i && other.class() == split.class())
    };
    let fits = normalize_axis(split.axis, x.rank()).ok()? == axis
        && values.iter().enumerate().all(is_own)
        && x.ty() == m.ty();
    fits.then(|| x.into())
}

/// The extents of the parts of a split along its axis.
pub(super) fn part_sizes(split: &Found<'_, Split>, axis: usize) -> Option<Vec<i64>> {
    match (&split.split_sizes, split.num_splits) {
        (Some(sizes), _) => Some(sizes.clone()),
        (None, Some(parts @ 1..)) => {
            let total = split.operand(0).shape().get(axis)?.as_const()?;
            Some(vec![total / parts; usize::try_from(parts).ok()?])
        }
        _ => None,
    }
}

/// `split(concat(x₀, x₁, …))ᵢ = xᵢ`, or the concatenation of those that a part holds
fn split_of_concat(m: &Match<'_>) -> Option<Build> {
    let split = m.op::<Split>()?;
    let concat = split.operand(0).find::<Concat>().filter(|concat| !concat.interleave)?;
    let rank = split.operand(0).rank();
    let axis = normalize_axis(concat.axis, rank).ok()?;
    if normalize_axis(split.axis, rank).ok()? != axis {
        return None;
    }
    let sizes = part_sizes(&split, axis)?;
    let start: i64 = sizes.iter().take(m.index()).sum();
    let end = start + sizes.get(m.index())?;
    let (mut at, mut held) = (0, Vec::new());
    for value in concat.operands(0) {
        let next = at + value.shape().get(axis)?.as_const()?;
        if at < end && next > start {
            (at >= start && next <= end).then(|| held.push(value))?;
        }
        at = next;
    }
    match held[..] {
        [] => None,
        [one] => (one.ty() == m.ty()).then(|| one.into()),
        _ => Some(Build::of(concat.payload().clone(), held.into_iter().map(Build::from).collect())),
    }
}

/// `slice(concat(x₀, x₁, …)) = slice(xᵢ)` where only elements of one are taken
fn slice_of_concat(m: &Match<'_>) -> Option<Build> {
    let slice = m.op::<SliceByIndex>()?;
    let part = part(&slice)?;
    let concat = part.x.find::<Concat>().filter(|concat| !concat.interleave)?;
    let rank = part.x.rank();
    (normalize_axis(concat.axis, rank).ok()? == part.axis).then_some(())?;
    let mut start = 0;
    for value in concat.operands(0) {
        let end = start + value.shape().get(part.axis)?.as_const()?;
        if part.first >= start && part.first + part.count <= end {
            if value.ty() == m.ty() {
                return Some(value.into());
            }
            let mut op = slice.payload().clone();
            for mask in [&mut op.begin_mask, &mut op.end_mask] {
                mask.resize(rank, false);
                mask[part.axis] = false;
            }
            let (mut begin, mut end) = (slice.operand(1).ints()?, slice.operand(2).ints()?);
            begin[part.axis] = part.first - start;
            end[part.axis] = part.first - start + part.count;
            return Some(m.build(op, [value.into(), m.ints(&begin)?, m.ints(&end)?]));
        }
        start = end;
    }
    None
}
