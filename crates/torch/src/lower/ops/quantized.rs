//! Quantization spelled as ops between integers and floats: PT2E's `quantized_decomposed`, and
//! rounding as training with quantization in mind does it.

use mlc_ir::ops::{
    Add, ConstexprBlockwiseShiftScale, Dequantize, Maximum, Minimum, Mul, Quantize, RealDiv, Round,
    Sub,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, Tensor};

use super::reduction::one_axis;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::formula::Formula;
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "quantized_decomposed.quantize_per_tensor", lower: quantize },
    Lowering { name: "quantized_decomposed.dequantize_per_tensor", lower: dequantize },
    Lowering { name: "quantized_decomposed.quantize_per_channel", lower: quantize },
    Lowering { name: "quantized_decomposed.dequantize_per_channel", lower: dequantize },
    Lowering { name: "aten.fake_quantize_per_tensor_affine", lower: fake },
    Lowering { name: "aten.fake_quantize_per_channel_affine", lower: fake },
    Lowering { name: "aten.fake_quantize_per_tensor_affine_cachemask", lower: fake_with_mask },
    Lowering { name: "aten.fake_quantize_per_channel_affine_cachemask", lower: fake_with_mask },
    Lowering { name: "quantized_decomposed.fake_quant_per_channel", lower: fake },
];

/// Scale and zero point as floats, shaped to broadcast against the operand, and, where both are
/// known, their numbers.
struct Params {
    scale: Value,
    zero_point: Value,
    known: Option<(Vec<f64>, Vec<i64>)>,
    /// The axis of one pair a place; `None` for one pair in all.
    axis: Option<usize>,
}

fn known(cx: &mut Cx<'_>, operand: &Operand) -> Option<Tensor> {
    match operand {
        Operand::Tensor(tensor) => {
            let value = cx.read(*tensor).ok()?;
            cx.b.constant_of(value).cloned()
        }
        Operand::Scalar(scalar) => Tensor::from_f64s(DType::F64, &[], &[scalar.as_f64()?]).ok(),
    }
}

fn params(cx: &mut Cx<'_>, call: &Call<'_>, rank: usize) -> LowerResult<Params> {
    let axis =
        if call.op.contains("per_channel") { one_axis(call.int("axis")?, rank)? } else { None };
    let plural = call.has("scales");
    let (scale, zero) = if plural { ("scales", "zero_points") } else { ("scale", "zero_point") };
    let scale = call.operand(scale)?;
    let zero = if call.has(zero) {
        call.operand(zero)?
    } else {
        Operand::Scalar(crate::lower::value::Scalar::Int(0.into()))
    };
    let known = known(cx, &scale).zip(known(cx, &zero));
    let known = known.map(|(s, z)| -> LowerResult<_> {
        Ok((s.to_f64s()?, z.to_f64s()?.iter().map(|&z| z as i64).collect()))
    });
    let known = known.transpose()?;
    let mut shaped = |operand: &Operand| -> LowerResult<Value> {
        let value = cx.operand(operand, DType::F32)?;
        let (Some(axis), false) = (axis, cx.b.tensor(value)?.rank() == 0) else {
            if cx.b.tensor(value)?.count().is(1) {
                return cx.reshape(value, &[]);
            }
            return Err(LowerError::invalid("several scales for one tensor"));
        };
        let mut shape = vec![Dim::Const(1); rank];
        shape[axis] = cx.b.tensor(value)?.count();
        cx.reshape(value, &shape)
    };
    let (scale, zero_point) = (shaped(&scale)?, shaped(&zero)?);
    Ok(Params { scale, zero_point, known, axis })
}

/// Scale and zero point as operands of the op, of integers `dtype`, if both are known and fit it.
fn for_op(cx: &mut Cx<'_>, params: &Params, dtype: DType) -> LowerResult<Option<(Value, Value)>> {
    let (Some((scales, zeros)), Some((low, high))) = (&params.known, dtype.int_range()) else {
        return Ok(None);
    };
    let small = matches!(dtype, DType::I8 | DType::U8);
    let fits = zeros.iter().all(|z| (low..=high).contains(z));
    if !small || !fits || scales.iter().any(|&s| s as f32 == 0.0 || !s.is_finite()) {
        return Ok(None);
    }
    let count = scales.len().max(zeros.len());
    let all = |n: usize| -> Vec<usize> { (0..count).map(|i| if n == 1 { 0 } else { i }).collect() };
    if [scales.len(), zeros.len()].iter().any(|&n| n != 1 && n != count) {
        return Err(LowerError::invalid("scales and zero points differ in length"));
    }
    let scales: Vec<f64> = all(scales.len()).iter().map(|&i| scales[i]).collect();
    let zeros: Vec<i64> = all(zeros.len()).iter().map(|&i| zeros[i]).collect();
    let shape = if params.axis.is_some() { vec![count as u64] } else { vec![] };
    let scale = cx.b.constant(Tensor::from_f64s(DType::F32, &shape, &scales)?)?;
    let zero = cx.b.constant(Tensor::from_i64s(dtype, &shape, &zeros)?)?;
    Ok(Some((scale, zero)))
}

/// `clamp(round(x / scale) + zero_point, quant_min, quant_max)`
fn quantize(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["eps"]);
    let x = cx.read_as(call.tensor("input")?, DType::F32)?;
    let dtype = call
        .opt_dtype("dtype")?
        .ok_or_else(|| LowerError::invalid("argument `dtype` is missing"))?;
    let (low, high) = (call.int("quant_min")?, call.int("quant_max")?);
    let rank = cx.b.tensor(x)?.rank();
    let params = params(cx, call, rank)?;
    if dtype.int_range() == Some((low, high))
        && let Some((scale, zero)) = for_op(cx, &params, dtype)?
    {
        let op = Quantize { axis: params.axis.map(|axis| axis as i64), output_dtype: dtype };
        let y = op.build(&mut cx.b, x, Some(zero), scale)?;
        return cx.one(y);
    }
    // As torch does: by the inverse.
    let one = cx.b.scalar(DType::F32, 1.0)?;
    let inverse = cx.binary(RealDiv {}, one, params.scale)?;
    let y = cx.binary(Mul {}, x, inverse)?;
    let y = cx.unary(Round {}, y)?;
    let y = cx.binary(Add {}, y, params.zero_point)?;
    let (low, high) = (cx.b.scalar(DType::F32, low as f64)?, cx.b.scalar(DType::F32, high as f64)?);
    let y = cx.binary(Maximum {}, y, low)?;
    let y = cx.binary(Minimum {}, y, high)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// `(x − zero) · scale` of a constant of small integers, kept as it is stored; `blocks` is how many pairs
/// there are along each axis. Nothing if it is no such constant.
pub(super) fn stored(
    cx: &mut Cx<'_>,
    x: Value,
    blocks: &[u64],
    (scales, zeros): (&[f64], &[i64]),
) -> LowerResult<Option<Value>> {
    let Some(dtype) = cx.b.constant_of(x).map(Tensor::dtype) else { return Ok(None) };
    let small = matches!(dtype, DType::I8 | DType::U8);
    let (Some((low, high)), true) = (dtype.int_range(), small && !blocks.is_empty()) else {
        return Ok(None);
    };
    let count = blocks.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let Some(count) = count.and_then(|n| usize::try_from(n).ok()) else { return Ok(None) };
    let fits = |n: usize| n == 1 || n == count;
    let sound = zeros.iter().all(|z| (low..=high).contains(z))
        && scales.iter().all(|s| s.is_finite() && *s as f32 != 0.0);
    if !fits(scales.len()) || !fits(zeros.len()) || !sound {
        return Ok(None);
    }
    let at = |n: usize, i: usize| if n == 1 { 0 } else { i };
    let scales: Vec<f64> = (0..count).map(|i| scales[at(scales.len(), i)]).collect();
    let scale = cx.b.constant(Tensor::from_f64s(DType::F32, blocks, &scales)?)?;
    let offset = if zeros.iter().all(|&z| z == 0) {
        None
    } else {
        let zeros: Vec<i64> = (0..count).map(|i| zeros[at(zeros.len(), i)]).collect();
        Some(cx.b.constant(Tensor::from_i64s(dtype, blocks, &zeros)?)?)
    };
    Ok(Some(ConstexprBlockwiseShiftScale {}.build(&mut cx.b, x, scale, offset)?))
}

/// `(x − zero_point) · scale`
fn dequantize(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    // The range of the integers says nothing of what they stand for.
    call.ignore(&["quant_min", "quant_max"]);
    let x = cx.read(call.tensor("input")?)?;
    let own = cx.b.tensor(x)?.dtype;
    if call.opt_dtype("dtype")?.is_some_and(|dtype| dtype != own) {
        return Err(LowerError::invalid(format!("the operand is {own}, not of `dtype`")));
    }
    let out = call.opt_dtype("out_dtype")?.unwrap_or(DType::F32);
    let rank = cx.b.tensor(x)?.rank();
    let params = params(cx, call, rank)?;
    let stored = match &params.known {
        Some((scales, zeros)) => {
            let mut blocks = vec![1; rank];
            if let Some(axis) = params.axis {
                blocks[axis] = scales.len().max(zeros.len()) as u64;
            }
            stored(cx, x, &blocks, (scales, zeros))?
        }
        None => None,
    };
    if let Some(y) = stored {
        let y = cx.cast(y, out)?;
        return cx.one(y);
    }
    let y = match for_op(cx, &params, own)? {
        Some((scale, zero)) => Dequantize { axis: params.axis.map(|axis| axis as i64) }.build(
            &mut cx.b,
            x,
            Some(zero),
            scale,
        )?,
        None => {
            let y = cx.cast(x, DType::F32)?;
            let y = cx.binary(Sub {}, y, params.zero_point)?;
            cx.binary(Mul {}, y, params.scale)?
        }
    };
    let y = cx.cast(y, out)?;
    cx.one(y)
}

/// The numbers that integers between the limits stand for, and where those are not clamped.
fn rounded(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<[Value; 2]> {
    let x = call.tensor(if call.has("input") { "input" } else { "self" })?;
    let own = cx.dtype(x)?;
    let x = cx.read_as(x, DType::F32)?;
    let rank = cx.b.tensor(x)?.rank();
    if call.has("fake_quant_enabled") {
        return Err(LowerError::argument("rounding that is switched on while the model runs")
            .help("convert the observers before exporting the model"));
    }
    let params = params(cx, call, rank)?;
    let (low, high) = (call.int("quant_min")? as f64, call.int("quant_max")? as f64);
    let mut f = Formula::new(cx, DType::F32);
    let inverse = f.over(1.0, params.scale)?;
    let steps = f.mul(x, inverse)?;
    let steps = f.cx.unary(Round {}, steps)?;
    let steps = f.add(steps, params.zero_point)?;
    let (least, most) = (f.num(low)?, f.num(high)?);
    let held = f.max(steps, least)?;
    let held = f.min(held, most)?;
    let inside = f.same(steps, held)?;
    let y = f.sub(held, params.zero_point)?;
    let y = f.mul(y, params.scale)?;
    Ok([cx.cast(y, own)?, inside])
}

fn fake(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let [y, _] = rounded(cx, call)?;
    cx.one(y)
}

fn fake_with_mask(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let [y, inside] = rounded(cx, call)?;
    Ok(vec![cx.fresh(y), cx.fresh(inside)])
}
