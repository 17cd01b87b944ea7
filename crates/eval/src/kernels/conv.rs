//! Convolutions: rows of windows are gathered, a block of positions at a time, and multiplied by the
//! weight; one input channel a group is summed directly.

use std::ops::Range;

use candle_core::{DType as Storage, Device, Tensor as Candle, WithDType};
use mlc_ir::ops::{Conv, ConvTranspose};

use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::window::{Axis, Sliding, checked_count, volume};

/// About how many elements are gathered at a time.
const BLOCK: usize = 1 << 21;

impl Kernel for Conv {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, weight) = (cx.array("x")?, cx.array("weight")?);
        let sliding = Sliding {
            strides: &self.strides,
            dilations: &self.dilations,
            pad_type: self.pad_type,
            pad: &self.pad,
        };
        let axes = sliding.axes(spatial(x)?, spatial(weight)?)?;
        let groups = groups(self.groups)?;
        let shape = |a: &Array, i: usize| a.shape()[i];
        if shape(weight, 1).checked_mul(groups) != Some(shape(x, 1))
            || !shape(weight, 0).is_multiple_of(groups)
        {
            return Err(mismatch(x, weight, groups));
        }
        let layout = Layout {
            axes,
            batch: shape(x, 0),
            groups,
            inputs: shape(weight, 1),
            outputs: shape(weight, 0) / groups,
        };
        let extents = axes[3 - (x.rank() - 2)..].iter().map(|a| a.positions);
        let result: Vec<usize> =
            [layout.batch, shape(weight, 0)].into_iter().chain(extents).collect();
        checked_count(&result)?;
        match x.candle().dtype() {
            Storage::F64 => cx.one(conv::<f64>(cx, &layout)?.reshape(result)?),
            _ => cx.one(conv::<f32>(cx, &layout)?.reshape(result)?),
        }
    }
}

impl Kernel for ConvTranspose {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, weight) = (cx.array("x")?, cx.array("weight")?);
        let sliding = Sliding {
            strides: &self.strides,
            dilations: &self.dilations,
            pad_type: self.pad_type,
            pad: &self.pad,
        };
        let wanted = self.output_shape.as_deref().and_then(|shape| shape.get(2..));
        let axes = sliding.transposed_axes(spatial(x)?, spatial(weight)?, wanted)?;
        let groups = groups(self.groups)?;
        let shape = |a: &Array, i: usize| a.shape()[i];
        if shape(weight, 0) != shape(x, 1) || !shape(x, 1).is_multiple_of(groups) {
            return Err(mismatch(x, weight, groups));
        }
        let layout = Layout {
            axes,
            batch: shape(x, 0),
            groups,
            inputs: shape(weight, 1),
            outputs: shape(x, 1) / groups,
        };
        let channels = shape(weight, 1).saturating_mul(groups);
        let extents = axes[3 - (x.rank() - 2)..].iter().map(|a| a.input);
        let result: Vec<usize> = [layout.batch, channels].into_iter().chain(extents).collect();
        checked_count(&result)?;
        match x.candle().dtype() {
            Storage::F64 => cx.one(conv_transpose::<f64>(cx, &layout)?.reshape(result)?),
            _ => cx.one(conv_transpose::<f32>(cx, &layout)?.reshape(result)?),
        }
    }
}

/// Shows what reaches the weight, of shape `weight`, of a convolution of `x`: the group, and the inputs of
/// some of its products one after the other, by channel and kernel element. At most about `most`
/// positions of each image are shown, in equal steps.
///
/// # Errors
/// Shapes that do not fit each other.
pub fn conv_inputs(
    op: &Conv,
    x: &Array,
    (weight, most): (&[usize], usize),
    visit: &mut dyn FnMut(usize, &[f32]),
) -> Result<(), EvalError> {
    let sliding = Sliding {
        strides: &op.strides,
        dilations: &op.dilations,
        pad_type: op.pad_type,
        pad: &op.pad,
    };
    let (count, kernel) = match weight {
        [_, inputs, kernel @ ..] if weight.len() == x.rank() => (*inputs, kernel),
        _ => return Err(EvalError::internal(format!("a weight of shape {weight:?}"))),
    };
    let axes = sliding.axes(spatial(x)?, kernel)?;
    let groups = groups(op.groups)?;
    if count.checked_mul(groups) != Some(x.shape()[1]) {
        return Err(EvalError::internal(format!("{count} channels a group")));
    }
    let layout = Layout { axes, batch: x.shape()[0], groups, inputs: count, outputs: 0 };
    let elements = elements::<f32>(x)?;
    let rows = layout.inputs * layout.kernel();
    // Odd steps do not fall into one column of an image.
    let step = layout.positions().div_ceil(most.max(1)) | 1;
    for n in 0..layout.batch {
        for group in 0..groups {
            let channel = (n * groups + group) * count;
            let image = &elements[channel * layout.input()..][..count * layout.input()];
            for block in layout.blocks() {
                let windows = gather(&layout, image, block.clone());
                let width = block.len();
                let first = block.start.next_multiple_of(step) - block.start;
                let mut inputs = Vec::new();
                for position in (first..width).step_by(step) {
                    inputs.extend((0..rows).map(|row| windows[row * width + position]));
                }
                visit(group, &inputs);
            }
        }
    }
    Ok(())
}

fn spatial(array: &Array) -> Result<&[usize], EvalError> {
    match array.shape() {
        [_, _, rest @ ..] if (1..=3).contains(&rest.len()) => Ok(rest),
        shape => Err(EvalError::internal(format!("shape {shape:?} has no spatial axes"))),
    }
}

fn groups(groups: i64) -> Result<usize, EvalError> {
    usize::try_from(groups)
        .ok()
        .filter(|&g| g > 0)
        .ok_or_else(|| EvalError::internal(format!("{groups} groups")))
}

fn mismatch(x: &Array, weight: &Array, groups: usize) -> EvalError {
    EvalError::undefined(format!(
        "`weight` of shape {:?} in {groups} groups does not fit `x` of shape {:?}",
        weight.shape(),
        x.shape()
    ))
}

/// Geometry of a convolution, seen from the forward direction: `inputs` and `outputs` are channels
/// a group.
struct Layout {
    axes: [Axis; 3],
    batch: usize,
    groups: usize,
    inputs: usize,
    outputs: usize,
}

impl Layout {
    fn kernel(&self) -> usize {
        volume(&self.axes, |a| a.kernel)
    }

    fn input(&self) -> usize {
        volume(&self.axes, |a| a.input)
    }

    fn positions(&self) -> usize {
        volume(&self.axes, |a| a.positions)
    }

    /// Ranges of positions whose windows fit a block.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let positions = self.positions();
        let step = (BLOCK / (self.inputs * self.kernel()).max(1)).max(64);
        (0..positions).step_by(step).map(move |from| from..positions.min(from + step))
    }
}

fn elements<T: WithDType>(array: &Array) -> Result<Vec<T>, EvalError> {
    Ok(array.candle().flatten_all()?.to_dtype(T::DTYPE)?.to_vec1()?)
}

/// The bias of each output channel; zeros where there is none.
fn bias<T: WithDType>(cx: &KernelCx<'_, '_>, channels: usize) -> Result<Vec<T>, EvalError> {
    let bias = match cx.opt_array("bias")? {
        Some(bias) => elements(bias)?,
        None => vec![T::zero(); channels],
    };
    if bias.len() == channels {
        Ok(bias)
    } else {
        Err(EvalError::undefined(format!("{} biases for {channels} channels", bias.len())))
    }
}

fn conv<T: WithDType>(cx: &KernelCx<'_, '_>, layout: &Layout) -> Result<Candle, EvalError> {
    let x: Vec<T> = elements(cx.array("x")?)?;
    let weight = cx.array("weight")?;
    let positions = layout.positions();
    let bias = bias::<T>(cx, layout.groups * layout.outputs)?;
    let mut y: Vec<T> = Vec::with_capacity(layout.batch * bias.len() * positions);
    for _ in 0..layout.batch {
        bias.iter().for_each(|&b| y.extend(std::iter::repeat_n(b, positions)));
    }
    if layout.input() == 0 {
        return Ok(Candle::from_vec(y, (layout.batch * bias.len(), positions), &Device::Cpu)?);
    }
    if layout.inputs == 1 {
        direct(layout, &x, &elements(weight)?, &mut y);
        return Ok(Candle::from_vec(y, (layout.batch * bias.len(), positions), &Device::Cpu)?);
    }
    let rows = layout.inputs * layout.kernel();
    let weight =
        weight.candle().to_dtype(T::DTYPE)?.reshape((layout.groups, layout.outputs, rows))?;
    for n in 0..layout.batch {
        for group in 0..layout.groups {
            let weight = weight.get(group)?;
            let channel = (n * layout.groups + group) * layout.inputs;
            let image = &x[channel * layout.input()..][..layout.inputs * layout.input()];
            for block in layout.blocks() {
                let width = block.len();
                let windows = gather(layout, image, block.clone());
                let windows = Candle::from_vec(windows, (rows, width), &Device::Cpu)?;
                let sums = weight.matmul(&windows)?.flatten_all()?.to_vec1::<T>()?;
                for (o, sums) in sums.chunks_exact(width).enumerate() {
                    let channel = (n * layout.groups + group) * layout.outputs + o;
                    let to = &mut y[channel * positions + block.start..][..width];
                    to.iter_mut().zip(sums).for_each(|(y, &sum)| *y += sum);
                }
            }
        }
    }
    Ok(Candle::from_vec(y, (layout.batch * bias.len(), positions), &Device::Cpu)?)
}

/// A part of a row of positions: the position it begins at, its (depth, height) and range of widths.
struct Segment {
    at: usize,
    row: (usize, usize),
    widths: Range<usize>,
}

fn segments(axes: &[Axis; 3], block: Range<usize>) -> impl Iterator<Item = Segment> {
    let (height, width) = (axes[1].positions, axes[2].positions);
    let mut at = block.start;
    std::iter::from_fn(move || {
        if at >= block.end {
            return None;
        }
        let (row, from) = (at / width, at % width);
        let to = width.min(from + block.end - at);
        let segment = Segment { at, row: (row / height, row % height), widths: from..to };
        at += to - from;
        Some(segment)
    })
}

/// Calls `visit` with each kernel element (depth, height, width), in order.
fn for_each_tap(axes: &[Axis; 3], mut visit: impl FnMut([usize; 3])) {
    for d in 0..axes[0].kernel {
        for h in 0..axes[1].kernel {
            for w in 0..axes[2].kernel {
                visit([d, h, w]);
            }
        }
    }
}

/// The elements under each window of `block`: row (channel, kernel element), column position.
fn gather<T: WithDType>(layout: &Layout, image: &[T], block: Range<usize>) -> Vec<T> {
    let axes = &layout.axes;
    let mut windows = vec![T::zero(); layout.inputs * layout.kernel() * block.len()];
    let mut rows = windows.chunks_exact_mut(block.len());
    for plane in image.chunks_exact(layout.input()) {
        for_each_tap(axes, |tap| {
            let Some(to) = rows.next() else { return };
            let reach = axes[2].reach(tap[2]);
            for segment in segments(axes, block.clone()) {
                let (from, until) =
                    (segment.widths.start.max(reach.start), segment.widths.end.min(reach.end));
                let Some(row) = source_row(axes, segment.row, tap).filter(|_| from < until) else {
                    continue;
                };
                let first = from * axes[2].stride + tap[2] * axes[2].dilation - axes[2].before;
                let source = &plane[row * axes[2].input + first..];
                let start = segment.at - block.start + from - segment.widths.start;
                let to = &mut to[start..][..until - from];
                if axes[2].stride == 1 {
                    to.copy_from_slice(&source[..to.len()]);
                } else {
                    to.iter_mut()
                        .zip(source.iter().step_by(axes[2].stride))
                        .for_each(|(to, &x)| *to = x);
                }
            }
        });
    }
    windows
}

/// The row (depth and height, flat) of the input that a row of positions meets at a kernel element.
fn source_row(axes: &[Axis; 3], (d, h): (usize, usize), tap: [usize; 3]) -> Option<usize> {
    Some(axes[0].source(d, tap[0])? * axes[1].input + axes[1].source(h, tap[1])?)
}

/// Adds a convolution of one input channel a group to `y`.
fn direct<T: WithDType>(layout: &Layout, x: &[T], weight: &[T], y: &mut [T]) {
    let (axes, positions) = (&layout.axes, layout.positions());
    let channels = layout.groups * layout.outputs;
    if positions == 0 || layout.kernel() == 0 {
        return;
    }
    for (plane, y) in y.chunks_exact_mut(positions).enumerate() {
        let (n, o) = (plane / channels, plane % channels);
        let group = n * layout.groups + o / layout.outputs;
        let x = &x[group * layout.input()..][..layout.input()];
        let mut taps = weight[o * layout.kernel()..][..layout.kernel()].iter();
        for_each_tap(axes, |tap| {
            let Some(&weight) = taps.next() else { return };
            let reach = axes[2].reach(tap[2]);
            if reach.is_empty() {
                return;
            }
            let first = reach.start * axes[2].stride + tap[2] * axes[2].dilation - axes[2].before;
            for segment in segments(axes, 0..positions) {
                let Some(row) = source_row(axes, segment.row, tap) else { continue };
                let source = &x[row * axes[2].input + first..];
                let to = &mut y[segment.at..][reach.clone()];
                if axes[2].stride == 1 {
                    to.iter_mut().zip(source).for_each(|(y, &x)| *y += weight * x);
                } else {
                    to.iter_mut()
                        .zip(source.iter().step_by(axes[2].stride))
                        .for_each(|(y, &x)| *y += weight * x);
                }
            }
        });
    }
}

fn conv_transpose<T: WithDType>(
    cx: &KernelCx<'_, '_>,
    layout: &Layout,
) -> Result<Candle, EvalError> {
    let x: Vec<T> = elements(cx.array("x")?)?;
    let rows = layout.inputs * layout.kernel();
    let weight = cx.array("weight")?.candle().to_dtype(T::DTYPE)?;
    let weight = weight.reshape((layout.groups, layout.outputs, rows))?;
    let (positions, plane) = (layout.positions(), layout.input());
    let bias = bias::<T>(cx, layout.groups * layout.inputs)?;
    let mut y: Vec<T> = Vec::with_capacity(layout.batch * bias.len() * plane);
    for _ in 0..layout.batch {
        bias.iter().for_each(|&b| y.extend(std::iter::repeat_n(b, plane)));
    }
    let batch = if plane == 0 { 0 } else { layout.batch };
    for n in 0..batch {
        for group in 0..layout.groups {
            let weight = weight.get(group)?.t()?;
            let channel = (n * layout.groups + group) * layout.outputs;
            let x = &x[channel * positions..][..layout.outputs * positions];
            let channel = (n * layout.groups + group) * layout.inputs;
            let y = &mut y[channel * plane..][..layout.inputs * plane];
            for block in layout.blocks() {
                let columns: Vec<T> = x
                    .chunks_exact(positions)
                    .flat_map(|row| &row[block.clone()])
                    .copied()
                    .collect();
                let columns =
                    Candle::from_vec(columns, (layout.outputs, block.len()), &Device::Cpu)?;
                let spread = weight.matmul(&columns)?.flatten_all()?.to_vec1::<T>()?;
                scatter(layout, &spread, block, y);
            }
        }
    }
    Ok(Candle::from_vec(y, (layout.batch * bias.len(), plane), &Device::Cpu)?)
}

/// Adds what `gather` would have read, back to where it would have read it.
fn scatter<T: WithDType>(layout: &Layout, windows: &[T], block: Range<usize>, image: &mut [T]) {
    let axes = &layout.axes;
    let mut rows = windows.chunks_exact(block.len());
    for plane in image.chunks_exact_mut(layout.input()) {
        for_each_tap(axes, |tap| {
            let Some(from_row) = rows.next() else { return };
            let reach = axes[2].reach(tap[2]);
            for segment in segments(axes, block.clone()) {
                let (from, until) =
                    (segment.widths.start.max(reach.start), segment.widths.end.min(reach.end));
                let Some(row) = source_row(axes, segment.row, tap).filter(|_| from < until) else {
                    continue;
                };
                let first = from * axes[2].stride + tap[2] * axes[2].dilation - axes[2].before;
                let to = &mut plane[row * axes[2].input + first..];
                let start = segment.at - block.start + from - segment.widths.start;
                let source = &from_row[start..][..until - from];
                to.iter_mut().step_by(axes[2].stride).zip(source).for_each(|(y, &x)| *y += x);
            }
        });
    }
}
