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
        let (mut signal, mut other, mut noise, mut dot, mut most) = (0f64, 0f64, 0f64, 0f64, 0f32);
        for (a, b) in reference.chunks(4096).zip(got.chunks(4096)) {
            let mut lanes = [[0f32; 4]; 8];
            for (i, (&x, &y)) in a.iter().zip(b).enumerate() {
                let gap = x - y;
                let lane = &mut lanes[i & 7];
                lane[0] += x * x;
                lane[1] += y * y;
                lane[2] += gap * gap;
                lane[3] += x * y;
                most = most.max(gap.abs());
            }
            for lane in lanes {
                signal += f64::from(lane[0]);
                other += f64::from(lane[1]);
                noise += f64::from(lane[2]);
                dot += f64::from(lane[3]);
            }
        }
        let norms = (signal * other).sqrt();
        Self {
            mse: noise / reference.len().max(1) as f64,
            snr_db: if noise > 0.0 { 10.0 * (signal / noise).log10() } else { f64::INFINITY },
            cosine: if norms > 0.0 { dot / norms } else { f64::from(u8::from(signal == other)) },
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
