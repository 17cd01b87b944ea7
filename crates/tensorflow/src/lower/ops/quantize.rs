//! Quantization and back, in floats.

use mlc_ir::Value;
use mlc_ir::ops::{Add, Floor, Maximum, Minimum, Mul, RealDiv, Round, Sub};
use mlc_tensor::DType;

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "FakeQuantWithMinMaxArgs", lower: args },
    Lowering { name: "FakeQuantWithMinMaxVars", lower: vars },
    Lowering { name: "FakeQuantWithMinMaxVarsPerChannel", lower: vars },
    Lowering { name: "QuantizeAndDequantizeV2", lower: round_trip },
    Lowering { name: "QuantizeAndDequantizeV3", lower: round_trip },
    Lowering { name: "QuantizeAndDequantizeV4", lower: round_trip },
];

/// The range of levels.
fn levels(call: &Call<'_>) -> LowerResult<(f64, f64)> {
    let bits = call.int_or("num_bits", 8)?;
    if !(2..=16).contains(&bits) {
        return Err(LowerError::invalid(format!("`num_bits` is {bits}")));
    }
    let low = if call.bool_or("narrow_range", false)? { 1.0 } else { 0.0 };
    Ok((low, ((1i64 << bits) - 1) as f64))
}

fn args(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (low, high) = (call.float_or("min", -6.0)?, call.float_or("max", 6.0)?);
    let (low, high) = (cx.number(DType::F32, low)?, cx.number(DType::F32, high)?);
    fake(cx, call, low, high)
}

fn vars(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    fake(cx, call, call.tensor(1)?, call.tensor(2)?)
}

/// The range is moved so that 0 is a level; then values are clamped to it and rounded to levels.
fn fake(cx: &mut Cx<'_>, call: &Call<'_>, low: Value, high: Value) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let (first, last) = levels(call)?;
    let (first, last) = (cx.number(DType::F32, first)?, cx.number(DType::F32, last)?);
    let span = cx.binary(Sub {}, last, first)?;
    let range = cx.binary(Sub {}, high, low)?;
    let scale = cx.binary(RealDiv {}, range, span)?;
    let ratio = cx.binary(RealDiv {}, low, scale)?;
    let zero_point = cx.binary(Sub {}, first, ratio)?;
    let half = cx.number(DType::F32, 0.5)?;
    let up = |cx: &mut Cx<'_>, x: Value| -> LowerResult<Value> {
        let x = cx.binary(Add {}, x, half)?;
        cx.unary(Floor {}, x)
    };
    // Halves away from zero; the zero point is not negative where it is within the levels.
    let nudged = up(cx, zero_point)?;
    let nudged = cx.binary(Maximum {}, nudged, first)?;
    let nudged = cx.binary(Minimum {}, nudged, last)?;
    let down = cx.binary(Sub {}, first, nudged)?;
    let low = cx.binary(Mul {}, down, scale)?;
    let above = cx.binary(Sub {}, last, nudged)?;
    let high = cx.binary(Mul {}, above, scale)?;
    let clamped = cx.binary(Maximum {}, x, low)?;
    let clamped = cx.binary(Minimum {}, clamped, high)?;
    let shifted = cx.binary(Sub {}, clamped, low)?;
    let level = cx.binary(RealDiv {}, shifted, scale)?;
    let level = up(cx, level)?;
    let y = cx.binary(Mul {}, level, scale)?;
    let y = cx.binary(Add {}, y, low)?;
    cx.one(y)
}

/// Rounding to levels of a symmetric scale, and back.
fn round_trip(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let signed = call.bool_or("signed_input", true)?;
    let narrow = call.bool_or("narrow_range", false)?;
    let given = call.bool_or("range_given", call.op != "QuantizeAndDequantizeV2")?;
    let axis = call.int_or("axis", -1)?;
    let even = match call.text_or("round_mode", "HALF_TO_EVEN")? {
        "HALF_TO_EVEN" => true,
        "HALF_UP" => false,
        other => return Err(LowerError::argument(format!("`round_mode` is `{other}`"))),
    };
    let bits = if call.op == "QuantizeAndDequantizeV3" {
        cx.need_int(call.tensor(3)?, "num_bits")?
    } else {
        call.int_or("num_bits", 8)?
    };
    if !(2..=24).contains(&bits) {
        return Err(LowerError::invalid(format!("`num_bits` is {bits}")));
    }
    if axis != -1 {
        return Err(LowerError::argument("a scale for each channel")
            .help("use `FakeQuantWithMinMaxVarsPerChannel`"));
    }
    let (low, high) = if given {
        (call.tensor(1)?, call.tensor(2)?)
    } else {
        let low = mlc_ir::ops::ReduceMin { axes: None, keep_dims: false };
        let high = mlc_ir::ops::ReduceMax { axes: None, keep_dims: false };
        (cx.unary(low, x)?, cx.unary(high, x)?)
    };
    let (least, most) = match (signed, narrow) {
        (true, false) => (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1),
        (true, true) => (-((1i64 << (bits - 1)) - 1), (1i64 << (bits - 1)) - 1),
        (false, _) => (0, (1i64 << bits) - 1),
    };
    let (least, most) = (cx.scalar_like(x, least as f64)?, cx.scalar_like(x, most as f64)?);
    let zero = cx.scalar_like(x, 0.0)?;
    let one = cx.scalar_like(x, 1.0)?;
    // The scale is the smaller of those that the two ends ask for.
    let huge = cx.scalar_like(x, 3.0e38)?;
    let mut scale_of = |level: Value, end: Value| -> LowerResult<Value> {
        let product = cx.binary(Mul {}, level, end)?;
        let counts = cx.binary(mlc_ir::ops::Greater {}, product, zero)?;
        let safe = cx.select(counts, end, one)?;
        let scale = cx.binary(RealDiv {}, level, safe)?;
        cx.select(counts, scale, huge)
    };
    let (a, b) = (scale_of(least, low)?, scale_of(most, high)?);
    let scale = cx.binary(Minimum {}, a, b)?;
    let (low, high) = (cx.binary(RealDiv {}, least, scale)?, cx.binary(RealDiv {}, most, scale)?);
    let clamped = if given {
        let clamped = cx.binary(Minimum {}, x, high)?;
        cx.binary(Maximum {}, clamped, low)?
    } else {
        x
    };
    let level = cx.binary(Mul {}, clamped, scale)?;
    let level = if even {
        cx.unary(Round {}, level)?
    } else {
        let half = cx.scalar_like(x, 0.5)?;
        let level = cx.binary(Add {}, level, half)?;
        cx.unary(Floor {}, level)?
    };
    let y = cx.binary(RealDiv {}, level, scale)?;
    cx.one(y)
}
