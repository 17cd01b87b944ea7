//! Ops on sequences, computed of their images.

use mlc_ir::attr::{AttrValue, PadType};
use mlc_ir::ops::{Conv, LayerNorm, Squeeze};
use mlc_ir::{Builder, Node, Op, OpResult, Operands, Trait, Value};

use crate::axes::{attr, axes, axis, ints, with_attr};
use crate::lifted::{self, Images, is_sequence, split_heads};

/// What stands for the results of an op, computed of images.
pub(crate) fn visit(
    b: &mut Builder<'_>,
    node: Node,
    images: &mut Images,
) -> OpResult<Option<Vec<Value>>> {
    let data = &b.function().nodes[node];
    let (op, operands) = (data.op.clone(), data.operands.clone());
    let Some(&first) = operands.all().first() else { return Ok(None) };
    let image = images.get(first);
    let rank = b.ty(first).as_tensor().map_or(0, mlc_ir::TensorType::rank);
    match (&op, image) {
        (Op::Linear(_), _) => linear(b, &operands, images),
        (Op::LayerNorm(norm), Some(image)) => {
            let Some(1) = moved(&op, rank)?.filter(|moved| moved.len() == 1).map(|moved| moved[0])
            else {
                return Ok(None);
            };
            let norm = LayerNorm { axes: Some(vec![1]), epsilon: norm.epsilon };
            let rest = |slot: usize| operands.slot(slot).first().copied();
            let made = norm.build(b, image, rest(1), rest(2))?;
            images.lower(b, made, rank).map(|value| Some(vec![value]))
        }
        (Op::Transpose(turn), Some(image))
            if turn.perm.iter().map(|p| p.rem_euclid(3)).eq([0, 2, 1]) =>
        {
            Squeeze { axes: Some(vec![2]) }.build(b, image).map(|value| Some(vec![value]))
        }
        (Op::Transpose(turn), Some(image))
            if turn.perm.iter().map(|p| p.rem_euclid(4)).eq([0, 3, 1, 2]) =>
        {
            Ok(Some(vec![image]))
        }
        (Op::Reshape(_), Some(image)) if rank == 3 => {
            let to = b.tensor(b.results(node)[0])?.shape.clone();
            Ok(split_heads(b, image, &to)?.map(|value| vec![value]))
        }
        (Op::Softmax(_) | Op::Split(_), Some(image)) => along(b, &op, (vec![image], rank), images),
        (Op::Concat(_), _) if operands.all().iter().any(|&v| images.get(v).is_some()) => {
            let all = operands.all().to_vec();
            for &value in &all {
                if b.tensor(value)?.rank() != rank || !(3..=4).contains(&rank) {
                    return Ok(None);
                }
            }
            let all = all.into_iter().map(|value| images.lift(b, value));
            let all = all.collect::<OpResult<Vec<_>>>()?;
            along(b, &op, (all, rank), images)
        }
        (op, Some(image)) if op.spec().name.starts_with("reduce_") => {
            let keeps = attr(op, "keep_dims") == Some(AttrValue::Bool(true));
            let Some(moved) = moved(op, rank)?.filter(|_| keeps) else { return Ok(None) };
            let Some(op) = with_attr(op, "axes", ints(moved)) else { return Ok(None) };
            lowered(b, op, (vec![vec![image]], rank), images)
        }
        (op, _) if op.spec().traits.has(Trait::Elementwise) => {
            elementwise(b, (op, node), &operands, images)
        }
        _ => Ok(None),
    }
}

/// The axes of an op on a sequence, in its image.
fn moved(op: &Op, rank: usize) -> OpResult<Option<Vec<usize>>> {
    Ok(axes(op, rank)?.map(|axes| axes.into_iter().map(|axis| lifted::axis(axis, rank)).collect()))
}

/// `linear` as a convolution.
fn linear(
    b: &mut Builder<'_>,
    operands: &Operands,
    images: &mut Images,
) -> OpResult<Option<Vec<Value>>> {
    let (x, weight) = (operands.slot(0)[0], operands.slot(1)[0]);
    let bias = operands.slot(2).first().copied();
    let known = b.constant_of(weight).filter(|w| w.shape().len() == 2).cloned();
    let is_known = |value: Value| b.constant_of(value).is_some();
    let Some(weight) = known.filter(|_| is_sequence_of(b, x) && bias.is_none_or(is_known)) else {
        return Ok(None);
    };
    let Ok(weight) = weight.reshape(&[weight.shape()[0], weight.shape()[1], 1, 1]) else {
        return Ok(None);
    };
    let image = images.lift(b, x)?;
    let weight = b.constant(weight)?;
    let conv = Conv {
        strides: vec![1, 1],
        pad_type: PadType::Valid,
        pad: vec![0; 4],
        dilations: vec![1, 1],
        groups: 1,
    };
    let made = conv.build(b, image, weight, bias)?;
    let rank = b.tensor(x)?.rank();
    images.lower(b, made, rank).map(|value| Some(vec![value]))
}

fn is_sequence_of(b: &Builder<'_>, value: Value) -> bool {
    b.ty(value).as_tensor().is_some_and(is_sequence)
}

/// An op along one axis, of images of sequences of so many axes.
fn along(
    b: &mut Builder<'_>,
    op: &Op,
    (values, rank): (Vec<Value>, usize),
    images: &mut Images,
) -> OpResult<Option<Vec<Value>>> {
    let Some(at) = axis(op, rank)? else { return Ok(None) };
    let Some(op) = with_attr(op, "axis", AttrValue::Int(lifted::axis(at, rank) as i64)) else {
        return Ok(None);
    };
    lowered(b, op, (vec![values], rank), images)
}

/// An op of images, slot by slot, and the sequences of its results, of so many axes.
fn lowered(
    b: &mut Builder<'_>,
    op: Op,
    (slots, rank): (Vec<Vec<Value>>, usize),
    images: &mut Images,
) -> OpResult<Option<Vec<Value>>> {
    let mut operands = Operands::new();
    slots.into_iter().for_each(|slot| operands.push_slot(slot));
    let node = b.push(op, operands, Vec::new())?;
    let results = b.results(node).to_vec();
    results
        .into_iter()
        .map(|result| images.lower(b, result, rank))
        .collect::<OpResult<Vec<_>>>()
        .map(Some)
}

/// An op on single elements, if an operand has an image and the others can be had as cheaply.
fn elementwise(
    b: &mut Builder<'_>,
    (op, node): (&Op, Node),
    operands: &Operands,
    images: &mut Images,
) -> OpResult<Option<Vec<Value>>> {
    let rank = b.ty(b.results(node)[0]).as_tensor().map(mlc_ir::TensorType::rank);
    let known = operands.all().iter().any(|&value| images.get(value).is_some());
    let Some(rank) = rank.filter(|rank| known && (3..=4).contains(rank)) else { return Ok(None) };
    let mut slots = Vec::new();
    for slot in 0..operands.slots() {
        let mut values = Vec::new();
        for &value in operands.slot(slot) {
            match spread(b, (value, rank), images)? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        slots.push(values);
    }
    lowered(b, op.clone(), (slots, rank), images)
}

/// An operand of an op on single elements whose result has so many axes, beside images.
fn spread(
    b: &mut Builder<'_>,
    (value, rank): (Value, usize),
    images: &mut Images,
) -> OpResult<Option<Value>> {
    let ty = b.tensor(value)?.clone();
    if ty.rank() == 0 {
        return Ok(Some(value));
    }
    if let Some(tensor) = b.constant_of(value).cloned() {
        let mut shape = vec![1; rank.saturating_sub(ty.rank())];
        shape.extend_from_slice(tensor.shape());
        if rank == 3 {
            shape.insert(1, 1);
        }
        let turned = tensor.reshape(&shape).and_then(|tensor| tensor.transpose(&[0, 3, 1, 2]));
        return match turned {
            Ok(tensor) => b.constant(tensor).map(Some),
            Err(_) => Ok(None),
        };
    }
    if ty.rank() != rank {
        return Ok(None);
    }
    images.lift(b, value).map(Some)
}
