//! Graphs with every name resolved.
//!
//! Words: a *node* is a call of an op; a *source* is where an input comes from: an argument of the graph
//! or a result of a node; the *library* holds the functions that nodes call by name.

pub mod attr;
mod build;
mod order;
mod results;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use attr::Attr;
pub(crate) use build::{library, top_level};

/// Where an input of a node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// An argument of the graph.
    Arg(usize),
    /// A result of a node: the node, and which.
    Out(usize, usize),
}

impl Source {
    /// The node, unless it is an argument.
    #[must_use]
    pub fn node(self) -> Option<usize> {
        match self {
            Self::Out(node, _) => Some(node),
            Self::Arg(_) => None,
        }
    }
}

/// A call of an op.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name in the graph.
    pub name: Arc<str>,
    /// The op.
    pub op: Arc<str>,
    /// Its inputs.
    pub inputs: Vec<Source>,
    /// Nodes that run before it.
    pub controls: Vec<usize>,
    /// Its attributes.
    pub attrs: BTreeMap<String, Attr>,
}

/// A graph or function.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    /// Its name; empty for the top level.
    pub name: Arc<str>,
    /// Names of its arguments.
    pub args: Vec<String>,
    /// Its nodes, in the order of the file.
    pub nodes: Vec<Node>,
    /// Names and sources of its results.
    pub rets: Vec<(String, Source)>,
    /// Nodes that run although no result needs them.
    pub effects: Vec<usize>,
}

/// The functions that a graph calls.
pub type Library = BTreeMap<String, Arc<Graph>>;
