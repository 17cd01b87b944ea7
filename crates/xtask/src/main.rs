//! The project's own commands: `cargo xtask COMMAND`.
//!
//! Each command is one module with one `run` function. What must always hold is also a test of this
//! crate, so `cargo test --workspace` checks it without anybody running a command.

mod bench;
mod bless;
mod cases;
mod command;
mod compression;
mod conformance;
mod coverage;
mod docs;
mod failure;
mod proto;
mod python;
mod ready;
mod reduce;
mod scaffold;
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
    /// Run everything a change must pass: fmt, clippy, test, docs, tidy
    Ready(ready::Args),
    /// Check sizes, layers, fixtures, pages and text of the checkout
    Tidy(tidy::Args),
    /// Write the entry of a new op and its fixture
    NewOp(scaffold::OpArgs),
    /// Write the file of a new pass and its fixture
    NewPass(scaffold::PassArgs),
    /// Write the expected parts of fixtures and snapshots anew
    Bless(bless::Args),
    /// Build the API documentation and check that every code has its page
    Docs(docs::Args),
    /// Compile proto/*.proto into crates/coreml/src/proto
    Proto(proto::Args),
    /// Load emitted packages in coremltools and compare the types it infers
    Conformance(conformance::Args),
    /// Compare compressed weights with those of coremltools: errors and times
    Compression(compression::Args),
    /// Convert the models of the benchmark, side by side with coremltools, into BENCHMARKS.md
    Bench(bench::Args),
    /// Convert, validate and evaluate the model cases
    Cases(cases::Args),
    /// Shrink a text program as long as a fault stays
    Reduce(reduce::Args),
    /// Write down which ops of the IR the lowerings of each frontend make
    Coverage,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Ready(args) => ready::run(&args),
        Command::Tidy(args) => tidy::run(&args),
        Command::NewOp(args) => scaffold::new_op(&args),
        Command::NewPass(args) => scaffold::new_pass(&args),
        Command::Bless(args) => bless::run(&args),
        Command::Docs(args) => docs::run(&args),
        Command::Proto(args) => proto::run(&args),
        Command::Conformance(args) => conformance::run(&args),
        Command::Compression(args) => compression::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Cases(args) => cases::run(&args),
        Command::Reduce(args) => reduce::run(&args),
        Command::Coverage => coverage::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
