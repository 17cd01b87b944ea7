//! Lists of tensors of one type.
//!
//! A list of a number of elements in its type has that length; any other may grow. Ops that change
//! a list give a new one.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal, meet_shapes};
use crate::types::{TensorType, Type};

op! {
    /// A list of `init_length` (1 when absent) elements of `elem_shape` (−1 for an extent that is
    /// not known) that have no value yet; it may grow if `dynamic_length`.
    "make_list" = MakeList(init_length: Opt) {
        dynamic_length: bool = true,
        elem_shape: Vec<i64>,
        dtype: DType = DType::F32,
    } + Pure => infer_make_list;

    /// The number of elements of `ls`.
    "list_length" = ListLength(ls: One) {} + Pure => infer_list_length;

    /// Element `index` of `ls`.
    "list_read" = ListRead(ls: One, index: One) {} + Pure => infer_list_read;

    /// `ls` with `value` for element `index`, grown to hold it if it may.
    "list_write" = ListWrite(ls: One, index: One, value: One) {} + Pure => infer_list_write;

    /// The elements of `ls` at `indices`, stacked along a new first axis.
    "list_gather" = ListGather(ls: One, indices: One) {} + Pure => infer_list_gather;

    /// `ls` with `value[i]` for element `indices[i]`, grown to hold them if it may.
    "list_scatter" = ListScatter(ls: One, indices: One, value: One) {} + Pure => infer_list_scatter;
}

fn list<'a>(cx: &InferCx<'a>) -> OpResult<(&'a TensorType, &'a Dim)> {
    match cx.ty("ls")? {
        Type::List { element, length } => Ok((element, length)),
        ty => Err(OpError::ty(format!("`ls` is {ty}, a list is needed"))),
    }
}

fn infer_make_list(op: &MakeList, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let length = match cx.value("init_length") {
        None => Dim::Const(1),
        Some(_) => {
            cx.int_scalar("init_length")?;
            cx.content("init_length").and_then(<[Dim]>::first).cloned().unwrap_or(Dim::Unknown)
        }
    };
    if op.elem_shape.iter().any(|&n| n < -1) {
        return Err(OpError::attr(format!("`elem_shape` is {:?}", op.elem_shape)));
    }
    let dim = |&n: &i64| if n == -1 { Dim::Unknown } else { Dim::Const(n) };
    let element = TensorType::new(op.dtype, op.elem_shape.iter().map(dim).collect::<Vec<_>>());
    let length = if op.dynamic_length { Dim::Unknown } else { length };
    Ok(Inferred::ty(Type::List { element, length }))
}

fn infer_list_length(_: &ListLength, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (_, length) = list(cx)?;
    Ok(Inferred::tensor(DType::I32, []).with_content(Some(vec![length.clone()])))
}

/// Checks indices that are known: not negative, and inside a list that cannot grow.
fn check_indices(cx: &InferCx<'_>, name: &str) -> OpResult<()> {
    let (_, length) = list(cx)?;
    let length = length.as_const().unwrap_or(i64::MAX);
    let known = cx.content(name).unwrap_or_default().iter().filter_map(Dim::as_const);
    match known.into_iter().find(|i| !(0..length).contains(i)) {
        Some(i) => Err(OpError::shape(format!("element {i} of {}", cx.ty("ls")?))),
        None => Ok(()),
    }
}

fn infer_list_read(_: &ListRead, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (element, _) = list(cx)?;
    cx.int_scalar("index")?;
    check_indices(cx, "index")?;
    Ok(Inferred::ty(element.clone()))
}

/// The type of the list with an element of `shape` in it.
fn written(cx: &InferCx<'_>, shape: &[Dim]) -> OpResult<Inferred> {
    let (element, length) = list(cx)?;
    let value = cx.tensor("value")?;
    if element.dtype != value.dtype {
        return Err(OpError::ty(format!("`value` is {value}, elements are {element}")));
    }
    let shape = meet_shapes(&element.shape, shape)
        .map_err(|_| OpError::shape(format!("`value` is {value}, elements are {element}")))?;
    let element = TensorType::new(element.dtype, shape);
    let length = length.as_const().map_or(Dim::Unknown, Dim::Const);
    Ok(Inferred::ty(Type::List { element, length }))
}

fn infer_list_write(_: &ListWrite, cx: &InferCx<'_>) -> OpResult<Inferred> {
    cx.int_scalar("index")?;
    check_indices(cx, "index")?;
    written(cx, &cx.tensor("value")?.shape)
}

fn infer_list_gather(_: &ListGather, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (element, _) = list(cx)?;
    let indices = cx.int_vector("indices", None)?;
    check_indices(cx, "indices")?;
    let shape = [&indices.shape[..], &element.shape].concat();
    Ok(Inferred::tensor(element.dtype, shape))
}

fn infer_list_scatter(_: &ListScatter, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let indices = cx.int_vector("indices", None)?;
    let value = cx.tensor("value")?;
    check_indices(cx, "indices")?;
    match value.shape.split_first() {
        Some((count, shape)) if may_equal(count, &indices.shape[0]) => written(cx, shape),
        _ => Err(OpError::shape(format!("`value` is {value} for indices {indices}"))),
    }
}
