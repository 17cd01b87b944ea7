//! Torchao's affine quantization and products with packed weights, and the ops of
//! `quantized_decomposed` that choose scales while the model runs.

use mlc_ir::ops::Linear;
use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, Tensor};

use super::calls::Calls;
use super::quantized::stored;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::formula::Formula;
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "torchao.choose_qparams_affine", lower: choose_affine },
    Lowering { name: "torchao.quantize_affine", lower: quantize_affine },
    Lowering { name: "torchao.dequantize_affine", lower: dequantize_affine },
    Lowering { name: "quant.choose_qparams_affine", lower: choose_affine },
    Lowering { name: "quant.quantize_affine", lower: quantize_affine },
    Lowering { name: "quant.dequantize_affine", lower: dequantize_affine },
    Lowering {
        name: "quantized_decomposed.choose_qparams",
        lower: |cx, call| choose(cx, call, false),
    },
    Lowering {
        name: "quantized_decomposed.choose_qparams_symmetric",
        lower: |cx, call| choose(cx, call, true),
    },
    Lowering { name: "quantized_decomposed.choose_qparams_per_token", lower: choose_per_token },
    Lowering {
        name: "quantized_decomposed.choose_qparams_per_token_asymmetric",
        lower: choose_per_token_asymmetric,
    },
    Lowering {
        name: "quantized_decomposed._choose_qparams_per_token_asymmetric_impl",
        lower: choose_per_token_asymmetric,
    },
    Lowering { name: "quantized_decomposed.quantize_per_token", lower: quantize_per_token },
    Lowering { name: "quantized_decomposed.dequantize_per_token", lower: dequantize_per_token },
    Lowering { name: "quantized_decomposed.quantize_per_channel_group", lower: quantize_groups },
    Lowering {
        name: "quantized_decomposed.dequantize_per_channel_group",
        lower: dequantize_groups,
    },
    Lowering { name: "quantized_decomposed.convert_element_type", lower: convert },
    Lowering { name: "quantized_decomposed.embedding_byte", lower: embedding_byte },
    Lowering { name: "quantized_decomposed.embedding_4bit", lower: embedding_4bit },
    Lowering { name: "aten._convert_weight_to_int4pack_for_cpu", lower: pack_int4 },
    Lowering { name: "aten._weight_int4pack_mm_for_cpu", lower: int4_product },
    Lowering { name: "aten._weight_int8pack_mm", lower: int8_product },
    Lowering { name: "aten._int_mm", lower: int_mm },
];

/// Where the zero point is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Domain {
    /// In quantized integers.
    Int,
    /// In the numbers they stand for, at the middle of the range.
    Float,
    /// There is none.
    None,
}

fn domain(call: &Call<'_>) -> LowerResult<Domain> {
    match call.opt_str("zero_point_domain")? {
        None | Some("INT") => Ok(Domain::Int),
        Some("FLOAT") => Ok(Domain::Float),
        Some("NONE") => Ok(Domain::None),
        Some(other) => Err(LowerError::argument(format!("a zero point in the domain `{other}`"))),
    }
}

/// How the blocks that share a scale divide a tensor.
struct Blocks {
    /// The shape with an axis for blocks and one for their elements where an axis has several.
    inner: Vec<Dim>,
    /// The same with extent 1 for elements: the shape of what there is one of a block.
    outer: Vec<Dim>,
    /// The axes of `inner` that hold elements of one block.
    reduced: Vec<i64>,
    /// The shape of what there is one of a block, an axis for each of the tensor with several
    /// blocks or of blocks of one element.
    counts: Vec<Dim>,
}

fn blocks(cx: &Cx<'_>, call: &Call<'_>, x: TensorId) -> LowerResult<Blocks> {
    let shape = cx.shape(x)?;
    let sizes = call.ints("block_size")?;
    if sizes.len() != shape.len() {
        return Err(LowerError::invalid("`block_size` has another rank"));
    }
    let mut all = Blocks { inner: vec![], outer: vec![], reduced: vec![], counts: Vec::new() };
    for (extent, &size) in shape.iter().zip(&sizes) {
        // A block of −1 is the whole axis.
        let whole = size == -1 || *extent == Dim::Const(size);
        let count = if whole {
            Some(Dim::Const(1))
        } else {
            extent.exact_div(&Dim::Const(size)).filter(|_| size > 0)
        };
        let count = count.ok_or_else(|| {
            LowerError::invalid(format!("blocks of {size} in an extent of {extent}"))
        })?;
        if size == 1 || whole {
            if size != 1 {
                all.reduced.push(all.inner.len() as i64);
            }
            all.inner.push(extent.clone());
            all.outer.push(if size == 1 { extent.clone() } else { count });
        } else {
            all.inner.extend([count.clone(), Dim::Const(size)]);
            all.reduced.push(all.inner.len() as i64 - 1);
            all.outer.extend([count, Dim::Const(1)]);
        }
        if size == 1 {
            all.counts.push(extent.clone());
        } else if !whole {
            all.counts.push(extent.floor_div(&Dim::Const(size)));
        }
    }
    Ok(all)
}

/// The limits of the integers: those given, or all of the type.
fn limits(call: &Call<'_>, dtype: &str) -> LowerResult<(f64, f64)> {
    let all = call.opt_dtype(dtype)?.and_then(DType::int_range);
    let pick = |given: Option<f64>, other: Option<i64>| {
        given
            .or(other.map(|n| n as f64))
            .ok_or_else(|| LowerError::argument("`quant_min` and `quant_max` are not known"))
    };
    let low = pick(call.opt_float("quant_min")?, all.map(|range| range.0))?;
    let high = pick(call.opt_float("quant_max")?, all.map(|range| range.1))?;
    Ok((low, high))
}

/// The smallest step from 1 of a float type.
fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-10),
        DType::Bf16 => 2f64.powi(-7),
        DType::F64 => f64::EPSILON,
        _ => f64::from(f32::EPSILON),
    }
}

/// Scale and zero point of each block, from its least and greatest element.
fn choose_affine(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("input")?;
    let own = cx.dtype(x)?;
    let blocks = blocks(cx, call, x)?;
    let (low, high) = limits(call, "target_dtype")?;
    call.ignore(&["target_dtype"]);
    let eps = call.opt_float("eps")?.unwrap_or_else(|| epsilon(own));
    let scale_dtype = call.opt_dtype("scale_dtype")?.unwrap_or(own);
    let zero_dtype = call.opt_dtype("zero_point_dtype")?.unwrap_or(own);
    let keep_zero = call.bool_or("preserve_zero", true)?;
    let domain = domain(call)?;
    let mapping = call.opt_str("mapping_type")?.unwrap_or_default().to_owned();
    if !own.is_float() {
        return Err(LowerError::dtype(format!("scales for {own}")));
    }
    // Scales are computed in the precision of the operand.
    let value = cx.read(x)?;
    let value = cx.reshape(value, &blocks.inner)?;
    let axes = Some(blocks.reduced.clone());
    let (mut least, mut most) = (value, value);
    if !blocks.reduced.is_empty() {
        let (over, keep_dims) = (axes, false);
        least = cx.unary(mlc_ir::ops::ReduceMin { axes: over.clone(), keep_dims }, value)?;
        most = cx.unary(mlc_ir::ops::ReduceMax { axes: over, keep_dims }, value)?;
    }
    let mut f = Formula::new(cx, own);
    let nothing = f.num(0.0)?;
    let middle = (high + low + 1.0) / 2.0;
    if keep_zero || mapping.starts_with("SYMMETRIC") {
        least = f.min(least, nothing)?;
        most = f.max(most, nothing)?;
    }
    let (scale, zero) = match mapping.as_str() {
        "SYMMETRIC" => {
            let minus = f.times(least, -1.0)?;
            let most = f.max(minus, most)?;
            let half = f.num((high - low) / 2.0)?;
            let scale = f.div(most, half)?;
            (scale, None)
        }
        "SYMMETRIC_NO_CLIPPING_ERR" => {
            let (low, high) = (f.num(low)?, f.num(high)?);
            let (below, above) = (f.div(least, low)?, f.div(most, high)?);
            (f.max(below, above)?, None)
        }
        "ASYMMETRIC" => {
            let span = f.sub(most, least)?;
            let steps = f.num(high - low)?;
            let scale = f.div(span, steps)?;
            (scale, Some(least))
        }
        other => return Err(LowerError::argument(format!("`mapping_type` is `{other}`"))),
    };
    let eps = f.num(eps)?;
    let scale = f.max(scale, eps)?;
    let zero = match (zero, domain) {
        (None, _) => {
            let whole = f.times(scale, 0.0)?;
            f.plus(whole, middle.trunc())?
        }
        (Some(least), Domain::Float) => {
            let half = f.times(scale, middle)?;
            f.add(least, half)?
        }
        (Some(least), _) => {
            let steps = f.div(least, scale)?;
            let steps = f.cx.unary(mlc_ir::ops::Round {}, steps)?;
            let zero = f.from(low, steps)?;
            clamped(&mut f, zero, (low, high))?
        }
    };
    let mut outputs = Vec::with_capacity(2);
    for (value, dtype) in [(scale, scale_dtype), (zero, zero_dtype)] {
        let value = cx.cast(value, dtype)?;
        let value = cx.reshape(value, &blocks.counts)?;
        outputs.push(cx.fresh(value));
    }
    if domain == Domain::None {
        outputs[1] = Val::None;
    }
    Ok(outputs)
}

fn clamped(f: &mut Formula<'_, '_>, x: Value, (low, high): (f64, f64)) -> LowerResult<Value> {
    let (low, high) = (f.num(low)?, f.num(high)?);
    let x = f.max(x, low)?;
    f.min(x, high)
}

/// Scale and zero point, shaped to broadcast against blocks.
fn parameters(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    outer: &[Dim],
) -> LowerResult<(Value, Option<Value>)> {
    let scale = cx.read_as(call.tensor("scale")?, DType::F32)?;
    let scale = cx.reshape(scale, outer)?;
    let Some(zero) = call.opt_tensor("zero_point")? else { return Ok((scale, None)) };
    let zero = cx.read_as(zero, DType::F32)?;
    Ok((scale, Some(cx.reshape(zero, outer)?)))
}

/// `clamp(round(x / scale) + zero_point, quant_min, quant_max)`
fn quantize_affine(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("input")?;
    let blocks = blocks(cx, call, x)?;
    let shape = cx.shape(x)?;
    let (low, high) = limits(call, "output_dtype")?;
    let dtype = call
        .opt_dtype("output_dtype")?
        .ok_or_else(|| LowerError::invalid("argument `output_dtype` is missing"))?;
    let domain = domain(call)?;
    let (scale, zero) = parameters(cx, call, &blocks.outer)?;
    let value = cx.read_as(x, DType::F32)?;
    let value = cx.reshape(value, &blocks.inner)?;
    let mut f = Formula::new(cx, DType::F32);
    let y = match (domain, zero) {
        (Domain::Float, Some(zero)) => {
            let half = f.times(scale, (high + low + 1.0) / 2.0)?;
            let least = f.sub(zero, half)?;
            let off = f.sub(value, least)?;
            let steps = f.div(off, scale)?;
            f.cx.unary(mlc_ir::ops::Round {}, steps)?
        }
        (domain, zero) => {
            let inverse = f.over(1.0, scale)?;
            let steps = f.mul(value, inverse)?;
            let steps = f.cx.unary(mlc_ir::ops::Round {}, steps)?;
            match zero {
                Some(zero) if domain == Domain::Int => f.add(steps, zero)?,
                _ => steps,
            }
        }
    };
    let y = clamped(&mut f, y, (low, high))?;
    let y = cx.cast(y, dtype)?;
    let y = cx.reshape(y, &shape)?;
    cx.one(y)
}

/// A constant of integers with known scales and zero points, kept as it is stored.
fn stored_affine(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    x: TensorId,
    shifted: bool,
) -> LowerResult<Option<Value>> {
    let sizes = call.ints("block_size")?;
    let extents: Option<Vec<i64>> = cx.shape(x)?.iter().map(Dim::as_const).collect();
    let Some(extents) = extents else { return Ok(None) };
    let blocks: Option<Vec<u64>> = extents
        .iter()
        .zip(&sizes)
        .map(|(&n, &size)| {
            let size = if size == -1 { n } else { size };
            (size > 0 && n > 0).then(|| (n / size) as u64)
        })
        .collect();
    let mut numbers = |name: &str| -> LowerResult<Option<Vec<f64>>> {
        let Some(tensor) = call.opt_tensor(name)? else { return Ok(Some(vec![0.0])) };
        Ok(cx.known(tensor)?.map(|tensor| tensor.to_f64s()).transpose()?)
    };
    let scales = numbers("scale")?;
    let zeros = if shifted { numbers("zero_point")? } else { Some(vec![0.0]) };
    let (Some(blocks), Some(scales), Some(zeros)) = (blocks, scales, zeros) else {
        return Ok(None);
    };
    if zeros.iter().any(|z| z.fract() != 0.0) {
        return Ok(None);
    }
    let zeros: Vec<i64> = zeros.into_iter().map(|z| z as i64).collect();
    let value = cx.read(x)?;
    stored(cx, value, &blocks, (&scales, &zeros))
}

/// `(x − zero_point) · scale`, or `(x − middle) · scale + zero_point` of a zero point among floats.
fn dequantize_affine(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("input")?;
    let blocks = blocks(cx, call, x)?;
    let shape = cx.shape(x)?;
    let domain = domain(call)?;
    let middle = match domain {
        Domain::Float => {
            let (low, high) = limits(call, "input_dtype")?;
            (high + low + 1.0) / 2.0
        }
        _ => 0.0,
    };
    call.ignore(&["quant_min", "quant_max", "input_dtype"]);
    let out = call.opt_dtype("output_dtype")?.unwrap_or(DType::F32);
    if domain != Domain::Float
        && let Some(y) = stored_affine(cx, call, x, domain == Domain::Int)?
    {
        let y = cx.cast(y, out)?;
        return cx.one(y);
    }
    let (scale, zero) = parameters(cx, call, &blocks.outer)?;
    let value = cx.read_as(x, DType::F32)?;
    let value = cx.reshape(value, &blocks.inner)?;
    let mut f = Formula::new(cx, DType::F32);
    let y = match (domain, zero) {
        (Domain::Float, zero) => {
            let off = f.plus(value, -middle)?;
            let y = f.mul(off, scale)?;
            match zero {
                Some(zero) => f.add(y, zero)?,
                None => y,
            }
        }
        (Domain::Int, Some(zero)) => {
            let off = f.sub(value, zero)?;
            f.mul(off, scale)?
        }
        _ => f.mul(value, scale)?,
    };
    let y = cx.reshape(y, &shape)?;
    let y = cx.cast(y, out)?;
    cx.one(y)
}

/// One scale and zero point of all elements, vectors of one.
fn choose(cx: &mut Cx<'_>, call: &Call<'_>, symmetric: bool) -> LowerResult<Vec<Val>> {
    let x = call.tensor("input")?;
    let (low, high) = (call.float_or("quant_min", -128.0)?, call.float_or("quant_max", 127.0)?);
    let eps = call.float_or("eps", f64::from(f32::EPSILON))?;
    let dtype = call.opt_dtype("dtype")?;
    let value = cx.read_as(x, DType::F32)?;
    let (axes, keep_dims) = (None, false);
    let least = cx.unary(mlc_ir::ops::ReduceMin { axes: axes.clone(), keep_dims }, value)?;
    let most = cx.unary(mlc_ir::ops::ReduceMax { axes, keep_dims }, value)?;
    let mut f = Formula::new(cx, DType::F32);
    let nothing = f.num(0.0)?;
    let (least, most) = (f.min(least, nothing)?, f.max(most, nothing)?);
    let eps = f.num(eps)?;
    let (scale, zero) = if symmetric {
        let minus = f.times(least, -1.0)?;
        let most = f.max(minus, most)?;
        let half = f.num((high - low) / 2.0)?;
        let scale = f.div(most, half)?;
        let zero = if dtype == Some(DType::U8) { ((low + high) / 2.0).floor() } else { 0.0 };
        (f.max(scale, eps)?, f.num(zero)?)
    } else {
        let span = f.sub(most, least)?;
        let steps = f.num(high - low)?;
        let scale = f.div(span, steps)?;
        let scale = f.max(scale, eps)?;
        let steps = f.div(least, scale)?;
        let steps = f.cx.unary(mlc_ir::ops::Round {}, steps)?;
        let zero = f.from(low, steps)?;
        (scale, clamped(&mut f, zero, (low, high))?)
    };
    let mut outputs = Vec::with_capacity(2);
    for (value, dtype) in [(scale, DType::F64), (zero, DType::I64)] {
        let value = cx.cast(value, dtype)?;
        let value = cx.reshape(value, &[Dim::Const(1)])?;
        outputs.push(cx.fresh(value));
    }
    Ok(outputs)
}

/// The least and the greatest element along the last axis, which stays.
fn row_limits(cx: &mut Cx<'_>, x: Value) -> LowerResult<[Value; 2]> {
    let (axes, keep_dims) = (Some(vec![-1]), true);
    let least = cx.unary(mlc_ir::ops::ReduceMin { axes: axes.clone(), keep_dims }, x)?;
    let most = cx.unary(mlc_ir::ops::ReduceMax { axes, keep_dims }, x)?;
    Ok([least, most])
}

/// Scales that bring the greatest absolute value of a row to 127; zero points of 0.
fn choose_per_token(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["dtype"]);
    let x = call.tensor("input")?;
    let own = cx.dtype(x)?;
    let dtype = if own == DType::F16 { DType::F32 } else { own };
    let x = cx.read(x)?;
    let size = cx.unary(mlc_ir::ops::Abs {}, x)?;
    let [_, most] = row_limits(cx, size)?;
    let most = cx.cast(most, dtype)?;
    let mut f = Formula::new(cx, dtype);
    let least = f.num(1e-5)?;
    let most = f.max(most, least)?;
    let steps = f.num(127.0)?;
    let scale = f.div(most, steps)?;
    let zero = f.times(scale, 0.0)?;
    Ok(vec![cx.fresh(scale), cx.fresh(zero)])
}

/// Scale and zero point of each row for integers from −128 to 127, the zero point from the end of the
/// range that it errs less at.
fn choose_per_token_asymmetric(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["dtype"]);
    let x = cx.read_as(call.tensor("input")?, DType::F32)?;
    let [least, most] = row_limits(cx, x)?;
    let mut f = Formula::new(cx, DType::F32);
    let nothing = f.num(0.0)?;
    let (least, most) = (f.min(least, nothing)?, f.max(most, nothing)?);
    let span = f.sub(most, least)?;
    let steps = f.num(255.0)?;
    let scale = f.div(span, steps)?;
    let eps = f.num(f64::from(f32::EPSILON))?;
    let scale = f.max(scale, eps)?;
    let (below, above) = (f.div(least, scale)?, f.div(most, scale)?);
    let error = f.add(below, above)?;
    let error = f.plus(error, -1.0)?;
    let positive = f.gt(error, 0.0)?;
    let (from_low, from_high) = (f.from(-128.0, below)?, f.from(127.0, above)?);
    let zero = f.select(positive, from_low, from_high)?;
    let zero = clamped(&mut f, zero, (-128.0, 127.0))?;
    let zero = f.cx.unary(mlc_ir::ops::Round {}, zero)?;
    Ok(vec![cx.fresh(scale), cx.fresh(zero)])
}

/// `clamp(round(x / scale + zero_point))`, one pair a row or a group of the last axis.
fn quantized_rows(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (x, shape): (Value, &[Dim]),
) -> LowerResult<Vec<Val>> {
    let dtype = call
        .opt_dtype("dtype")?
        .ok_or_else(|| LowerError::invalid("argument `dtype` is missing"))?;
    let (low, high) = (call.int("quant_min")? as f64, call.int("quant_max")? as f64);
    let mut pair = Vec::with_capacity(2);
    for name in ["scales", "zero_points"] {
        let value = cx.read_as(call.tensor(name)?, DType::F32)?;
        let count = cx.b.tensor(value)?.count();
        let mut to = cx.b.tensor(x)?.shape.clone();
        if let Some(last) = to.last_mut() {
            *last = Dim::Const(1);
        }
        pair.push(if count.is(1) { cx.reshape(value, &[])? } else { cx.reshape(value, &to)? });
    }
    let mut f = Formula::new(cx, DType::F32);
    let inverse = f.over(1.0, pair[0])?;
    let y = f.mul(x, inverse)?;
    let y = f.add(y, pair[1])?;
    let y = f.cx.unary(mlc_ir::ops::Round {}, y)?;
    let y = clamped(&mut f, y, (low, high))?;
    let y = cx.cast(y, dtype)?;
    let y = cx.reshape(y, shape)?;
    cx.one(y)
}

/// `(x − zero_point) · scale`, one pair a row or a group of the last axis.
fn dequantized_rows(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (x, shape): (Value, &[Dim]),
) -> LowerResult<Vec<Val>> {
    call.ignore(&["quant_min", "quant_max", "dtype"]);
    let out = call.opt_dtype("output_dtype")?.unwrap_or(DType::F32);
    let mut y = x;
    let mut to = cx.b.tensor(x)?.shape.clone();
    if let Some(last) = to.last_mut() {
        *last = Dim::Const(1);
    }
    for name in ["zero_points", "scales"] {
        let Some(given) = call.opt_tensor(name)? else { continue };
        let value = cx.read_as(given, DType::F32)?;
        let count = cx.b.tensor(value)?.count();
        let value = if count.is(1) { cx.reshape(value, &[])? } else { cx.reshape(value, &to)? };
        let mut f = Formula::new(cx, DType::F32);
        y = if name == "scales" { f.mul(y, value)? } else { f.sub(y, value)? };
    }
    let y = cx.reshape(y, shape)?;
    let y = cx.cast(y, out)?;
    cx.one(y)
}

fn quantize_per_token(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read_as(call.tensor("input")?, DType::F32)?;
    let shape = cx.b.tensor(x)?.shape.clone();
    quantized_rows(cx, call, (x, &shape))
}

fn dequantize_per_token(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read_as(call.tensor("input")?, DType::F32)?;
    let shape = cx.b.tensor(x)?.shape.clone();
    dequantized_rows(cx, call, (x, &shape))
}

/// The groups of a tensor as rows, and its shape.
fn grouped(cx: &mut Cx<'_>, call: &Call<'_>, name: &str) -> LowerResult<(Value, Vec<Dim>)> {
    let x = cx.read_as(call.tensor(name)?, DType::F32)?;
    let shape = cx.b.tensor(x)?.shape.clone();
    let size = Dim::Const(call.int_or("group_size", 128)?.max(1));
    let rows = Dim::product(&shape).exact_div(&size);
    let rows = rows.ok_or_else(|| LowerError::invalid(format!("groups of {size}")))?;
    Ok((cx.reshape(x, &[rows, size])?, shape))
}

fn quantize_groups(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, shape) = grouped(cx, call, "input")?;
    quantized_rows(cx, call, (x, &shape))
}

fn dequantize_groups(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, shape) = grouped(cx, call, "w_int8")?;
    dequantized_rows(cx, call, (x, &shape))
}

fn convert(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dtype = call.opt_dtype("dtype")?;
    let dtype = dtype.ok_or_else(|| LowerError::invalid("argument `dtype` is missing"))?;
    let y = cx.read_as(call.tensor("input")?, dtype)?;
    cx.one(y)
}

/// Rows of a table of integers, each row in groups with a scale and perhaps a zero point.
fn embedded(cx: &mut Cx<'_>, call: &Call<'_>, table: TensorId) -> LowerResult<Vec<Val>> {
    let name = |long: &'static str, short: &'static str| if call.has(long) { long } else { short };
    call.ignore(&["weight_quant_min", "weight_quant_max"]);
    let scales = call.tensor(name("weight_scales", "scales"))?;
    let zeros = call.opt_tensor(name("weight_zero_points", "zero_points"))?;
    let indices = call.tensor("indices")?;
    let out = call.opt_dtype("dtype")?.unwrap_or(cx.dtype(scales)?);
    let mut calls = Calls(cx);
    let rows = |calls: &mut Calls<'_, '_>, x: TensorId| -> LowerResult<TensorId> {
        let x = if calls.0.rank(x)? == 1 { calls.unsqueeze(x, 1)? } else { x };
        let args = [("weight", x.into()), ("indices", indices.into())];
        let x = calls.0.call_tensor("aten.embedding", &args)?;
        calls.to(x, DType::F32)
    };
    let y = rows(&mut calls, table)?;
    let scale = rows(&mut calls, scales)?;
    let zero = zeros.map(|zeros| rows(&mut calls, zeros)).transpose()?;
    let shape = calls.0.shape(y)?;
    let groups = calls.0.shape(scale)?.pop().unwrap_or(Dim::Const(1));
    let size = shape.last().and_then(|width| width.exact_div(&groups));
    let size = size.ok_or_else(|| LowerError::invalid(format!("{groups} groups in a row")))?;
    let mut inner = shape.clone();
    inner.pop();
    inner.extend([groups, size]);
    let y = calls.reshape(y, &inner)?;
    let y = match zero {
        Some(zero) => {
            let zero = calls.unsqueeze(zero, -1)?;
            calls.two("aten.sub", y, zero)?
        }
        None => y,
    };
    let scale = calls.unsqueeze(scale, -1)?;
    let y = calls.two("aten.mul", y, scale)?;
    let y = calls.reshape(y, &shape)?;
    let y = calls.to(y, out)?;
    let y = calls.0.read(y)?;
    cx.one(y)
}

fn embedding_byte(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let table = call.tensor("weight")?;
    embedded(cx, call, table)
}

/// Two numbers a byte, the first in its upper half, 8 more than what they stand for.
fn embedding_4bit(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let table = call.tensor("weight")?;
    let value = cx.read(table)?;
    let known = known_bytes(cx, value, "the table of an embedding")?;
    let shape: Option<Vec<u64>> =
        cx.shape(table)?.iter().map(|dim| u64::try_from(dim.as_const()?).ok()).collect();
    let mut shape = shape.ok_or_else(|| LowerError::dynamic("a table of unknown extents"))?;
    if let Some(last) = shape.last_mut() {
        *last *= 2;
    }
    let bytes: Vec<u8> = known
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| nibble.wrapping_sub(8))
        .collect();
    let table = Calls(cx).constant(Tensor::from_bytes(DType::I8, &shape, bytes)?)?;
    embedded(cx, call, table)
}

/// The bytes of a constant.
fn known_bytes(cx: &Cx<'_>, value: Value, what: &str) -> LowerResult<Vec<u8>> {
    let tensor = cx.b.constant_of(value).ok_or_else(|| {
        LowerError::argument(format!("{what}, packed, is not known at compile time"))
            .help("keep the packed weight as a parameter or buffer of the module")
    })?;
    Ok(tensor.bytes()?.to_vec())
}

/// Where torch's CPU kernels with 512-bit vectors put each number of a weight `[n, k]`: rows in blocks
/// of 64, column by column, two numbers a byte. In a whole block a byte holds rows 32 apart, in the
/// rest neighbours.
fn int4_places(n: usize, k: usize, mut put: impl FnMut(usize, [usize; 2])) {
    let mut at = 0;
    for start in (0..n).step_by(64) {
        let rows = (n - start).min(64);
        for column in 0..k {
            for pair in 0..rows / 2 {
                let rows = if rows == 64 {
                    [start + pair, start + pair + 32]
                } else {
                    [start + 2 * pair, start + 2 * pair + 1]
                };
                put(at, rows.map(|row| row * k + column));
                at += 1;
            }
        }
    }
}

/// Rows and columns of a weight of two numbers a byte.
fn int4_extents(cx: &Cx<'_>, weight: TensorId, packed: bool) -> LowerResult<(usize, usize)> {
    let shape = cx.shape(weight)?;
    let known = |dim: &Dim| dim.as_const().and_then(|n| usize::try_from(n).ok());
    let extents = match &shape[..] {
        [n, k] => known(n).zip(known(k)),
        _ => None,
    };
    let (n, k) = extents.ok_or_else(|| LowerError::invalid("a weight has two axes"))?;
    let k = if packed { k.checked_mul(2) } else { Some(k) };
    match k {
        Some(k) if n % 2 == 0 && n.checked_mul(k).is_some() => Ok((n, k)),
        _ => Err(LowerError::invalid("a weight with an odd number of rows")),
    }
}

/// Packs a weight of numbers from 0 to 15.
fn pack_int4(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    // How many tiles a thread takes says nothing of the layout on a CPU.
    call.ignore(&["innerKTiles"]);
    let weight = call.tensor("self")?;
    let (n, k) = int4_extents(cx, weight, false)?;
    let value = cx.read(weight)?;
    let known = cx.b.constant_of(value).ok_or_else(|| {
        LowerError::argument("a weight that is packed while the model runs")
            .help("keep the weight as a parameter or buffer of the module")
    })?;
    let numbers = known.to_i64s()?;
    let mut bytes = vec![0u8; n * k / 2];
    int4_places(n, k, |at, places| {
        let digit = |place: usize| (numbers.get(place).copied().unwrap_or(0) & 15) as u8;
        if let Some(byte) = bytes.get_mut(at) {
            *byte = digit(places[1]) << 4 | digit(places[0]);
        }
    });
    let tensor = Tensor::from_bytes(DType::U8, &[n as u64, k as u64 / 2], bytes)?;
    let y = cx.b.constant(tensor)?;
    cx.one(y)
}

/// `x · Wᵀ`, `W = (q − 8) · scale + zero` with a pair for each row and group of columns.
fn int4_product(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let weight = call.tensor("mat2")?;
    let (n, k) = int4_extents(cx, weight, true)?;
    let group = usize::try_from(call.int("qGroupSize")?).ok().filter(|&g| g > 0 && k % g == 0);
    let group = group.ok_or_else(|| LowerError::invalid("`qGroupSize` does not divide a row"))?;
    let value = cx.read(weight)?;
    let packed = known_bytes(cx, value, "a weight")?;
    let mut numbers = vec![0u8; n * k];
    int4_places(n, k, |at, places| {
        let byte = packed.get(at).copied().unwrap_or(0);
        for (place, digit) in places.into_iter().zip([byte & 15, byte >> 4]) {
            if let Some(slot) = numbers.get_mut(place) {
                *slot = digit.wrapping_sub(8);
            }
        }
    });
    let groups = k / group;
    let shape = [n as u64, groups as u64, group as u64];
    let numbers = cx.b.constant(Tensor::from_bytes(DType::I8, &shape, numbers)?)?;
    let numbers = cx.cast(numbers, DType::F32)?;
    let pairs = cx.read_as(call.tensor("qScaleAndZeros")?, DType::F32)?;
    let pairs = cx.unary(mlc_ir::ops::Transpose { perm: vec![2, 1, 0] }, pairs)?;
    let mut parts = Vec::with_capacity(2);
    for at in 0..2 {
        let part = crate::lower::alias::select(cx, pairs, 0, &Dim::Const(at))?;
        parts.push(crate::lower::alias::unsqueeze(cx, part, &[2])?);
    }
    let mut f = Formula::new(cx, DType::F32);
    let weight = f.mul(numbers, parts[0])?;
    let weight = f.add(weight, parts[1])?;
    let weight = cx.reshape(weight, &[Dim::Const(n as i64), Dim::Const(k as i64)])?;
    product(cx, x, weight)
}

fn product(cx: &mut Cx<'_>, x: TensorId, weight: Value) -> LowerResult<Vec<Val>> {
    let own = cx.dtype(x)?;
    let x = cx.read_as(x, DType::F32)?;
    let y = Linear {}.build(&mut cx.b, x, weight, None)?;
    let y = cx.cast(y, own)?;
    cx.one(y)
}

/// `x · (W · scales)ᵀ`, a scale for each row of `W`.
fn int8_product(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let weight = cx.read_as(call.tensor("mat2")?, DType::F32)?;
    let scales = cx.read_as(call.tensor("scales")?, DType::F32)?;
    let scales = crate::lower::alias::unsqueeze(cx, scales, &[1])?;
    let weight = Formula::new(cx, DType::F32).mul(weight, scales)?;
    product(cx, x, weight)
}

fn int_mm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (call.operand("self")?, call.operand("mat2")?);
    let mut values = Vec::with_capacity(2);
    for operand in [x, y] {
        let Operand::Tensor(tensor) = operand else {
            return Err(LowerError::invalid("a matrix is a tensor"));
        };
        values.push(cx.read_as(tensor, DType::I32)?);
    }
    let z = super::linear::matmul(cx, values[0], values[1])?;
    cx.one(z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_place() {
        for n in [64, 128, 96, 32, 16] {
            let mut seen = vec![0; n * 3];
            let mut next = 0;
            int4_places(n, 3, |at, places| {
                assert_eq!(at, next);
                next += 1;
                places.into_iter().for_each(|place| seen[place] += 1);
            });
            assert!(seen.iter().all(|&count| count == 1), "{n}");
        }
    }
}
