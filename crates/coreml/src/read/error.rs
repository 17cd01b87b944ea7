//! Failures of the package reader as diagnostics.

use std::io;

use mlc_diag::{Code, Diagnostic, Diagnostics, codes};

use crate::package::PackageReadError;

/// What the user sees of a package that cannot be read.
pub(super) fn package(error: &PackageReadError) -> Diagnostics {
    Diagnostic::new(code(error), error.to_string()).into()
}

fn code(error: &PackageReadError) -> Code {
    match error {
        PackageReadError::NotDirectory { .. } => codes::UNKNOWN_FORMAT,
        PackageReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            codes::FILE_NOT_FOUND
        }
        PackageReadError::TooLarge { .. } => codes::RESOURCE_LIMIT,
        PackageReadError::ModelKind { .. } => codes::UNSUPPORTED_SCHEMA,
        PackageReadError::Io { .. }
        | PackageReadError::Manifest { .. }
        | PackageReadError::Path { .. }
        | PackageReadError::Wire { .. }
        | PackageReadError::Decode { .. }
        | PackageReadError::NoBody { .. } => codes::CORRUPT_PACKAGE,
    }
}
