//! Convolutions.

use mlc_ir::attr::PadType;
use mlc_ir::ops::{Conv, ConvTranspose};
use mlc_ir::{Dim, Value};

use super::axes::{Layout, channels_first, restored};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "Conv", lower: generic_conv },
    Lowering { name: "Conv2D", lower: |cx, call| conv(cx, call, 2) },
    Lowering { name: "Conv2DBackpropInput", lower: |cx, call| conv_transpose(cx, call, 2) },
    Lowering { name: "Conv3D", lower: |cx, call| conv(cx, call, 3) },
    Lowering { name: "Conv3DBackpropInputV2", lower: |cx, call| conv_transpose(cx, call, 3) },
    Lowering { name: "DepthwiseConv2dNative", lower: depthwise },
    Lowering { name: "DepthwiseConv2dNativeBackpropInput", lower: depthwise_transpose },
];

/// How a window moves.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) layout: Layout,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    pub(super) pad_type: PadType,
    /// (before, after) of each spatial axis, for `custom`.
    pub(super) pad: Vec<i64>,
}

impl Window {
    /// The window that the attributes of a convolution over `spatial` axes say.
    fn of(call: &Call<'_>, spatial: usize) -> LowerResult<Self> {
        let layout = Layout::of(call, spatial)?;
        let rank = spatial + 2;
        let strides = layout.spatial(&call.ints("strides")?, rank, "strides")?;
        let dilations = layout.spatial(&call.ints("dilations")?, rank, "dilations")?;
        let (pad_type, pad) = padding(call, layout, rank)?;
        Ok(Self { layout, strides, dilations, pad_type, pad })
    }
}

/// What `padding` and `explicit_paddings` say.
pub(super) fn padding(
    call: &Call<'_>,
    layout: Layout,
    rank: usize,
) -> LowerResult<(PadType, Vec<i64>)> {
    let explicit = call.ints("explicit_paddings")?;
    match call.text_or("padding", "VALID")? {
        "SAME" => Ok((PadType::Same, vec![])),
        "VALID" => Ok((PadType::Valid, vec![])),
        "EXPLICIT" => {
            if explicit.len() != 2 * rank {
                let message = format!("`explicit_paddings` is {explicit:?} for rank {rank}");
                return Err(LowerError::invalid(message));
            }
            let channels = layout.channel_axis(rank);
            let outer = |axis: usize| explicit[2 * axis] != 0 || explicit[2 * axis + 1] != 0;
            if outer(0) || outer(channels) {
                return Err(LowerError::argument(format!(
                    "`explicit_paddings` is {explicit:?}, which pads batch or channels"
                )));
            }
            let pad = (1..rank)
                .filter(|&axis| axis != channels)
                .flat_map(|axis| [explicit[2 * axis], explicit[2 * axis + 1]])
                .collect();
            Ok((PadType::Custom, pad))
        }
        other => Err(LowerError::argument(format!("`padding` is `{other}`"))),
    }
}

/// The weights of a convolution, `[spatial…, in, out]`, as `[out, in, spatial…]`.
fn out_in_spatial(cx: &mut Cx<'_>, filter: Value) -> LowerResult<Value> {
    let rank = cx.rank(filter)?;
    let mut perm = vec![rank - 1, rank - 2];
    perm.extend(0..rank - 2);
    cx.transpose(filter, &perm)
}

fn known(dim: Option<&Dim>, what: &str) -> LowerResult<i64> {
    dim.and_then(Dim::as_const)
        .filter(|&n| n > 0)
        .ok_or_else(|| LowerError::dynamic(format!("{what} is not known at compile time")))
}

fn check_ranks(cx: &Cx<'_>, all: &[Value], rank: usize) -> LowerResult<()> {
    for &x in all {
        if cx.rank(x)? != rank {
            return Err(LowerError::invalid(format!(
                "an operand is {}, rank {rank} is needed",
                cx.b.tensor(x)?
            )));
        }
    }
    Ok(())
}

fn conv(cx: &mut Cx<'_>, call: &Call<'_>, spatial: usize) -> LowerResult<Vec<Val>> {
    let y = conv_values(cx, call, (call.tensor(0)?, call.tensor(1)?), spatial)?;
    cx.one(y)
}

/// A convolution over any number of spatial axes. More than one axis of batch is made one and back.
fn generic_conv(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, filter) = (call.tensor(0)?, call.tensor(1)?);
    let spatial = cx
        .rank(filter)?
        .checked_sub(2)
        .filter(|n| (1..=3).contains(n))
        .ok_or_else(|| LowerError::invalid("a filter needs one to three spatial axes"))?;
    let lead = usize::try_from(call.int_or("batch_dims", 1)?).unwrap_or(0);
    let shape = cx.shape(x)?;
    if lead == 0 || shape.len() != lead + spatial + 1 {
        return Err(LowerError::invalid(format!(
            "`batch_dims` is {lead} for {} axes",
            shape.len()
        )));
    }
    let mut merged = vec![Dim::product(&shape[..lead])];
    merged.extend_from_slice(&shape[lead..]);
    let x = if lead == 1 { x } else { cx.reshape(x, &merged)? };
    let groups = call.int_or("groups", 1)?;
    let channels = merged[Layout::of(call, spatial)?.channel_axis(spatial + 2)].as_const();
    let inner = known(cx.shape(filter)?.get(spatial), "the number of channels of the filter")?;
    if channels.is_some_and(|n| groups.checked_mul(inner) != Some(n)) {
        return Err(LowerError::invalid(format!("`groups` is {groups}")));
    }
    let y = conv_values(cx, call, (x, filter), spatial)?;
    if lead == 1 {
        return cx.one(y);
    }
    let mut apart = shape[..lead].to_vec();
    apart.extend_from_slice(&cx.shape(y)?[1..]);
    let y = cx.reshape(y, &apart)?;
    cx.one(y)
}

/// The convolution of `x` that the attributes say.
pub(super) fn conv_values(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (x, filter): (Value, Value),
    spatial: usize,
) -> LowerResult<Value> {
    let rank = spatial + 2;
    check_ranks(cx, &[x, filter], rank)?;
    let window = Window::of(call, spatial)?;
    let channels = cx.shape(x)?[window.layout.channel_axis(rank)].clone();
    let inner = known(cx.shape(filter)?.get(rank - 2), "the number of channels of the filter")?;
    let groups = match channels.as_const() {
        Some(n) if n % inner == 0 => n / inner,
        Some(n) => {
            return Err(LowerError::invalid(format!("{n} channels for a filter of {inner}")));
        }
        None => 1,
    };
    let weight = out_in_spatial(cx, filter)?;
    convolved(cx, x, weight, (&window, groups))
}

fn convolved(
    cx: &mut Cx<'_>,
    x: Value,
    weight: Value,
    (window, groups): (&Window, i64),
) -> LowerResult<Value> {
    let x = channels_first(cx, x, window.layout)?;
    let op = Conv {
        strides: window.strides.clone(),
        pad_type: window.pad_type,
        pad: window.pad.clone(),
        dilations: window.dilations.clone(),
        groups,
    };
    let y = op.build(&mut cx.b, x, weight, None)?;
    restored(cx, y, window.layout)
}

/// Depthwise filters are `[h, w, in, multiplier]`: output channel `c·multiplier + m` is of input
/// channel `c`.
pub(super) fn depthwise_value(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Value> {
    let (x, filter) = (call.tensor(0)?, call.tensor(1)?);
    check_ranks(cx, &[x, filter], 4)?;
    let window = Window::of(call, 2)?;
    let (weight, channels) = depthwise_weight(cx, filter)?;
    convolved(cx, x, weight, (&window, channels))
}

fn depthwise(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let y = depthwise_value(cx, call)?;
    cx.one(y)
}

fn depthwise_weight(cx: &mut Cx<'_>, filter: Value) -> LowerResult<(Value, i64)> {
    let shape = cx.shape(filter)?;
    let channels = known(shape.get(2), "the number of channels of the filter")?;
    let multiplier = known(shape.get(3), "the channel multiplier")?;
    let moved = cx.transpose(filter, &[2, 3, 0, 1])?;
    let outputs =
        channels.checked_mul(multiplier).ok_or_else(|| LowerError::invalid("too many channels"))?;
    let to = [Dim::Const(outputs), Dim::Const(1), shape[0].clone(), shape[1].clone()];
    Ok((cx.reshape(moved, &to)?, channels))
}

/// The gradient of a convolution with respect to its input, whose shape is input 0.
fn conv_transpose(cx: &mut Cx<'_>, call: &Call<'_>, spatial: usize) -> LowerResult<Vec<Val>> {
    let (sizes, filter, x) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let rank = spatial + 2;
    check_ranks(cx, &[x, filter], rank)?;
    let window = Window::of(call, spatial)?;
    let weight = out_in_spatial(cx, filter)?;
    let shape = cx.shape(filter)?;
    let kernel = &shape[..spatial];
    let inner = known(shape.get(rank - 2), "the number of channels of the filter")?;
    let wanted = wanted_extents(cx, sizes, (&window, rank))?;
    let groups = match wanted.1.as_ref().and_then(Dim::as_const) {
        Some(n) if n % inner == 0 => n / inner,
        _ => 1,
    };
    let y = transposed(cx, x, weight, (&window, kernel, &wanted.0, groups))?;
    cx.one(y)
}

fn depthwise_transpose(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (sizes, filter, x) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    check_ranks(cx, &[x, filter], 4)?;
    let window = Window::of(call, 2)?;
    let (weight, channels) = depthwise_weight(cx, filter)?;
    let shape = cx.shape(filter)?;
    let wanted = wanted_extents(cx, sizes, (&window, 4))?;
    let y = transposed(cx, x, weight, (&window, &shape[..2], &wanted.0, channels))?;
    cx.one(y)
}

/// The spatial extents, and the channels, of the result of a transposed convolution.
fn wanted_extents(
    cx: &mut Cx<'_>,
    sizes: Value,
    (window, rank): (&Window, usize),
) -> LowerResult<(Vec<Dim>, Option<Dim>)> {
    let all = cx.extents(sizes, "input_sizes")?;
    // The extents of batch and channels may be left out.
    if all.len() == rank - 2 {
        return Ok((all, None));
    }
    if all.len() != rank {
        return Err(LowerError::invalid(format!("`input_sizes` has {} entries", all.len())));
    }
    let channels = window.layout.channel_axis(rank);
    let spatial = (1..rank).filter(|&axis| axis != channels).map(|axis| all[axis].clone());
    Ok((spatial.collect(), Some(all[channels].clone())))
}

/// A transposed convolution whose result has the spatial extents `wanted`.
fn transposed(
    cx: &mut Cx<'_>,
    x: Value,
    weight: Value,
    (window, kernel, wanted, groups): (&Window, &[Dim], &[Dim], i64),
) -> LowerResult<Value> {
    let x = channels_first(cx, x, window.layout)?;
    let extents = cx.shape(x)?[2..].to_vec();
    let mut pad = Vec::new();
    let mut missing = Vec::new();
    for axis in 0..extents.len() {
        let (stride, dilation) = (Dim::Const(window.strides[axis]), window.dilations[axis]);
        let one = Dim::Const(1);
        let span = kernel[axis].sub(&one).mul(&Dim::Const(dilation)).add(&one);
        let full = extents[axis].sub(&one).mul(&stride).add(&span);
        // What the convolution that this is the gradient of pads in all.
        let before = match window.pad_type {
            PadType::Custom => window.pad[2 * axis],
            PadType::Valid => 0,
            _ => {
                let total = known_or(&full.sub(&wanted[axis]), window, axis, &span)?;
                total.max(0) / 2
            }
        };
        let after = match full.sub(&Dim::Const(before)).sub(&wanted[axis]).as_const() {
            Some(n) => n,
            None if window.pad_type == PadType::Same => {
                let total = known_or(&full.sub(&wanted[axis]), window, axis, &span)?;
                total - before
            }
            None => match window.pad_type {
                PadType::Custom => window.pad[2 * axis + 1],
                _ => 0,
            },
        };
        pad.extend([before, after.max(0)]);
        missing.extend([0, (-after).max(0)]);
    }
    let plain = pad.iter().all(|&p| p == 0);
    let op = ConvTranspose {
        pad: if plain { vec![] } else { pad },
        output_shape: None,
        pad_type: if plain { PadType::Valid } else { PadType::Custom },
        strides: window.strides.clone(),
        dilations: window.dilations.clone(),
        groups,
    };
    let mut y = op.build(&mut cx.b, x, weight, None)?;
    if missing.iter().any(|&n| n > 0) {
        let amounts = cx.b.ints(&missing)?;
        y = mlc_ir::ops::Pad {
            mode: mlc_ir::attr::PadMode::Constant,
            constant_val: mlc_ir::F64(0.0),
        }
        .build(&mut cx.b, y, amounts)?;
    }
    restored(cx, y, window.layout)
}

/// The padding in all of a convolution with `SAME`; where extents are open, that of an extent that is a
/// multiple of the stride.
fn known_or(total: &Dim, window: &Window, axis: usize, span: &Dim) -> LowerResult<i64> {
    if let Some(n) = total.as_const() {
        return Ok(n);
    }
    let span = known(Some(span), "the extent of the filter")?;
    Ok((span - window.strides[axis]).max(0))
}
