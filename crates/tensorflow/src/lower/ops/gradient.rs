//! Gradients of elementwise ops, as graphs that differentiate hold them.

use mlc_ir::Value;
use mlc_ir::ops::{Abs, Add, Greater, Less, LogicalAnd, Mul, RealDiv, Sigmoid, Square, Sub};

use super::elementwise::{float_input, negated};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::LowerResult;
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "EluGrad", lower: elu },
    Lowering { name: "InvGrad", lower: reciprocal },
    Lowering { name: "LeakyReluGrad", lower: leaky_relu },
    Lowering { name: "ReciprocalGrad", lower: reciprocal },
    Lowering { name: "Relu6Grad", lower: relu6 },
    Lowering { name: "ReluGrad", lower: relu },
    Lowering { name: "RsqrtGrad", lower: rsqrt },
    Lowering { name: "SigmoidGrad", lower: sigmoid },
    Lowering { name: "SoftplusGrad", lower: softplus },
    Lowering { name: "SoftsignGrad", lower: softsign },
    Lowering { name: "SqrtGrad", lower: sqrt },
    Lowering { name: "TanhGrad", lower: tanh },
];

fn pair(cx: &Cx<'_>, call: &Call<'_>) -> LowerResult<(Value, Value)> {
    Ok((float_input(cx, call, 0)?, float_input(cx, call, 1)?))
}

/// `dy` where `kept`, else 0.
fn masked(cx: &mut Cx<'_>, kept: Value, dy: Value) -> LowerResult<Vec<Val>> {
    let zero = cx.scalar_like(dy, 0.0)?;
    let dx = cx.select(kept, dy, zero)?;
    cx.one(dx)
}

/// Inputs are the gradient and the features, or the result, of `relu`.
fn relu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dy, x) = pair(cx, call)?;
    let zero = cx.scalar_like(x, 0.0)?;
    let kept = cx.binary(Greater {}, x, zero)?;
    masked(cx, kept, dy)
}

fn relu6(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dy, x) = pair(cx, call)?;
    let (zero, six) = (cx.scalar_like(x, 0.0)?, cx.scalar_like(x, 6.0)?);
    let (above, below) = (cx.binary(Greater {}, x, zero)?, cx.binary(Less {}, x, six)?);
    let kept = cx.binary(LogicalAnd {}, above, below)?;
    masked(cx, kept, dy)
}

fn leaky_relu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dy, x) = pair(cx, call)?;
    let alpha = cx.scalar_like(x, call.float_or("alpha", 0.2)?)?;
    let zero = cx.scalar_like(x, 0.0)?;
    let above = cx.binary(Greater {}, x, zero)?;
    let scaled = cx.binary(Mul {}, dy, alpha)?;
    let dx = cx.select(above, dy, scaled)?;
    cx.one(dx)
}

/// The second input is the result: `dy·(y + 1)` where it is negative.
fn elu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dy, y) = pair(cx, call)?;
    let (zero, one) = (cx.scalar_like(y, 0.0)?, cx.scalar_like(y, 1.0)?);
    let below = cx.binary(Less {}, y, zero)?;
    let slope = cx.binary(Add {}, y, one)?;
    let bent = cx.binary(Mul {}, dy, slope)?;
    let dx = cx.select(below, bent, dy)?;
    cx.one(dx)
}

fn softplus(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dy, x) = pair(cx, call)?;
    let slope = cx.unary(Sigmoid {}, x)?;
    let dx = cx.binary(Mul {}, dy, slope)?;
    cx.one(dx)
}

/// `dy / (1 + |x|)²`
fn softsign(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (dy, x) = pair(cx, call)?;
    let size = cx.unary(Abs {}, x)?;
    let one = cx.scalar_like(x, 1.0)?;
    let sum = cx.binary(Add {}, size, one)?;
    let square = cx.unary(Square {}, sum)?;
    let dx = cx.binary(RealDiv {}, dy, square)?;
    cx.one(dx)
}

/// Inputs are the result and the gradient: `dy·y·(1 − y)`.
fn sigmoid(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (y, dy) = pair(cx, call)?;
    let one = cx.scalar_like(y, 1.0)?;
    let rest = cx.binary(Sub {}, one, y)?;
    let slope = cx.binary(Mul {}, y, rest)?;
    let dx = cx.binary(Mul {}, dy, slope)?;
    cx.one(dx)
}

/// `dy·(1 − y²)`
fn tanh(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (y, dy) = pair(cx, call)?;
    let (one, square) = (cx.scalar_like(y, 1.0)?, cx.unary(Square {}, y)?);
    let slope = cx.binary(Sub {}, one, square)?;
    let dx = cx.binary(Mul {}, dy, slope)?;
    cx.one(dx)
}

/// `dy / 2y`
fn sqrt(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (y, dy) = pair(cx, call)?;
    let half = cx.scalar_like(y, 0.5)?;
    let half = cx.binary(Mul {}, dy, half)?;
    let dx = cx.binary(RealDiv {}, half, y)?;
    cx.one(dx)
}

/// `−dy·y³ / 2`
fn rsqrt(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (y, dy) = pair(cx, call)?;
    let square = cx.unary(Square {}, y)?;
    let cube = cx.binary(Mul {}, square, y)?;
    let half = cx.scalar_like(y, -0.5)?;
    let slope = cx.binary(Mul {}, cube, half)?;
    let dx = cx.binary(Mul {}, dy, slope)?;
    cx.one(dx)
}

/// `−dy·y²`
fn reciprocal(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (y, dy) = pair(cx, call)?;
    let square = cx.unary(Square {}, y)?;
    let product = cx.binary(Mul {}, dy, square)?;
    let dx = negated(cx, product)?;
    cx.one(dx)
}
