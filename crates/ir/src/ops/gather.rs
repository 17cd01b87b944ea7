//! Picking elements by index tensors.
//!
//! Indices count from the front: a negative or too large one has no meaning, whatever
//! `validate_indices` says (it tells a runtime to look).

use crate::dim::Dim;
use crate::infer::{
    InferCx, Inferred, OpError, OpResult, may_equal, meet, meet_shapes, normalize_axis,
};

op! {
    /// Axis `axis` of `x` replaced by the axes of `indices`: `y[b, o, i, n] = x[b, o, indices[b, i], n]`
    /// where `b` are the first `batch_dims` indices of both, `o` the others before `axis`.
    "gather" = Gather(x: One, indices: One) {
        axis: i64 = 0,
        batch_dims: i64 = 0,
        validate_indices: bool = false,
    } + Pure => infer_gather;

    /// `y[…, i, …] = x[…, indices[…, i, …], …]`, the index replaced along `axis`.
    "gather_along_axis" = GatherAlongAxis(x: One, indices: One) {
        axis: i64 = 0,
        validate_indices: bool = false,
    } + Pure => infer_gather_along_axis;

    /// `y[b, k, n] = x[b, indices[b, k, 0], …, indices[b, k, m−1], n]`: the last axis of `indices` are
    /// positions on the axes of `x` after the first `batch_dims`.
    "gather_nd" = GatherNd(x: One, indices: One) {
        batch_dims: i64 = 0,
        validate_indices: bool = false,
    } + Pure => infer_gather_nd;
}

/// Checks indices that are known against the extent they index.
pub(super) fn check_indices(cx: &InferCx<'_>, extent: &Dim) -> OpResult<()> {
    let (Some(indices), Some(extent)) = (cx.content("indices"), extent.as_const()) else {
        return Ok(());
    };
    match indices.iter().filter_map(Dim::as_const).find(|i| !(0..extent).contains(i)) {
        Some(i) => Err(OpError::shape(format!("index {i} into an axis of {extent}"))),
        None => Ok(()),
    }
}

/// The first `count` axes, which two operands share.
fn shared_axes(cx: &InferCx<'_>, count: i64) -> OpResult<Vec<Dim>> {
    let (x, indices) = (cx.tensor("x")?, cx.int("indices")?);
    let fits = usize::try_from(count).ok().filter(|&n| n <= x.rank() && n <= indices.rank());
    let Some(count) = fits else {
        let message = format!("`batch_dims` is {count} for {x} and indices {indices}");
        return Err(OpError::attr(message));
    };
    meet_shapes(&x.shape[..count], &indices.shape[..count])
}

fn infer_gather(op: &Gather, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (x, indices) = (cx.tensor("x")?, cx.int("indices")?);
    let axis = normalize_axis(op.axis, x.rank())?;
    let mut shape = shared_axes(cx, op.batch_dims)?;
    let batch = shape.len();
    if axis < batch {
        return Err(OpError::attr(format!("axis {axis} is one of {batch} `batch_dims`")));
    }
    check_indices(cx, &x.shape[axis])?;
    shape.extend_from_slice(&x.shape[batch..axis]);
    shape.extend_from_slice(&indices.shape[batch..]);
    shape.extend_from_slice(&x.shape[axis + 1..]);
    let content = match (cx.content("x"), cx.ints("indices")) {
        (Some(x), Some(at)) if batch == 0 => {
            at.iter().map(|&i| x.get(usize::try_from(i).ok()?).cloned()).collect()
        }
        _ => None,
    };
    Ok(Inferred::tensor(x.dtype, shape).with_content(content))
}

fn infer_gather_along_axis(op: &GatherAlongAxis, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (x, indices) = (cx.tensor("x")?, cx.int("indices")?);
    let axis = normalize_axis(op.axis, x.rank())?;
    let shape = along_axis(axis, [&x.shape, &indices.shape])
        .ok_or_else(|| OpError::shape(format!("`x` is {x}, `indices` {indices}")))?;
    check_indices(cx, &x.shape[axis])?;
    Ok(Inferred::tensor(x.dtype, shape))
}

/// The shape of indices along `axis` that agree with `data` elsewhere.
pub(super) fn along_axis(axis: usize, [data, indices]: [&[Dim]; 2]) -> Option<Vec<Dim>> {
    if data.len() != indices.len() {
        return None;
    }
    let both = data.iter().zip(indices).enumerate();
    both.map(|(i, (d, k))| match i == axis {
        true => Some(k.clone()),
        false if may_equal(d, k) => Some(meet(d, k)),
        false => None,
    })
    .collect()
}

fn infer_gather_nd(op: &GatherNd, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (x, indices) = (cx.tensor("x")?, cx.int("indices")?);
    let mut shape = shared_axes(cx, op.batch_dims)?;
    let batch = shape.len();
    let depth = index_depth(&indices.shape, batch, x.rank()).ok_or_else(|| {
        OpError::shape(format!("indices {indices} into {x} after {batch} `batch_dims`"))
    })?;
    if depth == 1 {
        check_indices(cx, &x.shape[batch])?;
    }
    shape.extend_from_slice(&indices.shape[batch..indices.rank() - 1]);
    shape.extend_from_slice(&x.shape[batch + depth..]);
    Ok(Inferred::tensor(x.dtype, shape))
}

/// How many axes of data of `rank` the last axis of `indices` names, after `batch` shared ones.
pub(super) fn index_depth(indices: &[Dim], batch: usize, rank: usize) -> Option<usize> {
    if indices.len() <= batch {
        return None;
    }
    let depth = usize::try_from(indices.last()?.as_const()?).ok()?;
    (depth <= rank.checked_sub(batch)?).then_some(depth)
}
