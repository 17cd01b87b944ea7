//! Losses, with the gradients that their ops give too.

use mlc_ir::ops::{Equal, Mul, OneHot, ReduceSum, Softmax, Sub};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::activation::log_softmax_value;
use super::elementwise::negated;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::LowerResult;
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "SoftmaxCrossEntropyWithLogits", lower: dense },
    Lowering { name: "SparseSoftmaxCrossEntropyWithLogits", lower: sparse },
];

/// `−Σ labels · log softmax(x)` and `softmax(x) − labels`.
fn cross_entropy(cx: &mut Cx<'_>, x: Value, labels: Value) -> LowerResult<Vec<Val>> {
    let log = log_softmax_value(cx, x)?;
    let product = cx.binary(Mul {}, labels, log)?;
    // What has no weight adds nothing, however unlikely it is.
    let zero = cx.scalar_like(labels, 0.0)?;
    let none = cx.binary(Equal {}, labels, zero)?;
    let product = cx.select(none, zero, product)?;
    let sum = cx.unary(ReduceSum { axes: Some(vec![-1]), keep_dims: false }, product)?;
    let loss = negated(cx, sum)?;
    let probabilities = cx.unary(Softmax { axis: -1 }, x)?;
    let gradient = cx.binary(Sub {}, probabilities, labels)?;
    Ok(vec![Val::Tensor(loss), Val::Tensor(gradient)])
}

fn dense(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, labels) = (call.tensor(0)?, call.tensor(1)?);
    let shape = mlc_ir::infer::broadcast(&cx.shape(x)?, &cx.shape(labels)?)?;
    let (x, labels) = match shape.contains(&Dim::Unknown) {
        true => (x, labels),
        false => (dims::expand(cx, x, &shape)?, dims::expand(cx, labels, &shape)?),
    };
    cross_entropy(cx, x, labels)
}

fn sparse(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, labels) = (call.tensor(0)?, call.tensor(1)?);
    let classes = cx.shape(x)?[1].clone();
    let labels = cx.cast(labels, DType::I32)?;
    let (on, off) = (cx.scalar_like(x, 1.0)?, cx.scalar_like(x, 0.0)?);
    let depth = dims::scalar(cx, &classes)?;
    let labels = OneHot { axis: -1 }.build(&mut cx.b, labels, depth, Some(on), Some(off))?;
    cross_entropy(cx, x, labels)
}
