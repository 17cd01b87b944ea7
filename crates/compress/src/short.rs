//! Scales of short blocks, many of them side by side.
//!
//! In a block of 32 elements sums over elements take longer than what is added up. Here each lane has a block
//! of its own, so that all sums are side by side and none is taken across lanes.

use crate::float::HalfOr;
use crate::linear::{Affine, Linear, Method};

/// Blocks that are worked on together.
const LANES: usize = 16;
/// Most elements of a short block.
const LONGEST: usize = 64;
/// Parts of the range that are tried, the whole one first.
const RATIOS: [f32; 6] = [1.0, 0.95, 0.9, 0.84, 0.78, 0.7];
/// By how much of its energy the error of a block has to be less to count as less.
const CLEAR: f32 = 2e-6;

type Lane = [f32; LANES];

/// Whether blocks of `len` elements are worked on side by side.
pub(crate) fn is_short(linear: &Linear, len: usize) -> bool {
    linear.bits == 4 && linear.symmetric && linear.method == Method::Mse && len <= LONGEST
}

/// Appends the scale of each block of `len` elements, as [`Linear::fit`] would choose it from fewer parts of
/// the range.
#[inline(always)]
pub(crate) fn fit(
    linear: &Linear,
    (elements, len): (&[f32], usize),
    half: HalfOr,
    found: &mut Vec<Affine>,
) {
    let (qmin, qmax) = linear.range();
    let zero = linear.zero();
    let (low, high) = ((qmin - zero) as f32, (qmax - zero) as f32);
    let mut rows = [[0f32; LANES]; LONGEST];
    for blocks in elements.chunks(len * LANES) {
        let count = blocks.len() / len;
        let rows = &mut rows[..len];
        if count < LANES {
            rows.fill([0.0; LANES]);
        }
        for (lane, block) in blocks.chunks_exact(len).enumerate() {
            for (row, &x) in rows.iter_mut().zip(block) {
                row[lane] = x;
            }
        }
        let scales = match half {
            HalfOr::Half => scales::<true>(rows, (low, high)),
            HalfOr::Single => scales::<false>(rows, (low, high)),
        };
        found.extend(scales[..count].iter().map(|&scale| Affine { scale, zero }));
    }
}

#[inline(always)]
fn scales<const HALF: bool>(rows: &[Lane], (low, high): (f32, f32)) -> Lane {
    let half = if HALF { HalfOr::Half } else { HalfOr::Single };
    let (mut most, mut energy) = ([0f32; LANES], [0f32; LANES]);
    for row in rows {
        for k in 0..LANES {
            let x = row[k].abs();
            most[k] = if x > most[k] { x } else { most[k] };
            energy[k] += row[k] * row[k];
        }
    }
    let steps = (high - low) / 2.0;
    let mut best = [1f32; LANES];
    let mut least = [f32::INFINITY; LANES];
    let mut worse = 0;
    for ratio in RATIOS {
        let (mut start, mut inverse) = ([0f32; LANES], [0f32; LANES]);
        for k in 0..LANES {
            start[k] = half.positive_single(most[k] * ratio / steps);
            inverse[k] = 1.0 / start[k];
        }
        let (wq, qq) = products(rows, &inverse, (low, high));
        let mut is_better = false;
        for k in 0..LANES {
            let fitted = half.positive_single(wq[k] / qq[k].max(1.0));
            for scale in [start[k], fitted] {
                let error = energy[k] - scale * (2.0 * wq[k] - scale * qq[k]);
                let is_less = error < least[k] - CLEAR * energy[k];
                least[k] = if is_less { error } else { least[k] };
                best[k] = if is_less { scale } else { best[k] };
                is_better |= is_less;
            }
        }
        worse = if is_better { 0 } else { worse + 1 };
        if worse > 1 {
            break;
        }
    }
    for k in 0..LANES {
        best[k] = if most[k] > 0.0 { best[k] } else { 1.0 };
    }
    best
}

/// Sums of the products of elements and integers, and of the squares of integers.
#[inline(always)]
fn products(rows: &[Lane], inverse: &Lane, (low, high): (f32, f32)) -> (Lane, Lane) {
    const MAGIC: f32 = 12_582_912.0;
    let (mut wq, mut qq) = ([0f32; LANES], [0f32; LANES]);
    for row in rows {
        for k in 0..LANES {
            let x = row[k] * inverse[k];
            let x = if x > low { x } else { low };
            let x = if x < high { x } else { high };
            let q = (x + MAGIC) - MAGIC;
            wq[k] += row[k] * q;
            qq[k] += q * q;
        }
    }
    (wq, qq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_blocks_have_no_more_error_than_the_whole_range_leaves() {
        let mut seed = 3u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((seed >> 33) as f32 / (1u64 << 31) as f32 - 0.5).powi(3)
        };
        let elements: Vec<f32> = (0..32 * 21).map(|_| HalfOr::Half.round(next().into())).collect();
        for signed in [true, false] {
            let linear = Linear { bits: 4, signed, symmetric: true, method: Method::Mse };
            let whole = Linear { method: Method::AbsMax, ..linear };
            let mut found = Vec::new();
            fit(&linear, (&elements, 32), HalfOr::Half, &mut found);
            assert_eq!(found.len(), 21);
            let error = |block: &[f32], affine: Affine| -> f64 {
                let decoded = |&x| linear.decoded(affine, x, HalfOr::Half);
                block.iter().map(|x| f64::from(x - decoded(x)).powi(2)).sum()
            };
            let (mut total, mut before) = (0.0, 0.0);
            for (block, &affine) in elements.chunks(32).zip(&found) {
                let other = whole.fit(block, HalfOr::Half);
                assert!(error(block, affine) <= error(block, other) * (1.0 + 1e-4));
                total += error(block, affine);
                before += error(block, other);
            }
            assert!(total < 0.95 * before, "{total} {before}");
        }
    }

    #[test]
    fn what_is_exact_stays_exact() {
        let linear = Linear { bits: 4, signed: true, symmetric: true, method: Method::Mse };
        let block: Vec<f32> = (0..32).map(|i| (i % 15 - 7) as f32 * 0.125).collect();
        let mut found = Vec::new();
        fit(&linear, (&block, 32), HalfOr::Half, &mut found);
        assert_eq!(found, [Affine { scale: 0.125, zero: 0 }]);
        found.clear();
        fit(&linear, (&[0.0; 64], 32), HalfOr::Half, &mut found);
        assert_eq!(found, [Affine { scale: 1.0, zero: 0 }; 2]);
    }
}
