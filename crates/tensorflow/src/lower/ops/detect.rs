//! Non-maximum suppression: boxes are chosen one by one, the best that is left first.

use mlc_ir::attr::ScatterMode;
use mlc_ir::ops::{
    Add, Exp, Gather, Greater, Less, LogicalAnd, Maximum, Minimum, Mul, RealDiv, ReduceArgmax,
    ReduceMax, Scatter, Select, Split, Sub, WhileLoop,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::join::{gathered, iota, joined, stacked};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "CombinedNonMaxSuppression", lower: combined },
    Lowering { name: "NonMaxSuppression", lower: suppression },
    Lowering { name: "NonMaxSuppressionV2", lower: suppression },
    Lowering { name: "NonMaxSuppressionV3", lower: suppression },
    Lowering { name: "NonMaxSuppressionV4", lower: suppression },
    Lowering { name: "NonMaxSuppressionV5", lower: suppression },
];

/// What is below every score.
const NOTHING: f64 = -3.0e38;

/// Boxes `[n, 4]`, scores `[n]`, and when a box is chosen.
struct Request {
    boxes: Value,
    scores: Value,
    most: i64,
    iou_threshold: Value,
    score_threshold: Option<Value>,
    /// Scores of boxes that overlap sink by this instead of to nothing; more than 0.
    sigma: Option<f64>,
}

/// Places and scores of chosen boxes, `most` of them, and how many there are.
struct Chosen {
    places: Value,
    scores: Value,
    count: Value,
}

fn suppression(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (boxes, scores) = (call.tensor(0)?, call.tensor(1)?);
    let dtype = cx.dtype(scores)?;
    let (boxes, scores) = (cx.cast(boxes, DType::F32)?, cx.cast(scores, DType::F32)?);
    let most = cx.need_int(call.tensor(2)?, "max_output_size")?;
    let count = cx.shape(scores)?[0].clone();
    let padded = call.bool_or("pad_to_max_output_size", false)?;
    let most = match count.as_const() {
        Some(n) if !padded => most.min(n),
        _ => most,
    }
    .max(0);
    let iou_threshold = if call.has_input(3) {
        cx.cast(call.tensor(3)?, DType::F32)?
    } else {
        let x = call.float_or("iou_threshold", 0.5)?;
        cx.number(DType::F32, x)?
    };
    let score_threshold =
        if call.has_input(4) { Some(cx.cast(call.tensor(4)?, DType::F32)?) } else { None };
    let sigma = if call.has_input(5) {
        Some(cx.need_float(call.tensor(5)?, "soft_nms_sigma")?).filter(|&s| s > 0.0)
    } else {
        None
    };
    let request = Request { boxes, scores, most, iou_threshold, score_threshold, sigma };
    let chosen = choose(cx, &request)?;
    let (places, values) = if padded {
        (chosen.places, chosen.scores)
    } else {
        let n = dims::from_scalar(cx, chosen.count)?;
        (first(cx, chosen.places, &n)?, first(cx, chosen.scores, &n)?)
    };
    let values = cx.cast(values, dtype)?;
    let results = match call.op {
        "NonMaxSuppressionV4" => vec![places, chosen.count],
        "NonMaxSuppressionV5" => vec![places, values, chosen.count],
        _ => vec![places],
    };
    Ok(results.into_iter().map(Val::Tensor).collect())
}

/// The first `n` elements of a vector.
fn first(cx: &mut Cx<'_>, x: Value, n: &Dim) -> LowerResult<Value> {
    let begin = cx.b.ints(&[0])?;
    let size = dims::vector(cx, std::slice::from_ref(n))?;
    let y = mlc_ir::ops::SliceBySize {}.build(&mut cx.b, x, begin, size)?;
    cx.refine(y, std::slice::from_ref(n))?;
    Ok(y)
}

/// Least and greatest corner of boxes, whichever way round they are given, and areas.
fn corners(cx: &mut Cx<'_>, boxes: Value) -> LowerResult<[Value; 5]> {
    let split = Split { num_splits: Some(4), split_sizes: None, axis: 1 };
    let columns = split.build_many(&mut cx.b, boxes)?;
    let mut flat = Vec::with_capacity(4);
    for column in columns {
        flat.push(cx.squeeze(column, &[1])?);
    }
    let [y1, x1, y2, x2] = flat[..] else {
        return Err(LowerError::invalid("a box has four corners"));
    };
    let (top, bottom) = (cx.binary(Minimum {}, y1, y2)?, cx.binary(Maximum {}, y1, y2)?);
    let (left, right) = (cx.binary(Minimum {}, x1, x2)?, cx.binary(Maximum {}, x1, x2)?);
    let (h, w) = (cx.binary(Sub {}, bottom, top)?, cx.binary(Sub {}, right, left)?);
    let area = cx.binary(Mul {}, h, w)?;
    Ok([top, left, bottom, right, area])
}

fn choose(cx: &mut Cx<'_>, request: &Request) -> LowerResult<Chosen> {
    let most = [Dim::Const(request.most)];
    let zero = cx.number(DType::F32, 0.0)?;
    let none = cx.b.int(0)?;
    let places = cx.filled(&most, none)?;
    let values = cx.filled(&most, zero)?;
    if request.most == 0 {
        return Ok(Chosen { places, scores: values, count: none });
    }
    let corners = corners(cx, request.boxes)?;
    let nothing = cx.number(DType::F32, NOTHING)?;
    let mut scores = request.scores;
    let floor = match request.score_threshold {
        Some(floor) => {
            let good = cx.binary(Greater {}, scores, floor)?;
            scores = cx.select(good, scores, nothing)?;
            cx.binary(Maximum {}, floor, nothing)?
        }
        None => nothing,
    };
    let count = cx.shape(request.scores)?[0].clone();
    let own = iota(cx, &count, DType::I32)?;
    let (most, one) = (cx.b.int(request.most)?, cx.b.int(1)?);
    let unit = cx.number(DType::F32, 1.0)?;
    let limit = request.iou_threshold;
    let decay = match request.sigma {
        Some(sigma) => Some(cx.number(DType::F32, -0.5 / sigma)?),
        None => None,
    };
    let pick = Gather { axis: 0, batch_dims: 0, validate_indices: false };
    let put = Scatter { axis: 0, mode: ScatterMode::Update, validate_indices: false };
    let results = WhileLoop::build_with::<LowerError>(
        &mut cx.b,
        vec![none, scores, places, values],
        |b, args| {
            let room = Less {}.build(b, args[0], most)?;
            let best = ReduceMax { axes: Some(vec![0]), keep_dims: false }.build(b, args[1])?;
            let left = Greater {}.build(b, best, floor)?;
            Ok(LogicalAnd {}.build(b, room, left)?)
        },
        |b, args| {
            let (n, scores) = (args[0], args[1]);
            let best = ReduceArgmax { axis: 0, keep_dims: false, output_dtype: DType::I32 };
            let best = best.build(b, scores)?;
            let score = pick.clone().build(b, scores, best)?;
            let mut chosen = Vec::with_capacity(5);
            for &corner in &corners {
                chosen.push(pick.clone().build(b, corner, best)?);
            }
            let mut side = |low: usize, high: usize| -> LowerResult<Value> {
                let a = Maximum {}.build(b, corners[low], chosen[low])?;
                let z = Minimum {}.build(b, corners[high], chosen[high])?;
                let length = Sub {}.build(b, z, a)?;
                Ok(Maximum {}.build(b, length, zero)?)
            };
            let (h, w) = (side(0, 2)?, side(1, 3)?);
            let common = Mul {}.build(b, h, w)?;
            let sum = Add {}.build(b, corners[4], chosen[4])?;
            let union = Sub {}.build(b, sum, common)?;
            // Boxes without area overlap nothing.
            let (a, z) =
                (Greater {}.build(b, corners[4], zero)?, Greater {}.build(b, chosen[4], zero)?);
            let solid = LogicalAnd {}.build(b, a, z)?;
            let safe = Select {}.build(b, solid, union, unit)?;
            let iou = RealDiv {}.build(b, common, safe)?;
            let iou = Select {}.build(b, solid, iou, zero)?;
            let over = Greater {}.build(b, iou, limit)?;
            let sunk = match decay {
                Some(decay) => {
                    let square = Mul {}.build(b, iou, iou)?;
                    let power = Mul {}.build(b, square, decay)?;
                    let factor = Exp {}.build(b, power)?;
                    let lower = Mul {}.build(b, scores, factor)?;
                    // What is out stays out.
                    let alive = Greater {}.build(b, scores, nothing)?;
                    Select {}.build(b, alive, lower, scores)?
                }
                None => scores,
            };
            let scores = Select {}.build(b, over, nothing, sunk)?;
            let itself = mlc_ir::ops::Equal {}.build(b, own, best)?;
            let scores = Select {}.build(b, itself, nothing, scores)?;
            let at = mlc_ir::ops::ExpandDims { axes: vec![0] }.build(b, n)?;
            let best = mlc_ir::ops::ExpandDims { axes: vec![0] }.build(b, best)?;
            let score = mlc_ir::ops::ExpandDims { axes: vec![0] }.build(b, score)?;
            let places = put.clone().build(b, args[2], at, best)?;
            let values = put.clone().build(b, args[3], at, score)?;
            Ok(vec![Add {}.build(b, n, one)?, scores, places, values])
        },
    )?;
    let [count, _, places, scores] = results[..] else {
        return Err(LowerError::invalid("no results"));
    };
    Ok(Chosen { places, scores, count })
}

/// Each class of each image on its own, then the best of all classes.
fn combined(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let all = call.tensors(0)?;
    let [boxes, scores, each, total, iou, floor] = all[..] else {
        return Err(LowerError::invalid("six inputs are needed"));
    };
    let each = cx.need_int(each, "max_output_size_per_class")?;
    let total = cx.need_int(total, "max_total_size")?;
    let per_class = call.bool_or("pad_per_class", false)?;
    let clip = call.bool_or("clip_boxes", true)?;
    let known = |dims: Vec<Dim>| -> Option<Vec<i64>> { dims.iter().map(Dim::as_const).collect() };
    let sizes = known(cx.shape(boxes)?).zip(known(cx.shape(scores)?)).ok_or_else(|| {
        LowerError::dynamic("the numbers of images, boxes and classes are not known")
    })?;
    let (&[batch, count, groups, 4], &[_, _, classes]) = (&sizes.0[..], &sizes.1[..]) else {
        return Err(LowerError::invalid("boxes are [b, n, q, 4], scores [b, n, c]"));
    };
    let total = if per_class { total.min(each.saturating_mul(classes)) } else { total };
    let most = each.min(count).max(1);
    let mut results: [Vec<Value>; 4] = Default::default();
    for image in 0..batch {
        let mut columns: [Vec<Value>; 3] = Default::default();
        for class in 0..classes {
            let group = if groups == 1 { 0 } else { class };
            let place = |cx: &mut Cx<'_>, x: Value, n: i64, axis: usize| {
                let at = cx.b.int(n)?;
                gathered(cx, x, at, axis)
            };
            let own = place(cx, boxes, image, 0)?;
            let own = place(cx, own, group, 1)?;
            let score = place(cx, scores, image, 0)?;
            let score = place(cx, score, class, 1)?;
            let request = Request {
                boxes: own,
                scores: score,
                most,
                iou_threshold: iou,
                score_threshold: Some(floor),
                sigma: None,
            };
            let chosen = choose(cx, &request)?;
            let numbers = iota(cx, &Dim::Const(most), DType::I32)?;
            let there = cx.binary(Less {}, numbers, chosen.count)?;
            let nothing = cx.number(DType::F32, NOTHING)?;
            let values = cx.select(there, chosen.scores, nothing)?;
            columns[0].push(gathered(cx, own, chosen.places, 0)?);
            columns[1].push(values);
            let number = cx.number(DType::F32, class as f64)?;
            columns[2].push(cx.filled(&[Dim::Const(most)], number)?);
        }
        let [all_boxes, all_scores, all_classes] = columns;
        let all_boxes = joined(cx, all_boxes, 0)?;
        let all_scores = joined(cx, all_scores, 0)?;
        let all_classes = joined(cx, all_classes, 0)?;
        let there = most.saturating_mul(classes);
        let top = total.min(there);
        let k = cx.b.int(top)?;
        let sort = mlc_ir::ops::Topk {
            axis: 0,
            ascending: false,
            sort: true,
            return_indices: true,
            output_indices_dtype: DType::I32,
        };
        let sorted = sort.build_many(&mut cx.b, all_scores, Some(k))?;
        let (values, at) = (sorted[0], sorted[1]);
        let nothing = cx.number(DType::F32, NOTHING)?;
        let good = cx.binary(Greater {}, values, nothing)?;
        let zero = cx.number(DType::F32, 0.0)?;
        let values = cx.select(good, values, zero)?;
        let own_classes = gathered(cx, all_classes, at, 0)?;
        let own_classes = cx.select(good, own_classes, zero)?;
        let own_boxes = gathered(cx, all_boxes, at, 0)?;
        let own_boxes = if clip {
            let one = cx.number(DType::F32, 1.0)?;
            super::elementwise::clipped(cx, own_boxes, zero, one)?
        } else {
            own_boxes
        };
        let wide = cx.expand_dims(good, &[1])?;
        let own_boxes = cx.select(wide, own_boxes, zero)?;
        let numbers = cx.cast(good, DType::I32)?;
        let sum = mlc_ir::ops::ReduceSum { axes: Some(vec![0]), keep_dims: false };
        let count = cx.unary(sum, numbers)?;
        let missing = total - top;
        let pad = |cx: &mut Cx<'_>, x: Value| -> LowerResult<Value> {
            let rank = cx.rank(x)?;
            let mut amounts = vec![(0, 0); rank];
            amounts[0] = (0, missing);
            super::slice::padded(cx, x, &amounts, None)
        };
        results[0].push(pad(cx, own_boxes)?);
        results[1].push(pad(cx, values)?);
        results[2].push(pad(cx, own_classes)?);
        results[3].push(count);
    }
    results.into_iter().map(|column| stacked(cx, column, 0).map(Val::Tensor)).collect()
}
