//! Compares what two programs compute.

use std::path::Path;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_eval::{Array, EvalError, EvalValue, Evaluator, States};
use mlc_ir::{FuncId, Function, Op, Program};
use mlc_pass::{NumbersCheck, Numerics};
use mlc_tensor::DType;
use serde::Serialize;

use crate::compare::{Distance, Tolerance, distance};
use crate::feed::{self, Feed, Feeds};
use crate::overflow::{self, Overflow};
use crate::sizes::Sizes;
use crate::{Driver, Kind, forecast};

/// Agreement at single precision.
pub(crate) const SINGLE: Tolerance = Tolerance::Relative(1e-4);
/// Agreement at half precision.
pub(crate) const HALF: Tolerance = Tolerance::SnrDb(35.0);

/// Results of compressed weights: finite, whatever their distance.
pub(crate) const LOSSY: Tolerance = Tolerance::SnrDb(f64::NEG_INFINITY);

/// How programs are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyOptions {
    /// How many inputs.
    pub samples: usize,
    /// When results agree.
    pub tolerance: Tolerance,
    /// Where random inputs begin.
    pub seed: u64,
    /// Successive calls for functions with states.
    pub steps: usize,
    /// Where inputs are of flexible shape, the seconds that may be spent on other sizes than the default
    /// one: the least, the greatest and one between. Only the default one if `None`.
    pub other_sizes: Option<f64>,
    /// Inputs that hold pixels from 0 to 255.
    pub images: Vec<String>,
}

impl VerifyOptions {
    /// One input of the default size.
    #[must_use]
    pub fn new(tolerance: Tolerance) -> Self {
        Self { samples: 1, tolerance, seed: 0, steps: 1, other_sizes: None, images: Vec::new() }
    }
}

/// One input and how far the results are apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleReport {
    /// The extents of flexible inputs, such as `s0=4`; empty for the default ones.
    pub sizes: String,
    /// By output, in order.
    pub outputs: Vec<(String, Distance)>,
}

/// How two programs compare.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// One entry an input.
    pub samples: Vec<SampleReport>,
    /// The worst figures of all outputs and samples.
    pub worst: Distance,
    /// What was asked of them.
    pub tolerance: Tolerance,
    /// Whether all outputs agree.
    pub agrees: bool,
    /// Sizes that were not compared, and why.
    pub skipped: Vec<String>,
}

fn evaluation(what: &str, error: &EvalError) -> Diagnostics {
    let mut diagnostic = Diagnostic::new(codes::EVALUATION, format!("{what}: {error}"));
    if let EvalError::InOp { at, .. } = error {
        diagnostic = diagnostic.note(format!("at {at}"));
    }
    diagnostic.into()
}

/// Runs the function called `name` of both programs on the same inputs and compares the outputs by
/// position.
///
/// # Errors
/// `verify-mismatch` with every output that disagrees, or why the programs cannot be run.
pub fn verify_programs(
    reference: &Program,
    got: &Program,
    name: &str,
    options: &VerifyOptions,
) -> Result<VerifyReport, Diagnostics> {
    let (Some(f), Some(g)) = (reference.function(name), got.function(name)) else {
        let message = format!("both programs need a function `{name}`");
        return Err(Diagnostic::new(codes::BAD_ARGUMENT, message).into());
    };
    let function = &reference.functions[f];
    let mut report = VerifyReport {
        samples: Vec::new(),
        worst: Distance::zero(),
        tolerance: options.tolerance,
        agrees: true,
        skipped: Vec::new(),
    };
    let mut found = Diagnostics::new();
    let masks: Vec<bool> = crate::masks::masks(function)
        .into_iter()
        .zip(&function.params)
        .filter(|(_, param)| param.kind == mlc_ir::ParamKind::Input)
        .map(|(mask, _)| mask)
        .collect();
    let pair = Pair { reference: (reference, f), got: (got, g), options, masks };
    for sample in 0..options.samples.max(1) as u64 {
        let seed = options.seed.wrapping_add(sample.wrapping_mul(1_000_003));
        match pair.sample(seed, &Sizes::default(), &mut report, &mut found)? {
            Ok(()) => {}
            Err(error) => return Err(evaluation("reference", &error)),
        }
    }
    let mut left = options.other_sizes.unwrap_or(0.0);
    for sizes in Sizes::others(reference, function) {
        let seconds = forecast::verify_seconds(reference, function, &sizes);
        if options.other_sizes.is_none() {
            break;
        }
        if seconds > left {
            report.skipped.push(format!("{} would take about {seconds:.0} s", sizes.text()));
            continue;
        }
        left -= seconds;
        if let Err(error) = pair.sample(options.seed, &sizes, &mut report, &mut found)? {
            report.skipped.push(format!("{}: the source itself fails, {error}", sizes.text()));
        }
    }
    for sample in &report.samples {
        for (_, distance) in &sample.outputs {
            report.worst = report.worst.worse(distance);
        }
    }
    report.agrees = !found.has_errors();
    if report.agrees { Ok(report) } else { Err(found) }
}

/// Two programs that are compared.
struct Pair<'a> {
    reference: (&'a Program, FuncId),
    got: (&'a Program, FuncId),
    options: &'a VerifyOptions,
    /// Which inputs are masks.
    masks: Vec<bool>,
}

impl Pair<'_> {
    /// Compares all steps of one sample. Gives why the reference cannot be evaluated, if it cannot.
    fn sample(
        &self,
        seed: u64,
        sizes: &Sizes,
        report: &mut VerifyReport,
        found: &mut Diagnostics,
    ) -> Result<Result<(), EvalError>, Diagnostics> {
        let ((reference, f), (got, g)) = (self.reference, self.got);
        let function = &reference.functions[f];
        let mut before = Evaluator::new(reference, f);
        let mut after = Evaluator::new(got, g);
        let mut states = before.initial_states().map_err(|e| evaluation("reference", &e))?;
        let mut new_states = after.initial_states().map_err(|e| evaluation("result", &e))?;
        for step in 0..self.options.steps.max(1) as u64 {
            let seed = seed.wrapping_add(step.wrapping_mul(7919));
            let images = self.options.images.iter();
            let named: Vec<(String, Feed)> =
                images.map(|name| (name.clone(), Feed::Pixels(seed))).collect();
            let default = Feed::Random(seed);
            let plan = Feeds { named: &named, default: &default, sizes };
            let mut inputs = feed::inputs(reference, function, &plan)?;
            for (input, _) in inputs.iter_mut().zip(&self.masks).filter(|(_, mask)| **mask) {
                limit(input, 1).map_err(|e| evaluation("inputs", &e))?;
            }
            let (inputs, expected) = match run_reference(&mut before, inputs, &mut states) {
                Ok(made) => made,
                Err(error) => return Ok(Err(error)),
            };
            let inputs = adapt(&inputs, &got.functions[g])?;
            let start = new_states.clone();
            let outputs =
                after.run(&inputs, &mut new_states).map_err(|e| evaluation("result", &e))?;
            let mut compared = compare(function, (&expected, &outputs), self.options, found);
            compared.sizes = sizes.text();
            if compared.outputs.iter().any(|(_, distance)| distance.non_finite > 0)
                && let Some(overflow) = overflow::first(got, g, &inputs, start)
            {
                found.push(explain(&overflow));
            }
            report.samples.push(compared);
        }
        Ok(Ok(()))
    }
}

/// Runs the reference, with ones and zeros for integers if random ones turn out to be no indices, with
/// zeros if those are none either, and with floats below 1 if indices are made from floats. Gives the
/// inputs that were used, too.
fn run_reference(
    evaluator: &mut Evaluator<'_>,
    mut inputs: Vec<Array>,
    states: &mut States,
) -> Result<(Vec<Array>, Vec<EvalValue>), EvalError> {
    // A run that fails may have written states before it did.
    let start = states.clone();
    let mut outputs = evaluator.run(&inputs, states);
    for greatest in [1, 0] {
        if outputs.as_ref().is_err_and(is_undefined) {
            inputs.iter_mut().try_for_each(|input| limit(input, greatest))?;
            states.clone_from(&start);
            outputs = evaluator.run(&inputs, states);
        }
    }
    if outputs.as_ref().is_err_and(is_undefined) {
        inputs.iter_mut().try_for_each(keep_fraction)?;
        states.clone_from(&start);
        outputs = evaluator.run(&inputs, states);
    }
    Ok((inputs, outputs?))
}

/// The numbers of an output: elements, or the probabilities of labels. None for a label: it follows
/// from the probabilities, and equal ones may swap places.
fn numbers(function: &Function, at: usize, value: &EvalValue) -> Option<Array> {
    let result = function.regions[function.body].results[at];
    let label = function.def(result).is_some_and(|(_, data)| {
        matches!(data.op, Op::Classify(_)) && data.results.first() == Some(&result)
    });
    match value {
        EvalValue::Array(array) if !label => Some(array.clone()),
        EvalValue::Dict(entries) => {
            let values: Vec<f64> = entries.iter().map(|(_, value)| *value).collect();
            Array::from_f64s(DType::F64, &[values.len()], values).ok()
        }
        _ => None,
    }
}

/// Where a result stopped being finite, and what keeps it so.
fn explain(overflow: &Overflow) -> Diagnostic {
    let what = if overflow.nan { "NaN" } else { "infinite" };
    let selector = overflow.loc.module.as_deref().unwrap_or(overflow.op).to_owned();
    Diagnostic::new(
        codes::VERIFY_MISMATCH,
        format!(
            "`{}` of {} is the first op with a result that is {what}",
            overflow.op, overflow.dtype
        ),
    )
    .at_op(&overflow.loc)
    .note(format!(
        "the greatest value before it is {:.1}; f16 ends at 65504",
        overflow.greatest_before
    ))
    .help(format!("keep it in single precision: `--keep-fp32 {selector}`"))
    .fix(format!("--keep-fp32 {selector}"))
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

/// Inputs for the lowered function: the same values under the shapes it declares (a scalar has
/// become a vector of one).
fn adapt(inputs: &[Array], function: &Function) -> Result<Vec<Array>, Diagnostics> {
    let args = &function.regions[function.body].args;
    let types: Vec<_> = function
        .params
        .iter()
        .zip(args)
        .filter(|(param, _)| param.kind == mlc_ir::ParamKind::Input)
        .map(|(_, &arg)| function.ty(arg).as_tensor())
        .collect();
    inputs
        .iter()
        .zip(types)
        .map(|(input, ty)| match ty {
            Some(ty) if ty.rank() == 1 && input.rank() == 0 => {
                input.reshape(&[1]).map_err(|e| evaluation("inputs", &e))
            }
            _ => Ok(input.clone()),
        })
        .collect()
}

fn compare(
    function: &Function,
    (expected, outputs): (&[EvalValue], &[EvalValue]),
    options: &VerifyOptions,
    found: &mut Diagnostics,
) -> SampleReport {
    let mut sample = SampleReport { sizes: String::new(), outputs: Vec::new() };
    let mismatch = |message: String| Diagnostic::new(codes::VERIFY_MISMATCH, message);
    if expected.len() != outputs.len() {
        let message = format!("{} outputs, {} in the reference", outputs.len(), expected.len());
        found.push(mismatch(message));
        return sample;
    }
    for (at, output) in function.outputs.iter().enumerate() {
        let Some(reference) = numbers(function, at, &expected[at]) else { continue };
        let Some(got) = numbers(function, at, &outputs[at]) else {
            let message = format!("output `{}` is of another kind in the reference", output.name);
            found.push(mismatch(message));
            continue;
        };
        match distance(&reference, &got) {
            None => found.push(mismatch(format!(
                "output `{}` is {:?}, {:?} in the reference",
                output.name,
                got.shape(),
                reference.shape()
            ))),
            Some(distance) => {
                if !options.tolerance.accepts(&distance) {
                    found.push(disagreement(&output.name, &distance, options.tolerance));
                }
                sample.outputs.push((output.name.clone(), distance));
            }
        }
    }
    sample
}

fn disagreement(name: &str, distance: &Distance, tolerance: Tolerance) -> Diagnostic {
    let message = if distance.non_finite > 0 {
        format!("output `{name}` is not finite in {} places", distance.non_finite)
    } else if distance.exact {
        format!("output `{name}` differs in {} of {} places", distance.differing, distance.count)
    } else {
        format!(
            "output `{name}` is off: SNR {:.1} dB, relative {:.1e}, max |Δ| {:.1e}",
            distance.snr_db, distance.relative, distance.max_abs
        )
    };
    Diagnostic::new(codes::VERIFY_MISMATCH, message).note(format!("asked for {tolerance}")).help(
        "keep more in single precision (`--keep-fp32`, `--precision fp32`), or widen `--tolerance`",
    )
}

/// Compares programs before and after a pass, for the pass manager.
pub(crate) struct EvaluatorCheck;

impl NumbersCheck for EvaluatorCheck {
    fn compare(
        &mut self,
        before: &Program,
        after: &Program,
        numerics: Numerics,
        seed: u64,
    ) -> Result<(), Diagnostics> {
        let tolerance = match numerics {
            Numerics::Same => Tolerance::Relative(1e-3),
            Numerics::Narrower => HALF,
            Numerics::Lossy => LOSSY,
        };
        let options = VerifyOptions { seed, ..VerifyOptions::new(tolerance) };
        let mut found = Diagnostics::new();
        for (_, function) in before.functions.iter() {
            if let Err(errors) = verify_programs(before, after, &function.name, &options) {
                found.extend(errors);
            }
        }
        if found.has_errors() { Err(found) } else { Ok(()) }
    }
}

impl Driver {
    /// Compares the model at `path` with its source at `source`, function by function.
    ///
    /// # Errors
    /// What differs, or why the models cannot be read or run.
    pub fn verify(
        &self,
        path: &Path,
        source: &Path,
        from: Option<Kind>,
        options: &VerifyOptions,
    ) -> Result<VerifyReport, Diagnostics> {
        let got = self.load(path, from)?;
        let reference = self.load(source, None)?;
        let main = main_of(&reference.program);
        let images = got
            .package
            .features
            .iter()
            .filter(|(key, feature)| key.function == main && feature.image.is_some());
        let mut options = options.clone();
        options.images.extend(images.map(|(key, _)| key.name.clone()));
        verify_programs(&reference.program, &got.program, &main, &options)
    }
}

/// The function to run: `main`, or the first.
pub(crate) fn main_of(program: &Program) -> String {
    if program.function("main").is_some() {
        return "main".to_owned();
    }
    program.functions.iter().next().map_or_else(String::new, |(_, f)| f.name.clone())
}
