//! The element types of TensorFlow.

use mlc_tensor::DType;

/// A `DataType` that has no element type here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataTypeError {
    /// A type of TensorFlow that holds no numbers this frontend computes with.
    #[error("element type {0} is not supported")]
    Unsupported(&'static str),
    /// No type has this number.
    #[error("no element type has the number {0}")]
    Unknown(i32),
}

/// The number of strings.
pub(crate) const STRING: i32 = 7;
/// The number of handles of resources.
pub(crate) const RESOURCE: i32 = 20;
/// The number of lists and other objects.
pub(crate) const VARIANT: i32 = 21;

/// The element type that a `DataType` number means; reference types are those they refer to.
///
/// # Errors
/// No type has the number, or its type is not supported.
pub fn data_type(number: i32) -> Result<DType, DataTypeError> {
    let plain = if (101..200).contains(&number) { number - 100 } else { number };
    Ok(match plain {
        1 => DType::F32,
        2 => DType::F64,
        3 => DType::I32,
        4 => DType::U8,
        5 => DType::I16,
        6 => DType::I8,
        STRING => DType::Str,
        8 => DType::C64,
        9 => DType::I64,
        10 => DType::Bool,
        11 => return Err(DataTypeError::Unsupported("qint8")),
        12 => return Err(DataTypeError::Unsupported("quint8")),
        13 => return Err(DataTypeError::Unsupported("qint32")),
        14 => DType::Bf16,
        15 => return Err(DataTypeError::Unsupported("qint16")),
        16 => return Err(DataTypeError::Unsupported("quint16")),
        17 => DType::U16,
        18 => DType::C128,
        19 => DType::F16,
        RESOURCE => return Err(DataTypeError::Unsupported("resource")),
        VARIANT => return Err(DataTypeError::Unsupported("variant")),
        22 => DType::U32,
        23 => DType::U64,
        24 => DType::F8E5M2,
        25 => DType::F8E4M3,
        29 => return Err(DataTypeError::Unsupported("int4")),
        30 => return Err(DataTypeError::Unsupported("uint4")),
        _ => return Err(DataTypeError::Unknown(number)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_what_they_refer_to() {
        assert_eq!(data_type(101), Ok(DType::F32));
        assert_eq!(data_type(9), Ok(DType::I64));
        assert_eq!(data_type(20), Err(DataTypeError::Unsupported("resource")));
        assert_eq!(data_type(-4), Err(DataTypeError::Unknown(-4)));
    }
}
