//! Files mapped into memory.

use std::cmp::Ordering;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A read-only mapped file. Equality, order and hash go by path.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    map: Option<memmap2::Mmap>,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// The file cannot be opened or mapped, or is not a regular file.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let map = if metadata.len() == 0 {
            None
        } else {
            #[expect(unsafe_code, reason = "mapping a file is how weights stay out of memory")]
            // SAFETY: the map is read-only. As with every mapped input, the file must not be
            // truncated by another process while it is read; the operating system then ends us.
            Some(unsafe { memmap2::Mmap::map(&file)? })
        };
        Ok(Arc::new(Self { path: path.to_path_buf(), map }))
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives back the memory that bytes take which were read; reading them again reads the file again.
    /// It changes no byte, and where the system has no such thing it does nothing.
    pub fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Some(map) = &self.map
            && range.start < range.end
            && range.end <= map.len()
        {
            #[expect(unsafe_code, reason = "the call is unsafe for maps that were written to")]
            // SAFETY: the map is read-only and backed by the file, so that dropped pages come back
            // with the same bytes.
            let advised = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.end - range.start,
                )
            };
            // It is advice: without it the pages stay.
            drop(advised);
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// All bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&[])
    }
}

impl PartialEq for MappedFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for MappedFile {}

impl PartialOrd for MappedFile {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MappedFile {
    fn cmp(&self, other: &Self) -> Ordering {
        self.path.cmp(&other.path)
    }
}

impl Hash for MappedFile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.hash(state);
    }
}
