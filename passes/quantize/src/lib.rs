//! Linear quantization of weights.
//!
//! **Invariant:** what a scheme makes of a tensor is the business of `mlc-compress`; a pass here says
//! which weights get which scheme.

mod quantize_weights;

use mlc_pass::{PassEntry, PassList};

pub use quantize_weights::QuantizeWeights;

/// The passes of this crate.
pub const PASSES: PassList = PassList {
    passes: &[PassEntry::of::<QuantizeWeights>("Weights are integers with scales.")
        .source(include_str!("quantize_weights.rs"))],
    aliases: &[],
};
