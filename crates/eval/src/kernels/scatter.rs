//! Combining elements into tensors at index tensors.

use mlc_ir::attr::ScatterMode;
use mlc_ir::ops::{Scatter, ScatterAlongAxis, ScatterNd};

use super::gather::{along_axis, nd_positions};
use super::layout::{Blocks, axis_of, positions};
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

fn float(mode: ScatterMode, x: f64, y: f64) -> f64 {
    match mode {
        ScatterMode::Update => y,
        ScatterMode::Add => x + y,
        ScatterMode::Sub => x - y,
        ScatterMode::Mul => x * y,
        ScatterMode::Div => x / y,
        ScatterMode::Max | ScatterMode::Min if x.is_nan() || y.is_nan() => f64::NAN,
        ScatterMode::Max => x.max(y),
        ScatterMode::Min => x.min(y),
    }
}

/// `None` for a division by zero.
fn int(mode: ScatterMode, x: i64, y: i64) -> Option<i64> {
    Some(match mode {
        ScatterMode::Update => y,
        ScatterMode::Add => x.wrapping_add(y),
        ScatterMode::Sub => x.wrapping_sub(y),
        ScatterMode::Mul => x.wrapping_mul(y),
        ScatterMode::Div => x.checked_div(y)?,
        ScatterMode::Max => x.max(y),
        ScatterMode::Min => x.min(y),
    })
}

/// Combines `updates`, cut into blocks of `inner` elements, into `data` at the flat positions
/// `starts` of the blocks.
fn combine(
    cx: &KernelCx<'_, '_>,
    mode: ScatterMode,
    starts: &[usize],
    inner: usize,
) -> Result<Outputs, EvalError> {
    let (data, updates) = (cx.array("data")?, cx.array("updates")?);
    if updates.count() != starts.len() * inner {
        let message = format!("updates {:?} for {} blocks", updates.shape(), starts.len());
        return Err(EvalError::undefined(message));
    }
    let targets = starts.iter().flat_map(|&start| start..start + inner);
    if data.dtype().is_float() {
        let mut values = data.to_f64s()?;
        for (at, y) in targets.zip(updates.to_f64s()?) {
            values[at] = float(mode, values[at], y);
        }
        cx.one_f64s(data.shape(), values)
    } else {
        let mut values = data.to_i64s()?;
        for (at, y) in targets.zip(updates.to_i64s()?) {
            values[at] = int(mode, values[at], y)
                .ok_or_else(|| EvalError::undefined("integer division by zero"))?;
        }
        cx.one_i64s(data.shape(), values)
    }
}

impl Kernel for Scatter {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let data = cx.array("data")?;
        let axis = axis_of(self.axis, data.rank())?;
        let Blocks { outer, extent, inner } = Blocks::of(data.shape(), axis);
        let at = positions(cx.array("indices")?, extent)?;
        let starts: Vec<usize> =
            (0..outer).flat_map(|o| at.iter().map(move |&i| (o * extent + i) * inner)).collect();
        combine(cx, self.mode, &starts, inner)
    }
}

impl Kernel for ScatterAlongAxis {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let data = cx.array("data")?;
        let axis = axis_of(self.axis, data.rank())?;
        let starts = along_axis(data.shape(), cx.array("indices")?, axis)?;
        combine(cx, self.mode, &starts, 1)
    }
}

impl Kernel for ScatterNd {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (data, indices) = (cx.array("data")?, cx.array("indices")?);
        let starts = nd_positions(data.shape(), indices, 0)?;
        let depth = indices.shape().last().copied().unwrap_or(0);
        let inner: usize = data.shape()[depth..].iter().product();
        combine(cx, self.mode, &starts, inner)
    }
}
