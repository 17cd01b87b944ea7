//! Stored weights: ops that decode a compressed constant when the model is loaded.
//!
//! `constexpr_lut_to_dense` and `constexpr_sparse_to_dense` have two forms in MIL: before iOS 18 the
//! indices or the mask are packed bytes of a vector and `shape` tells the shape of the result, from
//! iOS 18 on they are a tensor of that shape of a small integer type. The attribute `shape` is what
//! tells the forms apart: it is given in the first, absent in the second.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal, normalize_axis, shape_text};
use crate::types::{TensorType, Type};

op! {
    /// `scale · (quantized_data − zero_point)`, of the element type of `scale`; `scale` and
    /// `zero_point` are scalars or vectors along `axis` of `quantized_data`. iOS 16.
    "constexpr_affine_dequantize" = ConstexprAffineDequantize(
        quantized_data: One, zero_point: One, scale: One,
    ) { axis: i64 } + Pure + Constexpr => infer_affine_dequantize;

    /// `scale[⌊i / b⌋] · (data[i] − offset[⌊i / b⌋])`, of the element type of `scale`, which has the
    /// rank of `data`; along each axis its extent divides that of `data`, and `b` is the quotient.
    /// `offset` has the shape of `scale`; absent it is 0. iOS 18.
    "constexpr_blockwise_shift_scale" = ConstexprBlockwiseShiftScale(
        data: One, scale: One, offset: Opt,
    ) {} + Pure + Constexpr => infer_blockwise;

    /// `source_val`, a float, converted to the float type `output_dtype`.
    "constexpr_cast" = ConstexprCast(source_val: One) { output_dtype: DType } + Pure + Constexpr
        => infer_constexpr_cast;

    /// Elements of `lut` by index. Without `shape` (iOS 18): `indices` are integers of `n` bits, `lut`
    /// is `[*G, 2ⁿ, V]` with an extent in `G` for each axis of `indices` that divides its extent;
    /// `lut[g, indices[i], v]`, `g` the block of `i`, stands at `i` with `i[vector_axis]·V + v` along
    /// `vector_axis`, which may be absent where `V` is 1. With `shape` (iOS 16): `lut` is a vector of
    /// 2, 4, 16, 64 or 256 elements, `indices` bytes that hold the indices in row-major order without
    /// gaps, the lowest bits of a byte first.
    "constexpr_lut_to_dense" = ConstexprLutToDense(indices: One, lut: One) {
        vector_axis: Option<i64> = None,
        shape: Option<Vec<i64>> = None,
    } + Pure + Constexpr => infer_lut_to_dense;

    /// The mask and the values of a sparse tensor whose values are looked up: the indices stand at the
    /// places of `indices_mask` that are 1, in row-major order, and are replaced as in
    /// `constexpr_lut_to_dense` without `shape`; a place gives `V` values, the mask is repeated `V`
    /// times along `vector_axis`. iOS 18.
    "constexpr_lut_to_sparse" = ConstexprLutToSparse(
        indices_mask: One, indices_nonzero_data: One, lut: One,
    ) -> 2 { vector_axis: Option<i64> = None } + Pure + Constexpr => infer_lut_to_sparse;

    /// The mask and the values of a sparse tensor whose values are scaled: `nonzero_data` stands at the
    /// places of `data_mask` that are 1, in row-major order; a value is scaled as in
    /// `constexpr_blockwise_shift_scale`, by the block of its place. iOS 18.
    "constexpr_sparse_blockwise_shift_scale" = ConstexprSparseBlockwiseShiftScale(
        data_mask: One, nonzero_data: One, scale: One, offset: Opt,
    ) -> 2 {} + Pure + Constexpr => infer_sparse_blockwise;

    /// `nonzero_data`, a vector, at the places of `mask` that are 1, in row-major order; 0 elsewhere.
    /// Without `shape` (iOS 18): `mask` is a tensor of 1-bit integers. With `shape` (iOS 16): `mask`
    /// are bytes that hold a bit an element in row-major order, the lowest bit of a byte first.
    "constexpr_sparse_to_dense" = ConstexprSparseToDense(nonzero_data: One, mask: One) {
        shape: Option<Vec<i64>> = None,
    } + Pure + Constexpr => infer_sparse_to_dense;
}

fn number(ty: &TensorType, name: &str) -> OpResult<()> {
    if ty.dtype.is_float() || ty.dtype.is_int() {
        Ok(())
    } else {
        Err(OpError::ty(format!("`{name}` is {ty}, numbers are needed")))
    }
}

fn infer_affine_dequantize(op: &ConstexprAffineDequantize, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (data, scale) = (cx.int("quantized_data")?, cx.float("scale")?);
    let zero_point = cx.tensor("zero_point")?;
    number(zero_point, "zero_point")?;
    let extent = &data.shape[normalize_axis(op.axis, data.rank())?];
    for (ty, name) in [(scale, "scale"), (zero_point, "zero_point")] {
        let fits = match &ty.shape[..] {
            [] => true,
            [length] => may_equal(length, extent),
            _ => false,
        };
        if !fits {
            let message =
                format!("`{name}` is {ty}, a scalar or a vector of {extent} elements is needed");
            return Err(OpError::shape(message));
        }
    }
    Ok(Inferred::tensor(scale.dtype, data.shape.clone()))
}

/// Checks scale and offset against the shape of the data they belong to.
fn check_blocks(cx: &InferCx<'_>, shape: &[Dim], data: DType) -> OpResult<DType> {
    let scale = cx.float("scale")?;
    let divides = |s: &Dim, d: &Dim| match (s.as_const(), d.as_const()) {
        (Some(s), Some(d)) => s > 0 && d % s == 0 || s == d,
        _ => true,
    };
    let fits =
        scale.rank() == shape.len() && scale.shape.iter().zip(shape).all(|(s, d)| divides(s, d));
    if !fits {
        let message = format!("`scale` is {scale}; its extents must divide {}", shape_text(shape));
        return Err(OpError::shape(message));
    }
    if let Some(offset) = cx.opt_tensor("offset")? {
        number(offset, "offset")?;
        let fits = offset.rank() == scale.rank()
            && offset.shape.iter().zip(&scale.shape).all(|(a, b)| may_equal(a, b));
        if !fits {
            return Err(OpError::shape(format!("`offset` is {offset}, `scale` {scale}")));
        }
        if offset.dtype != data && !offset.dtype.is_float() {
            let message = format!("`offset` is {offset}, integers of {data} or floats are needed");
            return Err(OpError::ty(message));
        }
    }
    Ok(scale.dtype)
}

fn infer_blockwise(_: &ConstexprBlockwiseShiftScale, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let data = cx.tensor("data")?;
    number(data, "data")?;
    let dtype = check_blocks(cx, &data.shape, data.dtype)?;
    Ok(Inferred::tensor(dtype, data.shape.clone()))
}

fn infer_constexpr_cast(op: &ConstexprCast, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let source = cx.float("source_val")?;
    if !op.output_dtype.is_float() {
        let message = format!("`output_dtype` is {}, a float is needed", op.output_dtype);
        return Err(OpError::attr(message));
    }
    Ok(Inferred::ty(source.with_dtype(op.output_dtype)))
}

/// Element type and extents of what a lookup gives for dense indices of `shape` and `dtype`.
fn looked_up(
    cx: &InferCx<'_>,
    (shape, dtype): (&[Dim], DType),
    vector_axis: Option<i64>,
) -> OpResult<(DType, Vec<Dim>)> {
    let lut = cx.tensor("lut")?;
    number(lut, "lut")?;
    let small =
        matches!(dtype, DType::U1 | DType::U2 | DType::U3 | DType::U4 | DType::U6 | DType::U8);
    if !small {
        let message = format!("indices are of {dtype}, u1, u2, u3, u4, u6 or u8 is needed");
        return Err(OpError::ty(message));
    }
    let wrong = |what: String| OpError::shape(format!("`lut` is {lut}: {what}"));
    let [groups @ .., entries, vector] = &lut.shape[..] else {
        return Err(wrong(format!("rank {} is needed", shape.len() + 2)));
    };
    if groups.len() != shape.len() {
        return Err(wrong(format!("rank {} is needed", shape.len() + 2)));
    }
    if !may_equal(entries, &Dim::Const(1 << dtype.bits())) {
        return Err(wrong(format!("{} entries are needed for {dtype}", 1 << dtype.bits())));
    }
    for (group, extent) in groups.iter().zip(shape) {
        if let (Some(g), Some(d)) = (group.as_const(), extent.as_const())
            && (g < 1 || d % g != 0)
        {
            return Err(wrong(format!("{g} groups do not divide {d} indices")));
        }
    }
    let mut result = shape.to_vec();
    match vector_axis {
        Some(axis) => {
            let axis = normalize_axis(axis, shape.len())?;
            result[axis] = result[axis].mul(vector);
        }
        None if may_equal(vector, &Dim::Const(1)) => {}
        None => {
            let message = format!("`lut` is {lut}: vectors of {vector} need a `vector_axis`");
            return Err(OpError::attr(message));
        }
    }
    Ok((lut.dtype, result))
}

/// The extents of a packed tensor and the number of its elements.
fn packed_shape(shape: &[i64]) -> OpResult<(Vec<Dim>, i64)> {
    let count =
        shape.iter().try_fold(1i64, |count, &d| if d < 0 { None } else { count.checked_mul(d) });
    let count =
        count.ok_or_else(|| OpError::attr(format!("`shape` is {shape:?}, which is none")))?;
    Ok((shape.iter().map(|&d| Dim::Const(d)).collect(), count))
}

/// Checks that an operand is the vector of bytes that holds `count` elements of `bits` bits.
fn check_packed(cx: &InferCx<'_>, name: &str, count: i64, bits: i64) -> OpResult<()> {
    let ty = cx.tensor(name)?;
    let bytes = (i128::from(count) * i128::from(bits) + 7) / 8;
    let fits = match &ty.shape[..] {
        [length] => length.as_const().is_none_or(|n| i128::from(n) == bytes),
        _ => false,
    };
    if fits && ty.dtype == DType::U8 {
        Ok(())
    } else {
        Err(OpError::shape(format!("`{name}` is {ty}, a vector of {bytes} u8 is needed")))
    }
}

fn infer_lut_to_dense(op: &ConstexprLutToDense, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let indices = cx.tensor("indices")?;
    let Some(shape) = &op.shape else {
        let (dtype, shape) = looked_up(cx, (&indices.shape, indices.dtype), op.vector_axis)?;
        return Ok(Inferred::tensor(dtype, shape));
    };
    if op.vector_axis.is_some() {
        return Err(OpError::attr("`vector_axis` and `shape` belong to different forms"));
    }
    let lut = cx.tensor("lut")?;
    number(lut, "lut")?;
    let bits = match &lut.shape[..] {
        [entries] => match entries.as_const() {
            None => None,
            Some(n @ (2 | 4 | 16 | 64 | 256)) => Some(i64::from(n.ilog2())),
            Some(_) => {
                let message = format!("`lut` is {lut}, 2, 4, 16, 64 or 256 elements are needed");
                return Err(OpError::shape(message));
            }
        },
        _ => return Err(OpError::shape(format!("`lut` is {lut}, a vector is needed"))),
    };
    let (shape, count) = packed_shape(shape)?;
    if let Some(bits) = bits {
        check_packed(cx, "indices", count, bits)?;
    }
    Ok(Inferred::tensor(lut.dtype, shape))
}

/// The mask of a sparse tensor and its values.
fn sparse<'a>(
    cx: &InferCx<'a>,
    mask: &str,
    values: &str,
) -> OpResult<(&'a TensorType, &'a TensorType)> {
    let (mask_ty, values_ty) = (cx.tensor(mask)?, cx.tensor(values)?);
    if mask_ty.dtype != DType::U1 {
        return Err(OpError::ty(format!("`{mask}` is {mask_ty}, u1 is needed")));
    }
    number(values_ty, values)?;
    if values_ty.rank() != 1 {
        return Err(OpError::shape(format!("`{values}` is {values_ty}, a vector is needed")));
    }
    let (count, places) = (values_ty.shape[0].as_const(), mask_ty.count().as_const());
    if let (Some(count), Some(places)) = (count, places)
        && count > places
    {
        return Err(OpError::shape(format!("{count} values for {places} places")));
    }
    Ok((mask_ty, values_ty))
}

fn infer_lut_to_sparse(op: &ConstexprLutToSparse, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (mask, values) = sparse(cx, "indices_mask", "indices_nonzero_data")?;
    let (dtype, shape) = looked_up(cx, (&mask.shape, values.dtype), op.vector_axis)?;
    let lut = cx.tensor("lut")?;
    let vector = lut.shape.last().cloned().unwrap_or(Dim::Const(1));
    let count = values.shape[0].mul(&vector);
    Ok(Inferred::many([Type::tensor(DType::U1, shape), Type::tensor(dtype, [count])]))
}

fn infer_sparse_blockwise(
    _: &ConstexprSparseBlockwiseShiftScale,
    cx: &InferCx<'_>,
) -> OpResult<Inferred> {
    let (mask, values) = sparse(cx, "data_mask", "nonzero_data")?;
    let dtype = check_blocks(cx, &mask.shape, values.dtype)?;
    let scaled = Type::tensor(dtype, values.shape.clone());
    Ok(Inferred::many([mask.clone().into(), scaled]))
}

fn infer_sparse_to_dense(op: &ConstexprSparseToDense, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let Some(shape) = &op.shape else {
        let (mask, values) = sparse(cx, "mask", "nonzero_data")?;
        return Ok(Inferred::tensor(values.dtype, mask.shape.clone()));
    };
    let values = cx.tensor("nonzero_data")?;
    number(values, "nonzero_data")?;
    if values.rank() != 1 {
        return Err(OpError::shape(format!("`nonzero_data` is {values}, a vector is needed")));
    }
    let (shape, count) = packed_shape(shape)?;
    check_packed(cx, "mask", count, 1)?;
    Ok(Inferred::tensor(values.dtype, shape))
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::ConstexprLutToDense;
    use crate::ops::testing::{infer_result, tensor};

    #[test]
    fn both_forms_of_a_lookup() {
        let run = |indices, lut, vector_axis, shape: Option<&[i64]>| {
            let op = ConstexprLutToDense { vector_axis, shape: shape.map(<[i64]>::to_vec) };
            infer_result(|b, v| op.build(b, v[0], v[1]), &[indices, lut])
        };
        let indices = tensor(DType::U4, [8.into(), 6.into()]);
        let lut = tensor(DType::F16, [4.into(), 1.into(), 16.into(), 2.into()]);
        let dense = tensor(DType::F16, [16.into(), 6.into()]);
        assert_eq!(run(indices.clone(), lut.clone(), Some(0), None), Ok(dense));
        assert!(run(indices, lut.clone(), None, None).is_err());
        assert!(run(tensor(DType::U4, [6.into(), 6.into()]), lut, Some(0), None).is_err());
        let lut = tensor(DType::F16, [64.into()]);
        let packed = |n: i64| tensor(DType::U8, [n.into()]);
        let dense = tensor(DType::F16, [3.into(), 3.into()]);
        assert_eq!(run(packed(7), lut.clone(), None, Some(&[3, 3])), Ok(dense));
        assert!(run(packed(6), lut.clone(), None, Some(&[3, 3])).is_err());
        assert!(run(packed(7), lut, None, Some(&[i64::MAX, 3])).is_err());
    }
}
