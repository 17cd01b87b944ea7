//! Quantization of activations.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal, normalize_axis};
use crate::types::TensorType;

op! {
    /// `clamp(round(input / scale) + zero_point, low, high)`: rounded to the nearest integer, halves
    /// to even, and clamped to the range of `output_dtype`, an integer of at most 8 bits. `scale` is
    /// a scalar without `axis`; with it a vector along that axis of `input`. `zero_point` has its
    /// shape and the element type `output_dtype`; absent it is 0.
    "quantize" = Quantize(input: One, zero_point: Opt, scale: One) {
        axis: Option<i64> = None,
        output_dtype: DType,
    } + Pure => infer_quantize;

    /// `(input − zero_point) · scale`, of the element type of `scale`, which is a scalar without
    /// `axis`; with it a vector along that axis of `input`. `zero_point` has its shape and the
    /// element type of `input`; absent it is 0.
    "dequantize" = Dequantize(input: One, zero_point: Opt, scale: One) {
        axis: Option<i64> = None,
    } + Pure => infer_dequantize;
}

/// Checks the shape of `scale` against `input` and `axis`, and `zero_point` against `scale`.
fn check_scale(cx: &InferCx<'_>, axis: Option<i64>, quantized: DType) -> OpResult<()> {
    let (input, scale) = (cx.tensor("input")?, cx.float("scale")?);
    check_params(input, scale, axis)?;
    if let Some(zero_point) = cx.opt_tensor("zero_point")? {
        let fits = zero_point.rank() == scale.rank()
            && zero_point.shape.iter().zip(&scale.shape).all(|(a, b)| may_equal(a, b));
        if !fits || zero_point.dtype != quantized {
            let message = format!(
                "`zero_point` is {zero_point}; `scale` is {scale}, the integers {quantized}"
            );
            return Err(OpError::ty(message));
        }
    }
    let zero = cx
        .constant("scale")
        .and_then(|scale| scale.to_f64s().ok())
        .is_some_and(|values| values.contains(&0.0));
    if zero { Err(OpError::attr("`scale` has a 0")) } else { Ok(()) }
}

fn check_params(input: &TensorType, scale: &TensorType, axis: Option<i64>) -> OpResult<()> {
    match (&scale.shape[..], axis) {
        ([], None) => Ok(()),
        ([length], Some(axis)) => {
            let extent: &Dim = &input.shape[normalize_axis(axis, input.rank())?];
            if may_equal(length, extent) {
                Ok(())
            } else {
                let message = format!("`scale` is {scale}, axis {axis} of {input} has {extent}");
                Err(OpError::shape(message))
            }
        }
        _ => Err(OpError::shape(format!(
            "`scale` is {scale}; it is a scalar without `axis`, a vector with it"
        ))),
    }
}

fn small_int(dtype: DType, name: &str) -> OpResult<()> {
    if dtype.is_int() && dtype.bits() <= 8 {
        Ok(())
    } else {
        Err(OpError::ty(format!("`{name}` is of {dtype}, an integer of at most 8 bits is needed")))
    }
}

fn infer_quantize(op: &Quantize, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let input = cx.float("input")?;
    small_int(op.output_dtype, "output_dtype")?;
    check_scale(cx, op.axis, op.output_dtype)?;
    Ok(Inferred::tensor(op.output_dtype, input.shape.clone()))
}

fn infer_dequantize(op: &Dequantize, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let input = cx.int("input")?;
    small_int(input.dtype, "input")?;
    check_scale(cx, op.axis, input.dtype)?;
    Ok(Inferred::tensor(cx.float("scale")?.dtype, input.shape.clone()))
}
