//! Order along an axis.

use std::cmp::Ordering;

use mlc_ir::ops::{Argsort, Topk};

use super::layout::{Blocks, axis_of, extent};
use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// NaN after every number; zeros of both signs are equal.
fn float(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The positions along the axis of the first `count` elements of each line in order: for each line
/// (outer, then inner) one after another.
fn order<T>(
    values: &[T],
    Blocks { outer, extent, inner }: Blocks,
    count: usize,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Vec<usize> {
    let mut all = Vec::with_capacity(outer * inner * count);
    let mut line: Vec<usize> = Vec::with_capacity(extent);
    for o in 0..outer {
        for n in 0..inner {
            let at = |i: usize| &values[(o * extent + i) * inner + n];
            line.clear();
            line.extend(0..extent);
            line.sort_by(|&i, &j| compare(at(i), at(j)));
            all.extend_from_slice(&line[..count]);
        }
    }
    all
}

/// Positions along the axis, and flat ones, of the first `count` elements in order, in the layout of
/// the result.
fn ranked(
    x: &Array,
    axis: usize,
    count: usize,
    ascending: bool,
) -> Result<(Vec<i64>, Vec<usize>), EvalError> {
    let blocks = Blocks::of(x.shape(), axis);
    let turn = |order: Ordering| if ascending { order } else { order.reverse() };
    let lines = if x.dtype().is_float() {
        order(&x.to_f64s()?, blocks, count, |a, b| turn(float(a, b)))
    } else {
        order(&x.to_i64s()?, blocks, count, |a, b| turn(a.cmp(b)))
    };
    let Blocks { outer, extent, inner } = blocks;
    let mut along = Vec::with_capacity(lines.len());
    let mut flat = Vec::with_capacity(lines.len());
    for o in 0..outer {
        for k in 0..count {
            for n in 0..inner {
                let i = lines[(o * inner + n) * count + k];
                along.push(i as i64);
                flat.push((o * extent + i) * inner + n);
            }
        }
    }
    Ok((along, flat))
}

impl Kernel for Topk {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let axis = axis_of(self.axis, x.rank())?;
        let whole = x.shape()[axis];
        let count = match cx.opt_array("k")?.map(Array::to_i64).transpose()? {
            None => 1,
            Some(-1) => whole,
            Some(k) => extent(k)?,
        };
        if count > whole {
            return Err(EvalError::undefined(format!("the first {count} of {whole} elements")));
        }
        let (along, flat) = ranked(x, axis, count, self.ascending)?;
        let mut shape = x.shape().to_vec();
        shape[axis] = count;
        let mut outputs: Outputs = vec![x.pick(&shape, &flat)?.into()];
        if self.return_indices {
            outputs.push(Array::from_i64s(self.output_indices_dtype, &shape, along)?.into());
        }
        Ok(outputs)
    }
}

impl Kernel for Argsort {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let axis = axis_of(self.axis, x.rank())?;
        let (along, _) = ranked(x, axis, x.shape()[axis], self.ascending)?;
        cx.one_i64s(x.shape(), along)
    }
}
