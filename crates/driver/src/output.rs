//! Files that appear whole or not at all.

use std::io::{self, Write};
use std::path::Path;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use tempfile::{Builder, NamedTempFile};

use crate::input::file_problem;

/// Writes `bytes` to `path` by way of a file beside it. `-` is stdout.
///
/// # Errors
/// Something is there and `force` is false, the folder cannot be written, or the disk is full.
pub fn write_text(path: &Path, bytes: &[u8], force: bool) -> Result<(), Diagnostics> {
    let failed = |error: io::Error| Diagnostics::from(not_writable(path, &error));
    if path == Path::new("-") {
        let mut out = io::stdout().lock();
        return match out.write_all(bytes).and_then(|()| out.flush()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(failed),
        };
    }
    check_output(path, force)?;
    let mut file = temporary(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// Finds out early whether `path` can be written, before work is spent.
///
/// # Errors
/// Something is there and `force` is false, or its folder does not exist or takes no files.
pub fn check_output(path: &Path, force: bool) -> Result<(), Diagnostics> {
    if path == Path::new("-") {
        return Ok(());
    }
    if path.symlink_metadata().is_ok() && !force {
        return Err(file_problem(codes::OUTPUT_EXISTS, path, "something is there already")
            .help("choose another name, or replace it with `--force`")
            .fix("--force")
            .into());
    }
    temporary(path).map(drop).map_err(|error| not_writable(path, &error).into())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".mlc-");
    // Temporary files are private by default; this one becomes an output like any other.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder_of(path))
}

/// Why nothing can be written to `path`, in words of the path that was asked for.
fn not_writable(path: &Path, error: &io::Error) -> Diagnostic {
    let folder = folder_of(path).display();
    let place = "make the folder, or choose another place with `-o`";
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            file_problem(codes::DISK_FULL, path, "no space is left")
        }
        io::ErrorKind::NotFound => {
            let message = format!("the folder `{folder}` does not exist");
            file_problem(codes::NOT_WRITABLE, path, message).help(place)
        }
        io::ErrorKind::NotADirectory => {
            let message = format!("`{folder}` is no folder");
            file_problem(codes::NOT_WRITABLE, path, message).help("choose another place with `-o`")
        }
        io::ErrorKind::PermissionDenied => {
            let message = format!("the folder `{folder}` takes no new files");
            file_problem(codes::NOT_WRITABLE, path, message)
                .note(error.kind().to_string())
                .help("change its permissions, or choose another place with `-o`")
        }
        kind => file_problem(codes::NOT_WRITABLE, path, format!("cannot be written: {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_replaced_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mlc");
        write_text(&path, b"one", false).unwrap();
        let refused = write_text(&path, b"two", false).unwrap_err();
        assert_eq!(refused.items()[0].code, codes::OUTPUT_EXISTS);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write_text(&path, b"two", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn reasons_name_the_folder_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        for (path, reason) in [
            (folder.path().join("none/a.mlc"), "does not exist"),
            (file.join("a.mlc"), "is no folder"),
        ] {
            let found = check_output(&path, false).unwrap_err();
            let found = &found.items()[0];
            assert_eq!(found.code, codes::NOT_WRITABLE);
            assert!(found.message.contains(reason), "{}", found.message);
            assert!(!found.message.contains(".mlc-"), "{}", found.message);
        }
    }
}
