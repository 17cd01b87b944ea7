//! `mlc reduce`: the smallest program that still shows a fault.
//!
//! Delta debugging: parts of one kind are taken away in halves, quarters and so on down to single
//! ones, kind after kind, until none can go. What is left after each step is a valid program, and the
//! fault is still there.
//!
//! **Invariant:** the same program and fault give the same result; a limit counts checks, not time.

mod edit;
mod fault;
mod steps;

use std::path::PathBuf;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::Program;
use mlc_pass::Observer;
use serde::Serialize;

use crate::convert::is_text;
use crate::{Driver, Kind, output};
use edit::apply;
use fault::Check;
use steps::{KINDS, Part, edit, yields};

pub use fault::Fault;

/// What to reduce, and how far.
#[derive(Debug, Clone)]
pub struct ReduceOptions {
    /// The model.
    pub input: PathBuf,
    /// The result: text, `-` for stdout, or a package.
    pub output: PathBuf,
    /// Forces the kind of the model.
    pub from: Option<Kind>,
    /// What must stay.
    pub fault: Fault,
    /// Enough, when no more ops than this are left.
    pub max_ops: usize,
    /// Most checks.
    pub max_checks: usize,
    /// The seed of random inputs.
    pub seed: u64,
    /// Replace what is at the output.
    pub force: bool,
}

/// What was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReduceReport {
    /// Ops of the model, constants not counted.
    pub ops_before: usize,
    /// Ops of the result.
    pub ops: usize,
    /// Checks that were made.
    pub checks: usize,
    /// Checks in which the fault was there.
    pub steps: usize,
    /// Whether nothing more could go; a limit was hit otherwise.
    pub minimal: bool,
    /// The text of the result, where the output is `-`.
    pub text: Option<String>,
}

impl Driver {
    /// Makes a model smaller as long as a fault stays, and writes what is left.
    ///
    /// # Errors
    /// The model cannot be read, the fault is not there to begin with, or the check cannot be run.
    pub fn reduce(
        &self,
        options: &ReduceOptions,
        observer: &mut dyn Observer,
    ) -> Result<ReduceReport, Diagnostics> {
        output::check_output(&options.output, options.force)?;
        let program = self.load(&options.input, options.from)?.program;
        let as_package = options.output.extension().is_some_and(|e| e == "mlpackage");
        if !as_package && !is_text(&options.output) {
            let message = "the result is text (`*.mlc`, or `-`) or a package (`*.mlpackage`)";
            let problem = Diagnostic::new(codes::BAD_ARGUMENT, message);
            return Err(problem.at(Place::Argument("-o".into())).into());
        }
        let check = Check::new(self, options, &program, as_package)?;
        let mut reducer =
            Reducer { check, options, observer, best: program.clone(), checks: 1, steps: 0 };
        let minimal = reducer.run()?;
        let Reducer { best, checks, steps, .. } = reducer;
        let text = self.write_reduced(&best, options, as_package)?;
        Ok(ReduceReport {
            ops_before: program.op_count(),
            ops: best.op_count(),
            checks,
            steps,
            minimal,
            text,
        })
    }

    fn write_reduced(
        &self,
        program: &Program,
        options: &ReduceOptions,
        as_package: bool,
    ) -> Result<Option<String>, Diagnostics> {
        if as_package {
            fault::write_package(program, &options.output, options.force)?;
            return Ok(None);
        }
        let text = crate::opt::printer(program);
        if options.output.as_os_str() == "-" {
            return Ok(Some(text));
        }
        output::write_text(&options.output, text.as_bytes(), options.force)?;
        Ok(None)
    }
}

struct Reducer<'a> {
    check: Check<'a>,
    options: &'a ReduceOptions,
    observer: &'a mut dyn Observer,
    best: Program,
    checks: usize,
    steps: usize,
}

impl Reducer<'_> {
    /// Whether nothing more can go.
    fn run(&mut self) -> Result<bool, Diagnostics> {
        loop {
            let before = self.steps;
            self.ends()?;
            for kind in KINDS {
                self.observer.start(
                    &format!("{} ops", self.best.op_count()),
                    self.checks,
                    self.options.max_checks,
                );
                self.kind(kind)?;
                if self.is_done() {
                    return Ok(false);
                }
            }
            if self.steps == before {
                return Ok(true);
            }
        }
    }

    fn is_done(&self) -> bool {
        self.checks >= self.options.max_checks || self.best.op_count() <= self.options.max_ops
    }

    /// Moves outputs to earlier values.
    fn ends(&mut self) -> Result<(), Diagnostics> {
        'again: loop {
            for part in yields(&self.best) {
                if self.is_done() {
                    return Ok(());
                }
                if self.take(&[part])? {
                    continue 'again;
                }
            }
            return Ok(());
        }
    }

    /// Takes parts of a kind away, halves first. After a success the parts are listed anew, as they
    /// stand in another program; places before the chunk have been tried.
    fn kind(&mut self, list: fn(&Program) -> Vec<Part>) -> Result<(), Diagnostics> {
        let mut parts = list(&self.best);
        let mut size = parts.len().div_ceil(2).max(1);
        loop {
            let mut start = 0;
            while start < parts.len() {
                if self.is_done() {
                    return Ok(());
                }
                let chunk = &parts[start..parts.len().min(start + size)];
                if self.take(chunk)? {
                    parts = list(&self.best);
                } else {
                    start += size;
                }
            }
            if size <= 1 {
                return Ok(());
            }
            size = size.div_ceil(2).min(parts.len().max(1));
            if parts.len() <= 1 {
                size = 1;
            }
        }
    }

    /// Takes these parts away if the fault stays.
    fn take(&mut self, parts: &[Part]) -> Result<bool, Diagnostics> {
        // Only one extent shrinks at a time.
        let extents = parts.iter().filter(|part| matches!(part, Part::Extent(_))).count();
        if extents > 1 {
            return Ok(false);
        }
        let Some(candidate) = apply(&self.best, &edit(parts)) else { return Ok(false) };
        if candidate.functions.iter().next().is_none() {
            return Ok(false);
        }
        self.checks += 1;
        let holds = self.check.holds(&candidate)?;
        if holds {
            self.best = candidate;
            self.steps += 1;
        }
        Ok(holds)
    }
}
