//! Equality saturation over the IR's own ops.
//!
//! Words: an *e-node* is an op whose operands are classes; a *class* holds the e-nodes that compute one
//! value. A [`Rule`] looks at an op ([`Match`]) and gives something that computes the same ([`Build`]);
//! rules are applied until nothing new is found or a [`Limit`] is hit; then one op is chosen for each
//! class so that the program is cheapest, what is shared counted once.
//!
//! A region is cut into windows. Ops without effects whose operands and results are tensors are in the
//! graph; all others (regions, states, lists, random numbers) stay where they are, what they take is
//! needed and what they give is given. Constants are computed as classes are made: small ones at once,
//! large ones as recipes.
//!
//! **Invariant:** `egg` is named in this crate alone, and only in private items.
//! **Invariant:** a class has one type; what a rule gives has the type of what it replaces.
//! **Invariant:** limits count, they never look at a clock; each that was hit is reported.
//! **Invariant:** a window that does not get cheaper stays as it is.

mod build;
mod constants;
mod cost;
mod emit;
mod extract;
mod graph;
mod language;
mod matching;
mod optimize;
mod pattern;
mod rule;
mod saturate;
pub mod soundness;
mod window;

pub use build::Build;
pub use cost::{Cost, program_cost};
pub use matching::{Class, Found, Match};
pub use optimize::{Options, Report, Strategy, optimize};
pub use pattern::{Guard, Pattern, PatternError};
pub use rule::{Apply, Family, Rounding, Rule, RuleSet, table_problems};
pub use saturate::{Limit, Limits};
