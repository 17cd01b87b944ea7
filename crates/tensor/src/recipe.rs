//! Tensors made from other tensors when their bytes are asked for.

use crate::convert;
use crate::dtype::DType;
use crate::tensor::{Tensor, TensorError, element_count};

/// Arithmetic of [`Recipe::Zip`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ZipOp {
    /// `x + y`.
    Add,
    /// `x − y`.
    Sub,
    /// `x · y`.
    Mul,
    /// `x / y`.
    Div,
}

impl ZipOp {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Add, Self::Sub, Self::Mul, Self::Div];

    /// The name in text IR.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
        }
    }

    fn apply<T>(self, x: T, y: T) -> T
    where
        T: std::ops::Add<Output = T>
            + std::ops::Sub<Output = T>
            + std::ops::Mul<Output = T>
            + std::ops::Div<Output = T>,
    {
        match self {
            Self::Add => x + y,
            Self::Sub => x - y,
            Self::Mul => x * y,
            Self::Div => x / y,
        }
    }
}

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
    /// Arithmetic on floats of one type, both broadcast by NumPy's rule. Half precision is computed in
    /// single and rounded once.
    Zip {
        /// What is computed.
        op: ZipOp,
        /// Left and right operand.
        operands: [Tensor; 2],
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
            Self::Zip { operands, .. } => operands,
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
            Self::Zip { op, operands: [x, y] } => zip(*op, [x, y], dtype, shape),
        }
    }
}

/// The shape that two shapes broadcast to by NumPy's rule.
pub(crate) fn broadcast(x: &[u64], y: &[u64]) -> Option<Vec<u64>> {
    let rank = x.len().max(y.len());
    let at = |shape: &[u64], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |k| shape[k]);
    (0..rank)
        .map(|i| match (at(x, i), at(y, i)) {
            (a, b) if a == b || b == 1 => Some(a),
            (1, b) => Some(b),
            _ => None,
        })
        .collect()
}

/// Strides, in elements, with which a row-major tensor of shape `from` is read as one of `shape`.
fn broadcast_strides(from: &[u64], shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![0; shape.len() - from.len()];
    let own = row_major(from);
    strides.extend(from.iter().zip(own).map(|(&d, s)| if d == 1 { 0 } else { s }));
    strides
}

fn zip(
    op: ZipOp,
    operands: [&Tensor; 2],
    dtype: DType,
    shape: &[u64],
) -> Result<Vec<u8>, TensorError> {
    let made = [operands[0].bytes()?, operands[1].bytes()?];
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let cast = |i: usize| convert::cast(dtype, wide, &made[i], operands[i].count());
    let (x, y) = (cast(0), cast(1));
    let strides = [0, 1].map(|i| broadcast_strides(operands[i].shape(), shape));
    let count = element_count(shape)?;
    let mut out = Vec::with_capacity(count * wide.size().unwrap_or(4));
    if wide == DType::F64 {
        let (x, y) = (x.as_chunks::<8>().0, y.as_chunks::<8>().0);
        for_each_pair(shape, &strides, count, &mut |i, j| {
            let z = op.apply(f64::from_le_bytes(x[i]), f64::from_le_bytes(y[j]));
            out.extend_from_slice(&z.to_le_bytes());
        });
    } else {
        let (x, y) = (x.as_chunks::<4>().0, y.as_chunks::<4>().0);
        for_each_pair(shape, &strides, count, &mut |i, j| {
            let z = op.apply(f32::from_le_bytes(x[i]), f32::from_le_bytes(y[j]));
            out.extend_from_slice(&z.to_le_bytes());
        });
    }
    Ok(convert::cast(wide, dtype, &out, count))
}

/// Calls `visit` with the positions of both operands for each of `count` elements, in row-major order.
fn for_each_pair(
    shape: &[u64],
    strides: &[Vec<u64>; 2],
    count: usize,
    visit: &mut dyn FnMut(usize, usize),
) {
    let mut index = vec![0u64; shape.len()];
    let mut at = [0u64; 2];
    for _ in 0..count {
        visit(at[0] as usize, at[1] as usize);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            (0..2).for_each(|k| at[k] += strides[k][axis]);
            if index[axis] < shape[axis] {
                break;
            }
            (0..2).for_each(|k| at[k] -= strides[k][axis] * shape[axis]);
            index[axis] = 0;
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
