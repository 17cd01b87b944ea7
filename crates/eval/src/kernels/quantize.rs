//! Quantization of activations, computed in doubles.

use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{Dequantize, Quantize};

use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// Scale and zero point of each index along an axis.
struct Params {
    scale: Vec<f64>,
    zero_point: Vec<f64>,
    /// Number of elements that follow each other with one index.
    inner: usize,
}

impl Params {
    fn of(cx: &KernelCx<'_, '_>, axis: Option<i64>) -> Result<Self, EvalError> {
        let input = cx.array("input")?;
        let scale = cx.array("scale")?.to_f64s()?;
        let zero_point = match cx.opt_array("zero_point")? {
            Some(array) => array.to_f64s()?,
            None => vec![0.0; scale.len()],
        };
        let (extent, inner) = match axis {
            None => (1, input.count()),
            Some(axis) => {
                let axis = normalize_axis(axis, input.rank())
                    .map_err(|e| EvalError::internal(e.to_string()))?;
                (input.shape()[axis], input.shape()[axis + 1..].iter().product())
            }
        };
        if scale.len() != extent || zero_point.len() != extent {
            let message =
                format!("{} scales, {} zero points for {extent}", scale.len(), zero_point.len());
            return Err(EvalError::undefined(message));
        }
        if scale.contains(&0.0) {
            return Err(EvalError::undefined("a scale of 0"));
        }
        Ok(Self { scale, zero_point, inner: inner.max(1) })
    }

    /// `f(value, scale, zero point)` of each element.
    fn map<T>(&self, input: &Array, f: impl Fn(f64, f64, f64) -> T) -> Result<Vec<T>, EvalError> {
        let values = input.to_f64s()?;
        let mut out = Vec::with_capacity(values.len());
        for (i, run) in values.chunks(self.inner).enumerate() {
            let k = i % self.scale.len();
            out.extend(run.iter().map(|&x| f(x, self.scale[k], self.zero_point[k])));
        }
        Ok(out)
    }
}

impl Kernel for Quantize {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let input = cx.array("input")?;
        let (low, high) = self
            .output_dtype
            .int_range()
            .ok_or_else(|| EvalError::internal("`output_dtype` is no integer"))?;
        let values = Params::of(cx, self.axis)?.map(input, |x, scale, zero_point| {
            let q = (x / scale).round_ties_even() + zero_point;
            q.clamp(low as f64, high as f64) as i64
        })?;
        cx.one_i64s(input.shape(), values)
    }
}

impl Kernel for Dequantize {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let input = cx.array("input")?;
        let values = Params::of(cx, self.axis)?
            .map(input, |q, scale, zero_point| (q - zero_point) * scale)?;
        cx.one_f64s(input.shape(), values)
    }
}
