//! What a pass is.

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::{OpError, Program};
use mlc_tensor::TensorError;

use crate::cx::PassCx;

/// Where in a pipeline a pass may stand. A pass never follows one of a later phase, except that
/// [`Phase::Any`] stands anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Anywhere.
    Any,
    /// One spelling for each meaning.
    Canonical,
    /// Fewer or cheaper ops.
    Optimize,
    /// Which float type computes what.
    Precision,
    /// Smaller weights.
    Compress,
    /// What the target takes.
    Legalize,
}

impl Phase {
    /// The name in listings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Canonical => "canonical",
            Self::Optimize => "optimize",
            Self::Precision => "precision",
            Self::Compress => "compress",
            Self::Legalize => "legalize",
        }
    }
}

/// Something that holds of a program, named in kebab-case, such as `core-dtypes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Property(pub &'static str);

/// Whether a pass changed the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The program is as it was, locations included.
    No,
    /// It is not.
    Yes,
}

impl Changed {
    /// `Yes` if one of the two is.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self == Self::Yes { self } else { other }
    }
}

impl From<bool> for Changed {
    fn from(changed: bool) -> Self {
        if changed { Self::Yes } else { Self::No }
    }
}

/// What a pass does to the numbers of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numerics {
    /// Results stay the same but for rounding within the types they had.
    Same,
    /// Results are computed in narrower types.
    Narrower,
    /// Results are those of other weights, which are near: only that they are finite can be told.
    Lossy,
}

/// Why a pass gave up: everything it found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.items().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct PassError(pub Diagnostics);

impl From<Diagnostics> for PassError {
    fn from(all: Diagnostics) -> Self {
        Self(all)
    }
}

impl From<Diagnostic> for PassError {
    fn from(one: Diagnostic) -> Self {
        Self(one.into())
    }
}

impl From<OpError> for PassError {
    /// A pass built an op whose types do not fit: its fault.
    fn from(error: OpError) -> Self {
        Diagnostic::new(codes::INTERNAL, format!("a pass built an op that does not fit: {error}"))
            .into()
    }
}

impl From<TensorError> for PassError {
    fn from(error: TensorError) -> Self {
        Diagnostic::new(
            codes::INTERNAL,
            format!("a pass made a constant that does not fit: {error}"),
        )
        .into()
    }
}

/// Result of a pass and its parts.
pub type Result<T, E = PassError> = std::result::Result<T, E>;

/// A change of programs, named and with typed options.
///
/// The type of a pass is its options: it is made from the text between the braces of the pipeline
/// through `serde`, so it derives `Default`, `Serialize` and `Deserialize` with
/// `#[serde(default, deny_unknown_fields)]`.
pub trait Pass {
    /// Its name in pipelines, in kebab-case.
    fn name(&self) -> &'static str;

    /// Where in a pipeline it may stand.
    fn phase(&self) -> Phase;

    /// Properties that must not be established after it: where a pipeline has a pass that
    /// establishes one, that pass comes first.
    fn requires(&self) -> &'static [Property] {
        &[]
    }

    /// Properties that hold after it.
    fn establishes(&self) -> &'static [Property] {
        &[]
    }

    /// What it does to the numbers.
    fn numerics(&self) -> Numerics {
        Numerics::Same
    }

    /// Whether a program may not be emitted without it. It runs whatever `--bisect-limit` says and
    /// is not counted there.
    fn is_required(&self) -> bool {
        false
    }

    /// Whether ops without users go after it; no for the one that makes ops nobody uses.
    fn cleans(&self) -> bool {
        true
    }

    /// Changes the functions that `cx` names.
    ///
    /// # Errors
    /// Everything that keeps the pass from its goal. The program is then incomplete.
    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed>;
}
