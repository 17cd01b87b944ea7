//! Paths inside a package.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::error::{PackageReadError, PathError};

pub(super) const DATA: &str = "Data";
pub(super) const AUTHOR: &str = "com.apple.CoreML";
pub(super) const MODEL: &str = "model.mlmodel";
pub(super) const WEIGHTS: &str = "weights";
pub(super) const MANIFEST: &str = "Manifest.json";
pub(super) const MODEL_PATH: &str = "@model_path/";

/// The file or directory `relative` under `base`. `root` is the package; both are canonical.
pub(super) fn resolve(
    root: &Path,
    base: &Path,
    relative: &str,
) -> Result<PathBuf, PackageReadError> {
    let fail = |source| PackageReadError::Path { path: relative.to_owned(), source };
    if !is_plain(relative) {
        return Err(fail(PathError::NotPlain));
    }
    let joined = base.join(relative);
    let found = match fs::canonicalize(&joined) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(fail(PathError::Missing));
        }
        Err(error) => return Err(PackageReadError::io(&joined, error)),
    };
    match found.starts_with(root) {
        true => Ok(found),
        false => Err(fail(PathError::Escapes)),
    }
}

/// As [`resolve`], and it is a regular file.
pub(super) fn resolve_file(
    root: &Path,
    base: &Path,
    relative: &str,
) -> Result<PathBuf, PackageReadError> {
    let found = resolve(root, base, relative)?;
    match found.is_file() {
        true => Ok(found),
        false => {
            let path = relative.to_owned();
            Err(PackageReadError::Path { path, source: PathError::NotFile })
        }
    }
}

/// Whether the path has only plain names, on every system.
fn is_plain(relative: &str) -> bool {
    let path = Path::new(relative);
    !relative.is_empty()
        && !relative.contains(['\\', '\0'])
        && relative.split('/').all(|name| name != ".")
        && path.components().all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_pass() {
        for path in ["a", "a/b", "com.apple.CoreML/model.mlmodel", "a..b", "a b"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["", "/a", "..", "a/../b", "a/..", "./a", "a/./b", "a\\b", "a\0b", "//a"] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
