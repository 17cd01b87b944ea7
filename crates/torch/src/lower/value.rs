//! What the names of an ATen graph stand for while it is lowered.

use mlc_ir::Dim;
use mlc_tensor::DType;

use crate::symexpr::SymExpr;

/// A torch tensor: a place in memory that other tensors may be views of. See [`super::alias`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TensorId(pub(super) u32);

/// A value of an ATen graph.
#[derive(Debug, Clone, PartialEq)]
pub enum Val {
    /// `None`.
    None,
    /// A tensor.
    Tensor(TensorId),
    /// An integer, known or symbolic.
    Int(Dim),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A float that is computed from extents.
    Symbolic(SymExpr),
    /// A condition on extents that is not known at compile time.
    Relation(SymExpr),
    /// A complex number.
    Complex(f64, f64),
    /// Text.
    Str(String),
    /// An element type.
    DType(DType),
    /// A memory layout: true for strided, the only one there is here.
    Layout(bool),
    /// A memory format, by torch's name; element order in memory never shows in the IR.
    MemoryFormat(&'static str),
    /// A device.
    Device(String),
    /// A list of values.
    List(Vec<Val>),
    /// Nested graph number … of the call, for higher-order ops.
    Graph(usize),
    /// An object that only custom ops take.
    Opaque(String),
}

impl Val {
    /// What it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Tensor(_) => "a tensor",
            Self::Int(_) => "an int",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a bool",
            Self::Symbolic(_) => "a float of extents",
            Self::Relation(_) => "a condition on extents",
            Self::Complex(..) => "a complex number",
            Self::Str(_) => "a string",
            Self::DType(_) => "a dtype",
            Self::Layout(_) => "a layout",
            Self::MemoryFormat(_) => "a memory format",
            Self::Device(_) => "a device",
            Self::List(_) => "a list",
            Self::Graph(_) => "a graph",
            Self::Opaque(_) => "an object",
        }
    }
}

/// A Python number.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// `bool`.
    Bool(bool),
    /// `int`, known or symbolic.
    Int(Dim),
    /// `float`.
    Float(f64),
    /// `float` that is computed from extents.
    Symbolic(SymExpr),
}

impl Scalar {
    /// As a float, if it is known.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Bool(b) => Some(f64::from(u8::from(*b))),
            Self::Int(dim) => dim.as_const().map(|n| n as f64),
            Self::Float(x) => Some(*x),
            Self::Symbolic(_) => None,
        }
    }
}

/// An operand of an elementwise op: a tensor or a Python number.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A tensor.
    Tensor(TensorId),
    /// A number.
    Scalar(Scalar),
}
