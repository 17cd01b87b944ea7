//! A model file and its weight files as text, for tests and bug reports.
//!
//! Every field is printed, in order of field numbers, under its name in `proto/`. Map entries are
//! ordered by key. Fields that `proto/` does not declare are printed as comments. A message that fits
//! is printed on one line. Of a large tensor only the number of elements, the BLAKE3 digest of its
//! little-endian bytes and the first elements are printed.

mod list;
mod message;
mod scalar;
mod weights;

use std::collections::BTreeMap;
use std::io::{self, Write};

use prost::Message as _;
use thiserror::Error;

use crate::blob::BlobReader;
use crate::schema::schema;
use crate::spec::Model;
use crate::wire::{Span, WireError};

/// A model could not be printed.
#[derive(Debug, Error)]
pub enum DumpError {
    /// The bytes are not an encoded model.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The bytes are not an encoded model.
    #[error(transparent)]
    Decode(#[from] prost::DecodeError),
    /// The sink failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Prints an encoded [`Model`] and after it the blobs of `weights`, which are keyed by the name the
/// model uses, such as `@model_path/weights/weight.bin`.
///
/// # Errors
/// The bytes are not an encoded model, or `out` fails. A damaged weight file is no error: what is
/// wrong stands in the text.
pub fn write_dump(
    out: &mut dyn Write,
    model: &[u8],
    weights: &BTreeMap<String, BlobReader<'_>>,
) -> Result<(), DumpError> {
    message::write_message(out, Span::whole(model), schema().root(), 0)?;
    if !weights.is_empty() {
        let model = Model::decode(model)?;
        for (name, reader) in weights {
            weights::write_table(out, &model, name, reader)?;
        }
    }
    Ok(())
}

/// As [`write_dump`], for a model in memory.
///
/// # Errors
/// The model is nested too deeply to be a valid file.
pub fn dump_model(
    model: &Model,
    weights: &BTreeMap<String, BlobReader<'_>>,
) -> Result<String, DumpError> {
    let mut text = Vec::new();
    write_dump(&mut text, &model.encode_to_vec(), weights)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
