//! `cargo xtask cases`: unpacks the model cases and converts, validates and evaluates them.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::{command, workspace};

/// Where the archives are unpacked, relative to the root of the checkout.
pub(crate) const UNPACKED: &str = "target/cases";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with the archives and their unpack.sh
    #[arg(long, default_value = "../shared/cases")]
    from: PathBuf,
    /// What the runner is given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    let unpacked = root.join(UNPACKED);
    let from = root.join(&args.from);
    let script = from.join("unpack.sh");
    if !script.is_file() {
        let message = "no unpack.sh there; name the folder of the archives with --from";
        return Err(Failure::new(format!("{}: {message}", from.display())));
    }
    command::run(Command::new("bash").arg(&script).arg(&unpacked))?;
    let runner = ["run", "--quiet", "--release", "-p", "mlc-testkit", "--bin", "cases", "--"];
    command::run(command::cargo(runner).args(&args.arguments))
}
