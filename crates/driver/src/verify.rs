//! Compares what two programs compute.

use std::path::Path;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_eval::{Array, EvalError, EvalValue, Evaluator, States};
use mlc_ir::{Function, Program};
use mlc_pass::{NumbersCheck, Numerics};
use mlc_tensor::DType;
use serde::Serialize;

use crate::compare::{Distance, Tolerance, distance};
use crate::feed::{self, Feed};
use crate::overflow::{self, Overflow};
use crate::{Driver, Kind};

/// Agreement at single precision.
pub(crate) const SINGLE: Tolerance = Tolerance::Relative(1e-4);
/// Agreement at half precision.
pub(crate) const HALF: Tolerance = Tolerance::SnrDb(35.0);

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
}

/// One input and how far the results are apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SampleReport {
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
    };
    let mut found = Diagnostics::new();
    let masks: Vec<bool> = crate::masks::masks(function)
        .into_iter()
        .zip(&function.params)
        .filter(|(_, param)| param.kind == mlc_ir::ParamKind::Input)
        .map(|(mask, _)| mask)
        .collect();
    for sample in 0..options.samples.max(1) as u64 {
        let seed = options.seed.wrapping_add(sample.wrapping_mul(1_000_003));
        let mut before = Evaluator::new(reference, f);
        let mut after = Evaluator::new(got, g);
        let mut states = before.initial_states().map_err(|e| evaluation("reference", &e))?;
        let mut new_states = after.initial_states().map_err(|e| evaluation("result", &e))?;
        for step in 0..options.steps.max(1) as u64 {
            let feed = Feed::Random(seed.wrapping_add(step.wrapping_mul(7919)));
            let mut inputs = feed::inputs(reference, function, &[], &feed)?;
            for (input, _) in inputs.iter_mut().zip(&masks).filter(|(_, mask)| **mask) {
                limit(input, 1).map_err(|e| evaluation("inputs", &e))?;
            }
            let (inputs, expected) = run_reference(&mut before, inputs, &mut states)?;
            let inputs = adapt(&inputs, &got.functions[g])?;
            let start = new_states.clone();
            let outputs =
                after.run(&inputs, &mut new_states).map_err(|e| evaluation("result", &e))?;
            let outputs = arrays(&outputs, "result")?;
            let compared = compare(function, &expected, &outputs, options, &mut found);
            if compared.outputs.iter().any(|(_, distance)| distance.non_finite > 0)
                && let Some(overflow) = overflow::first(got, g, &inputs, start)
            {
                found.push(explain(&overflow));
            }
            report.samples.push(compared);
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

/// Runs the reference, with ones and zeros for integers if random ones turn out to be no indices, with
/// zeros if those are none either, and with floats below 1 if indices are made from floats. Gives the
/// inputs that were used, too.
fn run_reference(
    evaluator: &mut Evaluator<'_>,
    mut inputs: Vec<Array>,
    states: &mut States,
) -> Result<(Vec<Array>, Vec<Array>), Diagnostics> {
    // A run that fails may have written states before it did.
    let start = states.clone();
    let mut outputs = evaluator.run(&inputs, states);
    for greatest in [1, 0] {
        if outputs.as_ref().is_err_and(is_undefined) {
            inputs
                .iter_mut()
                .try_for_each(|input| limit(input, greatest))
                .map_err(|e| evaluation("inputs", &e))?;
            states.clone_from(&start);
            outputs = evaluator.run(&inputs, states);
        }
    }
    if outputs.as_ref().is_err_and(is_undefined) {
        inputs.iter_mut().try_for_each(keep_fraction).map_err(|e| evaluation("inputs", &e))?;
        states.clone_from(&start);
        outputs = evaluator.run(&inputs, states);
    }
    let outputs = outputs.map_err(|e| evaluation("reference", &e))?;
    let outputs = arrays(&outputs, "reference")?;
    Ok((inputs, outputs))
}

fn arrays(values: &[EvalValue], what: &str) -> Result<Vec<Array>, Diagnostics> {
    values.iter().map(comparable).collect::<Result<_, _>>().map_err(|e| evaluation(what, &e))
}

/// A result as numbers: of a dictionary those of its entries, of texts their bytes.
fn comparable(value: &EvalValue) -> Result<Array, EvalError> {
    match value {
        EvalValue::Dict(entries) => {
            let numbers = entries.iter().map(|entry| entry.1).collect();
            Array::from_f64s(DType::F64, &[entries.len()], numbers)
        }
        EvalValue::Strs(texts) => {
            let bytes: Vec<i64> = texts.join("\0").bytes().map(i64::from).collect();
            Array::from_i64s(DType::I64, &[bytes.len()], bytes)
        }
        value => value.array().cloned(),
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
    expected: &[Array],
    outputs: &[Array],
    options: &VerifyOptions,
    found: &mut Diagnostics,
) -> SampleReport {
    let mut sample = SampleReport { outputs: Vec::new() };
    let mismatch = |message: String| Diagnostic::new(codes::VERIFY_MISMATCH, message);
    if expected.len() != outputs.len() {
        let message = format!("{} outputs, {} in the reference", outputs.len(), expected.len());
        found.push(mismatch(message));
        return sample;
    }
    for ((output, reference), got) in function.outputs.iter().zip(expected).zip(outputs) {
        match distance(reference, got) {
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
        };
        let options = VerifyOptions { samples: 1, tolerance, seed, steps: 1 };
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
        verify_programs(&reference.program, &got.program, &main_of(&reference.program), options)
    }
}

/// The function to run: `main`, or the first.
pub(crate) fn main_of(program: &Program) -> String {
    if program.function("main").is_some() {
        return "main".to_owned();
    }
    program.functions.iter().next().map_or_else(String::new, |(_, f)| f.name.clone())
}
