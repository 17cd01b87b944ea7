//! Archives of `torch.jit.save`: modules as data and methods as source, inlined into one graph.
//!
//! Words: an *archive* holds one tree of objects (`data.pkl`), the constants of their code
//! (`constants.pkl`) and, below `code/`, the source of their classes. [`read`] opens it; [`lower`]
//! interprets `forward` for inputs of given shapes. Python values are computed while it runs; calls of
//! ops are lowered as those of `torch.export` are, by the same table. A branch or loop whose condition
//! is a tensor becomes one of the program.
//!
//! **Invariant:** nothing of a file is executed; the work is bounded by `interp`'s limits.

mod ast;
mod debug;
mod interp;
mod lex;
mod module;
mod parse;
mod read;
mod source;

use mlc_diag::Diagnostics;

pub use module::ScriptModule;
pub use read::read;

use crate::lower::registry::Registry;
use crate::lower::{LowerOptions, Lowered};

/// Lowers the `forward` method of a module to a program with one function, `main`. Shapes and types of
/// inputs are those of `options`; what it does not say is taken from the inputs that a trace keeps.
///
/// # Errors
/// Everything that cannot be lowered, all at once, each with its line; an input whose shape nobody
/// tells.
pub fn lower(
    module: &ScriptModule,
    registry: &Registry,
    options: &LowerOptions,
) -> Result<Lowered, Diagnostics> {
    interp::lower(module, registry, options)
}
