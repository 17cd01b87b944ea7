//! Arguments of the file to arguments of the graph.

use super::{Arg, Graph, Output, Sym};
use crate::dtype;
use crate::schema::{Argument, Float, Name, OptName, SymArg};

/// Why an argument is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgError {
    /// A kind that is not known.
    #[error("is of kind `{0}`, which is not known")]
    Kind(String),
    /// A number of an enumeration that is not known.
    #[error("is {what} number {number}, which is not known")]
    Number { what: &'static str, number: i64 },
    /// An element type without a counterpart.
    #[error("is the element type `{0}`, which is not supported")]
    DType(&'static str),
    /// Something a result cannot be.
    #[error("cannot be a result of a node")]
    NoResult,
    /// A graph where none may stand.
    #[error("cannot be a graph")]
    NoGraph,
}

fn names(list: &[Name]) -> Vec<String> {
    list.iter().map(|n| n.name.clone()).collect()
}

fn opt_name(name: &OptName) -> Option<String> {
    match name {
        OptName::Tensor(name) => Some(name.name.clone()),
        OptName::None(_) => None,
    }
}

fn sym<T: Copy, U>(arg: &SymArg<T>, f: impl Fn(T) -> U) -> Sym<U> {
    match arg {
        SymArg::Name(name) => Sym::Named(name.clone()),
        SymArg::Known(value) => Sym::Known(f(*value)),
    }
}

fn float(x: Float) -> f64 {
    x.0
}

fn same<T>(x: T) -> T {
    x
}

/// Converts an argument; `graph` converts a sub-graph where one may stand.
pub(crate) fn convert(
    argument: &Argument,
    graph: &mut dyn FnMut(&crate::schema::Graph) -> Option<Graph>,
) -> Result<Arg, ArgError> {
    let known = |list: &[i64]| list.iter().map(|&i| Sym::Known(i)).collect();
    Ok(match argument {
        Argument::None(_) => Arg::None,
        Argument::Tensor(name) => Arg::Tensor(name.name.clone()),
        Argument::Tensors(list) => Arg::Tensors(names(list)),
        Argument::OptTensor(name) => opt_name(name).map_or(Arg::None, Arg::Tensor),
        Argument::OptTensors(list) => Arg::OptTensors(list.iter().map(opt_name).collect()),
        Argument::NestedTensors(lists) => {
            Arg::NestedTensors(lists.iter().map(|l| names(l)).collect())
        }
        Argument::Int(i) => Arg::Int(Sym::Known(*i)),
        Argument::Ints(list) => Arg::Ints(known(list)),
        Argument::IntLists(lists) => Arg::IntLists(lists.clone()),
        Argument::Float(x) => Arg::Float(Sym::Known(x.0)),
        Argument::Floats(list) => Arg::Floats(list.iter().map(|x| Sym::Known(x.0)).collect()),
        Argument::FloatLists(lists) => {
            Arg::FloatLists(lists.iter().map(|l| l.iter().map(|x| x.0).collect()).collect())
        }
        Argument::Bool(b) => Arg::Bool(Sym::Known(*b)),
        Argument::Bools(list) => Arg::Bools(list.iter().map(|&b| Sym::Known(b)).collect()),
        Argument::Str(text) => Arg::Str(text.clone()),
        Argument::Strs(list) => Arg::Strs(list.clone()),
        Argument::SymInt(s) => Arg::Int(sym(s, same)),
        Argument::SymInts(list) => Arg::Ints(list.iter().map(|s| sym(s, same)).collect()),
        Argument::SymFloat(s) => Arg::Float(sym(s, float)),
        Argument::SymFloats(list) => Arg::Floats(list.iter().map(|s| sym(s, float)).collect()),
        Argument::SymBool(s) => Arg::Bool(sym(s, same)),
        Argument::SymBools(list) => Arg::Bools(list.iter().map(|s| sym(s, same)).collect()),
        Argument::ScalarType(number) => Arg::Dtype(scalar_type(*number)?),
        Argument::Layout(number) => Arg::Layout(
            dtype::layout(*number).ok_or(ArgError::Number { what: "layout", number: *number })?,
        ),
        Argument::MemoryFormat(number) => Arg::MemoryFormat(
            dtype::memory_format(*number)
                .ok_or(ArgError::Number { what: "memory format", number: *number })?,
        ),
        Argument::Device(d) => Arg::Device { kind: d.kind.clone(), index: d.index },
        Argument::Graph(g) => {
            let graph = Box::new(graph(&g.graph).ok_or(ArgError::NoGraph)?);
            Arg::Graph { name: g.name.clone(), graph }
        }
        Argument::CustomObj(o) => {
            Arg::CustomObj { name: o.name.clone(), class: o.class_fqn.clone() }
        }
        Argument::Operator(name) => Arg::Operator(name.clone()),
        Argument::Complex(z) => Arg::Complex { re: z.real.0, im: z.imag.0 },
        Argument::StrMap(pairs) => {
            let mut out = Vec::with_capacity(pairs.0.len());
            for (name, argument) in &pairs.0 {
                out.push((name.clone(), convert(argument, graph)?));
            }
            Arg::Map(out)
        }
        Argument::Unknown(key) => return Err(ArgError::Kind(key.clone())),
    })
}

fn scalar_type(number: i64) -> Result<mlc_tensor::DType, ArgError> {
    dtype::scalar_type(number).map_err(|e| match e {
        dtype::ScalarTypeError::Unsupported(name) => ArgError::DType(name),
        dtype::ScalarTypeError::Unknown(number) => {
            ArgError::Number { what: "element type", number }
        }
    })
}

/// Converts a result of a node.
pub(crate) fn convert_output(argument: &Argument) -> Result<Output, ArgError> {
    Ok(match argument {
        Argument::Tensor(name) => Output::Tensor(name.name.clone()),
        Argument::Tensors(list) => Output::Tensors(names(list)),
        Argument::OptTensor(name) => opt_name(name).map_or(Output::Fixed, Output::Tensor),
        Argument::OptTensors(list) => Output::OptTensors(list.iter().map(opt_name).collect()),
        Argument::SymInt(SymArg::Name(name)) => Output::SymInt(name.clone()),
        Argument::SymInts(list) => Output::SymInts(list.iter().map(|s| sym(s, same)).collect()),
        Argument::SymFloat(SymArg::Name(name)) => Output::SymFloat(name.clone()),
        Argument::SymBool(SymArg::Name(name)) => Output::SymBool(name.clone()),
        Argument::CustomObj(o) => Output::CustomObj(o.name.clone()),
        Argument::None(_)
        | Argument::Int(_)
        | Argument::Float(_)
        | Argument::Bool(_)
        | Argument::SymInt(SymArg::Known(_))
        | Argument::SymFloat(SymArg::Known(_))
        | Argument::SymBool(SymArg::Known(_)) => Output::Fixed,
        Argument::Unknown(key) => return Err(ArgError::Kind(key.clone())),
        _ => return Err(ArgError::NoResult),
    })
}

impl Arg {
    /// Calls `f` with each name this uses and whether it is a tensor's. Sub-graphs have their own
    /// names.
    pub(crate) fn for_each_name<'a>(&'a self, f: &mut dyn FnMut(&'a str, NameKind)) {
        fn syms<'a, T>(list: &'a [Sym<T>], kind: NameKind, f: &mut dyn FnMut(&'a str, NameKind)) {
            for sym in list {
                if let Sym::Named(name) = sym {
                    f(name, kind);
                }
            }
        }

        match self {
            Self::Tensor(name) => f(name, NameKind::Tensor),
            Self::Tensors(list) => list.iter().for_each(|n| f(n, NameKind::Tensor)),
            Self::OptTensors(list) => {
                list.iter().flatten().for_each(|n| f(n, NameKind::Tensor));
            }
            Self::NestedTensors(lists) => {
                lists.iter().flatten().for_each(|n| f(n, NameKind::Tensor));
            }
            Self::Int(s) => syms(std::slice::from_ref(s), NameKind::Int, f),
            Self::Ints(list) => syms(list, NameKind::Int, f),
            Self::Float(s) => syms(std::slice::from_ref(s), NameKind::Float, f),
            Self::Floats(list) => syms(list, NameKind::Float, f),
            Self::Bool(s) => syms(std::slice::from_ref(s), NameKind::Bool, f),
            Self::Bools(list) => syms(list, NameKind::Bool, f),
            Self::CustomObj { name, .. } => f(name, NameKind::Object),
            Self::Map(pairs) => pairs.iter().for_each(|(_, arg)| arg.for_each_name(f)),
            _ => {}
        }
    }
}

impl Output {
    /// Calls `f` with each name this defines.
    pub(crate) fn for_each_name<'a>(&'a self, f: &mut dyn FnMut(&'a str, NameKind)) {
        match self {
            Self::Tensor(name) => f(name, NameKind::Tensor),
            Self::Tensors(list) => list.iter().for_each(|n| f(n, NameKind::Tensor)),
            Self::OptTensors(list) => {
                list.iter().flatten().for_each(|n| f(n, NameKind::Tensor));
            }
            Self::SymInt(name) => f(name, NameKind::Int),
            Self::SymInts(list) => {
                for sym in list {
                    if let Sym::Named(name) = sym {
                        f(name, NameKind::Int);
                    }
                }
            }
            Self::SymFloat(name) => f(name, NameKind::Float),
            Self::SymBool(name) => f(name, NameKind::Bool),
            Self::CustomObj(name) => f(name, NameKind::Object),
            Self::Fixed => {}
        }
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameKind {
    Tensor,
    Int,
    Float,
    Bool,
    Object,
}

impl NameKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tensor => "a tensor",
            Self::Int => "an integer",
            Self::Float => "a float",
            Self::Bool => "a boolean",
            Self::Object => "an object",
        }
    }
}
