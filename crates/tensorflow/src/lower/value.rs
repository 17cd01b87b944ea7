//! What the inputs and results of nodes are while lowering.

use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

/// An input or a result of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Val {
    /// A tensor.
    Tensor(Value),
    /// A tensor of complex numbers: real and imaginary parts, of one shape.
    Complex(Value, Value),
    /// A list of tensors.
    List(List),
    /// The variable of that node.
    Variable(usize),
    /// The bits of floats, as integers; only their signs can be asked for.
    Bits(Value),
    /// Strings.
    Text(Vec<Vec<u8>>),
    /// What no supported op takes: results of checks and of printing.
    Nothing,
}

impl Val {
    /// What it is, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tensor(_) => "a tensor",
            Self::Complex(..) => "a complex tensor",
            Self::List(_) => "a list of tensors",
            Self::Variable(_) => "a variable",
            Self::Bits(_) => "the bits of floats",
            Self::Text(_) => "text",
            Self::Nothing => "nothing",
        }
    }
}

/// A list of tensors: `TensorList` or `TensorArray`.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// Element type.
    pub dtype: DType,
    /// Extents of each element as far as they are known.
    pub element: Option<Vec<Option<Dim>>>,
    /// The elements.
    pub items: Items,
}

/// The elements of a list.
#[derive(Debug, Clone, PartialEq)]
pub enum Items {
    /// That many, none of which was written.
    Unset(Dim),
    /// Each on its own; elements that were not written are `None`.
    Each(Vec<Option<Value>>),
    /// All of one shape, stacked along a first axis.
    Whole(Value),
}
