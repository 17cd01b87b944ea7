//! Constants and identity.

use mlc_tensor::DType;

use crate::consts::ConstId;
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult};

op! {
    /// A constant of the program.
    "const" = Const() { value: ConstId } + Pure => infer_const;

    /// `y = x`; of any type but a state.
    "identity" = Identity(x: One) {} + Pure => infer_identity;
}

fn infer_const(op: &Const, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let tensor = cx
        .consts()
        .try_get(op.value)
        .ok_or_else(|| OpError::attr(format!("{:?} is not in the program", op.value)))?;
    let shape: Vec<Dim> = tensor.shape().iter().map(|&d| Dim::from(d)).collect();
    if shape.contains(&Dim::Unknown) {
        return Err(OpError::shape("an extent exceeds 2^63"));
    }
    let small = tensor.count() <= Inferred::MAX_CONTENT && shape.len() <= 1;
    let whole = tensor.dtype().is_int() || tensor.dtype() == DType::Bool;
    let content = if small && whole {
        tensor.to_i64s().ok().map(|ints| ints.into_iter().map(Dim::Const).collect())
    } else {
        None
    };
    Ok(Inferred::tensor(tensor.dtype(), shape).with_content(content))
}

fn infer_identity(_: &Identity, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let ty = cx.ty("x")?;
    if matches!(ty, crate::types::Type::State(_)) {
        return Err(OpError::ty("a state cannot be copied; use `read_state`"));
    }
    Ok(Inferred::ty(ty.clone()).with_content(cx.content("x").map(<[Dim]>::to_vec)))
}
