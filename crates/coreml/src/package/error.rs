//! What can go wrong with a package.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::blob::BlobWriteError;
use crate::wire::WireError;

/// A package could not be written. At the goal is what was there before, except for
/// [`NotRestored`](Self::NotRestored).
#[derive(Debug, Error)]
pub enum PackageWriteError {
    /// The name does not end in `.mlpackage`.
    #[error("{} does not end in .mlpackage", path.display())]
    Suffix {
        /// The goal.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("{} exists already", path.display())]
    OutputExists {
        /// The goal.
        path: PathBuf,
    },
    /// The directory that is to hold the package does not exist.
    #[error("the directory {} does not exist", path.display())]
    MissingDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk or the quota is full.
    #[error("no space left for {}: {source}", path.display())]
    DiskFull {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The package that was to be replaced could not be put back after a failure.
    #[error("the previous package is now at {}: {source}", path.display())]
    NotRestored {
        /// Where it is.
        path: PathBuf,
        /// Why it could not be moved back.
        source: io::Error,
    },
    /// Any other failure of the file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A weight file has no plain file name, or two have the same.
    #[error("`{name}` cannot be the name of a weight file here")]
    WeightName {
        /// The name.
        name: String,
    },
    /// A weight file is not sound.
    #[error("{}: {source}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BlobWriteError,
    },
    /// The manifest cannot be encoded.
    #[error("manifest: {0}")]
    Manifest(#[from] serde_json::Error),
}

impl PackageWriteError {
    /// Sorts an answer of the system by what its reader can do about it.
    pub fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { path, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source }
            }
            _ => Self::Io { path, source },
        }
    }

    /// As [`from_io`](Self::from_io), for a failure while `path` was filled with blobs.
    pub fn from_blob(path: &Path, source: BlobWriteError) -> Self {
        match source {
            BlobWriteError::Io(source) => Self::from_io(path, source),
            source => Self::Weights { path: path.to_path_buf(), source },
        }
    }
}

/// A package could not be read.
#[derive(Debug, Error)]
pub enum PackageReadError {
    /// The path is no directory.
    #[error("{} is no directory, a package is one", path.display())]
    NotDirectory {
        /// The path.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is larger than the limit.
    #[error("{} has {byte_len} bytes, the limit is {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        byte_len: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The manifest is not valid.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },
    /// A path in the package is not acceptable.
    #[error("path `{path}` {source}")]
    Path {
        /// The path as it stands in the package.
        path: String,
        /// What is wrong.
        source: PathError,
    },
    /// The model file is not a model.
    #[error("{}: {source}", path.display())]
    Wire {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: WireError,
    },
    /// The model file is not a model.
    #[error("{}: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: prost::DecodeError,
    },
    /// The model is of a kind this compiler does not know.
    #[error(
        "the model is a {kind} (field {number}); only ML Programs and pipelines of them are supported"
    )]
    ModelKind {
        /// Name of the kind.
        kind: &'static str,
        /// Field of the model message that holds it.
        number: u32,
    },
    /// The model has no body.
    #[error("{} has no body, neither an ML Program nor a pipeline", path.display())]
    NoBody {
        /// The file.
        path: PathBuf,
    },
}

impl PackageReadError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
}

/// A path in a package that is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathError {
    /// Absolute, empty, or with `..`, `.` or a backslash.
    #[error("must be relative and stay inside the package")]
    NotPlain,
    /// A symbolic link leads out of the package.
    #[error("leads out of the package by a symbolic link")]
    Escapes,
    /// Nothing is there.
    #[error("does not exist in the package")]
    Missing,
    /// A weight file path does not begin with `@model_path/`.
    #[error("must begin with `@model_path/`")]
    NoModelPath,
    /// The root model or a weight file is no regular file.
    #[error("is no file")]
    NotFile,
}

/// A manifest that is not valid.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not JSON, or a key is missing or of another type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The version is not three numbers.
    #[error("fileFormatVersion `{version}` is not three numbers")]
    VersionSyntax {
        /// As in the manifest.
        version: String,
    },
    /// The version is newer than 1.0.0.
    #[error("fileFormatVersion {version} is newer than 1.0.0, the newest that is supported")]
    VersionTooNew {
        /// As in the manifest.
        version: String,
    },
    /// The root model is not among the items.
    #[error("rootModelIdentifier `{id}` is not among the items")]
    NoRoot {
        /// As in the manifest.
        id: String,
    },
    /// Two items have the same author and name.
    #[error("two items are called `{name}` of `{author}`")]
    Duplicate {
        /// Author of both.
        author: String,
        /// Name of both.
        name: String,
    },
}
