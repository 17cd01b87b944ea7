//! `cargo xtask compression`: the error of each weight, side by side with coremltools; with `--budget` what
//! the search for a budget gains over one scheme for all weights.
//!
//! The scripts are `conformance/compression.py`, which fails where a weight is worse than the other tool's,
//! and `conformance/budget.py`, which fails where too few models gain enough; `conformance/spectra.py` makes
//! the models of the latter.

use std::path::PathBuf;
use std::process::Command;

use crate::cases::UNPACKED;
use crate::conformance::ENVIRONMENT;
use crate::failure::{Context, Failure, Result};
use crate::{bench, command, workspace};

const SCRIPT: &str = "crates/xtask/conformance/compression.py";
const BUDGET: &str = "crates/xtask/conformance/budget.py";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Packages to compress; without one, the model cases
    packages: Vec<PathBuf>,
    /// Folder of the model cases
    #[arg(long, value_name = "DIR", conflicts_with = "packages")]
    cases: Option<PathBuf>,
    /// Only the model of this name; repeatable
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Only this scheme, such as w4-block32; repeatable
    #[arg(long, value_name = "NAME")]
    scheme: Vec<String>,
    /// The float type that model cases are converted to
    #[arg(long, default_value = "fp16")]
    precision: String,
    /// Most elements of a weight that k-means of coremltools is run on
    #[arg(long, default_value_t = 1_000_000)]
    limit: u64,
    /// Processes
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Also write a line of JSON for each model and scheme
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare the search for a budget with recipes of one scheme instead
    #[arg(long, conflicts_with_all = ["packages", "cases", "scheme"])]
    budget: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    let build = ["build", "--quiet", "--release", "--workspace", "--bin", "mlc"];
    command::run(&mut command::cargo(build))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let environment = if args.budget { bench::ENVIRONMENT } else { ENVIRONMENT };
    let mut compare = Command::new(environment.python(&root)?);
    compare.env("PYTHONDONTWRITEBYTECODE", "1").env("TQDM_DISABLE", "1");
    compare.arg(root.join(if args.budget { BUDGET } else { SCRIPT }));
    compare.arg("--mlc").arg(target.join("release/mlc"));
    for model in &args.model {
        compare.arg("--model").arg(model);
    }
    if let Some(json) = &args.json {
        compare.arg("--json").arg(std::path::absolute(json).at(json)?);
    }
    if args.budget {
        return command::run(&mut compare);
    }
    for scheme in &args.scheme {
        compare.arg("--scheme").arg(scheme);
    }
    compare.arg("--precision").arg(&args.precision);
    compare.arg("--limit").arg(args.limit.to_string()).arg("--jobs").arg(args.jobs.to_string());
    if args.packages.is_empty() {
        let cases = args.cases.clone().unwrap_or_else(|| root.join(UNPACKED));
        if !cases.join("models").is_dir() {
            let message =
                "no model cases there; `cargo xtask cases` unpacks them, or name packages";
            return Err(Failure::new(format!("{}: {message}", cases.display())));
        }
        compare.arg("--cases").arg(std::path::absolute(&cases).at(&cases)?);
    }
    for package in &args.packages {
        compare.arg(std::path::absolute(package).at(package)?);
    }
    command::run(&mut compare)
}
