//! Element types of the IR and of MIL.

use mlc_target::DataType;
use mlc_tensor::DType;

/// MIL's name for an element type; `None` for complex numbers.
pub const fn data_type(dtype: DType) -> Option<DataType> {
    Some(match dtype {
        DType::Bool => DataType::Bool,
        DType::U1 => DataType::Uint1,
        DType::U2 => DataType::Uint2,
        DType::U3 => DataType::Uint3,
        DType::U4 => DataType::Uint4,
        DType::U6 => DataType::Uint6,
        DType::U8 => DataType::Uint8,
        DType::U16 => DataType::Uint16,
        DType::U32 => DataType::Uint32,
        DType::U64 => DataType::Uint64,
        DType::I4 => DataType::Int4,
        DType::I8 => DataType::Int8,
        DType::I16 => DataType::Int16,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::F8E4M3 => DataType::Fp8E4M3Fn,
        DType::F8E5M2 => DataType::Fp8E5M2,
        DType::F16 => DataType::Fp16,
        DType::Bf16 => DataType::Bf16,
        DType::F32 => DataType::Fp32,
        DType::F64 => DataType::Fp64,
        DType::Str => DataType::String,
        DType::C64 | DType::C128 => return None,
    })
}

/// The element type of a MIL type.
pub const fn dtype(data_type: DataType) -> DType {
    match data_type {
        DataType::Bool => DType::Bool,
        DataType::String => DType::Str,
        DataType::Fp16 => DType::F16,
        DataType::Fp32 => DType::F32,
        DataType::Fp64 => DType::F64,
        DataType::Bf16 => DType::Bf16,
        DataType::Int8 => DType::I8,
        DataType::Int16 => DType::I16,
        DataType::Int32 => DType::I32,
        DataType::Int64 => DType::I64,
        DataType::Int4 => DType::I4,
        DataType::Uint8 => DType::U8,
        DataType::Uint16 => DType::U16,
        DataType::Uint32 => DType::U32,
        DataType::Uint64 => DType::U64,
        DataType::Uint4 => DType::U4,
        DataType::Uint2 => DType::U2,
        DataType::Uint1 => DType::U1,
        DataType::Uint6 => DType::U6,
        DataType::Uint3 => DType::U3,
        DataType::Fp8E4M3Fn => DType::F8E4M3,
        DataType::Fp8E5M2 => DType::F8E5M2,
    }
}

/// Whether values of a program may have this type. The 64-bit types stand in labels and
/// probabilities of classifiers alone, bfloat16 and the 8-bit floats nowhere.
pub(crate) const fn is_program_type(data_type: DataType) -> bool {
    !matches!(
        data_type,
        DataType::Fp64
            | DataType::Bf16
            | DataType::Int64
            | DataType::Uint64
            | DataType::Fp8E4M3Fn
            | DataType::Fp8E5M2
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_tables_are_inverse() {
        for &one in DataType::ALL {
            assert_eq!(data_type(dtype(one)), Some(one));
            if let Some(bits) = one.bits() {
                assert_eq!(dtype(one).bits(), bits, "{one}");
            }
        }
        assert_eq!(DType::all().filter(|&d| data_type(d).is_none()).count(), 2);
    }
}
