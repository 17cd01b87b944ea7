//! The table of lowerings.

use std::collections::BTreeMap;

use super::Cx;
use super::call::Call;
use super::error::LowerResult;
use super::value::Val;

/// Lowers one call to its results, in order.
pub type LowerFn = fn(&mut Cx<'_>, &Call<'_>) -> LowerResult<Vec<Val>>;

/// How one op is lowered.
#[derive(Debug, Clone, Copy)]
pub struct Lowering {
    /// The op, such as `Conv2D`.
    pub name: &'static str,
    /// The lowering.
    pub lower: LowerFn,
}

/// The lowerings by name.
#[derive(Debug, Default)]
pub struct Registry {
    lowerings: BTreeMap<&'static str, LowerFn>,
}

impl Registry {
    /// A table of these lowerings; later ones replace earlier ones of the same name.
    #[must_use]
    pub fn new(lowerings: &[&[Lowering]]) -> Self {
        let lowerings = lowerings.iter().copied().flatten().map(|l| (l.name, l.lower)).collect();
        Self { lowerings }
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.lowerings.keys().copied()
    }

    /// The lowering of an op.
    pub(super) fn find(&self, name: &str) -> Option<LowerFn> {
        self.lowerings.get(name).copied()
    }

    /// Whether an op of that name can be lowered for some inputs.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.lowerings.contains_key(name)
    }
}
