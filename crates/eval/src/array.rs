//! Tensors with their elements in memory.

use candle_core::{CpuStorage, DType as Storage, Device, Storage as Backing, Tensor as Candle};
use half::{bf16, f16};
use mlc_tensor::{DType, DTypeKind, Span, Tensor, round_to_halves, round_to_odd};
use rayon::prelude::*;

use crate::kernel::EvalError;

/// A tensor in memory: a declared element type over wide storage.
///
/// Storage is `f64` for [`DType::F64`], `f32` for other floats, `u8` for `bool`, `i64` for
/// integers; values are always ones that the declared type can hold. Contiguous, row-major.
#[derive(Debug, Clone)]
pub struct Array {
    dtype: DType,
    data: Candle,
}

/// The storage type of an element type; `None` for complex numbers and strings.
fn storage(dtype: DType) -> Option<Storage> {
    match dtype.kind() {
        DTypeKind::Bool => Some(Storage::U8),
        DTypeKind::Int => Some(Storage::I64),
        DTypeKind::Float if dtype == DType::F64 => Some(Storage::F64),
        DTypeKind::Float => Some(Storage::F32),
        DTypeKind::Complex | DTypeKind::Str => None,
    }
}

fn storage_of(dtype: DType) -> Result<Storage, EvalError> {
    storage(dtype)
        .ok_or_else(|| EvalError::unsupported(format!("{dtype} elements cannot be evaluated")))
}

/// Wraps an integer to the bits of `dtype`, as two's-complement hardware does.
fn wrap(dtype: DType, x: i64) -> i64 {
    let bits = dtype.bits();
    if bits >= 64 {
        return x;
    }
    let low = x & ((1i64 << bits) - 1);
    match dtype.int_range() {
        Some((min, max)) if min < 0 && low > max => low - (1i64 << bits),
        _ => low,
    }
}

/// `x` rounded once to a float type below f64: by way of f32 it could come out on the other side of a tie.
pub(crate) fn rounded(dtype: DType, x: f64) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(round_to_odd(x)).to_f32(),
        DType::Bf16 => bf16::from_f32(round_to_odd(x)).to_f32(),
        _ => x as f32,
    }
}

/// Numbers from which on work on them is given to several threads, and those that one takes at least.
pub(crate) const PARALLEL: usize = 1 << 14;

/// `f` of each number, on all cores where there are many.
pub(crate) fn each<T: Sync, U: Send>(numbers: &[T], f: impl Fn(&T) -> U + Sync) -> Vec<U> {
    if numbers.len() < 2 * PARALLEL {
        return numbers.iter().map(f).collect();
    }
    numbers.par_iter().with_min_len(PARALLEL).map(&f).collect()
}

impl Array {
    /// Takes a candle tensor of any dtype and rounds it to `dtype`: floats to nearest even, integers
    /// wrapped.
    ///
    /// # Errors
    /// `dtype` cannot be evaluated, or candle's.
    pub fn new(dtype: DType, data: Candle) -> Result<Self, EvalError> {
        let wide = storage_of(dtype)?;
        let data = match dtype {
            DType::F16 => {
                let mut numbers = data.to_dtype(Storage::F32)?.flatten_all()?.to_vec1::<f32>()?;
                round_to_halves(&mut numbers);
                Candle::from_vec(numbers, data.dims(), &Device::Cpu)?
            }
            DType::Bf16 => data.to_dtype(Storage::F32)?.to_dtype(Storage::BF16)?.to_dtype(wide)?,
            DType::F8E4M3 | DType::F8E5M2 => {
                return Err(EvalError::unsupported(format!("{dtype} results cannot be evaluated")));
            }
            _ => data.to_dtype(wide)?,
        };
        let data = data.contiguous()?;
        if dtype.kind() == DTypeKind::Int && dtype.bits() < 64 {
            let (low, high) = dtype.int_range().unwrap_or((i64::MIN, i64::MAX));
            let flat = data.flatten_all()?.to_vec1::<i64>()?;
            if flat.iter().any(|x| !(low..=high).contains(x)) {
                let wrapped: Vec<i64> = flat.into_iter().map(|x| wrap(dtype, x)).collect();
                return Self::from_i64s(dtype, data.dims(), wrapped);
            }
        }
        Ok(Self { dtype, data })
    }

    /// An array from numbers, rounded to the float type `dtype`.
    ///
    /// # Errors
    /// The count is not that of the shape, or `dtype` is no float.
    pub fn from_f64s(dtype: DType, shape: &[usize], values: Vec<f64>) -> Result<Self, EvalError> {
        if dtype == DType::F64 {
            return Ok(Self { dtype, data: Candle::from_vec(values, shape, &Device::Cpu)? });
        }
        Self::from_f32s(dtype, shape, each(&values, |&x| rounded(dtype, x)))
    }

    /// An array from numbers, rounded to the float type `dtype`.
    ///
    /// # Errors
    /// The count is not that of the shape, or `dtype` is no float.
    pub fn from_f32s(
        dtype: DType,
        shape: &[usize],
        mut values: Vec<f32>,
    ) -> Result<Self, EvalError> {
        if dtype.kind() != DTypeKind::Float {
            return Err(EvalError::internal(format!("floats for an array of {dtype}")));
        }
        match dtype {
            DType::F16 => round_to_halves(&mut values),
            DType::Bf16 => values.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32()),
            _ => {}
        }
        let data = Candle::from_vec(values, shape, &Device::Cpu)?.to_dtype(storage_of(dtype)?)?;
        Ok(Self { dtype, data })
    }

    /// An array from integers, wrapped to the integer type `dtype`; not zero is true for `bool`.
    ///
    /// # Errors
    /// The count is not that of the shape, or `dtype` is a float.
    pub fn from_i64s(
        dtype: DType,
        shape: &[usize],
        mut values: Vec<i64>,
    ) -> Result<Self, EvalError> {
        match dtype.kind() {
            DTypeKind::Int => {
                values.iter_mut().for_each(|x| *x = wrap(dtype, *x));
                Ok(Self { dtype, data: Candle::from_vec(values, shape, &Device::Cpu)? })
            }
            DTypeKind::Bool => {
                Self::from_bools(shape, values.into_iter().map(|x| x != 0).collect())
            }
            _ => Err(EvalError::internal(format!("integers for an array of {dtype}"))),
        }
    }

    /// An array of `bool`.
    ///
    /// # Errors
    /// The count is not that of the shape.
    pub fn from_bools(shape: &[usize], values: Vec<bool>) -> Result<Self, EvalError> {
        let values: Vec<u8> = values.into_iter().map(u8::from).collect();
        Ok(Self { dtype: DType::Bool, data: Candle::from_vec(values, shape, &Device::Cpu)? })
    }

    /// Reads a constant.
    ///
    /// # Errors
    /// Its bytes cannot be made, or its element type cannot be evaluated.
    pub fn from_tensor(tensor: &Tensor) -> Result<Self, EvalError> {
        let shape: Vec<usize> = tensor.shape().iter().map(|&d| d as usize).collect();
        let dtype = tensor.dtype();
        match storage_of(dtype)? {
            Storage::I64 | Storage::U8 => Self::from_i64s(dtype, &shape, tensor.to_i64s()?),
            Storage::F64 => Self::from_f64s(dtype, &shape, tensor.to_f64s()?),
            _ => {
                let values = tensor.to_f32s()?;
                Ok(Self { dtype, data: Candle::from_vec(values, &shape[..], &Device::Cpu)? })
            }
        }
    }

    /// As a constant with the bytes in memory.
    ///
    /// # Errors
    /// The element type has no constants.
    pub fn to_tensor(&self) -> Result<Tensor, EvalError> {
        let shape: Vec<u64> = self.shape().iter().map(|&d| d as u64).collect();
        Ok(match self.dtype.kind() {
            DTypeKind::Int | DTypeKind::Bool => {
                Tensor::from_i64s(self.dtype, &shape, &self.to_i64s()?)?
            }
            _ => {
                // Written element by element so that infinities and NaN stay what they are.
                let mut bytes = Vec::new();
                for x in self.to_f64s()? {
                    match self.dtype {
                        DType::F16 => bytes.extend(f16::from_f64(x).to_le_bytes()),
                        DType::Bf16 => bytes.extend(bf16::from_f64(x).to_le_bytes()),
                        DType::F32 => bytes.extend((x as f32).to_le_bytes()),
                        _ => bytes.extend(x.to_le_bytes()),
                    }
                }
                Tensor::from_bytes(self.dtype, &shape, bytes)?
            }
        })
    }

    /// Declared element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.data.dims()
    }

    /// Number of axes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// Number of elements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.data.elem_count()
    }

    /// The wide tensor.
    #[must_use]
    pub fn candle(&self) -> &Candle {
        &self.data
    }

    /// The elements as floats, in row-major order.
    ///
    /// # Errors
    /// Candle's.
    pub fn to_f32s(&self) -> Result<Vec<f32>, EvalError> {
        Ok(self.data.flatten_all()?.to_dtype(Storage::F32)?.to_vec1()?)
    }

    /// The least and the greatest finite element of floats, if there is one.
    ///
    /// # Errors
    /// Candle's.
    pub fn finite_range(&self) -> Result<Option<(f64, f64)>, EvalError> {
        let (storage, layout) = self.data.storage_and_layout();
        let span = match (&*storage, layout.contiguous_offsets()) {
            (Backing::Cpu(CpuStorage::F32(all)), Some((start, end))) => {
                Span::of_singles(&all[start..end])
            }
            _ => Span::of_singles(&self.to_f32s()?),
        };
        Ok((span.lo <= span.hi).then_some((span.lo, span.hi)))
    }

    /// The elements as doubles, in row-major order.
    ///
    /// # Errors
    /// Candle's.
    pub fn to_f64s(&self) -> Result<Vec<f64>, EvalError> {
        Ok(self.data.flatten_all()?.to_dtype(Storage::F64)?.to_vec1()?)
    }

    /// The elements as integers, in row-major order; floats truncate toward zero.
    ///
    /// # Errors
    /// Candle's.
    pub fn to_i64s(&self) -> Result<Vec<i64>, EvalError> {
        Ok(match self.data.dtype() {
            Storage::I64 => self.data.flatten_all()?.to_vec1()?,
            Storage::U8 => {
                self.data.flatten_all()?.to_vec1::<u8>()?.into_iter().map(i64::from).collect()
            }
            _ => self.to_f64s()?.into_iter().map(|x| x as i64).collect(),
        })
    }

    /// The elements as truth values, in row-major order.
    ///
    /// # Errors
    /// Candle's.
    pub fn to_bools(&self) -> Result<Vec<bool>, EvalError> {
        Ok(self.to_i64s()?.into_iter().map(|x| x != 0).collect())
    }

    /// The only element, as an integer.
    ///
    /// # Errors
    /// There is another number of elements.
    pub fn to_i64(&self) -> Result<i64, EvalError> {
        match self.to_i64s()?[..] {
            [one] => Ok(one),
            ref all => Err(EvalError::internal(format!("{} elements, one needed", all.len()))),
        }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// The counts differ.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self, EvalError> {
        Ok(Self { dtype: self.dtype, data: self.data.reshape(shape)? })
    }

    /// The elements at `index` (flat, row-major) under `shape`: how every op that only moves elements
    /// is written.
    ///
    /// # Errors
    /// The counts differ or an index is out of range.
    pub fn pick(&self, shape: &[usize], index: &[usize]) -> Result<Self, EvalError> {
        fn take<T: Copy>(from: &[T], index: &[usize]) -> Result<Vec<T>, EvalError> {
            index
                .iter()
                .map(|&i| {
                    from.get(i).copied().ok_or_else(|| EvalError::internal("index out of range"))
                })
                .collect()
        }
        let flat = self.data.flatten_all()?;
        let data = match self.data.dtype() {
            Storage::I64 => {
                Candle::from_vec(take(&flat.to_vec1::<i64>()?, index)?, shape, &Device::Cpu)?
            }
            Storage::U8 => {
                Candle::from_vec(take(&flat.to_vec1::<u8>()?, index)?, shape, &Device::Cpu)?
            }
            Storage::F64 => {
                Candle::from_vec(take(&flat.to_vec1::<f64>()?, index)?, shape, &Device::Cpu)?
            }
            _ => Candle::from_vec(take(&flat.to_vec1::<f32>()?, index)?, shape, &Device::Cpu)?,
        };
        Ok(Self { dtype: self.dtype, data })
    }

    /// An array under `shape` put together from `runs` of `sources`, one after another: each is a
    /// source, its first element (flat, row-major) and a number of elements. The element type is
    /// that of the first source.
    ///
    /// # Errors
    /// There is no source, element types differ, a run is out of range, or the counts differ.
    pub fn assemble(
        shape: &[usize],
        sources: &[&Self],
        runs: impl IntoIterator<Item = (usize, usize, usize)>,
    ) -> Result<Self, EvalError> {
        fn copy<T: Copy + candle_core::WithDType>(
            shape: &[usize],
            sources: &[&Array],
            runs: impl IntoIterator<Item = (usize, usize, usize)>,
        ) -> Result<Candle, EvalError> {
            let from = sources
                .iter()
                .map(|source| source.data.flatten_all()?.to_vec1::<T>())
                .collect::<Result<Vec<_>, _>>()?;
            let mut to = Vec::with_capacity(element_count(shape)?);
            for (source, start, count) in runs {
                let run = start
                    .checked_add(count)
                    .and_then(|end| from.get(source)?.get(start..end))
                    .ok_or_else(|| EvalError::internal("run out of range"))?;
                to.extend_from_slice(run);
            }
            Ok(Candle::from_vec(to, shape, &Device::Cpu)?)
        }
        let Some(first) = sources.first() else {
            return Err(EvalError::internal("nothing to put together"));
        };
        let dtype = first.dtype;
        if sources.iter().any(|source| source.dtype != dtype) {
            return Err(EvalError::internal("arrays of different element types put together"));
        }
        let data = match first.data.dtype() {
            Storage::I64 => copy::<i64>(shape, sources, runs)?,
            Storage::U8 => copy::<u8>(shape, sources, runs)?,
            Storage::F64 => copy::<f64>(shape, sources, runs)?,
            _ => copy::<f32>(shape, sources, runs)?,
        };
        Ok(Self { dtype, data })
    }

    /// Converted as `cast` does: floats truncate toward zero and wrap, not zero is true.
    ///
    /// # Errors
    /// `dtype` cannot be evaluated.
    pub fn cast(&self, dtype: DType) -> Result<Self, EvalError> {
        match (self.dtype.kind(), dtype.kind()) {
            (_, DTypeKind::Bool) => {
                let values = self.to_f64s()?.into_iter().map(|x| x != 0.0).collect();
                Self::from_bools(self.shape(), values)
            }
            (DTypeKind::Float, DTypeKind::Int) => {
                Self::from_i64s(dtype, self.shape(), self.to_i64s()?)
            }
            (DTypeKind::Float, DTypeKind::Float) if self.dtype == DType::F64 => {
                Self::from_f64s(dtype, self.shape(), self.to_f64s()?)
            }
            _ => Self::new(dtype, self.data.clone()),
        }
    }
}

/// Most elements of an array that a kernel makes.
const MAX_ELEMENTS: usize = 1 << 30;

/// The number of elements of a shape.
///
/// # Errors
/// There are more than the evaluator makes.
pub(crate) fn element_count(shape: &[usize]) -> Result<usize, EvalError> {
    // Empty axes count as one here, so that no product of the other extents overflows.
    let bound = shape
        .iter()
        .try_fold(1usize, |count, &extent| count.checked_mul(extent.max(1)))
        .filter(|&count| count <= MAX_ELEMENTS)
        .ok_or_else(|| EvalError::unsupported(format!("{shape:?} has too many elements")))?;
    Ok(if shape.contains(&0) { 0 } else { bound })
}

/// Row-major strides of a shape.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Calls `visit` with each multi-index of `shape`, in row-major order.
pub(crate) fn for_each_index(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    let count: usize = shape.iter().product();
    let mut index = vec![0; shape.len()];
    for _ in 0..count {
        visit(&index);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}
