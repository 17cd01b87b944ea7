//! NumPy's `.npy` files.

use mlc_eval::Array;
use mlc_tensor::{DType, DTypeKind};
use npyz::{DType as Npy, NpyFile, Order, TypeChar, WriterBuilder};

/// Reads an array of numbers or truth values, of either byte order and memory order.
///
/// # Errors
/// The bytes are no such file, or the element type is none of numbers.
pub(crate) fn read(bytes: &[u8]) -> Result<Array, String> {
    check_shape(bytes)?;
    let file = NpyFile::new(bytes).map_err(|e| e.to_string())?;
    let shape: Vec<usize> = file.shape().iter().map(|&d| d as usize).collect();
    let count =
        shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or("shape is too large")?;
    if count > bytes.len() {
        return Err(format!("{count} elements in {} bytes", bytes.len()));
    }
    let fortran = file.order() == Order::Fortran;
    let Npy::Plain(element) = file.dtype() else {
        return Err("records cannot be an input".to_owned());
    };
    let size = element.size_field();
    let text = |e: std::io::Error| e.to_string();
    let eval = |e: mlc_eval::EvalError| e.to_string();
    macro_rules! values {
        ($ty:ty) => {
            file.into_vec::<$ty>().map_err(text)?
        };
    }
    let stored: Vec<usize> =
        if fortran { shape.iter().rev().copied().collect() } else { shape.clone() };
    let array = match (element.type_char(), size) {
        (TypeChar::Float, 4) => {
            Array::from_f32s(DType::F32, &stored, values!(f32)).map_err(eval)?
        }
        (TypeChar::Float, 8) => {
            Array::from_f64s(DType::F64, &stored, values!(f64)).map_err(eval)?
        }
        (TypeChar::Float, 2) => {
            let wide = values!(half::f16).into_iter().map(half::f16::to_f32).collect();
            Array::from_f32s(DType::F16, &stored, wide).map_err(eval)?
        }
        (TypeChar::Bool, 1) => Array::from_bools(&stored, values!(bool)).map_err(eval)?,
        (TypeChar::Int, 1) => ints(DType::I8, &stored, values!(i8))?,
        (TypeChar::Int, 2) => ints(DType::I16, &stored, values!(i16))?,
        (TypeChar::Int, 4) => ints(DType::I32, &stored, values!(i32))?,
        (TypeChar::Int, 8) => ints(DType::I64, &stored, values!(i64))?,
        (TypeChar::Uint, 1) => ints(DType::U8, &stored, values!(u8))?,
        (TypeChar::Uint, 2) => ints(DType::U16, &stored, values!(u16))?,
        (TypeChar::Uint, 4) => ints(DType::U32, &stored, values!(u32))?,
        _ => return Err(format!("elements of type {element} cannot be an input")),
    };
    if !fortran || shape.len() < 2 {
        return Ok(array);
    }
    // Memory order reversed is the transpose.
    let strides: Vec<usize> = shape
        .iter()
        .scan(1usize, |stride, &d| {
            let s = *stride;
            *stride *= d;
            Some(s)
        })
        .collect();
    let mut index = Vec::with_capacity(count);
    for flat in 0..count {
        let mut rest = flat;
        let mut at = 0;
        for axis in (0..shape.len()).rev() {
            at += rest % shape[axis] * strides[axis];
            rest /= shape[axis];
        }
        index.push(at);
    }
    array.pick(&shape, &index).map_err(eval)
}

/// Refuses a header whose shape has more elements than the file has bytes, before anybody multiplies
/// its extents.
fn check_shape(bytes: &[u8]) -> Result<(), String> {
    let header = String::from_utf8_lossy(&bytes[..bytes.len().min(1 << 16)]);
    let Some((_, rest)) = header.split_once("'shape'") else { return Ok(()) };
    let extents = rest.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let Some((extents, _)) = extents else { return Ok(()) };
    let mut count = 1u64;
    for extent in extents.split(',').map(|word| word.trim().trim_end_matches('L')) {
        if extent.is_empty() {
            continue;
        }
        let extent: u64 = extent.parse().map_err(|_| format!("`{extent}` is no extent"))?;
        count = count.checked_mul(extent).ok_or("the shape has too many elements")?;
    }
    if count > bytes.len() as u64 {
        return Err(format!("{count} elements in {} bytes", bytes.len()));
    }
    Ok(())
}

fn ints<T: Into<i64>>(dtype: DType, shape: &[usize], values: Vec<T>) -> Result<Array, String> {
    let values = values.into_iter().map(Into::into).collect();
    Array::from_i64s(dtype, shape, values).map_err(|e| e.to_string())
}

/// The bytes of a `.npy` file: `f2`, `f4`, `f8`, `i8` or `bool`, whichever holds the element type.
///
/// # Errors
/// The elements cannot be read.
pub(crate) fn write(array: &Array) -> Result<Vec<u8>, String> {
    let shape: Vec<u64> = array.shape().iter().map(|&d| d as u64).collect();
    let eval = |e: mlc_eval::EvalError| e.to_string();
    let mut out = Vec::new();
    macro_rules! put {
        ($ty:ty, $values:expr) => {{
            let mut writer = npyz::WriteOptions::<$ty>::new()
                .default_dtype()
                .shape(&shape)
                .writer(&mut out)
                .begin_nd()
                .map_err(|e| e.to_string())?;
            writer.extend($values).map_err(|e| e.to_string())?;
            writer.finish().map_err(|e| e.to_string())?;
        }};
    }
    match (array.dtype().kind(), array.dtype()) {
        (DTypeKind::Bool, _) => put!(bool, array.to_bools().map_err(eval)?),
        (DTypeKind::Int, _) => put!(i64, array.to_i64s().map_err(eval)?),
        (_, DType::F16) => {
            put!(half::f16, array.to_f32s().map_err(eval)?.into_iter().map(half::f16::from_f32));
        }
        (_, DType::F64) => put!(f64, array.to_f64s().map_err(eval)?),
        _ => put!(f32, array.to_f32s().map_err(eval)?),
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_read_back() {
        let array =
            Array::from_f32s(DType::F32, &[2, 2], vec![1.0, -2.5, f32::INFINITY, 0.0]).unwrap();
        let back = read(&write(&array).unwrap()).unwrap();
        assert_eq!(back.shape(), [2, 2]);
        assert_eq!(back.to_f32s().unwrap(), array.to_f32s().unwrap());
        assert!(read(b"\x93NUMPY\x01\x00junk").is_err());
        for shape in ["(9999999999, 9999999999)", "(-1,)", "(3,)"] {
            let header =
                format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
            let length = (header.len() as u16).to_le_bytes();
            let file = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
            assert!(read(&file).is_err(), "{shape}");
        }
    }
}
