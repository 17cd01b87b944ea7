//! Element types of the IR and of MIL.

use mlc_target::DataType;
use mlc_tensor::DType;

/// MIL's name for an element type; `None` for complex numbers.
pub fn data_type(dtype: DType) -> Option<DataType> {
    DataType::from_ir_name(dtype.name())
}

/// The element type of a MIL type.
pub fn dtype(data_type: DataType) -> DType {
    DType::from_name(data_type.ir_name()).expect("a test finds every name of MIL's types")
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
