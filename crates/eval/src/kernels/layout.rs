//! What kernels that move elements share: axes, extents, and arrays as blocks.

use mlc_ir::infer::{normalize_axes, normalize_axis};
use mlc_tensor::DType;

use crate::array::{Array, element_count, for_each_index, strides};
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

/// An array of zeros.
pub(super) fn zeros(dtype: DType, shape: &[usize]) -> Result<Array, EvalError> {
    let count = element_count(shape)?;
    if dtype.is_float() {
        Array::from_f32s(dtype, shape, vec![0.0; count])
    } else {
        Array::from_i64s(dtype, shape, vec![0; count])
    }
}

/// Elements `first`, `first + stride`, … of an axis, `count` of them; all lie on the axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) first: usize,
    pub(super) stride: i64,
    pub(super) count: usize,
}

impl Walk {
    /// The whole axis.
    pub(super) fn whole(extent: usize) -> Self {
        Self { first: 0, stride: 1, count: extent }
    }

    /// The whole axis from its end.
    pub(super) fn backward(extent: usize) -> Self {
        Self { first: extent.saturating_sub(1), stride: -1, count: extent }
    }
}

/// The elements that `walks` (one an axis) take of a tensor of `shape`, in row-major order, as runs
/// of neighbours: flat position of the first and number.
pub(super) fn runs(shape: &[usize], walks: &[Walk]) -> Vec<(usize, usize)> {
    let steps = strides(shape);
    let counts: Vec<usize> = walks.iter().map(|walk| walk.count).collect();
    if counts.contains(&0) {
        return Vec::new();
    }
    // Trailing axes that are taken whole, and one with a stride of 1 before them, are one run.
    let mut cut = shape.len();
    let mut length = 1;
    while cut > 0 && walks[cut - 1].stride == 1 && length == steps[cut - 1] {
        cut -= 1;
        length *= counts[cut];
    }
    let tail: usize = (cut..shape.len()).map(|axis| walks[axis].first * steps[axis]).sum();
    let mut runs = Vec::with_capacity(counts[..cut].iter().product());
    for_each_index(&counts[..cut], |at| {
        let start: i64 = (0..cut)
            .map(|axis| {
                let position = walks[axis].first as i64 + at[axis] as i64 * walks[axis].stride;
                position * steps[axis] as i64
            })
            .sum();
        runs.push((start as usize + tail, length));
    });
    runs
}

/// The elements of `indices` as positions on an axis of `extent`.
pub(super) fn positions(indices: &Array, extent: usize) -> Result<Vec<usize>, EvalError> {
    let at = |i: i64| {
        usize::try_from(i)
            .ok()
            .filter(|&at| at < extent)
            .ok_or_else(|| EvalError::undefined(format!("index {i} into an axis of {extent}")))
    };
    indices.to_i64s()?.into_iter().map(at).collect()
}
