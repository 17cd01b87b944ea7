//! The `.mlpackage` directory.
//!
//! ```text
//! NAME.mlpackage/
//!   Manifest.json
//!   Data/com.apple.CoreML/model.mlmodel
//!   Data/com.apple.CoreML/weights/weight.bin
//! ```
//!
//! `Manifest.json` lists items by id; one of them is the root model. A model names its weight files
//! relative to its own directory as `@model_path/weights/weight.bin`.

mod entry;
mod error;
mod item_id;
mod manifest;
mod reader;
mod writer;

pub use error::{ManifestError, PackageReadError, PackageWriteError, PathError};
pub use manifest::{Item, Manifest};
pub use reader::{Limits, LoadedModel, PackageReader, WeightBytes};
pub use writer::{Existing, PackageWriter, WeightFile};
