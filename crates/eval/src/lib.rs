//! The reference evaluator: runs IR, before and after lowering, on any machine.
//!
//! Each kernel is written from the op's definition. Elements are held in a wide type of their
//! category (`f32`, or `f64` for source doubles; `i64`; one byte for `bool`), computed there, and
//! rounded to the declared element type after each op: an `f16` op rounds its result to `f16`, a
//! signed 8-bit result wraps to 8 bits.
//!
//! **Invariant:** kernels never look at how an op was lowered or emitted.
//! **Invariant:** results do not depend on the number of threads.

mod array;
mod interp;
mod kernel;
mod kernels;
mod lazy;

pub use array::Array;
pub use interp::{EvalValue, Evaluator, Observer, States, fold};
pub use kernel::{EvalError, Kernel, KernelCx, Outputs};
pub use kernels::conv_inputs;
pub use lazy::lazy;
