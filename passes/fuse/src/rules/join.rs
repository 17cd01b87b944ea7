//! Concatenations.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{Concat, Gather, Reshape, SliceByIndex, Transpose};
use mlc_tensor::{DType, Tensor};

use super::transpose::axes;

pub(super) const FAMILY: Family = Family {
    name: "join",
    source: include_str!("join.rs"),
    rules: &[
        rule!(Exact, "concat-interleave", ["reshape"], concat_interleave),
        rule!(Exact, "concat-of-roll", ["concat"], concat_of_roll),
    ],
};

/// `merge(swap(split(concat(x…)))) = concat(x…)` interleaved: the joined axis is split into one axis of
/// the values and one of their elements, the two are swapped and merged again
fn concat_interleave(m: &Match<'_>) -> Option<Build> {
    m.op::<Reshape>()?;
    let swapped = m.operand(0).find::<Transpose>()?;
    let split = swapped.operand(0).find::<Reshape>()?;
    let joined = split.operand(0).find::<Concat>().filter(|concat| !concat.interleave)?;
    let values = joined.operands(0);
    let shape = joined.class().shape();
    let axis = normalize_axis(joined.axis, shape.len()).ok()?;
    let first = values.first()?.shape();
    let alike = values.iter().all(|value| value.shape() == first && !first.is_empty());
    let mut parts = first.to_vec();
    parts.insert(axis, (values.len() as i64).into());
    let mut perm: Vec<i64> = (0..parts.len() as i64).collect();
    perm.swap(axis, axis + 1);
    let fits = alike
        && split.class().shape() == parts
        && axes(&swapped.perm)? == perm
        && m.ty() == joined.class().ty();
    let concat = Concat { axis: axis as i64, interleave: true };
    fits.then(|| Build::of(concat, values.into_iter().map(Build::from).collect()))
}

/// The operand and the range along each axis of a slice with strides of 1 that keeps all axes.
fn block<'m>(class: Class<'m>) -> Option<(Class<'m>, Vec<(i64, i64)>)> {
    let slice = class.find::<SliceByIndex>()?;
    let x = slice.operand(0);
    let shape = x.static_shape()?;
    let (begin, end) = (slice.operand(1).ints()?, slice.operand(2).ints()?);
    let walks = slice.payload().axes(shape.len()).ok()?;
    let mut ranges = Vec::new();
    for (i, walk) in walks.iter().enumerate() {
        if walk.single || walk.stride != 1 {
            return None;
        }
        let (first, count) =
            walk.walk(*begin.get(i)?, *end.get(i)?, i64::try_from(shape[i]).ok()?).ok()?;
        ranges.push((first, count));
    }
    Some((x, ranges))
}

/// `concat(x[k:], x[:k]) = gather(x, [k, …, n − 1, 0, …, k − 1])`
fn concat_of_roll(m: &Match<'_>) -> Option<Build> {
    let concat = m.op::<Concat>().filter(|concat| !concat.interleave)?;
    let [left, right] = concat.operands(0)[..] else { return None };
    let ((x, after), (same, before)) = (block(left)?, block(right)?);
    let shape = x.static_shape()?;
    let axis = normalize_axis(concat.axis, shape.len()).ok()?;
    let extent = i64::try_from(shape[axis]).ok()?;
    let whole = |ranges: &[(i64, i64)]| {
        ranges.iter().zip(&shape).enumerate().all(|(i, (&(first, count), &extent))| {
            i == axis || (first == 0 && u64::try_from(count) == Ok(extent))
        })
    };
    let ((start, tail), (zero, head)) = (after[axis], before[axis]);
    let is_roll = x == same
        && whole(&after)
        && whole(&before)
        && (zero, head, tail) == (0, start, extent - start)
        && extent <= 1 << 16;
    if !is_roll {
        return None;
    }
    let order: Vec<i64> = (start..extent).chain(0..start).collect();
    let indices = Tensor::from_i64s(DType::I32, &[order.len() as u64], &order).ok()?;
    let gather = Gather { axis: axis as i64, batch_dims: 0, validate_indices: false };
    Some(m.build(gather, [x.into(), m.constant(indices)]))
}
