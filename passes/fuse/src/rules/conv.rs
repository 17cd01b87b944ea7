//! Convolutions with constant weights.

use mlc_egraph::{Build, Class, Family, Found, Match, rule};
use mlc_ir::ops::{Add, BatchNorm, Conv, ConvTranspose, Mul, Reshape, Rsqrt, Sub};
use mlc_ir::{Op, Payload};
use mlc_tensor::{DType, Tensor};

pub(super) const FAMILY: Family = Family {
    name: "conv",
    source: include_str!("conv.rs"),
    rules: &[
        rule!(Close, "conv-bias", ["add"], conv_bias),
        rule!(Close, "conv-scale", ["mul"], conv_scale),
        rule!(Close, "conv-batch-norm", ["batch_norm"], conv_batch_norm),
        rule!(Close, "conv-of-scale", ["conv"], conv_of_scale),
        rule!(Close, "constant-less-conv", ["sub"], constant_less_conv),
        rule!(Close, "conv-transpose-scale", ["mul"], conv_transpose_scale),
        rule!(Close, "conv-transpose-bias", ["add"], conv_transpose_bias),
        rule!(Close, "conv-transpose-batch-norm", ["batch_norm"], conv_transpose_batch_norm),
    ],
};

/// The elements of a constant that differ along the channels alone, as a vector of one or `channels`
/// elements; `rank` is that of what it is broadcast to.
pub(super) fn along_channels(
    m: &Match<'_>,
    c: Class<'_>,
    (rank, channels): (usize, u64),
) -> Option<Build> {
    c.constant()?;
    let mut shape = c.static_shape()?;
    while shape.len() < rank {
        shape.insert(0, 1);
    }
    let single = shape.iter().all(|&n| n == 1);
    let along = shape.iter().enumerate().all(|(i, &n)| n == if i == 1 { channels } else { 1 });
    if !single && !along {
        return None;
    }
    let count = if single { 1 } else { i64::try_from(channels).ok()? };
    Some(m.build(Reshape {}, [c.into(), m.ints(&[count])?]))
}

/// `conv(x, W, b) · c = conv(x, W·c, b·c)` for a constant `c` along the channels
fn conv_scale(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Mul>()?.with_constant()?;
    let conv = inner.find::<Conv>()?;
    let weight = conv.operand(1);
    weight.constant()?;
    let channels = weight.static_shape()?[0];
    if inner.ty() != m.ty() || weight.dtype() != c.dtype() {
        return None;
    }
    let flat = along_channels(m, c, (inner.rank(), channels))?;
    let mut column = vec![1; weight.rank()];
    column[0] = -1;
    let scaled =
        m.build(Mul {}, [weight.into(), m.build(Reshape {}, [flat.clone(), m.ints(&column)?])]);
    let mut operands = vec![conv.operand(0).into(), scaled];
    if let Some(bias) = conv.opt(2) {
        bias.constant().filter(|_| bias.dtype() == c.dtype())?;
        operands.push(m.build(Mul {}, [bias.into(), flat]));
    }
    Some(Build::of(conv.payload().clone(), operands))
}

/// `conv(x, W, b) + c = conv(x, W, b + c)` for a constant `c` along the channels
fn conv_bias(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Add>()?.with_constant()?;
    let conv = inner.find::<Conv>()?;
    conv.operand(1).constant()?;
    let channels = conv.operand(1).static_shape()?[0];
    let mut shape = c.static_shape()?;
    while shape.len() < inner.rank() {
        shape.insert(0, 1);
    }
    let along = shape.iter().enumerate().all(|(i, &d)| d == if i == 1 { channels } else { 1 });
    if !along || inner.ty() != m.ty() {
        return None;
    }
    let flat = m.build(Reshape {}, [c.into(), m.ints(&[i64::try_from(channels).ok()?])?]);
    let bias = match conv.opt(2) {
        Some(bias) => {
            bias.constant()?;
            m.build(Add {}, [bias.into(), flat])
        }
        None => flat,
    };
    let operands = [conv.operand(0).into(), conv.operand(1).into(), bias];
    Some(m.build(conv.payload().clone(), operands))
}

/// The factor and the shift for each channel that a norm with constant statistics is.
fn affine(m: &Match<'_>, (dtype, bias): (Option<DType>, Option<Class<'_>>)) -> Option<[Build; 2]> {
    let norm = m.op::<BatchNorm>()?;
    let (gamma, beta) = (norm.opt(3), norm.opt(4));
    let given = [Some(norm.operand(1)), Some(norm.operand(2)), gamma, beta, bias];
    if !given.iter().flatten().all(|c| c.constant().is_some() && c.dtype() == dtype) {
        return None;
    }
    let rsqrt = m.build(Rsqrt { epsilon: norm.epsilon }, [norm.operand(2).into()]);
    let scale = match gamma {
        Some(gamma) => m.build(Mul {}, [gamma.into(), rsqrt]),
        None => rsqrt,
    };
    let centred = match bias {
        Some(bias) => m.build(Sub {}, [bias.into(), norm.operand(1).into()]),
        None => m.build(Mul {}, [norm.operand(1).into(), m.number(-1.0)?]),
    };
    let shift = m.build(Mul {}, [centred, scale.clone()]);
    let shift = match beta {
        Some(beta) => m.build(Add {}, [shift, beta.into()]),
        None => shift,
    };
    Some([scale, shift])
}

/// `batch_norm(conv(x, W, b)) = conv(x, W·g, (b − mean)·g + beta)` with `g = gamma / √(variance + ε)`
fn conv_batch_norm(m: &Match<'_>) -> Option<Build> {
    m.op::<BatchNorm>()?;
    let conv = m.operand(0).find::<Conv>()?;
    let weight = conv.operand(1);
    weight.constant()?;
    let [scale, shift] = affine(m, (weight.dtype(), conv.opt(2)))?;
    let mut column = vec![1; weight.rank()];
    column[0] = i64::try_from(weight.static_shape()?[0]).ok()?;
    let along = m.build(Reshape {}, [scale, m.ints(&column)?]);
    let scaled = m.build(Mul {}, [weight.into(), along]);
    Some(m.build(conv.payload().clone(), [conv.operand(0).into(), scaled, shift]))
}

/// The weight `[A, B, K…]` of `groups` groups, whose elements belong to channel `g·B + b`, where `g` is the
/// group of index `a`, times the vector of one number or one for each of these channels.
fn times_inner(m: &Match<'_>, weight: Class<'_>, (groups, c): (i64, Build)) -> Option<Build> {
    let shape: Vec<i64> =
        weight.static_shape()?.iter().map(|&n| i64::try_from(n)).collect::<Result<_, _>>().ok()?;
    let [outer, inner, window @ ..] = &shape[..] else { return None };
    if groups < 1 || outer % groups != 0 {
        return None;
    }
    let parted: Vec<i64> =
        [groups, outer / groups, *inner].into_iter().chain(window.to_vec()).collect();
    let mut row = vec![1; parted.len()];
    (row[0], row[2]) = (groups, *inner);
    let parts = m.build(Reshape {}, [weight.into(), m.ints(&parted)?]);
    let scaled = m.build(Mul {}, [parts, m.build(Reshape {}, [c, m.ints(&row)?])]);
    Some(m.build(Reshape {}, [scaled, m.ints(&shape)?]))
}

/// A constant along the channels as a vector with an element for each of them.
fn each_channel(m: &Match<'_>, c: Class<'_>, (rank, channels): (usize, u64)) -> Option<Build> {
    let flat = along_channels(m, c, (rank, channels))?;
    let ones = Tensor::full(c.dtype()?, &[channels], 1.0).ok()?;
    Some(m.build(Mul {}, [m.constant(ones), flat]))
}

/// `conv(x · c, W, b) = conv(x, W·c, b)` for a constant `c` along the channels of `x`
fn conv_of_scale(m: &Match<'_>) -> Option<Build> {
    let conv = m.op::<Conv>()?;
    let (x, c) = conv.operand(0).find::<Mul>()?.with_constant()?;
    let weight = conv.operand(1);
    weight.constant().filter(|_| weight.dtype() == c.dtype() && x.ty() == conv.operand(0).ty())?;
    let channels = u64::try_from(x.shape().get(1)?.as_const()?).ok()?;
    let c = each_channel(m, c, (x.rank(), channels))?;
    let scaled = times_inner(m, weight, (conv.groups, c))?;
    let slots = vec![vec![x.into()], vec![scaled], conv.slot(2)];
    Some(Build::with_slots(conv.payload().clone(), slots))
}

/// `c − conv(x, W, b) = conv(x, −W, −b) + c`
fn constant_less_conv(m: &Match<'_>) -> Option<Build> {
    constant_less::<Conv>(m)
}

/// `c − f(x, W, b) = f(x, −W, −b) + c` for an op `f` that is linear in weight and bias.
pub(super) fn constant_less<P: Payload + Clone + Into<Op>>(m: &Match<'_>) -> Option<Build> {
    let sub = m.op::<Sub>()?;
    let (c, y) = (sub.operand(0), sub.operand(1));
    let op = y.find::<P>()?;
    c.constant().and(op.operand(1).constant())?;
    let minus = |class: Class<'_>| Some(m.build(Mul {}, [class.into(), m.number(-1.0)?]));
    let bias = match op.opt(2) {
        Some(bias) => vec![bias.constant().and_then(|_| minus(bias))?],
        None => vec![],
    };
    let slots = vec![op.slot(0), vec![minus(op.operand(1))?], bias];
    let negative = Build::with_slots(op.payload().clone(), slots);
    (y.ty() == m.ty()).then(|| m.build(Add {}, [negative, c.into()]))
}

/// A parameter of that type put together with `c` by `op`, which stands alone where there is none; `None`
/// where the parameter is no constant of the type.
pub(super) fn put_together(
    m: &Match<'_>,
    op: impl Into<Op>,
    (old, dtype): (Option<Class<'_>>, Option<DType>),
    c: Build,
) -> Option<Build> {
    match old {
        Some(old) => {
            old.constant().filter(|_| old.dtype() == dtype)?;
            Some(m.build(op, [old.into(), c]))
        }
        None => Some(c),
    }
}

/// The channels of the result of a transposed convolution with constant weights.
fn channels_of(conv: &Found<'_, ConvTranspose>) -> Option<u64> {
    let weight = conv.operand(1);
    weight.constant()?;
    let groups = u64::try_from(conv.groups).ok()?;
    weight.static_shape()?.get(1)?.checked_mul(groups)
}

/// `conv_transpose(x, W, b) · c = conv_transpose(x, W·c, b·c)` for a constant `c` along the channels
fn conv_transpose_scale(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Mul>()?.with_constant()?;
    let conv = inner.find::<ConvTranspose>()?;
    let weight = conv.operand(1);
    let channels = channels_of(&conv).filter(|_| inner.ty() == m.ty())?;
    if weight.dtype() != c.dtype() {
        return None;
    }
    let c = each_channel(m, c, (inner.rank(), channels))?;
    let scaled = times_inner(m, weight, (conv.groups, c.clone()))?;
    let bias = match conv.opt(2) {
        Some(bias) => vec![put_together(m, Mul {}, (Some(bias), weight.dtype()), c)?],
        None => vec![],
    };
    let slots = vec![conv.slot(0), vec![scaled], bias];
    Some(Build::with_slots(conv.payload().clone(), slots))
}

/// `conv_transpose(x, W, b) + c = conv_transpose(x, W, b + c)` for a constant `c` along the channels
fn conv_transpose_bias(m: &Match<'_>) -> Option<Build> {
    let (inner, c) = m.op::<Add>()?.with_constant()?;
    let conv = inner.find::<ConvTranspose>()?;
    let weight = conv.operand(1);
    let channels = channels_of(&conv).filter(|_| inner.ty() == m.ty())?;
    let c = each_channel(m, c, (inner.rank(), channels))?;
    let bias = put_together(m, Add {}, (conv.opt(2), weight.dtype()), c)?;
    let operands = [conv.operand(0).into(), weight.into(), bias];
    Some(m.build(conv.payload().clone(), operands))
}

/// `batch_norm(conv_transpose(x, W, b)) = conv_transpose(x, W·g, (b − mean)·g + beta)` with
/// `g = gamma / √(variance + ε)`
fn conv_transpose_batch_norm(m: &Match<'_>) -> Option<Build> {
    m.op::<BatchNorm>()?;
    let conv = m.operand(0).find::<ConvTranspose>()?;
    let weight = conv.operand(1);
    channels_of(&conv)?;
    let [scale, shift] = affine(m, (weight.dtype(), conv.opt(2)))?;
    let scaled = times_inner(m, weight, (conv.groups, scale))?;
    Some(m.build(conv.payload().clone(), [conv.operand(0).into(), scaled, shift]))
}
