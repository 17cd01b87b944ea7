//! Constants that are made from others when they are written.

use mlc_ir::infer::normalize_axis;
use mlc_ir::{Op, Type};
use mlc_tensor::{DTypeKind, Tensor, ZipOp};

/// Elements from which on arithmetic is left to the time of writing.
const LARGE: usize = 1 << 14;

/// The result of `op` on constants as a view, conversion or join of them, or arithmetic on large ones,
/// that reads no element;
/// `slots` are its operands slot by slot, `ty` the type of its only result.
#[must_use]
pub fn lazy(op: &Op, slots: &[Vec<Tensor>], ty: &Type) -> Option<Tensor> {
    let ty = ty.as_tensor()?;
    let shape = ty.static_shape()?;
    let x = slots.first()?.first()?;
    let made = match op {
        Op::Reshape(_)
        | Op::ReshapeLike(_)
        | Op::Flatten2d(_)
        | Op::ExpandDims(_)
        | Op::Squeeze(_) => x.reshape(&shape),
        Op::Transpose(op) => {
            let rank = x.shape().len();
            let perm = op
                .perm
                .iter()
                .map(|&p| normalize_axis(p, rank).ok())
                .collect::<Option<Vec<_>>>()?;
            x.transpose(&perm)
        }
        // Integers that do not fit are left to the evaluator.
        Op::Cast(op) if op.dtype.is_float() && x.dtype().kind() != DTypeKind::Complex => {
            x.cast(op.dtype)
        }
        Op::Concat(op) if !op.interleave && !shape.is_empty() => {
            if slots[0].iter().any(|part| part.shape().is_empty()) {
                return None;
            }
            let axis = normalize_axis(op.axis, shape.len()).ok()?;
            Tensor::concat(axis, &slots[0])
        }
        Op::SliceBySize(_) => {
            let begin = slots.get(1)?.first()?.to_i64s().ok()?;
            block(x, &begin, &shape)
        }
        Op::Add(_) => arithmetic(ZipOp::Add, slots)?,
        Op::Sub(_) => arithmetic(ZipOp::Sub, slots)?,
        Op::Mul(_) => arithmetic(ZipOp::Mul, slots)?,
        Op::RealDiv(_) => arithmetic(ZipOp::Div, slots)?,
        _ => return None,
    };
    made.ok().filter(|tensor| tensor.dtype() == ty.dtype && tensor.shape() == shape)
}

/// Arithmetic of which an operand is large.
fn arithmetic(op: ZipOp, slots: &[Vec<Tensor>]) -> Option<Result<Tensor, mlc_tensor::TensorError>> {
    let (x, y) = (slots.first()?.first()?, slots.get(1)?.first()?);
    (x.count().max(y.count()) > LARGE).then(|| Tensor::zip(op, x, y))
}

/// The elements of `x` from `begin` on, `shape` of them.
fn block(x: &Tensor, begin: &[i64], shape: &[u64]) -> Result<Tensor, mlc_tensor::TensorError> {
    let mut strides = vec![1u64; x.shape().len()];
    for i in (1..strides.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(x.shape()[i]);
    }
    let mut offset = 0u64;
    for ((&b, &extent), &stride) in begin.iter().zip(x.shape()).zip(&strides) {
        let from_front = if b < 0 { b.saturating_add_unsigned(extent) } else { b };
        let from_front = u64::try_from(from_front).unwrap_or(u64::MAX);
        offset = offset.saturating_add(from_front.saturating_mul(stride));
    }
    x.strided(shape, &strides, offset)
}
