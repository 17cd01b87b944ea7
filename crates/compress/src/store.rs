//! Compressed weights as constants and ops that decode them.

use mlc_ir::ops::{
    ConstexprBlockwiseShiftScale, ConstexprLutToDense, ConstexprLutToSparse,
    ConstexprSparseBlockwiseShiftScale, ConstexprSparseToDense,
};
use mlc_ir::{Builder, Value};
use mlc_pass::Result;
use mlc_tensor::{DType, Tensor, TensorError};

use crate::encoded::{Body, Codes, Encoded, Table};
use crate::float::HalfOr;

/// Elements of `bits` bits without gaps, the lowest bits of a byte first.
pub(crate) fn pack(values: impl Iterator<Item = u8>, bits: u32) -> Vec<u8> {
    if bits == 8 {
        return values.collect();
    }
    let mut out = Vec::new();
    let (mut word, mut filled) = (0u32, 0);
    let mask = (1u32 << bits) - 1;
    for value in values {
        word |= (u32::from(value) & mask) << filled;
        filled += bits;
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(word as u8);
    }
    out
}

/// A compressed weight whose parts are packed: what a program holds of it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    mask: Option<Tensor>,
    body: StoredBody,
}

#[derive(Debug, Clone)]
enum StoredBody {
    Plain(Tensor),
    Codes {
        data: Tensor,
        scale: Tensor,
        offset: Option<Tensor>,
    },
    Table {
        indices: Tensor,
        table: Tensor,
        scale: Option<Tensor>,
        axis: Option<i64>,
        factors: Option<Tensor>,
    },
}

fn unsigned(bits: u32) -> DType {
    match bits {
        1 => DType::U1,
        2 => DType::U2,
        3 => DType::U3,
        4 => DType::U4,
        6 => DType::U6,
        _ => DType::U8,
    }
}

fn integers(codes: &Codes) -> DType {
    match (codes.bits, codes.signed) {
        (4, true) => DType::I4,
        (4, false) => DType::U4,
        (_, true) => DType::I8,
        (_, false) => DType::U8,
    }
}

fn extents(shape: &[usize]) -> Vec<u64> {
    shape.iter().map(|&d| d as u64).collect()
}

fn floats(float: HalfOr, shape: &[usize], values: &[f32]) -> Result<Tensor, TensorError> {
    Tensor::from_bytes(float.dtype(), &extents(shape), float.bytes(values))
}

impl Stored {
    /// The parts of `encoded`.
    ///
    /// # Errors
    /// Parts that do not fit together.
    pub(crate) fn new(encoded: &Encoded) -> Result<Self, TensorError> {
        let kept = Kept { mask: encoded.mask.as_deref() };
        let mask = match &encoded.mask {
            None => None,
            Some(mask) => {
                let bytes = pack(mask.iter().map(|&keep| u8::from(keep)), 1);
                Some(Tensor::from_bytes(DType::U1, &extents(&encoded.shape), bytes)?)
            }
        };
        let body = match &encoded.body {
            Body::Plain(elements) => {
                let elements = kept.of(elements);
                StoredBody::Plain(floats(encoded.float, &[elements.len()], &elements)?)
            }
            Body::Codes(codes) => Self::codes(encoded, codes, &kept)?,
            Body::Table(table) => Self::table(encoded, table, &kept)?,
        };
        Ok(Self { mask, body })
    }

    fn codes(encoded: &Encoded, codes: &Codes, kept: &Kept<'_>) -> Result<StoredBody, TensorError> {
        let dtype = integers(codes);
        let values = kept.of(&codes.values);
        let shape = kept.shape(&encoded.shape, values.len());
        let packed = |values: &[i16]| pack(values.iter().map(|&q| q as u8), codes.bits);
        let data = Tensor::from_bytes(dtype, &shape, packed(&values))?;
        let scale = floats(encoded.float, &codes.blocks, &codes.scales)?;
        let offset = match &codes.zeros {
            None => None,
            Some(zeros) => Some(Tensor::from_bytes(dtype, &extents(&codes.blocks), packed(zeros))?),
        };
        Ok(StoredBody::Codes { data, scale, offset })
    }

    fn table(encoded: &Encoded, table: &Table, kept: &Kept<'_>) -> Result<StoredBody, TensorError> {
        let mut shape = encoded.shape.clone();
        if let Some(axis) = table.vector_axis {
            shape[axis] /= table.width;
        }
        let indices = kept.of(&table.indices);
        let packed = pack(indices.iter().copied(), table.bits);
        let index_shape = kept.shape(&shape, indices.len());
        let indices = Tensor::from_bytes(unsigned(table.bits), &index_shape, packed)?;
        let mut groups = table.groups.clone();
        groups.extend([1 << table.bits, table.width]);
        let (entries, scale) = match &table.coded {
            None => (floats(encoded.float, &groups, &table.entries)?, None),
            Some((codes, scales)) => {
                let bytes: Vec<u8> = codes.iter().map(|&q| q as u8).collect();
                let mut blocks = table.groups.clone();
                blocks.extend([1, 1]);
                let codes = Tensor::from_bytes(DType::I8, &extents(&groups), bytes)?;
                (codes, Some(floats(encoded.float, &blocks, scales)?))
            }
        };
        let factors = match &table.factors {
            None => None,
            Some((factors, shape)) => Some(floats(encoded.float, shape, factors)?),
        };
        let axis = table.vector_axis.map(|axis| axis as i64);
        Ok(StoredBody::Table { indices, table: entries, scale, axis, factors })
    }

    /// The ops that decode it; `name` is that of the weight.
    ///
    /// # Errors
    /// Parts that do not fit together, which is a fault of the scheme.
    pub(crate) fn build(&self, b: &mut Builder<'_>, name: &str) -> Result<Value> {
        let part = |b: &mut Builder<'_>, what: &str, tensor: &Tensor| -> Result<Value> {
            let value = b.constant(tensor.clone())?;
            b.name(value, &format!("{name}_{what}"));
            Ok(value)
        };
        let mask = match &self.mask {
            Some(mask) => Some(part(b, "mask", mask)?),
            None => None,
        };
        let dense = match (&self.body, mask) {
            (StoredBody::Plain(values), Some(mask)) => {
                let values = part(b, "nonzero", values)?;
                return Ok(ConstexprSparseToDense { shape: None }.build(b, values, mask)?);
            }
            (StoredBody::Plain(values), None) => return part(b, "plain", values),
            (StoredBody::Codes { data, scale, offset }, mask) => {
                let data = part(b, "quantized", data)?;
                let scale = part(b, "scale", scale)?;
                let offset = match offset {
                    Some(offset) => Some(part(b, "offset", offset)?),
                    None => None,
                };
                match mask {
                    None => ConstexprBlockwiseShiftScale {}.build(b, data, scale, offset)?,
                    Some(mask) => {
                        let op = ConstexprSparseBlockwiseShiftScale {};
                        sparse(b, |b| op.build_many(b, mask, data, scale, offset))?
                    }
                }
            }
            (StoredBody::Table { indices, table, scale, axis, factors }, mask) => {
                let indices = part(b, "indices", indices)?;
                let mut entries = part(b, "table", table)?;
                if let Some(scale) = scale {
                    let scale = part(b, "table_scale", scale)?;
                    entries = ConstexprBlockwiseShiftScale {}.build(b, entries, scale, None)?;
                }
                let dense = match mask {
                    None => ConstexprLutToDense { vector_axis: *axis, shape: None }
                        .build(b, indices, entries)?,
                    Some(mask) => {
                        let op = ConstexprLutToSparse { vector_axis: *axis };
                        sparse(b, |b| op.build_many(b, mask, indices, entries))?
                    }
                };
                match factors {
                    None => dense,
                    Some(factors) => {
                        let factors = part(b, "channel_scale", factors)?;
                        ConstexprBlockwiseShiftScale {}.build(b, dense, factors, None)?
                    }
                }
            }
        };
        Ok(dense)
    }
}

/// Mask and values of an op as a dense tensor.
fn sparse(
    b: &mut Builder<'_>,
    build: impl FnOnce(&mut Builder<'_>) -> mlc_ir::OpResult<Vec<Value>>,
) -> Result<Value> {
    let results = build(b)?;
    let [mask, values] = results[..] else {
        return Err(mlc_ir::OpError::ty("a sparse op has two results").into());
    };
    Ok(ConstexprSparseToDense { shape: None }.build(b, values, mask)?)
}

/// Elements that are kept.
struct Kept<'a> {
    mask: Option<&'a [bool]>,
}

impl Kept<'_> {
    fn of<T: Copy>(&self, elements: &[T]) -> Vec<T> {
        match self.mask {
            None => elements.to_vec(),
            Some(mask) => {
                elements.iter().zip(mask).filter(|(_, keep)| **keep).map(|(&x, _)| x).collect()
            }
        }
    }

    /// The shape of what is kept: a vector where there is a mask.
    fn shape(&self, shape: &[usize], count: usize) -> Vec<u64> {
        match self.mask {
            None => extents(shape),
            Some(_) => vec![count as u64],
        }
    }
}

#[cfg(test)]
mod tests {
    use mlc_tensor::Tensor;

    use super::{pack, unsigned};

    #[test]
    fn packed_elements_read_back() {
        for bits in [1, 2, 3, 4, 6, 8] {
            let values: Vec<u8> = (0..37u32).map(|i| (i * 7 % (1 << bits)) as u8).collect();
            let bytes = pack(values.iter().copied(), bits);
            let tensor = Tensor::from_bytes(unsigned(bits), &[37], bytes).unwrap();
            let read: Vec<u8> = tensor.to_i64s().unwrap().into_iter().map(|x| x as u8).collect();
            assert_eq!(read, values, "{bits}");
        }
    }
}
