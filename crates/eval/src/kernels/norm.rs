//! Normalizations, computed in doubles.

use mlc_ir::infer::normalize_axes;
use mlc_ir::ops::{BatchNorm, InstanceNorm, L2Norm, LayerNorm, LocalResponseNorm};

use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::activation::{channel_values, map_channels};
use crate::kernels::elementwise::attribute;
use crate::kernels::reduction::Rows;

/// The channel vector `name`, or `default` for each channel.
fn channels_or(cx: &KernelCx<'_, '_>, name: &str, default: f64) -> Result<Vec<f64>, EvalError> {
    match cx.opt_array(name)? {
        Some(_) => channel_values(cx, name),
        None => Ok(vec![default; cx.array("x")?.shape().get(1).copied().unwrap_or(0)]),
    }
}

impl Kernel for BatchNorm {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let epsilon = attribute(cx, self.epsilon.0)?;
        let (mean, variance) = (channel_values(cx, "mean")?, channel_values(cx, "variance")?);
        let (gamma, beta) = (channels_or(cx, "gamma", 1.0)?, channels_or(cx, "beta", 0.0)?);
        let scale: Vec<f64> =
            gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
        map_channels(cx, |x, c| (x - mean[c]) * scale[c] + beta[c])
    }
}

/// Takes off the mean of a row and divides by `√(variance + epsilon)`.
fn standardize(row: &mut [f64], epsilon: f64) {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    let scale = (variance + epsilon).sqrt().recip();
    row.iter_mut().for_each(|x| *x = (*x - mean) * scale);
}

impl Kernel for InstanceNorm {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let epsilon = attribute(cx, self.epsilon.0)?;
        let (gamma, beta) = (channels_or(cx, "gamma", 1.0)?, channels_or(cx, "beta", 0.0)?);
        let x = cx.array("x")?;
        let mut values = x.to_f64s()?;
        if !values.is_empty() {
            let inner: usize = x.shape()[2..].iter().product();
            for (i, row) in values.chunks_mut(inner).enumerate() {
                let c = i % gamma.len();
                standardize(row, epsilon);
                row.iter_mut().for_each(|x| *x = *x * gamma[c] + beta[c]);
            }
        }
        cx.one_f64s(x.shape(), values)
    }
}

impl Kernel for LayerNorm {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let epsilon = attribute(cx, self.epsilon.0)?;
        let x = cx.array("x")?;
        let axes = match &self.axes {
            None => (0..x.rank()).collect(),
            Some(axes) => {
                normalize_axes(axes, x.rank()).map_err(|e| EvalError::internal(e.to_string()))?
            }
        };
        let rows = Rows::of(x, &axes)?;
        let param = |name: &str| -> Result<Option<Vec<f64>>, EvalError> {
            let Some(values) = cx.opt_array(name)? else { return Ok(None) };
            let values = values.to_f64s()?;
            if values.len() == rows.length {
                Ok(Some(values))
            } else {
                let message =
                    format!("`{name}` has {} elements, not {}", values.len(), rows.length);
                Err(EvalError::undefined(message))
            }
        };
        let (gamma, beta) = (param("gamma")?, param("beta")?);
        let mut values = rows.f64s()?;
        for row in values.chunks_mut(rows.length.max(1)) {
            standardize(row, epsilon);
            if let Some(gamma) = &gamma {
                row.iter_mut().zip(gamma).for_each(|(x, g)| *x *= g);
            }
            if let Some(beta) = &beta {
                row.iter_mut().zip(beta).for_each(|(x, b)| *x += b);
            }
        }
        let mut back = vec![0; rows.order.len()];
        for (place, &axis) in rows.order.iter().enumerate() {
            back[axis] = place;
        }
        let shape = rows.data.dims();
        let y = candle_core::Tensor::from_vec(values, shape, &candle_core::Device::Cpu)?;
        cx.one(y.permute(back)?)
    }
}

impl Kernel for L2Norm {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let epsilon = attribute(cx, self.epsilon.0)?;
        let x = cx.array("x")?;
        let length: usize = x.shape().iter().rev().take(3).product();
        let mut values = x.to_f64s()?;
        for row in values.chunks_mut(length.max(1)) {
            let norm = (row.iter().map(|x| x * x).sum::<f64>() + epsilon).sqrt();
            row.iter_mut().for_each(|x| *x /= norm);
        }
        cx.one_f64s(x.shape(), values)
    }
}

impl Kernel for LocalResponseNorm {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (alpha, beta) = (attribute(cx, self.alpha.0)?, attribute(cx, self.beta.0)?);
        let k = attribute(cx, self.k.0)?;
        let x = cx.array("x")?;
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let channels = x.shape()[1];
        let inner: usize = x.shape()[2..].iter().product();
        let values = x.to_f64s()?;
        let mut out = values.clone();
        for (block, out) in
            values.chunks((channels * inner).max(1)).zip(out.chunks_mut((channels * inner).max(1)))
        {
            for c in 0..channels {
                let low = c.saturating_sub(size / 2);
                let high = c.saturating_add(size - size / 2).min(channels);
                for i in 0..inner {
                    let sum: f64 = (low..high).map(|d| block[d * inner + i].powi(2)).sum();
                    out[c * inner + i] /= (k + alpha / self.size as f64 * sum).powf(beta);
                }
            }
        }
        cx.one_f64s(x.shape(), out)
    }
}
