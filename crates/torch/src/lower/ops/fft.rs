//! Discrete Fourier transforms, as products with matrices of cosines and sines.
//!
//! A matrix acts on pairs laid end to end: complex numbers `[…, n]` are reals `[…, 2n]`.

use mlc_ir::attr::PadMode;
use mlc_ir::ops::{Linear, Pad, Transpose};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::{DType, Tensor};

use super::reduction::one_axis;
use crate::lower::Cx;
use crate::lower::alias::slice;
use crate::lower::call::Call;
use crate::lower::complex::real_of;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.fft_fft", lower: |cx, call| one(cx, call, (Kind::Full, FORWARDS)) },
    Lowering { name: "aten.fft_ifft", lower: |cx, call| one(cx, call, (Kind::Full, BACK)) },
    Lowering { name: "aten.fft_rfft", lower: |cx, call| one(cx, call, (Kind::OfReal, FORWARDS)) },
    Lowering { name: "aten.fft_irfft", lower: |cx, call| one(cx, call, (Kind::ToReal, BACK)) },
    Lowering { name: "aten.fft_hfft", lower: |cx, call| one(cx, call, (Kind::ToReal, FORWARDS)) },
    Lowering { name: "aten.fft_ihfft", lower: |cx, call| one(cx, call, (Kind::OfReal, BACK)) },
    Lowering { name: "aten.fft_fft2", lower: |cx, call| many(cx, call, (Kind::Full, FORWARDS)) },
    Lowering { name: "aten.fft_ifft2", lower: |cx, call| many(cx, call, (Kind::Full, BACK)) },
    Lowering { name: "aten.fft_rfft2", lower: |cx, call| many(cx, call, (Kind::OfReal, FORWARDS)) },
    Lowering { name: "aten.fft_irfft2", lower: |cx, call| many(cx, call, (Kind::ToReal, BACK)) },
    Lowering { name: "aten.fft_fftn", lower: |cx, call| many(cx, call, (Kind::Full, FORWARDS)) },
    Lowering { name: "aten.fft_ifftn", lower: |cx, call| many(cx, call, (Kind::Full, BACK)) },
    Lowering { name: "aten.fft_rfftn", lower: |cx, call| many(cx, call, (Kind::OfReal, FORWARDS)) },
    Lowering { name: "aten.fft_irfftn", lower: |cx, call| many(cx, call, (Kind::ToReal, BACK)) },
    Lowering { name: "aten.fft_hfft2", lower: |cx, call| many(cx, call, (Kind::ToReal, FORWARDS)) },
    Lowering { name: "aten.fft_hfftn", lower: |cx, call| many(cx, call, (Kind::ToReal, FORWARDS)) },
    Lowering { name: "aten.fft_ihfft2", lower: |cx, call| many(cx, call, (Kind::OfReal, BACK)) },
    Lowering { name: "aten.fft_ihfftn", lower: |cx, call| many(cx, call, (Kind::OfReal, BACK)) },
    Lowering { name: "aten._fft_r2c", lower: |cx, call| core(cx, call, Kind::OfReal) },
    Lowering { name: "aten._fft_c2c", lower: |cx, call| core(cx, call, Kind::Full) },
    Lowering { name: "aten._fft_c2r", lower: |cx, call| core(cx, call, Kind::ToReal) },
];

/// Most elements of a matrix.
const MAX_MATRIX: i64 = 1 << 26;

/// What a transform takes and gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Complex numbers to as many.
    Full,
    /// Reals to the half of the result that the other half mirrors.
    OfReal,
    /// Such a half to reals.
    ToReal,
}

/// Whether a transform has the exponent `−2πi·jk/n` or `+2πi·jk/n`.
type Forwards = bool;
const FORWARDS: Forwards = true;
const BACK: Forwards = false;

/// A transform along one axis.
#[derive(Clone, Copy)]
pub(super) struct Transform {
    pub(super) kind: Kind,
    pub(super) forwards: Forwards,
    /// Points: of the longer side.
    pub(super) points: i64,
    pub(super) scale: f64,
}

impl Transform {
    /// Numbers it takes.
    fn taken(&self) -> i64 {
        if self.kind == Kind::ToReal { self.points / 2 + 1 } else { self.points }
    }

    /// Numbers it gives.
    pub(super) fn given(&self) -> i64 {
        if self.kind == Kind::OfReal { self.points / 2 + 1 } else { self.points }
    }

    /// Cosine and sine of the exponent at `j`, `k`.
    fn turn(&self, j: i64, k: i64) -> (f64, f64) {
        let steps = (i128::from(j) * i128::from(k)).rem_euclid(i128::from(self.points)) as f64;
        let angle = 2.0 * std::f64::consts::PI * steps / self.points as f64;
        let (sin, cos) = angle.sin_cos();
        (cos * self.scale, if self.forwards { -sin } else { sin } * self.scale)
    }

    /// The matrix, `[reals given, reals taken]`; `complex` says whether it takes pairs.
    pub(super) fn matrix(&self, complex: bool, dtype: DType) -> LowerResult<Tensor> {
        let (taken, given) = (self.taken(), self.given());
        let columns = taken * if complex { 2 } else { 1 };
        let rows = given * if self.kind == Kind::ToReal { 1 } else { 2 };
        if columns.checked_mul(rows).is_none_or(|n| n > MAX_MATRIX) {
            let message = format!("a Fourier transform of {} points", self.points);
            return Err(LowerError::argument(message).help("use shorter frames"));
        }
        let mut values = Vec::with_capacity((columns * rows) as usize);
        for k in 0..given {
            for imaginary in [false, true] {
                if imaginary && self.kind == Kind::ToReal {
                    continue;
                }
                for j in 0..taken {
                    let (cos, sin) = self.turn(j, k);
                    let mirrored = j > 0 && 2 * j != self.points;
                    let weight = if self.kind == Kind::ToReal && mirrored { 2.0 } else { 1.0 };
                    values.push(weight * if imaginary { sin } else { cos });
                    if complex {
                        values.push(weight * if imaginary { cos } else { -sin });
                    }
                }
            }
        }
        Ok(Tensor::from_f64s(dtype, &[rows as u64, columns as u64], &values)?)
    }
}

/// The factor of a transform of `points` by the name of its normalization.
fn scale(norm: Option<&str>, points: i64, forwards: Forwards) -> LowerResult<f64> {
    let n = points as f64;
    match (norm.unwrap_or("backward"), forwards) {
        ("backward", true) | ("forward", false) => Ok(1.0),
        ("backward", false) | ("forward", true) => Ok(1.0 / n),
        ("ortho", _) => Ok(1.0 / n.sqrt()),
        (norm, _) => Err(LowerError::invalid(format!("`norm` is `{norm}`"))),
    }
}

/// Numbers along the axes of a transform on its way: reals, or pairs along a last axis.
#[derive(Clone, Copy)]
struct Signal {
    value: Value,
    complex: bool,
}

fn signal(cx: &mut Cx<'_>, tensor: TensorId) -> LowerResult<Signal> {
    let complex = cx.is_complex(tensor);
    let mut value = cx.pairs(tensor)?;
    if !cx.b.tensor(value)?.dtype.is_float() {
        value = cx.cast(value, DType::F32)?;
    }
    Ok(Signal { value, complex })
}

fn extents(cx: &Cx<'_>, x: Signal) -> LowerResult<Vec<Dim>> {
    let mut shape = cx.b.tensor(x.value)?.shape.clone();
    if x.complex {
        shape.pop();
    }
    Ok(shape)
}

/// `x` cut, or filled with zeros, to `wanted` numbers along an axis.
fn resized(cx: &mut Cx<'_>, x: Signal, axis: usize, wanted: i64) -> LowerResult<Signal> {
    let shape = extents(cx, x)?;
    let wanted_dim = Dim::Const(wanted);
    let have = &shape[axis];
    if *have == wanted_dim {
        return Ok(x);
    }
    let Some(known) = have.as_const() else {
        return Err(LowerError::dynamic(format!("a Fourier transform along the extent {have}"))
            .help("export the model with that extent fixed"));
    };
    if known > wanted {
        let value = slice(cx, x.value, axis, (&Dim::Const(0), &wanted_dim, 1))?;
        return Ok(Signal { value, ..x });
    }
    let mut pad = vec![0; 2 * cx.b.tensor(x.value)?.rank()];
    pad[2 * axis + 1] = wanted - known;
    let pad = cx.b.ints(&pad)?;
    let value =
        Pad { mode: PadMode::Constant, constant_val: F64(0.0) }.build(&mut cx.b, x.value, pad)?;
    Ok(Signal { value, ..x })
}

/// Swaps an axis with the last.
fn swapped(cx: &mut Cx<'_>, x: Signal, axis: usize) -> LowerResult<Signal> {
    let rank = cx.b.tensor(x.value)?.rank();
    let last = rank - 1 - usize::from(x.complex);
    if axis == last {
        return Ok(x);
    }
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    perm.swap(axis, last);
    Ok(Signal { value: cx.unary(Transpose { perm }, x.value)?, ..x })
}

fn along(cx: &mut Cx<'_>, x: Signal, axis: usize, by: Transform) -> LowerResult<Signal> {
    let x = resized(cx, x, axis, by.taken())?;
    let x = swapped(cx, x, axis)?;
    let mut shape = extents(cx, x)?;
    let last = shape.len() - 1;
    let dtype = cx.b.tensor(x.value)?.dtype;
    let mut flat = x.value;
    if x.complex {
        shape[last] = Dim::Const(2 * by.taken());
        flat = cx.reshape(flat, &shape)?;
    }
    let matrix = cx.b.constant(by.matrix(x.complex, dtype)?)?;
    let y = Linear {}.build(&mut cx.b, flat, matrix, None)?;
    let complex = by.kind != Kind::ToReal;
    let value = if complex {
        shape[last] = Dim::Const(by.given());
        shape.push(Dim::Const(2));
        cx.reshape(y, &shape)?
    } else {
        y
    };
    swapped(cx, Signal { value, complex }, axis)
}

fn result(cx: &mut Cx<'_>, x: Signal) -> LowerResult<Vec<Val>> {
    Ok(vec![if x.complex { cx.fresh_complex(x.value) } else { cx.fresh(x.value) }])
}

fn known(extent: &Dim) -> LowerResult<i64> {
    extent.as_const().ok_or_else(|| {
        LowerError::dynamic(format!("a Fourier transform along the extent {extent}"))
            .help("export the model with that extent fixed")
    })
}

/// How many points a transform has: those asked for, or those of the operand.
fn points(extent: &Dim, asked: Option<i64>, kind: Kind) -> LowerResult<i64> {
    let points = match asked {
        Some(n) if n != -1 => n,
        _ if kind == Kind::ToReal => known(extent)?.saturating_sub(1).saturating_mul(2),
        _ => known(extent)?,
    };
    if (1..=MAX_MATRIX).contains(&points) {
        Ok(points)
    } else {
        Err(LowerError::invalid(format!("a Fourier transform of {points} points")))
    }
}

fn one(cx: &mut Cx<'_>, call: &Call<'_>, (kind, forwards): (Kind, bool)) -> LowerResult<Vec<Val>> {
    let x = signal(cx, call.tensor("self")?)?;
    if kind == Kind::OfReal && x.complex {
        return Err(LowerError::invalid("a transform of reals is given complex numbers"));
    }
    let shape = extents(cx, x)?;
    let axis = one_axis(call.int_or("dim", -1)?, shape.len())?
        .ok_or_else(|| LowerError::invalid("a transform of a scalar"))?;
    let points = points(&shape[axis], call.opt_int("n")?, kind)?;
    let scale = scale(call.opt_str("norm")?, points, forwards)?;
    let y = along(cx, x, axis, Transform { kind, forwards, points, scale })?;
    result(cx, y)
}

/// Transforms along several axes: the one of or to reals is along the last of them, first or last.
fn many(cx: &mut Cx<'_>, call: &Call<'_>, (kind, forwards): (Kind, bool)) -> LowerResult<Vec<Val>> {
    let mut x = signal(cx, call.tensor("self")?)?;
    if kind == Kind::OfReal && x.complex {
        return Err(LowerError::invalid("a transform of reals is given complex numbers"));
    }
    let shape = extents(cx, x)?;
    let rank = shape.len() as i64;
    let sizes = call.opt_ints("s")?;
    let plane = call.op.ends_with('2');
    let dims = match (call.opt_ints("dim")?, &sizes) {
        (Some(dims), _) => dims,
        (None, _) if plane => vec![-2, -1],
        (None, Some(sizes)) => (0..sizes.len() as i64).map(|i| i - sizes.len() as i64).collect(),
        (None, None) => (0..rank).collect(),
    };
    if sizes.as_ref().is_some_and(|sizes| sizes.len() != dims.len()) {
        return Err(LowerError::invalid("`s` and `dim` differ in length"));
    }
    let norm = call.opt_str("norm")?;
    let mut steps = Vec::new();
    for (i, &dim) in dims.iter().enumerate() {
        let kind = if i + 1 == dims.len() { kind } else { Kind::Full };
        let axis = one_axis(dim, shape.len())?
            .ok_or_else(|| LowerError::invalid("a transform of a scalar"))?;
        let asked = sizes.as_ref().map(|sizes| sizes[i]);
        let points = points(&shape[axis], asked, kind)?;
        let scale = scale(norm, points, forwards)?;
        steps.push((axis, Transform { kind, forwards, points, scale }));
    }
    if kind == Kind::OfReal {
        steps.reverse();
    }
    for (axis, by) in steps {
        x = along(cx, x, axis, by)?;
    }
    result(cx, x)
}

/// The forms of the core opset. `normalization` is 0 for none, 1 for `1/√n`, 2 for `1/n`.
fn core(cx: &mut Cx<'_>, call: &Call<'_>, kind: Kind) -> LowerResult<Vec<Val>> {
    let mut x = signal(cx, call.tensor("self")?)?;
    let dims = call.ints("dim")?;
    let normalization = call.int("normalization")?;
    let forwards = match kind {
        Kind::Full => call.bool_or("forward", true)?,
        Kind::OfReal => true,
        Kind::ToReal => false,
    };
    let whole = kind == Kind::OfReal && !call.bool_or("onesided", true)?;
    let kind = if whole { Kind::Full } else { kind };
    let shape = extents(cx, x)?;
    let mut steps = Vec::new();
    for (i, &dim) in dims.iter().enumerate() {
        let last = i + 1 == dims.len();
        let kind = if last { kind } else { Kind::Full };
        let axis = one_axis(dim, shape.len())?
            .ok_or_else(|| LowerError::invalid("a transform of a scalar"))?;
        let points = match kind {
            Kind::ToReal => points(&shape[axis], Some(call.int("last_dim_size")?), kind)?,
            _ => points(&shape[axis], None, kind)?,
        };
        let scale = match normalization {
            0 => 1.0,
            1 => 1.0 / (points as f64).sqrt(),
            2 => 1.0 / points as f64,
            other => return Err(LowerError::invalid(format!("`normalization` is {other}"))),
        };
        steps.push((axis, Transform { kind, forwards, points, scale }));
    }
    if kind == Kind::OfReal {
        steps.reverse();
    }
    for (axis, by) in steps {
        x = along(cx, x, axis, by)?;
    }
    result(cx, x)
}

/// The element type of the reals of a tensor that is transformed.
pub(super) fn real_dtype(cx: &Cx<'_>, tensor: TensorId) -> LowerResult<DType> {
    let dtype = real_of(cx.dtype(tensor)?);
    Ok(if dtype.is_float() { dtype } else { DType::F32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_and_its_inverse_cancel() {
        let by = |forwards, scale| Transform { kind: Kind::Full, forwards, points: 5, scale };
        let there = by(true, 1.0).matrix(true, DType::F64).unwrap().to_f64s().unwrap();
        let back = by(false, 0.2).matrix(true, DType::F64).unwrap().to_f64s().unwrap();
        for i in 0..10 {
            for j in 0..10 {
                let sum: f64 = (0..10).map(|k| back[i * 10 + k] * there[k * 10 + j]).sum();
                let want = if i == j { 1.0 } else { 0.0 };
                assert!((sum - want).abs() < 1e-12, "{i} {j} {sum}");
            }
        }
    }
}
