//! Protobuf wire format: fields of a message as they stand in the bytes.

use thiserror::Error;

/// Deepest nesting of messages that is read. The protobuf decoder has the same limit.
pub const MAX_DEPTH: usize = 100;

/// Bytes that are not a protobuf message of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// A field runs past the end of its message.
    #[error("field at byte {offset} runs past the end of its message")]
    Truncated {
        /// Position in the file.
        offset: usize,
    },
    /// A variable-length integer has more than 64 bits.
    #[error("integer at byte {offset} has more than 64 bits")]
    Varint {
        /// Position in the file.
        offset: usize,
    },
    /// A field number is 0 or above 2^29 - 1.
    #[error("invalid field number at byte {offset}")]
    FieldNumber {
        /// Position in the file.
        offset: usize,
    },
    /// A wire type that proto3 does not use.
    #[error("field at byte {offset} has wire type {wire_type}, which proto3 does not use")]
    WireType {
        /// Position in the file.
        offset: usize,
        /// The type found, 3 to 7.
        wire_type: u8,
    },
    /// A declared field is encoded as another type.
    #[error("field `{field}` at byte {offset} is encoded as another type")]
    Mismatch {
        /// Message and field name.
        field: String,
        /// Position in the file.
        offset: usize,
    },
    /// A string is not UTF-8.
    #[error("string `{field}` at byte {offset} is not UTF-8")]
    Utf8 {
        /// Message and field name.
        field: String,
        /// Position in the file.
        offset: usize,
    },
    /// Messages are nested deeper than [`MAX_DEPTH`].
    #[error("messages are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// A value as encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Span<'a>),
}

/// A part of the file and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) offset: usize,
}

impl<'a> Span<'a> {
    pub(crate) fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// The fields of the message these bytes encode. Ends after the first error.
    pub(crate) fn fields(self) -> Fields<'a> {
        Fields { rest: self }
    }

    /// The variable-length integers these bytes encode one after the other.
    pub(crate) fn varints(mut self) -> impl Iterator<Item = Result<u64, WireError>> {
        std::iter::from_fn(move || {
            if self.bytes.is_empty() {
                return None;
            }
            let value = self.varint();
            if value.is_err() {
                self.bytes = &[];
            }
            Some(value)
        })
    }

    fn take(&mut self, len: usize) -> Result<Span<'a>, WireError> {
        let Some((head, tail)) = self.bytes.split_at_checked(len) else {
            return Err(WireError::Truncated { offset: self.offset });
        };
        let taken = Span { bytes: head, offset: self.offset };
        *self = Span { bytes: tail, offset: self.offset + len };
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let start = self.offset;
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?.bytes.first().copied().unwrap_or(0);
            if shift == 63 && byte > 1 {
                return Err(WireError::Varint { offset: start });
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Varint { offset: start })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?.bytes);
        Ok(array)
    }

    fn field(&mut self) -> Result<WireField<'a>, WireError> {
        let offset = self.offset;
        let key = self.varint()?;
        let number = u32::try_from(key >> 3)
            .ok()
            .filter(|number| (1..1 << 29).contains(number))
            .ok_or(WireError::FieldNumber { offset })?;
        let value = match key & 7 {
            0 => WireValue::Varint(self.varint()?),
            1 => WireValue::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len =
                    usize::try_from(self.varint()?).map_err(|_| WireError::Truncated { offset })?;
                WireValue::Bytes(self.take(len)?)
            }
            5 => WireValue::Fixed32(u32::from_le_bytes(self.array()?)),
            other => {
                let wire_type = u8::try_from(other).unwrap_or(u8::MAX);
                return Err(WireError::WireType { offset, wire_type });
            }
        };
        Ok(WireField { number, offset, len: self.offset - offset, value })
    }
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WireField<'a> {
    pub(crate) number: u32,
    /// Position in the file.
    pub(crate) offset: usize,
    /// Encoded bytes, key included.
    pub(crate) len: usize,
    pub(crate) value: WireValue<'a>,
}

pub(crate) struct Fields<'a> {
    rest: Span<'a>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<WireField<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.bytes.is_empty() {
            return None;
        }
        let field = self.rest.field();
        if field.is_err() {
            self.rest.bytes = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<WireField<'_>>, WireError> {
        Span::whole(bytes).fields().collect()
    }

    #[test]
    fn reads_each_wire_type() {
        let bytes = [
            0x08, 0x96, 0x01, // 1: varint 150
            0x11, 1, 0, 0, 0, 0, 0, 0, 0, // 2: fixed64 1
            0x1a, 2, b'h', b'i', // 3: bytes
            0x25, 2, 0, 0, 0, // 4: fixed32 2
        ];
        let fields = all(&bytes).unwrap();
        assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(fields[0].value, WireValue::Varint(150));
        assert_eq!(fields[1].value, WireValue::Fixed64(1));
        assert_eq!(fields[2].value, WireValue::Bytes(Span { bytes: b"hi", offset: 14 }));
        assert_eq!(fields[3].value, WireValue::Fixed32(2));
        assert_eq!(fields.iter().map(|field| field.len).sum::<usize>(), bytes.len());
    }

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(all(&[0x0a, 5, 1]), Err(WireError::Truncated { offset: 2 }));
        assert_eq!(all(&[0x00, 1]), Err(WireError::FieldNumber { offset: 0 }));
        assert_eq!(all(&[0x0b]), Err(WireError::WireType { offset: 0, wire_type: 3 }));
        let endless = [[0x08].as_slice(), &[0xff; 10]].concat();
        assert_eq!(all(&endless), Err(WireError::Varint { offset: 1 }));
        let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(all(&huge), Err(WireError::Truncated { offset: 11 }));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_fields_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(fields) = all(&bytes) {
                prop_assert_eq!(fields.iter().map(|field| field.len).sum::<usize>(), bytes.len());
            }
        }
    }
}
