//! Rows of tables, alone and in bags.

use mlc_ir::ops::{
    Equal, GreaterEqual, Less, LogicalAnd, Matmul, Maximum, Mul, NotEqual, RealDiv, ReduceMax,
    ReduceSum, Select,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::index::flat;
use super::indices::gather;
use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Scalar, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.embedding", lower: embedding },
    Lowering { name: "aten.embedding_bag", lower: embedding_bag },
    Lowering { name: "aten._embedding_bag", lower: embedding_bag },
    Lowering { name: "aten._embedding_bag_forward_only", lower: embedding_bag },
];

/// Rows of a table. The other arguments say how it is trained.
fn embedding(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["padding_idx", "scale_grad_by_freq", "sparse"]);
    let table = cx.read(call.tensor("weight")?)?;
    let indices = cx.read(call.tensor("indices")?)?;
    let y = gather(cx, table, 0, indices)?;
    cx.one(y)
}

/// Rows of a table, reduced by bags: bag `b` has the indices from `offsets[b]` to before
/// `offsets[b + 1]`. Which index is in which bag is a matrix of truth values.
fn embedding_bag(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["scale_grad_by_freq", "sparse"]);
    let table = call.tensor("weight")?;
    let dtype = cx.dtype(table)?;
    let [height, width] = &cx.shape(table)?[..] else {
        return Err(LowerError::invalid("the table of an embedding has two axes"));
    };
    let (height, width) = (height.clone(), width.clone());
    let table = cx.read(table)?;
    let indices = cx.read(call.tensor("indices")?)?;
    let indices = flat(cx, indices)?;
    let count = cx.b.tensor(indices)?.shape[0].clone();
    let mut member = members(cx, call, &count)?;
    let skip = match call.opt_dim("padding_idx")? {
        // The form of the core opset says by −1 that none is skipped; the other counts from the end.
        Some(skip) if skip.as_const().is_some_and(|skip| skip < 0) => {
            (call.op == "aten.embedding_bag").then(|| height.add(&skip))
        }
        skip => skip,
    };
    if let Some(skip) = skip {
        let own = cx.b.tensor(indices)?.dtype;
        let skip = cx.number(&Scalar::Int(skip), own)?;
        let counts = cx.binary(NotEqual {}, indices, skip)?;
        let counts = alias::unsqueeze(cx, counts, &[0])?;
        member = cx.binary(LogicalAnd {}, member, counts)?;
    }
    let rows = gather(cx, table, 0, indices)?;
    let mut shares = cx.cast(member, dtype)?;
    if let Some(weights) = call.opt_tensor("per_sample_weights")? {
        let weights = cx.read_as(weights, dtype)?;
        let weights = flat(cx, weights)?;
        let weights = alias::unsqueeze(cx, weights, &[0])?;
        shares = cx.binary(Mul {}, shares, weights)?;
    }
    let product = Matmul { transpose_x: false, transpose_y: false };
    let y = match call.int_or("mode", 0)? {
        0 => cx.binary(product, shares, rows)?,
        1 => {
            let sums = cx.binary(product, shares, rows)?;
            let sizes = ReduceSum { axes: Some(vec![1]), keep_dims: true };
            let sizes = sizes.build(&mut cx.b, shares)?;
            let one = cx.b.scalar(dtype, 1.0)?;
            let sizes = cx.binary(Maximum {}, sizes, one)?;
            cx.binary(RealDiv {}, sums, sizes)?
        }
        2 => most(cx, member, (rows, &width))?,
        other => return Err(LowerError::invalid(format!("`mode` is {other}"))),
    };
    let mut all = vec![cx.fresh(y)];
    for what in ["offsets to bags", "sizes of bags", "places of maxima"] {
        all.push(Val::Opaque(format!("the {what} of `embedding_bag`")));
    }
    Ok(all)
}

/// Which of `count` indices is in which bag, as a matrix with a row a bag.
fn members(cx: &mut Cx<'_>, call: &Call<'_>, count: &Dim) -> LowerResult<Value> {
    let offsets = call.tensor("offsets")?;
    let extents = cx.shape(offsets)?;
    let offsets = cx.read_as(offsets, DType::I32)?;
    let [bags] = &extents[..] else {
        return Err(LowerError::invalid("`offsets` is no vector"));
    };
    let zero = Dim::Const(0);
    let (starts, ends) = if call.bool_or("include_last_offset", false)? {
        let last = bags.sub(&Dim::Const(1));
        let starts = alias::slice(cx, offsets, 0, (&zero, &last, 1))?;
        (starts, alias::slice(cx, offsets, 0, (&Dim::Const(1), bags, 1))?)
    } else {
        let end = crate::lower::dims::vector(cx, std::slice::from_ref(count))?;
        let rest = match bags.is(1) {
            true => vec![end],
            false => vec![alias::slice(cx, offsets, 0, (&Dim::Const(1), bags, 1))?, end],
        };
        (offsets, super::join::concat(cx, rest, 0)?)
    };
    let places = alias::range(cx, &zero, count, 1)?;
    let places = alias::unsqueeze(cx, places, &[0])?;
    let starts = alias::unsqueeze(cx, starts, &[1])?;
    let ends = alias::unsqueeze(cx, ends, &[1])?;
    let after = cx.binary(GreaterEqual {}, places, starts)?;
    let before = cx.binary(Less {}, places, ends)?;
    cx.binary(LogicalAnd {}, after, before)
}

/// The greatest of each column over the rows of each bag; 0 for bags without rows.
fn most(cx: &mut Cx<'_>, member: Value, (rows, width): (Value, &Dim)) -> LowerResult<Value> {
    let dtype = cx.b.tensor(rows)?.dtype;
    let shape = cx.b.tensor(member)?.shape.clone();
    let mut to = shape;
    to.push(width.clone());
    let rows = alias::unsqueeze(cx, rows, &[0])?;
    let rows = super::indices::widened(cx, rows, &to)?;
    let member = alias::unsqueeze(cx, member, &[2])?;
    let least = cx.b.scalar(dtype, f64::NEG_INFINITY)?;
    let held = Select {}.build(&mut cx.b, member, rows, least)?;
    let op = ReduceMax { axes: Some(vec![1]), keep_dims: false };
    let y = op.build(&mut cx.b, held)?;
    let none = cx.binary(Equal {}, y, least)?;
    let zero = cx.b.scalar(dtype, 0.0)?;
    Ok(Select {}.build(&mut cx.b, none, zero, y)?)
}
