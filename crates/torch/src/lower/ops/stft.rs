//! Short-time Fourier transforms: a convolution with the windowed waves.

use mlc_ir::attr::PadType;
use mlc_ir::ops::{Concat, Conv, ExpandDims, Mul, Split, Squeeze, Stack};
use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, Tensor};

use super::fft::{Kind, Transform, real_dtype};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[Lowering { name: "aten.stft", lower: stft }];

pub(super) fn positive(name: &str, value: i64) -> LowerResult<i64> {
    match value {
        1..=0x100_0000 => Ok(value),
        _ => Err(LowerError::invalid(format!("`{name}` is {value}"))),
    }
}

/// The window of `frame` elements, filled with zeros on both sides; `None` where all are 1.
pub(super) fn window(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    frame: i64,
    dtype: DType,
) -> LowerResult<Option<Value>> {
    let length = positive("win_length", call.int_or("win_length", frame)?)?;
    if length > frame {
        return Err(LowerError::invalid(format!("a window of {length} in frames of {frame}")));
    }
    let left = (frame - length) / 2;
    let Some(given) = call.opt_tensor("window")? else {
        if length == frame {
            return Ok(None);
        }
        let inside = left..left + length;
        let values: Vec<f64> =
            (0..frame).map(|i| f64::from(u8::from(inside.contains(&i)))).collect();
        let ones = Tensor::from_f64s(dtype, &[frame as u64], &values)?;
        return Ok(Some(cx.b.constant(ones)?));
    };
    let mut window = cx.read_as(given, dtype)?;
    if cx.b.tensor(window)?.shape != [Dim::Const(length)] {
        return Err(LowerError::invalid(format!("`window` has no {length} elements")));
    }
    if let Some(known) = cx.b.constant_of(window) {
        let mut values = vec![0.0; frame as usize];
        for (place, value) in values.iter_mut().skip(left as usize).zip(known.to_f64s()?) {
            *place = value;
        }
        return Ok(Some(cx.b.constant(Tensor::from_f64s(dtype, &[frame as u64], &values)?)?));
    }
    if length < frame {
        let zeros =
            |count: i64| Tensor::from_f64s(dtype, &[count as u64], &vec![0.0; count as usize]);
        let (before, after) = (zeros(left)?, zeros(frame - length - left)?);
        let (before, after) = (cx.b.constant(before)?, cx.b.constant(after)?);
        let parts = vec![before, window, after];
        window = Concat { axis: 0, interleave: false }.build(&mut cx.b, parts)?;
    }
    Ok(Some(window))
}

/// The weights of the convolution, `[rows of real parts, then of imaginary ones, channels, frame]`.
fn waves(by: Transform, complex: bool, dtype: DType) -> LowerResult<Tensor> {
    let matrix = by.matrix(complex, dtype)?;
    let values = matrix.to_f64s()?;
    let channels = if complex { 2 } else { 1 };
    let (given, frame) = (by.given() as usize, by.points as usize);
    let mut sorted = Vec::with_capacity(values.len());
    for part in 0..2 {
        for row in 0..given {
            let row = &values[(2 * row + part) * frame * channels..][..frame * channels];
            for channel in 0..channels {
                sorted.extend(row.iter().skip(channel).step_by(channels));
            }
        }
    }
    let shape = [2 * given as u64, channels as u64, frame as u64];
    Ok(Tensor::from_f64s(dtype, &shape, &sorted)?)
}

/// The weights with the window on them; a constant where the window is.
fn windowed(cx: &mut Cx<'_>, waves: &Tensor, window: Option<Value>) -> LowerResult<Value> {
    let Some(window) = window else { return Ok(cx.b.constant(waves.clone())?) };
    if let Some(known) = cx.b.constant_of(window) {
        let known = known.to_f64s()?;
        let values: Vec<f64> =
            waves.to_f64s()?.iter().zip(known.iter().cycle()).map(|(a, b)| a * b).collect();
        let waves = Tensor::from_f64s(waves.dtype(), waves.shape(), &values)?;
        return Ok(cx.b.constant(waves)?);
    }
    let waves = cx.b.constant(waves.clone())?;
    cx.binary(Mul {}, waves, window)
}

fn stft(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut x = call.tensor("self")?;
    let complex = cx.is_complex(x);
    let dtype = real_dtype(cx, x)?;
    let frame = positive("n_fft", call.int("n_fft")?)?;
    let hop = positive("hop_length", call.int_or("hop_length", (frame / 4).max(1))?)?;
    if call.bool_or("align_to_window", false)? {
        return Err(LowerError::argument("`align_to_window`"));
    }
    let flat = cx.rank(x)? == 1;
    if call.overload == "center" && call.bool_or("center", true)? {
        if complex {
            return Err(LowerError::argument("complex signals with `center`")
                .help("pad the signal before the transform"));
        }
        let mode = call.opt_str("pad_mode")?.unwrap_or("reflect").to_owned();
        let side = Val::Int((frame / 2).into());
        // Padding that reflects wants a batch and channels.
        let times = if flat { 2 } else { 1 };
        for _ in 0..times {
            let args = [("self", Val::Tensor(x)), ("dim", Val::Int(0.into()))];
            x = cx.call_tensor("aten.unsqueeze", &args)?;
        }
        let pad = Val::List(vec![side.clone(), side]);
        let args = [("self", Val::Tensor(x)), ("pad", pad), ("mode", Val::Str(mode))];
        x = cx.call_tensor("aten.pad", &args)?;
        for _ in 0..times {
            let args = [("self", Val::Tensor(x)), ("dim", Val::Int(0.into()))];
            x = cx.call_tensor("aten.squeeze", &args)?;
        }
    } else {
        call.ignore(&["center", "pad_mode"]);
    }
    let window = window(cx, call, frame, dtype)?;
    let scale = if call.bool_or("normalized", false)? { 1.0 / (frame as f64).sqrt() } else { 1.0 };
    let onesided = call.bool_or("onesided", !complex)?;
    if onesided && complex {
        return Err(LowerError::invalid("half of the transform of complex numbers"));
    }
    let kind = if onesided { Kind::OfReal } else { Kind::Full };
    let by = Transform { kind, forwards: true, points: frame, scale };
    let weight = waves(by, complex, dtype)?;
    let weight = windowed(cx, &weight, window)?;
    let (re, im) = cx.parts(x)?;
    let channels = std::iter::once(re).chain(im).collect::<Vec<_>>();
    let mut signal = Stack { axis: if flat { 0 } else { 1 } }.build(&mut cx.b, channels)?;
    signal = cx.cast(signal, dtype)?;
    if flat {
        signal = cx.unary(ExpandDims { axes: vec![0] }, signal)?;
    }
    let conv = Conv {
        strides: vec![hop],
        pad_type: PadType::Valid,
        pad: vec![0, 0],
        dilations: vec![1],
        groups: 1,
    };
    let mut y = conv.build(&mut cx.b, signal, weight, None)?;
    if flat {
        y = cx.unary(Squeeze { axes: Some(vec![0]) }, y)?;
    }
    let axis = if flat { 0 } else { 1 };
    let halves =
        Split { num_splits: Some(2), split_sizes: None, axis }.build_many(&mut cx.b, y)?.to_vec();
    let [re, im] = halves[..] else { return Err(LowerError::invalid("no halves")) };
    if call.bool_or("return_complex", complex)? {
        return cx.one_complex(re, im);
    }
    let pairs = cx.join_pairs(re, im)?;
    cx.one(pairs)
}
