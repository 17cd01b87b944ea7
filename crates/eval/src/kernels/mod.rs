//! The kernels, a file a family.

mod activation;
mod core;
mod elementwise;
mod layout;
mod linear;
mod reduction;
mod shape;
mod conv;
mod window;
