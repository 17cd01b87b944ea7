//! Clusters of numbers with the least sum of squared distances.
//!
//! In one dimension clusters of sorted numbers are intervals, and the best cut of the first `j` numbers
//! into `m` intervals follows from those into `m − 1`. The start of the last interval grows with `j`, so
//! halves are searched within what their middle found: `O(k·n·log n)`. Many numbers are cut as runs of
//! neighbours first; the exact cuts are then looked for around those, and further out as long as one
//! lies at the end of where it was looked for.

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
        let mut keys: Vec<u32> = elements.iter().map(|&x| sort_key(x)).collect();
        keys.sort_unstable();
        let mut found = Self::default();
        let mut last = None;
        for key in keys {
            if last == Some(key) {
                if let Some(weight) = found.weights.last_mut() {
                    *weight += 1.0;
                }
            } else {
                found.values.push(from_sort_key(key));
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

    /// Runs of so many neighbours as their means.
    fn by_runs(&self, run: usize) -> Self {
        let mut found = Self::default();
        for start in (0..self.values.len()).step_by(run) {
            let end = (start + run).min(self.values.len());
            found.values.push(mean(self, start, end));
            found.weights.push(self.weights[start..end].iter().sum());
        }
        found
    }

    /// Those of `elements` that each count as much as `weights` says.
    #[must_use]
    pub fn weighted(elements: &[f32], weights: &[f32]) -> Self {
        let mut order: Vec<(u32, f32)> = elements
            .iter()
            .zip(weights)
            .map(|(&x, &weight)| (sort_key(x), weight))
            .filter(|(_, weight)| *weight > 0.0)
            .collect();
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut found = Self::default();
        let mut last = None;
        for (key, weight) in order {
            if last == Some(key) {
                if let Some(sum) = found.weights.last_mut() {
                    *sum += f64::from(weight);
                }
            } else {
                found.values.push(from_sort_key(key));
                found.weights.push(f64::from(weight));
                last = Some(key);
            }
        }
        found
    }
}

/// The bits of a float so that they sort like the numbers; −0 is 0.
fn sort_key(x: f32) -> u32 {
    let bits = (x + 0.0).to_bits();
    bits ^ ((((bits as i32) >> 31) as u32) | 0x8000_0000)
}

fn from_sort_key(key: u32) -> f32 {
    let mask = if key & 0x8000_0000 == 0 { u32::MAX } else { 0x8000_0000 };
    f32::from_bits(key ^ mask)
}

/// Most numbers that are cut without looking at runs of them first.
const SMALL: usize = 512;
/// Runs on each side of a cut of runs among which the exact one is looked for.
const MARGIN: usize = 3;

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

/// The centres of at most `k` clusters with the least cost, in ascending order.
#[must_use]
pub fn centres(numbers: &Counted, k: usize) -> Vec<f32> {
    if numbers.values.len() <= k {
        return numbers.values.clone();
    }
    let cuts = cuts(numbers, k);
    cuts.windows(2).map(|cut| mean(numbers, cut[0], cut[1])).collect()
}

/// Where the best intervals start, and the end of the last one.
fn cuts(numbers: &Counted, k: usize) -> Vec<usize> {
    let n = numbers.values.len();
    let sums = Sums::of(numbers);
    // As many runs that a cluster still has some.
    let runs = (n / 8).clamp(SMALL, 8192).max(8 * k);
    let run = n.div_ceil(runs);
    if run < 2 {
        return Bands::whole(n, k).search(&sums);
    }
    let coarse = Bands::whole(n.div_ceil(run), k).search(&Sums::of(&numbers.by_runs(run)));
    let mut reach = MARGIN * run;
    let mut middles: Vec<usize> = coarse.into_iter().map(|cut| (cut * run).min(n)).collect();
    loop {
        let bands = Bands::around(&middles, reach, n);
        let found = bands.search(&sums);
        if !bands.has_at_end(&found, n) {
            return found;
        }
        middles = found;
        reach *= 2;
    }
}

/// Where each cut is looked for: from, and up to, with.
struct Bands(Vec<(usize, usize)>);

impl Bands {
    fn whole(n: usize, k: usize) -> Self {
        let inner = (1..k).map(|m| (m, n - (k - m)));
        Self([(0, 0)].into_iter().chain(inner).chain([(n, n)]).collect())
    }

    fn around(middles: &[usize], reach: usize, n: usize) -> Self {
        let k = middles.len() - 1;
        let band = |(m, &cut): (usize, &usize)| match m {
            0 => (0, 0),
            m if m == k => (n, n),
            m => {
                let most = n - (k - m);
                (cut.saturating_sub(reach).clamp(m, most), (cut + reach).clamp(m, most))
            }
        };
        Self(middles.iter().enumerate().map(band).collect())
    }

    /// Whether a cut lies at the end of its band that is not the end of all.
    fn has_at_end(&self, cuts: &[usize], n: usize) -> bool {
        let k = self.0.len() - 1;
        let at_end = |m: usize| {
            let (from, to) = self.0[m];
            (cuts[m] == from && from > m) || (cuts[m] == to && to < n - (k - m))
        };
        (1..k).any(at_end)
    }

    /// The cuts within the bands with the least cost.
    fn search(&self, sums: &Sums) -> Vec<usize> {
        let mut starts: Vec<Vec<u32>> = Vec::with_capacity(self.0.len());
        let mut before = (0, vec![0.0]);
        for pair in self.0.windows(2) {
            let (begin, ends) = (pair[0], pair[1]);
            let width = ends.1 - ends.0 + 1;
            let mut layer = Layer {
                sums,
                before: &before.1,
                first: begin.0,
                offset: ends.0,
                now: vec![f64::INFINITY; width],
                starts: vec![begin.0 as u32; width],
            };
            layer.search(ends, begin);
            starts.push(layer.starts);
            before = (ends.0, layer.now);
        }
        let mut cuts = vec![self.0.last().map_or(0, |band| band.1)];
        for (layer, starts) in starts.iter().enumerate().rev() {
            let end = cuts[cuts.len() - 1];
            cuts.push(starts[end - self.0[layer + 1].0] as usize);
        }
        cuts.reverse();
        cuts
    }
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
    /// Costs with one cluster less, from `first` numbers on.
    before: &'a [f64],
    first: usize,
    /// Numbers that the first entries of `now` and `starts` stand for.
    offset: usize,
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
            for i in from..=to.min(j.saturating_sub(1)) {
                let cost = self.before[i - self.first] + self.sums.cost(i, j);
                if cost < least {
                    (least, at) = (cost, i);
                }
            }
            self.now[j - self.offset] = least;
            self.starts[j - self.offset] = at as u32;
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
    fn many_numbers_are_cut_as_well_as_few() {
        let elements: Vec<f32> =
            (0..9_000).map(|i| (i as f32 * 0.618_034).fract().powi(3) - 0.3).collect();
        let counted = Counted::of(&elements);
        for k in [2, 4, 16] {
            let sums = Sums::of(&counted);
            let total = |cuts: &[usize]| -> f64 {
                cuts.windows(2).map(|cut| sums.cost(cut[0], cut[1])).sum()
            };
            let exact = total(&Bands::whole(counted.values.len(), k).search(&sums));
            assert!(total(&cuts(&counted, k)) <= exact * (1.0 + 1e-9), "{k}");
        }
    }

    #[test]
    fn weights_count_as_often() {
        let counted = Counted::weighted(&[1.0, 0.0, 1.0, -0.0, 5.0], &[2.0, 1.0, 0.5, 1.0, 0.0]);
        assert_eq!((counted.values, counted.weights), (vec![0.0, 1.0], vec![2.0, 2.5]));
    }

    #[test]
    fn zeros_of_both_signs_are_one_number() {
        let counted = Counted::of(&[0.0, -0.0, 1.0, -1.0]);
        assert_eq!((counted.values, counted.weights), (vec![-1.0, 0.0, 1.0], vec![1.0, 2.0, 1.0]));
    }
}
