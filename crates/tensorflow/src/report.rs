//! Diagnostics of this frontend.

use mlc_diag::{Diagnostic, Loc, codes};

use crate::checkpoint::CheckpointError;

/// The place of a node: its path through the functions, and its op.
pub(crate) fn node_loc(path: &str, op: &str) -> Loc {
    let some = |text: &str| (!text.is_empty()).then(|| text.into());
    Loc { module: some(path), origin: some(op), ..Loc::unknown() }
}

/// What is said of a checkpoint that cannot be used.
pub(crate) fn checkpoint(error: &CheckpointError) -> Diagnostic {
    let code = match error {
        CheckpointError::DType { .. } => codes::UNSUPPORTED_DTYPE,
        _ => codes::CORRUPT_WEIGHTS,
    };
    let diagnostic = Diagnostic::new(code, error.to_string());
    match error {
        CheckpointError::DType { .. } => diagnostic,
        CheckpointError::File { .. } => diagnostic
            .help("the `variables` folder of a SavedModel holds the index and every shard"),
        _ => diagnostic
            .help("compare the files with their originals; one may have been cut off in transfer"),
    }
}
