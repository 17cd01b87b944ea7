//! One scalar as text and as bytes.

use half::{bf16, f16};
use mlc_target::DataType;

use crate::schema::Kind;
use crate::wire::WireValue;

/// The value as text; `None` if it is a string that is not UTF-8, or no scalar.
pub(super) fn text(kind: &Kind, value: WireValue<'_>) -> Option<String> {
    Some(match (kind, value) {
        (Kind::Bool, WireValue::Varint(bits)) => (bits != 0).to_string(),
        (Kind::Int32, WireValue::Varint(bits)) => int32(bits).to_string(),
        (Kind::Int64, WireValue::Varint(bits)) => bits.cast_signed().to_string(),
        (Kind::Uint64, WireValue::Varint(bits)) => bits.to_string(),
        (Kind::Enum(names), WireValue::Varint(bits)) => {
            let number = int32(bits);
            names.get(&number).cloned().unwrap_or_else(|| number.to_string())
        }
        (Kind::Float, WireValue::Fixed32(bits)) => format!("{:?}", f32::from_bits(bits)),
        (Kind::Double, WireValue::Fixed64(bits)) => format!("{:?}", f64::from_bits(bits)),
        (Kind::String, WireValue::Bytes(span)) => {
            format!("{:?}", std::str::from_utf8(span.bytes).ok()?)
        }
        (Kind::Bytes, WireValue::Bytes(span)) => hex(span.bytes),
        _ => return None,
    })
}

/// Feeds the element to a digest in the form in which weight files hold it: little-endian, booleans
/// as one byte, strings and bytes after their length.
pub(super) fn digest(kind: &Kind, value: WireValue<'_>, hasher: &mut blake3::Hasher) {
    match (kind, value) {
        (Kind::Bool, WireValue::Varint(bits)) => hasher.update(&[u8::from(bits != 0)]),
        (Kind::Int32 | Kind::Enum(_), WireValue::Varint(bits)) => {
            hasher.update(&int32(bits).to_le_bytes())
        }
        (_, WireValue::Varint(bits) | WireValue::Fixed64(bits)) => {
            hasher.update(&bits.to_le_bytes())
        }
        (_, WireValue::Fixed32(bits)) => hasher.update(&bits.to_le_bytes()),
        (_, WireValue::Bytes(span)) => {
            hasher.update(&(span.bytes.len() as u64).to_le_bytes()).update(span.bytes)
        }
    };
}

/// The lowest 32 bits, as protobuf reads an `int32`.
fn int32(bits: u64) -> i32 {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// `0x` and two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

/// One element of a weight file, given its bytes; sub-byte elements are unpacked. `None` if there are
/// too few bytes or the type is never stored.
pub(super) fn element(dtype: DataType, bytes: &[u8]) -> Option<String> {
    let byte = *bytes.first()?;
    Some(match dtype {
        DataType::Fp16 => format!("{:?}", f16::from_le_bytes(*bytes.first_chunk()?)),
        DataType::Bf16 => format!("{:?}", bf16::from_le_bytes(*bytes.first_chunk()?)),
        DataType::Fp32 => format!("{:?}", f32::from_le_bytes(*bytes.first_chunk()?)),
        DataType::Fp8E4M3Fn => format!("{:?}", fp8_e4m3fn(byte)),
        DataType::Fp8E5M2 => format!("{:?}", f16::from_le_bytes([0, byte])),
        DataType::Int16 => i16::from_le_bytes(*bytes.first_chunk()?).to_string(),
        DataType::Uint16 => u16::from_le_bytes(*bytes.first_chunk()?).to_string(),
        DataType::Int32 => i32::from_le_bytes(*bytes.first_chunk()?).to_string(),
        DataType::Uint32 => u32::from_le_bytes(*bytes.first_chunk()?).to_string(),
        DataType::Int8 => byte.cast_signed().to_string(),
        DataType::Int4 => ((byte << 4).cast_signed() >> 4).to_string(),
        DataType::Uint8
        | DataType::Uint1
        | DataType::Uint2
        | DataType::Uint3
        | DataType::Uint4
        | DataType::Uint6 => byte.to_string(),
        DataType::Bool | DataType::String | DataType::Fp64 | DataType::Int64 | DataType::Uint64 => {
            return None;
        }
    })
}

/// Exponent bias 7, no infinities, NaN is all ones below the sign.
fn fp8_e4m3fn(byte: u8) -> f32 {
    let exponent = i32::from(byte >> 3 & 0xf);
    let mantissa = f32::from(byte & 7);
    let magnitude = match (exponent, byte & 7) {
        (0xf, 7) => f32::NAN,
        (0, _) => mantissa * (-9f32).exp2(),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - 10),
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_stored_type() {
        let rows: [(DataType, &[u8], &str); 13] = [
            (DataType::Fp16, &[0x00, 0x3c], "1.0"),
            (DataType::Bf16, &[0x80, 0xbf], "-1.0"),
            (DataType::Fp32, &[0, 0, 0x20, 0x40], "2.5"),
            (DataType::Fp8E5M2, &[0xc0], "-2.0"),
            (DataType::Int16, &[0xff, 0xff], "-1"),
            (DataType::Uint16, &[0xff, 0xff], "65535"),
            (DataType::Int32, &[0xfe, 0xff, 0xff, 0xff], "-2"),
            (DataType::Uint32, &[0, 0, 0, 0x80], "2147483648"),
            (DataType::Int8, &[0x80], "-128"),
            (DataType::Uint8, &[0x80], "128"),
            (DataType::Int4, &[0x0f], "-1"),
            (DataType::Int4, &[0x07], "7"),
            (DataType::Uint6, &[0x3f], "63"),
        ];
        for (dtype, bytes, text) in rows {
            assert_eq!(element(dtype, bytes).as_deref(), Some(text), "{dtype}");
        }
        assert_eq!(element(DataType::Fp32, &[0; 3]), None);
    }

    #[test]
    fn eight_bit_floats_with_four_exponent_bits() {
        for (byte, value) in [
            (0x00, 0.0),
            (0x01, 0.001953125),
            (0x07, 0.013671875),
            (0x08, 0.015625),
            (0x38, 1.0),
            (0x39, 1.125),
            (0x7e, 448.0),
            (0xb8, -1.0),
        ] {
            assert_eq!(fp8_e4m3fn(byte), value, "{byte:#x}");
        }
        assert!(fp8_e4m3fn(0x7f).is_nan() && fp8_e4m3fn(0xff).is_nan());
    }

    #[test]
    fn numbers_are_read_as_protobuf_reads_them() {
        assert_eq!(text(&Kind::Int32, WireValue::Varint(u64::MAX)).unwrap(), "-1");
        assert_eq!(text(&Kind::Int64, WireValue::Varint(u64::MAX)).unwrap(), "-1");
        assert_eq!(text(&Kind::Float, WireValue::Fixed32(0x7fc0_0000)).unwrap(), "NaN");
        let names = Kind::Enum([(1, "BOOL".to_owned())].into());
        assert_eq!(text(&names, WireValue::Varint(1)).unwrap(), "BOOL");
        assert_eq!(text(&names, WireValue::Varint(99)).unwrap(), "99");
    }
}
