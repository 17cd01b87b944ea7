//! The schemes of weights that come to a budget with the least damage.
//!
//! Each scheme of a weight takes bytes and does damage: its squared error times how much of an error of
//! that weight reaches the outputs, which is measured by compressing that weight alone. Of each weight
//! only the schemes on the lower convex hull of damage over bytes come into question; from the smallest
//! ones on, the step that saves the most damage a byte is taken next, as long as the budget lasts.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlc_compress::{Calibration, Choice, Scheme, Selection, Surveyed, survey};
use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::Program;
use mlc_pass::{Observer, PassManager, Pipeline};
use mlc_target::Opset;
use serde::Serialize;

use super::calibrate::Runs;
use super::recipe::{Recipe, Rule};
use crate::sizes::Sizes;
use crate::verify::main_of;
use crate::{Driver, forecast};

/// What the weights may come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// Bytes of all constants.
    Bytes(u64),
    /// Bits an element of the weights, on average.
    Bits(f64),
    /// The least signal-to-noise ratio of the outputs, in dB.
    Snr(f64),
}

/// A point on the way: bytes of all constants, and how near outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Bytes of all constants.
    pub bytes: u64,
    /// The least signal-to-noise ratio of an output in dB; estimated where it was not measured.
    pub snr_db: f64,
    /// Whether it was measured.
    pub measured: bool,
}

/// Schemes for versions before iOS 18.
const OLDER: [&str; 6] = ["lut1", "lut2", "lut4", "lut6", "w8", "lut8"];
/// Schemes from iOS 18 on.
const NEWER: [&str; 24] = [
    "lut1-g8",
    "lut2-g4",
    "lut2-g16",
    "lut2-g8-pcs",
    "lut3",
    "lut3-g8",
    "lut3-g32",
    "lut3-pcs",
    "lut3-g8-pcs",
    "lut4",
    "lut4-g8",
    "lut4-g16",
    "lut4-g32",
    "lut4-pcs",
    "lut4-g16-pcs",
    "w4-block32",
    "w4-block32-refine",
    "w4-block16-asym-refine",
    "w4-block32-asym-refine",
    "lut6-g16",
    "lut6-pcs",
    "w8",
    "w8-block32",
    "lut8-g16",
];
/// Recipes of one scheme that are measured.
const ALIKE: usize = 5;
/// Most seconds that measuring may take, by the forecast.
const SECONDS: f64 = 120.0;

/// The first and last rungs: what is chosen, by weight.
type Chosen = Vec<usize>;

pub(super) struct Search<'a> {
    pub(super) driver: &'a Driver,
    pub(super) program: &'a Program,
    pub(super) opset: Opset,
    pub(super) runs: &'a Runs,
    /// Whether the runs are of inputs that were given.
    pub(super) is_calibrated: bool,
    pub(super) observer: &'a mut dyn Observer,
}

struct Problem {
    weights: Vec<Surveyed>,
    /// Damage of a unit of squared error of each weight, as a share of the outputs' energy.
    sensitivity: Vec<f64>,
    /// Choices on the hull of each weight, in order of bytes.
    hulls: Vec<Vec<usize>>,
    /// Bytes of constants that stay.
    rest: u64,
}

impl Search<'_> {
    /// The recipe for `budget`, and the curve of sizes and ratios around it.
    ///
    /// # Errors
    /// Nothing comes to the budget.
    pub(super) fn run(&mut self, budget: Budget) -> Result<(Recipe, Vec<CurvePoint>), Diagnostics> {
        let names: &[&str] = if self.opset >= Opset::Ios18 { &NEWER } else { &OLDER };
        let schemes: Vec<Scheme> = names.iter().filter_map(|name| name.parse().ok()).collect();
        self.observer.start("survey", 0, 3);
        let calibration = Arc::new(self.runs.calibrate(self.program, self.is_calibrated)?);
        let weights = survey(self.program, &Selection::default(), &schemes, &calibration)
            .map_err(|error| error.0)?;
        if weights.is_empty() {
            return Err(super::nothing_done().into());
        }
        let plain: u64 =
            weights.iter().map(|w| w.choices.iter().map(|c| c.bytes).max().unwrap_or(0)).sum();
        let rest = super::used_bytes(self.program).saturating_sub(plain);
        self.observer.start("sensitivity", 1, 3);
        let sensitivity = self.sensitivity(&weights, &calibration)?;
        let hulls = weights.iter().map(|weight| hull(&weight.choices)).collect();
        let problem = Problem { weights, sensitivity, hulls, rest };
        let steps = problem.ladder();
        self.observer.start("choose", 2, 3);
        let chosen = match budget {
            Budget::Bytes(most) => self.best(&problem, &steps, (most, &calibration))?,
            Budget::Bits(bits) => {
                let elements: u64 = problem.weights.iter().map(|w| w.elements).sum();
                let most = problem.rest + (bits * elements as f64 / 8.0) as u64;
                self.best(&problem, &steps, (most, &calibration))?
            }
            Budget::Snr(least) => self.reaching(&problem, &steps, (least, &calibration))?,
        };
        let mut curve = problem.curve(&steps);
        let recipe = problem.recipe(&chosen);
        if let Some(snr_db) = self.measure(&recipe, &calibration)? {
            curve.push(CurvePoint { bytes: problem.bytes(&chosen), snr_db, measured: true });
        }
        curve.sort_by_key(|point| (point.bytes, !point.measured));
        Ok((recipe, curve))
    }

    /// How much of an error of each weight reaches the outputs.
    fn sensitivity(
        &mut self,
        weights: &[Surveyed],
        calibration: &Arc<Calibration>,
    ) -> Result<Vec<f64>, Diagnostics> {
        let main = main_of(self.program);
        let by_energy =
            || weights.iter().map(|w| if w.energy > 0.0 { 1.0 / w.energy } else { 0.0 }).collect();
        let Some(func) = self.program.function(&main) else { return Ok(by_energy()) };
        let function = &self.program.functions[func];
        let one = forecast::verify_seconds(self.program, function, &Sizes::default()) / 2.0;
        let seconds = one * (weights.len() + 1) as f64;
        if seconds > SECONDS {
            return Ok(by_energy());
        }
        let mut found = Vec::new();
        for weight in weights {
            let Some(probe) = probe(weight) else {
                found.push(0.0);
                continue;
            };
            let rule = rule(probe.scheme.clone(), vec![format!("name={}", weight.name)]);
            let program = self.compressed(&Recipe::of(vec![rule]), calibration)?;
            let share = self.runs.share(self.program, &program).unwrap_or(0.0);
            found.push(share / probe.noise);
        }
        Ok(found)
    }

    /// The program under a recipe.
    fn compressed(
        &self,
        recipe: &Recipe,
        calibration: &Arc<Calibration>,
    ) -> Result<Program, Diagnostics> {
        let pipeline = Pipeline::parse(&recipe.pipeline(None))?;
        let mut program = self.program.clone();
        PassManager::new(self.driver.passes())
            .given(Arc::clone(calibration))
            .run(&pipeline, &mut program)
            .map_err(|failure| failure.diagnostics)?;
        Ok(program)
    }

    /// The least signal-to-noise ratio of an output under `recipe`; none where it cannot be had.
    fn measure(
        &self,
        recipe: &Recipe,
        calibration: &Arc<Calibration>,
    ) -> Result<Option<f64>, Diagnostics> {
        let program = self.compressed(recipe, calibration)?;
        Ok(self.runs.ratio(self.program, &program))
    }

    /// The choices within `most` bytes that are measured to be best: those by what errors were measured
    /// to do, those by what they do if all weights matter alike, some between the two, and the best one
    /// of the same scheme for all weights.
    fn best(
        &self,
        problem: &Problem,
        steps: &[Step],
        (most, calibration): (u64, &Arc<Calibration>),
    ) -> Result<Chosen, Diagnostics> {
        let mut candidates = vec![problem.within(steps, most)?];
        for part in [0.75, 0.5, 0.25, 0.0] {
            let mixed = problem.with_mixed_sensitivity(part);
            candidates.push(mixed.within(&mixed.ladder(), most)?);
        }
        candidates.extend(problem.alike(most));
        candidates.dedup();
        let mut best: Option<(f64, Chosen)> = None;
        for chosen in candidates {
            let snr =
                self.measure(&problem.recipe(&chosen), calibration)?.unwrap_or(f64::NEG_INFINITY);
            if best.as_ref().is_none_or(|(greatest, _)| snr > *greatest) {
                best = Some((snr, chosen));
            }
        }
        best.map(|(_, chosen)| chosen).ok_or_else(|| missed("nothing fits".to_owned()))
    }

    /// The smallest choice on the ladder whose outputs reach a ratio.
    fn reaching(
        &self,
        problem: &Problem,
        steps: &[Step],
        (least, calibration): (f64, &Arc<Calibration>),
    ) -> Result<Chosen, Diagnostics> {
        let reaches = |count: usize| -> Result<bool, Diagnostics> {
            let recipe = problem.recipe(&problem.after(steps, count));
            let snr = self.measure(&recipe, calibration)?;
            Ok(snr.is_some_and(|snr| snr >= least))
        };
        let (mut low, mut high) = (0, steps.len());
        if !reaches(high)? {
            let message = format!("no choice of schemes keeps the outputs at {least} dB");
            return Err(missed(message));
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            if reaches(middle)? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(problem.after(steps, high))
    }
}

fn missed(message: String) -> Diagnostics {
    Diagnostic::new(codes::VERIFY_MISMATCH, message)
        .help(
            "ask for less, or allow a later version with `--target ios18`, which has more schemes",
        )
        .into()
}

fn rule(scheme: Option<Scheme>, only: Vec<String>) -> Rule {
    Rule { only, scheme, threshold: super::recipe::THRESHOLD, limit: 0 }
}

/// The weight that takes the next choice of its hull.
type Step = usize;

/// The choices that no mix of two others beats, in order of bytes.
fn hull(choices: &[Choice]) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for (at, choice) in choices.iter().enumerate() {
        if kept.last().is_some_and(|&last| choices[last].noise <= choice.noise) {
            continue;
        }
        while let [.., a, b] = kept[..] {
            let slope = |from: usize, to: &Choice| {
                let bytes = (to.bytes - choices[from].bytes).max(1) as f64;
                (choices[from].noise - to.noise) / bytes
            };
            if slope(a, &choices[b]) > slope(b, choice) {
                break;
            }
            kept.pop();
        }
        if let Some(&last) = kept.last()
            && choices[last].bytes == choice.bytes
        {
            kept.pop();
        }
        kept.push(at);
    }
    kept
}

/// A choice whose error stands out of what rounding does, and is small enough to be a small error.
fn probe(weight: &Surveyed) -> Option<&Choice> {
    let mut noisy = weight.choices.iter().filter(|c| c.scheme.is_some() && c.noise > 0.0);
    let last = noisy.clone().next_back();
    noisy.find(|c| c.noise < 0.1 * weight.energy).or(last)
}

impl Problem {
    /// The same where sensitivities are `part` of the measured ones and the rest what they are if an
    /// error of a weight counts by its share of that weight, as exponents.
    fn with_mixed_sensitivity(&self, part: f64) -> Self {
        let pairs = self.sensitivity.iter().zip(&self.weights);
        let alike = |w: &Surveyed| if w.energy > 0.0 { 1.0 / w.energy } else { 0.0 };
        let mixed = |(&s, w): (&f64, &Surveyed)| s.max(0.0).powf(part) * alike(w).powf(1.0 - part);
        Self {
            weights: self.weights.clone(),
            sensitivity: pairs.map(mixed).collect(),
            hulls: self.hulls.clone(),
            rest: self.rest,
        }
    }

    /// The same scheme for all weights that it fits, the others as they are, for each scheme that comes to
    /// at most so many bytes; those that promise most.
    fn alike(&self, most: u64) -> Vec<Chosen> {
        let mut names: BTreeMap<String, u64> = BTreeMap::new();
        for choice in self.weights.iter().flat_map(|w| &w.choices) {
            if let Some(scheme) = &choice.scheme {
                *names.entry(scheme.to_string()).or_default() += 1;
            }
        }
        let mut found = Vec::new();
        for name in names.keys() {
            let is_it = |c: &Choice| c.scheme.as_ref().is_some_and(|s| s.to_string() == *name);
            let is_plain = |c: &Choice| c.scheme.is_none();
            let of = |w: &Surveyed| {
                w.choices.iter().position(is_it).or_else(|| w.choices.iter().position(is_plain))
            };
            let chosen: Option<Chosen> = self.weights.iter().map(of).collect();
            if let Some(chosen) = chosen.filter(|chosen| self.bytes(chosen) <= most) {
                found.push((self.damage(&chosen), chosen));
            }
        }
        // Those that promise most are measured.
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.into_iter().take(ALIKE).map(|(_, chosen)| chosen).collect()
    }

    fn damage(&self, chosen: &[usize]) -> f64 {
        let of = |(weight, &at): (usize, &usize)| {
            self.sensitivity[weight] * self.weights[weight].choices[at].noise
        };
        chosen.iter().enumerate().map(of).sum()
    }

    /// The steps from the smallest choices to the weights as they are, best first.
    fn ladder(&self) -> Vec<Step> {
        let mut steps: Vec<(f64, usize, usize)> = Vec::new();
        for (weight, hull) in self.hulls.iter().enumerate() {
            let choices = &self.weights[weight].choices;
            for (rank, pair) in hull.windows(2).enumerate() {
                let (from, to) = (&choices[pair[0]], &choices[pair[1]]);
                let bytes = (to.bytes - from.bytes).max(1) as f64;
                let gain = self.sensitivity[weight] * (from.noise - to.noise) / bytes;
                steps.push((gain, weight, rank));
            }
        }
        // Slopes fall along a hull, so that the order of ranks is kept.
        steps.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        steps.into_iter().map(|(_, weight, _)| weight).collect()
    }

    /// Choices after so many steps.
    fn after(&self, steps: &[Step], count: usize) -> Chosen {
        let mut ranks = vec![0; self.weights.len()];
        for &weight in &steps[..count] {
            ranks[weight] += 1;
        }
        self.hulls.iter().zip(ranks).map(|(hull, rank)| hull[rank]).collect()
    }

    fn bytes(&self, chosen: &[usize]) -> u64 {
        let of = self.weights.iter().zip(chosen).map(|(weight, &at)| weight.choices[at].bytes);
        self.rest + of.sum::<u64>()
    }

    /// All steps that fit, in order; what does not fit is passed over.
    fn within(&self, steps: &[Step], most: u64) -> Result<Chosen, Diagnostics> {
        let mut chosen = self.after(steps, 0);
        let mut bytes = self.bytes(&chosen);
        if bytes > most {
            let message =
                format!("the smallest schemes come to {bytes} bytes, {most} are asked for");
            return Err(missed(message));
        }
        let mut ranks = vec![0; self.weights.len()];
        let mut stopped = vec![false; self.weights.len()];
        for &weight in steps {
            let hull = &self.hulls[weight];
            let choices = &self.weights[weight].choices;
            let next = hull[ranks[weight] + 1];
            let more = choices[next].bytes - choices[chosen[weight]].bytes;
            if stopped[weight] || bytes + more > most {
                stopped[weight] = true;
                continue;
            }
            bytes += more;
            ranks[weight] += 1;
            chosen[weight] = next;
        }
        Ok(chosen)
    }

    /// Points along the ladder, with ratios as the damages say.
    fn curve(&self, steps: &[Step]) -> Vec<CurvePoint> {
        let points = 9;
        let mut found = Vec::new();
        for point in 0..points {
            let chosen = self.after(steps, steps.len() * point / (points - 1));
            let damage = self.damage(&chosen);
            let snr_db = if damage > 0.0 { -10.0 * damage.log10() } else { f64::INFINITY };
            found.push(CurvePoint { bytes: self.bytes(&chosen), snr_db, measured: false });
        }
        found.dedup();
        found
    }

    /// A rule for each scheme, with the names of its weights.
    fn recipe(&self, chosen: &[usize]) -> Recipe {
        let mut by_scheme: BTreeMap<String, (Option<Scheme>, Vec<String>)> = BTreeMap::new();
        for (weight, &at) in self.weights.iter().zip(chosen) {
            let scheme = &weight.choices[at].scheme;
            let key = scheme.as_ref().map_or_else(String::new, ToString::to_string);
            let entry = by_scheme.entry(key).or_insert_with(|| (scheme.clone(), Vec::new()));
            entry.1.push(format!("name={}", weight.name));
        }
        let mut rules = Vec::new();
        for (scheme, names) in by_scheme.into_values().filter(|(scheme, _)| scheme.is_some()) {
            rules.push(rule(scheme, names));
        }
        Recipe::of(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, hull};

    #[test]
    fn choices_above_the_hull_are_left_out() {
        let choice = |bytes, noise| Choice { scheme: None, bytes, noise };
        let choices = [
            choice(10, 100.0),
            choice(10, 120.0),
            choice(20, 90.0),
            choice(30, 20.0),
            choice(40, 25.0),
            choice(60, 0.0),
        ];
        assert_eq!(hull(&choices), [0, 3, 5]);
    }
}
