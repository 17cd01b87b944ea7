//! A file dropped below `testdata/` is a test.
//!
//! A fixture is text IR. What it says in comments:
//!
//! - `// RUN: opt --passes=PIPELINE %`: what is done with it. Also `print`, `verify` and
//!   `emit --target=T`; `not` in front means that it fails. Several are done in order, and their
//!   outputs follow each other.
//! - `// CHECK: text` and its relatives ([`check`]): what the output says.
//! - `// ---- result ----` and comment lines to the end: the whole output. `BLESS=1` writes them anew.
//! - `// NO-EVAL: reason`: the numbers cannot be compared.
//!
//! Without being asked each fixture is printed, read and printed again; verified after every pass;
//! and evaluated before and after every pass on random inputs.
//!
//! Below `testdata/errors/` a line that is wrong says how: [`errors`].

pub mod check;
pub mod docs;
pub mod errors;
mod fixture;
mod run;

pub use fixture::{Blessing, Fixture, FixtureError};
pub use run::{Action, Run, RunError};

use std::path::Path;

use mlc_driver::Driver;
use mlc_ir::Program;
use mlc_text::{ParseOptions, PrintOptions};

use crate::diff::unified;

/// Everything that is wrong with the fixture at `path`. With `blessing`, an outdated result part is
/// written anew instead.
///
/// # Errors
/// The file cannot be read or written, or its comments make no sense.
pub fn run_fixture(
    driver: &Driver,
    path: &Path,
    blessing: Blessing,
) -> Result<Vec<String>, FixtureError> {
    let fixture = Fixture::read(path)?;
    let mut problems = Vec::new();
    let mut output = String::new();
    for run in &fixture.runs {
        match run.output(driver, &fixture) {
            Ok(text) => output.push_str(&text),
            Err(error) => problems.push(format!("RUN: {}\n{error}", run.text)),
        }
    }
    if fixture.needs_checks() && fixture.checks.is_empty() {
        problems.push("a fixture of a pass or a rule needs CHECK lines".to_owned());
    }
    if fixture.needs_checks() && fixture.runs.is_empty() {
        problems.push("a fixture of a pass or a rule needs a RUN line".to_owned());
    }
    if fixture.runs.iter().all(|run| !run.fails) {
        problems.extend(round_trip(&fixture));
    }
    if !problems.is_empty() {
        return Ok(problems);
    }
    if let Err(missed) = check::all(&fixture.checks, &output) {
        problems.push(format!("{missed}\noutput:\n{}", indented(&output)));
    }
    if let Some(expected) = &fixture.blessed {
        let got = fixture::as_result(&output);
        if *expected != got {
            match blessing {
                Blessing::Write => fixture.bless(&got)?,
                Blessing::Compare => problems.push(format!(
                    "the result differs; BLESS=1 accepts it\n{}",
                    unified(expected, &got)
                )),
            }
        }
    }
    Ok(problems)
}

/// The text of a program with nothing left out.
fn full_text(program: &Program, base: &Path) -> String {
    let base_dir = (!base.as_os_str().is_empty()).then(|| base.to_path_buf());
    let options = PrintOptions { header: true, locations: true, base_dir, function: None };
    mlc_text::print(program, &options)
}

/// Why `program` is another one after printing and reading; none if it is the same.
fn reprinted(program: &Program, base: &Path) -> Option<String> {
    let text = full_text(program, base);
    let options = ParseOptions { base_dir: base.to_path_buf(), locate: false };
    match mlc_text::parse("printed", &text, &options) {
        Err(errors) => Some(format!(
            "what is printed cannot be read\n{}\n{}",
            run::rendered(&errors),
            indented(&text)
        )),
        Ok(parsed) => {
            let again = full_text(&parsed.program, base);
            (again != text).then(|| {
                format!("printed, read and printed again it differs\n{}", unified(&text, &again))
            })
        }
    }
}

/// The round trip of the fixture's own text.
fn round_trip(fixture: &Fixture) -> Vec<String> {
    match fixture.parse() {
        Err(errors) => vec![format!("the fixture cannot be read\n{}", run::rendered(&errors))],
        Ok(program) => reprinted(&program, fixture.folder()).into_iter().collect(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "func @f(%x: tensor<2xf32>) -> tensor<2xf32> {\n  %1 = exp %x\n  \
                           %y = abs %x\n  return %y\n}\n";

    /// The problems of a fixture below `testdata/passes/`.
    fn problems(comments: &str, result: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("testdata/passes/dce");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.mlc");
        std::fs::write(&path, format!("{comments}{PROGRAM}{result}")).unwrap();
        run_fixture(&Driver::new(&[]).unwrap(), &path, Blessing::Compare).unwrap()
    }

    #[test]
    fn a_fixture_that_holds_has_no_problem() {
        let result = "// ---- result ----\n// func @f(%x: tensor<2xf32>) -> tensor<2xf32> {\n\
                      //   %y = abs %x : tensor<2xf32>\n//   return %y\n// }\n";
        let comments = "// RUN: opt --passes=dce %\n// CHECK-NOT: exp\n";
        assert_eq!(problems(comments, result), [""; 0]);
    }

    #[test]
    fn a_fixture_that_does_not_hold_says_so() {
        let found = |comments: &str, result: &str, part: &str| {
            let problems = problems(comments, result);
            assert!(problems.iter().any(|problem| problem.contains(part)), "{problems:?}");
        };
        found("// RUN: opt --passes=dce %\n", "", "needs CHECK lines");
        found("// CHECK: abs\n", "", "needs a RUN line");
        found("// RUN: opt --passes=dce %\n// CHECK: exp\n", "", "was not found");
        found("// RUN: not opt --passes=dce %\n// CHECK: exp\n", "", "must fail and did not");
        found("// RUN: opt --passes=dead %\n// CHECK: abs\n", "", "unknown-pass");
        let outdated = "// ---- result ----\n// func\n";
        found("// RUN: opt --passes=dce %\n// CHECK: abs\n", outdated, "the result differs");
    }
}
