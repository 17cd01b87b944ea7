//! Ops that give their operand back, copies and conversions.

use mlc_tensor::DType;

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.alias", lower: same },
    Lowering { name: "aten.detach", lower: same },
    Lowering { name: "aten.clone", lower: copy_of },
    Lowering { name: "aten.lift_fresh_copy", lower: copy_of },
    Lowering { name: "aten.dropout", lower: dropout },
    Lowering { name: "aten.native_dropout", lower: native_dropout },
    Lowering { name: "aten.to", lower: to },
    Lowering { name: "aten._to_copy", lower: to_copy },
    Lowering { name: "aten.type_as", lower: type_as },
    Lowering { name: "aten.copy", lower: copy },
    Lowering { name: "prims.convert_element_type", lower: convert_element_type },
];

/// The operand itself, sharing its memory.
fn same(_: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    Ok(vec![Val::Tensor(call.tensor("self")?)])
}

fn copy_of(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["memory_format"]);
    let x = cx.read(call.tensor("self")?)?;
    cx.one(x)
}

/// Dropout in evaluation mode gives its operand; in training mode only a probability of 0 does.
fn dropout(_: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let input = call.tensor(if call.has("input") { "input" } else { "self" })?;
    let (p, train) = (call.float_or("p", 0.5)?, call.bool_or("train", true)?);
    if train && p != 0.0 {
        return Err(training("dropout"));
    }
    Ok(vec![Val::Tensor(input)])
}

/// Dropout that also gives the mask of what it kept: everything.
fn native_dropout(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let input = call.tensor("input")?;
    let (p, train) = (call.float_or("p", 0.5)?, call.bool_or("train", true)?);
    if train && p != 0.0 {
        return Err(training("dropout"));
    }
    let x = cx.read(input)?;
    let ones = cx.call_tensor(
        "aten.ones_like",
        &[("self", Val::Tensor(input)), ("dtype", Val::DType(DType::Bool))],
    )?;
    Ok(vec![cx.fresh(x), Val::Tensor(ones)])
}

/// The refusal of an op that acts differently in training mode.
pub(super) fn training(what: &str) -> LowerError {
    LowerError::argument(format!("{what} in training mode gives another result at each run"))
        .help("call `.eval()` on the module before exporting it")
}

/// `x` as `dtype`, sharing memory where nothing changes and `copy` is not asked for.
fn converted(cx: &mut Cx<'_>, x: TensorId, dtype: DType, copy: bool) -> LowerResult<Vec<Val>> {
    if cx.dtype(x)? == dtype && !copy {
        return Ok(vec![Val::Tensor(x)]);
    }
    let y = cx.read_as(x, dtype)?;
    cx.one(y)
}

fn to(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["non_blocking", "memory_format", "device", "layout", "pin_memory"]);
    let x = call.tensor("self")?;
    let copy = call.bool_or("copy", false)?;
    let dtype = match call.opt_tensor("other")? {
        Some(other) => cx.dtype(other)?,
        None => call.opt_dtype("dtype")?.unwrap_or(cx.dtype(x)?),
    };
    converted(cx, x, dtype, copy)
}

fn to_copy(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["non_blocking", "memory_format", "device", "layout", "pin_memory"]);
    let x = call.tensor("self")?;
    let dtype = call.opt_dtype("dtype")?.unwrap_or(cx.dtype(x)?);
    converted(cx, x, dtype, true)
}

fn type_as(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dtype = cx.dtype(call.tensor("other")?)?;
    converted(cx, call.tensor("self")?, dtype, false)
}

fn convert_element_type(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(if call.has("a") { "a" } else { "self" })?;
    let dtype = call.opt_dtype("dtype")?.unwrap_or(cx.dtype(x)?);
    converted(cx, x, dtype, true)
}

/// `src` broadcast to the shape and converted to the element type of `self`.
fn copy(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["non_blocking"]);
    let target = call.tensor("self")?;
    let x = cx.read_as(call.tensor("src")?, cx.dtype(target)?)?;
    let shape = cx.shape(target)?;
    let y = crate::lower::dims::expand(cx, x, &shape)?;
    cx.one(y)
}
