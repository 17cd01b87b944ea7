//! The Core ML package format: protobuf model, weight file, directory.
//!
//! - [`spec`]: the messages of `model.mlmodel`, generated from `proto/`.
//! - [`blob`]: `weight.bin`, written as a stream and read from bytes.
//! - [`package`]: the `.mlpackage` directory, written in one atomic step and read with every check.
//! - [`unknown`]: fields of a model file that `proto/` does not declare.
//! - [`values`]: every constant of a model.
//! - [`dump`]: a model and its weight files as text.
//! - [`emit`]: a legal program as a package.
//! - [`read`]: a package as a program.
//!
//! Reading never panics, whatever the bytes: sizes are checked, nesting is limited and allocations
//! are bounded by the size of the file.

pub mod blob;
pub mod dtype;
pub mod dump;
pub mod emit;
pub mod interface;
pub mod package;
#[expect(
    missing_docs,
    unreachable_pub,
    reason = "generated from proto/; `spec` is its public face"
)]
mod proto;
pub mod read;
mod schema;
pub mod spec;
pub mod unknown;
pub mod values;
pub mod wire;
