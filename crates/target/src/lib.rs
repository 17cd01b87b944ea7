//! What each Core ML version takes, as data.
//!
//! - [`Opset`], [`Target`]: the five versions of ML Programs and the OS names users write for them.
//! - [`DataType`]: MIL's element types with their numbers in the model file and the weight file.
//! - [`signature`]: arguments, dtypes and defaults of every MIL op in every opset.
//! - [`cost`]: what ops cost on classes of devices, to order programs that compute the same.
//! - [`rules`]: values of arguments for which an op is not defined.
//! - [`io`]: what models may take in, give out and keep as state.
//!
//! Nothing here looks at a program; whoever reads the data decides what follows from it. The rules ask
//! for arguments by name.

pub mod cost;
mod dtype;
pub mod io;
mod nearest;
mod opset;
pub mod rules;
mod signature;
mod table;

pub use dtype::{DataType, UnknownDataType, WEIGHT_FILE_MIN_ELEMENTS};
pub use opset::{Opset, Os, Target, UnknownTarget};
pub use signature::{
    Absence, DefaultValue, Formula, OpSignature, Outputs, Param, ParamDtype, ParamKind,
};
pub use table::{first_opset, nearest, ops, signature, versions};
