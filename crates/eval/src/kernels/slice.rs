//! Slices, windows and reversals.

use mlc_ir::OpError;
use mlc_ir::ops::slice::{AxisSlice, sized_walk};
use mlc_ir::ops::{
    BandPart, Reverse, ReverseSequence, SliceByIndex, SliceBySize, SliceUpdate, SlidingWindows,
};

use super::layout::{Blocks, Walk, axes_of, axis_of, extent, runs, zeros};
use crate::array::{Array, for_each_index, strides};
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

fn undefined(error: OpError) -> EvalError {
    EvalError::undefined(error.message)
}

/// The walk along each axis and the shape of what it gives.
fn slice(
    cx: &KernelCx<'_, '_>,
    axes: Result<Vec<AxisSlice>, OpError>,
) -> Result<(Vec<Walk>, Vec<usize>), EvalError> {
    let x = cx.array("x")?;
    let axes = axes.map_err(undefined)?;
    let (begin, end) = (cx.array("begin")?.to_i64s()?, cx.array("end")?.to_i64s()?);
    if begin.len() != x.rank() || end.len() != x.rank() {
        return Err(EvalError::undefined(format!("{:?} cut at {begin:?}, {end:?}", x.shape())));
    }
    let (mut walks, mut shape) = (Vec::new(), Vec::new());
    for (i, axis) in axes.iter().enumerate() {
        let (first, count) = axis.walk(begin[i], end[i], x.shape()[i] as i64).map_err(undefined)?;
        walks.push(Walk { first: extent(first)?, stride: axis.stride, count: extent(count)? });
        if !axis.single {
            shape.push(extent(count)?);
        }
    }
    Ok((walks, shape))
}

/// What `walks` take of `x`, under `shape`.
fn take(x: &Array, shape: &[usize], walks: &[Walk]) -> Result<Outputs, EvalError> {
    let runs = runs(x.shape(), walks).into_iter().map(|(start, count)| (0, start, count));
    Ok(vec![Array::assemble(shape, &[x], runs)?.into()])
}

impl Kernel for SliceByIndex {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let (walks, shape) = slice(cx, self.axes(x.rank()))?;
        take(x, &shape, &walks)
    }
}

impl Kernel for SliceBySize {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let (begin, size) = (cx.array("begin")?.to_i64s()?, cx.array("size")?.to_i64s()?);
        if begin.len() != x.rank() || size.len() != x.rank() {
            return Err(EvalError::undefined(format!("{:?} cut at {begin:?}", x.shape())));
        }
        let walk = |i: usize| {
            let (first, count) =
                sized_walk(begin[i], size[i], x.shape()[i] as i64).map_err(undefined)?;
            Ok(Walk { first: extent(first)?, stride: 1, count: extent(count)? })
        };
        let walks = (0..x.rank()).map(walk).collect::<Result<Vec<_>, EvalError>>()?;
        let shape: Vec<usize> = walks.iter().map(|walk| walk.count).collect();
        take(x, &shape, &walks)
    }
}

impl Kernel for SliceUpdate {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, update) = (cx.array("x")?, cx.array("update")?);
        let (walks, shape) = slice(cx, self.axes(x.rank()))?;
        if shape != update.shape() {
            let message = format!("a slice of {shape:?} updated with {:?}", update.shape());
            return Err(EvalError::undefined(message));
        }
        let mut taken = 0;
        let mut targets: Vec<(usize, usize, usize)> = runs(x.shape(), &walks)
            .into_iter()
            .map(|(start, count)| {
                taken += count;
                (start, taken - count, count)
            })
            .collect();
        targets.sort_unstable();
        let mut pieces = Vec::with_capacity(2 * targets.len() + 1);
        let mut done = 0;
        for (start, from, count) in targets {
            pieces.push((0, done, start - done));
            pieces.push((1, from, count));
            done = start + count;
        }
        pieces.push((0, done, x.count() - done));
        Ok(vec![Array::assemble(x.shape(), &[x, update], pieces)?.into()])
    }
}

impl Kernel for Reverse {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let axes = match &self.axes {
            Some(axes) => axes_of(axes, x.rank())?,
            None => (0..x.rank()).collect(),
        };
        let walk = |(axis, &extent): (usize, &usize)| {
            if axes.contains(&axis) { Walk::backward(extent) } else { Walk::whole(extent) }
        };
        let walks: Vec<Walk> = x.shape().iter().enumerate().map(walk).collect();
        take(x, x.shape(), &walks)
    }
}

impl Kernel for ReverseSequence {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let lengths = cx.array("lengths")?.to_i64s()?;
        let axis = axis_of(self.seq_axis, x.rank())?;
        let batch = axis_of(self.batch_axis, x.rank())?;
        let (whole, rows) = (x.shape()[axis], x.shape()[batch]);
        let lengths = lengths.into_iter().map(extent).collect::<Result<Vec<_>, _>>()?;
        if lengths.len() != rows || lengths.iter().any(|&n| n > whole) {
            let message = format!("lengths {lengths:?} on {rows} rows of {whole}");
            return Err(EvalError::undefined(message));
        }
        let cut = axis.max(batch) + 1;
        let steps = strides(x.shape());
        let inner = steps[cut - 1];
        let mut pieces = Vec::new();
        for_each_index(&x.shape()[..cut], |at| {
            let length = lengths[at[batch]];
            let flat: usize = (0..cut).map(|i| at[i] * steps[i]).sum();
            let i = at[axis];
            let mirrored = if i < length { length - 1 - i } else { i };
            pieces.push((0, flat - i * steps[axis] + mirrored * steps[axis], inner));
        });
        Ok(vec![Array::assemble(x.shape(), &[x], pieces)?.into()])
    }
}

impl Kernel for SlidingWindows {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let axis = axis_of(self.axis, x.rank())?;
        let (size, stride) = (extent(self.size)?, extent(self.stride)?.max(1));
        let Blocks { outer, extent: whole, inner } = Blocks::of(x.shape(), axis);
        let room = whole
            .checked_sub(size)
            .ok_or_else(|| EvalError::undefined(format!("windows of {size} on {whole}")))?;
        let windows = room / stride + 1;
        let mut shape = x.shape().to_vec();
        shape[axis] = windows;
        shape.insert(axis + 1, size);
        let pieces = (0..outer).flat_map(|o| {
            (0..windows).map(move |i| (0, (o * whole + i * stride) * inner, size * inner))
        });
        Ok(vec![Array::assemble(&shape, &[x], pieces)?.into()])
    }
}

impl Kernel for BandPart {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let [.., rows, columns] = *x.shape() else {
            return Err(EvalError::internal("a matrix is needed"));
        };
        let zeros = zeros(x.dtype(), &[columns])?;
        let mut pieces = Vec::new();
        for row in 0..x.count().checked_div(columns).unwrap_or(0) {
            let m = (row % rows) as i64;
            let start = if self.lower < 0 { 0 } else { m.saturating_sub(self.lower) };
            let stop = if self.upper < 0 {
                i64::MAX
            } else {
                m.saturating_add(self.upper).saturating_add(1)
            };
            let start = start.clamp(0, columns as i64) as usize;
            let stop = (stop.min(columns as i64) as usize).max(start);
            let at = row * columns;
            pieces.push((1, 0, start));
            pieces.push((0, at + start, stop - start));
            pieces.push((1, 0, columns - stop));
        }
        Ok(vec![Array::assemble(x.shape(), &[x, &zeros], pieces)?.into()])
    }
}
