//! Concatenations.

use mlc_egraph::{Build, Class, Family, Found, Match, rule};
use mlc_ir::F64;
use mlc_ir::attr::PadMode;
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{
    Concat, Gather, Mul, Pad, PixelShuffle, Reshape, SliceByIndex, Split, Stack, Transpose,
};
use mlc_tensor::{DType, Tensor};

use super::shape::viewed;
use super::slice::part;
use super::transpose::axes;

pub(super) const FAMILY: Family = Family {
    name: "join",
    source: include_str!("join.rs"),
    rules: &[
        rule!(Exact, "concat-interleave", ["reshape"], concat_interleave),
        rule!(Exact, "concat-of-roll", ["concat"], concat_of_roll),
        rule!(Exact, "concat-of-mirror", ["concat"], concat_of_mirror),
        rule!(Exact, "concat-of-extents", ["concat"], concat_of_extents),
        rule!(Exact, "concat-to-pixel-shuffle", ["concat"], concat_to_pixel_shuffle),
        rule!(Exact, "scaled-concat", ["mul"], scaled_concat),
        rule!(Exact, "stack-of-split", ["stack"], stack_of_split),
        rule!(Exact, "reshape-of-stack", ["reshape"], reshape_of_stack),
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

/// `concat(x[p], …, x[1], x, x[n − 2], …, x[n − 1 − p]) = pad(x)` by reflection, along one of the last two axes
fn concat_of_mirror(m: &Match<'_>) -> Option<Build> {
    let concat = m.op::<Concat>().filter(|concat| !concat.interleave)?;
    let values = concat.operands(0);
    let p = values.len() / 2;
    let x = *values.get(p).filter(|_| values.len() % 2 == 1 && p > 0)?;
    let axis = normalize_axis(concat.axis, x.rank()).ok()?;
    let from_end = x.rank() - 1 - axis;
    let extent = x.shape()[axis].as_const()?;
    let p = i64::try_from(p).ok().filter(|&p| p < extent && from_end < 2)?;
    for (i, value) in values.iter().enumerate() {
        let i = i as i64;
        let wanted = match i - p {
            0 => continue,
            ..0 => p - i,
            after => extent - 1 - after,
        };
        let slice = value.find::<SliceByIndex>()?;
        let own = part(&slice).filter(|part| part.x == x && part.axis == axis)?;
        let plain = !slice.squeeze_mask.contains(&true);
        (plain && (own.first, own.count) == (wanted, 1)).then_some(())?;
    }
    let mut pad = vec![p, p];
    pad.resize(2 * (from_end + 1), 0);
    let op = Pad { mode: PadMode::Reflect, constant_val: F64(0.0) };
    Some(m.build(op, [x.into(), m.ints(&pad)?]))
}

/// The vector, and the position, of which a class is the only element.
fn element(class: Class<'_>) -> Option<(Class<'_>, i64)> {
    let gather = class.find::<Gather>().or_else(|| viewed(class)?.find::<Gather>())?;
    let (x, at) = (gather.operand(0), gather.operand(1));
    at.constant().filter(|at| at.count() == 1)?;
    let at = at.scalar().filter(|at| *at >= 0.0)? as i64;
    let length = x.shape().first()?.as_const()?;
    let plain = x.rank() == 1 && at < length && gather.batch_dims == 0 && class.rank() == 1;
    plain.then_some((x, at))
}

/// `concat(x[i], x[i + 1], …) = x[i:]`, wherever several elements of a vector follow one another
fn concat_of_extents(m: &Match<'_>) -> Option<Build> {
    let concat = m.op::<Concat>().filter(|concat| !concat.interleave)?;
    m.ty().filter(|ty| ty.rank() == 1 && ty.dtype.is_int())?;
    let values = concat.operands(0);
    let (mut joined, mut at) = (Vec::new(), 0);
    while at < values.len() {
        let start = element(values[at]);
        let mut end = at + 1;
        while let (Some((x, first)), Some(value)) = (start, values.get(end)) {
            let follows =
                element(*value).is_some_and(|(own, i)| own == x && i == first + (end - at) as i64);
            if !follows {
                break;
            }
            end += 1;
        }
        joined.push(match start.filter(|_| end - at > 1) {
            None => values[at].into(),
            Some((x, first)) => {
                let last = first + (end - at) as i64;
                let op = SliceByIndex {
                    stride: Vec::new(),
                    begin_mask: Vec::new(),
                    end_mask: Vec::new(),
                    squeeze_mask: Vec::new(),
                };
                match first == 0 && x.shape()[0].is(last) {
                    true => x.into(),
                    false => m.build(op, [x.into(), m.ints(&[first])?, m.ints(&[last])?]),
                }
            }
        });
        at = end;
    }
    if joined.len() == values.len() {
        return None;
    }
    match <[Build; 1]>::try_from(joined) {
        Ok([one]) => Some(one),
        Err(joined) => Some(Build::of(concat.payload().clone(), joined)),
    }
}

/// The two values of an interleaved concatenation of rank 4 along that axis.
fn interleaved(concat: Found<'_, Concat>, axis: usize) -> Option<[Class<'_>; 2]> {
    let fits = concat.interleave && normalize_axis(concat.axis, 4) == Ok(axis);
    concat.operands(0).try_into().ok().filter(|_| fits)
}

/// `concat(concat(a, b), concat(c, d)) = pixel_shuffle(concat(a, c, b, d))`, all interleaved: the inner along
/// the rows, the outer along the columns
fn concat_to_pixel_shuffle(m: &Match<'_>) -> Option<Build> {
    m.ty().filter(|ty| ty.rank() == 4)?;
    let [left, right] = interleaved(m.op::<Concat>()?, 3)?;
    let [a, b] = interleaved(left.find::<Concat>()?, 2)?;
    let [c, d] = interleaved(right.find::<Concat>()?, 2)?;
    let order = [a, c, b, d].map(Build::from);
    let joined = Build::of(Concat { axis: 1, interleave: true }, order.to_vec());
    Some(m.build(PixelShuffle { upscale_factor: 2 }, [joined]))
}

/// `concat(−a, b) · c = concat(a, b) · ±c` for a constant `c`, whose sign changes where the parts are negative
fn scaled_concat(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Mul>()?.with_constant()?;
    let concat = inner.find::<Concat>().filter(|concat| !concat.interleave)?;
    let dtype = c.dtype().filter(|dtype| dtype.is_float())?;
    let axis = normalize_axis(concat.axis, inner.rank()).ok()?;
    let (mut parts, mut signs, mut found) = (Vec::new(), Vec::new(), false);
    for value in concat.operands(0) {
        let negative = value.find_all::<Mul>().into_iter().find_map(|mul| {
            mul.with_scalar().filter(|(x, minus)| *minus == -1.0 && x.ty() == value.ty())
        });
        found |= negative.is_some();
        let sign = if negative.is_some() { -1.0 } else { 1.0 };
        parts.push(negative.map_or(value, |(x, _)| x).into());
        let mut shape = vec![1; inner.rank() - axis];
        shape[0] = u64::try_from(value.shape().get(axis)?.as_const()?).ok()?;
        signs.push(m.constant(Tensor::full(dtype, &shape, sign).ok()?));
    }
    if !found || inner.ty() != m.ty() {
        return None;
    }
    let signs = Build::of(Concat { axis: 0, interleave: false }, signs);
    let signed = m.build(Mul {}, [c.into(), signs]);
    Some(m.build(Mul {}, [Build::of(concat.payload().clone(), parts), signed]))
}

/// `stack(squeeze(split(x)₀), squeeze(split(x)₁), …) = x`
fn stack_of_split(m: &Match<'_>) -> Option<Build> {
    let stack = m.op::<Stack>()?;
    let values = stack.operands(0);
    let (_, split) = viewed(*values.first()?)?.result_of::<Split>()?;
    let x = split.operand(0);
    let axis = normalize_axis(split.axis, x.rank()).ok()?;
    let mut dropped = x.shape().to_vec();
    dropped.remove(axis);
    let is_own = |(i, value): (usize, &Class<'_>)| {
        let part = viewed(*value).and_then(|part| Some((part, part.result_of::<Split>()?)));
        part.is_some_and(|(part, (at, other))| {
            at == i
                && other.class() == split.class()
                && part.shape()[axis].is(1)
                && value.shape() == dropped
        })
    };
    let fits = values.iter().enumerate().all(is_own)
        && normalize_axis(stack.axis, x.rank()).ok()? == axis
        && x.ty() == m.ty();
    fits.then(|| x.into())
}

/// `merge(stack(a, b, …)) = concat(a, b, …)`, interleaved where the new axis is merged into the one before it
fn reshape_of_stack(m: &Match<'_>) -> Option<Build> {
    m.op::<Reshape>()?;
    let stacked = m.operand(0);
    let stack = stacked.find::<Stack>()?;
    let values = stack.operands(0);
    let axis = normalize_axis(stack.axis, stacked.rank()).ok()?;
    let shape = values.first()?.shape();
    let count = (values.len() as i64).into();
    let merged = |into: usize| {
        let mut shape = shape.to_vec();
        let extent = shape.get_mut(into)?;
        *extent = extent.mul(&count);
        Some(shape)
    };
    let to = m.ty().map(|ty| &ty.shape[..]);
    let concat = if merged(axis).as_deref() == to {
        Concat { axis: axis as i64, interleave: false }
    } else if axis > 0 && merged(axis - 1).as_deref() == to {
        Concat { axis: axis as i64 - 1, interleave: true }
    } else {
        return None;
    };
    Some(Build::of(concat, values.into_iter().map(Build::from).collect()))
}
