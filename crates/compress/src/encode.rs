//! Compresses a weight by a scheme.

use rayon::prelude::{
    IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator, ParallelSlice,
    ParallelSliceMut,
};
use thiserror::Error;

use crate::blocks::Blocks;
use crate::encoded::{Body, Codes, Encoded, Table, for_each_factor};
use crate::float::HalfOr;
use crate::kmeans::{self, Counted};
use crate::linear::{Linear, Method, extremes};
use crate::scheme::{Granularity, Grouping, Palette, Quantize, Scheme, Tables};

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
}

/// Why a scheme does not fit a weight.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Misfit(pub String);

/// A weight by a scheme, and how the scheme was changed to fit; nothing if it fits as it stands.
///
/// # Errors
/// Elements that are not finite, or a scheme that fits in no form.
pub fn encode(weight: Weight<'_>, scheme: &Scheme) -> Result<(Encoded, Vec<String>), Misfit> {
    let Weight { elements, shape, float, .. } = weight;
    let odd = elements.iter().filter(|x| !x.is_finite()).count();
    if odd > 0 {
        return Err(Misfit(format!("{odd} elements are NaN or infinite")));
    }
    if shape.is_empty() || elements.is_empty() {
        return Err(Misfit("it has no axis or no element".to_owned()));
    }
    let mut notes = Vec::new();
    let mask = scheme.prune.map(|prune| prune.on(weight, &mut notes).keep(shape, elements));
    let pruned: Vec<f32>;
    let shown = match &mask {
        Some(mask) => {
            pruned = elements.iter().zip(mask).map(|(&x, &k)| if k { x } else { 0.0 }).collect();
            &pruned[..]
        }
        None => elements,
    };
    let weight = Weight { elements: shown, ..weight };
    let body = match (&scheme.quantize, &scheme.palette) {
        (_, Some(palette)) => Body::Table(table(weight, palette, mask.as_deref(), &mut notes)?),
        (Some(quantize), None) => Body::Codes(codes(weight, quantize, mask.is_some(), &mut notes)?),
        (None, None) => Body::Plain(shown.to_vec()),
    };
    Ok((Encoded { shape: shape.to_vec(), float, mask, body }, notes))
}

/// The greatest divisor of `extent` that is no greater than `size`.
fn divisor(extent: usize, size: usize) -> usize {
    (1..=size.min(extent)).rev().find(|d| extent.is_multiple_of(*d)).unwrap_or(1)
}

/// Sizes of blocks, made to divide; says so where they were not what was asked for.
fn block_size(
    weight: Weight<'_>,
    granularity: &Granularity,
    notes: &mut Vec<String>,
) -> Vec<usize> {
    let mut size = vec![0; weight.shape.len()];
    match granularity {
        Granularity::Tensor => {}
        Granularity::Channel => size[weight.output] = 1,
        Granularity::Block(block) => {
            size[weight.output] = 1;
            let extent = weight.shape[weight.input];
            size[weight.input] = divisor(extent, *block);
            if size[weight.input] != *block {
                notes.push(format!(
                    "blocks of {} in place of {block}, as {extent} channels are not divided by it",
                    size[weight.input]
                ));
            }
        }
    }
    size
}

fn codes(
    weight: Weight<'_>,
    quantize: &Quantize,
    is_sparse: bool,
    notes: &mut Vec<String>,
) -> Result<Codes, Misfit> {
    let mut size = block_size(weight, &quantize.granularity, notes);
    // Blocks of a single element store more than they save.
    if let Granularity::Block(_) = quantize.granularity
        && size[weight.input] * 4 < quantize.bits as usize
    {
        size[weight.input] = 0;
        notes.push("a scale a channel in place of blocks".to_owned());
    }
    let linear = Linear {
        bits: quantize.bits,
        signed: quantize.signed,
        // Zeros of a sparse weight are not stored, so a zero point would be of no use.
        symmetric: quantize.symmetric || is_sparse,
        method: quantize.method,
    };
    let blocks = Blocks::new(weight.shape, &size).map_err(|e| Misfit(e.to_string()))?;
    let len = blocks.block_len();
    let contiguous = blocks.is_contiguous();
    let gathered = if contiguous { Vec::new() } else { blocks.gather(weight.elements) };
    let elements = if contiguous { weight.elements } else { &gathered[..] };
    let mut values = vec![0i16; elements.len()];
    let affine: Vec<_> = elements
        .par_chunks(len)
        .zip(values.par_chunks_mut(len))
        .with_min_len((1usize << 14).div_ceil(len))
        .map(|(block, codes)| linear.encode(block, weight.float, codes))
        .collect();
    let zeros: Vec<i16> = affine.iter().map(|a| a.zero as i16).collect();
    Ok(Codes {
        bits: quantize.bits,
        signed: quantize.signed,
        values: if contiguous { values } else { blocks.scatter(&values) },
        scales: affine.iter().map(|a| a.scale).collect(),
        blocks: blocks.counts(),
        zeros: zeros.iter().any(|&z| z != 0).then_some(zeros),
    })
}

/// The factors that bring the greatest element of each line along the output axis to 1, and their
/// shape.
fn factors(weight: Weight<'_>) -> (Vec<f32>, Vec<usize>) {
    let mut shape = weight.shape.to_vec();
    shape[weight.output] = 1;
    let mut factors = vec![0f32; shape.iter().product()];
    for_each_factor(weight.shape, &shape, &mut |i, k| {
        factors[k] = factors[k].max(weight.elements[i].abs());
    });
    for factor in &mut factors {
        *factor = if *factor > 0.0 { weight.float.positive(f64::from(*factor)) } else { 1.0 };
    }
    (factors, shape)
}

fn table(
    weight: Weight<'_>,
    palette: &Palette,
    mask: Option<&[bool]>,
    notes: &mut Vec<String>,
) -> Result<Table, Misfit> {
    let mut scaled = Vec::new();
    let factors = palette.channel_scale.then(|| factors(weight));
    if let Some((factors, shape)) = &factors {
        scaled = weight.elements.to_vec();
        for_each_factor(weight.shape, shape, &mut |i, k| scaled[i] /= factors[k]);
    }
    let elements = if factors.is_some() { &scaled[..] } else { weight.elements };
    let axis = palette.axis.unwrap_or(weight.output);
    let extent =
        *weight.shape.get(axis).ok_or_else(|| Misfit(format!("there is no axis {axis}")))?;
    let width = palette.width.max(1);
    if !extent.is_multiple_of(width) {
        return Err(Misfit(format!("{extent} channels are not divided by vectors of {width}")));
    }
    let group = match palette.grouping {
        Grouping::Tensor => extent,
        Grouping::Channels(size) => {
            let fits = divisor(extent / width, (size / width).max(1)) * width;
            if fits != size {
                notes.push(format!(
                    "groups of {fits} in place of {size}, as {extent} channels are not divided by it"
                ));
            }
            fits
        }
    };
    if width > 1 && mask.is_some() {
        return Err(Misfit("vectors and pruning do not go together".to_owned()));
    }
    let mut shape = weight.shape.to_vec();
    shape[axis] /= width;
    let mut size = vec![0; shape.len()];
    size[axis] = group / width;
    let groups = Blocks::new(&shape, &size).map_err(|e| Misfit(e.to_string()))?;
    let vectors = gather_vectors(elements, weight.shape, (axis, width), &groups);
    let len = groups.block_len();
    let kept: Option<Vec<bool>> = mask.filter(|_| width == 1).map(|mask| groups.gather(mask));
    let bits = bits(&vectors, palette, len * width)?;
    let made: Vec<Cluster> = vectors
        .par_chunks(len * width)
        .enumerate()
        .map(|(at, group)| {
            let kept = kept.as_ref().map(|kept| &kept[at * len..(at + 1) * len]);
            cluster(group, kept, (palette, bits, weight.float))
        })
        .collect();
    let mut entries = Vec::with_capacity(made.len() << bits);
    let mut indices = Vec::with_capacity(made.len() * len);
    let mut coded: Option<(Vec<i16>, Vec<f32>)> = None;
    for cluster in made {
        entries.extend(cluster.entries);
        indices.extend(cluster.indices);
        if let Some((codes, scale)) = cluster.coded {
            let (all, scales) = coded.get_or_insert_default();
            all.extend(codes);
            scales.push(scale);
        }
    }
    Ok(Table {
        bits,
        indices: groups.scatter(&indices),
        entries,
        groups: groups.counts(),
        width,
        vector_axis: (width > 1).then_some(axis),
        coded,
        factors,
    })
}

/// Bits of an index: those asked for, or as many as the distinct elements of every group need.
fn bits(vectors: &[f32], palette: &Palette, len: usize) -> Result<u32, Misfit> {
    let needed = match &palette.tables {
        Tables::KMeans | Tables::Uniform => return Ok(palette.bits),
        Tables::Custom(entries) => entries.len(),
        Tables::Unique => {
            vectors.par_chunks(len).map(|group| Counted::of(group).values.len()).max().unwrap_or(1)
        }
    };
    [1, 2, 3, 4, 6, 8].into_iter().find(|bits| needed <= 1 << bits).ok_or_else(|| {
        Misfit(format!("{needed} distinct elements; an index of 8 bits tells 256 apart"))
    })
}

/// The elements group after group, those of a vector next to each other.
fn gather_vectors(
    elements: &[f32],
    shape: &[usize],
    (axis, width): (usize, usize),
    groups: &Blocks,
) -> Vec<f32> {
    if width == 1 {
        return groups.gather(elements);
    }
    let inner: usize = shape[axis + 1..].iter().product();
    let places: Vec<usize> =
        (0..elements.len() / width).map(|i| (i / inner) * width * inner + i % inner).collect();
    let places = groups.gather(&places);
    places.iter().flat_map(|&at| (0..width).map(move |v| elements[at + v * inner])).collect()
}

/// A group: its table, filled up with zeros, and indices into it.
struct Cluster {
    entries: Vec<f32>,
    indices: Vec<u8>,
    /// The entries as integers, and their scale.
    coded: Option<(Vec<i16>, f32)>,
}

fn cluster(
    group: &[f32],
    kept: Option<&[bool]>,
    (palette, bits, float): (&Palette, u32, HalfOr),
) -> Cluster {
    let is_scaled = palette.channel_scale;
    let (k, width) = (1usize << bits, palette.width.max(1));
    let mut indices = vec![0u8; group.len() / width];
    let mut entries = match &palette.tables {
        Tables::KMeans if width > 1 => {
            let seed = group.len() as u64;
            let (entries, nearest) = kmeans::vectors(group, width, k, seed);
            indices = nearest;
            entries
        }
        Tables::KMeans => {
            // Elements that are not kept do not need an entry.
            let stored: Vec<f32> = match kept {
                Some(kept) => {
                    group.iter().zip(kept).filter(|(_, k)| **k).map(|(&x, _)| x).collect()
                }
                None => Vec::new(),
            };
            let shown = if kept.is_some() { &stored[..] } else { group };
            let counted = match float == HalfOr::Half && !is_scaled && shown.len() > 1 << 16 {
                true => Counted::halves(shown),
                false => Counted::of(shown),
            };
            kmeans::centres(&counted, k)
        }
        Tables::Uniform => {
            let (low, high) = extremes(group);
            let step = (f64::from(high) - f64::from(low)) / (k - 1) as f64;
            (0..k).map(|j| (f64::from(low) + step * j as f64) as f32).collect()
        }
        Tables::Unique => Counted::of(group).values,
        Tables::Custom(entries) => {
            let mut sorted = entries.clone();
            sorted.sort_by(f32::total_cmp);
            sorted
        }
    };
    entries.iter_mut().for_each(|x| *x = float.round(f64::from(*x)));
    let mut coded = palette.int8_tables.then(|| int8_table(&mut entries, float));
    if width == 1 {
        kmeans::assign(group, &entries, &mut indices);
    } else {
        // Entries were rounded.
        let nearest = |vector: &[f32]| kmeans::closest(vector, &entries, width).0 as u8;
        indices.par_iter_mut().enumerate().with_min_len(1024).for_each(|(i, index)| {
            *index = nearest(&group[i * width..][..width]);
        });
    }
    entries.resize(k * width, 0.0);
    if let Some((codes, _)) = &mut coded {
        codes.resize(k * width, 0);
    }
    Cluster { entries, indices, coded }
}

/// A table as 8-bit integers with a scale; the entries become what those decode to.
fn int8_table(entries: &mut [f32], float: HalfOr) -> (Vec<i16>, f32) {
    let linear = Linear { bits: 8, signed: true, symmetric: true, method: Method::Mse };
    let mut codes = vec![0i16; entries.len()];
    let scale = linear.encode(entries, float, &mut codes).scale;
    for (x, &q) in entries.iter_mut().zip(&codes) {
        *x = float.round(f64::from(q) * f64::from(scale));
    }
    (codes, scale)
}
