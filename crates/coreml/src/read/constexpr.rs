//! The form of constexpr ops before iOS 18 as the newer one: packed bytes become small elements of
//! their true shape, a flat table one of one group.

use std::collections::BTreeMap;

use mlc_target::{DataType, OpSignature, ParamDtype};
use mlc_tensor::{DType, Source, Tensor, TensorError};

use super::values::Literal;

/// Replaces packed bytes among the arguments by elements, and takes `shape` away.
///
/// # Errors
/// Sizes do not fit, in words.
pub(super) fn unpack(
    signature: &OpSignature,
    arguments: &mut BTreeMap<String, Literal>,
) -> Result<(), String> {
    let is_packed = |name: &str| {
        signature.param(name).is_some_and(|p| p.dtype == ParamDtype::Fixed(DataType::Uint8))
    };
    if signature.param("shape").is_none() {
        return Ok(());
    }
    let Some(shape) = arguments.remove("shape").and_then(|shape| shape.ints()) else {
        return Err("`shape` is missing".to_owned());
    };
    let shape: Option<Vec<u64>> = shape.iter().map(|&d| u64::try_from(d).ok()).collect();
    let Some(shape) = shape else { return Err("`shape` has a negative entry".to_owned()) };
    let entries = match arguments.get("lut") {
        Some(Literal::Tensor(table)) => Some(table.count()),
        _ => None,
    };
    if let (Some(entries), Some(Literal::Tensor(table))) = (entries, arguments.get_mut("lut")) {
        let mut groups = vec![1; shape.len()];
        groups.extend([entries as u64, 1]);
        *table = table.reshape(&groups).map_err(|error| error.to_string())?;
    }
    for (name, argument) in arguments.iter_mut() {
        if let Literal::Tensor(bytes) = argument
            && is_packed(name)
        {
            let element =
                element(entries).ok_or("the table has no number of entries that works")?;
            *bytes = retype(bytes, element, &shape).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The element of indices into a table of that many entries; of a mask without one.
fn element(entries: Option<usize>) -> Option<DType> {
    Some(match entries {
        None | Some(2) => DType::U1,
        Some(4) => DType::U2,
        Some(16) => DType::U4,
        Some(64) => DType::U6,
        Some(256) => DType::U8,
        Some(_) => return None,
    })
}

fn retype(bytes: &Tensor, dtype: DType, shape: &[u64]) -> Result<Tensor, TensorError> {
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let needed = count.and_then(|count| dtype.bytes_for(count));
    match bytes.source() {
        Source::Mapped { file, offset } if needed == Some(bytes.byte_len()) => {
            Tensor::mapped(file, *offset, dtype, shape)
        }
        _ => Tensor::from_bytes(dtype, shape, bytes.bytes()?.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use mlc_target::Opset;

    use super::*;

    #[test]
    fn indices_and_table_get_their_true_shapes() {
        let signature = mlc_target::signature("constexpr_lut_to_dense", Opset::Ios16).unwrap();
        let table: Vec<f64> = (0..16).map(f64::from).collect();
        let tensor = |t: Result<Tensor, TensorError>| Literal::Tensor(t.unwrap());
        let mut arguments = BTreeMap::from([
            ("indices".to_owned(), tensor(Tensor::from_bytes(DType::U8, &[2], vec![0x21, 0x03]))),
            ("lut".to_owned(), tensor(Tensor::from_f64s(DType::F16, &[16], &table))),
            ("shape".to_owned(), tensor(Tensor::from_i64s(DType::U32, &[2], &[3, 1]))),
        ]);
        unpack(signature, &mut arguments).unwrap();
        let Literal::Tensor(indices) = &arguments["indices"] else { panic!("no tensor") };
        assert_eq!((indices.dtype(), indices.shape()), (DType::U4, &[3, 1][..]));
        assert_eq!(indices.to_i64s().unwrap(), [1, 2, 3]);
        let Literal::Tensor(table) = &arguments["lut"] else { panic!("no tensor") };
        assert_eq!(table.shape(), [1, 1, 16, 1]);
        assert!(!arguments.contains_key("shape"));
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        let signature = mlc_target::signature("constexpr_sparse_to_dense", Opset::Ios16).unwrap();
        let mut arguments = BTreeMap::from([
            (
                "mask".to_owned(),
                Literal::Tensor(Tensor::from_bytes(DType::U8, &[1], vec![7]).unwrap()),
            ),
            (
                "shape".to_owned(),
                Literal::Tensor(Tensor::from_i64s(DType::U32, &[1], &[100]).unwrap()),
            ),
        ]);
        assert!(unpack(signature, &mut arguments).is_err());
    }
}
