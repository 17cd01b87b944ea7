//! Inverse short-time Fourier transforms: a transposed convolution with the windowed waves, divided
//! by the sum of the squares of the windows.

use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, Tensor};

use super::calls::Calls;
use super::fft::{Kind, Transform, real_dtype};
use super::stft::{positive, window};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const COMPLEX: &[Lowering] = &[Lowering { name: "aten.istft", lower: istft }];

/// The waves as weights `[numbers taken, parts given, frame]`; numbers are pairs laid end to end.
fn waves(by: Transform, dtype: DType) -> LowerResult<Tensor> {
    let matrix = by.matrix(true, dtype)?;
    let values = matrix.to_f64s()?;
    let parts = if by.kind == Kind::ToReal { 1 } else { 2 };
    let frame = by.points as usize;
    let columns = values.len() / (parts * frame);
    let mut sorted = Vec::with_capacity(values.len());
    for column in 0..columns {
        for part in 0..parts {
            sorted.extend((0..frame).map(|j| values[(j * parts + part) * columns + column]));
        }
    }
    let shape = [columns as u64, parts as u64, frame as u64];
    Ok(Tensor::from_f64s(dtype, &shape, &sorted)?)
}

fn istft(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    if !cx.is_complex(x) {
        return Err(LowerError::invalid("the spectrum is not complex"));
    }
    let dtype = real_dtype(cx, x)?;
    let frame = positive("n_fft", call.int("n_fft")?)?;
    let hop = positive("hop_length", call.int_or("hop_length", (frame / 4).max(1))?)?;
    let centre = call.bool_or("center", true)?;
    let complex = call.bool_or("return_complex", false)?;
    let scale = if call.bool_or("normalized", false)? { (frame as f64).sqrt() } else { 1.0 };
    let shape = cx.shape(x)?;
    let flat = shape.len() == 2;
    let [.., rows, frames] = &shape[..] else {
        return Err(LowerError::invalid("a spectrum has two axes"));
    };
    let half = rows.is(frame / 2 + 1) && frame > 1;
    if !call.bool_or("onesided", half)? && half && frame > 2 {
        return Err(LowerError::invalid("the spectrum has half of the frequencies"));
    }
    if complex && half && frame > 2 {
        return Err(LowerError::invalid("complex signals need all frequencies"));
    }
    let kind = if complex || !half { Kind::Full } else { Kind::ToReal };
    let by = Transform { kind, forwards: false, points: frame, scale: scale / frame as f64 };
    let window = match window(cx, call, frame, dtype)? {
        Some(window) => window,
        None => {
            let ones = vec![1.0; frame as usize];
            cx.b.constant(Tensor::from_f64s(dtype, &[frame as u64], &ones)?)?
        }
    };
    // [batch, numbers, frames], pairs laid end to end.
    let pairs = cx.pairs(x)?;
    let batch = if flat { Dim::Const(1) } else { shape[0].clone() };
    let to = [batch.clone(), rows.clone(), frames.clone(), Dim::Const(2)];
    let pairs = cx.reshape(pairs, &to)?;
    let perm = vec![0, 1, 3, 2];
    let pairs = cx.unary(mlc_ir::ops::Transpose { perm }, pairs)?;
    let numbers = rows.mul(&Dim::Const(2));
    let pairs = cx.reshape(pairs, &[batch, numbers, frames.clone()])?;
    let waves = waves(by, dtype)?;
    let mut calls = Calls(cx);
    let (pairs, window) = (calls.tensor(pairs)?, calls.tensor(window)?);
    let waves = calls.constant(waves)?;
    let weight = calls.two("aten.mul", waves, window)?;
    let signal = overlapped(&mut calls, (pairs, weight), hop)?;
    let square = calls.two("aten.mul", window, window)?;
    let square = calls.reshape(square, &[Dim::Const(1), Dim::Const(1), Dim::Const(frame)])?;
    let ones = [
        ("size", Val::List(vec![1i64.into(), 1i64.into(), Val::Int(frames.clone())])),
        ("dtype", Val::DType(dtype)),
    ];
    let ones = calls.0.call_tensor("aten.ones", &ones)?;
    let envelope = overlapped(&mut calls, (ones, square), hop)?;
    let total = frames.sub(&Dim::Const(1)).mul(&Dim::Const(hop)).add(&Dim::Const(frame));
    let start = if centre { frame / 2 } else { 0 };
    let end = match call.opt_dim("length")? {
        Some(length) => length.add(&Dim::Const(start)),
        None if centre => total.sub(&Dim::Const(frame / 2)),
        None => total.clone(),
    };
    let inside = super::axes::lesser(calls.0, &end, &total);
    let mut parts = Vec::with_capacity(2);
    for tensor in [signal, envelope] {
        let args = [
            ("self", tensor.into()),
            ("dim", 2i64.into()),
            ("start", start.into()),
            ("end", Val::Int(inside.clone())),
        ];
        parts.push(calls.0.call_tensor("aten.slice", &args)?);
    }
    let mut y = calls.two("aten.div", parts[0], parts[1])?;
    let missing = end.sub(&inside);
    if !missing.is(0) {
        let pad = Val::List(vec![0i64.into(), Val::Int(missing)]);
        y = calls.with("aten.constant_pad_nd", y, ("pad", pad))?;
    }
    if flat {
        y = calls.with("aten.squeeze", y, ("dim", 0i64))?;
    }
    finish(cx, (y, flat), (kind, complex))
}

/// Frames added where they overlap, `hop` elements apart.
fn overlapped(
    calls: &mut Calls<'_, '_>,
    (x, weight): (TensorId, TensorId),
    hop: i64,
) -> LowerResult<TensorId> {
    let args =
        [("input", x.into()), ("weight", weight.into()), ("stride", Val::List(vec![hop.into()]))];
    calls.0.call_tensor("aten.conv_transpose1d", &args)
}

/// The parts, the axis before the last, as a real or a complex signal.
fn finish(
    cx: &mut Cx<'_>,
    (y, flat): (TensorId, bool),
    (kind, complex): (Kind, bool),
) -> LowerResult<Vec<Val>> {
    let axis = if flat { 0 } else { 1 };
    let part = |cx: &mut Cx<'_>, at: i64| -> LowerResult<Value> {
        let value = cx.read(y)?;
        crate::lower::alias::select(cx, value, axis, &Dim::Const(at))
    };
    let re = part(cx, 0)?;
    if !complex {
        return cx.one(re);
    }
    if kind != Kind::Full {
        return Err(LowerError::invalid("a complex signal of half of the frequencies"));
    }
    let im = part(cx, 1)?;
    cx.one_complex(re, im)
}
