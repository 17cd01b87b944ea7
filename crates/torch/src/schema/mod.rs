//! The JSON of an exported program as it stands in the file.
//!
//! Unknown keys are ignored and missing ones have their default, as minor versions only add keys.
//! Kinds of arguments and specs that are not known are kept by name, so that all of them can be
//! reported with their node. Nesting is bounded by the JSON reader (128 levels).

mod argument;
mod scalar;
mod signature;
mod treespec;
mod union;

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

pub(crate) use argument::{Argument, Name, OptName, SymArg};
pub(crate) use scalar::{Bound, Float};
pub(crate) use signature::{ConstantValue, InputSpec, OutputSpec};
pub(crate) use treespec::{TreeSpec, key_paths};

/// What is looked at before anything else.
#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) schema_version: SchemaVersion,
    #[serde(default)]
    pub(crate) torch_version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct SchemaVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ExportedProgram {
    pub(crate) graph_module: GraphModule,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) range_constraints: BTreeMap<String, RangeConstraint>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) verifiers: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) dialect: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RangeConstraint {
    #[serde(default)]
    pub(crate) min_val: Option<Bound>,
    #[serde(default)]
    pub(crate) max_val: Option<Bound>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GraphModule {
    pub(crate) graph: Graph,
    pub(crate) signature: GraphSignature,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) module_call_graph: Vec<ModuleCall>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) treespec_namedtuple_fields: BTreeMap<String, NamedTuple>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NamedTuple {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) field_names: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GraphSignature {
    pub(crate) input_specs: Vec<InputSpec>,
    pub(crate) output_specs: Vec<OutputSpec>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ModuleCall {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) fqn: String,
    #[serde(default)]
    pub(crate) signature: Option<CallSignature>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CallSignature {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) in_spec: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) out_spec: String,
    #[serde(default)]
    pub(crate) forward_arg_names: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Graph {
    pub(crate) inputs: Vec<Argument>,
    pub(crate) outputs: Vec<Argument>,
    #[serde(deserialize_with = "nodes")]
    pub(crate) nodes: Vec<Node>,
    pub(crate) tensor_values: BTreeMap<String, TensorMeta>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) sym_int_values: BTreeMap<String, SymInt>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) sym_float_values: BTreeMap<String, SymFloat>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) sym_bool_values: BTreeMap<String, SymBool>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) is_single_tensor_return: bool,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) target: String,
    pub(crate) inputs: Vec<NamedArgument>,
    pub(crate) outputs: Vec<Argument>,
    pub(crate) metadata: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NamedArgument {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) name: String,
    pub(crate) arg: Argument,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TensorMeta {
    pub(crate) dtype: i64,
    pub(crate) sizes: Vec<SymInt>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) requires_grad: bool,
    pub(crate) strides: Vec<SymInt>,
    #[serde(default)]
    pub(crate) storage_offset: SymInt,
    #[serde(default = "strided")]
    pub(crate) layout: i64,
}

fn strided() -> i64 {
    7
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) enum SymInt {
    #[serde(rename = "as_int")]
    Int(i64),
    #[serde(rename = "as_expr")]
    Expr(SymText),
}

impl Default for SymInt {
    fn default() -> Self {
        Self::Int(0)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) enum SymFloat {
    #[serde(rename = "as_float")]
    Float(Float),
    #[serde(rename = "as_expr")]
    Expr(SymText),
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) enum SymBool {
    #[serde(rename = "as_bool")]
    Bool(bool),
    #[serde(rename = "as_expr")]
    Expr(SymText),
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SymText {
    pub(crate) expr_str: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) hint: Hint,
}

/// What an expression was for the inputs that the model was exported with.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Hint {
    #[serde(default)]
    pub(crate) as_int: Option<i64>,
}

/// A value, or its default where the file has null.
pub(crate) fn or_default<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// Reads the nodes; errors name the position.
fn nodes<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Node>, D::Error> {
    struct Nodes;
    impl<'de> Visitor<'de> for Nodes {
        type Value = Vec<Node>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of nodes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Node>, A::Error> {
            let mut out = Vec::new();
            loop {
                let next = list.next_element();
                match next.map_err(|e| A::Error::custom(format!("node {}: {e}", out.len())))? {
                    Some(node) => out.push(node),
                    None => return Ok(out),
                }
            }
        }
    }
    input.deserialize_seq(Nodes)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct NodeVisitor;
        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a node")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut target = None;
                let (mut inputs, mut outputs) = (None, None);
                let mut metadata = None;
                while let Some(key) = map.next_key::<String>()? {
                    let read = match key.as_str() {
                        "target" => map.next_value().map(|v: String| target = Some(v)),
                        "inputs" => map.next_value().map(|v| inputs = Some(v)),
                        "outputs" => map.next_value().map(|v| outputs = Some(v)),
                        "metadata" => map.next_value().map(|v| metadata = v),
                        _ => map.next_value::<IgnoredAny>().map(|_| ()),
                    };
                    read.map_err(|e| match &target {
                        Some(target) => A::Error::custom(format!("`{target}`, `{key}`: {e}")),
                        None => A::Error::custom(format!("`{key}`: {e}")),
                    })?;
                }
                let missing = <A::Error as de::Error>::missing_field;
                Ok(Node {
                    target: target.ok_or_else(|| missing("target"))?,
                    inputs: inputs.ok_or_else(|| missing("inputs"))?,
                    outputs: outputs.ok_or_else(|| missing("outputs"))?,
                    metadata: metadata.unwrap_or_default(),
                })
            }
        }
        input.deserialize_map(NodeVisitor)
    }
}
