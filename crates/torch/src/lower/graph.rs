//! Lowers the nodes of a graph in order.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::{Dim, Param, Type};
use mlc_tensor::DType;

use super::Cx;
use super::call::Call;
use super::dims::{self, SymbolSource};
use super::error::{LowerError, LowerResult};
use super::value::Val;
use crate::dtype::{Layout, MemoryFormat};
use crate::graph::{Arg, Graph, Node, Output, Sym, TensorMeta};
use crate::symexpr::SymExpr;

/// What the names of one graph stand for.
pub(super) type Names = BTreeMap<String, Val>;

/// Ops that check or declare something and give nothing.
const CHECKS: &[&str] = &[
    "aten._assert_async",
    "aten._assert_scalar",
    "aten._assert_tensor_metadata",
    "aten.sym_constrain_range",
    "aten.sym_constrain_range_for_size",
];

impl Cx<'_> {
    /// Lowers all nodes of `graph`; `names` holds its inputs. Problems go to `found`.
    pub(super) fn graph(&mut self, graph: &Graph, names: &mut Names, found: &mut Diagnostics) {
        for node in &graph.nodes {
            self.b.loc = self.b.program.intern_loc(node.loc.clone());
            if let Err(error) = self.node(graph, node, names, found) {
                let origin = node.target.to_string();
                if !error.consequence {
                    found.push(error.into_diagnostic(&origin).at_op(&node.loc));
                }
                self.stand_in(graph, node, names);
            }
        }
    }

    fn node(
        &mut self,
        graph: &Graph,
        node: &Node,
        names: &mut Names,
        found: &mut Diagnostics,
    ) -> LowerResult<()> {
        let op = format!("{}.{}", node.target.namespace, node.target.op);
        if CHECKS.contains(&op.as_str()) {
            return Ok(());
        }
        if self.symbolic(graph, node, names) {
            return Ok(());
        }
        let mut graphs = Vec::new();
        let mut args = Vec::with_capacity(node.args.len());
        for (name, arg) in &node.args {
            args.push((name.clone(), to_val(arg, names, &mut graphs)?));
        }
        let doubtful = args.iter().any(|(_, val)| self.is_doubtful(val));
        let outputs = match self.higher_order((graph, node), &args, &graphs, found)? {
            Some(vals) => vals,
            None => {
                let meta = match node.outputs.first() {
                    Some(Output::Tensor(name)) => graph.tensors.get(name),
                    _ => None,
                };
                self.autocast(&op, meta.map(|meta| meta.dtype), &mut args)?;
                let mut call = Call::new(op, node.target.overload.clone(), args, &node.loc);
                call.outputs = node.outputs.len();
                call.declared = meta.filter(|_| !doubtful).map(declared);
                self.lower_call(&call)?
            }
        };
        if doubtful {
            outputs.iter().for_each(|val| self.doubt_all(val));
        }
        self.bind(graph, node, outputs, names)
    }

    fn doubt_all(&mut self, val: &Val) {
        match val {
            Val::Tensor(tensor) => self.doubt(*tensor),
            Val::List(items) => items.iter().for_each(|val| self.doubt_all(val)),
            _ => {}
        }
    }

    /// Defines results that are symbolic scalars the file has an expression for.
    fn symbolic(&mut self, graph: &Graph, node: &Node, names: &mut Names) -> bool {
        let mut defined = Vec::new();
        for output in &node.outputs {
            match output {
                Output::SymInt(name) => {
                    let dim = graph.sym_ints.get(name).and_then(dims::to_dim);
                    let Some(dim) = dim.filter(|dim| self.is_readable(dim)) else { return false };
                    defined.push((name, Val::Int(dim)));
                }
                Output::SymBool(name) => {
                    let val = match graph.sym_bools.get(name) {
                        Some(SymExpr::Bool(known)) => Val::Bool(*known),
                        Some(expr) if self.can_evaluate(expr) => Val::Relation(expr.clone()),
                        _ => return false,
                    };
                    defined.push((name, val));
                }
                Output::SymFloat(name) => match graph.sym_floats.get(name) {
                    Some(SymExpr::Float(x)) => defined.push((name, Val::Float(*x))),
                    Some(expr) if self.can_evaluate(expr) => {
                        defined.push((name, Val::Symbolic(expr.clone())));
                    }
                    _ => return false,
                },
                _ => return false,
            }
        }
        names.extend(defined.iter().map(|(name, val)| ((*name).clone(), val.clone())));
        !defined.is_empty()
    }

    fn is_readable(&self, dim: &Dim) -> bool {
        let mut readable = true;
        dim.for_each_symbol(&mut |name| readable &= self.symbols.has(name));
        readable
    }

    /// Gives the results their names, after a check against what the file declares.
    fn bind(
        &mut self,
        graph: &Graph,
        node: &Node,
        outputs: Vec<Val>,
        names: &mut Names,
    ) -> LowerResult<()> {
        let mut outputs = outputs.into_iter();
        for output in &node.outputs {
            match output {
                Output::Tensors(list) => {
                    // A single list result comes as a list, or as its items.
                    let items = match outputs.next() {
                        Some(Val::List(items)) => items,
                        first => first.into_iter().chain(outputs.by_ref()).collect(),
                    };
                    if items.len() != list.len() {
                        let message = format!("{} results, {} declared", items.len(), list.len());
                        return Err(LowerError::invalid(message));
                    }
                    for (name, val) in list.iter().zip(items) {
                        self.bind_one(graph, name, val, names)?;
                    }
                }
                Output::Tensor(name) | Output::SymInt(name) => {
                    let val =
                        outputs.next().ok_or_else(|| LowerError::invalid("too few results"))?;
                    self.bind_one(graph, name, val, names)?;
                }
                Output::OptTensors(list) => {
                    for name in list.iter().flatten() {
                        let val =
                            outputs.next().ok_or_else(|| LowerError::invalid("too few results"))?;
                        self.bind_one(graph, name, val, names)?;
                    }
                }
                Output::SymInts(list) => {
                    for name in list {
                        let val =
                            outputs.next().ok_or_else(|| LowerError::invalid("too few results"))?;
                        if let Sym::Named(name) = name {
                            self.bind_one(graph, name, val, names)?;
                        }
                    }
                }
                Output::SymFloat(name) | Output::SymBool(name) | Output::CustomObj(name) => {
                    let val =
                        outputs.next().ok_or_else(|| LowerError::invalid("too few results"))?;
                    if let (Val::Tensor(tensor), Some(SymExpr::Symbol(symbol))) =
                        (&val, graph.sym_floats.get(name))
                    {
                        let value = self.read_as(*tensor, DType::F32)?;
                        self.symbols.add(symbol, SymbolSource::Scalar(value));
                    }
                    names.insert(name.clone(), val);
                }
                Output::Fixed => {
                    outputs.next();
                }
            }
        }
        Ok(())
    }

    fn bind_one(
        &mut self,
        graph: &Graph,
        name: &str,
        val: Val,
        names: &mut Names,
    ) -> LowerResult<()> {
        let val = match (val, graph.sym_ints.get(name)) {
            (Val::Tensor(tensor), Some(expr)) => {
                // A scalar of the program becomes the value of a symbol of the file.
                let value = self.read_as(tensor, DType::I32)?;
                let dim = dims::to_dim(expr)
                    .ok_or_else(|| LowerError::dynamic(format!("`{name}` is no extent")))?;
                match dim.as_symbol() {
                    Some(symbol) => self.symbols.add(symbol, SymbolSource::Scalar(value)),
                    None if dim.as_const().is_some() => {}
                    None => return Err(LowerError::dynamic(format!("`{name}` is `{dim}`"))),
                }
                Val::Int(dim)
            }
            (Val::Tensor(tensor), None) => {
                if let Some(meta) = graph.tensors.get(name) {
                    let value = self.pairs(tensor)?;
                    let dtype = self.dtype(tensor)?;
                    let doubtful = self.is_doubtful(&Val::Tensor(tensor));
                    if dtype != meta.dtype && !doubtful {
                        let message =
                            format!("lowering gives {dtype}, the file declares {}", meta.dtype);
                        return Err(LowerError::new(codes::TYPE_MISMATCH, message));
                    }
                    let mut shape = declared(meta);
                    if self.is_complex(tensor) {
                        shape.push(Dim::Const(2));
                    }
                    match self.refine(value, &shape) {
                        Err(_) if doubtful => {}
                        checked => {
                            checked?;
                            self.trust(tensor);
                            self.symbols.add_tensor(value, &shape);
                            self.declare_strides(tensor, meta);
                        }
                    }
                    self.b.name(value, name);
                }
                Val::Tensor(tensor)
            }
            (val, _) => val,
        };
        names.insert(name.to_owned(), val);
        Ok(())
    }

    /// Notes how a tensor of the file lies in memory.
    pub(super) fn declare_strides(&mut self, tensor: super::value::TensorId, meta: &TensorMeta) {
        if let Some(strides) = meta.strides.iter().map(dims::to_dim).collect() {
            self.set_strides(tensor, strides);
        }
    }

    /// Values of the declared types for the results of a node that could not be lowered, so that
    /// the rest of the graph is looked at too. The program is thrown away in the end.
    fn stand_in(&mut self, graph: &Graph, node: &Node, names: &mut Names) {
        let mut wanted = Vec::new();
        for output in &node.outputs {
            match output {
                Output::Tensor(name) => wanted.push(name),
                Output::Tensors(list) => wanted.extend(list),
                Output::OptTensors(list) => wanted.extend(list.iter().flatten()),
                _ => {}
            }
        }
        for name in wanted {
            let Some(meta) = graph.tensors.get(name) else { continue };
            let Ok(shape) = meta_dims(meta) else { continue };
            let ty = Type::tensor(meta.dtype, shape);
            let value = self.b.function_mut().add_param(Param::input(name.clone()), ty);
            let val = self.fresh(value);
            names.insert(name.clone(), val);
        }
    }
}

/// The extents a tensor of the file is declared with; unknown where extents have no such expression.
pub(super) fn declared(meta: &TensorMeta) -> Vec<Dim> {
    meta.sizes.iter().map(|expr| dims::to_dim(expr).unwrap_or(Dim::Unknown)).collect()
}

/// The extents a tensor of the file is declared with.
pub(super) fn meta_dims(meta: &TensorMeta) -> LowerResult<Vec<Dim>> {
    meta.sizes
        .iter()
        .map(|expr| {
            dims::to_dim(expr).ok_or_else(|| {
                LowerError::dynamic(format!("the extent `{expr:?}` is no integer expression"))
            })
        })
        .collect()
}

/// The name of an input of a graph, unless it is a literal.
pub(super) fn input_name(input: &Arg) -> Option<&str> {
    match input {
        Arg::Tensor(name)
        | Arg::Int(Sym::Named(name))
        | Arg::Float(Sym::Named(name))
        | Arg::Bool(Sym::Named(name))
        | Arg::CustomObj { name, .. } => Some(name),
        _ => None,
    }
}

fn named(name: &str, names: &Names) -> LowerResult<Val> {
    names.get(name).cloned().ok_or_else(LowerError::consequence)
}

/// An argument of the file as a value.
pub(super) fn to_val<'g>(
    arg: &'g Arg,
    names: &Names,
    graphs: &mut Vec<&'g Graph>,
) -> LowerResult<Val> {
    let tensors = |list: &[String]| -> LowerResult<Val> {
        Ok(Val::List(list.iter().map(|n| named(n, names)).collect::<LowerResult<_>>()?))
    };
    let int = |s: &Sym<i64>| match s {
        Sym::Known(n) => Ok(Val::Int(Dim::Const(*n))),
        Sym::Named(name) => named(name, names),
    };
    let float = |s: &Sym<f64>| match s {
        Sym::Known(x) => Ok(Val::Float(*x)),
        Sym::Named(name) => named(name, names),
    };
    let boolean = |s: &Sym<bool>| match s {
        Sym::Known(b) => Ok(Val::Bool(*b)),
        Sym::Named(name) => named(name, names),
    };
    Ok(match arg {
        Arg::None => Val::None,
        Arg::Tensor(name) => named(name, names)?,
        Arg::Tensors(list) => tensors(list)?,
        Arg::OptTensors(list) => Val::List(
            list.iter()
                .map(|n| n.as_ref().map_or(Ok(Val::None), |n| named(n, names)))
                .collect::<LowerResult<_>>()?,
        ),
        Arg::NestedTensors(lists) => {
            Val::List(lists.iter().map(|l| tensors(l)).collect::<LowerResult<_>>()?)
        }
        Arg::Int(s) => int(s)?,
        Arg::Ints(list) => Val::List(list.iter().map(int).collect::<LowerResult<_>>()?),
        Arg::IntLists(lists) => Val::List(
            lists
                .iter()
                .map(|l| Val::List(l.iter().map(|&n| Val::Int(Dim::Const(n))).collect()))
                .collect(),
        ),
        Arg::Float(s) => float(s)?,
        Arg::Floats(list) => Val::List(list.iter().map(float).collect::<LowerResult<_>>()?),
        Arg::FloatLists(lists) => Val::List(
            lists.iter().map(|l| Val::List(l.iter().map(|&x| Val::Float(x)).collect())).collect(),
        ),
        Arg::Bool(s) => boolean(s)?,
        Arg::Bools(list) => Val::List(list.iter().map(boolean).collect::<LowerResult<_>>()?),
        Arg::Str(text) => Val::Str(text.clone()),
        Arg::Strs(list) => Val::List(list.iter().map(|s| Val::Str(s.clone())).collect()),
        Arg::Dtype(dtype) => Val::DType(*dtype),
        Arg::Layout(layout) => Val::Layout(*layout == Layout::Strided),
        Arg::MemoryFormat(format) => Val::MemoryFormat(match format {
            MemoryFormat::Contiguous => "contiguous_format",
            MemoryFormat::ChannelsLast => "channels_last",
            MemoryFormat::ChannelsLast3d => "channels_last_3d",
            MemoryFormat::Preserve => "preserve_format",
        }),
        Arg::Device { kind, .. } => Val::Device(kind.clone()),
        Arg::Graph { graph, .. } => {
            graphs.push(graph);
            Val::Graph(graphs.len() - 1)
        }
        Arg::CustomObj { name, .. } => {
            names.get(name).cloned().unwrap_or_else(|| Val::Opaque(name.clone()))
        }
        Arg::Operator(name) => Val::Opaque(name.clone()),
        Arg::Complex { re, im } => Val::Complex(*re, *im),
        Arg::Map(pairs) => Val::List(
            pairs.iter().map(|(_, arg)| to_val(arg, names, graphs)).collect::<LowerResult<_>>()?,
        ),
    })
}

/// A problem of the graph as a whole.
pub(crate) fn problem(code: mlc_diag::Code, message: String, help: &str) -> Diagnostic {
    Diagnostic::new(code, message).help(help)
}
