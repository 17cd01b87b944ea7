//! Where the containers keep weights and constants.

use std::collections::BTreeMap;

use mlc_tensor::Tensor;
use serde::Deserialize;

use crate::archive::{Archive, ArchiveError, Blob};
use crate::dtype;
use crate::schema::{SymInt, TensorMeta};
use crate::torch_save::{self, View, WeightError, Weights};

/// Which of the two dicts of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Parameters and persistent buffers.
    Weights,
    /// Literal tensors and buffers outside of the state dict.
    Constants,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Self::Weights => "data/weights/",
            Self::Constants => "data/constants/",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Weights => "_weights_config.json",
            Self::Constants => "_constants_config.json",
        }
    }

    fn v1(self) -> &'static str {
        match self {
            Self::Weights => "serialized_state_dict.pt",
            Self::Constants => "serialized_constants.pt",
        }
    }
}

/// A problem with a whole dict: the entry it is at, and what.
#[derive(Debug)]
pub(crate) struct DictError {
    pub(crate) entry: String,
    pub(crate) error: WeightError,
}

#[derive(Debug, Deserialize)]
struct PayloadConfig {
    config: BTreeMap<String, Payload>,
}

#[derive(Debug, Deserialize)]
struct Payload {
    path_name: String,
    #[serde(default)]
    use_pickle: bool,
    #[serde(default)]
    tensor_meta: Option<TensorMeta>,
}

/// A dict of an archive of the first generation. An archive without the entry has an empty dict.
pub(crate) fn read_v1(archive: &Archive, kind: Kind) -> Result<Weights, DictError> {
    read_saved(archive, kind.v1())
}

fn read_saved(archive: &Archive, entry: &str) -> Result<Weights, DictError> {
    if !archive.contains(entry) {
        return Ok(Weights::new());
    }
    let read = || torch_save::state_dict(&archive.nested(entry)?);
    read().map_err(|error| DictError { entry: entry.to_owned(), error })
}

/// A dict of the program `model` in an archive of the second generation.
pub(crate) fn read_v2(
    archive: &Archive,
    prefix: &str,
    model: &str,
    kind: Kind,
) -> Result<Weights, DictError> {
    let folder = format!("{prefix}{}", kind.folder());
    let entry = format!("{folder}{model}{}", kind.config());
    if !archive.contains(&entry) {
        return read_saved(archive, &format!("{folder}{model}.pt"));
    }
    let parse = || -> Result<PayloadConfig, WeightError> {
        let text = archive.read(&entry)?;
        serde_json::from_slice(&text)
            .map_err(|e| ArchiveError::Entry { entry: entry.clone(), reason: e.to_string() }.into())
    };
    let config = parse().map_err(|error| DictError { entry: entry.clone(), error })?;
    let mut blobs = BTreeMap::new();
    let mut weights = Weights::new();
    for (name, payload) in config.config {
        let tensor = read_payload(archive, &folder, &payload, &mut blobs);
        weights.insert(name, tensor);
    }
    Ok(weights)
}

fn read_payload(
    archive: &Archive,
    folder: &str,
    payload: &Payload,
    blobs: &mut BTreeMap<String, Blob>,
) -> Result<Tensor, WeightError> {
    let entry = format!("{folder}{}", payload.path_name);
    if payload.path_name.starts_with("custom_obj_") || payload.path_name.starts_with("opaque_obj_")
    {
        return Err(WeightError::NotTensor { found: "a script object".into() });
    }
    if payload.use_pickle {
        return torch_save::single(&archive.nested(&entry)?);
    }
    let Some(meta) = &payload.tensor_meta else {
        return Err(WeightError::Malformed { what: "its tensor_meta", found: "missing".into() });
    };
    let dtype = dtype::scalar_type(meta.dtype)
        .map_err(|e| WeightError::DType { name: e.name().to_owned() })?;
    match dtype::layout(meta.layout) {
        Some(dtype::Layout::Strided) => {}
        other => {
            let what = other.map_or_else(|| meta.layout.to_string(), |l| l.name().to_owned());
            return Err(WeightError::Form { what });
        }
    }
    let known = |what: &'static str, dims: &[SymInt]| -> Result<Vec<i64>, WeightError> {
        let one = |dim: &SymInt| match dim {
            SymInt::Int(i) => Ok(*i),
            SymInt::Expr(e) => {
                let found = format!("the expression `{}`", e.expr_str);
                Err(WeightError::Malformed { what, found })
            }
        };
        dims.iter().map(one).collect()
    };
    let view = View {
        sizes: known("a size", &meta.sizes)?,
        strides: known("a stride", &meta.strides)?,
        offset: known("the storage offset", std::slice::from_ref(&meta.storage_offset))?[0],
    };
    let blob = match blobs.get(&entry) {
        Some(blob) => blob.clone(),
        None => {
            let blob = archive.blob(&entry)?;
            blobs.insert(entry, blob.clone());
            blob
        }
    };
    view.of(&blob, dtype)
}

/// Whether the archive's payloads are big-endian.
pub(crate) fn is_big_endian(archive: &Archive, prefix: &str) -> bool {
    archive.says_big_endian(&format!("{prefix}byteorder")).unwrap_or(true)
}
