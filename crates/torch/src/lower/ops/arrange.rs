//! Arrangements of elements, and sums along axes, in terms of other ops.

use mlc_ir::Dim;
use mlc_tensor::{DType, Tensor};

use super::axes::{axes, axis};
use super::calls::Calls;
use super::create::MAX_KNOWN;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.fft_fftshift", lower: |cx, call| fft_shift(cx, call, true) },
    Lowering { name: "aten.fft_ifftshift", lower: |cx, call| fft_shift(cx, call, false) },
    Lowering { name: "aten.sum_to_size", lower: sum_to_size },
    Lowering { name: "aten.combinations", lower: combinations },
    Lowering { name: "aten.trapezoid", lower: |cx, call| trapezoid(cx, call, false) },
    Lowering { name: "aten.trapz", lower: |cx, call| trapezoid(cx, call, false) },
    Lowering { name: "aten.cumulative_trapezoid", lower: |cx, call| trapezoid(cx, call, true) },
    Lowering { name: "aten.vander", lower: vander },
    Lowering { name: "aten.linalg_vander", lower: linalg_vander },
    Lowering { name: "aten.renorm", lower: renorm },
    Lowering { name: "aten.pdist", lower: pdist },
    Lowering { name: "aten._pdist_forward", lower: pdist },
    Lowering { name: "aten.diagflat", lower: diagflat },
    Lowering { name: "aten.fill_diagonal", lower: fill_diagonal },
    Lowering { name: "aten.isin", lower: isin },
    Lowering { name: "aten.nonzero_static", lower: nonzero_static },
    Lowering { name: "aten.gradient", lower: gradient },
    Lowering { name: "aten.max_unpool2d", lower: |cx, call| max_unpool(cx, call, 2) },
    Lowering { name: "aten.max_unpool3d", lower: |cx, call| max_unpool(cx, call, 3) },
];

/// Brings the frequency 0 to the middle of each axis, or back.
fn fft_shift(cx: &mut Cx<'_>, call: &Call<'_>, there: bool) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let shape = cx.shape(x)?;
    let along = match call.opt_ints("dim")? {
        Some(list) => axes(&list, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let mut shifts = Vec::with_capacity(along.len());
    for &axis in &along {
        let extent = known_extent(&shape, axis, "a shift by half of")?;
        shifts.push(if there { extent / 2 } else { (extent + 1) / 2 });
    }
    let list = |all: Vec<i64>| Val::List(all.into_iter().map(Val::from).collect());
    let dims = list(along.iter().map(|&a| a as i64).collect());
    cx.call("aten.roll", &[("self", x.into()), ("shifts", list(shifts)), ("dims", dims)])
}

/// Sums over the axes that the asked for shape has not, or has with extent 1.
fn sum_to_size(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (shape, size) = (cx.shape(x)?, call.dims("size")?);
    let lead = shape.len().checked_sub(size.len());
    let lead = lead.ok_or_else(|| LowerError::invalid("`size` has more axes"))?;
    let over: Vec<Val> = (0..shape.len())
        .filter(|&at| at < lead || (size[at - lead].is(1) && !shape[at].is(1)))
        .map(|at| Val::Int((at as i64).into()))
        .collect();
    if over.is_empty() {
        return Ok(vec![Val::Tensor(x)]);
    }
    let args = [("self", x.into()), ("dim", Val::List(over)), ("keepdim", true.into())];
    let sum = cx.call_tensor("aten.sum", &args)?;
    Ok(vec![Val::Tensor(Calls(cx).reshape(sum, &size)?)])
}

/// The places of `r` of `n` elements in order, each at most once or, with replacement, any number of
/// times.
fn chosen(n: i64, r: i64, replacement: bool) -> LowerResult<Vec<i64>> {
    let mut all = Vec::new();
    let mut places: Vec<i64> = (0..r).map(|k| if replacement { 0 } else { k }).collect();
    let limit = |k: i64| if replacement { n - 1 } else { n - r + k };
    if n < 1 || (!replacement && r > n) {
        return Ok(all);
    }
    loop {
        all.extend(&places);
        if all.len() as i64 > MAX_KNOWN {
            return Err(LowerError::argument(format!("the choices of {r} of {n} elements")));
        }
        let Some(at) = (0..r).rev().find(|&k| places[k as usize] < limit(k)) else {
            return Ok(all);
        };
        let next = places[at as usize] + 1;
        for (step, k) in (at..r).enumerate() {
            places[k as usize] = if replacement { next } else { next + step as i64 };
        }
    }
}

fn combinations(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let r = call.int_or("r", 2)?;
    if !(0..=16).contains(&r) {
        return Err(LowerError::argument(format!("`r` is {r}")));
    }
    let n = known_extent(&cx.shape(x)?, 0, "the combinations of")?;
    let dtype = cx.dtype(x)?;
    if r == 0 {
        let empty = Tensor::from_f64s(dtype, &[0], &[])?;
        return Ok(vec![Val::Tensor(Calls(cx).constant(empty)?)]);
    }
    let places = chosen(n, r, call.bool_or("with_replacement", false)?)?;
    let count = places.len() as i64 / r;
    let mut calls = Calls(cx);
    let places = Tensor::from_i64s(DType::I64, &[places.len() as u64], &places)?;
    let places = calls.constant(places)?;
    let args = [("self", x.into()), ("dim", 0i64.into()), ("index", places.into())];
    let picked = calls.0.call_tensor("aten.index_select", &args)?;
    let y = calls.reshape(picked, &[Dim::Const(count), Dim::Const(r)])?;
    let y = calls.0.read(y)?;
    cx.one(y)
}

fn known_extent(shape: &[Dim], axis: usize, what: &str) -> LowerResult<i64> {
    let extent = shape.get(axis).ok_or_else(|| LowerError::invalid("a tensor without axes"))?;
    extent.as_const().ok_or_else(|| {
        LowerError::dynamic(format!("{what} {extent} elements"))
            .help("export the model with that extent fixed")
    })
}

/// `Σ (y[k] + y[k+1]) / 2 · dx[k]` along an axis, or its running totals.
fn trapezoid(cx: &mut Cx<'_>, call: &Call<'_>, running: bool) -> LowerResult<Vec<Val>> {
    let y = call.tensor("y")?;
    let shape = cx.shape(y)?;
    let along = axis(call.int_or("dim", -1)?, shape.len())?;
    let at = along as i64;
    let whole = i64::from(i32::MAX);
    let mut calls = Calls(cx);
    let dtype = calls.0.dtype(y)?;
    let y = if dtype.is_float() { y } else { calls.to(y, DType::F32)? };
    let (left, right) = (calls.slice(y, at, (0, -1))?, calls.slice(y, at, (1, whole))?);
    let mut sums = calls.two("aten.add", left, right)?;
    if let Some(x) = call.opt_tensor("x")? {
        let own = calls.0.rank(x)?;
        let side = if own == 1 { 0 } else { at - (shape.len() as i64 - own as i64) };
        let (low, high) = (calls.slice(x, side, (0, -1))?, calls.slice(x, side, (1, whole))?);
        let mut steps = calls.two("aten.sub", high, low)?;
        if own == 1 {
            for _ in along + 1..shape.len() {
                steps = calls.unsqueeze(steps, -1)?;
            }
        }
        sums = calls.two("aten.mul", sums, steps)?;
        sums = calls.two("aten.mul", sums, 0.5)?;
    } else {
        sums = calls.two("aten.mul", sums, call.float_or("dx", 1.0)? / 2.0)?;
    }
    let z = if running {
        calls.with("aten.cumsum", sums, ("dim", at))?
    } else {
        calls.over("aten.sum", sums, (at, false))?
    };
    Ok(vec![Val::Tensor(z)])
}

/// The powers `0..n` of `x`, each from the one before.
fn powers(calls: &mut Calls<'_, '_>, x: TensorId, n: i64) -> LowerResult<Vec<TensorId>> {
    if !(0..=4096).contains(&n) {
        return Err(LowerError::argument(format!("a matrix of {n} powers")));
    }
    let mut all: Vec<TensorId> = Vec::new();
    for k in 0..n {
        let next = match (k, all.last()) {
            (0, _) | (_, None) => calls.one("aten.ones_like", x)?,
            (1, _) => x,
            (_, Some(&before)) => calls.two("aten.mul", before, x)?,
        };
        all.push(next);
    }
    Ok(all)
}

fn vander(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("x")?;
    let n = match call.opt_int("N")? {
        Some(n) => n,
        None => known_extent(&cx.shape(x)?, 0, "the powers of")?,
    };
    vandermonde(cx, (x, n), call.bool_or("increasing", false)?)
}

fn linalg_vander(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut x = call.tensor("x")?;
    if cx.rank(x)? == 0 {
        x = Calls(cx).unsqueeze(x, 0)?;
    }
    let shape = cx.shape(x)?;
    let n = match call.opt_int("N")? {
        Some(n) => n,
        None => known_extent(&shape, shape.len().saturating_sub(1), "the powers of")?,
    };
    vandermonde(cx, (x, n), true)
}

fn vandermonde(
    cx: &mut Cx<'_>,
    (x, n): (TensorId, i64),
    increasing: bool,
) -> LowerResult<Vec<Val>> {
    let mut calls = Calls(cx);
    let own = calls.0.dtype(x)?;
    let x = if own == DType::Bool || own.is_int() { calls.to(x, DType::I64)? } else { x };
    let mut all = powers(&mut calls, x, n)?;
    if !increasing {
        all.reverse();
    }
    if all.is_empty() {
        return Err(LowerError::argument("a matrix of no powers"));
    }
    Ok(vec![Val::Tensor(calls.stack(&all, -1)?)])
}

/// Slices along an axis whose norm is above `maxnorm`, scaled to it.
fn renorm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    let along = axis(call.int("dim")?, rank)?;
    let most = call.float_or("maxnorm", 0.0)?;
    let others = (0..rank).filter(|&a| a != along).map(|a| Val::Int((a as i64).into()));
    let args = [
        ("self", x.into()),
        ("ord", call.float_or("p", 2.0)?.into()),
        ("dim", Val::List(others.collect())),
        ("keepdim", true.into()),
    ];
    let norm = cx.call_tensor("aten.linalg_vector_norm", &args)?;
    let mut calls = Calls(cx);
    let above = calls.two("aten.gt", norm, most)?;
    let held = calls.two("aten.add", norm, 1e-7)?;
    let factor = calls.one("aten.reciprocal", held)?;
    let factor = calls.two("aten.mul", factor, most)?;
    let one = calls.one("aten.ones_like", factor)?;
    let factor = calls.select(above, factor, one)?;
    Ok(vec![Val::Tensor(calls.two("aten.mul", x, factor)?)])
}

/// The distances of each row from each later one.
fn pdist(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let n = known_extent(&cx.shape(x)?, 0, "the distances between")?;
    let places = chosen(n, 2, false)?;
    let mut calls = Calls(cx);
    let mut rows = Vec::with_capacity(2);
    for side in 0..2 {
        let places: Vec<i64> = places.iter().copied().skip(side).step_by(2).collect();
        let places = Tensor::from_i64s(DType::I64, &[places.len() as u64], &places)?;
        let places = calls.constant(places)?;
        let args = [("self", x.into()), ("dim", 0i64.into()), ("index", places.into())];
        rows.push(calls.0.call_tensor("aten.index_select", &args)?);
    }
    let gap = calls.two("aten.sub", rows[0], rows[1])?;
    let args = [
        ("self", gap.into()),
        ("ord", call.float_or("p", 2.0)?.into()),
        ("dim", Val::List(vec![1i64.into()])),
    ];
    Ok(vec![Val::Tensor(calls.0.call_tensor("aten.linalg_vector_norm", &args)?)])
}

fn diagflat(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let count = Dim::product(&cx.shape(x)?);
    let flat = Calls(cx).reshape(x, &[count])?;
    cx.call("aten.diag", &[("self", flat.into()), ("diagonal", call.int_or("offset", 0)?.into())])
}

/// `fill_value` where all indices are equal; with `wrap`, the diagonal of a tall matrix begins anew
/// below a blank row.
fn fill_diagonal(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let wrap = call.bool_or("wrap", false)?;
    let shape = cx.shape(x)?;
    let extents: Option<Vec<i64>> = shape.iter().map(Dim::as_const).collect();
    let count = extents.as_ref().and_then(|all| {
        all.iter().try_fold(1i64, |count, &n| count.checked_mul(n)).filter(|&n| n <= MAX_KNOWN)
    });
    let (Some(extents), Some(count)) = (extents, count) else {
        return Err(LowerError::dynamic("the diagonal of a matrix of unknown extents")
            .help("export the model with that extent fixed"));
    };
    let &[.., columns] = &extents[..] else { return Err(LowerError::invalid("a scalar")) };
    let mut stride = 1i64;
    let mut step = 0i64;
    for &extent in extents.iter().rev() {
        step += stride;
        stride = stride.saturating_mul(extent.max(1));
    }
    let end = if extents.len() == 2 && !wrap { columns.saturating_mul(columns) } else { count };
    let hits: Vec<u8> = (0..count).map(|k| u8::from(k % step.max(1) == 0 && k < end)).collect();
    let sizes: Vec<u64> = extents.iter().map(|&n| n as u64).collect();
    let mask = Calls(cx).constant(Tensor::from_bytes(DType::Bool, &sizes, hits)?)?;
    let fill = call.get("fill_value").cloned();
    let fill = fill.ok_or_else(|| LowerError::invalid("argument `fill_value` is missing"))?;
    cx.call("aten.masked_fill", &[("self", x.into()), ("mask", mask.into()), ("value", fill)])
}

/// Whether each element is among others.
fn isin(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["assume_unique"]);
    let name = |plural: &'static str, single: &'static str| {
        if call.has(single) { single } else { plural }
    };
    let own = call.operand(name("elements", "element"))?;
    let others = call.operand(name("test_elements", "test_element"))?;
    let invert = call.bool_or("invert", false)?;
    let dtype = cx.promoted(&[&own, &others])?;
    let (x, y) = (cx.operand(&own, dtype)?, cx.operand(&others, dtype)?);
    let mut calls = Calls(cx);
    let (x, y) = (calls.tensor(x)?, calls.tensor(y)?);
    let count = Dim::product(&calls.0.shape(y)?);
    let line = calls.reshape(y, &[count])?;
    let column = calls.unsqueeze(x, -1)?;
    let same = calls.two("aten.eq", column, line)?;
    let mut found = calls.over("aten.any", same, (-1, false))?;
    if invert {
        found = calls.one("aten.logical_not", found)?;
    }
    if matches!(own, Operand::Scalar(_)) {
        found = calls.reshape(found, &[])?;
    }
    let found = calls.0.read(found)?;
    cx.one(found)
}

/// The places of the first `size` elements that are not 0, rows of `fill_value` where there are
/// fewer: each element is put where the count of those before it says.
fn nonzero_static(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let shape = cx.shape(x)?;
    let size = call.int("size")?;
    let fill = call.int_or("fill_value", -1)?;
    let extents: Option<Vec<i64>> = shape.iter().map(Dim::as_const).collect();
    let Some(extents) = extents else {
        return Err(LowerError::dynamic("places in a tensor of unknown extents")
            .help("export the model with that extent fixed"));
    };
    let count = extents.iter().try_fold(1i64, |count, &n| count.checked_mul(n));
    let count = count.filter(|&n| n <= MAX_KNOWN && (0..=MAX_KNOWN).contains(&size));
    let count = count.ok_or_else(|| LowerError::argument(format!("`size` is {size}")))?;
    let rank = extents.len();
    let mut rows = Vec::with_capacity(count as usize * rank);
    for at in 0..count {
        let mut rest = at;
        let start = rows.len();
        rows.resize(start + rank, 0i64);
        for (slot, &extent) in rows[start..].iter_mut().zip(&extents).rev() {
            *slot = rest % extent.max(1);
            rest /= extent.max(1);
        }
    }
    let mut calls = Calls(cx);
    let rows = Tensor::from_i64s(DType::I64, &[count as u64, rank as u64], &rows)?;
    let start = vec![fill; (size as usize + 1) * rank];
    let start = Tensor::from_i64s(DType::I64, &[size as u64 + 1, rank as u64], &start)?;
    let (rows, start) = (calls.constant(rows)?, calls.constant(start)?);
    let line = calls.reshape(x, &[Dim::Const(count)])?;
    let hit = calls.to(line, DType::Bool)?;
    let ones = calls.to(hit, DType::I64)?;
    let place = calls.with("aten.cumsum", ones, ("dim", 0i64))?;
    let place = calls.two("aten.sub", place, 1i64)?;
    let missed = calls.one("aten.logical_not", hit)?;
    let args = [("self", place.into()), ("mask", missed.into()), ("value", size.into())];
    let place = calls.0.call_tensor("aten.masked_fill", &args)?;
    let place = calls.with("aten.clamp_max", place, ("max", size))?;
    let args = [
        ("self", start.into()),
        ("dim", 0i64.into()),
        ("index", place.into()),
        ("source", rows.into()),
    ];
    let all = calls.0.call_tensor("aten.index_copy", &args)?;
    let y = calls.slice(all, 0, (0, size))?;
    let y = calls.0.read(y)?;
    cx.one(y)
}

/// How far the points along an axis are apart.
enum Spacing {
    Even(f64),
    Points(TensorId),
}

/// Estimates of the derivative along axes: central differences inside, one-sided ones of order
/// `edge_order` at both ends.
fn gradient(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    let along = match call.opt_ints("dim")? {
        Some(list) => axes(&list, rank)?,
        None => (0..rank).collect(),
    };
    let order = call.int_or("edge_order", 1)?;
    let spacing: Vec<Spacing> = match call.get("spacing") {
        None => along.iter().map(|_| Spacing::Even(1.0)).collect(),
        Some(Val::List(items)) => {
            let one = |item: &Val| match item {
                Val::Tensor(points) => Ok(Spacing::Points(*points)),
                Val::Float(h) => Ok(Spacing::Even(*h)),
                Val::Int(h) if h.as_const().is_some() => {
                    Ok(Spacing::Even(h.as_const().unwrap_or(1) as f64))
                }
                _ => Err(LowerError::argument("`spacing` is not known")),
            };
            items.iter().map(one).collect::<LowerResult<_>>()?
        }
        Some(_) => {
            let h = call.float_or("spacing", 1.0)?;
            along.iter().map(|_| Spacing::Even(h)).collect()
        }
    };
    if spacing.len() != along.len() || !(1..=2).contains(&order) {
        return Err(LowerError::invalid("`spacing` and `dim` differ in length"));
    }
    let own = cx.dtype(x)?;
    let x = if own.is_float() { x } else { Calls(cx).to(x, DType::F32)? };
    let mut outputs = Vec::with_capacity(along.len());
    for (axis, spacing) in along.into_iter().zip(spacing) {
        let y = derivative(&mut Calls(cx), x, (axis as i64, order), &spacing)?;
        outputs.push(Val::Tensor(y));
    }
    Ok(vec![Val::List(outputs)])
}

/// The weights of three points in turn, as factors of the step or as tensors.
enum Weights {
    Numbers([f64; 3]),
    Tensors([TensorId; 3]),
}

fn derivative(
    calls: &mut Calls<'_, '_>,
    x: TensorId,
    (axis, order): (i64, i64),
    spacing: &Spacing,
) -> LowerResult<TensorId> {
    let whole = i64::from(i32::MAX);
    let behind = calls.0.rank(x)? as i64 - 1 - axis;
    let inside = match spacing {
        Spacing::Even(h) => Weights::Numbers([-0.5 / h, 0.0, 0.5 / h]),
        Spacing::Points(points) => {
            let steps = calls.with("aten.diff", *points, ("dim", 0i64))?;
            let first = calls.slice(steps, 0, (0, -1))?;
            let second = calls.slice(steps, 0, (1, whole))?;
            Weights::Tensors(uneven(calls, [first, second], 0)?)
        }
    };
    let points = [
        calls.slice(x, axis, (0, -2))?,
        calls.slice(x, axis, (1, -1))?,
        calls.slice(x, axis, (2, whole))?,
    ];
    let centre = combined(calls, points, (&inside, behind))?;
    let mut parts = Vec::with_capacity(3);
    for end in [false, true] {
        let places: [(i64, i64); 3] =
            if end { [(-3, -2), (-2, -1), (-1, whole)] } else { [(0, 1), (1, 2), (2, 3)] };
        let part = if order == 1 {
            let pair = if end { [places[1], places[2]] } else { [places[0], places[1]] };
            let (a, b) = (calls.slice(x, axis, pair[0])?, calls.slice(x, axis, pair[1])?);
            let rise = calls.two("aten.sub", b, a)?;
            match spacing {
                Spacing::Even(h) => calls.two("aten.div", rise, *h)?,
                Spacing::Points(points) => {
                    let (a, b) =
                        (calls.slice(*points, 0, pair[0])?, calls.slice(*points, 0, pair[1])?);
                    let mut step = calls.two("aten.sub", b, a)?;
                    for _ in 0..behind {
                        step = calls.unsqueeze(step, -1)?;
                    }
                    calls.two("aten.div", rise, step)?
                }
            }
        } else {
            let weights = match spacing {
                Spacing::Even(h) if end => Weights::Numbers([0.5 / h, -2.0 / h, 1.5 / h]),
                Spacing::Even(h) => Weights::Numbers([-1.5 / h, 2.0 / h, -0.5 / h]),
                Spacing::Points(points) => {
                    let steps = calls.with("aten.diff", *points, ("dim", 0i64))?;
                    let pair = if end { [(-2, -1), (-1, whole)] } else { [(0, 1), (1, 2)] };
                    let first = calls.slice(steps, 0, pair[0])?;
                    let second = calls.slice(steps, 0, pair[1])?;
                    let side = if end { 1 } else { -1 };
                    Weights::Tensors(uneven(calls, [first, second], side)?)
                }
            };
            let mut points = Vec::with_capacity(3);
            for place in places {
                points.push(calls.slice(x, axis, place)?);
            }
            combined(calls, [points[0], points[1], points[2]], (&weights, behind))?
        };
        parts.push(part);
    }
    calls.cat(&[parts[0], centre, parts[1]], axis)
}

/// The weights of three points at distances `d`, `e` for the slope of the parabola through them: at
/// the first (−1), the middle (0) or the last (1) of them.
fn uneven(
    calls: &mut Calls<'_, '_>,
    [d, e]: [TensorId; 2],
    side: i64,
) -> LowerResult<[TensorId; 3]> {
    let both = calls.two("aten.add", d, e)?;
    let (left, middle, right) = (
        calls.two("aten.mul", d, both)?,
        calls.two("aten.mul", d, e)?,
        calls.two("aten.mul", e, both)?,
    );
    let minus = |calls: &mut Calls<'_, '_>, x: TensorId| calls.one("aten.neg", x);
    let (a, b, c) = match side {
        0 => (minus(calls, e)?, calls.two("aten.sub", e, d)?, d),
        -1 => {
            let far = calls.two("aten.add", both, d)?;
            (minus(calls, far)?, both, minus(calls, d)?)
        }
        _ => (e, minus(calls, both)?, calls.two("aten.add", both, e)?),
    };
    Ok([
        calls.two("aten.div", a, left)?,
        calls.two("aten.div", b, middle)?,
        calls.two("aten.div", c, right)?,
    ])
}

fn combined(
    calls: &mut Calls<'_, '_>,
    points: [TensorId; 3],
    (weights, behind): (&Weights, i64),
) -> LowerResult<TensorId> {
    let mut sum: Option<TensorId> = None;
    for (k, point) in points.into_iter().enumerate() {
        let term = match weights {
            Weights::Numbers(all) if all[k] == 0.0 => continue,
            Weights::Numbers(all) => calls.two("aten.mul", point, all[k])?,
            Weights::Tensors(all) => {
                let mut weight = all[k];
                for _ in 0..behind {
                    weight = calls.unsqueeze(weight, -1)?;
                }
                calls.two("aten.mul", point, weight)?
            }
        };
        sum = Some(match sum {
            Some(sum) => calls.two("aten.add", sum, term)?,
            None => term,
        });
    }
    sum.ok_or_else(|| LowerError::invalid("no points"))
}

/// Elements at the places they were pooled from, 0 elsewhere.
fn max_unpool(cx: &mut Cx<'_>, call: &Call<'_>, spatial: usize) -> LowerResult<Vec<Val>> {
    // The places are those in the result: how they came about says nothing more.
    call.ignore(&["stride", "padding"]);
    let (x, indices) = (call.tensor("self")?, call.tensor("indices")?);
    let shape = cx.shape(x)?;
    let size = call.dims("output_size")?;
    let lead = shape.len().checked_sub(spatial).filter(|_| size.len() == spatial);
    let lead = lead.ok_or_else(|| LowerError::invalid("`output_size` has another rank"))?;
    let planes = Dim::product(&shape[..lead]);
    let mut calls = Calls(cx);
    let flat = [planes.clone(), Dim::product(&shape[lead..])];
    let (x, indices) = (calls.reshape(x, &flat)?, calls.reshape(indices, &flat)?);
    let dtype = calls.0.dtype(x)?;
    let wanted = [planes, Dim::product(&size)].map(Val::Int).to_vec();
    let args = [("size", Val::List(wanted)), ("dtype", Val::DType(dtype))];
    let blank = calls.0.call_tensor("aten.zeros", &args)?;
    let args = [
        ("self", blank.into()),
        ("dim", 1i64.into()),
        ("index", indices.into()),
        ("src", x.into()),
    ];
    let y = calls.0.call_tensor("aten.scatter", &args)?;
    let mut to = shape[..lead].to_vec();
    to.extend(size);
    let y = calls.reshape(y, &to)?;
    let y = calls.0.read(y)?;
    cx.one(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_in_order() {
        assert_eq!(chosen(3, 2, false).unwrap(), [0, 1, 0, 2, 1, 2]);
        assert_eq!(chosen(2, 2, true).unwrap(), [0, 0, 0, 1, 1, 1]);
        assert!(chosen(1, 2, false).unwrap().is_empty());
    }
}
