//! Shapes and views.

use mlc_ir::ops::shape::reference_range;
use mlc_ir::ops::{ExpandDims, Flatten2d, Reshape, ReshapeLike, Shape, Squeeze, Transpose};

use super::layout::{axes_of, axis_of};
use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

impl Kernel for Shape {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let shape: Vec<i64> = cx.array("x")?.shape().iter().map(|&d| d as i64).collect();
        cx.one_i64s(&[shape.len()], shape)
    }
}

fn reshaped(x: &Array, shape: &[usize]) -> Result<Outputs, EvalError> {
    let count = shape.iter().try_fold(1usize, |count, &d| count.checked_mul(d));
    if count != Some(x.count()) {
        let message = format!("{:?} cannot be reshaped to {shape:?}", x.shape());
        return Err(EvalError::undefined(message));
    }
    Ok(vec![x.reshape(shape)?.into()])
}

impl Kernel for Reshape {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let wanted = cx.array("shape")?.to_i64s()?;
        let no_reading = || EvalError::undefined(format!("shape {wanted:?} has no one reading"));
        let rank = wanted.len();
        let mut shape = Vec::with_capacity(rank);
        let mut hole = None;
        for (i, &d) in wanted.iter().enumerate() {
            shape.push(match d {
                0 => match (x.rank() + i).checked_sub(rank) {
                    Some(at) if at < x.rank() => x.shape()[at],
                    _ if x.count() == 0 => 0,
                    _ => 1,
                },
                -1 if hole.is_none() => {
                    hole = Some(i);
                    1
                }
                d => usize::try_from(d).map_err(|_| no_reading())?,
            });
        }
        if let Some(hole) = hole {
            let known = shape.iter().try_fold(1usize, |known, &d| known.checked_mul(d));
            let known = known.filter(|&known| known > 0).ok_or_else(no_reading)?;
            shape[hole] = x.count() / known;
        }
        reshaped(x, &shape)
    }
}

impl Kernel for Transpose {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let perm =
            self.perm.iter().map(|&p| axis_of(p, x.rank())).collect::<Result<Vec<_>, _>>()?;
        cx.one(x.candle().permute(perm)?)
    }
}

impl Kernel for ExpandDims {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let mut shape = x.shape().to_vec();
        for axis in axes_of(&self.axes, x.rank() + self.axes.len())? {
            shape.insert(axis, 1);
        }
        reshaped(x, &shape)
    }
}

impl Kernel for Squeeze {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let axes = match &self.axes {
            Some(axes) => axes_of(axes, x.rank())?,
            None => (0..x.rank()).collect(),
        };
        let kept = x.shape().iter().enumerate().filter(|(i, d)| **d != 1 || !axes.contains(i));
        let shape: Vec<usize> = kept.map(|(_, &d)| d).collect();
        reshaped(x, &shape)
    }
}

impl Kernel for Flatten2d {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let axis = if self.axis < 0 { self.axis + x.rank() as i64 } else { self.axis };
        let (rows, columns) = usize::try_from(axis)
            .ok()
            .and_then(|axis| x.shape().split_at_checked(axis))
            .ok_or_else(|| EvalError::internal(format!("axis {axis}")))?;
        reshaped(x, &[rows.iter().product(), columns.iter().product()])
    }
}

impl Kernel for ReshapeLike {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let mut shape = Vec::new();
        let parts = self.begins.iter().zip(&self.ends).zip(&self.end_masks);
        for (((&begin, &end), &to_last), reference) in parts.zip(cx.arrays("ref_tensors")?) {
            let (begin, end) = reference_range(begin, end, to_last, reference.rank())
                .ok_or_else(|| EvalError::internal("axes of a reference are out of range"))?;
            shape.extend_from_slice(&reference.shape()[begin..end]);
        }
        reshaped(cx.array("x")?, &shape)
    }
}
