//! Types of values.

use std::fmt;

use mlc_tensor::DType;

use crate::dim::Dim;

/// An element type and a shape. Rank 0 is a scalar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorType {
    /// Element type; `str` only at rank 0 and in lists.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<Dim>,
}

impl TensorType {
    /// A tensor type.
    #[must_use]
    pub fn new(dtype: DType, shape: impl Into<Vec<Dim>>) -> Self {
        Self { dtype, shape: shape.into() }
    }

    /// Number of axes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The extents as numbers, if all are.
    #[must_use]
    pub fn static_shape(&self) -> Option<Vec<u64>> {
        self.shape.iter().map(|d| d.as_const().and_then(|n| u64::try_from(n).ok())).collect()
    }

    /// The number of elements.
    #[must_use]
    pub fn count(&self) -> Dim {
        Dim::product(&self.shape)
    }

    /// The same shape with another element type.
    #[must_use]
    pub fn with_dtype(&self, dtype: DType) -> Self {
        Self { dtype, shape: self.shape.clone() }
    }
}

/// The type of a value.
///
/// Scalars are tensors of rank 0; a string is a scalar of [`DType::Str`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    /// A tensor or scalar.
    Tensor(TensorType),
    /// A state that holds a tensor.
    State(TensorType),
    /// A list of tensors of one type; the length may be fixed.
    List {
        /// Type of each element.
        element: TensorType,
        /// Number of elements.
        length: Dim,
    },
    /// A fixed sequence of values.
    Tuple(Vec<Type>),
    /// A dictionary between scalar types.
    Dict {
        /// Type of keys.
        key: DType,
        /// Type of values.
        value: DType,
    },
}

impl Type {
    /// A tensor type.
    #[must_use]
    pub fn tensor(dtype: DType, shape: impl Into<Vec<Dim>>) -> Self {
        Self::Tensor(TensorType::new(dtype, shape))
    }

    /// The tensor type, if it is one.
    #[must_use]
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match self {
            Self::Tensor(ty) => Some(ty),
            _ => None,
        }
    }

    /// Calls `visit` on every extent.
    pub fn for_each_dim(&self, visit: &mut dyn FnMut(&Dim)) {
        match self {
            Self::Tensor(ty) | Self::State(ty) => ty.shape.iter().for_each(visit),
            Self::List { element, length } => {
                element.shape.iter().for_each(&mut *visit);
                visit(length);
            }
            Self::Tuple(items) => items.iter().for_each(|item| item.for_each_dim(visit)),
            Self::Dict { .. } => {}
        }
    }

    /// The same type with every extent replaced.
    #[must_use]
    pub fn map_dims(&self, map: &mut dyn FnMut(&Dim) -> Dim) -> Self {
        let shaped = |ty: &TensorType, map: &mut dyn FnMut(&Dim) -> Dim| {
            TensorType::new(ty.dtype, ty.shape.iter().map(map).collect::<Vec<_>>())
        };
        match self {
            Self::Tensor(ty) => Self::Tensor(shaped(ty, map)),
            Self::State(ty) => Self::State(shaped(ty, map)),
            Self::List { element, length } => {
                Self::List { element: shaped(element, map), length: map(length) }
            }
            Self::Tuple(items) => {
                Self::Tuple(items.iter().map(|item| item.map_dims(map)).collect())
            }
            Self::Dict { .. } => self.clone(),
        }
    }
}

impl From<TensorType> for Type {
    fn from(ty: TensorType) -> Self {
        Self::Tensor(ty)
    }
}

impl fmt::Display for TensorType {
    /// `f32` for a scalar, `tensor<2x(s0+1)xf32>` otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shape.is_empty() {
            return write!(f, "{}", self.dtype);
        }
        f.write_str("tensor<")?;
        for dim in &self.shape {
            match (dim, dim.as_symbol()) {
                (Dim::Const(_) | Dim::Unknown, _) => write!(f, "{dim}x")?,
                _ => write!(f, "({dim})x")?,
            }
        }
        write!(f, "{}>", self.dtype)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(ty) => write!(f, "{ty}"),
            Self::State(ty) => write!(f, "state<{ty}>"),
            Self::List { element, length } => write!(f, "list<{element}, {length}>"),
            Self::Tuple(items) => {
                f.write_str("tuple<")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(">")
            }
            Self::Dict { key, value } => write!(f, "dict<{key}, {value}>"),
        }
    }
}
