//! Joining and splitting along an axis.

use mlc_ir::ops::{Concat, Split, Stack, Tile};

use super::layout::{Blocks, axis_of, extent};
use crate::array::{Array, element_count};
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// `values` one after another along `axis`; all ranks are equal and not 0.
fn concat(values: &[&Array], axis: usize) -> Result<Array, EvalError> {
    let first = values.first().ok_or_else(|| EvalError::internal("nothing to join"))?;
    let mut shape = first.shape().to_vec();
    for value in &values[1..] {
        let own = value.shape();
        let fits =
            own.len() == shape.len() && (0..shape.len()).all(|i| i == axis || own[i] == shape[i]);
        if !fits {
            let message = format!("{:?} and {own:?} joined along axis {axis}", first.shape());
            return Err(EvalError::undefined(message));
        }
        shape[axis] += own[axis];
    }
    let outer: usize = shape[..axis].iter().product();
    let lengths: Vec<usize> = values.iter().map(|v| v.shape()[axis..].iter().product()).collect();
    let runs = (0..outer).flat_map(|o| {
        lengths.iter().enumerate().map(move |(source, &length)| (source, o * length, length))
    });
    Array::assemble(&shape, values, runs)
}

impl Kernel for Concat {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let values = cx.arrays("values")?;
        let vectors = values
            .iter()
            .map(|v| if v.rank() == 0 { v.reshape(&[1]) } else { Ok((*v).clone()) })
            .collect::<Result<Vec<_>, _>>()?;
        let values: Vec<&Array> = vectors.iter().collect();
        let rank = values.first().map_or(1, |v| v.rank());
        let axis = axis_of(self.axis, rank)?;
        if !self.interleave {
            return Ok(vec![concat(&values, axis)?.into()]);
        }
        let mut shape = values[0].shape().to_vec();
        let Blocks { outer, extent, inner } = Blocks::of(&shape, axis);
        if let Some(other) = values.iter().find(|v| v.shape() != &shape[..]) {
            let message = format!("{shape:?} and {:?} interleaved", other.shape());
            return Err(EvalError::undefined(message));
        }
        shape[axis] = extent * values.len();
        let count = values.len();
        let runs = (0..outer * extent)
            .flat_map(|row| (0..count).map(move |source| (source, row * inner, inner)));
        Ok(vec![Array::assemble(&shape, &values, runs)?.into()])
    }
}

impl Kernel for Stack {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let values = cx.arrays("values")?;
        let mut shape = values.first().map_or(Vec::new(), |v| v.shape().to_vec());
        let axis = axis_of(self.axis, shape.len() + 1)?;
        if let Some(other) = values.iter().find(|v| v.shape() != &shape[..]) {
            return Err(EvalError::undefined(format!("{shape:?} and {:?} stacked", other.shape())));
        }
        shape.insert(axis, 1);
        let parts = values.iter().map(|v| v.reshape(&shape)).collect::<Result<Vec<_>, _>>()?;
        Ok(vec![concat(&parts.iter().collect::<Vec<_>>(), axis)?.into()])
    }
}

impl Kernel for Split {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let axis = axis_of(self.axis, x.rank())?;
        let Blocks { outer, extent: whole, inner } = Blocks::of(x.shape(), axis);
        let sizes = match (&self.split_sizes, self.num_splits) {
            (Some(sizes), _) => sizes.iter().map(|&n| extent(n)).collect::<Result<Vec<_>, _>>()?,
            (None, parts) => {
                let parts = extent(parts.unwrap_or(1))?.max(1);
                vec![whole / parts; parts]
            }
        };
        if sizes.iter().sum::<usize>() != whole {
            return Err(EvalError::undefined(format!("an axis of {whole} cut into {sizes:?}")));
        }
        let mut start = 0;
        let mut outputs = Outputs::new();
        for size in sizes {
            let mut shape = x.shape().to_vec();
            shape[axis] = size;
            let runs = (0..outer).map(|o| (0, (o * whole + start) * inner, size * inner));
            outputs.push(Array::assemble(&shape, &[x], runs)?.into());
            start += size;
        }
        Ok(outputs)
    }
}

impl Kernel for Tile {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let reps = cx.array("reps")?.to_i64s()?;
        if reps.len() != x.rank() || reps.iter().any(|&r| r < 1) {
            return Err(EvalError::undefined(format!("{:?} repeated {reps:?}", x.shape())));
        }
        let mut y = x.clone();
        // The innermost axis first, so that runs get longer with each axis.
        for axis in (0..x.rank()).rev() {
            let times = extent(reps[axis])?;
            if times == 1 {
                continue;
            }
            let mut shape = y.shape().to_vec();
            let Blocks { outer, extent: own, inner } = Blocks::of(&shape, axis);
            shape[axis] = own.saturating_mul(times);
            element_count(&shape)?;
            let length = own * inner;
            let outer = if length == 0 { 0 } else { outer };
            let runs = (0..outer).flat_map(|o| (0..times).map(move |_| (0, o * length, length)));
            y = Array::assemble(&shape, &[&y], runs)?;
        }
        Ok(vec![y.into()])
    }
}
