//! MIL's element types and their codes.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::Opset;

/// A constant with at least this many elements goes to the weight file when its dtype may
/// ([`DataType::weight_file_since`]); a smaller one stands in the program.
pub const WEIGHT_FILE_MIN_ELEMENTS: usize = 10;

/// One line per type: MIL's name, that of text IR, number in the program, bits of an element, code in the weight file.
macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $ir:literal, $number:literal, $bits:expr, $blob:expr;)*) => {
        /// The element type of a MIL value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DataType {
            $($(#[$doc])* $variant,)*
        }

        impl DataType {
            /// All types, in the order of their numbers in the program.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// MIL's spelling, such as `fp16`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The spelling in text IR, such as `f16`, by which element types of tensors are found.
            pub const fn ir_name(self) -> &'static str {
                match self { $(Self::$variant => $ir,)* }
            }

            /// The number of the type in the program's `DataType` enum.
            pub const fn proto_number(self) -> i32 {
                match self { $(Self::$variant => $number,)* }
            }

            /// Bits of one element in packed bytes; `None` for `bool` and `string`, which are never stored as bytes.
            pub const fn bits(self) -> Option<u32> {
                match self { $(Self::$variant => $bits,)* }
            }

            /// The code of the type in the weight file; `None` for types that never go there.
            pub const fn blob_code(self) -> Option<u32> {
                match self { $(Self::$variant => $blob,)* }
            }
        }
    };
}

dtypes! {
    /// Truth value.
    Bool = "bool", "bool", 1, None, None;
    /// UTF-8 text.
    String = "string", "str", 2, None, None;
    /// IEEE binary16.
    Fp16 = "fp16", "f16", 10, Some(16), Some(1);
    /// IEEE binary32.
    Fp32 = "fp32", "f32", 11, Some(32), Some(2);
    /// IEEE binary64.
    Fp64 = "fp64", "f64", 12, Some(64), None;
    /// The upper half of binary32.
    Bf16 = "bf16", "bf16", 13, Some(16), Some(5);
    /// Signed, 8 bits.
    Int8 = "int8", "i8", 21, Some(8), Some(4);
    /// Signed, 16 bits.
    Int16 = "int16", "i16", 22, Some(16), Some(6);
    /// Signed, 32 bits: MIL's only integer type with arithmetic.
    Int32 = "int32", "i32", 23, Some(32), Some(14);
    /// Signed, 64 bits.
    Int64 = "int64", "i64", 24, Some(64), None;
    /// Signed, 4 bits, two's complement.
    Int4 = "int4", "i4", 25, Some(4), Some(8);
    /// Unsigned, 8 bits.
    Uint8 = "uint8", "u8", 31, Some(8), Some(3);
    /// Unsigned, 16 bits.
    Uint16 = "uint16", "u16", 32, Some(16), Some(7);
    /// Unsigned, 32 bits.
    Uint32 = "uint32", "u32", 33, Some(32), Some(15);
    /// Unsigned, 64 bits.
    Uint64 = "uint64", "u64", 34, Some(64), None;
    /// Unsigned, 4 bits.
    Uint4 = "uint4", "u4", 35, Some(4), Some(11);
    /// Unsigned, 2 bits.
    Uint2 = "uint2", "u2", 36, Some(2), Some(10);
    /// Unsigned, 1 bit.
    Uint1 = "uint1", "u1", 37, Some(1), Some(9);
    /// Unsigned, 6 bits.
    Uint6 = "uint6", "u6", 38, Some(6), Some(13);
    /// Unsigned, 3 bits.
    Uint3 = "uint3", "u3", 39, Some(3), Some(12);
    /// 8-bit float with 4 exponent and 3 mantissa bits, finite values and NaN only.
    Fp8E4M3Fn = "fp8e4m3fn", "f8e4m3", 40, Some(8), Some(16);
    /// 8-bit float with 5 exponent and 2 mantissa bits.
    Fp8E5M2 = "fp8e5m2", "f8e5m2", 41, Some(8), Some(17);
}

impl DataType {
    /// The type that text IR spells so; `None` for complex numbers, which MIL does not have.
    pub fn from_ir_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.ir_name() == name)
    }

    /// The type with this number in the program's `DataType` enum.
    pub fn from_proto_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.proto_number() == number)
    }

    /// The type with this code in the weight file.
    pub fn from_blob_code(code: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.blob_code() == Some(code))
    }

    /// The first opset whose programs keep large constants of this type in the weight file; `None` when none does.
    ///
    /// bfloat16 and the 8-bit floats have codes there, but no op takes them.
    pub const fn weight_file_since(self) -> Option<Opset> {
        match self {
            Self::Fp16 | Self::Fp32 | Self::Int8 | Self::Uint8 => Some(Opset::Ios15),
            Self::Int16
            | Self::Int32
            | Self::Int4
            | Self::Uint16
            | Self::Uint32
            | Self::Uint1
            | Self::Uint2
            | Self::Uint3
            | Self::Uint4
            | Self::Uint6 => Some(Opset::Ios18),
            Self::Bool
            | Self::String
            | Self::Fp64
            | Self::Bf16
            | Self::Int64
            | Self::Uint64
            | Self::Fp8E4M3Fn
            | Self::Fp8E5M2 => None,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Parses MIL's spelling exactly.
impl FromStr for DataType {
    type Err = UnknownDataType;

    fn from_str(name: &str) -> Result<Self, UnknownDataType> {
        Self::ALL
            .iter()
            .copied()
            .find(|dtype| dtype.name() == name)
            .ok_or_else(|| UnknownDataType { name: name.to_owned() })
    }
}

/// A name that is no MIL data type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{name}` is not a MIL data type")]
pub struct UnknownDataType {
    /// The name as given.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::DataType;
    use crate::Opset;

    #[test]
    fn numbers_bits_and_codes() {
        let rows = [
            (DataType::Fp16, "fp16", 10, 16, 1),
            (DataType::Fp32, "fp32", 11, 32, 2),
            (DataType::Bf16, "bf16", 13, 16, 5),
            (DataType::Int8, "int8", 21, 8, 4),
            (DataType::Int16, "int16", 22, 16, 6),
            (DataType::Int32, "int32", 23, 32, 14),
            (DataType::Int4, "int4", 25, 4, 8),
            (DataType::Uint8, "uint8", 31, 8, 3),
            (DataType::Uint16, "uint16", 32, 16, 7),
            (DataType::Uint32, "uint32", 33, 32, 15),
            (DataType::Uint4, "uint4", 35, 4, 11),
            (DataType::Uint2, "uint2", 36, 2, 10),
            (DataType::Uint1, "uint1", 37, 1, 9),
            (DataType::Uint6, "uint6", 38, 6, 13),
            (DataType::Uint3, "uint3", 39, 3, 12),
            (DataType::Fp8E4M3Fn, "fp8e4m3fn", 40, 8, 16),
            (DataType::Fp8E5M2, "fp8e5m2", 41, 8, 17),
        ];
        for (dtype, name, number, bits, code) in rows {
            assert_eq!((dtype.name(), dtype.proto_number()), (name, number));
            assert_eq!((dtype.bits(), dtype.blob_code()), (Some(bits), Some(code)), "{name}");
        }
        let without_code: Vec<(&str, i32)> = DataType::ALL
            .iter()
            .filter(|dtype| dtype.blob_code().is_none())
            .map(|dtype| (dtype.name(), dtype.proto_number()))
            .collect();
        assert_eq!(
            without_code,
            [("bool", 1), ("string", 2), ("fp64", 12), ("int64", 24), ("uint64", 34)]
        );
    }

    #[test]
    fn names_numbers_and_codes_are_one_to_one() {
        let numbers: Vec<i32> = DataType::ALL.iter().map(|dtype| dtype.proto_number()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
        let codes: BTreeSet<u32> = DataType::ALL.iter().filter_map(|d| d.blob_code()).collect();
        assert_eq!(codes, (1..=17).collect());
        for &dtype in DataType::ALL {
            assert_eq!(dtype.name().parse(), Ok(dtype));
            assert_eq!(DataType::from_proto_number(dtype.proto_number()), Some(dtype));
            if let Some(code) = dtype.blob_code() {
                assert_eq!(DataType::from_blob_code(code), Some(dtype));
            }
        }
        assert_eq!(DataType::from_blob_code(0), None);
        assert_eq!(DataType::from_proto_number(0), None);
        assert!("float16".parse::<DataType>().is_err());
    }

    #[test]
    fn what_goes_to_the_weight_file_has_a_code() {
        for dtype in DataType::ALL {
            if dtype.weight_file_since().is_some() {
                assert!(dtype.blob_code().is_some(), "{dtype}");
            }
        }
        assert_eq!(DataType::Uint8.weight_file_since(), Some(Opset::Ios15));
        assert_eq!(DataType::Int32.weight_file_since(), Some(Opset::Ios18));
        assert_eq!(DataType::Uint3.weight_file_since(), Some(Opset::Ios18));
        assert_eq!(DataType::Int64.weight_file_since(), None);
    }
}
