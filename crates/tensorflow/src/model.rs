//! A model: a graph with chosen inputs and outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mlc_diag::{Diagnostic, Diagnostics, codes, nearest};
use mlc_tensor::{DType, Tensor};

use crate::ReadOptions;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::dtype::data_type;
use crate::file::ProtoFile;
use crate::graph::attr::{PartialShape, partial_shape};
use crate::graph::{Attr, Graph, Library, Node, Source, library, top_level};
use crate::proto::tensorflow::{GraphDef, MetaGraphDef, SavedModel, SignatureDef};
use crate::report;
use crate::variables::{Variables, is_variable, name_of};

/// An input of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The user's name.
    pub name: String,
    /// The node that stands for it.
    pub node: usize,
    /// Its element type.
    pub dtype: DType,
    /// Its extents.
    pub shape: PartialShape,
}

/// A model that was read. The results of its graph are its outputs.
#[derive(Debug)]
pub struct Model {
    /// The top level.
    pub graph: Graph,
    /// The functions it calls.
    pub library: Library,
    /// Its inputs, in order.
    pub inputs: Vec<Input>,
    /// Its variables.
    pub variables: Variables,
    /// The version of TensorFlow that wrote it, where the file says.
    pub version: Option<String>,
}

/// Reads the frozen graph in the file at `path`.
pub(crate) fn frozen(path: &Path, options: &ReadOptions) -> Result<Model, Diagnostics> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let file = ProtoFile::open(path, &name)?;
    let proto: GraphDef = file.decode("frozen graph")?;
    if proto.node.is_empty() {
        let message = format!("`{name}` holds no graph");
        return Err(Diagnostic::new(codes::UNKNOWN_FORMAT, message)
            .at(file.place(""))
            .help("give a frozen GraphDef, or the folder of a SavedModel")
            .into());
    }
    let mut found = Diagnostics::new();
    let library = library(&file, &proto, &mut found);
    let graph = top_level(&file, &proto, &mut found);
    let mut model =
        Model { graph, library, inputs: vec![], variables: Variables::default(), version: None };
    if found.has_errors() {
        return Err(found);
    }
    model.placeholders(&mut found);
    model.leaves(options, &mut found);
    if found.has_errors() { Err(found) } else { Ok(model) }
}

/// Reads the SavedModel in the folder at `path`.
pub(crate) fn saved(path: &Path, options: &ReadOptions) -> Result<Model, Diagnostics> {
    let file = ProtoFile::open(&path.join("saved_model.pb"), "saved_model.pb")?;
    let mut proto: SavedModel = file.decode("SavedModel")?;
    let meta = choose(&file, &mut proto, options)?;
    let empty = GraphDef::default();
    let graph_def = meta.graph_def.as_ref().unwrap_or(&empty);
    let mut found = Diagnostics::new();
    let library = library(&file, graph_def, &mut found);
    let graph = top_level(&file, graph_def, &mut found);
    if found.has_errors() {
        return Err(found);
    }
    let variables = path.join("variables").join("variables");
    let variables = if holds_files(&path.join("variables")) {
        let checkpoint = Checkpoint::open(&variables).map_err(|e| report::checkpoint(&e))?;
        Variables::new(checkpoint, &graph, &library, meta.object_graph_def.as_ref())
    } else {
        Variables::default()
    };
    let version = meta.meta_info_def.as_ref().map(|info| info.tensorflow_version.clone());
    let version = version.filter(|version| !version.is_empty());
    let mut model = Model { graph, library, inputs: vec![], variables, version };
    let signature = choose_signature(&file, &meta, options)?;
    model.sign(&file, signature, options, &mut found);
    if found.has_errors() { Err(found) } else { Ok(model) }
}

/// Whether there is a folder at `path` that is not empty. TensorFlow writes an empty one for a model
/// without variables.
fn holds_files(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
}

/// The graph with the wanted tags.
fn choose(
    file: &ProtoFile,
    proto: &mut SavedModel,
    options: &ReadOptions,
) -> Result<MetaGraphDef, Diagnostics> {
    let tags = |meta: &MetaGraphDef| -> BTreeSet<String> {
        meta.meta_info_def.iter().flat_map(|info| info.tags.iter().cloned()).collect()
    };
    let wanted: BTreeSet<String> = match options.tags.is_empty() {
        true => BTreeSet::from(["serve".to_owned()]),
        false => options.tags.iter().cloned().collect(),
    };
    let all: Vec<BTreeSet<String>> = proto.meta_graphs.iter().map(tags).collect();
    let exact = all.iter().position(|tags| *tags == wanted);
    let at = exact.or_else(|| all.iter().position(|tags| wanted.is_subset(tags)));
    let at = at.or_else(|| (all.len() == 1 && options.tags.is_empty()).then_some(0));
    let Some(at) = at else {
        let text = |tags: &BTreeSet<String>| tags.iter().cloned().collect::<Vec<_>>().join(",");
        let message = format!("there is no graph with the tags `{}`", text(&wanted));
        let there = all.iter().map(|tags| format!("`{}`", text(tags))).collect::<Vec<_>>();
        let diagnostic =
            Diagnostic::new(codes::BAD_ARGUMENT, message).at(file.place("meta_graphs"));
        return Err(match there.is_empty() {
            true => diagnostic.note("the file holds no graph"),
            false => diagnostic.help(format!("choose with `--tag`: there is {}", there.join(", "))),
        }
        .into());
    };
    Ok(proto.meta_graphs.swap_remove(at))
}

/// The signature that is asked for, else the default one, else the only one.
fn choose_signature<'a>(
    file: &ProtoFile,
    meta: &'a MetaGraphDef,
    options: &ReadOptions,
) -> Result<&'a SignatureDef, Diagnostics> {
    let names: Vec<&str> = meta
        .signature_def
        .iter()
        .filter(|(name, signature)| {
            !name.starts_with("__saved_model") && !signature.outputs.is_empty()
        })
        .map(|(name, _)| name.as_str())
        .collect();
    let name = match (&options.signature, &names[..]) {
        (Some(name), _) => name.as_str(),
        (None, all) if all.contains(&"serving_default") => "serving_default",
        (None, [only]) => only,
        (None, all) => {
            let message = format!("the model has {} signatures", all.len());
            let diagnostic =
                Diagnostic::new(codes::BAD_ARGUMENT, message).at(file.place("signature_def"));
            return Err(match all.is_empty() {
                true => diagnostic.help(
                    "save it with `signatures=` or with `model.export(path)`, so that there is one",
                ),
                false => diagnostic.help(format!("choose with `--signature`: {}", all.join(", "))),
            }
            .into());
        }
    };
    meta.signature_def.get(name).ok_or_else(|| {
        let near = nearest(name, names.iter().copied());
        let shown = if near.is_empty() { names.join(", ") } else { near.join(", ") };
        Diagnostic::new(codes::BAD_ARGUMENT, format!("there is no signature `{name}`"))
            .at(file.place("signature_def"))
            .help(format!("there is {shown}"))
            .into()
    })
}

impl Model {
    /// The variables and what they hold at the start, by name; those that nothing is stored for are
    /// left out.
    ///
    /// # Errors
    /// A value cannot be read.
    pub fn initial_values(&self) -> Result<BTreeMap<String, Tensor>, CheckpointError> {
        let mut values = BTreeMap::new();
        for (at, node) in self.graph.nodes.iter().enumerate() {
            if is_variable(&node.op)
                && let Some(tensor) = self.variables.value(at)?
            {
                values.insert(name_of(node), tensor);
            }
        }
        Ok(values)
    }

    /// Takes inputs and outputs from a signature, in the order of their keys.
    fn sign(
        &mut self,
        file: &ProtoFile,
        signature: &SignatureDef,
        options: &ReadOptions,
        found: &mut Diagnostics,
    ) {
        let index = Index::of(&self.graph);
        let mut unknown = |key: &str, tensor: &str| {
            let message = format!("`{key}` is `{tensor}`, which is no tensor of the graph");
            found.push(
                Diagnostic::new(codes::INVALID_GRAPH, message).at(file.place("signature_def")),
            );
        };
        let mut fed = Vec::new();
        for (key, info) in &signature.inputs {
            match index.source(&info.name) {
                Some(Source::Out(node, 0)) => {
                    let shape = info.tensor_shape.as_ref().and_then(partial_shape);
                    fed.push((key.clone(), node, info.dtype, shape));
                }
                _ => unknown(key, &info.name),
            }
        }
        let mut rets = Vec::new();
        for (key, info) in &signature.outputs {
            match index.source(&info.name) {
                Some(source) => rets.push((key.clone(), source)),
                None => unknown(key, &info.name),
            }
        }
        self.graph.rets = rets;
        for (name, node, dtype, shape) in fed {
            self.feed(name, node, Some((dtype, shape)), found);
        }
        if !options.outputs.is_empty() {
            self.leaves(options, found);
        }
    }

    /// Makes node `at` the input `name`.
    fn feed(
        &mut self,
        name: String,
        at: usize,
        declared: Option<(i32, PartialShape)>,
        found: &mut Diagnostics,
    ) {
        let node = &mut self.graph.nodes[at];
        let own = match (node.attrs.get("dtype"), node.attrs.get("shape")) {
            (Some(Attr::Type(dtype)), shape) => {
                let shape = match shape {
                    Some(Attr::Shape(shape)) => shape.clone(),
                    _ => None,
                };
                Some((*dtype, shape))
            }
            _ => None,
        };
        let (dtype, shape) = declared.or(own).unwrap_or((0, None));
        let dtype = data_type(dtype);
        match dtype {
            Ok(dtype) if dtype != DType::Str => {
                // What fed the node before is not run.
                *node = Node {
                    name: node.name.clone(),
                    op: "Placeholder".into(),
                    inputs: Vec::new(),
                    controls: Vec::new(),
                    attrs: node.attrs.clone(),
                };
                self.inputs.push(Input { name, node: at, dtype, shape });
            }
            other => {
                let what = match other {
                    Err(error) => error.to_string(),
                    Ok(_) => "element type string is not supported".to_owned(),
                };
                let message = format!("input `{name}`: {what}");
                found.push(Diagnostic::new(codes::UNSUPPORTED_DTYPE, message));
            }
        }
    }

    /// Makes placeholders inputs, in the order of the file.
    fn placeholders(&mut self, found: &mut Diagnostics) {
        let needed: BTreeSet<usize> = {
            let mut needed = BTreeSet::new();
            for at in 0..self.graph.nodes.len() {
                needed.extend(self.graph.nodes[at].inputs.iter().filter_map(|s| s.node()));
            }
            needed
        };
        for at in 0..self.graph.nodes.len() {
            let node = &self.graph.nodes[at];
            let placeholder = matches!(&*node.op, "Placeholder" | "PlaceholderV2");
            // A handle or string that nothing takes is no input.
            let numbers = match node.attrs.get("dtype") {
                Some(Attr::Type(dtype)) => data_type(*dtype).is_ok_and(|d| d != DType::Str),
                _ => true,
            };
            // Lowering of control flow leaves placeholders that nothing takes.
            let left_over = node.name.starts_with("unused_control_flow_input");
            if placeholder && (needed.contains(&at) || (numbers && !left_over)) {
                let name = node.name.to_string();
                self.feed(name, at, None, found);
            }
        }
    }

    /// Makes the named tensors outputs; without names, all that no node takes.
    fn leaves(&mut self, options: &ReadOptions, found: &mut Diagnostics) {
        let graph = &mut self.graph;
        if !options.outputs.is_empty() {
            let index = Index::of(graph);
            let mut rets = Vec::new();
            for name in &options.outputs {
                let own = graph.rets.iter().find(|(key, _)| key == name).map(|(_, s)| *s);
                match own.or_else(|| index.source(name)) {
                    Some(source) => rets.push((name.clone(), source)),
                    None => {
                        let names = graph.nodes.iter().map(|node| &*node.name);
                        let near = nearest(name, names);
                        let message = format!("there is no tensor `{name}`");
                        let diagnostic = Diagnostic::new(codes::BAD_ARGUMENT, message);
                        let own: Vec<&str> =
                            graph.rets.iter().map(|(key, _)| key.as_str()).take(8).collect();
                        found.push(match near.is_empty() {
                            true if own.is_empty() => diagnostic,
                            true => diagnostic.help(format!("outputs are {}", own.join(", "))),
                            false => diagnostic.help(format!("there is {}", near.join(", "))),
                        });
                    }
                }
            }
            graph.rets = rets;
            return;
        }
        let mut taken = vec![false; graph.nodes.len()];
        for node in &graph.nodes {
            let inputs = node.inputs.iter().filter_map(|source| source.node());
            for at in inputs.chain(node.controls.iter().copied()) {
                taken[at] = true;
            }
        }
        for (at, node) in graph.nodes.iter().enumerate() {
            if taken[at] || is_silent(&node.op) {
                continue;
            }
            for index in 0..leaf_results(node) {
                let name = match index {
                    0 => node.name.to_string(),
                    index => format!("{}:{index}", node.name),
                };
                graph.rets.push((name, Source::Out(at, index)));
            }
        }
        if graph.rets.is_empty() {
            // A graph that computes nothing gives its inputs.
            for input in &self.inputs {
                if !taken[input.node] {
                    self.graph.rets.push((input.name.clone(), Source::Out(input.node, 0)));
                }
            }
        }
        if self.graph.rets.is_empty() {
            found.push(
                Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, "the graph has no outputs")
                    .note("every tensor is taken by a node")
                    .help("name outputs with `--output-name`"),
            );
        }
    }
}

/// Whether nodes of that op give nothing that anyone wants.
fn is_silent(op: &str) -> bool {
    matches!(
        op,
        "NoOp"
            | "Assert"
            | "Const"
            | "Placeholder"
            | "PlaceholderV2"
            | "PlaceholderWithDefault"
            | "Print"
            | "PrintV2"
            | "SaveV2"
            | "RestoreV2"
            | "Assign"
            | "AssignVariableOp"
            | "VarHandleOp"
            | "VariableV2"
            | "VarIsInitializedOp"
            | "IsVariableInitialized"
            | "TensorArrayCloseV3"
            | "ControlTrigger"
            | "MergeV2Checkpoints"
    )
}

/// How many results of a node that no other takes are outputs.
fn leaf_results(node: &Node) -> usize {
    let listed = |key: &str| match node.attrs.get(key) {
        Some(Attr::Int(n)) => usize::try_from(*n).unwrap_or(1).min(1 << 16),
        Some(Attr::Types(types)) => types.len(),
        _ => 1,
    };
    match &*node.op {
        "NonMaxSuppressionV5" => 3,
        "NonMaxSuppressionV4"
        | "TopKV2"
        | "TopK"
        | "Unique"
        | "UniqueV2"
        | "ListDiff"
        | "LogMatrixDeterminant"
        | "MaxPoolWithArgmax" => 2,
        "CombinedNonMaxSuppression" => 4,
        "Split" | "SplitV" => listed("num_split"),
        "Unpack" => listed("num"),
        "ShapeN" => listed("N"),
        "IdentityN" => listed("T"),
        "If" | "StatelessIf" | "PartitionedCall" | "StatefulPartitionedCall" => listed("Tout"),
        "While" | "StatelessWhile" => listed("T"),
        _ => 1,
    }
}

/// The nodes of a graph by name.
struct Index<'a> {
    nodes: BTreeMap<&'a str, usize>,
}

impl<'a> Index<'a> {
    fn of(graph: &'a Graph) -> Self {
        let nodes = graph.nodes.iter().enumerate().map(|(at, node)| (&*node.name, at)).collect();
        Self { nodes }
    }

    /// The source of `node` or `node:1`.
    fn source(&self, text: &str) -> Option<Source> {
        if let Some(&node) = self.nodes.get(text) {
            return Some(Source::Out(node, 0));
        }
        let (name, index) = text.rsplit_once(':')?;
        Some(Source::Out(*self.nodes.get(name)?, index.parse().ok()?))
    }
}
