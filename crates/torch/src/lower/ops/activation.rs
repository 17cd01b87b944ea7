//! Activations.

use mlc_ir::attr::GeluMode;
use mlc_ir::ops::{
    Clip, Elu, Gelu, Greater, LeakyRelu, Log, Maximum, Minimum, Mul, Prelu, RealDiv, Relu, Relu6,
    Select, Sigmoid, SigmoidHard, Silu, Softmax, Softplus, Softsign, Sub, Tanh,
};
use mlc_ir::{F64, Value};
use mlc_tensor::DType;

use super::unary::float_operand;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.relu", lower: relu },
    Lowering { name: "aten.relu6", lower: relu6 },
    Lowering { name: "aten.hardtanh", lower: hardtanh },
    Lowering { name: "aten.leaky_relu", lower: leaky_relu },
    Lowering { name: "aten.prelu", lower: prelu },
    Lowering { name: "aten._prelu_kernel", lower: prelu },
    Lowering { name: "aten.elu", lower: elu },
    Lowering { name: "aten.selu", lower: selu },
    Lowering { name: "aten.celu", lower: celu },
    Lowering { name: "aten.gelu", lower: gelu },
    Lowering { name: "aten.silu", lower: silu },
    Lowering { name: "aten.mish", lower: mish },
    Lowering { name: "aten.hardsigmoid", lower: hardsigmoid },
    Lowering { name: "aten.hardswish", lower: hardswish },
    Lowering { name: "aten.hardshrink", lower: hardshrink },
    Lowering { name: "aten.softshrink", lower: softshrink },
    Lowering { name: "aten.softplus", lower: softplus },
    Lowering { name: "aten.softsign", lower: softsign },
    Lowering { name: "aten.log_sigmoid", lower: log_sigmoid },
    Lowering { name: "aten.threshold", lower: threshold },
    Lowering { name: "aten.glu", lower: glu },
    Lowering { name: "aten.softmax", lower: softmax },
    Lowering { name: "aten._softmax", lower: softmax },
    Lowering { name: "aten._safe_softmax", lower: safe_softmax },
    Lowering { name: "aten.log_softmax", lower: log_softmax },
    Lowering { name: "aten._log_softmax", lower: log_softmax },
    Lowering { name: "aten.rrelu", lower: rrelu },
];

fn relu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let dtype = cx.b.tensor(x)?.dtype;
    let y = if dtype.is_float() {
        cx.unary(Relu {}, x)?
    } else if dtype == DType::Bool {
        return Err(LowerError::dtype("relu of truth values"));
    } else {
        let zero = cx.b.scalar(dtype, 0.0)?;
        cx.binary(Maximum {}, x, zero)?
    };
    cx.one(y)
}

fn relu6(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let own = call.tensor("self")?;
    if !cx.dtype(own)?.is_float() {
        let bounds = [("min", Val::Int(0.into())), ("max", Val::Int(6.into()))];
        return cx.call(
            "aten.clamp",
            &[("self", Val::Tensor(own)), bounds[0].clone(), bounds[1].clone()],
        );
    }
    let x = float_operand(cx, call)?;
    let y = cx.unary(Relu6 {}, x)?;
    cx.one(y)
}

/// `x` held within two numbers.
fn between(cx: &mut Cx<'_>, x: Value, low: f64, high: f64) -> LowerResult<Value> {
    let dtype = cx.b.tensor(x)?.dtype;
    if dtype.is_float() && low < high {
        return if low == 0.0 && high == 6.0 {
            cx.unary(Relu6 {}, x)
        } else {
            cx.unary(Clip { alpha: F64(low), beta: F64(high) }, x)
        };
    }
    let (low, high) = (cx.b.scalar(dtype, low)?, cx.b.scalar(dtype, high)?);
    let x = cx.binary(Maximum {}, x, low)?;
    cx.binary(Minimum {}, x, high)
}

fn hardtanh(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let (low, high) = (call.float_or("min_val", -1.0)?, call.float_or("max_val", 1.0)?);
    let y = between(cx, x, low, high)?;
    cx.one(y)
}

fn leaky_relu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let alpha = F64(call.float_or("negative_slope", 0.01)?);
    let y = cx.unary(LeakyRelu { alpha }, x)?;
    cx.one(y)
}

/// In evaluation mode the slope is the mean of its bounds.
fn rrelu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["generator"]);
    if call.bool_or("training", false)? {
        return Err(super::housekeeping::training("rrelu"));
    }
    let (low, high) = (call.float_or("lower", 0.125)?, call.float_or("upper", 1.0 / 3.0)?);
    let x = cx.read(call.tensor("self")?)?;
    let y = cx.unary(LeakyRelu { alpha: F64(f64::midpoint(low, high)) }, x)?;
    cx.one(y)
}

/// `x > 0 ? x : weight · x`, one weight or one a channel (axis 1).
fn prelu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let weight = cx.read(call.tensor("weight")?)?;
    let (x_ty, w_ty) = (cx.b.tensor(x)?.clone(), cx.b.tensor(weight)?.clone());
    let channels = w_ty.count();
    let constant = cx.b.constant_of(weight).is_some();
    if constant && x_ty.rank() == 4 && x_ty.shape[1] == channels {
        let alpha = cx.reshape(weight, &[channels])?;
        let y = Prelu {}.build(&mut cx.b, x, alpha)?;
        return cx.one(y);
    }
    let mut shape = vec![mlc_ir::Dim::Const(1); x_ty.rank()];
    if !channels.is(1) {
        *shape
            .get_mut(1)
            .ok_or_else(|| LowerError::invalid("one weight a channel of a vector"))? = channels;
    }
    let weight = if w_ty.rank() == x_ty.rank() { weight } else { cx.reshape(weight, &shape)? };
    let zero = cx.b.scalar(x_ty.dtype, 0.0)?;
    let positive = cx.binary(Greater {}, x, zero)?;
    let scaled = cx.binary(Mul {}, x, weight)?;
    let y = Select {}.build(&mut cx.b, positive, x, scaled)?;
    cx.one(y)
}

/// `x > 0 ? scale · x : scale · alpha · (e^(x · input_scale) − 1)`
fn elu_value(
    cx: &mut Cx<'_>,
    x: Value,
    (alpha, scale, input_scale): (f64, f64, f64),
) -> LowerResult<Value> {
    let dtype = cx.b.tensor(x)?.dtype;
    let y = if input_scale == 1.0 {
        cx.unary(Elu { alpha: F64(alpha) }, x)?
    } else {
        let zero = cx.b.scalar(dtype, 0.0)?;
        let positive = cx.binary(Greater {}, x, zero)?;
        let factor = cx.b.scalar(dtype, input_scale)?;
        let inner = cx.binary(Mul {}, x, factor)?;
        let negative = cx.unary(Elu { alpha: F64(alpha) }, inner)?;
        Select {}.build(&mut cx.b, positive, x, negative)?
    };
    if scale == 1.0 {
        return Ok(y);
    }
    let scale = cx.b.scalar(dtype, scale)?;
    cx.binary(Mul {}, y, scale)
}

fn elu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let factors = (
        call.float_or("alpha", 1.0)?,
        call.float_or("scale", 1.0)?,
        call.float_or("input_scale", 1.0)?,
    );
    let y = elu_value(cx, x, factors)?;
    cx.one(y)
}

/// Constants of Klambauer et al., Self-Normalizing Neural Networks, 2017.
fn selu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let y = elu_value(cx, x, (1.673_263_242_354_377_2, 1.050_700_987_355_480_5, 1.0))?;
    cx.one(y)
}

/// `max(0, x) + min(0, alpha · (e^(x / alpha) − 1))`
fn celu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let alpha = call.float_or("alpha", 1.0)?;
    if alpha <= 0.0 {
        return Err(LowerError::argument(format!("`alpha` is {alpha}, it must be positive")));
    }
    let y = elu_value(cx, x, (alpha, 1.0, 1.0 / alpha))?;
    cx.one(y)
}

fn gelu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let mode = match call.opt_str("approximate")?.unwrap_or("none") {
        "none" => GeluMode::Exact,
        "tanh" => GeluMode::TanhApproximation,
        other => return Err(LowerError::argument(format!("`approximate` is `{other}`"))),
    };
    let y = cx.unary(Gelu { mode }, x)?;
    cx.one(y)
}

fn silu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let y = cx.unary(Silu {}, x)?;
    cx.one(y)
}

/// `x · tanh(softplus(x))`
fn mish(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_operand(cx, call)?;
    let s = cx.unary(Softplus {}, x)?;
    let t = cx.unary(Tanh {}, s)?;
    let y = cx.binary(Mul {}, x, t)?;
    cx.one(y)
}

/// `clamp(x/6 + 1/2, 0, 1)`
fn hardsigmoid(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let y = cx.unary(SigmoidHard { alpha: F64(1.0 / 6.0), beta: F64(0.5) }, x)?;
    cx.one(y)
}

/// `x · clamp(x + 3, 0, 6) / 6`
fn hardswish(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let gate = cx.unary(SigmoidHard { alpha: F64(1.0 / 6.0), beta: F64(0.5) }, x)?;
    let y = cx.binary(Mul {}, x, gate)?;
    cx.one(y)
}

/// `|x| > lambd ? x : 0`
fn hardshrink(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let dtype = cx.b.tensor(x)?.dtype;
    let size = cx.unary(mlc_ir::ops::Abs {}, x)?;
    let limit = cx.b.scalar(dtype, call.float_or("lambd", 0.5)?)?;
    let beyond = cx.binary(Greater {}, size, limit)?;
    let zero = cx.b.scalar(dtype, 0.0)?;
    let y = Select {}.build(&mut cx.b, beyond, x, zero)?;
    cx.one(y)
}

/// `x − clamp(x, −lambd, lambd)`
fn softshrink(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let limit = call.float_or("lambd", 0.5)?;
    let inner = between(cx, x, -limit, limit)?;
    let y = cx.binary(Sub {}, x, inner)?;
    cx.one(y)
}

/// `ln(1 + e^(beta·x)) / beta`, `x` itself where `beta·x > threshold`.
fn softplus(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let dtype = cx.b.tensor(x)?.dtype;
    let (beta, threshold) = (call.float_or("beta", 1.0)?, call.float_or("threshold", 20.0)?);
    let scaled = if beta == 1.0 {
        x
    } else {
        let beta = cx.b.scalar(dtype, beta)?;
        cx.binary(Mul {}, x, beta)?
    };
    let mut y = cx.unary(Softplus {}, scaled)?;
    if beta != 1.0 {
        let beta = cx.b.scalar(dtype, beta)?;
        y = cx.binary(RealDiv {}, y, beta)?;
    }
    // Beyond 20 the two branches are the same in single precision.
    if threshold < 20.0 {
        let threshold = cx.b.scalar(dtype, threshold)?;
        let linear = cx.binary(Greater {}, scaled, threshold)?;
        y = Select {}.build(&mut cx.b, linear, x, y)?;
    }
    cx.one(y)
}

fn softsign(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let y = cx.unary(Softsign {}, x)?;
    cx.one(y)
}

/// `−softplus(−x)`
fn log_sigmoid(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let minus = cx.b.scalar(cx.b.tensor(x)?.dtype, -1.0)?;
    let negative = cx.binary(Mul {}, x, minus)?;
    let s = cx.unary(Softplus {}, negative)?;
    let y = cx.binary(Mul {}, s, minus)?;
    cx.one(y)
}

/// `x > threshold ? x : value`
fn threshold(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let dtype = cx.b.tensor(x)?.dtype;
    let limit = cx.number(&call.scalar("threshold")?, dtype)?;
    let value = cx.number(&call.scalar("value")?, dtype)?;
    let above = cx.binary(Greater {}, x, limit)?;
    let y = Select {}.build(&mut cx.b, above, x, value)?;
    cx.one(y)
}

/// First half times the sigmoid of the second.
fn glu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dim = call.int_or("dim", -1)?;
    let halves = cx.call(
        "aten.chunk",
        &[
            ("self", Val::Tensor(call.tensor("self")?)),
            ("chunks", Val::Int(2.into())),
            ("dim", Val::Int(dim.into())),
        ],
    )?;
    let halves = match &halves[..] {
        [Val::List(items)] => items.clone(),
        all => all.to_vec(),
    };
    let [Val::Tensor(a), Val::Tensor(b)] = halves[..] else {
        return Err(LowerError::invalid("the extent does not halve"));
    };
    let (a, b) = (cx.read(a)?, cx.read(b)?);
    let gate = cx.unary(Sigmoid {}, b)?;
    let y = cx.binary(Mul {}, a, gate)?;
    cx.one(y)
}

/// Operand and axis of a softmax: converted to `dtype` first where it is given.
fn softmax_operand(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<(Value, i64)> {
    let x = call.tensor("self")?;
    if call.bool_or("half_to_float", false)? {
        return Ok((cx.read_as(x, DType::F32)?, call.int("dim")?));
    }
    let own = cx.dtype(x)?;
    let dtype = call.opt_dtype("dtype")?.unwrap_or(own);
    let dtype = if dtype.is_float() { dtype } else { DType::F32 };
    Ok((cx.read_as(x, dtype)?, call.int("dim")?))
}

fn softmax(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, axis) = softmax_operand(cx, call)?;
    let y = softmax_value(cx, x, axis)?;
    cx.one(y)
}

fn softmax_value(cx: &mut Cx<'_>, x: Value, axis: i64) -> LowerResult<Value> {
    if cx.b.tensor(x)?.rank() == 0 {
        let zero = cx.binary(Sub {}, x, x)?;
        return cx.unary(mlc_ir::ops::Exp {}, zero);
    }
    cx.unary(Softmax { axis }, x)
}

/// Softmax that gives 0 where a whole row is −∞.
fn safe_softmax(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, axis) = softmax_operand(cx, call)?;
    let dtype = cx.b.tensor(x)?.dtype;
    let y = softmax_value(cx, x, axis)?;
    let top =
        mlc_ir::ops::ReduceMax { axes: Some(vec![axis]), keep_dims: true }.build(&mut cx.b, x)?;
    let floor = cx.b.scalar(dtype, f64::NEG_INFINITY)?;
    let masked = cx.binary(mlc_ir::ops::Equal {}, top, floor)?;
    let zero = cx.b.scalar(dtype, 0.0)?;
    let y = Select {}.build(&mut cx.b, masked, zero, y)?;
    cx.one(y)
}

/// `z − ln Σ e^z`, `z` being `x − max x`: no logarithm of an underflown softmax.
fn log_softmax(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, axis) = softmax_operand(cx, call)?;
    if cx.b.tensor(x)?.rank() == 0 {
        let y = cx.binary(Sub {}, x, x)?;
        return cx.one(y);
    }
    let axes = Some(vec![axis]);
    let top = mlc_ir::ops::ReduceMax { axes: axes.clone(), keep_dims: true }.build(&mut cx.b, x)?;
    let z = cx.binary(Sub {}, x, top)?;
    let e = cx.unary(mlc_ir::ops::Exp {}, z)?;
    let sum = mlc_ir::ops::ReduceSum { axes, keep_dims: true }.build(&mut cx.b, e)?;
    let log = cx.unary(Log { epsilon: F64(0.0) }, sum)?;
    let y = cx.binary(Sub {}, z, log)?;
    cx.one(y)
}
