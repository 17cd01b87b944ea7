//! The command line of `mlc`: parses arguments, calls the driver, prints.
//!
//! A driver of one's own is a `main` that calls [`main`] with lists of passes and lowerings.
//!
//! Stdout carries the product (text, JSON, tables), stderr diagnostics, summaries and progress.

mod args;
mod commands;
mod compress;
mod config;
mod convert;
mod opt;
mod progress;
mod reduce;
mod render;
mod summary;
mod tables;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_driver::{Driver, Level, Lowering, Lowerings, PassList};

use args::{Cli, Command};
use render::Output;

/// What a command comes to: exit code 0, or problems and theirs.
type Outcome = Result<(), Diagnostics>;

/// Runs the command line of this process with the passes and lowerings of the project and those that
/// are given.
#[must_use]
pub fn main(passes: &[PassList], lowerings: &[&[Lowering]]) -> ExitCode {
    // Nothing partial stands under a name that was asked for, so there is nothing to undo.
    let _ = ctrlc::set_handler(|| std::process::exit(130));
    let arguments = match argfile::expand_args(argfile::parse_fromfile, argfile::PREFIX) {
        Ok(arguments) => arguments,
        Err(error) => {
            let problem = Diagnostic::new(codes::BAD_ARGUMENT, error.to_string());
            let output = Output::before_parsing(&std::env::args_os().collect::<Vec<_>>());
            return ExitCode::from(output.fail("mlc", &problem.into()));
        }
    };
    ExitCode::from(run(&arguments, passes, lowerings))
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = Cli::command().args_override_self(true).try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.shared.levels = levels(matches.subcommand().map_or(&matches, |(_, inner)| inner));
    Ok(cli)
}

/// What `-A`, `-W` and `-D` name, in the order of the command line.
fn levels(matches: &ArgMatches) -> Vec<(Level, String)> {
    let flags = [("allow", Level::Allow), ("warn", Level::Warn), ("deny", Level::Deny)];
    let mut found = Vec::new();
    for (id, level) in flags {
        let names = matches.get_many::<String>(id).unwrap_or_default();
        let places = matches.indices_of(id).unwrap_or_default();
        found.extend(places.zip(names).map(|(place, name)| (place, level, name.clone())));
    }
    found.sort_by_key(|&(place, ..)| place);
    found.into_iter().map(|(_, level, name)| (level, name)).collect()
}

fn run(arguments: &[OsString], passes: &[PassList], lowerings: &[&[Lowering]]) -> u8 {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let output = Output::before_parsing(arguments);
            return output.fail(&named(arguments), &usage::diagnostic(&error).into());
        }
        Err(error) => {
            let _ = error.print();
            return 0;
        }
    };
    let output = Output::new(&cli.shared);
    let cli = match config::with_file(cli, arguments) {
        Ok(config::Configured::Run(cli)) => *cli,
        Ok(config::Configured::Printed(text)) => {
            let printed = output.product(text.as_bytes());
            return printed.map_or_else(|problems| output.fail("mlc", &problems), |()| 0);
        }
        Err(problems) => return output.fail(&named(arguments), &problems),
    };
    let output = Output::new(&cli.shared);
    logging(cli.shared.verbose);
    if let Some(jobs) = cli.shared.jobs {
        // The pool cannot be made twice; a second command line in one process keeps the first.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global();
    }
    let name = cli.command.name();
    let outcome = Driver::new(passes)
        .map(|driver| driver.with_lowerings(lowerings))
        .and_then(|driver| Ok(driver.with_files(&Lowerings::read(&cli.shared.lowering)?)))
        .and_then(|driver| dispatch(&driver, &cli, &output));
    match outcome {
        Ok(()) => 0,
        Err(problems) => output.fail(name, &problems),
    }
}

/// The command that the arguments name, as far as that can be told.
fn named(arguments: &[OsString]) -> String {
    let command = Cli::command();
    let words = arguments.iter().filter_map(|word| word.to_str());
    let name = words.skip(1).find(|word| command.find_subcommand(word).is_some());
    name.unwrap_or("mlc").to_owned()
}

fn dispatch(driver: &Driver, cli: &Cli, output: &Output) -> Outcome {
    match &cli.command {
        Command::Convert(args) => convert::convert(driver, args, &cli.shared, output),
        Command::Compress(args) => compress::compress(driver, args, &cli.shared, output),
        Command::Decompress(args) => compress::decompress(driver, args, &cli.shared, output),
        Command::Opt(args) => opt::opt(driver, args, &cli.shared, output),
        Command::Reduce(args) => reduce::reduce(driver, args, output),
        Command::Run(args) => commands::run(driver, args, output),
        Command::Verify(args) => commands::verify(driver, args, output),
        Command::Inspect(args) => commands::inspect(driver, args, &cli.shared, output),
        Command::Print(args) => commands::print(driver, args, output),
        Command::Dump(args) => commands::dump(args, output),
        Command::Ops(args) => tables::ops(driver, args, output),
        Command::Targets => tables::targets(output),
        Command::Passes => tables::passes(driver, output),
        Command::Rules(args) => tables::rules(driver, args, output),
        Command::Codes => tables::codes(output),
        Command::Explain(args) => tables::explain(driver, args, output),
        Command::Completions(args) => commands::completions(args, output),
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
