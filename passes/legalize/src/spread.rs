//! Ops whose arguments Core ML does not define, in terms of those that it does.

use mlc_ir::attr::PadMode;
use mlc_ir::ops::{Conv, Gather, Pad, Reshape, SliceBySize};
use mlc_ir::{Builder, F64, Value};
use mlc_pass::Result;

/// `pad` that mirrors or repeats axes before the last two: those are gathered from indices.
pub(crate) fn mirrored(b: &mut Builder<'_>, op: &Pad, operands: &[Value]) -> Result<Option<Value>> {
    let &[x, amounts] = operands else { return Ok(None) };
    let (Some(shape), Some(amounts)) = (b.tensor(x)?.static_shape(), content(b, amounts)) else {
        return Ok(None);
    };
    let Some(first) = shape.len().checked_sub(amounts.len() / 2) else { return Ok(None) };
    let last = shape.len().saturating_sub(2).max(first);
    let mut value = x;
    for (axis, pair) in (first..last).zip(amounts.chunks_exact(2)) {
        if pair == [0, 0] {
            continue;
        }
        let Some(sources) = sources(op.mode, shape[axis], pair) else { return Ok(None) };
        let sources = b.ints(&sources)?;
        let op = Gather { axis: axis as i64, batch_dims: 0, validate_indices: false };
        value = op.build(b, value, sources)?;
    }
    let rest = &amounts[2 * (last - first)..];
    if rest.iter().all(|&n| n == 0) {
        return Ok(Some(value));
    }
    let rest = b.ints(rest)?;
    Ok(Some(op.clone().build(b, value, rest)?))
}

fn content(b: &Builder<'_>, value: Value) -> Option<Vec<i64>> {
    b.content(value)?.iter().map(mlc_ir::Dim::as_const).collect()
}

/// Where each place of a padded axis comes from.
fn sources(mode: PadMode, extent: u64, pair: &[i64]) -> Option<Vec<i64>> {
    /// Longest axis that is written out.
    const MOST: i64 = 1 << 16;
    let last = i64::try_from(extent).ok()?.checked_sub(1)?;
    let end = last.checked_add(pair[1])?;
    if end.checked_add(pair[0])? >= MOST {
        return None;
    }
    let source = |at: i64| match mode {
        PadMode::Constant => None,
        PadMode::Replicate => Some(at.clamp(0, last)),
        PadMode::Reflect => {
            let folded = if at < 0 {
                -at
            } else if at > last {
                2 * last - at
            } else {
                at
            };
            (0..=last).contains(&folded).then_some(folded)
        }
    };
    (-pair[0]..=end).map(source).collect()
}

/// A convolution with a computed weight and dilations: the zeros between the elements of the weight
/// are put there.
pub(crate) fn dilated(b: &mut Builder<'_>, op: &Conv, operands: &[Value]) -> Result<Option<Value>> {
    let [x, weight, bias @ ..] = operands else { return Ok(None) };
    let Some(shape) = b.tensor(*weight)?.static_shape() else { return Ok(None) };
    let mut shape: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    if shape.len() != op.dilations.len() + 2 || shape.contains(&0) {
        return Ok(None);
    }
    let mut value = *weight;
    for (axis, &dilation) in (2..).zip(&op.dilations) {
        let kernel = shape[axis];
        let Some(spread) = kernel.checked_mul(dilation).filter(|_| dilation > 0) else {
            return Ok(None);
        };
        if dilation == 1 || kernel == 1 {
            continue;
        }
        let (before, after) =
            (shape[..axis].iter().product::<i64>(), shape[axis + 1..].iter().product::<i64>());
        let apart = b.ints(&[before, kernel, 1, after])?;
        let apart = Reshape {}.build(b, value, apart)?;
        let zeros = b.ints(&[0, dilation - 1, 0, 0])?;
        let pad = Pad { mode: PadMode::Constant, constant_val: F64(0.0) };
        let padded = pad.build(b, apart, zeros)?;
        let joined = b.ints(&[before, spread, after])?;
        let joined = Reshape {}.build(b, padded, joined)?;
        let (begin, size) = (b.ints(&[0, 0, 0])?, b.ints(&[before, spread - dilation + 1, after])?);
        let cut = SliceBySize {}.build(b, joined, begin, size)?;
        shape[axis] = spread - dilation + 1;
        let whole = b.ints(&shape)?;
        value = Reshape {}.build(b, cut, whole)?;
    }
    let dilations = vec![1; op.dilations.len()];
    let op = Conv { dilations, ..op.clone() };
    Ok(Some(op.build(b, *x, value, bias.first().copied())?))
}
