//! Linear quantization of weights, and of what reaches them.
//!
//! **Invariant:** what a scheme makes of a tensor is the business of `mlc-compress`; a pass here says
//! which weights get which scheme.

mod neighbours;
mod quantize_activations;
mod quantize_weights;
mod smooth_weights;

use mlc_diag::{Diagnostic, codes};
use mlc_pass::{PassEntry, PassList, Record};
use serde_json::json;

pub use quantize_activations::QuantizeActivations;
pub use quantize_weights::QuantizeWeights;
pub use smooth_weights::SmoothWeights;

/// The passes of this crate.
pub const PASSES: PassList = PassList {
    passes: &[
        PassEntry::of::<QuantizeWeights>("Weights are integers with scales.")
            .source(include_str!("quantize_weights.rs")),
        PassEntry::of::<SmoothWeights>("Scales move from what reaches weights into the weights.")
            .source(include_str!("smooth_weights.rs")),
        PassEntry::of::<QuantizeActivations>("What reaches weights goes through 8-bit integers.")
            .source(include_str!("quantize_activations.rs")),
    ],
    aliases: &[],
};

/// A pass that needs runs of the model was called without any.
fn uncalibrated(pass: &str) -> Diagnostic {
    Diagnostic::new(codes::BAD_ARGUMENT, format!("`{pass}` needs to know what reaches the weights"))
        .help("`mlc compress --recipe w8a8 --calib inputs.safetensors` runs the model first")
}

/// The row of what reaches weights by that name.
fn activation(name: &str, scheme: &str, note: &str) -> Record {
    let fields = [("scheme", json!(scheme)), ("note", json!(note))];
    let fields = fields.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    Record { name: format!("{name} (activation)"), fields }
}
