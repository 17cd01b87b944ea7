//! Elements moved between channels and space, and windows as columns.

use mlc_ir::attr::{PadMode, ScatterMode};
use mlc_ir::ops::{Add, Fill, Mul, Pad, PixelShuffle, PixelUnshuffle, Scatter};
use mlc_ir::{Dim, F64, Value};

use super::indices::{gather, transposed};
use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.pixel_shuffle", lower: pixel_shuffle },
    Lowering { name: "aten.pixel_unshuffle", lower: pixel_unshuffle },
    Lowering { name: "aten.channel_shuffle", lower: channel_shuffle },
    Lowering { name: "aten.native_channel_shuffle", lower: channel_shuffle },
    Lowering { name: "aten.im2col", lower: im2col },
    Lowering { name: "aten.col2im", lower: col2im },
];

/// Applies an op that takes batches of images to tensors with any number of batch axes.
fn on_images(cx: &mut Cx<'_>, x: TensorId, op: impl Into<mlc_ir::Op>) -> LowerResult<Vec<Val>> {
    let shape = cx.shape(x)?;
    let Some(batch) = shape.len().checked_sub(3) else {
        return Err(LowerError::invalid(format!("an image of rank {}", shape.len())));
    };
    let x = cx.read(x)?;
    if batch == 1 {
        let y = cx.unary(op, x)?;
        return cx.one(y);
    }
    let mut images = vec![Dim::product(&shape[..batch])];
    images.extend_from_slice(&shape[batch..]);
    let y = cx.reshape(x, &images)?;
    let y = cx.unary(op, y)?;
    let mut to = shape[..batch].to_vec();
    to.extend_from_slice(&cx.b.tensor(y)?.shape[1..]);
    let y = cx.reshape(y, &to)?;
    cx.one(y)
}

fn pixel_shuffle(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let upscale_factor = call.int("upscale_factor")?;
    on_images(cx, call.tensor("self")?, PixelShuffle { upscale_factor })
}

fn pixel_unshuffle(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let downscale_factor = call.int("downscale_factor")?;
    on_images(cx, call.tensor("self")?, PixelUnshuffle { downscale_factor })
}

/// Channels as a matrix with one row a group, transposed.
fn channel_shuffle(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let groups = call.dim("groups")?;
    let shape = cx.shape(x)?;
    let [batch, channels, rest @ ..] = &shape[..] else {
        return Err(LowerError::invalid(format!("an image of rank {}", shape.len())));
    };
    let each = channels.exact_div(&groups).filter(|n| !groups.is(0) && *n != Dim::Unknown);
    let each =
        each.ok_or_else(|| LowerError::invalid(format!("{channels} channels in {groups} groups")))?;
    let x = cx.read(x)?;
    let area = Dim::product(rest);
    let y = cx.reshape(x, &[batch.clone(), groups.clone(), each.clone(), area.clone()])?;
    let y = transposed(cx, y, &[0, 2, 1, 3])?;
    let y = cx.reshape(y, &shape)?;
    cx.one(y)
}

/// How windows lie over an image.
struct Windows {
    kernel: [i64; 2],
    dilation: [i64; 2],
    padding: [i64; 2],
    stride: [i64; 2],
}

/// Most windows' elements that are named one by one.
const MAX_PLACES: i64 = 1 << 22;

impl Windows {
    fn new(call: &Call<'_>) -> LowerResult<Self> {
        let pair = |name: &str, default: &[i64], least: i64| -> LowerResult<[i64; 2]> {
            let pair = call.ints_of(name, 2, default)?;
            match pair[..] {
                [a, b] if (least..1 << 20).contains(&a) && (least..1 << 20).contains(&b) => {
                    Ok([a, b])
                }
                _ => Err(LowerError::invalid(format!("`{name}` is {pair:?}"))),
            }
        };
        Ok(Self {
            kernel: pair("kernel_size", &[], 1)?,
            dilation: pair("dilation", &[1], 1)?,
            padding: pair("padding", &[0], 0)?,
            stride: pair("stride", &[1], 1)?,
        })
    }

    /// How many windows fit along an axis of an image of `extent`.
    fn count(&self, axis: usize, extent: i64) -> LowerResult<i64> {
        let span = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        let room = extent + 2 * self.padding[axis] - span;
        if room < 0 {
            return Err(LowerError::invalid(format!("windows of {span} in an extent of {extent}")));
        }
        Ok(room / self.stride[axis] + 1)
    }

    /// The windows lie side by side and fill the image.
    fn tiles(&self, [height, width]: [i64; 2]) -> bool {
        self.stride == self.kernel
            && self.dilation == [1, 1]
            && self.padding == [0, 0]
            && height % self.kernel[0] == 0
            && width % self.kernel[1] == 0
    }

    /// The place in the padded image of each element of each window: elements, then windows.
    fn places(&self, [height, width]: [i64; 2]) -> LowerResult<Vec<i64>> {
        let counts = [self.count(0, height)?, self.count(1, width)?];
        let total = [self.kernel[0], self.kernel[1], counts[0], counts[1]]
            .iter()
            .try_fold(1i64, |n, &d| n.checked_mul(d))
            .filter(|&n| n <= MAX_PLACES)
            .ok_or_else(|| LowerError::argument("the windows have too many elements"))?;
        let padded = width + 2 * self.padding[1];
        let mut all = Vec::with_capacity(total as usize);
        for i in 0..self.kernel[0] {
            for j in 0..self.kernel[1] {
                for row in 0..counts[0] {
                    for column in 0..counts[1] {
                        let y = row * self.stride[0] + i * self.dilation[0];
                        let x = column * self.stride[1] + j * self.dilation[1];
                        all.push(y * padded + x);
                    }
                }
            }
        }
        Ok(all)
    }
}

/// How many windows fit along an axis, where its extent is known or not.
fn window_count(windows: &Windows, axis: usize, extent: &Dim) -> LowerResult<Dim> {
    if let Some(extent) = extent.as_const() {
        return Ok(Dim::Const(windows.count(axis, extent)?));
    }
    let span = windows.dilation[axis] * (windows.kernel[axis] - 1) + 1;
    let room = extent.add(&Dim::Const(2 * windows.padding[axis] - span));
    Ok(room.floor_div(&Dim::Const(windows.stride[axis])).add(&Dim::Const(1)))
}

/// Known extents of an image.
fn known_extents(height: &Dim, width: &Dim) -> Option<[i64; 2]> {
    let side = |dim: &Dim| dim.as_const().filter(|n| (0..1 << 30).contains(n));
    Some([side(height)?, side(width)?])
}

/// [`Windows::places`], computed while the program runs.
fn run_time_places(
    cx: &mut Cx<'_>,
    windows: &Windows,
    [counts, padded]: [&[Dim; 2]; 2],
) -> LowerResult<Value> {
    let mut lines = Vec::with_capacity(2);
    for (axis, count) in counts.iter().enumerate() {
        let own: Vec<i64> = (0..windows.kernel[axis]).map(|k| k * windows.dilation[axis]).collect();
        let own = cx.b.ints(&own)?;
        let own = alias::unsqueeze(cx, own, &[1])?;
        let stride = windows.stride[axis];
        let end = count.mul(&Dim::Const(stride));
        let starts = alias::range(cx, &Dim::Const(0), &end, stride)?;
        let starts = alias::unsqueeze(cx, starts, &[0])?;
        let line = cx.binary(Add {}, own, starts)?;
        let new = if axis == 0 { [1, 3] } else { [0, 2] };
        lines.push(alias::unsqueeze(cx, line, &new)?);
    }
    let width = dims::scalar(cx, &padded[1])?;
    let rows = cx.binary(Mul {}, lines[0], width)?;
    let places = cx.binary(Add {}, rows, lines[1])?;
    let kernel = Dim::Const(windows.kernel[0] * windows.kernel[1]);
    cx.reshape(places, &[kernel.mul(&counts[0]).mul(&counts[1])])
}

/// The elements of each window as a column.
fn im2col(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let windows = Windows::new(call)?;
    let shape = cx.shape(x)?;
    let (batch, image) = shape.split_at(shape.len().saturating_sub(3));
    let [channels, height, width] = image else {
        return Err(LowerError::invalid(format!("an image of rank {}", shape.len())));
    };
    let counts = [window_count(&windows, 0, height)?, window_count(&windows, 1, width)?];
    let extents = known_extents(height, width);
    let [kh, kw] = windows.kernel;
    let n = Dim::product(batch);
    let x = cx.read(x)?;
    let y = if extents.is_some_and(|extents| windows.tiles(extents)) {
        let lines = n.mul(channels);
        let split = [lines, counts[0].clone(), kh.into(), counts[1].clone(), kw.into()];
        let y = cx.reshape(x, &split)?;
        transposed(cx, y, &[0, 2, 4, 1, 3])?
    } else {
        let [ph, pw] = windows.padding;
        let mut y = cx.reshape(x, &[n.clone(), channels.clone(), height.clone(), width.clone()])?;
        if [ph, pw] != [0, 0] {
            let amounts = cx.b.ints(&[ph, ph, pw, pw])?;
            let op = Pad { mode: PadMode::Constant, constant_val: F64(0.0) };
            y = op.build(&mut cx.b, y, amounts)?;
        }
        let padded = [height.add(&Dim::Const(2 * ph)), width.add(&Dim::Const(2 * pw))];
        let y = cx.reshape(y, &[n, channels.clone(), padded[0].mul(&padded[1])])?;
        let places = match extents {
            Some(extents) => {
                let places = windows.places(extents)?;
                cx.b.ints(&places)?
            }
            None => run_time_places(cx, &windows, [&counts, &padded])?,
        };
        gather(cx, y, 2, places)?
    };
    let mut to = batch.to_vec();
    to.push(channels.mul(&Dim::Const(kh * kw)));
    to.push(counts[0].mul(&counts[1]));
    let y = cx.reshape(y, &to)?;
    cx.one(y)
}

/// The image in which each element is the sum of the windows' elements that lie on it.
fn col2im(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let windows = Windows::new(call)?;
    let size = call.dims("output_size")?;
    let [height, width] = &size[..] else {
        return Err(LowerError::invalid("`output_size` is not two extents"));
    };
    let extents = known_extents(height, width).ok_or_else(|| {
        LowerError::dynamic(format!("windows of an image of {height} by {width}"))
            .help("export the model with those extents fixed")
    })?;
    let shape = cx.shape(x)?;
    let (batch, columns) = shape.split_at(shape.len().saturating_sub(2));
    let [kh, kw] = windows.kernel;
    let channels = columns.first().and_then(|rows| rows.exact_div(&Dim::Const(kh * kw)));
    let channels = channels
        .filter(|_| batch.len() <= 1)
        .ok_or_else(|| LowerError::invalid(format!("columns of {kh} by {kw} in {shape:?}")))?;
    let counts = [windows.count(0, extents[0])?, windows.count(1, extents[1])?];
    let n = Dim::product(batch);
    let x = cx.read(x)?;
    let y = if windows.tiles(extents) {
        let lines = n.mul(&channels);
        let split = [lines, kh.into(), kw.into(), counts[0].into(), counts[1].into()];
        let y = cx.reshape(x, &split)?;
        transposed(cx, y, &[0, 3, 1, 4, 2])?
    } else {
        summed(cx, (x, &[n, channels.clone()]), &windows, extents)?
    };
    let mut to = batch.to_vec();
    to.extend([channels, height.clone(), width.clone()]);
    let y = cx.reshape(y, &to)?;
    cx.one(y)
}

fn summed(
    cx: &mut Cx<'_>,
    (x, lines): (Value, &[Dim; 2]),
    windows: &Windows,
    [height, width]: [i64; 2],
) -> LowerResult<Value> {
    let [n, channels] = lines;
    let places = windows.places([height, width])?;
    let [ph, pw] = windows.padding;
    let padded = [height + 2 * ph, width + 2 * pw];
    let count = Dim::Const(places.len() as i64);
    let updates = cx.reshape(x, &[n.clone(), channels.clone(), count])?;
    let places = cx.b.ints(&places)?;
    let area = Dim::Const(padded[0] * padded[1]);
    let extents = dims::vector(cx, &[n.clone(), channels.clone(), area])?;
    let zero = cx.b.scalar(cx.b.tensor(x)?.dtype, 0.0)?;
    let blank = Fill {}.build(&mut cx.b, extents, Some(zero))?;
    let op = Scatter { axis: 2, mode: ScatterMode::Add, validate_indices: false };
    let y = op.build(&mut cx.b, blank, places, updates)?;
    let whole = [n.clone(), channels.clone(), padded[0].into(), padded[1].into()];
    let y = cx.reshape(y, &whole)?;
    let y = alias::slice(cx, y, 2, (&ph.into(), &(ph + height).into(), 1))?;
    alias::slice(cx, y, 3, (&pw.into(), &(pw + width).into(), 1))
}
