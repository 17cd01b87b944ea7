//! Elementwise arithmetic, comparison, logic and conversion. Binary ops broadcast by NumPy's rule.

use mlc_tensor::DType;

use crate::attr::F64;
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, broadcast};

op! {
    /// `|x|`
    "abs" = Abs(x: One) {} + Pure + Elementwise + Idempotent => infer_number;
    /// `arccos x`
    "acos" = Acos(x: One) {} + Pure + Elementwise => infer_float;
    /// `arcsin x`
    "asin" = Asin(x: One) {} + Pure + Elementwise => infer_float;
    /// `arctan x`
    "atan" = Atan(x: One) {} + Pure + Elementwise => infer_float;
    /// `artanh x`
    "atanh" = Atanh(x: One) {} + Pure + Elementwise => infer_float;
    /// `⌈x⌉`
    "ceil" = Ceil(x: One) {} + Pure + Elementwise + Idempotent => infer_float;
    /// `cos x`
    "cos" = Cos(x: One) {} + Pure + Elementwise => infer_float;
    /// `cosh x`
    "cosh" = Cosh(x: One) {} + Pure + Elementwise => infer_float;
    /// The error function: `2/√π ∫₀ˣ e^(−t²) dt`
    "erf" = Erf(x: One) {} + Pure + Elementwise => infer_float;
    /// `eˣ`
    "exp" = Exp(x: One) {} + Pure + Elementwise => infer_float;
    /// `2ˣ`
    "exp2" = Exp2(x: One) {} + Pure + Elementwise => infer_number;
    /// `⌊x⌋`
    "floor" = Floor(x: One) {} + Pure + Elementwise + Idempotent => infer_float;
    /// The nearest integer, halves to even.
    "round" = Round(x: One) {} + Pure + Elementwise + Idempotent => infer_float;
    /// −1, 0 or 1.
    "sign" = Sign(x: One) {} + Pure + Elementwise + Idempotent => infer_number;
    /// `sin x`
    "sin" = Sin(x: One) {} + Pure + Elementwise => infer_float;
    /// `sinh x`
    "sinh" = Sinh(x: One) {} + Pure + Elementwise => infer_float;
    /// `√x`
    "sqrt" = Sqrt(x: One) {} + Pure + Elementwise => infer_float;
    /// `x²`
    "square" = Square(x: One) {} + Pure + Elementwise => infer_number;
    /// `tan x`
    "tan" = Tan(x: One) {} + Pure + Elementwise => infer_float;
    /// `tanh x`
    "tanh" = Tanh(x: One) {} + Pure + Elementwise => infer_float;
    /// `1 / (x + epsilon)`
    "inverse" = Inverse(x: One) { epsilon: F64 = F64(1e-4) } + Pure + Elementwise => infer_float;
    /// `ln(x + epsilon)`
    "log" = Log(x: One) { epsilon: F64 = F64(1e-45) } + Pure + Elementwise => infer_float;
    /// `1 / √(x + epsilon)`
    "rsqrt" = Rsqrt(x: One) { epsilon: F64 = F64(1e-12) } + Pure + Elementwise => infer_float;
    /// `min(max(x, alpha), beta)`
    "clip" = Clip(x: One) { alpha: F64, beta: F64 } + Pure + Elementwise + Idempotent => infer_float;
    /// `max(x, alpha)`
    "threshold" = Threshold(x: One) { alpha: F64 } + Pure + Elementwise + Idempotent => infer_number;
    /// `¬x`
    "logical_not" = LogicalNot(x: One) {} + Pure + Elementwise => infer_logical_not;
    /// `x` converted: floats truncate toward zero to integers, numbers that are not zero are true.
    "cast" = Cast(x: One) { dtype: DType } + Pure + Elementwise => infer_cast;

    /// `x + y`
    "add" = Add(x: One, y: One) {} + Pure + Elementwise + Commutative => infer_add;
    /// `x − y`
    "sub" = Sub(x: One, y: One) {} + Pure + Elementwise => infer_sub;
    /// `x · y`
    "mul" = Mul(x: One, y: One) {} + Pure + Elementwise + Commutative => infer_mul;
    /// `x / y`; of integers too, the quotient truncated toward zero.
    "real_div" = RealDiv(x: One, y: One) {} + Pure + Elementwise => infer_arithmetic;
    /// `⌊x / y⌋`
    "floor_div" = FloorDiv(x: One, y: One) {} + Pure + Elementwise => infer_floor_div;
    /// `x − ⌊x / y⌋ · y`, with the sign of `y`
    "mod" = Mod(x: One, y: One) {} + Pure + Elementwise => infer_mod;
    /// `xʸ`
    "pow" = Pow(x: One, y: One) {} + Pure + Elementwise => infer_arithmetic;
    /// The greater of `x` and `y`.
    "maximum" = Maximum(x: One, y: One) {} + Pure + Elementwise + Commutative => infer_maximum;
    /// The lesser of `x` and `y`.
    "minimum" = Minimum(x: One, y: One) {} + Pure + Elementwise + Commutative => infer_minimum;

    /// `x = y`
    "equal" = Equal(x: One, y: One) {} + Pure + Elementwise + Commutative => infer_compare;
    /// `x ≠ y`
    "not_equal" = NotEqual(x: One, y: One) {} + Pure + Elementwise + Commutative => infer_compare;
    /// `x < y`
    "less" = Less(x: One, y: One) {} + Pure + Elementwise => infer_compare;
    /// `x ≤ y`
    "less_equal" = LessEqual(x: One, y: One) {} + Pure + Elementwise => infer_compare;
    /// `x > y`
    "greater" = Greater(x: One, y: One) {} + Pure + Elementwise => infer_compare;
    /// `x ≥ y`
    "greater_equal" = GreaterEqual(x: One, y: One) {} + Pure + Elementwise => infer_compare;
    /// `x ∧ y`
    "logical_and" = LogicalAnd(x: One, y: One) {} + Pure + Elementwise + Commutative => infer_logical;
    /// `x ∨ y`
    "logical_or" = LogicalOr(x: One, y: One) {} + Pure + Elementwise + Commutative => infer_logical;
    /// `x ⊕ y`
    "logical_xor" = LogicalXor(x: One, y: One) {} + Pure + Elementwise + Commutative => infer_logical;

    /// `cond ? a : b`, all three broadcast.
    "select" = Select(cond: One, a: One, b: One) {} + Pure + Elementwise => infer_select;
}

fn infer_float<P>(_: &P, cx: &InferCx<'_>) -> OpResult<Inferred> {
    Ok(Inferred::ty(cx.float("x")?.clone()))
}

fn infer_number<P>(_: &P, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let ty = cx.tensor("x")?;
    number(ty.dtype, "x")?;
    Ok(Inferred::ty(ty.clone()))
}

fn number(dtype: DType, name: &str) -> OpResult<()> {
    if dtype.is_float() || dtype.is_int() {
        Ok(())
    } else {
        Err(OpError::ty(format!("`{name}` is of {dtype}, a number is needed")))
    }
}

fn infer_logical_not(_: &LogicalNot, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let ty = cx.tensor("x")?;
    if ty.dtype != DType::Bool {
        return Err(OpError::ty(format!("`x` is {ty}, bool is needed")));
    }
    Ok(Inferred::ty(ty.clone()))
}

fn infer_cast(op: &Cast, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let ty = cx.tensor("x")?;
    if [ty.dtype, op.dtype].contains(&DType::Str) {
        return Err(OpError::ty(format!("no cast from {} to {}", ty.dtype, op.dtype)));
    }
    let content = match op.dtype.int_range() {
        Some((low, high)) if op.dtype != DType::Bool => cx.content("x").and_then(|dims| {
            let fits = |dim: &Dim| dim.as_const().is_none_or(|n| (low..=high).contains(&n));
            dims.iter().all(fits).then(|| dims.to_vec())
        }),
        _ => None,
    };
    Ok(Inferred::tensor(op.dtype, ty.shape.clone()).with_content(content))
}

fn binary(cx: &InferCx<'_>) -> OpResult<(DType, Vec<Dim>)> {
    let dtype = cx.same_dtype(&["x", "y"])?;
    let shape = broadcast(&cx.tensor("x")?.shape, &cx.tensor("y")?.shape)?;
    Ok((dtype, shape))
}

fn infer_arithmetic<P>(_: &P, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (dtype, shape) = binary(cx)?;
    number(dtype, "x")?;
    Ok(Inferred::tensor(dtype, shape))
}

/// Known contents of the result of a binary op, operands broadcast.
fn arithmetic_content(cx: &InferCx<'_>, f: fn(&Dim, &Dim) -> Dim) -> Option<Vec<Dim>> {
    let (x, y) = (cx.content("x")?, cx.content("y")?);
    let n = match (x.len(), y.len()) {
        (a, b) if a == b => a,
        (1, b) => b,
        (a, 1) => a,
        _ => return None,
    };
    Some((0..n).map(|i| f(&x[i % x.len()], &y[i % y.len()])).collect())
}

macro_rules! with_content {
    ($($name:ident: $payload:ty = $f:expr;)*) => {$(
        fn $name(op: &$payload, cx: &InferCx<'_>) -> OpResult<Inferred> {
            Ok(infer_arithmetic(op, cx)?.with_content(arithmetic_content(cx, $f)))
        }
    )*};
}

with_content! {
    infer_add: Add = Dim::add;
    infer_sub: Sub = Dim::sub;
    infer_mul: Mul = Dim::mul;
    infer_floor_div: FloorDiv = Dim::floor_div;
    infer_mod: Mod = Dim::modulo;
    infer_maximum: Maximum = Dim::maximum;
    infer_minimum: Minimum = Dim::minimum;
}

fn infer_compare<P>(_: &P, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (_, shape) = binary(cx)?;
    Ok(Inferred::tensor(DType::Bool, shape))
}

fn infer_logical<P>(_: &P, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (dtype, shape) = binary(cx)?;
    if dtype != DType::Bool {
        return Err(OpError::ty(format!("`x` and `y` are of {dtype}, bool is needed")));
    }
    Ok(Inferred::tensor(DType::Bool, shape))
}

fn infer_select(_: &Select, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let cond = cx.tensor("cond")?;
    if cond.dtype != DType::Bool {
        return Err(OpError::ty(format!("`cond` is {cond}, bool is needed")));
    }
    let dtype = cx.same_dtype(&["a", "b"])?;
    let branches = broadcast(&cx.tensor("a")?.shape, &cx.tensor("b")?.shape)?;
    Ok(Inferred::tensor(dtype, broadcast(&cond.shape, &branches)?))
}
