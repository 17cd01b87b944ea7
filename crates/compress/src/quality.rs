//! How far a compressed weight is from the one it stands for.

use serde::Serialize;

/// Distances between two tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quality {
    /// Mean squared error.
    pub mse: f64,
    /// Signal-to-noise ratio in dB; infinite where nothing differs.
    pub snr_db: f64,
    /// Cosine of the angle between the two; 1 where both are zero.
    pub cosine: f64,
    /// Greatest absolute error.
    pub max_error: f64,
}

impl Quality {
    /// The distances of `got` from `reference`, which have as many elements.
    #[must_use]
    pub fn of(reference: &[f32], got: &[f32]) -> Self {
        pulp::Arch::new().dispatch(Pair { reference, got }).quality(reference.len())
    }
}

/// Two tensors to compare.
struct Pair<'a> {
    reference: &'a [f32],
    got: &'a [f32],
}

impl pulp::WithSimd for Pair<'_> {
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Sums {
        let mut sums = Sums::default();
        for (a, b) in self.reference.chunks(4096).zip(self.got.chunks(4096)) {
            let mut lanes = Lanes::default();
            lanes.add(a, b);
            sums.add(&lanes);
        }
        sums
    }
}

/// Sums over elements and what they decode to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sums {
    /// Squares of the elements.
    pub(crate) signal: f64,
    /// Squares of what they decode to.
    pub(crate) other: f64,
    /// Squares of differences.
    pub(crate) noise: f64,
    /// The greatest difference.
    pub(crate) most: f32,
}

/// Numbers that are added up side by side.
const LANES: usize = 8;

/// [`Sums`] of a few thousand elements.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lanes {
    signal: [f32; LANES],
    other: [f32; LANES],
    noise: [f32; LANES],
    most: [f32; LANES],
}

impl Lanes {
    #[inline(always)]
    pub(crate) fn add(&mut self, reference: &[f32], got: &[f32]) {
        let (a, a_rest) = reference.as_chunks::<LANES>();
        let (b, b_rest) = got.as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b) {
            self.add_one(a, b);
        }
        for (&x, &y) in a_rest.iter().zip(b_rest) {
            let (mut one, mut other) = ([0.0; LANES], [0.0; LANES]);
            (one[0], other[0]) = (x, y);
            self.add_one(&one, &other);
        }
    }

    #[inline(always)]
    pub(crate) fn add_one(&mut self, reference: &[f32; LANES], got: &[f32; LANES]) {
        for k in 0..LANES {
            let (x, y) = (reference[k], got[k]);
            let gap = x - y;
            self.signal[k] += x * x;
            self.other[k] += y * y;
            self.noise[k] += gap * gap;
            self.most[k] = if gap.abs() > self.most[k] { gap.abs() } else { self.most[k] };
        }
    }
}

impl Sums {
    #[inline(always)]
    pub(crate) fn add(&mut self, lanes: &Lanes) {
        for k in 0..LANES {
            self.signal += f64::from(lanes.signal[k]);
            self.other += f64::from(lanes.other[k]);
            self.noise += f64::from(lanes.noise[k]);
            self.most = self.most.max(lanes.most[k]);
        }
    }

    /// Adds `count` elements `x` that decode to `y`.
    pub(crate) fn add_counted(&mut self, count: f64, x: f32, y: f32) {
        let (x, y) = (f64::from(x), f64::from(y));
        self.signal += count * x * x;
        self.other += count * y * y;
        self.noise += count * (x - y) * (x - y);
        self.most = self.most.max((x - y).abs() as f32);
    }

    pub(crate) fn join(&mut self, other: &Self) {
        self.signal += other.signal;
        self.other += other.other;
        self.noise += other.noise;
        self.most = self.most.max(other.most);
    }

    /// The distances over `count` elements.
    pub(crate) fn quality(&self, count: usize) -> Quality {
        let Self { signal, other, noise, most } = *self;
        let norms = (signal * other).sqrt();
        // The product of both is half of what the squares have in common.
        let dot = (signal + other - noise) / 2.0;
        Quality {
            mse: noise / count.max(1) as f64,
            snr_db: if noise > 0.0 { 10.0 * (signal / noise).log10() } else { f64::INFINITY },
            cosine: if norms > 0.0 {
                (dot / norms).clamp(-1.0, 1.0)
            } else {
                f64::from(u8::from(signal == other))
            },
            max_error: f64::from(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quality;

    #[test]
    fn distances_are_those_of_their_definitions() {
        let q = Quality::of(&[3.0, 4.0], &[3.0, 3.0]);
        assert!((q.mse - 0.5).abs() < 1e-9 && (q.max_error - 1.0).abs() < 1e-9);
        assert!((q.snr_db - 13.979).abs() < 1e-3);
        assert!((q.cosine - 21.0 / (5.0 * 18f64.sqrt())).abs() < 1e-6);
        let same = Quality::of(&[0.0; 3], &[0.0; 3]);
        assert_eq!((same.mse, same.snr_db, same.cosine), (0.0, f64::INFINITY, 1.0));
    }
}
