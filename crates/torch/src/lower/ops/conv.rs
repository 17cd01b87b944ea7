//! Convolutions.

use mlc_ir::attr::{F64, PadMode, PadType};
use mlc_ir::ops::{Add, Conv, ConvTranspose, ExpandDims, Pad};
use mlc_ir::{Dim, Value};

use super::linear::is_known;
use crate::lower::alias::slice;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.conv1d", lower: |cx, call| conv(cx, call, Some(1)) },
    Lowering { name: "aten.conv2d", lower: |cx, call| conv(cx, call, Some(2)) },
    Lowering { name: "aten.conv3d", lower: |cx, call| conv(cx, call, Some(3)) },
    Lowering { name: "aten._convolution_mode", lower: |cx, call| conv(cx, call, None) },
    Lowering { name: "aten.conv_transpose1d", lower: |cx, call| transpose(cx, call, 1) },
    Lowering { name: "aten.conv_transpose2d", lower: |cx, call| transpose(cx, call, 2) },
    Lowering { name: "aten.conv_transpose3d", lower: |cx, call| transpose(cx, call, 3) },
    Lowering { name: "aten.convolution", lower: convolution },
    Lowering { name: "aten._convolution", lower: convolution },
];

/// The operands and numbers of a convolution.
struct Window {
    x: Value,
    weight: Value,
    bias: Option<Value>,
    /// Spatial axes.
    spatial: usize,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    groups: i64,
}

impl Window {
    fn of(cx: &mut Cx<'_>, call: &Call<'_>, spatial: Option<usize>) -> LowerResult<Self> {
        let x = cx.read(call.tensor("input")?)?;
        let weight = cx.read(call.tensor("weight")?)?;
        let dtype = cx.b.tensor(x)?.dtype;
        if !dtype.is_float() {
            return Err(LowerError::dtype(format!("a convolution of {dtype}"))
                .help("convert the operands with `.float()` before it"));
        }
        let bias = call.opt_tensor("bias")?.map(|bias| cx.read(bias)).transpose()?;
        let rank = cx.b.tensor(weight)?.rank();
        let spatial = match (spatial, rank.checked_sub(2)) {
            (None, Some(n @ 1..=3)) => n,
            (Some(n), Some(own)) if n == own => n,
            _ => return Err(LowerError::invalid(format!("a weight of rank {rank}"))),
        };
        Ok(Self {
            x,
            weight,
            bias,
            spatial,
            strides: positive(call, "stride", spatial)?,
            dilations: positive(call, "dilation", spatial)?,
            groups: call.int_or("groups", 1)?,
        })
    }

    /// Runs `make` on a batch: `x` itself, or the only item of a batch where `x` has no batch axis.
    fn batched(
        mut self,
        cx: &mut Cx<'_>,
        make: impl FnOnce(&mut Cx<'_>, &Self) -> LowerResult<Value>,
    ) -> LowerResult<Vec<Val>> {
        let rank = cx.b.tensor(self.x)?.rank();
        let single = rank == self.spatial + 1;
        if single {
            self.x = ExpandDims { axes: vec![0] }.build(&mut cx.b, self.x)?;
        }
        let mut y = make(cx, &self)?;
        if single {
            y = dims::squeeze(cx, y, &[0])?;
        }
        cx.one(y)
    }

    /// The bias as an operand of the op where it is known, else as a value to add after.
    fn split_bias(&self, cx: &Cx<'_>) -> (Option<Value>, Option<Value>) {
        match self.bias {
            Some(bias) if is_known(cx, bias) => (Some(bias), None),
            bias => (None, bias),
        }
    }

    /// Adds a bias for each channel to `y`.
    fn add_bias(&self, cx: &mut Cx<'_>, y: Value, bias: Option<Value>) -> LowerResult<Value> {
        let Some(bias) = bias else { return Ok(y) };
        let axes = std::iter::once(0).chain(2..2 + self.spatial as i64).collect();
        let bias = ExpandDims { axes }.build(&mut cx.b, bias)?;
        cx.binary(Add {}, y, bias)
    }
}

fn positive(call: &Call<'_>, name: &str, spatial: usize) -> LowerResult<Vec<i64>> {
    let list = call.ints_of(name, spatial, &[1])?;
    if let Some(n) = list.iter().find(|&&n| n < 1) {
        return Err(LowerError::invalid(format!("`{name}` holds {n}")));
    }
    Ok(list)
}

/// Amounts before and after each spatial axis; `same` keeps extents, an odd one goes behind.
fn padding(cx: &Cx<'_>, call: &Call<'_>, window: &Window) -> LowerResult<Vec<i64>> {
    let word = match call.get("padding") {
        Some(Val::Str(word)) => word.as_str(),
        _ => {
            let pad = call.ints_of("padding", window.spatial, &[0])?;
            if let Some(n) = pad.iter().find(|&&n| n < 0) {
                return Err(LowerError::invalid(format!("`padding` holds {n}")));
            }
            return Ok(pad.into_iter().flat_map(|p| [p, p]).collect());
        }
    };
    match word {
        "valid" => Ok(vec![0; 2 * window.spatial]),
        "same" if window.strides.iter().any(|&s| s != 1) => {
            Err(LowerError::invalid("`padding` is `same` with strides other than 1"))
        }
        "same" => {
            let kernel = &cx.b.tensor(window.weight)?.shape[2..];
            let mut pad = Vec::with_capacity(2 * window.spatial);
            for (k, d) in kernel.iter().zip(&window.dilations) {
                let total = k
                    .as_const()
                    .and_then(|k| k.checked_sub(1)?.checked_mul(*d))
                    .ok_or_else(|| LowerError::dynamic("`same` for a kernel of unknown extent"))?;
                pad.extend([total / 2, total - total / 2]);
            }
            Ok(pad)
        }
        other => Err(LowerError::argument(format!("`padding` is `{other}`"))),
    }
}

fn conv(cx: &mut Cx<'_>, call: &Call<'_>, spatial: Option<usize>) -> LowerResult<Vec<Val>> {
    let window = Window::of(cx, call, spatial)?;
    let pad = padding(cx, call, &window)?;
    window.batched(cx, |cx, window| forward(cx, window, pad))
}

fn forward(cx: &mut Cx<'_>, window: &Window, pad: Vec<i64>) -> LowerResult<Value> {
    let (bias, after) = window.split_bias(cx);
    let runtime = !is_known(cx, window.weight);
    let mut weight = window.weight;
    let mut dilations = window.dilations.clone();
    if runtime && dilations.iter().any(|&d| d != 1) {
        weight = dilated(cx, weight, &dilations)?;
        dilations = vec![1; window.spatial];
    }
    let padded = pad.iter().any(|&p| p != 0);
    let op = Conv {
        strides: window.strides.clone(),
        pad_type: if padded { PadType::Custom } else { PadType::Valid },
        pad,
        dilations,
        groups: window.groups,
    };
    let y = op.build(&mut cx.b, window.x, weight, bias)?;
    window.add_bias(cx, y, after)
}

/// The weight with zeros between its elements, for which a dilation of 1 does the same.
fn dilated(cx: &mut Cx<'_>, weight: Value, dilations: &[i64]) -> LowerResult<Value> {
    let mut y = weight;
    for (at, &dilation) in dilations.iter().enumerate().filter(|(_, d)| **d != 1) {
        let axis = at + 2;
        let shape = cx.b.tensor(y)?.shape.clone();
        let rank = shape.len();
        let split = ExpandDims { axes: vec![axis as i64 + 1] }.build(&mut cx.b, y)?;
        let mut pad = vec![0; 2 * (rank - axis)];
        pad[1] = dilation - 1;
        let pad = cx.b.ints(&pad)?;
        let op = Pad { mode: PadMode::Constant, constant_val: F64(0.0) };
        let spread = op.build(&mut cx.b, split, pad)?;
        let mut joined = shape;
        joined[axis] = joined[axis].mul(&Dim::Const(dilation));
        let long = cx.reshape(spread, &joined)?;
        let end = joined[axis].sub(&Dim::Const(dilation - 1));
        y = slice(cx, long, axis, (&Dim::Const(0), &end, 1))?;
    }
    Ok(y)
}

fn transpose(cx: &mut Cx<'_>, call: &Call<'_>, spatial: usize) -> LowerResult<Vec<Val>> {
    let window = Window::of(cx, call, Some(spatial))?;
    let pad = call.ints_of("padding", spatial, &[0])?;
    let output_padding = call.ints_of("output_padding", spatial, &[0])?;
    window.batched(cx, |cx, window| backward(cx, window, (&pad, &output_padding)))
}

/// `padding` is cut off on both sides, `output_padding` added behind: what is cut off behind is less
/// by that, and what reaches beyond holds the bias alone.
fn backward(
    cx: &mut Cx<'_>,
    window: &Window,
    (padding, output_padding): (&[i64], &[i64]),
) -> LowerResult<Value> {
    let mut cut = Vec::new();
    let mut beyond = Vec::new();
    for (&p, &o) in padding.iter().zip(output_padding) {
        if p < 0 || o < 0 {
            return Err(LowerError::invalid(format!("`padding` {p}, `output_padding` {o}")));
        }
        cut.extend([p, (p - o).max(0)]);
        beyond.extend([0, (o - p).max(0)]);
    }
    let (mut bias, mut after) = window.split_bias(cx);
    let extended = beyond.iter().any(|&n| n != 0);
    if extended {
        after = bias.take().or(after);
    }
    let op = ConvTranspose {
        pad_type: if cut.iter().any(|&n| n != 0) { PadType::Custom } else { PadType::Valid },
        pad: cut,
        output_shape: None,
        strides: window.strides.clone(),
        dilations: window.dilations.clone(),
        groups: window.groups,
    };
    let mut y = op.build(&mut cx.b, window.x, window.weight, bias)?;
    if extended {
        let pad = cx.b.ints(&beyond)?;
        let op = Pad { mode: PadMode::Constant, constant_val: F64(0.0) };
        y = op.build(&mut cx.b, y, pad)?;
    }
    window.add_bias(cx, y, after)
}

fn convolution(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["benchmark", "deterministic", "cudnn_enabled", "allow_tf32"]);
    let window = Window::of(cx, call, None)?;
    let output_padding = call.ints_of("output_padding", window.spatial, &[0])?;
    if call.bool_or("transposed", false)? {
        let pad = call.ints_of("padding", window.spatial, &[0])?;
        return window.batched(cx, |cx, window| backward(cx, window, (&pad, &output_padding)));
    }
    if output_padding.iter().any(|&n| n != 0) {
        return Err(LowerError::invalid(
            "`output_padding` of a convolution that is not transposed",
        ));
    }
    let pad = padding(cx, call, &window)?;
    window.batched(cx, |cx, window| forward(cx, window, pad))
}
