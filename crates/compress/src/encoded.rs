//! A compressed weight, and what it decodes to.

use crate::blocks::Blocks;
use crate::float::HalfOr;
use crate::linear::Affine;
use crate::scheme::Quantize;

/// Integers with scales.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    /// Bits of an integer: 4 or 8.
    pub bits: u32,
    /// Whether they are signed.
    pub signed: bool,
    /// The integers, row-major.
    pub values: Vec<i16>,
    /// Scales, and how many of them there are along each axis.
    pub scales: Vec<f32>,
    /// How many blocks there are along each axis.
    pub blocks: Vec<usize>,
    /// What stands for zero in each block; nothing if that is 0 everywhere.
    pub zeros: Option<Vec<i16>>,
}

impl Codes {
    /// Scales and zero points of blocks, without integers.
    pub(crate) fn of(affine: &[Affine], quantize: &Quantize, blocks: &Blocks) -> Self {
        let zeros: Vec<i16> = affine.iter().map(|a| a.zero as i16).collect();
        Self {
            bits: quantize.bits,
            signed: quantize.signed,
            values: Vec::new(),
            scales: affine.iter().map(|a| a.scale).collect(),
            blocks: blocks.counts(),
            zeros: zeros.iter().any(|&z| z != 0).then_some(zeros),
        }
    }
}

/// Indices into tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Bits of an index.
    pub bits: u32,
    /// The indices, row-major; along `vector_axis` there is one for `width` elements.
    pub indices: Vec<u8>,
    /// Tables of `2^bits` entries of `width` numbers, one a group, row-major.
    pub entries: Vec<f32>,
    /// How many groups there are along each axis.
    pub groups: Vec<usize>,
    /// Numbers of an entry.
    pub width: usize,
    /// The axis along which entries lie, where `width` is not 1.
    pub vector_axis: Option<usize>,
    /// The entries as 8-bit integers with one scale a group; `entries` is what they decode to.
    pub coded: Option<(Vec<i16>, Vec<f32>)>,
    /// Factors of the elements, and their shape, whose extents are 1 or those of the weight.
    pub factors: Option<(Vec<f32>, Vec<usize>)>,
}

/// How the elements are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// As they are.
    Plain(Vec<f32>),
    /// As integers with scales.
    Codes(Codes),
    /// As indices into tables.
    Table(Table),
}

/// A compressed weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Extents of the weight.
    pub shape: Vec<usize>,
    /// Its float type.
    pub float: HalfOr,
    /// Which elements are kept; all if absent. What is not kept is zero.
    pub mask: Option<Vec<bool>>,
    /// The elements, those that are not kept included.
    pub body: Body,
}

impl Encoded {
    /// The elements that it decodes to, rounded to the float type.
    #[must_use]
    pub fn decode(&self) -> Vec<f32> {
        let mut elements = match &self.body {
            Body::Plain(elements) => elements.clone(),
            Body::Codes(codes) => self.codes(codes),
            Body::Table(table) => table.decode(&self.shape, self.float),
        };
        if let Some(mask) = &self.mask {
            for (x, &keep) in elements.iter_mut().zip(mask) {
                *x = if keep { *x } else { 0.0 };
            }
        }
        elements
    }

    /// Bytes of everything that is stored.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let float = match self.float {
            HalfOr::Half => 2,
            HalfOr::Single => 4,
        };
        let count = self.shape.iter().product::<usize>();
        let kept = self.mask.as_ref().map_or(count, |mask| mask.iter().filter(|&&k| k).count());
        let mask = self.mask.as_ref().map_or(0, |mask| mask.len().div_ceil(8));
        let packed = |n: usize, bits: u32| (n * bits as usize).div_ceil(8);
        let body = match &self.body {
            Body::Plain(_) => kept * float,
            Body::Codes(codes) => {
                let zeros = codes.zeros.as_ref().map_or(0, Vec::len);
                packed(kept, codes.bits) + codes.scales.len() * float + packed(zeros, codes.bits)
            }
            Body::Table(table) => {
                let indices = kept / table.width.max(1);
                let entries = match &table.coded {
                    Some((codes, scales)) => codes.len() + scales.len() * float,
                    None => table.entries.len() * float,
                };
                let factors = table.factors.as_ref().map_or(0, |(factors, _)| factors.len());
                packed(indices, table.bits) + entries + factors * float
            }
        };
        (mask + body) as u64
    }

    fn codes(&self, codes: &Codes) -> Vec<f32> {
        let size: Vec<usize> =
            self.shape.iter().zip(&codes.blocks).map(|(&d, &n)| d / n.max(1)).collect();
        let Ok(blocks) = Blocks::new(&self.shape, &size) else { return Vec::new() };
        let gathered;
        let values = match blocks.is_contiguous() {
            true => &codes.values,
            false => {
                gathered = blocks.gather(&codes.values);
                &gathered
            }
        };
        let mut decoded = Vec::with_capacity(values.len());
        for (at, block) in values.chunks(blocks.block_len().max(1)).enumerate() {
            let scale = codes.scales.get(at).copied().unwrap_or(0.0);
            let zero = codes.zeros.as_ref().and_then(|zeros| zeros.get(at)).copied().unwrap_or(0);
            let decode = |&q: &i16| self.float.round(f64::from(q - zero) * f64::from(scale));
            decoded.extend(block.iter().map(decode));
        }
        if blocks.is_contiguous() { decoded } else { blocks.scatter(&decoded) }
    }
}

impl Table {
    /// The elements of a weight of this shape and type.
    pub(crate) fn decode(&self, shape: &[usize], float: HalfOr) -> Vec<f32> {
        let width = self.width.max(1);
        let mut index_shape = shape.to_vec();
        if let Some(axis) = self.vector_axis {
            index_shape[axis] /= width;
        }
        let size: Vec<usize> =
            index_shape.iter().zip(&self.groups).map(|(&d, &n)| d / n.max(1)).collect();
        let Ok(groups) = Blocks::new(&index_shape, &size) else { return Vec::new() };
        let indices = groups.gather(&self.indices);
        let plane = |v: usize| -> Vec<f32> {
            let mut found = Vec::with_capacity(indices.len());
            for (at, group) in indices.chunks(groups.block_len().max(1)).enumerate() {
                let table = self.entries.get((at << self.bits) * width..).unwrap_or_default();
                let entry = |&i: &u8| table.get(usize::from(i) * width + v).copied();
                found.extend(group.iter().map(|i| entry(i).unwrap_or(0.0)));
            }
            groups.scatter(&found)
        };
        let mut elements = match self.vector_axis {
            None => plane(0),
            Some(axis) => {
                let inner: usize = shape[axis + 1..].iter().product::<usize>().max(1);
                let mut elements = vec![0.0; shape.iter().product()];
                for v in 0..width {
                    let rows = elements.chunks_mut(inner).skip(v).step_by(width);
                    for (row, from) in rows.zip(plane(v).chunks(inner)) {
                        row.copy_from_slice(from);
                    }
                }
                elements
            }
        };
        if let Some((factors, factor_shape)) = &self.factors {
            for_each_factor(shape, factor_shape, &mut |i, k| {
                elements[i] = float.round(f64::from(elements[i]) * f64::from(factors[k]));
            });
        }
        elements
    }
}

/// Calls `visit` with the place of each element and that of its factor, where `factors` is a shape of
/// extents that are 1 or those of `shape`.
pub(crate) fn for_each_factor(
    shape: &[usize],
    factors: &[usize],
    visit: &mut dyn FnMut(usize, usize),
) {
    let count: usize = shape.iter().product();
    let mut strides = vec![0; shape.len()];
    let mut step = 1;
    for axis in (0..shape.len()).rev() {
        strides[axis] = if factors[axis] == 1 { 0 } else { step };
        step *= factors[axis];
    }
    let mut index = vec![0; shape.len()];
    let mut place = 0;
    for i in 0..count {
        visit(i, place);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            place += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            place -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}
