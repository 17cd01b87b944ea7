//! `cargo xtask compression PACKAGE..`: the error of each weight, and the time, side by side with
//! coremltools.
//!
//! The script is `conformance/compression.py`; it prints a line of JSON for each package and scheme and
//! fails where a weight is worse than the other tool's.

use std::path::PathBuf;
use std::process::Command;

use crate::conformance::ENVIRONMENT;
use crate::failure::{Context, Result};
use crate::{command, workspace};

const SCRIPT: &str = "crates/xtask/conformance/compression.py";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Packages to compress
    #[arg(required = true)]
    packages: Vec<PathBuf>,
    /// Schemes, such as w8,w4-block32; all that both tools have without it
    #[arg(long)]
    schemes: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    command::run(&mut command::cargo(["build", "--quiet", "--release", "-p", "mlc-cli"]))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut compare = Command::new(ENVIRONMENT.python(&root)?);
    compare.env("PYTHONDONTWRITEBYTECODE", "1").env("TQDM_DISABLE", "1");
    compare.arg(root.join(SCRIPT)).arg("--mlc").arg(target.join("release/mlc"));
    if let Some(schemes) = &args.schemes {
        compare.arg("--schemes").arg(schemes);
    }
    for package in &args.packages {
        compare.arg(std::path::absolute(package).at(package)?);
    }
    command::run(&mut compare)
}
