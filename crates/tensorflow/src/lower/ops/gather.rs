//! Gathering and scattering.

use mlc_ir::attr::ScatterMode;
use mlc_ir::ops::{
    Gather, GatherNd, GreaterEqual, Less, LogicalAnd, NonZero, NotEqual, OneHot, RealDiv,
    ReduceSum, Scatter, ScatterNd,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::axes;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "DynamicPartition", lower: dynamic_partition },
    Lowering { name: "DynamicStitch", lower: dynamic_stitch },
    Lowering { name: "Gather", lower: gather },
    Lowering { name: "GatherNd", lower: gather_nd },
    Lowering { name: "GatherV2", lower: gather_v2 },
    Lowering { name: "ListDiff", lower: list_diff },
    Lowering { name: "InvertPermutation", lower: invert_permutation },
    Lowering { name: "OneHot", lower: one_hot },
    Lowering { name: "ParallelDynamicStitch", lower: dynamic_stitch },
    Lowering { name: "ScatterNd", lower: scatter_nd },
    Lowering { name: "SegmentMax", lower: |cx, call| segment(cx, call, Segment::MAX) },
    Lowering { name: "SegmentMean", lower: |cx, call| segment(cx, call, Segment::MEAN) },
    Lowering { name: "SegmentMin", lower: |cx, call| segment(cx, call, Segment::MIN) },
    Lowering { name: "SegmentProd", lower: |cx, call| segment(cx, call, Segment::PROD) },
    Lowering { name: "SegmentSum", lower: |cx, call| segment(cx, call, Segment::SUM) },
    Lowering { name: "SparseToDense", lower: sparse_to_dense },
    Lowering { name: "TensorScatterAdd", lower: |cx, call| update(cx, call, ScatterMode::Add) },
    Lowering { name: "TensorScatterMax", lower: |cx, call| update(cx, call, ScatterMode::Max) },
    Lowering { name: "TensorScatterMin", lower: |cx, call| update(cx, call, ScatterMode::Min) },
    Lowering { name: "TensorScatterSub", lower: |cx, call| update(cx, call, ScatterMode::Sub) },
    Lowering {
        name: "TensorScatterUpdate",
        lower: |cx, call| update(cx, call, ScatterMode::Update),
    },
    Lowering { name: "UnsortedSegmentMax", lower: |cx, call| unsorted(cx, call, Segment::MAX) },
    Lowering { name: "UnsortedSegmentMin", lower: |cx, call| unsorted(cx, call, Segment::MIN) },
    Lowering { name: "UnsortedSegmentProd", lower: |cx, call| unsorted(cx, call, Segment::PROD) },
    Lowering { name: "UnsortedSegmentSum", lower: |cx, call| unsorted(cx, call, Segment::SUM) },
    Lowering { name: "UnravelIndex", lower: unravel_index },
    Lowering { name: "Where", lower: where_ },
];

/// Indices as i32 or narrower; 64 bits have no meaning for places in a tensor.
fn indices(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    match cx.dtype(x)? {
        DType::I64 | DType::U32 | DType::U64 => cx.cast(x, DType::I32),
        _ => Ok(x),
    }
}

fn gather(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["validate_indices"]);
    let (x, at) = (call.tensor(0)?, call.tensor(1)?);
    let y = gathered(cx, x, at, (0, 0))?;
    cx.one(y)
}

fn gather_v2(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, at) = (call.tensor(0)?, call.tensor(1)?);
    let axis = axes::axis(cx.need_int(call.tensor(2)?, "axis")?, cx.rank(x)?)?;
    let rank = cx.rank(at)? as i64;
    let batch = call.int_or("batch_dims", 0)?;
    let batch = if batch < 0 { batch + rank } else { batch };
    let y = gathered(cx, x, at, (axis, batch))?;
    cx.one(y)
}

fn gathered(
    cx: &mut Cx<'_>,
    x: Value,
    at: Value,
    (axis, batch_dims): (usize, i64),
) -> LowerResult<Value> {
    let at = indices(cx, at)?;
    let dtype = cx.dtype(x)?;
    let x = if dtype == DType::Bool { cx.cast(x, DType::I32)? } else { x };
    let op = Gather { axis: axis as i64, batch_dims, validate_indices: false };
    let y = op.build(&mut cx.b, x, at)?;
    if dtype == DType::Bool { cx.cast(y, dtype) } else { Ok(y) }
}

fn gather_nd(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["bad_indices_policy"]);
    let (x, at) = (call.tensor(0)?, call.tensor(1)?);
    let at = indices(cx, at)?;
    let shape = cx.shape(at)?;
    let last = shape.last().cloned().ok_or_else(|| LowerError::invalid("an index is a scalar"))?;
    if last.is(0) {
        // Empty indices take all of `x` each.
        let own = cx.shape(x)?;
        let mut to = shape[..shape.len() - 1].to_vec();
        to.extend(own);
        let y = dims::expand(cx, x, &to)?;
        return cx.one(y);
    }
    let op = GatherNd { batch_dims: 0, validate_indices: false };
    let y = op.build(&mut cx.b, x, at)?;
    cx.one(y)
}

fn scatter_nd(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["bad_indices_policy"]);
    let (at, updates) = (call.tensor(0)?, call.tensor(1)?);
    let shape = cx.extents(call.tensor(2)?, "shape")?;
    let zero = cx.scalar_like(updates, 0.0)?;
    let data = cx.filled(&shape, zero)?;
    let y = scattered(cx, (data, at, updates), ScatterMode::Add)?;
    cx.one(y)
}

fn update(cx: &mut Cx<'_>, call: &Call<'_>, mode: ScatterMode) -> LowerResult<Vec<Val>> {
    call.ignore(&["bad_indices_policy"]);
    let y = scattered(cx, (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?), mode)?;
    cx.one(y)
}

fn scattered(
    cx: &mut Cx<'_>,
    (data, at, updates): (Value, Value, Value),
    mode: ScatterMode,
) -> LowerResult<Value> {
    let at = indices(cx, at)?;
    let dtype = cx.dtype(data)?;
    let narrow = dtype == DType::Bool || (dtype.is_int() && dtype.bits() < 32);
    let (data, updates) = match narrow {
        true => (cx.cast(data, DType::I32)?, cx.cast(updates, DType::I32)?),
        false => (data, updates),
    };
    let op = ScatterNd { mode, validate_indices: false };
    let y = op.build(&mut cx.b, data, at, updates)?;
    cx.cast(y, dtype)
}

fn one_hot(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (at, depth, on, off) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?, call.tensor(3)?);
    let axis = call.int_or("axis", -1)?;
    let at = indices(cx, at)?;
    let at = if cx.dtype(at)?.bits() < 32 { cx.cast(at, DType::I32)? } else { at };
    let depth = cx.cast(depth, DType::I32)?;
    let dtype = cx.dtype(on)?;
    if dtype == DType::Bool {
        let (on, off) = (cx.cast(on, DType::I32)?, cx.cast(off, DType::I32)?);
        let y = OneHot { axis }.build(&mut cx.b, at, depth, Some(on), Some(off))?;
        let y = cx.cast(y, DType::Bool)?;
        return cx.one(y);
    }
    let y = OneHot { axis }.build(&mut cx.b, at, depth, Some(on), Some(off))?;
    cx.one(y)
}

/// The places of elements that are not 0, a row each.
fn where_(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let x = match cx.dtype(x)? {
        DType::Bool => cx.cast(x, DType::I32)?,
        dtype if dtype.is_int() && dtype.bits() != 32 => {
            let zero = cx.scalar_like(x, 0.0)?;
            let there = cx.binary(NotEqual {}, x, zero)?;
            cx.cast(there, DType::I32)?
        }
        _ => x,
    };
    let y = NonZero {}.build(&mut cx.b, x)?;
    let y = cx.cast(y, DType::I64)?;
    cx.one(y)
}

/// The elements of the first list that are not in the second, and their places.
fn list_diff(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (call.tensor(0)?, call.tensor(1)?);
    let out = call.dtype_or("out_idx", DType::I32)?;
    let (rows, columns) = (cx.expand_dims(x, &[1])?, cx.expand_dims(y, &[0])?);
    let same = super::compare::equal_values(cx, rows, columns, true)?;
    let same = cx.cast(same, DType::I32)?;
    let met = ReduceSum { axes: Some(vec![1]), keep_dims: false };
    let met = cx.unary(met, same)?;
    let none = cx.integer(DType::I32, 0)?;
    let left = cx.binary(mlc_ir::ops::Equal {}, met, none)?;
    let left = cx.cast(left, DType::I32)?;
    let places = NonZero {}.build(&mut cx.b, left)?;
    let places = cx.squeeze(places, &[1])?;
    let found = super::join::gathered(cx, x, places, 0)?;
    let places = cx.cast(places, out)?;
    Ok(vec![Val::Tensor(found), Val::Tensor(places)])
}

fn invert_permutation(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let dtype = cx.dtype(x)?;
    if let Some(perm) = cx.ints(x) {
        let mut inverse = vec![0i64; perm.len()];
        for (i, &p) in perm.iter().enumerate() {
            let slot = usize::try_from(p).ok().and_then(|p| inverse.get_mut(p));
            *slot.ok_or_else(|| LowerError::invalid(format!("{perm:?} is no permutation")))? =
                i as i64;
        }
        let count = [perm.len() as u64];
        let tensor = mlc_tensor::Tensor::from_i64s(dtype, &count, &inverse)?;
        let y = cx.b.constant(tensor)?;
        return cx.one(y);
    }
    let count = cx.shape(x)?[0].clone();
    let places = super::join::iota(cx, &count, DType::I32)?;
    let at = cx.cast(x, DType::I32)?;
    let op = Scatter { axis: 0, mode: ScatterMode::Update, validate_indices: false };
    let y = op.build(&mut cx.b, places, at, places)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// Coordinates of flat indices.
fn unravel_index(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let extents = cx.need_ints(call.tensor(1)?, "dims")?;
    let mut left = x;
    let mut rows = Vec::new();
    for &extent in extents.iter().rev() {
        let n = cx.scalar_like(x, extent as f64)?;
        rows.push(cx.binary(mlc_ir::ops::Mod {}, left, n)?);
        left = cx.binary(mlc_ir::ops::FloorDiv {}, left, n)?;
    }
    rows.reverse();
    let y = super::join::stacked(cx, rows, 0)?;
    cx.one(y)
}

fn sparse_to_dense(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["validate_indices"]);
    let (at, shape, values, default) =
        (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?, call.tensor(3)?);
    let shape = cx.extents(shape, "output_shape")?;
    let data = cx.filled(&shape, default)?;
    let rank = cx.rank(at)?;
    // One place, or places along one axis, may come as less than a matrix.
    let at = match rank {
        0 => cx.expand_dims(at, &[0, 1])?,
        1 if shape.len() == 1 => cx.expand_dims(at, &[1])?,
        1 => cx.expand_dims(at, &[0])?,
        _ => at,
    };
    let count = cx.shape(at)?[0].clone();
    let values = if cx.rank(values)? == 0 {
        dims::expand(cx, values, std::slice::from_ref(&count))?
    } else {
        values
    };
    let y = scattered(cx, (data, at, values), ScatterMode::Update)?;
    cx.one(y)
}

/// How rows of one segment are put together.
#[derive(Debug, Clone, Copy)]
struct Segment {
    mode: ScatterMode,
    mean: bool,
}

impl Segment {
    const SUM: Self = Self { mode: ScatterMode::Add, mean: false };
    const MEAN: Self = Self { mode: ScatterMode::Add, mean: true };
    const PROD: Self = Self { mode: ScatterMode::Mul, mean: false };
    const MAX: Self = Self { mode: ScatterMode::Max, mean: false };
    const MIN: Self = Self { mode: ScatterMode::Min, mean: false };

    /// What an empty segment holds before anything is put in.
    fn start(self, dtype: DType) -> f64 {
        let (low, high) = dtype.int_range().unwrap_or((0, 0));
        let float = dtype.is_float();
        let greatest = match dtype {
            DType::F16 => 65504.0,
            DType::F64 => f64::MAX,
            DType::Bf16 => 3.389_531_389_251_535_5e38,
            _ => f64::from(f32::MAX),
        };
        match self.mode {
            ScatterMode::Mul => 1.0,
            ScatterMode::Max if float => -greatest,
            ScatterMode::Min if float => greatest,
            ScatterMode::Max => low as f64,
            ScatterMode::Min => high as f64,
            _ => 0.0,
        }
    }
}

/// Segments of rows with rising numbers; one that is missing in between is zeros, as a product ones.
fn segment(cx: &mut Cx<'_>, call: &Call<'_>, kind: Segment) -> LowerResult<Vec<Val>> {
    let (x, ids) = (call.tensor(0)?, call.tensor(1)?);
    let Some(known) = cx.ints(ids) else {
        let y = open_segments(cx, (x, ids), kind)?;
        return cx.one(y);
    };
    let count = known.last().map_or(0, |&n| n.saturating_add(1));
    let y = segmented(cx, (x, ids), &Dim::Const(count), kind)?;
    let missing: Vec<i64> = (0..count).filter(|id| !known.contains(id)).collect();
    if missing.is_empty() || matches!(kind.mode, ScatterMode::Add | ScatterMode::Mul) {
        return cx.one(y);
    }
    let shape = cx.shape(y)?;
    let mut rows = shape.clone();
    rows[0] = Dim::Const(missing.len() as i64);
    let zero = cx.scalar_like(y, 0.0)?;
    let zeros = cx.filled(&rows, zero)?;
    let at = cx.b.ints(&missing)?;
    let op = Scatter { axis: 0, mode: ScatterMode::Update, validate_indices: false };
    let y = op.build(&mut cx.b, y, at, zeros)?;
    cx.one(y)
}

/// Segments whose numbers only running the program tells; the last one says how many there are.
fn open_segments(cx: &mut Cx<'_>, (x, ids): (Value, Value), kind: Segment) -> LowerResult<Value> {
    let ids = cx.cast(ids, DType::I32)?;
    let rows = cx.shape(ids)?;
    let (end, one) = (cx.b.int(-1)?, cx.b.int(1)?);
    let end = match rows.first().and_then(Dim::as_const) {
        Some(n) => cx.b.int(n - 1)?,
        None => end,
    };
    let last = super::join::gathered(cx, ids, end, 0)?;
    let count = cx.binary(mlc_ir::ops::Add {}, last, one)?;
    let count = dims::from_scalar(cx, count)?;
    let y = segmented(cx, (x, ids), &count, kind)?;
    if !matches!(kind.mode, ScatterMode::Max | ScatterMode::Min) {
        return Ok(y);
    }
    let one = cx.scalar_like(x, 1.0)?;
    let shape = cx.shape(x)?;
    let ones = cx.filled(&shape, one)?;
    let sizes = segmented(cx, (ones, ids), &count, Segment::SUM)?;
    let zero = cx.scalar_like(y, 0.0)?;
    let empty = cx.binary(mlc_ir::ops::Equal {}, sizes, zero)?;
    cx.select(empty, zero, y)
}

/// Segments in any order; rows of negative numbers are dropped.
fn unsorted(cx: &mut Cx<'_>, call: &Call<'_>, kind: Segment) -> LowerResult<Vec<Val>> {
    let (x, ids) = (call.tensor(0)?, call.tensor(1)?);
    let count = dims::from_scalar(cx, call.tensor(2)?)?;
    // Axes of the numbers beyond the first are rows too.
    let (shape, own) = (cx.shape(x)?, cx.shape(ids)?);
    let mut flat = vec![Dim::product(&own)];
    flat.extend_from_slice(shape.get(own.len()..).unwrap_or_default());
    let x = cx.reshape(x, &flat)?;
    let ids = cx.reshape(ids, &flat[..1])?;
    let negative = cx.ints(ids).is_none_or(|all| all.iter().any(|&id| id < 0));
    if !negative {
        let y = segmented(cx, (x, ids), &count, kind)?;
        return cx.one(y);
    }
    // One more segment takes what is dropped.
    let ids = cx.cast(ids, DType::I32)?;
    let (zero, end) = (cx.b.int(0)?, dims::scalar(cx, &count)?);
    let inside = cx.binary(GreaterEqual {}, ids, zero)?;
    let below = cx.binary(Less {}, ids, end)?;
    let inside = cx.binary(LogicalAnd {}, inside, below)?;
    let ids = cx.select(inside, ids, end)?;
    let more = count.add(&Dim::Const(1));
    let y = segmented(cx, (x, ids), &more, kind)?;
    let rank = cx.rank(y)?;
    let begin = cx.b.ints(&vec![0; rank])?;
    let mut size = vec![Dim::Const(-1); rank];
    size[0] = count;
    let size = dims::vector(cx, &size)?;
    let y = mlc_ir::ops::SliceBySize {}.build(&mut cx.b, y, begin, size)?;
    cx.one(y)
}

fn segmented(
    cx: &mut Cx<'_>,
    (x, ids): (Value, Value),
    count: &Dim,
    kind: Segment,
) -> LowerResult<Value> {
    let dtype = cx.dtype(x)?;
    let mut shape = cx.shape(x)?;
    if shape.is_empty() {
        return Err(LowerError::invalid("a scalar has no segments"));
    }
    let rows = shape[0].clone();
    shape[0] = count.clone();
    let start = match (dtype.is_int(), kind.start(dtype)) {
        (true, start) => cx.integer(dtype, start as i64)?,
        (false, start) => cx.number(dtype, start)?,
    };
    let data = cx.filled(&shape, start)?;
    let ids = indices(cx, ids)?;
    let op = Scatter { axis: 0, mode: kind.mode, validate_indices: false };
    let y = op.clone().build(&mut cx.b, data, ids, x)?;
    if !kind.mean {
        return Ok(y);
    }
    let (one, zero) = (cx.number(dtype, 1.0)?, cx.number(dtype, 0.0)?);
    let ones = cx.filled(std::slice::from_ref(&rows), one)?;
    let counts = cx.filled(&shape[..1], zero)?;
    let counts = op.build(&mut cx.b, counts, ids, ones)?;
    let counts = cx.binary(mlc_ir::ops::Maximum {}, counts, one)?;
    let mut broad = shape[..1].to_vec();
    broad.extend(vec![Dim::Const(1); shape.len() - 1]);
    let counts = cx.reshape(counts, &broad)?;
    cx.binary(RealDiv {}, y, counts)
}

/// Rows by the number of their part; the numbers must be known.
fn dynamic_partition(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, parts) = (call.tensor(0)?, call.tensor(1)?);
    let count = call.int("num_partitions")?;
    if !(1..=1 << 16).contains(&count) {
        return Err(LowerError::invalid(format!("`num_partitions` is {count}")));
    }
    let (shape, own) = (cx.shape(x)?, cx.shape(parts)?);
    let mut flat = vec![Dim::product(&own)];
    flat.extend_from_slice(shape.get(own.len()..).unwrap_or_default());
    let rows = cx.reshape(x, &flat)?;
    let known = cx.ints(parts);
    let parts = cx.reshape(parts, &flat[..1])?;
    let mut results = Vec::new();
    for part in 0..count {
        let at = match &known {
            Some(all) => {
                let at: Vec<i64> =
                    (0..all.len()).filter(|&i| all[i] == part).map(|i| i as i64).collect();
                if at.is_empty() {
                    let mut shape = flat.clone();
                    shape[0] = Dim::Const(0);
                    let zero = cx.scalar_like(rows, 0.0)?;
                    results.push(Val::Tensor(cx.filled(&shape, zero)?));
                    continue;
                }
                cx.b.ints(&at)?
            }
            None => {
                let number = cx.scalar_like(parts, part as f64)?;
                let own = cx.binary(mlc_ir::ops::Equal {}, parts, number)?;
                let own = cx.cast(own, DType::I32)?;
                let at = NonZero {}.build(&mut cx.b, own)?;
                cx.squeeze(at, &[1])?
            }
        };
        results.push(Val::Tensor(gathered(cx, rows, at, (0, 0))?));
    }
    Ok(results)
}

/// Rows at places that only running the program tells; the greatest says how many there are.
fn open_stitch(cx: &mut Cx<'_>, places: &[Value], tensors: &[Value]) -> LowerResult<Vec<Val>> {
    let (mut at, mut rows) = (Vec::new(), Vec::new());
    for (&index, &data) in places.iter().zip(tensors) {
        let (own, shape) = (cx.shape(index)?, cx.shape(data)?);
        let mut flat = vec![Dim::product(&own)];
        flat.extend_from_slice(shape.get(own.len()..).unwrap_or_default());
        rows.push(cx.reshape(data, &flat)?);
        let index = cx.reshape(index, &flat[..1])?;
        at.push(indices(cx, index)?);
    }
    let (rows, at) = (super::join::joined(cx, rows, 0)?, super::join::joined(cx, at, 0)?);
    let greatest = mlc_ir::ops::ReduceMax { axes: Some(vec![0]), keep_dims: false };
    let (greatest, one) = (cx.unary(greatest, at)?, cx.b.int(1)?);
    let count = cx.binary(mlc_ir::ops::Add {}, greatest, one)?;
    let mut shape = cx.shape(rows)?;
    shape[0] = dims::from_scalar(cx, count)?;
    let zero = cx.scalar_like(rows, 0.0)?;
    let data = cx.filled(&shape, zero)?;
    let op = Scatter { axis: 0, mode: ScatterMode::Update, validate_indices: false };
    let y = op.build(&mut cx.b, data, at, rows)?;
    cx.one(y)
}

/// Rows of several tensors at the places that indices say; later ones win.
fn dynamic_stitch(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let n = usize::try_from(call.int("N")?).unwrap_or(0);
    let all = call.tensors(0)?;
    if n == 0 || all.len() != 2 * n {
        return Err(LowerError::invalid("as many tensors as indices are needed"));
    }
    if all[..n].iter().any(|&index| cx.ints(index).is_none()) {
        return open_stitch(cx, &all[..n], &all[n..]);
    }
    let (mut at, mut rows) = (Vec::new(), Vec::new());
    for i in 0..n {
        let (index, data) = (all[i], all[n + i]);
        let known = cx.need_ints(index, "indices")?;
        let (own, shape) = (cx.shape(index)?, cx.shape(data)?);
        let mut flat = vec![Dim::product(&own)];
        flat.extend_from_slice(shape.get(own.len()..).unwrap_or_default());
        rows.push(cx.reshape(data, &flat)?);
        at.extend(known.iter().copied());
    }
    let count = at.iter().max().map_or(0, |&n| n + 1);
    if at.iter().any(|&i| i < 0) {
        return Err(LowerError::invalid("a negative index"));
    }
    // For each place, the last row that goes there.
    let mut from = vec![None; usize::try_from(count).unwrap_or(0)];
    for (row, &i) in at.iter().enumerate() {
        from[i as usize] = Some(row as i64);
    }
    let joined = super::join::joined(cx, rows, 0)?;
    let known: Option<Vec<i64>> = from.iter().copied().collect();
    let known = known.ok_or_else(|| LowerError::argument("a place that no index names"))?;
    let known = cx.b.ints(&known)?;
    let y = gathered(cx, joined, known, (0, 0))?;
    cx.one(y)
}
