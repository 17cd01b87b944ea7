//! `cargo xtask reduce FILE`: the smallest text program that still shows a fault, beside the file.

use std::path::PathBuf;

use crate::command;
use crate::failure::{Context, Result};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The program; the result stands beside it as NAME.reduced.mlc
    file: PathBuf,
    /// The fault and limits as `mlc reduce` takes them: --check 'CMD {}', --fails P or --changes P
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // Cargo is started in the root of the checkout.
    let input = std::path::absolute(&args.file).at(&args.file)?;
    let output = input.with_extension("reduced.mlc");
    let mut reduce = command::cargo(["run", "--quiet", "--package", "mlc-cli", "--", "reduce"]);
    reduce.arg(&input).arg("-o").arg(&output).arg("--force").args(&args.rest);
    command::run(&mut reduce)
}
