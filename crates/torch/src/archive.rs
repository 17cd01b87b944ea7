//! PyTorch's zip archives as ranges of a mapped file.
//!
//! Entries that are stored are ranges of the file and cost nothing; deflated ones are inflated into
//! memory when asked for, within a budget that the size of the outermost file sets. An archive may
//! lie inside another one: its ranges are then ranges of the outer file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlc_tensor::{DType, MappedFile, Tensor, TensorError};
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

/// Inflated bytes an archive may ask for, as a multiple of the outermost file's size.
const INFLATE_RATIO: u64 = 64;
/// Greatest size of one inflated entry.
const INFLATE_ENTRY: u64 = 256 << 20;

/// What can be wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be opened or mapped.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The zip structure is broken.
    #[error("{reason}")]
    Zip {
        /// What the zip reader found.
        reason: String,
    },
    /// There is no zip archive.
    #[error("{what}")]
    NotZip {
        /// What the file looks like instead.
        what: &'static str,
    },
    /// Two entries have one name, or share bytes.
    #[error("entries {what}")]
    Overlap {
        /// How they collide.
        what: &'static str,
    },
    /// An entry is encrypted or compressed by a method other than deflate.
    #[error("entry `{entry}` is {how}")]
    Method {
        /// Name of the entry.
        entry: String,
        /// Encryption or method.
        how: String,
    },
    /// An entry reaches beyond the file.
    #[error("entry `{entry}` reaches beyond the end of the archive")]
    OutOfFile {
        /// Name of the entry.
        entry: String,
    },
    /// Inflating would take too much memory.
    #[error("entry `{entry}` inflates to more than {limit} bytes")]
    Inflated {
        /// Name of the entry.
        entry: String,
        /// The limit it hit.
        limit: u64,
    },
    /// There is no such entry.
    #[error("there is no entry `{entry}`")]
    Missing {
        /// Name of the entry.
        entry: String,
    },
    /// An entry's bytes do not match its checksum, or cannot be inflated.
    #[error("entry `{entry}` cannot be read: {reason}")]
    Entry {
        /// Name of the entry.
        entry: String,
        /// What the zip reader found.
        reason: String,
    },
}

/// A run of bytes: a range of a mapped file, or memory.
#[derive(Debug, Clone)]
pub enum Blob {
    /// `offset..offset + len` of the file; it lies within.
    Mapped {
        /// The outermost file.
        file: Arc<MappedFile>,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
    /// Inflated bytes.
    Memory(Arc<[u8]>),
}

impl Blob {
    /// The bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bytes(&self) -> io::Result<Cow<'_, [u8]>> {
        self.part(0, self.len())
    }

    /// The bytes `at..at + len`, which lie within.
    fn part(&self, at: u64, len: u64) -> io::Result<Cow<'_, [u8]>> {
        let outside = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let range = |start: u64| -> Option<Range<usize>> {
            let (start, len) = (usize::try_from(start).ok()?, usize::try_from(len).ok()?);
            Some(start..start.checked_add(len)?)
        };
        match self {
            Self::Mapped { file, offset, .. } => {
                let start = offset.checked_add(at).ok_or_else(outside)?;
                file.range(range(start).ok_or_else(outside)?)
            }
            Self::Memory(bytes) => {
                let range = range(at).ok_or_else(outside)?;
                bytes.get(range).map(Cow::Borrowed).ok_or_else(outside)
            }
        }
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Mapped { len, .. } => *len,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes `at..at + len` of this run, if they lie within.
    fn range(&self, at: u64, len: u64) -> Option<Self> {
        if at.checked_add(len)? > self.len() {
            return None;
        }
        match self {
            Self::Mapped { file, offset, .. } => {
                Some(Self::Mapped { file: Arc::clone(file), offset: offset.checked_add(at)?, len })
            }
            Self::Memory(bytes) => {
                let (at, len) = (usize::try_from(at).ok()?, usize::try_from(len).ok()?);
                Some(Self::Memory(bytes.get(at..at.checked_add(len)?)?.into()))
            }
        }
    }

    /// All whole elements of `dtype` in these bytes, as a tensor of one axis.
    ///
    /// # Errors
    /// The dtype has no whole number of bytes.
    pub fn elements(&self, dtype: DType) -> Result<Tensor, TensorError> {
        let size = dtype.size().ok_or(TensorError::SubByte { dtype })? as u64;
        let count = self.len() / size;
        match self {
            Self::Mapped { file, offset, .. } => Tensor::mapped(file, *offset, dtype, &[count]),
            Self::Memory(bytes) => {
                let len = (count * size) as usize;
                let bytes =
                    if len == bytes.len() { Arc::clone(bytes) } else { bytes[..len].into() };
                Tensor::from_bytes(dtype, &[count], bytes)
            }
        }
    }
}

/// Reads a blob from a position on.
#[derive(Debug, Clone)]
struct Cursor {
    blob: Blob,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.blob.len().saturating_sub(self.at).min(out.len() as u64);
        let bytes = self.blob.part(self.at, n)?;
        out[..bytes.len()].copy_from_slice(&bytes);
        self.at += n;
        Ok(bytes.len())
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.blob.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    index: usize,
    /// First byte of the entry's data, relative to the archive.
    start: u64,
    /// Bytes in the archive.
    len: u64,
    deflated: bool,
}

/// What an archive is, told by the names of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// `torch.export.save` of torch 2.5 to 2.7: entries at the root.
    ExportV1,
    /// `torch.export.save` of torch 2.8 and later: entries below `prefix` (ends in `/` or is empty).
    ExportV2 {
        /// The folder all entries lie in.
        prefix: String,
    },
    /// `torch.jit.save`.
    TorchScript,
    /// `torch.save`; entries below `prefix`.
    TorchSave {
        /// The folder all entries lie in.
        prefix: String,
    },
    /// A package of compiled code or of another runtime, without an exported program.
    OtherPackage,
    /// None of these.
    Unknown,
}

/// An open archive. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Archive {
    name: Arc<str>,
    bytes: Blob,
    zip: ZipArchive<Cursor>,
    slots: Arc<BTreeMap<String, Slot>>,
    budget: Arc<AtomicU64>,
}

impl Archive {
    /// Maps the file at `path` and lists its entries.
    ///
    /// # Errors
    /// The file cannot be mapped, or is no sound zip archive.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = MappedFile::open_large(path)?;
        let len = file.len();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let budget = Arc::new(AtomicU64::new(len.saturating_mul(INFLATE_RATIO)));
        Self::list(name.into(), Blob::Mapped { file, offset: 0, len }, budget)
    }

    /// The archive that an entry of this one holds; shares the budget for inflating.
    ///
    /// # Errors
    /// There is no such entry, or it is no sound zip archive.
    pub fn nested(&self, entry: &str) -> Result<Self, ArchiveError> {
        let bytes = self.blob(entry)?;
        let name = format!("{}: {entry}", self.name);
        Self::list(name.into(), bytes, Arc::clone(&self.budget))
    }

    fn list(name: Arc<str>, bytes: Blob, budget: Arc<AtomicU64>) -> Result<Self, ArchiveError> {
        if let Some(what) = foreign(&bytes.part(0, bytes.len().min(8))?) {
            return Err(ArchiveError::NotZip { what });
        }
        let broken = |e: zip::result::ZipError| ArchiveError::Zip { reason: e.to_string() };
        // Offsets count from the first byte of the file: nothing stands before an archive of torch,
        // and a guess can be fooled by the records at its end.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let mut zip = ZipArchive::with_config(config, Cursor { blob: bytes.clone(), at: 0 })
            .map_err(broken)?;
        if zip.has_duplicate_names() {
            return Err(ArchiveError::Overlap { what: "share a name" });
        }
        if zip.has_overlapping_files().map_err(broken)? {
            return Err(ArchiveError::Overlap { what: "share bytes" });
        }
        let mut slots = BTreeMap::new();
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index).map_err(broken)?;
            let name = entry.name().map_err(broken)?.into_owned();
            let deflated = match entry.compression() {
                _ if entry.encrypted() => {
                    return Err(ArchiveError::Method { entry: name, how: "encrypted".into() });
                }
                CompressionMethod::Stored => false,
                CompressionMethod::Deflated => true,
                other => {
                    let how = format!("compressed by method `{other}`");
                    return Err(ArchiveError::Method { entry: name, how });
                }
            };
            let start = entry.data_start().unwrap_or(0);
            let len = entry.compressed_size();
            let ends = start.checked_add(len).is_some_and(|end| end <= bytes.len());
            if !ends || (!deflated && len != entry.size()) {
                return Err(ArchiveError::OutOfFile { entry: name });
            }
            slots.insert(name, Slot { index, start, len, deflated });
        }
        Ok(Self { name, bytes, zip, slots: Arc::new(slots), budget })
    }

    /// File name, followed by the entries it is nested in.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Names of all entries, sorted.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.slots.keys().map(String::as_str)
    }

    /// Whether the entry `name` says that numbers begin with their most significant byte.
    pub(crate) fn says_big_endian(&self, name: &str) -> Result<bool, ArchiveError> {
        Ok(self.contains(name) && *self.blob(name)?.bytes()? == *b"big")
    }

    /// Whether there is an entry of that name.
    #[must_use]
    pub fn contains(&self, entry: &str) -> bool {
        self.slots.contains_key(entry)
    }

    fn slot(&self, entry: &str) -> Result<Slot, ArchiveError> {
        let missing = || ArchiveError::Missing { entry: entry.to_owned() };
        self.slots.get(entry).copied().ok_or_else(missing)
    }

    /// The bytes of an entry; a range of the file when it is stored. Stored bytes are not compared
    /// with their checksum: that would read every weight.
    ///
    /// # Errors
    /// There is no such entry, or it cannot be inflated within the budget.
    pub fn blob(&self, entry: &str) -> Result<Blob, ArchiveError> {
        let slot = self.slot(entry)?;
        if slot.deflated {
            return Ok(Blob::Memory(self.extract(entry, slot)?.into()));
        }
        let outside = || ArchiveError::OutOfFile { entry: entry.to_owned() };
        self.bytes.range(slot.start, slot.len).ok_or_else(outside)
    }

    /// A copy of an entry's bytes, compared with their checksum.
    ///
    /// # Errors
    /// There is no such entry, the checksum differs, or it cannot be inflated within the budget.
    pub fn read(&self, entry: &str) -> Result<Vec<u8>, ArchiveError> {
        self.extract(entry, self.slot(entry)?)
    }

    fn extract(&self, entry: &str, slot: Slot) -> Result<Vec<u8>, ArchiveError> {
        let limit = if slot.deflated {
            INFLATE_ENTRY.min(self.budget.load(Ordering::Relaxed))
        } else {
            slot.len
        };
        let unreadable = |reason: String| ArchiveError::Entry { entry: entry.to_owned(), reason };
        let mut zip = self.zip.clone();
        let reader = zip.by_index(slot.index).map_err(|e| unreadable(e.to_string()))?;
        let mut out = Vec::new();
        let mut bounded = reader.take(limit.saturating_add(1));
        bounded.read_to_end(&mut out).map_err(|e| unreadable(e.to_string()))?;
        let len = out.len() as u64;
        if len > limit {
            return Err(ArchiveError::Inflated { entry: entry.to_owned(), limit });
        }
        if slot.deflated {
            let left = self.budget.load(Ordering::Relaxed).saturating_sub(len);
            self.budget.store(left, Ordering::Relaxed);
        }
        Ok(out)
    }

    /// What this archive is.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.contains("serialized_exported_program.json") {
            return Format::ExportV1;
        }
        let below = |marker: &str| {
            self.entries().find_map(|e| {
                let at = e.find(marker)?;
                (at == 0 || e[..at].ends_with('/') && !e[..at - 1].contains('/'))
                    .then(|| e[..at].to_owned())
            })
        };
        let program = |e: &str| e.rsplit_once("models/").is_some_and(|(_, n)| is_model_name(n));
        if let Some(prefix) = below("archive_format").or_else(|| below("models/")) {
            return if self.entries().any(program) {
                Format::ExportV2 { prefix }
            } else {
                Format::OtherPackage
            };
        }
        match below("data.pkl") {
            Some(_) if below("code/").is_some() || below("constants.pkl").is_some() => {
                Format::TorchScript
            }
            Some(prefix) => Format::TorchSave { prefix },
            None if below("data/aotinductor/").is_some() => Format::OtherPackage,
            None => Format::Unknown,
        }
    }
}

/// Whether `name` is `<model>.json` without a folder.
pub(crate) fn is_model_name(name: &str) -> bool {
    name.strip_suffix(".json").is_some_and(|stem| !stem.is_empty() && !stem.contains('/'))
}

/// Names what bytes that cannot be a zip archive look like.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [] => Some("the file is empty"),
        [b'P', b'K', ..] => None,
        [0x80, 2..=5, ..] => {
            Some("this is a bare pickle, as old versions of `torch.save` wrote it")
        }
        [0x89, b'H', b'D', b'F', ..] => Some("this is an HDF5 file"),
        [b'G', b'G', b'U', b'F', ..] => Some("this is a GGUF file"),
        _ => Some("this is no zip archive"),
    }
}
