//! Pruning of weights.
//!
//! **Invariant:** what a scheme makes of a tensor is the business of `mlc-compress`; a pass here says
//! which weights get which scheme.

mod prune_weights;

use mlc_pass::{PassEntry, PassList};

pub use prune_weights::PruneWeights;

/// The passes of this crate.
pub const PASSES: PassList = PassList {
    passes: &[PassEntry::of::<PruneWeights>("Weights keep their largest elements alone.")
        .source(include_str!("prune_weights.rs"))],
    aliases: &[],
};
