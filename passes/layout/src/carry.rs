//! Ops that can be computed of the sources of their operands.

use mlc_ir::attr::{AttrValue, PadMode};
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{
    ExpandDims, Gather, LayerNorm, Pad, Reshape, SliceByIndex, SliceBySize, Transpose,
};
use mlc_ir::{Builder, Dim, Node, Op, OpError, OpResult, Operands, Trait, Value};

use crate::axes::{attr, axes, axis, ints, with_attr};
use crate::form::{Form, Forms, inverse, without};
use crate::regroup::{Regrouped, regroup};

/// An op of sources: its results, and how those of the program are made of them.
pub(crate) struct Carried {
    pub(crate) results: Vec<Value>,
    pub(crate) perm: Vec<usize>,
}

/// Carries an op; `None` where it cannot be, or nothing would be won.
pub(crate) fn carry(b: &mut Builder<'_>, forms: &Forms, node: Node) -> OpResult<Option<Carried>> {
    let data = &b.function().nodes[node];
    let (op, operands) = (data.op.clone(), data.operands.clone());
    let Some(&first) = operands.all().first() else { return Ok(None) };
    if !data.regions.is_empty() {
        return Ok(None);
    }
    if op.spec().traits.has(Trait::Elementwise) {
        return elementwise(b, forms, &op, node);
    }
    if let Op::Concat(_) = op {
        return concat(b, forms, &op, &operands);
    }
    let Some(form) = forms.get(first).cloned() else { return Ok(None) };
    match &op {
        Op::Pad(pad) => self::pad(b, &form, pad, operands.all()[1]),
        Op::Reshape(_) => reshape(b, &form, node),
        Op::LayerNorm(norm) => layer_norm(b, &form, norm, &operands),
        Op::Gather(gather) => self::gather(b, &form, gather, operands.all()),
        Op::SliceByIndex(slice) => by_index(b, &form, slice, operands.all()),
        Op::SliceBySize(_) => by_size(b, &form, operands.all()),
        Op::Squeeze(_) => reduced(b, &form, &op, false),
        Op::Softmax(_) | Op::Cumsum(_) | Op::Split(_) => along(b, &form, &op),
        Op::ReduceArgmax(_) | Op::ReduceArgmin(_) => {
            let Some(axis) = axis(&op, form.perm.len())? else { return Ok(None) };
            let Some(moved) = with_attr(&op, "axis", AttrValue::Int(form.perm[axis] as i64)) else {
                return Ok(None);
            };
            let keep = attr(&op, "keep_dims") == Some(AttrValue::Bool(true));
            let perm = if keep { form.perm.clone() } else { without(&form.perm, &[axis]) };
            unary(b, moved, &form, perm)
        }
        op if op.spec().name.starts_with("reduce_") => {
            let keep = attr(op, "keep_dims") == Some(AttrValue::Bool(true));
            reduced(b, &form, op, keep)
        }
        _ => Ok(None),
    }
}

fn unary(b: &mut Builder<'_>, op: Op, form: &Form, perm: Vec<usize>) -> OpResult<Option<Carried>> {
    let mut operands = Operands::new();
    operands.push_slot([form.source]);
    let node = b.push(op, operands, Vec::new())?;
    Ok(Some(Carried { results: b.results(node).to_vec(), perm }))
}

/// Ops along one axis that change no other.
fn along(b: &mut Builder<'_>, form: &Form, op: &Op) -> OpResult<Option<Carried>> {
    let Some(axis) = axis(op, form.perm.len())? else { return Ok(None) };
    let moved = with_attr(op, "axis", AttrValue::Int(form.perm[axis] as i64));
    let Some(moved) = moved else { return Ok(None) };
    unary(b, moved, form, form.perm.clone())
}

/// Ops that take axes away, or leave them with an extent of 1.
fn reduced(b: &mut Builder<'_>, form: &Form, op: &Op, keep: bool) -> OpResult<Option<Carried>> {
    let absent = attr(op, "axes") == Some(AttrValue::None);
    let Some(gone) = axes(op, form.perm.len())? else { return Ok(None) };
    if absent && matches!(op, Op::Squeeze(_)) {
        return Ok(None);
    }
    let moved = match absent {
        true => Some(op.clone()),
        false => with_attr(op, "axes", ints(gone.iter().map(|&axis| form.perm[axis]).collect())),
    };
    let Some(moved) = moved else { return Ok(None) };
    let perm = if keep { form.perm.clone() } else { without(&form.perm, &gone) };
    unary(b, moved, form, perm)
}

/// Elements of integer vectors, one for each axis of the value, in the order of the source.
fn reordered<T: Clone>(perm: &[usize], list: &[T]) -> Vec<T> {
    inverse(perm).into_iter().filter_map(|axis| list.get(axis).cloned()).collect()
}

fn known(b: &Builder<'_>, value: Value) -> Option<Vec<i64>> {
    b.content(value)?.iter().map(Dim::as_const).collect()
}

fn pad(b: &mut Builder<'_>, form: &Form, op: &Pad, amounts: Value) -> OpResult<Option<Carried>> {
    let rank = form.perm.len();
    let Some(amounts) = known(b, amounts) else { return Ok(None) };
    let mut pairs = vec![(0, 0); rank - (amounts.len() / 2).min(rank)];
    pairs.extend(amounts.chunks(2).map(|pair| (pair[0], pair[1])));
    let moved = reordered(&form.perm, &pairs);
    let first = moved.iter().position(|&pair| pair != (0, 0)).unwrap_or(rank - 1);
    // Mirrored axes are the last two.
    if op.mode != PadMode::Constant && first + 2 < rank {
        return Ok(None);
    }
    let flat: Vec<i64> = moved[first..].iter().flat_map(|&(a, z)| [a, z]).collect();
    let amounts = b.ints(&flat)?;
    let result = op.clone().build(b, form.source, amounts)?;
    Ok(Some(Carried { results: vec![result], perm: form.perm.clone() }))
}

/// Reshapes that cut and join axes that are neighbours in the source too.
fn reshape(b: &mut Builder<'_>, form: &Form, node: Node) -> OpResult<Option<Carried>> {
    let data = &b.function().nodes[node];
    let (x, y) = (data.operands.all()[0], data.results[0]);
    let (from, to) = (b.tensor(x)?.shape.clone(), b.tensor(y)?.shape.clone());
    let Some(Regrouped { shape, perm }) = regroup(form, &from, &to) else { return Ok(None) };
    let Some(sizes) = Dim::reshape_sizes(&shape) else { return Ok(None) };
    let sizes = b.ints(&sizes)?;
    let result = Reshape {}.build(b, form.source, sizes)?;
    Ok(Some(Carried { results: vec![result], perm }))
}

/// Norms of axes that stand in the same order in the source.
fn layer_norm(
    b: &mut Builder<'_>,
    form: &Form,
    op: &LayerNorm,
    operands: &Operands,
) -> OpResult<Option<Carried>> {
    let Some(axes) = axes(&op.clone().into(), form.perm.len())? else { return Ok(None) };
    let moved: Vec<i64> = axes.iter().map(|&axis| form.perm[axis] as i64).collect();
    if !axes.is_sorted() || !moved.is_sorted() {
        return Ok(None);
    }
    let norm = LayerNorm { axes: Some(moved), epsilon: op.epsilon };
    let rest = |slot: usize| operands.slot(slot).first().copied();
    let result = norm.build(b, form.source, rest(1), rest(2))?;
    Ok(Some(Carried { results: vec![result], perm: form.perm.clone() }))
}

/// Rows along an axis that stays one axis.
fn gather(
    b: &mut Builder<'_>,
    form: &Form,
    op: &Gather,
    operands: &[Value],
) -> OpResult<Option<Carried>> {
    if b.tensor(operands[1])?.rank() != 1 || op.batch_dims != 0 {
        return Ok(None);
    }
    let axis = normalize_axis(op.axis, form.perm.len())?;
    let moved = Gather { axis: form.perm[axis] as i64, ..op.clone() };
    let result = moved.build(b, form.source, operands[1])?;
    Ok(Some(Carried { results: vec![result], perm: form.perm.clone() }))
}

fn by_index(
    b: &mut Builder<'_>,
    form: &Form,
    op: &SliceByIndex,
    operands: &[Value],
) -> OpResult<Option<Carried>> {
    let ends = known(b, operands[1]).zip(known(b, operands[2]));
    let Some((begin, end)) = ends.filter(|_| !op.squeeze_mask.contains(&true)) else {
        return Ok(None);
    };
    let (begin, end) =
        (b.ints(&reordered(&form.perm, &begin))?, b.ints(&reordered(&form.perm, &end))?);
    let op = SliceByIndex {
        stride: reordered(&form.perm, &op.stride),
        begin_mask: reordered(&form.perm, &op.begin_mask),
        end_mask: reordered(&form.perm, &op.end_mask),
        squeeze_mask: vec![],
    };
    let result = op.build(b, form.source, begin, end)?;
    Ok(Some(Carried { results: vec![result], perm: form.perm.clone() }))
}

fn by_size(b: &mut Builder<'_>, form: &Form, operands: &[Value]) -> OpResult<Option<Carried>> {
    let Some((begin, size)) = known(b, operands[1]).zip(known(b, operands[2])) else {
        return Ok(None);
    };
    let (begin, size) =
        (b.ints(&reordered(&form.perm, &begin))?, b.ints(&reordered(&form.perm, &size))?);
    let result = SliceBySize {}.build(b, form.source, begin, size)?;
    Ok(Some(Carried { results: vec![result], perm: form.perm.clone() }))
}

fn concat(
    b: &mut Builder<'_>,
    forms: &Forms,
    op: &Op,
    operands: &Operands,
) -> OpResult<Option<Carried>> {
    let Some(perm) = common(b, forms, operands.all(), None) else { return Ok(None) };
    let Some(axis) = axis(op, perm.len())? else { return Ok(None) };
    let moved = with_attr(op, "axis", AttrValue::Int(perm[axis] as i64));
    let Some(moved) = moved else { return Ok(None) };
    let mut values = Vec::new();
    for &value in operands.all() {
        match source(b, forms, value, &perm)? {
            Some(value) => values.push(value),
            None => return Ok(None),
        }
    }
    let mut operands = Operands::new();
    operands.push_slot(values);
    let node = b.push(moved, operands, Vec::new())?;
    Ok(Some(Carried { results: b.results(node).to_vec(), perm }))
}

fn elementwise(
    b: &mut Builder<'_>,
    forms: &Forms,
    op: &Op,
    node: Node,
) -> OpResult<Option<Carried>> {
    let data = &b.function().nodes[node];
    let operands = data.operands.clone();
    let Some(result) = data.results.first().and_then(|&v| b.ty(v).as_tensor()) else {
        return Ok(None);
    };
    let rank = result.rank();
    let Some(perm) = common(b, forms, operands.all(), Some(rank)) else { return Ok(None) };
    let mut moved = Operands::new();
    for slot in 0..operands.slots() {
        let mut values = Vec::new();
        for &value in operands.slot(slot) {
            match source(b, forms, value, &perm)? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        moved.push_slot(values);
    }
    let node = b.push(op.clone(), moved, Vec::new())?;
    Ok(Some(Carried { results: b.results(node).to_vec(), perm }))
}

/// The permutation of the first operand that has a form, of that rank if one is given.
fn common(
    b: &Builder<'_>,
    forms: &Forms,
    operands: &[Value],
    rank: Option<usize>,
) -> Option<Vec<usize>> {
    let weight = |value: &Value| {
        // The largest operand says in which order it is best to compute.
        let ty = b.ty(*value).as_tensor();
        ty.map_or(0, |ty| ty.shape.iter().filter(|dim| !dim.is(1)).count())
    };
    let formed = operands.iter().copied().filter(|&v| forms.get(v).is_some());
    let best = formed.rev().max_by_key(weight)?;
    let perm = forms.get(best)?.perm.clone();
    rank.is_none_or(|rank| perm.len() == rank).then_some(perm)
}

/// What an operand is in the order of sources; `None` where that would take a transpose of much.
fn source(
    b: &mut Builder<'_>,
    forms: &Forms,
    value: Value,
    perm: &[usize],
) -> OpResult<Option<Value>> {
    if let Some(form) = forms.get(value).filter(|form| form.perm == perm) {
        return Ok(Some(form.source));
    }
    let ty = b.tensor(value)?.clone();
    let rank = perm.len();
    if ty.rank() == 0 {
        return Ok(Some(value));
    }
    if ty.rank() > rank {
        return Err(OpError::shape("an operand of more axes than the result"));
    }
    let back = inverse(perm);
    if let Some(tensor) = b.constant_of(value).cloned() {
        let mut shape = vec![1; rank - ty.rank()];
        shape.extend_from_slice(tensor.shape());
        let moved = tensor.reshape(&shape).and_then(|tensor| tensor.transpose(&back));
        return match moved {
            Ok(tensor) => Ok(Some(b.constant(tensor)?)),
            Err(_) => Ok(None),
        };
    }
    // An operand that stretches along most axes is cheap to move.
    if ty.shape.iter().filter(|dim| !dim.is(1)).count() > 2 || rank < 4 {
        return Ok(None);
    }
    let lead: Vec<i64> = (0..(rank - ty.rank()) as i64).collect();
    let wide = if lead.is_empty() { value } else { ExpandDims { axes: lead }.build(b, value)? };
    let perm = back.iter().map(|&axis| axis as i64).collect();
    Transpose { perm }.build(b, wide).map(Some)
}
