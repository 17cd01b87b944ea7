//! Comparison and logic.

use mlc_ir::Op;
use mlc_ir::ops::{
    Abs, Equal, Greater, GreaterEqual, Less, LessEqual, LogicalAnd, LogicalNot, LogicalOr,
    LogicalXor, NotEqual,
};
use mlc_tensor::DType;

use super::arithmetic::{exclusive_or, logical};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.eq", lower: eq },
    Lowering { name: "aten.ne", lower: ne },
    Lowering { name: "aten.lt", lower: |cx, call| order(cx, call, Less {}) },
    Lowering { name: "aten.le", lower: |cx, call| order(cx, call, LessEqual {}) },
    Lowering { name: "aten.gt", lower: |cx, call| order(cx, call, Greater {}) },
    Lowering { name: "aten.ge", lower: |cx, call| order(cx, call, GreaterEqual {}) },
    Lowering { name: "aten.logical_and", lower: |cx, call| logical(cx, call, LogicalAnd {}) },
    Lowering { name: "aten.logical_or", lower: |cx, call| logical(cx, call, LogicalOr {}) },
    Lowering { name: "aten.logical_xor", lower: |cx, call| logical(cx, call, LogicalXor {}) },
    Lowering { name: "aten.logical_not", lower: logical_not },
    Lowering { name: "aten.bitwise_not", lower: bitwise_not },
    Lowering { name: "aten.isnan", lower: isnan },
    Lowering { name: "aten.isinf", lower: isinf },
    Lowering { name: "aten.isfinite", lower: isfinite },
];

fn order(cx: &mut Cx<'_>, call: &Call<'_>, op: impl Into<Op>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("other")?);
    let mut dtype = cx.promoted(&[&a, &b])?;
    if dtype == DType::Bool {
        dtype = DType::I32;
    }
    let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
    let z = cx.binary(op, x, y)?;
    cx.one(z)
}

/// Equality; of truth values by logic.
fn equality(cx: &mut Cx<'_>, call: &Call<'_>, equal: bool) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("other")?);
    let dtype = cx.promoted(&[&a, &b])?;
    let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
    let z = match (dtype, equal) {
        (DType::Bool, true) => {
            let differ = exclusive_or(cx, x, y)?;
            cx.unary(LogicalNot {}, differ)?
        }
        (DType::Bool, false) => exclusive_or(cx, x, y)?,
        (_, true) => cx.binary(Equal {}, x, y)?,
        (_, false) => cx.binary(NotEqual {}, x, y)?,
    };
    cx.one(z)
}

fn eq(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    equality(cx, call, true)
}

fn ne(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    equality(cx, call, false)
}

fn logical_not(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read_as(call.tensor("self")?, DType::Bool)?;
    let y = cx.unary(LogicalNot {}, x)?;
    cx.one(y)
}

/// `¬x` of truth values, `−x − 1` of signed integers, `max − x` of unsigned ones.
fn bitwise_not(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let dtype = cx.dtype(x)?;
    let x = cx.read(x)?;
    let y = match dtype.int_range() {
        Some(_) if dtype == DType::Bool => cx.unary(LogicalNot {}, x)?,
        Some((low, high)) => {
            let top = if low < 0 { -1 } else { high };
            let top = cx.number(&crate::lower::value::Scalar::Int(top.into()), dtype)?;
            cx.binary(mlc_ir::ops::Sub {}, top, x)?
        }
        None => return Err(LowerError::dtype(format!("bits of {dtype}"))),
    };
    cx.one(y)
}

fn isnan(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let y = if cx.b.tensor(x)?.dtype == DType::Bool {
        exclusive_or(cx, x, x)?
    } else {
        cx.binary(NotEqual {}, x, x)?
    };
    cx.one(y)
}

fn isinf(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let dtype = cx.b.tensor(x)?.dtype;
    let y = if dtype.is_float() {
        let x = cx.unary(Abs {}, x)?;
        let infinity = infinity(cx, dtype)?;
        cx.binary(Equal {}, x, infinity)?
    } else if dtype == DType::Bool {
        exclusive_or(cx, x, x)?
    } else {
        cx.binary(NotEqual {}, x, x)?
    };
    cx.one(y)
}

fn isfinite(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let dtype = cx.b.tensor(x)?.dtype;
    let y = if dtype.is_float() {
        let x = cx.unary(Abs {}, x)?;
        let infinity = infinity(cx, dtype)?;
        cx.binary(Less {}, x, infinity)?
    } else if dtype == DType::Bool {
        let never = exclusive_or(cx, x, x)?;
        cx.unary(LogicalNot {}, never)?
    } else {
        cx.binary(Equal {}, x, x)?
    };
    cx.one(y)
}

fn infinity(cx: &mut Cx<'_>, dtype: DType) -> LowerResult<mlc_ir::Value> {
    Ok(cx.b.scalar(dtype, f64::INFINITY)?)
}
