//! Failures of the package writer as diagnostics.

use mlc_diag::{Code, Diagnostic, Diagnostics, codes};

use crate::package::PackageWriteError;

/// What the user sees of a package that cannot be written.
pub(crate) fn package(error: &PackageWriteError) -> Diagnostics {
    let mut diagnostic = Diagnostic::new(code(error), error.to_string());
    match error {
        PackageWriteError::OutputExists { .. } => {
            diagnostic = diagnostic.help("choose another name, or `--force`").fix("--force");
        }
        PackageWriteError::Suffix { .. } => {
            diagnostic = diagnostic.help("name the output `NAME.mlpackage`");
        }
        _ => {}
    }
    diagnostic.into()
}

fn code(error: &PackageWriteError) -> Code {
    match error {
        PackageWriteError::Suffix { .. } => codes::BAD_ARGUMENT,
        PackageWriteError::OutputExists { .. } => codes::OUTPUT_EXISTS,
        PackageWriteError::MissingDirectory { .. }
        | PackageWriteError::NotWritable { .. }
        | PackageWriteError::NotRestored { .. }
        | PackageWriteError::Io { .. } => codes::NOT_WRITABLE,
        PackageWriteError::DiskFull { .. } => codes::DISK_FULL,
        PackageWriteError::WeightName { .. }
        | PackageWriteError::Weights { .. }
        | PackageWriteError::Manifest(_) => codes::INTERNAL,
    }
}
