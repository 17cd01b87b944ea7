//! Passes that decide in which order of axes a program computes.
//!
//! Words: a value has a *form* if it is a transpose of another value, its *source*: axis `i` of it is axis
//! `perm[i]` of the source. An op is *carried* when it is computed of the sources of its operands, and
//! its result is the transpose.
//!
//! **Invariant:** each pass here leaves the value of every output as it was, bit for bit.

mod axes;
mod carry;
mod form;
mod sink_transposes;

use mlc_pass::{PassEntry, PassList};

pub use sink_transposes::SinkTransposes;

/// The passes of this crate.
pub const PASSES: PassList = PassList {
    passes: &[PassEntry::of::<SinkTransposes>(
        "No transpose stands before an op that can take its operand as it is.",
    )
    .source(include_str!("sink_transposes.rs"))],
    aliases: &[],
};
