//! Order along an axis.
//!
//! NaN counts as greater than every number. Equal elements keep their order.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, normalize_axis};
use crate::types::{TensorType, Type};

op! {
    /// The `k` (1 when absent, all for −1) greatest elements along `axis` in descending order, or the
    /// least in ascending order when `ascending`; then their positions as `output_indices_dtype`
    /// unless `return_indices` is false. Without `sort` a runtime may order them otherwise.
    "topk" = Topk(x: One, k: Opt) -> inferred {
        axis: i64 = -1,
        ascending: bool = false,
        sort: bool = true,
        return_indices: bool = true,
        output_indices_dtype: DType = DType::I32,
    } + Pure => infer_topk;

    /// The positions of the elements along `axis` in descending order; in ascending order when
    /// `ascending`.
    "argsort" = Argsort(x: One) { axis: i64 = -1, ascending: bool = false } + Pure => infer_argsort;
}

fn numbers<'a>(cx: &InferCx<'a>) -> OpResult<&'a TensorType> {
    let x = cx.tensor("x")?;
    if x.dtype.is_float() || x.dtype.is_int() {
        Ok(x)
    } else {
        Err(OpError::ty(format!("`x` is {x}, numbers are needed")))
    }
}

fn infer_topk(op: &Topk, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = numbers(cx)?;
    let axis = normalize_axis(op.axis, x.rank())?;
    let count = match cx.value("k") {
        None => Dim::Const(1),
        Some(_) => {
            cx.int_scalar("k")?;
            cx.content("k").and_then(<[Dim]>::first).cloned().unwrap_or(Dim::Unknown)
        }
    };
    let extent = &x.shape[axis];
    let mut shape = x.shape.clone();
    shape[axis] = match (count.as_const(), extent.as_const()) {
        (Some(-1), _) => extent.clone(),
        (Some(k), extent) if k < 0 || extent.is_some_and(|n| k > n) => {
            return Err(OpError::shape(format!("`k` is {k} on axis {axis} of {x}")));
        }
        _ => count,
    };
    let mut types = vec![Type::tensor(x.dtype, shape.clone())];
    if op.return_indices {
        if !op.output_indices_dtype.is_int() {
            let message = format!("`output_indices_dtype` is {}", op.output_indices_dtype);
            return Err(OpError::attr(message));
        }
        types.push(Type::tensor(op.output_indices_dtype, shape));
    }
    Ok(Inferred::many(types))
}

fn infer_argsort(op: &Argsort, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = numbers(cx)?;
    normalize_axis(op.axis, x.rank())?;
    Ok(Inferred::ty(x.with_dtype(DType::I32)))
}
