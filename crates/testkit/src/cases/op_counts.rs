//! Op counts of the models beside those of another converter.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value as Json;

use super::Config;
use super::collect::Case;
use super::outcome::{Outcome, Reached};

/// The folder of the exports that baselines are made of.
const BASELINE_EXPORTER: &str = "t27/";

/// The op counts of another converter: a JSON file with `models`, by `NAME FILE PRECISION`.
#[derive(Debug, Clone)]
pub struct Baseline(Json);

impl Baseline {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read or is no JSON.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| shown(&error))?;
        serde_json::from_str(&text).map(Self).map_err(|error| shown(&error))
    }

    /// The least number of ops, constants not counted, that it has for the files of a model.
    fn ops(&self, model: &str, precision: &str) -> Option<u64> {
        let entries = ["core.pt2", "model.pt"].into_iter().filter_map(|file| {
            let entry = &self.0["models"][format!("{model} {file} {precision}")];
            (entry["ok"] == true).then(|| entry["ops"].as_u64())?
        });
        entries.min()
    }
}

/// One line for each model file and configuration whose results agree with their references: our ops,
/// the other's, the ratio, and the modelled cost of ours in microseconds. Casts that only give outputs the
/// type that the source declares are counted by themselves: the other leaves outputs in half precision.
/// At the end the geometric mean of the ratios, and the models where ours has more.
#[must_use]
pub fn op_counts(
    cases: &[Case],
    outcomes: &[Vec<Outcome>],
    (configs, baseline): (&[Config], &Baseline),
) -> String {
    let mut out = String::from(
        "model                            file            config         ours  casts  theirs  ratio  cost/us\n",
    );
    let (mut logs, mut worse) = (Vec::new(), Vec::new());
    for (case, outcomes) in cases.iter().zip(outcomes).filter(|(case, _)| case.is_model()) {
        let file = case.id.splitn(3, '/').nth(2).unwrap_or_default();
        // The other converter read what this exporter wrote.
        if file.contains('/') && !file.starts_with(BASELINE_EXPORTER) {
            continue;
        }
        for (outcome, config) in outcomes.iter().zip(configs) {
            if outcome.reached != Reached::Matched {
                continue;
            }
            let casts = outcome.output_casts as u64;
            let ours = outcome.ops.values().sum::<usize>() as u64 - casts;
            let Some(theirs) = baseline.ops(&case.name, config.precision.as_str()) else {
                continue;
            };
            let ratio = ours as f64 / theirs.max(1) as f64;
            logs.push(ratio.max(1e-3).ln());
            let config = config.to_string();
            if ours > theirs {
                worse.push(format!("{} {file} {config}: {ours} for {theirs}", case.name));
            }
            let _ = writeln!(
                out,
                "{:<32} {file:<15} {config:<12} {ours:>6} {casts:>6} {theirs:>7} {ratio:>6.2} {:>8}",
                case.name,
                outcome.cost / 1_000_000
            );
        }
    }
    let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
    let _ = writeln!(out, "\n{} compared, geometric mean {:.3}", logs.len(), mean.exp());
    let _ = writeln!(out, "{} with more ops", worse.len());
    for line in worse {
        let _ = writeln!(out, "  {line}");
    }
    out
}
