//! What the table says of each op.

use crate::attr::{AttrKind, AttrValue};
use crate::infer::{InferCx, Inferred, OpResult};
use crate::ops::Op;

/// How many values an operand slot takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// Exactly one.
    One,
    /// One or none.
    Opt,
    /// Any number.
    Many,
}

/// An operand slot.
#[derive(Debug, Clone, Copy)]
pub struct OperandSpec {
    /// MIL's name of it.
    pub name: &'static str,
    /// How many values it takes.
    pub arity: Arity,
}

/// An attribute.
#[derive(Debug, Clone, Copy)]
pub struct AttrSpec {
    /// MIL's name of it.
    pub name: &'static str,
    /// What it holds.
    pub kind: AttrKind,
    /// Whether it has no default.
    pub required: bool,
}

/// A property of an op that passes rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Trait {
    /// Same operands, same result; no effect.
    Pure = 1,
    /// Moves elements without changing them.
    View = 1 << 1,
    /// Element `i` of the result depends on element `i` of the (broadcast) operands alone.
    Elementwise = 1 << 2,
    /// Operands 0 and 1 may be swapped.
    Commutative = 1 << 3,
    /// Applying it to its own result changes nothing.
    Idempotent = 1 << 4,
    /// Depends on a state.
    ReadsState = 1 << 5,
    /// Changes a state.
    WritesState = 1 << 6,
    /// Another result at each run.
    Random = 1 << 7,
    /// Decodes a stored weight; evaluated when the model is loaded.
    Constexpr = 1 << 8,
    /// Has regions.
    Control = 1 << 9,
}

/// A set of [`Trait`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits(u32);

impl Traits {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set with `one` in it.
    #[must_use]
    pub const fn with(self, one: Trait) -> Self {
        Self(self.0 | one as u32)
    }

    /// Whether `one` is in it.
    #[must_use]
    pub const fn has(self, one: Trait) -> bool {
        self.0 & one as u32 != 0
    }
}

/// How many results an op has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultCount {
    /// That many.
    Fixed(usize),
    /// As inference says.
    Inferred,
}

/// An entry of the op table.
#[derive(Debug)]
pub struct OpSpec {
    /// MIL's name.
    pub name: &'static str,
    /// The meaning, as a formula.
    pub doc: &'static str,
    /// Family: the module of the table it stands in.
    pub family: &'static str,
    /// Operand slots, in order.
    pub operands: &'static [OperandSpec],
    /// Attributes, in order.
    pub attrs: &'static [AttrSpec],
    /// How many results.
    pub results: ResultCount,
    /// Names of nested regions, in order.
    pub regions: &'static [&'static str],
    /// Properties.
    pub traits: Traits,
}

impl OpSpec {
    /// The position of the operand slot of that name.
    #[must_use]
    pub fn operand(&self, name: &str) -> Option<usize> {
        self.operands.iter().position(|slot| slot.name == name)
    }

    /// The attribute of that name.
    #[must_use]
    pub fn attr(&self, name: &str) -> Option<&'static AttrSpec> {
        self.attrs.iter().find(|attr| attr.name == name)
    }

    /// Whether removing the op when its results are unused changes nothing.
    #[must_use]
    pub fn is_removable(&self) -> bool {
        !self.traits.has(Trait::WritesState)
    }
}

/// The payload type of one op; implemented by `op!`.
pub trait Payload: Sized {
    /// The entry.
    const SPEC: OpSpec;

    /// The payload of `op`, if it is of this kind.
    fn of(op: &Op) -> Option<&Self>;

    /// Every attribute, in the order of the entry.
    fn attrs(&self) -> Vec<AttrValue>;

    /// The default of each attribute, in the order of the entry.
    fn defaults() -> Vec<Option<AttrValue>>;

    /// A payload from attributes in the order of the entry; `None` means the default.
    ///
    /// # Errors
    /// A required attribute is missing or a value does not fit: its position.
    fn from_attrs(values: &[Option<AttrValue>]) -> Result<Self, usize>;

    /// The types of the results.
    ///
    /// # Errors
    /// What is wrong with operands or attributes.
    fn infer(&self, cx: &InferCx<'_>) -> OpResult<Inferred>;
}
