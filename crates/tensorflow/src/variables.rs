//! The variables of a graph, and where their values are.
//!
//! What a checkpoint holds for a variable is told by the nodes that restore it: an assignment to the
//! variable of a tensor that `RestoreV2` reads. Where there are none, the objects of the SavedModel tell
//! it: the objects that a function captures are those of the last inputs of its calls.

use std::collections::{BTreeMap, BTreeSet};

use mlc_tensor::Tensor;
use prost::Message;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::constant::Constant;
use crate::graph::{Attr, Graph, Library, Node, Source};
use crate::proto::tensorflow::{SavedObjectGraph, TrackableObjectGraph};

/// Where a value lies in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    key: String,
    /// First element and number of elements along each axis, of a variable that is a part.
    slice: Option<Vec<(u64, u64)>>,
}

/// The variables of a graph.
#[derive(Debug, Default)]
pub struct Variables {
    checkpoint: Option<Checkpoint>,
    /// By the node of the variable.
    stored: BTreeMap<usize, Stored>,
}

/// Whether nodes of that op are variables.
pub(crate) fn is_variable(op: &str) -> bool {
    matches!(op, "VarHandleOp" | "VariableV2" | "Variable")
}

/// The name of a variable: what it is shared by, else its node's.
pub(crate) fn name_of(node: &Node) -> String {
    match node.attrs.get("shared_name") {
        Some(Attr::Text(name)) if !name.is_empty() => String::from_utf8_lossy(name).into_owned(),
        _ => node.name.to_string(),
    }
}

impl Variables {
    /// The variables of `graph`, with their values in `checkpoint`.
    pub(crate) fn new(
        checkpoint: Checkpoint,
        graph: &Graph,
        library: &Library,
        objects: Option<&SavedObjectGraph>,
    ) -> Self {
        let mut stored = BTreeMap::new();
        if let Some(objects) = objects {
            by_objects(&checkpoint, graph, objects, &mut stored);
        }
        let restoring = restoring(library);
        restored(graph, &restoring, library, &|_| None, &mut stored, 0);
        for (at, node) in graph.nodes.iter().enumerate() {
            if is_variable(&node.op) && !stored.contains_key(&at) {
                let key = name_of(node);
                if checkpoint.has(&key) {
                    stored.insert(at, Stored { key, slice: None });
                }
            }
        }
        Self { checkpoint: Some(checkpoint), stored }
    }

    /// The value of the variable of that node; `None` if nothing says where it is.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn value(&self, node: usize) -> Result<Option<Tensor>, CheckpointError> {
        let (Some(checkpoint), Some(stored)) = (&self.checkpoint, self.stored.get(&node)) else {
            return Ok(None);
        };
        let tensor = checkpoint.tensor(&stored.key)?;
        let Some(slice) = &stored.slice else { return Ok(Some(tensor)) };
        let part = part_of(&tensor, slice);
        part.map(Some).ok_or_else(|| CheckpointError::Parts { key: stored.key.clone() })
    }
}

/// The elements of `tensor` that a slice names.
fn part_of(tensor: &Tensor, slice: &[(u64, u64)]) -> Option<Tensor> {
    let shape = tensor.shape();
    if slice.len() != shape.len() {
        return None;
    }
    let mut strides = vec![1u64; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].checked_mul(shape[axis])?;
    }
    let mut offset = 0u64;
    let mut extents = Vec::with_capacity(shape.len());
    for (axis, &(start, length)) in slice.iter().enumerate() {
        let length = if length == u64::MAX { shape[axis].checked_sub(start)? } else { length };
        if start.checked_add(length)? > shape[axis] {
            return None;
        }
        offset = offset.checked_add(start.checked_mul(strides[axis])?)?;
        extents.push(length);
    }
    tensor.strided(&extents, &strides, offset).ok()
}

/// The functions that read a checkpoint, themselves or through others.
fn restoring(library: &Library) -> BTreeSet<&str> {
    let direct = |graph: &Graph| graph.nodes.iter().any(|node| &*node.op == "RestoreV2");
    let mut found: BTreeSet<&str> =
        library.iter().filter(|(_, graph)| direct(graph)).map(|(name, _)| name.as_str()).collect();
    loop {
        let calls = |graph: &Graph| {
            graph.nodes.iter().any(|node| match node.attrs.get("f") {
                Some(Attr::Func(name)) => found.contains(name.as_str()),
                _ => false,
            })
        };
        let more: Vec<&str> = library
            .iter()
            .filter(|(name, graph)| !found.contains(name.as_str()) && calls(graph))
            .map(|(name, _)| name.as_str())
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Most calls within one another that are looked through.
const MAX_DEPTH: usize = 16;

/// Adds the variables that nodes of `graph` restore. `arg` gives the variable that an argument is.
fn restored(
    graph: &Graph,
    restoring: &BTreeSet<&str>,
    library: &Library,
    arg: &dyn Fn(usize) -> Option<usize>,
    stored: &mut BTreeMap<usize, Stored>,
    depth: usize,
) {
    let variable = |source: Source| match graph.behind(source) {
        Source::Arg(index) => arg(index),
        Source::Out(node, 0) if depth == 0 && is_variable(&graph.nodes[node].op) => Some(node),
        Source::Out(..) => None,
    };
    for node in &graph.nodes {
        match (&*node.op, &node.inputs[..]) {
            ("AssignVariableOp" | "Assign", &[target, value, ..]) => {
                let Source::Out(read, index) = graph.behind(value) else { continue };
                let (Some(target), Some(key)) =
                    (variable(target), restored_key(graph, read, index))
                else {
                    continue;
                };
                stored.insert(target, key);
            }
            ("PartitionedCall" | "StatefulPartitionedCall", inputs) if depth < MAX_DEPTH => {
                let Some(Attr::Func(name)) = node.attrs.get("f") else { continue };
                let Some(function) = library.get(name).filter(|_| restoring.contains(&name[..]))
                else {
                    continue;
                };
                let inner = |index: usize| inputs.get(index).and_then(|&source| variable(source));
                restored(function, restoring, library, &inner, stored, depth + 1);
            }
            _ => {}
        }
    }
}

/// What result `index` of node `read` reads, if that is a `RestoreV2`.
fn restored_key(graph: &Graph, read: usize, index: usize) -> Option<Stored> {
    let node = &graph.nodes[read];
    if &*node.op != "RestoreV2" {
        return None;
    }
    let text = |input: usize| {
        let Source::Out(at, 0) = graph.behind(*node.inputs.get(input)?) else { return None };
        match graph.nodes[at].attrs.get("value") {
            Some(Attr::Tensor(Constant::Strings(all, _))) => {
                all.get(index).map(|text| String::from_utf8_lossy(text).into_owned())
            }
            _ => None,
        }
    };
    let key = text(1)?;
    let slice = text(2).filter(|spec| !spec.is_empty());
    let slice = match slice {
        Some(spec) => Some(parse_slice(&spec)?),
        None => None,
    };
    Some(Stored { key, slice })
}

/// The slice that `4 10 0,2:-` says: the extents of the whole, then start and length of each axis.
fn parse_slice(spec: &str) -> Option<Vec<(u64, u64)>> {
    let (_, slice) = spec.rsplit_once(' ')?;
    slice
        .split(':')
        .map(|axis| match axis {
            "-" => Some((0, u64::MAX)),
            axis => {
                let (start, length) = axis.split_once(',')?;
                Some((start.parse().ok()?, length.parse().ok()?))
            }
        })
        .collect()
}

/// Adds the variables that calls of the top level capture, by the objects of the SavedModel.
fn by_objects(
    checkpoint: &Checkpoint,
    graph: &Graph,
    objects: &SavedObjectGraph,
    stored: &mut BTreeMap<usize, Stored>,
) {
    let Ok(bytes) = checkpoint.text("_CHECKPOINTABLE_OBJECT_GRAPH") else { return };
    let Ok(tracked) = TrackableObjectGraph::decode(&bytes[..]) else { return };
    let keys = keys_of_objects(objects, &tracked);
    for node in &graph.nodes {
        let Some(Attr::Func(name)) = node.attrs.get("f") else { continue };
        let Some(function) = objects.concrete_functions.get(name) else { continue };
        let captured = function.bound_inputs.len();
        let Some(first) = node.inputs.len().checked_sub(captured) else { continue };
        for (&source, object) in node.inputs[first..].iter().zip(&function.bound_inputs) {
            let Source::Out(at, 0) = graph.behind(source) else { continue };
            if let (true, Some(key)) = (is_variable(&graph.nodes[at].op), keys.get(object)) {
                stored.insert(at, Stored { key: key.clone(), slice: None });
            }
        }
    }
}

/// The key of each object that is a variable, found by walking both trees of objects together.
fn keys_of_objects(
    objects: &SavedObjectGraph,
    tracked: &TrackableObjectGraph,
) -> BTreeMap<i32, String> {
    let mut keys = BTreeMap::new();
    let mut seen = BTreeSet::from([0]);
    let mut open = vec![(0i32, 0i32)];
    while let Some((object, twin)) = open.pop() {
        let saved = usize::try_from(object).ok().and_then(|at| objects.nodes.get(at));
        let stored = usize::try_from(twin).ok().and_then(|at| tracked.nodes.get(at));
        let (Some(saved), Some(stored)) = (saved, stored) else { continue };
        if saved.variable.is_some()
            && let Some(value) = stored.attributes.iter().find(|a| a.name == "VARIABLE_VALUE")
        {
            keys.insert(object, value.checkpoint_key.clone());
        }
        for child in &saved.children {
            let twin = stored.children.iter().find(|c| c.local_name == child.local_name);
            if let Some(twin) = twin
                && seen.insert(child.node_id)
            {
                open.push((child.node_id, twin.node_id));
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_parts() {
        assert_eq!(parse_slice("4 10 0,2:-"), Some(vec![(0, 2), (0, u64::MAX)]));
        assert_eq!(parse_slice("4 10 x"), None);
        let whole = Tensor::from_i64s(mlc_tensor::DType::I32, &[3, 2], &[0, 1, 2, 3, 4, 5]);
        let whole = whole.unwrap();
        let part = part_of(&whole, &[(1, 2), (0, u64::MAX)]).unwrap();
        assert_eq!(part.to_i64s().unwrap(), [2, 3, 4, 5]);
        assert!(part_of(&whole, &[(2, 2), (0, 2)]).is_none());
    }
}
