//! Tensors as lazy handles: a type, a shape and a source of bytes that is read when it is written.
//!
//! A [`Tensor`] is cheap to clone. Its [`Source`] is a range of a mapped file, a small shared buffer,
//! one repeated element, or a recipe over other tensors. Nothing is read at construction; bytes are
//! made by [`Tensor::bytes`] (whole) or [`Tensor::write_to`] (streamed), one tensor at a time.
//!
//! Layout: row-major, little-endian; `bool` is one byte; sub-byte types are bit-packed, least
//! significant bit first.
//!
//! **Invariant:** unsafe code is in the module `map` alone.

mod convert;
mod dtype;
mod map;
mod reader;
mod recipe;
mod span;
mod tensor;

pub use convert::{round_to_halves, round_to_odd};
pub use dtype::{DType, DTypeKind};
pub use map::MappedFile;
pub use recipe::{Recipe, ZipOp};
pub use span::Span;
pub use tensor::{Source, Tensor, TensorError};
