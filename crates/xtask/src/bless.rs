//! `cargo xtask bless`: writes the expected parts of fixtures and snapshots anew.

use crate::command;
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `cargo test` is given; all tests of the workspace without it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The difference is for a person to read: `git diff testdata`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut cargo = command::cargo(["test", "--quiet", "--no-fail-fast"]);
    match args.arguments.is_empty() {
        true => cargo.arg("--workspace"),
        false => cargo.args(&args.arguments),
    };
    command::run(cargo.env("BLESS", "1").env("INSTA_UPDATE", "always"))
}
