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
use crate::spill::{Part, Spilled};

/// Elements of `bits` bits without gaps, the lowest bits of a byte first.
pub(crate) fn pack(values: impl Iterator<Item = u8>, bits: u32) -> Vec<u8> {
    if bits == 8 {
        return values.collect();
    }
    let values: Vec<u8> = values.collect();
    let mut out = vec![0u8; (values.len() * bits as usize).div_ceil(8)];
    let mask = (1u64 << bits) - 1;
    for (out, eight) in out.chunks_mut(bits as usize).zip(values.chunks(8)) {
        let word = eight
            .iter()
            .enumerate()
            .fold(0u64, |word, (k, &x)| word | (u64::from(x) & mask) << (k * bits as usize));
        out.copy_from_slice(&word.to_le_bytes()[..out.len()]);
    }
    out
}

/// A compressed weight whose parts are packed: what a program holds of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    mask: Option<Part>,
    body: StoredBody,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StoredBody {
    Plain(Part),
    Codes {
        data: Part,
        scale: Tensor,
        offset: Option<Tensor>,
    },
    Table {
        indices: Part,
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
    /// Bytes of everything that is stored.
    pub(crate) fn bytes(&self) -> u64 {
        let (large, small): (&Part, Vec<Option<&Tensor>>) = match &self.body {
            StoredBody::Plain(part) => (part, Vec::new()),
            StoredBody::Codes { data, scale, offset } => (data, vec![Some(scale), offset.as_ref()]),
            StoredBody::Table { indices, table, scale, factors, .. } => {
                (indices, vec![Some(table), scale.as_ref(), factors.as_ref()])
            }
        };
        let mask = self.mask.as_ref().map_or(0, Part::byte_len);
        large.byte_len() + mask + small.into_iter().flatten().map(Tensor::byte_len).sum::<u64>()
    }

    /// The parts that grow with the weight.
    pub(crate) fn large_parts(&mut self) -> impl Iterator<Item = &mut Part> {
        let body = match &mut self.body {
            StoredBody::Plain(part)
            | StoredBody::Codes { data: part, .. }
            | StoredBody::Table { indices: part, .. } => part,
        };
        self.mask.iter_mut().chain([body])
    }

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
                Some(Tensor::from_bytes(DType::U1, &extents(&encoded.shape), bytes)?.into())
            }
        };
        let body = match &encoded.body {
            Body::Plain(elements) => {
                let elements = kept.of(elements);
                StoredBody::Plain(floats(encoded.float, &[elements.len()], &elements)?.into())
            }
            Body::Codes(codes) => Self::codes(encoded, codes, &kept)?,
            Body::Table(table) => Self::table(encoded, table, &kept)?,
        };
        Ok(Self { mask, body })
    }

    fn codes(encoded: &Encoded, codes: &Codes, kept: &Kept<'_>) -> Result<StoredBody, TensorError> {
        let values = kept.of(&codes.values);
        let shape = kept.shape(&encoded.shape, values.len());
        let data = pack(values.iter().map(|&q| q as u8), codes.bits);
        let like = Codes { values: Vec::new(), ..codes.clone() };
        Self::packed_codes(encoded.float, &shape, data, &like)
    }

    /// Integers that are packed already; `like` says what else there is.
    pub(crate) fn packed_codes(
        float: HalfOr,
        shape: &[u64],
        data: Vec<u8>,
        like: &Codes,
    ) -> Result<StoredBody, TensorError> {
        let dtype = integers(like);
        let data = Tensor::from_bytes(dtype, shape, data)?.into();
        let scale = floats(float, &like.blocks, &like.scales)?;
        let offset = match &like.zeros {
            None => None,
            Some(zeros) => {
                let bytes = pack(zeros.iter().map(|&q| q as u8), like.bits);
                Some(Tensor::from_bytes(dtype, &extents(&like.blocks), bytes)?)
            }
        };
        Ok(StoredBody::Codes { data, scale, offset })
    }

    /// A weight that is packed already.
    pub(crate) fn packed(body: StoredBody) -> Self {
        Self { mask: None, body }
    }

    fn table(encoded: &Encoded, table: &Table, kept: &Kept<'_>) -> Result<StoredBody, TensorError> {
        let mut shape = encoded.shape.clone();
        if let Some(axis) = table.vector_axis {
            shape[axis] /= table.width;
        }
        let indices = kept.of(&table.indices);
        let packed = pack(indices.iter().copied(), table.bits);
        let shape = kept.shape(&shape, indices.len());
        let like = Table { indices: Vec::new(), ..table.clone() };
        Self::packed_table(encoded.float, &shape, packed, &like)
    }

    /// Indices that are packed already; `like` says what else there is.
    pub(crate) fn packed_table(
        float: HalfOr,
        shape: &[u64],
        indices: Vec<u8>,
        like: &Table,
    ) -> Result<StoredBody, TensorError> {
        let indices = Tensor::from_bytes(unsigned(like.bits), shape, indices)?.into();
        let mut groups = like.groups.clone();
        groups.extend([1 << like.bits, like.width]);
        let (entries, scale) = match &like.coded {
            None => (floats(float, &groups, &like.entries)?, None),
            Some((codes, scales)) => {
                let bytes: Vec<u8> = codes.iter().map(|&q| q as u8).collect();
                let mut blocks = like.groups.clone();
                blocks.extend([1, 1]);
                let codes = Tensor::from_bytes(DType::I8, &extents(&groups), bytes)?;
                (codes, Some(floats(float, &blocks, scales)?))
            }
        };
        let factors = match &like.factors {
            None => None,
            Some((factors, shape)) => Some(floats(float, shape, factors)?),
        };
        let axis = like.vector_axis.map(|axis| axis as i64);
        Ok(StoredBody::Table { indices, table: entries, scale, axis, factors })
    }

    /// The ops that decode it; `name` is that of the weight.
    ///
    /// # Errors
    /// Parts that do not fit together, which is a fault of the scheme.
    pub(crate) fn build(
        &self,
        b: &mut Builder<'_>,
        name: &str,
        spilled: &Spilled,
    ) -> Result<Value> {
        let large = |b: &mut Builder<'_>, what: &str, part: &Part| -> Result<Value> {
            let value = b.constant(spilled.tensor(part)?)?;
            b.name(value, &format!("{name}_{what}"));
            Ok(value)
        };
        let part = |b: &mut Builder<'_>, what: &str, tensor: &Tensor| -> Result<Value> {
            let value = b.constant(tensor.clone())?;
            b.name(value, &format!("{name}_{what}"));
            Ok(value)
        };
        let mask = match &self.mask {
            Some(mask) => Some(large(b, "mask", mask)?),
            None => None,
        };
        let dense = match (&self.body, mask) {
            (StoredBody::Plain(values), Some(mask)) => {
                let values = large(b, "nonzero", values)?;
                return Ok(ConstexprSparseToDense { shape: None }.build(b, values, mask)?);
            }
            (StoredBody::Plain(values), None) => return large(b, "plain", values),
            (StoredBody::Codes { data, scale, offset }, mask) => {
                let data = large(b, "quantized", data)?;
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
                let indices = large(b, "indices", indices)?;
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
