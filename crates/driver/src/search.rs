//! `--precision auto`: the smallest set of ops in single precision that reaches a signal-to-noise ratio.
//!
//! Ops are ranked by the noise they add, which one run of the program in half precision shows beside
//! one in single precision. The shortest prefix of that order that reaches the ratio is found by
//! bisection, then whatever it does not need is taken out of it again. Every step is a measurement;
//! their number is bounded, and nothing depends on a clock.

use std::collections::{BTreeMap, BTreeSet};

use mlc_diag::Diagnostics;
use mlc_eval::{Array, EvalValue, Evaluator};
use mlc_ir::{EntityId, FuncId, Function, Node, Op, Program, Type, Value};
use mlc_pass::PassManager;
use mlc_target::Opset;
use serde::Serialize;

use crate::Driver;
use crate::compare::distance;
use crate::pipeline::{Narrowing, legalization, narrowing};
use crate::reference::Reference;
use crate::verify::{adapt, evaluation, numbers};

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchReport {
    /// The ratio that was asked for, in dB.
    pub asked_db: f64,
    /// The ratio that was measured with the set that was found, in dB; `None` if results are equal.
    pub reached_db: Option<f64>,
    /// How often the program was run.
    pub runs: usize,
    /// The ops that stay in single precision for it, by the names of their results.
    pub kept: Vec<String>,
}

/// Most runs that taking ops out of the set may need.
const PRUNING: usize = 24;

/// Elements of a value that are looked at.
const LOOKED_AT: usize = 1024;

pub(crate) struct Search<'a> {
    pub(crate) driver: &'a Driver,
    /// The program after the passes before `precision`; its values have names of their own.
    pub(crate) program: &'a Program,
    pub(crate) func: FuncId,
    /// The function that was run.
    pub(crate) source: &'a Function,
    pub(crate) runs: &'a Reference,
    pub(crate) narrowing: &'a Narrowing,
    /// The versions of Core ML that come into question, oldest first.
    pub(crate) opsets: &'a [Opset],
}

impl Search<'_> {
    /// Finds the set for `asked` dB.
    ///
    /// # Errors
    /// A program cannot be run.
    pub(crate) fn run(&self, asked: f64) -> Result<SearchReport, Diagnostics> {
        let mut measured = 0;
        let mut try_with = |kept: &[String]| {
            measured += 1;
            self.ratio(kept)
        };
        let mut reached = try_with(&[])?;
        let mut kept = Vec::new();
        if reached < asked {
            let ranked = self.ranked()?;
            let mut high = 1.min(ranked.len());
            let mut low = 0;
            loop {
                reached = try_with(&ranked[..high])?;
                if reached >= asked || high == ranked.len() {
                    break;
                }
                low = high;
                high = (high * 2).min(ranked.len());
            }
            while reached >= asked && low + 1 < high {
                let middle = usize::midpoint(low, high);
                let ratio = try_with(&ranked[..middle])?;
                if ratio >= asked {
                    (high, reached) = (middle, ratio);
                } else {
                    low = middle;
                }
            }
            kept = ranked[..high].to_vec();
            reached = prune(&mut kept, (asked, reached), &mut try_with)?;
        }
        let reached_db = reached.is_finite().then_some(reached);
        Ok(SearchReport { asked_db: asked, reached_db, runs: measured, kept })
    }

    fn narrowed(&self, kept: &[String]) -> Result<Program, Diagnostics> {
        let mut keep = self.narrowing.keep.clone();
        keep.extend(kept.iter().map(|name| selector(name)));
        let settings = Narrowing { keep, ..self.narrowing.clone() };
        let mut program = self.program.clone();
        PassManager::new(self.driver.passes())
            .run(&narrowing(&settings)?, &mut program)
            .map_err(|failure| failure.diagnostics)?;
        Ok(program)
    }

    /// The program as the first version that holds it has it: ops that it spells in others round more often. As it
    /// is if no version holds it, which is said when it is converted.
    fn legal(&self, program: Program) -> Result<Program, Diagnostics> {
        for &opset in self.opsets {
            let mut legal = program.clone();
            let back = legalization(opset, self.narrowing.level)?;
            if PassManager::new(self.driver.passes()).run(&back, &mut legal).is_ok() {
                return Ok(legal);
            }
        }
        Ok(program)
    }

    /// The least ratio of all outputs in all calls, in dB; none at all where integers differ.
    fn ratio(&self, kept: &[String]) -> Result<f64, Diagnostics> {
        let program = self.legal(self.narrowed(kept)?)?;
        let function = &program.functions[self.func];
        let mut least = f64::INFINITY;
        for calls in &self.runs.samples {
            let mut evaluator = Evaluator::new(&program, self.func);
            let mut states = evaluator.initial_states().map_err(|e| evaluation("result", &e))?;
            for call in calls {
                let inputs = adapt(&call.inputs, function)?;
                let outputs =
                    evaluator.run(&inputs, &mut states).map_err(|e| evaluation("result", &e))?;
                let source = (self.source, &call.outputs[..]);
                for (want, got) in pairs(source, (function, &outputs)) {
                    let ratio = match distance(&want, &got) {
                        Some(d) if d.non_finite > 0 || (d.exact && d.differing > 0) => {
                            f64::NEG_INFINITY
                        }
                        Some(d) => d.snr_db,
                        None => f64::NEG_INFINITY,
                    };
                    least = least.min(ratio);
                }
            }
        }
        Ok(least)
    }

    /// The ops with results of floats, those that add most noise first.
    fn ranked(&self) -> Result<Vec<String>, Diagnostics> {
        let exact = self.looks(self.program)?;
        let rough = self.looks(&self.narrowed(&[])?)?;
        let noise = |name: &str| match (exact.get(name), rough.get(name)) {
            (Some(a), Some(b)) => ratio_of(a, b),
            _ => 0.0,
        };
        let function = &self.program.functions[self.func];
        let mut ranked: Vec<(f64, String)> = Vec::new();
        for node in nodes(function) {
            let data = &function.nodes[node];
            let Some(name) = data.results.iter().find_map(|&r| floats(function, r)) else {
                continue;
            };
            let given = data.operands.all().iter().filter_map(|&x| floats(function, x)).map(noise);
            let added = noise(name) - given.fold(0.0, f64::max);
            ranked.push((added, name.to_owned()));
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(ranked.into_iter().map(|(_, name)| name).collect())
    }

    /// Some elements of each named value in the first call.
    fn looks(&self, program: &Program) -> Result<BTreeMap<String, Vec<f32>>, Diagnostics> {
        let Some(call) = self.runs.samples.first().and_then(|calls| calls.first()) else {
            return Ok(BTreeMap::new());
        };
        let function = &program.functions[self.func];
        let found = std::cell::RefCell::new(BTreeMap::new());
        let look = |value: Value, result: &EvalValue| {
            if let (Some(name), EvalValue::Array(array)) = (floats(function, value), result)
                && let Ok(all) = array.to_f32s()
            {
                let step = all.len().div_ceil(LOOKED_AT).max(1);
                let some = all.into_iter().step_by(step).collect();
                found.borrow_mut().entry(name.to_owned()).or_insert(some);
            }
        };
        let mut evaluator = Evaluator::new(program, self.func).observed(look);
        let mut states = evaluator.initial_states().map_err(|e| evaluation("result", &e))?;
        let inputs = adapt(&call.inputs, function)?;
        evaluator.run(&inputs, &mut states).map_err(|e| evaluation("result", &e))?;
        drop(evaluator);
        Ok(found.into_inner())
    }
}

/// What selects the op with a result of that name, and nothing else.
pub(crate) fn selector(name: &str) -> String {
    format!("%{name}")
}

/// Takes out of `kept` what the ratio does not need: halves first, then ever smaller parts. Gives the
/// ratio of what is left.
fn prune(
    kept: &mut Vec<String>,
    (asked, mut reached): (f64, f64),
    try_with: &mut dyn FnMut(&[String]) -> Result<f64, Diagnostics>,
) -> Result<f64, Diagnostics> {
    let mut left = PRUNING;
    let mut part = kept.len() / 2;
    while part > 0 && reached >= asked {
        let mut end = kept.len();
        while end > 0 && left > 0 {
            let start = end.saturating_sub(part);
            let mut fewer = kept.clone();
            fewer.drain(start..end);
            left -= 1;
            let ratio = try_with(&fewer)?;
            if ratio >= asked {
                (*kept, reached) = (fewer, ratio);
            }
            end = start.min(kept.len());
        }
        part /= 2;
    }
    Ok(reached)
}

/// Noise over signal, in energy.
fn ratio_of(exact: &[f32], rough: &[f32]) -> f64 {
    if exact.len() != rough.len() {
        return 0.0;
    }
    let (mut signal, mut noise) = (0f64, 0f64);
    for (&a, &b) in exact.iter().zip(rough) {
        let (a, b) = (f64::from(a), f64::from(b));
        if a == b || !a.is_finite() {
            continue;
        }
        if !b.is_finite() {
            return f64::INFINITY;
        }
        noise += (a - b).powi(2);
    }
    for &a in exact.iter().filter(|a| a.is_finite()) {
        signal += f64::from(a).powi(2);
    }
    if noise == 0.0 { 0.0 } else { noise / signal.max(f64::MIN_POSITIVE) }
}

/// The outputs that are numbers on both sides.
fn pairs(
    (source, want): (&Function, &[EvalValue]),
    (function, got): (&Function, &[EvalValue]),
) -> Vec<(Array, Array)> {
    let both = want.iter().zip(got).enumerate();
    both.filter_map(|(at, (a, b))| Some((numbers(source, at, a)?, numbers(function, at, b)?)))
        .collect()
}

fn nodes(function: &Function) -> Vec<Node> {
    let mut nodes = Vec::new();
    function.for_each_node(&mut |_, node| {
        if !matches!(function.nodes[node].op, Op::Const(_)) {
            nodes.push(node);
        }
    });
    nodes
}

/// The name of a value of floats.
fn floats(function: &Function, value: Value) -> Option<&str> {
    let Type::Tensor(ty) = function.ty(value) else { return None };
    function.values[value].name.as_deref().filter(|_| ty.dtype.is_float())
}

/// Gives each result of an op that has none of its own a name, so that it can be spoken of.
pub(crate) fn name_results(program: &mut Program, func: FuncId) {
    let function = &mut program.functions[func];
    let mut taken: BTreeSet<String> = function.params.iter().map(|p| p.name.clone()).collect();
    let mut order = Vec::new();
    function.for_each_node(&mut |_, node| order.extend(&function.nodes[node].results));
    let mut nameless = Vec::new();
    for &value in &order {
        match &function.values[value].name {
            Some(name) if taken.insert(name.to_string()) => {}
            _ => nameless.push(value),
        }
    }
    for value in nameless {
        let stem = function.values[value].name.as_deref().unwrap_or("value").to_owned();
        let mut name = format!("{stem}_{}", value.index());
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        function.values[value].name = Some(name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_leaves_what_is_needed() {
        let mut kept: Vec<String> = (0..8).map(|i| i.to_string()).collect();
        let needs = |set: &[String]| {
            let has = |name: &str| set.iter().any(|n| n == name);
            Ok(if has("2") && has("5") { 60.0 } else { 10.0 })
        };
        let reached = prune(&mut kept, (50.0, 60.0), &mut { needs }).unwrap();
        assert_eq!((kept, reached), (vec!["2".to_owned(), "5".to_owned()], 60.0));
    }

    #[test]
    fn noise_is_relative_and_infinities_are_worst() {
        assert_eq!(ratio_of(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
        assert!((ratio_of(&[3.0, 4.0], &[3.0, 4.5]) - 0.01).abs() < 1e-12);
        assert_eq!(ratio_of(&[1.0], &[f32::INFINITY]), f64::INFINITY);
        assert_eq!(ratio_of(&[f32::NEG_INFINITY], &[-65504.0]), 0.0);
    }
}
