//! What kernels that move elements share: axes, extents, and arrays as blocks.

use mlc_ir::infer::{normalize_axes, normalize_axis};

use crate::kernel::EvalError;

/// The axis counted from the front.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize, EvalError> {
    normalize_axis(axis, rank).map_err(|e| EvalError::internal(e.to_string()))
}

/// The axes counted from the front, sorted.
pub(super) fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>, EvalError> {
    normalize_axes(axes, rank).map_err(|e| EvalError::internal(e.to_string()))
}

/// An extent from a runtime number.
pub(super) fn extent(n: i64) -> Result<usize, EvalError> {
    usize::try_from(n).map_err(|_| EvalError::undefined(format!("an extent of {n}")))
}

/// A shape cut at `axis`: the product of the extents before, that of the axis, and the product of
/// those after. Element `(o, i, n)` is at `(o·extent + i)·inner + n`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    pub(super) outer: usize,
    pub(super) extent: usize,
    pub(super) inner: usize,
}

impl Blocks {
    pub(super) fn of(shape: &[usize], axis: usize) -> Self {
        Self {
            outer: shape[..axis].iter().product(),
            extent: shape[axis],
            inner: shape[axis + 1..].iter().product(),
        }
    }
}
