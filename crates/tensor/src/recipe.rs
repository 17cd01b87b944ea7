//! Tensors made from other tensors when their bytes are asked for.

use crate::tensor::Tensor;

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
pub(crate) fn broadcast_strides(from: &[u64], shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![0; shape.len() - from.len()];
    let own = row_major(from);
    strides.extend(from.iter().zip(own).map(|(&d, s)| if d == 1 { 0 } else { s }));
    strides
}

/// Strides, in elements, of a row-major tensor.
pub(crate) fn row_major(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}
