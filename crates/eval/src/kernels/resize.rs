//! Resizing: one axis after the other.

use mlc_ir::attr::{InterpolationMode, SamplingMode};
use mlc_ir::ops::{
    Resize, ResizeBilinear, ResizeNearestNeighbor, UpsampleBilinear, UpsampleNearestNeighbor,
};

use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::window::{checked_count, grid};

impl Kernel for UpsampleNearestNeighbor {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        below(x, scaled(x, [self.scale_factor_height.0, self.scale_factor_width.0])?)
    }
}

impl Kernel for UpsampleBilinear {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let sizes = scaled(x, [self.scale_factor_height.0, self.scale_factor_width.0])?;
        let mode = match (self.align_corners, self.half_pixel_centers) {
            (true, _) => SamplingMode::StrictAlignCorners,
            (false, None | Some(true)) => SamplingMode::UnalignCorners,
            (false, Some(false)) => SamplingMode::Default,
        };
        linear(cx, &sizes, mode)
    }
}

impl Kernel for ResizeNearestNeighbor {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let sizes = [size(self.target_size_height)?, size(self.target_size_width)?];
        below(cx.array("x")?, sizes)
    }
}

/// Element `i` of the last two axes is element `⌊i · extent / size⌋` of `x`.
fn below(x: &Array, sizes: [usize; 2]) -> Result<Outputs, EvalError> {
    nearest(x, &sizes, |i, (size, extent)| i * extent / size)
}

impl Kernel for ResizeBilinear {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let sizes = [size(self.target_size_height)?, size(self.target_size_width)?];
        linear(cx, &sizes, self.sampling_mode)
    }
}

impl Kernel for Resize {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let shape = cx.array("shape")?.to_i64s()?;
        let resized = usize::try_from(self.resized_dims).unwrap_or(usize::MAX);
        let (Some(skip), Some(first)) =
            (shape.len().checked_sub(resized), x.rank().checked_sub(resized))
        else {
            let message = format!("`shape` {shape:?} for {resized} axes of {:?}", x.shape());
            return Err(EvalError::undefined(message));
        };
        let sizes = shape[skip..]
            .iter()
            .zip(&x.shape()[first..])
            .map(|(&wanted, &extent)| if wanted == 0 { Ok(extent) } else { size(wanted) })
            .collect::<Result<Vec<_>, _>>()?;
        match self.interpolation_mode {
            InterpolationMode::Linear => linear(cx, &sizes, self.sampling_mode),
            InterpolationMode::NearestNeighbor => nearest(x, &sizes, |i, (size, extent)| {
                (sample(self.sampling_mode, (i, size), extent as f64) + 0.5).floor() as usize
            }),
        }
    }
}

fn size(size: i64) -> Result<usize, EvalError> {
    u32::try_from(size)
        .map(|n| n as usize)
        .map_err(|_| EvalError::undefined(format!("a size of {size}")))
}

/// The last two extents times `scales`, rounded down.
fn scaled(x: &Array, scales: [f64; 2]) -> Result<[usize; 2], EvalError> {
    let first = x.rank().checked_sub(2).ok_or_else(|| EvalError::internal("no image"))?;
    let scaled = |i: usize| {
        let product = (x.shape()[first + i] as f32 * scales[i] as f32).floor();
        if (0.0..=2_147_483_648.0).contains(&product) {
            Ok(product as usize)
        } else {
            Err(EvalError::undefined(format!("a scale of {}", scales[i])))
        }
    };
    Ok([scaled(0)?, scaled(1)?])
}

/// Where, between 0 and `extent − 1`, element `i` of `size` is sampled in an axis of `extent`.
pub(crate) fn sample(mode: SamplingMode, (i, size): (usize, usize), extent: f64) -> f64 {
    let (i, n, last) = (i as f64, size as f64, extent - 1.0);
    let at = match mode {
        SamplingMode::AlignCorners if size == 1 => last / 2.0,
        SamplingMode::StrictAlignCorners | SamplingMode::AlignCorners => {
            if size > 1 {
                i * last / (n - 1.0)
            } else {
                0.0
            }
        }
        SamplingMode::Default => i * extent / n,
        SamplingMode::OffsetCorners => (i + 0.5) * last.max(1.0) / n,
        SamplingMode::UnalignCorners => (i + 0.5) * extent / n - 0.5,
    };
    at.max(last.min(0.0)).min(last.max(0.0))
}

/// The shape of `x` with its last extents replaced by `sizes`.
fn resized(x: &Array, sizes: &[usize]) -> Result<Vec<usize>, EvalError> {
    let first = x.rank() - sizes.len();
    let (kept, replaced) = x.shape().split_at(first);
    if replaced.contains(&0) && !sizes.contains(&0) {
        return Err(EvalError::undefined(format!("an image of extents {replaced:?} is resized")));
    }
    checked_count(sizes)?;
    let shape = [kept, sizes].concat();
    checked_count(&shape)?;
    Ok(shape)
}

/// Elements of `x` picked along its last axes: element `i` of `(size, extent)` of an axis is the one
/// that `source` gives.
fn nearest(
    x: &Array,
    sizes: &[usize],
    source: impl Fn(usize, (usize, usize)) -> usize,
) -> Result<Outputs, EvalError> {
    let shape = resized(x, sizes)?;
    let first = x.rank() - sizes.len();
    let sources: Vec<Vec<usize>> = shape
        .iter()
        .zip(x.shape())
        .enumerate()
        .map(|(axis, (&size, &extent))| {
            (0..size).map(|i| if axis < first { i } else { source(i, (size, extent)) }).collect()
        })
        .collect();
    Ok(vec![x.pick(&shape, &grid(x.shape(), &sources))?.into()])
}

/// Interpolates along each of the last axes.
fn linear(
    cx: &KernelCx<'_, '_>,
    sizes: &[usize],
    mode: SamplingMode,
) -> Result<Outputs, EvalError> {
    let x = cx.array("x")?;
    if !x.dtype().is_float() {
        let message = format!("linear interpolation between {} elements", x.dtype());
        return Err(EvalError::unsupported(message));
    }
    let shape = resized(x, sizes)?;
    let mut values = x.to_f64s()?;
    let mut inner = 1;
    for (&size, &extent) in sizes.iter().zip(&x.shape()[x.rank() - sizes.len()..]).rev() {
        let points: Vec<Point> =
            (0..size).map(|i| Point::at(sample(mode, (i, size), extent as f64), extent)).collect();
        values = interpolate(&values, &points, (extent, inner));
        inner *= size;
    }
    cx.one_f64s(&shape, values)
}

/// A place between two elements of an axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) low: usize,
    pub(crate) high: usize,
    /// Share of `high`.
    pub(crate) share: f64,
}

impl Point {
    /// The place `at` of an axis of `extent`; `at` is between 0 and `extent − 1`.
    pub(crate) fn at(at: f64, extent: usize) -> Self {
        let last = extent.saturating_sub(1);
        let low = (at.floor() as usize).min(last);
        Self { low, high: (low + 1).min(last), share: at - low as f64 }
    }

    /// The value there; an element that has no share does not count, not even if it is NaN.
    pub(crate) fn between(&self, low: f64, high: f64) -> f64 {
        if self.share == 0.0 { low } else { low * (1.0 - self.share) + high * self.share }
    }
}

/// Samples one axis, of `extent` with `inner` elements to each place, at `points`.
fn interpolate(values: &[f64], points: &[Point], (extent, inner): (usize, usize)) -> Vec<f64> {
    let block = extent * inner;
    if block == 0 {
        return Vec::new();
    }
    let mut result = Vec::with_capacity(values.len() / extent * points.len());
    for block in values.chunks_exact(block) {
        for point in points {
            let (low, high) = (&block[point.low * inner..], &block[point.high * inner..]);
            result.extend(
                low[..inner].iter().zip(&high[..inner]).map(|(&a, &b)| point.between(a, b)),
            );
        }
    }
    result
}
