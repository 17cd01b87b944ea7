//! Why a node could not be lowered.

use mlc_diag::{Code, Diagnostic, codes};
use mlc_ir::OpError;
use mlc_tensor::TensorError;

/// Why a node could not be lowered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct LowerError {
    /// Which kind of problem.
    pub code: Code,
    /// The values and what is wrong with them.
    pub message: String,
    /// What the user can do.
    pub help: Option<String>,
    /// Facts that explain it.
    pub notes: Vec<String>,
    /// A consequence of a problem that was reported already; not shown again.
    pub consequence: bool,
}

/// Result of lowering.
pub type LowerResult<T> = Result<T, LowerError>;

impl LowerError {
    /// A problem of `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, notes: Vec::new(), consequence: false }
    }

    /// An argument, or a combination of arguments, without an exact lowering.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(codes::UNSUPPORTED_ARGUMENT, message)
    }

    /// An element type without an exact lowering.
    pub fn dtype(message: impl Into<String>) -> Self {
        Self::new(codes::UNSUPPORTED_DTYPE, message)
    }

    /// Something that needs an extent to be known.
    pub fn dynamic(message: impl Into<String>) -> Self {
        Self::new(codes::DYNAMIC_SHAPE, message)
    }

    /// A graph that torch would not have written.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(codes::INVALID_GRAPH, message)
    }

    /// Something that cannot be lowered because what it needs could not be.
    #[must_use]
    pub fn consequence() -> Self {
        Self { consequence: true, ..Self::new(codes::INTERNAL, "an operand could not be lowered") }
    }

    /// Sets what the user can do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// As a diagnostic; `origin` is the op of the source.
    pub(crate) fn into_diagnostic(self, origin: &str) -> Diagnostic {
        let message = match self.code {
            codes::UNSUPPORTED_OP => self.message,
            _ => format!("`{origin}`: {}", self.message),
        };
        let mut diagnostic = Diagnostic::new(self.code, message);
        diagnostic.notes = self.notes;
        match self.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }
}

impl From<OpError> for LowerError {
    fn from(error: OpError) -> Self {
        Self::new(error.code, error.message)
    }
}

impl From<TensorError> for LowerError {
    fn from(error: TensorError) -> Self {
        Self::new(codes::CORRUPT_WEIGHTS, error.to_string())
    }
}
