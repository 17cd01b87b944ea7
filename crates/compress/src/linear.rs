//! Linear quantization: `ŵ = (q − z)·s` with integers `q` of 4 or 8 bits.

use serde::{Deserialize, Serialize};

use crate::float::HalfOr;

/// How scales are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The whole range of a block is representable.
    #[serde(rename = "absmax")]
    AbsMax,
    /// The clipping of the range with the least squared error.
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

/// Adding and taking away this rounds a float below 2²² to the nearest integer, ties to even.
const MAGIC: f32 = 12_582_912.0;

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
    fn middle(&self) -> i32 {
        if self.signed { 0 } else { self.range().1 / 2 }
    }

    /// Quantizes a block into `codes` and gives its scale, which is of type `half`.
    pub fn encode(&self, block: &[f32], half: HalfOr, codes: &mut [i16]) -> Affine {
        let (low, high) = extremes(block);
        let mut best = self.fitted(low, high, half);
        if low == 0.0 && high == 0.0 {
            best.scale = 1.0;
        } else if self.method != Method::AbsMax {
            best = self.clipped(block, (low, high), half, best);
        }
        if self.method == Method::Refine && best.scale > 0.0 {
            best = self.refined(block, half, best);
        }
        self.round_all(block, best, codes);
        best
    }

    /// Scale and zero point that cover a range.
    fn fitted(&self, low: f32, high: f32, half: HalfOr) -> Affine {
        let (qmin, qmax) = self.range();
        let steps = f64::from(qmax - qmin);
        let (low, high) = (f64::from(low), f64::from(high));
        if self.symmetric {
            let scale = half.positive(2.0 * low.abs().max(high.abs()) / steps);
            return Affine { scale, zero: self.middle() };
        }
        let (low, high) = (low.min(0.0), high.max(0.0));
        let width = high - low;
        if width <= 0.0 {
            return Affine { scale: 1.0, zero: qmin };
        }
        let zero = (f64::from(qmin) * high - f64::from(qmax) * low) / width;
        let zero = zero.round_ties_even().clamp(f64::from(qmin), f64::from(qmax));
        Affine { scale: half.positive(width / steps), zero: zero as i32 }
    }

    /// The best of the range cut at both ends in steps.
    fn clipped(
        &self,
        block: &[f32],
        (low, high): (f32, f32),
        half: HalfOr,
        whole: Affine,
    ) -> Affine {
        let ratios: &[f32] = match self.bits {
            8 => &[0.998, 0.995, 0.99, 0.98, 0.96, 0.92],
            _ => {
                &[0.98, 0.96, 0.94, 0.92, 0.9, 0.88, 0.85, 0.82, 0.79, 0.76, 0.72, 0.68, 0.64, 0.6]
            }
        };
        let mut best = (self.error(block, whole), whole);
        let mut worse = 0;
        for ratio in ratios {
            let candidate = self.fitted(low * ratio, high * ratio, half);
            let error = self.error(block, candidate);
            if error < best.0 {
                best = (error, candidate);
                worse = 0;
            } else {
                worse += 1;
                // The error has one valley but for small bumps.
                if worse > 3 {
                    break;
                }
            }
        }
        best.1
    }

    /// Scale and zero point fitted to the codes that they give, while that helps.
    fn refined(&self, block: &[f32], half: HalfOr, start: Affine) -> Affine {
        let mut best = (self.error(block, start), start);
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
            let mut candidates = vec![Affine { scale: half.positive(wq / qq), zero }];
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
                let error = self.error(block, candidate);
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

    /// The squared error of a block.
    fn error(&self, block: &[f32], affine: Affine) -> f64 {
        let (qmin, qmax) = self.range();
        let (low, high) = ((qmin - affine.zero) as f32, (qmax - affine.zero) as f32);
        let (scale, inverse) = (affine.scale, 1.0 / affine.scale);
        let mut total = 0f64;
        for chunk in block.chunks(1024) {
            let mut lanes = [0f32; 8];
            let (whole, rest) = chunk.as_chunks::<8>();
            for eight in whole {
                for (lane, &w) in lanes.iter_mut().zip(eight) {
                    let gap = w - round((w * inverse).clamp(low, high)) * scale;
                    *lane += gap * gap;
                }
            }
            for &w in rest {
                let gap = w - round((w * inverse).clamp(low, high)) * scale;
                lanes[0] += gap * gap;
            }
            total += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        }
        total
    }

    /// The integer for an element.
    pub(crate) fn code(&self, affine: Affine, x: f32) -> i16 {
        let (qmin, qmax) = self.range();
        let (low, high) = ((qmin - affine.zero) as f32, (qmax - affine.zero) as f32);
        (round((x / affine.scale).clamp(low, high)) as i32 + affine.zero) as i16
    }

    /// What an element decodes to.
    pub(crate) fn decoded(&self, affine: Affine, x: f32, float: HalfOr) -> f32 {
        let q = i32::from(self.code(affine, x)) - affine.zero;
        float.round(f64::from(q) * f64::from(affine.scale))
    }

    fn round_all(&self, block: &[f32], affine: Affine, codes: &mut [i16]) {
        let (qmin, qmax) = self.range();
        let (low, high) = ((qmin - affine.zero) as f32, (qmax - affine.zero) as f32);
        for (code, &w) in codes.iter_mut().zip(block) {
            // Division, not a product with the inverse, so that ties are those of the definition.
            let q = round((w / affine.scale).clamp(low, high));
            *code = (q as i32 + affine.zero) as i16;
        }
    }
}

/// The least and greatest element; zeros for no elements.
pub(crate) fn extremes(block: &[f32]) -> (f32, f32) {
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
    let (low, high) = (
        low.into_iter().fold(f32::INFINITY, f32::min),
        high.into_iter().fold(f32::NEG_INFINITY, f32::max),
    );
    if low > high { (0.0, 0.0) } else { (low, high) }
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
