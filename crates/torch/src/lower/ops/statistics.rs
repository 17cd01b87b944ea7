//! Quantiles, modes, histograms and covariances.

use mlc_ir::Dim;
use mlc_tensor::{DType, Tensor};

use super::axes::axis;
use super::calls::Calls;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.quantile", lower: |cx, call| quantile(cx, call, false) },
    Lowering { name: "aten.nanquantile", lower: |cx, call| quantile(cx, call, true) },
    Lowering { name: "aten.nanmedian", lower: nanmedian },
    Lowering { name: "aten.mode", lower: mode },
    Lowering { name: "aten.histc", lower: histc },
    Lowering { name: "aten.cov", lower: cov },
    Lowering { name: "aten.corrcoef", lower: corrcoef },
];

/// The elements with `axis` last, or all of them along one axis.
fn lined_up(cx: &mut Cx<'_>, x: TensorId, axis: Option<usize>) -> LowerResult<(TensorId, i64)> {
    let shape = cx.shape(x)?;
    let mut calls = Calls(cx);
    let line = match axis {
        Some(axis) if !shape.is_empty() => {
            let args = [
                ("self", x.into()),
                ("source", Val::List(vec![Val::Int((axis as i64).into())])),
                ("destination", Val::List(vec![Val::Int((-1).into())])),
            ];
            calls.0.call_tensor("aten.movedim", &args)?
        }
        _ => calls.reshape(x, &[Dim::product(&shape)])?,
    };
    let extent = cx.shape(line)?.pop().and_then(|dim| dim.as_const()).filter(|&n| n > 0);
    let extent = extent.ok_or_else(|| {
        LowerError::dynamic("an order statistic of an unknown number of elements")
            .help("export the model with that extent fixed")
    })?;
    Ok((line, extent))
}

/// Values in ascending order along the last axis, NaN behind all others; their positions; and where
/// there was NaN.
fn in_order(cx: &mut Cx<'_>, x: TensorId) -> LowerResult<[TensorId; 3]> {
    let mut calls = Calls(cx);
    let nan = calls.one("aten.isnan", x)?;
    let args = [("self", x.into()), ("mask", nan.into()), ("value", f64::INFINITY.into())];
    let held = calls.0.call_tensor("aten.masked_fill", &args)?;
    let sorted = calls.0.call("aten.sort", &[("self", held.into()), ("dim", (-1i64).into())])?;
    let [Val::Tensor(values), Val::Tensor(order)] = sorted[..] else {
        return Err(LowerError::invalid("`sort` gives other results"));
    };
    Ok([values, order, nan])
}

/// At each quantile `q`, what stands at place `q·(n − 1)` in order; between two places as
/// `interpolation` says. `n` counts all elements, and one NaN makes the result NaN, or those that are
/// not NaN.
fn quantile(cx: &mut Cx<'_>, call: &Call<'_>, skip_nan: bool) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let along = call.opt_int("dim")?.map(|dim| axis(dim, shape.len())).transpose()?;
    let keep = call.bool_or("keepdim", false)?;
    let (line, extent) = lined_up(cx, x, along)?;
    let q = match call.operand("q")? {
        Operand::Tensor(q) => q,
        Operand::Scalar(q) => {
            let q = q.as_f64().ok_or_else(|| LowerError::dynamic("`q` is not known"))?;
            Calls(cx).constant(Tensor::from_f64s(dtype, &[], &[q])?)?
        }
    };
    let single = cx.rank(q)? == 0;
    let [values, _, nan] = in_order(cx, line)?;
    let count = cx.shape(q)?.first().cloned().unwrap_or(Dim::Const(1));
    let mut calls = Calls(cx);
    let q = calls.reshape(q, std::slice::from_ref(&count))?;
    let number = calls.one("aten.logical_not", nan)?;
    let number = calls.to(number, dtype)?;
    let number = calls.over("aten.sum", number, (-1, true))?;
    let ranks = if skip_nan {
        let last = calls.two("aten.sub", number, 1.0)?;
        let last = calls.at_least(last, 0.0)?;
        calls.two("aten.mul", last, q)?
    } else {
        calls.two("aten.mul", q, (extent - 1) as f64)?
    };
    let mut to = calls.0.shape(line)?;
    if let Some(last) = to.last_mut() {
        *last = count;
    }
    let sizes = Val::List(to.iter().cloned().map(Val::Int).collect());
    let ranks = calls.with("aten.expand", ranks, ("size", sizes))?;
    let y = interpolated(&mut calls, (values, ranks), call.opt_str("interpolation")?)?;
    let missing = if skip_nan {
        calls.two("aten.eq", number, 0.0)?
    } else {
        calls.two("aten.lt", number, extent as f64)?
    };
    let args = [("self", y.into()), ("mask", missing.into()), ("value", f64::NAN.into())];
    let y = calls.0.call_tensor("aten.masked_fill", &args)?;
    // The quantiles come first; the axis they are over stays with extent 1, or goes.
    let args = [("self", y.into()), ("source", (-1i64).into()), ("destination", 0i64.into())];
    let mut y = calls.0.call_tensor("aten.movedim", &args)?;
    if keep {
        let mut kept: Vec<Dim> = vec![calls.0.shape(y)?[0].clone()];
        kept.extend(shape.iter().enumerate().map(|(at, extent)| match along {
            Some(along) if along != at => extent.clone(),
            _ => Dim::Const(1),
        }));
        y = calls.reshape(y, &kept)?;
    }
    if single {
        y = calls.with("aten.squeeze", y, ("dim", 0i64))?;
    }
    let y = calls.0.read(y)?;
    cx.one(y)
}

/// What stands at places that may lie between two.
fn interpolated(
    calls: &mut Calls<'_, '_>,
    (values, ranks): (TensorId, TensorId),
    how: Option<&str>,
) -> LowerResult<TensorId> {
    let at = |calls: &mut Calls<'_, '_>, place: TensorId| {
        let place = calls.to(place, DType::I64)?;
        let args = [("self", values.into()), ("dim", (-1i64).into()), ("index", place.into())];
        calls.0.call_tensor("aten.gather", &args)
    };
    let below = calls.one("aten.floor", ranks)?;
    let above = calls.one("aten.ceil", ranks)?;
    match how.unwrap_or("linear") {
        "lower" => at(calls, below),
        "higher" => at(calls, above),
        "nearest" => {
            let nearest = calls.one("aten.round", ranks)?;
            at(calls, nearest)
        }
        how @ ("linear" | "midpoint") => {
            let share = calls.two("aten.sub", ranks, below)?;
            let (low, high) = (at(calls, below)?, at(calls, above)?);
            let gap = calls.two("aten.sub", high, low)?;
            let step = match how {
                "linear" => calls.two("aten.mul", gap, share)?,
                _ => calls.two("aten.mul", gap, 0.5)?,
            };
            let y = calls.two("aten.add", low, step)?;
            // Between equal infinities there is no gap.
            let same = calls.two("aten.eq", low, high)?;
            calls.select(same, low, y)
        }
        other => Err(LowerError::invalid(format!("`interpolation` is `{other}`"))),
    }
}

/// The lesser of the elements in the middle of those that are not NaN, and its position.
fn nanmedian(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let keep = call.bool_or("keepdim", false)?;
    let dim = call.opt_int("dim")?;
    if !dtype.is_float() {
        let mut args = vec![("self", x.into()), ("keepdim", keep.into())];
        if let Some(dim) = dim {
            args.push(("dim", dim.into()));
        }
        return cx.call("aten.median", &args);
    }
    let along = dim.map(|dim| axis(dim, shape.len())).transpose()?;
    let (line, _) = lined_up(cx, x, along)?;
    let [values, order, nan] = in_order(cx, line)?;
    let mut calls = Calls(cx);
    let number = calls.one("aten.logical_not", nan)?;
    let number = calls.to(number, DType::I64)?;
    let number = calls.over("aten.sum", number, (-1, true))?;
    let last = calls.two("aten.sub", number, 1i64)?;
    let last = calls.with("aten.clamp_min", last, ("min", 0i64))?;
    let args = [
        ("self", last.into()),
        ("other", 2i64.into()),
        ("rounding_mode", Val::Str("floor".to_owned())),
    ];
    let place = calls.0.call_tensor("aten.div", &args)?;
    let mut outputs = Vec::with_capacity(2);
    let none = calls.two("aten.eq", number, 0i64)?;
    for (source, fill) in [(values, Val::Float(f64::NAN)), (order, Val::Int(0.into()))] {
        let args = [("self", source.into()), ("dim", (-1i64).into()), ("index", place.into())];
        let y = calls.0.call_tensor("aten.gather", &args)?;
        let args = [("self", y.into()), ("mask", none.into()), ("value", fill)];
        let y = calls.0.call_tensor("aten.masked_fill", &args)?;
        outputs.push(Val::Tensor(reduced_axis(&mut calls, y, (&shape, along, keep))?));
    }
    Ok(outputs)
}

/// A result whose last axis, of extent 1, stands for the axis `along` of `shape`, or for all.
fn reduced_axis(
    calls: &mut Calls<'_, '_>,
    y: TensorId,
    (shape, along, keep): (&[Dim], Option<usize>, bool),
) -> LowerResult<TensorId> {
    let kept = shape.iter().enumerate().filter_map(|(at, extent)| match along {
        Some(along) if along != at => Some(extent.clone()),
        Some(_) if keep => Some(Dim::Const(1)),
        _ => None,
    });
    let kept: Vec<Dim> = kept.collect();
    let y = calls.reshape(y, &kept)?;
    let y = calls.0.read(y)?;
    calls.tensor(y)
}

/// The most frequent element along an axis, the least of several, and its last position.
fn mode(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let along = axis(call.int_or("dim", -1)?, shape.len())?;
    let keep = call.bool_or("keepdim", false)?;
    let (line, _) = lined_up(cx, x, Some(along))?;
    let mut calls = Calls(cx);
    let wide = if dtype == DType::Bool { calls.to(line, DType::I32)? } else { line };
    let sorted = calls.0.call("aten.sort", &[("self", wide.into()), ("dim", (-1i64).into())])?;
    let [Val::Tensor(values), Val::Tensor(order)] = sorted[..] else {
        return Err(LowerError::invalid("`sort` gives other results"));
    };
    let (rows, columns) = (calls.unsqueeze(values, -1)?, calls.unsqueeze(values, -2)?);
    let same = calls.two("aten.eq", rows, columns)?;
    let same = calls.to(same, DType::I64)?;
    let counts = calls.over("aten.sum", same, (-1, false))?;
    let first = calls.over("aten.argmax", counts, (-1, true))?;
    let args = [("self", counts.into()), ("dim", (-1i64).into()), ("index", first.into())];
    let most = calls.0.call_tensor("aten.gather", &args)?;
    let last = calls.two("aten.add", first, most)?;
    let last = calls.two("aten.sub", last, 1i64)?;
    let mut outputs = Vec::with_capacity(2);
    for (source, place) in [(values, first), (order, last)] {
        let args = [("self", source.into()), ("dim", (-1i64).into()), ("index", place.into())];
        let y = calls.0.call_tensor("aten.gather", &args)?;
        let y = reduced_axis(&mut calls, y, (&shape, Some(along), keep))?;
        outputs.push(y);
    }
    let values = calls.to(outputs[0], dtype)?;
    Ok(vec![Val::Tensor(values), Val::Tensor(outputs[1])])
}

/// How many elements fall in each of `bins` equal parts of a range: that of the elements where none
/// is given. The end of the range belongs to the last part.
fn histc(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let dtype = cx.dtype(x)?;
    let bins = call.int_or("bins", 100)?;
    let (low, high) = (call.float_or("min", 0.0)?, call.float_or("max", 0.0)?);
    if !dtype.is_float() || bins < 1 {
        return Err(LowerError::dtype(format!("a histogram of {bins} parts of {dtype}")));
    }
    let shape = cx.shape(x)?;
    let mut calls = Calls(cx);
    let line = calls.reshape(x, &[Dim::product(&shape)])?;
    let (start, end) = if low == high {
        let (least, most) = (calls.one("aten.amin", line)?, calls.one("aten.amax", line)?);
        let same = calls.two("aten.eq", least, most)?;
        let widened = [calls.two("aten.sub", least, 1.0)?, calls.two("aten.add", most, 1.0)?];
        (calls.select(same, widened[0], least)?, calls.select(same, widened[1], most)?)
    } else {
        let number = |x: f64| Tensor::from_f64s(dtype, &[], &[x]);
        (calls.constant(number(low)?)?, calls.constant(number(high)?)?)
    };
    let span = calls.two("aten.sub", end, start)?;
    let place = calls.two("aten.sub", line, start)?;
    let place = calls.two("aten.div", place, span)?;
    let place = calls.two("aten.mul", place, bins as f64)?;
    let place = calls.one("aten.floor", place)?;
    let last = calls.two("aten.eq", line, end)?;
    let args =
        [("self", place.into()), ("mask", last.into()), ("value", Val::Float((bins - 1) as f64))];
    let place = calls.0.call_tensor("aten.masked_fill", &args)?;
    let low = calls.two("aten.ge", line, start)?;
    let high = calls.two("aten.le", line, end)?;
    let inside = calls.two("aten.logical_and", low, high)?;
    let outside = calls.one("aten.logical_not", inside)?;
    let args = [("self", place.into()), ("mask", outside.into()), ("value", (-1.0).into())];
    let place = calls.0.call_tensor("aten.masked_fill", &args)?;
    let column = calls.unsqueeze(place, 1)?;
    let all: Vec<f64> = (0..bins).map(|k| k as f64).collect();
    let all = calls.constant(Tensor::from_f64s(dtype, &[bins as u64], &all)?)?;
    let hit = calls.two("aten.eq", column, all)?;
    let hit = calls.to(hit, dtype)?;
    let y = calls.over("aten.sum", hit, (0, false))?;
    Ok(vec![Val::Tensor(y)])
}

/// `Σ w·(x − μ)·(y − μ)ᵀ / norm` of the rows; frequencies and importances are weights.
fn cov(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let own = cx.dtype(x)?;
    let dtype = if own.is_float() { own } else { DType::F32 };
    let correction = call.int_or("correction", 1)?;
    let rank = cx.rank(x)?;
    let mut calls = Calls(cx);
    let mut rows = calls.to(x, dtype)?;
    for _ in rank..2 {
        rows = calls.unsqueeze(rows, 0)?;
    }
    let count = calls.0.shape(rows)?[1].as_const().filter(|&n| n > 0).ok_or_else(|| {
        LowerError::dynamic("a covariance of an unknown number of observations")
            .help("export the model with that extent fixed")
    })?;
    let importance = call.opt_tensor("aweights")?.map(|w| calls.to(w, dtype)).transpose()?;
    let frequency = call.opt_tensor("fweights")?.map(|w| calls.to(w, dtype)).transpose()?;
    let weight = match (importance, frequency) {
        (Some(a), Some(b)) => Some(calls.two("aten.mul", a, b)?),
        (a, b) => a.or(b),
    };
    let (average, norm) = match weight {
        None => {
            let norm = (count as f64 - correction as f64).max(0.0);
            let norm = calls.constant(Tensor::from_f64s(dtype, &[], &[norm])?)?;
            (calls.over("aten.mean", rows, (1, true))?, norm)
        }
        Some(weight) => {
            let total = calls.one("aten.sum", weight)?;
            let product = calls.two("aten.mul", rows, weight)?;
            let sum = calls.over("aten.sum", product, (1, true))?;
            let average = calls.two("aten.div", sum, total)?;
            let used = match importance {
                None => calls.constant(Tensor::from_f64s(dtype, &[], &[correction as f64])?)?,
                Some(importance) => {
                    let product = calls.two("aten.mul", weight, importance)?;
                    let sum = calls.one("aten.sum", product)?;
                    let ratio = calls.two("aten.div", sum, total)?;
                    calls.two("aten.mul", ratio, correction as f64)?
                }
            };
            let norm = calls.two("aten.sub", total, used)?;
            (average, calls.at_least(norm, 0.0)?)
        }
    };
    let off = calls.two("aten.sub", rows, average)?;
    let weighted = match weight {
        Some(weight) => calls.two("aten.mul", off, weight)?,
        None => off,
    };
    let weighted = calls.one("aten.t", weighted)?;
    let product = calls.two("aten.matmul", off, weighted)?;
    let y = calls.two("aten.div", product, norm)?;
    let y = if rank < 2 { calls.reshape(y, &[])? } else { y };
    Ok(vec![Val::Tensor(y)])
}

fn corrcoef(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut calls = Calls(cx);
    let covariance = calls.one("aten.cov", call.tensor("self")?)?;
    if calls.0.rank(covariance)? == 0 {
        return Ok(vec![Val::Tensor(calls.two("aten.div", covariance, covariance)?)]);
    }
    let variance = calls.one("aten.diagonal", covariance)?;
    let deviation = calls.one("aten.sqrt", variance)?;
    let column = calls.unsqueeze(deviation, 1)?;
    let y = calls.two("aten.div", covariance, column)?;
    let y = calls.two("aten.div", y, deviation)?;
    let args = [("self", y.into()), ("min", (-1.0).into()), ("max", 1.0.into())];
    Ok(vec![Val::Tensor(calls.0.call_tensor("aten.clamp", &args)?)])
}
