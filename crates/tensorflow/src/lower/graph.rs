//! Lowers the nodes of a graph in order.

use std::collections::BTreeSet;
use std::sync::Arc;

use mlc_diag::codes;
use mlc_tensor::DType;

use super::Cx;
use super::call::Call;
use super::error::{LowerError, LowerResult};
use super::registry::Registry;
use super::value::Val;
use crate::constant::Constant;
use crate::graph::{Attr, Graph, Node, Source};
use crate::report::node_loc;

/// Functions may call others this deep.
const MAX_DEPTH: usize = 128;

/// Ops that are lowered here and not by the table.
pub(super) const STRUCTURAL: &[&str] = &[
    "AssignAddVariableOp",
    "AssignSubVariableOp",
    "AssignVariableOp",
    "Assign",
    "AssignAdd",
    "AssignSub",
    "Case",
    "Const",
    "If",
    "PartitionedCall",
    "Placeholder",
    "ReadVariableOp",
    "ResourceGather",
    "ResourceGatherNd",
    "StatefulPartitionedCall",
    "StatelessCase",
    "StatelessIf",
    "StatelessWhile",
    "VarHandleOp",
    "VarIsInitializedOp",
    "IsVariableInitialized",
    "Variable",
    "VariableShape",
    "VariableV2",
    "While",
];

/// Every op that can be in a graph that is lowered: those of the table, those that lowering itself
/// handles, and control flow by dataflow. In order.
#[must_use]
pub fn covered(registry: &Registry) -> Vec<&'static str> {
    let own = STRUCTURAL.iter().chain(SILENT).chain(super::functionalize::DATAFLOW).copied();
    let all: BTreeSet<&'static str> = registry.names().chain(own).collect();
    all.into_iter().collect()
}

/// Ops that check, print or order, and give nothing.
/// Text that is put together is only printed.
pub(super) const SILENT: &[&str] = &[
    "Abort",
    "AsString",
    "Assert",
    "ControlTrigger",
    "NoOp",
    "Print",
    "PrintV2",
    "StringFormat",
    "TensorArrayCloseV3",
];

impl Cx<'_> {
    /// Lowers what the results of `graph` need, and gives the results. Problems of nodes are
    /// collected.
    pub(super) fn run(&mut self, graph: &Graph, args: &[Val]) -> LowerResult<Vec<Val>> {
        let order = graph.running_order().map_err(|cycle| {
            let node = &graph.nodes[cycle.0];
            LowerError::invalid(format!("node `{}` depends on itself", node.name))
        })?;
        let mut made: Vec<Option<Vec<Val>>> = vec![None; graph.nodes.len()];
        for at in order {
            let node = &graph.nodes[at];
            let loc = node_loc(&self.full_name(&node.name), &node.op);
            self.b.loc = self.b.program.intern_loc(loc.clone());
            match self.node(at, graph, args, &made) {
                Ok(vals) => {
                    self.bind(node, &vals);
                    made[at] = Some(vals);
                }
                Err(error) if error.consequence => {}
                Err(error) => {
                    let diagnostic = error.into_diagnostic(&node.op).at_op(&loc);
                    self.found.push(diagnostic);
                }
            }
        }
        graph.rets.iter().map(|(_, source)| find(*source, graph, args, &made)).collect()
    }

    pub(super) fn full_name(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    fn bind(&mut self, node: &Node, vals: &[Val]) {
        for (i, val) in vals.iter().enumerate() {
            let Val::Tensor(value) = val else { continue };
            let Ok(shape) = self.shape(*value) else { continue };
            self.symbols.add_tensor(*value, &shape);
            if i == 0 && !matches!(&*node.op, "Identity" | "Placeholder") {
                self.b.name(*value, &node.name);
            }
        }
    }

    fn node(
        &mut self,
        at: usize,
        graph: &Graph,
        args: &[Val],
        made: &[Option<Vec<Val>>],
    ) -> LowerResult<Vec<Val>> {
        let node = &graph.nodes[at];
        if SILENT.contains(&&*node.op) {
            // `Print` passes its first input on.
            let first = node.inputs.first().filter(|_| &*node.op == "Print");
            return first.map(|&source| find(source, graph, args, made)).into_iter().collect();
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &source in &node.inputs {
            inputs.push(find(source, graph, args, made)?);
        }
        if !node.op.starts_with("Assign") && &*node.op != "IsVariableInitialized" {
            inputs =
                inputs.into_iter().map(|val| self.dereferenced(val)).collect::<LowerResult<_>>()?;
        }
        let call = Call::new(node, inputs);
        let vals = match self.structural(at, node, &call)? {
            Some(vals) => vals,
            None => self.lower_call(&call)?,
        };
        let unread = call.unread();
        if !unread.is_empty() {
            return Err(LowerError::new(
                codes::UNREAD_ARGUMENT,
                format!("attribute `{}` is not honoured by the lowering", unread.join("`, `")),
            ));
        }
        Ok(vals)
    }

    fn structural(
        &mut self,
        at: usize,
        node: &Node,
        call: &Call<'_>,
    ) -> LowerResult<Option<Vec<Val>>> {
        Ok(Some(match &*node.op {
            "Const" => vec![self.constant(node, call)?],
            "Placeholder" => {
                return Err(LowerError::invalid(format!(
                    "placeholder `{}` is no input of the model",
                    node.name
                )));
            }
            "PartitionedCall" | "StatefulPartitionedCall" => {
                let function = call.graph("f", &self.model.library)?;
                self.inline(&function, call.inputs(), &node.name)?
            }
            "If" | "StatelessIf" => self.branch(call)?,
            "Case" | "StatelessCase" => self.case(call)?,
            "While" | "StatelessWhile" => self.while_loop(call)?,
            "VarHandleOp" | "VariableV2" | "Variable" => {
                call.ignore(&["shape", "shared_name"]);
                vec![Val::Variable(at)]
            }
            "VarIsInitializedOp" | "IsVariableInitialized" => {
                let yes = mlc_tensor::Tensor::from_bytes(DType::Bool, &[], vec![1])?;
                vec![Val::Tensor(self.b.constant(yes)?)]
            }
            "ReadVariableOp"
            | "VariableShape"
            | "ResourceGather"
            | "ResourceGatherNd"
            | "AssignVariableOp"
            | "AssignAddVariableOp"
            | "AssignSubVariableOp"
            | "Assign"
            | "AssignAdd"
            | "AssignSub" => self.variable_op(call)?,
            _ => return Ok(None),
        }))
    }

    /// Lowers a function where it is called.
    pub(super) fn inline(
        &mut self,
        function: &Arc<Graph>,
        args: &[Val],
        node: &str,
    ) -> LowerResult<Vec<Val>> {
        if args.len() != function.args.len() {
            return Err(LowerError::invalid(format!(
                "{} inputs for function `{}` with {} arguments",
                args.len(),
                function.name,
                function.args.len()
            )));
        }
        let named = !function.name.is_empty();
        if named && self.calls.iter().any(|name| **name == *function.name) {
            let mut cycle: Vec<&str> = self.calls.iter().map(String::as_str).collect();
            cycle.push(&function.name);
            return Err(LowerError::invalid(format!(
                "function `{}` calls itself: {}",
                function.name,
                cycle.join(" → ")
            )));
        }
        if self.calls.len() >= MAX_DEPTH {
            return Err(LowerError::invalid(format!("calls are nested {MAX_DEPTH} deep")));
        }
        self.calls.push(function.name.to_string());
        let inner = self.full_name(node);
        let outer = std::mem::replace(&mut self.path, inner);
        let loc = self.b.loc;
        let vals = self.run(function, args);
        self.path = outer;
        self.b.loc = loc;
        self.calls.pop();
        vals
    }

    fn constant(&mut self, node: &Node, call: &Call<'_>) -> LowerResult<Val> {
        match call.attr("value") {
            Some(Attr::Tensor(Constant::Numbers(tensor))) => {
                if tensor.dtype().kind() == mlc_tensor::DTypeKind::Complex {
                    return self.complex_constant(tensor);
                }
                let id = self.b.program.consts.intern_named(tensor.clone(), &node.name);
                Ok(Val::Tensor(mlc_ir::ops::Const { value: id }.build(&mut self.b)?))
            }
            Some(Attr::Tensor(Constant::Strings(all, _))) => {
                Ok(Val::Text(all.iter().map(|text| text.to_vec()).collect()))
            }
            Some(Attr::Tensor(Constant::Unsupported(error))) => {
                Err(LowerError::dtype(error.to_string()))
            }
            _ => Err(LowerError::invalid("it has no value")),
        }
    }

    /// Lowers a call by the table.
    ///
    /// # Errors
    /// No lowering, or what it gives.
    pub fn lower_call(&mut self, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        match self.registry.find(call.op) {
            Some(_) if super::ops::is_partwise(call) => self.partwise(call),
            Some(lower) => lower(self, call),
            None => Err(self.unsupported(call.op)),
        }
    }

    pub(super) fn unsupported(&self, op: &str) -> LowerError {
        LowerError::new(codes::UNSUPPORTED_OP, format!("`{op}` has no lowering"))
            .help(unsupported_help(op, self.registry))
    }
}

/// What to do about an op without a lowering.
pub(super) fn unsupported_help(op: &str, registry: &Registry) -> String {
    let known = match op {
        "EagerPyFunc" | "PyFunc" | "PyFuncStateless" => {
            Some("it runs Python code; write it with ops of TensorFlow")
        }
        "XlaCallModule" => Some(
            "it holds a program of another compiler; export with \
             `jax2tf.convert(f, native_serialization=False)`",
        ),
        _ if op.starts_with("String") || op.starts_with("Regex") || op.contains("Lookup") => {
            Some("text and tables stay outside of the model: export one that takes numbers")
        }
        _ if op.contains("HashTable") => {
            Some("text and tables stay outside of the model: export one that takes numbers")
        }
        _ => None,
    };
    if let Some(help) = known {
        return help.to_owned();
    }
    let near = mlc_diag::nearest(op, registry.names());
    match near.is_empty() {
        true => "run `mlc ops --from tensorflow` for the list of supported ops".to_owned(),
        false => format!("the nearest supported ops are `{}`", near.join("`, `")),
    }
}

/// What a source stands for.
fn find(
    source: Source,
    graph: &Graph,
    args: &[Val],
    made: &[Option<Vec<Val>>],
) -> LowerResult<Val> {
    match source {
        Source::Arg(index) => args
            .get(index)
            .cloned()
            .ok_or_else(|| LowerError::invalid(format!("argument {index} is missing"))),
        Source::Out(node, index) => {
            let vals = made[node].as_ref().ok_or_else(LowerError::consequence)?;
            vals.get(index).cloned().ok_or_else(|| {
                let node = &graph.nodes[node];
                if SILENT.contains(&&*node.op) {
                    return LowerError::invalid(format!("`{}` gives no tensor", node.name));
                }
                LowerError::argument(format!(
                    "result {index} of `{}` (`{}`) is not computed",
                    node.name, node.op
                ))
            })
        }
    }
}
