//! The kernels, a file a family.

mod activation;
mod core;
mod elementwise;
mod shape;
