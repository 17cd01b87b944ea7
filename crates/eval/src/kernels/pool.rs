//! Pools, window by window.

use mlc_ir::attr::PadType;
use mlc_ir::ops::{AvgPool, L2Pool, MaxPool};

use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::window::{Axis, Sliding, checked_count, volume};

impl Kernel for MaxPool {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let pool = Pool {
            kernel_sizes: &self.kernel_sizes,
            strides: &self.strides,
            padding: (self.pad_type, &self.pad),
            ceil_mode: self.ceil_mode,
        };
        // `max` of IEEE drops NaN; a window that holds one gives NaN.
        let greater = |m: f64, x: f64| if x > m || x.is_nan() { x } else { m };
        pool.run(cx, f64::NEG_INFINITY, greater, |max, _| max)
    }
}

impl Kernel for AvgPool {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let pool = Pool {
            kernel_sizes: &self.kernel_sizes,
            strides: &self.strides,
            padding: (self.pad_type, &self.pad),
            ceil_mode: self.ceil_mode,
        };
        let whole: f64 = self.kernel_sizes.iter().map(|&k| k as f64).product();
        let exclude = self.exclude_padding_from_average;
        let divisor = move |real: usize| if exclude { real as f64 } else { whole };
        pool.run(cx, 0.0, |sum, x| sum + x, move |sum, real| sum / divisor(real))
    }
}

impl Kernel for L2Pool {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let pool = Pool {
            kernel_sizes: &self.kernel_sizes,
            strides: &self.strides,
            padding: (self.pad_type, &self.pad),
            ceil_mode: self.ceil_mode,
        };
        pool.run(cx, 0.0, |sum, x| sum + x * x, |sum, _| sum.sqrt())
    }
}

/// The attributes that the three pools share.
struct Pool<'a> {
    kernel_sizes: &'a [i64],
    strides: &'a [i64],
    padding: (PadType, &'a [i64]),
    ceil_mode: bool,
}

impl Pool<'_> {
    fn axes(&self, input: &[usize]) -> Result<[Axis; 3], EvalError> {
        let kernel: Vec<usize> = self
            .kernel_sizes
            .iter()
            .map(|&k| u32::try_from(k).map(|k| k as usize))
            .collect::<Result<_, _>>()
            .map_err(|_| EvalError::unsupported(format!("windows of {:?}", self.kernel_sizes)))?;
        if kernel.len() != input.len() {
            return Err(EvalError::internal("`kernel_sizes` does not fit the rank of `x`"));
        }
        let (pad_type, pad) = self.padding;
        let sliding = Sliding { strides: self.strides, dilations: &[], pad_type, pad };
        if self.ceil_mode {
            sliding.ceil_axes(input, &kernel)
        } else {
            sliding.axes(input, &kernel)
        }
    }

    /// Folds the elements under each window with `add` from `start`, then applies `finish` to the
    /// outcome and the number of elements that are no padding.
    fn run(
        &self,
        cx: &KernelCx<'_, '_>,
        start: f64,
        add: impl Fn(f64, f64) -> f64,
        finish: impl Fn(f64, usize) -> f64,
    ) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let [batch, channels, input @ ..] = x.shape() else {
            return Err(EvalError::internal("`x` has no spatial axes"));
        };
        let axes = self.axes(input)?;
        let extents = axes[3 - input.len()..].iter().map(|a| a.positions);
        let shape: Vec<usize> = [*batch, *channels].into_iter().chain(extents).collect();
        let mut y = Vec::with_capacity(checked_count(&shape)?);
        let (plane, positions) = (volume(&axes, |a| a.input), volume(&axes, |a| a.positions));
        let values = x.to_f64s()?;
        let under: [Vec<(usize, usize)>; 3] =
            axes.map(|axis| (0..axis.positions).map(|p| real(&axis, p)).collect());
        for at in 0..if positions == 0 { 0 } else { batch * channels } {
            let x = &values[at * plane..][..plane];
            for &depths in &under[0] {
                for &heights in &under[1] {
                    for &widths in &under[2] {
                        let mut sum = start;
                        for d in depths.0..depths.1 {
                            for h in heights.0..heights.1 {
                                let row = (d * axes[1].input + h) * axes[2].input;
                                let row = &x[row + widths.0..row + widths.1];
                                sum = row.iter().fold(sum, |sum, &x| add(sum, x));
                            }
                        }
                        let real: usize =
                            [depths, heights, widths].iter().map(|(from, to)| to - from).product();
                        y.push(finish(sum, real));
                    }
                }
            }
        }
        cx.one_f64s(&shape, y)
    }
}

/// The range of elements, padding left out, under the window at position `p`.
fn real(axis: &Axis, p: usize) -> (usize, usize) {
    let from = p * axis.stride;
    let to = (from + axis.kernel).saturating_sub(axis.before).min(axis.input);
    (from.saturating_sub(axis.before).min(to), to)
}
