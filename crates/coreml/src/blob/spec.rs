//! What a record says about its payload.

use mlc_target::DataType;
use thiserror::Error;

/// Element type and exact size of a payload. Always consistent: a whole number of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobSpec {
    dtype: DataType,
    byte_len: u64,
    padding_bits: u8,
}

/// A payload that cannot stand in a weight file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlobSpecError {
    /// The type has no code in weight files.
    #[error("{dtype} cannot be stored in a weight file")]
    DataType {
        /// The type.
        dtype: DataType,
    },
    /// The size or the padding does not fit the type.
    #[error("{byte_len} bytes with {padding_bits} padding bits are no whole number of {dtype}")]
    PartialElement {
        /// The type.
        dtype: DataType,
        /// Payload bytes.
        byte_len: u64,
        /// Unused bits of the last byte.
        padding_bits: u64,
    },
    /// The size in bits exceeds 64 bits.
    #[error("{count} elements of {dtype} are too many")]
    TooLarge {
        /// The type.
        dtype: DataType,
        /// Elements, or bytes.
        count: u64,
    },
}

impl BlobSpec {
    /// The payload of `count` elements.
    ///
    /// # Errors
    /// `dtype` has no blob code, or the size overflows.
    pub fn for_elements(dtype: DataType, count: u64) -> Result<Self, BlobSpecError> {
        let bits = stored_bits(dtype)?;
        let total = count.checked_mul(bits).ok_or(BlobSpecError::TooLarge { dtype, count })?;
        let byte_len = total.div_ceil(8);
        let padding = byte_len.checked_mul(8).ok_or(BlobSpecError::TooLarge { dtype, count })?;
        Self::new(dtype, byte_len, padding - total)
    }

    /// A payload of `byte_len` bytes whose last byte has `padding_bits` unused high bits; 0 for types
    /// of 8 bits and more.
    ///
    /// # Errors
    /// `dtype` has no blob code, or the payload is no whole number of elements.
    pub fn new(dtype: DataType, byte_len: u64, padding_bits: u64) -> Result<Self, BlobSpecError> {
        let bits = stored_bits(dtype)?;
        let partial = BlobSpecError::PartialElement { dtype, byte_len, padding_bits };
        let limit = if bits < 8 { 8 } else { 1 };
        let padding = u8::try_from(padding_bits).ok().filter(|&padding| padding < limit);
        let Some(padding_bits) = padding else { return Err(partial) };
        let total = byte_len
            .checked_mul(8)
            .ok_or(BlobSpecError::TooLarge { dtype, count: byte_len })?
            .checked_sub(u64::from(padding_bits));
        match total {
            Some(total) if total.is_multiple_of(bits) => Ok(Self { dtype, byte_len, padding_bits }),
            _ => Err(partial),
        }
    }

    /// Element type; it has a blob code.
    pub fn dtype(self) -> DataType {
        self.dtype
    }

    /// Payload bytes.
    pub fn byte_len(self) -> u64 {
        self.byte_len
    }

    /// Unused high bits of the last byte, 0 to 7.
    pub fn padding_bits(self) -> u8 {
        self.padding_bits
    }

    /// Number of elements.
    pub fn element_count(self) -> u64 {
        let bits = u64::from(self.dtype.bits().unwrap_or(8));
        (self.byte_len * 8 - u64::from(self.padding_bits)) / bits
    }
}

/// Bits of an element of a type that has a blob code.
fn stored_bits(dtype: DataType) -> Result<u64, BlobSpecError> {
    match (dtype.blob_code(), dtype.bits()) {
        (Some(_), Some(bits)) => Ok(u64::from(bits)),
        _ => Err(BlobSpecError::DataType { dtype }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_of_small_types() {
        let rows = [
            (DataType::Uint4, 3, 2, 4),
            (DataType::Int4, 2, 1, 0),
            (DataType::Uint3, 3, 2, 7),
            (DataType::Uint1, 3, 1, 5),
            (DataType::Uint6, 5, 4, 2),
            (DataType::Fp16, 5, 10, 0),
            (DataType::Int32, 0, 0, 0),
        ];
        for (dtype, count, byte_len, padding_bits) in rows {
            let spec = BlobSpec::for_elements(dtype, count).unwrap();
            assert_eq!((spec.byte_len(), spec.padding_bits()), (byte_len, padding_bits), "{dtype}");
            assert_eq!(spec.element_count(), count);
        }
    }

    #[test]
    fn inconsistent_sizes_are_refused() {
        for (dtype, byte_len, padding_bits) in [
            (DataType::Fp16, 3, 0),
            (DataType::Uint8, 1, 1),
            (DataType::Uint4, 1, 3),
            (DataType::Uint4, 1, 8),
            (DataType::Uint3, 1, 0),
            (DataType::Uint1, 0, 1),
            (DataType::Uint2, 1, u64::MAX),
        ] {
            let error = BlobSpec::new(dtype, byte_len, padding_bits).unwrap_err();
            assert_eq!(error, BlobSpecError::PartialElement { dtype, byte_len, padding_bits });
        }
        assert!(matches!(
            BlobSpec::new(DataType::Uint8, u64::MAX, 0),
            Err(BlobSpecError::TooLarge { .. })
        ));
        assert!(matches!(
            BlobSpec::for_elements(DataType::Int64, 1),
            Err(BlobSpecError::DataType { dtype: DataType::Int64 })
        ));
    }

    proptest! {
        #[test]
        fn element_count_is_recovered(
            dtype in prop::sample::select(DataType::ALL),
            count in any::<u64>(),
        ) {
            if let Ok(spec) = BlobSpec::for_elements(dtype, count) {
                prop_assert_eq!(spec.element_count(), count);
            }
        }
    }
}
