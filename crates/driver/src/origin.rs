//! What a source is made of, and its digest.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use mlc_diag::{Diagnostics, codes};
use mlc_tensor::MappedFile;

use crate::input::file_problem;

/// Bytes that are hashed at a time.
const WINDOW: usize = 2 << 20;

/// The bytes of a source, for its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Text that was read, by its digest.
    Text(String),
    /// A file that is only mapped.
    File(PathBuf),
}

impl Origin {
    /// BLAKE3 digest in hexadecimal.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn digest(&self) -> Result<String, Diagnostics> {
        match self {
            Self::Text(digest) => Ok(digest.clone()),
            Self::File(path) => digest_of(path, &Wish { hurry: true.into(), ..Wish::default() }),
        }
    }

    /// Begins to make the digest beside other work, where there is a core for it.
    pub(crate) fn start_digest(&self) -> Digesting {
        let wish = Arc::new(Wish::default());
        let spare = rayon::current_num_threads() > 1;
        let work = match self {
            Self::File(path) if spare => {
                let (path, wish) = (path.clone(), Arc::clone(&wish));
                thread::Builder::new().spawn(move || digest_of(&path, &wish)).ok()
            }
            _ => None,
        };
        Digesting { origin: self.clone(), work, wish }
    }
}

/// A digest in the making. Dropping it ends the work.
pub(crate) struct Digesting {
    origin: Origin,
    work: Option<JoinHandle<Result<String, Diagnostics>>>,
    wish: Arc<Wish>,
}

/// How a digest is made.
#[derive(Debug, Default)]
struct Wish {
    /// Not any more.
    stop: AtomicBool,
    /// On all cores, as somebody waits for it.
    hurry: AtomicBool,
}

impl Digesting {
    /// Waits for the digest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn finish(mut self) -> Result<String, Diagnostics> {
        self.wish.hurry.store(true, Ordering::Relaxed);
        match self.work.take().map(JoinHandle::join) {
            Some(Ok(digest)) => digest,
            _ => self.origin.digest(),
        }
    }
}

impl Drop for Digesting {
    fn drop(&mut self) {
        self.wish.stop.store(true, Ordering::Relaxed);
    }
}

/// BLAKE3 digest of a file, in windows; of what was read by then if it is to stop.
fn digest_of(path: &Path, wish: &Wish) -> Result<String, Diagnostics> {
    let failed = |e| file_problem(codes::FILE_NOT_FOUND, path, format!("cannot be read: {e}"));
    let file = MappedFile::open_large(path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let len = usize::try_from(file.len()).unwrap_or(usize::MAX);
    // With two cores the other one is at work already.
    let spare = rayon::current_num_threads() > 2;
    for start in (0..len).step_by(WINDOW) {
        if wish.stop.load(Ordering::Relaxed) {
            break;
        }
        let window = start..len.min(start + WINDOW);
        let bytes = file.range(window.clone()).map_err(failed)?;
        match spare || wish.hurry.load(Ordering::Relaxed) {
            true => hasher.update_rayon(&bytes),
            false => hasher.update(&bytes),
        };
        file.release(window);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let bytes: Vec<u8> = (0..WINDOW * 2 + 5).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let want = blake3::hash(&bytes).to_hex().to_string();
        let origin = Origin::File(path);
        assert_eq!(origin.digest().unwrap(), want);
        assert_eq!(origin.start_digest().finish().unwrap(), want);
        drop(origin.start_digest());
        let missing = Origin::File(folder.path().join("b"));
        assert!(missing.start_digest().finish().is_err());
        assert_eq!(Origin::Text("x".into()).start_digest().finish().unwrap(), "x");
    }
}
