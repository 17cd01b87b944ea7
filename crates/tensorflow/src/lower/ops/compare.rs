//! Comparisons, logic and selection.

use mlc_ir::ops::{
    Abs, Equal, Greater, GreaterEqual, Less, LessEqual, LogicalAnd, LogicalNot, LogicalOr,
    LogicalXor, NotEqual, Sub,
};
use mlc_ir::{Dim, Op, Value};
use mlc_tensor::DType;

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "ApproximateEqual", lower: approximate_equal },
    Lowering { name: "Equal", lower: |cx, call| equality(cx, call, true) },
    Lowering { name: "Greater", lower: |cx, call| ordered(cx, call, Greater {}) },
    Lowering { name: "GreaterEqual", lower: |cx, call| ordered(cx, call, GreaterEqual {}) },
    Lowering { name: "IsFinite", lower: is_finite },
    Lowering { name: "IsInf", lower: is_inf },
    Lowering { name: "IsNan", lower: is_nan },
    Lowering { name: "Less", lower: |cx, call| ordered(cx, call, Less {}) },
    Lowering { name: "LessEqual", lower: |cx, call| ordered(cx, call, LessEqual {}) },
    Lowering { name: "LogicalAnd", lower: |cx, call| logical(cx, call, LogicalAnd {}) },
    Lowering { name: "LogicalNot", lower: logical_not },
    Lowering { name: "LogicalOr", lower: |cx, call| logical(cx, call, LogicalOr {}) },
    Lowering { name: "LogicalXor", lower: |cx, call| logical(cx, call, LogicalXor {}) },
    Lowering { name: "NotEqual", lower: |cx, call| equality(cx, call, false) },
    Lowering { name: "Select", lower: select },
    Lowering { name: "SelectV2", lower: select_v2 },
];

fn ordered(cx: &mut Cx<'_>, call: &Call<'_>, op: impl Into<Op>) -> LowerResult<Vec<Val>> {
    let z = cx.binary(op, call.tensor(0)?, call.tensor(1)?)?;
    cx.one(z)
}

fn equality(cx: &mut Cx<'_>, call: &Call<'_>, equal: bool) -> LowerResult<Vec<Val>> {
    if let (Val::Text(a), Val::Text(b)) = (call.input(0)?, call.input(1)?) {
        call.ignore(&["incompatible_shape_error"]);
        let same = a == b;
        let byte = vec![u8::from(same == equal)];
        let known = mlc_tensor::Tensor::from_bytes(DType::Bool, &[], byte)?;
        let known = cx.b.constant(known)?;
        return cx.one(known);
    }
    let (x, y) = (call.tensor(0)?, call.tensor(1)?);
    if !call.bool_or("incompatible_shape_error", true)? {
        // Shapes that do not broadcast are unequal as a whole.
        let (a, b) = (cx.shape(x)?, cx.shape(y)?);
        if mlc_ir::infer::broadcast(&a, &b).is_err() {
            let byte = vec![u8::from(!equal)];
            let known = mlc_tensor::Tensor::from_bytes(DType::Bool, &[], byte)?;
            let known = cx.b.constant(known)?;
            return cx.one(known);
        }
    }
    let z = equal_values(cx, x, y, equal)?;
    cx.one(z)
}

/// Whether elements are equal, or unequal; truth values too.
pub(super) fn equal_values(cx: &mut Cx<'_>, x: Value, y: Value, equal: bool) -> LowerResult<Value> {
    if cx.dtype(x)? == DType::Bool {
        let differ = cx.binary(LogicalXor {}, x, y)?;
        return if equal { cx.unary(LogicalNot {}, differ) } else { Ok(differ) };
    }
    if equal { cx.binary(Equal {}, x, y) } else { cx.binary(NotEqual {}, x, y) }
}

fn logical(cx: &mut Cx<'_>, call: &Call<'_>, op: impl Into<Op>) -> LowerResult<Vec<Val>> {
    let z = cx.binary(op, call.tensor(0)?, call.tensor(1)?)?;
    cx.one(z)
}

fn logical_not(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let z = cx.unary(LogicalNot {}, call.tensor(0)?)?;
    cx.one(z)
}

fn approximate_equal(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let gap = cx.binary(Sub {}, call.tensor(0)?, call.tensor(1)?)?;
    let gap = cx.unary(Abs {}, gap)?;
    let tolerance = call.float_or("tolerance", 1e-5)?;
    let tolerance = cx.scalar_like(gap, tolerance)?;
    let z = cx.binary(Less {}, gap, tolerance)?;
    cx.one(z)
}

fn is_nan(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let z = cx.binary(NotEqual {}, x, x)?;
    cx.one(z)
}

fn is_inf(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.unary(Abs {}, call.tensor(0)?)?;
    let infinite = cx.scalar_like(x, f64::INFINITY)?;
    let z = cx.binary(Equal {}, x, infinite)?;
    cx.one(z)
}

fn is_finite(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.unary(Abs {}, call.tensor(0)?)?;
    let infinite = cx.scalar_like(x, f64::INFINITY)?;
    let z = cx.binary(Less {}, x, infinite)?;
    cx.one(z)
}

/// `cond ? a : b`; a vector `cond` chooses whole rows.
fn select(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (cond, a, b) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let rank = cx.rank(a)?;
    let cond = if cx.rank(cond)? == 1 && rank > 1 {
        let mut shape = cx.shape(cond)?;
        shape.extend(vec![Dim::Const(1); rank - 1]);
        cx.reshape(cond, &shape)?
    } else {
        cond
    };
    let z = chosen(cx, cond, a, b)?;
    cx.one(z)
}

fn select_v2(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let z = chosen(cx, call.tensor(0)?, call.tensor(1)?, call.tensor(2)?)?;
    cx.one(z)
}

/// `cond ? a : b`, where the result may be larger than `a` and `b`.
fn chosen(cx: &mut Cx<'_>, cond: Value, a: Value, b: Value) -> LowerResult<Value> {
    if cx.rank(cond)? == 0
        && let Some([known]) = cx.ints(cond).as_deref()
    {
        let (one, other) = if *known != 0 { (a, b) } else { (b, a) };
        let shape = mlc_ir::infer::broadcast(&cx.shape(one)?, &cx.shape(other)?)?;
        if shape == cx.shape(one)? {
            return Ok(one);
        }
    }
    if cx.dtype(cond)? != DType::Bool {
        return Err(LowerError::invalid("the condition is not of truth values"));
    }
    let values = mlc_ir::infer::broadcast(&cx.shape(a)?, &cx.shape(b)?)?;
    let whole = mlc_ir::infer::broadcast(&values, &cx.shape(cond)?)?;
    let a = if whole != values && !whole.contains(&Dim::Unknown) {
        dims::expand(cx, a, &whole)?
    } else {
        a
    };
    cx.select(cond, a, b)
}
