//! Tables of entries, and indices into them.

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice};

use crate::blocks::Blocks;
use crate::encode::{Misfit, Pruned, Weight, divisor};
use crate::encoded::{Table, for_each_factor};
use crate::float::HalfOr;
use crate::kmeans::{self, Counted};
use crate::linear::{Linear, Method, extremes};
use crate::scheme::{Grouping, Palette, Tables};
use crate::vectors::{nearest, vectors};

/// Elements of half precision that are worth counting by their bits.
const MANY: usize = 1 << 12;

/// Factors of elements, and their shape, whose extents are 1 or those of the weight.
type Factors = (Vec<f32>, Vec<usize>);

/// The table of `weight`; of the two ways to scale channels the one with less error.
pub(crate) fn table(
    weight: Weight<'_>,
    palette: &Palette,
    pruned: &Pruned<'_>,
    notes: &mut Vec<String>,
) -> Result<Table, Misfit> {
    if !palette.channel_scale {
        return Making { weight, palette, pruned, factors: None }.table(notes);
    }
    let mut best: Option<(f64, Table, Vec<String>)> = None;
    for is_across in [true, false] {
        let factors = Some(factors(weight, is_across));
        let mut said = Vec::new();
        let made = Making { weight, palette, pruned, factors }.table(&mut said)?;
        let noise = pruned.noise(weight, &made.decode(weight.shape, weight.float));
        if best.as_ref().is_none_or(|(least, ..)| noise < *least) {
            best = Some((noise, made, said));
        }
    }
    let Some((_, made, said)) = best else { return Err(Misfit("it has no scales".to_owned())) };
    notes.extend(said);
    Ok(made)
}

impl Pruned<'_> {
    /// The squared error of what is kept.
    fn noise(&self, weight: Weight<'_>, decoded: &[f32]) -> f64 {
        let pairs = weight.elements.iter().zip(decoded).enumerate();
        let kept = pairs.filter(|(at, _)| self.keeps(*at));
        kept.map(|(_, (&x, &y))| f64::from(x - y).powi(2)).sum()
    }
}

/// The factors that bring the greatest element of each line along the output axis, or of each output
/// channel, to 1.
fn factors(weight: Weight<'_>, is_across: bool) -> Factors {
    let mut shape = weight.shape.to_vec();
    for (axis, extent) in shape.iter_mut().enumerate() {
        if (axis == weight.output) == is_across {
            *extent = 1;
        }
    }
    let mut factors = vec![0f32; shape.iter().product()];
    for_each_factor(weight.shape, &shape, &mut |i, k| {
        factors[k] = factors[k].max(weight.elements[i].abs());
    });
    for factor in &mut factors {
        *factor = if *factor > 0.0 { weight.float.positive(f64::from(*factor)) } else { 1.0 };
    }
    (factors, shape)
}

/// The elements by groups.
struct Cut {
    groups: Blocks,
    axis: usize,
    width: usize,
}

struct Making<'a> {
    weight: Weight<'a>,
    palette: &'a Palette,
    pruned: &'a Pruned<'a>,
    factors: Option<Factors>,
}

impl Making<'_> {
    fn cut(&self, notes: &mut Vec<String>) -> Result<Cut, Misfit> {
        let (weight, palette) = (self.weight, self.palette);
        let axis = palette.axis.unwrap_or(weight.output);
        let extent =
            *weight.shape.get(axis).ok_or_else(|| Misfit(format!("there is no axis {axis}")))?;
        let width = palette.width.max(1);
        if !extent.is_multiple_of(width) {
            let message = format!("{extent} channels are not divided by vectors of {width}");
            return Err(Misfit(message));
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
        if width > 1 && self.pruned.mask.is_some() {
            return Err(Misfit("vectors and pruning do not go together".to_owned()));
        }
        let mut shape = weight.shape.to_vec();
        shape[axis] /= width;
        let mut size = vec![0; shape.len()];
        size[axis] = group / width;
        let groups = Blocks::new(&shape, &size).map_err(|e| Misfit(e.to_string()))?;
        Ok(Cut { groups, axis, width })
    }

    /// For each element what it is divided by first.
    fn scales(&self) -> Option<Vec<f32>> {
        let (factors, shape) = self.factors.as_ref()?;
        let mut found = vec![0f32; self.weight.elements.len()];
        for_each_factor(self.weight.shape, shape, &mut |i, k| found[i] = factors[k]);
        Some(found)
    }

    fn table(self, notes: &mut Vec<String>) -> Result<Table, Misfit> {
        let (weight, palette) = (self.weight, self.palette);
        let cut = self.cut(notes)?;
        let scales = self.scales();
        let scaled: Option<Vec<f32>> = scales
            .as_ref()
            .map(|scales| weight.elements.iter().zip(scales).map(|(x, s)| x / s).collect());
        let elements = scaled.as_deref().unwrap_or(weight.elements);
        let (groups, width) = (&cut.groups, cut.width);
        let shown = gather_vectors(elements, weight.shape, &cut);
        // What an element counts: nothing if it is not kept, and the square of what it is multiplied
        // by in the end.
        let counts = (width == 1 && (scales.is_some() || self.pruned.mask.is_some())).then(|| {
            let square = |at: usize| scales.as_ref().map_or(1.0, |scales| scales[at] * scales[at]);
            let count = |at: usize| if self.pruned.keeps(at) { square(at) } else { 0.0 };
            groups.gather(&(0..elements.len()).map(count).collect::<Vec<f32>>())
        });
        let len = groups.block_len();
        let bits = bits(&shown, palette, len * width)?;
        let made: Vec<Cluster> = shown
            .par_chunks(len * width)
            .enumerate()
            .map(|(at, group)| {
                let counts = counts.as_ref().map(|counts| &counts[at * len..(at + 1) * len]);
                cluster(group, counts, (palette, bits, weight.float))
            })
            .collect();
        drop(shown);
        let mut entries = Vec::with_capacity((made.len() * width) << bits);
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
        let mut table = Table {
            bits,
            indices: groups.scatter(&indices),
            entries,
            groups: groups.counts(),
            width,
            vector_axis: (width > 1).then_some(cut.axis),
            coded,
            factors: self.factors.clone(),
        };
        if weight.moments.is_some() && width == 1 {
            self.feed_back(&mut table, (groups, scales.as_deref()), notes);
        }
        Ok(table)
    }

    /// Indices whose errors are made up for by others.
    fn feed_back(
        &self,
        table: &mut Table,
        (groups, scales): (&Blocks, Option<&[f32]>),
        notes: &mut Vec<String>,
    ) {
        let ids = groups.ids();
        let float = self.weight.float;
        let sorted: Vec<Vec<(f32, u8)>> = table
            .entries
            .chunks(1 << table.bits)
            .map(|entries| {
                let pairs = entries.iter().enumerate().map(|(at, &x)| (x, at as u8));
                let mut sorted: Vec<(f32, u8)> = pairs.collect();
                sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
                sorted
            })
            .collect();
        let scale = |at: usize| scales.map_or(1.0, |scales| scales[at]);
        let entry = |at: usize, x: f32| nearest_entry(&sorted[ids[at] as usize], x / scale(at));
        let decode =
            |at: usize, x: f32| float.round(f64::from(entry(at, x).0) * f64::from(scale(at)));
        if let Some(elements) = self.pruned.made_up(self.weight, &decode, notes) {
            for (at, (index, &x)) in table.indices.iter_mut().zip(&elements).enumerate() {
                *index = entry(at, x).1;
            }
        }
    }
}

/// The nearest of entries in ascending order.
fn nearest_entry(sorted: &[(f32, u8)], x: f32) -> (f32, u8) {
    let above = sorted.partition_point(|entry| entry.0 < x);
    match (above.checked_sub(1).map(|at| sorted[at]), sorted.get(above)) {
        (Some(low), Some(&high)) => {
            if x - low.0 <= high.0 - x {
                low
            } else {
                high
            }
        }
        (Some(one), None) | (None, Some(&one)) => one,
        (None, None) => (0.0, 0),
    }
}

/// Bits of an index: those asked for, or as many as the distinct elements of every group need.
fn bits(shown: &[f32], palette: &Palette, len: usize) -> Result<u32, Misfit> {
    let needed = match &palette.tables {
        Tables::KMeans | Tables::Uniform => return Ok(palette.bits),
        Tables::Custom(entries) => entries.len() / palette.width.max(1),
        Tables::Unique => {
            shown.par_chunks(len).map(|group| Counted::of(group).values.len()).max().unwrap_or(1)
        }
    };
    [1, 2, 3, 4, 6, 8].into_iter().find(|bits| needed <= 1 << bits).ok_or_else(|| {
        Misfit(format!("{needed} distinct elements; an index of 8 bits tells 256 apart"))
    })
}

/// The elements group after group, those of a vector next to each other.
fn gather_vectors(elements: &[f32], shape: &[usize], cut: &Cut) -> Vec<f32> {
    let width = cut.width;
    if width == 1 {
        return cut.groups.gather(elements);
    }
    let inner: usize = shape[cut.axis + 1..].iter().product();
    let mut planes: Vec<Vec<f32>> = Vec::with_capacity(width);
    for v in 0..width {
        let rows = elements.chunks(inner.max(1)).skip(v).step_by(width);
        planes.push(cut.groups.gather(&rows.flatten().copied().collect::<Vec<f32>>()));
    }
    (0..elements.len() / width).flat_map(|at| planes.iter().map(move |plane| plane[at])).collect()
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
    counts: Option<&[f32]>,
    (palette, bits, float): (&Palette, u32, HalfOr),
) -> Cluster {
    let (k, width) = (1usize << bits, palette.width.max(1));
    let mut entries = match &palette.tables {
        Tables::KMeans if width > 1 => vectors(group, width, k, group.len() as u64).0,
        Tables::KMeans => {
            let counted = match counts {
                Some(counts) => Counted::weighted(group, counts),
                None if float == HalfOr::Half && group.len() > MANY => Counted::halves(group),
                None => Counted::of(group),
            };
            kmeans::centres(&counted, k)
        }
        Tables::Uniform => uniform(group, k, float),
        Tables::Unique => Counted::of(group).values,
        Tables::Custom(entries) => {
            let mut entries = entries.clone();
            if width == 1 {
                entries.sort_by(f32::total_cmp);
            }
            entries
        }
    };
    entries.iter_mut().for_each(|x| *x = float.round(f64::from(*x)));
    let mut coded = palette.int8_tables.then(|| int8_table(&mut entries, float));
    let indices = if width == 1 {
        let mut indices = vec![0u8; group.len()];
        kmeans::assign(group, &entries, &mut indices);
        indices
    } else {
        nearest(group, &entries, width)
    };
    entries.resize(k * width, 0.0);
    if let Some((codes, _)) = &mut coded {
        codes.resize(k * width, 0);
    }
    Cluster { entries, indices, coded }
}

/// Entries in equal steps, over the part of the range about its middle that leaves the least error.
fn uniform(group: &[f32], k: usize, float: HalfOr) -> Vec<f32> {
    let (low, high) = extremes(group);
    let (low, high) = (f64::from(low), f64::from(high));
    let middle = f64::midpoint(low, high);
    let steps = (k - 1) as f64;
    let mut best: Option<(f64, Vec<f32>)> = None;
    let mut worse = 0;
    for share in (0..20).map(|n| 1.0 - 0.025 * f64::from(n)) {
        let (first, width) = (middle + (low - middle) * share, (high - low) * share);
        let entry = |j: usize| float.round(first + width * j as f64 / steps);
        let entries: Vec<f32> = (0..k).map(entry).collect();
        let inverse = if width > 0.0 { (steps / width) as f32 } else { 0.0 };
        let (start, most) = (first as f32, (k - 1) as f32);
        let gap = |&x: &f32| {
            let at = ((x - start) * inverse + 0.5).clamp(0.0, most) as usize;
            f64::from(x - entries[at]).powi(2)
        };
        let error: f64 = group.iter().map(gap).sum();
        if best.as_ref().is_none_or(|(least, _)| error < *least) {
            best = Some((error, entries));
            worse = 0;
        } else {
            worse += 1;
            if worse > 3 {
                break;
            }
        }
    }
    best.map_or_else(Vec::new, |(_, entries)| entries)
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
