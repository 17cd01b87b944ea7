//! The graph of the file to the graph of the program.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, codes};

use mlc_tensor::{DType, DTypeKind};

use super::arg::{ArgError, convert, convert_output};
use super::{Arg, Graph, Node, Output, Target, TensorMeta, loc};
use crate::dtype::{Layout, ScalarTypeError, layout, scalar_type};
use crate::report::Report;
use crate::schema;
use crate::symexpr::{SymExpr, parse};

/// Converts `graph` and its sub-graphs; what cannot be converted is reported and left out.
pub(crate) fn graph(graph: &schema::Graph, report: &mut Report) -> Graph {
    let inputs = edge(&graph.inputs, "graph input", report);
    let outputs = edge(&graph.outputs, "graph output", report);
    let nodes: Vec<Node> = graph.nodes.iter().map(|n| node(n, report)).collect();
    let mut tensors = tensors(&graph.tensor_values, report);
    nodes.iter().for_each(|node| correct_quotient(node, &mut tensors));
    Graph {
        inputs,
        nodes,
        outputs,
        tensors,
        sym_ints: values(&graph.sym_int_values, report, |v| match v {
            schema::SymInt::Int(i) => Ok(SymExpr::Int(*i)),
            schema::SymInt::Expr(text) => Err(text),
        }),
        sym_floats: values(&graph.sym_float_values, report, |v| match v {
            schema::SymFloat::Float(x) => Ok(SymExpr::Float(x.0)),
            schema::SymFloat::Expr(text) => Err(text),
        }),
        sym_bools: values(&graph.sym_bool_values, report, |v| match v {
            schema::SymBool::Bool(b) => Ok(SymExpr::Bool(*b)),
            schema::SymBool::Expr(text) => Err(text),
        }),
        single_return: graph.is_single_tensor_return,
    }
}

/// Inputs or outputs of a graph. What is refused keeps its place.
fn edge(list: &[schema::Argument], what: &str, report: &mut Report) -> Vec<Arg> {
    let mut out = Vec::with_capacity(list.len());
    for (i, argument) in list.iter().enumerate() {
        out.push(convert(argument, &mut |_| None).unwrap_or_else(|e| {
            refuse(e, &format!("{what} {i}"), None, report);
            Arg::None
        }));
    }
    out
}

fn refuse(error: ArgError, what: &str, loc: Option<&mlc_diag::Loc>, report: &mut Report) {
    let code = match error {
        ArgError::DType(_) => codes::UNSUPPORTED_DTYPE,
        ArgError::Kind(_) | ArgError::Number { .. } => codes::UNSUPPORTED_SCHEMA,
        ArgError::NoResult | ArgError::NoGraph => codes::INVALID_GRAPH,
    };
    let diagnostic = Diagnostic::new(code, format!("{what} {error}"));
    report.push(match loc {
        Some(loc) => diagnostic.at_op(loc),
        None => diagnostic.at(report.place(what)),
    });
}

fn node(node: &schema::Node, report: &mut Report) -> Node {
    let parsed = Target::parse(&node.target);
    let shown = parsed.as_ref().map_or_else(|| node.target.clone(), ToString::to_string);
    let loc = loc::of(&node.metadata, &shown);
    let target = parsed.unwrap_or_else(|| {
        report.node(format!("`{shown}` is no name of an op"), &loc);
        Target { namespace: String::new(), op: shown.clone(), overload: String::new() }
    });
    let mut args = Vec::with_capacity(node.inputs.len());
    for (i, input) in node.inputs.iter().enumerate() {
        let what = match input.name.as_str() {
            "" => format!("argument {i} of `{shown}`"),
            name => format!("argument `{name}` of `{shown}`"),
        };
        match convert(&input.arg, &mut |g| Some(graph(g, report))) {
            Ok(arg) => args.push((input.name.clone(), arg)),
            Err(e) => refuse(e, &what, Some(&loc), report),
        }
    }
    let mut outputs = Vec::with_capacity(node.outputs.len());
    for (i, output) in node.outputs.iter().enumerate() {
        match convert_output(output) {
            Ok(output) => outputs.push(output),
            Err(e) => {
                refuse(e, &format!("result {i} of `{shown}`"), Some(&loc), report);
                outputs.push(Output::Fixed);
            }
        }
    }
    Node { target, args, outputs, loc }
}

/// Gives a true quotient the type it has. With symbolic sizes, torch declares the quotient of integers
/// as an integer; what it computes is a float of the default type.
fn correct_quotient(node: &Node, tensors: &mut BTreeMap<String, TensorMeta>) {
    let divides = matches!(node.target.op.as_str(), "div" | "true_divide" | "divide");
    let rounds = node.args.iter().any(|(name, arg)| name == "rounding_mode" && *arg != Arg::None);
    if node.target.namespace != "aten" || !divides || rounds {
        return;
    }
    if let [Output::Tensor(name)] = &node.outputs[..]
        && let Some(meta) = tensors.get_mut(name)
        && matches!(meta.dtype.kind(), DTypeKind::Int | DTypeKind::Bool)
    {
        meta.dtype = DType::F32;
    }
}

fn tensors(
    metas: &BTreeMap<String, schema::TensorMeta>,
    report: &mut Report,
) -> BTreeMap<String, TensorMeta> {
    metas.iter().filter_map(|(name, m)| Some((name.clone(), meta(name, m, report)?))).collect()
}

fn meta(name: &str, meta: &schema::TensorMeta, report: &mut Report) -> Option<TensorMeta> {
    let entry = format!("tensor `{name}`");
    let dtype = match scalar_type(meta.dtype) {
        Ok(dtype) => Some(dtype),
        Err(e) => {
            let code = match e {
                ScalarTypeError::Unsupported(_) => codes::UNSUPPORTED_DTYPE,
                ScalarTypeError::Unknown(_) => codes::UNSUPPORTED_SCHEMA,
            };
            report.at_entry(code, format!("tensor `{name}`: {e}"), &entry);
            None
        }
    };
    let layout = match layout(meta.layout) {
        Some(Layout::Strided) => Some(Layout::Strided),
        Some(other) => {
            let message = format!("tensor `{name}` has the layout {}", other.name());
            report.at_entry(codes::UNSUPPORTED_SIGNATURE, message, &entry);
            None
        }
        None => {
            let message =
                format!("tensor `{name}` has layout number {}, which is not known", meta.layout);
            report.at_entry(codes::UNSUPPORTED_SCHEMA, message, &entry);
            None
        }
    };
    let sizes = dims(&meta.sizes, &entry, report);
    let strides = dims(&meta.strides, &entry, report);
    if sizes.iter().flatten().any(|size| size.as_int().is_some_and(|i| i < 0)) {
        report.graph(format!("tensor `{name}` has a negative size"), &entry);
        return None;
    }
    let (dtype, layout, sizes, strides) = (dtype?, layout?, sizes?, strides?);
    if sizes.len() != strides.len() {
        let message =
            format!("tensor `{name}` has {} sizes and {} strides", sizes.len(), strides.len());
        report.graph(message, &entry);
        return None;
    }
    Some(TensorMeta { dtype, sizes, strides, layout, requires_grad: meta.requires_grad })
}

fn dims(dims: &[schema::SymInt], entry: &str, report: &mut Report) -> Option<Vec<SymExpr>> {
    let mut out = Some(Vec::with_capacity(dims.len()));
    for dim in dims {
        let dim = match dim {
            schema::SymInt::Int(i) => Some(SymExpr::Int(*i)),
            schema::SymInt::Expr(text) => expression(text, entry, report),
        };
        match (&mut out, dim) {
            (Some(out), Some(dim)) => out.push(dim),
            _ => out = None,
        }
    }
    out
}

fn expression(text: &schema::SymText, entry: &str, report: &mut Report) -> Option<SymExpr> {
    match parse(&text.expr_str) {
        Ok(expr) => Some(expr),
        Err(e) => {
            report.at_entry(codes::UNSUPPORTED_SCHEMA, e.to_string(), entry);
            None
        }
    }
}

fn values<T>(
    values: &BTreeMap<String, T>,
    report: &mut Report,
    split: impl Fn(&T) -> Result<SymExpr, &schema::SymText>,
) -> BTreeMap<String, SymExpr> {
    let mut out = BTreeMap::new();
    for (name, value) in values {
        let expr = match split(value) {
            Ok(expr) => Some(expr),
            Err(text) => expression(text, &format!("value `{name}`"), report),
        };
        if let Some(expr) = expr {
            out.insert(name.clone(), expr);
        }
    }
    out
}
