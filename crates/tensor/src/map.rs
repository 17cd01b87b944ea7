//! Files mapped into memory, or read in windows where there is no address space for that.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A read-only file. Equality, order and hash go by path.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    len: u64,
    access: Access,
}

#[derive(Debug)]
enum Access {
    Empty,
    Mapped(memmap2::Mmap),
    /// By reading at positions.
    #[cfg(unix)]
    Read(File),
}

impl MappedFile {
    /// Maps the file at `path`. All its bytes are at hand.
    ///
    /// # Errors
    /// The file cannot be opened or mapped, or is not a regular file.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        let (file, len) = regular(path)?;
        let access = if len == 0 { Access::Empty } else { Access::Mapped(map(&file)?) };
        Ok(Arc::new(Self { path: path.to_path_buf(), len, access }))
    }

    /// Maps the file at `path`, or keeps it open for reading where it does not fit into the address space
    /// that the process may use. [`MappedFile::range`] works either way.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a regular file.
    pub fn open_large(path: &Path) -> io::Result<Arc<Self>> {
        let mapped = Self::open(path);
        #[cfg(unix)]
        if mapped.is_err() {
            let (file, len) = regular(path)?;
            return Ok(Arc::new(Self {
                path: path.to_path_buf(),
                len,
                access: Access::Read(file),
            }));
        }
        mapped
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether [`MappedFile::bytes`] has all bytes.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        self.bytes().len() as u64 == self.len
    }

    /// Some of the bytes; borrowed if the file is mapped.
    ///
    /// # Errors
    /// They do not lie within the file, or cannot be read.
    pub fn range(&self, range: Range<usize>) -> io::Result<Cow<'_, [u8]>> {
        if self.is_mapped() {
            let outside = || io::Error::from(io::ErrorKind::UnexpectedEof);
            return self.bytes().get(range).map(Cow::Borrowed).ok_or_else(outside);
        }
        if range.start > range.end || range.end as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut out = vec![0; range.len()];
        self.read_at(range.start, &mut out)?;
        Ok(Cow::Owned(out))
    }

    /// Copies the bytes from `start` on, as many as `out` holds.
    ///
    /// # Errors
    /// They do not lie within the file, or cannot be read.
    pub fn read_at(&self, start: usize, out: &mut [u8]) -> io::Result<()> {
        #[cfg(unix)]
        if let Access::Read(file) = &self.access {
            return std::os::unix::fs::FileExt::read_exact_at(file, out, start as u64);
        }
        let end = start.checked_add(out.len());
        let bytes = end.and_then(|end| self.bytes().get(start..end));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
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
        if let Access::Mapped(map) = &self.access
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

    /// All bytes of the file if it is mapped, as one from [`MappedFile::open`] is; else none.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.access {
            Access::Mapped(map) => map,
            _ => &[],
        }
    }
}

/// An open file, and its size.
fn regular(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((file, metadata.len()))
}

fn map(file: &File) -> io::Result<memmap2::Mmap> {
    #[expect(unsafe_code, reason = "mapping a file is how weights stay out of memory")]
    // SAFETY: the map is read-only. As with every mapped input, the file must not be
    // truncated by another process while it is read; the operating system then ends us.
    unsafe {
        memmap2::Mmap::map(file)
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_mapped_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"0123456789").unwrap();
        let (file, len) = regular(&path).unwrap();
        let read = MappedFile { path: path.clone(), len, access: Access::Read(file) };
        let mapped = MappedFile::open_large(&path).unwrap();
        assert!(mapped.is_mapped() && !read.is_mapped());
        for file in [&read, &*mapped] {
            assert_eq!(&*file.range(2..5).unwrap(), b"234");
            assert_eq!(file.len(), 10);
            assert!(file.range(8..11).is_err() && file.range(11..12).is_err());
        }
    }
}
