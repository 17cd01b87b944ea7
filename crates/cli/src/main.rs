//! The `mlc` command: the passes of the project and nothing else.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Programs are many small allocations, and results of the evaluator few large ones that come and go.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    mlc_cli::main(&[], &[])
}
