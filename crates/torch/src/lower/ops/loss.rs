//! Losses, in terms of other ops. `reduction` is 0 for none, 1 for the mean, 2 for the sum.

use mlc_tensor::DType;

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

/// Calls ops of one or two operands.
struct Calls<'a, 'p>(&'a mut Cx<'p>);

impl Calls<'_, '_> {
    fn one(&mut self, op: &str, x: TensorId) -> LowerResult<TensorId> {
        self.0.call_tensor(op, &[("self", Val::Tensor(x))])
    }

    fn two(&mut self, op: &str, x: TensorId, y: impl Into<Val>) -> LowerResult<TensorId> {
        self.0.call_tensor(op, &[("self", Val::Tensor(x)), ("other", y.into())])
    }

    fn select(&mut self, test: TensorId, x: TensorId, y: TensorId) -> LowerResult<TensorId> {
        let args =
            [("condition", Val::Tensor(test)), ("self", Val::Tensor(x)), ("other", Val::Tensor(y))];
        self.0.call_tensor("aten.where", &args)
    }
}

impl From<TensorId> for Val {
    fn from(tensor: TensorId) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<f64> for Val {
    fn from(x: f64) -> Self {
        Self::Float(x)
    }
}

fn reduced(cx: &mut Cx<'_>, call: &Call<'_>, x: TensorId) -> LowerResult<Vec<Val>> {
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
    if call.float_or("label_smoothing", 0.0)? != 0.0 {
        return Err(LowerError::argument("`label_smoothing`")
            .help("leave the loss out of the exported model"));
    }
    if cx.dtype(target)?.is_float() {
        return Err(LowerError::argument("a cross entropy with probabilities of classes")
            .help("leave the loss out of the exported model"));
    }
    let axis = i64::from(cx.rank(x)? > 1);
    let logs =
        cx.call_tensor("aten.log_softmax", &[("self", x.into()), ("dim", Val::Int(axis.into()))])?;
    let mut args = vec![("self", Val::Tensor(logs)), ("target", Val::Tensor(target))];
    for name in ["weight", "reduction", "ignore_index"] {
        if let Some(val) = call.get(name) {
            args.push((name, val.clone()));
        }
    }
    cx.call("aten.nll_loss_nd", &args)
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
