//! Lowers a model: its inputs, its graph, its outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mlc_diag::{Diagnostic, Diagnostics, Loc, Place, codes};
use mlc_ir::builder::Builder;
use mlc_ir::{
    Declared, Dim, Function, InputRequest, Param, Program, Specialisation, SymbolRange, Symbols,
    TensorType, remove_unused,
};

use super::Cx;
use super::dims::SymbolSources;
use super::error::{LowerError, LowerResult};
use super::graph::{SILENT, STRUCTURAL, unsupported_help};
use super::registry::Registry;
use super::state::{Current, LowerOptions};
use super::value::Val;
use crate::graph::{Attr, Graph, Library};
use crate::model::{Input, Model};
use crate::report::node_loc;

/// A program, and what is to be said about it.
#[derive(Debug)]
pub struct Lowered {
    /// The program; its function is `main`.
    pub program: Program,
    /// Warnings.
    pub warnings: Diagnostics,
}

/// Lowers a model with default options.
///
/// # Errors
/// Everything that cannot be lowered.
pub fn lower(model: &Model, registry: &Registry) -> Result<Program, Diagnostics> {
    lower_with(model, registry, &LowerOptions::default()).map(|lowered| lowered.program)
}

/// Lowers a model.
///
/// # Errors
/// Everything that cannot be lowered.
pub fn lower_with(
    model: &Model,
    registry: &Registry,
    options: &LowerOptions,
) -> Result<Lowered, Diagnostics> {
    let mut graph = model.graph.clone();
    super::functionalize::functionalize(&mut graph).map_err(|problems| {
        let mut found = Diagnostics::new();
        for (error, node) in problems {
            let node = &model.graph.nodes[node.min(model.graph.nodes.len().saturating_sub(1))];
            found.push(error.into_diagnostic(&node.op).at_op(&node_loc(&node.name, &node.op)));
        }
        found
    })?;
    let inputs = Inputs::new(model, &options.inputs)?;
    let unsupported = unsupported_ops(&graph, &model.library, registry);
    let mut written = BTreeSet::new();
    loop {
        let attempt =
            Attempt { model, graph: &graph, registry, options, inputs: &inputs, written: &written };
        let (program, mut found, seen) = attempt.run();
        if seen.is_subset(&written) {
            if !unsupported.is_empty() {
                found = with_unreached(unsupported, found);
            }
            return if found.has_errors() {
                Err(found)
            } else {
                Ok(Lowered { program, warnings: found })
            };
        }
        written.extend(seen);
    }
}

/// The problems `found`, after those nodes without a lowering that lowering did not reach.
fn with_unreached(nodes: Vec<Unsupported>, found: Diagnostics) -> Diagnostics {
    let reached = |own: &Unsupported| {
        let same = found.items().iter().filter(|item| item.message == own.diagnostic.message);
        same.flat_map(|item| &item.places).any(|place| match place {
            Place::Op(Loc { module: Some(path), .. }) => path
                .strip_suffix(&*own.node)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('/')),
            _ => false,
        })
    };
    let mut all = Diagnostics::new();
    for own in nodes {
        if !reached(&own) {
            all.push(own.diagnostic);
        }
    }
    all.extend(found);
    all
}

/// A node without a lowering.
struct Unsupported {
    node: Arc<str>,
    diagnostic: Diagnostic,
}

/// All nodes without a lowering that running the graph may need.
fn unsupported_ops(graph: &Graph, library: &Library, registry: &Registry) -> Vec<Unsupported> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![std::sync::Arc::new(graph.clone())];
    while let Some(graph) = open.pop() {
        let Ok(order) = graph.running_order() else { continue };
        for at in order {
            let node = &graph.nodes[at];
            for attr in node.attrs.values() {
                let names = match attr {
                    Attr::Func(name) => std::slice::from_ref(name),
                    Attr::Funcs(names) => names,
                    Attr::Graph(inner) => {
                        open.push(std::sync::Arc::clone(inner));
                        continue;
                    }
                    _ => continue,
                };
                for name in names {
                    if seen.insert(name.clone())
                        && let Some(function) = library.get(name)
                    {
                        open.push(std::sync::Arc::clone(function));
                    }
                }
            }
            let known = registry.covers(&node.op)
                || STRUCTURAL.contains(&&*node.op)
                || SILENT.contains(&&*node.op);
            if !known {
                let path = match graph.name.is_empty() {
                    true => node.name.to_string(),
                    false => format!("{}/{}", graph.name, node.name),
                };
                let message = format!("`{}` has no lowering", node.op);
                let diagnostic = Diagnostic::new(codes::UNSUPPORTED_OP, message)
                    .at_op(&node_loc(&path, &node.op))
                    .help(unsupported_help(&node.op, registry));
                found.push(Unsupported { node: node.name.to_string().into(), diagnostic });
            }
        }
    }
    found
}

/// One run over the graph, with the variables that are known to be assigned to.
struct Attempt<'a> {
    model: &'a Model,
    graph: &'a Graph,
    registry: &'a Registry,
    options: &'a LowerOptions,
    inputs: &'a Inputs,
    written: &'a BTreeSet<usize>,
}

impl Attempt<'_> {
    fn run(&self) -> (Program, Diagnostics, BTreeSet<usize>) {
        let mut program = Program::new();
        if let Some(version) = &self.model.version {
            program.metadata.insert("source".to_owned(), format!("tensorflow=={version}"));
        }
        program.metadata.insert("source_dialect".to_owned(), "TensorFlow".to_owned());
        program.symbols = self.inputs.symbols.clone();
        let func = program.functions.push(Function::new("main"));
        let mut cx = Cx {
            b: Builder::new(&mut program, func),
            symbols: SymbolSources::default(),
            registry: self.registry,
            model: self.model,
            variables: Current::default(),
            calls: Vec::new(),
            path: String::new(),
            found: Diagnostics::new(),
        };
        self.lower(&mut cx);
        let (found, seen) = (std::mem::take(&mut cx.found), cx.variables.written.clone());
        drop(cx);
        // What was computed for shapes that turned out to be known is not part of the model.
        remove_unused(&mut program.functions[func]);
        (program, found, seen)
    }

    fn lower(&self, cx: &mut Cx<'_>) {
        let mut taken: BTreeSet<String> =
            self.model.inputs.iter().map(|input| input.name.clone()).collect();
        taken.extend(self.graph.rets.iter().map(|(name, _)| name.clone()));
        let mut graph = self.graph.clone();
        let mut args = Vec::new();
        for (index, input) in self.model.inputs.iter().enumerate() {
            match add_input(cx, input, self.inputs) {
                Ok(val) => args.push(val),
                Err(error) => {
                    let diagnostic = error.into_diagnostic(&format!("input {}", input.name));
                    cx.found.push(diagnostic);
                    return;
                }
            }
            // The node gives what argument `index` is.
            let node = &mut graph.nodes[input.node];
            node.op = "Identity".into();
            node.inputs = vec![crate::graph::Source::Arg(index)];
            node.attrs.clear();
        }
        if let Err(error) = cx.keep(self.written, (self.options, &mut taken)) {
            let diagnostic = error.into_diagnostic("state");
            cx.found.push(diagnostic);
            return;
        }
        let mut taken: BTreeSet<String> =
            cx.b.function().params.iter().map(|param| param.name.clone()).collect();
        let rets = graph.rets.clone();
        let vals = match cx.run(&graph, &args) {
            Ok(vals) => vals,
            Err(error) => {
                if !error.consequence || !cx.found.has_errors() {
                    let diagnostic = error.into_diagnostic("graph");
                    cx.found.push(diagnostic);
                }
                return;
            }
        };
        for ((name, _), val) in rets.iter().zip(vals) {
            if let Err(error) = add_output(cx, name, val, &mut taken) {
                let diagnostic = error.into_diagnostic(&format!("output {name}"));
                cx.found.push(diagnostic);
            }
        }
        if let Err(error) = cx.write_back(&mut taken) {
            let diagnostic = error.into_diagnostic("state");
            cx.found.push(diagnostic);
        }
    }
}

/// The types of inputs, and what was asked of them.
struct Inputs {
    symbols: Symbols,
    params: BTreeMap<String, (Param, TensorType)>,
}

impl Inputs {
    fn new(model: &Model, requests: &[InputRequest]) -> Result<Self, Diagnostics> {
        let mut found = Diagnostics::new();
        let mut symbols = Symbols::default();
        let mut declared = Vec::new();
        let mut params = BTreeMap::new();
        let mut asked = Vec::new();
        for request in requests {
            let open = |input: &&Input| input.name == request.name && input.shape.is_none();
            match model.inputs.iter().find(open) {
                Some(input) => {
                    if let Some(param) = request.declare_param(input.dtype, &mut symbols) {
                        params.insert(input.name.clone(), param);
                    }
                }
                None => asked.push(request.clone()),
            }
        }
        for input in &model.inputs {
            if let Some(shape) = &input.shape {
                let dims = dims_of(&input.name, shape, &mut symbols);
                let ty = TensorType::new(input.dtype, dims);
                declared.push(Declared { name: input.name.clone(), ty, default_shape: None });
            } else if !params.contains_key(&input.name) {
                let message = format!("the rank of input `{}` is not known", input.name);
                let example =
                    format!("give its shape, such as `--input {}=1x224x224x3`", input.name);
                found.push(Diagnostic::new(codes::DYNAMIC_SHAPE, message).help(example));
            }
        }
        if found.has_errors() {
            return Err(found);
        }
        let made = Specialisation::find(&asked, &declared, &symbols)?;
        for (old, new) in &made.symbols {
            if let Some(name) = new.as_symbol() {
                symbols.declare(name, symbols.range(old));
            }
        }
        for (name, range) in &made.ranges {
            symbols.declare(name, *range);
        }
        for input in declared {
            let shape: Vec<Dim> = input.ty.shape.iter().map(|dim| made.dim(dim)).collect();
            let mut param = Param::input(input.name.clone());
            if shape.iter().any(|dim| dim.as_const().is_none()) {
                param.default_shape = default_shape(&shape, &symbols);
                if let Some(shapes) = made.inputs.get(&input.name) {
                    param.default_shape = shapes.default.clone().or(param.default_shape);
                    param.enumerated.clone_from(&shapes.enumerated);
                }
            }
            params.insert(input.name, (param, TensorType::new(input.ty.dtype, shape)));
        }
        let mut used = Symbols::default();
        for (_, ty) in params.values() {
            for dim in &ty.shape {
                dim.for_each_symbol(&mut |name| used.declare(name, symbols.range(name)));
            }
        }
        Ok(Self { symbols: used, params })
    }
}

/// Extents of an input; each that is open has a symbol of its own.
fn dims_of(input: &str, shape: &[Option<i64>], symbols: &mut Symbols) -> Vec<Dim> {
    let one = |(axis, extent): (usize, &Option<i64>)| match extent {
        Some(n) => Dim::Const(*n),
        None => {
            let name = symbol_name(symbols, input, axis);
            symbols.declare(&name, SymbolRange { min: 1, max: None });
            Dim::symbol(&name)
        }
    };
    shape.iter().enumerate().map(one).collect()
}

/// The least extents that the ranges of symbols allow.
fn default_shape(shape: &[Dim], symbols: &Symbols) -> Option<Vec<u64>> {
    let least = |name: &str| Some(Dim::Const(symbols.range(name).min.max(1)));
    let known = |dim: &Dim| dim.substitute(&least).as_const().and_then(|n| u64::try_from(n).ok());
    shape.iter().map(known).collect()
}

fn add_input(cx: &mut Cx<'_>, input: &Input, inputs: &Inputs) -> LowerResult<Val> {
    if input.dtype.kind() == mlc_tensor::DTypeKind::Complex {
        return Err(LowerError::dtype("an input of the model is complex")
            .help("take real and imaginary parts as inputs and call `tf.complex` in the model"));
    }
    let (param, ty) = inputs
        .params
        .get(&input.name)
        .cloned()
        .ok_or_else(|| LowerError::invalid(format!("input `{}` has no type", input.name)))?;
    let shape = ty.shape.clone();
    let value = cx.b.function_mut().add_param(param, ty);
    cx.symbols.add_tensor(value, &shape);
    Ok(Val::Tensor(value))
}

/// A name for an open extent: letters, digits and underscores.
fn symbol_name(symbols: &Symbols, input: &str, axis: usize) -> String {
    let plain: String =
        input.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let start = if plain.starts_with(|c: char| c.is_ascii_alphabetic()) { "" } else { "i" };
    let wanted = format!("{start}{plain}_{axis}");
    let mut name = wanted.clone();
    let mut n = 0;
    while symbols.contains(&name) {
        n += 1;
        name = format!("{wanted}_{n}");
    }
    name
}

fn add_output(
    cx: &mut Cx<'_>,
    name: &str,
    val: Val,
    taken: &mut BTreeSet<String>,
) -> LowerResult<()> {
    let value = match cx.dereferenced(val)? {
        Val::Tensor(value) => value,
        Val::Complex(..) => {
            return Err(LowerError::dtype("an output of the model is complex")
                .help("return `tf.math.real(x)` and `tf.math.imag(x)`"));
        }
        Val::List(list) => cx.list_stacked(&list)?,
        other => {
            return Err(LowerError::new(
                codes::UNSUPPORTED_SIGNATURE,
                format!("{} cannot be an output", other.kind()),
            ));
        }
    };
    let name = unique(name, taken);
    cx.b.function_mut().add_output(name, value);
    Ok(())
}

pub(super) fn unique(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut n = 0;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{wanted}_{n}");
    }
    name
}
