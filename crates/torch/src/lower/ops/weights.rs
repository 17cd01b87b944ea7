//! How resizing ops sample an axis: which elements each element of the result comes from, and with
//! which weights. All follow torch's formulas; positions that decide on an element are computed in
//! f32, as torch computes them.

/// One axis of known extents that is resized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    /// Elements of the operand; at least 1.
    pub(super) input: i64,
    /// Elements of the result; at least 1.
    pub(super) output: i64,
    /// The scale factor that was asked for, if one was: torch then samples by it, and not by the
    /// ratio of the extents.
    pub(super) scale: Option<f64>,
}

/// How elements between others are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// From two neighbours.
    Linear,
    /// From four, by cubic convolution.
    Cubic,
}

impl Line {
    /// Distance between sampling points, by the scale factor or the extents.
    fn step(&self) -> f64 {
        match self.scale {
            Some(scale) if scale > 0.0 => 1.0 / scale,
            _ => self.input as f64 / self.output as f64,
        }
    }

    /// The step in f32: of a quotient of extents, that of two floats.
    pub(super) fn single_step(&self) -> f32 {
        match self.scale {
            Some(scale) if scale > 0.0 => (1.0 / scale) as f32,
            _ => self.input as f32 / self.output as f32,
        }
    }

    /// The element that element `i` of the result is, for `nearest`: the one at or before the
    /// sampling point `i·step`, or, where `centred`, `(i + ½)·step`.
    pub(super) fn nearest(&self, i: i64, centred: bool) -> i64 {
        if !centred && self.output == self.input {
            return i;
        }
        if !centred && self.output == 2 * self.input {
            return i / 2;
        }
        let at = if centred { i as f32 + 0.5 } else { i as f32 };
        ((at * self.single_step()).floor() as i64).min(self.input - 1)
    }

    /// Whether the scale factor, if there is one, is the ratio of the extents.
    pub(super) fn is_proportional(&self) -> bool {
        let ratio = self.output as f64 / self.input as f64;
        self.scale.is_none_or(|scale| scale <= 0.0 || (scale / ratio - 1.0).abs() < 1e-9)
    }

    /// Distance between sampling points of interpolation.
    fn interpolation_step(&self, align_corners: bool) -> f64 {
        match align_corners {
            true if self.output > 1 => (self.input - 1) as f64 / (self.output - 1) as f64,
            true => 0.0,
            false => self.step(),
        }
    }

    /// The weights of interpolation as a matrix, one row for each element of the result.
    pub(super) fn weights(&self, filter: Filter, align_corners: bool) -> Vec<f64> {
        let step = self.interpolation_step(align_corners);
        self.rows(|i, add| {
            let at = match align_corners {
                true => step * i as f64,
                false => step * (i as f64 + 0.5) - 0.5,
            };
            match filter {
                Filter::Linear if self.output == self.input => add(i, 1.0),
                Filter::Linear => {
                    let at = at.max(0.0);
                    let low = at.floor();
                    add(low as i64, 1.0 - (at - low));
                    add(low as i64 + 1, at - low);
                }
                Filter::Cubic => {
                    let low = at.floor();
                    for tap in -1..=2 {
                        let weight = cubic((at - low) - tap as f64, -0.75);
                        add(low as i64 + tap, weight);
                    }
                }
            }
        })
    }

    /// The weights of interpolation where the filter is as wide as the sampling points are apart
    /// (`antialias`).
    pub(super) fn smooth_weights(&self, filter: Filter, align_corners: bool) -> Vec<f64> {
        let step = self.interpolation_step(align_corners);
        let reach = match filter {
            Filter::Linear => 1.0,
            Filter::Cubic => 2.0,
        };
        let widening = step.max(1.0);
        let support = reach * widening;
        self.rows(|i, add| {
            let centre = step * (i as f64 + 0.5);
            let first = ((centre - support + 0.5) as i64).max(0);
            let end = ((centre + support + 0.5) as i64).min(self.input);
            let weight = |j: i64| {
                let distance = (j as f64 - centre + 0.5) / widening;
                match filter {
                    Filter::Linear => (1.0 - distance.abs()).max(0.0),
                    Filter::Cubic => cubic(distance, -0.5),
                }
            };
            let total: f64 = (first..end).map(weight).sum();
            for j in first..end {
                add(j, if total == 0.0 { 0.0 } else { weight(j) / total });
            }
        })
    }

    /// A matrix whose rows are filled by `row`, which adds weights to elements; what lies outside
    /// counts for the edge.
    fn rows(&self, row: impl Fn(i64, &mut dyn FnMut(i64, f64))) -> Vec<f64> {
        let (rows, columns) = (self.output.max(0) as usize, self.input.max(0) as usize);
        let mut all = vec![0.0; rows * columns];
        for (i, line) in all.chunks_mut(columns.max(1)).enumerate() {
            row(i as i64, &mut |j, weight| {
                let j = j.clamp(0, self.input - 1) as usize;
                if let Some(slot) = line.get_mut(j) {
                    *slot += weight;
                }
            });
        }
        all
    }
}

/// Keys' cubic convolution kernel with parameter `a`.
fn cubic(distance: f64, a: f64) -> f64 {
    let x = distance.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(input: i64, output: i64, scale: Option<f64>) -> Line {
        Line { input, output, scale }
    }

    #[test]
    fn nearest_follows_the_scale_factor() {
        let at = |line: Line, centred: bool| {
            (0..line.output).map(|i| line.nearest(i, centred)).collect::<Vec<_>>()
        };
        assert_eq!(at(line(2, 3, None), false), [0, 0, 1]);
        assert_eq!(at(line(2, 3, None), true), [0, 1, 1]);
        assert_eq!(at(line(5, 7, Some(1.5)), false), [0, 0, 1, 2, 2, 3, 4]);
        assert_eq!(at(line(3, 6, None), false), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn rows_sum_to_one() {
        let lines = [line(5, 7, None), line(7, 3, None), line(5, 7, Some(1.5)), line(1, 4, None)];
        for line in lines {
            for filter in [Filter::Linear, Filter::Cubic] {
                for align in [false, true] {
                    for weights in [line.weights(filter, align), line.smooth_weights(filter, align)]
                    {
                        for row in weights.chunks(line.input as usize) {
                            let sum: f64 = row.iter().sum();
                            assert!((sum - 1.0).abs() < 1e-12, "{line:?} {filter:?} {row:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn linear_weights() {
        let weights = line(2, 4, None).weights(Filter::Linear, false);
        assert_eq!(weights, [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
        let weights = line(2, 3, None).weights(Filter::Linear, true);
        assert_eq!(weights, [1.0, 0.0, 0.5, 0.5, 0.0, 1.0]);
    }
}
