//! Tests rules: random programs like those of their fixtures, evaluated before and after.
//!
//! A template is a program on which the rule fires. Extents are renamed, element types, ranks,
//! attributes, constants and the order of operands change, intermediate values become outputs, extents
//! become open. What still fits is a sample: the rule alone is applied wherever it fires, whether it pays
//! or not, and both programs are evaluated on the same random inputs.

mod compare;
mod draw;
mod mutate;

use std::collections::BTreeSet;

use mlc_ir::{FuncId, Program, verify};
use mlc_target::Opset;
use mlc_target::cost::DEVICES;

use crate::optimize::{Options, Strategy, optimize};
use crate::rule::{Rule, RuleSet};
use crate::saturate::Limits;

/// How thoroughly a rule is tested.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Most programs that are drawn.
    pub draws: usize,
    /// Samples on which the rule fired that are enough.
    pub enough: usize,
    /// Where random numbers begin.
    pub seed: u64,
}

/// A program on which a rule is wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The program.
    pub before: Program,
    /// What the rule made of it.
    pub after: Program,
    /// What is wrong.
    pub what: String,
}

/// What a test found.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Programs whose ops fit.
    pub samples: usize,
    /// Different ones on which the rule fired.
    pub fired: usize,
    /// Of those, the ones whose numbers could be compared.
    pub compared: usize,
    /// The first program on which it is wrong.
    pub fault: Option<Box<Fault>>,
}

/// Tests a rule on programs like `templates`. It is tried with every op that Core ML has.
#[must_use]
pub fn check(rule: &Rule, templates: &[Program], effort: Effort) -> Verdict {
    let mut verdict = Verdict::default();
    let mut draw = draw::Draw::new(effort.seed);
    let mut seen = BTreeSet::new();
    for round in 0..effort.draws {
        if verdict.fired >= effort.enough || templates.is_empty() {
            break;
        }
        let template = &templates[round % templates.len()];
        // Each template is tested as it is, too.
        let program = match round < templates.len() {
            true => Some(template.clone()),
            false => mutate::mutate(template, &mut draw),
        };
        let Some(program) = program else { continue };
        if !seen.insert(key(&program)) {
            continue;
        }
        verdict.samples += 1;
        match sample(rule, &program, effort.seed.wrapping_add(round as u64)) {
            Outcome::Silent => {}
            Outcome::Fired => {
                verdict.fired += 1;
                verdict.compared += 1;
            }
            Outcome::NoNumbers => verdict.fired += 1,
            Outcome::Wrong(fault) => {
                verdict.fired += 1;
                verdict.fault = Some(fault);
                break;
            }
        }
    }
    verdict
}

/// A program like `template`, with other shapes, types, attributes, constants, order of operands and
/// uses, if what is drawn from the seed fits.
#[must_use]
pub fn variant(template: &Program, seed: u64) -> Option<Program> {
    mutate::mutate(template, &mut draw::Draw::new(seed))
}

/// What tells programs apart.
fn key(program: &Program) -> String {
    let ops = program.functions.iter().flat_map(|(_, function)| {
        function.nodes.iter().map(|(_, node)| {
            let types: Vec<_> = node.operands.all().iter().map(|&v| function.ty(v)).collect();
            let constant = node.results.first().and_then(|&v| program.constant_of(function, v));
            format!("{:?} {types:?} {constant:?} {:?}", node.op, node.operands.all())
        })
    });
    ops.collect::<Vec<_>>().join("\n")
}

enum Outcome {
    /// The rule did not fire.
    Silent,
    /// It did, and the numbers agree.
    Fired,
    /// It did, and the program has no numbers.
    NoNumbers,
    Wrong(Box<Fault>),
}

fn sample(rule: &Rule, before: &Program, seed: u64) -> Outcome {
    let rules = RuleSet::new([*rule]);
    let options = Options {
        rules: &rules,
        device: &DEVICES[0],
        limits: Limits { iterations: 3, nodes: 2_000, matches: 100 },
        window: 1_000,
        opset: Opset::Ios26,
        strategy: Strategy::Forced,
    };
    let mut after = before.clone();
    let wrong = |after: &Program, what: String| {
        Outcome::Wrong(Box::new(Fault { before: before.clone(), after: after.clone(), what }))
    };
    let Some(func) = before.func_ids().next() else { return Outcome::Silent };
    let report = match optimize(&mut after, func, &options) {
        Ok(report) => report,
        Err(error) => return wrong(&after, format!("the program cannot be built: {error}")),
    };
    if !report.mistyped.is_empty() {
        return wrong(&after, "what the rule gives does not fit or has another type".to_owned());
    }
    if report.improved == 0 {
        return Outcome::Silent;
    }
    let problems = verify(&after);
    if let Some(problem) = problems.items().first() {
        return wrong(&after, format!("the result does not verify: {problem}"));
    }
    if output_types(before, func) != output_types(&after, func) {
        return wrong(&after, "the types of outputs differ".to_owned());
    }
    match compare::compare((before, &after), func, (rule.rounding, seed)) {
        compare::Comparison::Agrees => Outcome::Fired,
        compare::Comparison::NoNumbers => Outcome::NoNumbers,
        compare::Comparison::Differs(what) => wrong(&after, what),
    }
}

fn output_types(program: &Program, func: FuncId) -> Vec<mlc_ir::Type> {
    let function = &program.functions[func];
    function.regions[function.body].results.iter().map(|&v| function.ty(v).clone()).collect()
}
