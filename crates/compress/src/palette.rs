//! Tables of entries, and indices into them.

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice};

use crate::blocks::Blocks;
use crate::encode::{Misfit, Pruned, Weight, divisor};
use crate::encoded::{Table, for_each_factor};
use crate::float::HalfOr;
use crate::kmeans::{self, Costs, Counted};
use crate::linear::{Linear, Method};
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
pub(crate) struct Cut {
    pub(crate) groups: Blocks,
    axis: usize,
    width: usize,
}

/// The groups of a weight; says so where they are not those asked for.
pub(crate) fn cut(
    weight: Weight<'_>,
    palette: &Palette,
    notes: &mut Vec<String>,
) -> Result<Cut, Misfit> {
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
    let mut shape = weight.shape.to_vec();
    shape[axis] /= width;
    let mut size = vec![0; shape.len()];
    size[axis] = group / width;
    let groups = Blocks::new(&shape, &size).map_err(|e| Misfit(e.to_string()))?;
    Ok(Cut { groups, axis, width })
}

struct Making<'a> {
    weight: Weight<'a>,
    palette: &'a Palette,
    pruned: &'a Pruned<'a>,
    factors: Option<Factors>,
}

impl Making<'_> {
    /// For each element what it is divided by first.
    fn scales(&self) -> Option<Vec<f32>> {
        let (factors, shape) = self.factors.as_ref()?;
        let mut found = vec![0f32; self.weight.elements.len()];
        for_each_factor(self.weight.shape, shape, &mut |i, k| found[i] = factors[k]);
        Some(found)
    }

    fn table(self, notes: &mut Vec<String>) -> Result<Table, Misfit> {
        let (weight, palette) = (self.weight, self.palette);
        let cut = cut(weight, palette, notes)?;
        if cut.width > 1 && self.pruned.mask.is_some() {
            return Err(Misfit("vectors and pruning do not go together".to_owned()));
        }
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
                scales.extend(scale);
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
    let inner = shape[cut.axis + 1..].iter().product::<usize>().max(1);
    let mut found = vec![0.0; elements.len()];
    let mut plane = Vec::with_capacity(elements.len() / width);
    for v in 0..width {
        plane.clear();
        for row in elements.chunks(inner).skip(v).step_by(width) {
            plane.extend_from_slice(row);
        }
        let gathered =
            if cut.groups.is_contiguous() { None } else { Some(cut.groups.gather(&plane)) };
        let plane = gathered.as_ref().unwrap_or(&plane);
        for (vector, &x) in found.chunks_exact_mut(width).zip(plane) {
            vector[v] = x;
        }
    }
    found
}

/// A group: its table, filled up with zeros, and indices into it.
struct Cluster {
    entries: Vec<f32>,
    indices: Vec<u8>,
    /// The entries as integers, and their scale.
    coded: Option<(Vec<i16>, Vec<f32>)>,
}

fn cluster(
    group: &[f32],
    counts: Option<&[f32]>,
    (palette, bits, float): (&Palette, u32, HalfOr),
) -> Cluster {
    let (k, width) = (1usize << bits, palette.width.max(1));
    let mut made = if width == 1 {
        let counted = match counts {
            Some(counts) => Counted::weighted(group, counts),
            None if float == HalfOr::Half && group.len() > MANY => Counted::halves(group),
            None => Counted::of(group),
        };
        entries(&counted, (palette, bits, float))
    } else {
        let values = match &palette.tables {
            Tables::Custom(entries) => entries.clone(),
            _ => vectors(group, width, k, group.len() as u64).0,
        };
        Entries::rounded(values, (palette, float))
    };
    let indices = if width == 1 {
        let mut indices = vec![0u8; group.len()];
        kmeans::assign(group, &made.values, &mut indices);
        indices
    } else {
        nearest(group, &made.values, width)
    };
    let mut all = Entries::default();
    made.values.truncate(k * width);
    all.push(made, k * width);
    Cluster { entries: all.values, indices, coded: all.coded }
}

/// The entries of tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Entries {
    /// The numbers; those of one table in ascending order.
    pub(crate) values: Vec<f32>,
    /// Integers that decode to them, and a scale for each table.
    pub(crate) coded: Option<(Vec<i16>, Vec<f32>)>,
}

impl Entries {
    /// A table in the float type, and in integers where the palette asks for them.
    fn rounded(mut values: Vec<f32>, (palette, float): (&Palette, HalfOr)) -> Self {
        values.iter_mut().for_each(|x| *x = float.round(f64::from(*x)));
        let coded = palette.int8_tables.then(|| int8_table(&mut values, float));
        Self { values, coded: coded.map(|(codes, scale)| (codes, vec![scale])) }
    }

    /// Adds a table, filled up with zeros to `len` numbers.
    pub(crate) fn push(&mut self, table: Self, len: usize) {
        let end = self.values.len() + len;
        self.values.extend(table.values);
        self.values.resize(end, 0.0);
        if let Some((codes, scales)) = table.coded {
            let (all, all_scales) = self.coded.get_or_insert_default();
            all.extend(codes);
            all.resize(end, 0);
            all_scales.extend(scales);
        }
    }
}

/// The table for numbers.
pub(crate) fn entries(
    counted: &Counted,
    (palette, bits, float): (&Palette, u32, HalfOr),
) -> Entries {
    let k = 1usize << bits;
    let values = match &palette.tables {
        Tables::KMeans => kmeans::centres(counted, k, &|x| float.round(x)),
        Tables::Uniform => uniform(counted, k, float),
        Tables::Unique => counted.values.clone(),
        Tables::Custom(entries) => {
            let mut entries = entries.clone();
            entries.sort_by(f32::total_cmp);
            entries
        }
    };
    Entries::rounded(values, (palette, float))
}

/// Entries in equal steps, over the part of the range about its middle that leaves the least error.
fn uniform(counted: &Counted, k: usize, float: HalfOr) -> Vec<f32> {
    let (Some(&low), Some(&high)) = (counted.values.first(), counted.values.last()) else {
        return Vec::new();
    };
    let costs = Costs::of(counted);
    let (low, high) = (f64::from(low), f64::from(high));
    let middle = f64::midpoint(low, high);
    let steps = (k - 1) as f64;
    let even = |first: f64, step: f64| -> Vec<f32> {
        (0..k).map(|j| float.round(first + step * j as f64)).collect()
    };
    // The whole range with a step of the float type is what others store.
    let whole = even(low, f64::from(float.round(f64::from(float.round(high - low)) / steps)));
    let mut best = (costs.about(&whole), whole);
    let mut worse = 0;
    for share in (0..20).map(|n| 1.0 - 0.025 * f64::from(n)) {
        let entries = even(middle + (low - middle) * share, (high - low) * share / steps);
        let error = costs.about(&entries);
        if error < best.0 {
            best = (error, entries);
            worse = 0;
        } else {
            worse += 1;
            if worse > 3 {
                break;
            }
        }
    }
    best.1
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
