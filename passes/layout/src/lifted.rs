//! Sequences as images: values `[b, s, c]` that are computed as `[b, c, 1, s]`, and images whose channels
//! come last, `[b, h, w, c]`, as `[b, c, h, w]`.

use std::collections::BTreeMap;

use mlc_ir::ops::{ExpandDims, Reshape, Squeeze, Transpose};
use mlc_ir::{Builder, Dim, Op, OpResult, TensorType, Value};

/// The images of sequences.
#[derive(Debug, Default)]
pub(crate) struct Images(BTreeMap<Value, Value>);

/// Whether a value is a sequence, or an image whose channels come last, of more than one element and of a
/// known number of channels.
pub(crate) fn is_sequence(ty: &TensorType) -> bool {
    match &ty.shape[..] {
        [_, places @ .., c] if (1..=2).contains(&places.len()) => {
            places.iter().any(|n| !n.is(1)) && c.as_const().is_some_and(|c| c > 0)
        }
        _ => false,
    }
}

/// Axis `axis` of a sequence of `rank` axes in its image.
pub(crate) fn axis(axis: usize, rank: usize) -> usize {
    let axes: &[usize] = if rank == 3 { &[0, 3, 1] } else { &[0, 2, 3, 1] };
    axes[axis.min(axes.len() - 1)]
}

impl Images {
    /// The image of a sequence, if it has one.
    pub(crate) fn get(&self, sequence: Value) -> Option<Value> {
        self.0.get(&sequence).copied()
    }

    /// The sequence of `rank` axes of an image, which stands for it from now on.
    ///
    /// # Errors
    /// None for an image.
    pub(crate) fn lower(
        &mut self,
        b: &mut Builder<'_>,
        image: Value,
        rank: usize,
    ) -> OpResult<Value> {
        let sequence = if rank == 3 {
            let flat = Squeeze { axes: Some(vec![2]) }.build(b, image)?;
            Transpose { perm: vec![0, 2, 1] }.build(b, flat)?
        } else {
            Transpose { perm: vec![0, 2, 3, 1] }.build(b, image)?
        };
        self.0.insert(sequence, image);
        Ok(sequence)
    }

    /// The image of a sequence, made if there is none.
    ///
    /// # Errors
    /// None for a sequence.
    pub(crate) fn lift(&mut self, b: &mut Builder<'_>, sequence: Value) -> OpResult<Value> {
        if let Some(image) = self.get(sequence) {
            return Ok(image);
        }
        let image = if b.tensor(sequence)?.rank() == 4 {
            Transpose { perm: vec![0, 3, 1, 2] }.build(b, sequence)?
        } else if let Some(image) = heads(b, sequence)? {
            image
        } else {
            let turned = Transpose { perm: vec![0, 2, 1] }.build(b, sequence)?;
            ExpandDims { axes: vec![2] }.build(b, turned)?
        };
        self.0.insert(sequence, image);
        Ok(image)
    }
}

/// The image of a sequence whose channels are the last two axes of `[b, s, h, d]`: the transpose that
/// made those can be joined with this one.
fn heads(b: &mut Builder<'_>, sequence: Value) -> OpResult<Option<Value>> {
    let made = b.function().def(sequence).map(|(_, node)| (&node.op, node.operands.all()));
    let Some((Op::Reshape(_), &[x, _])) = made else { return Ok(None) };
    let [batch, rows, channels] = &b.tensor(sequence)?.shape[..] else { return Ok(None) };
    let [own_batch, own_rows, heads, depth] = &b.tensor(x)?.shape[..] else { return Ok(None) };
    let shape = [batch.clone(), channels.clone(), Dim::Const(1), rows.clone()];
    let Some(shape) = Dim::reshape_sizes(&shape) else { return Ok(None) };
    if (own_batch, own_rows) != (batch, rows) || heads.mul(depth) != *channels {
        return Ok(None);
    }
    let turned = Transpose { perm: vec![0, 2, 3, 1] }.build(b, x)?;
    let shape = b.ints(&shape)?;
    Reshape {}.build(b, turned, shape).map(Some)
}

/// `[b, s, h, d]` of the image of `[b, s, h·d]`, as a transpose.
///
/// # Errors
/// None for an image.
pub(crate) fn split_heads(
    b: &mut Builder<'_>,
    image: Value,
    to: &[Dim],
) -> OpResult<Option<Value>> {
    let [batch, _, _, rows] = &b.tensor(image)?.shape[..] else { return Ok(None) };
    let [own_batch, own_rows, heads, depth] = to else { return Ok(None) };
    if (own_batch, own_rows) != (batch, rows) {
        return Ok(None);
    }
    let shape = [batch.clone(), heads.clone(), depth.clone(), rows.clone()];
    let Some(shape) = Dim::reshape_sizes(&shape) else { return Ok(None) };
    let shape = b.ints(&shape)?;
    let cut = Reshape {}.build(b, image, shape)?;
    Transpose { perm: vec![0, 3, 1, 2] }.build(b, cut).map(Some)
}
