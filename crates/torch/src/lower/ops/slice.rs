//! Parts of a tensor, and tensors with parts replaced.

use mlc_ir::Dim;
use mlc_ir::ops::{Add, Mul, Split};

use super::axes::{axis_arg, bound, from_front, greater, inverse, lesser, moved_last};
use super::view::{permuted, reshaped};
use crate::lower::Cx;
use crate::lower::alias::{self, View};
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.narrow", lower: narrow },
    Lowering { name: "aten.select", lower: select },
    Lowering { name: "aten.slice", lower: slice },
    Lowering { name: "aten.unbind", lower: unbind },
    Lowering { name: "aten.chunk", lower: chunk },
    Lowering { name: "aten.unsafe_chunk", lower: chunk },
    Lowering { name: "aten.split", lower: split },
    Lowering { name: "aten.unsafe_split", lower: split },
    Lowering { name: "aten.split_with_sizes", lower: split },
    Lowering { name: "aten.unsafe_split_with_sizes", lower: split },
    Lowering { name: "aten.tensor_split", lower: tensor_split },
    Lowering { name: "aten.hsplit", lower: |cx, call| split_along(cx, call, 1) },
    Lowering { name: "aten.vsplit", lower: |cx, call| split_along(cx, call, 0) },
    Lowering { name: "aten.dsplit", lower: |cx, call| split_along(cx, call, 2) },
    Lowering { name: "aten.diagonal", lower: diagonal },
    Lowering { name: "aten.linalg_diagonal", lower: diagonal },
    Lowering { name: "aten.unfold", lower: unfold },
    Lowering { name: "aten.as_strided", lower: as_strided },
    Lowering { name: "aten.select_scatter", lower: select_scatter },
    Lowering { name: "aten.slice_scatter", lower: slice_scatter },
    Lowering { name: "aten.diagonal_scatter", lower: diagonal_scatter },
    Lowering { name: "aten.as_strided_scatter", lower: as_strided_scatter },
];

/// The axis and its extent that an argument names; scalars have none.
fn axis_of(cx: &Cx<'_>, call: &Call<'_>, x: TensorId) -> LowerResult<(usize, Dim)> {
    let shape = cx.shape(x)?;
    let axis = axis_arg(call, "dim", 0, shape.len())?;
    match shape.get(axis) {
        Some(extent) => Ok((axis, extent.clone())),
        None => Err(LowerError::invalid("a scalar has no parts")),
    }
}

fn part(
    cx: &mut Cx<'_>,
    x: TensorId,
    axis: usize,
    (start, end, step): (Dim, Dim, i64),
) -> LowerResult<TensorId> {
    if start.is(0) && step == 1 && cx.shape(x)?[axis] == end {
        return Ok(x);
    }
    cx.view(x, View::Slice { axis, start, end, step })
}

fn narrow(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (axis, extent) = axis_of(cx, call, x)?;
    let start = match call.get("start") {
        Some(Val::Tensor(start)) => {
            let start = cx.read(*start)?;
            dims::from_scalar(cx, start)?
        }
        _ => call.dim("start")?,
    };
    let start = from_front(cx, &start, &extent);
    let end = start.add(&call.dim("length")?);
    Ok(vec![Val::Tensor(part(cx, x, axis, (start, end, 1))?)])
}

fn selected(cx: &mut Cx<'_>, call: &Call<'_>, x: TensorId) -> LowerResult<TensorId> {
    let (axis, extent) = axis_of(cx, call, x)?;
    let index = from_front(cx, &call.dim("index")?, &extent);
    if let (Some(index), Some(extent)) = (index.as_const(), extent.as_const())
        && !(0..extent).contains(&index)
    {
        return Err(LowerError::invalid(format!("element {index} of an axis of {extent}")));
    }
    cx.view(x, View::Select { axis, index })
}

fn select(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    Ok(vec![Val::Tensor(selected(cx, call, x)?)])
}

/// The part of `x` that the arguments name; `declared` are its extents, where they are told.
fn sliced(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (x, declared): (TensorId, Option<Vec<Dim>>),
) -> LowerResult<TensorId> {
    let (axis, extent) = axis_of(cx, call, x)?;
    let step = call.int_or("step", 1)?;
    if step < 1 {
        return Err(LowerError::invalid(format!("`step` is {step}")));
    }
    let start = call.opt_dim("start")?.unwrap_or(Dim::Const(0));
    let end = call.opt_dim("end")?.unwrap_or_else(|| extent.clone());
    // Where the file says that the part has `end − start` elements, both lie inside.
    let declared = declared.as_ref().and_then(|shape| shape.get(axis));
    let known = end.as_const().is_some() || start.as_const().is_some_and(|n| n < 0);
    let count = end.sub(&start);
    if step == 1 && !known && declared == Some(&count) {
        let place = part(cx, x, axis, (start, end, step))?;
        let mut shape = cx.shape(x)?;
        shape[axis] = count;
        let value = cx.pairs(place)?;
        if !cx.is_complex(place) {
            cx.refine(value, &shape)?;
        }
        return Ok(place);
    }
    let (start, end) = (bound(cx, &start, &extent), bound(cx, &end, &extent));
    let end = match (start.as_const(), end.as_const()) {
        (Some(a), Some(b)) => Dim::Const(a.max(b)),
        _ => end,
    };
    part(cx, x, axis, (start, end, step))
}

fn slice(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    Ok(vec![Val::Tensor(sliced(cx, call, (x, call.declared.clone()))?)])
}

fn unbind(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (axis, extent) = axis_of(cx, call, x)?;
    let count = known_count(&extent)?;
    let places = (0..count)
        .map(|i| Ok(Val::Tensor(cx.view(x, View::Select { axis, index: Dim::Const(i) })?)))
        .collect::<LowerResult<_>>()?;
    Ok(vec![Val::List(places)])
}

/// Most parts a tensor is cut into.
const MAX_PARTS: i64 = 1 << 16;

fn known_count(count: &Dim) -> LowerResult<i64> {
    count.as_const().filter(|n| (0..=MAX_PARTS).contains(n)).ok_or_else(|| {
        LowerError::dynamic(format!("the number of parts is `{count}`"))
            .help("export the model with that extent fixed")
    })
}

/// `x` cut along `axis` into parts of `sizes`, by one op where all have elements.
fn parts(cx: &mut Cx<'_>, x: TensorId, axis: usize, sizes: &[Dim]) -> LowerResult<Vec<Val>> {
    let known: Option<Vec<i64>> = sizes.iter().map(Dim::as_const).collect();
    let equal = sizes.windows(2).all(|pair| pair[0] == pair[1]);
    let op = match known {
        _ if sizes.len() < 2 => None,
        Some(known) if known.iter().any(|&n| n < 1) => None,
        Some(known) if !equal => {
            Some(Split { num_splits: None, split_sizes: Some(known), axis: axis as i64 })
        }
        None if !equal => None,
        _ => Some(Split {
            num_splits: Some(sizes.len() as i64),
            split_sizes: None,
            axis: axis as i64,
        }),
    };
    let values = match op {
        Some(op) => {
            let value = cx.read(x)?;
            op.build_many(&mut cx.b, value)?
        }
        None => Vec::new(),
    };
    let mut start = Dim::Const(0);
    let mut all = Vec::with_capacity(sizes.len());
    for (i, size) in sizes.iter().enumerate() {
        let end = start.add(size);
        all.push(Val::Tensor(match values.get(i) {
            Some(&value) => {
                cx.view_valued(x, View::Slice { axis, start, end: end.clone(), step: 1 }, value)
            }
            None => part(cx, x, axis, (start, end.clone(), 1))?,
        }));
        start = end;
    }
    Ok(vec![Val::List(all)])
}

/// Parts of `size` elements, the last one of what is left.
fn equal_parts(extent: &Dim, size: &Dim) -> LowerResult<Vec<Dim>> {
    if let (Some(extent), Some(size)) = (extent.as_const(), size.as_const()) {
        if size == 0 && extent == 0 {
            return Ok(vec![Dim::Const(0)]);
        }
        if size < 1 {
            return Err(LowerError::invalid(format!("parts of {size} elements")));
        }
        let count = known_count(&Dim::Const(extent.max(1)).ceil_div(&Dim::Const(size)))?;
        return Ok((0..count).map(|i| Dim::Const(size.min(extent - i * size))).collect());
    }
    let count = extent.exact_div(size).ok_or_else(|| {
        LowerError::dynamic(format!("the number of parts of {size} in `{extent}` is not known"))
            .help("export the model with that extent fixed")
    })?;
    Ok(vec![size.clone(); known_count(&count)? as usize])
}

fn chunk(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (axis, extent) = axis_of(cx, call, x)?;
    let chunks = call.int("chunks")?;
    if !(1..=MAX_PARTS).contains(&chunks) {
        return Err(LowerError::invalid(format!("{chunks} chunks")));
    }
    let chunks = Dim::Const(chunks);
    let size = extent.exact_div(&chunks).unwrap_or_else(|| extent.ceil_div(&chunks));
    let sizes = match extent.is(0) {
        true => vec![extent; known_count(&chunks)? as usize],
        false => equal_parts(&extent, &size)?,
    };
    parts(cx, x, axis, &sizes)
}

fn split(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (axis, extent) = axis_of(cx, call, x)?;
    let sizes = match call.get("split_size") {
        Some(Val::List(_)) => call.dims("split_size")?,
        Some(_) => equal_parts(&extent, &call.dim("split_size")?)?,
        None => call.dims("split_sizes")?,
    };
    let total = sizes.iter().fold(Dim::Const(0), |sum, size| sum.add(size));
    if let (Some(total), Some(extent)) = (total.as_const(), extent.as_const())
        && total != extent
    {
        return Err(LowerError::invalid(format!("parts of {total} elements of {extent}")));
    }
    parts(cx, x, axis, &sizes)
}

/// `count` parts, the first ones with one element more where the extent is no multiple.
fn sections(extent: &Dim, count: &Dim) -> LowerResult<Vec<Dim>> {
    let n = known_count(count)?;
    if let Some(size) = extent.exact_div(count) {
        return Ok(vec![size; n as usize]);
    }
    let total = extent.as_const().filter(|_| n > 0).ok_or_else(|| {
        LowerError::dynamic(format!("{n} parts of `{extent}` elements"))
            .help("export the model with that extent fixed")
    })?;
    Ok((0..n).map(|i| Dim::Const(total / n + i64::from(i < total % n))).collect())
}

/// Cuts before each of the positions `at`.
fn cut_at(cx: &mut Cx<'_>, x: TensorId, axis: usize, at: &[Dim]) -> LowerResult<Vec<Val>> {
    let extent = cx.shape(x)?[axis].clone();
    let mut start = Dim::Const(0);
    let mut all = Vec::with_capacity(at.len() + 1);
    for end in at.iter().map(Some).chain([None]) {
        let end = end.map_or_else(|| extent.clone(), |end| bound(cx, end, &extent));
        let stop = greater(cx, &start, &end);
        all.push(Val::Tensor(part(cx, x, axis, (start, stop, 1))?));
        start = end;
    }
    Ok(vec![Val::List(all)])
}

fn tensor_split(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (axis, extent) = axis_of(cx, call, x)?;
    if let Some(at) = call.opt_dims("indices")? {
        return cut_at(cx, x, axis, &at);
    }
    let Some(given) = call.opt_tensor("tensor_indices_or_sections")? else {
        return parts(cx, x, axis, &sections(&extent, &call.dim("sections")?)?);
    };
    let scalar = cx.rank(given)? == 0;
    let given = cx.read(given)?;
    let known = cx.b.constant_of(given).map(|tensor| tensor.to_i64s()).transpose()?;
    let known = known.ok_or_else(|| {
        LowerError::dynamic("the places to split at are not known at compile time")
            .help("pass them as a list of numbers")
    })?;
    let known: Vec<Dim> = known.into_iter().map(Dim::Const).collect();
    match &known[..] {
        [count] if scalar => parts(cx, x, axis, &sections(&extent, count)?),
        all => cut_at(cx, x, axis, all),
    }
}

/// `hsplit`, `vsplit`, `dsplit`: `tensor_split` along a fixed axis.
fn split_along(cx: &mut Cx<'_>, call: &Call<'_>, axis: usize) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let shape = cx.shape(x)?;
    let axis = if axis == 1 && shape.len() == 1 { 0 } else { axis };
    let Some(extent) = shape.get(axis) else {
        return Err(LowerError::invalid(format!(
            "a tensor of rank {} has no such axis",
            shape.len()
        )));
    };
    match call.opt_dims("indices")? {
        Some(at) => cut_at(cx, x, axis, &at),
        None => parts(cx, x, axis, &sections(extent, &call.dim("sections")?)?),
    }
}

/// The arguments of `diagonal`: offset and both axes.
fn diagonal_args(
    call: &Call<'_>,
    rank: usize,
    default: [i64; 2],
) -> LowerResult<(i64, usize, usize)> {
    let offset = call.int_or("offset", 0)?;
    let first = axis_arg(call, "dim1", default[0], rank)?;
    let second = axis_arg(call, "dim2", default[1], rank)?;
    if rank < 2 || first == second || offset.checked_abs().is_none_or(|n| n > 1 << 31) {
        return Err(LowerError::invalid(format!("the diagonal of a tensor of rank {rank}")));
    }
    Ok((offset, first, second))
}

/// A view of the elements `(i, i + offset)` of two axes, as the last axis: the two are moved to the
/// end and become one, where the diagonal is every (columns + 1)-th element.
fn diagonal_view(
    cx: &mut Cx<'_>,
    x: TensorId,
    (offset, first, second): (i64, usize, usize),
) -> LowerResult<TensorId> {
    let rank = cx.rank(x)?;
    let x = permuted(cx, x, moved_last(&[first, second], rank))?;
    let shape = cx.shape(x)?;
    let [.., rows, columns] = &shape[..] else {
        return Err(LowerError::invalid("the diagonal of a vector"));
    };
    let down = Dim::Const((-offset).max(0));
    let right = Dim::Const(offset.max(0));
    let count = lesser(cx, &rows.sub(&down), &columns.sub(&right));
    let count = greater(cx, &count, &Dim::Const(0));
    let start = down.mul(columns).add(&right);
    let mut flat = shape[..rank - 2].to_vec();
    flat.push(rows.mul(columns));
    let x = reshaped(cx, x, flat)?;
    let axis = rank - 2;
    match columns.add(&Dim::Const(1)).as_const() {
        _ if count.is(0) => part(cx, x, axis, (Dim::Const(0), Dim::Const(0), 1)),
        Some(step) => {
            let last = count.sub(&Dim::Const(1)).mul(&Dim::Const(step));
            let end = start.add(&last).add(&Dim::Const(1));
            part(cx, x, axis, (start, end, step))
        }
        None => {
            let places = alias::range(cx, &Dim::Const(0), &count, 1)?;
            let step = dims::scalar(cx, &columns.add(&Dim::Const(1)))?;
            let start = dims::scalar(cx, &start)?;
            let places = cx.binary(Mul {}, places, step)?;
            let indices = cx.binary(Add {}, places, start)?;
            cx.view(x, View::Index { axis, indices, distinct: true })
        }
    }
}

fn diagonal(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (name, default) = if call.has("A") { ("A", [-2, -1]) } else { ("self", [0, 1]) };
    let x = call.tensor(name)?;
    let args = diagonal_args(call, cx.rank(x)?, default)?;
    Ok(vec![Val::Tensor(diagonal_view(cx, x, args)?)])
}

/// Windows along an axis, their elements as the last axis.
fn unfold(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    let axis = axis_arg(call, "dimension", 0, rank)?;
    let (size, step) = (call.int("size")?, call.int("step")?);
    if size < 1 || step < 1 || rank == 0 {
        let message = format!("windows of {size} by {step} on a tensor of rank {rank}");
        return Err(LowerError::argument(message));
    }
    let y = cx.view(x, View::Windows { axis, size, step })?;
    let y = permuted(cx, y, moved_last(&[axis + 1], rank + 1))?;
    Ok(vec![Val::Tensor(y)])
}

/// Most elements that are picked one by one.
const MAX_PICKED: i64 = 1 << 22;

/// A view of whole memory under other strides: a permuted reshape where it is one, the elements
/// picked one by one elsewhere.
fn strided_view(cx: &mut Cx<'_>, call: &Call<'_>, x: TensorId) -> LowerResult<TensorId> {
    let offset = call.int_or("storage_offset", 0)?;
    if offset == 0
        && let Some(view) = reordered(cx, x, (call.dims("size")?, call.dims("stride")?))?
    {
        return Ok(view);
    }
    let (sizes, strides) = (call.ints("size")?, call.ints("stride")?);
    let shape = cx.shape(x)?;
    let known: Option<Vec<i64>> = shape.iter().map(Dim::as_const).collect();
    let packed = known.as_ref().map(|known| packed_strides(known));
    let whole = cx.is_base(x)
        && packed.is_some_and(|packed| {
            cx.strides(x).is_none_or(|have| {
                have.iter().zip(packed).zip(&shape).all(|((s, p), d)| d.is(1) || s.is(p))
            })
        });
    let Some(known) = known.filter(|_| whole) else {
        return Err(LowerError::argument("`as_strided` on a tensor that does not fill its memory")
            .help("use slices, `unfold` or `permute`, or call `.contiguous().clone()` before"));
    };
    let negative = strides.iter().chain(&sizes).chain([&offset]).any(|&s| s < 0);
    if sizes.len() != strides.len() || negative {
        return Err(LowerError::invalid(format!("sizes {sizes:?} with strides {strides:?}")));
    }
    let product = |all: &[i64]| all.iter().try_fold(1i64, |n, &size| n.checked_mul(size));
    let total = product(&known).ok_or_else(|| LowerError::invalid("a tensor is too large"))?;
    let count = product(&sizes);
    count.filter(|n| (0..=MAX_PICKED).contains(n)).ok_or_else(|| {
        LowerError::argument(format!("`as_strided` to {sizes:?}, which has too many elements"))
    })?;
    let mut places = vec![offset];
    for (&size, &stride) in sizes.iter().zip(&strides) {
        places = places
            .iter()
            .flat_map(|&p| (0..size).map(move |i| i.saturating_mul(stride).saturating_add(p)))
            .collect();
    }
    if places.iter().any(|&p| p >= total) {
        return Err(LowerError::invalid(format!("`as_strided` beyond {total} elements")));
    }
    let mut seen = places.clone();
    seen.sort_unstable();
    let distinct = seen.windows(2).all(|pair| pair[0] != pair[1]);
    let indices = cx.b.ints(&places)?;
    let y = reshaped(cx, x, vec![Dim::Const(total)])?;
    let y = cx.view(y, View::Index { axis: 0, indices, distinct })?;
    reshaped(cx, y, sizes.into_iter().map(Dim::Const).collect())
}

/// `x`, which fills its memory without gaps, under sizes and strides that do so too: the axes by
/// falling stride are a reshape of it. `None` where they do not, or `x` does not.
fn reordered(
    cx: &mut Cx<'_>,
    x: TensorId,
    (sizes, strides): (Vec<Dim>, Vec<Dim>),
) -> LowerResult<Option<TensorId>> {
    let shape = cx.shape(x)?;
    let own = cx.strides(x).map(|strides| by_stride(&shape, strides));
    let plain = own.is_none_or(|order| {
        order.is_some_and(|order| order.iter().filter(|&&i| !shape[i].is(1)).is_sorted())
    });
    let fits = sizes.len() == strides.len() && Dim::product(&sizes) == Dim::product(&shape);
    if !cx.is_base(x) || !plain || !fits {
        return Ok(None);
    }
    let Some(order) = by_stride(&sizes, &strides) else { return Ok(None) };
    let y = reshaped(cx, x, order.iter().map(|&i| sizes[i].clone()).collect())?;
    Ok(Some(permuted(cx, y, inverse(&order))?))
}

/// The axes from the greatest stride to the least, if they leave no gaps; axes of extent 1 come
/// first.
fn by_stride(sizes: &[Dim], strides: &[Dim]) -> Option<Vec<usize>> {
    let mut left: Vec<usize> = (0..sizes.len()).filter(|&i| !sizes[i].is(1)).collect();
    let mut order = Vec::with_capacity(sizes.len());
    let mut expected = Dim::Const(1);
    while !left.is_empty() {
        let at = left.iter().position(|&i| strides.get(i) == Some(&expected))?;
        let axis = left.remove(at);
        expected = expected.mul(&sizes[axis]);
        order.push(axis);
    }
    order.extend((0..sizes.len()).rev().filter(|&i| sizes[i].is(1)));
    order.reverse();
    Some(order)
}

fn packed_strides(sizes: &[i64]) -> Vec<i64> {
    let mut strides = vec![1i64; sizes.len()];
    for i in (1..sizes.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(sizes[i]);
    }
    strides
}

fn as_strided(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    Ok(vec![Val::Tensor(strided_view(cx, call, x)?)])
}

/// A copy of `self` of which the part that `view` gives is written with `src`.
fn written(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    view: impl FnOnce(&mut Cx<'_>, TensorId) -> LowerResult<TensorId>,
) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let dtype = cx.dtype(x)?;
    let value = cx.read(x)?;
    let copy = cx.fresh(value);
    let Val::Tensor(target) = copy else { return Err(LowerError::invalid("no copy")) };
    let place = view(cx, target)?;
    let source = cx.read_as(call.tensor("src")?, dtype)?;
    let shape = cx.shape(place)?;
    let source = super::indices::widened(cx, source, &shape)?;
    cx.write(place, source)?;
    let value = cx.read(target)?;
    cx.one(value)
}

fn select_scatter(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    written(cx, call, |cx, x| selected(cx, call, x))
}

fn slice_scatter(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let source = cx.shape(call.tensor("src")?)?;
    written(cx, call, |cx, x| sliced(cx, call, (x, Some(source))))
}

fn diagonal_scatter(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    written(cx, call, |cx, x| {
        let args = diagonal_args(call, cx.rank(x)?, [0, 1])?;
        diagonal_view(cx, x, args)
    })
}

fn as_strided_scatter(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    written(cx, call, |cx, x| strided_view(cx, call, x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(all: &[i64]) -> Vec<Dim> {
        all.iter().copied().map(Dim::Const).collect()
    }

    #[test]
    fn parts_cover_the_axis() {
        assert_eq!(equal_parts(&7.into(), &3.into()), Ok(dims(&[3, 3, 1])));
        assert_eq!(equal_parts(&0.into(), &3.into()), Ok(dims(&[0])));
        assert_eq!(sections(&7.into(), &3.into()), Ok(dims(&[3, 2, 2])));
        let s = Dim::symbol("s");
        let twice = s.mul(&Dim::Const(2));
        assert_eq!(equal_parts(&twice, &s), Ok(vec![s.clone(), s.clone()]));
        assert_eq!(sections(&twice, &2.into()), Ok(vec![s.clone(), s.clone()]));
        assert!(equal_parts(&s, &3.into()).is_err());
    }

    #[test]
    fn axes_by_stride() {
        let s = Dim::symbol("s");
        let sizes = [2.into(), s.clone(), 3.into(), 1.into()];
        let strides = [1.into(), 6.into(), 2.into(), 7.into()];
        assert_eq!(by_stride(&sizes, &strides), Some(vec![3, 1, 2, 0]));
        assert_eq!(by_stride(&dims(&[2, 3]), &dims(&[4, 1])), None);
        assert_eq!(by_stride(&dims(&[2, 3]), &dims(&[0, 1])), None);
    }

    #[test]
    fn strides_of_packed_memory() {
        assert_eq!(packed_strides(&[2, 3, 4]), [12, 4, 1]);
        assert_eq!(packed_strides(&[]), Vec::<i64>::new());
    }
}
