//! The named results of ops that have several: inside functions results are named, not numbered.

use std::collections::BTreeMap;

use super::Attr;

/// How many tensors a named result stands for.
#[derive(Debug, Clone, Copy)]
enum Count {
    One,
    /// As many as the attribute says, or has entries.
    Attr(&'static str),
}

const LSTM: &[(&str, Count)] = &[
    ("i", Count::One),
    ("cs", Count::One),
    ("f", Count::One),
    ("o", Count::One),
    ("ci", Count::One),
    ("co", Count::One),
    ("h", Count::One),
];

/// The results of `op`, in order; none for an op with one result.
fn names(op: &str) -> &'static [(&'static str, Count)] {
    const ONE: Count = Count::One;
    match op {
        "BlockLSTM" | "BlockLSTMV2" | "LSTMBlockCell" => LSTM,
        "GRUBlockCell" => &[("r", ONE), ("u", ONE), ("c", ONE), ("h", ONE)],
        "TopK" | "TopKV2" => &[("values", ONE), ("indices", ONE)],
        "FusedBatchNorm" | "FusedBatchNormV2" => &[
            ("y", ONE),
            ("batch_mean", ONE),
            ("batch_variance", ONE),
            ("reserve_space_1", ONE),
            ("reserve_space_2", ONE),
        ],
        "FusedBatchNormV3" | "_FusedBatchNormEx" => &[
            ("y", ONE),
            ("batch_mean", ONE),
            ("batch_variance", ONE),
            ("reserve_space_1", ONE),
            ("reserve_space_2", ONE),
            ("reserve_space_3", ONE),
        ],
        "Unique" | "UniqueV2" => &[("y", ONE), ("idx", ONE)],
        "UniqueWithCounts" | "UniqueWithCountsV2" => &[("y", ONE), ("idx", ONE), ("count", ONE)],
        "ListDiff" => &[("out", ONE), ("idx", ONE)],
        "NonMaxSuppressionV4" => &[("selected_indices", ONE), ("valid_outputs", ONE)],
        "NonMaxSuppressionV5" => {
            &[("selected_indices", ONE), ("selected_scores", ONE), ("valid_outputs", ONE)]
        }
        "CombinedNonMaxSuppression" => &[
            ("nmsed_boxes", ONE),
            ("nmsed_scores", ONE),
            ("nmsed_classes", ONE),
            ("valid_detections", ONE),
        ],
        "SoftmaxCrossEntropyWithLogits" | "SparseSoftmaxCrossEntropyWithLogits" => {
            &[("loss", ONE), ("backprop", ONE)]
        }
        "Switch" | "RefSwitch" => &[("output_false", ONE), ("output_true", ONE)],
        "Merge" | "RefMerge" => &[("output", ONE), ("value_index", ONE)],
        "MaxPoolWithArgmax" => &[("output", ONE), ("argmax", ONE)],
        "TensorArrayV3" => &[("handle", ONE), ("flow", ONE)],
        "TensorArrayConcatV3" => &[("value", ONE), ("lengths", ONE)],
        "TensorListPopBack" => &[("output_handle", ONE), ("tensor", ONE)],
        "TensorListConcat" | "TensorListConcatV2" => &[("tensor", ONE), ("lengths", ONE)],
        "BroadcastGradientArgs" => &[("r0", ONE), ("r1", ONE)],
        "LogMatrixDeterminant" => &[("sign", ONE), ("log_abs_determinant", ONE)],
        "Qr" => &[("q", ONE), ("r", ONE)],
        "Svd" => &[("s", ONE), ("u", ONE), ("v", ONE)],
        "Lu" => &[("lu", ONE), ("p", ONE)],
        "SelfAdjointEigV2" => &[("e", ONE), ("v", ONE)],
        "QuantizeV2" | "Requantize" | "QuantizedReshape" => {
            &[("output", ONE), ("output_min", ONE), ("output_max", ONE)]
        }
        "ShapeN" => &[("output", Count::Attr("N"))],
        "Split" | "SplitV" => &[("output", Count::Attr("num_split"))],
        "Unpack" => &[("output", Count::Attr("num"))],
        _ => &[],
    }
}

/// The number of the result called `name:index` of a node; `None` if the op has none of that name.
pub(super) fn position(
    op: &str,
    attrs: &BTreeMap<String, Attr>,
    name: &str,
    index: usize,
) -> Option<usize> {
    let names = names(op);
    if names.is_empty() {
        return Some(index);
    }
    let mut at = 0usize;
    for (own, count) in names {
        if *own == name {
            return at.checked_add(index);
        }
        at = at.checked_add(match count {
            Count::One => 1,
            Count::Attr(key) => match attrs.get(*key) {
                Some(Attr::Int(n)) => usize::try_from(*n).ok()?,
                _ => return None,
            },
        })?;
    }
    None
}
