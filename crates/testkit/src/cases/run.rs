//! Takes cases through the stages, in parallel.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mlc_diag::Diagnostics;
use mlc_driver::{
    ConvertOptions, Driver, InputRequest, LowerOptions, OutputRequest, Precision, Preset,
    SourceOptions,
};
use mlc_eval::{Array, States};
use mlc_ir::{Op, Program, Value};
use mlc_tensor::DType;
use mlc_torch::graph::InputKind;

use super::calls::{self, Call, Sequence, spelling};
use super::collect::{Case, Judged};
use super::compare::compare;
use super::outcome::{Failure, Outcome, Reached};
use super::{Config, Stage, levels};
use crate::package::{Silent, ios};

/// What is done with each case.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For what it is converted; the first one's precision is used where nothing is converted.
    pub configs: Vec<Config>,
    /// How far it is taken.
    pub stage: Stage,
    /// A folder that keeps the packages.
    pub packages: Option<PathBuf>,
    /// Threads.
    pub jobs: usize,
    /// Traces are converted at the sizes that they were made with alone.
    pub fixed: bool,
    /// The optimization level.
    pub level: Preset,
    /// A level whose results must be the same, up to [`levels::MOST`]; what the references say is not asked then.
    pub against: Option<Preset>,
}

impl Plan {
    /// The configurations that differ at this stage.
    #[must_use]
    pub fn columns(&self) -> &[Config] {
        match self.stage {
            Stage::Import | Stage::Eval => &self.configs[..self.configs.len().min(1)],
            Stage::Convert | Stage::Emit => &self.configs,
        }
    }
}

/// The outcomes of each case, by configuration. `seen` hears of each case when it is through.
///
/// # Errors
/// The driver cannot be made.
pub fn run_all(
    cases: &[Case],
    plan: &Plan,
    seen: &(dyn Fn(&Case, &[Outcome]) + Sync),
) -> Result<Vec<Vec<Outcome>>, Diagnostics> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Vec::new(); cases.len()]);
    let work = || -> Result<(), Diagnostics> {
        // Each thread has its own, so that nothing is shared between cases that run at once.
        let driver = Driver::new(&[])?;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(at) else { return Ok(()) };
            let outcome = run_case(&driver, case, plan);
            seen(case, &outcome);
            outcomes.lock().unwrap_or_else(PoisonError::into_inner)[at] = outcome;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<(), Diagnostics>(())
    })?;
    Ok(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner))
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what panics say for the outcome of their case, instead of printing it.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let payload = info.payload();
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or_default();
        PANIC.with(|last| *last.borrow_mut() = format!("{text} at {place}"));
    }));
}

/// What `work` gives; a panic is a problem in words. Needs [`catch_panics`].
///
/// # Errors
/// What `work` says, or the panic.
pub fn guarded_text<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(format!("panic: {}", PANIC.with(|last| std::mem::take(&mut *last.borrow_mut()))))
    })
}

fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Failure::new("panic", PANIC.with(|last| std::mem::take(&mut *last.borrow_mut()))))
    })
}

/// What the calls of a case start from.
struct References {
    sequences: Vec<Sequence>,
    stored: BTreeMap<String, Array>,
    /// The shapes of the inputs, where the file does not tell them.
    inputs: Vec<InputRequest>,
}

fn run_case(driver: &Driver, case: &Case, plan: &Plan) -> Vec<Outcome> {
    let references = match guarded(|| references(case, plan)) {
        Ok(references) => references,
        Err(failure) => return vec![Outcome::failed(failure); plan.columns().len()],
    };
    plan.columns()
        .iter()
        .map(|&config| {
            let work = Work { driver, case, references: &references, plan, config };
            guarded(|| work.outcome()).unwrap_or_else(Outcome::failed)
        })
        .collect()
}

fn references(case: &Case, plan: &Plan) -> Result<References, Failure> {
    let mut sequences = Vec::new();
    if plan.stage != Stage::Import && case.judged != Judged::Conversion {
        for path in &case.references {
            let read = calls::read(path).map_err(|error| Failure::new("references", error))?;
            sequences.extend(read);
        }
        for call in sequences.iter_mut().flatten() {
            calls::reorder(&mut call.inputs, &case.order.0);
            calls::reorder(&mut call.outputs, &case.order.1);
        }
        if sequences.is_empty() {
            return Err(Failure::new("references", "there is no call to compare with"));
        }
    }
    if case.file.is_dir() {
        let stored = saved_variables(case);
        return Ok(References { sequences, stored, inputs: Vec::new() });
    }
    let script = case.file.extension().is_some_and(|e| e == "pt");
    let (mut inputs, stored) =
        if script { script_inputs(case) } else { (Vec::new(), stored(&case.file)) };
    if plan.fixed {
        inputs.iter_mut().for_each(|input| input.dynamic.clear());
        sequences.retain(|calls| calls.iter().all(|call| has_sizes(call, &inputs)));
    }
    Ok(References { sequences, stored, inputs })
}

/// Whether the inputs of `call` have the sizes that are asked for, where any are.
fn has_sizes(call: &Call, inputs: &[InputRequest]) -> bool {
    let fits = |(array, request): (&Array, &InputRequest)| {
        let shape = request.shape.as_ref();
        shape.is_none_or(|shape| shape.iter().copied().eq(array.shape().iter().map(|&n| n as u64)))
    };
    call.inputs.iter().zip(inputs).all(fits)
}

/// What the user of a script says of its inputs, and the buffers that it holds.
fn script_inputs(case: &Case) -> (Vec<InputRequest>, BTreeMap<String, Array>) {
    let Ok(source) = mlc_torch::script::read(&case.file) else { return Default::default() };
    let mut buffers = BTreeMap::new();
    for (name, tensor, parameter) in source.tensors() {
        if !parameter && let Ok(array) = Array::from_tensor(&tensor) {
            buffers.insert(name, array);
        }
    }
    let first = case.references.first().and_then(|path| calls::read(path).ok());
    let first = first.into_iter().flatten().flatten().next();
    let given = first.map(|call| call.inputs).unwrap_or_default();
    let names = source.input_names(given.len());
    let mut requests = Vec::new();
    for (i, (name, array)) in names.into_iter().zip(&given).enumerate() {
        let mut request = InputRequest::new(name);
        request.shape = Some(array.shape().iter().map(|&n| n as u64).collect());
        request.dtype = Some(array.dtype());
        request.dynamic = case.dynamic.get(i).cloned().unwrap_or_default();
        // A trace runs at every size; a step would only list the sizes.
        request.dynamic.values_mut().for_each(|axis| axis.step = 1);
        requests.push(request);
    }
    (requests, buffers)
}

/// The variables of a SavedModel.
fn saved_variables(case: &Case) -> BTreeMap<String, Array> {
    let options =
        mlc_tensorflow::ReadOptions { signature: case.signature.clone(), ..Default::default() };
    let model = mlc_tensorflow::read_saved_model(&case.file, &options);
    let values = model.ok().and_then(|model| model.initial_values().ok()).unwrap_or_default();
    values
        .into_iter()
        .filter_map(|(name, tensor)| Some((name, Array::from_tensor(&tensor).ok()?)))
        .collect()
}

/// The buffers of the model, which are what its states begin with.
fn stored(file: &Path) -> BTreeMap<String, Array> {
    let Ok(source) = mlc_torch::read(file) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for input in source.inputs {
        if let InputKind::Buffer { tensor, .. } | InputKind::Constant(tensor) = input.kind
            && let Ok(array) = Array::from_tensor(&tensor)
        {
            found.insert(input.name, array);
        }
    }
    found
}

/// Is shown a call, what comes out, and the states after it.
pub(super) type See<'s> = dyn FnMut(&Call, &[Array], &States) -> Result<(), Failure> + 's;

/// A case and what it is converted for.
pub(super) struct Work<'a> {
    pub(super) driver: &'a Driver,
    case: &'a Case,
    references: &'a References,
    plan: &'a Plan,
    config: Config,
}

impl Work<'_> {
    fn outcome(&self) -> Result<Outcome, Failure> {
        let start = Instant::now();
        if self.plan.stage <= Stage::Eval {
            let options = SourceOptions {
                signature: self.case.signature.clone(),
                outputs: self.case.outputs.clone(),
                lowering: LowerOptions {
                    inputs: self.references.inputs.clone(),
                    ..Default::default()
                },
                ..SourceOptions::default()
            };
            let loaded = self
                .driver
                .load_source(&self.case.file, None, &options)
                .map_err(|e| Failure::of(&e))?;
            let outcome = converted(count(&loaded.program), start);
            return Ok(match self.plan.stage {
                Stage::Import => Outcome { reached: Reached::Matched, ..outcome },
                // The source computes in the types it declares.
                _ => self.judge(&loaded.program, Precision::Fp32, outcome),
            });
        }
        let folder = tempfile::tempdir().map_err(|e| Failure::new("internal", e.to_string()))?;
        let output = self.output(folder.path());
        let report = match self.driver.convert(&self.options(&output), &mut Silent) {
            Ok(report) => report,
            Err(errors) => return Ok(Outcome::refused(&errors)),
        };
        let mut outcome = converted(BTreeMap::new(), start);
        outcome.needs = report.target.needs.parse().ok();
        // Nobody knows yet whether the bytes mean what they should: read them as a stranger does.
        let program = match self.driver.load(&output, None) {
            Ok(loaded) => loaded.program,
            Err(errors) => {
                let failure = Failure::of(&errors);
                let group = format!("read back: {}", failure.group);
                return Ok(outcome.stopped(Failure { group, ..failure }));
            }
        };
        outcome.reached = Reached::Validated;
        outcome.ops = count(&program);
        outcome.output_casts = output_casts(&program);
        outcome.cost = mlc_egraph::program_cost(&program, &mlc_target::cost::DEVICES[0]);
        if let Some(level) = self.plan.against {
            return Ok(match guarded(|| levels::agree(self, &program, level)) {
                Ok(relative) => Outcome { reached: Reached::Matched, relative, ..outcome },
                Err(failure) => outcome.stopped(failure),
            });
        }
        Ok(self.judge(&program, self.config.precision, outcome))
    }

    /// How the case is converted to `output`.
    pub(super) fn options(&self, output: &Path) -> ConvertOptions {
        let mut options = ConvertOptions::new(&self.case.file, output);
        options.preset = self.plan.level;
        options.target = ios(self.config.opset);
        options.precision = self.config.precision;
        options.signature.clone_from(&self.case.signature);
        let output = |name: &String| OutputRequest { name: name.clone(), dtype: None };
        options.interface.outputs = self.case.outputs.iter().map(output).collect();
        // As users convert: values of the source are measured. Whether it agrees is judged by the
        // references instead.
        options.keep_output = true;
        options.interface.inputs.clone_from(&self.references.inputs);
        options.force = true;
        options
    }

    /// The package, or text where no package is wanted.
    fn output(&self, temporary: &Path) -> PathBuf {
        if self.plan.stage == Stage::Convert {
            return temporary.join("case.mlc");
        }
        let folder = self.plan.packages.as_deref().unwrap_or(temporary);
        let id = self.case.id.replace('/', ".");
        let precision = self.config.precision.as_str();
        folder.join(format!("{id}.{}.{precision}.mlpackage", self.config.opset))
    }

    /// Evaluates every call and compares.
    fn judge(&self, program: &Program, precision: Precision, outcome: Outcome) -> Outcome {
        match guarded(|| self.compare_all(program, precision)) {
            Ok(relative) => Outcome { reached: Reached::Matched, relative, ..outcome },
            Err(failure) => outcome.stopped(failure),
        }
    }

    /// Evaluates every call, and shows it to `see` with what comes out and the states after it.
    pub(super) fn each_call(&self, program: &Program, see: &mut See<'_>) -> Result<(), Failure> {
        let main = program.function("main").or_else(|| program.func_ids().next());
        let func = main.ok_or_else(|| Failure::new("evaluation", "there is no function"))?;
        for sequence in &self.references.sequences {
            let Some(first) = sequence.first() else { continue };
            let mut states = calls::states((program, func), first, &self.references.stored)
                .map_err(|error| Failure::new("states", error))?;
            for call in sequence {
                let outputs = calls::run((program, func), call, &mut states)
                    .map_err(|error| Failure::new("evaluation", error.to_string()))?;
                see(call, &outputs, &states)?;
            }
        }
        Ok(())
    }

    /// The greatest relative difference.
    fn compare_all(&self, program: &Program, precision: Precision) -> Result<f64, Failure> {
        let mut worst = 0f64;
        self.each_call(program, &mut |call, outputs, states| {
            let agreed = self
                .compare_call(call, outputs, states, precision)
                .map_err(|error| in_call(&call.name, &error))?;
            worst = worst.max(agreed);
            Ok(())
        })?;
        Ok(worst)
    }

    fn compare_call(
        &self,
        call: &Call,
        outputs: &[Array],
        states: &States,
        precision: Precision,
    ) -> Result<f64, String> {
        if outputs.len() != call.outputs.len() {
            let (got, want) = (outputs.len(), call.outputs.len());
            return Err(format!("outputs differ: {got}, {want} wanted"));
        }
        let rule = (self.case.rule, precision);
        let mut worst = 0f64;
        let mut add = |name: &str, got: &Array, want: &Array| {
            let agreed = compare(rule, self.case.judged, got, want)
                .map_err(|error| format!("{error}, {name}"))?;
            worst = worst.max(agreed.relative);
            Ok::<(), String>(())
        };
        for (index, (got, want)) in outputs.iter().zip(&call.outputs).enumerate() {
            add(&format!("output {index}"), got, want)?;
        }
        for (name, want) in &call.states_out {
            let got = states.iter().find(|(key, _)| spelling(key) == spelling(name));
            let (_, got) = got.ok_or_else(|| format!("states differ: there is no `{name}`"))?;
            add(&format!("state {name}"), got, want)?;
        }
        Ok(worst)
    }
}

/// A mismatch is counted with what differs, whatever the numbers.
pub(super) fn in_call(call: &str, error: &str) -> Failure {
    let (kind, rest) = error.split_once(':').unwrap_or((error, ""));
    let call = if call.is_empty() { String::new() } else { format!(" in call {call}") };
    Failure { group: kind.to_owned(), text: format!("{kind}{call}:{rest}") }
}

fn converted(ops: BTreeMap<&'static str, usize>, start: Instant) -> Outcome {
    let seconds = start.elapsed().as_secs_f64();
    let reached = Reached::Converted;
    Outcome {
        reached,
        failure: None,
        needs: None,
        ops,
        output_casts: 0,
        cost: 0,
        relative: 0.0,
        seconds,
    }
}

/// How often each op stands in a program, constants left out.
fn count(program: &Program) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for (_, function) in program.functions.iter() {
        function.for_each_node(&mut |_, node| {
            let op = &function.nodes[node].op;
            if !matches!(op, Op::Const(_)) {
                *counts.entry(op.spec().name).or_default() += 1;
            }
        });
    }
    counts
}

/// How many outputs are casts of half precision.
fn output_casts(program: &Program) -> usize {
    let casts = program.functions.iter().map(|(_, function)| {
        let results = function.regions[function.body].results.iter();
        let is_cast = |value: &&Value| {
            function.def(**value).is_some_and(|(_, data)| {
                let from = data.operands.all().first().and_then(|&x| function.ty(x).as_tensor());
                matches!(data.op, Op::Cast(_)) && from.is_some_and(|ty| ty.dtype == DType::F16)
            })
        };
        results.filter(is_cast).count()
    });
    casts.sum()
}
