//! Resizing of images.

use mlc_ir::attr::{InterpolationMode, SamplingMode};
use mlc_ir::ops::{
    Add, Floor, Matmul, Maximum, Minimum, Mul, RealDiv, Resize, ResizeBilinear,
    ResizeNearestNeighbor, Sub, UpsampleBilinear, UpsampleNearestNeighbor,
};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::{DType, Tensor};

use super::indices::gather;
use super::weights::{Filter, Line};
use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Scalar, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.upsample_nearest1d", lower: |cx, call| nearest(cx, call, (1, false)) },
    Lowering { name: "aten.upsample_nearest2d", lower: |cx, call| nearest(cx, call, (2, false)) },
    Lowering { name: "aten.upsample_nearest3d", lower: |cx, call| nearest(cx, call, (3, false)) },
    Lowering {
        name: "aten._upsample_nearest_exact1d",
        lower: |cx, call| nearest(cx, call, (1, true)),
    },
    Lowering {
        name: "aten._upsample_nearest_exact2d",
        lower: |cx, call| nearest(cx, call, (2, true)),
    },
    Lowering {
        name: "aten._upsample_nearest_exact3d",
        lower: |cx, call| nearest(cx, call, (3, true)),
    },
    Lowering {
        name: "aten.upsample_linear1d",
        lower: |cx, call| interpolated(cx, call, (1, Filter::Linear, false)),
    },
    Lowering {
        name: "aten.upsample_bilinear2d",
        lower: |cx, call| interpolated(cx, call, (2, Filter::Linear, false)),
    },
    Lowering {
        name: "aten.upsample_trilinear3d",
        lower: |cx, call| interpolated(cx, call, (3, Filter::Linear, false)),
    },
    Lowering {
        name: "aten.upsample_bicubic2d",
        lower: |cx, call| interpolated(cx, call, (2, Filter::Cubic, false)),
    },
    Lowering {
        name: "aten._upsample_bilinear2d_aa",
        lower: |cx, call| interpolated(cx, call, (2, Filter::Linear, true)),
    },
    Lowering {
        name: "aten._upsample_bicubic2d_aa",
        lower: |cx, call| interpolated(cx, call, (2, Filter::Cubic, true)),
    },
];

/// The longest axis that is resized.
const LONGEST: i64 = 1 << 20;

/// The longest axis of unknown extent for which rounding is checked: longer images are not expected.
const CHECKED: i64 = 1 << 16;

/// One axis that is resized.
#[derive(Debug, Clone)]
struct Axis {
    input: Dim,
    output: Dim,
    /// The scale factor that was asked for, if one was.
    scale: Option<f64>,
}

impl Axis {
    /// An axis that stays.
    fn kept(extent: &Dim) -> Self {
        Self { input: extent.clone(), output: extent.clone(), scale: None }
    }

    /// The axis where its extents are known.
    fn line(&self) -> Option<Line> {
        let (input, output) = (self.input.as_const()?, self.output.as_const()?);
        Some(Line { input, output, scale: self.scale })
    }

    /// How many times longer it becomes, where that is a known integer and the scale factor is the
    /// same.
    fn factor(&self) -> Option<i64> {
        let factor = self.output.exact_div(&self.input)?.as_const().filter(|&n| n > 0)?;
        let same = self.scale.is_none_or(|scale| scale <= 0.0 || scale == factor as f64);
        same.then_some(factor)
    }

    /// The scale factor is not there or is the ratio of the extents, whatever they are.
    fn is_proportional(&self) -> bool {
        match self.line() {
            Some(line) => line.is_proportional(),
            None => self.scale.is_none() || self.factor().is_some(),
        }
    }
}

/// An extent times a scale factor, rounded down.
fn scaled(cx: &Cx<'_>, extent: &Dim, scale: f64) -> LowerResult<Dim> {
    if let Some(extent) = extent.as_const() {
        let product = (extent as f64 * scale).floor();
        if !(0.0..=f64::from(i32::MAX)).contains(&product) {
            return Err(LowerError::invalid(format!("an extent of {extent} times {scale}")));
        }
        return Ok(Dim::Const(product as i64));
    }
    let (low, high) = cx.b.program.symbols.bounds(extent);
    let range = low.unwrap_or(1).max(1)..=high.unwrap_or(CHECKED).min(CHECKED);
    if let Some((p, q)) = fraction(scale, range) {
        return Ok(extent.mul(&Dim::Const(p)).floor_div(&Dim::Const(q)));
    }
    Err(LowerError::dynamic(format!("the extent `{extent}` times {scale} is not known"))
        .help("resize to a `size`, or export the model with those extents fixed"))
}

/// A fraction for a scale factor that gives the same extents, whatever the rounding of the product,
/// for all operands of a range.
fn fraction(scale: f64, mut range: std::ops::RangeInclusive<i64>) -> Option<(i64, i64)> {
    let nearest = |q: i64| ((scale * q as f64).round() as i64, q);
    let close = |&(p, q): &(i64, i64)| (p as f64 / q as f64 / scale - 1.0).abs() < 1e-12 && p > 0;
    let (p, q) = (1..=1024).map(nearest).find(close)?;
    range.all(|n| (n as f64 * scale).floor() as i64 == n * p / q).then_some((p, q))
}

/// The operand and how each of its last `count` axes is resized.
fn plan(cx: &mut Cx<'_>, call: &Call<'_>, count: usize) -> LowerResult<(Value, Vec<Axis>)> {
    let x = call.tensor(if call.has("input") { "input" } else { "self" })?;
    let shape = cx.shape(x)?;
    let Some(first) = shape.len().checked_sub(count).filter(|&n| n == 2) else {
        return Err(LowerError::invalid(format!(
            "{count} axes of a tensor of rank {} are resized",
            shape.len()
        )));
    };
    let names: &[&str] = match count {
        1 => &["scales"],
        2 => &["scales_h", "scales_w"],
        _ => &["scales_d", "scales_h", "scales_w"],
    };
    let mut scales = Vec::with_capacity(count);
    match call.get("scale_factors") {
        Some(Val::List(factors)) if factors.len() == count => {
            for factor in factors {
                scales.push(match factor {
                    Val::Float(scale) => Some(*scale),
                    Val::Int(scale) => scale.as_const().map(|n| n as f64),
                    _ => return Err(LowerError::dynamic("a scale factor is not known")),
                });
            }
        }
        Some(_) => return Err(LowerError::invalid("`scale_factors` has another length")),
        None => {
            for name in names {
                scales.push(call.opt_float(name)?);
            }
        }
    }
    let sizes = match call.opt_dims("output_size")? {
        Some(sizes) => sizes,
        None => scales
            .iter()
            .zip(&shape[first..])
            .map(|(scale, extent)| {
                let scale = scale.ok_or_else(|| LowerError::invalid("no size to resize to"))?;
                scaled(cx, extent, scale)
            })
            .collect::<LowerResult<_>>()?,
    };
    if sizes.len() != count {
        return Err(LowerError::invalid(format!("{} extents for {count} axes", sizes.len())));
    }
    let axes = shape[first..].iter().zip(sizes).zip(scales);
    let axes: Vec<Axis> =
        axes.map(|((input, output), scale)| Axis { input: input.clone(), output, scale }).collect();
    let sides = || axes.iter().flat_map(|axis| [&axis.input, &axis.output]);
    if let Some(side) = sides().filter_map(Dim::as_const).find(|n| !(1..=LONGEST).contains(n)) {
        return Err(LowerError::argument(format!("an image is resized with an extent of {side}")));
    }
    Ok((cx.read(x)?, axes))
}

/// Resizes the last two axes of a batch of images.
type PlaneStep<'a> = &'a dyn Fn(&mut Cx<'_>, Value, [&Axis; 2]) -> LowerResult<Value>;

/// Resizes the last axes, `step` doing two of them at a time: an axis of extent 1 is added to one
/// axis, and of three the first one is done apart.
fn by_planes(cx: &mut Cx<'_>, x: Value, axes: &[Axis], step: PlaneStep<'_>) -> LowerResult<Value> {
    match axes {
        [one] => {
            let x = alias::unsqueeze(cx, x, &[2])?;
            let y = step(cx, x, [&Axis::kept(&Dim::Const(1)), one])?;
            dims::squeeze(cx, y, &[2])
        }
        [height, width] => step(cx, x, [height, width]),
        [depth, height, width] => {
            let shape = cx.b.tensor(x)?.shape.clone();
            let (n, c) = (&shape[0], &shape[1]);
            let mut y = x;
            if height.input != height.output || width.input != width.output {
                let images =
                    [n.clone(), c.mul(&depth.input), height.input.clone(), width.input.clone()];
                y = cx.reshape(y, &images)?;
                y = step(cx, y, [height, width])?;
            }
            let area = height.output.mul(&width.output);
            if depth.input != depth.output {
                y = cx.reshape(y, &[n.clone(), c.clone(), depth.input.clone(), area.clone()])?;
                y = step(cx, y, [depth, &Axis::kept(&area)])?;
            }
            let [d, h, w] = [depth, height, width].map(|axis| axis.output.clone());
            cx.reshape(y, &[n.clone(), c.clone(), d, h, w])
        }
        _ => Err(LowerError::invalid("more than three axes are resized")),
    }
}

fn finished(cx: &mut Cx<'_>, y: Value, (x, axes): (Value, &[Axis])) -> LowerResult<Vec<Val>> {
    let mut shape = cx.b.tensor(x)?.shape[..2].to_vec();
    shape.extend(axes.iter().map(|axis| axis.output.clone()));
    cx.refine(y, &shape)?;
    cx.one(y)
}

fn nearest(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (count, centred): (usize, bool),
) -> LowerResult<Vec<Val>> {
    let (x, axes) = plan(cx, call, count)?;
    let y = by_planes(cx, x, &axes, &|cx, x, axes| nearest_plane(cx, x, axes, centred))?;
    finished(cx, y, (x, &axes))
}

/// Whether every element is repeated `factor` times: what torch does in exact arithmetic, checked for
/// how it rounds.
fn repeats(cx: &Cx<'_>, axis: &Axis, centred: bool) -> Option<i64> {
    let factor = axis.factor()?;
    let longest = match axis.input.as_const() {
        Some(extent) => extent,
        None => cx.b.program.symbols.bounds(&axis.input).1.unwrap_or(CHECKED).min(CHECKED),
    };
    let input = longest.max(1);
    let line = Line { input, output: input.checked_mul(factor)?, scale: axis.scale };
    let fits = (0..input).all(|k| {
        let first = k * factor;
        line.nearest(first, centred) == k && line.nearest(first + factor - 1, centred) == k
    });
    fits.then_some(factor)
}

/// Whether element `i` of `N` is element `⌊i·X/N⌋`, as `resize_nearest_neighbor` has it.
fn is_floor(axis: &Axis, centred: bool) -> bool {
    axis.line().is_some_and(|line| {
        (0..line.output)
            .all(|i| line.nearest(i, centred) == i.saturating_mul(line.input) / line.output)
    })
}

fn nearest_plane(cx: &mut Cx<'_>, x: Value, axes: [&Axis; 2], centred: bool) -> LowerResult<Value> {
    let factors = axes.map(|axis| repeats(cx, axis, centred));
    if let [Some(height), Some(width)] = factors {
        let op = UpsampleNearestNeighbor {
            scale_factor_height: F64(height as f64),
            scale_factor_width: F64(width as f64),
        };
        return if [height, width] == [1, 1] { Ok(x) } else { cx.unary(op, x) };
    }
    if axes.iter().all(|axis| is_floor(axis, centred))
        && let [Some(height), Some(width)] = axes.map(|axis| axis.output.as_const())
    {
        let op = ResizeNearestNeighbor { target_size_height: height, target_size_width: width };
        return cx.unary(op, x);
    }
    let mut y = x;
    for (place, axis) in axes.into_iter().enumerate() {
        if factors[place] == Some(1) {
            continue;
        }
        let indices = match axis.line() {
            Some(line) => {
                let all: Vec<i64> = (0..line.output).map(|i| line.nearest(i, centred)).collect();
                cx.b.ints(&all)?
            }
            None => nearest_indices(cx, axis, centred)?,
        };
        y = gather(cx, y, 2 + place, indices)?;
    }
    Ok(y)
}

/// An extent as a scalar of f32.
fn float_extent(cx: &mut Cx<'_>, extent: &Dim) -> LowerResult<Value> {
    cx.number(&Scalar::Int(extent.clone()), DType::F32)
}

/// `0, 1, …` up to an extent, as f32.
fn float_range(cx: &mut Cx<'_>, extent: &Dim) -> LowerResult<Value> {
    let all = alias::range(cx, &Dim::Const(0), extent, 1)?;
    cx.cast(all, DType::F32)
}

/// Distance between sampling points, as a scalar of f32.
fn float_step(cx: &mut Cx<'_>, axis: &Axis) -> LowerResult<Value> {
    match axis.scale.filter(|&scale| scale > 0.0) {
        Some(scale) => Ok(cx.b.scalar(DType::F32, 1.0 / scale)?),
        None => {
            let input = float_extent(cx, &axis.input)?;
            let output = float_extent(cx, &axis.output)?;
            cx.binary(RealDiv {}, input, output)
        }
    }
}

/// What [`Line::nearest`] gives, computed while the program runs.
fn nearest_indices(cx: &mut Cx<'_>, axis: &Axis, centred: bool) -> LowerResult<Value> {
    let mut at = float_range(cx, &axis.output)?;
    if centred {
        let half = cx.b.scalar(DType::F32, 0.5)?;
        at = cx.binary(Add {}, at, half)?;
    }
    let step = float_step(cx, axis)?;
    let at = cx.binary(Mul {}, at, step)?;
    let at = cx.unary(Floor {}, at)?;
    let at = cx.cast(at, DType::I32)?;
    let last = dims::scalar(cx, &axis.input.sub(&Dim::Const(1)))?;
    cx.binary(Minimum {}, at, last)
}

/// How elements between others are made.
#[derive(Debug, Clone, Copy)]
struct Interpolation {
    filter: Filter,
    smooth: bool,
    align_corners: bool,
}

fn interpolated(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (count, filter, smooth): (usize, Filter, bool),
) -> LowerResult<Vec<Val>> {
    let (x, axes) = plan(cx, call, count)?;
    let align_corners = call.bool_or("align_corners", false)?;
    let dtype = cx.b.tensor(x)?.dtype;
    if !dtype.is_float() {
        return Err(LowerError::dtype(format!("interpolation between {dtype}"))
            .help("convert the image to float before, and back after"));
    }
    let how = Interpolation { filter, smooth, align_corners };
    let y = by_planes(cx, x, &axes, &|cx, x, axes| how.plane(cx, x, axes))?;
    finished(cx, y, (x, &axes))
}

impl Interpolation {
    fn plane(&self, cx: &mut Cx<'_>, x: Value, axes: [&Axis; 2]) -> LowerResult<Value> {
        let bilinear = self.filter == Filter::Linear && !self.smooth;
        let proportional = axes
            .iter()
            .all(|axis| self.align_corners || axis.input == axis.output || axis.is_proportional());
        if bilinear && proportional {
            return self.by_op(cx, x, axes);
        }
        let mut y = x;
        for (place, axis) in axes.into_iter().enumerate() {
            let stays =
                axis.input == axis.output && (bilinear || self.smooth || axis.is_proportional());
            if stays {
                continue;
            }
            y = match axis.line() {
                Some(line) => self.by_matrix(cx, y, (place, &line))?,
                None if bilinear => self.at_run_time(cx, y, (place, axis))?,
                None => {
                    let message = format!(
                        "cubic or smoothed interpolation from `{}` to `{}`",
                        axis.input, axis.output
                    );
                    return Err(LowerError::dynamic(message)
                        .help("export the model with those extents fixed"));
                }
            };
        }
        Ok(y)
    }

    /// The op of Core ML whose sampling points are the same.
    fn by_op(&self, cx: &mut Cx<'_>, x: Value, axes: [&Axis; 2]) -> LowerResult<Value> {
        let same = |axis: &Axis| if axis.input == axis.output { Some(1) } else { axis.factor() };
        if let [Some(height), Some(width)] = axes.map(same) {
            let op = UpsampleBilinear {
                scale_factor_height: F64(height as f64),
                scale_factor_width: F64(width as f64),
                align_corners: self.align_corners,
                half_pixel_centers: None,
            };
            return if [height, width] == [1, 1] { Ok(x) } else { cx.unary(op, x) };
        }
        let sampling_mode = match self.align_corners {
            true => SamplingMode::StrictAlignCorners,
            false => SamplingMode::UnalignCorners,
        };
        if let [Some(height), Some(width)] = axes.map(|axis| axis.output.as_const()) {
            let op = ResizeBilinear {
                target_size_height: height,
                target_size_width: width,
                sampling_mode,
            };
            return cx.unary(op, x);
        }
        let shape = axes.map(|axis| axis.output.clone());
        let shape = dims::vector(cx, &shape)?;
        let op = Resize {
            resized_dims: 2,
            interpolation_mode: InterpolationMode::Linear,
            sampling_mode,
        };
        cx.binary(op, x, shape)
    }

    /// A product with the matrix of weights, from the right for the last axis, from the left for the
    /// one before.
    fn by_matrix(
        &self,
        cx: &mut Cx<'_>,
        x: Value,
        (place, line): (usize, &Line),
    ) -> LowerResult<Value> {
        let (rows, columns) = (line.output as u64, line.input as u64);
        if rows.checked_mul(columns).is_none_or(|n| n > 1 << 26) {
            return Err(LowerError::argument(format!("resizing from {columns} to {rows}")));
        }
        let weights = match self.smooth {
            true => line.smooth_weights(self.filter, self.align_corners),
            false => line.weights(self.filter, self.align_corners),
        };
        let dtype = cx.b.tensor(x)?.dtype;
        let matrix = Tensor::from_f64s(dtype, &[rows, columns], &weights)?;
        let matrix = cx.b.constant(matrix)?;
        let op = Matmul { transpose_x: false, transpose_y: place == 1 };
        match place {
            1 => cx.binary(op, x, matrix),
            _ => cx.binary(op, matrix, x),
        }
    }

    /// Linear interpolation with weights that are computed while the program runs.
    fn at_run_time(
        &self,
        cx: &mut Cx<'_>,
        x: Value,
        (place, axis): (usize, &Axis),
    ) -> LowerResult<Value> {
        let dtype = cx.b.tensor(x)?.dtype;
        let (half, zero) = (cx.b.scalar(DType::F32, 0.5)?, cx.b.scalar(DType::F32, 0.0)?);
        let one = cx.b.scalar(DType::F32, 1.0)?;
        let points = float_range(cx, &axis.output)?;
        let points = cx.binary(Add {}, points, half)?;
        let step = float_step(cx, axis)?;
        let points = cx.binary(Mul {}, points, step)?;
        let points = cx.binary(Sub {}, points, half)?;
        let points = cx.binary(Maximum {}, points, zero)?;
        let low = cx.unary(Floor {}, points)?;
        let share = cx.binary(Sub {}, points, low)?;
        let rest = cx.binary(Sub {}, one, share)?;
        let low = cx.cast(low, DType::I32)?;
        let last = dims::scalar(cx, &axis.input.sub(&Dim::Const(1)))?;
        let low = cx.binary(Minimum {}, low, last)?;
        let next = cx.b.int(1)?;
        let high = cx.binary(Add {}, low, next)?;
        let high = cx.binary(Minimum {}, high, last)?;
        let mut sum = None;
        for (indices, weight) in [(low, rest), (high, share)] {
            let part = gather(cx, x, 2 + place, indices)?;
            let weight = cx.cast(weight, dtype)?;
            let weight = if place == 0 { alias::unsqueeze(cx, weight, &[1])? } else { weight };
            let part = cx.binary(Mul {}, part, weight)?;
            sum = Some(match sum {
                None => part,
                Some(sum) => cx.binary(Add {}, sum, part)?,
            });
        }
        sum.ok_or_else(|| LowerError::invalid("nothing to interpolate between"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_factors_are_fractions() {
        assert_eq!(fraction(3.6, 1..=CHECKED), Some((18, 5)));
        assert_eq!(fraction(0.5, 1..=CHECKED), Some((1, 2)));
        assert_eq!(fraction(2.0, 1..=CHECKED), Some((2, 1)));
        assert_eq!(fraction(std::f64::consts::PI, 1..=CHECKED), None);
    }
}
