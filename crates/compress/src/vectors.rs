//! Clusters of vectors with a small sum of squared distances.
//!
//! The best clusters of vectors cannot be found in reasonable time. Several starts, each of vectors far
//! apart, are settled on a sample; the best of them is settled on all vectors, and clusters that are of
//! little use are moved to where the error is greatest as long as that helps.

use rayon::prelude::{
    IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator, ParallelSliceMut,
};

/// Vectors that are worked on together.
const LANES: usize = 16;
/// Vectors that sums are taken over in one go, in order, so that threads do not matter.
const PART: usize = 4096;
/// Most vectors that starts are tried on, for each cluster.
const SAMPLE: usize = 512;
/// Rounds until clusters are taken for settled.
const ROUNDS: usize = 24;
/// Differences that starts, and moves of clusters, may take; the fewer vectors, the more are tried.
const WORK: usize = 60_000_000;

/// Vectors of `width` numbers, one after the other.
#[derive(Clone, Copy)]
struct Vectors<'a> {
    elements: &'a [f32],
    width: usize,
}

/// Centres one after the other, and the nearest one of each vector; `seed` is that of the starts.
#[must_use]
pub fn vectors(elements: &[f32], width: usize, k: usize, seed: u64) -> (Vec<f32>, Vec<u8>) {
    let all = Vectors { elements, width: width.max(1) };
    let sample = all.sample(SAMPLE * k);
    let few = Vectors { elements: &sample, width: all.width };
    let round = (few.count() * k).max(1);
    let starts = (WORK / (round * ROUNDS)).clamp(2, 100) as u64;
    let mut best: Option<(f64, Vec<f32>)> = None;
    for start in 0..starts {
        let centres = few.starts(k, seed.wrapping_add(start));
        let (cost, centres) = few.settle(centres, ROUNDS);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, centres));
        }
    }
    let Some((cost, centres)) = best else { return (vec![0.0; width * k], Vec::new()) };
    let (_, centres) = few.improve(cost, centres, (WORK / (round * MOVED)).clamp(8, 400));
    // What is settled on a part of many vectors is nearly so on all.
    let rounds = (WORK * 2 / (all.count() * k).max(1)).clamp(2, 2 * ROUNDS);
    let (_, centres) = all.settle(centres, rounds);
    let nearest = nearest(elements, &centres, all.width);
    (centres, nearest)
}

/// The nearest centre of each vector.
pub(crate) fn nearest(elements: &[f32], centres: &[f32], width: usize) -> Vec<u8> {
    let mut found = vec![0u8; elements.len() / width.max(1)];
    found.par_chunks_mut(PART).enumerate().for_each(|(at, indices)| {
        let part = Vectors { elements: &elements[at * PART * width..], width };
        part.assign(centres, indices.len(), |i, c, _| indices[i] = c as u8);
    });
    found
}

/// Vectors that get their nearest centres.
struct Assign<'a, F> {
    vectors: Vectors<'a>,
    centres: &'a [f32],
    count: usize,
    visit: F,
}

impl<F: FnMut(usize, usize, f32)> pulp::WithSimd for Assign<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { vectors, centres, count, visit } = self;
        match vectors.width {
            2 => vectors.assign_of::<2>(centres, count, visit),
            4 => vectors.assign_of::<4>(centres, count, visit),
            8 => vectors.assign_of::<8>(centres, count, visit),
            _ => vectors.assign_any(centres, count, visit),
        }
    }
}

/// Rounds until a moved cluster shows what it is good for.
const MOVED: usize = 6;
/// Clusters of little use, and such with great costs, that are moved and split.
const PAIRS: usize = 5;

/// What the vectors of each cluster come to.
#[derive(Clone, Default)]
struct Totals {
    sums: Vec<f64>,
    counts: Vec<f64>,
    costs: Vec<f64>,
}

impl Totals {
    fn new(len: usize, width: usize) -> Self {
        let k = len / width;
        Self { sums: vec![0.0; len], counts: vec![0.0; k], costs: vec![0.0; k] }
    }

    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.sums, &other.sums),
            (&mut self.counts, &other.counts),
            (&mut self.costs, &other.costs),
        ];
        for (mine, others) in pairs {
            mine.iter_mut().zip(others).for_each(|(a, b)| *a += b);
        }
    }
}

impl Vectors<'_> {
    fn count(&self) -> usize {
        self.elements.len() / self.width
    }

    /// At most so many vectors in equal steps.
    fn sample(&self, most: usize) -> Vec<f32> {
        let step = self.count().div_ceil(most.max(1)).max(1);
        self.elements.chunks_exact(self.width).step_by(step).flatten().copied().collect()
    }

    /// Calls `visit` with the number of each of the first `count` vectors, its nearest centre and the
    /// squared distance to it.
    fn assign(&self, centres: &[f32], count: usize, visit: impl FnMut(usize, usize, f32)) {
        pulp::Arch::new().dispatch(Assign { vectors: *self, centres, count, visit });
    }

    #[inline(always)]
    fn assign_of<const W: usize>(
        &self,
        centres: &[f32],
        count: usize,
        mut visit: impl FnMut(usize, usize, f32),
    ) {
        let vectors = self.elements.as_chunks::<W>().0;
        let centres = centres.as_chunks::<W>().0;
        for (group, vectors) in vectors[..count].chunks(LANES).enumerate() {
            let mut turned = [[0f32; LANES]; W];
            for (lane, vector) in vectors.iter().enumerate() {
                for v in 0..W {
                    turned[v][lane] = vector[v];
                }
            }
            let (mut least, mut at) = ([f32::INFINITY; LANES], [0u32; LANES]);
            for (c, centre) in centres.iter().enumerate() {
                let mut distance = [0f32; LANES];
                for v in 0..W {
                    for lane in 0..LANES {
                        let gap = turned[v][lane] - centre[v];
                        distance[lane] += gap * gap;
                    }
                }
                for lane in 0..LANES {
                    let is_nearer = distance[lane] < least[lane];
                    least[lane] = if is_nearer { distance[lane] } else { least[lane] };
                    at[lane] = if is_nearer { c as u32 } else { at[lane] };
                }
            }
            for lane in 0..vectors.len() {
                visit(group * LANES + lane, at[lane] as usize, least[lane]);
            }
        }
    }

    #[inline(always)]
    fn assign_any(&self, centres: &[f32], count: usize, mut visit: impl FnMut(usize, usize, f32)) {
        for (i, vector) in self.elements.chunks_exact(self.width).take(count).enumerate() {
            let distance = |centre: &[f32]| -> f32 {
                vector.iter().zip(centre).map(|(x, y)| (x - y) * (x - y)).sum()
            };
            let (mut least, mut at) = (f32::INFINITY, 0);
            for (c, centre) in centres.chunks_exact(self.width).enumerate() {
                let distance = distance(centre);
                if distance < least {
                    (least, at) = (distance, c);
                }
            }
            visit(i, at, least);
        }
    }

    /// Moves clusters of little use to where the error is great, as long as that helps, at most so many
    /// times.
    fn improve(&self, mut cost: f64, mut centres: Vec<f32>, tries: usize) -> (f64, Vec<f32>) {
        let mut moves = self.moves(&centres).into_iter();
        for _ in 0..tries {
            let Some(moved) = moves.next() else { break };
            let (now, settled) = self.settle(moved, MOVED);
            if now < cost * (1.0 - 1e-6) {
                (cost, centres) = self.settle(settled, ROUNDS);
                cost = cost.min(now);
                moves = self.moves(&centres).into_iter();
            }
        }
        (cost, centres)
    }

    fn totals(&self, centres: &[f32]) -> Totals {
        let width = self.width;
        let count = self.count();
        let mut parts = vec![Totals::default(); count.div_ceil(PART)];
        parts.par_iter_mut().enumerate().for_each(|(at, part)| {
            let mut totals = Totals::new(centres.len(), width);
            let here = Vectors { elements: &self.elements[at * PART * width..], width };
            here.assign(centres, PART.min(count - at * PART), |i, c, distance| {
                totals.counts[c] += 1.0;
                totals.costs[c] += f64::from(distance);
                let vector = &here.elements[i * width..][..width];
                for (sum, &x) in totals.sums[c * width..].iter_mut().zip(vector) {
                    *sum += f64::from(x);
                }
            });
            *part = totals;
        });
        let mut all = Totals::new(centres.len(), width);
        parts.iter().for_each(|part| all.add(part));
        all
    }

    /// Centres that are the means of the vectors nearest to them, after at most so many rounds, and
    /// the sum of squared distances before the last one.
    fn settle(&self, mut centres: Vec<f32>, rounds: usize) -> (f64, Vec<f32>) {
        let mut before = f64::INFINITY;
        for _ in 0..rounds {
            let totals = self.totals(&centres);
            let cost: f64 = totals.costs.iter().sum();
            for (c, &count) in totals.counts.iter().enumerate().filter(|(_, n)| **n > 0.0) {
                let at = c * self.width;
                let centre = centres[at..].iter_mut().zip(&totals.sums[at..]).take(self.width);
                centre.for_each(|(x, &sum)| *x = (sum / count) as f32);
            }
            if cost >= before * (1.0 - 1e-5) {
                return (cost.min(before), centres);
            }
            before = cost;
        }
        (before, centres)
    }

    /// Centres with one that is hardly missed set beside one with a great cost, what promises most first.
    fn moves(&self, centres: &[f32]) -> Vec<Vec<f32>> {
        let width = self.width;
        let totals = self.totals(centres);
        let k = centres.len() / width;
        let apart = |a: usize, b: usize| -> f64 {
            let pairs = centres[a * width..][..width].iter().zip(&centres[b * width..][..width]);
            pairs.map(|(x, y)| f64::from(x - y).powi(2)).sum()
        };
        // Without a centre its vectors go to the nearest other one, which costs about the distance.
        let losses: Vec<f64> = (0..k)
            .map(|c| {
                let others = (0..k).filter(|&o| o != c).map(|o| apart(c, o));
                let nearest = others.fold(f64::INFINITY, f64::min);
                if totals.counts[c] > 0.0 { totals.counts[c] * nearest } else { 0.0 }
            })
            .collect();
        let mut least: Vec<usize> = (0..k).collect();
        least.sort_by(|&a, &b| losses[a].total_cmp(&losses[b]).then(a.cmp(&b)));
        let mut most: Vec<usize> = (0..k).collect();
        most.sort_by(|&a, &b| totals.costs[b].total_cmp(&totals.costs[a]).then(a.cmp(&b)));
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        for (i, &from) in least.iter().take(PAIRS).enumerate() {
            // Two halves of a cluster cost no less than nothing.
            let near = most.iter().take(PAIRS - i.min(PAIRS - 1));
            let fits = near.filter(|&&to| to != from && losses[from] <= totals.costs[to]);
            pairs.extend(fits.map(|&to| (from, to)));
        }
        pairs.sort_by(|a, b| {
            let gain = |pair: &(usize, usize)| totals.costs[pair.1] / 2.0 - losses[pair.0];
            gain(b).total_cmp(&gain(a)).then(a.cmp(b))
        });
        let moved = |(from, to): (usize, usize)| {
            let mut moved = centres.to_vec();
            let spread =
                (totals.costs[to] / totals.counts[to].max(1.0) / width as f64).sqrt() as f32;
            for v in 0..width {
                let x = centres[to * width + v];
                moved[to * width + v] = x + spread * 0.5;
                moved[from * width + v] = x - spread * 0.5;
            }
            moved
        };
        pairs.into_iter().map(moved).collect()
    }

    /// Vectors far apart: each next one is the best of a few, drawn with a chance that grows with the
    /// squared distance to those before it.
    fn starts(&self, k: usize, seed: u64) -> Vec<f32> {
        let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let (width, count) = (self.width, self.count());
        if count == 0 {
            return vec![0.0; width * k];
        }
        let vector = |i: usize| &self.elements[i * width..][..width];
        let mut centres = vector(((draw() * count as f64) as usize).min(count - 1)).to_vec();
        let mut distances = vec![f32::INFINITY; count];
        let near = |distances: &[f32], centre: &[f32]| -> Vec<f32> {
            let mut found = distances.to_vec();
            self.assign(centre, count, |i, _, distance| found[i] = found[i].min(distance));
            found
        };
        distances = near(&distances, &centres);
        while centres.len() < k * width {
            let total: f64 = distances.iter().map(|&d| f64::from(d)).sum();
            let mut best: Option<(f64, usize, Vec<f32>)> = None;
            for _ in 0..3 {
                let mut left = draw() * total;
                let chosen = distances.iter().position(|&d| {
                    left -= f64::from(d);
                    left < 0.0
                });
                let chosen = chosen.unwrap_or(count - 1);
                let after = near(&distances, vector(chosen));
                let cost = after.iter().map(|&d| f64::from(d)).sum();
                if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                    best = Some((cost, chosen, after));
                }
            }
            let Some((_, chosen, after)) = best else { break };
            centres.extend_from_slice(vector(chosen));
            distances = after;
        }
        centres
    }
}

#[cfg(test)]
mod tests {
    use super::vectors;

    #[test]
    fn vectors_find_what_is_far_apart() {
        let elements: Vec<f32> = (0..400)
            .flat_map(|i| [f32::from(i % 4 > 1), f32::from(i % 2 == 0)])
            .map(|x| x * 8.0)
            .collect();
        let (centres, nearest) = vectors(&elements, 2, 4, 7);
        for (vector, &c) in elements.chunks(2).zip(&nearest) {
            assert_eq!(vector, &centres[usize::from(c) * 2..][..2]);
        }
        assert_eq!(vectors(&elements, 2, 4, 7), (centres, nearest));
    }
}
