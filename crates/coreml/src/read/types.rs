//! Types that MIL declares as types of the IR.

use mlc_ir::{Dim, TensorType, Type};
use mlc_target::DataType;

use crate::dtype::dtype;
use crate::spec::mil;

/// The type; an extent that is not declared is [`Dim::Unknown`].
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn value_type(ty: Option<&mil::ValueType>) -> Result<Type, String> {
    use mil::value_type::Type as Mil;
    let Some(ty) = ty.and_then(|ty| ty.r#type.as_ref()) else {
        return Err("no type is declared".to_owned());
    };
    Ok(match ty {
        Mil::TensorType(ty) => Type::Tensor(tensor(ty)?),
        Mil::StateType(state) => Type::State(inner(state.wrapped_type.as_deref())?),
        Mil::ListType(list) => Type::List {
            element: inner(list.r#type.as_deref())?,
            length: list.length.as_ref().map_or(Ok(Dim::Unknown), dimension)?,
        },
        Mil::DictionaryType(dictionary) => Type::Dict {
            key: inner(dictionary.key_type.as_deref())?.dtype,
            value: inner(dictionary.value_type.as_deref())?.dtype,
        },
        Mil::TupleType(tuple) => Type::Tuple(
            tuple.types.iter().map(|item| value_type(Some(item))).collect::<Result<_, _>>()?,
        ),
    })
}

fn inner(ty: Option<&mil::ValueType>) -> Result<TensorType, String> {
    match value_type(ty)? {
        Type::Tensor(ty) => Ok(ty),
        other => Err(format!("{other} stands where a tensor is needed")),
    }
}

fn tensor(ty: &mil::TensorType) -> Result<TensorType, String> {
    let data_type = DataType::from_proto_number(ty.data_type)
        .ok_or_else(|| format!("{} is no element type", ty.data_type))?;
    if ty.rank != ty.dimensions.len() as i64 {
        return Err(format!("rank {} is declared for {} dimensions", ty.rank, ty.dimensions.len()));
    }
    let shape = ty.dimensions.iter().map(dimension).collect::<Result<Vec<_>, _>>()?;
    Ok(TensorType::new(dtype(data_type), shape))
}

fn dimension(dim: &mil::Dimension) -> Result<Dim, String> {
    use mil::dimension::Dimension;
    match dim.dimension {
        Some(Dimension::Constant(size)) => match Dim::from(size.size) {
            Dim::Unknown => Err(format!("a dimension of {} elements is too large", size.size)),
            dim => Ok(dim),
        },
        Some(Dimension::Unknown(unknown)) if unknown.variadic => {
            Err("tensors of any rank are not supported".to_owned())
        }
        Some(Dimension::Unknown(_)) | None => Ok(Dim::Unknown),
    }
}
