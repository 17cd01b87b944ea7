//! Files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use mlc_diag::{Diagnostics, codes};

use crate::input::file_problem;

/// Writes `bytes` to `path` by way of a file beside it. `-` is stdout.
///
/// # Errors
/// Something is there and `force` is false, or the folder cannot be written.
pub fn write_text(path: &Path, bytes: &[u8], force: bool) -> Result<(), Diagnostics> {
    let failed = |error: std::io::Error| file_problem(codes::NOT_WRITABLE, path, error.to_string());
    if path == Path::new("-") {
        let mut out = std::io::stdout().lock();
        return match out.write_all(bytes).and_then(|()| out.flush()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|e| failed(e).into()),
        };
    }
    if path.exists() && !force {
        return Err(exists(path));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new().prefix(".mlc-").tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// The refusal to write over something.
pub(crate) fn exists(path: &Path) -> Diagnostics {
    file_problem(codes::OUTPUT_EXISTS, path, "something is there already")
        .help("choose another name, or replace it with `--force`")
        .fix("--force")
        .into()
}

/// Finds out early whether `path` can be written, before work is spent.
///
/// # Errors
/// Something is there and `force` is false, or its folder does not exist or takes no files.
pub(crate) fn check(path: &Path, force: bool) -> Result<(), Diagnostics> {
    if path == Path::new("-") {
        return Ok(());
    }
    if path.symlink_metadata().is_ok() && !force {
        return Err(exists(path));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".mlc-")
        .tempfile_in(folder)
        .map(drop)
        .map_err(|e| file_problem(codes::NOT_WRITABLE, path, e.to_string()).into())
}
