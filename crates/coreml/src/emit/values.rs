//! Constants: in the program, or in the weight file.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_target::{DataType, Opset, WEIGHT_FILE_MIN_ELEMENTS};
use mlc_tensor::{Tensor, TensorError};

use super::error;
use super::types;
use crate::blob::BlobSpec;
use crate::dtype::data_type;
use crate::package::{PackageWriteError, WeightFile};
use crate::spec::mil;

/// Makes the constants of a package. Large ones are streamed to the weight file, one at a time, in
/// order of first use; equal ones once.
pub(super) struct Values<'w> {
    opset: Opset,
    weights: Option<&'w mut WeightFile>,
    offsets: BTreeMap<Tensor, u64>,
    /// Constants in the weight file that were there already.
    pub(super) shared: u64,
}

impl<'w> Values<'w> {
    /// Without a weight file large constants are only checked.
    pub(super) fn new(opset: Opset, weights: Option<&'w mut WeightFile>) -> Self {
        Self { opset, weights, offsets: BTreeMap::new(), shared: 0 }
    }

    /// The constant `tensor`.
    ///
    /// # Errors
    /// MIL has no such element type, a recipe cannot be carried out, or the weight file cannot be
    /// written.
    pub(super) fn tensor(&mut self, tensor: &Tensor) -> Result<mil::Value, Diagnostics> {
        let dtype = tensor.dtype();
        let Some(data_type) = data_type(dtype).filter(|&d| d != DataType::String) else {
            let message = format!("a constant of {dtype} has no form in Core ML");
            return Err(Diagnostic::new(codes::UNSUPPORTED_DTYPE, message).into());
        };
        let ty = types::fixed(data_type, tensor.shape());
        let in_file = tensor.count() >= WEIGHT_FILE_MIN_ELEMENTS
            && data_type.weight_file_since().is_some_and(|since| since <= self.opset);
        if in_file {
            return self.in_file(tensor, data_type, ty);
        }
        let value = immediate(tensor, data_type).map_err(broken_tensor)?;
        Ok(literal(ty, value))
    }

    fn in_file(
        &mut self,
        tensor: &Tensor,
        data_type: DataType,
        ty: mil::ValueType,
    ) -> Result<mil::Value, Diagnostics> {
        let (file_name, offset) = match &mut self.weights {
            None => (String::new(), 0),
            Some(file) => {
                let offset = match self.offsets.get(tensor) {
                    Some(&offset) => {
                        self.shared += 1;
                        offset
                    }
                    None => {
                        let (offset, is_new) = store(file, tensor, data_type)?;
                        self.offsets.insert(tensor.clone(), offset);
                        self.shared += u64::from(!is_new);
                        offset
                    }
                };
                (file.reference(), offset)
            }
        };
        let blob = mil::value::BlobFileValue { file_name, offset };
        Ok(mil::Value {
            r#type: Some(ty),
            value: Some(mil::value::Value::BlobFileValue(blob)),
            ..Default::default()
        })
    }
}

/// Position of the blob, and whether it is new.
fn store(
    file: &mut WeightFile,
    tensor: &Tensor,
    data_type: DataType,
) -> Result<(u64, bool), Diagnostics> {
    let spec = BlobSpec::for_elements(data_type, tensor.count() as u64).map_err(|error| {
        Diagnostics::from(Diagnostic::new(codes::INTERNAL, format!("weight file: {error}")))
    })?;
    let path = file.path().to_path_buf();
    let failed = |source| error::package(&PackageWriteError::from_blob(&path, source));
    file.blobs().append_unique(spec, |out| tensor.write_to(out)).map_err(failed)
}

/// A constant whose bytes cannot be made.
pub(super) fn broken_tensor(error: TensorError) -> Diagnostics {
    Diagnostic::new(codes::CORRUPT_WEIGHTS, format!("a constant cannot be made: {error}")).into()
}

/// A constant that stands in the program.
pub(super) fn literal(ty: mil::ValueType, value: mil::tensor_value::Value) -> mil::Value {
    use mil::value::immediate_value::Value as Immediate;
    immediate_value(Some(ty), Immediate::Tensor(mil::TensorValue { value: Some(value) }))
}

fn immediate_value(
    ty: Option<mil::ValueType>,
    value: mil::value::immediate_value::Value,
) -> mil::Value {
    let value = mil::value::ImmediateValue { value: Some(value) };
    mil::Value {
        r#type: ty,
        value: Some(mil::value::Value::ImmediateValue(value)),
        ..Default::default()
    }
}

/// A string.
pub(super) fn string(text: &str) -> mil::Value {
    let strings = mil::tensor_value::RepeatedStrings { values: vec![text.to_owned()] };
    literal(types::scalar(DataType::String), mil::tensor_value::Value::Strings(strings))
}

/// A list of constants of one scalar type.
pub(super) fn list(element: DataType, values: Vec<mil::Value>) -> mil::Value {
    use mil::dimension::{ConstantDimension, Dimension};
    let size = values.len() as u64;
    let length =
        mil::Dimension { dimension: Some(Dimension::Constant(ConstantDimension { size })) };
    let ty = mil::ListType { r#type: Some(Box::new(types::scalar(element))), length: Some(length) };
    let ty = mil::ValueType { r#type: Some(mil::value_type::Type::ListType(Box::new(ty))) };
    immediate_value(Some(ty), mil::value::immediate_value::Value::List(mil::ListValue { values }))
}

/// The elements in the member that MIL reads for their type.
fn immediate(
    tensor: &Tensor,
    data_type: DataType,
) -> Result<mil::tensor_value::Value, TensorError> {
    use mil::tensor_value::{
        RepeatedBools, RepeatedBytes, RepeatedDoubles, RepeatedFloats, RepeatedInts,
        RepeatedLongInts, Value,
    };
    Ok(match data_type {
        DataType::Fp32 => {
            let bytes = tensor.bytes()?;
            let values = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            Value::Floats(RepeatedFloats { values })
        }
        DataType::Fp64 => Value::Doubles(RepeatedDoubles { values: tensor.to_f64s()? }),
        DataType::Int16 | DataType::Uint16 | DataType::Int32 => {
            // These types have 32 bits or less, so the conversion keeps every value.
            let values = tensor.to_i64s()?.into_iter().map(|x| x as i32).collect();
            Value::Ints(RepeatedInts { values })
        }
        DataType::Int64 | DataType::Uint64 => {
            Value::LongInts(RepeatedLongInts { values: tensor.to_i64s()? })
        }
        DataType::Bool => {
            let values = tensor.bytes()?.iter().map(|&b| b != 0).collect();
            Value::Bools(RepeatedBools { values })
        }
        _ => Value::Bytes(RepeatedBytes { values: tensor.bytes()?.into_owned() }),
    })
}
