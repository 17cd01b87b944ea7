//! The TensorFlow frontend: reads SavedModels and frozen graphs, without TensorFlow, and lowers them to
//! IR.
//!
//! Weights stay ranges of mapped files: constants of the graph of its protobuf file, variables of the
//! shards of a checkpoint.
//!
//! Layers, each on the one before: `proto` (generated messages), [`checkpoint`] (tensors by key),
//! [`graph`] (nodes with every name resolved), [`model`] (a graph with chosen inputs and outputs, and
//! the values of its variables) and [`lower`] (from there to IR).
//!
//! **Invariant:** every input gives a program or a diagnostic.

pub mod checkpoint;
pub mod constant;
pub mod dtype;
mod file;
pub mod graph;
pub mod lower;
pub mod model;
#[expect(unreachable_pub, reason = "generated from the .proto file")]
mod proto;
mod report;
#[cfg(test)]
mod tests;
pub mod variables;

use std::path::Path;

use mlc_diag::Diagnostics;

pub use model::Model;

/// What is read of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The signature of a SavedModel; `serving_default` without one.
    pub signature: Option<String>,
    /// The tags of the graph of a SavedModel; `serve` if empty.
    pub tags: Vec<String>,
    /// Tensors that become outputs, as `node` or `node:1`; those of the signature, or all that no
    /// node takes, if empty.
    pub outputs: Vec<String>,
}

/// Reads the SavedModel in the folder at `path`.
///
/// # Errors
/// All problems found: a file is missing or damaged, there is no such signature, or the graph is not
/// sound.
pub fn read_saved_model(path: &Path, options: &ReadOptions) -> Result<Model, Diagnostics> {
    model::saved(path, options)
}

/// Reads the frozen graph in the file at `path`.
///
/// # Errors
/// All problems found: the file is missing or damaged, there is no such output, or the graph is not
/// sound.
pub fn read_graph(path: &Path, options: &ReadOptions) -> Result<Model, Diagnostics> {
    model::frozen(path, options)
}
