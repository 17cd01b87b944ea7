//! What the tests of the workspace share: fixtures that are files, and real models with references.
//!
//! - [`archive_builder`]: small files of torch.export, sound or broken in a chosen place.
//! - [`filetest`]: a file dropped below `testdata/` is a test.
//! - [`generate`]: random programs, made from the op table.
//! - [`package`]: a model becomes a package, twice the same bytes, and computes what it did.
//! - [`recorded`]: a package that other software made is read, run, and written back.
//! - [`cases`]: folders of real models with reference outputs, converted and compared in parallel.
//!
//! **Invariant:** nothing here needs a network, Python, a device or a clock, but for the times that
//! `cases --table` shows.

pub mod archive_builder;
pub mod cases;
pub mod diff;
pub mod filetest;
pub mod generate;
pub mod numbers;
pub mod package;
pub mod recorded;
pub mod rules;
pub mod walk;

use std::path::PathBuf;

/// The root of the workspace.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.clone(), std::path::Path::to_path_buf)
}
