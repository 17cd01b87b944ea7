//! How far two results are apart.

use mlc_eval::Array;
use serde::Serialize;

/// How far one output is from its reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Distance {
    /// Greatest absolute difference.
    pub max_abs: f64,
    /// Greatest absolute difference over the greatest absolute reference.
    pub relative: f64,
    /// Signal-to-noise ratio in dB: `10·log10(Σ ref² / Σ (ref − got)²)`; infinite when equal.
    pub snr_db: f64,
    /// Elements that are NaN or infinite on one side and not the same on the other.
    pub non_finite: usize,
    /// Elements that differ at all.
    pub differing: usize,
    /// Elements.
    pub count: usize,
    /// Whether the reference holds integers or truth values.
    pub exact: bool,
}

impl Distance {
    /// The distance of equal results.
    #[must_use]
    pub fn zero() -> Self {
        Self {
            max_abs: 0.0,
            relative: 0.0,
            snr_db: f64::INFINITY,
            non_finite: 0,
            differing: 0,
            count: 0,
            exact: false,
        }
    }

    /// The worse of two, figure by figure.
    #[must_use]
    pub fn worse(&self, other: &Self) -> Self {
        Self {
            max_abs: self.max_abs.max(other.max_abs),
            relative: self.relative.max(other.relative),
            snr_db: self.snr_db.min(other.snr_db),
            non_finite: self.non_finite + other.non_finite,
            differing: self.differing + other.differing,
            count: self.count + other.count,
            exact: self.exact && other.exact,
        }
    }
}

/// The distance of `got` from `reference`; `None` where their shapes differ. Rank 0 and shape `[1]`
/// are the same.
#[must_use]
pub fn distance(reference: &Array, got: &Array) -> Option<Distance> {
    let scalar = |shape: &[usize]| shape.iter().all(|&d| d == 1) && shape.len() <= 1;
    if reference.shape() != got.shape() && !(scalar(reference.shape()) && scalar(got.shape())) {
        return None;
    }
    let (a, b) = (reference.to_f64s().ok()?, got.to_f64s().ok()?);
    let mut distance =
        Distance { count: a.len(), exact: !reference.dtype().is_float(), ..Distance::zero() };
    let (mut scale, mut signal, mut noise) = (0f64, 0f64, 0f64);
    for (&x, &y) in a.iter().zip(&b) {
        let same = x == y || (x.is_nan() && y.is_nan());
        if !same {
            distance.differing += 1;
        }
        if !x.is_finite() || !y.is_finite() {
            if !same {
                distance.non_finite += 1;
            }
            continue;
        }
        let gap = (x - y).abs();
        distance.max_abs = distance.max_abs.max(gap);
        scale = scale.max(x.abs());
        signal += x * x;
        noise += gap * gap;
    }
    if distance.max_abs > 0.0 {
        distance.relative = if scale > 0.0 { distance.max_abs / scale } else { f64::INFINITY };
        distance.snr_db = 10.0 * (signal / noise).log10();
    }
    Some(distance)
}

/// When two results agree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerance {
    /// Relative error of each output at most this.
    Relative(f64),
    /// Signal-to-noise ratio of each output at least this, in dB.
    SnrDb(f64),
}

impl Tolerance {
    /// Whether an output at this distance agrees. Integers must be equal under a relative
    /// tolerance; under one in dB up to one in twenty may differ, as a near tie of an argmax does.
    #[must_use]
    pub fn accepts(self, distance: &Distance) -> bool {
        if distance.non_finite > 0 {
            return false;
        }
        match self {
            Self::Relative(limit) if distance.exact => distance.differing == 0 || limit >= 1.0,
            Self::Relative(limit) => distance.relative <= limit || distance.max_abs <= 1e-12,
            Self::SnrDb(_) if distance.exact => distance.differing * 20 <= distance.count,
            Self::SnrDb(limit) => distance.snr_db >= limit || distance.max_abs <= 1e-6,
        }
    }
}

impl std::fmt::Display for Tolerance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Relative(limit) => write!(f, "rtol={limit:e}"),
            Self::SnrDb(limit) => write!(f, "snr={limit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::*;

    fn array(values: &[f32]) -> Array {
        Array::from_f32s(DType::F32, &[values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn non_finite_values_must_match() {
        let reference = array(&[1.0, f32::NAN, f32::INFINITY]);
        let same = distance(&reference, &reference).unwrap();
        assert_eq!((same.non_finite, same.max_abs), (0, 0.0));
        let other = distance(&reference, &array(&[1.0, 0.0, f32::INFINITY])).unwrap();
        assert_eq!(other.non_finite, 1);
        assert!(!Tolerance::SnrDb(10.0).accepts(&other));
    }

    #[test]
    fn noise_is_measured_against_the_signal() {
        let d = distance(&array(&[10.0, -10.0]), &array(&[10.1, -10.0])).unwrap();
        assert!((d.relative - 0.01).abs() < 1e-3 && (d.snr_db - 43.0).abs() < 0.1, "{d:?}");
        assert!(distance(&array(&[1.0]), &array(&[1.0, 2.0])).is_none());
    }
}
