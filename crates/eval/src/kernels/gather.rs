//! Picking elements by index tensors.

use mlc_ir::ops::{Gather, GatherAlongAxis, GatherNd};

use super::layout::{Blocks, axis_of, extent, positions};
use crate::array::{Array, strides};
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

impl Kernel for Gather {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, indices) = (cx.array("x")?, cx.array("indices")?);
        let axis = axis_of(self.axis, x.rank())?;
        let batch_dims = extent(self.batch_dims)?;
        let (Some(batch_shape), Some(own)) =
            (x.shape().get(..batch_dims), indices.shape().get(batch_dims..))
        else {
            return Err(EvalError::internal("`batch_dims` out of range"));
        };
        if batch_shape != &indices.shape()[..batch_dims] || axis < batch_dims {
            let message = format!("{:?} gathered by {:?}", x.shape(), indices.shape());
            return Err(EvalError::undefined(message));
        }
        let batches: usize = batch_shape.iter().product();
        let Blocks { outer, extent: whole, inner } = Blocks::of(x.shape(), axis);
        let outer = outer.checked_div(batches).unwrap_or(0);
        let at = positions(indices, whole)?;
        let each: usize = own.iter().product();
        let mut pieces = Vec::with_capacity(batches * outer * each);
        for batch in 0..batches {
            let at = &at[batch * each..(batch + 1) * each];
            for o in batch * outer..(batch + 1) * outer {
                pieces.extend(at.iter().map(|&i| (0, (o * whole + i) * inner, inner)));
            }
        }
        let mut shape = x.shape().to_vec();
        shape.splice(axis..=axis, own.iter().copied());
        Ok(vec![Array::assemble(&shape, &[x], pieces)?.into()])
    }
}

impl Kernel for GatherAlongAxis {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, indices) = (cx.array("x")?, cx.array("indices")?);
        let axis = axis_of(self.axis, x.rank())?;
        let index = along_axis(x.shape(), indices, axis)?;
        Ok(vec![x.pick(indices.shape(), &index)?.into()])
    }
}

/// For each of `indices`, the flat position in data of `shape` that it names along `axis`.
pub(super) fn along_axis(
    shape: &[usize],
    indices: &Array,
    axis: usize,
) -> Result<Vec<usize>, EvalError> {
    let own = indices.shape();
    if own.len() != shape.len() || (0..own.len()).any(|i| i != axis && own[i] != shape[i]) {
        return Err(EvalError::undefined(format!("{shape:?} indexed by {own:?} along {axis}")));
    }
    let Blocks { extent: whole, inner, .. } = Blocks::of(shape, axis);
    let each = own[axis] * inner;
    let at = positions(indices, whole)?;
    Ok(at
        .into_iter()
        .enumerate()
        .map(|(k, i)| (k / each * whole + i) * inner + k % inner)
        .collect())
}

impl Kernel for GatherNd {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, indices) = (cx.array("x")?, cx.array("indices")?);
        let batch_dims = extent(self.batch_dims)?;
        let at = nd_positions(x.shape(), indices, batch_dims)?;
        let (outer, depth) = indices.shape().split_at(indices.rank().saturating_sub(1));
        let rest = &x.shape()[batch_dims + depth[0]..];
        let inner: usize = rest.iter().product();
        let shape = [outer, rest].concat();
        Ok(vec![
            Array::assemble(&shape, &[x], at.into_iter().map(|start| (0, start, inner)))?.into(),
        ])
    }
}

/// For each tuple of `indices`, the flat position of the block of data of `shape` that it names,
/// after `batch_dims` shared axes.
pub(super) fn nd_positions(
    shape: &[usize],
    indices: &Array,
    batch_dims: usize,
) -> Result<Vec<usize>, EvalError> {
    let own = indices.shape();
    let wrong = || EvalError::undefined(format!("{shape:?} indexed by {own:?}"));
    let (&depth, outer) = own.split_last().ok_or_else(wrong)?;
    let named = batch_dims
        .checked_add(depth)
        .and_then(|end| shape.get(batch_dims..end))
        .ok_or_else(wrong)?;
    if outer.get(..batch_dims) != shape.get(..batch_dims) {
        return Err(wrong());
    }
    let steps = strides(shape);
    let batches: usize = outer[..batch_dims].iter().product();
    let tuples: usize = outer.iter().product();
    let each = tuples.checked_div(batches).unwrap_or(0);
    let block: usize = shape[batch_dims..].iter().product();
    let values = indices.to_i64s()?;
    (0..tuples)
        .map(|tuple| {
            let mut flat = tuple / each * block;
            for (k, &whole) in named.iter().enumerate() {
                let i = values[tuple * depth + k];
                let at = usize::try_from(i).ok().filter(|&at| at < whole).ok_or_else(|| {
                    EvalError::undefined(format!("index {i} into an axis of {whole}"))
                })?;
                flat += at * steps[batch_dims + k];
            }
            Ok(flat)
        })
        .collect()
}
