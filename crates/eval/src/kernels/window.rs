//! Sliding windows over spatial axes and grids of indices, shared by kernels that walk images.

use std::ops::Range;

use mlc_ir::attr::PadType;

use crate::array::strides;
use crate::kernel::EvalError;

/// Most elements that a result may have.
const MOST: usize = 1 << 28;

/// The number of elements of a result of that shape.
///
/// # Errors
/// There are more than 2²⁸.
pub(crate) fn checked_count(shape: &[usize]) -> Result<usize, EvalError> {
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |count, &d| count.checked_mul(d))
        .filter(|&count| count <= MOST)
        .ok_or_else(|| {
            EvalError::unsupported(format!("a result of shape {shape:?} has too many elements"))
        })
}

/// An attribute as an extent; bounded so that products of two do not overflow.
fn small(name: &str, value: i64) -> Result<usize, EvalError> {
    u32::try_from(value).ok().filter(|&v| v <= i32::MAX as u32).map(|v| v as usize).ok_or_else(
        || EvalError::unsupported(format!("{name} of {value} is not between 0 and 2^31")),
    )
}

/// How the window is placed along every spatial axis, as an op's attributes say; an empty list is
/// MIL's default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sliding<'a> {
    pub(crate) strides: &'a [i64],
    pub(crate) dilations: &'a [i64],
    pub(crate) pad_type: PadType,
    pub(crate) pad: &'a [i64],
}

impl Sliding<'_> {
    /// (stride, dilation, before, after) of spatial axis `axis`.
    fn along(&self, axis: usize) -> Result<(usize, usize, usize, usize), EvalError> {
        let at = |list: &[i64], i: usize, default: i64| list.get(i).copied().unwrap_or(default);
        let (before, after) = match self.pad_type {
            PadType::Custom => (at(self.pad, 2 * axis, 0), at(self.pad, 2 * axis + 1, 0)),
            PadType::Valid | PadType::Same | PadType::SameLower => (0, 0),
        };
        let stride = small("a stride", at(self.strides, axis, 1))?.max(1);
        let dilation = small("a dilation", at(self.dilations, axis, 1))?.max(1);
        Ok((stride, dilation, small("padding", before)?, small("padding", after)?))
    }

    /// How many of `total` padded elements go before.
    fn split(&self, total: usize) -> usize {
        match self.pad_type {
            PadType::SameLower => total.div_ceil(2),
            PadType::Valid | PadType::Custom | PadType::Same => total / 2,
        }
    }

    /// The three spatial axes of a window of extents `kernel` over `input`; missing ones stand in
    /// front with extent 1.
    pub(crate) fn axes(&self, input: &[usize], kernel: &[usize]) -> Result<[Axis; 3], EvalError> {
        let mut axes = [Axis::TRIVIAL; 3];
        let skip = 3usize.saturating_sub(input.len());
        for (i, (&input, &kernel)) in input.iter().zip(kernel).enumerate() {
            let (stride, dilation, mut before, after) = self.along(i)?;
            let span = span(kernel, dilation)?;
            let positions = match self.pad_type {
                PadType::Valid | PadType::Custom => {
                    let padded = input + before + after;
                    let room = padded.checked_sub(span).ok_or_else(|| {
                        EvalError::undefined(format!(
                            "a window of {span} does not fit the padded extent {padded}"
                        ))
                    })?;
                    room / stride + 1
                }
                PadType::Same | PadType::SameLower => {
                    let positions = input.div_ceil(stride);
                    let needed = positions.saturating_sub(1) * stride + span;
                    before = self.split(needed.saturating_sub(input));
                    positions
                }
            };
            axes[skip + i] = Axis { input, kernel, stride, dilation, before, positions };
        }
        Ok(axes)
    }

    /// As [`Sliding::axes`] with the count of positions that `ceil_mode` of pools has; windows may
    /// reach beyond the padding.
    pub(crate) fn ceil_axes(
        &self,
        input: &[usize],
        kernel: &[usize],
    ) -> Result<[Axis; 3], EvalError> {
        let mut axes = [Axis::TRIVIAL; 3];
        let skip = 3usize.saturating_sub(input.len());
        for (i, (&input, &kernel)) in input.iter().zip(kernel).enumerate() {
            let (stride, dilation, before, after) = self.along(i)?;
            let padded = input + before + after;
            let room = (padded + stride - 1).checked_sub(span(kernel, dilation)?);
            let mut positions = room.map(|room| room / stride + 1).ok_or_else(|| {
                EvalError::undefined(format!(
                    "a window of {kernel} does not fit the padded extent {padded}"
                ))
            })?;
            if before > 0 && (positions - 1) * stride >= input + before {
                positions -= 1;
            }
            axes[skip + i] = Axis { input, kernel, stride, dilation, before, positions };
        }
        Ok(axes)
    }

    /// The axes of the `conv` whose gradient a transposed convolution is: `positions` are the
    /// extents of its operand, `kernel` those of its weight, `wanted` those of its result where
    /// given. `input` of each axis is the extent of the result.
    pub(crate) fn transposed_axes(
        &self,
        positions: &[usize],
        kernel: &[usize],
        wanted: Option<&[i64]>,
    ) -> Result<[Axis; 3], EvalError> {
        let mut axes = [Axis::TRIVIAL; 3];
        let skip = 3usize.saturating_sub(positions.len());
        for (i, (&positions, &kernel)) in positions.iter().zip(kernel).enumerate() {
            let (stride, dilation, mut before, after) = self.along(i)?;
            let full = positions.saturating_sub(1) * stride + span(kernel, dilation)?;
            let natural = match self.pad_type {
                PadType::Valid | PadType::Custom => full.checked_sub(before + after),
                PadType::Same | PadType::SameLower => Some(positions * stride),
            };
            let input = match wanted.and_then(|shape| shape.get(i)) {
                Some(&extent) => small("an output extent", extent)?,
                None => natural.ok_or_else(|| {
                    EvalError::undefined(format!("padding leaves nothing of an extent of {full}"))
                })?,
            };
            if matches!(self.pad_type, PadType::Same | PadType::SameLower) {
                before = self.split(full.saturating_sub(input));
            }
            axes[skip + i] = Axis { input, kernel, stride, dilation, before, positions };
        }
        Ok(axes)
    }
}

fn span(kernel: usize, dilation: usize) -> Result<usize, EvalError> {
    kernel
        .checked_sub(1)
        .map(|k| k * dilation + 1)
        .ok_or_else(|| EvalError::undefined("a window of extent 0"))
}

/// A window along one axis: position `p` and kernel element `k` meet element
/// `p·stride + k·dilation − before`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) before: usize,
    pub(crate) positions: usize,
}

impl Axis {
    const TRIVIAL: Self =
        Self { input: 1, kernel: 1, stride: 1, dilation: 1, before: 0, positions: 1 };

    /// The element that position `p` and kernel element `k` meet, unless it is padding.
    pub(crate) fn source(&self, p: usize, k: usize) -> Option<usize> {
        (p * self.stride + k * self.dilation).checked_sub(self.before).filter(|&i| i < self.input)
    }

    /// The positions at which kernel element `k` meets no padding.
    pub(crate) fn reach(&self, k: usize) -> Range<usize> {
        let shift = k * self.dilation;
        let low = self.before.saturating_sub(shift).div_ceil(self.stride);
        let high = (self.input + self.before)
            .checked_sub(shift + 1)
            .map_or(0, |last| last / self.stride + 1)
            .min(self.positions);
        low.min(high)..high
    }
}

/// The product of one quantity over the three axes.
pub(crate) fn volume(axes: &[Axis; 3], of: impl Fn(&Axis) -> usize) -> usize {
    axes.iter().map(of).product()
}

/// In a list of sources: no element of the operand.
pub(crate) const OUTSIDE: usize = usize::MAX;

/// For each element of the result, in row-major order, the flat index of the element of a tensor of
/// `shape` that stands at `sources[axis][place]` on every axis; [`OUTSIDE`] where one of them is.
pub(crate) fn grid(shape: &[usize], sources: &[Vec<usize>]) -> Vec<usize> {
    if sources.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    let mut index = vec![0];
    for (stride, places) in strides(shape).into_iter().zip(sources) {
        let mut finer = Vec::with_capacity(index.len() * places.len());
        for &at in &index {
            finer.extend(places.iter().map(|&place| match place {
                _ if at == OUTSIDE => OUTSIDE,
                OUTSIDE => OUTSIDE,
                place => at + place * stride,
            }));
        }
        index = finer;
    }
    index
}
