//! Activations: functions of one float element, and softmax.

use crate::attr::{F64, GeluMode};
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal, normalize_axis};

op! {
    /// `max(x, 0)`
    "relu" = Relu(x: One) {} + Pure + Elementwise + Idempotent => infer_same;
    /// `min(max(x, 0), 6)`
    "relu6" = Relu6(x: One) {} + Pure + Elementwise + Idempotent => infer_same;
    /// `x ≥ 0 ? x : alpha · x`
    "leaky_relu" = LeakyRelu(x: One) { alpha: F64 } + Pure + Elementwise => infer_same;
    /// `x ≥ 0 ? x : alpha[c] · x`, where `c` is the index of `x` along axis 1; `x` has rank 3 to 5.
    "prelu" = Prelu(x: One, alpha: One) {} + Pure => infer_prelu;
    /// `x > 0 ? x : alpha · (eˣ − 1)`
    "elu" = Elu(x: One) { alpha: F64 } + Pure + Elementwise => infer_same;
    /// `min(x ≥ 0 ? x : alpha · x, beta)`
    "clamped_relu" = ClampedRelu(x: One) { alpha: F64, beta: F64 } + Pure + Elementwise => infer_same;
    /// `x ≥ alpha ? x : 0`
    "thresholded_relu" = ThresholdedRelu(x: One) { alpha: F64 } + Pure + Elementwise => infer_same;
    /// `alpha · x + beta`
    "linear_activation" = LinearActivation(x: One) { alpha: F64, beta: F64 } + Pure + Elementwise
        => infer_same;
    /// `1 / (1 + e^(−x))`
    "sigmoid" = Sigmoid(x: One) {} + Pure + Elementwise => infer_same;
    /// `min(max(alpha · x + beta, 0), 1)`
    "sigmoid_hard" = SigmoidHard(x: One) { alpha: F64, beta: F64 } + Pure + Elementwise => infer_same;
    /// `alpha · tanh(beta · x)`
    "scaled_tanh" = ScaledTanh(x: One) { alpha: F64, beta: F64 } + Pure + Elementwise => infer_same;
    /// `x / (1 + e^(−x))`
    "silu" = Silu(x: One) {} + Pure + Elementwise => infer_same;
    /// `ln(1 + eˣ)`
    "softplus" = Softplus(x: One) {} + Pure + Elementwise => infer_same;
    /// `alpha[c] · ln(1 + e^(beta[c] · x))`, where `c` is the index of `x` along axis 1; `x` has
    /// rank 3 or more.
    "softplus_parametric" = SoftplusParametric(x: One, alpha: One, beta: One) {} + Pure
        => infer_softplus_parametric;
    /// `x / (1 + |x|)`
    "softsign" = Softsign(x: One) {} + Pure + Elementwise => infer_same;
    /// `EXACT`: `x/2 · (1 + erf(x/√2))`; `TANH_APPROXIMATION`:
    /// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))`; `SIGMOID_APPROXIMATION`:
    /// `x / (1 + e^(−1.702·x))`.
    "gelu" = Gelu(x: One) { mode: GeluMode = GeluMode::Exact } + Pure + Elementwise => infer_same;
    /// `eˣ / Σ eˣ`, summed along `axis`, computed after the maximum along `axis` is taken off.
    "softmax" = Softmax(x: One) { axis: i64 = -1 } + Pure => infer_softmax;
}

fn infer_same<P>(_: &P, cx: &InferCx<'_>) -> OpResult<Inferred> {
    Ok(Inferred::ty(cx.float("x")?.clone()))
}

fn infer_prelu(_: &Prelu, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.float("x")?;
    if !(3..=5).contains(&x.rank()) {
        return Err(OpError::shape(format!("`x` is {x}, rank 3 to 5 is needed")));
    }
    check_channels(cx, "alpha")?;
    Ok(Inferred::ty(x.clone()))
}

fn infer_softplus_parametric(_: &SoftplusParametric, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.float("x")?;
    if x.rank() < 3 {
        return Err(OpError::shape(format!("`x` is {x}, rank 3 or more is needed")));
    }
    check_channels(cx, "alpha")?;
    check_channels(cx, "beta")?;
    Ok(Inferred::ty(x.clone()))
}

/// Checks that operand `name`, if it is given, is a float vector with an element for each channel
/// (index along axis 1) of `x`, which has at least two axes.
pub(crate) fn check_channels(cx: &InferCx<'_>, name: &str) -> OpResult<()> {
    if cx.value(name).is_none() {
        return Ok(());
    }
    let (x, param) = (cx.tensor("x")?, cx.float(name)?);
    match &param.shape[..] {
        [count] if may_equal(count, &x.shape[1]) => Ok(()),
        _ => Err(OpError::shape(format!(
            "`{name}` is {param}, a vector of {} elements is needed, one a channel of `x`: {x}",
            x.shape[1]
        ))),
    }
}

fn infer_softmax(op: &Softmax, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.float("x")?;
    normalize_axis(op.axis, x.rank())?;
    Ok(Inferred::ty(x.clone()))
}
