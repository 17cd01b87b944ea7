//! Sorting, selection, and searching.

use mlc_ir::Value;
use mlc_ir::ops::{
    Argsort, Cumsum, Equal, Gather, GatherAlongAxis, Greater, GreaterEqual, Less, LessEqual,
    LogicalAnd, Maximum, Minimum, Mul, NonZero, RealDiv, ReduceSum, Sub, Topk,
};
use mlc_tensor::DType;

use super::join::gathered;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "Bincount", lower: bincount },
    Lowering { name: "Bucketize", lower: bucketize },
    Lowering { name: "DenseBincount", lower: bincount },
    Lowering { name: "HistogramFixedWidth", lower: histogram },
    Lowering { name: "InTopK", lower: in_top_k },
    Lowering { name: "InTopKV2", lower: in_top_k },
    Lowering { name: "LowerBound", lower: |cx, call| bound(cx, call, true) },
    Lowering { name: "NthElement", lower: nth_element },
    Lowering { name: "TopK", lower: top_k },
    Lowering { name: "TopKV2", lower: top_k },
    Lowering { name: "Unique", lower: |cx, call| unique(cx, call, false) },
    Lowering { name: "UniqueV2", lower: |cx, call| unique(cx, call, false) },
    Lowering { name: "UniqueWithCounts", lower: |cx, call| unique(cx, call, true) },
    Lowering { name: "UniqueWithCountsV2", lower: |cx, call| unique(cx, call, true) },
    Lowering { name: "UpperBound", lower: |cx, call| bound(cx, call, false) },
];

fn top_k(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let sort = call.bool_or("sorted", true)?;
    let dtype = cx.dtype(x)?;
    let k = if call.has_input(1) {
        cx.cast(call.tensor(1)?, DType::I32)?
    } else {
        let k = call.int("k")?;
        cx.b.int(k)?
    };
    let wide = if dtype.is_int() && dtype.bits() < 32 { cx.cast(x, DType::I32)? } else { x };
    let (values, indices) = match (cx.b.content(k), cx.shape(wide)?.last()) {
        // All of an open axis: the op takes only a number that is known.
        (Some([own]), Some(extent)) if own == extent && own.as_const().is_none() => {
            let order = cx.unary(Argsort { axis: -1, ascending: false }, wide)?;
            let pick = GatherAlongAxis { axis: -1, validate_indices: false };
            (pick.build(&mut cx.b, wide, order)?, order)
        }
        _ => {
            let op = Topk {
                axis: -1,
                ascending: false,
                sort,
                return_indices: true,
                output_indices_dtype: DType::I32,
            };
            match op.build_many(&mut cx.b, wide, Some(k))?[..] {
                [values, indices] => (values, indices),
                _ => return Err(LowerError::invalid("two results are needed")),
            }
        }
    };
    let values = cx.cast(values, dtype)?;
    let indices = cx.cast(indices, call.dtype_or("index_type", DType::I32)?)?;
    Ok(vec![Val::Tensor(values), Val::Tensor(indices)])
}

/// Whether the target's prediction is among the k greatest of its row, equal ones included.
fn in_top_k(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, targets) = (call.tensor(0)?, call.tensor(1)?);
    let k = if call.has_input(2) {
        cx.cast(call.tensor(2)?, DType::I32)?
    } else {
        let k = call.int("k")?;
        cx.b.int(k)?
    };
    let shape = cx.shape(x)?;
    let targets = cx.cast(targets, DType::I32)?;
    let count = dims::scalar(cx, &shape[1])?;
    let zero = cx.b.int(0)?;
    // A target out of range is in no top.
    let low = cx.binary(GreaterEqual {}, targets, zero)?;
    let high = cx.binary(Less {}, targets, count)?;
    let valid = cx.binary(LogicalAnd {}, low, high)?;
    let safe = cx.select(valid, targets, zero)?;
    let at = cx.expand_dims(safe, &[1])?;
    let own = GatherAlongAxis { axis: 1, validate_indices: false }.build(&mut cx.b, x, at)?;
    let above = cx.binary(Greater {}, x, own)?;
    let above = cx.cast(above, DType::I32)?;
    let above = cx.unary(ReduceSum { axes: Some(vec![1]), keep_dims: false }, above)?;
    let inside = cx.binary(Less {}, above, k)?;
    let finite = {
        let own = cx.squeeze(own, &[1])?;
        let size = cx.unary(mlc_ir::ops::Abs {}, own)?;
        let infinite = cx.scalar_like(size, f64::INFINITY)?;
        cx.binary(Less {}, size, infinite)?
    };
    let y = cx.binary(LogicalAnd {}, inside, valid)?;
    let y = cx.binary(LogicalAnd {}, y, finite)?;
    cx.one(y)
}

fn nth_element(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let ascending = !call.bool_or("reverse", false)?;
    let n = cx.need_int(call.tensor(1)?, "n")?;
    let k = cx.b.int(n.saturating_add(1))?;
    let op = Topk {
        axis: -1,
        ascending,
        sort: true,
        return_indices: true,
        output_indices_dtype: DType::I32,
    };
    let values = op.build(&mut cx.b, x, Some(k))?;
    let axis = cx.rank(values)?.checked_sub(1).ok_or_else(|| LowerError::invalid("a scalar"))?;
    let at = cx.b.int(n)?;
    let y = gathered(cx, values, at, axis)?;
    cx.one(y)
}

/// For each value the number of sorted elements below it, or not above it.
fn bound(cx: &mut Cx<'_>, call: &Call<'_>, lower: bool) -> LowerResult<Vec<Val>> {
    let (sorted, values) = (call.tensor(0)?, call.tensor(1)?);
    let sorted = cx.expand_dims(sorted, &[-2])?;
    let values = cx.expand_dims(values, &[-1])?;
    let before = match lower {
        true => cx.binary(Less {}, sorted, values)?,
        false => cx.binary(LessEqual {}, sorted, values)?,
    };
    let before = cx.cast(before, DType::I32)?;
    let y = cx.unary(ReduceSum { axes: Some(vec![-1]), keep_dims: false }, before)?;
    let y = cx.cast(y, call.dtype_or("out_type", DType::I32)?)?;
    cx.one(y)
}

/// The number of boundaries that are not above each element.
fn bucketize(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let boundaries = call.floats("boundaries")?;
    if boundaries.is_empty() {
        let zero = cx.b.int(0)?;
        let shape = cx.shape(x)?;
        let y = cx.filled(&shape, zero)?;
        return cx.one(y);
    }
    let wide = if cx.dtype(x)?.is_float() { x } else { cx.cast(x, DType::F32)? };
    let dtype = cx.dtype(wide)?;
    let count = [boundaries.len() as u64];
    let boundaries = mlc_tensor::Tensor::from_f64s(dtype, &count, &boundaries)?;
    let boundaries = cx.b.constant(boundaries)?;
    let x = cx.expand_dims(wide, &[-1])?;
    let passed = cx.binary(GreaterEqual {}, x, boundaries)?;
    let passed = cx.cast(passed, DType::I32)?;
    let y = cx.unary(ReduceSum { axes: Some(vec![-1]), keep_dims: false }, passed)?;
    cx.one(y)
}

/// How often each number stands in a tensor, or the sum of its weights.
fn bincount(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let binary = call.bool_or("binary_output", false)?;
    let size = cx.reshape(call.tensor(1)?, &[])?;
    let weights = call.tensor(2)?;
    let dtype = cx.dtype(weights)?;
    let shape = cx.shape(x)?;
    if shape.len() > 2 {
        return Err(LowerError::invalid(format!("the input is {}", cx.b.tensor(x)?)));
    }
    let weighted = !cx.b.tensor(weights)?.count().is(0);
    let x = cx.cast(x, DType::I32)?;
    let places = places_up_to(cx, size)?;
    let each = cx.expand_dims(x, &[-1])?;
    let same = cx.binary(Equal {}, each, places)?;
    let same = cx.cast(same, dtype)?;
    let same = if weighted && !binary {
        let weights = cx.expand_dims(weights, &[-1])?;
        cx.binary(Mul {}, same, weights)?
    } else {
        same
    };
    // All axes but that of places, and that of rows of a matrix, are summed over.
    let rank = cx.rank(same)? as i64;
    let axes = Some(vec![rank - 2]);
    let mut y = if rank < 2 { same } else { cx.unary(ReduceSum { axes, keep_dims: false }, same)? };
    if binary {
        let one = cx.scalar_like(y, 1.0)?;
        y = cx.binary(Minimum {}, y, one)?;
    }
    cx.one(y)
}

/// The numbers from 0 to the value of a scalar, which need not be known.
fn places_up_to(cx: &mut Cx<'_>, size: Value) -> LowerResult<Value> {
    match cx.ints(size).as_deref() {
        Some([size]) => {
            let places: Vec<i64> = (0..*size).collect();
            Ok(cx.b.ints(&places)?)
        }
        _ => {
            let count = crate::lower::dims::from_scalar(cx, size)?;
            super::join::iota(cx, &count, DType::I32)
        }
    }
}

/// How many elements fall in each of equal stretches of a range; those outside in the outermost.
fn histogram(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, range, bins) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let bins = cx.need_int(bins, "nbins")?;
    let out = call.dtype_or("dtype", DType::I32)?;
    let dtype = if cx.dtype(x)?.is_float() { cx.dtype(x)? } else { DType::F32 };
    let (x, range) = (cx.cast(x, dtype)?, cx.cast(range, dtype)?);
    let (zero, one) = (cx.b.int(0)?, cx.b.int(1)?);
    let (low, high) = (gathered(cx, range, zero, 0)?, gathered(cx, range, one, 0)?);
    let width = cx.binary(Sub {}, high, low)?;
    let count = cx.number(dtype, bins as f64)?;
    let step = cx.binary(RealDiv {}, width, count)?;
    let rest = cx.binary(Sub {}, x, low)?;
    let at = cx.binary(RealDiv {}, rest, step)?;
    let (first, last) = (cx.number(dtype, 0.0)?, cx.number(dtype, (bins - 1) as f64)?);
    let at = cx.binary(Maximum {}, at, first)?;
    let at = cx.binary(Minimum {}, at, last)?;
    let at = cx.cast(at, DType::I32)?;
    let elements = cx.b.tensor(at)?.count();
    let at = cx.reshape(at, &[elements])?;
    let places: Vec<i64> = (0..bins).collect();
    let places = cx.b.ints(&places)?;
    let each = cx.expand_dims(at, &[-1])?;
    let same = cx.binary(Equal {}, each, places)?;
    let same = cx.cast(same, DType::I32)?;
    let y = cx.unary(ReduceSum { axes: Some(vec![0]), keep_dims: false }, same)?;
    let y = cx.cast(y, out)?;
    cx.one(y)
}

/// The distinct elements in the order in which they come first, where each element is among them, and
/// how often each comes.
fn unique(cx: &mut Cx<'_>, call: &Call<'_>, counts: bool) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    if cx.rank(x)? != 1 {
        return Err(LowerError::argument("distinct elements of a tensor that is no vector"));
    }
    if call.has_input(1) {
        // The axis of a vector.
        let _ = call.tensor(1)?;
    }
    let out = call.dtype_or("out_idx", DType::I32)?;
    let n = cx.shape(x)?[0].clone();
    // Row i, column j: whether elements are equal. The first equal one stands for all.
    let (row, column) = (cx.expand_dims(x, &[0])?, cx.expand_dims(x, &[1])?);
    let same = super::compare::equal_values(cx, column, row, true)?;
    let same = cx.cast(same, DType::I32)?;
    let first = mlc_ir::ops::ReduceArgmax { axis: 1, keep_dims: false, output_dtype: DType::I32 };
    let first = cx.unary(first, same)?;
    let own = super::join::iota(cx, &n, DType::I32)?;
    let leads = cx.binary(Equal {}, first, own)?;
    let leads = cx.cast(leads, DType::I32)?;
    let number = cx.unary(Cumsum { axis: 0, exclusive: true, reverse: false }, leads)?;
    let at = NonZero {}.build(&mut cx.b, leads)?;
    let at = cx.squeeze(at, &[1])?;
    let gather = Gather { axis: 0, batch_dims: 0, validate_indices: false };
    let values = gather.clone().build(&mut cx.b, x, at)?;
    let index = gather.clone().build(&mut cx.b, number, first)?;
    let index = cx.cast(index, out)?;
    let mut results = vec![Val::Tensor(values), Val::Tensor(index)];
    if counts {
        let all = cx.unary(ReduceSum { axes: Some(vec![1]), keep_dims: false }, same)?;
        let count = gather.build(&mut cx.b, all, at)?;
        let count = cx.cast(count, out)?;
        results.push(Val::Tensor(count));
    }
    Ok(results)
}
