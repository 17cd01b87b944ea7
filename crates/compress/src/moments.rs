//! What reaches a weight: second moments of its inputs over samples.
//!
//! With `x` the inputs of one product, an error `e` of a row of the weight costs `Σ (e·x)² = eᵀ H e` at
//! the output, where `H = Σ x xᵀ`. Inputs are taken in blocks of at most [`BLOCK`]; what stands between
//! two blocks is not kept, so that memory grows with the inputs, not with their square.

use std::collections::BTreeMap;

use mlc_ir::{ConstId, FuncId, Value};
use rayon::prelude::{
    IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator, ParallelSlice,
};

/// Most inputs of a block.
const BLOCK: usize = 512;

/// Second moments of the inputs of a weight, seen as rows of outputs by columns of inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    columns: usize,
    groups: usize,
    count: f64,
    /// By group and block the products of its inputs, row-major.
    sums: Vec<Vec<f64>>,
    /// The greatest magnitude of each column.
    peaks: Vec<f32>,
}

/// Where a block of columns stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    /// Its first column.
    pub(crate) start: usize,
    /// Its columns.
    pub(crate) size: usize,
    /// The products, `size × size`.
    pub(crate) sums: &'a [f64],
}

impl Moments {
    /// None so far, of a weight of `groups` groups of rows, each of `columns` inputs.
    #[must_use]
    pub fn new(columns: usize, groups: usize) -> Self {
        let blocks = (0..columns).step_by(BLOCK).map(|start| BLOCK.min(columns - start));
        let zeros: Vec<Vec<f64>> = blocks.map(|size| vec![0.0; size * size]).collect();
        let sums = (0..groups).flat_map(|_| zeros.iter().cloned()).collect();
        Self { columns, groups, count: 0.0, sums, peaks: vec![0.0; columns * groups] }
    }

    /// Adds the inputs of some products of a group, one after the other.
    pub fn add(&mut self, group: usize, inputs: &[f32]) {
        if self.columns == 0 || group >= self.groups {
            return;
        }
        let per_group = self.columns.div_ceil(BLOCK);
        let is_finite = |x: &&[f32]| x.iter().all(|x| x.is_finite());
        let rows: Vec<&[f32]> = inputs.chunks_exact(self.columns).filter(is_finite).collect();
        self.count += rows.len() as f64 / self.groups as f64;
        for x in &rows {
            for (peak, x) in self.peaks[group * self.columns..].iter_mut().zip(*x) {
                *peak = peak.max(x.abs());
            }
        }
        let sums = &mut self.sums[group * per_group..(group + 1) * per_group];
        sums.par_iter_mut().enumerate().for_each(|(block, sums)| {
            for x in &rows {
                let part = &x[block * BLOCK..x.len().min((block + 1) * BLOCK)];
                for (i, &a) in part.iter().enumerate().filter(|(_, a)| **a != 0.0) {
                    let row = &mut sums[i * part.len()..][..=i];
                    for (sum, &b) in row.iter_mut().zip(part) {
                        *sum += f64::from(a) * f64::from(b);
                    }
                }
            }
        });
    }

    /// Fills the half above the diagonal; to be called once when all inputs were added.
    pub fn finish(&mut self) {
        for (at, sums) in self.sums.iter_mut().enumerate() {
            let start = at % self.columns.div_ceil(BLOCK) * BLOCK;
            let size = BLOCK.min(self.columns - start);
            for i in 0..size {
                for j in 0..i {
                    sums[j * size + i] = sums[i * size + j];
                }
            }
        }
    }

    /// How many products were seen.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.count
    }

    /// Inputs of a product.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Groups of rows.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The greatest magnitude of each column, group after group.
    #[must_use]
    pub fn peaks(&self) -> &[f32] {
        &self.peaks
    }

    /// Sums of squares of each column of a group.
    #[must_use]
    pub fn squares(&self, group: usize) -> Vec<f64> {
        let mut found = Vec::with_capacity(self.columns);
        for block in self.blocks(group) {
            found.extend((0..block.size).map(|i| block.sums[i * (block.size + 1)]));
        }
        found
    }

    pub(crate) fn blocks(&self, group: usize) -> Vec<Block<'_>> {
        let per_group = self.columns.div_ceil(BLOCK);
        let sums = self.sums.iter().skip(group * per_group).take(per_group);
        sums.enumerate()
            .map(|(at, sums)| {
                let start = at * BLOCK;
                Block { start, size: BLOCK.min(self.columns - start), sums }
            })
            .collect()
    }

    /// The squared error at the outputs that errors of the elements of one row make.
    pub(crate) fn row_noise(&self, group: usize, errors: &[f32]) -> f64 {
        let mut total = 0.0;
        for block in self.blocks(group) {
            let part = &errors[block.start..block.start + block.size];
            for (i, &e) in part.iter().enumerate().filter(|(_, e)| **e != 0.0) {
                let row = &block.sums[i * block.size..][..block.size];
                let dot: f64 = row.iter().zip(part).map(|(h, &e)| h * f64::from(e)).sum();
                total += f64::from(e) * dot;
            }
        }
        total.max(0.0)
    }

    /// The squared error at the outputs of a weight `rows × columns` with these errors.
    #[must_use]
    pub fn noise(&self, errors: &[f32]) -> f64 {
        let rows = errors.len() / self.columns.max(1);
        let per_group = rows.div_ceil(self.groups.max(1)).max(1);
        let by_row: Vec<f64> = errors
            .par_chunks(self.columns.max(1))
            .enumerate()
            .map(|(row, errors)| self.row_noise(row / per_group, errors))
            .collect();
        by_row.iter().sum()
    }

    /// The moments once each column of every group is multiplied by a factor.
    #[must_use]
    pub fn scaled(&self, factors: &[f32]) -> Self {
        let mut scaled = self.clone();
        let per_group = self.columns.div_ceil(BLOCK).max(1);
        for (at, sums) in scaled.sums.iter_mut().enumerate() {
            let factors = &factors[at % per_group * BLOCK..];
            let size = BLOCK.min(factors.len());
            for (i, row) in sums.chunks_mut(size).enumerate() {
                for (sum, &factor) in row.iter_mut().zip(factors) {
                    *sum *= f64::from(factor) * f64::from(factors[i]);
                }
            }
        }
        for (peak, factor) in scaled.peaks.iter_mut().zip(factors.iter().cycle()) {
            *peak *= factor.abs();
        }
        scaled
    }
}

/// What calibration saw in a program.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration {
    /// By weight what reaches it.
    pub moments: BTreeMap<ConstId, Moments>,
    /// The least and the greatest of each value of floats.
    pub ranges: BTreeMap<(FuncId, Value), (f32, f32)>,
    /// Whether errors of elements are made up for by those behind them.
    pub feedback: bool,
}

#[cfg(test)]
mod tests {
    use super::Moments;

    #[test]
    fn noise_is_the_error_of_the_products() {
        let columns = 700;
        let value = |i: usize| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0;
        let inputs: Vec<f32> = (0..3 * columns).map(value).collect();
        let mut moments = Moments::new(columns, 1);
        moments.add(0, &inputs);
        moments.finish();
        // Errors in one block alone, as products between blocks are not kept.
        let errors: Vec<f32> =
            (0..columns).map(|i| if i < 500 { value(i + 5) } else { 0.0 }).collect();
        let exact: f64 = inputs
            .chunks(columns)
            .map(|x| x.iter().zip(&errors).map(|(x, e)| f64::from(x * e)).sum::<f64>().powi(2))
            .sum();
        assert!((moments.noise(&errors) / exact - 1.0).abs() < 1e-4);
        assert_eq!(moments.count(), 3.0);
        let doubled = moments.scaled(&vec![2.0; columns]);
        assert!((doubled.noise(&errors) / exact - 4.0).abs() < 1e-3);
    }
}
