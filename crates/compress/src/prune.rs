//! Which elements become zero.

use serde::{Deserialize, Serialize};

/// How elements to keep are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prune {
    /// Those above a magnitude.
    Threshold(f64),
    /// All but a fraction of the smallest.
    Sparsity(f64),
    /// Runs of elements along an axis: all but a fraction of those with the smallest norm.
    Block {
        /// Fraction that goes.
        sparsity: f64,
        /// Elements of a run.
        size: usize,
        /// The axis.
        axis: usize,
    },
    /// Of each `m` elements in a row along an axis the `n` smallest go.
    NofM {
        /// How many go.
        n: usize,
        /// Of how many.
        m: usize,
        /// The axis.
        axis: usize,
    },
    /// Whole slices along an axis: all but a fraction of those with the smallest norm.
    Channel {
        /// Fraction that goes.
        sparsity: f64,
        /// The axis.
        axis: usize,
    },
}

/// The magnitude below and at which the fraction `t` of `magnitudes` lies, between neighbours in
/// proportion.
fn percentile(mut magnitudes: Vec<f32>, t: f64) -> f32 {
    if magnitudes.is_empty() {
        return 0.0;
    }
    let place = t.clamp(0.0, 1.0) * (magnitudes.len() - 1) as f64;
    let below = place.floor() as usize;
    let (_, &mut low, above) = magnitudes.select_nth_unstable_by(below, f32::total_cmp);
    let high = above.iter().copied().fold(f32::INFINITY, f32::min);
    let part = place - place.floor();
    if part > 0.0 && high.is_finite() {
        (f64::from(low) + part * (f64::from(high) - f64::from(low))) as f32
    } else {
        low
    }
}

impl Prune {
    /// Which elements of a row-major tensor stay. Elements that are zero do not.
    #[must_use]
    pub fn keep(&self, shape: &[usize], elements: &[f32]) -> Vec<bool> {
        match *self {
            Self::Threshold(limit) => elements.iter().map(|x| x.abs() > limit as f32).collect(),
            Self::Sparsity(t) => {
                if t <= 0.0 {
                    return elements.iter().map(|&x| x != 0.0).collect();
                }
                let limit = percentile(elements.iter().map(|x| x.abs()).collect(), t);
                elements.iter().map(|x| x.abs() > limit).collect()
            }
            Self::Block { sparsity, size, axis } => {
                by_norm(shape, elements, (axis, size, sparsity))
            }
            Self::Channel { sparsity, axis } => {
                let inner: usize = shape.iter().skip(axis + 1).product();
                let extent = shape.get(axis).copied().unwrap_or(1);
                let mut norms = vec![0f64; extent];
                for (i, run) in elements.chunks(inner.max(1)).enumerate() {
                    norms[i % extent.max(1)] +=
                        run.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
                }
                let keep = above(norms.iter().map(|n| n.sqrt() as f32).collect(), sparsity);
                let at = |i: usize| keep[(i / inner.max(1)) % extent.max(1)];
                elements.iter().enumerate().map(|(i, &x)| at(i) && x != 0.0).collect()
            }
            Self::NofM { n, m, axis } => n_of_m(shape, elements, (n, m, axis)),
        }
    }
}

/// Which of these norms lie above the fraction that goes.
fn above(norms: Vec<f32>, sparsity: f64) -> Vec<bool> {
    if sparsity <= 0.0 {
        return vec![true; norms.len()];
    }
    let limit = percentile(norms.clone(), sparsity);
    norms.into_iter().map(|norm| norm > limit).collect()
}

/// Places of the runs of `size` along `axis`: for each the first element, the step, and the length,
/// which is shorter at a ragged end.
fn runs(shape: &[usize], axis: usize, size: usize) -> Vec<(usize, usize, usize)> {
    let inner: usize = shape.iter().skip(axis + 1).product();
    let extent = shape.get(axis).copied().unwrap_or(1);
    let outer: usize = shape.iter().take(axis).product();
    let mut found = Vec::new();
    for o in 0..outer {
        for start in (0..extent).step_by(size.max(1)) {
            for i in 0..inner {
                found.push(((o * extent + start) * inner + i, inner, size.min(extent - start)));
            }
        }
    }
    found
}

fn by_norm(
    shape: &[usize],
    elements: &[f32],
    (axis, size, sparsity): (usize, usize, f64),
) -> Vec<bool> {
    let runs = runs(shape, axis, size);
    let norm = |&(first, step, len): &(usize, usize, usize)| {
        let squares = (0..len).map(|k| f64::from(elements[first + k * step]).powi(2));
        squares.sum::<f64>().sqrt() as f32
    };
    let keep = above(runs.iter().map(norm).collect(), sparsity);
    let mut kept = vec![false; elements.len()];
    for ((first, step, len), keep) in runs.into_iter().zip(keep) {
        for k in 0..len {
            let at = first + k * step;
            kept[at] = keep && elements[at] != 0.0;
        }
    }
    kept
}

fn n_of_m(shape: &[usize], elements: &[f32], (n, m, axis): (usize, usize, usize)) -> Vec<bool> {
    let mut kept: Vec<bool> = elements.iter().map(|&x| x != 0.0).collect();
    for (first, step, len) in runs(shape, axis, m) {
        let mut order: Vec<usize> = (0..len).map(|k| first + k * step).collect();
        order.sort_by(|&a, &b| elements[a].abs().total_cmp(&elements[b].abs()));
        // Beyond a ragged end stand zeros, which go first.
        let padding = m - len;
        for &at in order.iter().take(n.saturating_sub(padding)) {
            kept[at] = false;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(prune: Prune, shape: &[usize], elements: &[f32]) -> Vec<u8> {
        prune.keep(shape, elements).into_iter().map(u8::from).collect()
    }

    #[test]
    fn elements_go_by_magnitude() {
        let x = [0.1, -0.4, 0.2, 0.3, 0.0];
        assert_eq!(kept(Prune::Threshold(0.2), &[5], &x), [0, 1, 0, 1, 0]);
        assert_eq!(kept(Prune::Sparsity(0.5), &[5], &x), [0, 1, 0, 1, 0]);
        assert_eq!(kept(Prune::Sparsity(1.0), &[5], &x), [0; 5]);
        assert_eq!(kept(Prune::Sparsity(0.0), &[5], &x), [1, 1, 1, 1, 0]);
    }

    #[test]
    fn runs_go_along_an_axis() {
        let x = [1.0, 2.0, 3.0, 4.0, 0.5, 5.0, 6.0, 0.1];
        let half = Prune::NofM { n: 1, m: 2, axis: 1 };
        assert_eq!(kept(half, &[2, 4], &x), [0, 1, 0, 1, 0, 1, 1, 0]);
        let down = Prune::NofM { n: 1, m: 2, axis: 0 };
        assert_eq!(kept(down, &[2, 4], &x), [1, 0, 0, 1, 0, 1, 1, 0]);
        // The fourth place of a run of three is a zero that goes.
        let ragged = Prune::NofM { n: 2, m: 4, axis: 0 };
        assert_eq!(kept(ragged, &[3], &[3.0, 1.0, 2.0]), [1, 0, 1]);
        let block = Prune::Block { sparsity: 0.5, size: 2, axis: 1 };
        assert_eq!(kept(block, &[2, 4], &x), [0, 0, 0, 0, 1, 1, 1, 1]);
        let channel = Prune::Channel { sparsity: 0.5, axis: 1 };
        assert_eq!(kept(channel, &[2, 4], &x), [0, 1, 1, 0, 0, 1, 1, 0]);
    }
}
