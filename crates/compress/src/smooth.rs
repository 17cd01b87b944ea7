//! Scales that move from what reaches weights into the weights.
//!
//! With `x/s` in place of `x` and `W·s` in place of `W` products stay the same, while columns that much
//! reaches are quantized more finely (activation-aware weights), or large channels of `x` no longer
//! widen the range of all (smoothed activations).

use crate::encode::{Weight, encode};
use crate::feedback::Layout;
use crate::moments::Moments;
use crate::scheme::Scheme;

/// A weight that the same value reaches.
#[derive(Debug, Clone, Copy)]
pub struct Reached<'a> {
    /// The weight.
    pub weight: Weight<'a>,
    /// What reaches it.
    pub moments: &'a Moments,
}

impl Reached<'_> {
    /// Columns of the weight for each channel of what reaches it.
    fn columns_of(&self, channels: usize) -> Option<usize> {
        let columns = self.moments.columns();
        let fits = channels > 0 && columns.is_multiple_of(channels) && self.moments.groups() == 1;
        let layout = Layout::of(self.weight.shape, self.weight.output)?;
        (fits && layout.columns == columns).then_some(columns / channels)
    }

    /// The squared error of products once channels are multiplied by factors and weights encoded; with
    /// `activations` also that of rounding what reaches them to 8 bits.
    fn noise(&self, factors: &[f32], scheme: &Scheme, activations: bool) -> Option<f64> {
        let run = self.columns_of(factors.len())?;
        let layout = Layout::of(self.weight.shape, self.weight.output)?;
        let elements = scaled(self.weight, factors)?;
        let weight = Weight { elements: &elements, moments: None, ..self.weight };
        let (encoded, _) = encode(weight, scheme).ok()?;
        let mut errors = encoded.decode();
        errors.iter_mut().zip(&elements).for_each(|(y, x)| *y -= x);
        let inverse: Vec<f32> = (0..layout.columns).map(|c| 1.0 / factors[c / run]).collect();
        let moments = self.moments.scaled(&inverse);
        let mut noise = moments.noise(&layout.rows_of(&errors));
        if activations {
            let peak = moments.peaks().iter().fold(0f32, |most, &p| most.max(p));
            let step = f64::from(peak) / 127.0;
            let energy: f64 = elements.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            noise += moments.count() * step * step / 12.0 * energy;
        }
        Some(noise)
    }
}

/// The elements of a weight with the columns of each channel of what reaches it multiplied by its
/// factor, rounded to the type; `None` where there are not as many channels.
#[must_use]
pub fn scaled(weight: Weight<'_>, factors: &[f32]) -> Option<Vec<f32>> {
    let layout = Layout::of(weight.shape, weight.output)?;
    if factors.is_empty() || !layout.columns.is_multiple_of(factors.len()) {
        return None;
    }
    let run = layout.columns / factors.len();
    let mut elements = weight.elements.to_vec();
    for row in 0..layout.rows {
        for column in 0..layout.columns {
            let x = &mut elements[layout.at(row, column)];
            *x = weight.float.round(f64::from(*x) * f64::from(factors[column / run]));
        }
    }
    Some(elements)
}

/// The factors of `channels` channels with the least error of all `reached` weights under `scheme`;
/// `None` where leaving them is about as good.
#[must_use]
pub fn smooth(
    reached: &[Reached<'_>],
    channels: usize,
    scheme: &Scheme,
    activations: bool,
) -> Option<Vec<f32>> {
    let total = |factors: &[f32]| -> Option<f64> {
        reached.iter().map(|one| one.noise(factors, scheme, activations)).sum()
    };
    let first = reached.first()?;
    let run = first.columns_of(channels)?;
    let plain = total(&vec![1.0; channels])?;
    let squares = first.moments.squares(0);
    let mean = |c: usize| squares[c * run..(c + 1) * run].iter().sum::<f64>().sqrt();
    let peak = |c: usize| {
        first.moments.peaks()[c * run..(c + 1) * run].iter().fold(0f32, |most, &p| most.max(p))
    };
    let mut weights = vec![0f32; channels];
    for one in reached {
        let layout = Layout::of(one.weight.shape, one.weight.output)?;
        let run = one.columns_of(channels)?;
        for row in 0..layout.rows {
            for column in 0..layout.columns {
                let x = one.weight.elements[layout.at(row, column)].abs();
                weights[column / run] = weights[column / run].max(x);
            }
        }
    }
    let reach: Vec<f64> =
        (0..channels).map(|c| if activations { f64::from(peak(c)) } else { mean(c) }).collect();
    let mut best = (plain * 0.98, None);
    for share in [0.25, 0.5, 0.75, 1.0] {
        for against in [0.0, 1.0 - share] {
            let raw = |c: usize| reach[c].powf(share) / f64::from(weights[c]).powf(against);
            let factors = normalized((0..channels).map(raw).collect());
            if let Some(noise) = total(&factors).filter(|noise| *noise < best.0) {
                best = (noise, Some(factors));
            }
        }
    }
    best.1
}

/// Factors about 1; those that are no number, as of channels that nothing reaches, are 1.
fn normalized(raw: Vec<f64>) -> Vec<f32> {
    let good = |x: &f64| x.is_finite() && *x > 0.0;
    let logs: Vec<f64> = raw.iter().copied().filter(good).map(f64::ln).collect();
    let middle = (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp();
    let factor = |x: f64| if good(&x) { (x / middle).clamp(1.0 / 64.0, 64.0) as f32 } else { 1.0 };
    raw.into_iter().map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::float::HalfOr;

    #[test]
    fn channels_that_much_reaches_are_quantized_finely() {
        let channels = 16;
        let elements: Vec<f32> =
            (0..8 * channels).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let mut moments = Moments::new(channels, 1);
        for sample in 0..64 {
            let x: Vec<f32> = (0..channels)
                .map(|c| ((sample * 31 + c * 17) % 23) as f32 - 11.0)
                .enumerate()
                .map(|(c, x)| if c == 3 { x * 50.0 } else { x })
                .collect();
            moments.add(0, &x);
        }
        moments.finish();
        let shape = [8, channels];
        let weight = Weight {
            elements: &elements,
            shape: &shape,
            float: HalfOr::Single,
            output: 0,
            input: 1,
            moments: None,
        };
        let reached = [Reached { weight, moments: &moments }];
        let scheme: Scheme = "w4".parse().unwrap();
        let factors = smooth(&reached, channels, &scheme, false).unwrap();
        let most = factors.iter().fold(0f32, |most, &f| most.max(f));
        assert_eq!(factors[3], most);
        let noise = |factors: &[f32]| reached[0].noise(factors, &scheme, true).unwrap();
        let both = smooth(&reached, channels, &scheme, true).unwrap();
        assert!(noise(&both) < 0.5 * noise(&vec![1.0; channels]));
    }
}
