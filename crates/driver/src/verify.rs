//! Compares what two programs compute.

use std::path::Path;

use mlc_coreml::interface::FeatureKey;
use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_eval::{Array, EvalError, EvalValue, Evaluator};
use mlc_ir::{FuncId, Function, Op, ParamKind, Program};
use mlc_pass::{NumbersCheck, Numerics};
use mlc_tensor::DType;
use serde::Serialize;

use crate::compare::{Distance, Tolerance, distance};
use crate::overflow::{self, Overflow};
use crate::reference::{Call, Reference, Runner};
use crate::sizes::Sizes;
use crate::{Driver, Kind, Loaded, forecast};

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
    /// The function.
    pub function: String,
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

impl VerifyReport {
    /// Nothing was compared yet.
    fn new(tolerance: Tolerance) -> Self {
        Self {
            samples: Vec::new(),
            worst: Distance::zero(),
            tolerance,
            agrees: true,
            skipped: Vec::new(),
        }
    }

    /// Adds what another function showed.
    fn join(&mut self, other: Self) {
        self.samples.extend(other.samples);
        self.worst = self.worst.worse(&other.worst);
        self.agrees &= other.agrees;
        self.skipped.extend(other.skipped);
    }
}

pub(crate) fn evaluation(what: &str, error: &EvalError) -> Diagnostics {
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
    let Some(func) = reference.function(name) else { return Err(missing(name)) };
    let runs = Runner::new(reference, func, options).reference(&[])?;
    verify_against(&runs, (reference, func), got, options)
}

fn missing(name: &str) -> Diagnostics {
    let message = format!("both programs need a function `{name}`");
    Diagnostic::new(codes::BAD_ARGUMENT, message).into()
}

/// Compares the function of the same name with runs of this one, and at other sizes with runs that are
/// made for it.
///
/// # Errors
/// Like [`verify_programs`].
pub(crate) fn verify_against(
    runs: &Reference,
    (reference, func): (&Program, FuncId),
    got: &Program,
    options: &VerifyOptions,
) -> Result<VerifyReport, Diagnostics> {
    let function = &reference.functions[func];
    let Some(g) = got.function(&function.name) else { return Err(missing(&function.name)) };
    let mut report = VerifyReport::new(options.tolerance);
    let mut found = Diagnostics::new();
    let pair = Pair { function, got: (got, g), options };
    for calls in &runs.samples {
        pair.sample(calls, "", &mut report, &mut found)?;
    }
    let runner = Runner::new(reference, func, options);
    let others = options.other_sizes.map(|_| Sizes::others(reference, function));
    let mut left = options.other_sizes.unwrap_or(0.0);
    for sizes in others.into_iter().flatten() {
        let seconds = forecast::verify_seconds(reference, function, &sizes);
        if seconds > left {
            report.skipped.push(format!("{} would take about {seconds:.0} s", sizes.text()));
            continue;
        }
        left -= seconds;
        match runner.at(options.seed, &sizes)? {
            Ok(calls) => pair.sample(&calls, &sizes.text(), &mut report, &mut found)?,
            Err(error) => {
                report.skipped.push(format!("{}: the source itself fails, {error}", sizes.text()));
            }
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

/// A program that is compared with runs of a function.
struct Pair<'a> {
    function: &'a Function,
    got: (&'a Program, FuncId),
    options: &'a VerifyOptions,
}

impl Pair<'_> {
    /// Compares all calls of one sample.
    fn sample(
        &self,
        calls: &[Call],
        sizes: &str,
        report: &mut VerifyReport,
        found: &mut Diagnostics,
    ) -> Result<(), Diagnostics> {
        let (got, g) = self.got;
        let mut after = Evaluator::new(got, g);
        let mut states = after.initial_states().map_err(|e| evaluation("result", &e))?;
        for call in calls {
            let inputs = adapt(&call.inputs, &got.functions[g])?;
            let start = states.clone();
            let outputs = after.run(&inputs, &mut states).map_err(|e| evaluation("result", &e))?;
            let both = (&call.outputs[..], &outputs[..]);
            let mut compared = compare(self.function, both, self.options, found);
            sizes.clone_into(&mut compared.sizes);
            if compared.outputs.iter().any(|(_, distance)| distance.non_finite > 0)
                && let Some(overflow) = overflow::first(got, g, &inputs, start)
            {
                found.push(explain(&overflow));
            }
            report.samples.push(compared);
        }
        Ok(())
    }
}

/// The numbers of an output: elements, or the probabilities of labels. None for a label: it follows
/// from the probabilities, and equal ones may swap places.
pub(crate) fn numbers(function: &Function, at: usize, value: &EvalValue) -> Option<Array> {
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

/// Inputs for the lowered function: the same values under the shapes it declares (a scalar has
/// become a vector of one).
pub(crate) fn adapt(inputs: &[Array], function: &Function) -> Result<Vec<Array>, Diagnostics> {
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
    let mut sample =
        SampleReport { function: function.name.clone(), sizes: String::new(), outputs: Vec::new() };
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
        let mut report = VerifyReport::new(options.tolerance);
        let mut found = Diagnostics::new();
        for (func, function) in reference.program.functions.iter() {
            let images = image_inputs(&got, function);
            let options = VerifyOptions { images, ..options.clone() };
            let compared =
                Runner::new(&reference.program, func, &options).reference(&[]).and_then(|runs| {
                    verify_against(&runs, (&reference.program, func), &got.program, &options)
                });
            match compared {
                Ok(compared) => report.join(compared),
                Err(errors) => found.extend(errors),
            }
        }
        for (_, extra) in got.program.functions.iter() {
            if reference.program.function(&extra.name).is_none() {
                found.push(Diagnostic::new(
                    codes::VERIFY_MISMATCH,
                    format!("function `{}` is not in the source", extra.name),
                ));
            }
        }
        if found.has_errors() { Err(found) } else { Ok(report) }
    }
}

/// The inputs of `function` that hold pixels.
pub(crate) fn image_inputs(model: &Loaded, function: &Function) -> Vec<String> {
    let is_image = |name: &str| {
        let key = FeatureKey::new(&function.name, name);
        model.package.features.get(&key).is_some_and(|feature| feature.image.is_some())
    };
    let inputs = function.params.iter().filter(|param| param.kind == ParamKind::Input);
    inputs.filter(|param| is_image(&param.name)).map(|param| param.name.clone()).collect()
}

/// The function to run: `main`, or the first.
pub(crate) fn main_of(program: &Program) -> String {
    if program.function("main").is_some() {
        return "main".to_owned();
    }
    program.functions.iter().next().map_or_else(String::new, |(_, f)| f.name.clone())
}
