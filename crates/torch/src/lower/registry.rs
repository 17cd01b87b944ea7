//! The table of lowerings.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Cx;
use super::call::Call;
use super::error::LowerResult;
use super::value::Val;

/// Lowers one call to the values it gives, in the order of the op's results.
pub type LowerFn = fn(&mut Cx<'_>, &Call<'_>) -> LowerResult<Vec<Val>>;

/// A lowering that is made while the program runs, such as one that the user wrote.
pub trait CustomLowering: Send + Sync + fmt::Debug {
    /// `namespace.op`.
    fn name(&self) -> &str;

    /// Lowers one call to the values it gives, in the order of the op's results.
    ///
    /// # Errors
    /// What keeps the call from being lowered.
    fn lower(&self, cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>>;
}

/// What lowers a call.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// An entry of the table.
    Known(LowerFn),
    /// The user's.
    Custom(Arc<dyn CustomLowering>),
}

impl Found {
    pub(super) fn lower(&self, cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        match self {
            Self::Known(lower) => lower(cx, call),
            Self::Custom(lowering) => lowering.lower(cx, call),
        }
    }
}

/// How one op is lowered.
#[derive(Debug, Clone, Copy)]
pub struct Lowering {
    /// `namespace.op`; all overloads that differ in argument names or types alone.
    pub name: &'static str,
    /// The lowering.
    pub lower: LowerFn,
}

/// The ops that torch 2.15 tags as core, one a line: the name, then its overloads.
const CORE_ATEN: &str = include_str!("core_aten.txt");

/// An op of the Core ATen opset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreOp {
    /// `aten.op`.
    pub name: &'static str,
    /// Its overloads that are core.
    pub overloads: Vec<&'static str>,
    /// Whether it has a lowering.
    pub covered: bool,
}

/// Ops that are other spellings of an op with the same arguments.
#[derive(Debug, Clone, Copy)]
pub struct Spelling {
    /// `namespace.op`.
    pub name: &'static str,
    /// What it is called in the table.
    pub same_as: &'static str,
}

/// Ops that are known to have no lowering.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// `namespace.op` of each, or parts of names.
    pub names: &'static [&'static str],
    /// Why there is none.
    pub why: &'static str,
    /// What to do instead.
    pub help: &'static str,
}

/// The lowerings by name.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    custom: BTreeMap<String, Arc<dyn CustomLowering>>,
    lowerings: BTreeMap<&'static str, LowerFn>,
    complex: BTreeMap<&'static str, LowerFn>,
    spellings: BTreeMap<&'static str, &'static str>,
    refusals: BTreeMap<&'static str, Refusal>,
    kinds: &'static [Refusal],
}

/// How a call is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As the table says.
    Plain,
    /// The result becomes the value of argument `self`.
    InPlace,
    /// The results get memory of their own.
    Copy,
}

impl Registry {
    /// A table of these lowerings and spellings; later ones replace earlier ones of the same name.
    #[must_use]
    pub fn new(lowerings: &[&[Lowering]], spellings: &[Spelling]) -> Self {
        Self {
            custom: BTreeMap::new(),
            lowerings: lowerings.iter().copied().flatten().map(|l| (l.name, l.lower)).collect(),
            complex: BTreeMap::new(),
            spellings: spellings.iter().map(|s| (s.name, s.same_as)).collect(),
            ..Self::default()
        }
    }

    /// The table with ops that are refused by name, and kinds of ops that are by a part of it.
    #[must_use]
    pub fn with_refusals(mut self, named: &[Refusal], kinds: &'static [Refusal]) -> Self {
        self.refusals = named
            .iter()
            .flat_map(|refusal| refusal.names.iter().map(|&name| (name, *refusal)))
            .collect();
        self.kinds = kinds;
        self
    }

    /// Why an op has no lowering, where that is known.
    pub(super) fn refusal(&self, name: &str) -> Option<Refusal> {
        let plain = name.strip_suffix('_').unwrap_or(name);
        let named = self.refusals.get(name).or_else(|| self.refusals.get(plain)).copied();
        let holds = |refusal: &&Refusal| refusal.names.iter().any(|part| name.contains(part));
        named.or_else(|| self.kinds.iter().find(holds).copied())
    }

    /// The table with lowerings that are used instead of those of the same name where an operand is
    /// complex.
    #[must_use]
    pub fn with_complex(mut self, lowerings: &[Lowering]) -> Self {
        self.complex.extend(lowerings.iter().map(|l| (l.name, l.lower)));
        self
    }

    /// The table with these lowerings too; they replace those of the same name.
    #[must_use]
    pub fn with(mut self, lowerings: &[Lowering]) -> Self {
        self.lowerings.extend(lowerings.iter().map(|l| (l.name, l.lower)));
        self
    }

    /// The table with lowerings of the user, which come before all others of the same name.
    #[must_use]
    pub fn with_custom(mut self, lowerings: &[Arc<dyn CustomLowering>]) -> Self {
        self.custom.extend(lowerings.iter().map(|l| (l.name().to_owned(), Arc::clone(l))));
        self
    }

    /// All names, in order, other spellings included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> =
            self.lowerings.keys().chain(self.spellings.keys()).copied().collect();
        names.extend(self.custom.keys().map(String::as_str));
        names.sort_unstable();
        names.dedup();
        names.into_iter()
    }

    fn plain(&self, name: &str, complex: bool) -> Option<Found> {
        if let Some(lowering) = self.custom.get(name) {
            return Some(Found::Custom(Arc::clone(lowering)));
        }
        let name = self.spellings.get(name).copied().unwrap_or(name);
        if let (true, Some(lower)) = (complex, self.complex.get(name)) {
            return Some(Found::Known(*lower));
        }
        self.lowerings.get(name).copied().map(Found::Known)
    }

    /// The lowering of an op: by its name, or by rule from its in-place (`add_`, `__iadd__`) or
    /// copying (`view_copy`) spelling. `complex` says whether an operand is.
    pub(super) fn find(&self, name: &str, complex: bool) -> Option<(Found, Form)> {
        if let Some(lower) = self.plain(name, complex) {
            return Some((lower, Form::Plain));
        }
        if let Some(base) = name.strip_prefix("aten.__i") {
            let lower = self.plain(&format!("aten.__{base}"), complex)?;
            return Some((lower, Form::InPlace));
        }
        if let Some(base) = name.strip_suffix('_').filter(|base| !base.ends_with('_')) {
            return self.plain(base, complex).map(|lower| (lower, Form::InPlace));
        }
        let base = name.strip_suffix("_copy")?;
        self.plain(base, complex).map(|lower| (lower, Form::Copy))
    }

    /// The ops of the Core ATen opset by name, with their overloads, and whether each has a lowering.
    #[must_use]
    pub fn core_coverage(&self) -> Vec<CoreOp> {
        let rows = CORE_ATEN.lines().filter_map(|line| line.split_once(' '));
        rows.map(|(name, overloads)| CoreOp {
            name,
            overloads: overloads.split(' ').collect(),
            covered: self.covers(name),
        })
        .collect()
    }

    /// Whether an op of that name can be lowered for some arguments.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        self.find(name, false).is_some() || self.find(name, true).is_some()
    }
}
