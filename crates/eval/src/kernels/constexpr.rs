//! Decoding of stored weights.

use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{
    ConstexprAffineDequantize, ConstexprBlockwiseShiftScale, ConstexprCast, ConstexprLutToDense,
    ConstexprLutToSparse, ConstexprSparseBlockwiseShiftScale, ConstexprSparseToDense,
};

use crate::array::{Array, element_count, for_each_index, strides};
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// One number for all indices, or one for each.
fn along(values: &[f64], k: usize) -> f64 {
    if values.len() == 1 { values[0] } else { values[k] }
}

impl Kernel for ConstexprAffineDequantize {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let data = cx.array("quantized_data")?;
        let axis = normalize_axis(self.axis, data.rank())
            .map_err(|e| EvalError::internal(e.to_string()))?;
        let extent = data.shape()[axis];
        let inner = data.shape()[axis + 1..].iter().product::<usize>().max(1);
        let param = |name: &str| -> Result<Vec<f64>, EvalError> {
            let values = cx.array(name)?.to_f64s()?;
            if values.len() == 1 || values.len() == extent {
                Ok(values)
            } else {
                let message = format!("`{name}` has {} elements, not {extent}", values.len());
                Err(EvalError::undefined(message))
            }
        };
        let (scale, zero_point) = (param("scale")?, param("zero_point")?);
        let mut values = data.to_f64s()?;
        for (i, run) in values.chunks_mut(inner).enumerate() {
            let k = i % extent;
            let (scale, zero_point) = (along(&scale, k), along(&zero_point, k));
            run.iter_mut().for_each(|q| *q = scale * (*q - zero_point));
        }
        cx.one_f64s(data.shape(), values)
    }
}

/// For each element of `shape`, the flat index of the block of it, where `blocks` has the number of
/// blocks along each axis.
fn block_index(shape: &[usize], blocks: &[usize]) -> Result<Vec<usize>, EvalError> {
    let divides = |(&d, &n): (&usize, &usize)| n > 0 && d % n == 0 || d == n;
    if shape.len() != blocks.len() || !shape.iter().zip(blocks).all(divides) {
        return Err(EvalError::undefined(format!("{blocks:?} blocks of {shape:?}")));
    }
    let steps = strides(blocks);
    let sizes: Vec<usize> = shape.iter().zip(blocks).map(|(&d, &n)| d / n.max(1)).collect();
    let mut index = Vec::with_capacity(element_count(shape)?);
    let Some((&row, outer)) = shape.split_last() else { return Ok(vec![0]) };
    let size = sizes[outer.len()];
    for_each_index(outer, |at| {
        let first: usize = (0..at.len()).map(|k| at[k] / sizes[k] * steps[k]).sum();
        index.extend((0..row).map(|i| first + i / size));
    });
    Ok(index)
}

/// `scale · (value − offset)` of each value, by the block of its place.
fn shift_scale(
    cx: &KernelCx<'_, '_>,
    values: &Array,
    blocks: impl Iterator<Item = usize>,
) -> Result<Vec<f64>, EvalError> {
    let scale = cx.array("scale")?.to_f64s()?;
    let offset = match cx.opt_array("offset")? {
        Some(offset) if offset.count() == scale.len() => offset.to_f64s()?,
        Some(_) => return Err(EvalError::undefined("`offset` has not the shape of `scale`")),
        None => vec![0.0; scale.len()],
    };
    Ok(values.to_f64s()?.iter().zip(blocks).map(|(x, k)| scale[k] * (x - offset[k])).collect())
}

impl Kernel for ConstexprBlockwiseShiftScale {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let data = cx.array("data")?;
        let blocks = block_index(data.shape(), cx.array("scale")?.shape())?;
        cx.one_f64s(data.shape(), shift_scale(cx, data, blocks.into_iter())?)
    }
}

impl Kernel for ConstexprCast {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        Ok(vec![cx.array("source_val")?.cast(self.output_dtype)?.into()])
    }
}

/// Where a lookup reads and writes.
struct Lookup {
    /// Extents of the indices.
    shape: Vec<usize>,
    /// Extents of the result.
    result: Vec<usize>,
    /// The axis that vectors stand along, counted from the front.
    axis: Option<usize>,
    /// For each place of an index, the first element of `lut` of its block.
    tables: Vec<usize>,
    entries: usize,
    vector: usize,
}

impl Lookup {
    fn of(shape: &[usize], lut: &[usize], vector_axis: Option<i64>) -> Result<Self, EvalError> {
        let [groups @ .., entries, vector] = lut else {
            return Err(EvalError::internal(format!("a table of shape {lut:?}")));
        };
        let (entries, vector) = (*entries, *vector);
        let blocks = block_index(shape, groups)?;
        let mut result = shape.to_vec();
        let axis = match vector_axis {
            Some(axis) => Some(
                normalize_axis(axis, shape.len())
                    .map_err(|e| EvalError::internal(e.to_string()))?,
            ),
            None if vector == 1 => None,
            None => return Err(EvalError::undefined("vectors without a `vector_axis`")),
        };
        if let Some(axis) = axis {
            result[axis] = shape[axis].checked_mul(vector).ok_or_else(|| {
                EvalError::unsupported(format!("{} vectors of {vector}", shape[axis]))
            })?;
        }
        element_count(&result)?;
        let size = entries * vector;
        let tables = blocks.into_iter().map(|block| block * size).collect();
        Ok(Self { shape: shape.to_vec(), result, axis, tables, entries, vector })
    }

    /// Calls `visit` for each element of the result with the place of its index and the position in
    /// the vector.
    fn for_each_source(&self, mut visit: impl FnMut(usize, usize)) {
        let Some((&row, outer)) = self.result.split_last() else { return visit(0, 0) };
        let (steps, last) = (strides(&self.shape), outer.len());
        for_each_index(outer, |at| {
            let place = |k: usize| if self.axis == Some(k) { at[k] / self.vector } else { at[k] };
            let first: usize = (0..last).map(|k| place(k) * steps[k]).sum();
            if self.axis == Some(last) {
                (0..row).for_each(|i| visit(first + i / self.vector, i % self.vector));
            } else {
                let part = self.axis.map_or(0, |axis| at[axis] % self.vector);
                (first..first + row).for_each(|place| visit(place, part));
            }
        });
    }

    /// The element of `lut` for a place and a position in the vector, by the index there.
    fn entry(&self, (place, part): (usize, usize), index: i64) -> usize {
        self.tables[place] + index as usize * self.vector + part
    }

    /// Checks that the table has every index.
    fn check(&self, indices: &[i64]) -> Result<(), EvalError> {
        let within = |index: i64| usize::try_from(index).is_ok_and(|index| index < self.entries);
        match indices.iter().find(|&&index| !within(index)) {
            Some(index) => {
                Err(EvalError::undefined(format!("index {index} of {} entries", self.entries)))
            }
            None => Ok(()),
        }
    }
}

/// `count` integers of `bits` bits from bytes, the lowest bits first.
fn unpack(bytes: &[i64], bits: usize, count: usize) -> Result<Vec<i64>, EvalError> {
    let total = count.checked_mul(bits).filter(|&total| total.div_ceil(8) <= bytes.len());
    if total.is_none() {
        let message = format!("{} bytes for {count} elements of {bits} bits", bytes.len());
        return Err(EvalError::undefined(message));
    }
    let bit = |at: usize| (bytes[at / 8] >> (at % 8)) & 1;
    Ok((0..count).map(|i| (0..bits).map(|k| bit(i * bits + k) << k).sum()).collect())
}

fn extents(shape: &[i64]) -> Result<Vec<usize>, EvalError> {
    let extent =
        |&d: &i64| usize::try_from(d).map_err(|_| EvalError::internal(format!("the extent {d}")));
    let shape: Vec<usize> = shape.iter().map(extent).collect::<Result<_, _>>()?;
    element_count(&shape)?;
    Ok(shape)
}

impl Kernel for ConstexprLutToDense {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (indices, lut) = (cx.array("indices")?, cx.array("lut")?);
        if let Some(shape) = &self.shape {
            let shape = extents(shape)?;
            let bits = lut.count().checked_ilog2().unwrap_or(0) as usize;
            let indices = unpack(&indices.to_i64s()?, bits, element_count(&shape)?)?;
            let picked: Vec<usize> = indices.into_iter().map(|i| i as usize).collect();
            return Ok(vec![lut.pick(&shape, &picked)?.into()]);
        }
        let lookup = Lookup::of(indices.shape(), lut.shape(), self.vector_axis)?;
        let indices = indices.to_i64s()?;
        lookup.check(&indices)?;
        let mut picked = Vec::with_capacity(element_count(&lookup.result)?);
        lookup.for_each_source(|place, part| {
            picked.push(lookup.entry((place, part), indices[place]));
        });
        Ok(vec![lut.pick(&lookup.result, &picked)?.into()])
    }
}

/// For each place of a mask, the position among the values of the value that stands there.
fn positions(mask: &Array, values: usize) -> Result<Vec<Option<usize>>, EvalError> {
    let mut next = 0;
    let places = mask
        .to_bools()?
        .into_iter()
        .map(|given| {
            next += usize::from(given);
            given.then(|| next - 1)
        })
        .collect();
    if next == values {
        Ok(places)
    } else {
        Err(EvalError::undefined(format!("{values} values for {next} places")))
    }
}

impl Kernel for ConstexprLutToSparse {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (mask, lut) = (cx.array("indices_mask")?, cx.array("lut")?);
        let indices = cx.array("indices_nonzero_data")?.to_i64s()?;
        let places = positions(mask, indices.len())?;
        let lookup = Lookup::of(mask.shape(), lut.shape(), self.vector_axis)?;
        if lookup.shape != mask.shape() {
            return Err(EvalError::internal("a mask of another shape"));
        }
        lookup.check(&indices)?;
        let mut given = Vec::with_capacity(element_count(&lookup.result)?);
        let mut picked = Vec::new();
        lookup.for_each_source(|place, part| {
            given.push(i64::from(places[place].is_some()));
            if let Some(at) = places[place] {
                picked.push(lookup.entry((place, part), indices[at]));
            }
        });
        let given = Array::from_i64s(mask.dtype(), &lookup.result, given)?;
        Ok(vec![given.into(), lut.pick(&[picked.len()], &picked)?.into()])
    }
}

impl Kernel for ConstexprSparseBlockwiseShiftScale {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (mask, values) = (cx.array("data_mask")?, cx.array("nonzero_data")?);
        let places = positions(mask, values.count())?;
        let blocks = block_index(mask.shape(), cx.array("scale")?.shape())?;
        let given = blocks.iter().zip(&places).filter(|(_, place)| place.is_some());
        let scaled = shift_scale(cx, values, given.map(|(&block, _)| block))?;
        let scaled = Array::from_f64s(cx.result_dtype(1)?, &[scaled.len()], scaled)?;
        Ok(vec![mask.clone().into(), scaled.into()])
    }
}

impl Kernel for ConstexprSparseToDense {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (values, mask) = (cx.array("nonzero_data")?, cx.array("mask")?);
        let places = match &self.shape {
            None => positions(mask, values.count())?,
            Some(shape) => {
                let shape = extents(shape)?;
                let bits = unpack(&mask.to_i64s()?, 1, element_count(&shape)?)?;
                positions(&Array::from_i64s(mlc_tensor::DType::U1, &shape, bits)?, values.count())?
            }
        };
        let shape = match &self.shape {
            None => mask.shape().to_vec(),
            Some(shape) => extents(shape)?,
        };
        if values.dtype().is_float() {
            let values = values.to_f64s()?;
            cx.one_f64s(&shape, places.iter().map(|at| at.map_or(0.0, |at| values[at])).collect())
        } else {
            let values = values.to_i64s()?;
            cx.one_i64s(&shape, places.iter().map(|at| at.map_or(0, |at| values[at])).collect())
        }
    }
}
