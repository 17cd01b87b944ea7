//! Tensors made from other tensors when their bytes are asked for.

use crate::convert;
use crate::dtype::DType;
use crate::tensor::{Tensor, TensorError, element_count};

/// How a tensor is made from others. Shape and dtype of the result stand in the [`Tensor`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Recipe {
    /// Element `(i0, i1, …)` is element `offset + Σ ik·strides[k]` of the flattened operand.
    Strided {
        /// The storage; its shape does not matter.
        of: Tensor,
        /// First element.
        offset: u64,
        /// Elements between neighbours along each axis; 0 repeats.
        strides: Vec<u64>,
    },
    /// The same elements in the same order under another shape.
    Reshape(Tensor),
    /// Axis `i` of the result is axis `perm[i]` of the operand.
    Transpose {
        /// The operand.
        of: Tensor,
        /// A permutation of its axes.
        perm: Vec<usize>,
    },
    /// Elements converted. Floats truncate to integers, integers saturate, and finite values
    /// beyond the range of a float type become its greatest finite ones.
    Cast(Tensor),
    /// Operands joined along `axis`.
    Concat {
        /// The axis.
        axis: usize,
        /// At least one; equal but for `axis`.
        parts: Vec<Tensor>,
    },
}

impl Recipe {
    /// The operands.
    #[must_use]
    pub fn operands(&self) -> &[Tensor] {
        match self {
            Self::Strided { of, .. } | Self::Transpose { of, .. } => std::slice::from_ref(of),
            Self::Reshape(of) | Self::Cast(of) => std::slice::from_ref(of),
            Self::Concat { parts, .. } => parts,
        }
    }

    /// Makes the bytes of the result of `dtype` and `shape`.
    pub(crate) fn make(&self, dtype: DType, shape: &[u64]) -> Result<Vec<u8>, TensorError> {
        let count = element_count(shape)?;
        match self {
            Self::Reshape(of) => Ok(of.bytes()?.into_owned()),
            Self::Cast(of) => Ok(convert::cast(of.dtype(), dtype, &of.bytes()?, count)),
            Self::Strided { of, offset, strides } => {
                gather(&of.bytes()?, dtype, shape, *offset, strides)
            }
            Self::Transpose { of, perm } => {
                let strides = row_major(of.shape());
                let strides: Vec<u64> = perm.iter().map(|&p| strides[p]).collect();
                gather(&of.bytes()?, dtype, shape, 0, &strides)
            }
            Self::Concat { axis, parts } => concat(*axis, parts, dtype, shape),
        }
    }
}

fn concat(
    axis: usize,
    parts: &[Tensor],
    dtype: DType,
    shape: &[u64],
) -> Result<Vec<u8>, TensorError> {
    let size = dtype.size().ok_or(TensorError::SubByte { dtype })? as u64;
    let outer = element_count(&shape[..axis])?;
    let inner: u64 = shape[axis + 1..].iter().product();
    let made = parts.iter().map(Tensor::bytes).collect::<Result<Vec<_>, _>>()?;
    let mut out = Vec::new();
    for i in 0..outer {
        for (part, bytes) in parts.iter().zip(&made) {
            let row = (part.shape()[axis] * inner * size) as usize;
            out.extend_from_slice(&bytes[i * row..(i + 1) * row]);
        }
    }
    Ok(out)
}

/// Strides, in elements, of a row-major tensor.
pub(crate) fn row_major(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

fn gather(
    bytes: &[u8],
    dtype: DType,
    shape: &[u64],
    offset: u64,
    strides: &[u64],
) -> Result<Vec<u8>, TensorError> {
    let size = dtype.size().ok_or(TensorError::SubByte { dtype })?;
    let count = element_count(shape)?;
    let mut out = Vec::with_capacity(count * size);
    let mut index = vec![0u64; shape.len()];
    let mut at = offset;
    for _ in 0..count {
        let start = at as usize * size;
        out.extend_from_slice(&bytes[start..start + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    Ok(out)
}
