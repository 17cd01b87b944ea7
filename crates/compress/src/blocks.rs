//! Tensors cut into blocks of equal size.

use thiserror::Error;

/// A block size that does not fit a shape.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("an extent of {extent} is not divided by blocks of {size}")]
pub struct Indivisible {
    /// The extent.
    pub extent: usize,
    /// The size of a block along it.
    pub size: usize,
}

/// A row-major tensor cut into blocks: along axis `i` a block has `size[i]` elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    shape: Vec<usize>,
    size: Vec<usize>,
}

impl Blocks {
    /// Blocks of `size`, where 0 stands for the whole axis.
    ///
    /// # Errors
    /// An extent that is no multiple of its block's.
    pub fn new(shape: &[usize], size: &[usize]) -> Result<Self, Indivisible> {
        let mut whole = Vec::with_capacity(shape.len());
        for (axis, &extent) in shape.iter().enumerate() {
            let size = match size.get(axis).copied().unwrap_or(0) {
                0 => extent,
                size => size,
            };
            if size == 0 || !extent.is_multiple_of(size) {
                return Err(Indivisible { extent, size });
            }
            whole.push(size);
        }
        Ok(Self { shape: shape.to_vec(), size: whole })
    }

    /// How many blocks there are along each axis.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        self.shape.iter().zip(&self.size).map(|(&d, &b)| d / b).collect()
    }

    /// How many blocks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts().iter().product()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements of a block.
    #[must_use]
    pub fn block_len(&self) -> usize {
        self.size.iter().product()
    }

    /// Whether the elements of each block follow each other, block after block.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        let split = self.size.iter().position(|&b| b != 1).unwrap_or(self.size.len());
        self.size.iter().zip(&self.shape).skip(split + 1).all(|(b, d)| b == d)
    }

    /// The elements block after block.
    #[must_use]
    pub fn gather<T: Copy>(&self, elements: &[T]) -> Vec<T> {
        let mut out = Vec::with_capacity(elements.len());
        self.for_each_run(&mut |start, len| out.extend_from_slice(&elements[start..start + len]));
        out
    }

    /// Elements that stand block after block, in row-major order.
    #[must_use]
    pub fn scatter<T: Copy + Default>(&self, blocks: &[T]) -> Vec<T> {
        let mut out = vec![T::default(); blocks.len()];
        let mut from = 0;
        self.for_each_run(&mut |start, len| {
            out[start..start + len].copy_from_slice(&blocks[from..from + len]);
            from += len;
        });
        out
    }

    /// For each element, row-major, the block that it is in.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        let len = self.block_len().max(1);
        let count = self.shape.iter().product::<usize>();
        self.scatter(&(0..count).map(|at| (at / len) as u32).collect::<Vec<_>>())
    }

    /// Calls `visit` with start and length of runs of elements, in the order of [`Blocks::gather`].
    fn for_each_run(&self, visit: &mut dyn FnMut(usize, usize)) {
        if self.shape.contains(&0) {
            return;
        }
        // Axes behind the last one that is cut belong to a run.
        let cut = (0..self.shape.len()).rev().find(|&axis| self.size[axis] != self.shape[axis]);
        let Some(cut) = cut else {
            return visit(0, self.shape.iter().product());
        };
        let mut strides = vec![1; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis];
        }
        let run = self.size[cut] * strides[cut];
        let counts = self.counts();
        let (counts, inner) = (&counts[..=cut], &self.size[..cut]);
        let mut block = vec![0; counts.len()];
        loop {
            let base: usize = (0..=cut).map(|k| block[k] * self.size[k] * strides[k]).sum();
            let mut at = vec![0; inner.len()];
            loop {
                let offset: usize = at.iter().zip(&strides).map(|(i, s)| i * s).sum();
                visit(base + offset, run);
                if !advance(&mut at, inner) {
                    break;
                }
            }
            if !advance(&mut block, counts) {
                return;
            }
        }
    }
}

/// The next index below `limits`, the last axis fastest; false behind the last one.
fn advance(index: &mut [usize], limits: &[usize]) -> bool {
    for (at, &limit) in index.iter_mut().zip(limits).rev() {
        *at += 1;
        if *at < limit {
            return true;
        }
        *at = 0;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_gathered_and_put_back() {
        let elements: Vec<u32> = (0..24).collect();
        let blocks = Blocks::new(&[4, 6], &[2, 3]).unwrap();
        assert_eq!((blocks.counts(), blocks.len(), blocks.block_len()), (vec![2, 2], 4, 6));
        let gathered = blocks.gather(&elements);
        assert_eq!(gathered[..6], [0, 1, 2, 6, 7, 8]);
        assert_eq!(gathered[6..12], [3, 4, 5, 9, 10, 11]);
        assert_eq!(blocks.scatter(&gathered), elements);
        assert!(!blocks.is_contiguous());
        for size in [[1, 0], [1, 2], [0, 0], [2, 0]] {
            let blocks = Blocks::new(&[4, 6], &size).unwrap();
            assert!(blocks.is_contiguous(), "{size:?}");
            assert_eq!(blocks.gather(&elements), elements);
        }
        let columns = Blocks::new(&[4, 6], &[0, 1]).unwrap();
        assert_eq!(columns.gather(&elements)[..4], [0, 6, 12, 18]);
        assert_eq!(columns.scatter(&columns.gather(&elements)), elements);
    }

    #[test]
    fn sizes_divide() {
        assert_eq!(Blocks::new(&[4, 6], &[0, 4]), Err(Indivisible { extent: 6, size: 4 }));
        assert!(Blocks::new(&[0, 6], &[1, 0]).unwrap().is_empty());
    }
}
