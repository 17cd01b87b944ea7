//! Checkpoints of the second version: an index and shards with the bytes of tensors.

mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mlc_tensor::{DType, MappedFile, Tensor, TensorError};
use prost::Message;

use crate::dtype::{DataTypeError, STRING, data_type};
use crate::proto::tensorflow::{BundleEntryProto, BundleHeaderProto, TensorSliceProto};
pub use table::TableError;

/// What can be wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file is missing or cannot be read.
    #[error("`{file}` cannot be opened: {error}")]
    File {
        /// Its name.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// The index is damaged.
    #[error("the index `{file}` is damaged: {error}")]
    Table {
        /// Its name.
        file: String,
        /// What is wrong.
        error: TableError,
    },
    /// An entry of the index is damaged.
    #[error("the entry `{key}` of the index is damaged")]
    Entry {
        /// Its key.
        key: String,
    },
    /// It was written on a big-endian machine.
    #[error("the checkpoint was written on a big-endian machine")]
    BigEndian,
    /// There is no tensor of that key.
    #[error("the checkpoint has no tensor `{key}`")]
    Missing {
        /// The key.
        key: String,
    },
    /// A tensor lies outside its shard.
    #[error("`{key}` needs {needed} bytes at {offset}, `{file}` has {found}")]
    Truncated {
        /// Key of the tensor.
        key: String,
        /// The shard.
        file: String,
        /// First byte.
        offset: u64,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The checksum of a tensor is wrong.
    #[error("the checksum of `{key}` is wrong")]
    Checksum {
        /// Key of the tensor.
        key: String,
    },
    /// The size of a tensor is not what its shape asks for.
    #[error("`{key}` has {found} bytes for {needed}")]
    Size {
        /// Key of the tensor.
        key: String,
        /// Bytes that its shape asks for.
        needed: u64,
        /// Bytes there.
        found: u64,
    },
    /// An element type that is not supported.
    #[error("`{key}`: {error}")]
    DType {
        /// Key of the tensor.
        key: String,
        /// Which.
        error: DataTypeError,
    },
    /// The parts of a tensor do not make a whole.
    #[error("the parts of `{key}` do not make a whole")]
    Parts {
        /// Key of the tensor.
        key: String,
    },
    /// A tensor cannot be made.
    #[error("`{key}`: {error}")]
    Tensor {
        /// Key of the tensor.
        key: String,
        /// Why.
        error: TensorError,
    },
}

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    dtype: i32,
    shape: Vec<u64>,
    shard: i32,
    offset: u64,
    size: u64,
    crc: u32,
    slices: Vec<TensorSliceProto>,
}

/// A checkpoint: its tensors by key. Their bytes stay ranges of the shards.
#[derive(Debug)]
pub struct Checkpoint {
    prefix: PathBuf,
    shards: i32,
    entries: BTreeMap<Vec<u8>, Entry>,
    /// Shards that were opened.
    mapped: Mutex<BTreeMap<i32, Arc<MappedFile>>>,
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

impl Checkpoint {
    /// Reads the index of the checkpoint whose files begin with `prefix`, such as
    /// `model/variables/variables`.
    ///
    /// # Errors
    /// The index is missing or damaged, or the checkpoint is of a big-endian machine.
    pub fn open(prefix: &Path) -> Result<Self, CheckpointError> {
        let path = appended(prefix, ".index");
        let file = map(&path)?;
        let all = table::entries(file.bytes())
            .map_err(|error| CheckpointError::Table { file: name_of(&path), error })?;
        let mut entries = BTreeMap::new();
        let mut header = None;
        for (key, value) in all {
            let text = String::from_utf8_lossy(&key).into_owned();
            let damaged = || CheckpointError::Entry { key: text.clone() };
            if key.is_empty() {
                header = Some(BundleHeaderProto::decode(&value[..]).map_err(|_| damaged())?);
                continue;
            }
            let proto = BundleEntryProto::decode(&value[..]).map_err(|_| damaged())?;
            entries.insert(key, entry(proto).ok_or_else(damaged)?);
        }
        let header = header.ok_or_else(|| CheckpointError::Entry { key: String::new() })?;
        if header.endianness != 0 {
            return Err(CheckpointError::BigEndian);
        }
        let (prefix, mapped) = (prefix.to_path_buf(), Mutex::default());
        Ok(Self { prefix, shards: header.num_shards, entries, mapped })
    }

    fn shard(&self, index: i32) -> Result<(Arc<MappedFile>, String), CheckpointError> {
        let suffix = format!(".data-{index:05}-of-{:05}", self.shards);
        let path = appended(&self.prefix, &suffix);
        let name = name_of(&path);
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = mapped.get(&index) {
            return Ok((Arc::clone(file), name));
        }
        let file = map(&path)?;
        mapped.insert(index, Arc::clone(&file));
        Ok((file, name))
    }

    /// The keys of all tensors that are stored whole or in parts.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().filter_map(|key| std::str::from_utf8(key).ok())
    }

    /// Whether there is a tensor of that key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key.as_bytes())
    }

    fn entry(&self, key: &str) -> Result<&Entry, CheckpointError> {
        self.entries
            .get(key.as_bytes())
            .ok_or_else(|| CheckpointError::Missing { key: key.to_owned() })
    }

    /// The tensor of that key, a range of its shard.
    ///
    /// # Errors
    /// There is none, its shard is missing or cut off, or its checksum is wrong.
    pub fn tensor(&self, key: &str) -> Result<Tensor, CheckpointError> {
        let entry = self.entry(key)?;
        let dtype = data_type(entry.dtype)
            .map_err(|error| CheckpointError::DType { key: key.to_owned(), error })?;
        if dtype == DType::Str {
            let error = DataTypeError::Unsupported("string");
            return Err(CheckpointError::DType { key: key.to_owned(), error });
        }
        if entry.slices.is_empty() {
            return self.whole(key, entry, dtype);
        }
        let mut parts = Vec::with_capacity(entry.slices.len());
        let broken = || CheckpointError::Parts { key: key.to_owned() };
        for slice in &entry.slices {
            let part = self.entries.get(&slice_key(key, slice)).ok_or_else(broken)?;
            let start = slice.extent.iter().map(|extent| extent.start).collect::<Vec<_>>();
            parts.push((start, self.whole(key, part, dtype)?));
        }
        parts.sort_by(|a, b| a.0.cmp(&b.0));
        joined(&entry.shape, &parts).ok_or_else(broken)
    }

    /// The bytes of a scalar string.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn text(&self, key: &str) -> Result<Vec<u8>, CheckpointError> {
        let entry = self.entry(key)?;
        let damaged = || CheckpointError::Entry { key: key.to_owned() };
        if entry.dtype != STRING || !entry.shape.is_empty() {
            return Err(damaged());
        }
        let (file, start) = self.range(key, entry)?;
        let bytes = &file.bytes()[start..start + entry.size as usize];
        let mut at = 0;
        let len = table::varint(bytes, &mut at).and_then(|n| usize::try_from(n).ok());
        // After the length stands its checksum.
        let from = at.checked_add(4).ok_or_else(damaged)?;
        let to = len.and_then(|len| from.checked_add(len)).ok_or_else(damaged)?;
        bytes.get(from..to).map(<[u8]>::to_vec).ok_or_else(damaged)
    }

    fn range(&self, key: &str, entry: &Entry) -> Result<(Arc<MappedFile>, usize), CheckpointError> {
        let (file, name) = self.shard(entry.shard)?;
        let found = file.bytes().len() as u64;
        let end = entry.offset.checked_add(entry.size);
        if end.is_none_or(|end| end > found) {
            return Err(CheckpointError::Truncated {
                key: key.to_owned(),
                file: name,
                offset: entry.offset,
                needed: entry.size,
                found,
            });
        }
        Ok((file, entry.offset as usize))
    }

    fn whole(&self, key: &str, entry: &Entry, dtype: DType) -> Result<Tensor, CheckpointError> {
        let (file, start) = self.range(key, entry)?;
        let bytes = &file.bytes()[start..start + entry.size as usize];
        if table::masked(crc32c::crc32c(bytes)) != entry.crc {
            return Err(CheckpointError::Checksum { key: key.to_owned() });
        }
        let tensor = Tensor::mapped(&file, entry.offset, dtype, &entry.shape)
            .map_err(|error| CheckpointError::Tensor { key: key.to_owned(), error })?;
        if tensor.byte_len() != entry.size {
            let (needed, found) = (tensor.byte_len(), entry.size);
            return Err(CheckpointError::Size { key: key.to_owned(), needed, found });
        }
        Ok(tensor)
    }
}

fn entry(proto: BundleEntryProto) -> Option<Entry> {
    let shape = proto.shape.unwrap_or_default();
    Some(Entry {
        dtype: proto.dtype,
        shape: shape.dim.iter().map(|dim| u64::try_from(dim.size).ok()).collect::<Option<_>>()?,
        shard: proto.shard_id,
        offset: u64::try_from(proto.offset).ok()?,
        size: u64::try_from(proto.size).ok()?,
        crc: proto.crc32c,
        slices: proto.slices,
    })
}

fn appended(prefix: &Path, suffix: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn map(path: &Path) -> Result<Arc<MappedFile>, CheckpointError> {
    MappedFile::open(path).map_err(|error| CheckpointError::File { file: name_of(path), error })
}

/// Parts that follow one another along one axis, joined; `None` where they do not fill `shape`.
fn joined(shape: &[u64], parts: &[(Vec<i64>, Tensor)]) -> Option<Tensor> {
    let tensors: Vec<Tensor> = parts.iter().map(|(_, tensor)| tensor.clone()).collect();
    if let [one] = &tensors[..] {
        return (one.shape() == shape).then(|| one.clone());
    }
    if parts.iter().any(|(start, _)| start.len() != shape.len()) {
        return None;
    }
    let starts: Vec<&Vec<i64>> = parts.iter().map(|(start, _)| start).collect();
    let axis =
        (0..shape.len()).find(|&axis| starts.windows(2).any(|w| w[0][axis] != w[1][axis]))?;
    let mut at = 0u64;
    for (start, tensor) in parts {
        if u64::try_from(start[axis]).ok()? != at {
            return None;
        }
        at = at.checked_add(*tensor.shape().get(axis)?)?;
    }
    Tensor::concat(axis, &tensors).ok().filter(|tensor| tensor.shape() == shape)
}

/// The key of a part of a tensor: 0, the name, and for each axis start and length, in an encoding
/// whose byte order is the order of the values.
fn slice_key(name: &str, slice: &TensorSliceProto) -> Vec<u8> {
    let mut key = Vec::new();
    ordered_unsigned(&mut key, 0);
    for &byte in name.as_bytes() {
        match byte {
            0x00 => key.extend([0x00, 0xff]),
            0xff => key.extend([0xff, 0x00]),
            byte => key.push(byte),
        }
    }
    key.extend([0x00, 0x01]);
    ordered_unsigned(&mut key, slice.extent.len() as u64);
    for extent in &slice.extent {
        let length = match extent.has_length {
            Some(crate::proto::tensorflow::tensor_slice_proto::extent::HasLength::Length(n)) => n,
            None => -1,
        };
        ordered_signed(&mut key, extent.start);
        ordered_signed(&mut key, length);
    }
    key
}

fn ordered_unsigned(key: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    let skip = (value.leading_zeros() / 8) as usize;
    key.push((8 - skip) as u8);
    key.extend(&bytes[skip..]);
}

/// As many leading ones as the number has bytes, then its bits; all inverted for negative ones.
fn ordered_signed(key: &mut Vec<u8>, value: i64) {
    let magnitude = if value < 0 { !value } else { value } as u64;
    let bits = 64 - magnitude.leading_zeros() as usize;
    let len = (1..=10).find(|len| bits < len * 7).unwrap_or(10);
    // Bytes of the sign before those of the number.
    let mut bytes = [if value < 0 { 0xff } else { 0x00 }; 10];
    bytes[2..].copy_from_slice(&value.to_be_bytes());
    let mut out = bytes[10 - len..].to_vec();
    for i in 0..len {
        out[i / 8] ^= 0x80 >> (i % 8);
    }
    key.extend(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_numbers() {
        let signed = |value| {
            let mut key = Vec::new();
            ordered_signed(&mut key, value);
            key
        };
        assert_eq!(signed(0), [0x80]);
        assert_eq!(signed(-1), [0x7f]);
        assert_eq!(signed(63), [0xbf]);
        assert_eq!(signed(64), [0xc0, 0x40]);
        assert_eq!(signed(-64), [0x40]);
        assert_eq!(signed(8191), [0xdf, 0xff]);
        let numbers = [i64::MIN, -70_000, -65, -64, -1, 0, 1, 63, 64, 9000, 1 << 40, i64::MAX];
        assert!(numbers.windows(2).all(|w| signed(w[0]) < signed(w[1])));
    }

    #[test]
    fn parts_are_joined_in_order() {
        let part = |n: u64| Tensor::from_f64s(DType::F32, &[n, 1], &vec![1.0; n as usize]).unwrap();
        let parts = [(vec![0, 0], part(2)), (vec![2, 0], part(3))];
        assert_eq!(joined(&[5, 1], &parts).unwrap().shape(), [5, 1]);
        assert!(joined(&[6, 1], &parts).is_none());
        assert!(joined(&[5, 1], &[(vec![0, 0], part(2)), (vec![3, 0], part(3))]).is_none());
    }
}
