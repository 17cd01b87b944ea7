//! Graphs from the messages of files.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlc_diag::{Diagnostic, Diagnostics, codes};

use super::attr::attr;
use super::{Attr, Graph, Library, Node, Source, results};
use crate::file::ProtoFile;
use crate::proto::tensorflow::{FunctionDef, GraphDef, NodeDef};
use crate::report::node_loc;

/// The functions of a file.
pub(crate) fn library(file: &ProtoFile, proto: &GraphDef, found: &mut Diagnostics) -> Library {
    let functions = proto.library.iter().flat_map(|library| &library.function);
    let mut library = Library::new();
    for proto in functions {
        let graph = function(file, proto, found);
        library.insert(graph.name.to_string(), Arc::new(graph));
    }
    library
}

/// The graph of the top level; it has no results yet.
pub(crate) fn top_level(file: &ProtoFile, proto: &GraphDef, found: &mut Diagnostics) -> Graph {
    let names = Names::new("", &[], &proto.node, found);
    let nodes = names.nodes(file, &proto.node, found);
    Graph { nodes, ..Graph::default() }
}

/// A function as a graph.
fn function(file: &ProtoFile, proto: &FunctionDef, found: &mut Diagnostics) -> Graph {
    let signature = proto.signature.clone().unwrap_or_default();
    let args: Vec<String> = signature.input_arg.iter().map(|arg| arg.name.clone()).collect();
    let names = Names::new(&signature.name, &args, &proto.node_def, found);
    let nodes = names.nodes(file, &proto.node_def, found);
    let mut rets = Vec::new();
    for arg in &signature.output_arg {
        let Some(text) = proto.ret.get(&arg.name) else {
            let message =
                format!("function `{}` does not say what `{}` is", signature.name, arg.name);
            found.push(Diagnostic::new(codes::INVALID_GRAPH, message));
            continue;
        };
        match names.source(text, &nodes) {
            Some(source) => rets.push((arg.name.clone(), source)),
            None => {
                let message = format!("result `{}` is `{text}`, which is no tensor", arg.name);
                let loc = node_loc(&signature.name, "");
                found.push(Diagnostic::new(codes::INVALID_GRAPH, message).at_op(&loc));
            }
        }
    }
    let effects = proto.control_ret.values().filter_map(|name| names.node(name)).collect();
    Graph { name: signature.name.as_str().into(), args, nodes, rets, effects }
}

/// What the names of a graph stand for.
struct Names<'a> {
    graph: &'a str,
    args: BTreeMap<&'a str, usize>,
    nodes: BTreeMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    fn new(
        graph: &'a str,
        args: &'a [String],
        nodes: &'a [NodeDef],
        found: &mut Diagnostics,
    ) -> Self {
        let args = args.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let mut names = Self { graph, args, nodes: BTreeMap::new() };
        for (i, node) in nodes.iter().enumerate() {
            if names.nodes.insert(&node.name, i).is_some() {
                let message = format!("two nodes are called `{}`", node.name);
                let loc = node_loc(&node.name, &node.op);
                found.push(Diagnostic::new(codes::INVALID_GRAPH, message).at_op(&loc));
            }
        }
        names
    }

    fn node(&self, name: &str) -> Option<usize> {
        self.nodes.get(name).copied()
    }

    /// `argument`, `node`, `node:1`, or inside functions `node:result:1`.
    fn source(&self, text: &str, nodes: &[Node]) -> Option<Source> {
        if let Some(&arg) = self.args.get(text) {
            return Some(Source::Arg(arg));
        }
        if let Some(node) = self.node(text) {
            return Some(Source::Out(node, 0));
        }
        let (rest, index) = text.rsplit_once(':')?;
        let index: usize = index.parse().ok()?;
        if let Some(node) = self.node(rest) {
            return Some(Source::Out(node, index));
        }
        if index == 0
            && let Some(&arg) = self.args.get(rest)
        {
            return Some(Source::Arg(arg));
        }
        let (name, result) = rest.rsplit_once(':')?;
        let node = self.node(name)?;
        let made = nodes.get(node)?;
        Some(Source::Out(node, results::position(&made.op, &made.attrs, result, index)?))
    }

    fn nodes(&self, file: &ProtoFile, protos: &[NodeDef], found: &mut Diagnostics) -> Vec<Node> {
        let mut nodes: Vec<Node> =
            protos.iter().map(|proto| self.bare(file, proto, found)).collect();
        let mut wired = Vec::with_capacity(nodes.len());
        for proto in protos {
            let mut inputs = Vec::new();
            let mut controls = Vec::new();
            for text in &proto.input {
                let ok = match text.strip_prefix('^') {
                    Some(name) => self.control(name).map(|node| controls.extend(node)),
                    None => self.source(text, &nodes).map(|source| inputs.push(source)),
                };
                if ok.is_none() {
                    let message = format!("input `{text}` is no tensor of the graph");
                    let loc = node_loc(&self.full(&proto.name), &proto.op);
                    found.push(Diagnostic::new(codes::INVALID_GRAPH, message).at_op(&loc));
                }
            }
            wired.push((inputs, controls));
        }
        for (node, (inputs, controls)) in nodes.iter_mut().zip(wired) {
            (node.inputs, node.controls) = (inputs, controls);
        }
        nodes
    }

    /// The node of a control edge; nothing for an argument.
    fn control(&self, name: &str) -> Option<Option<usize>> {
        match self.node(name) {
            Some(node) => Some(Some(node)),
            None => self.args.contains_key(name).then_some(None),
        }
    }

    fn full(&self, name: &str) -> String {
        if self.graph.is_empty() { name.to_owned() } else { format!("{}/{name}", self.graph) }
    }

    fn bare(&self, file: &ProtoFile, proto: &NodeDef, found: &mut Diagnostics) -> Node {
        let mut attrs = BTreeMap::new();
        for (key, value) in &proto.attr {
            match attr(file, value) {
                Ok(value) => drop(attrs.insert(key.clone(), value)),
                Err(error) => {
                    let message = format!("attribute `{key}`: {error}");
                    let loc = node_loc(&self.full(&proto.name), &proto.op);
                    found.push(Diagnostic::new(codes::INVALID_GRAPH, message).at_op(&loc));
                    attrs.insert(key.clone(), Attr::Empty);
                }
            }
        }
        Node {
            name: proto.name.as_str().into(),
            op: proto.op.as_str().into(),
            inputs: Vec::new(),
            controls: Vec::new(),
            attrs,
        }
    }
}
