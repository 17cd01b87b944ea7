//! Every rule is tested by programs made from its fixture: see `mlc_egraph::soundness`.
//!
//! `MLC_RULE_DRAWS` says how many programs are drawn at most.

use std::path::Path;

use mlc_driver::Driver;
use mlc_egraph::soundness::{Effort, Fault, check};
use mlc_egraph::{Family, Rule};
use mlc_text::{ParseOptions, PrintOptions};

use crate::walk;

/// Different programs that a rule must fire on.
const LEAST: usize = 8;
/// Programs that are drawn at most.
const DRAWS: usize = 3000;

/// Everything that is wrong with a rule: no equation, no fixture, too few programs that it fires on, or
/// one that it makes another of. Its fixtures are `testdata/rules/NAME.mlc` and `NAME_*.mlc`.
#[must_use]
pub fn problems(testdata: &Path, family: &Family, rule: &Rule) -> Vec<String> {
    let mut problems = Vec::new();
    let mut templates = Vec::new();
    for path in fixtures(testdata, rule.name) {
        let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let parsed = read.and_then(|text| {
            let parsed = mlc_text::parse(rule.name, &text, &ParseOptions::default());
            parsed.map_err(|errors| format!("{errors:?}"))
        });
        match parsed {
            Ok(parsed) => templates.push(parsed.program),
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    if templates.is_empty() {
        problems.push(format!("testdata/rules/{}.mlc is missing", rule.name));
        return problems;
    }
    if family.equation(rule.name).is_empty() {
        problems.push("the function has no equation".to_owned());
    }
    let draws = std::env::var("MLC_RULE_DRAWS").ok().and_then(|n| n.parse().ok()).unwrap_or(DRAWS);
    let enough = (draws / 60).max(4 * LEAST);
    let verdict = check(rule, &templates, Effort { draws, enough, seed: 1 });
    if let Some(fault) = &verdict.fault {
        problems.push(shown(fault));
    } else if verdict.fired < LEAST || verdict.compared * 2 < verdict.fired {
        problems.push(format!(
            "it fired on {} of {} programs like its fixture, {} compared; {LEAST} are needed: a fixture \
             `{}_2.mlc` may show another form",
            verdict.fired, verdict.samples, verdict.compared, rule.name
        ));
    }
    problems
}

/// The fixtures of a rule.
fn fixtures(testdata: &Path, rule: &str) -> Vec<std::path::PathBuf> {
    let files = walk::files(&testdata.join("rules"), "mlc").unwrap_or_default();
    let is_own = |path: &std::path::PathBuf| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        stem.split('_').next() == Some(rule)
    };
    files.into_iter().filter(is_own).collect()
}

fn shown(fault: &Fault) -> String {
    let text = |program| mlc_text::print(program, &PrintOptions::default());
    format!("{}\nbefore:\n{}after:\n{}", fault.what, text(&fault.before), text(&fault.after))
}

/// The fixtures that belong to no rule.
#[must_use]
pub fn strangers(testdata: &Path, driver: &Driver) -> Vec<String> {
    let files = walk::files(&testdata.join("rules"), "mlc").unwrap_or_default();
    let names: Vec<&str> =
        driver.rules().iter().flat_map(|f| f.rules.iter().map(|rule| rule.name)).collect();
    files
        .iter()
        .map(|path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
        .filter(|stem| !names.contains(&stem.split('_').next().unwrap_or_default()))
        .map(|stem| format!("testdata/rules/{stem}.mlc is of no rule"))
        .collect()
}
