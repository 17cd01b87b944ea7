//! What holds within a graph: each name is defined once and before its uses.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::arg::NameKind;
use super::{Arg, Graph, Node};
use crate::report::Report;

#[derive(Debug, Clone, Copy)]
struct Definition {
    kind: NameKind,
    /// The node that defines it; `None` for an input.
    node: Option<usize>,
}

/// Reports all violations in `graph` and its sub-graphs. `path` names the graph in messages.
pub(crate) fn graph(graph: &Graph, path: &str, report: &mut Report) {
    let names = definitions(graph, path, report);
    let mut late = Vec::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        uses(node, &mut |name, kind| match names.get(name) {
            Some(definition) => {
                check_use(graph, (name, kind), *definition, node, report);
                if let Some(from) = definition.node
                    && from >= at
                {
                    late.push((from, at, name.to_owned()));
                }
            }
            None => report.node(
                format!("`{}` takes `{name}`, which nothing defines", node.target),
                &node.loc,
            ),
        });
        for (name, sub) in sub_graphs(node) {
            self::graph(sub, &format!("{path}/{name}"), report);
        }
    }
    if !late.is_empty() {
        report_order(graph, &names, &late, report);
    }
    for (i, output) in graph.outputs.iter().enumerate() {
        output.for_each_name(&mut |name, kind| {
            let entry = format!("output {i} of {path}");
            match names.get(name) {
                None => report.graph(format!("output `{name}` is not defined"), &entry),
                Some(d) if d.kind != kind => {
                    let (kind, own) = (kind.as_str(), d.kind.as_str());
                    report.graph(format!("output `{name}` is {kind} and was {own}"), &entry);
                }
                Some(_) if kind == NameKind::Tensor && !graph.tensors.contains_key(name) => {
                    report.graph(format!("output `{name}` has no type"), &entry);
                }
                Some(_) => {}
            }
        });
    }
}

fn uses<'a>(node: &'a Node, f: &mut dyn FnMut(&'a str, NameKind)) {
    for (_, arg) in &node.args {
        arg.for_each_name(f);
    }
}

fn sub_graphs(node: &Node) -> impl Iterator<Item = (&str, &Graph)> {
    node.args.iter().filter_map(|(_, arg)| match arg {
        Arg::Graph { name, graph } => Some((name.as_str(), &**graph)),
        _ => None,
    })
}

fn definitions<'a>(
    graph: &'a Graph,
    path: &str,
    report: &mut Report,
) -> BTreeMap<&'a str, Definition> {
    let mut names: BTreeMap<&str, Definition> = BTreeMap::new();
    for (i, input) in graph.inputs.iter().enumerate() {
        input.for_each_name(&mut |name, kind| {
            let entry = format!("input {i} of {path}");
            if names.insert(name, Definition { kind, node: None }).is_some() {
                report.graph(format!("`{name}` is defined twice"), &entry);
            }
            if kind == NameKind::Tensor && !graph.tensors.contains_key(name) {
                report.graph(format!("input `{name}` has no type"), &entry);
            }
        });
    }
    for (at, node) in graph.nodes.iter().enumerate() {
        for output in &node.outputs {
            output.for_each_name(&mut |name, kind| {
                if names.insert(name, Definition { kind, node: Some(at) }).is_some() {
                    let message = format!("`{}` defines `{name}` again", node.target);
                    report.node(message, &node.loc);
                }
            });
        }
    }
    names
}

fn check_use(
    graph: &Graph,
    (name, kind): (&str, NameKind),
    definition: Definition,
    node: &Node,
    report: &mut Report,
) {
    if definition.kind != kind {
        let (own, wanted) = (definition.kind.as_str(), kind.as_str());
        let message = format!("`{}` takes `{name}` as {wanted}, which is {own}", node.target);
        report.node(message, &node.loc);
        return;
    }
    let typed = match kind {
        NameKind::Tensor => graph.tensors.contains_key(name),
        NameKind::Int => graph.sym_ints.contains_key(name),
        NameKind::Float => graph.sym_floats.contains_key(name),
        NameKind::Bool => graph.sym_bools.contains_key(name),
        NameKind::Object => true,
    };
    if !typed {
        let message = format!("`{}` takes `{name}`, which has no type", node.target);
        report.node(message, &node.loc);
    }
}

/// Tells cycles from nodes that merely stand too early.
fn report_order(
    graph: &Graph,
    names: &BTreeMap<&str, Definition>,
    late: &[(usize, usize, String)],
    report: &mut Report,
) {
    let mut order = DiGraph::<(), ()>::with_capacity(graph.nodes.len(), graph.nodes.len());
    for _ in &graph.nodes {
        order.add_node(());
    }
    for (at, node) in graph.nodes.iter().enumerate() {
        uses(node, &mut |name, _| {
            if let Some(from) = names.get(name).and_then(|d| d.node) {
                order.add_edge(NodeIndex::new(from), NodeIndex::new(at), ());
            }
        });
    }
    let mut component = vec![0; graph.nodes.len()];
    for (id, members) in kosaraju_scc(&order).iter().enumerate() {
        for member in members {
            component[member.index()] = id;
        }
    }
    let mut seen = BTreeSet::new();
    for (from, at, name) in late {
        let (source, user) = (&graph.nodes[*from], &graph.nodes[*at]);
        if !seen.insert((*from, *at)) {
            continue;
        }
        let message = if component[*from] == component[*at] {
            format!("`{}` depends on itself through `{name}`", user.target)
        } else {
            format!("`{}` takes `{name}` before `{}` makes it", user.target, source.target)
        };
        report.node(message, &user.loc);
    }
}
