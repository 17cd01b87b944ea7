//! Quantization whose errors are made up for: what an element is off by goes, weighed by how its input
//! goes together with those behind it, into the elements that are not quantized yet.
//!
//! For a row `w` and moments `H` of its inputs the error `eᵀHe` is least, given the first `j` rounded
//! elements, if the others move by `−e_j·U_j/U_jj`, with `U` the upper Cholesky factor of `H⁻¹`
//! (Frantar and Alistarh, "Optimal Brain Compression").

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use crate::moments::{Block, Moments};

/// A weight as rows of outputs by columns of inputs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Rows.
    pub(crate) rows: usize,
    /// Columns.
    pub(crate) columns: usize,
    /// Whether the columns come first in memory.
    pub(crate) is_transposed: bool,
}

impl Layout {
    /// That of a weight whose output axis comes first, or last of two.
    pub(crate) fn of(shape: &[usize], output: usize) -> Option<Self> {
        let count: usize = shape.iter().product();
        let rows = *shape.get(output)?;
        if rows == 0 || (output != 0 && !(output == 1 && shape.len() == 2)) {
            return None;
        }
        Some(Self { rows, columns: count / rows, is_transposed: output == 1 })
    }

    /// The place in memory of an element.
    pub(crate) fn at(&self, row: usize, column: usize) -> usize {
        if self.is_transposed { column * self.rows + row } else { row * self.columns + column }
    }

    /// The elements row after row.
    pub(crate) fn rows_of(&self, elements: &[f32]) -> Vec<f32> {
        if !self.is_transposed {
            return elements.to_vec();
        }
        let mut found = vec![0.0; elements.len()];
        for (row, line) in found.chunks_mut(self.columns.max(1)).enumerate() {
            for (column, x) in line.iter_mut().enumerate() {
                *x = elements[self.at(row, column)];
            }
        }
        found
    }
}

/// The elements, row after row, to quantize in place of those of `weight` (row after row): `decode`
/// gives what an element in a row and column comes to. `None` where the moments tell nothing.
pub(crate) fn targets(
    weight: &[f32],
    layout: Layout,
    moments: &Moments,
    decode: &(dyn Fn(usize, usize, f32) -> f32 + Sync),
) -> Option<Vec<f32>> {
    let (rows, groups) = (layout.rows, moments.groups().max(1));
    if moments.columns() != layout.columns || !rows.is_multiple_of(groups) || moments.count() <= 0.0
    {
        return None;
    }
    let per_group = rows / groups;
    let mut moved = weight.to_vec();
    for group in 0..groups {
        let lines = &mut moved[group * per_group * layout.columns..][..per_group * layout.columns];
        for block in moments.blocks(group) {
            let Some(factor) = factor(&block) else { continue };
            lines.par_chunks_mut(layout.columns).enumerate().for_each(|(line, elements)| {
                let row = group * per_group + line;
                let part = &mut elements[block.start..block.start + block.size];
                for j in 0..block.size {
                    let error = part[j] - decode(row, block.start + j, part[j]);
                    if error == 0.0 {
                        continue;
                    }
                    let line = &factor[j * block.size..][..block.size];
                    let step = error / line[j];
                    for (x, u) in part[j + 1..].iter_mut().zip(&line[j + 1..]) {
                        *x -= step * u;
                    }
                }
            });
        }
    }
    Some(moved)
}

/// The upper Cholesky factor of the inverse of the moments, which get a share of their mean added to
/// the diagonal; `None` if they are all zero.
fn factor(block: &Block<'_>) -> Option<Vec<f32>> {
    let n = block.size;
    let mean = (0..n).map(|i| block.sums[i * (n + 1)]).sum::<f64>() / n.max(1) as f64;
    if mean <= 0.0 || !mean.is_finite() {
        return None;
    }
    [0.01, 0.1, 1.0].into_iter().find_map(|share| {
        let mut h = block.sums.to_vec();
        for i in 0..n {
            h[i * (n + 1)] += share * mean;
        }
        // With P the reversed order, P H P = L Lᵀ with a lower L, so that H⁻¹ = Uᵀ U with the upper
        // U = P L⁻¹ P.
        h.reverse();
        let lower = cholesky(h, n)?;
        let inverse = inverse(&lower, n);
        let mut upper = vec![0f32; n * n];
        for i in 0..n {
            for j in i..n {
                upper[i * n + j] = inverse[(n - 1 - i) * n + (n - 1 - j)] as f32;
            }
        }
        upper.iter().all(|x| x.is_finite()).then_some(upper)
    })
}

/// The lower Cholesky factor; `None` if there is none.
fn cholesky(mut a: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    for j in 0..n {
        let (row, below) = a[j * n..].split_at_mut(n);
        let pivot = row[j] - row[..j].iter().map(|x| x * x).sum::<f64>();
        if pivot <= 0.0 || !pivot.is_finite() {
            return None;
        }
        let root = pivot.sqrt();
        row[j] = root;
        row[j + 1..].fill(0.0);
        for line in below.chunks_mut(n) {
            let dot: f64 = line[..j].iter().zip(&row[..j]).map(|(x, y)| x * y).sum();
            line[j] = (line[j] - dot) / root;
        }
    }
    Some(a)
}

/// The inverse of a lower triangular matrix.
fn inverse(lower: &[f64], n: usize) -> Vec<f64> {
    let mut found = vec![0f64; n * n];
    for i in 0..n {
        let (done, rest) = found.split_at_mut(i * n);
        let row = &mut rest[..n];
        for (k, line) in done.chunks(n).enumerate() {
            let factor = lower[i * n + k];
            if factor != 0.0 {
                for (x, y) in row[..=k].iter_mut().zip(line) {
                    *x -= factor * y;
                }
            }
        }
        let pivot = lower[i * (n + 1)];
        row[i] = 1.0;
        row[..=i].iter_mut().for_each(|x| *x /= pivot);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f32 / (1u64 << 31) as f32 - 0.5
        };
        (0..count).map(|_| (0..4).map(|_| next()).sum()).collect()
    }

    /// Inputs that go together: each a mix of a few.
    fn moments(columns: usize) -> Moments {
        let mix = numbers(columns * 6, 5);
        let mut moments = Moments::new(columns, 1);
        for sample in 0..200 {
            let few = numbers(6, 100 + sample);
            let x: Vec<f32> = (0..columns)
                .map(|c| few.iter().zip(&mix[c * 6..]).map(|(a, b)| a * b).sum())
                .collect();
            moments.add(0, &x);
        }
        moments.finish();
        moments
    }

    #[test]
    fn errors_at_the_outputs_become_less() {
        let (rows, columns) = (8, 48);
        let layout = Layout { rows, columns, is_transposed: false };
        let weight = numbers(rows * columns, 3);
        let moments = moments(columns);
        let decode = |_: usize, _: usize, x: f32| (x / 0.25).round() * 0.25;
        let noise = |from: &[f32]| {
            let errors: Vec<f32> =
                from.iter().zip(&weight).map(|(&x, w)| decode(0, 0, x) - w).collect();
            moments.noise(&errors)
        };
        let moved = targets(&weight, layout, &moments, &decode).unwrap();
        assert!(noise(&moved) < 0.3 * noise(&weight), "{} {}", noise(&moved), noise(&weight));
        assert_eq!(targets(&weight, layout, &Moments::new(columns, 1), &decode), None);
    }

    #[test]
    fn the_factor_is_that_of_the_inverse() {
        let moments = moments(5);
        let block = moments.blocks(0)[0];
        let upper = factor(&block).unwrap();
        let mean = (0..5).map(|i| block.sums[i * 6]).sum::<f64>() / 5.0;
        // H·(UᵀU) is the unit matrix.
        for i in 0..5 {
            for j in 0..5 {
                let inverse = |a: usize, b: usize| -> f64 {
                    (0..5).map(|k| f64::from(upper[k * 5 + a]) * f64::from(upper[k * 5 + b])).sum()
                };
                let h = |a: usize, b: usize| {
                    block.sums[a * 5 + b] + if a == b { 0.01 * mean } else { 0.0 }
                };
                let dot: f64 = (0..5).map(|k| h(i, k) * inverse(k, j)).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-3, "{i} {j} {dot}");
            }
        }
    }

    #[test]
    fn layouts_are_rows_by_columns() {
        let layout = Layout::of(&[2, 3], 1).unwrap();
        assert_eq!((layout.rows, layout.columns), (3, 2));
        assert_eq!(layout.rows_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert!(Layout::of(&[2, 3, 4], 1).is_none());
    }
}
