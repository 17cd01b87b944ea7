//! The parts of a fixture.

use std::path::{Path, PathBuf};

use mlc_diag::Diagnostics;
use mlc_ir::Program;
use mlc_text::ParseOptions;

use super::check::{Check, CheckError};
use super::run::{Run, RunError};

/// The line that the result part begins with.
const RESULT: &str = "// ---- result ----";
/// Folders whose fixtures need CHECK lines.
const CHECKED: [&str; 2] = ["passes", "rules"];

/// What happens to an outdated result part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blessing {
    /// It is a failure.
    Compare,
    /// It is written anew.
    Write,
}

impl Blessing {
    /// `Write` where the environment has `BLESS=1`.
    #[must_use]
    pub fn from_env() -> Self {
        match std::env::var_os("BLESS") {
            Some(value) if value == "1" => Self::Write,
            _ => Self::Compare,
        }
    }
}

/// A fixture that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A RUN line.
    #[error("line {line}: {error}")]
    Run {
        /// 1-based.
        line: usize,
        /// Why.
        error: RunError,
    },
    /// A CHECK line.
    #[error("line {line}: {error}")]
    Check {
        /// 1-based.
        line: usize,
        /// Why.
        error: CheckError,
    },
    /// A NO-EVAL line.
    #[error("line {line}: NO-EVAL needs a reason")]
    NoReason {
        /// 1-based.
        line: usize,
    },
}

/// A fixture.
#[derive(Debug)]
pub struct Fixture {
    /// Where it is.
    pub path: PathBuf,
    /// Its text up to the result part.
    pub source: String,
    /// What is done with it.
    pub runs: Vec<Run>,
    /// What the output must say.
    pub checks: Vec<Check>,
    /// Why the numbers are not compared.
    pub no_eval: Option<String>,
    /// The lines of the result part.
    pub blessed: Option<String>,
}

impl Fixture {
    /// Reads the fixture at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or its comments make no sense.
    pub fn read(path: &Path) -> Result<Self, FixtureError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| FixtureError::File { path: path.to_owned(), error })?;
        Self::of(path, &text)
    }

    /// The fixture of that text.
    ///
    /// # Errors
    /// Its comments make no sense.
    pub fn of(path: &Path, text: &str) -> Result<Self, FixtureError> {
        let (source, blessed) = split(text);
        let mut fixture = Self {
            path: path.to_owned(),
            source: source.to_owned(),
            runs: Vec::new(),
            checks: Vec::new(),
            no_eval: None,
            blessed: blessed.map(str::to_owned),
        };
        for (index, line) in source.lines().enumerate() {
            let at = index + 1;
            let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
            let comment = comment.trim_start();
            if let Some(run) = comment.strip_prefix("RUN:") {
                let run = Run::parse(run, at);
                fixture.runs.push(run.map_err(|error| FixtureError::Run { line: at, error })?);
            } else if let Some(reason) = comment.strip_prefix("NO-EVAL") {
                let reason = reason.trim_start_matches(':').trim();
                if reason.is_empty() {
                    return Err(FixtureError::NoReason { line: at });
                }
                fixture.no_eval = Some(reason.to_owned());
            } else if comment.starts_with("CHECK") {
                let check = Check::parse(comment, at);
                let check = check.map_err(|error| FixtureError::Check { line: at, error })?;
                fixture.checks.push(check);
            }
        }
        Ok(fixture)
    }

    /// The name that places call it.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    /// The folder that `file("…")` is relative to.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Its program.
    ///
    /// # Errors
    /// Everything wrong with its text.
    pub fn parse(&self) -> Result<Program, Diagnostics> {
        let options = ParseOptions { base_dir: self.folder().to_path_buf(), locate: true };
        Ok(mlc_text::parse(&self.name(), &self.source, &options)?.program)
    }

    /// Whether it must have CHECK lines.
    #[must_use]
    pub fn needs_checks(&self) -> bool {
        let mut parts = self.path.components().map(|c| c.as_os_str());
        let under = parts.any(|part| part == "testdata").then(|| parts.next()).flatten();
        under.is_some_and(|folder| CHECKED.iter().any(|checked| folder == *checked))
    }

    /// Writes the file with `result` as its result part and nothing else changed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn bless(&self, result: &str) -> Result<(), FixtureError> {
        let text = format!("{}{RESULT}\n{result}", self.source);
        std::fs::write(&self.path, text)
            .map_err(|error| FixtureError::File { path: self.path.clone(), error })
    }
}

/// The text before the result part, and the lines after the marker.
fn split(text: &str) -> (&str, Option<&str>) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end() == RESULT {
            return (&text[..at], Some(&text[at + line.len()..]));
        }
        at += line.len();
    }
    (text, None)
}

/// `output` as the lines of a result part.
pub(crate) fn as_result(output: &str) -> String {
    let comment = |line: &str| match line.is_empty() {
        true => "//\n".to_owned(),
        false => format!("// {line}\n"),
    };
    output.lines().map(comment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "// RUN: opt --passes=cse %\n// CHECK: add\n\nfunc @f() {}\n\n\
                        // ---- result ----\n// func\n//\n";

    #[test]
    fn parts_are_found() {
        let fixture = Fixture::of(Path::new("/w/testdata/passes/cse/a.mlc"), TEXT).unwrap();
        assert_eq!((fixture.runs.len(), fixture.checks.len()), (1, 1));
        assert_eq!(fixture.blessed.as_deref(), Some("// func\n//\n"));
        assert!(fixture.needs_checks());
        assert!(!Fixture::of(Path::new("/w/testdata/ir/a.mlc"), TEXT).unwrap().needs_checks());
        assert!(Fixture::of(Path::new("a.mlc"), "// NO-EVAL:  \n").is_err());
    }

    #[test]
    fn blessing_changes_the_result_part_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mlc");
        std::fs::write(&path, TEXT).unwrap();
        Fixture::read(&path).unwrap().bless(&as_result("new\n\n")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, TEXT.replace("// func\n//\n", "// new\n//\n"));
    }
}
