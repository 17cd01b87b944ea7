//! Where compressed weights are kept until all are done: in memory up to a limit, and beyond it in a file, so
//! that memory does not grow with the model.

use std::io::Write;
use std::sync::{Arc, Mutex};

use mlc_tensor::{DType, MappedFile, Tensor, TensorError};
use tempfile::NamedTempFile;

use crate::store::Stored;

/// Bytes of compressed weights that are kept in memory.
pub(crate) const LIMIT: u64 = 64 << 20;

/// A tensor, or where it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Here(Tensor),
    There { dtype: DType, shape: Vec<u64>, offset: u64, len: u64 },
}

impl From<Tensor> for Part {
    fn from(tensor: Tensor) -> Self {
        Self::Here(tensor)
    }
}

impl Part {
    pub(crate) fn byte_len(&self) -> u64 {
        match self {
            Self::Here(tensor) => tensor.byte_len(),
            Self::There { len, .. } => *len,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Bytes in memory.
    held: u64,
    file: Option<NamedTempFile>,
    /// Bytes in the file.
    written: u64,
    /// Whether there is no room for a file.
    is_full: bool,
}

/// Takes weights as they are done, from all threads.
#[derive(Debug)]
pub(crate) struct Spill {
    limit: u64,
    state: Mutex<State>,
}

impl Spill {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Moves the large parts of a weight to the file where memory is used up. A file that cannot be
    /// written leaves them in memory.
    pub(crate) fn keep(&self, stored: &mut Stored) {
        // A poisoned lock is one of a thread that failed, and so does all of this.
        let Ok(mut state) = self.state.lock() else { return };
        for part in stored.large_parts() {
            let Part::Here(tensor) = &*part else { continue };
            // Elsewhere a file that is mapped cannot be removed.
            let fits = state.held + tensor.byte_len() <= self.limit;
            if fits || state.is_full || !cfg!(unix) {
                state.held += tensor.byte_len();
                continue;
            }
            match state.write(tensor) {
                Some(there) => *part = there,
                None => state.is_full = true,
            }
        }
    }

    /// The weights that were kept can be read now.
    ///
    /// # Errors
    /// The file cannot be mapped.
    pub(crate) fn finish(self) -> Result<Spilled, TensorError> {
        let state = self.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(file) = state.file else { return Ok(Spilled(None)) };
        let unreadable =
            |error: std::io::Error| TensorError::Unreadable { what: error.to_string() };
        // The map keeps the bytes when the name of the file is gone.
        let mapped = MappedFile::open_large(file.path()).map_err(unreadable)?;
        Ok(Spilled(Some(mapped)))
    }
}

impl State {
    fn write(&mut self, tensor: &Tensor) -> Option<Part> {
        let file = match &mut self.file {
            Some(file) => file,
            file => file.insert(NamedTempFile::new().ok()?),
        };
        let bytes = tensor.bytes().ok()?;
        file.write_all(&bytes).ok()?;
        let (offset, len) = (self.written, bytes.len() as u64);
        self.written += len;
        Some(Part::There { dtype: tensor.dtype(), shape: tensor.shape().to_vec(), offset, len })
    }
}

/// The file of weights, if there is one.
#[derive(Debug)]
pub(crate) struct Spilled(Option<Arc<MappedFile>>);

impl Spilled {
    /// The tensor of a part.
    ///
    /// # Errors
    /// It is not in the file.
    pub(crate) fn tensor(&self, part: &Part) -> Result<Tensor, TensorError> {
        match (part, &self.0) {
            (Part::Here(tensor), _) => Ok(tensor.clone()),
            (Part::There { dtype, shape, offset, .. }, Some(file)) => {
                Tensor::mapped(file, *offset, *dtype, shape)
            }
            (Part::There { .. }, None) => {
                Err(TensorError::Unreadable { what: "the file of weights is gone".to_owned() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Weight, encode};
    use crate::float::HalfOr;

    #[test]
    fn what_does_not_fit_into_memory_reads_back_from_the_file() {
        let elements: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.37).sin()).collect();
        let weight = Weight {
            elements: &elements,
            shape: &[16, 256],
            float: HalfOr::Half,
            output: 0,
            input: 1,
            moments: None,
        };
        let (encoded, _) = encode(weight, &"prune-50+w4".parse().unwrap()).unwrap();
        let stored = Stored::new(&encoded).unwrap();
        for limit in [0, 600, 1 << 20] {
            let spill = Spill::new(limit);
            let mut kept = [stored.clone(), stored.clone()];
            kept.iter_mut().for_each(|stored| spill.keep(stored));
            let is_there = |part: &&mut Part| matches!(part, Part::There { .. });
            let there = kept[1].large_parts().filter(is_there).count();
            assert_eq!(there > 0, limit < 1 << 20 && cfg!(unix));
            let spilled = spill.finish().unwrap();
            let mut plain = stored.clone();
            for (a, b) in kept[1].large_parts().zip(plain.large_parts()) {
                let (a, b) = (spilled.tensor(a).unwrap(), spilled.tensor(b).unwrap());
                assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
                assert_eq!(a.bytes().unwrap(), b.bytes().unwrap());
            }
            assert_eq!(kept[0].bytes(), stored.bytes());
        }
    }
}
