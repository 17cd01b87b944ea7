//! Passes that decide in which order of axes a program computes.
//!
//! Words: a value has a *form* if it is a transpose of another value, its *source*: axis `i` of it is axis
//! `perm[i]` of the source. An op is *carried* when it is computed of the sources of its operands, and
//! its result is the transpose.
//!
//! A sequence `[b, s, c]` has an *image* `[b, c, 1, s]`.
//!
//! **Invariant:** each pass here leaves the value of every output as it was, but for the order in which a
//! convolution or a norm sums what a `linear` or a norm of the other layout does.

mod axes;
mod carry;
mod conv_layout;
mod form;
mod lifted;
mod moves;
mod on_images;
mod regroup;
mod sink_transposes;

use mlc_pass::{PassEntry, PassList};

pub use conv_layout::ConvLayout;
pub use sink_transposes::SinkTransposes;

/// The passes of this crate.
pub const PASSES: PassList = PassList {
    passes: &[
        PassEntry::of::<ConvLayout>(
            "Sequences are computed as images of one row, by convolutions.",
        )
        .source(include_str!("conv_layout.rs")),
        PassEntry::of::<SinkTransposes>(
            "No transpose stands before an op that can take its operand as it is.",
        )
        .source(include_str!("sink_transposes.rs")),
    ],
    aliases: &[],
};
