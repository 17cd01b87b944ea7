//! Scaling of images.
//!
//! What the IR has an op for uses it. Other kernels are linear along each axis: with known extents they
//! are products with a matrix for the rows and one for the columns.

use mlc_ir::attr::{InterpolationMode, SamplingMode};
use mlc_ir::ops::{Matmul, Resize, ResizeBilinear, ResizeNearestNeighbor, UpsampleNearestNeighbor};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::{DType, Tensor};

use super::axes::{Layout, channels_first, restored};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "ResizeArea", lower: area },
    Lowering { name: "ResizeBicubic", lower: bicubic },
    Lowering { name: "ResizeBilinear", lower: bilinear },
    Lowering { name: "ResizeNearestNeighbor", lower: nearest },
    Lowering { name: "ScaleAndTranslate", lower: scale_and_translate },
];

/// Most elements of a matrix of weights.
const MAX_WEIGHTS: i64 = 1 << 26;

/// An image `[n, h, w, c]` and the extents it gets.
struct Scaling {
    x: Value,
    from: [Dim; 2],
    to: [Dim; 2],
    align_corners: bool,
    half_pixel: bool,
}

fn scaling(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Scaling> {
    Ok(Scaling {
        align_corners: call.bool_or("align_corners", false)?,
        half_pixel: call.bool_or("half_pixel_centers", false)?,
        ..Scaling::of(cx, call.tensor(0)?, call.tensor(1)?)?
    })
}

impl Scaling {
    /// Of `x` to the extents that `size` says, between corners.
    fn of(cx: &mut Cx<'_>, x: Value, size: Value) -> LowerResult<Self> {
        let shape = cx.shape(x)?;
        let [_, h, w, _] = &shape[..] else {
            return Err(LowerError::invalid(format!("the input is {}", cx.b.tensor(x)?)));
        };
        let to = cx.extents(size, "size")?;
        let [to_h, to_w] = &to[..] else {
            return Err(LowerError::invalid(format!("`size` has {} entries", to.len())));
        };
        Ok(Self {
            x,
            from: [h.clone(), w.clone()],
            to: [to_h.clone(), to_w.clone()],
            align_corners: false,
            half_pixel: false,
        })
    }

    /// Both pairs of extents as numbers.
    fn known(&self) -> Option<[(i64, i64); 2]> {
        let pair = |axis: usize| Some((self.from[axis].as_const()?, self.to[axis].as_const()?));
        Some([pair(0)?, pair(1)?])
    }

    fn unchanged(&self) -> bool {
        self.from == self.to
    }

    /// Distance of two samples, as TensorFlow computes it.
    fn scale(&self, (from, to): (i64, i64)) -> f32 {
        if self.align_corners && to > 1 {
            (from - 1) as f32 / (to - 1) as f32
        } else {
            from as f32 / to as f32
        }
    }
}

fn bilinear(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let scaling = scaling(cx, call)?;
    let y = bilinear_value(cx, &scaling)?;
    cx.one(y)
}

/// `x`, `[n, h, w, c]`, scaled to a size; samples lie at the corners of pixels.
pub(super) fn bilinear_legacy(
    cx: &mut Cx<'_>,
    (x, size): (Value, Value),
    align_corners: bool,
) -> LowerResult<Value> {
    let scaling = Scaling { align_corners, ..Scaling::of(cx, x, size)? };
    bilinear_value(cx, &scaling)
}

fn bilinear_value(cx: &mut Cx<'_>, scaling: &Scaling) -> LowerResult<Value> {
    let dtype = cx.dtype(scaling.x)?;
    // Whatever comes in, f32 comes out.
    let x = cx.cast(scaling.x, if dtype == DType::F64 { dtype } else { DType::F32 })?;
    if scaling.unchanged() {
        return cx.cast(x, DType::F32);
    }
    let sampling_mode = if scaling.align_corners {
        SamplingMode::StrictAlignCorners
    } else if scaling.half_pixel {
        SamplingMode::UnalignCorners
    } else {
        SamplingMode::Default
    };
    let x = channels_first(cx, x, Layout::Last)?;
    let y = match (scaling.to[0].as_const(), scaling.to[1].as_const()) {
        (Some(height), Some(width)) => {
            let op = ResizeBilinear {
                target_size_height: height,
                target_size_width: width,
                sampling_mode,
            };
            op.build(&mut cx.b, x)?
        }
        _ => resized(cx, x, scaling, (InterpolationMode::Linear, sampling_mode))?,
    };
    let y = restored(cx, y, Layout::Last)?;
    cx.cast(y, DType::F32)
}

/// The op for extents that only running the program tells.
fn resized(
    cx: &mut Cx<'_>,
    x: Value,
    scaling: &Scaling,
    (interpolation_mode, sampling_mode): (InterpolationMode, SamplingMode),
) -> LowerResult<Value> {
    let shape = dims::vector(cx, &scaling.to)?;
    let op = Resize { resized_dims: 2, interpolation_mode, sampling_mode };
    let y = op.build(&mut cx.b, x, shape)?;
    let mut wanted = cx.shape(y)?;
    wanted[2..].clone_from_slice(&scaling.to);
    cx.refine(y, &wanted)?;
    Ok(y)
}

/// The source of each element along one axis.
fn nearest_places(scaling: &Scaling, (from, to): (i64, i64)) -> Vec<i64> {
    let scale = scaling.scale((from, to));
    (0..to)
        .map(|i| {
            let at = if scaling.half_pixel {
                ((i as f32 + 0.5) * scale).floor()
            } else if scaling.align_corners {
                (i as f32 * scale).round()
            } else {
                (i as f32 * scale).floor()
            };
            (at as i64).clamp(0, (from - 1).max(0))
        })
        .collect()
}

fn nearest(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let scaling = scaling(cx, call)?;
    if scaling.unchanged() {
        return cx.one(scaling.x);
    }
    let Some(known) = scaling.known() else {
        let y = open_nearest(cx, &scaling)?;
        return cx.one(y);
    };
    let places = known.map(|pair| nearest_places(&scaling, pair));
    let plain = places.iter().zip(known).all(|(places, (from, to))| {
        places.iter().enumerate().all(|(i, &at)| at == i as i64 * from / to)
    });
    if plain && cx.dtype(scaling.x)?.is_float() {
        let x = channels_first(cx, scaling.x, Layout::Last)?;
        let [(from_h, to_h), (from_w, to_w)] = known;
        let whole = to_h % from_h == 0 && to_w % from_w == 0;
        let y = if whole {
            let op = UpsampleNearestNeighbor {
                scale_factor_height: F64((to_h / from_h) as f64),
                scale_factor_width: F64((to_w / from_w) as f64),
            };
            op.build(&mut cx.b, x)?
        } else {
            let op = ResizeNearestNeighbor { target_size_height: to_h, target_size_width: to_w };
            op.build(&mut cx.b, x)?
        };
        let y = restored(cx, y, Layout::Last)?;
        return cx.one(y);
    }
    let mut y = scaling.x;
    for (axis, places) in places.into_iter().enumerate() {
        let at = cx.b.ints(&places)?;
        y = super::join::gathered(cx, y, at, axis + 1)?;
    }
    cx.one(y)
}

/// Where extents are open: places by arithmetic, for scales that are whole numbers by repeating.
fn open_nearest(cx: &mut Cx<'_>, scaling: &Scaling) -> LowerResult<Value> {
    let mut y = scaling.x;
    for axis in 0..2 {
        let (from, to) = (&scaling.from[axis], &scaling.to[axis]);
        if from == to {
            continue;
        }
        let at = open_places(cx, scaling, (from, to))?;
        y = super::join::gathered(cx, y, at, axis + 1)?;
    }
    Ok(y)
}

/// Nearest places along one axis, computed while the program runs as TensorFlow does.
fn open_places(cx: &mut Cx<'_>, scaling: &Scaling, (from, to): (&Dim, &Dim)) -> LowerResult<Value> {
    use mlc_ir::ops::{Add, Floor, Maximum, Minimum, Mul, RealDiv, Sub};
    let number = |cx: &mut Cx<'_>, dim: &Dim| -> LowerResult<Value> {
        let n = dims::scalar(cx, dim)?;
        cx.cast(n, DType::F32)
    };
    let (have, want) = (number(cx, from)?, number(cx, to)?);
    let scale = if scaling.align_corners {
        let one = cx.number(DType::F32, 1.0)?;
        let (a, b) = (cx.binary(Sub {}, have, one)?, cx.binary(Sub {}, want, one)?);
        let b = cx.binary(Maximum {}, b, one)?;
        cx.binary(RealDiv {}, a, b)?
    } else {
        cx.binary(RealDiv {}, have, want)?
    };
    let i = super::join::iota(cx, to, DType::F32)?;
    let half = cx.number(DType::F32, 0.5)?;
    let at = if scaling.half_pixel {
        let i = cx.binary(Add {}, i, half)?;
        cx.binary(Mul {}, i, scale)?
    } else {
        cx.binary(Mul {}, i, scale)?
    };
    let at = if scaling.align_corners { cx.binary(Add {}, at, half)? } else { at };
    let at = cx.unary(Floor {}, at)?;
    let one = cx.number(DType::F32, 1.0)?;
    let last = cx.binary(Sub {}, have, one)?;
    let at = cx.binary(Minimum {}, at, last)?;
    cx.cast(at, DType::I32)
}

/// `x`, `[n, h, w, c]`, multiplied by a matrix of weights along rows and one along columns; each is
/// `to` by `from`.
pub(super) fn by_matrices(
    cx: &mut Cx<'_>,
    x: Value,
    (rows, columns): (Tensor, Tensor),
) -> LowerResult<Value> {
    let x = channels_first(cx, x, Layout::Last)?;
    let (rows, columns) = (cx.b.constant(rows)?, cx.b.constant(columns)?);
    let y = Matmul { transpose_x: false, transpose_y: true }.build(&mut cx.b, x, columns)?;
    let y = Matmul { transpose_x: false, transpose_y: false }.build(&mut cx.b, rows, y)?;
    restored(cx, y, Layout::Last)
}

/// A matrix of weights, `to` by `from`, from the weights of each row.
fn matrix((from, to): (i64, i64), row: impl Fn(i64) -> Vec<(i64, f64)>) -> LowerResult<Tensor> {
    if from < 1 || to < 1 || from.saturating_mul(to) > MAX_WEIGHTS {
        return Err(LowerError::argument(format!("scaling {from} elements to {to}")));
    }
    let mut weights = vec![0f64; (from * to) as usize];
    for i in 0..to {
        for (at, weight) in row(i) {
            weights[(i * from + at.clamp(0, from - 1)) as usize] += weight;
        }
    }
    Ok(Tensor::from_f64s(DType::F32, &[to as u64, from as u64], &weights)?)
}

fn fixed(scaling: &Scaling) -> LowerResult<[(i64, i64); 2]> {
    scaling.known().ok_or_else(|| {
        LowerError::dynamic("this kernel needs the extents of the image at compile time")
            .help("fix the size of the input with `--input`")
    })
}

/// Catmull–Rom with half-pixel centres (`a` = −0.5, weights outside dropped and the rest scaled up),
/// Keys with `a` = −0.75 otherwise; fractions are rounded to 1/1024.
fn bicubic(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let scaling = scaling(cx, call)?;
    let known = fixed(&scaling)?;
    let x = cx.cast(scaling.x, DType::F32)?;
    let [rows, columns] = known.map(|pair| matrix(pair, |i| cubic_row(&scaling, pair, i)));
    let y = by_matrices(cx, x, (rows?, columns?))?;
    cx.one(y)
}

fn cubic_row(scaling: &Scaling, (from, to): (i64, i64), i: i64) -> Vec<(i64, f64)> {
    const STEPS: f64 = 1024.0;
    let scale = scaling.scale((from, to));
    let at = if scaling.half_pixel { (i as f32 + 0.5) * scale - 0.5 } else { i as f32 * scale };
    let base = at.floor();
    let fraction = f64::from(((at - base) * STEPS as f32).round_ties_even()) / STEPS;
    let a = if scaling.half_pixel { -0.5 } else { -0.75 };
    let near = |x: f64| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    let weights = [far(fraction + 1.0), near(fraction), near(1.0 - fraction), far(2.0 - fraction)];
    let base = base as i64;
    let taps = weights.into_iter().enumerate().map(|(k, w)| (base - 1 + k as i64, w));
    if !scaling.half_pixel {
        return taps.collect();
    }
    let inside: Vec<(i64, f64)> = taps.filter(|(at, _)| (0..from).contains(at)).collect();
    let sum: f64 = inside.iter().map(|(_, w)| w).sum();
    if sum.abs() < 1000.0 * f64::from(f32::MIN_POSITIVE) {
        return inside;
    }
    inside.into_iter().map(|(at, w)| (at, w / sum)).collect()
}

/// The mean over the stretch of the image that an element covers.
fn area(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let scaling = scaling(cx, call)?;
    let known = fixed(&scaling)?;
    let x = cx.cast(scaling.x, DType::F32)?;
    let [rows, columns] = known.map(|pair| {
        let scale = f64::from(scaling.scale(pair));
        matrix(pair, |i| {
            let (start, end) = (i as f64 * scale, (i + 1) as f64 * scale);
            let mut taps = Vec::new();
            let mut at = start.floor() as i64;
            while (at as f64) < end {
                let low = start.max(at as f64);
                let high = end.min((at + 1) as f64);
                taps.push((at, (high - low) / scale));
                at += 1;
            }
            taps
        })
    });
    let y = by_matrices(cx, x, (rows?, columns?))?;
    cx.one(y)
}

/// A weight by distance, and how far it reaches.
type Kernel = (fn(f64) -> f64, f64);

/// The kernel of that name.
fn kernel(name: &str) -> Option<Kernel> {
    fn lanczos(x: f64, radius: f64) -> f64 {
        let x = x.abs();
        if x > radius {
            return 0.0;
        }
        if x <= 1e-3 {
            return 1.0;
        }
        let pi = std::f64::consts::PI;
        radius * (pi * x).sin() * (pi * x / radius).sin() / (pi * pi * x * x)
    }
    fn cubic(x: f64, b: bool) -> f64 {
        let x = x.abs();
        // Mitchell's kernel where `b`, Keys' otherwise.
        match (x, b) {
            (x, _) if x >= 2.0 => 0.0,
            (x, false) if x >= 1.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            (x, false) => ((1.5 * x - 2.5) * x) * x + 1.0,
            (x, true) if x >= 1.0 => ((-7.0 / 18.0 * x + 2.0) * x - 10.0 / 3.0) * x + 16.0 / 9.0,
            (x, true) => ((7.0 / 6.0 * x - 2.0) * x) * x + 8.0 / 9.0,
        }
    }
    Some(match name {
        "lanczos1" => (|x| lanczos(x, 1.0), 1.0),
        "lanczos3" => (|x| lanczos(x, 3.0), 3.0),
        "lanczos5" => (|x| lanczos(x, 5.0), 5.0),
        "gaussian" => {
            (|x: f64| if x.abs() >= 1.5 { 0.0 } else { (-x * x / (2.0 * 0.25)).exp() }, 1.5)
        }
        "box" => (
            |x: f64| match x.abs() {
                0.5 => 0.5,
                x if x < 0.5 => 1.0,
                _ => 0.0,
            },
            1.0,
        ),
        "triangle" => (|x: f64| (1.0 - x.abs()).max(0.0), 1.0),
        "keyscubic" => (|x| cubic(x, false), 2.0),
        "mitchellcubic" => (|x| cubic(x, true), 2.0),
        _ => return None,
    })
}

/// Resampling by a kernel, after scaling and moving the image.
fn scale_and_translate(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.cast(call.tensor(0)?, DType::F32)?;
    let to = cx.need_ints(call.tensor(1)?, "size")?;
    let floats = |cx: &Cx<'_>, index: usize, what: &str| -> LowerResult<Vec<f64>> {
        let value = call.tensor(index)?;
        cx.floats(value)
            .filter(|all| all.len() == 2)
            .ok_or_else(|| LowerError::dynamic(format!("`{what}` is not known at compile time")))
    };
    let (scale, shift) = (floats(cx, 2, "scale")?, floats(cx, 3, "translation")?);
    let name = call.text_or("kernel_type", "lanczos3")?;
    let (kernel, radius) =
        kernel(name).ok_or_else(|| LowerError::argument(format!("`kernel_type` is `{name}`")))?;
    let antialias = call.bool_or("antialias", true)?;
    let shape = cx.shape(x)?;
    let mut matrices = Vec::new();
    for axis in 0..2 {
        let from = shape.get(axis + 1).and_then(Dim::as_const).ok_or_else(|| {
            LowerError::dynamic("the extents of the image are not known at compile time")
        })?;
        let to = *to.get(axis).ok_or_else(|| LowerError::invalid("`size` is too short"))?;
        let (scale, shift) = (scale[axis] as f32, shift[axis] as f32);
        if scale == 0.0 {
            return Err(LowerError::invalid("a scale of 0"));
        }
        let inverse = 1.0f32 / scale;
        let stretch = if antialias { f64::from(inverse).max(1.0) } else { 1.0 };
        let reach = radius * stretch;
        let row = |i: i64| -> Vec<(i64, f64)> {
            let middle = f64::from((i as f32 + 0.5) * inverse - inverse * shift);
            if middle < 0.0 || middle > from as f64 {
                return Vec::new();
            }
            let first = ((middle - reach - 0.5).ceil() as i64).max(0);
            let last = ((middle + reach - 0.5).floor() as i64).min(from - 1);
            let taps: Vec<(i64, f64)> = (first..=last)
                .map(|at| (at, kernel((at as f64 + 0.5 - middle) / stretch)))
                .collect();
            let sum: f64 = taps.iter().map(|(_, w)| w).sum();
            if sum.abs() < 1000.0 * f64::from(f32::MIN_POSITIVE) {
                return Vec::new();
            }
            taps.into_iter().map(|(at, w)| (at, w / sum)).collect()
        };
        matrices.push(matrix((from, to), row)?);
    }
    let (Some(columns), Some(rows)) = (matrices.pop(), matrices.pop()) else {
        return Err(LowerError::invalid("two axes are scaled"));
    };
    let y = by_matrices(cx, x, (rows, columns))?;
    cx.one(y)
}
