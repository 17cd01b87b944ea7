//! Reading a weight file that is already in memory or mapped.

use std::fmt;

use mlc_target::DataType;
use thiserror::Error;

use super::format::{ALIGNMENT, BLOCK_LEN, RawRecord, SENTINEL, VERSION, u32_at};
use super::spec::{BlobSpec, BlobSpecError};
use super::writer::BlobDigest;

/// A weight file or a record of it is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlobReadError {
    /// The file has no complete header.
    #[error("a weight file has at least 64 bytes, this one {file_len}")]
    NoHeader {
        /// Size of the file in bytes.
        file_len: usize,
    },
    /// The version is not 2.
    #[error("weight file version {found} is not supported, only 2 is")]
    Version {
        /// The version in the header.
        found: u32,
    },
    /// A record would begin inside the header or off the grid of 64 bytes.
    #[error("no record can begin at byte {offset}: records stand at multiples of 64 from 64 on")]
    Misplaced {
        /// Position of the record.
        offset: u64,
    },
    /// A record or its payload runs past the end of the file.
    #[error("blob at byte {offset} ends at {end}, the file at {file_len}")]
    OutOfBounds {
        /// Position of the record.
        offset: u64,
        /// Where record and payload would end; saturates.
        end: u64,
        /// Size of the file in bytes.
        file_len: usize,
    },
    /// There is no record at the position.
    #[error("no record at byte {offset}: {found:#010x} instead of 0xdeadbeef")]
    Sentinel {
        /// Position of the record.
        offset: u64,
        /// What stands there.
        found: u32,
    },
    /// The dtype code is not in the table.
    #[error("blob at byte {offset} has the unknown dtype code {code}")]
    DataType {
        /// Position of the record.
        offset: u64,
        /// The code.
        code: u32,
    },
    /// The payload does not follow the record.
    #[error("blob at byte {offset} points to byte {found} for its payload instead of {expected}")]
    PayloadPosition {
        /// Position of the record.
        offset: u64,
        /// Record position + 64.
        expected: u64,
        /// Position in the record.
        found: u64,
    },
    /// Size, padding and type do not fit together.
    #[error("blob at byte {offset}: {source}")]
    Spec {
        /// Position of the record.
        offset: u64,
        /// What does not fit.
        source: BlobSpecError,
    },
}

/// The blobs of a weight file.
#[derive(Clone, Copy)]
pub struct BlobReader<'a> {
    bytes: &'a [u8],
    count: u32,
}

impl fmt::Debug for BlobReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader")
            .field("byte_len", &self.bytes.len())
            .field("count", &self.count)
            .finish()
    }
}

impl<'a> BlobReader<'a> {
    /// Reads the header of a whole weight file.
    ///
    /// # Errors
    /// The header is incomplete or of another version.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BlobReadError> {
        let header = bytes
            .first_chunk::<BLOCK_LEN>()
            .ok_or(BlobReadError::NoHeader { file_len: bytes.len() })?;
        match u32_at(header, 4) {
            VERSION => Ok(Self { bytes, count: u32_at(header, 0) }),
            found => Err(BlobReadError::Version { found }),
        }
    }

    /// Number of blobs the header claims.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Size of the file in bytes.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The blob whose record begins at byte `offset`.
    ///
    /// # Errors
    /// [`BlobReadError`] if there is no sound record or its payload is incomplete.
    pub fn blob_at(&self, offset: u64) -> Result<Blob<'a>, BlobReadError> {
        if offset < ALIGNMENT || !offset.is_multiple_of(ALIGNMENT) {
            return Err(BlobReadError::Misplaced { offset });
        }
        let block = self.slice(offset, offset, ALIGNMENT)?;
        let block = block.first_chunk::<BLOCK_LEN>().expect("the slice has 64 bytes");
        let record = RawRecord::from_bytes(block);
        if record.sentinel != SENTINEL {
            return Err(BlobReadError::Sentinel { offset, found: record.sentinel });
        }
        let expected = offset + ALIGNMENT;
        if record.payload != expected {
            let found = record.payload;
            return Err(BlobReadError::PayloadPosition { offset, expected, found });
        }
        let dtype = DataType::from_blob_code(record.code)
            .ok_or(BlobReadError::DataType { offset, code: record.code })?;
        // Older writers leave garbage behind the payload position where padding has no meaning.
        let is_packed = dtype.bits().is_some_and(|bits| bits < 8);
        let padding_bits = if is_packed { record.padding_bits } else { 0 };
        let spec = BlobSpec::new(dtype, record.byte_len, padding_bits)
            .map_err(|source| BlobReadError::Spec { offset, source })?;
        let payload = self.slice(offset, expected, record.byte_len)?;
        Ok(Blob { offset, spec, payload })
    }

    /// The blobs in file order. Ends after the first error.
    pub fn blobs(&self) -> Blobs<'a> {
        Blobs { reader: *self, next: ALIGNMENT, left: self.count }
    }

    fn slice(&self, record: u64, start: u64, len: u64) -> Result<&'a [u8], BlobReadError> {
        let end = start.saturating_add(len);
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        range
            .and_then(|(start, end)| self.bytes.get(start..end))
            .ok_or(BlobReadError::OutOfBounds { offset: record, end, file_len: self.bytes.len() })
    }
}

/// One blob of a weight file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Blob<'a> {
    offset: u64,
    spec: BlobSpec,
    payload: &'a [u8],
}

impl fmt::Debug for Blob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("offset", &self.offset).field("spec", &self.spec).finish()
    }
}

impl<'a> Blob<'a> {
    /// Position of the record, by which a model names the blob.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Element type and size.
    pub fn spec(&self) -> BlobSpec {
        self.spec
    }

    /// Elements, little-endian or packed.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Digest of the payload. Reads all of it.
    pub fn digest(&self) -> BlobDigest {
        BlobDigest::of(self.payload)
    }
}

/// Iterator over the blobs of a file, see [`BlobReader::blobs`].
#[derive(Debug, Clone)]
pub struct Blobs<'a> {
    reader: BlobReader<'a>,
    next: u64,
    left: u32,
}

impl<'a> Iterator for Blobs<'a> {
    type Item = Result<Blob<'a>, BlobReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let blob = self.reader.blob_at(self.next);
        match &blob {
            Ok(blob) => {
                let end = blob.offset + ALIGNMENT + blob.spec.byte_len();
                self.next = end.next_multiple_of(ALIGNMENT);
            }
            Err(_) => self.left = 0,
        }
        Some(blob)
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::header;
    use super::*;
    use proptest::prelude::*;

    fn file(record: RawRecord, payload: &[u8]) -> Vec<u8> {
        [header(1).as_slice(), &record.to_bytes(), payload].concat()
    }

    const SOUND: RawRecord =
        RawRecord { sentinel: SENTINEL, code: 1, byte_len: 4, payload: 128, padding_bits: 0 };

    fn error(record: RawRecord) -> BlobReadError {
        let bytes = file(record, &[0; 4]);
        BlobReader::new(&bytes).unwrap().blob_at(64).unwrap_err()
    }

    #[test]
    fn garbage_in_unused_bytes_of_a_record_is_ignored() {
        let bytes = file(RawRecord { padding_bits: 0x1234_5678_9abc, ..SOUND }, &[1, 2, 3, 4]);
        let blob = BlobReader::new(&bytes).unwrap().blob_at(64).unwrap();
        assert_eq!(
            (blob.spec().dtype(), blob.payload()),
            (DataType::Fp16, [1, 2, 3, 4].as_slice())
        );
        assert_eq!(blob.spec().padding_bits(), 0);
    }

    #[test]
    fn damaged_records_are_named() {
        assert!(matches!(
            error(RawRecord { sentinel: 7, ..SOUND }),
            BlobReadError::Sentinel { found: 7, .. }
        ));
        assert!(matches!(
            error(RawRecord { code: 0, ..SOUND }),
            BlobReadError::DataType { code: 0, .. }
        ));
        assert!(matches!(error(RawRecord { code: 18, ..SOUND }), BlobReadError::DataType { .. }));
        assert!(matches!(
            error(RawRecord { byte_len: 6, ..SOUND }),
            BlobReadError::OutOfBounds { end: 134, .. }
        ));
        assert!(matches!(error(RawRecord { byte_len: 3, ..SOUND }), BlobReadError::Spec { .. }));
        assert!(matches!(
            error(RawRecord { byte_len: 1 << 60, ..SOUND }),
            BlobReadError::OutOfBounds { .. }
        ));
        assert!(matches!(
            error(RawRecord { payload: 192, ..SOUND }),
            BlobReadError::PayloadPosition { .. }
        ));
        let packed = RawRecord { code: 11, padding_bits: 2, ..SOUND };
        assert!(matches!(error(packed), BlobReadError::Spec { .. }));
        let bytes = file(SOUND, &[0; 4]);
        let reader = BlobReader::new(&bytes).unwrap();
        for offset in [0, 1, 65, u64::MAX] {
            assert_eq!(reader.blob_at(offset), Err(BlobReadError::Misplaced { offset }));
        }
        for offset in [128, u64::MAX - 63] {
            assert!(matches!(reader.blob_at(offset), Err(BlobReadError::OutOfBounds { .. })));
        }
    }

    #[test]
    fn damaged_headers_are_named() {
        assert_eq!(
            BlobReader::new(&[0; 63]).unwrap_err(),
            BlobReadError::NoHeader { file_len: 63 }
        );
        assert_eq!(BlobReader::new(&[0; 64]).unwrap_err(), BlobReadError::Version { found: 0 });
    }

    #[test]
    fn a_count_that_is_too_high_ends_in_one_error() {
        let mut bytes = file(SOUND, &[0; 4]);
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let blobs: Vec<_> = BlobReader::new(&bytes).unwrap().blobs().collect();
        assert_eq!(blobs.len(), 2);
        assert!(blobs[0].is_ok() && blobs[1].is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            body in prop::collection::vec(any::<u8>(), 0..400),
            record in any::<(u32, u64, u64, u64)>(),
            count in any::<u32>(),
            offset in any::<u64>(),
        ) {
            let (code, byte_len, payload, padding_bits) = record;
            let record = RawRecord {
                sentinel: SENTINEL, code: code % 20, byte_len: byte_len % 500,
                payload: if payload % 2 == 0 { 128 } else { payload }, padding_bits: padding_bits % 9,
            };
            for bytes in [body.clone(), [header(count).as_slice(), &record.to_bytes(), &body].concat()] {
                let Ok(reader) = BlobReader::new(&bytes) else { continue };
                let _ = reader.blob_at(offset);
                for blob in reader.blobs().flatten() {
                    prop_assert_eq!(blob.payload().len() as u64, blob.spec().byte_len());
                }
            }
        }
    }
}
