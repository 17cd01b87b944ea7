//! What the source computes: inputs, outputs, and how far the values between them reach.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mlc_diag::{Diagnostics, codes};
use mlc_eval::{Array, EvalError, EvalValue, Evaluator, States};
use mlc_ir::{FuncId, Function, Op, ParamKind, Program, Value};

use crate::feed::{self, Feed, FeedArray, Feeds};
use crate::guards::{Guards, Least};
use crate::sizes::Sizes;
use crate::verify::{VerifyOptions, evaluation};

/// One call of a function.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) inputs: Vec<Array>,
    pub(crate) outputs: Vec<EvalValue>,
}

/// What was seen of values.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The least and the greatest finite number in each named value of floats.
    ranges: BTreeMap<String, (f64, f64)>,
    /// How near to zero what is guarded against it came.
    least: Least,
}

/// The values of inputs by name, for one call.
pub(crate) type Named = Vec<(String, Feed)>;

/// Runs of a function at its default size, that others are compared with.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    /// By sample, the successive calls; states carry over from one to the next.
    pub(crate) samples: Vec<Vec<Call>>,
    /// What was seen in them all.
    pub(crate) seen: Seen,
}

/// Inputs that users give: each `*.safetensors` file of a folder, or the one file, holds those of one
/// call, by name.
///
/// # Errors
/// A file cannot be read, or there is none.
pub(crate) fn calibration(path: &Path) -> Result<Vec<Named>, Diagnostics> {
    let problem = |message| crate::input::file_problem(codes::FILE_NOT_FOUND, path, message);
    let files: Vec<PathBuf> = if path.is_dir() {
        let entries =
            std::fs::read_dir(path).map_err(|e| problem(format!("cannot be read: {e}")))?;
        let is_data = |file: &PathBuf| file.extension().is_some_and(|e| e == "safetensors");
        let mut files: Vec<_> =
            entries.flatten().map(|entry| entry.path()).filter(is_data).collect();
        files.sort();
        files
    } else {
        vec![path.to_owned()]
    };
    if files.is_empty() {
        return Err(problem("holds no `*.safetensors` file".to_owned()).into());
    }
    let feeds = |file: &PathBuf| {
        let named = feed::read_safetensors(file)?.into_iter();
        Ok(named.map(|(name, array)| (name, Feed::Array(FeedArray(array)))).collect())
    };
    files.iter().map(feeds).collect()
}

/// A function that is run for reference.
pub(crate) struct Runner<'a> {
    program: &'a Program,
    func: FuncId,
    options: &'a VerifyOptions,
    /// Which inputs are masks.
    masks: Vec<bool>,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(program: &'a Program, func: FuncId, options: &'a VerifyOptions) -> Self {
        let function = &program.functions[func];
        let masks = crate::masks::masks(function)
            .into_iter()
            .zip(&function.params)
            .filter(|(_, param)| param.kind == ParamKind::Input)
            .map(|(mask, _)| mask)
            .collect();
        Self { program, func, options, masks }
    }

    /// The samples that the options ask for, at the default size; those of `given` inputs if there are
    /// some.
    ///
    /// # Errors
    /// Inputs that do not fit, or an op that cannot be evaluated.
    pub(crate) fn reference(&self, given: &[Named]) -> Result<Reference, Diagnostics> {
        let function = &self.program.functions[self.func];
        let seen = RefCell::new(Seen::default());
        let guards = Guards::of(self.program, function);
        let mut samples = Vec::new();
        let count = if given.is_empty() { self.options.samples.max(1) } else { given.len() };
        for sample in 0..count {
            let seed = self.options.seed.wrapping_add((sample as u64).wrapping_mul(1_000_003));
            let watch = |value: Value, result: &EvalValue| {
                look(function, value, result, &seen);
                if let EvalValue::Array(array) = result {
                    guards.look(value, array, &mut seen.borrow_mut().least);
                }
            };
            let evaluator = Evaluator::new(self.program, self.func).observed(watch);
            let named = given.get(sample).map_or(&[][..], Vec::as_slice);
            let calls = self.calls(evaluator, (seed, &Sizes::default()), named)?;
            let calls = calls.map_err(|e| evaluation("reference", &e))?;
            for call in &calls {
                note_inputs(function, &call.inputs, (&guards, &seen));
            }
            samples.push(calls);
        }
        Ok(Reference { samples, seen: seen.into_inner() })
    }

    /// The calls of one sample at some size, or why it cannot be evaluated there.
    pub(crate) fn at(
        &self,
        seed: u64,
        sizes: &Sizes,
    ) -> Result<Result<Vec<Call>, EvalError>, Diagnostics> {
        self.calls(Evaluator::new(self.program, self.func), (seed, sizes), &[])
    }

    fn calls(
        &self,
        mut evaluator: Evaluator<'_>,
        (seed, sizes): (u64, &Sizes),
        given: &[(String, Feed)],
    ) -> Result<Result<Vec<Call>, EvalError>, Diagnostics> {
        let function = &self.program.functions[self.func];
        let mut states = evaluator.initial_states().map_err(|e| evaluation("reference", &e))?;
        let mut calls = Vec::new();
        for step in 0..self.options.steps.max(1) as u64 {
            let seed = seed.wrapping_add(step.wrapping_mul(7919));
            let images = self.options.images.iter();
            let mut named: Named = images.map(|name| (name.clone(), Feed::Pixels(seed))).collect();
            named.extend_from_slice(given);
            let default = Feed::Random(seed);
            let plan = Feeds { named: &named, default: &default, sizes };
            let mut inputs = feed::inputs(self.program, function, &plan)?;
            if given.is_empty() {
                for (input, _) in inputs.iter_mut().zip(&self.masks).filter(|(_, mask)| **mask) {
                    limit(input, 1).map_err(|e| evaluation("inputs", &e))?;
                }
            }
            match call(&mut evaluator, (inputs, &self.masks), &mut states) {
                Ok(call) => calls.push(call),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(calls))
    }
}

/// Runs the reference, with ones and zeros for integers if random ones turn out to be no indices, with
/// zeros if those are none either, and with floats below 1 if indices are made from floats. Masks never become
/// all zeros: what nothing is left of differs by how "nothing" is spelled.
fn call(
    evaluator: &mut Evaluator<'_>,
    (mut inputs, masks): (Vec<Array>, &[bool]),
    states: &mut States,
) -> Result<Call, EvalError> {
    // A run that fails may have written states before it did.
    let start = states.clone();
    let mut outputs = evaluator.run(&inputs, states);
    for greatest in [1, 0] {
        if outputs.as_ref().is_err_and(is_undefined) {
            for (at, input) in inputs.iter_mut().enumerate() {
                let mask = masks.get(at) == Some(&true);
                limit(input, if mask { 1 } else { greatest })?;
            }
            states.clone_from(&start);
            outputs = evaluator.run(&inputs, states);
        }
    }
    if outputs.as_ref().is_err_and(is_undefined) {
        inputs.iter_mut().try_for_each(keep_fraction)?;
        states.clone_from(&start);
        outputs = evaluator.run(&inputs, states);
    }
    Ok(Call { inputs, outputs: outputs? })
}

fn is_undefined(error: &EvalError) -> bool {
    match error {
        EvalError::Undefined(_) => true,
        EvalError::InOp { error, .. } => is_undefined(error),
        _ => false,
    }
}

/// Integers of at most `greatest`, 0 or 1. Each row begins with the greatest: many inputs of ones and
/// zeros are masks, and a row of zeros alone hides everything.
fn limit(input: &mut Array, greatest: i64) -> Result<(), EvalError> {
    if input.dtype().is_int() {
        let row = input.shape().last().copied().unwrap_or(1).max(1);
        let limited = |(at, x): (usize, i64)| {
            if at % row == 0 { greatest } else { x.rem_euclid(4).min(greatest) }
        };
        let values = input.to_i64s()?.into_iter().enumerate().map(limited).collect();
        *input = Array::from_i64s(input.dtype(), input.shape(), values)?;
    }
    Ok(())
}

/// The fractions of floats, without their signs.
fn keep_fraction(input: &mut Array) -> Result<(), EvalError> {
    if input.dtype().is_float() {
        let values = input.to_f64s()?.into_iter().map(|x| x.abs().fract()).collect();
        *input = Array::from_f64s(input.dtype(), input.shape(), values)?;
    }
    Ok(())
}

fn note_inputs(function: &Function, inputs: &[Array], (guards, seen): (&Guards, &RefCell<Seen>)) {
    let args = function.regions[function.body].args.iter().zip(&function.params);
    let named = args.filter(|(_, param)| param.kind == ParamKind::Input);
    for ((&arg, param), input) in named.zip(inputs) {
        widen(seen, &param.name, input);
        guards.look(arg, input, &mut seen.borrow_mut().least);
    }
}

fn look(function: &Function, value: Value, result: &EvalValue, seen: &RefCell<Seen>) {
    let constant =
        matches!(function.def(value), Some((_, node)) if matches!(node.op, Op::Const(_)));
    if let (false, Some(name), EvalValue::Array(array)) =
        (constant, function.values[value].name.as_deref(), result)
    {
        widen(seen, name, array);
    }
}

fn widen(seen: &RefCell<Seen>, name: &str, array: &Array) {
    if !array.dtype().is_float() {
        return;
    }
    let Ok(Some((lo, hi))) = array.finite_range() else { return };
    let ranges = &mut seen.borrow_mut().ranges;
    match ranges.get_mut(name) {
        Some(range) => *range = (range.0.min(lo), range.1.max(hi)),
        None => drop(ranges.insert(name.to_owned(), (lo, hi))),
    }
}

/// How much further than was seen values are taken to reach on other inputs.
const MARGIN: f64 = 2.0;

/// The ranges that matter for half precision, as the pass `precision` takes them: of values beyond 127,
/// whose squares with a margin come near the end of it.
pub(crate) fn ranges(seen: &Seen) -> Vec<String> {
    let far = |lo: f64, hi: f64| MARGIN * lo.abs().max(hi.abs()) > 255.0;
    let ranges = seen.ranges.iter();
    ranges
        .filter(|(_, (lo, hi))| far(*lo, *hi))
        .map(|(name, (lo, hi))| {
            format!("{name}={:?}..{:?}", widened(*lo, false), widened(*hi, true))
        })
        .collect()
}

/// How near to zero what is guarded against it comes, with a margin, as the pass `precision` takes it.
pub(crate) fn least(seen: &Seen) -> Vec<String> {
    seen.least.iter().map(|(name, least)| format!("{name}={:?}", least / MARGIN)).collect()
}

/// The end of a range with a margin.
fn widened(end: f64, upper: bool) -> f64 {
    let outward = (end > 0.0) == upper;
    if outward { end * MARGIN } else { end / MARGIN }
}
