//! Compresses a weight by a scheme.

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};
use thiserror::Error;

use crate::blocks::Blocks;
use crate::encoded::{Body, Codes, Encoded};
use crate::feedback::{Layout, targets};
use crate::float::HalfOr;
use crate::linear::{Affine, Linear};
use crate::moments::Moments;
use crate::palette::table;
use crate::scheme::{Granularity, Quantize, Scheme};

/// A weight in memory.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a> {
    /// Its elements, row-major.
    pub elements: &'a [f32],
    /// Its extents.
    pub shape: &'a [usize],
    /// Its float type.
    pub float: HalfOr,
    /// The axis of output channels.
    pub output: usize,
    /// The axis of input channels.
    pub input: usize,
    /// What reaches it, where errors are to be made up for.
    pub moments: Option<&'a Moments>,
}

/// Why a scheme does not fit a weight.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Misfit(pub String);

impl Misfit {
    /// So many elements are not finite.
    pub(crate) fn odd(count: usize) -> Self {
        Self(format!("{count} elements are NaN or infinite"))
    }
}

/// A weight by a scheme, and what is to be said of it, such as how the scheme was changed to fit;
/// nothing if it fits as it stands.
///
/// # Errors
/// Elements that are not finite, or a scheme that fits in no form.
pub fn encode(weight: Weight<'_>, scheme: &Scheme) -> Result<(Encoded, Vec<String>), Misfit> {
    let Weight { elements, shape, float, .. } = weight;
    let odd = elements.iter().filter(|x| !x.is_finite()).count();
    if odd > 0 {
        return Err(Misfit::odd(odd));
    }
    if shape.is_empty() || elements.is_empty() {
        return Err(Misfit("it has no axis or no element".to_owned()));
    }
    let mut notes = Vec::new();
    let prune = scheme.prune.and_then(|prune| prune.on(weight, &mut notes));
    let mask = prune.map(|prune| prune.keep(shape, elements));
    if mask.is_none() && scheme.quantize.is_none() && scheme.palette.is_none() {
        return Err(Misfit(notes.pop().unwrap_or_else(|| "nothing is asked for".to_owned())));
    }
    let zeroed: Vec<f32>;
    let shown = match &mask {
        Some(mask) => {
            zeroed = elements.iter().zip(mask).map(|(&x, &k)| if k { x } else { 0.0 }).collect();
            &zeroed[..]
        }
        None => elements,
    };
    let pruned = Pruned { of: elements, mask: mask.as_deref() };
    let weight = Weight { elements: shown, ..weight };
    let body = match (&scheme.quantize, &scheme.palette) {
        (_, Some(palette)) => Body::Table(table(weight, palette, &pruned, &mut notes)?),
        (Some(quantize), None) => Body::Codes(codes(weight, quantize, &pruned, &mut notes)?),
        (None, None) => Body::Plain(shown.to_vec()),
    };
    Ok((Encoded { shape: shape.to_vec(), float, mask, body }, notes))
}

/// The elements before pruning, and which of them are kept.
pub(crate) struct Pruned<'a> {
    pub(crate) of: &'a [f32],
    pub(crate) mask: Option<&'a [bool]>,
}

impl Pruned<'_> {
    pub(crate) fn keeps(&self, at: usize) -> bool {
        self.mask.is_none_or(|mask| mask[at])
    }

    /// The elements to encode in place of those of `weight` so that its products are off by less, where
    /// `decode` gives what an element at a place comes to. `None` where nothing is known of what
    /// reaches the weight, or where it does not help.
    pub(crate) fn made_up(
        &self,
        weight: Weight<'_>,
        decode: &(dyn Fn(usize, f32) -> f32 + Sync),
        notes: &mut Vec<String>,
    ) -> Option<Vec<f32>> {
        let moments = weight.moments?;
        let layout = Layout::of(weight.shape, weight.output)?;
        let source = layout.rows_of(self.of);
        let come_to = |row: usize, column: usize, x: f32| {
            let at = layout.at(row, column);
            if self.keeps(at) { decode(at, x) } else { 0.0 }
        };
        let moved = targets(&source, layout, moments, &come_to)?;
        let noise = |from: &[f32]| {
            let mut errors = vec![0f32; source.len()];
            errors.par_chunks_mut(layout.columns).enumerate().for_each(|(row, line)| {
                for (column, error) in line.iter_mut().enumerate() {
                    let k = row * layout.columns + column;
                    *error = come_to(row, column, from[k]) - source[k];
                }
            });
            moments.noise(&errors)
        };
        let (before, after) = (noise(&source), noise(&moved));
        if after >= before {
            return None;
        }
        notes.push(format!(
            "feedback: {:.1} dB less error of products",
            10.0 * (before / after.max(1e-300)).log10()
        ));
        let mut elements = vec![0.0; moved.len()];
        for row in 0..layout.rows {
            for column in 0..layout.columns {
                elements[layout.at(row, column)] = moved[row * layout.columns + column];
            }
        }
        Some(elements)
    }
}

/// The greatest divisor of `extent` that is no greater than `size`.
pub(crate) fn divisor(extent: usize, size: usize) -> usize {
    (1..=size.min(extent)).rev().find(|d| extent.is_multiple_of(*d)).unwrap_or(1)
}

/// Sizes of blocks, made to divide; says so where they were not what was asked for.
fn block_size(
    weight: Weight<'_>,
    granularity: &Granularity,
    notes: &mut Vec<String>,
) -> Result<Vec<usize>, Misfit> {
    let rank = weight.shape.len();
    let mut size = vec![0; rank];
    match granularity {
        Granularity::Tensor => {}
        Granularity::Channel => size[weight.output] = 1,
        Granularity::Block(block, axis) => {
            let axis = axis.unwrap_or(weight.input);
            if axis >= rank {
                return Err(Misfit(format!("there is no axis {axis}")));
            }
            size[weight.output] = 1;
            size[axis] = *block;
        }
        Granularity::Blocks(sizes) if sizes.len() == rank => size.clone_from(sizes),
        Granularity::Blocks(sizes) => {
            return Err(Misfit(format!("blocks of {} axes, the weight has {rank}", sizes.len())));
        }
    }
    for (size, &extent) in size.iter_mut().zip(weight.shape).filter(|(size, _)| **size > 0) {
        let fits = divisor(extent, *size);
        if fits != *size {
            notes.push(format!(
                "blocks of {fits} in place of {size}, as {extent} channels are not divided by it"
            ));
            *size = fits;
        }
    }
    Ok(size)
}

/// The integers and blocks that a scheme asks for, made to fit the weight.
pub(crate) fn linear(
    weight: Weight<'_>,
    quantize: &Quantize,
    is_sparse: bool,
    notes: &mut Vec<String>,
) -> Result<(Linear, Blocks), Misfit> {
    let mut size = block_size(weight, &quantize.granularity, notes)?;
    // Blocks of a single element store more than they save.
    if let Granularity::Block(_, axis) = quantize.granularity {
        let along = axis.unwrap_or(weight.input);
        let spatial: usize = size
            .iter()
            .zip(weight.shape)
            .map(|(&size, &extent)| if size == 0 { extent } else { size })
            .product();
        if spatial * 4 < quantize.bits as usize && along != weight.output {
            size[along] = 0;
            notes.push("a scale a channel in place of blocks".to_owned());
        }
    }
    let linear = Linear {
        bits: quantize.bits,
        signed: quantize.signed,
        // Zeros of a sparse weight are not stored, so a zero point would be of no use.
        symmetric: quantize.symmetric || is_sparse,
        method: quantize.method,
    };
    let blocks = Blocks::new(weight.shape, &size).map_err(|e| Misfit(e.to_string()))?;
    Ok((linear, blocks))
}

fn codes(
    weight: Weight<'_>,
    quantize: &Quantize,
    pruned: &Pruned<'_>,
    notes: &mut Vec<String>,
) -> Result<Codes, Misfit> {
    let (linear, blocks) = linear(weight, quantize, pruned.mask.is_some(), notes)?;
    let (mut values, affine) = encode_blocks(weight, linear, &blocks);
    if weight.moments.is_some() {
        let ids = blocks.ids();
        let decode = |at: usize, x: f32| linear.decoded(affine[ids[at] as usize], x, weight.float);
        if let Some(elements) = pruned.made_up(weight, &decode, notes) {
            for (at, (code, &x)) in values.iter_mut().zip(&elements).enumerate() {
                *code = linear.code(affine[ids[at] as usize], x);
            }
        }
    }
    Ok(Codes { values, ..Codes::of(&affine, quantize, &blocks) })
}

/// The integers, row-major, and scale and zero point of each block.
fn encode_blocks(weight: Weight<'_>, linear: Linear, blocks: &Blocks) -> (Vec<i16>, Vec<Affine>) {
    let len = blocks.block_len();
    let contiguous = blocks.is_contiguous();
    let gathered = if contiguous { Vec::new() } else { blocks.gather(weight.elements) };
    let elements = if contiguous { weight.elements } else { &gathered[..] };
    let mut values = vec![0i16; elements.len()];
    let unit = len * (1usize << 14).div_ceil(len);
    let affine: Vec<Vec<Affine>> = elements
        .par_chunks(unit)
        .zip(values.par_chunks_mut(unit))
        .map(|(blocks, codes)| linear.encode_blocks((blocks, len), weight.float, codes))
        .collect();
    let affine = affine.into_iter().flatten().collect();
    (if contiguous { values } else { blocks.scatter(&values) }, affine)
}
