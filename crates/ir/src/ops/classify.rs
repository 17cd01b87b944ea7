//! The end of a classifier.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal};
use crate::types::Type;

op! {
    /// The label of the greatest of `probabilities` (the first of equal ones), and a dictionary from
    /// each label to its probability. Labels are `classes`, or `class_ids` where they are integers;
    /// MIL names both `classes`.
    "classify" = Classify(probabilities: One) -> 2 {
        classes: Vec<String> = vec![],
        class_ids: Vec<i64> = vec![],
    } + Pure => infer_classify;
}

fn infer_classify(op: &Classify, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let probabilities = cx.float("probabilities")?;
    let (label, count) = match (op.classes.len(), op.class_ids.len()) {
        (0, 0) => return Err(OpError::attr("neither `classes` nor `class_ids` is given")),
        (count, 0) => (DType::Str, count),
        (0, count) => (DType::I64, count),
        (a, b) => return Err(OpError::attr(format!("{a} `classes` and {b} `class_ids`"))),
    };
    if !may_equal(&probabilities.count(), &Dim::Const(count as i64)) {
        let message = format!("{count} classes for probabilities {probabilities}");
        return Err(OpError::shape(message));
    }
    let dict = Type::Dict { key: label, value: DType::F64 };
    Ok(Inferred::many([Type::tensor(label, []), dict]))
}
