//! The kernels, a file a family.

mod core;
mod elementwise;
mod shape;
