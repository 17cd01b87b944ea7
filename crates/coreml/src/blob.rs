//! `weight.bin`: large constants, each with a record that says what it is.
//!
//! All integers are little-endian. The file begins with a header: blob count (u32), version 2 (u32),
//! zeros up to 64 bytes. Every blob is a *record* of 64 bytes followed by its *payload*; records begin
//! at multiples of 64 and the gaps are zero. A record holds: sentinel `0xDEADBEEF` (u32), dtype code
//! (u32), payload bytes (u64), position of the payload (u64), unused high bits of the last payload
//! byte (u64), zeros. A model names a blob by the position of its record.
//!
//! Elements stand in row-major order. Elements below 8 bits form a bit stream that fills each byte
//! from its lowest bit on, so 3- and 6-bit elements cross bytes.

mod format;
mod pack;
mod reader;
mod spec;
mod writer;

pub use pack::{BitWidth, PackError, pack, unpack};
pub use reader::{Blob, BlobReadError, BlobReader, Blobs};
pub use spec::{BlobSpec, BlobSpecError};
pub use writer::{BlobDigest, BlobWriteError, BlobWriter, FinishedBlobs};
