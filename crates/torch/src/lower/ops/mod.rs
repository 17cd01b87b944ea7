//! The lowerings, a file a family.

mod activation;
mod arithmetic;
mod compare;
mod housekeeping;
mod spellings;
mod unary;

use super::registry::{Lowering, Registry};

const FAMILIES: &[&[Lowering]] = &[
    activation::LOWERINGS,
    arithmetic::LOWERINGS,
    compare::LOWERINGS,
    housekeeping::LOWERINGS,
    unary::LOWERINGS,
];

/// The table of all lowerings.
#[must_use]
pub fn registry() -> Registry {
    Registry::new(FAMILIES, spellings::SPELLINGS)
}
