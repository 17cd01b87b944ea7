//! The project's own commands: `cargo xtask COMMAND`.
//!
//! Each command is one module with one `run` function. What must always hold is also a test of this
//! crate, so `cargo test --workspace` checks it without anybody running a command.

mod failure;
mod proto;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands for working on mlc.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compile proto/*.proto into crates/coreml/src/proto
    Proto(proto::Args),
    /// Check sizes, layers, fixtures, pages and text of the checkout
    Tidy(tidy::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Proto(args) => proto::run(&args),
        Command::Tidy(args) => tidy::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
