//! Ops with arguments that an opset does not take, in other arguments or ops.

use mlc_ir::attr::PadType;
use mlc_ir::ops::{
    Add, Cast, Clip, ExpandDims, GreaterEqual, LogicalAnd, LogicalOr, Matmul, Maximum, Minimum,
    NonMaximumSuppression, Op, ReduceMax, ReduceSum, Select, Transpose,
};
use mlc_ir::{Builder, F64, Node, Operands, Value};
use mlc_pass::Result;
use mlc_tensor::{DType, Tensor};

/// `min(max(x, alpha), beta)` as it stands.
pub(crate) fn clip(b: &mut Builder<'_>, op: &Clip, x: Value) -> Result<Value> {
    let dtype = b.tensor(x)?.dtype;
    let (low, high) = (b.scalar(dtype, op.alpha.0)?, b.scalar(dtype, op.beta.0)?);
    let x = Maximum {}.build(b, x, low)?;
    Ok(Minimum {}.build(b, x, high)?)
}

/// `linear` of any weight and bias: `x·weightᵀ + bias`.
pub(crate) fn product(b: &mut Builder<'_>, operands: &[Value]) -> Result<Value> {
    let product = Matmul { transpose_x: false, transpose_y: true };
    let y = product.build(b, operands[0], operands[1])?;
    Ok(match operands.get(2) {
        Some(&bias) => Add {}.build(b, y, bias)?,
        None => y,
    })
}

/// Either form of the op in the other.
pub(crate) fn suppression(
    b: &mut Builder<'_>,
    op: NonMaximumSuppression,
    operands: &[Value],
) -> Result<Vec<Value>> {
    let swap = || Transpose { perm: vec![0, 2, 1] };
    let mut turned = Vec::new();
    for &operand in operands {
        turned.push(swap().build(b, operand)?);
    }
    let [boxes, scores] = turned[..] else { return Ok(Vec::new()) };
    match op.score_threshold {
        None => {
            // Nothing scores less.
            let lowest =
                if b.tensor(scores)?.dtype == DType::F16 { -65504.0 } else { f32::MIN.into() };
            let op = NonMaximumSuppression { score_threshold: Some(F64(lowest)), ..op };
            let results = op.build_many(b, boxes, scores)?;
            Ok(vec![swap().build(b, results[0])?, swap().build(b, results[1])?, results[2]])
        }
        Some(threshold) => {
            let op = NonMaximumSuppression { score_threshold: None, ..op };
            let most = op.max_boxes;
            let results = op.build_many(b, boxes, scores)?;
            drop_low(b, &results, (threshold.0, most))
        }
    }
}

/// Results without a threshold as ones with it, in the older layout: selected boxes stand in order of
/// score, and what scores less than others never suppresses them.
fn drop_low(
    b: &mut Builder<'_>,
    results: &[Value],
    (threshold, most): (f64, i64),
) -> Result<Vec<Value>> {
    let [boxes, scores, indices] = *results else { return Ok(Vec::new()) };
    let dtype = b.tensor(scores)?.dtype;
    let best = ReduceMax { axes: Some(vec![1]), keep_dims: false }.build(b, scores)?;
    let threshold = b.scalar(dtype, threshold)?;
    let high = GreaterEqual {}.build(b, best, threshold)?;
    let mut first = vec![0; usize::try_from(most).unwrap_or(1)];
    first[0] = 1;
    let first = Tensor::from_bytes(DType::Bool, &[1, first.len() as u64], first)?;
    let first = b.constant(first)?;
    let kept = LogicalOr {}.build(b, high, first)?;
    let zero = b.int(0)?;
    let used = GreaterEqual {}.build(b, indices, zero)?;
    let kept = LogicalAnd {}.build(b, kept, used)?;
    let column = ExpandDims { axes: vec![2] }.build(b, kept)?;
    let mut rows = Vec::new();
    for value in [boxes, scores] {
        let value = Transpose { perm: vec![0, 2, 1] }.build(b, value)?;
        let zero = b.scalar(b.tensor(value)?.dtype, 0.0)?;
        rows.push(Select {}.build(b, column, value, zero)?);
    }
    let none = b.int(-1)?;
    rows.push(Select {}.build(b, kept, indices, none)?);
    let ones = Cast { dtype: DType::I32 }.build(b, kept)?;
    rows.push(ReduceSum { axes: Some(vec![1]), keep_dims: false }.build(b, ones)?);
    Ok(rows)
}

/// Padding `same_lower` as numbers, where the extents are known.
pub(crate) fn lower_half(b: &mut Builder<'_>, node: Node) -> Result<Option<Value>> {
    let data = &b.function().nodes[node];
    let (mut op, operands) = (data.op.clone(), data.operands.clone());
    let slot = |index| operands.slot(index).first().copied();
    let Some(x) = slot(0) else { return Ok(None) };
    let Some(shape) = b.tensor(x)?.static_shape() else { return Ok(None) };
    let kernel: Vec<i64> = match (&op, slot(1)) {
        (Op::Conv(_), Some(weight)) => match b.tensor(weight)?.static_shape() {
            Some(shape) => shape.iter().skip(2).map(|&k| k as i64).collect(),
            None => return Ok(None),
        },
        (Op::MaxPool(op), _) => op.kernel_sizes.clone(),
        (Op::AvgPool(op), _) => op.kernel_sizes.clone(),
        (Op::L2Pool(op), _) => op.kernel_sizes.clone(),
        _ => return Ok(None),
    };
    let none = Vec::new();
    let (pad_type, pad, strides, dilations) = match &mut op {
        Op::Conv(op) => (&mut op.pad_type, &mut op.pad, &op.strides, &op.dilations),
        Op::MaxPool(op) => (&mut op.pad_type, &mut op.pad, &op.strides, &none),
        Op::AvgPool(op) => (&mut op.pad_type, &mut op.pad, &op.strides, &none),
        Op::L2Pool(op) => (&mut op.pad_type, &mut op.pad, &op.strides, &none),
        _ => return Ok(None),
    };
    if *pad_type != PadType::SameLower {
        return Ok(None);
    }
    let mut numbers = Vec::new();
    for (axis, &k) in kernel.iter().enumerate() {
        let at = |list: &Vec<i64>| list.get(axis).copied().unwrap_or(1);
        let Some(extent) = shape.get(axis + 2).and_then(|&d| i64::try_from(d).ok()) else {
            return Ok(None);
        };
        let span = k.checked_sub(1).and_then(|k| k.checked_mul(at(dilations)));
        let steps = (extent.max(1) - 1).checked_div(at(strides));
        let reach = steps.and_then(|steps| steps.checked_mul(at(strides))).zip(span);
        let Some((last, span)) = reach else { return Ok(None) };
        let total = last.saturating_add(span).saturating_add(1).saturating_sub(extent).max(0);
        numbers.extend([total - total / 2, total / 2]);
    }
    (*pad_type, *pad) = (PadType::Custom, numbers);
    let mut slots = Operands::new();
    for index in 0..operands.slots() {
        slots.push_slot(operands.slot(index).iter().copied());
    }
    let node = b.push(op, slots, Vec::new())?;
    Ok(b.results(node).first().copied())
}
