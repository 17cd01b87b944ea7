//! Protobuf files that are decoded without copying their bytes.

use std::path::Path;
use std::sync::Arc;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_tensor::{DType, MappedFile, Tensor, TensorError};
use prost::Message;
use prost::bytes::Bytes;

/// Constants of at most this many bytes are kept in memory, larger ones stay ranges of the file.
const INLINE: usize = 256;

/// A mapped file whose ranges can become tensors.
#[derive(Debug, Clone)]
pub(crate) struct ProtoFile {
    file: Arc<MappedFile>,
    buffer: Bytes,
    name: Arc<str>,
}

struct Owner(Arc<MappedFile>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl ProtoFile {
    /// Maps the file at `path`; `name` is what diagnostics call it.
    pub(crate) fn open(path: &Path, name: &str) -> Result<Self, Diagnostics> {
        let file = MappedFile::open(path).map_err(|error| unreadable(name, &error))?;
        let buffer = Bytes::from_owner(Owner(Arc::clone(&file)));
        Ok(Self { file, buffer, name: name.into() })
    }

    /// The message that the file is; its `bytes` fields are ranges of the file.
    pub(crate) fn decode<M: Message + Default>(&self, what: &str) -> Result<M, Diagnostics> {
        M::decode(self.buffer.clone()).map_err(|error| {
            let message = format!("`{}` is no {what}: {error}", self.name);
            Diagnostic::new(codes::CORRUPT_ARCHIVE, message)
                .at(self.place(""))
                .help("compare the file with its original; it may have been cut off in transfer")
                .into()
        })
    }

    /// A part of the file.
    pub(crate) fn place(&self, entry: &str) -> Place {
        Place::Entry { file: Arc::clone(&self.name), entry: entry.into() }
    }

    /// A tensor over bytes that [`ProtoFile::decode`] gave.
    pub(crate) fn tensor(
        &self,
        bytes: &Bytes,
        dtype: DType,
        shape: &[u64],
    ) -> Result<Tensor, TensorError> {
        let base = self.buffer.as_ptr() as usize;
        let at = (bytes.as_ptr() as usize).checked_sub(base);
        match at {
            Some(at) if bytes.len() > INLINE && at + bytes.len() <= self.buffer.len() => {
                let needed = dtype.bytes_for(shape.iter().product()).unwrap_or(0);
                let found = bytes.len() as u64;
                if needed != found {
                    return Err(TensorError::TooShort {
                        dtype,
                        shape: shape.to_vec(),
                        needed,
                        found,
                    });
                }
                Tensor::mapped(&self.file, at as u64, dtype, shape)
            }
            _ => Tensor::from_bytes(dtype, shape, bytes.to_vec()),
        }
    }
}

/// What is said of a file that cannot be opened.
pub(crate) fn unreadable(name: &str, error: &std::io::Error) -> Diagnostics {
    let message = match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file `{name}`"),
        _ => format!("`{name}` cannot be opened: {error}"),
    };
    Diagnostic::new(codes::FILE_NOT_FOUND, message)
        .at(Place::Entry { file: name.into(), entry: "".into() })
        .into()
}
