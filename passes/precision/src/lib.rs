//! Which float type computes what.
//!
//! **Invariant:** no constant becomes infinite by rounding, and no `epsilon` becomes zero.
//! **Invariant:** every cast to a narrower type is one this crate decided on; the types of parameters
//! and outputs stay unless the options name them.

mod facts;
mod guard;
mod hazards;
mod interval;
mod lift;
mod narrow;
mod precision;
mod ranges;

use mlc_pass::{PassEntry, PassList};

pub use guard::{Guarded, guarded};
pub use precision::{Float, Precision};

/// The passes of this crate.
pub const PASSES: PassList = PassList {
    passes: &[PassEntry::of::<Precision>("Floats are computed in the type that was asked for.")
        .source(include_str!("precision.rs"))],
    aliases: &[],
};
