//! Quantized values and stored weights.

use mlc_egraph::{Build, Family, Found, Match, rule};
use mlc_ir::ops::{
    ConstexprBlockwiseShiftScale, ConstexprLutToDense, Dequantize, ExpandDims, Linear, Matmul, Op,
    Quantize, Reshape, Squeeze, Transpose,
};

pub(super) const FAMILY: Family = Family {
    name: "quantized",
    source: include_str!("quantized.rs"),
    rules: &[
        rule!(Exact, "quantize-of-view", ["quantize"], quantize_of_view),
        rule!(Exact, "transpose-of-stored", ["transpose"], transpose_of_stored),
        rule!(Close, "linear-of-stored", ["matmul"], linear_of_stored),
    ],
};

/// Most scales that are looked at.
const MOST_SCALES: usize = 1 << 14;

/// Whether both have the same constant scales and zero points, and scales with which products and quotients are
/// normal numbers.
pub(super) fn are_inverse(
    quantize: &Found<'_, Quantize>,
    dequantize: &Found<'_, Dequantize>,
) -> Option<bool> {
    let scale = dequantize.operand(2);
    let numbers = scale.constant().filter(|scale| scale.count() <= MOST_SCALES)?.to_f64s().ok()?;
    let range = if scale.dtype()?.bits() < 32 { 1e-3..=1e2 } else { 1e-30..=1e30 };
    let same = quantize.operand(2) == scale && quantize.opt(1) == dequantize.opt(1);
    Some(same && numbers.iter().all(|s| range.contains(s)))
}

/// `quantize(view(dequantize(x))) = view(x)` with the same scale and zero point, one for all elements
fn quantize_of_view(m: &Match<'_>) -> Option<Build> {
    let outer = m.op::<Quantize>()?;
    let viewed = outer.operand(0);
    let (inner, payload, rest): (_, Op, Vec<Build>) = if let Some(op) = viewed.find::<Reshape>() {
        (op.operand(0), op.payload().clone().into(), vec![op.operand(1).into()])
    } else if let Some(op) = viewed.find::<Transpose>() {
        (op.operand(0), op.payload().clone().into(), Vec::new())
    } else if let Some(op) = viewed.find::<ExpandDims>() {
        (op.operand(0), op.payload().clone().into(), Vec::new())
    } else {
        let op = viewed.find::<Squeeze>()?;
        (op.operand(0), op.payload().clone().into(), Vec::new())
    };
    let dequantize = inner.find::<Dequantize>()?;
    let x = dequantize.operand(0);
    dequantize.operand(2).scalar()?;
    let fits = are_inverse(&outer, &dequantize)? && x.dtype() == Some(m.ty()?.dtype);
    let mut operands = vec![Build::from(x)];
    operands.extend(rest);
    fits.then(|| Build::of(payload, operands))
}

/// `transpose(decode(w)) = decode(transpose(w))` for a stored weight with scales or tables
fn transpose_of_stored(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Transpose>()?;
    let (weight, perm) = (op.operand(0), &op.perm);
    let turned = |class: mlc_egraph::Class<'_>, perm: Vec<i64>| {
        class.constant()?;
        Some(m.build(Transpose { perm }, [class.into()]))
    };
    if let Some(stored) = weight.find::<ConstexprBlockwiseShiftScale>() {
        let mut slots = vec![
            vec![turned(stored.operand(0), perm.clone())?],
            vec![turned(stored.operand(1), perm.clone())?],
            Vec::new(),
        ];
        if let Some(offset) = stored.opt(2) {
            slots[2].push(turned(offset, perm.clone())?);
        }
        return Some(Build::with_slots(ConstexprBlockwiseShiftScale {}, slots));
    }
    let stored = weight.find::<ConstexprLutToDense>()?;
    if stored.shape.is_some() || stored.vector_axis.is_some() {
        return None;
    }
    let rank = perm.len() as i64;
    let own = perm.iter().map(|axis| axis.rem_euclid(rank.max(1)));
    let table = own.chain([rank, rank + 1]).collect();
    let operands = [turned(stored.operand(0), perm.clone())?, turned(stored.operand(1), table)?];
    Some(m.build(stored.payload().clone(), operands))
}

/// `matmul(x, decode(w)) = linear(x, decode(w))` for a stored matrix whose rows are the outputs
fn linear_of_stored(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Matmul>().filter(|op| op.transpose_y && !op.transpose_x)?;
    let (x, weight) = (op.operand(0), op.operand(1));
    let data = match weight.find::<ConstexprBlockwiseShiftScale>() {
        Some(stored) => stored.operand(0),
        None => weight.find::<ConstexprLutToDense>()?.operand(0),
    };
    data.constant()?;
    let fits = weight.rank() == 2 && (2..=5).contains(&x.rank()) && x.dtype() == weight.dtype();
    fits.then(|| m.build(Linear {}, [x.into(), weight.into()]))
}
