//! Writing a weight file as a stream, one payload at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Seek, SeekFrom, Write};

use thiserror::Error;

use super::format::{ALIGNMENT, RawRecord, SENTINEL, header};
use super::spec::BlobSpec;

/// A weight file could not be written.
#[derive(Debug, Error)]
pub enum BlobWriteError {
    /// The file, or the source of a payload, failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A payload was shorter than declared.
    #[error("payload of {declared} bytes declared, {written} bytes written")]
    TooShort {
        /// Bytes of the spec.
        declared: u64,
        /// Bytes that came.
        written: u64,
    },
    /// A payload was longer than declared.
    #[error("payload of {declared} bytes declared, more written")]
    TooLong {
        /// Bytes of the spec.
        declared: u64,
    },
    /// More than 2^32 - 1 blobs or more than 2^64 bytes.
    #[error("a weight file cannot hold that many blobs or bytes")]
    Full,
    /// An earlier payload failed half-way; the file is of no use any more.
    #[error("an earlier blob was left incomplete")]
    Incomplete,
}

/// BLAKE3 digest of a payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobDigest([u8; 32]);

impl BlobDigest {
    /// The digest of these bytes.
    pub fn of(payload: &[u8]) -> Self {
        Self(*blake3::hash(payload).as_bytes())
    }

    /// A digest that was computed elsewhere.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// All 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 hex digits, for people.
    pub fn short(&self) -> String {
        self.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The first 16 hex digits.
impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.short())
    }
}

impl fmt::Debug for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobDigest({self})")
    }
}

/// Writes a weight file to `inner`, which must be empty and at its beginning.
///
/// Every payload is streamed and hashed as it is written. Equal payloads of one type can be stored once:
/// see [`append_unique`](Self::append_unique). The file is complete only after [`finish`](Self::finish).
pub struct BlobWriter<W> {
    inner: W,
    position: u64,
    count: u32,
    known: BTreeMap<(BlobSpec, BlobDigest), u64>,
    content: blake3::Hasher,
    incomplete: bool,
}

/// A complete weight file.
#[derive(Debug)]
pub struct FinishedBlobs<W> {
    /// The sink, flushed.
    pub inner: W,
    /// Number of blobs.
    pub count: u32,
    /// Size of the file in bytes; what the sink holds beyond them is to be cut off.
    pub byte_len: u64,
    /// Digest over type, size, position and digest of all blobs in file order.
    pub digest: BlobDigest,
}

impl<W> fmt::Debug for BlobWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter")
            .field("position", &self.position)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<W: Write + Seek + Send> BlobWriter<W> {
    /// Starts a file without blobs.
    ///
    /// # Errors
    /// The header cannot be written.
    pub fn new(mut inner: W) -> Result<Self, BlobWriteError> {
        inner.write_all(&header(0))?;
        Ok(Self {
            inner,
            position: ALIGNMENT,
            count: 0,
            known: BTreeMap::new(),
            content: blake3::Hasher::new(),
            incomplete: false,
        })
    }

    /// Number of blobs so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Stores a blob, even if there is an equal one. Returns the position of its record, by which a
    /// model names it.
    ///
    /// # Errors
    /// Writing fails, or `fill` fails or does not write exactly the bytes of `spec`. The file is then
    /// incomplete, and every later call returns [`BlobWriteError::Incomplete`].
    pub fn append(
        &mut self,
        spec: BlobSpec,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<u64, BlobWriteError> {
        self.start()?;
        let (offset, _) = self.store(spec, fill)?;
        self.incomplete = false;
        Ok(offset)
    }

    /// Stores a blob unless one with the same type and content is there. Returns the position of the
    /// record that holds the content, and whether it is new. The payload is written before that is
    /// known, and overwritten by the next one if it was there already.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_unique(
        &mut self,
        spec: BlobSpec,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(u64, bool), BlobWriteError> {
        self.start()?;
        let before = (self.position, self.count, self.content.clone());
        let (offset, digest) = self.store(spec, fill)?;
        let first = *self.known.get(&(spec, digest)).unwrap_or(&offset);
        if first != offset {
            (self.position, self.count, self.content) = before;
            self.inner.seek(SeekFrom::Start(self.position))?;
        }
        self.incomplete = false;
        Ok((first, first == offset))
    }

    /// Writes the final count into the header and flushes.
    ///
    /// # Errors
    /// Writing fails, or an earlier blob is incomplete.
    pub fn finish(mut self) -> Result<FinishedBlobs<W>, BlobWriteError> {
        self.start()?;
        self.inner.seek(SeekFrom::Start(0))?;
        self.inner.write_all(&header(self.count))?;
        self.inner.seek(SeekFrom::Start(self.position))?;
        self.inner.flush()?;
        let digest = BlobDigest(*self.content.finalize().as_bytes());
        let byte_len = self.position;
        Ok(FinishedBlobs { inner: self.inner, count: self.count, byte_len, digest })
    }

    /// Marks the file incomplete until the caller has succeeded.
    fn start(&mut self) -> Result<(), BlobWriteError> {
        if std::mem::replace(&mut self.incomplete, true) {
            return Err(BlobWriteError::Incomplete);
        }
        Ok(())
    }

    fn store(
        &mut self,
        spec: BlobSpec,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(u64, BlobDigest), BlobWriteError> {
        let full = || BlobWriteError::Full;
        let count = self.count.checked_add(1).ok_or_else(full)?;
        let offset = self.position.checked_next_multiple_of(ALIGNMENT).ok_or_else(full)?;
        let payload = offset.checked_add(ALIGNMENT).ok_or_else(full)?;
        let end = payload.checked_add(spec.byte_len()).ok_or_else(full)?;
        let gap = usize::try_from(offset - self.position).map_err(|_| full())?;
        let record = RawRecord {
            sentinel: SENTINEL,
            code: spec.dtype().blob_code().expect("a spec is made of types with a code"),
            byte_len: spec.byte_len(),
            payload,
            padding_bits: u64::from(spec.padding_bits()),
        };
        self.inner.write_all(&[0; ALIGNMENT as usize][..gap])?;
        self.inner.write_all(&record.to_bytes())?;
        let digest = Metered::new(&mut self.inner, spec.byte_len()).run(fill)?;
        self.content.update(&record.to_bytes());
        self.content.update(digest.as_bytes());
        self.position = end;
        self.count = count;
        self.known.entry((spec, digest)).or_insert(offset);
        Ok((offset, digest))
    }
}

/// Bytes from which on hashing is given to other threads, where there are more than the one that makes the
/// next bytes.
const PARALLEL: usize = 1 << 18;

/// Passes at most `left` bytes on and hashes them at the same time.
struct Metered<W> {
    inner: W,
    declared: u64,
    left: u64,
    overrun: bool,
    hasher: blake3::Hasher,
}

impl<W: Write + Send> Metered<W> {
    fn new(inner: W, declared: u64) -> Self {
        Self { inner, declared, left: declared, overrun: false, hasher: blake3::Hasher::new() }
    }

    fn run(
        mut self,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<BlobDigest, BlobWriteError> {
        let outcome = fill(&mut self);
        let declared = self.declared;
        if self.overrun {
            return Err(BlobWriteError::TooLong { declared });
        }
        outcome?;
        match self.left {
            0 => Ok(BlobDigest(*self.hasher.finalize().as_bytes())),
            left => Err(BlobWriteError::TooShort { declared, written: declared - left }),
        }
    }
}

impl<W: Write + Send> Write for Metered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            self.overrun = true;
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more bytes than declared"));
        }
        let Self { inner, hasher, .. } = self;
        if bytes.len() < PARALLEL || rayon::current_num_threads() <= 2 {
            inner.write_all(bytes)?;
            hasher.update(bytes);
        } else {
            rayon::in_place_scope(|scope| {
                scope.spawn(|_| {
                    hasher.update_rayon(bytes);
                });
                inner.write_all(bytes)
            })?;
        }
        self.left -= bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
