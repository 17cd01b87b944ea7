//! The form of constexpr ops before iOS 18: packed bytes and a shape in place of small elements,
//! one flat table.

use mlc_ir::{AttrValue, Function, NodeData};
use mlc_target::{DataType, OpSignature, ParamDtype};
use mlc_tensor::{DType, Source, Tensor, TensorError};

use super::legal::takes_inputs;

/// The type under which elements of `dtype` are stored: bytes for packed elements.
pub(super) fn stored_type(dtype: DType, signature: &OpSignature) -> DType {
    match dtype {
        DType::U1 | DType::U2 | DType::U4 | DType::U6 if !takes_inputs(signature) => DType::U8,
        other => other,
    }
}

/// Whether the older form can say what a table of this shape says: one group, one element an entry.
pub(super) fn is_flat_table(shape: &[u64]) -> bool {
    let entries = shape.len().checked_sub(2).map_or(1, |at| shape[at]);
    shape.len() < 2 || shape.iter().product::<u64>() == entries
}

/// The operand `name` as `signature` stores it.
///
/// # Errors
/// The bytes cannot be made.
pub(super) fn stored(
    name: &str,
    tensor: &Tensor,
    signature: &OpSignature,
) -> Result<Tensor, TensorError> {
    if takes_inputs(signature) {
        return Ok(tensor.clone());
    }
    if stored_type(tensor.dtype(), signature) != tensor.dtype() {
        return as_bytes(tensor);
    }
    match name {
        // Indices of 8 bits are bytes as they are.
        "lut" | "indices" => tensor.reshape(&[tensor.count() as u64]),
        _ => Ok(tensor.clone()),
    }
}

fn as_bytes(tensor: &Tensor) -> Result<Tensor, TensorError> {
    let shape = [tensor.byte_len()];
    match tensor.source() {
        Source::Mapped { file, offset } => Tensor::mapped(file, *offset, DType::U8, &shape),
        _ => Tensor::from_bytes(DType::U8, &shape, tensor.bytes()?.into_owned()),
    }
}

/// The `shape` that the older form needs: that of the result.
pub(super) fn shape(
    function: &Function,
    data: &NodeData,
    signature: &OpSignature,
) -> Option<Tensor> {
    let param = signature.param("shape")?;
    let spec = data.op.spec();
    let attrs = data.op.attrs();
    let is_own = spec.operand("shape").is_some()
        || spec
            .attrs
            .iter()
            .zip(&attrs)
            .any(|(attr, value)| attr.name == "shape" && *value != AttrValue::None);
    if is_own || param.dtype != ParamDtype::Fixed(DataType::Uint32) {
        return None;
    }
    let shape = function.ty(*data.results.first()?).as_tensor()?.static_shape()?;
    let items: Vec<i64> = shape.iter().map(|&d| i64::try_from(d).ok()).collect::<Option<_>>()?;
    Tensor::from_i64s(DType::U32, &[items.len() as u64], &items).ok()
}

#[cfg(test)]
mod tests {
    use mlc_target::Opset;
    use mlc_tensor::{DType, Tensor};

    use super::{is_flat_table, stored};

    #[test]
    fn indices_of_the_older_form_are_bytes() {
        let older = mlc_target::signature("constexpr_lut_to_dense", Opset::Ios16).unwrap();
        for (dtype, bytes) in [(DType::U1, 1), (DType::U4, 3), (DType::U6, 5), (DType::U8, 6)] {
            let indices = Tensor::from_i64s(dtype, &[2, 3], &[0, 1, 1, 0, 1, 0]).unwrap();
            let stored = stored("indices", &indices, older).unwrap();
            assert_eq!((stored.dtype(), stored.shape()), (DType::U8, &[bytes][..]), "{dtype}");
        }
    }

    #[test]
    fn tables_with_groups_or_vectors_are_not_flat() {
        for shape in [vec![16], vec![16, 1], vec![1, 1, 16, 1]] {
            assert!(is_flat_table(&shape), "{shape:?}");
        }
        for shape in [vec![2, 16, 1], vec![1, 16, 2]] {
            assert!(!is_flat_table(&shape), "{shape:?}");
        }
    }
}
