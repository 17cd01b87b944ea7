//! Repeated scalars, in full or abbreviated.

use super::scalar;
use crate::blob::BlobDigest;
use crate::schema::Kind;
use crate::wire::{Span, WireError, WireField, WireValue};

/// A tensor with more elements is abbreviated.
pub(super) const FULL_MAX: usize = 16;
/// How many elements an abbreviation shows.
pub(super) const SHOWN: usize = 4;
/// Bytes and strings of a tensor that are longer are abbreviated.
const TEXT_MAX: usize = 64;

/// Collects the elements of one repeated field.
struct Elements {
    count: usize,
    shown: Vec<String>,
    keep: usize,
    hasher: blake3::Hasher,
}

/// The list as text. `abbreviate` is set for tensors.
///
/// # Errors
/// Damaged packed elements, or a string that is not UTF-8.
pub(super) fn text(
    name: &str,
    kind: &Kind,
    fields: &[WireField<'_>],
    abbreviate: bool,
) -> Result<String, WireError> {
    let keep = if abbreviate { FULL_MAX } else { usize::MAX };
    let mut elements =
        Elements { count: 0, shown: Vec::new(), keep, hasher: blake3::Hasher::new() };
    for field in fields {
        let utf8 = || WireError::Utf8 { field: name.to_owned(), offset: field.offset };
        match field.value {
            WireValue::Bytes(packed) if !kind.is_delimited() => elements.packed(kind, packed)?,
            value => elements.push(kind, value, abbreviate).ok_or_else(utf8)?,
        }
    }
    Ok(elements.finish())
}

/// Bytes or a string of a tensor as text.
///
/// # Errors
/// A string that is not UTF-8.
pub(super) fn single(name: &str, kind: &Kind, field: &WireField<'_>) -> Result<String, WireError> {
    let utf8 = || WireError::Utf8 { field: name.to_owned(), offset: field.offset };
    short_text(kind, field.value).ok_or_else(utf8)
}

impl Elements {
    fn packed(&mut self, kind: &Kind, span: Span<'_>) -> Result<(), WireError> {
        if kind.is_varint() {
            for bits in span.varints() {
                self.push(kind, WireValue::Varint(bits?), false);
            }
            return Ok(());
        }
        let width = if matches!(kind, Kind::Float) { 4 } else { 8 };
        if !span.bytes.len().is_multiple_of(width) {
            return Err(WireError::Truncated { offset: span.offset });
        }
        for chunk in span.bytes.chunks_exact(width) {
            let mut bytes = [0; 8];
            bytes[..width].copy_from_slice(chunk);
            let [a, b, c, d, ..] = bytes;
            let value = match width {
                4 => WireValue::Fixed32(u32::from_le_bytes([a, b, c, d])),
                _ => WireValue::Fixed64(u64::from_le_bytes(bytes)),
            };
            self.push(kind, value, false);
        }
        Ok(())
    }

    fn push(&mut self, kind: &Kind, value: WireValue<'_>, shorten: bool) -> Option<()> {
        if self.shown.len() < self.keep {
            let text = if shorten { short_text(kind, value) } else { scalar::text(kind, value) };
            self.shown.push(text?);
        }
        scalar::digest(kind, value, &mut self.hasher);
        self.count += 1;
        Some(())
    }

    fn finish(mut self) -> String {
        if self.count == self.shown.len() {
            return format!("[{}]", self.shown.join(", "));
        }
        self.shown.truncate(SHOWN);
        let digest = BlobDigest::from_bytes(*self.hasher.finalize().as_bytes());
        format!("[{}, ...] # {} values, blake3 {digest}", self.shown.join(", "), self.count)
    }
}

fn short_text(kind: &Kind, value: WireValue<'_>) -> Option<String> {
    let WireValue::Bytes(span) = value else { return scalar::text(kind, value) };
    let bytes = span.bytes;
    if bytes.len() <= TEXT_MAX {
        return scalar::text(kind, value);
    }
    let first = match kind {
        Kind::String => {
            let text = std::str::from_utf8(bytes).ok()?;
            let start: String = text.chars().take(FULL_MAX).collect();
            format!("{start:?}...")
        }
        _ => format!("{}...", scalar::hex(&bytes[..FULL_MAX])),
    };
    Some(format!("{first} # {} bytes, blake3 {}", bytes.len(), BlobDigest::of(bytes)))
}
