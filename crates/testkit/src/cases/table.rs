//! A table of models: file by target and precision.

use std::fmt::Write as _;

use super::Config;
use super::collect::Case;
use super::outcome::{Outcome, Reached};

/// The conversion table of the models among `cases`, as Markdown. It holds times, so no two runs give
/// the same.
#[must_use]
pub fn table(cases: &[Case], outcomes: &[Vec<Outcome>], configs: &[Config]) -> String {
    let mut out = String::from("| model | file |");
    for config in configs {
        let _ = write!(out, " {config} |");
    }
    out.push_str("\n|---|---|");
    out.push_str(&"---|".repeat(configs.len()));
    out.push('\n');
    for (case, outcomes) in cases.iter().zip(outcomes).filter(|(case, _)| case.is_model()) {
        let file = case.id.splitn(3, '/').nth(2).unwrap_or_default();
        let _ = write!(out, "| {} | {file} |", case.name);
        for outcome in outcomes {
            let _ = write!(out, " {} |", cell(outcome));
        }
        out.push('\n');
    }
    out
}

fn cell(outcome: &Outcome) -> String {
    let milliseconds = outcome.seconds * 1e3;
    match (outcome.reached, &outcome.failure) {
        (Reached::TooOld, _) => match outcome.needs {
            Some(needs) => format!("needs {needs}"),
            None => "needs a later one".to_owned(),
        },
        (_, Some(failure)) => failure.group.replace('|', "\\|"),
        (_, None) => {
            let (ops, relative) = (outcome.ops.values().sum::<usize>(), outcome.relative);
            format!("ok, {ops} ops, {relative:.1e}, {milliseconds:.0} ms")
        }
    }
}
