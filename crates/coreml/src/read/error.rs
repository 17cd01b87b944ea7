//! Failures of the package reader as diagnostics.

use std::io;

use mlc_diag::{Code, Diagnostic, Diagnostics, codes};

use crate::package::{PackageReadError, PathError};

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
        PackageReadError::Path { source: PathError::Missing, .. } => codes::FILE_NOT_FOUND,
        PackageReadError::Manifest { .. } => codes::CORRUPT_MANIFEST,
        PackageReadError::Wire { .. } | PackageReadError::Decode { .. } => codes::CORRUPT_PROTOBUF,
        PackageReadError::Io { .. }
        | PackageReadError::Path { .. }
        | PackageReadError::NoBody { .. } => codes::CORRUPT_PACKAGE,
    }
}
