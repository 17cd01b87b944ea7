//! Stored weights in the other form: packed bytes with a `shape` before iOS 18, small elements from
//! there on; affine instead of blockwise scales where one axis has them.

use mlc_ir::ops::{
    ConstexprAffineDequantize, ConstexprBlockwiseShiftScale, ConstexprLutToDense,
    ConstexprSparseToDense, Op,
};
use mlc_ir::{Builder, Node, Value};
use mlc_pass::Result;
use mlc_target::Opset;
use mlc_tensor::{DType, Tensor};

/// Entries of tables that both forms have, and the type of their indices.
const TABLES: [(u64, DType); 5] =
    [(2, DType::U1), (4, DType::U2), (16, DType::U4), (64, DType::U6), (256, DType::U8)];

/// The op in the form that `opset` has; none if there is no such form, or an operand is no constant.
///
/// # Errors
/// Bytes of a constant that cannot be made.
pub(crate) fn stored(b: &mut Builder<'_>, node: Node, opset: Opset) -> Result<Option<Value>> {
    let data = &b.function().nodes[node];
    let op = data.op.clone();
    let constants: Option<Vec<Tensor>> =
        data.operands.all().iter().map(|&value| b.constant_of(value).cloned()).collect();
    let Some(constants) = constants else { return Ok(None) };
    let is_new = opset >= Opset::Ios18;
    match (op, &constants[..]) {
        (Op::ConstexprLutToDense(op), [indices, table]) => match &op.shape {
            None if !is_new => packed_table(b, (indices, table)),
            Some(shape) if is_new => small_table(b, shape, (indices, table)),
            _ => Ok(None),
        },
        (Op::ConstexprSparseToDense(op), [values, mask]) => match &op.shape {
            None if !is_new => {
                let shape = Some(signed(mask.shape()));
                let mask = mask.reinterpret(DType::U8, &[mask.byte_len()])?;
                let (values, mask) = (b.constant(values.clone())?, b.constant(mask)?);
                Ok(Some(ConstexprSparseToDense { shape }.build(b, values, mask)?))
            }
            Some(shape) if is_new => {
                let mask = mask.reinterpret(DType::U1, &unsigned(shape))?;
                let (values, mask) = (b.constant(values.clone())?, b.constant(mask)?);
                Ok(Some(ConstexprSparseToDense { shape: None }.build(b, values, mask)?))
            }
            _ => Ok(None),
        },
        (Op::ConstexprBlockwiseShiftScale(ConstexprBlockwiseShiftScale {}), [data, rest @ ..])
            if !is_new =>
        {
            affine(b, data, rest)
        }
        _ => Ok(None),
    }
}

fn signed(shape: &[u64]) -> Vec<i64> {
    shape.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect()
}

fn unsigned(shape: &[i64]) -> Vec<u64> {
    shape.iter().map(|&d| u64::try_from(d).unwrap_or(0)).collect()
}

fn packed_table(
    b: &mut Builder<'_>,
    (indices, table): (&Tensor, &Tensor),
) -> Result<Option<Value>> {
    let entries = table.count() as u64;
    let is_flat = table.shape().iter().rev().nth(1) == Some(&entries);
    if !is_flat || !TABLES.contains(&(entries, indices.dtype())) {
        return Ok(None);
    }
    let shape = Some(signed(indices.shape()));
    let bytes = indices.reinterpret(DType::U8, &[indices.byte_len()])?;
    let (bytes, table) = (b.constant(bytes)?, b.constant(table.reshape(&[entries])?)?);
    Ok(Some(ConstexprLutToDense { shape, vector_axis: None }.build(b, bytes, table)?))
}

fn small_table(
    b: &mut Builder<'_>,
    shape: &[i64],
    (bytes, table): (&Tensor, &Tensor),
) -> Result<Option<Value>> {
    let entries = table.count() as u64;
    let Some((_, dtype)) = TABLES.into_iter().find(|(n, _)| *n == entries) else {
        return Ok(None);
    };
    let indices = bytes.reinterpret(dtype, &unsigned(shape))?;
    let mut groups = vec![1; shape.len()];
    groups.extend([entries, 1]);
    let (indices, table) = (b.constant(indices)?, b.constant(table.reshape(&groups)?)?);
    Ok(Some(ConstexprLutToDense { shape: None, vector_axis: None }.build(b, indices, table)?))
}

/// Scales along one axis or for the whole tensor.
fn affine(b: &mut Builder<'_>, data: &Tensor, rest: &[Tensor]) -> Result<Option<Value>> {
    let Some(scale) = rest.first() else { return Ok(None) };
    let offset = match rest.get(1) {
        Some(offset) if offset.dtype() != data.dtype() => return Ok(None),
        offset => offset,
    };
    let mut along =
        scale.shape().iter().zip(data.shape()).enumerate().filter(|(_, (s, _))| **s > 1);
    let (axis, extent) = match (along.next(), along.next()) {
        (None, _) => (0, None),
        (Some((axis, (s, d))), None) if s == d => (axis, Some(*s)),
        _ => return Ok(None),
    };
    let is_byte = matches!(data.dtype(), DType::I8 | DType::U8);
    if !is_byte || data.shape().is_empty() {
        return Ok(None);
    }
    let shape: Vec<u64> = extent.into_iter().collect();
    let zero = match offset {
        Some(offset) => offset.reshape(&shape)?,
        None => Tensor::splat(data.dtype(), &shape, &[0])?,
    };
    let (data, zero) = (b.constant(data.clone())?, b.constant(zero)?);
    let scale = b.constant(scale.reshape(&shape)?)?;
    let op = ConstexprAffineDequantize { axis: i64::try_from(axis).unwrap_or(0) };
    Ok(Some(op.build(b, data, zero, scale)?))
}
