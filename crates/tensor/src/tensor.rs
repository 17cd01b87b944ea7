//! The tensor handle.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::convert;
use crate::dtype::DType;
use crate::map::MappedFile;
use crate::reader::{self, Reader};
use crate::recipe::{Recipe, ZipOp, broadcast, row_major};

/// Bytes that are made and written at a time: two windows, and what one is made of, stay near a core.
const WINDOW: usize = 512 << 10;

thread_local! {
    /// Room for the window that is written, and for the next one.
    static WINDOWS: RefCell<[Vec<u8>; 2]> = RefCell::default();
}

/// What can be wrong with a tensor.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum TensorError {
    /// The element count or byte length exceeds what can be addressed.
    #[error("shape {shape:?} is too large")]
    TooLarge {
        /// The shape.
        shape: Vec<u64>,
    },
    /// The source has fewer bytes than dtype and shape ask for.
    #[error("{needed} bytes needed for {shape:?} of {dtype}, {found} found")]
    TooShort {
        /// Element type.
        dtype: DType,
        /// The shape.
        shape: Vec<u64>,
        /// Bytes that dtype and shape ask for.
        needed: u64,
        /// Bytes there.
        found: u64,
    },
    /// An operation that works on whole bytes met a sub-byte type.
    #[error("{dtype} elements cannot be moved one by one")]
    SubByte {
        /// Element type.
        dtype: DType,
    },
    /// A conversion that does not exist.
    #[error("no conversion from {from} to {to}")]
    NoCast {
        /// From.
        from: DType,
        /// To.
        to: DType,
    },
    /// A file cannot be read.
    #[error("cannot be read: {what}")]
    Unreadable {
        /// What the system says.
        what: String,
    },
    /// Operand shapes do not fit the recipe.
    #[error("{what}")]
    BadRecipe {
        /// What does not fit.
        what: String,
    },
}

pub(crate) fn unreadable(error: &io::Error) -> TensorError {
    TensorError::Unreadable { what: error.to_string() }
}

/// Where the bytes of a tensor come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A range of a mapped file, row-major, starting at a byte offset.
    Mapped {
        /// The file.
        file: Arc<MappedFile>,
        /// First byte.
        offset: u64,
    },
    /// A shared buffer.
    Bytes(Arc<[u8]>),
    /// One element, repeated.
    Splat(Arc<[u8]>),
    /// Uniform values in `[-scale, scale)` that depend on seed, position and nothing else; for
    /// fixtures. `scale` is the bits of an `f64`.
    Random {
        /// Seed.
        seed: u64,
        /// Bits of the scale.
        scale: u64,
    },
    /// Made from other tensors.
    Recipe(Arc<Recipe>),
}

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Inner {
    dtype: DType,
    shape: Vec<u64>,
    source: Source,
}

/// A constant tensor: dtype, shape and a source that is read late. Cloning is cheap.
///
/// Equality, order and hash go by dtype, shape and source, never by the bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tensor(Arc<Inner>);

/// Number of elements of a shape, if it can be addressed.
pub(crate) fn element_count(shape: &[u64]) -> Result<usize, TensorError> {
    // An empty axis counts as one here, so that no product of the other extents overflows either.
    shape
        .iter()
        .try_fold(1u64, |n, &d| n.checked_mul(d.max(1)))
        .filter(|&n| n <= 1 << 48)
        .and_then(|n| usize::try_from(if shape.contains(&0) { 0 } else { n }).ok())
        .ok_or_else(|| TensorError::TooLarge { shape: shape.to_vec() })
}

fn byte_len(dtype: DType, shape: &[u64]) -> Result<u64, TensorError> {
    dtype
        .bytes_for(element_count(shape)? as u64)
        .ok_or_else(|| TensorError::TooLarge { shape: shape.to_vec() })
}

impl Tensor {
    fn from_parts(dtype: DType, shape: Vec<u64>, source: Source) -> Self {
        Self(Arc::new(Inner { dtype, shape, source }))
    }

    /// A range of a mapped file.
    ///
    /// # Errors
    /// The file ends before the last element.
    pub fn mapped(
        file: &Arc<MappedFile>,
        offset: u64,
        dtype: DType,
        shape: &[u64],
    ) -> Result<Self, TensorError> {
        let needed = byte_len(dtype, shape)?;
        let found = file.len().saturating_sub(offset);
        if needed > found {
            return Err(TensorError::TooShort { dtype, shape: shape.to_vec(), needed, found });
        }
        let source = Source::Mapped { file: Arc::clone(file), offset };
        Ok(Self::from_parts(dtype, shape.to_vec(), source))
    }

    /// A tensor over bytes that are already in memory; for small ones.
    ///
    /// # Errors
    /// The length of `bytes` is not what dtype and shape ask for.
    pub fn from_bytes(
        dtype: DType,
        shape: &[u64],
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<Self, TensorError> {
        let bytes = bytes.into();
        let needed = byte_len(dtype, shape)?;
        if needed != bytes.len() as u64 {
            let found = bytes.len() as u64;
            return Err(TensorError::TooShort { dtype, shape: shape.to_vec(), needed, found });
        }
        Ok(Self::from_parts(dtype, shape.to_vec(), Source::Bytes(bytes)))
    }

    /// Numbers converted to `dtype` as [`Recipe::Cast`] does.
    ///
    /// # Errors
    /// The count is not that of the shape, or `dtype` cannot be made from numbers.
    pub fn from_f64s(dtype: DType, shape: &[u64], values: &[f64]) -> Result<Self, TensorError> {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self::from_bytes(DType::F64, shape, bytes)?.converted(dtype)
    }

    /// Integers converted to `dtype` as [`Recipe::Cast`] does.
    ///
    /// # Errors
    /// The count is not that of the shape, or `dtype` cannot be made from numbers.
    pub fn from_i64s(dtype: DType, shape: &[u64], values: &[i64]) -> Result<Self, TensorError> {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self::from_bytes(DType::I64, shape, bytes)?.converted(dtype)
    }

    fn converted(&self, dtype: DType) -> Result<Self, TensorError> {
        if dtype.is_int() && dtype.size().is_none() {
            return Self::from_bytes(dtype, self.shape(), convert::pack(dtype, &self.to_i64s()?));
        }
        if !convert::castable(self.dtype(), dtype) {
            return Err(TensorError::NoCast { from: self.dtype(), to: dtype });
        }
        let bytes = convert::cast(self.dtype(), dtype, &self.bytes()?, self.count());
        Self::from_bytes(dtype, self.shape(), bytes)
    }

    /// One element repeated: `element` holds its bytes.
    ///
    /// # Errors
    /// `element` is not one element of `dtype`, or the type is smaller than a byte.
    pub fn splat(dtype: DType, shape: &[u64], element: &[u8]) -> Result<Self, TensorError> {
        byte_len(dtype, shape)?;
        let size = dtype.size().ok_or(TensorError::SubByte { dtype })?;
        if element.len() != size {
            let (needed, found) = (size as u64, element.len() as u64);
            return Err(TensorError::TooShort { dtype, shape: vec![], needed, found });
        }
        Ok(Self::from_parts(dtype, shape.to_vec(), Source::Splat(element.into())))
    }

    /// One number everywhere, converted as [`Tensor::from_f64s`] does.
    ///
    /// # Errors
    /// As [`Tensor::splat`].
    pub fn full(dtype: DType, shape: &[u64], x: f64) -> Result<Self, TensorError> {
        let one = Self::from_f64s(dtype, &[], &[x])?;
        Self::splat(dtype, shape, &one.bytes()?)
    }

    /// Uniform values in `[-scale, scale)` that depend on seed and position only; integers are
    /// truncated, `bool` is the sign.
    ///
    /// # Errors
    /// The dtype cannot be made from numbers.
    pub fn random(dtype: DType, shape: &[u64], seed: u64, scale: f64) -> Result<Self, TensorError> {
        byte_len(dtype, shape)?;
        if !convert::castable(DType::F64, dtype) {
            return Err(TensorError::NoCast { from: DType::F64, to: dtype });
        }
        let source = Source::Random { seed, scale: scale.to_bits() };
        Ok(Self::from_parts(dtype, shape.to_vec(), source))
    }

    /// A view of this tensor's flattened elements.
    ///
    /// # Errors
    /// Lengths differ, an element lies outside, or the type is smaller than a byte.
    pub fn strided(
        &self,
        shape: &[u64],
        strides: &[u64],
        offset: u64,
    ) -> Result<Self, TensorError> {
        if self.dtype().size().is_none() {
            return Err(TensorError::SubByte { dtype: self.dtype() });
        }
        if shape.len() != strides.len() {
            let what = format!("{} strides for {} axes", strides.len(), shape.len());
            return Err(TensorError::BadRecipe { what });
        }
        let count = element_count(shape)?;
        let last = shape
            .iter()
            .zip(strides)
            .try_fold(offset, |at, (&d, &s)| at.checked_add(d.saturating_sub(1).checked_mul(s)?));
        let inside = last.is_some_and(|last| last < self.count() as u64);
        if count > 0 && !inside {
            let what = format!(
                "shape {shape:?}, strides {strides:?}, offset {offset} reach beyond {} elements",
                self.count()
            );
            return Err(TensorError::BadRecipe { what });
        }
        if let (Source::Mapped { file, offset: start }, true) =
            (&self.0.source, strides == row_major(shape))
        {
            let size = self.dtype().size().unwrap_or(1) as u64;
            let at = offset.checked_mul(size).and_then(|bytes| start.checked_add(bytes));
            let at = at.ok_or_else(|| TensorError::TooLarge { shape: shape.to_vec() })?;
            return Self::mapped(file, at, self.dtype(), shape);
        }
        let recipe = Recipe::Strided { of: self.clone(), offset, strides: strides.to_vec() };
        Ok(self.recipe(self.dtype(), shape.to_vec(), recipe))
    }

    fn recipe(&self, dtype: DType, shape: Vec<u64>, recipe: Recipe) -> Self {
        Self::from_parts(dtype, shape, Source::Recipe(Arc::new(recipe)))
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// The element counts differ.
    pub fn reshape(&self, shape: &[u64]) -> Result<Self, TensorError> {
        if element_count(shape)? != self.count() {
            let what = format!("cannot reshape {:?} to {shape:?}", self.shape());
            return Err(TensorError::BadRecipe { what });
        }
        Ok(match &self.0.source {
            Source::Recipe(recipe) => match &**recipe {
                Recipe::Reshape(of) => {
                    self.recipe(self.dtype(), shape.to_vec(), Recipe::Reshape(of.clone()))
                }
                _ => self.recipe(self.dtype(), shape.to_vec(), Recipe::Reshape(self.clone())),
            },
            Source::Random { .. } => {
                self.recipe(self.dtype(), shape.to_vec(), Recipe::Reshape(self.clone()))
            }
            source => Self::from_parts(self.dtype(), shape.to_vec(), source.clone()),
        })
    }

    /// The same bytes under another element type and shape, as packed indices are those of a tensor
    /// of bytes. Recipes are carried out now.
    ///
    /// # Errors
    /// The numbers of bytes differ, or a recipe cannot be carried out.
    pub fn reinterpret(&self, dtype: DType, shape: &[u64]) -> Result<Self, TensorError> {
        let (needed, found) = (byte_len(dtype, shape)?, self.byte_len());
        if needed != found {
            return Err(TensorError::TooShort { dtype, shape: shape.to_vec(), needed, found });
        }
        match &self.0.source {
            source @ (Source::Mapped { .. } | Source::Bytes(_)) => {
                Ok(Self::from_parts(dtype, shape.to_vec(), source.clone()))
            }
            _ => Self::from_bytes(dtype, shape, self.bytes()?.into_owned()),
        }
    }

    /// Axis `i` of the result is axis `perm[i]` of this.
    ///
    /// # Errors
    /// `perm` is no permutation of the axes, or the type is smaller than a byte.
    pub fn transpose(&self, perm: &[usize]) -> Result<Self, TensorError> {
        if self.dtype().size().is_none() {
            return Err(TensorError::SubByte { dtype: self.dtype() });
        }
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        if sorted != (0..self.shape().len()).collect::<Vec<_>>() {
            let what = format!("{perm:?} is no permutation of {} axes", self.shape().len());
            return Err(TensorError::BadRecipe { what });
        }
        let shape = perm.iter().map(|&p| self.shape()[p]).collect();
        Ok(self.recipe(
            self.dtype(),
            shape,
            Recipe::Transpose { of: self.clone(), perm: perm.to_vec() },
        ))
    }

    /// The elements converted to `dtype`; see [`Recipe::Cast`].
    ///
    /// # Errors
    /// There is no such conversion.
    pub fn cast(&self, dtype: DType) -> Result<Self, TensorError> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        if !convert::castable(self.dtype(), dtype) {
            return Err(TensorError::NoCast { from: self.dtype(), to: dtype });
        }
        if let Source::Bytes(_) | Source::Splat(_) = &self.0.source
            && self.count() <= 16
        {
            return self.converted(dtype);
        }
        Ok(self.recipe(dtype, self.shape().to_vec(), Recipe::Cast(self.clone())))
    }

    /// Tensors joined along `axis`.
    ///
    /// # Errors
    /// No parts, or parts that differ in dtype or in another axis.
    pub fn concat(axis: usize, parts: &[Self]) -> Result<Self, TensorError> {
        let bad = |what: &str| TensorError::BadRecipe { what: what.to_owned() };
        let first = parts.first().ok_or_else(|| bad("nothing to join"))?;
        if axis >= first.shape().len() {
            return Err(bad("axis is out of range"));
        }
        let mut shape = first.shape().to_vec();
        shape[axis] = 0;
        for part in parts {
            let mut own = part.shape().to_vec();
            let along = own.get(axis).copied().unwrap_or(0);
            if own.len() == shape.len() {
                own[axis] = shape[axis];
            }
            if own != shape || part.dtype() != first.dtype() {
                return Err(bad("parts differ in dtype or in another axis"));
            }
            shape[axis] =
                shape[axis].checked_add(along).ok_or(TensorError::TooLarge { shape: own })?;
        }
        element_count(&shape)?;
        if first.dtype().size().is_none() {
            return Err(TensorError::SubByte { dtype: first.dtype() });
        }
        Ok(first.recipe(first.dtype(), shape, Recipe::Concat { axis, parts: parts.to_vec() }))
    }

    /// Arithmetic on two tensors of one float type, broadcast by NumPy's rule: see [`Recipe::Zip`].
    ///
    /// # Errors
    /// Element types that differ or are no float of at least 16 bits, or shapes that do not broadcast.
    pub fn zip(op: ZipOp, x: &Self, y: &Self) -> Result<Self, TensorError> {
        let bad = |what: String| TensorError::BadRecipe { what };
        let dtype = x.dtype();
        if dtype != y.dtype() || !dtype.is_float() || dtype.bits() < 16 {
            return Err(bad(format!("arithmetic on {dtype} and {}", y.dtype())));
        }
        let shape = broadcast(x.shape(), y.shape())
            .ok_or_else(|| bad(format!("{:?} and {:?} do not broadcast", x.shape(), y.shape())))?;
        element_count(&shape)?;
        Ok(x.recipe(dtype, shape, Recipe::Zip { op, operands: [x.clone(), y.clone()] }))
    }

    /// A tensor from a recipe that came as data (text IR), with every check of the constructors.
    ///
    /// # Errors
    /// The recipe does not fit `dtype` and `shape`.
    pub fn from_recipe(dtype: DType, shape: &[u64], recipe: Recipe) -> Result<Self, TensorError> {
        let made = match &recipe {
            Recipe::Strided { of, offset, strides } => of.strided(shape, strides, *offset)?,
            Recipe::Reshape(of) => of.reshape(shape)?,
            Recipe::Transpose { of, perm } => of.transpose(perm)?,
            Recipe::Cast(of) => of.cast(dtype)?,
            Recipe::Concat { axis, parts } => Self::concat(*axis, parts)?,
            Recipe::Zip { op, operands: [x, y] } => Self::zip(*op, x, y)?,
        };
        if made.dtype() != dtype || made.shape() != shape {
            let what = format!("recipe makes {:?} of {}", made.shape(), made.dtype());
            return Err(TensorError::BadRecipe { what });
        }
        Ok(made)
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Extents, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.0.shape
    }

    /// Where the bytes come from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// Number of elements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shape().iter().product::<u64>() as usize
    }

    /// Number of bytes.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        self.dtype().bytes_for(self.count() as u64).unwrap_or(0)
    }

    /// All bytes; borrowed where the source is contiguous.
    ///
    /// # Errors
    /// A recipe cannot be carried out.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, TensorError> {
        let len = self.byte_len() as usize;
        match &self.0.source {
            Source::Mapped { file, offset } => {
                let start = *offset as usize;
                file.range(start..start + len).map_err(|error| unreadable(&error))
            }
            Source::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Source::Splat(element) => Ok(Cow::Owned(element.repeat(self.count()))),
            Source::Random { seed, scale } => Ok(Cow::Owned(random(
                self.dtype(),
                0..self.count() as u64,
                *seed,
                f64::from_bits(*scale),
            ))),
            Source::Recipe(recipe) => match &**recipe {
                Recipe::Reshape(of) => of.bytes(),
                _ => Ok(Cow::Owned(reader::make(self)?)),
            },
        }
    }

    /// Writes all bytes, a window at a time: while one is written, the next is made
    /// on the other cores. Only a view of what has to be computed holds more, one tensor. What was read
    /// of mapped files is given back.
    ///
    /// # Errors
    /// The writer's, or a recipe that cannot be carried out.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let written = self.stream_to(out);
        self.release();
        written
    }

    /// Most bytes that [`Tensor::write_to`] holds, those of mapped files not counted.
    #[must_use]
    pub fn working_memory(&self) -> u64 {
        let windows = self.byte_len().min(2 * WINDOW as u64);
        reader::held(self).saturating_add(windows)
    }

    /// Gives back the memory that mapped files take for this tensor once it was read; see
    /// [`MappedFile::release`]. For walks over all weights.
    pub fn release(&self) {
        match &self.0.source {
            Source::Mapped { .. } => {
                self.release_part(0..self.byte_len() as usize / self.dtype().size().unwrap_or(1));
            }
            Source::Recipe(recipe) => recipe.operands().iter().for_each(Self::release),
            _ => {}
        }
    }

    /// [`Tensor::release`] for some elements of a mapped range, under any shape and type.
    fn release_part(&self, elements: Range<usize>) {
        match &self.0.source {
            Source::Mapped { file, offset } => {
                let size = self.dtype().size().unwrap_or(1);
                let start = *offset as usize;
                file.release(start + elements.start * size..start + elements.end * size);
            }
            Source::Recipe(recipe) => {
                if let Recipe::Reshape(of) | Recipe::Cast(of) = &**recipe {
                    of.release_part(elements);
                }
            }
            _ => {}
        }
    }

    fn stream_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let reader = Reader::of(self).map_err(io::Error::other)?;
        let (size, count) = (reader.size(), reader.count());
        let step = WINDOW / size;
        if let Some(bytes) = reader.slice() {
            for (i, window) in bytes.chunks(step * size).enumerate() {
                out.write_all(window)?;
                self.release_part(i * step..i * step + window.len() / size);
            }
            return Ok(());
        }
        // What a constant after another takes anew, the system has to clear.
        let mut windows = WINDOWS.take();
        let room = count.min(step) * size;
        windows.iter_mut().filter(|w| w.len() < room).for_each(|w| w.resize(room, 0));
        let written = self.stream_windows(&reader, &mut windows, out);
        WINDOWS.set(windows);
        written
    }

    fn stream_windows(
        &self,
        reader: &Reader<'_>,
        [ready, next]: &mut [Vec<u8>; 2],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let (size, count) = (reader.size(), reader.count());
        let most = |at: usize| (count - at).min(WINDOW / size);
        reader.fill(0, &mut ready[..most(0) * size])?;
        let mut at = 0;
        while at < count {
            let done = at + most(at);
            let window = &ready[..(done - at) * size];
            if done == count {
                return out.write_all(window);
            }
            let mut filled = Ok(());
            rayon::in_place_scope(|scope| {
                let next = &mut next[..most(done) * size];
                scope.spawn(|_| filled = reader.fill(done, next));
                out.write_all(window)
            })?;
            filled?;
            self.release_part(at..done);
            std::mem::swap(ready, next);
            at = done;
        }
        Ok(())
    }

    /// The bytes of the elements at `places` (bytes, for elements that are smaller), one after the other;
    /// no others are made, but for views of what has to be computed.
    ///
    /// # Errors
    /// A recipe cannot be carried out, or there is no such element.
    pub fn sample(&self, places: impl Iterator<Item = usize>) -> Result<Vec<u8>, TensorError> {
        let reader = Reader::of(self)?;
        let mut out = Vec::new();
        for place in places {
            if place >= reader.count() {
                let what = format!("no element {place} among {}", reader.count());
                return Err(TensorError::BadRecipe { what });
            }
            let start = out.len();
            out.resize(start + reader.size(), 0);
            reader.fill(place, &mut out[start..]).map_err(|error| unreadable(&error))?;
        }
        Ok(out)
    }

    /// All elements as floats (complex ones: their real parts).
    ///
    /// # Errors
    /// A recipe cannot be carried out.
    pub fn to_f64s(&self) -> Result<Vec<f64>, TensorError> {
        Ok(convert::floats(self.dtype(), &self.bytes()?, self.count()))
    }

    /// All elements as singles, converted as [`Recipe::Cast`] does.
    ///
    /// # Errors
    /// There is no such conversion, or a recipe cannot be carried out.
    pub fn to_f32s(&self) -> Result<Vec<f32>, TensorError> {
        const PIECE: usize = 1 << 14;
        let singles = self.cast(DType::F32)?;
        let reader = Reader::of(&singles)?;
        let mut out = vec![0f32; reader.count()];
        let piece = |(i, out): (usize, &mut [f32])| -> io::Result<()> {
            let start = i * PIECE;
            let mut made = Vec::new();
            let bytes = match reader.slice() {
                Some(bytes) => &bytes[start * 4..][..out.len() * 4],
                None => {
                    made.resize(out.len() * 4, 0);
                    reader.fill(start, &mut made)?;
                    &made
                }
            };
            let numbers = bytes.as_chunks::<4>().0;
            out.iter_mut().zip(numbers).for_each(|(x, bytes)| *x = f32::from_le_bytes(*bytes));
            Ok(())
        };
        let filled = out.par_chunks_mut(PIECE).enumerate().try_for_each(piece);
        filled.map_err(|error| unreadable(&error))?;
        Ok(out)
    }

    /// All elements as integers; floats truncate toward zero.
    ///
    /// # Errors
    /// A recipe cannot be carried out.
    pub fn to_i64s(&self) -> Result<Vec<i64>, TensorError> {
        Ok(convert::ints(self.dtype(), &self.bytes()?, self.count()))
    }

    /// BLAKE3 digest of the bytes, streamed.
    ///
    /// # Errors
    /// A recipe cannot be carried out.
    pub fn digest(&self) -> io::Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        self.write_to(&mut hasher)?;
        Ok(*hasher.finalize().as_bytes())
    }
}

/// SplitMix64 of seed and position, mapped to `[-scale, scale)`.
pub(crate) fn random(dtype: DType, places: Range<u64>, seed: u64, scale: f64) -> Vec<u8> {
    let mut out = Vec::new();
    for i in places {
        let mut z = seed.wrapping_add((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let unit = (z >> 11) as f64 / (1u64 << 53) as f64;
        let x = (2.0 * unit - 1.0) * scale;
        let x = if dtype == DType::Bool { f64::from(u8::from(x >= 0.0)) } else { x };
        convert::store(dtype, convert::Number::Float(x), &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn iota(shape: &[u64]) -> Tensor {
        let n: u64 = shape.iter().product();
        let values: Vec<i64> = (0..n as i64).collect();
        Tensor::from_i64s(DType::I32, shape, &values).unwrap()
    }

    #[test]
    fn views_and_transposes() {
        let t = iota(&[2, 3]);
        assert_eq!(t.transpose(&[1, 0]).unwrap().to_i64s().unwrap(), [0, 3, 1, 4, 2, 5]);
        assert_eq!(t.strided(&[2, 2], &[3, 1], 1).unwrap().to_i64s().unwrap(), [1, 2, 4, 5]);
        assert_eq!(t.strided(&[2, 2], &[0, 1], 4).unwrap().to_i64s().unwrap(), [4, 5, 4, 5]);
        assert!(t.strided(&[2, 2], &[3, 1], 2).is_err());
        let joined = Tensor::concat(1, &[t.clone(), t]).unwrap();
        assert_eq!(joined.to_i64s().unwrap(), [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]);
    }

    #[test]
    fn arithmetic_broadcasts_and_rounds_once() {
        let x = iota(&[2, 3]).cast(DType::F32).unwrap();
        let y = Tensor::from_f64s(DType::F32, &[2, 1], &[2.0, 0.5]).unwrap();
        let scaled = Tensor::zip(ZipOp::Mul, &x, &y).unwrap();
        assert_eq!(scaled.to_f64s().unwrap(), [0.0, 2.0, 4.0, 1.5, 2.0, 2.5]);
        let outer =
            Tensor::zip(ZipOp::Sub, &y, &Tensor::from_f64s(DType::F32, &[2], &[1.0, 0.0]).unwrap());
        assert_eq!(outer.unwrap().to_f64s().unwrap(), [1.0, 2.0, -0.5, 0.5]);
        let half = |v: f64| Tensor::from_f64s(DType::F16, &[], &[v]).unwrap();
        let sum = Tensor::zip(ZipOp::Add, &half(2048.0), &half(1.0)).unwrap();
        assert_eq!(sum.to_f64s().unwrap(), [2048.0]);
        assert!(Tensor::zip(ZipOp::Add, &x, &half(1.0)).is_err());
        assert!(Tensor::zip(ZipOp::Add, &x, &x.reshape(&[3, 2]).unwrap()).is_err());
    }

    #[test]
    fn arithmetic_is_the_same_wherever_it_begins() {
        let x = Tensor::random(DType::F32, &[40, 60, 3, 5], 1, 4.0).unwrap();
        for other in [&[40, 1, 1, 1][..], &[60, 1, 1], &[5], &[1], &[40, 60, 3, 5], &[40, 60, 1, 1]]
        {
            let y = Tensor::random(DType::F32, other, 2, 4.0).unwrap();
            let all = Tensor::zip(ZipOp::Mul, &x, &y).unwrap();
            let (a, b) = (x.to_f32s().unwrap(), y.to_f32s().unwrap());
            let strides = crate::recipe::broadcast_strides(other, x.shape());
            let got = all.to_f32s().unwrap();
            for place in (0..x.count()).step_by(97).chain([x.count() - 1]) {
                let (mut rest, mut at) = (place, 0);
                for axis in (0..4).rev() {
                    let extent = x.shape()[axis] as usize;
                    at += rest % extent * strides[axis] as usize;
                    rest /= extent;
                }
                let want = a[place] * b[at];
                assert_eq!(got[place], want, "{other:?} at {place}");
                assert_eq!(all.sample([place].into_iter()).unwrap(), want.to_le_bytes());
            }
        }
    }

    #[test]
    fn windows_of_views_are_those_of_the_whole() {
        let x = Tensor::random(DType::F32, &[70, 33, 21], 3, 9.0).unwrap();
        let flat =
            Tensor::from_bytes(DType::F32, x.shape(), x.bytes().unwrap().into_owned()).unwrap();
        let numbers = flat.to_f32s().unwrap();
        for perm in [[2, 0, 1], [1, 0, 2], [2, 1, 0], [0, 2, 1]] {
            let view = flat.transpose(&perm).unwrap();
            let strides = [33 * 21, 21, 1];
            let got = view.to_f32s().unwrap();
            let [p, q, r] = [0, 1, 2].map(|i: usize| view.shape()[i] as usize);
            for (place, x) in got.iter().enumerate() {
                let index = [place / (q * r), place / r % q, place % r];
                let from: usize = (0..3).map(|i| index[i] * strides[perm[i]]).sum();
                assert_eq!(*x, numbers[from], "{perm:?}");
            }
            assert_eq!(got.len(), p * q * r);
            let mut streamed = Vec::new();
            view.cast(DType::F16).unwrap().write_to(&mut streamed).unwrap();
            assert_eq!(streamed, *view.cast(DType::F16).unwrap().bytes().unwrap());
        }
    }

    #[test]
    fn absurd_shapes_are_refused() {
        assert!(Tensor::splat(DType::F32, &[u64::MAX, 2], &[0; 4]).is_err());
        assert!(Tensor::from_bytes(DType::F32, &[1 << 40, 1 << 40], vec![]).is_err());
    }

    proptest! {
        #[test]
        fn streaming_writes_the_same_bytes(n in 0u64..70_000, seed: u64) {
            let t = Tensor::random(DType::F32, &[n], seed, 100.0).unwrap().cast(DType::F16).unwrap();
            let mut streamed = Vec::new();
            t.write_to(&mut streamed).unwrap();
            prop_assert_eq!(&streamed[..], &*t.bytes().unwrap());
            prop_assert_eq!(streamed.len() as u64, t.byte_len());
        }

        #[test]
        fn transposing_back_is_the_identity(a in 1u64..5, b in 1u64..5, c in 1u64..5) {
            let t = iota(&[a, b, c]);
            let back = t.transpose(&[2, 0, 1]).unwrap().transpose(&[1, 2, 0]).unwrap();
            prop_assert_eq!(back.to_i64s().unwrap(), t.to_i64s().unwrap());
        }
    }
}
