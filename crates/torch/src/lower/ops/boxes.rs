//! Boxes of detections.

use mlc_ir::ops::{
    Add, Cast, ExpandDims, Gather, Greater, Less, Maximum, Minimum, Mul, NonZero, RealDiv, Select,
    Split, Squeeze, Sub, WhileLoop,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use crate::lower::alias::range;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[Lowering { name: "torchvision.nms", lower: nms }];

/// The greatest single-precision number that is not above `x`: what exceeds the one exceeds the
/// other.
fn single_at_most(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) > x { near.next_down() } else { near }
}

/// The overlap of each box with each, of corners `x₁ y₁ x₂ y₂`: intersection over union.
fn overlaps(cx: &mut Cx<'_>, boxes: Value) -> LowerResult<Value> {
    let split = Split { num_splits: Some(4), split_sizes: None, axis: 1 };
    let columns = split.build_many(&mut cx.b, boxes)?.to_vec();
    let mut rows = Vec::new();
    for &column in &columns {
        let line = cx.unary(Squeeze { axes: Some(vec![1]) }, column)?;
        rows.push(cx.unary(ExpandDims { axes: vec![0] }, line)?);
    }
    let (&[x1, y1, x2, y2], &[u1, v1, u2, v2]) = (&columns[..], &rows[..]) else {
        return Err(LowerError::invalid("a box has four corners"));
    };
    let zero = cx.b.scalar(cx.b.tensor(boxes)?.dtype, 0.0)?;
    let mut area = |[x1, y1, x2, y2]: [Value; 4]| -> LowerResult<Value> {
        let (w, h) = (cx.binary(Sub {}, x2, x1)?, cx.binary(Sub {}, y2, y1)?);
        cx.binary(Mul {}, w, h)
    };
    let (own, other) = (area([x1, y1, x2, y2])?, area([u1, v1, u2, v2])?);
    let mut side = |a1, a2, b1, b2| -> LowerResult<Value> {
        let (low, high) = (cx.binary(Maximum {}, a1, b1)?, cx.binary(Minimum {}, a2, b2)?);
        let length = cx.binary(Sub {}, high, low)?;
        cx.binary(Maximum {}, length, zero)
    };
    let (w, h) = (side(x1, x2, u1, u2)?, side(y1, y2, v1, v2)?);
    let common = cx.binary(Mul {}, w, h)?;
    let sum = cx.binary(Add {}, own, other)?;
    let union = cx.binary(Sub {}, sum, common)?;
    cx.binary(RealDiv {}, common, union)
}

/// From the highest score down, a box is kept unless it overlaps one that is kept by more than the
/// threshold. The result holds the places of those kept, in that order.
fn nms(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (boxes, scores) = (call.tensor("dets")?, call.tensor("scores")?);
    let limit = single_at_most(call.float_or("iou_threshold", 0.5)?);
    let boxes = cx.read_as(boxes, DType::F32)?;
    let [count, corners] = &cx.b.tensor(boxes)?.shape.clone()[..] else {
        return Err(LowerError::invalid("boxes have two axes"));
    };
    if !corners.is(4) || cx.rank(scores)? != 1 {
        return Err(LowerError::invalid("a box has four corners and one score"));
    }
    let args = [
        ("self", Val::Tensor(scores)),
        ("dim", Val::Int(0.into())),
        ("descending", Val::Bool(true)),
        ("stable", Val::Bool(true)),
    ];
    let sorted = cx.call("aten.sort", &args)?;
    let Some(Val::Tensor(order)) = sorted.get(1) else {
        return Err(LowerError::invalid("no order of the scores"));
    };
    let order = cx.read_as(*order, DType::I32)?;
    let pick = Gather { axis: 0, batch_dims: 0, validate_indices: false };
    let boxes = pick.clone().build(&mut cx.b, boxes, order)?;
    let overlaps = overlaps(cx, boxes)?;
    let limit = cx.b.scalar(DType::F32, f64::from(limit))?;
    let over = cx.binary(Greater {}, overlaps, limit)?;
    let over = cx.unary(Cast { dtype: DType::F32 }, over)?;
    let places = range(cx, &Dim::Const(0), count, 1)?;
    let shape = dims::vector(cx, std::slice::from_ref(count))?;
    let one = cx.b.scalar(DType::F32, 1.0)?;
    let all = mlc_ir::ops::Fill {}.build(&mut cx.b, shape, Some(one))?;
    let (start, end) = (cx.b.int(0)?, dims::scalar(cx, count)?);
    let results = WhileLoop::build_with::<LowerError>(
        &mut cx.b,
        vec![start, all],
        |b, args| Ok(Less {}.build(b, args[0], end)?),
        |b, args| {
            let (at, kept) = (args[0], args[1]);
            let row = pick.clone().build(b, over, at)?;
            let own = pick.clone().build(b, kept, at)?;
            let hit = Mul {}.build(b, row, own)?;
            let left = Sub {}.build(b, one, hit)?;
            let next = Mul {}.build(b, kept, left)?;
            let later = Greater {}.build(b, places, at)?;
            let kept = Select {}.build(b, later, next, kept)?;
            let step = b.int(1)?;
            Ok(vec![Add {}.build(b, at, step)?, kept])
        },
    )?;
    let [_, kept] = results[..] else { return Err(LowerError::invalid("no results")) };
    let kept = cx.unary(NonZero {}, kept)?;
    let kept = cx.unary(Squeeze { axes: Some(vec![1]) }, kept)?;
    let result = pick.build(&mut cx.b, order, kept)?;
    let result = cx.cast(result, DType::I64)?;
    cx.one(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_rounded_down() {
        for x in [0.2, 0.3, 0.5, 0.8, 0.0] {
            let single = single_at_most(x);
            assert!(f64::from(single) <= x && f64::from(single.next_up()) > x);
        }
    }
}
