//! How a nested argument or result was flattened.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{NamedTuple, or_default};

/// One level: a leaf has no type.
#[derive(Debug, Deserialize)]
pub(crate) struct TreeSpec {
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    /// JSON in a string; for a dict the list of its keys.
    #[serde(default)]
    context: Option<serde_json::Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) children_spec: Vec<TreeSpec>,
}

impl TreeSpec {
    /// Parses `[1, spec]`.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let (_version, spec): (u32, Self) = serde_json::from_str(text)?;
        Ok(spec)
    }

    /// Names of the children: keys of a dict, fields of a named tuple, positions of all else.
    fn child_names(&self, tuples: &BTreeMap<String, NamedTuple>) -> Vec<String> {
        let count = self.children_spec.len();
        let parsed = match &self.context {
            Some(serde_json::Value::String(text)) => serde_json::from_str(text).ok(),
            other => other.clone(),
        };
        let class = parsed.as_ref().and_then(|c: &serde_json::Value| c.as_str());
        let fields = class
            .or(self.kind.as_deref())
            .and_then(|class| tuples.get(class))
            .map(|tuple| tuple.field_names.clone());
        let keys = parsed.as_ref().and_then(key_list);
        match fields.or(keys) {
            Some(names) if names.len() == count => names,
            _ => (0..count).map(|i| i.to_string()).collect(),
        }
    }
}

/// The first list of strings or numbers in a context.
fn key_list(context: &serde_json::Value) -> Option<Vec<String>> {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(s) => Some(s.clone()),
        serde_json::Value::Number(n) => Some(n.to_string()),
        _ => None,
    };
    match context {
        serde_json::Value::Array(items) => items
            .iter()
            .map(text)
            .collect::<Option<Vec<_>>>()
            .or_else(|| items.iter().find_map(key_list)),
        serde_json::Value::Object(map) => map.values().find_map(key_list),
        _ => None,
    }
}

/// The path of each leaf, outermost name first, in the order of flattening.
pub(crate) fn key_paths(
    spec: &TreeSpec,
    tuples: &BTreeMap<String, NamedTuple>,
) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    walk(spec, &mut Vec::new(), tuples, &mut out);
    out
}

fn walk(
    spec: &TreeSpec,
    path: &mut Vec<String>,
    tuples: &BTreeMap<String, NamedTuple>,
    out: &mut Vec<Vec<String>>,
) {
    if spec.kind.is_none() {
        out.push(path.clone());
        return;
    }
    for (child, name) in spec.children_spec.iter().zip(spec.child_names(tuples)) {
        path.push(name);
        walk(child, path, tuples, out);
        path.pop();
    }
}
