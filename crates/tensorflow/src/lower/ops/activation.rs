//! Activations.

use mlc_ir::ops::{
    Elu, Exp, LeakyRelu, Log, Maximum, Minimum, Mul, ReduceMax, ReduceSum, Relu, Relu6, Sigmoid,
    Softmax, Softplus, Softsign, Sub,
};
use mlc_ir::{F64, Op, Value};

use super::elementwise::float_input;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::LowerResult;
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "Elu", lower: |cx, call| float(cx, call, Elu { alpha: F64(1.0) }) },
    Lowering { name: "LeakyRelu", lower: leaky_relu },
    Lowering { name: "LogSoftmax", lower: log_softmax },
    Lowering { name: "Relu", lower: relu },
    Lowering { name: "Relu6", lower: relu6 },
    Lowering { name: "Selu", lower: selu },
    Lowering { name: "Sigmoid", lower: |cx, call| float(cx, call, Sigmoid {}) },
    Lowering { name: "Softmax", lower: |cx, call| float(cx, call, Softmax { axis: -1 }) },
    Lowering { name: "Softplus", lower: |cx, call| float(cx, call, Softplus {}) },
    Lowering { name: "Softsign", lower: |cx, call| float(cx, call, Softsign {}) },
];

fn float(cx: &mut Cx<'_>, call: &Call<'_>, op: impl Into<Op>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let y = cx.unary(op, x)?;
    cx.one(y)
}

fn relu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let y = if cx.dtype(x)?.is_float() {
        cx.unary(Relu {}, x)?
    } else {
        let zero = cx.scalar_like(x, 0.0)?;
        cx.binary(Maximum {}, x, zero)?
    };
    cx.one(y)
}

fn relu6(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let y = if cx.dtype(x)?.is_float() {
        cx.unary(Relu6 {}, x)?
    } else {
        let (zero, six) = (cx.scalar_like(x, 0.0)?, cx.scalar_like(x, 6.0)?);
        let y = cx.binary(Maximum {}, x, zero)?;
        cx.binary(Minimum {}, y, six)?
    };
    cx.one(y)
}

fn leaky_relu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let alpha = call.float_or("alpha", 0.2)?;
    let y = cx.unary(LeakyRelu { alpha: F64(alpha) }, x)?;
    cx.one(y)
}

/// `scale · (x > 0 ? x : alpha · (eˣ − 1))` with the numbers of the definition.
fn selu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    const ALPHA: f64 = 1.673_263_242_354_377_2;
    const SCALE: f64 = 1.050_700_987_355_480_5;
    let x = float_input(cx, call, 0)?;
    let y = cx.unary(Elu { alpha: F64(ALPHA) }, x)?;
    let scale = cx.scalar_like(x, SCALE)?;
    let y = cx.binary(Mul {}, y, scale)?;
    cx.one(y)
}

fn log_softmax(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    let y = log_softmax_value(cx, x)?;
    cx.one(y)
}

/// `x − max − ln Σ e^(x − max)` along the last axis.
pub(super) fn log_softmax_value(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let axes = Some(vec![-1]);
    let top = cx.unary(ReduceMax { axes: axes.clone(), keep_dims: true }, x)?;
    let shifted = cx.binary(Sub {}, x, top)?;
    let exp = cx.unary(Exp {}, shifted)?;
    let sum = cx.unary(ReduceSum { axes, keep_dims: true }, exp)?;
    let log = cx.unary(Log { epsilon: F64(0.0) }, sum)?;
    cx.binary(Sub {}, shifted, log)
}
