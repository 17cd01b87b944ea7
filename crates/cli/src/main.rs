//! The `mlc` command: the passes of the project and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    mlc_cli::main(&[], &[])
}
