//! Constants of a package as tensors, strings and lists.

use std::collections::BTreeMap;

use mlc_diag::{Code, codes};
use mlc_target::DataType;
use mlc_tensor::{DType, Tensor};

use crate::blob::BlobReader;
use crate::dtype::dtype;
use crate::package::WeightBytes;
use crate::spec::mil;

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    /// Numbers or truth values.
    Tensor(Tensor),
    /// One string, or a vector of them.
    Strings(Vec<String>),
    /// A list.
    List(Vec<Literal>),
}

/// The weight files of a package, by the names that the model uses.
pub(super) type Weights = BTreeMap<String, WeightBytes>;

/// What is wrong with a constant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) message: String,
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Self { code: codes::CORRUPT_PACKAGE, message }
    }
}

/// What a value holds; tensors in a weight file stay there.
///
/// # Errors
/// What is wrong with the value.
pub(super) fn literal(value: &mil::Value, weights: &Weights) -> Result<Literal, Problem> {
    use mil::value::Value;
    use mil::value::immediate_value::Value as Immediate;
    match &value.value {
        None => Err("a constant has no value".to_owned().into()),
        Some(Value::BlobFileValue(blob)) => {
            let (data_type, shape) = tensor_type(value.r#type.as_ref())?;
            in_file(blob, data_type, &shape, weights).map(Literal::Tensor)
        }
        Some(Value::ImmediateValue(immediate)) => match &immediate.value {
            Some(Immediate::Tensor(tensor)) => {
                let (data_type, shape) = tensor_type(value.r#type.as_ref())?;
                Ok(immediate_tensor(tensor, data_type, &shape)?)
            }
            Some(Immediate::List(list)) => {
                let items = list.values.iter().map(|item| literal(item, weights));
                Ok(Literal::List(items.collect::<Result<_, _>>()?))
            }
            Some(Immediate::Tuple(tuple)) => {
                let items = tuple.values.iter().map(|item| literal(item, weights));
                Ok(Literal::List(items.collect::<Result<_, _>>()?))
            }
            Some(Immediate::Dictionary(_)) => {
                Err("a dictionary is no constant here".to_owned().into())
            }
            None => Err("a constant has no value".to_owned().into()),
        },
    }
}

fn tensor_type(ty: Option<&mil::ValueType>) -> Result<(DataType, Vec<u64>), String> {
    use mil::dimension::Dimension;
    let Some(mil::value_type::Type::TensorType(ty)) = ty.and_then(|ty| ty.r#type.as_ref()) else {
        return Err("a constant with elements is not declared as a tensor".to_owned());
    };
    let data_type = DataType::from_proto_number(ty.data_type)
        .ok_or_else(|| format!("{} is no element type", ty.data_type))?;
    let shape = ty.dimensions.iter().map(|dim| match dim.dimension {
        Some(Dimension::Constant(size)) => Ok(size.size),
        Some(Dimension::Unknown(_)) | None => {
            Err("a constant has a dimension without size".to_owned())
        }
    });
    let shape = shape.collect::<Result<Vec<_>, _>>()?;
    if ty.rank != shape.len() as i64 {
        return Err(format!("rank {} is declared for {} dimensions", ty.rank, shape.len()));
    }
    Ok((data_type, shape))
}

fn in_file(
    blob: &mil::value::BlobFileValue,
    data_type: DataType,
    shape: &[u64],
    weights: &Weights,
) -> Result<Tensor, Problem> {
    let damaged = |message| Problem { code: codes::CORRUPT_WEIGHTS, message };
    let file = weights.get(&blob.file_name).ok_or_else(|| Problem {
        code: codes::FILE_NOT_FOUND,
        message: format!("there is no weight file `{}`", blob.file_name),
    })?;
    let reader = BlobReader::new(file.bytes()).map_err(|error| damaged(error.to_string()))?;
    let found = reader.blob_at(blob.offset).map_err(|error| damaged(error.to_string()))?;
    let spec = found.spec();
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    if spec.dtype() != data_type || Some(spec.element_count()) != count {
        return Err(damaged(format!(
            "the blob at byte {} holds {} elements of {}, {shape:?} of {data_type} is declared",
            blob.offset,
            spec.element_count(),
            spec.dtype()
        )));
    }
    let payload = blob.offset + RECORD_BYTES;
    Tensor::mapped(file.file(), payload, dtype(data_type), shape)
        .map_err(|error| damaged(error.to_string()))
}

/// Bytes between the position of a blob and its payload.
const RECORD_BYTES: u64 = 64;

fn immediate_tensor(
    tensor: &mil::TensorValue,
    data_type: DataType,
    shape: &[u64],
) -> Result<Literal, String> {
    use mil::tensor_value::Value;
    let wrong = || Err(format!("elements of {data_type} stand in another member"));
    let Some(value) = &tensor.value else {
        return Err("a constant has no elements".to_owned());
    };
    let bytes: Vec<u8> = match (data_type, value) {
        (DataType::String, Value::Strings(strings)) => {
            let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
            if count != Some(strings.values.len() as u64) || shape.len() > 1 {
                return Err(format!("{} strings for shape {shape:?}", strings.values.len()));
            }
            return Ok(Literal::Strings(strings.values.clone()));
        }
        (DataType::Fp32, Value::Floats(floats)) => {
            floats.values.iter().flat_map(|x| x.to_le_bytes()).collect()
        }
        (DataType::Fp64, Value::Doubles(doubles)) => {
            doubles.values.iter().flat_map(|x| x.to_le_bytes()).collect()
        }
        (DataType::Int64 | DataType::Uint64, Value::LongInts(ints)) => {
            ints.values.iter().flat_map(|x| x.to_le_bytes()).collect()
        }
        (DataType::Bool, Value::Bools(bools)) => {
            bools.values.iter().map(|&b| u8::from(b)).collect()
        }
        (
            DataType::Int32
            | DataType::Int16
            | DataType::Uint16
            | DataType::Int8
            | DataType::Uint8
            | DataType::Uint32,
            Value::Ints(ints),
        ) => return integers(&ints.values, data_type, shape),
        (DataType::String | DataType::Bool, _) => return wrong(),
        (_, Value::Bytes(bytes)) => bytes.values.clone(),
        _ => return wrong(),
    };
    Tensor::from_bytes(dtype(data_type), shape, bytes)
        .map(Literal::Tensor)
        .map_err(|error| error.to_string())
}

fn integers(values: &[i32], data_type: DataType, shape: &[u64]) -> Result<Literal, String> {
    let dtype = dtype(data_type);
    let values: Vec<i64> = values
        .iter()
        .map(|&x| match data_type {
            DataType::Uint32 => i64::from(x as u32),
            _ => i64::from(x),
        })
        .collect();
    let (low, high) = dtype.int_range().unwrap_or((i64::MIN, i64::MAX));
    if let Some(x) = values.iter().find(|x| !(low..=high).contains(*x)) {
        return Err(format!("{x} does not fit {data_type}"));
    }
    Tensor::from_i64s(dtype, shape, &values).map(Literal::Tensor).map_err(|error| error.to_string())
}

impl Literal {
    /// What it is, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Tensor(tensor) if tensor.shape().is_empty() => format!("a {}", tensor.dtype()),
            Self::Tensor(tensor) => format!("{:?} of {}", tensor.shape(), tensor.dtype()),
            Self::Strings(items) if items.len() == 1 => "a string".to_owned(),
            Self::Strings(items) => format!("{} strings", items.len()),
            Self::List(items) => format!("a list of {}", items.len()),
        }
    }

    /// The tensor, of floats as they mean: `f32` as the shortest decimal number that gives it, so
    /// that 1e-5 is 1e-5; `f16` exactly.
    pub(super) fn float(&self) -> Option<f64> {
        let Self::Tensor(tensor) = self else { return None };
        if tensor.count() != 1 {
            return None;
        }
        if tensor.dtype() == DType::F32 {
            let bytes = tensor.bytes().ok()?;
            let x = f32::from_le_bytes(*bytes.first_chunk::<4>()?);
            return x.to_string().parse().ok();
        }
        tensor.to_f64s().ok()?.first().copied()
    }

    /// The elements, where they are integers or truth values.
    pub(super) fn ints(&self) -> Option<Vec<i64>> {
        match self {
            Self::Tensor(tensor) if tensor.dtype().is_int() => tensor.to_i64s().ok(),
            Self::List(items) => items.iter().map(|item| item.ints()?.first().copied()).collect(),
            _ => None,
        }
    }

    /// The elements, where they are truth values.
    pub(super) fn bools(&self) -> Option<Vec<bool>> {
        match self {
            Self::Tensor(tensor) if tensor.dtype() == DType::Bool => {
                Some(tensor.bytes().ok()?.iter().map(|&b| b != 0).collect())
            }
            Self::List(items) => items.iter().map(|item| item.bools()?.first().copied()).collect(),
            _ => None,
        }
    }

    /// The strings.
    pub(super) fn strings(&self) -> Option<Vec<String>> {
        match self {
            Self::Strings(items) => Some(items.clone()),
            Self::List(items) => {
                items.iter().map(|item| item.strings()?.first().cloned()).collect()
            }
            Self::Tensor(_) => None,
        }
    }
}
