//! Combining elements into tensors at index tensors.
//!
//! Where an element is named more than once, updates are combined one after another in row-major
//! order. Indices are as in `gather`.

use crate::attr::ScatterMode;
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, meet_shapes, normalize_axis, shape_text};
use crate::ops::gather::{along_axis, check_indices, index_depth};
use crate::types::TensorType;

op! {
    /// `y = data`, then `y[o, indices[i], n] = mode(y[o, indices[i], n], updates[o, i, n])` along
    /// `axis`.
    "scatter" = Scatter(data: One, indices: One, updates: One) {
        axis: i64 = 0,
        mode: ScatterMode = ScatterMode::Add,
        validate_indices: bool = false,
    } + Pure => infer_scatter;

    /// `y = data`, then `y[…, i, …] = mode(y[…, i, …], updates[…, k, …])` for
    /// `i = indices[…, k, …]` along `axis`.
    "scatter_along_axis" = ScatterAlongAxis(data: One, indices: One, updates: One) {
        axis: i64 = 0,
        mode: ScatterMode = ScatterMode::Add,
        validate_indices: bool = false,
    } + Pure => infer_scatter_along_axis;

    /// `y = data`, then `y[indices[k, 0], …, indices[k, m−1], n] = mode(y[…], updates[k, n])`: the
    /// last axis of `indices` are positions on the first axes of `data`.
    "scatter_nd" = ScatterNd(data: One, indices: One, updates: One) {
        mode: ScatterMode = ScatterMode::Add,
        validate_indices: bool = false,
    } + Pure => infer_scatter_nd;
}

/// The operands `data` (a tensor of numbers, or of anything for `update`), `indices`, `updates`.
fn operands<'a>(cx: &InferCx<'a>, mode: ScatterMode) -> OpResult<[&'a TensorType; 3]> {
    let dtype = cx.same_dtype(&["data", "updates"])?;
    if mode != ScatterMode::Update && !(dtype.is_float() || dtype.is_int()) {
        let message = format!("`data` is of {dtype}, mode `{}` needs numbers", mode.as_str());
        return Err(OpError::ty(message));
    }
    Ok([cx.tensor("data")?, cx.int("indices")?, cx.tensor("updates")?])
}

fn check_updates(updates: &TensorType, wanted: &[Dim]) -> OpResult<()> {
    meet_shapes(&updates.shape, wanted).map(drop).map_err(|_| {
        OpError::shape(format!("`updates` is {updates}, {} is needed", shape_text(wanted)))
    })
}

fn infer_scatter(op: &Scatter, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let [data, indices, updates] = operands(cx, op.mode)?;
    let axis = normalize_axis(op.axis, data.rank())?;
    let [count] = &indices.shape[..] else {
        return Err(OpError::shape(format!("`indices` is {indices}, a vector is needed")));
    };
    check_indices(cx, &data.shape[axis])?;
    let mut wanted = data.shape.clone();
    wanted[axis] = count.clone();
    check_updates(updates, &wanted)?;
    Ok(Inferred::ty(data.clone()))
}

fn infer_scatter_along_axis(op: &ScatterAlongAxis, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let [data, indices, updates] = operands(cx, op.mode)?;
    let axis = normalize_axis(op.axis, data.rank())?;
    let wanted = along_axis(axis, [&data.shape, &indices.shape])
        .ok_or_else(|| OpError::shape(format!("`data` is {data}, `indices` {indices}")))?;
    check_indices(cx, &data.shape[axis])?;
    check_updates(updates, &wanted)?;
    Ok(Inferred::ty(data.clone()))
}

fn infer_scatter_nd(op: &ScatterNd, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let [data, indices, updates] = operands(cx, op.mode)?;
    let depth = index_depth(&indices.shape, 0, data.rank())
        .ok_or_else(|| OpError::shape(format!("indices {indices} into {data}")))?;
    if depth == 1 {
        check_indices(cx, &data.shape[0])?;
    }
    let mut wanted = indices.shape[..indices.rank() - 1].to_vec();
    wanted.extend_from_slice(&data.shape[depth..]);
    check_updates(updates, &wanted)?;
    Ok(Inferred::ty(data.clone()))
}
