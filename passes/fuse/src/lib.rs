//! Rewrite rules and the pass that applies them.
//!
//! A rule is a function below `rules/`, a line in the table of its family, and a fixture
//! `testdata/rules/NAME.mlc`, from which its soundness is tested. See [`mlc_egraph`] for the words.
//!
//! **Invariant:** rules use only the public interface of `mlc-egraph`.

mod egraph;
mod load;
mod rules;

use mlc_pass::{PassEntry, PassList};

pub use egraph::Egraph;
pub use load::load;
pub use rules::FAMILIES;

/// The passes of this crate.
pub const PASSES: PassList = PassList {
    passes: &[PassEntry::of::<Egraph>("No rule finds a cheaper way to compute the same.")
        .source(include_str!("egraph.rs"))],
    aliases: &[],
};
