//! Moving elements between space, depth and batch.

use mlc_ir::ops::{DepthToSpace, SpaceToDepth};
use mlc_ir::{Dim, Value};

use super::axes::{Layout, channels_first, restored};
use super::slice::padded;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "BatchToSpace", lower: batch_to_space },
    Lowering { name: "BatchToSpaceND", lower: batch_to_space_nd },
    Lowering { name: "DepthToSpace", lower: depth_to_space },
    Lowering { name: "SpaceToBatch", lower: space_to_batch },
    Lowering { name: "SpaceToBatchND", lower: space_to_batch_nd },
    Lowering { name: "SpaceToDepth", lower: space_to_depth },
];

fn depth_to_space(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let layout = Layout::of(call, 2)?;
    let block_size = call.int("block_size")?;
    let x = channels_first(cx, x, layout)?;
    let y = DepthToSpace { block_size }.build(&mut cx.b, x)?;
    let y = restored(cx, y, layout)?;
    cx.one(y)
}

fn space_to_depth(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let layout = Layout::of(call, 2)?;
    let block_size = call.int("block_size")?;
    let x = channels_first(cx, x, layout)?;
    let y = SpaceToDepth { block_size }.build(&mut cx.b, x)?;
    let y = restored(cx, y, layout)?;
    cx.one(y)
}

fn space_to_batch(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let size = call.int("block_size")?;
    let paddings = amounts(cx, call.tensor(1)?, "paddings")?;
    let y = to_batch(cx, call.tensor(0)?, &[size, size], &paddings)?;
    cx.one(y)
}

fn batch_to_space(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let size = call.int("block_size")?;
    let crops = amounts(cx, call.tensor(1)?, "crops")?;
    let y = from_batch(cx, call.tensor(0)?, &[size, size], &crops)?;
    cx.one(y)
}

fn space_to_batch_nd(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let block = cx.need_ints(call.tensor(1)?, "block_shape")?;
    let paddings = amounts(cx, call.tensor(2)?, "paddings")?;
    let y = to_batch(cx, call.tensor(0)?, &block, &paddings)?;
    cx.one(y)
}

fn batch_to_space_nd(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let block = cx.need_ints(call.tensor(1)?, "block_shape")?;
    let crops = amounts(cx, call.tensor(2)?, "crops")?;
    let y = from_batch(cx, call.tensor(0)?, &block, &crops)?;
    cx.one(y)
}

/// (before, after) of each spatial axis, flat.
fn amounts(cx: &mut Cx<'_>, all: Value, what: &str) -> LowerResult<Vec<Dim>> {
    let count = cx.b.tensor(all)?.count();
    let flat = cx.reshape(all, &[count])?;
    cx.extents(flat, what)
}

fn check(rank: usize, block: &[i64], amounts: &[Dim]) -> LowerResult<()> {
    let fits = block.len() < rank
        && amounts.len() == 2 * block.len()
        && block.iter().all(|&b| b >= 1)
        && amounts.iter().all(|n| n.as_const().is_none_or(|n| n >= 0));
    if fits {
        return Ok(());
    }
    let amounts = mlc_ir::infer::shape_text(amounts);
    Err(LowerError::invalid(format!("blocks of {block:?} and {amounts} for rank {rank}")))
}

/// The spatial axes of `x` with zeros around them.
fn with_border(cx: &mut Cx<'_>, x: Value, paddings: &[Dim]) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    let known: Option<Vec<i64>> = paddings.iter().map(Dim::as_const).collect();
    if let Some(known) = known {
        let mut amounts = vec![(0, 0); rank];
        for (axis, pair) in known.chunks(2).enumerate() {
            amounts[axis + 1] = (pair[0], pair[1]);
        }
        return padded(cx, x, &amounts, None);
    }
    let mut flat = vec![Dim::Const(0); 2];
    flat.extend_from_slice(paddings);
    flat.resize(2 * rank, Dim::Const(0));
    let mut wanted = cx.shape(x)?;
    for (axis, pair) in flat.chunks(2).enumerate() {
        wanted[axis] = wanted[axis].add(&pair[0]).add(&pair[1]);
    }
    let flat = dims::vector(cx, &flat)?;
    let y = super::slice::pad_by(cx, x, flat, 0.0)?;
    cx.refine(y, &wanted)?;
    Ok(y)
}

/// The extents before and after one axis, each pair of them as one.
fn around(shape: &[Dim], axis: usize) -> (Dim, Dim) {
    (Dim::product(&shape[1..axis]), Dim::product(&shape[axis + 1..]))
}

/// `[n, s…, rest…]` to `[block…·n, s/block…, rest…]`, the spatial axes padded first. One axis at a time,
/// the last first, so that no step has more than five axes.
fn to_batch(cx: &mut Cx<'_>, x: Value, block: &[i64], paddings: &[Dim]) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    check(rank, block, paddings)?;
    let mut y = with_border(cx, x, paddings)?;
    for (i, &b) in block.iter().enumerate().rev() {
        if b == 1 {
            continue;
        }
        let (axis, b) = (i + 1, Dim::Const(b));
        let mut shape = cx.shape(y)?;
        let (before, after) = around(&shape, axis);
        let part = shape[axis].floor_div(&b);
        let split = [shape[0].clone(), before, part.clone(), b.clone(), after];
        let cut = cx.reshape(y, &split)?;
        let moved = cx.transpose(cut, &[3, 0, 1, 2, 4])?;
        shape[0] = shape[0].mul(&b);
        shape[axis] = part;
        y = cx.reshape(moved, &shape)?;
    }
    Ok(y)
}

/// The reverse; then the spatial axes are cropped.
fn from_batch(cx: &mut Cx<'_>, x: Value, block: &[i64], crops: &[Dim]) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    check(rank, block, crops)?;
    let count = block.len();
    let mut y = x;
    for (i, &b) in block.iter().enumerate() {
        if b == 1 {
            continue;
        }
        let (axis, b) = (i + 1, Dim::Const(b));
        let mut shape = cx.shape(y)?;
        let (before, after) = around(&shape, axis);
        let batch = shape[0].floor_div(&b);
        let split = [b.clone(), batch.clone(), before, shape[axis].clone(), after];
        let cut = cx.reshape(y, &split)?;
        let moved = cx.transpose(cut, &[1, 2, 3, 0, 4])?;
        shape[0] = batch;
        shape[axis] = shape[axis].mul(&b);
        y = cx.reshape(moved, &shape)?;
    }
    let whole = cx.shape(y)?;
    if crops.iter().all(|n| n.is(0)) {
        return Ok(y);
    }
    let mut begin = vec![Dim::Const(0); rank];
    let mut size = whole.clone();
    for (axis, pair) in crops.chunks(2).enumerate() {
        begin[axis + 1] = pair[0].clone();
        size[axis + 1] = whole[axis + 1].sub(&pair[0]).sub(&pair[1]);
    }
    if size.iter().any(|dim| dim.as_const().is_some_and(|n| n < 0)) {
        return Err(LowerError::invalid("crops leave nothing"));
    }
    let wanted = size.clone();
    let begin = dims::vector(cx, &begin)?;
    let size: Vec<Dim> = size
        .into_iter()
        .enumerate()
        .map(|(axis, dim)| if axis > count || axis == 0 { Dim::Const(-1) } else { dim })
        .collect();
    let size = dims::vector(cx, &size)?;
    let y = mlc_ir::ops::SliceBySize {}.build(&mut cx.b, y, begin, size)?;
    cx.refine(y, &wanted)?;
    Ok(y)
}
