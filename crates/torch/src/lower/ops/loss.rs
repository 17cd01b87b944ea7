//! Losses, in terms of other ops. `reduction` is 0 for none, 1 for the mean, 2 for the sum.

use mlc_tensor::DType;

use super::calls::Calls;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.mse_loss", lower: mse },
    Lowering { name: "aten.l1_loss", lower: l1 },
    Lowering { name: "aten.smooth_l1_loss", lower: smooth_l1 },
    Lowering { name: "aten.huber_loss", lower: huber },
    Lowering { name: "aten.binary_cross_entropy", lower: bce },
    Lowering { name: "aten.binary_cross_entropy_with_logits", lower: bce_with_logits },
    Lowering { name: "aten.kl_div", lower: kl_div },
    Lowering { name: "aten.xlogy", lower: xlogy },
    Lowering { name: "aten.special_xlogy", lower: xlogy },
    Lowering { name: "aten.nll_loss_nd", lower: nll },
    Lowering { name: "aten.nll_loss", lower: nll },
    Lowering { name: "aten.nll_loss2d", lower: nll },
    Lowering { name: "aten.cross_entropy_loss", lower: cross_entropy },
    Lowering { name: "aten.cross", lower: cross },
    Lowering { name: "aten.linalg_cross", lower: cross },
    Lowering { name: "aten.nan_to_num", lower: nan_to_num },
];

/// As `reduction` says.
pub(super) fn reduced(cx: &mut Cx<'_>, call: &Call<'_>, x: TensorId) -> LowerResult<Vec<Val>> {
    let op = match call.int_or("reduction", 1)? {
        0 => return Ok(vec![Val::Tensor(x)]),
        1 => "aten.mean",
        2 => "aten.sum",
        other => return Err(LowerError::invalid(format!("`reduction` is {other}"))),
    };
    cx.call(op, &[("self", Val::Tensor(x))])
}

fn mse(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let gap = Calls(cx).two("aten.sub", x, target)?;
    let loss = Calls(cx).two("aten.mul", gap, gap)?;
    reduced(cx, call, loss)
}

fn distance(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<TensorId> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let gap = Calls(cx).two("aten.sub", x, target)?;
    Calls(cx).one("aten.abs", gap)
}

fn l1(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let loss = distance(cx, call)?;
    reduced(cx, call, loss)
}

/// `d < beta ? d² / 2beta : d − beta / 2`
fn smooth_l1(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let beta = call.float_or("beta", 1.0)?;
    let d = distance(cx, call)?;
    if beta == 0.0 {
        return reduced(cx, call, d);
    }
    let mut calls = Calls(cx);
    let near = calls.two("aten.mul", d, d)?;
    let near = calls.two("aten.mul", near, 0.5 / beta)?;
    let far = calls.two("aten.sub", d, 0.5 * beta)?;
    let test = calls.two("aten.lt", d, beta)?;
    let loss = calls.select(test, near, far)?;
    reduced(cx, call, loss)
}

/// `d <= delta ? d² / 2 : delta · (d − delta / 2)`
fn huber(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let delta = call.float_or("delta", 1.0)?;
    let d = distance(cx, call)?;
    let mut calls = Calls(cx);
    let near = calls.two("aten.mul", d, d)?;
    let near = calls.two("aten.mul", near, 0.5)?;
    let far = calls.two("aten.sub", d, 0.5 * delta)?;
    let far = calls.two("aten.mul", far, delta)?;
    let test = calls.two("aten.le", d, delta)?;
    let loss = calls.select(test, near, far)?;
    reduced(cx, call, loss)
}

/// `−(t ln x + (1 − t) ln(1 − x))`, logarithms at least −100.
fn bce(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let mut log = |x: TensorId| -> LowerResult<TensorId> {
        let y = Calls(cx).one("aten.log", x)?;
        cx.call_tensor("aten.clamp", &[("self", y.into()), ("min", Val::Float(-100.0))])
    };
    let yes = log(x)?;
    let other = Calls(cx).one("aten.neg", x)?;
    let other = Calls(cx).two("aten.add", other, 1.0)?;
    let mut log = |x: TensorId| -> LowerResult<TensorId> {
        let y = Calls(cx).one("aten.log", x)?;
        cx.call_tensor("aten.clamp", &[("self", y.into()), ("min", Val::Float(-100.0))])
    };
    let no = log(other)?;
    let mut calls = Calls(cx);
    // (t − 1) ln(1 − x) − t ln x
    let left = calls.two("aten.sub", target, 1.0)?;
    let left = calls.two("aten.mul", left, no)?;
    let right = calls.two("aten.mul", target, yes)?;
    let mut loss = calls.two("aten.sub", left, right)?;
    if let Some(weight) = call.opt_tensor("weight")? {
        loss = calls.two("aten.mul", loss, weight)?;
    }
    reduced(cx, call, loss)
}

/// `(1 − t) x − (1 + (p − 1) t) · ln σ(x)`, `p` being the weight of positives.
fn bce_with_logits(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let mut calls = Calls(cx);
    let mut log = calls.one("aten.log_sigmoid", x)?;
    if let Some(positive) = call.opt_tensor("pos_weight")? {
        let factor = calls.two("aten.sub", positive, 1.0)?;
        let factor = calls.two("aten.mul", factor, target)?;
        let factor = calls.two("aten.add", factor, 1.0)?;
        log = calls.two("aten.mul", log, factor)?;
    }
    let rest = calls.one("aten.neg", target)?;
    let rest = calls.two("aten.add", rest, 1.0)?;
    let rest = calls.two("aten.mul", rest, x)?;
    let mut loss = calls.two("aten.sub", rest, log)?;
    if let Some(weight) = call.opt_tensor("weight")? {
        loss = calls.two("aten.mul", loss, weight)?;
    }
    reduced(cx, call, loss)
}

/// `t (ln t − x)`, or `eᵗ (t − x)` of a logarithm `t`.
fn kl_div(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let mut calls = Calls(cx);
    let loss = if call.bool_or("log_target", false)? {
        let gap = calls.two("aten.sub", target, x)?;
        let weight = calls.one("aten.exp", target)?;
        calls.two("aten.mul", weight, gap)?
    } else {
        let own = calls.two("aten.xlogy", target, target)?;
        let cross = calls.two("aten.mul", target, x)?;
        calls.two("aten.sub", own, cross)?
    };
    reduced(cx, call, loss)
}

/// `x · ln y`, 0 where `x` is 0 unless `y` is NaN.
fn xlogy(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (call.operand("self")?, call.operand("other")?);
    let dtype = cx.promoted(&[&x, &y])?;
    let dtype = if dtype.is_float() { dtype } else { DType::F32 };
    let (x, y) = (cx.operand(&x, dtype)?, cx.operand(&y, dtype)?);
    let (zero, one) = (cx.b.scalar(dtype, 0.0)?, cx.b.scalar(dtype, 1.0)?);
    let none = cx.binary(mlc_ir::ops::Equal {}, x, zero)?;
    let number = cx.binary(mlc_ir::ops::Equal {}, y, y)?;
    let skipped = cx.binary(mlc_ir::ops::LogicalAnd {}, none, number)?;
    let safe = mlc_ir::ops::Select {}.build(&mut cx.b, skipped, one, y)?;
    let log = cx.unary(mlc_ir::ops::Log { epsilon: mlc_ir::F64(0.0) }, safe)?;
    let y = cx.binary(mlc_ir::ops::Mul {}, x, log)?;
    cx.one(y)
}

/// `−weight[t] · x[t]` along the classes, axis 1 of batches; 0 where `t` is `ignore_index`. The mean
/// is over the weights of what is not ignored.
fn nll(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let axis = i64::from(cx.rank(x)? > 1);
    let dim = Val::Int(axis.into());
    let ignored = call.int_or("ignore_index", -100)?;
    let mut calls = Calls(cx);
    let kept = calls.two("aten.ne", target, Val::Int(ignored.into()))?;
    let zero = calls.0.call_tensor("aten.zeros_like", &[("self", target.into())])?;
    let safe = calls.select(kept, target, zero)?;
    let places =
        calls.0.call_tensor("aten.unsqueeze", &[("self", safe.into()), ("dim", dim.clone())])?;
    let args = [("self", x.into()), ("dim", dim.clone()), ("index", places.into())];
    let picked = calls.0.call_tensor("aten.gather", &args)?;
    let picked = calls.0.call_tensor("aten.squeeze", &[("self", picked.into()), ("dim", dim)])?;
    let mut loss = calls.one("aten.neg", picked)?;
    let dtype = Val::DType(calls.0.dtype(x)?);
    let mut weight = calls.0.call_tensor("aten.to", &[("self", kept.into()), ("dtype", dtype)])?;
    if let Some(classes) = call.opt_tensor("weight")? {
        let chosen = calls
            .0
            .call_tensor("aten.take", &[("self", classes.into()), ("index", safe.into())])?;
        weight = calls.two("aten.mul", weight, chosen)?;
    }
    loss = calls.two("aten.mul", loss, weight)?;
    let none = calls.0.call_tensor("aten.zeros_like", &[("self", loss.into())])?;
    loss = calls.select(kept, loss, none)?;
    match call.int_or("reduction", 1)? {
        1 => {
            let total = calls.one("aten.sum", loss)?;
            let weight = calls.one("aten.sum", weight)?;
            Ok(vec![Val::Tensor(calls.two("aten.div", total, weight)?)])
        }
        _ => reduced(cx, call, loss),
    }
}

/// The loss of the logarithm of a softmax along the classes.
fn cross_entropy(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let axis = i64::from(cx.rank(x)? > 1);
    let logs = Calls(cx).with("aten.log_softmax", x, ("dim", axis))?;
    if cx.dtype(target)?.is_float() {
        return soft_cross_entropy(cx, call, (logs, target, axis));
    }
    let mut args = vec![("self", Val::Tensor(logs)), ("target", Val::Tensor(target))];
    for name in ["weight", "reduction", "ignore_index"] {
        if let Some(val) = call.get(name) {
            args.push((name, val.clone()));
        }
    }
    let hard = cx.call("aten.nll_loss_nd", &args)?;
    let smoothing = call.float_or("label_smoothing", 0.0)?;
    if smoothing == 0.0 {
        return Ok(hard);
    }
    let [Val::Tensor(hard)] = hard[..] else { return Err(LowerError::invalid("no loss")) };
    let smooth = evenly(cx, call, (logs, target, axis))?;
    let classes = cx.shape(x)?.get(axis as usize).and_then(mlc_ir::Dim::as_const);
    let classes = classes.ok_or_else(|| LowerError::dynamic("the number of classes"))?;
    let mut calls = Calls(cx);
    let hard = calls.two("aten.mul", hard, 1.0 - smoothing)?;
    let smooth = calls.two("aten.mul", smooth, smoothing / classes as f64)?;
    Ok(vec![Val::Tensor(calls.two("aten.add", hard, smooth)?)])
}

/// A weight a class, shaped to broadcast along the classes.
fn class_weights(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (x, axis): (TensorId, i64),
) -> LowerResult<Option<TensorId>> {
    let Some(weight) = call.opt_tensor("weight")? else { return Ok(None) };
    let mut shape = vec![mlc_ir::Dim::Const(1); cx.rank(x)?];
    if let (Some(slot), Some(extent)) = (shape.get_mut(axis as usize), cx.shape(weight)?.first()) {
        *slot = extent.clone();
    }
    Calls(cx).reshape(weight, &shape).map(Some)
}

/// The loss against all classes alike: `−Σ weight · x`, 0 where `target` is ignored.
fn evenly(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (logs, target, axis): (TensorId, TensorId, i64),
) -> LowerResult<TensorId> {
    let weight = class_weights(cx, call, (logs, axis))?;
    let ignored = call.int_or("ignore_index", -100)?;
    let mut calls = Calls(cx);
    let terms = match weight {
        Some(weight) => calls.two("aten.mul", logs, weight)?,
        None => logs,
    };
    let sum = calls.over("aten.sum", terms, (axis, false))?;
    let loss = calls.one("aten.neg", sum)?;
    let skipped = calls.two("aten.eq", target, ignored)?;
    let loss = calls.zero_where(skipped, loss)?;
    match call.int_or("reduction", 1)? {
        1 => {
            let kept = calls.one("aten.logical_not", skipped)?;
            let mut count = {
                let dtype = calls.0.dtype(logs)?;
                calls.to(kept, dtype)?
            };
            if let Some(weight) = call.opt_tensor("weight")? {
                let safe = calls.zero_where(skipped, target)?;
                let chosen = calls.with("aten.take", weight, ("index", safe))?;
                count = calls.two("aten.mul", count, chosen)?;
            }
            let (total, count) = (calls.one("aten.sum", loss)?, calls.one("aten.sum", count)?);
            calls.two("aten.div", total, count)
        }
        2 => calls.one("aten.sum", loss),
        _ => Ok(loss),
    }
}

/// `−Σ weight · target · x` of probabilities of the classes; the mean is over the samples.
fn soft_cross_entropy(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (logs, target, axis): (TensorId, TensorId, i64),
) -> LowerResult<Vec<Val>> {
    call.ignore(&["ignore_index"]);
    let weight = class_weights(cx, call, (logs, axis))?;
    let smoothing = call.float_or("label_smoothing", 0.0)?;
    let shape = cx.shape(logs)?;
    let classes = shape.get(axis as usize).and_then(mlc_ir::Dim::as_const);
    let classes = classes.ok_or_else(|| LowerError::dynamic("the number of classes"))?;
    let mut calls = Calls(cx);
    let mut target = target;
    if smoothing != 0.0 {
        target = calls.two("aten.mul", target, 1.0 - smoothing)?;
        target = calls.two("aten.add", target, smoothing / classes as f64)?;
    }
    let mut terms = calls.two("aten.mul", logs, target)?;
    if let Some(weight) = weight {
        terms = calls.two("aten.mul", terms, weight)?;
    }
    let sum = calls.over("aten.sum", terms, (axis, false))?;
    let loss = calls.one("aten.neg", sum)?;
    reduced(cx, call, loss)
}

/// `(a₁b₂ − a₂b₁, a₂b₀ − a₀b₂, a₀b₁ − a₁b₀)` along an axis: the last for `linalg_cross`, the first of
/// extent 3 for `cross`, where none is given.
fn cross(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let shape = cx.shape(a)?;
    let default = if call.op.contains("linalg") {
        -1
    } else {
        shape.iter().position(|extent| extent.is(3)).unwrap_or(0) as i64
    };
    let dim = Val::Int(call.int_or("dim", default)?.into());
    if cx.dtype(a)? == DType::Bool {
        return Err(LowerError::dtype("a product of truth values"));
    }
    let mut turned = |x: TensorId, by: i64| {
        let args = [("self", x.into()), ("shifts", Val::Int(by.into())), ("dims", dim.clone())];
        cx.call_tensor("aten.roll", &args)
    };
    let (a1, b1, a2, b2) = (turned(a, -1)?, turned(b, -1)?, turned(a, -2)?, turned(b, -2)?);
    let mut calls = Calls(cx);
    let (left, right) = (calls.two("aten.mul", a1, b2)?, calls.two("aten.mul", a2, b1)?);
    Ok(vec![Val::Tensor(calls.two("aten.sub", left, right)?)])
}

/// NaN replaced by `nan`, infinities by `posinf` and `neginf`: the limits of the type by default.
fn nan_to_num(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let dtype = cx.dtype(x)?;
    let limit = match dtype {
        DType::F16 => 65504.0,
        DType::Bf16 => f64::from(f32::from_bits(0x7f7f_0000)),
        DType::F32 => f64::from(f32::MAX),
        DType::F64 => f64::MAX,
        _ => {
            call.ignore(&["nan", "posinf", "neginf"]);
            return cx.call("aten.clone", &[("self", x.into())]);
        }
    };
    let wanted = [
        (f64::INFINITY, call.float_or("posinf", limit)?),
        (f64::NEG_INFINITY, call.float_or("neginf", -limit)?),
    ];
    let nan = call.float_or("nan", 0.0)?;
    let old = cx.read(x)?;
    let mut y = old;
    for (from, to) in wanted {
        let (from, to) = (cx.b.scalar(dtype, from)?, cx.b.scalar(dtype, to)?);
        let hit = cx.binary(mlc_ir::ops::Equal {}, old, from)?;
        y = mlc_ir::ops::Select {}.build(&mut cx.b, hit, to, y)?;
    }
    let nan = cx.b.scalar(dtype, nan)?;
    let hit = cx.binary(mlc_ir::ops::NotEqual {}, old, old)?;
    let y = mlc_ir::ops::Select {}.build(&mut cx.b, hit, nan, y)?;
    cx.one(y)
}
