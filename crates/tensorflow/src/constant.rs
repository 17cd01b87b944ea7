//! The values of `TensorProto`.

use mlc_tensor::{DType, Tensor, TensorError};
use prost::bytes::Bytes;

use crate::dtype::{DataTypeError, data_type};
use crate::file::ProtoFile;
use crate::proto::tensorflow::TensorProto;

/// A constant of a graph.
#[derive(Debug, Clone, PartialEq)]
pub enum Constant {
    /// Numbers or truth values.
    Numbers(Tensor),
    /// Strings, in row-major order, and their extents.
    Strings(Vec<Bytes>, Vec<u64>),
    /// Of an element type that is not supported.
    Unsupported(DataTypeError),
}

/// What can be wrong with a constant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConstantError {
    /// Its shape has an extent that is not known.
    #[error("the shape of a constant has an extent that is not known")]
    Shape,
    /// More values than elements.
    #[error("{values} values for {elements} elements")]
    TooMany {
        /// Values there.
        values: usize,
        /// Elements of the shape.
        elements: u64,
    },
    /// The tensor cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Most strings of a constant.
const MAX_STRINGS: u64 = 1 << 20;

/// The constant that `proto`, a part of `file`, holds.
///
/// Fewer values than elements repeat the last one; none at all are zeros.
///
/// # Errors
/// The shape is not known, or does not fit the values.
pub(crate) fn constant(file: &ProtoFile, proto: &TensorProto) -> Result<Constant, ConstantError> {
    let shape = shape_of(proto)?;
    let elements = shape
        .iter()
        .try_fold(1u64, |n, &d| n.checked_mul(d))
        .filter(|&n| n <= 1 << 48)
        .ok_or_else(|| TensorError::TooLarge { shape: shape.clone() })?;
    let dtype = match data_type(proto.dtype) {
        Ok(dtype) => dtype,
        Err(error) => return Ok(Constant::Unsupported(error)),
    };
    if dtype == DType::Str {
        let strings = proto.string_val.clone();
        if strings.len() as u64 > elements || elements > MAX_STRINGS {
            return Err(ConstantError::TooMany { values: strings.len(), elements });
        }
        return Ok(Constant::Strings(repeated(strings, elements, Bytes::new()), shape));
    }
    if !proto.tensor_content.is_empty() {
        return Ok(Constant::Numbers(file.tensor(&proto.tensor_content, dtype, &shape)?));
    }
    let size = dtype.size().ok_or(TensorError::SubByte { dtype })?;
    let bytes = value_bytes(proto, dtype);
    let values = bytes.len() / size;
    if values as u64 > elements {
        return Err(ConstantError::TooMany { values, elements });
    }
    let tensor = match values {
        0 => Tensor::splat(dtype, &shape, &vec![0; size])?,
        1 if elements > 1 => Tensor::splat(dtype, &shape, &bytes)?,
        n if n as u64 == elements => Tensor::from_bytes(dtype, &shape, bytes)?,
        n => {
            let last = Tensor::splat(dtype, &[elements - n as u64], &bytes[(n - 1) * size..])?;
            let first = Tensor::from_bytes(dtype, &[n as u64], bytes)?;
            Tensor::concat(0, &[first, last])?.reshape(&shape)?
        }
    };
    Ok(Constant::Numbers(tensor))
}

fn shape_of(proto: &TensorProto) -> Result<Vec<u64>, ConstantError> {
    let Some(shape) = &proto.tensor_shape else { return Ok(Vec::new()) };
    if shape.unknown_rank {
        return Err(ConstantError::Shape);
    }
    shape.dim.iter().map(|dim| u64::try_from(dim.size).map_err(|_| ConstantError::Shape)).collect()
}

fn repeated<T: Clone>(mut values: Vec<T>, count: u64, empty: T) -> Vec<T> {
    let last = values.last().cloned().unwrap_or(empty);
    values.resize(count as usize, last);
    values
}

/// The bytes of the values that are written out.
fn value_bytes(proto: &TensorProto, dtype: DType) -> Vec<u8> {
    let ints = |size: usize| -> Vec<u8> {
        proto.int_val.iter().flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect()
    };
    match dtype {
        DType::F32 => proto.float_val.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::F64 => proto.double_val.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::I32 => ints(4),
        DType::U16 | DType::I16 => ints(2),
        DType::U8 | DType::I8 => ints(1),
        DType::I64 => proto.int64_val.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::Bool => proto.bool_val.iter().map(|&v| u8::from(v)).collect(),
        DType::F16 | DType::Bf16 => {
            proto.half_val.iter().flat_map(|v| v.to_le_bytes()[..2].to_vec()).collect()
        }
        DType::U32 => proto.uint32_val.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::U64 => proto.uint64_val.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::C64 => proto.scomplex_val.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::C128 => proto.dcomplex_val.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::F8E5M2 | DType::F8E4M3 => proto.float8_val.to_vec(),
        _ => Vec::new(),
    }
}
