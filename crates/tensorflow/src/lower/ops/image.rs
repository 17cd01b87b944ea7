//! Images: crops, patches, warps and colours.

use mlc_ir::attr::{
    BoxCoordinateMode, CoordinatesMode, ResampleMode, ResamplePadding, SamplingMode,
};
use mlc_ir::ops::{
    Add, CropResize, Equal, Floor, Greater, GreaterEqual, LessEqual, LogicalAnd, Maximum, Minimum,
    Mul, RealDiv, ReduceMax, ReduceMean, ReduceMin, Resample, Sub,
};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::{DType, Tensor};

use super::axes::{Layout, channels_first, restored};
use super::join::{gathered, iota, joined, stacked};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "Addons>Resampler", lower: resampler },
    Lowering { name: "AdjustContrastv2", lower: adjust_contrast },
    Lowering { name: "AdjustHue", lower: adjust_hue },
    Lowering { name: "AdjustSaturation", lower: adjust_saturation },
    Lowering { name: "CropAndResize", lower: crop_and_resize },
    Lowering { name: "Dilation2D", lower: dilation },
    Lowering { name: "ExtractImagePatches", lower: extract_patches },
    Lowering { name: "HSVToRGB", lower: hsv_to_rgb },
    Lowering { name: "ImageProjectiveTransformV2", lower: projective },
    Lowering { name: "ImageProjectiveTransformV3", lower: projective },
    Lowering { name: "MaxPoolWithArgmax", lower: max_pool_with_argmax },
    Lowering { name: "RGBToHSV", lower: rgb_to_hsv },
    Lowering { name: "Resampler", lower: resampler },
];

fn number(cx: &mut Cx<'_>, x: f64) -> LowerResult<Value> {
    cx.number(DType::F32, x)
}

fn four<'a>(shape: &'a [Dim], what: &str) -> LowerResult<[&'a Dim; 4]> {
    match shape {
        [n, h, w, c] => Ok([n, h, w, c]),
        _ => Err(LowerError::invalid(format!("{what} has rank {}, not 4", shape.len()))),
    }
}

fn known(dim: &Dim, what: &str) -> LowerResult<i64> {
    dim.as_const().ok_or_else(|| {
        LowerError::dynamic(format!("{what} is not known at compile time"))
            .help("fix the size of the input with `--input`")
    })
}

/// Boxes of images, scaled to one size. A point outside the image gives the extrapolation value.
fn crop_and_resize(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, boxes, at, size) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?, call.tensor(3)?);
    let x = cx.cast(x, DType::F32)?;
    let size = cx.need_ints(size, "crop_size")?;
    let [height, width] = size[..] else {
        return Err(LowerError::invalid("`crop_size` has two entries"));
    };
    let nearest = match call.text_or("method", "bilinear")? {
        "bilinear" => false,
        "nearest" => true,
        other => return Err(LowerError::argument(format!("`method` is `{other}`"))),
    };
    let outside = call.float_or("extrapolation_value", 0.0)?;
    let boxes = cx.cast(boxes, DType::F32)?;
    if !nearest {
        let at = cx.cast(at, DType::I32)?;
        let x = channels_first(cx, x, Layout::Last)?;
        let op = CropResize {
            target_height: height,
            target_width: width,
            normalized_coordinates: true,
            spatial_scale: F64(1.0),
            box_coordinate_mode: BoxCoordinateMode::CornersHeightFirst,
            sampling_mode: SamplingMode::AlignCorners,
            pad_value: F64(outside),
        };
        let y = op.build(&mut cx.b, x, Some(boxes), Some(at), None)?;
        let y = restored(cx, y, Layout::Last)?;
        return cx.one(y);
    }
    let shape = cx.shape(x)?;
    let [_, h, w, _] = four(&shape, "the image")?;
    let (h, w) = (known(h, "the height")?, known(w, "the width")?);
    // One row of places for each box and axis.
    let ys = crop_places(cx, boxes, ([0, 2], h, height))?;
    let xs = crop_places(cx, boxes, ([1, 3], w, width))?;
    let at = cx.cast(at, DType::I32)?;
    let images = gathered(cx, x, at, 0)?;
    let images = channels_first(cx, images, Layout::Last)?;
    let rows = cx.expand_dims(ys, &[2])?;
    let columns = cx.expand_dims(xs, &[1])?;
    let y = sampled(cx, images, (rows, columns), Sampling { h, w, nearest, outside })?;
    let y = restored(cx, y, Layout::Last)?;
    cx.one(y)
}

fn crop_places(
    cx: &mut Cx<'_>,
    boxes: Value,
    (ends, extent, count): ([i64; 2], i64, i64),
) -> LowerResult<Value> {
    let mut take = |at: i64| -> LowerResult<Value> {
        let at = cx.b.ints(&[at])?;
        gathered(cx, boxes, at, 1)
    };
    let (low, high) = (take(ends[0])?, take(ends[1])?);
    let last = number(cx, (extent - 1) as f64)?;
    if count < 2 {
        let sum = cx.binary(Add {}, low, high)?;
        let half = number(cx, 0.5)?;
        let middle = cx.binary(Mul {}, sum, half)?;
        return cx.binary(Mul {}, middle, last);
    }
    let gap = cx.binary(Sub {}, high, low)?;
    let step = number(cx, (extent - 1) as f64 / (count - 1) as f64)?;
    let step = cx.binary(Mul {}, gap, step)?;
    let i = iota(cx, &Dim::Const(count), DType::F32)?;
    let along = cx.binary(Mul {}, i, step)?;
    let start = cx.binary(Mul {}, low, last)?;
    cx.binary(Add {}, start, along)
}

/// How an image is sampled at places.
struct Sampling {
    h: i64,
    w: i64,
    nearest: bool,
    outside: f64,
}

/// `[n, c, h, w]` at places `[n, y, x]` of rows and columns (broadcast); outside the image, a value.
fn sampled(
    cx: &mut Cx<'_>,
    images: Value,
    (rows, columns): (Value, Value),
    how: Sampling,
) -> LowerResult<Value> {
    let shape = mlc_ir::infer::broadcast(&cx.shape(rows)?, &cx.shape(columns)?)?;
    let rows = crate::lower::dims::expand(cx, rows, &shape)?;
    let columns = crate::lower::dims::expand(cx, columns, &shape)?;
    let mut inside: Option<Value> = None;
    for (at, extent) in [(rows, how.h), (columns, how.w)] {
        let (zero, last) = (number(cx, 0.0)?, number(cx, (extent - 1) as f64)?);
        let low = cx.binary(GreaterEqual {}, at, zero)?;
        let high = cx.binary(LessEqual {}, at, last)?;
        let own = cx.binary(LogicalAnd {}, low, high)?;
        inside = Some(match inside {
            Some(inside) => cx.binary(LogicalAnd {}, inside, own)?,
            None => own,
        });
    }
    let (rows, columns) = if how.nearest {
        // Halves are rounded up, as the kernel of TensorFlow does.
        let half = number(cx, 0.5)?;
        let mut up = |at: Value| -> LowerResult<Value> {
            let at = cx.binary(Add {}, at, half)?;
            cx.unary(Floor {}, at)
        };
        (up(rows)?, up(columns)?)
    } else {
        (rows, columns)
    };
    let grid = stacked(cx, vec![columns, rows], 3)?;
    let op = Resample {
        sampling_mode: if how.nearest { ResampleMode::Nearest } else { ResampleMode::Bilinear },
        padding_mode: ResamplePadding::Border,
        padding_value: F64(0.0),
        coordinates_mode: CoordinatesMode::Unnormalized,
        align_corners: true,
    };
    let y = op.build(&mut cx.b, images, grid)?;
    let Some(inside) = inside else { return Ok(y) };
    let inside = cx.expand_dims(inside, &[1])?;
    let outside = number(cx, how.outside)?;
    cx.select(inside, y, outside)
}

/// Patches of images, one after another along the last axis.
fn extract_patches(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let shape = cx.shape(x)?;
    let [_, h, w, c] = four(&shape, "the image")?;
    let (h, w) = (known(h, "the height")?, known(w, "the width")?);
    let sizes = Layout::Last.spatial(&call.ints("ksizes")?, 4, "ksizes")?;
    let strides = Layout::Last.spatial(&call.ints("strides")?, 4, "strides")?;
    let rates = Layout::Last.spatial(&call.ints("rates")?, 4, "rates")?;
    let same = match call.text_or("padding", "VALID")? {
        "SAME" => true,
        "VALID" => false,
        other => return Err(LowerError::argument(format!("`padding` is `{other}`"))),
    };
    let mut places = Vec::new();
    let mut amounts = vec![(0, 0); 4];
    let mut counts = Vec::new();
    for (axis, extent) in [(0, h), (1, w)] {
        let span = (sizes[axis] - 1) * rates[axis] + 1;
        let (count, before) = if same {
            let count = (extent + strides[axis] - 1) / strides[axis];
            let total = ((count - 1) * strides[axis] + span - extent).max(0);
            amounts[axis + 1] = (total / 2, total - total / 2);
            (count, 0)
        } else {
            ((extent - span) / strides[axis] + 1, 0)
        };
        if count < 1 || extent < 1 {
            return Err(LowerError::invalid(format!("patches of {span} of {extent}")));
        }
        let mut own = Vec::new();
        for i in 0..count {
            for k in 0..sizes[axis] {
                own.push(i * strides[axis] + k * rates[axis] - before);
            }
        }
        places.push(own);
        counts.push(count);
    }
    let mut y = super::slice::padded(cx, x, &amounts, None)?;
    for (axis, places) in places.into_iter().enumerate() {
        let at = cx.b.ints(&places)?;
        y = gathered(cx, y, at, axis + 1)?;
    }
    let (rows, columns) = (counts[0], counts[1]);
    let split = [
        shape[0].clone(),
        Dim::Const(rows),
        Dim::Const(sizes[0]),
        Dim::Const(columns),
        Dim::Const(sizes[1]),
        c.clone(),
    ];
    let y = cx.reshape(y, &split)?;
    let y = cx.transpose(y, &[0, 1, 3, 2, 4, 5])?;
    let depth = c.mul(&Dim::Const(sizes[0] * sizes[1]));
    let y = cx.reshape(y, &[shape[0].clone(), Dim::Const(rows), Dim::Const(columns), depth])?;
    cx.one(y)
}

/// Grey-scale dilation: the greatest sum of the image and the filter.
fn dilation(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, filter) = (call.tensor(0)?, call.tensor(1)?);
    let shape = cx.shape(x)?;
    let [_, h, w, _] = four(&shape, "the image")?;
    let (h, w) = (known(h, "the height")?, known(w, "the width")?);
    let strides = Layout::Last.spatial(&call.ints("strides")?, 4, "strides")?;
    let rates = Layout::Last.spatial(&call.ints("rates")?, 4, "rates")?;
    let own = cx.shape(filter)?;
    let size = |axis: usize| known(&own[axis], "the extent of the filter");
    let sizes = [size(0)?, size(1)?];
    let same = call.text_or("padding", "SAME")? == "SAME";
    let mut amounts = vec![(0, 0); 4];
    let mut counts = [0; 2];
    for (axis, extent) in [(0, h), (1, w)] {
        let span = (sizes[axis] - 1) * rates[axis] + 1;
        counts[axis] = if same {
            let count = (extent + strides[axis] - 1) / strides[axis];
            let total = ((count - 1) * strides[axis] + span - extent).max(0);
            amounts[axis + 1] = (total / 2, total - total / 2);
            count
        } else {
            (extent - span) / strides[axis] + 1
        };
    }
    let lowest = cx.scalar_like(x, -3.0e38)?;
    let x = super::slice::padded(cx, x, &amounts, Some(lowest))?;
    let mut best: Option<Value> = None;
    for i in 0..sizes[0] {
        for j in 0..sizes[1] {
            let mut part = x;
            for (axis, start) in [(0usize, i), (1, j)] {
                let at: Vec<i64> =
                    (0..counts[axis]).map(|k| k * strides[axis] + start * rates[axis]).collect();
                let at = cx.b.ints(&at)?;
                part = gathered(cx, part, at, axis + 1)?;
            }
            let row = super::slice::window(cx, filter, 0, (i, 1))?;
            let weight = super::slice::window(cx, row, 1, (j, 1))?;
            let weight = cx.squeeze(weight, &[0, 1])?;
            let sum = cx.binary(Add {}, part, weight)?;
            best = Some(match best {
                Some(best) => cx.binary(Maximum {}, best, sum)?,
                None => sum,
            });
        }
    }
    cx.one(best.ok_or_else(|| LowerError::invalid("an empty filter"))?)
}

/// Images warped by projections: output `(x, y)` is input
/// `((a₀x + a₁y + a₂)/k, (b₀x + b₁y + b₂)/k)` with `k = c₀x + c₁y + 1`.
fn projective(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, transforms) = (call.tensor(0)?, call.tensor(1)?);
    let dtype = cx.dtype(x)?;
    let x = cx.cast(x, DType::F32)?;
    let size = cx.need_ints(call.tensor(2)?, "output_shape")?;
    let [height, width] = size[..] else {
        return Err(LowerError::invalid("`output_shape` has two entries"));
    };
    let fill = if call.has_input(3) { cx.need_float(call.tensor(3)?, "fill_value")? } else { 0.0 };
    let nearest = match call.text_or("interpolation", "NEAREST")? {
        "NEAREST" => true,
        "BILINEAR" => false,
        other => return Err(LowerError::argument(format!("`interpolation` is `{other}`"))),
    };
    let mode = call.text_or("fill_mode", "CONSTANT")?;
    let padding = match mode {
        "CONSTANT" => ResamplePadding::Constant,
        "NEAREST" => ResamplePadding::Border,
        "REFLECT" => ResamplePadding::Symmetric,
        other => return Err(LowerError::argument(format!("`fill_mode` is `{other}`"))),
    };
    let shape = cx.shape(x)?;
    let [batch, _, _, _] = four(&shape, "the image")?;
    let rows = iota(cx, &Dim::Const(height), DType::F32)?;
    let rows = cx.expand_dims(rows, &[0, 2])?;
    let columns = iota(cx, &Dim::Const(width), DType::F32)?;
    let columns = cx.expand_dims(columns, &[0, 1])?;
    let mut line = |first: i64, shift: Option<i64>| -> LowerResult<Value> {
        let mut entry = |at: i64| -> LowerResult<Value> {
            let at = cx.b.ints(&[at])?;
            let one = gathered(cx, transforms, at, 1)?;
            cx.expand_dims(one, &[2])
        };
        let (a, b) = (entry(first)?, entry(first + 1)?);
        let c = shift.map(&mut entry).transpose()?;
        let (a, b) = (cx.binary(Mul {}, a, columns)?, cx.binary(Mul {}, b, rows)?);
        let sum = cx.binary(Add {}, a, b)?;
        let c = match c {
            Some(c) => c,
            None => number(cx, 1.0)?,
        };
        cx.binary(Add {}, sum, c)
    };
    let (top, bottom) = (line(0, Some(2))?, line(3, Some(5))?);
    let scale = line(6, None)?;
    let (at_x, at_y) = (cx.binary(RealDiv {}, top, scale)?, cx.binary(RealDiv {}, bottom, scale)?);
    let (at_x, at_y) = if nearest {
        // Away from zero at halves, as C rounds.
        let half = number(cx, 0.5)?;
        let mut up = |at: Value| -> LowerResult<Value> {
            let at = cx.binary(Add {}, at, half)?;
            cx.unary(Floor {}, at)
        };
        (up(at_x)?, up(at_y)?)
    } else {
        (at_x, at_y)
    };
    let mut wanted = vec![batch.clone(), Dim::Const(height), Dim::Const(width)];
    if cx.shape(at_x)?[0] == *batch {
        wanted[0] = cx.shape(at_x)?[0].clone();
    }
    let at_x = crate::lower::dims::expand(cx, at_x, &wanted)?;
    let at_y = crate::lower::dims::expand(cx, at_y, &wanted)?;
    let grid = stacked(cx, vec![at_x, at_y], 3)?;
    let images = channels_first(cx, x, Layout::Last)?;
    let op = Resample {
        sampling_mode: if nearest { ResampleMode::Nearest } else { ResampleMode::Bilinear },
        padding_mode: padding,
        padding_value: F64(fill),
        coordinates_mode: CoordinatesMode::Unnormalized,
        align_corners: true,
    };
    let y = op.build(&mut cx.b, images, grid)?;
    let y = restored(cx, y, Layout::Last)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// Images at points `(x, y)`, between pixels; what lies outside the image counts as 0.
fn resampler(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, points) = (call.tensor(0)?, call.tensor(1)?);
    four(&cx.shape(x)?, "the image")?;
    let shape = cx.shape(points)?;
    let (Some(batch), Some(last)) = (shape.first(), shape.last()) else {
        return Err(LowerError::invalid("`warp` is a scalar"));
    };
    if !last.is(2) {
        return Err(LowerError::invalid(format!("`warp` is {}", cx.b.tensor(points)?)));
    }
    let inner = &shape[1..shape.len() - 1];
    // One axis of rows for the op, however many axes the points have.
    let grid = match inner {
        [_, _] => points,
        _ => {
            let count = Dim::product(inner);
            cx.reshape(points, &[batch.clone(), Dim::Const(1), count, Dim::Const(2)])?
        }
    };
    let images = channels_first(cx, x, Layout::Last)?;
    let op = Resample {
        sampling_mode: ResampleMode::Bilinear,
        padding_mode: ResamplePadding::Constant,
        padding_value: F64(0.0),
        coordinates_mode: CoordinatesMode::Unnormalized,
        align_corners: true,
    };
    let y = op.build(&mut cx.b, images, grid)?;
    let mut y = restored(cx, y, Layout::Last)?;
    if inner.len() != 2 {
        let mut wanted = shape[..shape.len() - 1].to_vec();
        wanted.extend(cx.shape(y)?.last().cloned());
        y = cx.reshape(y, &wanted)?;
    }
    cx.one(y)
}

/// `(x − mean)·factor + mean`, the mean over each channel of each image.
fn adjust_contrast(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, factor) = (call.tensor(0)?, call.tensor(1)?);
    let factor = cx.cast(factor, cx.dtype(x)?)?;
    let mean = cx.unary(ReduceMean { axes: Some(vec![-3, -2]), keep_dims: true }, x)?;
    let gap = cx.binary(Sub {}, x, mean)?;
    let gap = cx.binary(Mul {}, gap, factor)?;
    let y = cx.binary(Add {}, gap, mean)?;
    cx.one(y)
}

/// Channels of the last axis, each with an axis of extent 1.
fn channels(cx: &mut Cx<'_>, x: Value) -> LowerResult<[Value; 3]> {
    let axis = cx.rank(x)?.checked_sub(1).ok_or_else(|| LowerError::invalid("a scalar"))? as i64;
    let split = mlc_ir::ops::Split { num_splits: Some(3), split_sizes: None, axis };
    match split.build_many(&mut cx.b, x)?[..] {
        [a, b, c] => Ok([a, b, c]),
        _ => Err(LowerError::invalid("three channels are needed")),
    }
}

/// Hue, saturation and value.
fn hsv(cx: &mut Cx<'_>, x: Value) -> LowerResult<[Value; 3]> {
    let [r, g, b] = channels(cx, x)?;
    let value = cx.unary(ReduceMax { axes: Some(vec![-1]), keep_dims: true }, x)?;
    let least = cx.unary(ReduceMin { axes: Some(vec![-1]), keep_dims: true }, x)?;
    let range = cx.binary(Sub {}, value, least)?;
    let (zero, one) = (cx.scalar_like(x, 0.0)?, cx.scalar_like(x, 1.0)?);
    let lit = cx.binary(Greater {}, value, zero)?;
    let safe = cx.select(lit, value, one)?;
    let ratio = cx.binary(RealDiv {}, range, safe)?;
    let saturation = cx.select(lit, ratio, zero)?;
    let coloured = cx.binary(Greater {}, range, zero)?;
    let safe = cx.select(coloured, range, one)?;
    let six = cx.scalar_like(x, 6.0)?;
    let safe = cx.binary(Mul {}, safe, six)?;
    let mut third = |a: Value, b: Value, shift: f64| -> LowerResult<Value> {
        let gap = cx.binary(Sub {}, a, b)?;
        let turn = cx.binary(RealDiv {}, gap, safe)?;
        let shift = cx.scalar_like(x, shift)?;
        cx.binary(Add {}, turn, shift)
    };
    let (red, green) = (third(g, b, 0.0)?, third(b, r, 2.0 / 6.0)?);
    let blue = third(r, g, 4.0 / 6.0)?;
    let is_green = cx.binary(Equal {}, value, g)?;
    let hue = cx.select(is_green, green, blue)?;
    let is_red = cx.binary(Equal {}, value, r)?;
    let hue = cx.select(is_red, red, hue)?;
    let hue = cx.select(coloured, hue, zero)?;
    let below = cx.binary(mlc_ir::ops::Less {}, hue, zero)?;
    let turned = cx.binary(Add {}, hue, one)?;
    Ok([cx.select(below, turned, hue)?, saturation, value])
}

fn rgb(cx: &mut Cx<'_>, [hue, saturation, value]: [Value; 3]) -> LowerResult<Value> {
    let (zero, one) = (cx.scalar_like(hue, 0.0)?, cx.scalar_like(hue, 1.0)?);
    let six = cx.scalar_like(hue, 6.0)?;
    let turn = cx.binary(Mul {}, hue, six)?;
    let mut parts = Vec::new();
    for (shift, sign, start) in [(3.0, 1.0, -1.0), (2.0, -1.0, 2.0), (4.0, -1.0, 2.0)] {
        let shift = cx.scalar_like(hue, shift)?;
        let gap = cx.binary(Sub {}, turn, shift)?;
        let gap = cx.unary(mlc_ir::ops::Abs {}, gap)?;
        let sign = cx.scalar_like(hue, sign)?;
        let gap = cx.binary(Mul {}, gap, sign)?;
        let start = cx.scalar_like(hue, start)?;
        let level = cx.binary(Add {}, gap, start)?;
        let level = cx.binary(Maximum {}, level, zero)?;
        let level = cx.binary(Minimum {}, level, one)?;
        // (1 − s + s·level)·v
        let colour = cx.binary(Mul {}, saturation, level)?;
        let grey = cx.binary(Sub {}, one, saturation)?;
        let sum = cx.binary(Add {}, grey, colour)?;
        parts.push(cx.binary(Mul {}, sum, value)?);
    }
    let axis = cx.rank(hue)? - 1;
    joined(cx, parts, axis)
}

fn rgb_to_hsv(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let parts = hsv(cx, call.tensor(0)?)?;
    let axis = cx.rank(parts[0])? - 1;
    let y = joined(cx, parts.to_vec(), axis)?;
    cx.one(y)
}

fn hsv_to_rgb(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let parts = channels(cx, call.tensor(0)?)?;
    let y = rgb(cx, parts)?;
    cx.one(y)
}

fn adjust_saturation(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, scale) = (call.tensor(0)?, call.tensor(1)?);
    let scale = cx.cast(scale, cx.dtype(x)?)?;
    let [hue, saturation, value] = hsv(cx, x)?;
    let saturation = cx.binary(Mul {}, saturation, scale)?;
    let (zero, one) = (cx.scalar_like(x, 0.0)?, cx.scalar_like(x, 1.0)?);
    let saturation = cx.binary(Maximum {}, saturation, zero)?;
    let saturation = cx.binary(Minimum {}, saturation, one)?;
    let y = rgb(cx, [hue, saturation, value])?;
    cx.one(y)
}

/// The hue turned by a part of the circle.
fn adjust_hue(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, delta) = (call.tensor(0)?, call.tensor(1)?);
    let delta = cx.cast(delta, cx.dtype(x)?)?;
    let [hue, saturation, value] = hsv(cx, x)?;
    let turned = cx.binary(Add {}, hue, delta)?;
    let whole = cx.unary(Floor {}, turned)?;
    let hue = cx.binary(Sub {}, turned, whole)?;
    let y = rgb(cx, [hue, saturation, value])?;
    cx.one(y)
}

/// The greatest element of each window and its place in the image, flattened.
fn max_pool_with_argmax(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let shape = cx.shape(x)?;
    let [n, h, w, c] = four(&shape, "the image")?;
    let (h, w, c) = (known(h, "height")?, known(w, "width")?, known(c, "the channels")?);
    let with_batch = call.bool_or("include_batch_in_index", false)?;
    let sizes = Layout::Last.spatial(&call.ints("ksize")?, 4, "ksize")?;
    let strides = Layout::Last.spatial(&call.ints("strides")?, 4, "strides")?;
    let same = call.text_or("padding", "VALID")? == "SAME";
    let out = call.dtype_or("Targmax", DType::I64)?;
    // For each output row, the rows of its window; those outside repeat ones inside.
    let mut places = Vec::new();
    for (axis, extent) in [(0usize, h), (1, w)] {
        let count = match same {
            true => (extent + strides[axis] - 1) / strides[axis],
            false => (extent - sizes[axis]) / strides[axis] + 1,
        };
        if count < 1 {
            return Err(LowerError::invalid("a window larger than the image"));
        }
        let total = ((count - 1) * strides[axis] + sizes[axis] - extent).max(0);
        let before = if same { total / 2 } else { 0 };
        let mut own = Vec::new();
        for i in 0..count {
            let start = i * strides[axis] - before;
            let first = start.max(0);
            let last = (start + sizes[axis] - 1).min(extent - 1);
            own.push((0..sizes[axis]).map(|k| (first + k).min(last)).collect::<Vec<_>>());
        }
        places.push(own);
    }
    let (rows, columns) = (places[0].len(), places[1].len());
    let mut flat = Vec::new();
    for row in &places[0] {
        for column in &places[1] {
            for &y in row {
                flat.extend(column.iter().map(|&x| y * w + x));
            }
        }
    }
    let window = sizes[0] * sizes[1];
    let pixels = cx.reshape(x, &[n.clone(), Dim::Const(h * w), Dim::Const(c)])?;
    let at = cx.b.ints(&flat)?;
    let taken = gathered(cx, pixels, at, 1)?;
    let count = (rows * columns) as i64;
    let split = [n.clone(), Dim::Const(count), Dim::Const(window), Dim::Const(c)];
    let taken = cx.reshape(taken, &split)?;
    let best = cx.unary(ReduceMax { axes: Some(vec![2]), keep_dims: false }, taken)?;
    let arg = mlc_ir::ops::ReduceArgmax { axis: 2, keep_dims: false, output_dtype: DType::I32 };
    let arg = cx.unary(arg, taken)?;
    // The place of the winner: row of the table of windows, then its pixel.
    let table = Tensor::from_i64s(DType::I32, &[flat.len() as u64], &flat)?;
    let table = cx.b.constant(table)?;
    let starts: Vec<i64> = (0..count).map(|i| i * window).collect();
    let starts = Tensor::from_i64s(DType::I32, &[count as u64, 1], &starts)?;
    let starts = cx.b.constant(starts)?;
    let at = cx.binary(Add {}, arg, starts)?;
    let pixel = gathered(cx, table, at, 0)?;
    let channels = cx.b.int(c)?;
    let place = cx.binary(Mul {}, pixel, channels)?;
    let own = iota(cx, &Dim::Const(c), DType::I32)?;
    let mut place = cx.binary(Add {}, place, own)?;
    if with_batch {
        let images = iota(cx, n, DType::I32)?;
        let images = cx.expand_dims(images, &[1, 2])?;
        let size = cx.b.int(h * w * c)?;
        let start = cx.binary(Mul {}, images, size)?;
        place = cx.binary(Add {}, place, start)?;
    }
    let whole = [n.clone(), Dim::Const(rows as i64), Dim::Const(columns as i64), Dim::Const(c)];
    let best = cx.reshape(best, &whole)?;
    let place = cx.reshape(place, &whole)?;
    let place = cx.cast(place, out)?;
    Ok(vec![Val::Tensor(best), Val::Tensor(place)])
}
