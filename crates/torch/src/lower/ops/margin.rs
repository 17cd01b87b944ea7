//! Losses of margins and of embeddings, in terms of other ops.

use std::f64::consts::PI;

use mlc_ir::Dim;
use mlc_tensor::DType;

use super::calls::Calls;
use super::loss::reduced;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.margin_ranking_loss", lower: margin_ranking },
    Lowering { name: "aten.soft_margin_loss", lower: soft_margin },
    Lowering { name: "aten.hinge_embedding_loss", lower: hinge_embedding },
    Lowering { name: "aten.cosine_embedding_loss", lower: cosine_embedding },
    Lowering { name: "aten.triplet_margin_loss", lower: triplet_margin },
    Lowering { name: "aten.poisson_nll_loss", lower: poisson_nll },
    Lowering { name: "aten.multi_margin_loss", lower: multi_margin },
    Lowering { name: "aten.multilabel_margin_loss", lower: multilabel_margin },
];

/// `max(0, margin − target · (x₁ − x₂))`
fn margin_ranking(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (call.tensor("input1")?, call.tensor("input2")?);
    let target = call.tensor("target")?;
    let mut calls = Calls(cx);
    let gap = calls.two("aten.sub", y, x)?;
    let loss = calls.two("aten.mul", target, gap)?;
    let loss = calls.two("aten.add", loss, call.float_or("margin", 0.0)?)?;
    let loss = calls.one("aten.relu", loss)?;
    reduced(cx, call, loss)
}

/// `ln(1 + e^(−target · x))`
fn soft_margin(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let mut calls = Calls(cx);
    let product = calls.two("aten.mul", x, target)?;
    let log = calls.one("aten.log_sigmoid", product)?;
    let loss = calls.one("aten.neg", log)?;
    reduced(cx, call, loss)
}

/// `x` unless `target` is −1, and `max(0, margin − x)` unless it is 1.
fn hinge_embedding(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let mut calls = Calls(cx);
    let gap = calls.with("aten.rsub", x, ("other", call.float_or("margin", 1.0)?))?;
    let gap = calls.one("aten.relu", gap)?;
    let (near, far) = (calls.two("aten.eq", target, 1i64)?, calls.two("aten.eq", target, -1i64)?);
    let gap = calls.zero_where(near, gap)?;
    let own = calls.zero_where(far, x)?;
    let loss = calls.two("aten.add", gap, own)?;
    reduced(cx, call, loss)
}

/// `1 − cos` where `target` is 1, `max(0, cos − margin)` where it is −1.
fn cosine_embedding(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (call.tensor("input1")?, call.tensor("input2")?);
    let target = call.tensor("target")?;
    let axis = i64::from(cx.rank(target)? > 0);
    let mut calls = Calls(cx);
    let mut dot = |a: TensorId, b: TensorId| -> LowerResult<TensorId> {
        let product = calls.two("aten.mul", a, b)?;
        calls.over("aten.sum", product, (axis, false))
    };
    let (cross, xx, yy) = (dot(x, y)?, dot(x, x)?, dot(y, y)?);
    let (xx, yy) = (calls.two("aten.add", xx, 1e-12)?, calls.two("aten.add", yy, 1e-12)?);
    let sizes = calls.two("aten.mul", xx, yy)?;
    let sizes = calls.one("aten.sqrt", sizes)?;
    let cos = calls.two("aten.div", cross, sizes)?;
    let near = calls.with("aten.rsub", cos, ("other", 1.0))?;
    let far = calls.two("aten.sub", cos, call.float_or("margin", 0.0)?)?;
    let far = calls.one("aten.relu", far)?;
    let (not_near, not_far) =
        (calls.two("aten.ne", target, 1i64)?, calls.two("aten.ne", target, -1i64)?);
    let near = calls.zero_where(not_near, near)?;
    let far = calls.zero_where(not_far, far)?;
    let loss = calls.two("aten.add", near, far)?;
    reduced(cx, call, loss)
}

/// `max(0, margin + d(anchor, positive) − d(anchor, negative))`; with `swap`, the distance from the
/// positive one counts where it is less.
fn triplet_margin(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let anchor = call.tensor("anchor")?;
    let (positive, negative) = (call.tensor("positive")?, call.tensor("negative")?);
    let (p, eps) = (call.float_or("p", 2.0)?, call.float_or("eps", 1e-6)?);
    let mut distance = |a: TensorId, b: TensorId| {
        let args = [("x1", a.into()), ("x2", b.into()), ("p", p.into()), ("eps", eps.into())];
        cx.call_tensor("aten.pairwise_distance", &args)
    };
    let (near, mut far) = (distance(anchor, positive)?, distance(anchor, negative)?);
    if call.bool_or("swap", false)? {
        let other = distance(positive, negative)?;
        far = Calls(cx).two("aten.minimum", far, other)?;
    }
    let mut calls = Calls(cx);
    let loss = calls.two("aten.sub", near, far)?;
    let loss = calls.two("aten.add", loss, call.float_or("margin", 1.0)?)?;
    let loss = calls.one("aten.relu", loss)?;
    reduced(cx, call, loss)
}

/// `eˣ − t·x`, or `x − t·ln(x + eps)`; with `full`, and Stirling's approximation of `ln t!` where `t`
/// is above 1.
fn poisson_nll(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("input")?, call.tensor("target")?);
    let eps = call.float_or("eps", 1e-8)?;
    let mut calls = Calls(cx);
    let mut loss = if call.bool_or("log_input", true)? {
        let rate = calls.one("aten.exp", x)?;
        let product = calls.two("aten.mul", target, x)?;
        calls.two("aten.sub", rate, product)?
    } else {
        let log = calls.two("aten.add", x, eps)?;
        let log = calls.one("aten.log", log)?;
        let product = calls.two("aten.mul", target, log)?;
        calls.two("aten.sub", x, product)?
    };
    if call.bool_or("full", false)? {
        let log = calls.one("aten.log", target)?;
        let term = calls.two("aten.mul", target, log)?;
        let term = calls.two("aten.sub", term, target)?;
        let root = calls.two("aten.mul", target, 2.0 * PI)?;
        let root = calls.one("aten.log", root)?;
        let root = calls.two("aten.mul", root, 0.5)?;
        let term = calls.two("aten.add", term, root)?;
        let small = calls.two("aten.le", target, 1i64)?;
        let term = calls.zero_where(small, term)?;
        loss = calls.two("aten.add", loss, term)?;
    }
    reduced(cx, call, loss)
}

/// A batch of rows, whether there was none, and the number of classes.
fn rows(
    cx: &mut Cx<'_>,
    x: TensorId,
    target: TensorId,
    along: bool,
) -> LowerResult<(TensorId, TensorId, bool, i64)> {
    let single = cx.rank(x)? < 2;
    let mut calls = Calls(cx);
    let (mut x, mut target) = (x, target);
    if calls.0.rank(x)? == 0 {
        x = calls.unsqueeze(x, 0)?;
        if along {
            target = calls.reshape(target, &[Dim::Const(1)])?;
        }
    }
    if single {
        x = calls.unsqueeze(x, 0)?;
        let count = calls.0.shape(x)?[1].clone();
        let shape = if along { vec![Dim::Const(1), count] } else { vec![Dim::Const(1)] };
        target = calls.reshape(target, &shape)?;
    }
    let classes = cx.shape(x)?.get(1).and_then(Dim::as_const).filter(|&n| n > 0);
    let classes = classes.ok_or_else(|| LowerError::dynamic("the number of classes"))?;
    Ok((x, target, single, classes))
}

/// The mean over the classes, as `reduction` says of a batch; a lone row gives a scalar.
fn of_rows(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (loss, classes, single): (TensorId, i64, bool),
) -> LowerResult<Vec<Val>> {
    let mut calls = Calls(cx);
    let sum = calls.over("aten.sum", loss, (1, false))?;
    let mean = calls.two("aten.div", sum, classes as f64)?;
    let mean = if single { calls.reshape(mean, &[])? } else { mean };
    reduced(cx, call, mean)
}

/// `Σ_{j≠t} weight[t] · max(0, margin − x[t] + x[j])ᵖ / C`
fn multi_margin(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let p = call.float_or("p", 1.0)?;
    let (x, target, single, classes) = rows(cx, x, target, false)?;
    let mut calls = Calls(cx);
    let place = calls.unsqueeze(target, 1)?;
    let args = [("self", x.into()), ("dim", Val::Int(1.into())), ("index", place.into())];
    let own = calls.0.call_tensor("aten.gather", &args)?;
    let gap = calls.two("aten.sub", x, own)?;
    let gap = calls.two("aten.add", gap, call.float_or("margin", 1.0)?)?;
    let mut loss = calls.one("aten.relu", gap)?;
    if p == 2.0 {
        loss = calls.one("aten.square", loss)?;
    } else if p != 1.0 {
        return Err(LowerError::invalid(format!("`p` is {p}")));
    }
    if let Some(weight) = call.opt_tensor("weight")? {
        let chosen = calls.with("aten.take", weight, ("index", place))?;
        loss = calls.two("aten.mul", loss, chosen)?;
    }
    let all = mlc_tensor::Tensor::from_i64s(
        DType::I64,
        &[1, classes as u64],
        &(0..classes).collect::<Vec<_>>(),
    )?;
    let all = calls.constant(all)?;
    let own = calls.two("aten.eq", place, all)?;
    let loss = calls.zero_where(own, loss)?;
    of_rows(cx, call, (loss, classes, single))
}

/// `Σ max(0, 1 − x[t] + x[j]) / C` over the classes `t` listed before the first negative one and the
/// classes `j` that are not.
fn multilabel_margin(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, target) = (call.tensor("self")?, call.tensor("target")?);
    let (x, target, single, classes) = rows(cx, x, target, true)?;
    let dtype = cx.dtype(x)?;
    let mut calls = Calls(cx);
    let listed = calls.two("aten.ge", target, 0i64)?;
    let listed = calls.to(listed, DType::I64)?;
    let listed = calls.with("aten.cumprod", listed, ("dim", 1i64))?;
    let ended = calls.two("aten.eq", listed, 0i64)?;
    let safe = calls.zero_where(ended, target)?;
    let all = mlc_tensor::Tensor::from_i64s(
        DType::I64,
        &[1, 1, classes as u64],
        &(0..classes).collect::<Vec<_>>(),
    )?;
    let all = calls.constant(all)?;
    let column = calls.unsqueeze(safe, 2)?;
    let same = calls.two("aten.eq", column, all)?;
    let mask = calls.two("aten.gt", listed, 0i64)?;
    let mask = calls.unsqueeze(mask, 2)?;
    let same = calls.two("aten.logical_and", same, mask)?;
    let chosen = calls.over("aten.any", same, (1, true))?;
    let args = [("self", x.into()), ("dim", Val::Int(1.into())), ("index", safe.into())];
    let own = calls.0.call_tensor("aten.gather", &args)?;
    let own = calls.unsqueeze(own, 2)?;
    let other = calls.unsqueeze(x, 1)?;
    let gap = calls.two("aten.sub", other, own)?;
    let gap = calls.two("aten.add", gap, 1.0)?;
    let gap = calls.one("aten.relu", gap)?;
    let gap = calls.zero_where(chosen, gap)?;
    let mask = calls.to(mask, dtype)?;
    let gap = calls.two("aten.mul", gap, mask)?;
    let loss = calls.over("aten.sum", gap, (2, false))?;
    of_rows(cx, call, (loss, classes, single))
}
