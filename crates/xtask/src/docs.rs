//! `cargo xtask docs`: the API documentation without a warning, and a page for every code.

use crate::failure::{Failure, Result};
use crate::{command, tidy, workspace};

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Open the result in a browser
    #[arg(long)]
    open: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut cargo = command::cargo(["doc", "--quiet", "--no-deps", "--workspace"]);
    if args.open {
        cargo.arg("--open");
    }
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    command::run(&mut cargo)?;
    let findings = tidy::check_pages(&workspace::root())?;
    match findings.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(findings.join("\n"))),
    }
}
