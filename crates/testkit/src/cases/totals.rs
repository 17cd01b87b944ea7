//! How many cases came how far, by family: a committed text whose difference shows movement.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Config;
use super::collect::Case;
use super::outcome::{Outcome, Reached};

/// Counts of a family for one target and precision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cases whose target is too old.
    pub too_old: usize,
    /// Cases that were converted.
    pub converted: usize,
    /// Cases whose package was read back.
    pub validated: usize,
    /// Cases whose numbers agree.
    pub matched: usize,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        self.too_old += usize::from(outcome.reached == Reached::TooOld);
        self.converted += usize::from(outcome.reached >= Reached::Converted);
        self.validated += usize::from(outcome.reached >= Reached::Validated);
        self.matched += usize::from(outcome.reached >= Reached::Matched);
    }

    fn sum(&mut self, other: Self) {
        self.too_old += other.too_old;
        self.converted += other.converted;
        self.validated += other.validated;
        self.matched += other.matched;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{}/{}/{}", self.converted, self.validated, self.matched);
        let text = match self.too_old {
            0 => text,
            old => format!("{text} -{old}"),
        };
        f.pad(&text)
    }
}

/// A family: how many cases, and the counts by configuration.
type Row = (usize, Vec<Counts>);

/// The table by family and the failures by what went wrong first.
///
/// A cell is `converted/validated/matched`; `-n` are cases that need a later target. A failure is
/// counted once for each case, whatever the number of targets it shows at.
#[must_use]
pub fn totals(cases: &[Case], outcomes: &[Vec<Outcome>], configs: &[Config]) -> String {
    let mut out = String::new();
    let blocks = [("ops", false), ("models", true)];
    for (title, models) in blocks {
        let rows = rows(cases, outcomes, configs.len(), models);
        if !rows.is_empty() {
            write_block(&mut out, title, &rows, configs);
        }
    }
    let groups = failures(cases, outcomes);
    if !groups.is_empty() {
        out.push_str("first failures\n");
    }
    for (group, ids) in groups {
        let _ = writeln!(out, "{:5}  {group}", ids.len());
    }
    out
}

fn rows(
    cases: &[Case],
    outcomes: &[Vec<Outcome>],
    columns: usize,
    models: bool,
) -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (case, outcomes) in cases.iter().zip(outcomes) {
        if case.is_model() == models {
            let row = rows
                .entry(case.family.clone())
                .or_insert_with(|| (0, vec![Counts::default(); columns]));
            row.0 += 1;
            row.1.iter_mut().zip(outcomes).for_each(|(counts, outcome)| counts.add(outcome));
        }
    }
    rows
}

fn write_block(out: &mut String, title: &str, rows: &BTreeMap<String, Row>, configs: &[Config]) {
    let mut all: Row = (0, vec![Counts::default(); configs.len()]);
    let name_width = rows.keys().map(String::len).max().unwrap_or(0).max(title.len());
    let mut line = |name: &str, count: &str, cells: &[String]| {
        let mut text = format!("{name:name_width$}  {count:>5}");
        for cell in cells {
            let _ = write!(text, "  {cell:>17}");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    };
    let names: Vec<String> = configs.iter().map(ToString::to_string).collect();
    line(title, "cases", &names);
    for (name, (count, counts)) in rows {
        let cells: Vec<String> = counts.iter().map(ToString::to_string).collect();
        line(name, &count.to_string(), &cells);
        all.0 += count;
        all.1.iter_mut().zip(counts).for_each(|(sum, counts)| sum.sum(*counts));
    }
    let cells: Vec<String> = all.1.iter().map(ToString::to_string).collect();
    line("all", &all.0.to_string(), &cells);
    out.push('\n');
}

/// The cases that failed, by what went wrong first, the most common first; targets that are too old
/// are no failure.
#[must_use]
pub fn failures<'a>(
    cases: &'a [Case],
    outcomes: &'a [Vec<Outcome>],
) -> Vec<(String, Vec<(&'a Case, &'a Outcome)>)> {
    let mut groups: BTreeMap<String, Vec<(&Case, &Outcome)>> = BTreeMap::new();
    for (case, outcomes) in cases.iter().zip(outcomes) {
        let mut seen: Vec<&str> = Vec::new();
        for outcome in outcomes {
            let Some(failure) = &outcome.failure else { continue };
            if outcome.reached != Reached::TooOld && !seen.contains(&failure.group.as_str()) {
                seen.push(&failure.group);
                groups.entry(failure.group.clone()).or_default().push((case, outcome));
            }
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, cases)| std::cmp::Reverse(cases.len()));
    groups
}
