//! Normalizations.

use mlc_ir::ops::{
    Add, BatchNorm, ExpandDims, InstanceNorm, LayerNorm, Mul, RealDiv, Rsqrt, Square, Sub,
};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::{DType, Tensor};

use super::axes;
use super::linear::is_known;
use super::reduction::{Reduction, reduce, variance};
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::formula::Formula;
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.batch_norm", lower: |cx, call| first(batch_norm(cx, call)) },
    Lowering { name: "aten.native_batch_norm", lower: batch_norm },
    Lowering { name: "aten._native_batch_norm_legit", lower: batch_norm },
    Lowering { name: "aten._native_batch_norm_legit_no_training", lower: batch_norm },
    Lowering { name: "aten._batch_norm_no_update", lower: batch_norm_no_update },
    Lowering { name: "aten._batch_norm_with_update", lower: batch_norm_no_update },
    Lowering { name: "aten._batch_norm_impl_index", lower: batch_norm_indexed },
    Lowering { name: "aten._native_batch_norm_legit_functional", lower: batch_norm_functional },
    Lowering { name: "aten._batch_norm_with_update_functional", lower: batch_norm_functional },
    Lowering { name: "aten.layer_norm", lower: |cx, call| first(layer_norm(cx, call)) },
    Lowering { name: "aten.native_layer_norm", lower: layer_norm },
    Lowering { name: "aten.group_norm", lower: group_norm },
    Lowering { name: "aten.native_group_norm", lower: native_group_norm },
    Lowering { name: "aten.instance_norm", lower: instance_norm },
    Lowering { name: "aten.rms_norm", lower: |cx, call| first(rms_norm(cx, call)) },
    Lowering { name: "aten._fused_rms_norm", lower: rms_norm },
    Lowering { name: "aten._weight_norm", lower: |cx, call| first(weight_norm(cx, call)) },
    Lowering { name: "aten._weight_norm_interface", lower: weight_norm },
];

/// The first result alone.
fn first(outputs: LowerResult<Vec<Val>>) -> LowerResult<Vec<Val>> {
    let mut outputs = outputs?;
    outputs.truncate(1);
    Ok(outputs)
}

/// Weight and bias, where they are given.
fn parameters(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<[Option<Value>; 2]> {
    let mut read = |name| call.opt_tensor(name)?.map(|t| cx.read(t)).transpose();
    Ok([read("weight")?, read("bias")?])
}

/// Whether the ops of MIL take the parameters: they have to be known.
fn all_known(cx: &Cx<'_>, parameters: &[Option<Value>]) -> bool {
    parameters.iter().flatten().all(|&p| is_known(cx, p))
}

/// `x · weight + bias`, one of each for every index along axis 1.
fn affine_channels(
    cx: &mut Cx<'_>,
    mut x: Value,
    [weight, bias]: [Option<Value>; 2],
) -> LowerResult<Value> {
    let ty = cx.b.tensor(x)?.clone();
    let spread: Vec<i64> = (2..ty.rank() as i64).collect();
    let over = |cx: &mut Cx<'_>, p: Value| -> LowerResult<Value> {
        let p = cx.cast(p, ty.dtype)?;
        if spread.is_empty() {
            return Ok(p);
        }
        let axes = spread.iter().map(|a| a - 1).collect();
        Ok(ExpandDims { axes }.build(&mut cx.b, p)?)
    };
    if let Some(weight) = weight {
        let weight = over(cx, weight)?;
        x = cx.binary(Mul {}, x, weight)?;
    }
    if let Some(bias) = bias {
        let bias = over(cx, bias)?;
        x = cx.binary(Add {}, x, bias)?;
    }
    Ok(x)
}

/// A tensor without elements: what torch gives for statistics it does not keep.
fn nothing(cx: &mut Cx<'_>, dtype: DType) -> LowerResult<Val> {
    let value = cx.b.constant(Tensor::from_f64s(dtype, &[0], &[])?)?;
    Ok(cx.fresh(value))
}

/// Normalizes by the running statistics, or by those of the batch where there are none or in training
/// mode; the other results are the mean and `1/√(σ² + eps)` of the batch. In training mode the running
/// statistics move towards those of the batch.
fn batch_norm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["cudnn_enabled"]);
    let x = cx.read(call.tensor("input")?)?;
    let parameters = parameters(cx, call)?;
    let running = [call.opt_tensor("running_mean")?, call.opt_tensor("running_var")?];
    let eps = call.float_or("eps", 1e-5)?;
    // The forms of the core opset that update say so by their names.
    let training = call.bool_or("training", call.op.contains("_with_update"))?;
    match running {
        [Some(mean), Some(var)] if !training => {
            call.ignore(&["momentum"]);
            let (mean, var) = (cx.read(mean)?, cx.read(var)?);
            let y = batch_norm_value(cx, x, ([mean, var], parameters, eps))?;
            let dtype = cx.b.tensor(mean)?.dtype;
            Ok(vec![cx.fresh(y), nothing(cx, dtype)?, nothing(cx, dtype)?])
        }
        [None, None] => {
            call.ignore(&["momentum"]);
            batch_statistics(cx, x, (parameters, eps))
        }
        [Some(mean), Some(var)] => {
            let outputs = batch_statistics(cx, x, (parameters, eps))?;
            let moved = moved(cx, x, ([mean, var], call.float_or("momentum", 0.1)?))?;
            for (tensor, value) in [mean, var].into_iter().zip(moved) {
                if let Some(value) = value {
                    cx.write(tensor, value)?;
                }
            }
            Ok(outputs)
        }
        _ => Err(LowerError::invalid("a running mean without a variance, or the other way round")),
    }
}

/// The running mean and variance, moved by `momentum` towards those of the batch; none where they
/// stay.
fn moved(
    cx: &mut Cx<'_>,
    x: Value,
    (running, momentum): ([TensorId; 2], f64),
) -> LowerResult<[Option<Value>; 2]> {
    if momentum == 0.0 {
        return Ok([None, None]);
    }
    let shape = cx.b.tensor(x)?.shape.clone();
    let axes: Vec<usize> = (0..shape.len()).filter(|&a| a != 1).collect();
    let mean = reduce(cx, Reduction::Mean, x, (&axes, true))?;
    let var = variance(cx, x, mean, (&axes, true, 1.0))?;
    let mut moved = [None, None];
    for ((tensor, batch), slot) in running.into_iter().zip([mean, var]).zip(&mut moved) {
        let old = cx.read(tensor)?;
        let dtype = cx.b.tensor(old)?.dtype;
        let batch = dims::squeeze(cx, batch, &axes)?;
        let batch = cx.cast(batch, dtype)?;
        let mut f = Formula::new(cx, dtype);
        let (kept, added) = (f.times(old, 1.0 - momentum)?, f.times(batch, momentum)?);
        *slot = Some(f.add(kept, added)?);
    }
    Ok(moved)
}

/// The form that gives the moved statistics as results.
fn batch_norm_functional(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["cudnn_enabled"]);
    let x = cx.read(call.tensor("input")?)?;
    let parameters = parameters(cx, call)?;
    let running = [call.tensor("running_mean")?, call.tensor("running_var")?];
    let eps = call.float_or("eps", 1e-5)?;
    let momentum = call.float_or("momentum", 0.1)?;
    let with_reserve = call.op.contains("_with_update");
    let training = call.bool_or("training", with_reserve)?;
    let values = [cx.read(running[0])?, cx.read(running[1])?];
    let (mut outputs, moved) = if training {
        (batch_statistics(cx, x, (parameters, eps))?, moved(cx, x, (running, momentum))?)
    } else {
        let y = batch_norm_value(cx, x, (values, parameters, eps))?;
        let dtype = cx.b.tensor(values[0])?.dtype;
        (vec![cx.fresh(y), nothing(cx, dtype)?, nothing(cx, dtype)?], [None, None])
    };
    if with_reserve {
        outputs.push(nothing(cx, DType::U8)?);
    }
    for (value, old) in moved.into_iter().zip(values) {
        outputs.push(cx.fresh(value.unwrap_or(old)));
    }
    Ok(outputs)
}

fn batch_norm_no_update(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut outputs = batch_norm(cx, call)?;
    outputs.push(nothing(cx, DType::U8)?);
    Ok(outputs)
}

/// `_batch_norm_impl_index` also names the implementation that torch would take.
fn batch_norm_indexed(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut outputs = batch_norm_no_update(cx, call)?;
    outputs.push(Val::Int(0.into()));
    Ok(outputs)
}

/// Mean and variance, weight and bias, epsilon.
type BatchNormOperands = ([Value; 2], [Option<Value>; 2], f64);

/// `(x − mean) / √(var + eps) · weight + bias`, for each index along axis 1.
fn batch_norm_value(
    cx: &mut Cx<'_>,
    x: Value,
    ([mean, var], parameters, eps): BatchNormOperands,
) -> LowerResult<Value> {
    let shape = cx.b.tensor(x)?.shape.clone();
    let epsilon = F64(eps);
    let known = is_known(cx, mean) && is_known(cx, var) && all_known(cx, &parameters);
    if !known {
        let dtype = cx.b.tensor(x)?.dtype;
        let var = cx.cast(var, dtype)?;
        let zero = cx.b.scalar(dtype, 0.0)?;
        let mean = cx.cast(mean, dtype)?;
        let minus = cx.binary(Sub {}, zero, mean)?;
        let scale = cx.unary(Rsqrt { epsilon }, var)?;
        let centred = affine_channels(cx, x, [None, Some(minus)])?;
        let scaled = affine_channels(cx, centred, [Some(scale), None])?;
        return affine_channels(cx, scaled, parameters);
    }
    let [gamma, beta] = parameters;
    // The op takes one to three axes after that of the channels.
    let y = match shape.len() {
        3..=5 => x,
        2 => ExpandDims { axes: vec![2] }.build(&mut cx.b, x)?,
        6.. => {
            let rest = Dim::product(&shape[2..]);
            cx.reshape(x, &[shape[0].clone(), shape[1].clone(), rest])?
        }
        rank => return Err(LowerError::invalid(format!("batch norm of rank {rank}"))),
    };
    let y = BatchNorm { epsilon }.build(&mut cx.b, y, mean, var, gamma, beta)?;
    match shape.len() {
        3..=5 => Ok(y),
        2 => dims::squeeze(cx, y, &[2]),
        _ => cx.reshape(y, &shape),
    }
}

/// Normalizes by the statistics of the batch.
fn batch_statistics(
    cx: &mut Cx<'_>,
    x: Value,
    (parameters, eps): ([Option<Value>; 2], f64),
) -> LowerResult<Vec<Val>> {
    let rank = cx.b.tensor(x)?.rank();
    let axes: Vec<usize> = (0..rank).filter(|&a| a != 1).collect();
    let mean = reduce(cx, Reduction::Mean, x, (&axes, true))?;
    let var = variance(cx, x, mean, (&axes, true, 0.0))?;
    let scale = cx.unary(Rsqrt { epsilon: F64(eps) }, var)?;
    let centred = cx.binary(Sub {}, x, mean)?;
    let scaled = cx.binary(Mul {}, centred, scale)?;
    let y = affine_channels(cx, scaled, parameters)?;
    let (mean, scale) = (dims::squeeze(cx, mean, &axes)?, dims::squeeze(cx, scale, &axes)?);
    Ok(vec![cx.fresh(y), cx.fresh(mean), cx.fresh(scale)])
}

/// The last axes, of which `normalized_shape` gives the extents.
fn normalized_axes(cx: &Cx<'_>, call: &Call<'_>, x: Value) -> LowerResult<Vec<usize>> {
    let shape = &cx.b.tensor(x)?.shape;
    let wanted = call.dims("normalized_shape")?;
    let from = shape.len().checked_sub(wanted.len()).filter(|_| !wanted.is_empty());
    let fits = |from: &usize| {
        shape[*from..].iter().zip(&wanted).all(|(a, b)| mlc_ir::infer::may_equal(a, b))
    };
    let from = from.filter(fits).ok_or_else(|| {
        let wanted = mlc_ir::infer::shape_text(&wanted);
        LowerError::invalid(format!("`normalized_shape` is {wanted}"))
    })?;
    Ok((from..shape.len()).collect())
}

/// `x · weight + bias`, broadcast from the last axis.
fn affine_last(
    cx: &mut Cx<'_>,
    mut x: Value,
    [weight, bias]: [Option<Value>; 2],
) -> LowerResult<Value> {
    let dtype = cx.b.tensor(x)?.dtype;
    if let Some(weight) = weight {
        let weight = cx.cast(weight, dtype)?;
        x = cx.binary(Mul {}, x, weight)?;
    }
    if let Some(bias) = bias {
        let bias = cx.cast(bias, dtype)?;
        x = cx.binary(Add {}, x, bias)?;
    }
    Ok(x)
}

/// Mean and `1/√(σ² + eps)` over `axes`, which stay with extent 1.
fn statistics(
    cx: &mut Cx<'_>,
    x: Value,
    (axes, eps): (&[usize], f64),
) -> LowerResult<(Value, Value)> {
    let mean = reduce(cx, Reduction::Mean, x, (axes, true))?;
    let var = variance(cx, x, mean, (axes, true, 0.0))?;
    Ok((mean, cx.unary(Rsqrt { epsilon: F64(eps) }, var)?))
}

/// `layer_norm` over the last axis.
pub(super) fn last_axis_norm(
    cx: &mut Cx<'_>,
    x: Value,
    (parameters, epsilon): ([Option<Value>; 2], F64),
) -> LowerResult<Value> {
    let last = cx.b.tensor(x)?.rank().saturating_sub(1);
    layer_norm_value(cx, x, (&[last], parameters, epsilon))
}

fn layer_norm_value(
    cx: &mut Cx<'_>,
    x: Value,
    (axes, parameters, epsilon): (&[usize], [Option<Value>; 2], F64),
) -> LowerResult<Value> {
    let known = all_known(cx, &parameters);
    let [gamma, beta] = if known { parameters } else { [None, None] };
    let over = Some(axes.iter().map(|&a| a as i64).collect());
    let y = LayerNorm { axes: over, epsilon }.build(&mut cx.b, x, gamma, beta)?;
    if known { Ok(y) } else { affine_last(cx, y, parameters) }
}

fn layer_norm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["cudnn_enable"]);
    let x = cx.read(call.tensor("input")?)?;
    let axes = normalized_axes(cx, call, x)?;
    let parameters = parameters(cx, call)?;
    let eps = call.float_or("eps", 1e-5)?;
    let y = layer_norm_value(cx, x, (&axes, parameters, F64(eps)))?;
    let mut outputs = vec![cx.fresh(y)];
    if call.outputs > 1 {
        let (mean, scale) = statistics(cx, x, (&axes, eps))?;
        outputs.extend([cx.fresh(mean), cx.fresh(scale)]);
    }
    Ok(outputs)
}

fn group_norm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["cudnn_enabled"]);
    let x = cx.read(call.tensor("input")?)?;
    let groups = call.int("num_groups")?;
    let (parameters, eps) = (parameters(cx, call)?, call.float_or("eps", 1e-5)?);
    let (_, y) = grouped(cx, x, (groups, parameters, eps))?;
    cx.one(y)
}

fn native_group_norm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    // These repeat the extents of `input`.
    call.ignore(&["N", "C", "HxW"]);
    let x = cx.read(call.tensor("input")?)?;
    let groups = call.int("group")?;
    let (parameters, eps) = (parameters(cx, call)?, call.float_or("eps", 1e-5)?);
    let (rows, y) = grouped(cx, x, (groups, parameters, eps))?;
    let (mean, scale) = statistics(cx, rows, (&[2], eps))?;
    let (mean, scale) = (dims::squeeze(cx, mean, &[2])?, dims::squeeze(cx, scale, &[2])?);
    Ok(vec![cx.fresh(y), cx.fresh(mean), cx.fresh(scale)])
}

/// Normalizes the elements of each group of channels; also gives `x` as `[N, groups, elements]`.
fn grouped(
    cx: &mut Cx<'_>,
    x: Value,
    (groups, parameters, eps): (i64, [Option<Value>; 2], f64),
) -> LowerResult<(Value, Value)> {
    let shape = cx.b.tensor(x)?.shape.clone();
    let [batch, channels, rest @ ..] = &shape[..] else {
        return Err(LowerError::invalid("group norm of a vector"));
    };
    let a_group = (groups > 0)
        .then(|| channels.exact_div(&Dim::Const(groups)))
        .flatten()
        .ok_or_else(|| LowerError::invalid(format!("{channels} channels in {groups} groups")))?;
    let elements = a_group.mul(&Dim::product(rest));
    let rows = cx.reshape(x, &[batch.clone(), Dim::Const(groups), elements])?;
    let op = LayerNorm { axes: Some(vec![2]), epsilon: F64(eps) };
    let y = op.build(&mut cx.b, rows, None, None)?;
    let y = cx.reshape(y, &shape)?;
    Ok((rows, affine_channels(cx, y, parameters)?))
}

fn instance_norm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["cudnn_enabled"]);
    let x = cx.read(call.tensor("input")?)?;
    let parameters = parameters(cx, call)?;
    let eps = call.float_or("eps", 1e-5)?;
    let momentum = call.float_or("momentum", 0.1)?;
    let running = [call.opt_tensor("running_mean")?, call.opt_tensor("running_var")?];
    let y = match (call.bool_or("use_input_stats", true)?, running) {
        (true, running) => {
            if let [Some(mean), Some(var)] = running {
                instance_update(cx, x, ([mean, var], momentum))?;
            }
            instance_norm_value(cx, x, (parameters, eps))?
        }
        (false, [Some(mean), Some(var)]) => {
            let (mean, var) = (cx.read(mean)?, cx.read(var)?);
            batch_norm_value(cx, x, ([mean, var], parameters, eps))?
        }
        _ => return Err(LowerError::invalid("instance norm without statistics")),
    };
    cx.one(y)
}

/// Moves the running statistics towards the mean, over the batch, of those of the instances.
fn instance_update(
    cx: &mut Cx<'_>,
    x: Value,
    (running, momentum): ([TensorId; 2], f64),
) -> LowerResult<()> {
    if momentum == 0.0 {
        return Ok(());
    }
    let rank = cx.b.tensor(x)?.rank();
    let axes: Vec<usize> = (2..rank).collect();
    let mean = reduce(cx, Reduction::Mean, x, (&axes, true))?;
    let var = variance(cx, x, mean, (&axes, true, 1.0))?;
    for (tensor, own) in running.into_iter().zip([mean, var]) {
        let own = dims::squeeze(cx, own, &axes)?;
        let own = reduce(cx, Reduction::Mean, own, (&[0], false))?;
        let old = cx.read(tensor)?;
        let dtype = cx.b.tensor(old)?.dtype;
        let own = cx.cast(own, dtype)?;
        let mut f = Formula::new(cx, dtype);
        let (kept, added) = (f.times(old, 1.0 - momentum)?, f.times(own, momentum)?);
        let value = f.add(kept, added)?;
        cx.write(tensor, value)?;
    }
    Ok(())
}

fn instance_norm_value(
    cx: &mut Cx<'_>,
    x: Value,
    (parameters, eps): ([Option<Value>; 2], f64),
) -> LowerResult<Value> {
    let shape = cx.b.tensor(x)?.shape.clone();
    let known = all_known(cx, &parameters);
    let [gamma, beta] = if known { parameters } else { [None, None] };
    // The op takes one or two axes after that of the channels.
    let rows = match shape.len() {
        3..=4 => x,
        5.. => {
            let rest = Dim::product(&shape[2..]);
            cx.reshape(x, &[shape[0].clone(), shape[1].clone(), rest])?
        }
        rank => return Err(LowerError::invalid(format!("instance norm of rank {rank}"))),
    };
    let y = InstanceNorm { epsilon: F64(eps) }.build(&mut cx.b, rows, gamma, beta)?;
    let y = cx.reshape(y, &shape)?;
    if known { Ok(y) } else { affine_channels(cx, y, parameters) }
}

/// The distance from 1 to the next number of a float type.
fn machine_epsilon(dtype: DType) -> LowerResult<f64> {
    match dtype {
        DType::F64 => Ok(f64::EPSILON),
        DType::F32 => Ok(f64::from(f32::EPSILON)),
        DType::F16 => Ok(2f64.powi(-10)),
        DType::Bf16 => Ok(2f64.powi(-7)),
        dtype => Err(LowerError::dtype(format!("the norm of {dtype}"))),
    }
}

/// `x / √(mean(x²) + eps) · weight`, and the inverse root.
fn rms_norm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("input")?)?;
    let axes = normalized_axes(cx, call, x)?;
    let eps = match call.opt_float("eps")? {
        Some(eps) => eps,
        None => machine_epsilon(cx.b.tensor(x)?.dtype)?,
    };
    let weight = call.opt_tensor("weight")?.map(|w| cx.read(w)).transpose()?;
    let own = cx.b.tensor(x)?.dtype;
    // The squares leave the range of half precision.
    let wide = if own == DType::F16 { DType::F32 } else { own };
    let x = cx.cast(x, wide)?;
    let square = cx.unary(Square {}, x)?;
    let mean = reduce(cx, Reduction::Mean, square, (&axes, true))?;
    let scale = cx.unary(Rsqrt { epsilon: F64(eps) }, mean)?;
    let y = cx.binary(Mul {}, x, scale)?;
    let y = affine_last(cx, y, [weight, None])?;
    let y = cx.cast(y, own)?;
    Ok(vec![cx.fresh(y), cx.fresh(scale)])
}

/// `v · g / ‖v‖`, the norm taken for each index along `dim`, or of all elements for −1; and the
/// norm.
fn weight_norm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (v, g) = (cx.read(call.tensor("v")?)?, cx.read(call.tensor("g")?)?);
    let rank = cx.b.tensor(v)?.rank();
    let dim = call.int_or("dim", 0)?;
    let kept = if dim == -1 { None } else { Some(axes::axis(dim, rank)?) };
    let over: Vec<usize> = (0..rank).filter(|&a| Some(a) != kept).collect();
    let norm = reduce(cx, Reduction::L2, v, (&over, kept.is_some()))?;
    let scale = cx.binary(RealDiv {}, g, norm)?;
    let y = cx.binary(Mul {}, v, scale)?;
    Ok(vec![cx.fresh(y), cx.fresh(norm)])
}
