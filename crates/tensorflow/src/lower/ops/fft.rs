//! Fourier transforms as products with matrices of cosines and sines.

use std::f64::consts::PI;

use mlc_ir::ops::{Add, Log, Matmul, Maximum, Mul, Sqrt, Sub};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::{DType, Tensor};

use super::slice::{padded, window};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "AudioSpectrogram", lower: audio_spectrogram },
    Lowering { name: "FFT", lower: |cx, call| complex(cx, call, (1, false)) },
    Lowering { name: "FFT2D", lower: |cx, call| complex(cx, call, (2, false)) },
    Lowering { name: "FFT3D", lower: |cx, call| complex(cx, call, (3, false)) },
    Lowering { name: "IFFT", lower: |cx, call| complex(cx, call, (1, true)) },
    Lowering { name: "IFFT2D", lower: |cx, call| complex(cx, call, (2, true)) },
    Lowering { name: "IFFT3D", lower: |cx, call| complex(cx, call, (3, true)) },
    Lowering { name: "IRFFT", lower: |cx, call| inverse_real(cx, call, 1) },
    Lowering { name: "IRFFT2D", lower: |cx, call| inverse_real(cx, call, 2) },
    Lowering { name: "IRFFT3D", lower: |cx, call| inverse_real(cx, call, 3) },
    Lowering { name: "Mfcc", lower: mfcc },
    Lowering { name: "RFFT", lower: |cx, call| real(cx, call, 1) },
    Lowering { name: "RFFT2D", lower: |cx, call| real(cx, call, 2) },
    Lowering { name: "RFFT3D", lower: |cx, call| real(cx, call, 3) },
];

/// Transforms of more elements are refused: their matrices would be too large.
const MAX_LENGTH: i64 = 8192;

fn check_length(n: i64) -> LowerResult<()> {
    if (1..=MAX_LENGTH).contains(&n) {
        return Ok(());
    }
    Err(LowerError::argument(format!("a transform of {n} elements; at most {MAX_LENGTH} are done")))
}

/// `[rows, columns]` of `f(row·column mod period)`.
fn table(
    cx: &mut Cx<'_>,
    (rows, columns, period): (i64, i64, i64),
    f: impl Fn(f64) -> f64,
) -> LowerResult<Value> {
    let mut values = Vec::with_capacity((rows * columns) as usize);
    for k in 0..rows {
        for n in 0..columns {
            // The angle is reduced exactly, in integers.
            let turn = (k * n).rem_euclid(period) as f64 / period as f64;
            values.push(f(2.0 * PI * turn));
        }
    }
    let tensor = Tensor::from_f64s(DType::F32, &[rows as u64, columns as u64], &values)?;
    Ok(cx.b.constant(tensor)?)
}

fn times(cx: &mut Cx<'_>, x: Value, matrix: Value) -> LowerResult<Value> {
    if cx.rank(x)? == 1 {
        let row = cx.expand_dims(x, &[0])?;
        let y = times(cx, row, matrix)?;
        return cx.squeeze(y, &[0]);
    }
    Ok(Matmul { transpose_x: false, transpose_y: false }.build(&mut cx.b, x, matrix)?)
}

fn last_extent(cx: &Cx<'_>, x: Value) -> LowerResult<i64> {
    let shape = cx.shape(x)?;
    shape.last().and_then(Dim::as_const).ok_or_else(|| {
        LowerError::dynamic("the length of a transform is not known at compile time")
            .help("fix the length of the signal with `--input`")
    })
}

/// The transform along the last axis; the inverse one divides by the length.
fn along_last(
    cx: &mut Cx<'_>,
    (re, im): (Value, Value),
    inverse: bool,
) -> LowerResult<(Value, Value)> {
    let n = last_extent(cx, re)?;
    check_length(n)?;
    let scale = if inverse { 1.0 / n as f64 } else { 1.0 };
    let sign = if inverse { 1.0 } else { -1.0 };
    let cos = table(cx, (n, n, n), |angle| scale * angle.cos())?;
    let sin = table(cx, (n, n, n), |angle| sign * scale * angle.sin())?;
    let (a, b) = (times(cx, re, cos)?, times(cx, im, sin)?);
    let (c, d) = (times(cx, re, sin)?, times(cx, im, cos)?);
    Ok((cx.binary(Sub {}, a, b)?, cx.binary(Add {}, c, d)?))
}

/// Swaps the last axis with the one `back` before it.
fn swapped(cx: &mut Cx<'_>, x: Value, back: usize) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    let mut perm: Vec<usize> = (0..rank).collect();
    let other = rank.checked_sub(back + 1).ok_or_else(|| LowerError::invalid("too few axes"))?;
    perm.swap(rank - 1, other);
    cx.transpose(x, &perm)
}

/// The transform along the axis `back` before the last.
fn along(
    cx: &mut Cx<'_>,
    (re, im): (Value, Value),
    (back, inverse): (usize, bool),
) -> LowerResult<(Value, Value)> {
    let (re, im) = (swapped(cx, re, back)?, swapped(cx, im, back)?);
    let (re, im) = along_last(cx, (re, im), inverse)?;
    Ok((swapped(cx, re, back)?, swapped(cx, im, back)?))
}

fn pair(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<(Value, Value)> {
    match call.input(0)? {
        Val::Complex(re, im) => {
            if cx.dtype(*re)? == DType::F64 {
                return Err(LowerError::dtype("a transform in double precision"));
            }
            Ok((*re, *im))
        }
        other => Err(LowerError::invalid(format!("the input is {}", other.kind()))),
    }
}

fn complex(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (axes, inverse): (usize, bool),
) -> LowerResult<Vec<Val>> {
    let mut parts = pair(cx, call)?;
    for back in 0..axes {
        parts = along(cx, parts, (back, inverse))?;
    }
    Ok(vec![Val::Complex(parts.0, parts.1)])
}

/// `x` cut off or padded with zeros to these extents of its last axes.
fn fitted(cx: &mut Cx<'_>, mut x: Value, lengths: &[i64]) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    for (i, &length) in lengths.iter().enumerate() {
        let axis = (rank + i).checked_sub(lengths.len());
        let axis = axis.ok_or_else(|| LowerError::invalid("too few axes"))?;
        let have = cx.shape(x)?[axis].as_const().ok_or_else(|| {
            LowerError::dynamic("the length of a signal is not known at compile time")
        })?;
        if have > length {
            x = window(cx, x, axis, (0, length))?;
        } else if have < length {
            let mut amounts = vec![(0, 0); rank];
            amounts[axis] = (0, length - have);
            x = padded(cx, x, &amounts, None)?;
        }
    }
    Ok(x)
}

/// The half of the transform of a real signal that tells all.
fn half_spectrum(cx: &mut Cx<'_>, x: Value) -> LowerResult<(Value, Value)> {
    let n = last_extent(cx, x)?;
    check_length(n)?;
    let bins = n / 2 + 1;
    let cos = table(cx, (n, bins, n), f64::cos)?;
    let sin = table(cx, (n, bins, n), |angle| -angle.sin())?;
    Ok((times(cx, x, cos)?, times(cx, x, sin)?))
}

fn real(cx: &mut Cx<'_>, call: &Call<'_>, axes: usize) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let lengths = cx.need_ints(call.tensor(1)?, "fft_length")?;
    if cx.dtype(x)? == DType::F64 {
        return Err(LowerError::dtype("a transform in double precision"));
    }
    let x = fitted(cx, x, &lengths)?;
    let mut parts = half_spectrum(cx, x)?;
    for back in 1..axes {
        parts = along(cx, parts, (back, false))?;
    }
    Ok(vec![Val::Complex(parts.0, parts.1)])
}

fn inverse_real(cx: &mut Cx<'_>, call: &Call<'_>, axes: usize) -> LowerResult<Vec<Val>> {
    let (re, im) = pair(cx, call)?;
    let lengths = cx.need_ints(call.tensor(1)?, "fft_length")?;
    let n = *lengths.last().ok_or_else(|| LowerError::invalid("`fft_length` is empty"))?;
    check_length(n)?;
    let mut bins = lengths.clone();
    let last = bins.len() - 1;
    bins[last] = n / 2 + 1;
    let mut parts = (fitted(cx, re, &bins)?, fitted(cx, im, &bins)?);
    for back in 1..axes {
        parts = along(cx, parts, (back, true))?;
    }
    // Every bin but the first, and for an even length the last, stands for two.
    let weight = |k: i64| if k == 0 || 2 * k == n { 1.0 } else { 2.0 };
    let rows = n / 2 + 1;
    let mut both = Vec::new();
    for sine in [false, true] {
        let mut values = Vec::with_capacity((rows * n) as usize);
        for k in 0..rows {
            for t in 0..n {
                let angle = 2.0 * PI * (k * t).rem_euclid(n) as f64 / n as f64;
                let wave = if sine { -angle.sin() } else { angle.cos() };
                values.push(weight(k) * wave / n as f64);
            }
        }
        let tensor = Tensor::from_f64s(DType::F32, &[rows as u64, n as u64], &values)?;
        both.push(cx.b.constant(tensor)?);
    }
    let (a, b) = (times(cx, parts.0, both[0])?, times(cx, parts.1, both[1])?);
    let y = cx.binary(Add {}, a, b)?;
    cx.one(y)
}

/// Spectra of windows of a signal `[samples, channels]`: `[channels, windows, bins]`.
fn audio_spectrogram(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let (size, stride) = (call.int("window_size")?, call.int("stride")?);
    let squared = call.bool_or("magnitude_squared", false)?;
    if size < 2 || stride < 1 {
        return Err(LowerError::invalid(format!("windows of {size} every {stride}")));
    }
    let x = cx.transpose(x, &[1, 0])?;
    let samples = last_extent(cx, x)?;
    if samples < size {
        return Err(LowerError::invalid(format!("{samples} samples for windows of {size}")));
    }
    let op = mlc_ir::ops::SlidingWindows { axis: 1, size, stride };
    let windows = op.build(&mut cx.b, x)?;
    let hann: Vec<f64> =
        (0..size).map(|i| 0.5 - 0.5 * (2.0 * PI * i as f64 / size as f64).cos()).collect();
    let hann = Tensor::from_f64s(DType::F32, &[size as u64], &hann)?;
    let hann = cx.b.constant(hann)?;
    let windows = cx.binary(Mul {}, windows, hann)?;
    let length = u64::try_from(size).unwrap_or(1).next_power_of_two() as i64;
    let windows = fitted(cx, windows, &[length])?;
    let (re, im) = half_spectrum(cx, windows)?;
    let (a, b) = (cx.binary(Mul {}, re, re)?, cx.binary(Mul {}, im, im)?);
    let power = cx.binary(Add {}, a, b)?;
    let y = if squared { power } else { cx.unary(Sqrt {}, power)? };
    cx.one(y)
}

/// Cepstral coefficients of spectra: energies of bands on the mel scale, their logarithms, and a
/// cosine transform.
fn mfcc(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, rate) = (call.tensor(0)?, call.tensor(1)?);
    let rate = cx.need_float(rate, "sample_rate")?;
    let high = call.float_or("upper_frequency_limit", 4000.0)?;
    let low = call.float_or("lower_frequency_limit", 20.0)?;
    let bands = call.int_or("filterbank_channel_count", 40)?;
    let count = call.int_or("dct_coefficient_count", 13)?;
    let bins = last_extent(cx, x)?;
    if bins < 2 || bands < 1 || count < 1 || bands > 4096 || count > bands {
        return Err(LowerError::invalid(format!("{count} coefficients of {bands} bands")));
    }
    let weights = mel_weights((bins, bands), (rate, low, high))?;
    let weights = cx.b.constant(weights)?;
    // Spectra come squared; the bands sum magnitudes.
    let magnitude = cx.unary(Sqrt {}, x)?;
    let energy = times(cx, magnitude, weights)?;
    let floor = cx.number(DType::F32, 1e-12)?;
    let energy = cx.binary(Maximum {}, energy, floor)?;
    let log = cx.unary(Log { epsilon: F64(0.0) }, energy)?;
    let scale = (2.0 / bands as f64).sqrt();
    let mut values = Vec::with_capacity((bands * count) as usize);
    for j in 0..bands {
        for i in 0..count {
            values.push(scale * (i as f64 * PI / bands as f64 * (j as f64 + 0.5)).cos());
        }
    }
    let cosine = Tensor::from_f64s(DType::F32, &[bands as u64, count as u64], &values)?;
    let cosine = cx.b.constant(cosine)?;
    let y = times(cx, log, cosine)?;
    cx.one(y)
}

/// `[bins, bands]`: triangles between centres that are evenly spaced on the mel scale.
fn mel_weights(
    (bins, bands): (i64, i64),
    (rate, low, high): (f64, f64, f64),
) -> LowerResult<Tensor> {
    let mel = |f: f64| 1127.0 * (1.0 + f / 700.0).ln();
    let (bottom, top) = (mel(low), mel(high));
    let spacing = (top - bottom) / (bands + 1) as f64;
    let centres: Vec<f64> = (0..=bands).map(|i| bottom + spacing * (i + 1) as f64).collect();
    let per_bin = 0.5 * rate / (bins - 1) as f64;
    let first = (1.5 + low / per_bin) as i64;
    let last = (high / per_bin) as i64;
    let mut weights = vec![0f64; (bins * bands) as usize];
    let mut channel = 0usize;
    for bin in 0..bins {
        if bin < first || bin > last {
            continue;
        }
        let at = mel(bin as f64 * per_bin);
        while channel < centres.len() && centres[channel] < at {
            channel += 1;
        }
        // The bin lies between the centres of two bands, or before the first.
        let above = channel.min(bands as usize);
        let lower = above as i64 - 1;
        let weight = if lower >= 0 {
            let lower = lower as usize;
            (centres[lower + 1] - at) / (centres[lower + 1] - centres[lower])
        } else {
            (centres[0] - at) / (centres[0] - bottom)
        };
        if lower >= 0 {
            weights[(bin * bands + lower) as usize] += weight;
        }
        if lower + 1 < bands {
            weights[(bin * bands + lower + 1) as usize] += 1.0 - weight;
        }
    }
    Ok(Tensor::from_f64s(DType::F32, &[bins as u64, bands as u64], &weights)?)
}
