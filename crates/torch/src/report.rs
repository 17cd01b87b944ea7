//! Collects what is wrong with a file.

use std::sync::Arc;

use mlc_diag::{Code, Diagnostic, Diagnostics, Loc, Place, codes};

use crate::archive::ArchiveError;
use crate::torch_save::WeightError;

/// Problems found so far in one file.
#[derive(Debug)]
pub(crate) struct Report {
    file: Arc<str>,
    found: Diagnostics,
}

impl Report {
    pub(crate) fn new(file: Arc<str>) -> Self {
        Self { file, found: Diagnostics::new() }
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// A problem at a part of the file.
    pub(crate) fn at_entry(&mut self, code: Code, message: impl Into<String>, entry: &str) {
        let place = self.place(entry);
        self.push(Diagnostic::new(code, message).at(place));
    }

    /// A problem of the graph at a part of the file.
    pub(crate) fn graph(&mut self, message: impl Into<String>, entry: &str) {
        self.at_entry(codes::INVALID_GRAPH, message, entry);
    }

    /// A problem of the graph at a node.
    pub(crate) fn node(&mut self, message: impl Into<String>, loc: &Loc) {
        self.push(Diagnostic::new(codes::INVALID_GRAPH, message).at_op(loc));
    }

    pub(crate) fn place(&self, entry: &str) -> Place {
        Place::Entry { file: Arc::clone(&self.file), entry: entry.into() }
    }

    /// A weight that cannot be had.
    pub(crate) fn weight(&mut self, name: &str, error: &WeightError) {
        let code = match error {
            WeightError::DType { .. } => codes::UNSUPPORTED_DTYPE,
            e if e.is_corrupt() => codes::CORRUPT_WEIGHTS,
            _ => codes::UNSUPPORTED_SIGNATURE,
        };
        let place = self.place(name);
        self.push(Diagnostic::new(code, format!("cannot read `{name}`: {error}")).at(place));
    }

    /// Whether an error is among the problems.
    pub(crate) fn has_errors(&self) -> bool {
        self.found.has_errors()
    }

    pub(crate) fn into_diagnostics(self) -> Diagnostics {
        self.found
    }
}

/// The diagnostic of an archive that cannot be opened; `file` is its name.
pub(crate) fn archive(error: &ArchiveError, file: &Arc<str>) -> Diagnostic {
    let place = Place::Entry { file: Arc::clone(file), entry: "".into() };
    let at = |code, message: String| Diagnostic::new(code, message).at(place.clone());
    match error {
        ArchiveError::Io(e) if e.kind() == std::io::ErrorKind::NotFound => {
            at(codes::FILE_NOT_FOUND, format!("there is no file `{file}`"))
        }
        ArchiveError::Io(e) => at(codes::FILE_NOT_FOUND, format!("`{file}` cannot be opened: {e}")),
        ArchiveError::NotZip { what } => {
            at(codes::UNKNOWN_FORMAT, format!("`{file}` is no file of torch.export: {what}"))
                .help("write the model with `torch.export.save`")
        }
        ArchiveError::Inflated { .. } => at(codes::RESOURCE_LIMIT, error.to_string())
            .help("write the archive anew; torch stores entries without compression"),
        other => at(codes::CORRUPT_ARCHIVE, format!("archive is damaged: {other}"))
            .help("compare the file with its original; it may have been cut off in transfer"),
    }
}
