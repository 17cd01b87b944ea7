//! Runs of the elements of a tensor, made without making the others.

use std::borrow::Cow;
use std::io;

use rayon::prelude::*;

use crate::convert;
use crate::dtype::DType;
use crate::map::MappedFile;
use crate::recipe::{Recipe, ZipOp, broadcast_strides, row_major};
use crate::tensor::{Source, Tensor, TensorError, element_count, random, unreadable};

/// Bytes from which on the work is given to several threads.
const PARALLEL: usize = 1 << 18;

/// Elements that a cast on the way to another holds at a time.
const STEP: usize = 1 << 14;

/// Elements that arithmetic holds at a time.
const STEP_OF_ZIP: usize = 1 << 10;

/// Makes any run of elements. Views and conversions of bytes that are there hold nothing; a view of
/// what has to be made holds that, and nothing else does.
///
/// Elements smaller than a byte are counted in bytes here: only what leaves them as they are has them.
pub(crate) struct Reader<'t> {
    /// Bytes of an element.
    size: usize,
    count: usize,
    kind: Kind<'t>,
}

enum Kind<'t> {
    Slice(Cow<'t, [u8]>),
    /// A range of a file that is not mapped.
    File(&'t MappedFile, usize),
    Splat(&'t [u8]),
    Random {
        dtype: DType,
        seed: u64,
        scale: f64,
    },
    Cast {
        from: DType,
        to: DType,
        of: Box<Reader<'t>>,
    },
    Gather(Gather<'t>),
    /// Parts, and the elements of each that follow one another.
    Concat(Vec<(Reader<'t>, usize)>),
    Zip(Box<Zip<'t>>),
}

struct Gather<'t> {
    bytes: Cow<'t, [u8]>,
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

struct Zip<'t> {
    op: ZipOp,
    dtype: DType,
    /// `f32`, or `f64` for itself.
    wide: DType,
    operands: [Side<'t>; 2],
    /// Extents and, for each operand, strides of the axes that are walked.
    outer: Vec<(usize, [usize; 2])>,
    /// Elements of which each operand is one run or one element.
    run: usize,
}

/// An operand of arithmetic.
struct Side<'t> {
    of: Reader<'t>,
    dtype: DType,
    /// Whether its elements are those of the result, one by one; else the wide ones are all there.
    made: Option<Vec<u8>>,
    /// Whether it is one element for each run.
    single: bool,
}

impl<'t> Reader<'t> {
    /// # Errors
    /// A part that has to be made first cannot be.
    pub(crate) fn of(tensor: &'t Tensor) -> Result<Self, TensorError> {
        let size = tensor.dtype().size().unwrap_or(1);
        let count = usize::try_from(tensor.byte_len()).unwrap_or(usize::MAX) / size;
        let kind = match tensor.source() {
            Source::Mapped { file, offset } if !file.is_mapped() => {
                Kind::File(file, *offset as usize)
            }
            Source::Mapped { .. } | Source::Bytes(_) => Kind::Slice(tensor.bytes()?),
            Source::Splat(element) => Kind::Splat(element),
            Source::Random { seed, scale } => {
                Kind::Random { dtype: tensor.dtype(), seed: *seed, scale: f64::from_bits(*scale) }
            }
            Source::Recipe(recipe) => return Self::of_recipe(recipe, tensor, size, count),
        };
        Ok(Self { size, count, kind })
    }

    fn of_recipe(
        recipe: &'t Recipe,
        tensor: &'t Tensor,
        size: usize,
        count: usize,
    ) -> Result<Self, TensorError> {
        let shape = tensor.shape();
        let kind = match recipe {
            Recipe::Reshape(of) => return Self::of(of),
            Recipe::Cast(of) => {
                Kind::Cast { from: of.dtype(), to: tensor.dtype(), of: Box::new(Self::of(of)?) }
            }
            Recipe::Strided { of, offset, strides } => {
                return Self::gather(of, shape, (*offset, strides.clone()));
            }
            Recipe::Transpose { of, perm } => {
                let strides = row_major(of.shape());
                return Self::gather(of, shape, (0, perm.iter().map(|&p| strides[p]).collect()));
            }
            Recipe::Concat { axis, parts } => {
                let inner: u64 = shape[axis + 1..].iter().product();
                let part = |part: &'t Tensor| {
                    Ok((Self::of(part)?, (part.shape()[*axis] * inner) as usize))
                };
                Kind::Concat(parts.iter().map(part).collect::<Result<_, TensorError>>()?)
            }
            Recipe::Zip { op, operands } => Kind::Zip(Box::new(Zip::new(*op, operands, tensor)?)),
        };
        Ok(Self { size, count, kind })
    }

    /// Elements of `of` in another order. A conversion or another shape below is carried out after it.
    fn gather(
        of: &'t Tensor,
        shape: &[u64],
        (offset, strides): (u64, Vec<u64>),
    ) -> Result<Self, TensorError> {
        let count = element_count(shape)?;
        let size = of.dtype().size().ok_or(TensorError::SubByte { dtype: of.dtype() })?;
        if let Source::Recipe(recipe) = of.source() {
            match &**recipe {
                Recipe::Reshape(of) => return Self::gather(of, shape, (offset, strides)),
                Recipe::Cast(inner) if inner.dtype().size().is_some() => {
                    let (from, to) = (inner.dtype(), of.dtype());
                    let of = Box::new(Self::gather(inner, shape, (offset, strides))?);
                    return Ok(Self { size, count, kind: Kind::Cast { from, to, of } });
                }
                _ => {}
            }
        }
        let narrow = |x: &[u64]| x.iter().map(|&x| x as usize).collect();
        let kind = Kind::Gather(Gather {
            bytes: of.bytes()?,
            shape: narrow(shape),
            strides: narrow(&strides),
            offset: offset as usize,
        });
        Ok(Self { size, count, kind })
    }

    /// The bytes, where they are there.
    pub(crate) fn slice(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Slice(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Bytes of an element.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Number of elements.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Writes the elements from `start` on into `out`, as many as it holds, on all cores.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn fill(&self, start: usize, out: &mut [u8]) -> io::Result<()> {
        if out.len() < PARALLEL {
            return self.read(start, out);
        }
        let part = out.len().div_ceil(2 * rayon::current_num_threads());
        let part = part.max(PARALLEL / 4).next_multiple_of(self.size);
        out.par_chunks_mut(part)
            .enumerate()
            .try_for_each(|(i, part_out)| self.read(start + i * (part / self.size), part_out))
    }

    fn read(&self, start: usize, out: &mut [u8]) -> io::Result<()> {
        let size = self.size;
        match &self.kind {
            Kind::Slice(bytes) => out.copy_from_slice(&bytes[start * size..][..out.len()]),
            Kind::File(file, offset) => return file.read_at(offset + start * size, out),
            Kind::Splat(element) => repeat(element, out),
            Kind::Random { dtype, seed, scale } => {
                let range = start as u64..(start + out.len() / size) as u64;
                out.copy_from_slice(&random(*dtype, range, *seed, *scale));
            }
            Kind::Cast { from, to, of } => {
                return of.pieces(start, out.len() / size, |at, bytes| {
                    let to_bytes = &mut out[at * size..][..bytes.len() / of.size * size];
                    convert::cast_into(*from, *to, bytes, to_bytes);
                });
            }
            Kind::Gather(gather) => match size {
                1 => gather.read::<1>(start, out),
                2 => gather.read::<2>(start, out),
                4 => gather.read::<4>(start, out),
                8 => gather.read::<8>(start, out),
                _ => gather.read::<16>(start, out),
            },
            Kind::Concat(parts) => return concat(parts, start, out, size),
            Kind::Zip(zip) => return zip.read(start, out, size),
        }
        Ok(())
    }

    /// Shows `count` elements from `start` on, a piece at a time, with the position of each piece.
    fn pieces(
        &self,
        start: usize,
        count: usize,
        mut visit: impl FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        if let Kind::Slice(bytes) = &self.kind {
            visit(0, &bytes[start * self.size..][..count * self.size]);
            return Ok(());
        }
        let mut piece = vec![0; count.min(STEP) * self.size];
        let mut at = 0;
        while at < count {
            let n = (count - at).min(STEP);
            let piece = &mut piece[..n * self.size];
            self.read(start + at, piece)?;
            visit(at, piece);
            at += n;
        }
        Ok(())
    }
}

fn repeat(element: &[u8], out: &mut [u8]) {
    for to in out.chunks_mut(element.len().max(1)) {
        to.copy_from_slice(&element[..to.len()]);
    }
}

fn concat(
    parts: &[(Reader<'_>, usize)],
    start: usize,
    out: &mut [u8],
    size: usize,
) -> io::Result<()> {
    let row: usize = parts.iter().map(|(_, n)| n).sum();
    let (mut line, mut within) = (start / row.max(1), start % row.max(1));
    let mut at = 0;
    while at < out.len() {
        for (part, n) in parts {
            if within >= *n {
                within -= n;
                continue;
            }
            let take = (n - within).min((out.len() - at) / size);
            part.read(line * n + within, &mut out[at..][..take * size])?;
            at += take * size;
            within = 0;
            if at == out.len() {
                return Ok(());
            }
        }
        line += 1;
    }
    Ok(())
}

/// Where a walk over axes stands.
struct Walk {
    index: Vec<usize>,
}

impl Walk {
    /// At the flat position `start` of these extents.
    fn at(mut start: usize, extents: impl DoubleEndedIterator<Item = usize>) -> Self {
        let mut index: Vec<usize> = Vec::new();
        for extent in extents.rev() {
            index.push(start % extent.max(1));
            start /= extent.max(1);
        }
        index.reverse();
        Self { index }
    }

    /// One further.
    fn step(&mut self, extents: impl DoubleEndedIterator<Item = usize>) {
        for (at, extent) in self.index.iter_mut().rev().zip(extents.rev()) {
            *at += 1;
            if *at < extent {
                return;
            }
            *at = 0;
        }
    }

    fn place(&self, strides: impl Iterator<Item = usize>) -> usize {
        self.index.iter().zip(strides).map(|(at, stride)| at * stride).sum()
    }
}

impl Gather<'_> {
    fn read<const N: usize>(&self, start: usize, out: &mut [u8]) {
        let (from, to) = (self.bytes.as_chunks::<N>().0, out.as_chunks_mut::<N>().0);
        let rank = self.shape.len();
        let (Some(&width), Some(&stride)) = (self.shape.last(), self.strides.last()) else {
            to.fill(from[self.offset]);
            return;
        };
        let rows = &self.shape[..rank - 1];
        let mut walk = Walk::at(start / width.max(1), rows.iter().copied());
        let mut column = start % width.max(1);
        let mut at = 0;
        while at < to.len() {
            let base = self.offset + walk.place(self.strides[..rank - 1].iter().copied());
            // Rows that lie beside one another in the source are made together, so that what is read
            // of memory is used before it is gone.
            let beside = match (rows.last(), column) {
                (Some(&extent), 0) if stride > 1 && self.strides[rank - 2] == 1 => {
                    (extent - walk.index[rank - 2]).min((to.len() - at) / width).min(4 * TILE)
                }
                _ => 0,
            };
            if beside > 1 {
                let block = &mut to[at..][..beside * width];
                for rows in (0..beside).step_by(TILE) {
                    for columns in (0..width).step_by(TILE) {
                        let first = base + columns * stride + rows;
                        let extents = [(beside - rows).min(TILE), (width - columns).min(TILE)];
                        let goal = &mut block[rows * width + columns..];
                        tile(&from[first..], stride, goal, (width, extents));
                    }
                }
                at += beside * width;
                (0..beside).for_each(|_| walk.step(self.shape[..rank - 1].iter().copied()));
                continue;
            }
            let n = (width - column).min(to.len() - at);
            let line = &mut to[at..][..n];
            let first = base + column * stride;
            match stride {
                0 => line.fill(from[first]),
                1 => line.copy_from_slice(&from[first..][..n]),
                _ => line
                    .iter_mut()
                    .zip(from[first..].iter().step_by(stride))
                    .for_each(|(to, x)| *to = *x),
            }
            at += n;
            column = 0;
            walk.step(rows.iter().copied());
        }
    }
}

/// Elements along each side of a block that is transposed at a time.
const TILE: usize = 16;

/// Transposes a block by way of memory that is near: row `i` of `to`, `width` apart, gets elements `i`
/// of the lines of `from`, `stride` apart.
fn tile<const N: usize>(
    from: &[[u8; N]],
    stride: usize,
    to: &mut [[u8; N]],
    (width, [rows, columns]): (usize, [usize; 2]),
) {
    let mut near = [[[0; N]; TILE]; TILE];
    for (j, line) in near[..columns].iter_mut().enumerate() {
        line[..rows].copy_from_slice(&from[j * stride..][..rows]);
    }
    for i in 0..rows {
        let row = &mut to[i * width..][..columns];
        row.iter_mut().zip(&near).for_each(|(to, line)| *to = line[i]);
    }
}

impl<'t> Zip<'t> {
    fn new(op: ZipOp, operands: &'t [Tensor; 2], result: &Tensor) -> Result<Self, TensorError> {
        let dtype = result.dtype();
        let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let shape: Vec<usize> = result.shape().iter().map(|&d| d as usize).collect();
        let strides = [0, 1].map(|i: usize| broadcast_strides(operands[i].shape(), result.shape()));
        // The trailing axes along which each operand is one run, or one element.
        let mut run = 1;
        let mut single = [false; 2];
        let mut axes = shape.len();
        while axes > 0 {
            let extent = shape[axes - 1];
            let fits = |i: usize| match (strides[i][axes - 1] as usize, run == 1) {
                _ if extent == 1 => true,
                (0, true) => true,
                (0, false) => single[i],
                (stride, _) => stride == run && !(single[i] && run > 1),
            };
            if !(fits(0) && fits(1)) {
                break;
            }
            if extent != 1 && run == 1 {
                single = [0, 1].map(|i| strides[i][axes - 1] == 0);
            }
            run *= extent;
            axes -= 1;
        }
        let outer = (0..axes).map(|a| (shape[a], [0, 1].map(|i: usize| strides[i][a] as usize)));
        let outer = outer.collect();
        let side = |i: usize| -> Result<Side<'t>, TensorError> {
            let tensor = &operands[i];
            let of = Reader::of(tensor)?;
            let made = match tensor.shape() == result.shape() {
                true => None,
                false => Some(convert::cast(dtype, wide, &tensor.bytes()?, tensor.count())),
            };
            Ok(Side { of, dtype, made, single: single[i] })
        };
        Ok(Self { op, dtype, wide, operands: [side(0)?, side(1)?], outer, run })
    }

    fn read(&self, start: usize, out: &mut [u8], size: usize) -> io::Result<()> {
        match self.wide {
            DType::F64 => self.compute::<8, f64>(start, out, size),
            _ => self.compute::<4, f32>(start, out, size),
        }
    }

    fn compute<const N: usize, T: Wide<N>>(
        &self,
        start: usize,
        out: &mut [u8],
        size: usize,
    ) -> io::Result<()> {
        let mut buffers = [0, 1].map(|i| match self.operands[i].made {
            None if self.operands[i].wide::<N>().is_none() => vec![[0; N]; STEP_OF_ZIP],
            _ => Vec::new(),
        });
        let mut results = [[0; N]; STEP_OF_ZIP];
        let run = self.run.max(1);
        let extents = || self.outer.iter().map(|(extent, _)| *extent);
        let mut walk = Walk::at(start / run, extents());
        let (mut within, mut at) = (start % run, 0);
        while at < out.len() {
            let n = ((out.len() - at) / size).min(STEP_OF_ZIP);
            let first = start + at / size;
            for (side, buffer) in self.operands.iter().zip(&mut buffers) {
                if !buffer.is_empty() {
                    side.piece(first, &mut buffer[..n])?;
                }
            }
            let mut done = 0;
            while done < n {
                let length = (run - within).min(n - done);
                let place = |i: usize| walk.place(self.outer.iter().map(|(_, s)| s[i]));
                let side = |i: usize| match &self.operands[i].made {
                    None => match self.operands[i].wide::<N>() {
                        Some(there) => &there[first + done..][..length],
                        None => &buffers[i][done..][..length],
                    },
                    Some(made) if self.operands[i].single => {
                        &made.as_chunks::<N>().0[place(i)..][..1]
                    }
                    Some(made) => &made.as_chunks::<N>().0[place(i) + within..][..length],
                };
                combine::<N, T>(self.op, [side(0), side(1)], &mut results[done..][..length]);
                done += length;
                within += length;
                if within == run {
                    within = 0;
                    walk.step(extents());
                }
            }
            let made = results[..n].as_flattened();
            convert::cast_into(self.wide, self.dtype, made, &mut out[at..][..n * size]);
            at += n * size;
        }
        Ok(())
    }
}

/// `op` on two runs, of which one may be a single element.
fn combine<const N: usize, T: Wide<N>>(op: ZipOp, sides: [&[[u8; N]]; 2], out: &mut [[u8; N]]) {
    fn all<const N: usize, T: Wide<N>>(
        [x, y]: [&[[u8; N]]; 2],
        out: &mut [[u8; N]],
        op: impl Fn(T, T) -> T,
    ) {
        let store = |x, y| T::store(op(x, y));
        pulp::Arch::new().dispatch(|| match (x, y) {
            ([one], _) => {
                let one = T::load(*one);
                out.iter_mut().zip(y).for_each(|(to, y)| *to = store(one, T::load(*y)));
            }
            (_, [one]) => {
                let one = T::load(*one);
                out.iter_mut().zip(x).for_each(|(to, x)| *to = store(T::load(*x), one));
            }
            _ => {
                let both = x.iter().zip(y);
                out.iter_mut()
                    .zip(both)
                    .for_each(|(to, (x, y))| *to = store(T::load(*x), T::load(*y)));
            }
        });
    }
    match op {
        ZipOp::Add => all::<N, T>(sides, out, |x, y| x + y),
        ZipOp::Sub => all::<N, T>(sides, out, |x, y| x - y),
        ZipOp::Mul => all::<N, T>(sides, out, |x, y| x * y),
        ZipOp::Div => all::<N, T>(sides, out, |x, y| x / y),
    }
}

/// A number that arithmetic is done in.
trait Wide<const N: usize>:
    Copy
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
{
    fn load(bytes: [u8; N]) -> Self;
    fn store(self) -> [u8; N];
}

impl Wide<4> for f32 {
    fn load(bytes: [u8; 4]) -> Self {
        Self::from_le_bytes(bytes)
    }

    fn store(self) -> [u8; 4] {
        self.to_le_bytes()
    }
}

impl Wide<8> for f64 {
    fn load(bytes: [u8; 8]) -> Self {
        Self::from_le_bytes(bytes)
    }

    fn store(self) -> [u8; 8] {
        self.to_le_bytes()
    }
}

impl Side<'_> {
    /// All elements, where they are there and wide.
    fn wide<const N: usize>(&self) -> Option<&[[u8; N]]> {
        let is_wide = matches!((self.dtype, N), (DType::F32, 4) | (DType::F64, 8));
        let bytes = self.of.slice().filter(|_| is_wide)?;
        Some(bytes.as_chunks::<N>().0)
    }

    /// Wide elements from `position` on, for one whose elements are those of the result.
    fn piece<const N: usize>(&self, position: usize, out: &mut [[u8; N]]) -> io::Result<()> {
        let to = if N == 8 { DType::F64 } else { DType::F32 };
        self.of.pieces(position, out.len(), |at, bytes| {
            let n = bytes.len() / self.of.size;
            convert::cast_into(self.dtype, to, bytes, out[at..][..n].as_flattened_mut());
        })
    }
}

/// All elements.
pub(crate) fn make(tensor: &Tensor) -> Result<Vec<u8>, TensorError> {
    let reader = Reader::of(tensor)?;
    let mut out = vec![0; reader.count * reader.size];
    reader.fill(0, &mut out).map_err(|error| unreadable(&error))?;
    Ok(out)
}

/// Bytes that a reader of `tensor` holds: those of operands that have to be made before.
pub(crate) fn held(tensor: &Tensor) -> u64 {
    let Source::Recipe(recipe) = tensor.source() else { return 0 };
    match &**recipe {
        Recipe::Reshape(of) | Recipe::Cast(of) => held(of),
        Recipe::Strided { of, .. } | Recipe::Transpose { of, .. } => held_by_view(of),
        Recipe::Concat { parts, .. } => parts.iter().map(held).sum(),
        Recipe::Zip { operands, .. } => operands
            .iter()
            .map(|of| if of.shape() == tensor.shape() { held(of) } else { made(of) })
            .sum(),
    }
}

/// Bytes that the elements of `of` take when they are made wide, and what making them takes.
fn made(of: &Tensor) -> u64 {
    held(of).saturating_add((of.count() as u64).saturating_mul(16))
}

fn held_by_view(of: &Tensor) -> u64 {
    match of.source() {
        Source::Mapped { file, .. } if !file.is_mapped() => of.byte_len(),
        Source::Mapped { .. } | Source::Bytes(_) => 0,
        Source::Recipe(recipe) => match &**recipe {
            Recipe::Reshape(of) | Recipe::Cast(of) => held_by_view(of),
            _ => held(of).saturating_add(of.byte_len()),
        },
        Source::Splat(_) | Source::Random { .. } => of.byte_len(),
    }
}
