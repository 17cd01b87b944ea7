//! Elementwise arithmetic of two operands, with type promotion.

use mlc_ir::ops::{
    Add, Clip, Equal, FloorDiv, LogicalAnd, LogicalOr, LogicalXor, Maximum, Minimum, Mod, Mul, Pow,
    RealDiv, Select, Sqrt, Square, Sub,
};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::{DType, DTypeKind};

use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, Scalar, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.add", lower: add },
    Lowering { name: "aten.sub", lower: sub },
    Lowering { name: "aten.rsub", lower: rsub },
    Lowering { name: "aten.mul", lower: mul },
    Lowering { name: "aten.div", lower: div },
    Lowering { name: "aten.floor_divide", lower: floor_divide },
    Lowering { name: "aten.remainder", lower: remainder },
    Lowering { name: "aten.fmod", lower: fmod },
    Lowering { name: "aten.pow", lower: pow },
    Lowering { name: "aten.square", lower: square },
    Lowering { name: "aten.maximum", lower: maximum },
    Lowering { name: "aten.minimum", lower: minimum },
    Lowering { name: "aten.fmax", lower: fmax },
    Lowering { name: "aten.fmin", lower: fmin },
    Lowering { name: "aten.clamp", lower: clamp },
    Lowering { name: "aten.clamp_min", lower: clamp },
    Lowering { name: "aten.clamp_max", lower: clamp },
    Lowering { name: "aten.addcmul", lower: addcmul },
    Lowering { name: "aten.addcdiv", lower: addcdiv },
    Lowering { name: "aten.lerp", lower: lerp },
    Lowering { name: "aten.diff", lower: diff },
    Lowering { name: "aten.where", lower: where_ },
    Lowering { name: "aten.masked_fill", lower: masked_fill },
];

/// Both operands in the element type they are promoted to.
fn promoted(cx: &mut Cx<'_>, a: &Operand, b: &Operand) -> LowerResult<(DType, Value, Value)> {
    let dtype = cx.promoted(&[a, b])?;
    Ok((dtype, cx.operand(a, dtype)?, cx.operand(b, dtype)?))
}

fn operands(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<(DType, Value, Value)> {
    let (a, b) = (call.operand("self")?, call.operand("other")?);
    promoted(cx, &a, &b)
}

/// `alpha · y`; nothing for an `alpha` of 1.
fn scaled(cx: &mut Cx<'_>, y: Value, alpha: Option<Scalar>, dtype: DType) -> LowerResult<Value> {
    match alpha {
        None => Ok(y),
        Some(alpha) if alpha.as_f64() == Some(1.0) => Ok(y),
        Some(alpha) => {
            if dtype.is_int() && matches!(alpha, Scalar::Float(_) | Scalar::Symbolic(_)) {
                return Err(LowerError::invalid("`alpha` is a float and the operands are not"));
            }
            let alpha = cx.number(&alpha, dtype)?;
            cx.binary(Mul {}, y, alpha)
        }
    }
}

fn add(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dtype, x, y) = operands(cx, call)?;
    let alpha = call.opt_scalar("alpha")?;
    if dtype == DType::Bool {
        if alpha.is_some_and(|a| a.as_f64() == Some(0.0)) {
            return Err(LowerError::argument("`alpha` is 0 for truth values"));
        }
        let z = cx.binary(LogicalOr {}, x, y)?;
        return cx.one(z);
    }
    let y = scaled(cx, y, alpha, dtype)?;
    let z = cx.binary(Add {}, x, y)?;
    cx.one(z)
}

fn sub(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dtype, x, y) = operands(cx, call)?;
    let y = scaled(cx, y, call.opt_scalar("alpha")?, dtype)?;
    let z = cx.binary(Sub {}, x, y)?;
    cx.one(z)
}

fn rsub(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dtype, x, y) = operands(cx, call)?;
    let x = scaled(cx, x, call.opt_scalar("alpha")?, dtype)?;
    let z = cx.binary(Sub {}, y, x)?;
    cx.one(z)
}

fn mul(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dtype, x, y) = operands(cx, call)?;
    let z = if dtype == DType::Bool {
        cx.binary(LogicalAnd {}, x, y)?
    } else {
        cx.binary(Mul {}, x, y)?
    };
    cx.one(z)
}

/// The float type that division of integers gives.
fn at_least_float(dtype: DType) -> DType {
    match dtype.kind() {
        DTypeKind::Bool | DTypeKind::Int => DType::F32,
        _ => dtype,
    }
}

fn div(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("other")?);
    let dtype = cx.promoted(&[&a, &b])?;
    let z = match call.opt_str("rounding_mode")? {
        None => {
            let dtype = at_least_float(dtype);
            let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
            cx.binary(RealDiv {}, x, y)?
        }
        Some("floor") => {
            let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
            cx.binary(FloorDiv {}, x, y)?
        }
        Some("trunc") => {
            let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
            truncated_quotient(cx, x, y, dtype)?
        }
        Some(other) => {
            return Err(LowerError::argument(format!("`rounding_mode` is `{other}`")));
        }
    };
    cx.one(z)
}

/// `trunc(x / y)`: of integers, `real_div` truncates by itself.
fn truncated_quotient(cx: &mut Cx<'_>, x: Value, y: Value, dtype: DType) -> LowerResult<Value> {
    let q = cx.binary(RealDiv {}, x, y)?;
    if dtype.is_float() { super::unary::trunc_value(cx, q) } else { Ok(q) }
}

fn floor_divide(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (_, x, y) = operands(cx, call)?;
    let z = cx.binary(FloorDiv {}, x, y)?;
    cx.one(z)
}

fn remainder(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (_, x, y) = operands(cx, call)?;
    let z = cx.binary(Mod {}, x, y)?;
    cx.one(z)
}

/// `x − trunc(x / y) · y`: the remainder with the sign of `x`. It is the remainder of the absolute
/// values, which no rounding of a quotient disturbs.
fn fmod(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dtype, x, y) = operands(cx, call)?;
    let (ax, ay) = (cx.unary(mlc_ir::ops::Abs {}, x)?, cx.unary(mlc_ir::ops::Abs {}, y)?);
    let r = cx.binary(Mod {}, ax, ay)?;
    let zero = cx.b.scalar(dtype, 0.0)?;
    let negative = cx.binary(mlc_ir::ops::Less {}, x, zero)?;
    let minus = cx.binary(Sub {}, zero, r)?;
    let z = Select {}.build(&mut cx.b, negative, minus, r)?;
    cx.one(z)
}

fn pow(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("exponent")?);
    let dtype = cx.promoted(&[&a, &b])?;
    if let (Operand::Scalar(exponent), true) = (&b, dtype.is_float()) {
        let x = cx.operand(&a, dtype)?;
        let special = match exponent.as_f64() {
            Some(1.0) => Some(x),
            Some(2.0) => Some(cx.unary(Square {}, x)?),
            Some(0.5) => Some(cx.unary(Sqrt {}, x)?),
            _ => None,
        };
        if let Some(z) = special {
            return cx.one(z);
        }
    }
    if dtype == DType::Bool {
        return Err(LowerError::dtype("a power of truth values"));
    }
    let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
    let z = cx.binary(Pow {}, x, y)?;
    cx.one(z)
}

fn square(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let x = match cx.dtype(x)? {
        DType::Bool => cx.read_as(x, DType::I64)?,
        _ => cx.read(x)?,
    };
    let z = cx.unary(Square {}, x)?;
    cx.one(z)
}

fn extremum(cx: &mut Cx<'_>, call: &Call<'_>, greatest: bool) -> LowerResult<Vec<Val>> {
    let (dtype, x, y) = operands(cx, call)?;
    let z = match (greatest, dtype) {
        (true, DType::Bool) => cx.binary(LogicalOr {}, x, y)?,
        (false, DType::Bool) => cx.binary(LogicalAnd {}, x, y)?,
        (true, _) => cx.binary(Maximum {}, x, y)?,
        (false, _) => cx.binary(Minimum {}, x, y)?,
    };
    cx.one(z)
}

fn maximum(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    extremum(cx, call, true)
}

fn minimum(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    extremum(cx, call, false)
}

/// The extremum that prefers a number to NaN.
fn number_extremum(cx: &mut Cx<'_>, call: &Call<'_>, greatest: bool) -> LowerResult<Vec<Val>> {
    let (dtype, x, y) = operands(cx, call)?;
    if !dtype.is_float() {
        return extremum(cx, call, greatest);
    }
    let z = if greatest { cx.binary(Maximum {}, x, y)? } else { cx.binary(Minimum {}, x, y)? };
    let x_is_number = cx.binary(Equal {}, x, x)?;
    let y_is_number = cx.binary(Equal {}, y, y)?;
    let z = Select {}.build(&mut cx.b, y_is_number, z, x)?;
    let z = Select {}.build(&mut cx.b, x_is_number, z, y)?;
    cx.one(z)
}

fn fmax(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    number_extremum(cx, call, true)
}

fn fmin(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    number_extremum(cx, call, false)
}

/// `min(max(x, min), max)`, either bound a tensor, a number or absent.
fn clamp(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.operand("self")?;
    let bound = |name| if call.has(name) { call.operand(name).map(Some) } else { Ok(None) };
    let (low, high) = (bound("min")?, bound("max")?);
    let all: Vec<&Operand> =
        [Some(&x), low.as_ref(), high.as_ref()].into_iter().flatten().collect();
    let dtype = cx.promoted(&all)?;
    if dtype == DType::Bool {
        return Err(LowerError::dtype("bounds for truth values"));
    }
    let mut y = cx.operand(&x, dtype)?;
    if let (Some(Operand::Scalar(low)), Some(Operand::Scalar(high)), true) =
        (&low, &high, dtype.is_float())
        && let (Some(low), Some(high)) = (low.as_f64(), high.as_f64())
        && low < high
    {
        y = cx.unary(Clip { alpha: F64(low), beta: F64(high) }, y)?;
        return cx.one(y);
    }
    if let Some(low) = low {
        let low = cx.operand(&low, dtype)?;
        y = cx.binary(Maximum {}, y, low)?;
    }
    if let Some(high) = high {
        let high = cx.operand(&high, dtype)?;
        y = cx.binary(Minimum {}, y, high)?;
    }
    cx.one(y)
}

fn three(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<(DType, Value, Value, Value)> {
    let all = [call.operand("self")?, call.operand("tensor1")?, call.operand("tensor2")?];
    let dtype = cx.promoted(&[&all[0], &all[1], &all[2]])?;
    let mut values = Vec::with_capacity(3);
    for operand in &all {
        values.push(cx.operand(operand, dtype)?);
    }
    Ok((dtype, values[0], values[1], values[2]))
}

/// `self + value · tensor1 · tensor2`
fn addcmul(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dtype, x, a, b) = three(cx, call)?;
    let product = cx.binary(Mul {}, a, b)?;
    let product = scaled(cx, product, call.opt_scalar("value")?, dtype)?;
    let z = cx.binary(Add {}, x, product)?;
    cx.one(z)
}

/// `self + value · tensor1 / tensor2`
fn addcdiv(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dtype, x, a, b) = three(cx, call)?;
    if !dtype.is_float() {
        return Err(LowerError::dtype("integer division in `addcdiv`"));
    }
    let quotient = cx.binary(RealDiv {}, a, b)?;
    let quotient = scaled(cx, quotient, call.opt_scalar("value")?, dtype)?;
    let z = cx.binary(Add {}, x, quotient)?;
    cx.one(z)
}

/// `self + weight · (end − self)`
fn lerp(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b, w) = (call.operand("self")?, call.operand("end")?, call.operand("weight")?);
    let dtype = cx.promoted(&[&a, &b])?;
    let (x, y, w) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?, cx.operand(&w, dtype)?);
    let gap = cx.binary(Sub {}, y, x)?;
    let step = cx.binary(Mul {}, w, gap)?;
    let z = cx.binary(Add {}, x, step)?;
    cx.one(z)
}

/// Differences of neighbours along an axis, `n` times; of truth values, whether they differ.
fn diff(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (rank, dtype) = (cx.rank(x)?, cx.dtype(x)?);
    let axis = super::axes::axis_arg(call, "dim", -1, rank)?;
    let n = call.int_or("n", 1)?;
    if rank == 0 || !(0..=1024).contains(&n) {
        return Err(LowerError::argument(format!("differences {n} times on a rank of {rank}")));
    }
    let mut parts = vec![cx.read(x)?];
    if let Some(before) = call.opt_tensor("prepend")? {
        parts.insert(0, cx.read_as(before, dtype)?);
    }
    if let Some(after) = call.opt_tensor("append")? {
        parts.push(cx.read_as(after, dtype)?);
    }
    let mut y = super::join::concat(cx, parts, axis)?;
    for _ in 0..n {
        let extent = cx.b.tensor(y)?.shape[axis].clone();
        let (zero, one) = (Dim::Const(0), Dim::Const(1));
        let next = alias::slice(cx, y, axis, (&one, &extent, 1))?;
        let own = alias::slice(cx, y, axis, (&zero, &extent.sub(&one), 1))?;
        y = match dtype {
            DType::Bool => exclusive_or(cx, next, own)?,
            _ => cx.binary(Sub {}, next, own)?,
        };
    }
    cx.one(y)
}

/// `condition ? self : other`; the places of what is true where there are no branches.
fn where_(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    if !call.has("self") {
        return super::index::nonzero_numpy(cx, call);
    }
    let condition = cx.read_as(call.tensor("condition")?, DType::Bool)?;
    let (a, b) = (call.operand("self")?, call.operand("other")?);
    let (_, x, y) = promoted(cx, &a, &b)?;
    let z = Select {}.build(&mut cx.b, condition, x, y)?;
    cx.one(z)
}

/// `mask ? value : self`
fn masked_fill(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let dtype = cx.dtype(x)?;
    let mask = cx.read_as(call.tensor("mask")?, DType::Bool)?;
    let fill = call.operand("value")?;
    let (x, fill) = (cx.read(x)?, cx.operand(&fill, dtype)?);
    let z = Select {}.build(&mut cx.b, mask, fill, x)?;
    cx.one(z)
}

/// Logical combination of operands of any type; what is not 0 is true.
pub(super) fn logical(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    op: impl Into<mlc_ir::Op>,
) -> LowerResult<Vec<Val>> {
    let x = cx.read_as(call.tensor("self")?, DType::Bool)?;
    let y = cx.read_as(call.tensor("other")?, DType::Bool)?;
    let z = cx.binary(op, x, y)?;
    cx.one(z)
}

/// `x ⊕ y` of truth values.
pub(super) fn exclusive_or(cx: &mut Cx<'_>, x: Value, y: Value) -> LowerResult<Value> {
    cx.binary(LogicalXor {}, x, y)
}
