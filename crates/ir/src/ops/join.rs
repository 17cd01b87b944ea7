//! Joining and splitting along an axis.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{
    InferCx, Inferred, OpError, OpResult, may_equal, meet, meet_shapes, normalize_axis, shape_text,
};
use crate::types::{TensorType, Type};

op! {
    /// `values` one after another along `axis`, scalars as vectors of one. With `interleave` all
    /// shapes are equal and element `k` along `axis` is element `⌊k/n⌋` of `values[k mod n]`.
    "concat" = Concat(values: Many) { axis: i64, interleave: bool = false } + Pure => infer_concat;

    /// `values` side by side along a new axis at position `axis` of the result.
    "stack" = Stack(values: Many) { axis: i64 } + Pure => infer_stack;

    /// `x` cut along `axis` into `num_splits` equal parts, or into parts of `split_sizes`.
    "split" = Split(x: One) -> inferred {
        num_splits: Option<i64> = None,
        split_sizes: Option<Vec<i64>> = None,
        axis: i64,
    } + Pure => infer_split;

    /// `x` repeated `reps[i]` times along each axis `i`.
    "tile" = Tile(x: One, reps: One) {} + Pure => infer_tile;
}

/// Most parts of `split`.
const MAX_PARTS: i64 = 1 << 16;

/// The element type that all of `values` have.
fn common_dtype(values: &[&TensorType]) -> OpResult<DType> {
    let first = values.first().ok_or_else(|| OpError::ty("`values` is empty"))?;
    match values.iter().find(|ty| ty.dtype != first.dtype) {
        Some(other) => Err(OpError::ty(format!("`values` are {first} and {other}"))),
        None => Ok(first.dtype),
    }
}

/// All contents after one another, if all are known.
fn joined(contents: &[Option<&[Dim]>]) -> Option<Vec<Dim>> {
    let total: usize = contents.iter().map(|part| part.map(<[Dim]>::len)).sum::<Option<_>>()?;
    if total > Inferred::MAX_CONTENT {
        return None;
    }
    Some(contents.iter().flatten().flat_map(|part| part.iter().cloned()).collect())
}

fn infer_concat(op: &Concat, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let values = cx.tensors("values")?;
    let dtype = common_dtype(&values)?;
    let rank = values[0].rank().max(1);
    let axis = normalize_axis(op.axis, rank)?;
    let mut shape: Vec<Dim> = Vec::new();
    for ty in &values {
        let own = if ty.rank() == 0 { vec![Dim::Const(1)] } else { ty.shape.clone() };
        if ty.rank() != values[0].rank() {
            return Err(OpError::shape(format!("`values` are {} and {ty}", values[0])));
        }
        if shape.is_empty() {
            shape = own;
            continue;
        }
        for (at, (sum, dim)) in shape.iter_mut().zip(&own).enumerate() {
            if at == axis && !op.interleave {
                *sum = sum.add(dim);
            } else if may_equal(sum, dim) {
                *sum = meet(sum, dim);
            } else {
                let message =
                    format!("extents {sum} and {dim} of axis {at} in {} and {ty}", values[0]);
                return Err(OpError::shape(message));
            }
        }
    }
    let mut content = joined(&cx.contents("values"));
    if op.interleave {
        shape[axis] = shape[axis].mul(&Dim::Const(values.len() as i64));
        content = content.map(|all| {
            let each = all.len() / values.len();
            (0..all.len())
                .map(|k| all[k % values.len() * each + k / values.len()].clone())
                .collect()
        });
    }
    Ok(Inferred::tensor(dtype, shape).with_content(content))
}

fn infer_stack(op: &Stack, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let values = cx.tensors("values")?;
    let dtype = common_dtype(&values)?;
    let axis = normalize_axis(op.axis, values[0].rank() + 1)?;
    let mut shape = values[0].shape.clone();
    for ty in &values[1..] {
        shape = meet_shapes(&shape, &ty.shape)?;
    }
    shape.insert(axis, Dim::Const(values.len() as i64));
    Ok(Inferred::tensor(dtype, shape).with_content(joined(&cx.contents("values"))))
}

fn infer_split(op: &Split, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let axis = normalize_axis(op.axis, x.rank())?;
    let sizes = part_sizes(op, &x.shape[axis])?;
    let mut inferred = Inferred::default();
    let mut start = 0usize;
    for size in sizes {
        let mut shape = x.shape.clone();
        shape[axis] = size.clone();
        let end = size.as_const().and_then(|n| start.checked_add(usize::try_from(n).ok()?));
        let content = end.and_then(|end| Some(cx.content("x")?.get(start..end)?.to_vec()));
        start = end.unwrap_or(usize::MAX);
        let part = Inferred::ty(Type::tensor(x.dtype, shape)).with_content(content);
        inferred.results.extend(part.results);
    }
    Ok(inferred)
}

fn part_sizes(op: &Split, extent: &Dim) -> OpResult<Vec<Dim>> {
    match (&op.split_sizes, op.num_splits) {
        (Some(sizes), parts) => {
            if parts.is_some_and(|parts| parts != sizes.len() as i64) || sizes.is_empty() {
                let message = format!("{} `split_sizes`, `num_splits` is {parts:?}", sizes.len());
                return Err(OpError::attr(message));
            }
            let total = sizes.iter().try_fold(
                0i64,
                |sum, &n| {
                    if n < 0 { None } else { sum.checked_add(n) }
                },
            );
            let fits = total.is_some_and(|total| may_equal(extent, &Dim::Const(total)));
            if !fits {
                let message = format!("`split_sizes` {sizes:?} of an axis of {extent}");
                return Err(OpError::attr(message));
            }
            Ok(sizes.iter().map(|&n| Dim::Const(n)).collect())
        }
        (None, Some(parts)) if (1..=MAX_PARTS).contains(&parts) => {
            if extent.as_const().is_some_and(|n| n % parts != 0) {
                let message = format!("an axis of {extent} has no {parts} equal parts");
                return Err(OpError::attr(message));
            }
            Ok(vec![extent.floor_div(&Dim::Const(parts)); parts as usize])
        }
        (None, Some(parts)) => Err(OpError::attr(format!("`num_splits` is {parts}"))),
        (None, None) => Err(OpError::attr("neither `num_splits` nor `split_sizes` is given")),
    }
}

fn infer_tile(_: &Tile, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    cx.int_vector("reps", Some(x.rank()))?;
    let Some(reps) = cx.content("reps") else {
        let unknown = x.shape.iter().map(|d| if d.is(0) { d.clone() } else { Dim::Unknown });
        return Ok(Inferred::tensor(x.dtype, unknown.collect::<Vec<_>>()));
    };
    if reps.iter().any(|r| r.as_const().is_some_and(|n| n < 1)) {
        let text = shape_text(reps);
        return Err(OpError::shape(format!("`reps` are {text}, each must be 1 or more")));
    }
    let shape: Vec<Dim> = x.shape.iter().zip(reps).map(|(d, r)| d.mul(r)).collect();
    let content = match (cx.content("x"), reps) {
        (Some(x), [times]) => times
            .as_const()
            .filter(|&n| n <= Inferred::MAX_CONTENT as i64)
            .map(|n| (0..n).flat_map(|_| x.iter().cloned()).collect()),
        (content, []) => content.map(<[Dim]>::to_vec),
        _ => None,
    };
    Ok(Inferred::tensor(x.dtype, shape).with_content(content))
}
