//! `cargo xtask bench`: conversion by `mlc` and by coremltools, side by side, into `BENCHMARKS.md`.
//!
//! The scripts are in `bench/`; they make the models, run both tools and write the page.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::failure::{Context, Result};
use crate::python::Environment;
use crate::{command, workspace};

const SCRIPT: &str = "crates/xtask/bench/bench.py";
const PAGE: &str = "BENCHMARKS.md";
/// Models and results, where `--keep` names no other place.
const FOLDER: &str = "target/bench";

/// Has torch and transformers, to make models, and coremltools.
pub(crate) const ENVIRONMENT: Environment = Environment {
    folder: "target/bench-venv",
    requirements: "crates/xtask/bench/requirements.txt",
    variable: "MLC_BENCH_PYTHON",
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the model of this name; repeatable
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Leave coremltools out
    #[arg(long)]
    no_coremltools: bool,
    /// Keep the models in this folder, and use those that are there; about 9 GB for all
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Also time a build from nothing
    #[arg(long)]
    build: bool,
    /// Seconds after which a conversion of coremltools is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 900.0)]
    limit: f64,
    /// Where the page goes
    #[arg(long, value_name = "FILE", default_value = PAGE)]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    let mut bench = Command::new(ENVIRONMENT.python(&root)?);
    bench.env("PYTHONDONTWRITEBYTECODE", "1").env("TQDM_DISABLE", "1");
    bench.arg(root.join(SCRIPT));
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let build = ["build", "--quiet", "--release", "--workspace", "--bin", "mlc"];
    command::run(&mut command::cargo(build))?;
    if args.build {
        let clean = tempfile::tempdir().doing("a folder for a clean build")?;
        let start = Instant::now();
        command::run(command::cargo(build).env("CARGO_TARGET_DIR", clean.path()))?;
        bench.arg("--build-seconds").arg(start.elapsed().as_secs_f64().to_string());
    }
    let folder = args.keep.clone().unwrap_or_else(|| root.join(FOLDER));
    bench.arg("--mlc").arg(target.join("release/mlc"));
    bench.arg("--keep").arg(std::path::absolute(&folder).at(&folder)?);
    bench.arg("--limit").arg(args.limit.to_string());
    bench.arg("--out").arg(root.join(&args.out));
    if args.keep.is_some() {
        bench.arg("--keep-models");
    }
    if args.no_coremltools {
        bench.arg("--no-coremltools");
    }
    for name in &args.only {
        bench.arg("--only").arg(name);
    }
    command::run(&mut bench)
}
