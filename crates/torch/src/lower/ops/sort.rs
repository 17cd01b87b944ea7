//! Order along an axis, and places in sorted sequences.

use mlc_ir::ops::{
    Argsort, Concat, Cumsum, GatherAlongAxis, Less, LessEqual, NotEqual, ReduceSum, Scatter, Sub,
    Topk,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::axes::{axis, axis_arg};
use super::index::{flat, places};
use super::indices::gather;
use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, Scalar, TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.sort", lower: sort },
    Lowering { name: "aten.argsort", lower: argsort },
    Lowering { name: "aten.msort", lower: msort },
    Lowering { name: "aten.topk", lower: topk },
    Lowering { name: "aten.kthvalue", lower: kthvalue },
    Lowering { name: "aten.searchsorted", lower: searchsorted },
    Lowering { name: "aten.bucketize", lower: bucketize },
    Lowering { name: "aten._unique2", lower: unique },
    Lowering { name: "aten._unique", lower: unique },
    Lowering { name: "aten.unique_consecutive", lower: unique_consecutive },
];

/// The first `count` elements along an axis in order, and their positions as i64; a scalar is a
/// vector of one on the way.
fn ranked(
    cx: &mut Cx<'_>,
    x: TensorId,
    (axis, ascending): (usize, bool),
    count: Option<&Dim>,
) -> LowerResult<[Value; 2]> {
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let sortable = if dtype == DType::Bool { DType::I32 } else { dtype };
    let mut value = cx.read_as(x, sortable)?;
    if shape.is_empty() {
        value = alias::unsqueeze(cx, value, &[0])?;
    }
    let extent = cx.b.tensor(value)?.shape[axis].clone();
    if count.is_none() && extent.as_const().is_none() {
        // `topk` takes only a count that is known.
        let axis = axis as i64;
        let places = Argsort { axis, ascending }.build(&mut cx.b, value)?;
        let op = GatherAlongAxis { axis, validate_indices: false };
        let values = op.build(&mut cx.b, value, places)?;
        return Ok([cx.cast(values, dtype)?, cx.cast(places, DType::I64)?]);
    }
    let count = count.unwrap_or(&extent);
    // The op takes a number that is known, or −1 for all; of all, the first are taken after.
    let all = count.as_const().is_none();
    let k = cx.b.int(count.as_const().unwrap_or(-1))?;
    let op = Topk {
        axis: axis as i64,
        ascending,
        sort: true,
        return_indices: true,
        output_indices_dtype: DType::I32,
    };
    let results = op.build_many(&mut cx.b, value, Some(k))?;
    let &[values, positions] = &results[..] else {
        return Err(LowerError::invalid("`topk` gives values and positions"));
    };
    let (mut values, mut positions) = (values, positions);
    if all && *count != extent {
        let zero = Dim::Const(0);
        values = alias::slice(cx, values, axis, (&zero, count, 1))?;
        positions = alias::slice(cx, positions, axis, (&zero, count, 1))?;
    }
    let values = cx.cast(values, dtype)?;
    let positions = cx.cast(positions, DType::I64)?;
    if shape.is_empty() {
        return Ok([cx.reshape(values, &[])?, cx.reshape(positions, &[])?]);
    }
    let mut to = shape;
    to[axis] = count.clone();
    cx.refine(values, &to)?;
    Ok([values, positions])
}

fn two(cx: &mut Cx<'_>, [a, b]: [Value; 2]) -> LowerResult<Vec<Val>> {
    Ok(vec![cx.fresh(a), cx.fresh(b)])
}

/// Equal elements keep their order, so `stable` is always met.
fn sort(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["stable"]);
    let x = call.tensor("self")?;
    let axis = axis_arg(call, "dim", -1, cx.rank(x)?)?;
    let ascending = !call.bool_or("descending", false)?;
    let sorted = ranked(cx, x, (axis, ascending), None)?;
    two(cx, sorted)
}

fn argsort(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["stable"]);
    let x = call.tensor("self")?;
    let axis = axis_arg(call, "dim", -1, cx.rank(x)?)?;
    let ascending = !call.bool_or("descending", false)?;
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let mut value = cx.read_as(x, if dtype == DType::Bool { DType::I32 } else { dtype })?;
    if shape.is_empty() {
        value = alias::unsqueeze(cx, value, &[0])?;
    }
    let y = Argsort { axis: axis as i64, ascending }.build(&mut cx.b, value)?;
    let y = cx.cast(y, DType::I64)?;
    let y = cx.reshape(y, &shape)?;
    cx.one(y)
}

fn msort(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let [values, _] = ranked(cx, call.tensor("self")?, (0, true), None)?;
    cx.one(values)
}

/// Without `sorted` any order is right, also the sorted one.
fn topk(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["sorted"]);
    let x = call.tensor("self")?;
    let axis = axis_arg(call, "dim", -1, cx.rank(x)?)?;
    let ascending = !call.bool_or("largest", true)?;
    let k = call.dim("k")?;
    let first = ranked(cx, x, (axis, ascending), Some(&k))?;
    two(cx, first)
}

fn kthvalue(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let shape = cx.shape(x)?;
    let at = axis(call.int_or("dim", -1)?, shape.len())?;
    let k = call.int("k")?;
    let keep = call.bool_or("keepdim", false)?;
    let extent = shape.get(at).and_then(Dim::as_const);
    if k < 1 || extent.is_some_and(|n| k > n) || (shape.is_empty() && k != 1) {
        return Err(LowerError::invalid(format!("element {k} of {extent:?} in order")));
    }
    let sorted = ranked(cx, x, (at, true), Some(&Dim::Const(k)))?;
    if shape.is_empty() {
        return two(cx, sorted);
    }
    let mut picked = Vec::with_capacity(2);
    for value in sorted {
        let y = alias::select(cx, value, at, &Dim::Const(k - 1))?;
        picked.push(if keep { alias::unsqueeze(cx, y, &[at])? } else { y });
    }
    picked.into_iter().map(|value| Ok(cx.fresh(value))).collect()
}

/// Where values would be inserted in sorted sequences: the number of elements before them.
struct Search {
    sequence: Value,
    right: bool,
    dtype: DType,
}

impl Search {
    fn run(&self, cx: &mut Cx<'_>, values: &Operand) -> LowerResult<Value> {
        let ty = cx.b.tensor(self.sequence)?.clone();
        let own = match values {
            Operand::Tensor(tensor) => cx.dtype(*tensor)?,
            Operand::Scalar(Scalar::Float(_) | Scalar::Symbolic(_)) => DType::F32,
            Operand::Scalar(_) => DType::I64,
        };
        let both = crate::lower::promote::join(ty.dtype, own);
        let both = if both == DType::Bool { DType::I32 } else { both };
        let sequence = cx.cast(self.sequence, both)?;
        let values = cx.operand(values, both)?;
        let rank = cx.b.tensor(values)?.rank();
        let mut line = sequence;
        if ty.rank() > 1 {
            line = alias::unsqueeze(cx, line, &[ty.rank() - 1])?;
        }
        let single = alias::unsqueeze(cx, values, &[rank])?;
        let before = match self.right {
            true => cx.binary(LessEqual {}, line, single)?,
            false => cx.binary(Less {}, line, single)?,
        };
        let before = cx.cast(before, DType::I32)?;
        let count = ReduceSum { axes: Some(vec![-1]), keep_dims: false };
        let count = count.build(&mut cx.b, before)?;
        cx.cast(count, self.dtype)
    }
}

fn index_dtype(call: &Call<'_>) -> LowerResult<DType> {
    Ok(if call.bool_or("out_int32", false)? { DType::I32 } else { DType::I64 })
}

fn searchsorted(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let right = match call.opt_str("side")? {
        None => call.bool_or("right", false)?,
        Some(side @ ("left" | "right")) => {
            if side == "left" && call.bool_or("right", false)? {
                return Err(LowerError::invalid("`side` and `right` contradict one another"));
            }
            call.ignore(&["right"]);
            side == "right"
        }
        Some(other) => return Err(LowerError::invalid(format!("`side` is `{other}`"))),
    };
    let mut sequence = cx.read(call.tensor("sorted_sequence")?)?;
    if let Some(order) = call.opt_tensor("sorter")? {
        let order = cx.read(order)?;
        let last = cx.b.tensor(sequence)?.rank().saturating_sub(1) as i64;
        let op = mlc_ir::ops::GatherAlongAxis { axis: last, validate_indices: false };
        sequence = op.build(&mut cx.b, sequence, order)?;
    }
    let search = Search { sequence, right, dtype: index_dtype(call)? };
    let y = search.run(cx, &call.operand("self")?)?;
    cx.one(y)
}

fn bucketize(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let sequence = cx.read(call.tensor("boundaries")?)?;
    let search =
        Search { sequence, right: call.bool_or("right", false)?, dtype: index_dtype(call)? };
    let y = search.run(cx, &call.operand("self")?)?;
    cx.one(y)
}

/// A tensor in a line, in the order that brings equal elements together; and that order, unless the
/// elements stay where they are.
struct Line {
    values: Value,
    order: Option<Value>,
    /// The shape and the element type of the tensor.
    shape: Vec<Dim>,
    dtype: DType,
}

/// The distinct elements in ascending order; where each element is among them; how often each occurs.
fn unique(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["sorted"]);
    let x = call.tensor("self")?;
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let value = cx.read_as(x, if dtype == DType::Bool { DType::I32 } else { dtype })?;
    let line = flat(cx, value)?;
    let line = super::calls::Calls(cx).tensor(line)?;
    let [values, order] = ranked(cx, line, (0, true), None)?;
    groups(cx, call, &Line { values, order: Some(order), shape, dtype })
}

/// The same of elements that follow one another.
fn unique_consecutive(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    if let Some(dim) = call.opt_int("dim")?
        && shape.len() > 1
    {
        return Err(LowerError::argument(format!("distinct slices along axis {dim}"))
            .help("leave `dim` out, or compare neighbours with `torch.diff`"));
    }
    let value = cx.read_as(x, if dtype == DType::Bool { DType::I32 } else { dtype })?;
    let values = flat(cx, value)?;
    groups(cx, call, &Line { values, order: None, shape, dtype })
}

/// The first element of each run of equal ones, the number of the run that each element is in, and
/// the lengths of the runs.
fn groups(cx: &mut Cx<'_>, call: &Call<'_>, line: &Line) -> LowerResult<Vec<Val>> {
    let inverse = call.bool_or("return_inverse", false)?;
    let counts = call.bool_or("return_counts", false)?;
    let sorted = line.values;
    let extent = cx.b.tensor(sorted)?.shape[0].clone();
    if extent.is(0) || extent.is(1) {
        return alone(cx, line, (&extent, inverse, counts));
    }
    let (zero, one) = (Dim::Const(0), Dim::Const(1));
    let next = alias::slice(cx, sorted, 0, (&one, &extent, 1))?;
    let previous = alias::slice(cx, sorted, 0, (&zero, &extent.sub(&one), 1))?;
    let differs = cx.binary(NotEqual {}, next, previous)?;
    let differs = cx.cast(differs, DType::I32)?;
    let first = cx.b.ints(&[1])?;
    let starts = Concat { axis: 0, interleave: false }.build(&mut cx.b, vec![first, differs])?;
    let found = places(cx, starts)?;
    let found = alias::select(cx, found, 1, &zero)?;
    let values = gather(cx, sorted, 0, found)?;
    let values = cx.cast(values, line.dtype)?;
    let groups = cx.b.tensor(values)?.shape.clone();
    cx.symbols.add_tensor(values, &groups);
    let mut all = vec![cx.fresh(values)];
    all.push(match inverse {
        false => Val::Opaque("the inverse of `unique`, which was not asked for".to_owned()),
        true => {
            let running = Cumsum { axis: 0, exclusive: false, reverse: false };
            let running = running.build(&mut cx.b, starts)?;
            let one = cx.b.int(1)?;
            let mut group = cx.binary(Sub {}, running, one)?;
            if let Some(order) = line.order {
                let mode = mlc_ir::attr::ScatterMode::Update;
                let op = Scatter { axis: 0, mode, validate_indices: false };
                group = op.build(&mut cx.b, group, order, group)?;
            }
            let group = cx.cast(group, DType::I64)?;
            let group = cx.reshape(group, &line.shape)?;
            cx.fresh(group)
        }
    });
    all.push(match counts {
        false => Val::Opaque("the counts of `unique`, which were not asked for".to_owned()),
        true => {
            let end = dims::vector(cx, &[extent])?;
            let begins = alias::slice(cx, found, 0, (&one, &groups[0], 1))?;
            let ends = Concat { axis: 0, interleave: false };
            let ends = ends.build(&mut cx.b, vec![begins, end])?;
            let count = cx.binary(Sub {}, ends, found)?;
            let count = cx.cast(count, DType::I64)?;
            // torch's own tracing declares the element type of the operand for them.
            let count = super::calls::Calls(cx).tensor(count)?;
            cx.doubt(count);
            Val::Tensor(count)
        }
    });
    Ok(all)
}

/// What the runs of one element, or of none, are.
fn alone(
    cx: &mut Cx<'_>,
    line: &Line,
    (extent, inverse, counts): (&Dim, bool, bool),
) -> LowerResult<Vec<Val>> {
    let values = cx.cast(line.values, line.dtype)?;
    let mut all = vec![cx.fresh(values)];
    let number = |x: i64| mlc_tensor::Tensor::from_i64s(DType::I64, &[], &[x]);
    all.push(if inverse {
        let zero = cx.b.constant(number(0)?)?;
        let inverse = super::create::filled(cx, &line.shape, zero)?;
        cx.fresh(inverse)
    } else {
        Val::Opaque("the inverse of `unique`, which was not asked for".to_owned())
    });
    all.push(if counts {
        let one = cx.b.constant(number(1)?)?;
        let counts = super::create::filled(cx, std::slice::from_ref(extent), one)?;
        let counts = super::calls::Calls(cx).tensor(counts)?;
        cx.doubt(counts);
        Val::Tensor(counts)
    } else {
        Val::Opaque("the counts of `unique`, which were not asked for".to_owned())
    });
    Ok(all)
}
