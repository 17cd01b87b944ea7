//! The index of a checkpoint: a sorted string table.
//!
//! The last 48 bytes are the footer: the handles (offset and size as varints) of a block that is not
//! read and of the index block, padding, and a magic number. A block is followed by the type of its
//! compression and a masked CRC-32C of both. Its entries hold how much of the key before they share,
//! the rest of the key and the value; restart points stand at its end.

use std::borrow::Cow;

/// What can be wrong with a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// It does not end as a table does.
    #[error("the file does not end with the footer of a table")]
    Footer,
    /// A block lies outside the file.
    #[error("a block of {size} bytes at {offset} lies outside the file")]
    Outside {
        /// First byte.
        offset: u64,
        /// Bytes.
        size: u64,
    },
    /// The checksum of a block is wrong.
    #[error("the checksum of the block at {offset} is wrong")]
    Checksum {
        /// First byte.
        offset: u64,
    },
    /// A block is compressed in an unknown way, or the compressed bytes are damaged.
    #[error("the block at {offset} cannot be decompressed: {what}")]
    Compression {
        /// First byte.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// An entry of a block is cut off.
    #[error("the block at {offset} has an entry that is cut off")]
    Entry {
        /// First byte of the block.
        offset: u64,
    },
}

/// A key and its value.
pub(super) type Entry = (Vec<u8>, Vec<u8>);

const FOOTER: usize = 48;
const MAGIC: [u8; 8] = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];
/// Bytes after a block: type and checksum.
const TRAILER: usize = 5;
/// A block may grow by this factor when it is decompressed.
const MAX_INFLATION: usize = 64;

/// The checksum as files hold it.
pub(super) fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// All entries of the table in `file`, in order of their keys.
pub(super) fn entries(file: &[u8]) -> Result<Vec<Entry>, TableError> {
    let start = file.len().checked_sub(FOOTER).ok_or(TableError::Footer)?;
    let footer = &file[start..];
    if footer[FOOTER - 8..] != MAGIC {
        return Err(TableError::Footer);
    }
    let mut at = 0;
    for _ in 0..2 {
        varint(footer, &mut at).ok_or(TableError::Footer)?;
    }
    let offset = varint(footer, &mut at).ok_or(TableError::Footer)?;
    let size = varint(footer, &mut at).ok_or(TableError::Footer)?;
    let mut all = Vec::new();
    for (_, handle) in block_entries(&block(file, offset, size)?, offset)? {
        let mut at = 0;
        let cut = || TableError::Entry { offset };
        let own = varint(&handle, &mut at).ok_or_else(cut)?;
        let size = varint(&handle, &mut at).ok_or_else(cut)?;
        all.extend(block_entries(&block(file, own, size)?, own)?);
    }
    Ok(all)
}

/// The contents of a block.
fn block(file: &[u8], offset: u64, size: u64) -> Result<Cow<'_, [u8]>, TableError> {
    let outside = || TableError::Outside { offset, size };
    let start = usize::try_from(offset).map_err(|_| outside())?;
    let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
    let end = end.ok_or_else(outside)?;
    let whole = end.checked_add(TRAILER).and_then(|last| file.get(start..last));
    let whole = whole.ok_or_else(outside)?;
    let (checked, crc) = whole.split_at(whole.len() - 4);
    let stored = u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]);
    if masked(crc32c::crc32c(checked)) != stored {
        return Err(TableError::Checksum { offset });
    }
    let (contents, kind) = (&file[start..end], file[end]);
    match kind {
        0 => Ok(Cow::Borrowed(contents)),
        1 => decompressed(contents)
            .map(Cow::Owned)
            .map_err(|what| TableError::Compression { offset, what }),
        other => {
            let what = format!("its type is {other}");
            Err(TableError::Compression { offset, what })
        }
    }
}

fn decompressed(contents: &[u8]) -> Result<Vec<u8>, String> {
    let size = snap::raw::decompress_len(contents).map_err(|error| error.to_string())?;
    if size > contents.len().saturating_mul(MAX_INFLATION) {
        return Err(format!("{} bytes claim to hold {size}", contents.len()));
    }
    snap::raw::Decoder::new().decompress_vec(contents).map_err(|error| error.to_string())
}

fn block_entries(block: &[u8], offset: u64) -> Result<Vec<Entry>, TableError> {
    let cut = || TableError::Entry { offset };
    let tail = block.len().checked_sub(4).ok_or_else(cut)?;
    let count =
        u32::from_le_bytes([block[tail], block[tail + 1], block[tail + 2], block[tail + 3]]);
    let restarts = (count as usize).checked_mul(4).ok_or_else(cut)?;
    let end = tail.checked_sub(restarts).ok_or_else(cut)?;
    let (entries, mut at) = (&block[..end], 0);
    let mut all: Vec<Entry> = Vec::new();
    while at < end {
        let mut number = || varint(entries, &mut at).and_then(|n| usize::try_from(n).ok());
        let (shared, own, len) =
            (number().ok_or_else(cut)?, number().ok_or_else(cut)?, number().ok_or_else(cut)?);
        let key_end = at.checked_add(own).ok_or_else(cut)?;
        let value_end = key_end.checked_add(len).ok_or_else(cut)?;
        let suffix = entries.get(at..key_end).ok_or_else(cut)?;
        let value = entries.get(key_end..value_end).ok_or_else(cut)?;
        let before = all.last().map_or(&[][..], |(key, _)| key);
        let mut key = before.get(..shared).ok_or_else(cut)?.to_vec();
        key.extend_from_slice(suffix);
        all.push((key, value.to_vec()));
        at = value_end;
    }
    Ok(all)
}

/// A number of seven bits a byte, the least first.
pub(super) fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_trailer(mut contents: Vec<u8>, kind: u8) -> Vec<u8> {
        contents.push(kind);
        let crc = masked(crc32c::crc32c(&contents));
        contents.extend(crc.to_le_bytes());
        contents
    }

    fn table(kind: u8) -> Vec<u8> {
        let mut data = vec![0, 2, 1, b'a', b'b', b'x', 1, 1, 2, b'c', b'y', b'z'];
        data.extend([0, 0, 0, 0, 1, 0, 0, 0]);
        let data = match kind {
            1 => snap::raw::Encoder::new().compress_vec(&data).unwrap(),
            _ => data,
        };
        let size = data.len() as u8;
        let mut file = with_trailer(data, kind);
        let index_at = file.len() as u8;
        let mut index = vec![0, 2, 2, b'a', b'd', 0, size];
        index.extend([0, 0, 0, 0, 1, 0, 0, 0]);
        let index_size = index.len() as u8;
        file.extend(with_trailer(index, 0));
        let mut footer = vec![0, 0, index_at, index_size];
        footer.resize(40, 0);
        footer.extend(MAGIC);
        file.extend(footer);
        file
    }

    #[test]
    fn keys_share_prefixes() {
        let want = vec![(b"ab".to_vec(), b"x".to_vec()), (b"ac".to_vec(), b"yz".to_vec())];
        assert_eq!(entries(&table(0)), Ok(want.clone()));
        assert_eq!(entries(&table(1)), Ok(want));
    }

    #[test]
    fn damage_is_found() {
        let good = table(0);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            // Padding of the footer and the unused handle may change; nothing may panic.
            let _ = entries(&bad);
            let _ = entries(&good[..at]);
        }
        let mut bad = good.clone();
        bad[5] ^= 1;
        assert_eq!(entries(&bad), Err(TableError::Checksum { offset: 0 }));
        assert_eq!(entries(&good[..40]), Err(TableError::Footer));
    }
}
