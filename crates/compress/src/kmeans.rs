//! Clusters of numbers with the least sum of squared distances.
//!
//! In one dimension that is exact: clusters of sorted numbers are intervals, and the best cut of the
//! first `j` numbers into `m` intervals follows from those into `m − 1`. The start of the last interval
//! grows with `j`, so halves are searched within what their middle found: `O(k·n·log n)`.

use half::f16;

/// Distinct numbers in ascending order, with how often each stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counted {
    /// The numbers.
    pub values: Vec<f32>,
    /// How often, or how much each counts.
    pub weights: Vec<f64>,
}

impl Counted {
    /// Those of `elements`.
    #[must_use]
    pub fn of(elements: &[f32]) -> Self {
        // Bits of floats, flipped so that they sort like the numbers; −0 is 0.
        let key = |x: f32| {
            let bits = (x + 0.0).to_bits();
            bits ^ ((((bits as i32) >> 31) as u32) | 0x8000_0000)
        };
        let back = |key: u32| {
            let mask = if key & 0x8000_0000 == 0 { u32::MAX } else { 0x8000_0000 };
            f32::from_bits(key ^ mask)
        };
        let mut keys: Vec<u32> = elements.iter().map(|&x| key(x)).collect();
        keys.sort_unstable();
        let mut found = Self::default();
        let mut last = None;
        for key in keys {
            if last == Some(key) {
                if let Some(weight) = found.weights.last_mut() {
                    *weight += 1.0;
                }
            } else {
                found.values.push(back(key));
                found.weights.push(1.0);
                last = Some(key);
            }
        }
        found
    }
}

impl Counted {
    /// Those of elements that are all of half precision: counted by their bits, without sorting.
    #[must_use]
    pub fn halves(elements: &[f32]) -> Self {
        let mut counts = vec![0u32; 1 << 16];
        for &x in elements {
            counts[usize::from(f16::from_f32(x).to_bits())] += 1;
        }
        // Negative numbers come first, from the greatest magnitude down; both zeros are one.
        counts[0] += std::mem::take(&mut counts[0x8000]);
        let order = (0x8001u16..=0xffff).rev().chain(0..=0x7fff);
        let mut found = Self::default();
        for bits in order.filter(|&bits| counts[usize::from(bits)] > 0) {
            found.values.push(f16::from_bits(bits).to_f32());
            found.weights.push(f64::from(counts[usize::from(bits)]));
        }
        found
    }

    /// At most `most` numbers: runs of neighbours become their means.
    fn limited(&self, most: usize) -> Self {
        let run = self.values.len().div_ceil(most).max(1);
        let mut found = Self::default();
        for start in (0..self.values.len()).step_by(run) {
            let end = (start + run).min(self.values.len());
            found.values.push(mean(self, start, end));
            found.weights.push(self.weights[start..end].iter().sum());
        }
        found
    }
}

/// Most distinct numbers that are cut exactly; all there are of half precision.
const EXACT: usize = 1 << 16;

/// Sums of the first `i` numbers, for the cost of intervals.
struct Sums {
    weight: Vec<f64>,
    value: Vec<f64>,
    square: Vec<f64>,
}

impl Sums {
    fn of(numbers: &Counted) -> Self {
        let total: f64 = numbers.weights.iter().sum();
        let pairs = || numbers.values.iter().zip(&numbers.weights);
        // Numbers about their mean keep the differences of sums exact enough.
        let mean = pairs().map(|(&x, w)| f64::from(x) * w).sum::<f64>() / total.max(1.0);
        let mut sums = Self { weight: vec![0.0], value: vec![0.0], square: vec![0.0] };
        let (mut weight, mut value, mut square) = (0.0, 0.0, 0.0);
        for (&x, &w) in pairs() {
            let x = f64::from(x) - mean;
            weight += w;
            value += w * x;
            square += w * x * x;
            sums.weight.push(weight);
            sums.value.push(value);
            sums.square.push(square);
        }
        sums
    }

    /// The cost of the numbers from `i` up to, without, `j`.
    #[inline]
    fn cost(&self, i: usize, j: usize) -> f64 {
        let weight = self.weight[j] - self.weight[i];
        let value = self.value[j] - self.value[i];
        (self.square[j] - self.square[i] - value * value / weight).max(0.0)
    }
}

/// The centres of at most `k` clusters with the least cost, in ascending order. More than 65536
/// numbers are cut as if runs of neighbours were one, and the cuts then moved as long as that helps.
#[must_use]
pub fn centres(numbers: &Counted, k: usize) -> Vec<f32> {
    let n = numbers.values.len();
    if n <= k {
        return numbers.values.clone();
    }
    if n > EXACT {
        return settled(numbers, centres(&numbers.limited(EXACT), k));
    }
    let sums = Sums::of(numbers);
    let mut before: Vec<f64> =
        (0..=n).map(|j| if j == 0 { 0.0 } else { sums.cost(0, j) }).collect();
    let mut starts: Vec<Vec<u32>> = Vec::with_capacity(k);
    for clusters in 2..=k {
        let mut layer = Layer {
            sums: &sums,
            before: &before,
            now: vec![f64::INFINITY; n + 1],
            starts: vec![0; n + 1],
        };
        // The last layer is asked for all numbers alone.
        let first = if clusters == k { n } else { clusters };
        layer.search((first, n), (clusters - 1, n - 1));
        starts.push(layer.starts);
        before = layer.now;
    }
    let mut cuts = vec![n];
    let mut end = n;
    for starts in starts.iter().rev() {
        end = starts[end] as usize;
        cuts.push(end);
    }
    cuts.push(0);
    cuts.reverse();
    cuts.windows(2).map(|cut| mean(numbers, cut[0], cut[1])).collect()
}

/// Centres that are the means of the numbers nearest to them.
fn settled(numbers: &Counted, mut centres: Vec<f32>) -> Vec<f32> {
    for _ in 0..16 {
        let mut cuts = vec![0];
        for pair in centres.windows(2) {
            let limit = (f64::from(pair[0]) + f64::from(pair[1])) / 2.0;
            cuts.push(numbers.values.partition_point(|&x| f64::from(x) <= limit));
        }
        cuts.push(numbers.values.len());
        let mut next = centres.clone();
        for (centre, cut) in next.iter_mut().zip(cuts.windows(2)) {
            if cut[0] < cut[1] {
                *centre = mean(numbers, cut[0], cut[1]);
            }
        }
        if next == centres {
            break;
        }
        centres = next;
    }
    centres
}

/// The mean of the numbers from `i` up to, without, `j`.
fn mean(numbers: &Counted, i: usize, j: usize) -> f32 {
    let pairs = || numbers.values[i..j].iter().zip(&numbers.weights[i..j]);
    let weight: f64 = pairs().map(|(_, w)| w).sum();
    (pairs().map(|(&x, w)| f64::from(x) * w).sum::<f64>() / weight) as f32
}

/// One number of clusters: least costs of the first `j` numbers, and where the last cluster starts.
struct Layer<'a> {
    sums: &'a Sums,
    before: &'a [f64],
    now: Vec<f64>,
    starts: Vec<u32>,
}

impl Layer<'_> {
    /// Fills `j` from `ends.0` to `ends.1`, whose last clusters start from `begin.0` to `begin.1`.
    fn search(&mut self, ends: (usize, usize), begin: (usize, usize)) {
        let mut work = vec![(ends, begin)];
        while let Some(((low, high), (from, to))) = work.pop() {
            if low > high {
                continue;
            }
            let j = usize::midpoint(low, high);
            let (mut least, mut at) = (f64::INFINITY, from);
            for i in from..=to.min(j - 1) {
                let cost = self.before[i] + self.sums.cost(i, j);
                if cost < least {
                    (least, at) = (cost, i);
                }
            }
            self.now[j] = least;
            self.starts[j] = at as u32;
            if j > low {
                work.push(((low, j - 1), (from, at)));
            }
            work.push(((j + 1, high), (at, to)));
        }
    }
}

/// The nearest of ascending `centres` for each element; the lower one where two are as near.
pub fn assign(elements: &[f32], centres: &[f32], indices: &mut [u8]) {
    let limits: Vec<f32> = centres
        .windows(2)
        .map(|pair| ((f64::from(pair[0]) + f64::from(pair[1])) / 2.0) as f32)
        .collect();
    if limits.len() <= 16 {
        indices.fill(0);
        for limit in limits {
            for (index, &x) in indices.iter_mut().zip(elements) {
                *index += u8::from(x > limit);
            }
        }
    } else {
        for (index, x) in indices.iter_mut().zip(elements) {
            *index = limits.partition_point(|limit| limit < x) as u8;
        }
    }
}

/// Clusters of vectors of `width` numbers: centres one after the other, and the nearest of each
/// vector. Starts are chosen far apart, from `seed`; then means and assignments alternate.
#[must_use]
pub fn vectors(elements: &[f32], width: usize, k: usize, seed: u64) -> (Vec<f32>, Vec<u8>) {
    use rayon::prelude::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
    let count = elements.len() / width.max(1);
    let mut centres = starts(elements, width, k, seed);
    let mut nearest = vec![0u8; count];
    let mut before = f64::INFINITY;
    for _ in 0..40 {
        // Sums over fixed parts, in order, so that threads do not matter.
        const PART: usize = 4096;
        let mut parts: Vec<(Vec<f64>, Vec<f64>, f64)> =
            vec![Default::default(); count.div_ceil(PART)];
        let shown = &centres;
        parts.par_iter_mut().enumerate().for_each(|(at, part)| {
            *part = (vec![0.0; shown.len()], vec![0.0; shown.len() / width], 0.0);
            let range = at * PART * width..elements.len().min((at + 1) * PART * width);
            for vector in elements[range].chunks_exact(width) {
                let (c, distance) = closest(vector, shown, width);
                part.1[c] += 1.0;
                part.2 += f64::from(distance);
                for (sum, &x) in part.0[c * width..].iter_mut().zip(vector) {
                    *sum += f64::from(x);
                }
            }
        });
        let mut sums = vec![0.0; centres.len()];
        let mut counts = vec![0.0; centres.len() / width];
        let mut cost = 0.0;
        for (part_sums, part_counts, part_cost) in parts {
            sums.iter_mut().zip(part_sums).for_each(|(a, b)| *a += b);
            counts.iter_mut().zip(part_counts).for_each(|(a, b)| *a += b);
            cost += part_cost;
        }
        for (c, &count) in counts.iter().enumerate() {
            if count > 0.0 {
                for v in 0..width {
                    centres[c * width + v] = (sums[c * width + v] / count) as f32;
                }
            }
        }
        if cost >= before * (1.0 - 1e-4) {
            break;
        }
        before = cost;
    }
    let shown = &centres;
    nearest.par_iter_mut().enumerate().for_each(|(i, index)| {
        *index = closest(&elements[i * width..][..width], shown, width).0 as u8
    });
    (centres, nearest)
}

/// The nearest centre and the squared distance to it.
pub(crate) fn closest(vector: &[f32], centres: &[f32], width: usize) -> (usize, f32) {
    let mut best = (0, f32::INFINITY);
    for (c, centre) in centres.chunks_exact(width).enumerate() {
        let distance: f32 = vector.iter().zip(centre).map(|(a, b)| (a - b) * (a - b)).sum();
        if distance < best.1 {
            best = (c, distance);
        }
    }
    best
}

/// Vectors far apart: each next one is drawn with a chance that grows with the squared distance to
/// those before it, from at most 65536 vectors in equal steps.
fn starts(elements: &[f32], width: usize, k: usize, seed: u64) -> Vec<f32> {
    let count = elements.len() / width.max(1);
    let step = count.div_ceil(1 << 16).max(1);
    let sample: Vec<&[f32]> = elements.chunks_exact(width).step_by(step).collect();
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut draw = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let Some(first) = sample.get((draw() * sample.len() as f64) as usize) else {
        return vec![0.0; width * k];
    };
    let mut centres = first.to_vec();
    let mut distances = vec![f32::INFINITY; sample.len()];
    while centres.len() < k * width {
        let last = &centres[centres.len() - width..];
        for (distance, vector) in distances.iter_mut().zip(&sample) {
            *distance = distance.min(closest(vector, last, width).1);
        }
        let total: f64 = distances.iter().map(|&d| f64::from(d)).sum();
        let mut left = draw() * total;
        let chosen = distances.iter().position(|&d| {
            left -= f64::from(d);
            left < 0.0
        });
        let chosen = chosen.unwrap_or(sample.len() - 1);
        centres.extend_from_slice(sample[chosen]);
    }
    centres
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, proptest};

    use super::*;

    fn cost(elements: &[f32], centres: &[f32]) -> f64 {
        let near =
            |x: f32| centres.iter().map(|c| f64::from(x - c).powi(2)).fold(f64::MAX, f64::min);
        elements.iter().map(|&x| near(x)).sum()
    }

    /// The least cost over all cuts into intervals.
    fn by_force(sorted: &[f32], k: usize) -> f64 {
        let of = |part: &[f32]| {
            let mean = part.iter().map(|&x| f64::from(x)).sum::<f64>() / part.len() as f64;
            part.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>()
        };
        if k == 1 || sorted.len() <= 1 {
            return if sorted.is_empty() { 0.0 } else { of(sorted) };
        }
        (1..=sorted.len())
            .map(|cut| {
                by_force(&sorted[..sorted.len() - cut], k - 1) + of(&sorted[sorted.len() - cut..])
            })
            .fold(of(sorted), f64::min)
    }

    proptest! {
        #[test]
        fn clusters_are_the_best(elements in prop::collection::vec(-4i8..4, 1..12), k in 1usize..5) {
            let elements: Vec<f32> = elements.into_iter().map(|x| f32::from(x) / 3.0).collect();
            let centres = centres(&Counted::of(&elements), k);
            let mut sorted = elements.clone();
            sorted.sort_by(f32::total_cmp);
            let best = by_force(&sorted, k);
            prop_assert!((cost(&elements, &centres) - best).abs() < 1e-5, "{} {best}", cost(&elements, &centres));
        }

        #[test]
        fn elements_get_the_nearest_centre(
            elements in prop::collection::vec(-1f32..1.0, 0..40),
            k in 1usize..40,
        ) {
            let centres = centres(&Counted::of(&elements), k);
            let mut indices = vec![0; elements.len()];
            assign(&elements, &centres, &mut indices);
            for (x, i) in elements.iter().zip(indices) {
                let got = (x - centres[usize::from(i)]).abs();
                prop_assert!(centres.iter().all(|c| got <= (x - c).abs() + 1e-6));
            }
        }
    }

    #[test]
    fn halves_are_counted_as_sorting_does() {
        let elements: Vec<f32> = (0..5000)
            .map(|i| f16::from_f32(((i * 37 % 997) as f32 - 498.0) / 64.0).to_f32())
            .collect();
        assert_eq!(Counted::halves(&elements), Counted::of(&elements));
        assert_eq!(Counted::halves(&[-0.0, 0.0]), Counted::of(&[0.0, -0.0]));
    }

    #[test]
    fn many_numbers_are_cut_nearly_as_well() {
        let elements: Vec<f32> =
            (0..70_000).map(|i| (i as f32 * 0.618_034).fract().powi(3)).collect();
        let counted = Counted::of(&elements);
        let centres = centres(&counted, 4);
        assert_eq!(centres, settled(&counted, centres.clone()));
    }

    #[test]
    fn zeros_of_both_signs_are_one_number() {
        let counted = Counted::of(&[0.0, -0.0, 1.0, -1.0]);
        assert_eq!((counted.values, counted.weights), (vec![-1.0, 0.0, 1.0], vec![1.0, 2.0, 1.0]));
    }

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
