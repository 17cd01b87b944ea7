//! Element types of every source and of Core ML.

use std::fmt;

/// The element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned 1-bit integer.
    U1,
    /// Unsigned 2-bit integer.
    U2,
    /// Unsigned 3-bit integer.
    U3,
    /// Unsigned 4-bit integer.
    U4,
    /// Unsigned 6-bit integer.
    U6,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
    /// Signed 4-bit integer.
    I4,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// 8-bit float, 4 exponent bits, no infinity.
    F8E4M3,
    /// 8-bit float, 5 exponent bits.
    F8E5M2,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Pair of [`DType::F32`].
    C64,
    /// Pair of [`DType::F64`].
    C128,
    /// A string; only in scalars and lists that carry no bytes here.
    Str,
}

/// The category of an element type, in order of promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DTypeKind {
    /// Booleans.
    Bool,
    /// Integers, signed or not.
    Int,
    /// Floating-point numbers.
    Float,
    /// Complex numbers.
    Complex,
    /// Strings.
    Str,
}

const NAMES: [(DType, &str, u32); 24] = [
    (DType::Bool, "bool", 8),
    (DType::U1, "u1", 1),
    (DType::U2, "u2", 2),
    (DType::U3, "u3", 3),
    (DType::U4, "u4", 4),
    (DType::U6, "u6", 6),
    (DType::U8, "u8", 8),
    (DType::U16, "u16", 16),
    (DType::U32, "u32", 32),
    (DType::U64, "u64", 64),
    (DType::I4, "i4", 4),
    (DType::I8, "i8", 8),
    (DType::I16, "i16", 16),
    (DType::I32, "i32", 32),
    (DType::I64, "i64", 64),
    (DType::F8E4M3, "f8e4m3", 8),
    (DType::F8E5M2, "f8e5m2", 8),
    (DType::F16, "f16", 16),
    (DType::Bf16, "bf16", 16),
    (DType::F32, "f32", 32),
    (DType::F64, "f64", 64),
    (DType::C64, "c64", 64),
    (DType::C128, "c128", 128),
    (DType::Str, "str", 0),
];

impl DType {
    /// Every element type.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Self, &'static str, u32) {
        NAMES.iter().find(|row| row.0 == self).unwrap_or(&NAMES[0])
    }

    /// The name in text IR, such as `f16`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The element type of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Bits of one element; 0 for strings.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.row().2
    }

    /// Bytes of one element; `None` for sub-byte types and strings.
    #[must_use]
    pub fn size(self) -> Option<usize> {
        let bits = self.bits();
        (bits > 0 && bits.is_multiple_of(8)).then_some((bits / 8) as usize)
    }

    /// Bytes of `count` elements, the last byte of a sub-byte type padded; `None` on overflow or
    /// for strings.
    #[must_use]
    pub fn bytes_for(self, count: u64) -> Option<u64> {
        if self == Self::Str {
            return None;
        }
        Some(count.checked_mul(u64::from(self.bits()))?.div_ceil(8))
    }

    /// The category.
    #[must_use]
    pub fn kind(self) -> DTypeKind {
        match self {
            Self::Bool => DTypeKind::Bool,
            Self::F8E4M3 | Self::F8E5M2 | Self::F16 | Self::Bf16 | Self::F32 | Self::F64 => {
                DTypeKind::Float
            }
            Self::C64 | Self::C128 => DTypeKind::Complex,
            Self::Str => DTypeKind::Str,
            _ => DTypeKind::Int,
        }
    }

    /// Whether it is a floating-point type.
    #[must_use]
    pub fn is_float(self) -> bool {
        self.kind() == DTypeKind::Float
    }

    /// Whether it is an integer type.
    #[must_use]
    pub fn is_int(self) -> bool {
        self.kind() == DTypeKind::Int
    }

    /// The least and greatest value of an integer type or `bool`; `u64` ends at `i64::MAX`.
    #[must_use]
    pub fn int_range(self) -> Option<(i64, i64)> {
        let bits = self.bits();
        match self {
            Self::Bool => Some((0, 1)),
            Self::U64 => Some((0, i64::MAX)),
            Self::I64 => Some((i64::MIN, i64::MAX)),
            Self::I4 | Self::I8 | Self::I16 | Self::I32 => {
                Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1))
            }
            _ if self.is_int() => Some((0, (1 << bits) - 1)),
            _ => None,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_ranges_fit_bits() {
        for dtype in DType::all() {
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(DType::I4.int_range(), Some((-8, 7)));
        assert_eq!(DType::U3.int_range(), Some((0, 7)));
        assert_eq!(DType::U3.bytes_for(3), Some(2));
        assert_eq!(DType::U6.size(), None);
    }
}
