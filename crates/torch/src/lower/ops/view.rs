//! The same elements under another shape or order of axes.

use mlc_ir::Dim;
use mlc_ir::infer::broadcast;
use mlc_tensor::DTypeKind;

use super::axes::{axes, axis, axis_arg};
use crate::lower::Cx;
use crate::lower::alias::View;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::layout;
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.view", lower: view },
    Lowering { name: "aten._unsafe_view", lower: view },
    Lowering { name: "aten._reshape_alias", lower: reshape_alias },
    Lowering { name: "aten.reshape", lower: reshape },
    Lowering { name: "aten.view_as", lower: reshape_as },
    Lowering { name: "aten.reshape_as", lower: reshape_as },
    Lowering { name: "aten.flatten", lower: flatten },
    Lowering { name: "aten.ravel", lower: flatten },
    Lowering { name: "aten.unflatten", lower: unflatten },
    Lowering { name: "aten.squeeze", lower: squeeze },
    Lowering { name: "aten.unsqueeze", lower: unsqueeze },
    Lowering { name: "aten.permute", lower: permute },
    Lowering { name: "aten.transpose", lower: transpose },
    Lowering { name: "aten.t", lower: reversed_axes },
    Lowering { name: "aten.numpy_T", lower: reversed_axes },
    Lowering { name: "aten.mT", lower: matrix_transpose },
    Lowering { name: "aten.adjoint", lower: matrix_transpose },
    Lowering { name: "aten.mH", lower: matrix_transpose },
    Lowering { name: "aten.movedim", lower: movedim },
    Lowering { name: "aten.expand", lower: expand },
    Lowering { name: "aten.broadcast_to", lower: expand },
    Lowering { name: "aten.expand_as", lower: expand_as },
    Lowering { name: "aten.broadcast_tensors", lower: broadcast_tensors },
    Lowering { name: "aten.atleast_1d", lower: |cx, call| at_least(cx, call, 1) },
    Lowering { name: "aten.atleast_2d", lower: |cx, call| at_least(cx, call, 2) },
    Lowering { name: "aten.atleast_3d", lower: |cx, call| at_least(cx, call, 3) },
    Lowering { name: "aten.contiguous", lower: contiguous },
];

/// A view of `x`; `x` itself where the view changes nothing.
pub(super) fn viewed(cx: &mut Cx<'_>, x: TensorId, view: View) -> LowerResult<TensorId> {
    let same = match &view {
        View::Reshape { from, to } => from == to,
        View::Permute(perm) => perm.iter().copied().eq(0..perm.len()),
        View::Unsqueeze(axes) | View::Squeeze(axes) => axes.is_empty(),
        View::Expand { to } => cx.shape(x)? == *to,
        _ => false,
    };
    if same { Ok(x) } else { cx.view(x, view) }
}

fn one_view(cx: &mut Cx<'_>, x: TensorId, view: View) -> LowerResult<Vec<Val>> {
    Ok(vec![Val::Tensor(viewed(cx, x, view)?)])
}

/// `x` under the extents `to`, sharing its memory.
pub(super) fn reshaped(cx: &mut Cx<'_>, x: TensorId, to: Vec<Dim>) -> LowerResult<TensorId> {
    let from = cx.shape(x)?;
    viewed(cx, x, View::Reshape { from, to })
}

/// `x` with its axes in the order `perm`, sharing its memory.
pub(super) fn permuted(cx: &mut Cx<'_>, x: TensorId, perm: Vec<usize>) -> LowerResult<TensorId> {
    viewed(cx, x, View::Permute(perm))
}

/// `sizes` with −1 replaced by what is left of `count` elements.
fn resolved(count: &Dim, sizes: &[Dim]) -> LowerResult<Vec<Dim>> {
    let mut sizes = sizes.to_vec();
    let holes: Vec<usize> = (0..sizes.len()).filter(|&i| sizes[i].is(-1)).collect();
    match holes[..] {
        [] => {}
        [hole] => {
            let known = Dim::product(sizes.iter().filter(|d| !d.is(-1)));
            if known.is(0) {
                return Err(LowerError::invalid("−1 is ambiguous in a shape without elements"));
            }
            sizes[hole] = count.exact_div(&known).unwrap_or_else(|| count.floor_div(&known));
        }
        _ => return Err(LowerError::invalid("a shape has −1 twice")),
    }
    Ok(sizes)
}

fn view(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    if let Some(dtype) = call.opt_dtype("dtype")? {
        let have = cx.dtype(x)?;
        if have != dtype {
            return Err(LowerError::dtype(format!(
                "the bytes of {have} as {dtype} cannot be expressed in Core ML"
            ))
            .help("convert the values with `.to(dtype)`"));
        }
        return Ok(vec![Val::Tensor(x)]);
    }
    let count = Dim::product(&cx.shape(x)?);
    let to = resolved(&count, &call.dims("size")?)?;
    Ok(vec![Val::Tensor(reshaped(cx, x, to)?)])
}

/// The strides are those of the shape by construction.
fn reshape_alias(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["stride"]);
    view(cx, call)
}

fn reshape(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let count = Dim::product(&cx.shape(x)?);
    let to = resolved(&count, &call.dims("shape")?)?;
    view_or_copy(cx, x, to)
}

fn reshape_as(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let to = cx.shape(call.tensor("other")?)?;
    view_or_copy(cx, x, to)
}

/// `x` under the extents `to`: a view where its memory allows that, a copy elsewhere.
fn view_or_copy(cx: &mut Cx<'_>, x: TensorId, to: Vec<Dim>) -> LowerResult<Vec<Val>> {
    let shape = cx.shape(x)?;
    let known = cx.strides(x).map(|strides| layout::reshaped(&shape, strides, &to).is_some());
    if shape == to || known == Some(true) || cx.is_complex(x) {
        return Ok(vec![Val::Tensor(reshaped(cx, x, to)?)]);
    }
    let y = cx.read(x)?;
    let y = cx.reshape(y, &to)?;
    if known.is_none() { Ok(vec![Val::Tensor(cx.twin(x, y))]) } else { cx.one(y) }
}

fn flatten(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let shape = cx.shape(x)?;
    if shape.is_empty() {
        axis_arg(call, "start_dim", 0, 0)?;
        axis_arg(call, "end_dim", -1, 0)?;
        return one_view(cx, x, View::Unsqueeze(vec![0]));
    }
    let first = axis_arg(call, "start_dim", 0, shape.len())?;
    let last = axis_arg(call, "end_dim", -1, shape.len())?;
    if last < first {
        return Err(LowerError::invalid(format!("`flatten` from axis {first} to axis {last}")));
    }
    let mut to = shape[..first].to_vec();
    to.push(Dim::product(&shape[first..=last]));
    to.extend_from_slice(&shape[last + 1..]);
    view_or_copy(cx, x, to)
}

fn unflatten(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let shape = cx.shape(x)?;
    let at = axis_arg(call, "dim", 0, shape.len())?;
    let Some(extent) = shape.get(at) else {
        return Err(LowerError::invalid("a scalar cannot be unflattened"));
    };
    let sizes = resolved(extent, &call.dims("sizes")?)?;
    let mut to = shape[..at].to_vec();
    to.extend(sizes);
    to.extend_from_slice(&shape[at + 1..]);
    Ok(vec![Val::Tensor(reshaped(cx, x, to)?)])
}

/// Drops axes of extent 1: all, or those named.
fn squeeze(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let shape = cx.shape(x)?;
    let wanted = match call.opt_ints("dim")? {
        Some(named) => axes(&named, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let drop = (0..shape.len()).filter(|a| wanted.contains(a) && shape[*a].is(1)).collect();
    one_view(cx, x, View::Squeeze(drop))
}

fn unsqueeze(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let at = axis(call.int("dim")?, cx.rank(x)? + 1)?;
    one_view(cx, x, View::Unsqueeze(vec![at]))
}

fn permute(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let perm = axes(&call.ints("dims")?, cx.rank(x)?)?;
    one_view(cx, x, View::Permute(perm))
}

/// Swaps two axes, whatever the spelling calls them.
fn transpose(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    let [a, b] = if call.has("axis0") { ["axis0", "axis1"] } else { ["dim0", "dim1"] };
    let (a, b) = (axis(call.int(a)?, rank)?, axis(call.int(b)?, rank)?);
    let mut perm: Vec<usize> = (0..rank).collect();
    if rank > 0 {
        perm.swap(a, b);
    }
    one_view(cx, x, View::Permute(perm))
}

fn reversed_axes(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let perm = (0..cx.rank(x)?).rev().collect();
    one_view(cx, x, View::Permute(perm))
}

fn matrix_transpose(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    if call.op != "aten.mT" && cx.dtype(x)?.kind() == DTypeKind::Complex {
        return Err(LowerError::dtype("the adjoint of a complex matrix"));
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    match rank {
        0 => {}
        1 => return Err(LowerError::invalid("the transpose of a vector")),
        _ => perm.swap(rank - 2, rank - 1),
    }
    one_view(cx, x, View::Permute(perm))
}

fn movedim(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    let from = axes(&call.ints("source")?, rank)?;
    let to = axes(&call.ints("destination")?, rank)?;
    if from.len() != to.len() {
        return Err(LowerError::invalid("`source` and `destination` differ in length"));
    }
    let mut others = (0..rank).filter(|a| !from.contains(a));
    let perm = (0..rank)
        .map(|place| match to.iter().position(|&t| t == place) {
            Some(i) => from.get(i).copied(),
            None => others.next(),
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| LowerError::invalid("`destination` is no set of axes"))?;
    one_view(cx, x, View::Permute(perm))
}

fn expand(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["implicit"]);
    let x = call.tensor("self")?;
    let shape = cx.shape(x)?;
    let sizes = call.dims("size")?;
    let Some(added) = sizes.len().checked_sub(shape.len()) else {
        return Err(LowerError::invalid("`expand` to fewer axes"));
    };
    let to = sizes
        .into_iter()
        .enumerate()
        .map(|(i, size)| match i.checked_sub(added).and_then(|k| shape.get(k)) {
            Some(extent) if size.is(-1) => extent.clone(),
            _ => size,
        })
        .collect();
    one_view(cx, x, View::Expand { to })
}

fn expand_as(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let to = cx.shape(call.tensor("other")?)?;
    one_view(cx, call.tensor("self")?, View::Expand { to })
}

/// The shape that tensors broadcast to.
pub(super) fn common_shape(cx: &Cx<'_>, tensors: &[TensorId]) -> LowerResult<Vec<Dim>> {
    let mut shape = Vec::new();
    for &tensor in tensors {
        shape = broadcast(&shape, &cx.shape(tensor)?)?;
    }
    Ok(shape)
}

fn broadcast_tensors(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let tensors = call.tensors("tensors")?;
    let to = common_shape(cx, &tensors)?;
    let views = tensors
        .into_iter()
        .map(|x| Ok(Val::Tensor(viewed(cx, x, View::Expand { to: to.clone() })?)))
        .collect::<LowerResult<_>>()?;
    Ok(vec![Val::List(views)])
}

/// Axes of extent 1 in front, and behind from the third on, until there are `least`.
fn at_least(cx: &mut Cx<'_>, call: &Call<'_>, least: usize) -> LowerResult<Vec<Val>> {
    let raise = |cx: &mut Cx<'_>, x: TensorId| {
        let new = match (cx.rank(x)?, least) {
            (rank, least) if rank >= least => vec![],
            (0, least) => (0..least).collect(),
            (1, 2) => vec![0],
            (1, _) => vec![0, 2],
            _ => vec![2],
        };
        Ok::<_, LowerError>(Val::Tensor(viewed(cx, x, View::Unsqueeze(new))?))
    };
    if !call.has("tensors") {
        return Ok(vec![raise(cx, call.tensor("self")?)?]);
    }
    let all =
        call.tensors("tensors")?.into_iter().map(|x| raise(cx, x)).collect::<LowerResult<_>>()?;
    Ok(vec![Val::List(all)])
}

/// The tensor itself where it lies in memory in the order asked for, a copy elsewhere.
fn contiguous(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    let order: Vec<usize> = match call.get("memory_format") {
        None | Some(Val::MemoryFormat("contiguous_format")) => (0..rank).collect(),
        Some(Val::MemoryFormat("channels_last" | "channels_last_3d")) => {
            [0].into_iter().chain(2..rank).chain([1]).collect()
        }
        _ => return Ok(vec![Val::Tensor(x)]),
    };
    if order.len() != rank {
        return Err(LowerError::invalid("`memory_format` for another rank"));
    }
    let shape = cx.shape(x)?;
    let asked = layout::ordered(&shape, &order);
    let known = cx.strides(x).map(|strides| layout::lies_alike(&shape, strides, &asked));
    if known == Some(true) || cx.is_complex(x) {
        return Ok(vec![Val::Tensor(x)]);
    }
    let y = cx.read(x)?;
    let y = if known.is_none() { cx.twin(x, y) } else { cx.fresh_tensor(y) };
    cx.set_strides(y, asked);
    Ok(vec![Val::Tensor(y)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_computed() {
        let s = Dim::symbol("s");
        let count = s.mul(&Dim::Const(12));
        let got = resolved(&count, &[Dim::Const(3), Dim::Const(-1)]);
        assert_eq!(got, Ok(vec![3.into(), s.mul(&4.into())]));
        assert!(resolved(&count, &[Dim::Const(-1), Dim::Const(-1)]).is_err());
    }
}
