//! Selection of detections.

use mlc_tensor::DType;

use crate::attr::F64;
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal, meet};
use crate::types::{TensorType, Type};

op! {
    /// Greedy non-maximum suppression for each batch. Boxes are `(x, y, width, height)` around a
    /// centre; a box's score is the greatest of its `K` scores, its class the first that has it. From
    /// the greatest score down (the lower index first among equals) a box is selected unless its
    /// intersection over union with a selected box, with `per_class_suppression` of the same class,
    /// is greater than `iou_threshold`; boxes without area overlap nothing. At most
    /// `M = max_boxes` are selected. Unused places hold boxes and scores of 0 and index −1.
    ///
    /// Without `score_threshold` (iOS 17 on): `boxes` `[n, 4, B]`, `scores` `[n, K, B]`; results boxes
    /// `[n, 4, M]`, scores `[n, K, M]`, indices `[n, M]` of i32. With it (before): `boxes`
    /// `[n, B, 4]`, `scores` `[n, B, K]`; results boxes `[n, M, 4]`, scores `[n, M, K]`, indices
    /// `[n, M]`, their number `[n]` of i32; boxes that score less than the threshold are dropped, but
    /// the best box of all is selected where nothing else is.
    "non_maximum_suppression" = NonMaximumSuppression(boxes: One, scores: One) -> inferred {
        iou_threshold: F64,
        score_threshold: Option<F64> = None,
        max_boxes: i64,
        per_class_suppression: bool = false,
    } + Pure => infer_non_maximum_suppression;
}

fn infer_non_maximum_suppression(
    op: &NonMaximumSuppression,
    cx: &InferCx<'_>,
) -> OpResult<Inferred> {
    cx.same_dtype(&["boxes", "scores"])?;
    let (boxes, scores) = (cx.float("boxes")?, cx.float("scores")?);
    // Where the four numbers of a box, or the K scores of one, stand.
    let (inner, along) = if op.score_threshold.is_some() { (2, 1) } else { (1, 2) };
    check(boxes, scores, (inner, along))?;
    if op.max_boxes < 1 {
        let message = format!("`max_boxes` is {}, at least 1 is needed", op.max_boxes);
        return Err(OpError::attr(message));
    }
    if op.iou_threshold.0.is_nan() || op.score_threshold.is_some_and(|t| t.0.is_nan()) {
        return Err(OpError::attr("a threshold is no number"));
    }
    let batch = meet(&boxes.shape[0], &scores.shape[0]);
    let most = Dim::Const(op.max_boxes);
    let selected = |ty: &TensorType, width: Dim| {
        let mut shape = vec![batch.clone(), width, most.clone()];
        if inner == 2 {
            shape.swap(1, 2);
        }
        Type::tensor(ty.dtype, shape)
    };
    let mut results = vec![
        selected(boxes, Dim::Const(4)),
        selected(scores, scores.shape[inner].clone()),
        Type::tensor(DType::I32, [batch.clone(), most.clone()]),
    ];
    if op.score_threshold.is_some() {
        results.push(Type::tensor(DType::I32, [batch.clone()]));
    }
    Ok(Inferred::many(results))
}

fn check(boxes: &TensorType, scores: &TensorType, (inner, along): (usize, usize)) -> OpResult<()> {
    if boxes.rank() != 3 || !may_equal(&boxes.shape[inner], &Dim::Const(4)) {
        let message = format!("`boxes` is {boxes}, rank 3 with 4 on axis {inner} is needed");
        return Err(OpError::shape(message));
    }
    if scores.rank() != 3 || scores.shape[inner].is(0) {
        let message =
            format!("`scores` is {scores}, rank 3 with classes on axis {inner} is needed");
        return Err(OpError::shape(message));
    }
    for axis in [0, along] {
        if !may_equal(&boxes.shape[axis], &scores.shape[axis]) {
            let message =
                format!("`boxes` ({boxes}) and `scores` ({scores}) differ on axis {axis}");
            return Err(OpError::shape(message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use crate::program::{Function, Param, Program};

    #[test]
    fn both_forms() {
        let (n, b) = (Dim::symbol("n"), Dim::symbol("b"));
        let mut program = Program::new();
        let mut function = Function::new("main");
        let types = [
            vec![n.clone(), 4.into(), b.clone()],
            vec![n.clone(), 7.into(), b.clone()],
            vec![n.clone(), b.clone(), 4.into()],
            vec![n.clone(), b, 7.into()],
        ];
        let v = types
            .map(|shape| function.add_param(Param::input("x"), Type::tensor(DType::F32, shape)));
        let func = program.functions.push(function);
        let mut builder = Builder::new(&mut program, func);
        let op = NonMaximumSuppression {
            iou_threshold: F64(0.5),
            score_threshold: None,
            max_boxes: 10,
            per_class_suppression: false,
        };
        let results = op.clone().build_many(&mut builder, v[0], v[1]).unwrap();
        let shapes: Vec<_> =
            results.iter().map(|&r| builder.tensor(r).unwrap().shape.clone()).collect();
        assert_eq!(shapes.len(), 3);
        assert_eq!(shapes[1], [n.clone(), 7.into(), 10.into()]);
        assert!(op.clone().build(&mut builder, v[2], v[3]).is_err());
        let old = NonMaximumSuppression { score_threshold: Some(F64(0.1)), ..op };
        let results = old.build_many(&mut builder, v[2], v[3]).unwrap();
        let shapes: Vec<_> =
            results.iter().map(|&r| builder.tensor(r).unwrap().shape.clone()).collect();
        assert_eq!(shapes[0], [n.clone(), 10.into(), 4.into()]);
        assert_eq!(shapes[3], [n]);
    }
}
