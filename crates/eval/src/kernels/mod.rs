//! The kernels, a file a family.

mod activation;
mod attention;
mod core;
mod elementwise;
mod create;
mod gather;
mod join;
mod layout;
mod linear;
mod norm;
mod reduction;
mod scan;
mod scatter;
mod shape;
mod conv;
mod window;
mod pool;
mod pad;
mod slice;
mod sort;
mod resize;
mod rearrange;
