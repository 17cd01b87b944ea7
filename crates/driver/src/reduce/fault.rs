//! What must still be wrong with a smaller program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mlc_coreml::emit::EmitOptions;
use mlc_coreml::package::Existing;
use mlc_diag::{Code, Diagnostic, Diagnostics, Place, codes};
use mlc_ir::Program;
use mlc_pass::{NumbersCheck, Numerics, PassManager, Pipeline};
use mlc_target::Opset;
use tempfile::TempDir;

use super::ReduceOptions;
use crate::Driver;
use crate::opt::printer;
use crate::verify::EvaluatorCheck;

/// A fault of a program.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A command says so: it gets the path of the candidate for `{}`, and exits with 0 while the fault
    /// is there.
    Command(String),
    /// A pipeline fails with the same code in the same pass.
    Fails(String),
    /// A pipeline changes the numbers.
    Changes(String),
}

/// How a pipeline fails.
type Failing = (Option<&'static str>, Option<Code>);

enum Kind {
    Command { line: String, folder: TempDir },
    Fails { pipeline: Pipeline, like: Failing },
    Changes(Pipeline),
}

/// A fault, made ready to look for.
pub(super) struct Check<'a> {
    driver: &'a Driver,
    kind: Kind,
    seed: u64,
    as_package: bool,
}

fn bad(flag: &str, message: impl Into<String>) -> Diagnostics {
    Diagnostic::new(codes::BAD_ARGUMENT, message).at(Place::Argument(flag.into())).into()
}

impl<'a> Check<'a> {
    /// A check of the fault that `options` name.
    ///
    /// # Errors
    /// `program` does not have the fault, or the check makes no sense.
    pub(super) fn new(
        driver: &'a Driver,
        options: &ReduceOptions,
        program: &Program,
        as_package: bool,
    ) -> Result<Self, Diagnostics> {
        let seed = options.seed;
        let (flag, kind) = match &options.fault {
            Fault::Command(line) if !line.contains("{}") => {
                return Err(bad("--check", "the command has no `{}` for the path of a candidate"));
            }
            Fault::Command(line) => {
                let folder = tempfile::tempdir().map_err(|error| {
                    let message = format!("no folder for candidates: {error}");
                    Diagnostic::new(codes::NOT_WRITABLE, message)
                })?;
                ("--check", Kind::Command { line: line.clone(), folder })
            }
            Fault::Fails(text) => {
                let pipeline = Pipeline::parse_named(text, "--fails")?;
                let like = failing(driver, &pipeline, program);
                let like = like.ok_or_else(|| bad("--fails", "the pipeline does not fail"))?;
                // A pipeline that cannot be planned fails on every program.
                if like.0.is_none() {
                    return Err(bad("--fails", "the pipeline itself is wrong")
                        .into_iter()
                        .map(|error| error.help("`mlc opt --passes` says what is wrong with it"))
                        .collect());
                }
                ("--fails", Kind::Fails { pipeline, like })
            }
            Fault::Changes(text) => {
                ("--changes", Kind::Changes(Pipeline::parse_named(text, "--changes")?))
            }
        };
        let check = Self { driver, kind, seed, as_package };
        if !check.holds(program)? {
            return Err(bad(flag, "the fault is not there to begin with"));
        }
        Ok(check)
    }

    /// Whether `program` has the fault.
    ///
    /// # Errors
    /// The command cannot be run.
    pub(super) fn holds(&self, program: &Program) -> Result<bool, Diagnostics> {
        match &self.kind {
            Kind::Fails { pipeline, like } => {
                Ok(failing(self.driver, pipeline, program).as_ref() == Some(like))
            }
            Kind::Changes(pipeline) => {
                let mut after = program.clone();
                let ran = PassManager::new(self.driver.passes()).run(pipeline, &mut after);
                let found =
                    EvaluatorCheck.compare(program, &after, Numerics::Same, self.seed).err();
                let differs = |found: Diagnostics| {
                    found.items().iter().any(|error| error.code == codes::VERIFY_MISMATCH)
                };
                Ok(ran.is_ok() && found.is_some_and(differs))
            }
            Kind::Command { line, folder } => {
                let Some(path) = self.candidate(program, folder.path())? else { return Ok(false) };
                run(line, &path)
            }
        }
    }

    /// Writes the candidate; none if it is to be a package and no version of Core ML holds it.
    fn candidate(&self, program: &Program, folder: &Path) -> Result<Option<PathBuf>, Diagnostics> {
        if self.as_package {
            let path = folder.join("candidate.mlpackage");
            return Ok(write_package(program, &path, true).is_ok().then_some(path));
        }
        let path = folder.join("candidate.mlc");
        crate::output::write_text(&path, printer(program).as_bytes(), true)?;
        Ok(Some(path))
    }
}

/// Writes a package for the lowest version of Core ML that holds the program.
///
/// # Errors
/// None holds it, or the file cannot be written.
pub(super) fn write_package(
    program: &Program,
    path: &Path,
    force: bool,
) -> Result<(), Diagnostics> {
    let mut options = EmitOptions::new(Opset::Ios15);
    crate::opt::lowest(program, &mut options, Opset::Ios15)?;
    let existing = if force { Existing::Replace } else { Existing::Refuse };
    mlc_coreml::emit::emit(program, path, &options, existing).map(drop)
}

fn failing(driver: &Driver, pipeline: &Pipeline, program: &Program) -> Option<Failing> {
    let mut program = program.clone();
    let failure = PassManager::new(driver.passes()).run(pipeline, &mut program).err()?;
    let code = failure.diagnostics.items().iter().find(|d| d.is_error()).map(|d| d.code);
    Some((failure.pass, code))
}

/// Whether the command exits with 0 for the candidate.
fn run(line: &str, path: &Path) -> Result<bool, Diagnostics> {
    let shell = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let line = line.replace("{}", &path.to_string_lossy());
    let status = Command::new(shell.0)
        .args([shell.1, &line])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status
        .map(|status| status.success())
        .map_err(|error| bad("--check", format!("`{}` cannot be run: {error}", shell.0)))
}
