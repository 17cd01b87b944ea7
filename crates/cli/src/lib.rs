//! The command line of `mlc`: parses arguments, calls the driver, prints.
//!
//! A driver of one's own is a `main` that calls [`main`] with a list of passes.
//!
//! Stdout carries the product (text, JSON, tables), stderr diagnostics, summaries and progress.

mod args;
mod commands;
mod config;
mod convert;
mod opt;
mod progress;
mod render;
mod summary;
mod tables;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use mlc_diag::{Diagnostics, ExitClass};
use mlc_driver::{Driver, PassList};

use args::{Cli, Command};
use render::Output;

/// What a command comes to: the exit code of a "no" that is no error of the tool, or problems.
type Outcome = Result<(), Diagnostics>;

/// Runs the command line of this process with the passes of the project and those of `extra`.
#[must_use]
pub fn main(extra: &[PassList]) -> ExitCode {
    // Nothing partial stands under a name that was asked for, so there is nothing to undo.
    let _ = ctrlc::set_handler(|| std::process::exit(130));
    let arguments = match argfile::expand_args(argfile::parse_fromfile, argfile::PREFIX) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("error[bad-argument]: {error}");
            return ExitCode::from(ExitClass::Usage.code());
        }
    };
    ExitCode::from(run(&arguments, extra))
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = Cli::command().args_override_self(true).try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

fn run(arguments: &[OsString], extra: &[PassList]) -> u8 {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { ExitClass::Usage.code() } else { 0 };
            let _ = error.print();
            return code;
        }
    };
    let output = Output::new(&cli.shared);
    let cli = match config::with_file(cli, arguments) {
        Ok(config::Configured::Run(cli)) => *cli,
        Ok(config::Configured::Printed(text)) => return output.product(text.as_bytes()),
        Err(problems) => return output.fail(cli_name(arguments), &problems),
    };
    let output = Output::new(&cli.shared);
    logging(cli.shared.verbose);
    if let Some(jobs) = cli.shared.jobs {
        // The pool cannot be made twice; a second command line in one process keeps the first.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global();
    }
    let name = cli.command.name();
    let outcome = Driver::new(extra).and_then(|driver| dispatch(&driver, &cli, &output));
    match outcome {
        Ok(()) => 0,
        Err(problems) => output.fail(name, &problems),
    }
}

fn cli_name(arguments: &[OsString]) -> &'static str {
    parse(arguments).map_or("mlc", |cli| cli.command.name())
}

fn dispatch(driver: &Driver, cli: &Cli, output: &Output) -> Outcome {
    match &cli.command {
        Command::Convert(args) => convert::convert(driver, args, &cli.shared, output),
        Command::Opt(args) => opt::opt(driver, args, output),
        Command::Run(args) => commands::run(driver, args, output),
        Command::Verify(args) => commands::verify(driver, args, output),
        Command::Inspect(args) => commands::inspect(driver, args, output),
        Command::Print(args) => commands::print(driver, args, output),
        Command::Dump(args) => commands::dump(args, output),
        Command::Ops(args) => tables::ops(driver, args, output),
        Command::Targets => tables::targets(output),
        Command::Passes(args) => tables::passes(driver, args, output),
        Command::Codes => tables::codes(output),
        Command::Explain(args) => tables::explain(driver, args, output),
        Command::Completions(args) => commands::completions(args),
    }
}

fn logging(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .without_time()
        .try_init();
}
