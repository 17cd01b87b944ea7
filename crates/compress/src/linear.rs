//! Linear quantization: `ŵ = (q − z)·s` with integers `q` of 4 or 8 bits.

use serde::{Deserialize, Serialize};

use crate::float::{HalfOr, rounded};
use crate::quality::Lanes;
use crate::short;

/// How scales are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The whole range of a block is representable.
    #[serde(rename = "absmax")]
    AbsMax,
    /// The clipping of the range with the least squared error; of 4 bits, with the scale that is best for the
    /// integers that come of it.
    #[default]
    Mse,
    /// That, then scale and zero point fitted to the rounded elements by least squares, again and
    /// again, as long as the error falls.
    Refine,
}

/// The integers, and how scales for them are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    /// 4 or 8.
    pub bits: u32,
    /// Whether integers are signed.
    pub signed: bool,
    /// Whether zero stands in the middle of the range.
    pub symmetric: bool,
    /// How scales are chosen.
    pub method: Method,
}

/// Scale and zero point of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Step between neighbours; positive.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero: i32,
}

/// Fewest elements of a block that is judged by a part of it.
const LONG: usize = 1024;
/// Elements that are next to each other in such a part.
const PART: usize = 128;

/// Most elements that are worked on, and whose products are added up, in single precision.
pub(crate) const CHUNK: usize = 1024;

/// Elements that take little room.
const SHORT: usize = 64;

/// Adding and taking away this rounds a float below 2²² to the nearest integer, ties to even.
const MAGIC: f32 = 12_582_912.0;

#[inline(always)]
fn round(x: f32) -> f32 {
    (x + MAGIC) - MAGIC
}

impl Linear {
    /// The least and greatest integer.
    #[must_use]
    pub fn range(&self) -> (i32, i32) {
        let full = 1i32 << self.bits;
        match (self.signed, self.symmetric) {
            (true, true) => (-(full / 2) + 1, full / 2 - 1),
            (true, false) => (-(full / 2), full / 2 - 1),
            (false, true) => (0, full - 2),
            (false, false) => (0, full - 1),
        }
    }

    /// The zero point of symmetric integers.
    pub(crate) fn zero(&self) -> i32 {
        if self.signed { 0 } else { self.range().1 / 2 }
    }

    /// Appends scale and zero point of each block of `len` elements.
    #[inline(always)]
    pub(crate) fn fit_blocks(
        &self,
        (elements, len): (&[f32], usize),
        half: HalfOr,
        found: &mut Vec<Affine>,
    ) {
        if short::is_short(self, len) {
            return short::fit(self, (elements, len), half, found);
        }
        for block in elements.chunks_exact(len) {
            found.push(self.fit(block, half));
        }
    }

    /// Quantizes blocks of `len` elements into `codes` and gives their scales, which are of type `half`.
    pub(crate) fn encode_blocks(
        &self,
        (elements, len): (&[f32], usize),
        half: HalfOr,
        codes: &mut [i16],
    ) -> Vec<Affine> {
        let found = pulp::Arch::new().dispatch(Fitting { linear: *self, elements, len, half });
        let blocks = elements.chunks_exact(len).zip(codes.chunks_exact_mut(len));
        for (&affine, (block, codes)) in found.iter().zip(blocks) {
            for (code, &w) in codes.iter_mut().zip(block) {
                *code = self.code(affine, w);
            }
        }
        found
    }

    /// Quantizes a block into `codes` and gives its scale, which is of type `half`.
    pub fn encode(&self, block: &[f32], half: HalfOr, codes: &mut [i16]) -> Affine {
        let found = self.encode_blocks((block, block.len().max(1)), half, codes);
        found.first().copied().unwrap_or(Affine { scale: 1.0, zero: self.zero() })
    }

    /// Scale, which is of type `half`, and zero point for a block.
    #[inline(always)]
    pub(crate) fn fit(&self, block: &[f32], half: HalfOr) -> Affine {
        let (low, high) = extremes(block);
        let mut best = self.fitted(low, high, half);
        if low == 0.0 && high == 0.0 {
            best.scale = 1.0;
            return best;
        }
        if self.method != Method::AbsMax {
            best = match self.bits {
                4 => self.regressed(block, (low, high), half),
                _ => self.clipped(block, (low, high), half, best),
            };
        }
        if self.method == Method::Refine && best.scale > 0.0 {
            best = self.refined(block, half, best);
        }
        best
    }

    /// Scale and zero point that cover a range.
    #[inline(always)]
    fn fitted(&self, low: f32, high: f32, half: HalfOr) -> Affine {
        let (qmin, qmax) = self.range();
        let steps = (qmax - qmin) as f32;
        if self.symmetric {
            let most = low.abs().max(high.abs());
            // Twice the greatest magnitude may be beyond single precision.
            let scale = half.positive_single(most / (steps / 2.0));
            return Affine { scale, zero: self.zero() };
        }
        let (low, high) = (low.min(0.0), high.max(0.0));
        let width = f64::from(high) - f64::from(low);
        if width <= 0.0 {
            return Affine { scale: 1.0, zero: qmin };
        }
        let zero = (f64::from(qmin) * f64::from(high) - f64::from(qmax) * f64::from(low)) / width;
        let zero = zero.round_ties_even().clamp(f64::from(qmin), f64::from(qmax));
        Affine { scale: half.positive_single((width / f64::from(steps)) as f32), zero: zero as i32 }
    }

    /// The best of the range cut at both ends in steps, each with the scale that is best for the integers
    /// that come of it. Errors follow from sums of products, which is exact enough for few bits.
    #[inline(always)]
    fn regressed(&self, block: &[f32], (low, high): (f32, f32), half: HalfOr) -> Affine {
        let whole = self.fitted(low, high, half);
        let mut best = Best { error: f64::INFINITY, affine: whole, energy: Fit::energy(block) };
        best.take(self.sums(block, whole), whole, half);
        for start in self.neighbours((low, high), half, whole).into_iter().flatten() {
            best.take(self.sums(block, start), start, half);
        }
        let mut worse = 0;
        for ratio in [0.95, 0.9, 0.84, 0.78, 0.72, 0.66, 0.6] {
            let start = self.fitted(low * ratio, high * ratio, half);
            let is_better = best.take(self.sums(block, start), start, half);
            worse = if is_better { 0 } else { worse + 1 };
            if worse > 1 {
                break;
            }
        }
        let mut chosen = best.affine;
        if !self.symmetric && block.len() > SHORT {
            // What sums of products say is the same is not quite so once it is rounded.
            let mut least = self.error(block, chosen, half);
            for other in self.neighbours((low, high), half, whole).into_iter().flatten() {
                let error = self.error(block, other, half);
                if error < least {
                    (least, chosen) = (error, other);
                }
            }
        }
        chosen
    }

    /// Other zero points beside that of the whole range, and what arithmetic in the float type alone
    /// comes to, where zero does not stand in the middle.
    #[inline(always)]
    fn neighbours(
        &self,
        (low, high): (f32, f32),
        half: HalfOr,
        whole: Affine,
    ) -> [Option<Affine>; 3] {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let (qmin, qmax) = self.range();
        let width = half.round_single(high - low);
        if self.symmetric || width <= 0.0 || !width.is_finite() {
            return [None; 3];
        }
        let product = |q: i32, x: f32| half.round_single(q as f32 * x);
        let zero = half.round_single(product(qmin, high) - product(qmax, low)) / width;
        let scale = half.positive_single(width / (qmax - qmin) as f32);
        let moved = |scale: f32, zero: i32| {
            let zero = zero.clamp(qmin, qmax);
            (zero != whole.zero || scale != whole.scale).then_some(Affine { scale, zero })
        };
        [
            moved(scale, half.round_single(zero).round_ties_even() as i32),
            moved(whole.scale, whole.zero - 1),
            moved(whole.scale, whole.zero + 1),
        ]
    }

    /// What the integers of a block have to do with its elements.
    #[inline(always)]
    fn sums(&self, block: &[f32], affine: Affine) -> Fit {
        let (qmin, qmax) = self.range();
        let (low, high) = ((qmin - affine.zero) as f32, (qmax - affine.zero) as f32);
        let inverse = 1.0 / affine.scale;
        let mut fit = Fit::default();
        let mut integers = [0f32; CHUNK];
        for chunk in block.chunks(CHUNK) {
            let integers = &mut integers[..chunk.len()];
            for (q, &w) in integers.iter_mut().zip(chunk) {
                *q = round(limited(w * inverse, low, high));
            }
            fit.wq += dot(chunk, integers);
            fit.qq += dot(integers, integers);
        }
        fit
    }

    /// The best of the range cut at both ends in steps.
    #[inline(always)]
    fn clipped(
        &self,
        block: &[f32],
        (low, high): (f32, f32),
        half: HalfOr,
        whole: Affine,
    ) -> Affine {
        let mut best = (self.error(block, whole, half), whole);
        for candidate in self.neighbours((low, high), half, whole).into_iter().flatten() {
            let error = self.error(block, candidate, half);
            if error < best.0 {
                best = (error, candidate);
            }
        }
        let mut worse = 0;
        // Long blocks are judged by a part of them.
        let step = if block.len() < LONG { 1 } else { 4 };
        let judge = |affine| self.error_of(block.chunks(PART).step_by(step), affine, half);
        let (mut least, mut chosen) = (if step > 1 { judge(best.1) } else { best.0 }, best.1);
        for ratio in [0.998, 0.995, 0.99, 0.98, 0.96, 0.92] {
            let candidate = self.fitted(low * ratio, high * ratio, half);
            let error = judge(candidate);
            if error < least {
                (least, chosen) = (error, candidate);
                worse = 0;
            } else {
                worse += 1;
                // The error has one valley but for small bumps.
                if worse > 3 {
                    break;
                }
            }
        }
        if step > 1 && chosen != best.1 && self.error(block, chosen, half) >= best.0 {
            chosen = best.1;
        }
        chosen
    }

    /// Scale and zero point fitted to the codes that they give, while that helps.
    #[inline(always)]
    fn refined(&self, block: &[f32], half: HalfOr, start: Affine) -> Affine {
        let mut best = (self.error(block, start, half), start);
        let (qmin, qmax) = self.range();
        for _ in 0..6 {
            let Affine { scale, zero } = best.1;
            let (mut wq, mut qq, mut rest) = (0f64, 0f64, 0f64);
            let inverse = 1.0 / scale;
            let (low, high) = ((qmin - zero) as f32, (qmax - zero) as f32);
            for &w in block {
                let q = f64::from(round((w * inverse).clamp(low, high)));
                wq += f64::from(w) * q;
                qq += q * q;
                rest += q - f64::from(w) / f64::from(scale);
            }
            if qq <= 0.0 {
                break;
            }
            let mut candidates =
                vec![Affine { scale: half.positive_single((wq / qq) as f32), zero }];
            if !self.symmetric {
                let shift = (rest / block.len() as f64).round();
                for step in [shift, 1.0, -1.0] {
                    let moved = (f64::from(zero) - step).clamp(f64::from(qmin), f64::from(qmax));
                    for scale in [scale, candidates[0].scale] {
                        candidates.push(Affine { scale, zero: moved as i32 });
                    }
                }
            }
            let before = best.0;
            for candidate in candidates {
                let error = self.error(block, candidate, half);
                if error < best.0 {
                    best = (error, candidate);
                }
            }
            if best.0 >= before {
                break;
            }
        }
        best.1
    }

    /// The squared error of a block, of what it decodes to in the float type.
    #[inline(always)]
    fn error(&self, block: &[f32], affine: Affine, half: HalfOr) -> f64 {
        self.error_of(block.chunks(CHUNK), affine, half)
    }

    #[inline(always)]
    fn error_of<'a>(
        &self,
        chunks: impl Iterator<Item = &'a [f32]>,
        affine: Affine,
        half: HalfOr,
    ) -> f64 {
        let (low, high) = self.limits(affine);
        let scaling = Scaling { low, high, scale: affine.scale, inverse: 1.0 / affine.scale };
        let mut total = 0f64;
        for chunk in chunks {
            total += match half {
                HalfOr::Half => scaling.error::<true>(chunk),
                HalfOr::Single => scaling.error::<false>(chunk),
            };
        }
        total
    }

    /// The integer for an element.
    #[inline(always)]
    pub(crate) fn code(&self, affine: Affine, x: f32) -> i16 {
        let (low, high) = self.limits(affine);
        // Division, not a product with the inverse, so that ties are those of the definition.
        (round((x / affine.scale).clamp(low, high)) as i32 + affine.zero) as i16
    }

    /// What an element decodes to.
    pub(crate) fn decoded(&self, affine: Affine, x: f32, float: HalfOr) -> f32 {
        let q = i32::from(self.code(affine, x)) - affine.zero;
        float.round(f64::from(q) * f64::from(affine.scale))
    }

    /// The least and the greatest integer, less the zero point.
    #[inline(always)]
    fn limits(&self, affine: Affine) -> (f32, f32) {
        let (qmin, qmax) = self.range();
        ((qmin - affine.zero) as f32, (qmax - affine.zero) as f32)
    }

    /// The integers of at most [`CHUNK`] elements of a block, as they are stored in 8 bits, and what they are
    /// off by.
    #[inline(always)]
    pub(crate) fn store(
        &self,
        block: &[f32],
        (affine, float): (Affine, HalfOr),
        codes: &mut [u8],
        lanes: &mut Lanes,
    ) {
        let (low, high) = self.limits(affine);
        let scaling = Scaling { low, high, scale: affine.scale, inverse: 0.0 };
        match float {
            HalfOr::Half => scaling.store::<true>(block, affine.zero, codes, lanes),
            HalfOr::Single => scaling.store::<false>(block, affine.zero, codes, lanes),
        }
    }
}

/// Blocks to find scales for.
struct Fitting<'a> {
    linear: Linear,
    elements: &'a [f32],
    len: usize,
    half: HalfOr,
}

impl pulp::WithSimd for Fitting<'_> {
    type Output = Vec<Affine>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Vec<Affine> {
        let mut found = Vec::with_capacity(self.elements.len() / self.len);
        self.linear.fit_blocks((self.elements, self.len), self.half, &mut found);
        found
    }
}

/// A scale, and the integers that there are, less the zero point.
#[derive(Debug, Clone, Copy)]
struct Scaling {
    low: f32,
    high: f32,
    scale: f32,
    inverse: f32,
}

impl Scaling {
    #[inline(always)]
    fn error<const HALF: bool>(&self, chunk: &[f32]) -> f64 {
        let mut gaps = [0f32; CHUNK];
        let gaps = &mut gaps[..chunk.len()];
        for (gap, &w) in gaps.iter_mut().zip(chunk) {
            let q = round(limited(w * self.inverse, self.low, self.high));
            *gap = w - rounded::<HALF>(q * self.scale);
        }
        dot(gaps, gaps)
    }

    /// Puts the integers of at most [`CHUNK`] elements into `codes`.
    #[inline(always)]
    fn store<const HALF: bool>(
        &self,
        chunk: &[f32],
        zero: i32,
        codes: &mut [u8],
        lanes: &mut Lanes,
    ) {
        if chunk.len() <= SHORT {
            self.store_in::<HALF>(chunk, (zero, codes), &mut [0f32; SHORT], lanes);
        } else {
            self.store_in::<HALF>(chunk, (zero, codes), &mut [0f32; CHUNK], lanes);
        }
    }

    #[inline(always)]
    fn store_in<const HALF: bool>(
        &self,
        chunk: &[f32],
        (zero, codes): (i32, &mut [u8]),
        decoded: &mut [f32],
        lanes: &mut Lanes,
    ) {
        let decoded = &mut decoded[..chunk.len()];
        for (q, &w) in decoded.iter_mut().zip(chunk) {
            // Division, not a product with the inverse, so that ties are those of the definition.
            *q = limited(w / self.scale, self.low, self.high) + MAGIC;
        }
        for (code, q) in codes.iter_mut().zip(&*decoded) {
            // The lowest bits of the sum are those of the integer.
            *code = (q.to_bits() as i32 + zero) as u8;
        }
        for q in decoded.iter_mut() {
            *q = rounded::<HALF>((*q - MAGIC) * self.scale);
        }
        lanes.add(chunk, decoded);
    }
}

/// The sum of products, in an order that does not depend on the machine.
#[inline(always)]
fn dot(x: &[f32], y: &[f32]) -> f64 {
    let mut lanes = [0f32; 8];
    let (whole, rest) = x.as_chunks::<8>();
    let (other, other_rest) = y.as_chunks::<8>();
    for (a, b) in whole.iter().zip(other) {
        for k in 0..8 {
            lanes[k] += a[k] * b[k];
        }
    }
    for (a, b) in rest.iter().zip(other_rest) {
        lanes[0] += a * b;
    }
    let mut total = 0f64;
    for lane in lanes {
        total += f64::from(lane);
    }
    total
}

/// `x` within limits, which are numbers.
#[inline(always)]
fn limited(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    if x < high { x } else { high }
}

/// The best scale so far of a block with the energy `energy`.
struct Best {
    error: f64,
    affine: Affine,
    energy: f64,
}

impl Best {
    /// Takes the best scale for the integers that `start` led to, or that of `start`, if it is better.
    #[inline(always)]
    fn take(&mut self, fit: Fit, start: Affine, half: HalfOr) -> bool {
        let mut is_better = false;
        for scale in [half.positive_single(fit.scale()), start.scale] {
            let error = fit.error(self.energy, scale);
            if error < self.error {
                self.error = error;
                self.affine = Affine { scale, ..start };
                is_better = true;
            }
        }
        is_better
    }
}

/// Sums over the elements `w` of a block and their integers `q`, less the zero point.
#[derive(Debug, Clone, Copy, Default)]
struct Fit {
    wq: f64,
    qq: f64,
}

impl Fit {
    /// The sum of squares of the elements.
    #[inline(always)]
    fn energy(block: &[f32]) -> f64 {
        let mut total = 0.0;
        for chunk in block.chunks(CHUNK) {
            total += dot(chunk, chunk);
        }
        total
    }

    /// The scale with the least error.
    #[inline(always)]
    fn scale(&self) -> f32 {
        if self.qq > 0.0 { (self.wq / self.qq) as f32 } else { 0.0 }
    }

    #[inline(always)]
    fn error(&self, energy: f64, scale: f32) -> f64 {
        let scale = f64::from(scale);
        energy - scale * (2.0 * self.wq - scale * self.qq)
    }
}

/// The least and greatest element; zeros for no elements.
#[inline(always)]
fn extremes(block: &[f32]) -> (f32, f32) {
    let (mut low, mut high) = ([f32::INFINITY; 8], [f32::NEG_INFINITY; 8]);
    let (whole, rest) = block.as_chunks::<8>();
    for eight in whole {
        for k in 0..8 {
            low[k] = low[k].min(eight[k]);
            high[k] = high[k].max(eight[k]);
        }
    }
    for &w in rest {
        low[0] = low[0].min(w);
        high[0] = high[0].max(w);
    }
    let (mut least, mut most) = (low[0], high[0]);
    for k in 1..8 {
        least = least.min(low[k]);
        most = most.max(high[k]);
    }
    if least > most { (0.0, 0.0) } else { (least, most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: Linear =
        Linear { bits: 8, signed: true, symmetric: true, method: Method::AbsMax };

    fn run(linear: Linear, block: &[f32]) -> (Affine, Vec<i16>) {
        let mut codes = vec![0; block.len()];
        let affine = linear.encode(block, HalfOr::Single, &mut codes);
        (affine, codes)
    }

    fn error(linear: Linear, block: &[f32]) -> f64 {
        let (affine, codes) = run(linear, block);
        let decoded = |q: i16| (i32::from(q) - affine.zero) as f32 * affine.scale;
        block.iter().zip(codes).map(|(w, q)| f64::from(w - decoded(q)).powi(2)).sum()
    }

    #[test]
    fn ranges_are_those_of_the_definition() {
        let of = |bits, signed, symmetric| {
            Linear { bits, signed, symmetric, method: Method::AbsMax }.range()
        };
        assert_eq!((of(8, true, true), of(4, true, true)), ((-127, 127), (-7, 7)));
        assert_eq!((of(8, true, false), of(4, true, false)), ((-128, 127), (-8, 7)));
        assert_eq!((of(8, false, true), of(4, false, true)), ((0, 254), (0, 14)));
        assert_eq!((of(8, false, false), of(4, false, false)), ((0, 255), (0, 15)));
    }

    #[test]
    fn a_block_is_scaled_to_its_greatest_element() {
        let (affine, codes) = run(SIGNED, &[-2.54, 1.26, 0.008, 0.04]);
        assert!((affine.scale - 0.02).abs() < 1e-7 && affine.zero == 0);
        assert_eq!(codes, [-127, 63, 0, 2]);
        let unsigned = Linear { bits: 4, signed: false, symmetric: false, ..SIGNED };
        let (affine, codes) = run(unsigned, &[-1.0, 2.0, 0.0]);
        assert_eq!((affine.scale, affine.zero), (0.2, 5));
        assert_eq!(codes, [0, 15, 5]);
    }

    #[test]
    fn zeros_and_tiny_elements_have_a_scale() {
        let (affine, codes) = run(SIGNED, &[0.0; 4]);
        assert_eq!((affine.scale, codes), (1.0, vec![0; 4]));
        let mut codes = [0; 2];
        let affine = SIGNED.encode(&[1e-12, -1e-12], HalfOr::Half, &mut codes);
        assert!(affine.scale > 0.0);
        assert_eq!(run(SIGNED, &[]).1, [0i16; 0]);
    }

    #[test]
    fn better_methods_have_less_error() {
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((seed >> 33) as f32 / (1u64 << 31) as f32 - 0.5).powi(3)
        };
        let block: Vec<f32> = (0..64).map(|_| next()).collect();
        for (signed, symmetric) in [(true, true), (true, false), (false, true), (false, false)] {
            let of = |method| error(Linear { bits: 4, signed, symmetric, method }, &block);
            let (whole, clipped, refined) =
                (of(Method::AbsMax), of(Method::Mse), of(Method::Refine));
            assert!(clipped <= whole * (1.0 + 1e-6), "{clipped} {whole}");
            assert!(refined <= clipped * (1.0 + 1e-6) && refined < whole, "{refined} {clipped}");
        }
    }
}
