//! States: tensors that are kept between calls.

use crate::infer::{InferCx, Inferred, OpError, OpResult, meet_shapes};
use crate::types::{TensorType, Type};

op! {
    /// The tensor that the state `input` holds now.
    "read_state" = ReadState(input: One) {} + ReadsState => infer_read_state;

    /// The state `input` holds `data` from now on.
    "write_state" = WriteState(input: One, data: One) -> 0 {} + WritesState => infer_write_state;
}

fn held<'a>(cx: &InferCx<'a>) -> OpResult<&'a TensorType> {
    match cx.ty("input")? {
        Type::State(held) => Ok(held),
        ty => Err(OpError::ty(format!("`input` is {ty}, a state is needed"))),
    }
}

fn infer_read_state(_: &ReadState, cx: &InferCx<'_>) -> OpResult<Inferred> {
    Ok(Inferred::ty(held(cx)?.clone()))
}

fn infer_write_state(_: &WriteState, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (held, data) = (held(cx)?, cx.tensor("data")?);
    if held.dtype != data.dtype {
        return Err(OpError::ty(format!("`data` is {data}, the state holds {held}")));
    }
    if meet_shapes(&held.shape, &data.shape).is_err() {
        return Err(OpError::shape(format!("`data` is {data}, the state holds {held}")));
    }
    Ok(Inferred::default())
}
