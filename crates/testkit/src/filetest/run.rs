//! `RUN` lines.

use std::path::Path;

use mlc_coreml::emit::EmitOptions;
use mlc_diag::{Code, Diagnostics, codes};
use mlc_driver::Driver;
use mlc_ir::Program;
use mlc_pass::{PassManager, Pipeline, RunOptions, VerifyEach};
use mlc_target::Target;
use mlc_text::PrintOptions;

use super::{Fixture, reprinted};
use crate::numbers::Numbers;

/// What a fixture is put through.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A pipeline, and the program printed.
    Opt(Box<Opt>),
    /// The program printed.
    Print,
    /// Nothing but reading and verification.
    Verify,
    /// A check whether a target takes it as it stands.
    Emit(Target),
}

/// A pipeline and how it is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Opt {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Passes that are left out.
    pub skip: Vec<String>,
    /// The pass after which everything stops.
    pub stop_after: Option<String>,
    /// Most passes that run.
    pub bisect_limit: Option<usize>,
}

/// A `RUN` line.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// As it stands.
    pub text: String,
    /// 1-based line in the fixture.
    pub line: usize,
    /// Whether it must fail.
    pub fails: bool,
    /// Whether programs are printed with locations.
    pub locations: bool,
    /// What is done.
    pub action: Action,
}

/// A `RUN` line that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// A word that is not known there.
    #[error(
        "`{0}` is not known in a RUN line; there are: [not] opt --passes=P [--skip=P] [--stop-after=P] [--bisect-limit=N] %, print %, verify %, emit --target=T %, each with --locations"
    )]
    Word(String),
    /// `%` is missing.
    #[error("a RUN line ends in `%`, which stands for the file")]
    NoFile,
    /// A value that cannot be read.
    #[error("{0}")]
    Value(String),
}

impl Run {
    /// Reads what stands behind `RUN:`.
    ///
    /// # Errors
    /// A word that is not known.
    pub fn parse(text: &str, line: usize) -> Result<Self, RunError> {
        // Expected errors of the line itself stand behind it.
        let text = text.split(" // ").next().unwrap_or_default().trim();
        let words = words(text);
        let mut words = words.iter().map(String::as_str).peekable();
        let fails = words.next_if_eq(&"not").is_some();
        let command = words.next().unwrap_or_default();
        let mut flags = Flags::default();
        let mut has_file = false;
        for word in words {
            match word {
                "%" => has_file = true,
                word => flags.add(word)?,
            }
        }
        if !has_file {
            return Err(RunError::NoFile);
        }
        let locations = flags.locations;
        let action = flags.action(command)?;
        Ok(Self { text: text.to_owned(), line, fails, locations, action })
    }

    /// What the line prints for `fixture`: the program, or for a line that must fail its problems.
    ///
    /// # Errors
    /// It failed, did not fail where it must, or an automatic check found something.
    pub fn output(&self, driver: &Driver, fixture: &Fixture) -> Result<String, String> {
        let print = |program: &Program| {
            let options = PrintOptions { locations: self.locations, ..base(fixture.folder()) };
            mlc_text::print(program, &options)
        };
        match (self.perform(driver, fixture, !self.fails), self.fails) {
            (Ok(done), false) => {
                if let Some(problem) = reprinted(&done.program, fixture.folder()) {
                    return Err(problem);
                }
                Ok(match self.action {
                    Action::Opt(_) | Action::Print => print(&done.program),
                    Action::Verify | Action::Emit(_) => String::new(),
                })
            }
            (Ok(_), true) => Err("it must fail and did not".to_owned()),
            (Err(errors), false) => Err(rendered(&errors) + &evaluation_hint(&errors)),
            (Err(errors), true) => match has(&errors, codes::INTERNAL) {
                true => Err(format!("it must fail, but not so\n{}", rendered(&errors))),
                false => Ok(rendered(&errors)),
            },
        }
    }

    /// Does what the line says. With `checked`, numbers are compared unless the fixture says no.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn perform(
        &self,
        driver: &Driver,
        fixture: &Fixture,
        checked: bool,
    ) -> Result<Done, Diagnostics> {
        let mut program = fixture.parse()?;
        let mut notes = Diagnostics::new();
        match &self.action {
            Action::Print | Action::Verify => notes.extend(mlc_ir::verify(&program)),
            Action::Emit(target) => {
                notes = mlc_coreml::emit::check(&program, &EmitOptions::new(target.opset()));
            }
            Action::Opt(opt) => {
                let numbers = checked && fixture.no_eval.is_none();
                notes = opt.run(driver, &mut program, numbers)?;
            }
        }
        if notes.has_errors() { Err(notes) } else { Ok(Done { program, notes }) }
    }
}

/// What a `RUN` line came to.
pub(crate) struct Done {
    /// The program.
    pub(crate) program: Program,
    /// Warnings and notes.
    pub(crate) notes: Diagnostics,
}

impl Opt {
    /// Runs the pipeline, with every check after every pass.
    pub(crate) fn run(
        &self,
        driver: &Driver,
        program: &mut Program,
        numbers: bool,
    ) -> Result<Diagnostics, Diagnostics> {
        let options = RunOptions {
            skip: self.skip.clone(),
            stop_after: self.stop_after.clone(),
            bisect_limit: self.bisect_limit,
            verify_each: if numbers { VerifyEach::Numbers } else { VerifyEach::Types },
            printer: Some(|program| super::full_text(program, Path::new(""))),
            ..RunOptions::default()
        };
        let mut check = Numbers::default();
        PassManager::new(driver.passes())
            .options(options)
            .numbers(&mut check)
            .run(&self.pipeline, program)
            .map(|report| report.diagnostics)
            .map_err(|failure| failure.diagnostics)
    }
}

fn base(folder: &Path) -> PrintOptions {
    let base_dir = (!folder.as_os_str().is_empty()).then(|| folder.to_path_buf());
    PrintOptions { base_dir, ..PrintOptions::default() }
}

/// The problems as people see them, one after the other.
pub(crate) fn rendered(diagnostics: &Diagnostics) -> String {
    diagnostics.items().iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

fn has(diagnostics: &Diagnostics, code: Code) -> bool {
    diagnostics.items().iter().any(|diagnostic| diagnostic.code == code)
}

fn evaluation_hint(errors: &Diagnostics) -> String {
    match has(errors, codes::EVALUATION) {
        true => {
            "where nothing else helps, `// NO-EVAL: reason` leaves the numbers out\n".to_owned()
        }
        false => String::new(),
    }
}

/// The flags of a `RUN` line.
#[derive(Default)]
struct Flags {
    pipeline: Option<Pipeline>,
    target: Option<Target>,
    skip: Vec<String>,
    stop_after: Option<String>,
    bisect_limit: Option<usize>,
    locations: bool,
}

impl Flags {
    fn add(&mut self, word: &str) -> Result<(), RunError> {
        let unknown = || RunError::Word(word.to_owned());
        if word == "--locations" {
            self.locations = true;
            return Ok(());
        }
        let (name, value) = word.split_once('=').ok_or_else(unknown)?;
        match name {
            "--passes" => {
                let pipeline = Pipeline::parse(value);
                self.pipeline = Some(pipeline.map_err(|e| RunError::Value(rendered(&e)))?);
            }
            "--skip" => self.skip.push(value.to_owned()),
            "--stop-after" => self.stop_after = Some(value.to_owned()),
            "--bisect-limit" => {
                let limit = value.parse().map_err(|_| RunError::Value(format!("`{value}`")))?;
                self.bisect_limit = Some(limit);
            }
            "--target" => {
                let target = value.parse::<Target>();
                self.target = Some(target.map_err(|e| RunError::Value(e.to_string()))?);
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    fn action(self, command: &str) -> Result<Action, RunError> {
        let missing = |flag: &str| RunError::Value(format!("`{command}` needs {flag}"));
        match command {
            "opt" => Ok(Action::Opt(Box::new(Opt {
                pipeline: self.pipeline.ok_or_else(|| missing("--passes=PIPELINE"))?,
                skip: self.skip,
                stop_after: self.stop_after,
                bisect_limit: self.bisect_limit,
            }))),
            "print" => Ok(Action::Print),
            "verify" => Ok(Action::Verify),
            "emit" => Ok(Action::Emit(self.target.ok_or_else(|| missing("--target=T"))?)),
            other => Err(RunError::Word(other.to_owned())),
        }
    }
}

/// The words of a command line; single quotes keep blanks.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut any) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            c if c.is_whitespace() && !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let run =
            Run::parse(" not opt --passes='cse, dce' --bisect-limit=2 % // error[x] \"y\"", 3);
        let run = run.unwrap();
        assert!(run.fails && run.line == 3);
        let Action::Opt(opt) = run.action else { panic!("no opt") };
        assert_eq!((opt.pipeline.to_string().as_str(), opt.bisect_limit), ("cse,dce", Some(2)));
        assert_eq!(Run::parse("print %", 1).unwrap().action, Action::Print);
    }

    #[test]
    fn unknown_words_are_refused() {
        assert!(matches!(Run::parse("opt --pases=cse %", 1), Err(RunError::Word(_))));
        assert!(matches!(Run::parse("optimize %", 1), Err(RunError::Word(_))));
        assert!(matches!(Run::parse("opt %", 1), Err(RunError::Value(_))));
        assert!(matches!(Run::parse("opt --passes=( %", 1), Err(RunError::Value(_))));
        assert_eq!(Run::parse("print", 1).unwrap_err(), RunError::NoFile);
    }
}
