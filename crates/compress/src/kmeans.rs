//! Clusters of numbers with the least sum of squared distances.
//!
//! In one dimension clusters of sorted numbers are intervals. Where each cluster costs a price the best
//! cuts of the first `j` numbers follow from those of fewer, in `O(n·log n)` however many clusters there
//! are; the least cost falls ever more slowly with the number of clusters, so that for each number
//! of them there is a price at which it is best, and a few prices lead to it.

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
        Self::of_counts(&counts)
    }

    /// The halves, of which there are as many as `counts` says at their bits.
    pub(crate) fn of_counts(counts: &[u32]) -> Self {
        let mut found = Self::default();
        let mut push = |bits: usize, count: u32| {
            if count > 0 {
                found.values.push(f16::from_bits(bits as u16).to_f32());
                found.weights.push(f64::from(count));
            }
        };
        // Negative numbers come first, from the greatest magnitude down; both zeros are one.
        for (bits, &count) in counts.iter().enumerate().skip(0x8001).rev() {
            push(bits, count);
        }
        push(0, counts[0] + counts[0x8000]);
        for (bits, &count) in counts.iter().enumerate().take(0x8000).skip(1) {
            push(bits, count);
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

/// Sums of the first `i` numbers, for the cost of intervals.
struct Sums {
    /// What numbers are taken about, so that differences of sums are exact enough.
    origin: f64,
    of: Vec<Sum>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    weight: f64,
    value: f64,
    square: f64,
}

impl Sums {
    fn of(numbers: &Counted) -> Self {
        let total: f64 = numbers.weights.iter().sum();
        let pairs = || numbers.values.iter().zip(&numbers.weights);
        let origin = pairs().map(|(&x, w)| f64::from(x) * w).sum::<f64>() / total.max(1e-300);
        let mut of = Vec::with_capacity(numbers.values.len() + 1);
        let mut sum = Sum::default();
        of.push(sum);
        for (&x, &w) in pairs() {
            let x = f64::from(x) - origin;
            sum.weight += w;
            sum.value += w * x;
            sum.square += w * x * x;
            of.push(sum);
        }
        Self { origin, of }
    }

    /// How many numbers there are.
    fn len(&self) -> usize {
        self.of.len() - 1
    }

    /// The cost of the numbers from `i` up to, without, `j`.
    #[inline(always)]
    fn cost(&self, i: usize, j: usize) -> f64 {
        let (i, j) = (&self.of[i], &self.of[j]);
        let value = j.value - i.value;
        j.square - i.square - value * value / (j.weight - i.weight)
    }

    /// Whether a cut at `m` takes more than `price` off the cost of the numbers from `i` to `j`.
    #[inline(always)]
    fn gains_more(&self, (i, m, j): (usize, usize, usize), price: f64) -> bool {
        let (i, m, j) = (&self.of[i], &self.of[m], &self.of[j]);
        let (left, right) = (m.weight - i.weight, j.weight - m.weight);
        let gap = (j.value - m.value) * left - (m.value - i.value) * right;
        gap * gap > price * left * right * (left + right)
    }

    /// The mean of the numbers from `i` to `j`.
    fn mean(&self, i: usize, j: usize) -> f64 {
        let (i, j) = (&self.of[i], &self.of[j]);
        self.origin + (j.value - i.value) / (j.weight - i.weight)
    }

    /// The cost of the numbers from `i` to `j` about `centre`.
    fn cost_about(&self, (i, j): (usize, usize), centre: f64) -> f64 {
        let off = self.mean(i, j) - centre;
        self.cost(i, j).max(0.0) + (self.of[j].weight - self.of[i].weight) * off * off
    }
}

/// The centres of at most `k` clusters with the least cost, in ascending order, as `round` makes them.
#[must_use]
pub fn centres(numbers: &Counted, k: usize, round: &dyn Fn(f64) -> f32) -> Vec<f32> {
    if numbers.values.len() <= k {
        return numbers.values.iter().map(|&x| round(f64::from(x))).collect();
    }
    let sums = Sums::of(numbers);
    let cuts = cuts(&sums, k);
    let centres = cuts.windows(2).map(|cut| round(sums.mean(cut[0], cut[1]))).collect();
    settled(numbers, &sums, centres, round)
}

/// What numbers cost about centres.
pub(crate) struct Costs<'a> {
    numbers: &'a Counted,
    sums: Sums,
}

impl<'a> Costs<'a> {
    pub(crate) fn of(numbers: &'a Counted) -> Self {
        Self { numbers, sums: Sums::of(numbers) }
    }

    /// The sum of squared distances to the nearest of ascending `centres`.
    pub(crate) fn about(&self, centres: &[f32]) -> f64 {
        let cuts = nearest_cuts(self.numbers, centres);
        let cost = |(cut, &centre): (&[usize], &f32)| {
            if cut[0] == cut[1] {
                return 0.0;
            }
            self.sums.cost_about((cut[0], cut[1]), f64::from(centre))
        };
        cuts.windows(2).zip(centres).map(cost).sum()
    }
}

/// Where the numbers that are nearest to each of ascending `centres` begin, and the end.
fn nearest_cuts(numbers: &Counted, centres: &[f32]) -> Vec<usize> {
    let ends = centres.windows(2).map(|pair| {
        let limit = between(pair[0], pair[1]);
        numbers.values.partition_point(|&x| x <= limit)
    });
    let end = std::iter::once(numbers.values.len());
    std::iter::once(0).chain(ends).chain(end).collect()
}

/// Rounded centres moved to the rounded means of what is nearest to them, as long as that helps.
fn settled(
    numbers: &Counted,
    sums: &Sums,
    mut centres: Vec<f32>,
    round: &dyn Fn(f64) -> f32,
) -> Vec<f32> {
    let mut least = f64::INFINITY;
    let mut best = centres.clone();
    for _ in 0..8 {
        let cuts = nearest_cuts(numbers, &centres);
        let mut cost = 0.0;
        let mut next = Vec::with_capacity(centres.len());
        for (cut, &centre) in cuts.windows(2).zip(&centres) {
            if cut[0] < cut[1] {
                cost += sums.cost_about((cut[0], cut[1]), f64::from(centre));
                next.push(round(sums.mean(cut[0], cut[1])));
            } else {
                next.push(centre);
            }
        }
        if cost >= least {
            break;
        }
        least = cost;
        best = std::mem::replace(&mut centres, next);
    }
    best
}

/// Where the best intervals start, and the end of the last one.
fn cuts(sums: &Sums, k: usize) -> Vec<usize> {
    let n = sums.len();
    // A price found on runs of numbers is nearly that of the numbers.
    let run = n.div_ceil((n / 8).clamp(8 * k, 8192));
    let price = match run {
        0..4 => sums.price_guess(k),
        _ => {
            let mut of: Vec<Sum> = sums.of.iter().step_by(run).copied().collect();
            if !n.is_multiple_of(run) {
                of.push(sums.of[n]);
            }
            let coarse = Sums { origin: sums.origin, of };
            let price = coarse.price_guess(k);
            let (_, price) = Search::new(&coarse, k).run(price, COARSE_ROUNDS);
            price
        }
    };
    Search::new(sums, k).run(price, ROUNDS).0
}

/// Most prices that are tried on runs of numbers.
const COARSE_ROUNDS: usize = 8;
/// Most prices that are tried in all.
const ROUNDS: usize = 80;

impl Sums {
    /// About what one cluster more is worth where `k` are best.
    fn price_guess(&self, k: usize) -> f64 {
        // With density p the cost of k clusters comes to (∫ ∛p)³ / 12k² (Panter and Dite).
        let parts = (self.len() / 4).clamp(1, 64);
        let mut total = 0.0;
        for part in 0..parts {
            let (i, j) = (self.len() * part / parts, self.len() * (part + 1) / parts);
            if i < j {
                let weight = self.of[j].weight - self.of[i].weight;
                let width = (12.0 * self.cost(i, j).max(0.0) / weight).sqrt();
                total += (weight * width * width).cbrt();
            }
        }
        let cost = total.powi(3) / 12.0;
        (2.0 * cost / (k as f64).powi(3)).max(self.cost(0, self.len()) * 1e-12)
    }
}

/// A set of cuts, and what it costs without prices.
#[derive(Debug, Clone)]
struct Found {
    cuts: Vec<usize>,
    cost: f64,
}

impl Found {
    fn clusters(&self) -> usize {
        self.cuts.len() - 1
    }
}

/// Looks for the price of a cluster at which `k` of them are best.
struct Search<'a> {
    sums: &'a Sums,
    k: usize,
    priced: Priced<'a>,
}

impl<'a> Search<'a> {
    fn new(sums: &'a Sums, k: usize) -> Self {
        Self { sums, k, priced: Priced::new(sums) }
    }

    /// The best cuts into `k` clusters, and the price that led to them. With few rounds the cuts are
    /// those of a number of clusters near `k`.
    fn run(mut self, mut price: f64, rounds: usize) -> (Vec<usize>, f64) {
        let mut few: Option<(f64, Found)> = None;
        let mut many: Option<(f64, Found)> = None;
        for round in 0..rounds {
            let found = self.priced.cuts(price);
            let clusters = found.clusters();
            if clusters == self.k {
                return (found.cuts, price);
            }
            // The cost falls with the square of the clusters, so the price with their cube.
            let mut next = price * (clusters as f64 / self.k as f64).powi(3);
            if clusters < self.k {
                few = Some((price, found));
            } else {
                many = Some((price, found));
            }
            if let (Some((high, a)), Some((low, b))) = (&few, &many) {
                // At the price at which both cost the same either both are best, or something between.
                let even = (a.cost - b.cost) / (b.clusters() - a.clusters()) as f64;
                let is_inside = |x: f64| x > *low && x < *high;
                if round > 4 || !is_inside(next) {
                    next = even;
                }
                if !is_inside(next) || high / low < 1.0 + 1e-12 {
                    break;
                }
            } else if round > 2 {
                next =
                    if clusters < self.k { next.min(price / 2.0) } else { next.max(price * 2.0) };
            }
            price = next;
        }
        let cuts = match (few, many) {
            (Some((_, a)), Some((_, b))) => joined(&a.cuts, &b.cuts, self.k),
            (Some((_, a)), None) => split(self.sums, a.cuts, self.k),
            (None, Some((_, b))) => b.cuts,
            (None, None) => vec![0, self.sums.len()],
        };
        (cuts, price)
    }
}

/// `k` clusters of two sets of cuts that are both best at a price, one with fewer and one with more: up
/// to a cluster of the second that lies within one of the first they are those of the second, behind it
/// those of the first. That costs no more, as costs of intervals fulfil the quadrangle inequality.
fn joined(few: &[usize], many: &[usize], k: usize) -> Vec<usize> {
    let ahead = k + 1 - few.len();
    let within = |i: usize| few[i] <= many[i + ahead] && many[i + ahead + 1] <= few[i + 1];
    let at = (0..few.len() - 1).filter(|&i| i + ahead + 1 < many.len()).find(|&i| within(i));
    match at {
        Some(i) => many[..=i + ahead].iter().chain(&few[i + 1..]).copied().collect(),
        None => few.to_vec(),
    }
}

/// Cuts with the clusters that cost most halved until there are `k`.
fn split(sums: &Sums, mut cuts: Vec<usize>, k: usize) -> Vec<usize> {
    while cuts.len() <= k {
        let cost = |at: &usize| sums.cost(cuts[*at], cuts[*at + 1]);
        let wide = (0..cuts.len() - 1).filter(|&at| cuts[at + 1] - cuts[at] > 1);
        let Some(at) = wide.max_by(|a, b| cost(a).total_cmp(&cost(b))) else { break };
        cuts.insert(at + 1, usize::midpoint(cuts[at], cuts[at + 1]));
    }
    cuts
}

/// The best cuts where each cluster costs a price more, however many they are.
///
/// With the price `p` the cost of the first `j` numbers is the least `F(i) + cost(i, j) + p`. A cluster that
/// a cut makes cheaper by more than `p` is none of the best, which limits from below where the last one
/// starts; nor is one that, joined with even the longest possible one before it, costs less than `p` more,
/// which limits it from above. So rows stand in runs whose starts all lie before the run, and within a
/// run starts grow, so that halves are searched within what their middle found.
struct Priced<'a> {
    sums: &'a Sums,
    /// The first possible start of a cluster that ends at `j`.
    low: Vec<u32>,
    /// The first possible end of a cluster that starts at `i`, or at one behind it.
    end: Vec<u32>,
    starts: Starts,
    /// The best start for each end.
    start: Vec<u32>,
}

impl<'a> Priced<'a> {
    fn new(sums: &'a Sums) -> Self {
        let count = sums.len() + 1;
        Self {
            sums,
            low: vec![0; count],
            end: vec![0; count + 1],
            starts: Starts {
                weight: vec![0.0; count],
                value: vec![0.0; count],
                base: vec![0.0; count],
                costs: [0.0; SOME],
            },
            start: vec![0; count],
        }
    }

    fn cuts(&mut self, price: f64) -> Found {
        self.limits(price);
        pulp::Arch::new().dispatch(Rows { priced: self, price });
        let mut cuts = vec![self.sums.len()];
        while let Some(&last) = cuts.last().filter(|&&last| last > 0) {
            cuts.push(self.start[last] as usize);
        }
        cuts.reverse();
        let cost = cuts.windows(2).map(|cut| self.sums.cost(cut[0], cut[1])).sum();
        Found { cuts, cost }
    }

    /// Fills `low` and `end`.
    fn limits(&mut self, price: f64) {
        let (sums, n) = (self.sums, self.sums.len());
        let slack = 1.0 + 1e-9;
        let mut low = 0;
        for j in 1..=n {
            while j - low > 1 && sums.gains_more((low, usize::midpoint(low, j), j), price * slack) {
                low += 1;
            }
            self.low[j] = low as u32;
        }
        let mut j = 1;
        self.end[n] = n as u32 + 1;
        self.end[0] = 1;
        for i in 1..n {
            let before = self.low[i] as usize;
            let is_possible = |j: usize| sums.gains_more((before, i, j), price / slack);
            j = j.max(i + 1);
            while j > i + 1 && is_possible(j - 1) {
                j -= 1;
            }
            while j <= n && !is_possible(j) {
                j += 1;
            }
            self.end[i] = j as u32;
            j = j.min(n);
        }
        for i in (0..n).rev() {
            self.end[i] = self.end[i].min(self.end[i + 1]);
        }
    }

    /// Fills the rows from `first` to `last`, whose starts all lie before `first`.
    #[inline(always)]
    fn rows(&mut self, (first, last): (usize, usize), price: f64) {
        let mut work = vec![(first, last, self.low[first] as usize, first - 1)];
        while let Some((first, last, from, to)) = work.pop() {
            let j = usize::midpoint(first, last);
            let from = from.max(self.low[j] as usize).min(to);
            let range = from..to + 1;
            let end = self.sums.of[j];
            let (least, at) = self.starts.best(range, end);
            self.starts.push(j, end, least + end.square + price);
            self.start[j] = at as u32;
            if j > first {
                work.push((first, j - 1, from, at));
            }
            if j < last {
                work.push((j + 1, last, at, to));
            }
        }
    }
}

/// All rows with the widest instructions.
struct Rows<'a, 'b> {
    priced: &'a mut Priced<'b>,
    price: f64,
}

impl pulp::WithSimd for Rows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let n = self.priced.sums.len();
        let mut row = 1;
        while row <= n {
            let end = (self.priced.end[row] as usize).clamp(row + 1, n + 1);
            self.priced.rows((row, end - 1), self.price);
            row = end;
        }
    }
}

/// Where the last cluster may start: sums up to there, and the least cost up to there less the sum of
/// squares, each in a row of its own.
struct Starts {
    weight: Vec<f64>,
    value: Vec<f64>,
    base: Vec<f64>,
    /// Costs of some starts.
    costs: [f64; SOME],
}

/// Starts that are looked at together.
const SOME: usize = 64;

impl Starts {
    #[inline(always)]
    fn push(&mut self, at: usize, sum: Sum, least: f64) {
        self.weight[at] = sum.weight;
        self.value[at] = sum.value;
        self.base[at] = least - sum.square;
    }

    /// The least cost of a cluster up to `end` from a start in `range`, less the sum of squares up to `end`; and
    /// that start.
    #[inline(always)]
    fn best(&mut self, range: std::ops::Range<usize>, end: Sum) -> (f64, usize) {
        let (mut least, mut at) = (f64::INFINITY, range.start);
        let mut first = range.start;
        while first < range.end {
            let count = SOME.min(range.end - first);
            let weights = &self.weight[first..first + count];
            let values = &self.value[first..first + count];
            let bases = &self.base[first..first + count];
            let costs = &mut self.costs[..count];
            let starts = weights.iter().zip(values).zip(bases);
            for (cost, ((&weight, &value), &base)) in costs.iter_mut().zip(starts) {
                let value = end.value - value;
                *cost = base - value * value / (end.weight - weight);
            }
            let mut lanes = [f64::INFINITY; 4];
            let (fours, rest) = costs.as_chunks::<4>();
            for four in fours {
                for k in 0..4 {
                    lanes[k] = if four[k] < lanes[k] { four[k] } else { lanes[k] };
                }
            }
            let mut here = lanes[0].min(lanes[1]).min(lanes[2].min(lanes[3]));
            for &cost in rest {
                here = here.min(cost);
            }
            if here < least {
                least = here;
                at = first + costs.iter().position(|&cost| cost == here).unwrap_or(0);
            }
            first += count;
        }
        (least, at)
    }
}

/// The greatest number that belongs to the lower of two neighbours.
fn between(low: f32, high: f32) -> f32 {
    ((f64::from(low) + f64::from(high)) / 2.0) as f32
}

/// The nearest of ascending `centres` for each element; the lower one where two are as near.
pub fn assign(elements: &[f32], centres: &[f32], indices: &mut [u8]) {
    let limits: Vec<f32> = centres.windows(2).map(|pair| between(pair[0], pair[1])).collect();
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
            let centres = centres(&Counted::of(&elements), k, &|x| x as f32);
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
            let centres = centres(&Counted::of(&elements), k, &|x| x as f32);
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

    /// The least cost of `k` intervals, by all starts of each.
    fn by_table(sums: &Sums, k: usize) -> f64 {
        let n = sums.len();
        let mut least: Vec<f64> =
            (0..=n).map(|j| if j == 0 { 0.0 } else { sums.cost(0, j) }).collect();
        for _ in 1..k {
            for j in (1..=n).rev() {
                least[j] = (1..j).map(|i| least[i] + sums.cost(i, j)).fold(least[j], f64::min);
            }
        }
        least[n]
    }

    fn total(sums: &Sums, cuts: &[usize]) -> f64 {
        cuts.windows(2).map(|cut| sums.cost(cut[0], cut[1])).sum()
    }

    #[test]
    fn many_numbers_are_cut_as_well_as_few() {
        let skewed: Vec<f32> =
            (0..2_500).map(|i| (i as f32 * 0.618_034).fract().powi(3) - 0.3).collect();
        let even: Vec<f32> = (0..900).map(|i| i as f32).collect();
        let groups: Vec<f32> = (0..1200).map(|i| (i % 7) as f32 + (i / 7) as f32 * 1e-4).collect();
        let halves: Vec<f32> = skewed.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
        for elements in [skewed, even, groups, halves] {
            let sums = Sums::of(&Counted::of(&elements));
            for k in [1, 2, 4, 7, 16, 64, 256] {
                let cuts = cuts(&sums, k);
                assert_eq!(cuts.len(), k + 1);
                assert!(cuts.windows(2).all(|cut| cut[0] < cut[1]));
                let (got, best) = (total(&sums, &cuts), by_table(&sums, k));
                assert!(got <= best * (1.0 + 1e-9) + 1e-9, "{k}: {got} {best}");
            }
        }
    }

    #[test]
    fn rounded_centres_are_as_good_as_rounding_allows() {
        let elements: Vec<f32> = (0..600).map(|i| (i as f32 * 0.377).sin()).collect();
        let counted = Counted::of(&elements);
        let coarse = |x: f64| ((x * 16.0).round() / 16.0) as f32;
        let plain: Vec<f32> =
            centres(&counted, 9, &|x| x as f32).iter().map(|&x| coarse(f64::from(x))).collect();
        let moved = centres(&counted, 9, &coarse);
        assert!(moved.iter().all(|&x| x == coarse(f64::from(x))));
        assert!(cost(&elements, &moved) <= cost(&elements, &plain) + 1e-9);
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
