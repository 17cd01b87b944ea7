//! `cargo xtask ready`: everything a change must pass, in one command.

use std::time::Instant;

use crate::command;
use crate::failure::{Failure, Result};
use crate::{docs, tidy};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 5] = [
    ("fmt", || command::run(&mut command::cargo(["fmt", "--all", "--check"]))),
    ("clippy", clippy),
    ("test", || command::run(&mut command::cargo(["test", "--quiet", "--workspace"]))),
    ("docs", || docs::run(&docs::Args::default())),
    ("tidy", || tidy::run(&tidy::Args::default())),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only these steps
    #[arg(value_parser = STEPS.map(|(name, _)| name))]
    steps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let asked = |name: &str| args.steps.is_empty() || args.steps.iter().any(|step| step == name);
    let mut failed = Vec::new();
    for (name, step) in STEPS.iter().filter(|(name, _)| asked(name)) {
        eprintln!("== {name}");
        let start = Instant::now();
        let result = step();
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => eprintln!("== {name}: ok, {seconds:.1} s"),
            Err(failure) => {
                eprintln!("== {name}: FAILED, {seconds:.1} s: {failure}");
                failed.push(*name);
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!("failed: {}", failed.join(", ")))),
    }
}

fn clippy() -> Result<()> {
    let arguments = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    command::run(&mut command::cargo(arguments))
}
