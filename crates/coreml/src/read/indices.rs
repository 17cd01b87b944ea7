//! Indices before iOS 17: a negative one counts from the end. In the IR every index counts from the
//! front, so that those that may be negative are made so.

use mlc_ir::ops::{Add, Gather, Less, Op, Select, Shape};
use mlc_ir::{AttrValue, Builder, Dim, OpResult, Operands, Trait, Value};
use mlc_target::Opset;
use mlc_tensor::Tensor;

/// How many ops back the sign of an index is looked for.
const DEPTH: usize = 8;
/// Most elements of a constant that are looked at.
const MAX_ELEMENTS: usize = 1 << 20;

/// The operands with indices that count from the front, where `op` indexes and `opset` has negative
/// indices.
pub(super) fn from_front(
    b: &mut Builder<'_>,
    op: &Op,
    operands: Operands,
    opset: Opset,
) -> OpResult<Operands> {
    let spec = op.spec();
    let (Some(1), true) = (spec.operand("indices"), opset < Opset::Ios17) else {
        return Ok(operands);
    };
    let is_indexing = ["gather", "scatter"].iter().any(|family| spec.name.starts_with(family));
    let (&[data], &[indices]) = (operands.slot(0), operands.slot(1)) else { return Ok(operands) };
    if !is_indexing || counts_from_front(b, indices, DEPTH) {
        return Ok(operands);
    }
    let Some(axes) = indexed_axes(b, op, (data, indices)) else { return Ok(operands) };
    let indices = match fixed(b, (data, indices), &axes) {
        Some(tensor) => b.constant(tensor)?,
        None => selected(b, (data, indices), &axes)?,
    };
    let mut changed = Operands::new();
    for slot in 0..operands.slots() {
        match slot {
            1 => changed.push_slot([indices]),
            slot => changed.push_slot(operands.slot(slot).iter().copied()),
        }
    }
    Ok(changed)
}

/// The axes of the data that an index, or each number of one, goes along; none where the op does not
/// fit together.
fn indexed_axes(b: &Builder<'_>, op: &Op, (data, indices): (Value, Value)) -> Option<Vec<usize>> {
    let (data, indices) = (b.tensor(data).ok()?, b.tensor(indices).ok()?);
    let attr = |name: &str| {
        let at = op.spec().attrs.iter().position(|attr| attr.name == name)?;
        match op.attrs().get(at) {
            Some(AttrValue::Int(i)) => Some(*i),
            _ => None,
        }
    };
    let axes = match attr("axis") {
        Some(axis) => {
            let axis = if axis < 0 { axis.checked_add(data.rank() as i64)? } else { axis };
            vec![usize::try_from(axis).ok()?]
        }
        None => {
            let depth = usize::try_from(indices.shape.last()?.as_const()?).ok()?;
            let first = usize::try_from(attr("batch_dims").unwrap_or(0)).ok()?;
            (first..first.checked_add(depth).filter(|&end| end <= data.rank())?).collect()
        }
    };
    axes.iter().all(|&axis| axis < data.rank()).then_some(axes)
}

/// Constant indices, where the extents are numbers.
fn fixed(b: &Builder<'_>, (data, indices): (Value, Value), axes: &[usize]) -> Option<Tensor> {
    let tensor = b.constant_of(indices).filter(|tensor| tensor.count() <= MAX_ELEMENTS)?;
    let shape = &b.tensor(data).ok()?.shape;
    let extents: Vec<i64> = axes.iter().map(|&a| shape[a].as_const()).collect::<Option<_>>()?;
    let moved = tensor.to_i64s().ok()?.into_iter().enumerate().map(|(at, index)| {
        let extent = extents[at % extents.len().max(1)];
        if index < 0 { index.saturating_add(extent) } else { index }
    });
    Tensor::from_i64s(tensor.dtype(), tensor.shape(), &moved.collect::<Vec<_>>()).ok()
}

/// `indices < 0 ? indices + extent : indices`.
fn selected(
    b: &mut Builder<'_>,
    (data, indices): (Value, Value),
    axes: &[usize],
) -> OpResult<Value> {
    let shape = b.tensor(data)?.shape.clone();
    let numbers: Option<Vec<i64>> = axes.iter().map(|&axis| shape[axis].as_const()).collect();
    let extents = match (numbers.as_deref(), axes) {
        (Some(&[extent]), _) => b.int(extent)?,
        (Some(numbers), _) => b.ints(numbers)?,
        (None, axes) => {
            let extents = Shape {}.build(b, data)?;
            let positions: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
            let at = match &positions[..] {
                &[axis] => b.int(axis)?,
                axes => b.ints(axes)?,
            };
            Gather { axis: 0, batch_dims: 0, validate_indices: false }.build(b, extents, at)?
        }
    };
    let zero = b.int(0)?;
    let is_negative = Less {}.build(b, indices, zero)?;
    let moved = Add {}.build(b, indices, extents)?;
    Select {}.build(b, is_negative, moved, indices)
}

/// Whether no element can be negative.
fn counts_from_front(b: &Builder<'_>, value: Value, depth: usize) -> bool {
    let is_unsigned = |value: Value| {
        let dtype = b.tensor(value).ok().map(|ty| ty.dtype);
        dtype.and_then(|dtype| dtype.int_range()).is_some_and(|(low, _)| low >= 0)
    };
    if is_unsigned(value) {
        return true;
    }
    if let Some(tensor) = b.constant_of(value) {
        let numbers = (tensor.count() <= MAX_ELEMENTS).then(|| tensor.to_i64s().ok()).flatten();
        return numbers.is_some_and(|numbers| numbers.iter().all(|&index| index >= 0));
    }
    let is_known = |dim: &Dim| matches!(b.program.symbols.bounds(dim), (Some(low), _) if low >= 0);
    if b.content(value).is_some_and(|content| content.iter().all(is_known)) {
        return true;
    }
    let Some((_, data)) = b.function().def(value).filter(|_| depth > 0) else { return false };
    let operand = |slot: usize| data.operands.slot(slot).first().copied();
    let all =
        |slot: usize| data.operands.slot(slot).iter().all(|&v| counts_from_front(b, v, depth - 1));
    match &data.op {
        Op::ReduceArgmax(_)
        | Op::ReduceArgmin(_)
        | Op::Argsort(_)
        | Op::Shape(_)
        | Op::NonZero(_) => true,
        Op::Topk(_) => data.results.get(1) == Some(&value),
        Op::Select(_) => is_selected(b, [operand(0), operand(1), operand(2)]),
        Op::Cast(_) | Op::Concat(_) | Op::Stack(_) => {
            data.operands.slot(0).iter().all(|&v| counts_or_is_bool(b, v, depth - 1))
        }
        op if op.spec().traits.has(Trait::View) => all(0),
        _ => false,
    }
}

fn counts_or_is_bool(b: &Builder<'_>, value: Value, depth: usize) -> bool {
    b.tensor(value).is_ok_and(|ty| ty.dtype == mlc_tensor::DType::Bool)
        || counts_from_front(b, value, depth)
}

/// Whether a `select` is of the form of [`selected`], or of the same by `i >= 0`.
fn is_selected(b: &Builder<'_>, [test, a, other]: [Option<Value>; 3]) -> bool {
    let def = |value: Option<Value>| Some(b.function().def(value?)?.1);
    let Some(test) = def(test) else { return false };
    let (index, moved) = match &test.op {
        Op::Less(_) => (other, a),
        Op::GreaterEqual(_) => (a, other),
        _ => return false,
    };
    let first = |data: &mlc_ir::NodeData, slot: usize| data.operands.slot(slot).first().copied();
    let Some(moved) = def(moved).filter(|data| matches!(data.op, Op::Add(_))) else {
        return false;
    };
    let is_zero = first(test, 1)
        .and_then(|zero| b.constant_of(zero))
        .is_some_and(|zero| zero.count() == 1 && zero.to_i64s().is_ok_and(|zero| zero == [0]));
    let adds_index = (0..2).any(|slot| first(moved, slot) == index);
    is_zero && first(test, 0) == index && adds_index
}
