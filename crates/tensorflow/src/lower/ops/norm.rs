//! Normalizations.

use mlc_ir::ops::{
    Add, BatchNorm, LocalResponseNorm, Mul, RealDiv, ReduceMean, Rsqrt, Square, Sub,
};
use mlc_ir::{Dim, F64, Value};

use super::axes::{Layout, channels_first, restored};
use super::elementwise::float_input;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "FusedBatchNorm", lower: fused_batch_norm },
    Lowering { name: "FusedBatchNormV2", lower: fused_batch_norm },
    Lowering { name: "FusedBatchNormV3", lower: fused_batch_norm },
    Lowering { name: "LRN", lower: lrn },
];

/// What a batch normalization works with.
pub(super) struct BatchNormInputs {
    x: Value,
    scale: Value,
    offset: Value,
    mean: Value,
    variance: Value,
    epsilon: f64,
    layout: Layout,
}

impl BatchNormInputs {
    /// For `x`, with the parameters that are inputs from number `from` on.
    pub(super) fn of(
        cx: &Cx<'_>,
        call: &Call<'_>,
        x: Value,
        (from, epsilon): (usize, f64),
    ) -> LowerResult<Self> {
        let rank = cx.rank(x)?;
        Ok(Self {
            x,
            scale: call.tensor(from)?,
            offset: call.tensor(from + 1)?,
            mean: call.tensor(from + 2)?,
            variance: call.tensor(from + 3)?,
            epsilon,
            layout: Layout::of(call, rank.saturating_sub(2))?,
        })
    }
}

pub(super) fn fused_batch_norm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let inputs = BatchNormInputs::of(cx, call, x, (1, call.float_or("epsilon", 1e-4)?))?;
    let training = call.bool_or("is_training", true)?;
    let factor = call.float_or("exponential_avg_factor", 1.0)?;
    if training {
        return in_training(cx, &inputs, factor);
    }
    let y = batch_norm_values(cx, &inputs)?;
    let all = [y, inputs.mean, inputs.variance, inputs.mean, inputs.variance, inputs.variance];
    Ok(all.into_iter().map(Val::Tensor).collect())
}

/// Batch normalization with the statistics that are inputs.
pub(super) fn batch_norm_values(cx: &mut Cx<'_>, inputs: &BatchNormInputs) -> LowerResult<Value> {
    let constant = [inputs.scale, inputs.offset, inputs.mean, inputs.variance]
        .iter()
        .all(|&v| cx.b.constant_of(v).is_some());
    if !constant || !(3..=5).contains(&cx.rank(inputs.x)?) {
        return normalized(cx, inputs, inputs.mean, inputs.variance);
    }
    let dtype = cx.dtype(inputs.x)?;
    let x = channels_first(cx, inputs.x, inputs.layout)?;
    let mut param = |v: Value| cx.cast(v, dtype);
    let (mean, variance) = (param(inputs.mean)?, param(inputs.variance)?);
    let (scale, offset) = (param(inputs.scale)?, param(inputs.offset)?);
    let op = BatchNorm { epsilon: F64(inputs.epsilon) };
    let y = op.build(&mut cx.b, x, mean, variance, Some(scale), Some(offset))?;
    restored(cx, y, inputs.layout)
}

/// A vector of channels that broadcasts against `x`.
fn per_channel(cx: &mut Cx<'_>, v: Value, inputs: &BatchNormInputs) -> LowerResult<Value> {
    let rank = cx.rank(inputs.x)?;
    if inputs.layout == Layout::Last {
        return Ok(v);
    }
    let mut shape = cx.shape(v)?;
    shape.extend(vec![Dim::Const(1); rank - 2]);
    cx.reshape(v, &shape)
}

/// `(x − mean) / √(variance + epsilon) · scale + offset`, computed in the type of the parameters.
fn normalized(
    cx: &mut Cx<'_>,
    inputs: &BatchNormInputs,
    mean: Value,
    variance: Value,
) -> LowerResult<Value> {
    let (own, dtype) = (cx.dtype(inputs.x)?, cx.dtype(inputs.scale)?);
    let x = cx.cast(inputs.x, dtype)?;
    let mean = per_channel(cx, mean, inputs)?;
    let inverse = cx.unary(Rsqrt { epsilon: F64(inputs.epsilon) }, variance)?;
    let factor = cx.binary(Mul {}, inverse, inputs.scale)?;
    let factor = per_channel(cx, factor, inputs)?;
    let offset = per_channel(cx, inputs.offset, inputs)?;
    let centred = cx.binary(Sub {}, x, mean)?;
    let scaled = cx.binary(Mul {}, centred, factor)?;
    let y = cx.binary(Add {}, scaled, offset)?;
    cx.cast(y, own)
}

/// With the statistics of the batch. The variance that is given back is that of a sample.
fn in_training(cx: &mut Cx<'_>, inputs: &BatchNormInputs, factor: f64) -> LowerResult<Vec<Val>> {
    let rank = cx.rank(inputs.x)?;
    let channels = inputs.layout.channel_axis(rank);
    let axes: Vec<i64> =
        (0..rank).filter(|&axis| axis != channels).map(|axis| axis as i64).collect();
    let dtype = cx.dtype(inputs.scale)?;
    let x = cx.cast(inputs.x, dtype)?;
    let mean = ReduceMean { axes: Some(axes.clone()), keep_dims: false };
    let centre = cx.unary(mean.clone(), x)?;
    let spread = per_channel(cx, centre, inputs)?;
    let gap = cx.binary(Sub {}, x, spread)?;
    let square = cx.unary(Square {}, gap)?;
    let variance = cx.unary(mean, square)?;
    let y = normalized(cx, inputs, centre, variance)?;
    let shape = cx.shape(inputs.x)?;
    let count = Dim::product(axes.iter().map(|&axis| &shape[axis as usize]));
    let sample = match count.as_const() {
        Some(n) => {
            let ratio = n as f64 / (n - 1).max(1) as f64;
            let ratio = cx.number(dtype, ratio)?;
            cx.binary(Mul {}, variance, ratio)?
        }
        None => {
            let n = dims::scalar(cx, &count)?;
            let n = cx.cast(n, dtype)?;
            let one = cx.number(dtype, 1.0)?;
            let less = cx.binary(Sub {}, n, one)?;
            let less = cx.binary(mlc_ir::ops::Maximum {}, less, one)?;
            let ratio = cx.binary(RealDiv {}, n, less)?;
            cx.binary(Mul {}, variance, ratio)?
        }
    };
    let mixed = |cx: &mut Cx<'_>, new: Value, old: Value| -> LowerResult<Value> {
        if factor == 1.0 {
            return Ok(new);
        }
        let (a, b) = (cx.number(dtype, factor)?, cx.number(dtype, 1.0 - factor)?);
        let (new, old) = (cx.binary(Mul {}, new, a)?, cx.binary(Mul {}, old, b)?);
        cx.binary(Add {}, new, old)
    };
    let running_mean = mixed(cx, centre, inputs.mean)?;
    let running_variance = mixed(cx, sample, inputs.variance)?;
    let all = [y, running_mean, running_variance, centre, variance, variance];
    Ok(all.into_iter().map(Val::Tensor).collect())
}

/// `x / (bias + alpha · Σ x²)^beta`, summed over `2·depth_radius + 1` channels.
fn lrn(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    if cx.rank(x)? != 4 {
        return Err(LowerError::invalid(format!("the input is {}", cx.b.tensor(x)?)));
    }
    let radius = call.int_or("depth_radius", 5)?;
    let size = radius
        .checked_mul(2)
        .and_then(|n| n.checked_add(1))
        .filter(|&n| n >= 1)
        .ok_or_else(|| LowerError::invalid(format!("`depth_radius` is {radius}")))?;
    let (bias, alpha, beta) =
        (call.float_or("bias", 1.0)?, call.float_or("alpha", 1.0)?, call.float_or("beta", 0.5)?);
    let x = channels_first(cx, x, Layout::Last)?;
    let op =
        LocalResponseNorm { size, alpha: F64(alpha * size as f64), beta: F64(beta), k: F64(bias) };
    let y = op.build(&mut cx.b, x)?;
    let y = restored(cx, y, Layout::Last)?;
    cx.one(y)
}
