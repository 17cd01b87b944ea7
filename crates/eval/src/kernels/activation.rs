//! Activations and softmax.

use candle_core::cpu::erf::erfc_f64;
use mlc_ir::attr::GeluMode;
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{
    ClampedRelu, Elu, Gelu, LeakyRelu, LinearActivation, Prelu, Relu, Relu6, ScaledTanh, Sigmoid,
    SigmoidHard, Silu, Softmax, Softplus, SoftplusParametric, Softsign, ThresholdedRelu,
};

use mlc_tensor::DType;
use rayon::prelude::*;

use crate::array::{Array, PARALLEL, rounded};
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::elementwise::{at_least, attribute, map_floats};

/// `1 / (1 + e^(−x))`, without overflow.
pub(crate) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln(1 + eˣ)`, without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// `x · sigmoid(scale · x)`; 0 at −∞, as the limit is.
fn swish(x: f64, scale: f64) -> f64 {
    if x == f64::NEG_INFINITY { 0.0 } else { x * sigmoid(scale * x) }
}

macro_rules! activation {
    ($($Name:ident: $f:expr;)*) => {$(
        impl Kernel for $Name {
            fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
                map_floats(cx, $f)
            }
        }
    )*};
    ($($Name:ident($($attr:ident),+): $f:expr;)*) => {$(
        impl Kernel for $Name {
            fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
                $(let $attr = attribute(cx, self.$attr.0)?;)+
                map_floats(cx, $f($($attr),+))
            }
        }
    )*};
}

activation! {
    Relu: |x| at_least(x, 0.0);
    Relu6: |x| at_most(at_least(x, 0.0), 6.0);
    Sigmoid: sigmoid;
    Silu: |x| swish(x, 1.0);
    Softplus: softplus;
    Softsign: |x: f64| if x.is_infinite() { x.signum() } else { x / (1.0 + x.abs()) };
}

/// `min(x, high)` that keeps NaN.
fn at_most(x: f64, high: f64) -> f64 {
    if x > high { high } else { x }
}

activation! {
    LeakyRelu(alpha): |alpha: f64| move |x: f64| if x < 0.0 { alpha * x } else { x };
    Elu(alpha): |alpha: f64| move |x: f64| if x > 0.0 { x } else { alpha * x.exp_m1() };
    ClampedRelu(alpha, beta): |alpha: f64, beta: f64| {
        move |x: f64| at_most(if x < 0.0 { alpha * x } else { x }, beta)
    };
    ThresholdedRelu(alpha): |alpha: f64| move |x: f64| if x < alpha { 0.0 } else { x };
    LinearActivation(alpha, beta): |alpha: f64, beta: f64| move |x: f64| alpha * x + beta;
    SigmoidHard(alpha, beta): |alpha: f64, beta: f64| {
        move |x: f64| at_most(at_least(alpha * x + beta, 0.0), 1.0)
    };
    ScaledTanh(alpha, beta): |alpha: f64, beta: f64| move |x: f64| alpha * (beta * x).tanh();
}

impl Kernel for Gelu {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};
        match self.mode {
            GeluMode::Exact => map_floats(cx, |x| {
                let tail = erfc_f64(-x * FRAC_1_SQRT_2);
                if tail == 0.0 { -0.0 } else { 0.5 * x * tail }
            }),
            GeluMode::TanhApproximation => {
                let scale = FRAC_2_PI.sqrt();
                map_floats(cx, |x| {
                    let tail = 1.0 + (scale * (x + 0.044715 * x * x * x)).tanh();
                    if tail == 0.0 { -0.0 } else { 0.5 * x * tail }
                })
            }
            GeluMode::SigmoidApproximation => map_floats(cx, |x| swish(x, 1.702)),
        }
    }
}

/// Applies `f(x, c)` to each element, `c` its index along axis 1.
pub(crate) fn map_channels(
    cx: &KernelCx<'_, '_>,
    f: impl Fn(f64, usize) -> f64,
) -> Result<Outputs, EvalError> {
    let x = cx.array("x")?;
    let channels = x.shape().get(1).copied().unwrap_or(1).max(1);
    let inner: usize = x.shape().iter().skip(2).product::<usize>().max(1);
    let mut values = x.to_f64s()?;
    for (i, plane) in values.chunks_mut(inner).enumerate() {
        plane.iter_mut().for_each(|x| *x = f(*x, i % channels));
    }
    cx.one_f64s(x.shape(), values)
}

impl Kernel for Prelu {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let alpha = channel_values(cx, "alpha")?;
        map_channels(cx, |x, c| if x < 0.0 { alpha[c] * x } else { x })
    }
}

impl Kernel for SoftplusParametric {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (alpha, beta) = (channel_values(cx, "alpha")?, channel_values(cx, "beta")?);
        map_channels(cx, |x, c| alpha[c] * softplus(beta[c] * x))
    }
}

/// The elements of operand `name`, one for each index of `x` along axis 1.
pub(crate) fn channel_values(cx: &KernelCx<'_, '_>, name: &str) -> Result<Vec<f64>, EvalError> {
    let (x, values) = (cx.array("x")?, cx.array(name)?.to_f64s()?);
    if x.shape().get(1) != Some(&values.len()) {
        let message = format!("`{name}` has {} elements, `x` is {:?}", values.len(), x.shape());
        return Err(EvalError::undefined(message));
    }
    Ok(values)
}

/// Turns a row into its softmax. A row of −∞ alone, or with NaN or +∞, becomes NaN.
pub(crate) fn softmax_row(row: &mut [f64]) {
    let mut max = f64::NEG_INFINITY;
    for &x in row.iter() {
        if x > max || x.is_nan() {
            max = x;
        }
    }
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = (*x - max).exp();
        sum += *x;
    }
    row.iter_mut().for_each(|x| *x /= sum);
}

/// The softmax of each row of `extent` numbers, rounded once.
fn softmax_rows(x: &Array, extent: usize) -> Result<Vec<f32>, EvalError> {
    let (mut values, dtype) = (x.to_f32s()?, x.dtype());
    let one = |wide: &mut Vec<f64>, row: &mut [f32]| {
        wide.clear();
        wide.extend(row.iter().map(|&x| f64::from(x)));
        softmax_row(wide);
        row.iter_mut().zip(wide).for_each(|(to, x)| *to = rounded(dtype, *x));
    };
    let rows = values.par_chunks_mut(extent).with_min_len(PARALLEL.div_ceil(extent));
    rows.for_each_init(Vec::new, one);
    Ok(values)
}

impl Kernel for Softmax {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let axis =
            normalize_axis(self.axis, x.rank()).map_err(|e| EvalError::internal(e.to_string()))?;
        let extent = x.shape()[axis];
        let inner: usize = x.shape()[axis + 1..].iter().product();
        if inner == 1 && x.dtype() != DType::F64 {
            return cx.one_f32s(x.shape(), softmax_rows(x, extent.max(1))?);
        }
        let mut values = x.to_f64s()?;
        if inner == 1 {
            values.chunks_mut(extent.max(1)).for_each(softmax_row);
        } else if !values.is_empty() {
            let mut row = vec![0.0; extent];
            for block in values.chunks_mut(extent * inner) {
                for i in 0..inner {
                    for (k, x) in row.iter_mut().enumerate() {
                        *x = block[k * inner + i];
                    }
                    softmax_row(&mut row);
                    for (k, x) in row.iter().enumerate() {
                        block[k * inner + i] = *x;
                    }
                }
            }
        }
        cx.one_f64s(x.shape(), values)
    }
}
