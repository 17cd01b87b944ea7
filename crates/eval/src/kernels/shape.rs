//! Shapes and views.

use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{Reshape, Shape, Transpose};

use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

impl Kernel for Shape {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let shape: Vec<i64> = cx.array("x")?.shape().iter().map(|&d| d as i64).collect();
        cx.one_i64s(&[shape.len()], shape)
    }
}

impl Kernel for Reshape {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let wanted = cx.array("shape")?.to_i64s()?;
        let rank = wanted.len();
        let mut shape = Vec::with_capacity(rank);
        for (i, &d) in wanted.iter().enumerate() {
            shape.push(match d {
                0 => match (x.rank() + i).checked_sub(rank) {
                    Some(at) if at < x.rank() => x.shape()[at] as i64,
                    _ if x.count() == 0 => 0,
                    _ => 1,
                },
                d => d,
            });
        }
        let known: i64 = shape.iter().filter(|&&d| d != -1).product();
        for d in &mut shape {
            if *d == -1 {
                if known == 0 {
                    return Err(EvalError::undefined(format!(
                        "shape {wanted:?} has no one reading"
                    )));
                }
                *d = x.count() as i64 / known;
            }
        }
        let shape: Vec<usize> = shape.iter().map(|&d| d.max(0) as usize).collect();
        if shape.iter().product::<usize>() != x.count() {
            let message = format!("{:?} cannot be reshaped to {wanted:?}", x.shape());
            return Err(EvalError::undefined(message));
        }
        Ok(vec![x.reshape(&shape)?.into()])
    }
}

impl Kernel for Transpose {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let perm = self
            .perm
            .iter()
            .map(|&p| normalize_axis(p, x.rank()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| EvalError::internal(e.to_string()))?;
        cx.one(x.candle().permute(perm)?)
    }
}
