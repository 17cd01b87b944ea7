//! Types of the IR as MIL declares them.

use mlc_ir::{Dim, Symbols, TensorType, Type};
use mlc_target::DataType;

use crate::dtype::data_type;
use crate::spec::mil;

/// The number an extent must have, by its own value or by the ranges of its symbols.
pub(crate) fn fixed_extent(symbols: &Symbols, dim: &Dim) -> Option<u64> {
    match symbols.bounds(dim) {
        (Some(low), Some(high)) if low == high => u64::try_from(low).ok(),
        _ => None,
    }
}

fn dimension(symbols: &Symbols, dim: &Dim) -> mil::Dimension {
    use mil::dimension::{ConstantDimension, Dimension, UnknownDimension};
    let dimension = match fixed_extent(symbols, dim) {
        Some(size) => Dimension::Constant(ConstantDimension { size }),
        None => Dimension::Unknown(UnknownDimension { variadic: false }),
    };
    mil::Dimension { dimension: Some(dimension) }
}

fn wrap(ty: mil::value_type::Type) -> mil::ValueType {
    mil::ValueType { r#type: Some(ty) }
}

/// The type of a scalar.
pub(crate) fn scalar(dtype: DataType) -> mil::ValueType {
    fixed(dtype, &[])
}

/// The type of a tensor of a known shape.
pub(crate) fn fixed(dtype: DataType, shape: &[u64]) -> mil::ValueType {
    use mil::dimension::{ConstantDimension, Dimension};
    let dimensions = shape
        .iter()
        .map(|&size| mil::Dimension {
            dimension: Some(Dimension::Constant(ConstantDimension { size })),
        })
        .collect();
    wrap(mil::value_type::Type::TensorType(tensor_type(dtype, dimensions)))
}

fn tensor_type(dtype: DataType, dimensions: Vec<mil::Dimension>) -> mil::TensorType {
    mil::TensorType {
        data_type: dtype.proto_number(),
        rank: dimensions.len() as i64,
        dimensions,
        ..Default::default()
    }
}

fn tensor(symbols: &Symbols, ty: &TensorType) -> Option<mil::ValueType> {
    let dimensions = ty.shape.iter().map(|dim| dimension(symbols, dim)).collect();
    Some(wrap(mil::value_type::Type::TensorType(tensor_type(data_type(ty.dtype)?, dimensions))))
}

/// A type as MIL declares it; extents that are not one number are unknown. `None` for types MIL has
/// no word for.
pub(crate) fn value_type(symbols: &Symbols, ty: &Type) -> Option<mil::ValueType> {
    use mil::value_type::Type as Mil;
    Some(match ty {
        Type::Tensor(ty) => tensor(symbols, ty)?,
        Type::State(ty) => {
            let wrapped_type = Some(Box::new(tensor(symbols, ty)?));
            wrap(Mil::StateType(Box::new(mil::StateType { wrapped_type })))
        }
        Type::List { element, length } => {
            let list = mil::ListType {
                r#type: Some(Box::new(tensor(symbols, element)?)),
                length: Some(dimension(symbols, length)),
            };
            wrap(Mil::ListType(Box::new(list)))
        }
        Type::Dict { key, value } => {
            let dictionary = mil::DictionaryType {
                key_type: Some(Box::new(scalar(data_type(*key)?))),
                value_type: Some(Box::new(scalar(data_type(*value)?))),
            };
            wrap(Mil::DictionaryType(Box::new(dictionary)))
        }
        Type::Tuple(items) => {
            let types =
                items.iter().map(|item| value_type(symbols, item)).collect::<Option<_>>()?;
            wrap(Mil::TupleType(mil::TupleType { types }))
        }
    })
}
