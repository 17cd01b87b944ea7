//! Regions of images: `roi_align` and its kin, and deformable convolutions.
//!
//! Bilinear sampling at a grid of points is separable: along each axis it is a product with a matrix
//! of weights, and the mean of the samples of a bin is the mean of their rows.

use mlc_ir::attr::{CoordinatesMode, ResampleMode, ResamplePadding};
use mlc_ir::ops::{
    Abs, Add, Cast, Ceil, Fill, Floor, Gather, Greater, GreaterEqual, Less, LessEqual, LogicalAnd,
    Matmul, Maximum, Minimum, Mul, RealDiv, ReduceMax, ReduceMean, ReduceSum, Resample, Select,
    Stack, Sub, WhileLoop,
};
use mlc_ir::{Builder, Dim, F64, Value};
use mlc_tensor::{DType, Tensor};

use super::calls::Calls;
use super::indices::widened;
use crate::lower::alias::{range, select, slice, unsqueeze};
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::formula::Formula;
use crate::lower::registry::Lowering;
use crate::lower::value::Val;
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "torchvision.roi_align", lower: roi_align },
    Lowering { name: "torchvision.ps_roi_align", lower: ps_roi_align },
    Lowering { name: "torchvision.roi_pool", lower: roi_pool },
    Lowering { name: "torchvision.deform_conv2d", lower: deform_conv2d },
];

/// Images, and boxes `[index of the image, x₁, y₁, x₂, y₂]` in a float type.
struct Regions {
    x: Value,
    boxes: Value,
    dtype: DType,
    own: DType,
    /// Numbers of rows and columns of bins.
    bins: [i64; 2],
    scale: f64,
}

impl Regions {
    fn of(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Self> {
        let (x, boxes) = (call.tensor("input")?, call.tensor("rois")?);
        let own = cx.dtype(x)?;
        let dtype = if own == DType::F64 { own } else { DType::F32 };
        let (x, boxes) = (cx.read_as(x, dtype)?, cx.read_as(boxes, dtype)?);
        let bins = [call.int("pooled_height")?, call.int("pooled_width")?];
        if cx.b.tensor(x)?.rank() != 4 || cx.b.tensor(boxes)?.rank() != 2 {
            return Err(LowerError::invalid("images have four axes, boxes two"));
        }
        if bins.iter().any(|n| !(1..=1 << 16).contains(n)) {
            return Err(LowerError::argument(format!("{} by {} bins", bins[0], bins[1])));
        }
        let scale = call.float_or("spatial_scale", 1.0)?;
        Ok(Self { x, boxes, dtype, own, bins, scale })
    }

    /// A column of the boxes, `[boxes, 1]`.
    fn column(&self, cx: &mut Cx<'_>, at: i64) -> LowerResult<Value> {
        slice(cx, self.boxes, 1, (&Dim::Const(at), &Dim::Const(at + 1), 1))
    }

    /// The image of each box.
    fn images(&self, cx: &mut Cx<'_>) -> LowerResult<Value> {
        if cx.b.tensor(self.x)?.shape[0].is(1) {
            return Ok(self.x);
        }
        let index = select(cx, self.boxes, 1, &Dim::Const(0))?;
        let index = cx.cast(index, DType::I32)?;
        let op = Gather { axis: 0, batch_dims: 0, validate_indices: false };
        Ok(op.build(&mut cx.b, self.x, index)?)
    }

    /// The numbers `0, 1, …` of the places along an axis of the images.
    fn places(&self, cx: &mut Cx<'_>, axis: usize) -> LowerResult<Value> {
        let extent = cx.b.tensor(self.x)?.shape[axis].clone();
        let places = range(cx, &Dim::Const(0), &extent, 1)?;
        cx.cast(places, self.dtype)
    }

    /// The numbers `0, 1, …` of `count`.
    fn numbers(&self, cx: &mut Cx<'_>, count: i64) -> LowerResult<Value> {
        let all: Vec<f64> = (0..count).map(|k| k as f64).collect();
        Ok(cx.b.constant(Tensor::from_f64s(self.dtype, &[count as u64], &all)?)?)
    }

    /// `rows · image · columnsᵀ` for each box: `[boxes, channels, bins, bins]`.
    fn pooled(&self, cx: &mut Cx<'_>, [rows, columns]: [Value; 2]) -> LowerResult<Value> {
        let images = self.images(cx)?;
        let (rows, columns) = (unsqueeze(cx, rows, &[1])?, unsqueeze(cx, columns, &[1])?);
        let product = Matmul { transpose_x: false, transpose_y: false };
        let y = product.build(&mut cx.b, rows, images)?;
        let product = Matmul { transpose_x: false, transpose_y: true };
        Ok(product.build(&mut cx.b, y, columns)?)
    }

    fn finish(&self, cx: &mut Cx<'_>, y: Value) -> LowerResult<Value> {
        cx.cast(y, self.own)
    }
}

/// Sampling points along one axis of the images.
struct Sampling {
    /// Where each box begins, and how wide its bins are: `[boxes, 1]`.
    start: Value,
    bin: Value,
    /// The places of the axis.
    places: Value,
    /// The last of them.
    last: Value,
    extent: Value,
    dtype: DType,
}

impl Sampling {
    fn number(&self, b: &mut Builder<'_>, x: f64) -> LowerResult<Value> {
        Ok(b.scalar(self.dtype, x)?)
    }

    /// The weights of the places for points: 0 for a point further than 1 from the axis, one near
    /// it counts for the edge.
    fn weights(&self, b: &mut Builder<'_>, points: Value) -> LowerResult<Value> {
        let (zero, one, minus) =
            (self.number(b, 0.0)?, self.number(b, 1.0)?, self.number(b, -1.0)?);
        let low = GreaterEqual {}.build(b, points, minus)?;
        let high = LessEqual {}.build(b, points, self.extent)?;
        let inside = LogicalAnd {}.build(b, low, high)?;
        let held = Maximum {}.build(b, points, zero)?;
        let held = Minimum {}.build(b, held, self.last)?;
        let rank = b.tensor(held)?.rank() as i64;
        let axis = mlc_ir::ops::ExpandDims { axes: vec![rank] };
        let held = axis.clone().build(b, held)?;
        let distance = Sub {}.build(b, held, self.places)?;
        let distance = Abs {}.build(b, distance)?;
        let near = Sub {}.build(b, one, distance)?;
        let near = Maximum {}.build(b, near, zero)?;
        let inside = axis.build(b, inside)?;
        Ok(Select {}.build(b, inside, near, zero)?)
    }

    /// Rows of weights, `[boxes, bins, places]`: the mean over `samples` points of each bin, or over
    /// as many as a bin is wide for none.
    fn rows(&self, cx: &mut Cx<'_>, bins: i64, samples: i64) -> LowerResult<Value> {
        if samples > 0 {
            let steps: Vec<f64> = (0..bins * samples)
                .map(|k| (k / samples) as f64 + ((k % samples) as f64 + 0.5) / samples as f64)
                .collect();
            let steps = Tensor::from_f64s(self.dtype, &[steps.len() as u64], &steps)?;
            let steps = cx.b.constant(steps)?;
            let offset = cx.binary(Mul {}, steps, self.bin)?;
            let points = cx.binary(Add {}, offset, self.start)?;
            let weights = self.weights(&mut cx.b, points)?;
            let shape = cx.b.tensor(weights)?.shape.clone();
            let to = [shape[0].clone(), Dim::Const(bins), Dim::Const(samples), shape[2].clone()];
            let weights = cx.reshape(weights, &to)?;
            return cx.unary(ReduceMean { axes: Some(vec![2]), keep_dims: false }, weights);
        }
        self.adaptive_rows(cx, bins)
    }

    /// The sums over one sample after the other while any box has more.
    fn adaptive_rows(&self, cx: &mut Cx<'_>, bins: i64) -> LowerResult<Value> {
        let count = cx.unary(Ceil {}, self.bin)?;
        let (zero, one) = (cx.b.scalar(self.dtype, 0.0)?, cx.b.scalar(self.dtype, 1.0)?);
        let divisor = cx.binary(Maximum {}, count, one)?;
        let most = cx.unary(ReduceMax { axes: None, keep_dims: false }, count)?;
        let numbers: Vec<f64> = (0..bins).map(|k| k as f64).collect();
        let numbers = Tensor::from_f64s(self.dtype, &[bins as u64], &numbers)?;
        let numbers = cx.b.constant(numbers)?;
        let (boxes, places) =
            (cx.b.tensor(self.start)?.shape[0].clone(), cx.b.tensor(self.places)?.shape[0].clone());
        let shape = dims::vector(cx, &[boxes, Dim::Const(bins), places])?;
        let sums = Fill {}.build(&mut cx.b, shape, Some(zero))?;
        let results = WhileLoop::build_with::<LowerError>(
            &mut cx.b,
            vec![zero, sums],
            |b, args| Ok(Less {}.build(b, args[0], most)?),
            |b, args| {
                let half = self.number(b, 0.5)?;
                let step = Add {}.build(b, args[0], half)?;
                let step = RealDiv {}.build(b, step, divisor)?;
                let step = Add {}.build(b, numbers, step)?;
                let offset = Mul {}.build(b, step, self.bin)?;
                let points = Add {}.build(b, offset, self.start)?;
                let weights = self.weights(b, points)?;
                let more = Less {}.build(b, args[0], count)?;
                let more = mlc_ir::ops::ExpandDims { axes: vec![2] }.build(b, more)?;
                let weights = Select {}.build(b, more, weights, zero)?;
                let next = Add {}.build(b, args[0], one)?;
                Ok(vec![next, Add {}.build(b, args[1], weights)?])
            },
        )?;
        let &[_, sums] = &results[..] else { return Err(LowerError::invalid("no results")) };
        let divisor = unsqueeze(cx, divisor, &[2])?;
        cx.binary(RealDiv {}, sums, divisor)
    }
}

fn sampling(
    cx: &mut Cx<'_>,
    regions: &Regions,
    (axis, offset, least): (usize, f64, Option<f64>),
) -> LowerResult<Sampling> {
    let (first, end) = if axis == 2 { (2, 4) } else { (1, 3) };
    let (first, end) = (regions.column(cx, first)?, regions.column(cx, end)?);
    let extent = cx.b.tensor(regions.x)?.shape[axis].clone();
    let places = regions.places(cx, axis)?;
    let extent = dims::scalar(cx, &extent)?;
    let extent = cx.cast(extent, regions.dtype)?;
    let mut f = Formula::new(cx, regions.dtype);
    let (start, end) = (f.times(first, regions.scale)?, f.times(end, regions.scale)?);
    let (start, end) = (f.plus(start, -offset)?, f.plus(end, -offset)?);
    let mut length = f.sub(end, start)?;
    if let Some(least) = least {
        let least = f.num(least)?;
        length = f.max(length, least)?;
    }
    let bin = f.times(length, 1.0 / regions.bins[axis - 2] as f64)?;
    let last = f.plus(extent, -1.0)?;
    Ok(Sampling { start, bin, places, last, extent, dtype: regions.dtype })
}

/// The mean of bilinear samples in each bin of each box.
fn roi_align(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let regions = Regions::of(cx, call)?;
    let samples = call.int_or("sampling_ratio", -1)?;
    // Without `aligned`, boxes are at least one element wide.
    let (offset, least) =
        if call.bool_or("aligned", false)? { (0.5, None) } else { (0.0, Some(1.0)) };
    let mut matrices = Vec::with_capacity(2);
    for axis in [2, 3] {
        let sampling = sampling(cx, &regions, (axis, offset, least))?;
        matrices.push(sampling.rows(cx, regions.bins[axis - 2], samples)?);
    }
    let y = regions.pooled(cx, [matrices[0], matrices[1]])?;
    let y = regions.finish(cx, y)?;
    cx.one(y)
}

/// As `roi_align`, where each bin looks at channels of its own; and which.
fn ps_roi_align(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let regions = Regions::of(cx, call)?;
    let samples = call.int_or("sampling_ratio", -1)?;
    let mut matrices = Vec::with_capacity(2);
    for axis in [2, 3] {
        let sampling = sampling(cx, &regions, (axis, 0.5, None))?;
        matrices.push(sampling.rows(cx, regions.bins[axis - 2], samples)?);
    }
    let y = regions.pooled(cx, [matrices[0], matrices[1]])?;
    let [h, w] = regions.bins;
    let shape = cx.b.tensor(y)?.shape.clone();
    let groups = shape[1].exact_div(&Dim::Const(h * w)).and_then(|n| n.as_const());
    let groups = groups
        .ok_or_else(|| LowerError::invalid(format!("{} channels for {h} by {w} bins", shape[1])))?;
    // Of `[…, bin, bin]`, the diagonal: each bin keeps its own channel.
    let n = h * w;
    let to = [shape[0].clone(), Dim::Const(groups), Dim::Const(n), Dim::Const(n)];
    let y = cx.reshape(y, &to)?;
    let eye: Vec<f64> = (0..n * n).map(|k| f64::from(u8::from(k / n == k % n))).collect();
    let eye = Tensor::from_f64s(regions.dtype, &[n as u64, n as u64], &eye)?;
    let eye = cx.b.constant(eye)?;
    let y = cx.binary(Mul {}, y, eye)?;
    let y = cx.unary(ReduceSum { axes: Some(vec![2]), keep_dims: false }, y)?;
    let to = [shape[0].clone(), Dim::Const(groups), Dim::Const(h), Dim::Const(w)];
    let y = cx.reshape(y, &to)?;
    let channels: Vec<i64> = (0..groups * n).collect();
    let sizes = [1, groups as u64, h as u64, w as u64];
    let channels = cx.b.constant(Tensor::from_i64s(DType::I32, &sizes, &channels)?)?;
    let channels = widened(cx, channels, &to)?;
    let y = regions.finish(cx, y)?;
    Ok(vec![cx.fresh(y), cx.fresh(channels)])
}

/// The greatest element in each bin of each box, whose corners are rounded to elements; 0 in an empty
/// one. The places of the elements, the second result, serve training alone.
fn roi_pool(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let regions = Regions::of(cx, call)?;
    let mut masks = Vec::with_capacity(2);
    for axis in [2, 3] {
        masks.push(bin_mask(cx, &regions, axis)?);
    }
    let images = regions.images(cx)?;
    let nothing = cx.b.scalar(regions.dtype, f64::NEG_INFINITY)?;
    // Rows: [boxes, 1, bins, height, 1] of [boxes, channels, 1, height, width].
    let rows = unsqueeze(cx, masks[0], &[1, 4])?;
    let wide = unsqueeze(cx, images, &[2])?;
    let held = Select {}.build(&mut cx.b, rows, wide, nothing)?;
    let y = cx.unary(ReduceMax { axes: Some(vec![3]), keep_dims: false }, held)?;
    let columns = unsqueeze(cx, masks[1], &[1, 2])?;
    let wide = unsqueeze(cx, y, &[3])?;
    let held = Select {}.build(&mut cx.b, columns, wide, nothing)?;
    let y = cx.unary(ReduceMax { axes: Some(vec![4]), keep_dims: false }, held)?;
    let mut f = Formula::new(cx, regions.dtype);
    let some = f.gt(y, f64::NEG_INFINITY)?;
    let y = f.select_or(some, y, 0.0)?;
    let y = regions.finish(cx, y)?;
    let places = Val::Opaque("the places of the greatest elements of `roi_pool`".to_owned());
    Ok(vec![cx.fresh(y), places])
}

/// Which places of an axis are in each bin: `[boxes, bins, places]`.
fn bin_mask(cx: &mut Cx<'_>, regions: &Regions, axis: usize) -> LowerResult<Value> {
    let (first, end) = if axis == 2 { (2, 4) } else { (1, 3) };
    let (first, end) = (regions.column(cx, first)?, regions.column(cx, end)?);
    let bins = regions.bins[axis - 2];
    let extent = cx.b.tensor(regions.x)?.shape[axis].clone();
    let extent = dims::scalar(cx, &extent)?;
    let extent = cx.cast(extent, regions.dtype)?;
    let (numbers, places) = (regions.numbers(cx, bins)?, regions.places(cx, axis)?);
    let mut f = Formula::new(cx, regions.dtype);
    let mut corner = |x: Value| -> LowerResult<Value> {
        // Halves are rounded away from 0.
        let x = f.times(x, regions.scale)?;
        let size = f.abs(x)?;
        let size = f.plus(size, 0.5)?;
        let size = f.floor(size)?;
        let minus = f.times(size, -1.0)?;
        let below = f.lt(x, 0.0)?;
        f.select(below, minus, size)
    };
    let (first, end) = (corner(first)?, corner(end)?);
    let length = f.sub(end, first)?;
    let length = f.plus(length, 1.0)?;
    let one = f.num(1.0)?;
    let length = f.max(length, one)?;
    let bin = f.times(length, 1.0 / bins as f64)?;
    let low = f.mul(numbers, bin)?;
    let high = f.plus(numbers, 1.0)?;
    let high = f.mul(high, bin)?;
    let low = f.cx.unary(Floor {}, low)?;
    let high = f.cx.unary(Ceil {}, high)?;
    let zero = f.num(0.0)?;
    let mut bounds = Vec::with_capacity(2);
    for bound in [low, high] {
        let at = f.add(bound, first)?;
        let at = f.max(at, zero)?;
        bounds.push(f.min(at, extent)?);
    }
    let (low, high) = (unsqueeze(cx, bounds[0], &[2])?, unsqueeze(cx, bounds[1], &[2])?);
    let after = cx.binary(GreaterEqual {}, places, low)?;
    let before = cx.binary(Greater {}, high, places)?;
    cx.binary(LogicalAnd {}, after, before)
}

/// The numbers of a deformable convolution: rows and columns.
struct Deformed {
    stride: [i64; 2],
    pad: [i64; 2],
    dilation: [i64; 2],
    kernel: [i64; 2],
    output: [i64; 2],
    groups: i64,
}

/// A convolution whose taps are sampled bilinearly at the offsets of each place, times the mask; what
/// lies outside is 0.
fn deform_conv2d(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, weight) = (call.tensor("input")?, call.tensor("weight")?);
    let (offset, mask) = (call.tensor("offset")?, call.opt_tensor("mask")?);
    let bias = call.opt_tensor("bias")?;
    let pair = |a: &str, b: &str| Ok::<_, LowerError>([call.int(a)?, call.int(b)?]);
    let (stride, pad) = (pair("stride_h", "stride_w")?, pair("pad_h", "pad_w")?);
    let dilation = pair("dilation_h", "dilation_w")?;
    let (groups, parts) = (call.int("groups")?, call.int("offset_groups")?);
    let use_mask = call.bool_or("use_mask", false)?;
    let all = [x, weight, offset].map(|tensor| cx.shape(tensor));
    let [input, kernel, offsets] = all;
    let (input, kernel, offsets) = (input?, kernel?, offsets?);
    let known = |shape: &[Dim], axis: usize| -> LowerResult<i64> {
        shape.get(axis).and_then(Dim::as_const).ok_or_else(|| {
            LowerError::dynamic("a deformable convolution of unknown extents")
                .help("export the model with the extents of the image fixed")
        })
    };
    let numbers = Deformed {
        stride,
        pad,
        dilation,
        kernel: [known(&kernel, 2)?, known(&kernel, 3)?],
        output: [known(&offsets, 2)?, known(&offsets, 3)?],
        groups: parts,
    };
    let channels = known(&input, 1)?;
    if parts < 1 || channels % parts != 0 {
        return Err(LowerError::invalid(format!("{channels} channels in {parts} groups")));
    }
    let taps = numbers.kernel[0] * numbers.kernel[1];
    let dtype = cx.dtype(x)?;
    let offset = cx.read_as(offset, dtype)?;
    let coordinates = coordinates(cx, &numbers, (offset, dtype))?;
    let x = cx.read(x)?;
    let batch = input[0].mul(&Dim::Const(parts));
    let a_group = Dim::Const(channels / parts);
    let images =
        cx.reshape(x, &[batch.clone(), a_group.clone(), input[2].clone(), input[3].clone()])?;
    let op = Resample {
        sampling_mode: ResampleMode::Bilinear,
        padding_mode: ResamplePadding::Constant,
        padding_value: F64(0.0),
        coordinates_mode: CoordinatesMode::Unnormalized,
        align_corners: true,
    };
    let sampled = op.build(&mut cx.b, images, coordinates)?;
    let [h, w] = numbers.output;
    let to = [batch.clone(), a_group, Dim::Const(taps), Dim::Const(h), Dim::Const(w)];
    let mut sampled = cx.reshape(sampled, &to)?;
    if let Some(mask) = mask.filter(|_| use_mask) {
        let mask = cx.read_as(mask, dtype)?;
        let to = [batch, Dim::Const(1), Dim::Const(taps), Dim::Const(h), Dim::Const(w)];
        let mask = cx.reshape(mask, &to)?;
        sampled = cx.binary(Mul {}, sampled, mask)?;
    }
    let to = [input[0].clone(), Dim::Const(channels * taps), Dim::Const(h), Dim::Const(w)];
    let columns = cx.reshape(sampled, &to)?;
    let weight = cx.read(weight)?;
    let inner = kernel[1].mul(&Dim::Const(taps));
    let weight = cx.reshape(weight, &[kernel[0].clone(), inner, Dim::Const(1), Dim::Const(1)])?;
    let mut calls = Calls(cx);
    let (columns, weight) = (calls.tensor(columns)?, calls.tensor(weight)?);
    let mut args =
        vec![("input", columns.into()), ("weight", weight.into()), ("groups", groups.into())];
    if let Some(bias) = bias {
        args.push(("bias", bias.into()));
    }
    cx.call("aten.conv2d", &args)
}

/// Where the taps look: pairs of column and row, `[batch · groups, taps · height, width, 2]`.
fn coordinates(
    cx: &mut Cx<'_>,
    numbers: &Deformed,
    (offset, dtype): (Value, DType),
) -> LowerResult<Value> {
    let [h, w] = numbers.output;
    let taps = numbers.kernel[0] * numbers.kernel[1];
    let batch = cx.b.tensor(offset)?.shape[0].mul(&Dim::Const(numbers.groups));
    let to = [batch.clone(), Dim::Const(taps), Dim::Const(2), Dim::Const(h), Dim::Const(w)];
    let offset = cx.reshape(offset, &to)?;
    let mut both = Vec::with_capacity(2);
    for axis in [1, 0] {
        let moved = select(cx, offset, 2, &Dim::Const(axis as i64))?;
        let mut base = Vec::with_capacity((taps * h * w) as usize);
        for tap in 0..taps {
            let k = if axis == 0 { tap / numbers.kernel[1] } else { tap % numbers.kernel[1] };
            for place in 0..h * w {
                let at = if axis == 0 { place / w } else { place % w };
                let first = at * numbers.stride[axis] - numbers.pad[axis];
                base.push((first + k * numbers.dilation[axis]) as f64);
            }
        }
        let sizes = [taps as u64, h as u64, w as u64];
        let base = cx.b.constant(Tensor::from_f64s(dtype, &sizes, &base)?)?;
        both.push(cx.binary(Add {}, moved, base)?);
    }
    let pairs = Stack { axis: 4 }.build(&mut cx.b, both)?;
    let pairs = cx.reshape(pairs, &[batch, Dim::Const(taps * h), Dim::Const(w), Dim::Const(2)])?;
    if dtype == DType::F64 {
        return cx.unary(Cast { dtype: DType::F32 }, pairs);
    }
    Ok(pairs)
}
