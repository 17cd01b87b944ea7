//! An exported program in the form that lowering reads: typed, resolved and checked.
//!
//! Names are those of the file. A name is a tensor, a symbolic scalar or an object; each graph has
//! its own names, and a sub-graph sees none of those around it.
//!
//! **Invariant:** in a program that [`crate::read`] returns each name is defined once, before its
//! uses; each tensor that is used has a [`TensorMeta`]; inputs and outputs match their specs; each
//! parameter, buffer and tensor constant has a tensor of the dtype and shape its input has.

pub(crate) mod arg;
pub(crate) mod build;
pub(crate) mod check;
mod loc;
pub(crate) mod program;
pub(crate) mod signature;
mod target;

use std::collections::BTreeMap;

use mlc_diag::Loc;
use mlc_tensor::{DType, Tensor};

pub(crate) use loc::{is_internal, shorten};
pub use target::Target;

use crate::dtype::{Layout, MemoryFormat};
use crate::symexpr::SymExpr;

/// Which ops a graph may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// As traced: composite and in-place ops; mutations are in the graph.
    Training,
    /// Decomposed and functional; mutations are outputs.
    Aten,
}

/// A program of `torch.export`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportedProgram {
    /// Version of torch that wrote it, such as `2.7.1+cu126`; empty where the file does not say.
    pub torch_version: String,
    /// Major and minor version of the schema.
    pub schema: (u32, u32),
    /// Which ops the graph may hold.
    pub dialect: Dialect,
    /// The graph.
    pub graph: Graph,
    /// What each of the graph's inputs stands for.
    pub inputs: Vec<InputSpec>,
    /// What each of the graph's outputs stands for.
    pub outputs: Vec<OutputSpec>,
    /// Ranges of symbols, by name.
    pub ranges: BTreeMap<String, Range>,
    /// What symbols were for the inputs that the model was exported with.
    pub examples: BTreeMap<String, i64>,
    /// Ranges of compound expressions, in the order of their text.
    pub expr_ranges: Vec<(SymExpr, Range)>,
}

/// An interval of integers; `None` is unbounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Range {
    /// Least value.
    pub min: Option<i64>,
    /// Greatest value.
    pub max: Option<i64>,
}

/// What an input stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// The graph's input at this position.
    pub value: Arg,
    /// For a user's input, the name the user knows: the argument of `forward`, then keys and
    /// positions within it, joined by `_`. Else the qualified name of parameter or buffer.
    pub name: String,
    /// Where its value comes from.
    pub kind: InputKind,
}

/// Where the value of an input comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum InputKind {
    /// A parameter.
    Parameter(Tensor),
    /// A buffer.
    Buffer {
        /// Its initial value.
        tensor: Tensor,
        /// Whether it is part of the state dict.
        persistent: bool,
    },
    /// A tensor that is written in the model's code.
    Constant(Tensor),
    /// A script object.
    CustomObj,
    /// The caller.
    User,
    /// A Python value that was fixed at export; it stands in [`InputSpec::value`].
    Literal,
    /// Orders side effects; carries no value.
    Token,
}

/// What an output stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSpec {
    /// The graph's output at this position.
    pub value: Arg,
    /// For a user's output, keys and positions within the result joined by `_`, if the result has
    /// keys.
    pub name: Option<String>,
    /// Where it goes.
    pub kind: OutputKind,
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputKind {
    /// To the caller.
    User,
    /// Becomes the value of the buffer of this qualified name.
    BufferMutation(String),
    /// Becomes the value of the user's input that the graph calls by this name.
    InputMutation(String),
    /// Becomes the value of the parameter of this qualified name.
    ParameterMutation(String),
    /// Loss of a training graph.
    Loss,
    /// Gradient of the parameter of this qualified name.
    GradientToParameter(String),
    /// Gradient of a user's input.
    GradientToInput(String),
    /// Orders side effects; carries no value.
    Token,
}

/// Inputs, nodes in order of execution, and outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Names, or literals where an argument was fixed at export.
    pub inputs: Vec<Arg>,
    /// In order of execution.
    pub nodes: Vec<Node>,
    /// Names or literals.
    pub outputs: Vec<Arg>,
    /// Types of the tensors.
    pub tensors: BTreeMap<String, TensorMeta>,
    /// Values of named symbolic integers.
    pub sym_ints: BTreeMap<String, SymExpr>,
    /// Values of named symbolic floats.
    pub sym_floats: BTreeMap<String, SymExpr>,
    /// Values of named symbolic booleans.
    pub sym_bools: BTreeMap<String, SymExpr>,
    /// For a sub-graph, whether it returns one tensor rather than a tuple.
    pub single_return: bool,
}

/// The type of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorMeta {
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub sizes: Vec<SymExpr>,
    /// Elements between neighbours along each axis, as they were at export.
    pub strides: Vec<SymExpr>,
    /// How it lies in memory.
    pub layout: Layout,
    /// Whether autograd tracked it.
    pub requires_grad: bool,
}

/// One call of an op.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The op.
    pub target: Target,
    /// Arguments by name; higher-order ops and Python operators leave the name empty. Arguments
    /// that equal their default in the op's schema are missing.
    pub args: Vec<(String, Arg)>,
    /// Results.
    pub outputs: Vec<Output>,
    /// Where it comes from.
    pub loc: Loc,
}

impl Node {
    /// The argument of that name.
    #[must_use]
    pub fn arg(&self, name: &str) -> Option<&Arg> {
        self.args.iter().find(|(own, _)| own == name).map(|(_, arg)| arg)
    }
}

/// A result of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A tensor.
    Tensor(String),
    /// A list of tensors.
    Tensors(Vec<String>),
    /// A list of tensors of which some are absent.
    OptTensors(Vec<Option<String>>),
    /// A symbolic integer.
    SymInt(String),
    /// A list of symbolic integers.
    SymInts(Vec<Sym<i64>>),
    /// A symbolic float.
    SymFloat(String),
    /// A symbolic boolean.
    SymBool(String),
    /// An object.
    CustomObj(String),
    /// Nothing, or a value that was fixed at export.
    Fixed,
}

/// A scalar that is known, or a value of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sym<T> {
    /// A known value.
    Known(T),
    /// The value of this name.
    Named(String),
}

impl<T: Copy> Sym<T> {
    /// The value, if it is known.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Named(_) => None,
        }
    }
}

/// An argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// `None`.
    None,
    /// A tensor.
    Tensor(String),
    /// A list of tensors.
    Tensors(Vec<String>),
    /// A list of tensors of which some are absent.
    OptTensors(Vec<Option<String>>),
    /// A list of lists of tensors.
    NestedTensors(Vec<Vec<String>>),
    /// An integer.
    Int(Sym<i64>),
    /// A list of integers.
    Ints(Vec<Sym<i64>>),
    /// A list of lists of integers.
    IntLists(Vec<Vec<i64>>),
    /// A float.
    Float(Sym<f64>),
    /// A list of floats.
    Floats(Vec<Sym<f64>>),
    /// A list of lists of floats.
    FloatLists(Vec<Vec<f64>>),
    /// A boolean.
    Bool(Sym<bool>),
    /// A list of booleans.
    Bools(Vec<Sym<bool>>),
    /// Text.
    Str(String),
    /// A list of texts.
    Strs(Vec<String>),
    /// An element type.
    Dtype(DType),
    /// A layout.
    Layout(Layout),
    /// A memory format.
    MemoryFormat(MemoryFormat),
    /// A device.
    Device {
        /// Its kind, such as `cpu`.
        kind: String,
        /// Which of several.
        index: Option<i64>,
    },
    /// A sub-graph.
    Graph {
        /// Its name.
        name: String,
        /// It.
        graph: Box<Graph>,
    },
    /// A script object.
    CustomObj {
        /// The value's name.
        name: String,
        /// Qualified name of its class.
        class: String,
    },
    /// An op passed as a value.
    Operator(String),
    /// A complex number.
    Complex {
        /// Real part.
        re: f64,
        /// Imaginary part.
        im: f64,
    },
    /// Arguments by name.
    Map(Vec<(String, Arg)>),
}
