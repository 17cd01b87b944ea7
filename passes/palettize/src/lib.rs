//! Palettization of weights.
//!
//! **Invariant:** what a scheme makes of a tensor is the business of `mlc-compress`; a pass here says
//! which weights get which scheme.

mod palettize_weights;

use mlc_pass::{PassEntry, PassList};

pub use palettize_weights::PalettizeWeights;

/// The passes of this crate.
pub const PASSES: PassList = PassList {
    passes: &[PassEntry::of::<PalettizeWeights>("Weights are indices into tables.")
        .source(include_str!("palettize_weights.rs"))],
    aliases: &[],
};
