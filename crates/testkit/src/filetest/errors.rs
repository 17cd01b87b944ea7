//! Programs that are wrong, with what is wrong on its line.
//!
//! ```text
//! %y = add %a, %b // error[shape-mismatch] "2x8 and 3x8"
//! ```
//!
//! Severity, code and a part of the message. Every problem must be expected and every expectation
//! met; a line may expect several. A problem without a place in the text belongs to the line of the
//! `RUN` that found it. Without a `RUN` line the text is read and verified.
//!
//! Below `testdata/errors/render/` the whole rendering is a snapshot as well.

use std::path::Path;

use mlc_diag::{Diagnostic, Diagnostics, Place};
use mlc_driver::Driver;
use regex::Regex;

use super::run::rendered;
use super::{Fixture, FixtureError, Run};

/// A problem that a line expects.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    line: usize,
    severity: String,
    code: String,
    part: String,
}

/// What a wrong program came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Problems that nobody expected and expectations that nothing met.
    pub problems: Vec<String>,
    /// All problems of the program, as people see them.
    pub rendering: String,
}

/// Runs the fixture at `path`.
///
/// # Errors
/// The file cannot be read, or its comments make no sense.
pub fn run(driver: &Driver, path: &Path) -> Result<Outcome, FixtureError> {
    let fixture = Fixture::read(path)?;
    let mut wanted = expectations(&fixture.source);
    let mut problems = Vec::new();
    if wanted.is_empty() {
        problems.push("the fixture expects no problem".to_owned());
    }
    let mut rendering = String::new();
    for (line, found) in find(driver, &fixture) {
        rendering.push_str(&rendered(&found));
        for diagnostic in found.items() {
            for at in lines(&fixture, diagnostic, line) {
                match wanted.iter().position(|expected| expected.fits(at, diagnostic)) {
                    Some(index) => drop(wanted.remove(index)),
                    None => problems.push(format!("line {at} does not expect\n{diagnostic}")),
                }
            }
        }
    }
    for expected in wanted {
        problems.push(format!(
            "line {} expects {}[{}] \"{}\", which did not come",
            expected.line, expected.severity, expected.code, expected.part
        ));
    }
    Ok(Outcome { problems, rendering })
}

impl Expected {
    fn fits(&self, line: usize, diagnostic: &Diagnostic) -> bool {
        self.line == line
            && self.severity == diagnostic.severity.as_str()
            && self.code == diagnostic.code.name()
            && diagnostic.message.contains(&self.part)
    }
}

/// What each `RUN` line finds, with its line; one reading where there is none.
fn find(driver: &Driver, fixture: &Fixture) -> Vec<(usize, Diagnostics)> {
    let of = |run: &Run| match run.perform(driver, fixture, false) {
        Ok(done) => done.notes,
        Err(errors) => errors,
    };
    if fixture.runs.is_empty() {
        return vec![(1, fixture.parse().err().unwrap_or_default())];
    }
    fixture.runs.iter().map(|run| (run.line, of(run))).collect()
}

/// The lines of the text that a problem is about; `line` where it names none.
fn lines(fixture: &Fixture, diagnostic: &Diagnostic, line: usize) -> Vec<usize> {
    let name = fixture.name();
    let named: Vec<usize> = diagnostic
        .places
        .iter()
        .filter_map(|place| match place {
            Place::Text { file, line, .. } if **file == *name => Some(*line as usize),
            Place::Op(loc) => match &loc.source {
                Some((file, line)) if **file == *name => Some(*line as usize),
                _ => None,
            },
            _ => None,
        })
        .collect();
    if named.is_empty() { vec![line] } else { named }
}

fn expectations(source: &str) -> Vec<Expected> {
    let pattern = Regex::new(r#"\b(error|warning|note)\[([a-z0-9-]+)\]\s+"((?:[^"\\]|\\.)*)""#)
        .expect("the pattern is a constant");
    let mut found = Vec::new();
    for (index, text) in source.lines().enumerate() {
        let Some((_, comment)) = text.split_once("//") else { continue };
        for captures in pattern.captures_iter(comment) {
            found.push(Expected {
                line: index + 1,
                severity: captures[1].to_owned(),
                code: captures[2].to_owned(),
                part: captures[3].replace("\\\"", "\"").replace("\\\\", "\\"),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mlc");
        std::fs::write(&path, text).unwrap();
        run(&Driver::new(&[]).unwrap(), &path).unwrap().problems
    }

    fn program(line: &str) -> String {
        format!(
            "func @f(%a: tensor<2x8xf32>, %b: tensor<3x8xf32>) -> tensor<2x8xf32> {{\n{line}\n  return %y\n}}\n"
        )
    }

    #[test]
    fn expected_problems_are_taken() {
        assert_eq!(
            problems(&program("  %y = add %a, %b // error[shape-mismatch] \"2x8\"")),
            [""; 0]
        );
    }

    #[test]
    fn anything_else_is_found() {
        assert_eq!(problems(&program("  %y = add %a, %b")).len(), 2);
        assert_eq!(problems(&program("  %y = add %a, %b // error[syntax] \"2x8\"")).len(), 2);
        assert_eq!(problems(&program("  %y = add %a, %b // error[shape-mismatch] \"9\"")).len(), 2);
        assert_eq!(problems(&program("  %y = abs %a // error[shape-mismatch] \"2\"")).len(), 1);
    }
}
