//! `cargo xtask conformance`: the packages that the tests emit load in coremltools, which infers the
//! same types from them.
//!
//! The checker is `conformance/check.py`. It runs in a Python environment of its own below `target/`,
//! made on first use and again when `conformance/requirements.txt` changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Context, Result};
use crate::python::Environment;
use crate::{command, workspace};

/// Crates whose tests write the packages they emit into the folder that [`FOLDER_VARIABLE`] names.
const EMITTING: [&str; 3] = ["mlc-coreml", "mlc-cli", "mlc-testkit"];
const FOLDER_VARIABLE: &str = "MLC_CONFORMANCE_DIR";

const PACKAGES: &str = "target/conformance";
const CHECKER: &str = "crates/xtask/conformance/check.py";
const CHECKER_TEST: &str = "crates/xtask/conformance/test_check.py";

/// Has coremltools.
pub(crate) const ENVIRONMENT: Environment = Environment {
    folder: "target/conformance-venv",
    requirements: "crates/xtask/conformance/requirements.txt",
    variable: "MLC_CONFORMANCE_PYTHON",
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Packages, or folders with packages; without one, those of the tests are made and checked
    paths: Vec<PathBuf>,
    /// Only test the checker: faults put into packages of coremltools are found
    #[arg(long, conflicts_with_all = ["paths", "json"])]
    self_test: bool,
    /// Print one JSON object with the result of each package
    #[arg(long)]
    json: bool,
    /// Processes
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    let python = ENVIRONMENT.python(&root)?;
    if args.self_test {
        let mut test = Command::new(python);
        test.arg(root.join(CHECKER_TEST)).env("TQDM_DISABLE", "1");
        return command::run(test.env("PYTHONDONTWRITEBYTECODE", "1"));
    }
    let mut paths = args.paths.clone();
    if paths.is_empty() {
        paths.push(emit(&root)?);
    }
    let mut check = Command::new(python);
    check.env("PYTHONDONTWRITEBYTECODE", "1");
    check.arg(root.join(CHECKER)).arg("--jobs").arg(args.jobs.to_string());
    if args.json {
        check.arg("--json");
    }
    command::run(check.arg("--").args(&paths))
}

/// Runs the emitting tests; the result is the folder with their packages.
fn emit(root: &Path) -> Result<PathBuf> {
    let folder = root.join(PACKAGES);
    if folder.exists() {
        fs::remove_dir_all(&folder).at(&folder)?;
    }
    fs::create_dir_all(&folder).at(&folder)?;
    let mut tests = command::cargo(["test", "--quiet"]);
    for package in EMITTING {
        tests.args(["-p", package]);
    }
    command::run(tests.env(FOLDER_VARIABLE, &folder))?;
    Ok(folder)
}
