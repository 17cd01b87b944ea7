//! Runs pipelines.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlc_diag::{Diagnostic, Diagnostics, Place, Severity, codes, nearest};
use mlc_ir::{FuncId, Program, remove_unused, verify};

use crate::cx::{PassCx, Record};
use crate::observe::{Blind, NumbersCheck, Observer, PrintWhen, Printer, VerifyEach};
use crate::pass::Changed;
use crate::pipeline::Pipeline;
use crate::plan::{Planned, Step, flat, plan};
use crate::registry::Registry;
use crate::replay::Replay;

/// How a pipeline is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Passes or aliases that are left out.
    pub skip: Vec<String>,
    /// The pass or alias after whose first run everything stops.
    pub stop_after: Option<String>,
    /// Only that many passes run, required ones not counted.
    pub bisect_limit: Option<usize>,
    /// When the program is shown before a pass.
    pub print_before: PrintWhen,
    /// When the program is shown after a pass.
    pub print_after: PrintWhen,
    /// A folder that gets the program as text at the start and after each pass that changed it.
    pub dump_dir: Option<PathBuf>,
    /// What is checked after each pass.
    pub verify_each: VerifyEach,
    /// Whether times are taken.
    pub timing: bool,
    /// The folder that a failure leaves its reproducer in.
    pub reproducer: Option<PathBuf>,
    /// The seed of everything random.
    pub seed: u64,
    /// Most rounds of a `fix` group.
    pub fix_limit: usize,
    /// How programs are printed; nothing is shown, dumped or reproduced without it.
    pub printer: Option<Printer>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            skip: Vec::new(),
            stop_after: None,
            bisect_limit: None,
            print_before: PrintWhen::Never,
            print_after: PrintWhen::Never,
            dump_dir: None,
            verify_each: VerifyEach::Changed,
            timing: false,
            reproducer: None,
            seed: 0,
            fix_limit: 16,
            printer: None,
        }
    }
}

impl RunOptions {
    /// Whether passes run as they would without these options: nothing is left out, shown, written or
    /// checked beyond the usual. Times may be taken.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.skip.is_empty()
            && self.stop_after.is_none()
            && self.bisect_limit.is_none()
            && self.print_before == PrintWhen::Never
            && self.print_after == PrintWhen::Never
            && self.dump_dir.is_none()
            && self.verify_each == VerifyEach::Changed
            && self.reproducer.is_none()
    }
}

/// One run of one pass.
#[derive(Debug, Clone, PartialEq)]
pub struct PassRun {
    /// The pass.
    pub pass: &'static str,
    /// Whether it changed the program.
    pub changed: bool,
    /// Ops before it, constants not counted.
    pub ops_before: usize,
    /// Ops after it and the clean-up.
    pub ops_after: usize,
    /// Ops that the clean-up removed.
    pub removed: usize,
    /// What the pass counted.
    pub counters: BTreeMap<&'static str, u64>,
    /// What it did to single things.
    pub records: Vec<Record>,
    /// How long it took, where asked.
    pub time: Option<Duration>,
}

/// What happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Runs, in order.
    pub runs: Vec<PassRun>,
    /// Warnings and notes of passes and the manager.
    pub diagnostics: Diagnostics,
    /// Passes that would have run but for `--bisect-limit`.
    pub cut: usize,
}

/// A pipeline that did not end well. The program is incomplete.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Errors, after the warnings and notes from before.
    pub diagnostics: Diagnostics,
    /// The pass that failed; none if the pipeline itself is wrong.
    pub pass: Option<&'static str>,
    /// Folder of the reproducer, where one was asked for.
    pub reproducer: Option<PathBuf>,
    /// What happened until then.
    pub report: Report,
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self { diagnostics, pass: None, reproducer: None, report: Report::default() }
    }
}

/// Runs pipelines of the passes of a registry.
///
/// After each pass that changed something it removes ops nobody uses and verifies the program.
pub struct PassManager<'a> {
    registry: &'a Registry,
    options: RunOptions,
    numbers: Option<&'a mut dyn NumbersCheck>,
    observer: Option<&'a mut dyn Observer>,
    given: Option<Arc<dyn Any + Send + Sync>>,
}

impl<'a> PassManager<'a> {
    /// A manager with the default options.
    #[must_use]
    pub fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            options: RunOptions::default(),
            numbers: None,
            observer: None,
            given: None,
        }
    }

    /// The same with other options.
    #[must_use]
    pub fn options(mut self, options: RunOptions) -> Self {
        self.options = options;
        self
    }

    /// Compares numbers with `check` where [`VerifyEach::Numbers`] asks for it.
    #[must_use]
    pub fn numbers(mut self, check: &'a mut dyn NumbersCheck) -> Self {
        self.numbers = Some(check);
        self
    }

    /// Shows passes and programs to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: &'a mut dyn Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Hands passes what was measured of the program; they ask for it by type.
    #[must_use]
    pub fn given<T: Any + Send + Sync>(mut self, given: Arc<T>) -> Self {
        self.given = Some(given);
        self
    }

    /// Runs `pipeline` on `program`.
    ///
    /// # Errors
    /// A pipeline or names in the options that make no sense, before anything runs; a pass that
    /// failed; a pass after which the program is not valid or computes something else.
    pub fn run(
        &mut self,
        pipeline: &Pipeline,
        program: &mut Program,
    ) -> Result<Report, Box<Failure>> {
        let steps = self.plan(pipeline, program).map_err(|d| Box::new(Failure::from(d)))?;
        let idle = self.idle(&steps);
        let mut blind = Blind;
        let mut run = Run {
            options: &self.options,
            numbers: match &mut self.numbers {
                Some(numbers) => Some(&mut **numbers),
                None => None,
            },
            observer: match &mut self.observer {
                Some(observer) => &mut **observer,
                None => &mut blind,
            },
            stop_at: self.options.stop_after.as_ref().and_then(|name| stop_at(&steps, name)),
            whole: pipeline.to_string(),
            count: flat(&steps).len(),
            given: self.given.clone(),
            report: Report { diagnostics: idle, ..Report::default() },
            version: 0,
            ran: 0,
            stopped: false,
            dumps: 0,
        };
        run.dump("input", program).map_err(|d| Box::new(Failure::from(d)))?;
        match run.steps(&steps, program, None) {
            Ok(()) => Ok(run.report),
            Err(Stop { pass, errors, reproducer }) => {
                let report = run.report;
                let mut diagnostics = report.diagnostics.clone();
                diagnostics.extend(errors);
                Err(Box::new(Failure { diagnostics, pass: Some(pass), reproducer, report }))
            }
        }
    }

    /// The steps of `pipeline`, with every name in it and in the options known.
    fn plan(&self, pipeline: &Pipeline, program: &Program) -> Result<Vec<Step>, Diagnostics> {
        let mut found = Diagnostics::new();
        let mut named: Vec<&String> = self.options.skip.iter().collect();
        named.extend(&self.options.stop_after);
        for when in [&self.options.print_before, &self.options.print_after] {
            if let PrintWhen::Named(names) = when {
                named.extend(names);
            }
        }
        for name in named {
            if !self.registry.contains(name) {
                found.push(self.registry.unknown_pass(name));
            }
        }
        if self.options.print_before == PrintWhen::Changed {
            let message = "what a pass changes is not known before it";
            let help = "print before `all`, or after `changed`";
            found.push(Diagnostic::new(codes::BAD_ARGUMENT, message).help(help));
        }
        let steps = match plan(self.registry, pipeline) {
            Ok(steps) => steps,
            Err(errors) => {
                found.extend(errors);
                return Err(found);
            }
        };
        check_functions(&steps, program, &mut found);
        if let Some(stop) = &self.options.stop_after
            && self.registry.contains(stop)
            && stop_at(&steps, stop).is_none()
        {
            let message = format!("the pipeline has no `{stop}` to stop after");
            found.push(Diagnostic::new(codes::BAD_ARGUMENT, message));
        }
        if self.options.verify_each == VerifyEach::Numbers && self.numbers.is_none() {
            let message = "numbers cannot be compared here: no evaluator is linked";
            found.push(Diagnostic::new(codes::BAD_ARGUMENT, message));
        }
        if found.has_errors() { Err(found) } else { Ok(steps) }
    }

    /// Warnings about options that name a pass which the pipeline does not have.
    fn idle(&self, steps: &[Step]) -> Diagnostics {
        let passes = flat(steps);
        let mut options: Vec<(&str, &String)> = Vec::new();
        options.extend(self.options.skip.iter().map(|name| ("skip", name)));
        for (what, when) in [
            ("print before", &self.options.print_before),
            ("print after", &self.options.print_after),
        ] {
            if let PrintWhen::Named(names) = when {
                options.extend(names.iter().map(|name| (what, name)));
            }
        }
        options.retain(|(_, name)| !passes.iter().any(|planned| planned.is(name)));
        let warning = |(what, name)| {
            let message = format!("the pipeline has no `{name}` to {what}");
            let mut warning = Diagnostic::new(codes::BAD_ARGUMENT, message);
            warning.severity = Severity::Warning;
            warning
        };
        options.into_iter().map(warning).collect()
    }
}

fn check_functions(steps: &[Step], program: &Program, found: &mut Diagnostics) {
    for step in steps {
        match step {
            Step::Pass(_) => {}
            Step::Fix(steps) => check_functions(steps, program, found),
            Step::Func(name, steps) => {
                if program.function(name).is_none() {
                    let names: Vec<&str> =
                        program.functions.iter().map(|(_, f)| f.name.as_str()).collect();
                    let near = nearest(name, names.iter().copied());
                    let help = format!("functions: {}", names.join(", "));
                    let message = match near.first() {
                        Some(near) => format!("no function `{name}`; `{near}` is near"),
                        None => format!("no function `{name}`"),
                    };
                    found.push(Diagnostic::new(codes::BAD_PIPELINE, message).help(help));
                }
                check_functions(steps, program, found);
            }
        }
    }
}

/// The position of the pass to stop after: the first of that name, or the last of the first use of
/// an alias.
fn stop_at(steps: &[Step], name: &str) -> Option<usize> {
    let passes = flat(steps);
    let first = passes.iter().position(|planned| planned.is(name))?;
    let after = passes[first..].iter().take_while(|p| p.alias.as_deref() == Some(name)).count();
    Some(first + after.saturating_sub(1))
}

impl Planned {
    fn is(&self, name: &str) -> bool {
        self.pass.name() == name || self.alias.as_deref() == Some(name)
    }
}

/// Why a run stopped.
struct Stop {
    pass: &'static str,
    errors: Diagnostics,
    reproducer: Option<PathBuf>,
}

struct Run<'a> {
    options: &'a RunOptions,
    numbers: Option<&'a mut (dyn NumbersCheck + 'a)>,
    observer: &'a mut (dyn Observer + 'a),
    given: Option<Arc<dyn Any + Send + Sync>>,
    whole: String,
    count: usize,
    /// The position of the pass after which nothing runs.
    stop_at: Option<usize>,
    report: Report,
    /// Grows with each change of the program.
    version: u64,
    /// Passes that ran and count for the limit.
    ran: usize,
    stopped: bool,
    dumps: usize,
}

impl Run<'_> {
    fn steps(
        &mut self,
        steps: &[Step],
        program: &mut Program,
        only: Option<FuncId>,
    ) -> Result<(), Stop> {
        for step in steps {
            match step {
                Step::Pass(planned) => {
                    if !self.is_left_out(planned) {
                        self.pass(planned, program, only)?;
                    }
                    self.stopped |= self.stop_at == Some(planned.index);
                }
                Step::Fix(steps) => self.fix(steps, program, only)?,
                Step::Func(name, steps) => {
                    let one = program.function(name).or(only);
                    self.steps(steps, program, one)?;
                }
            }
        }
        Ok(())
    }

    fn fix(
        &mut self,
        steps: &[Step],
        program: &mut Program,
        only: Option<FuncId>,
    ) -> Result<(), Stop> {
        for _ in 0..self.options.fix_limit {
            let before = self.version;
            self.steps(steps, program, only)?;
            if self.version == before || self.stopped {
                return Ok(());
            }
        }
        let names: Vec<&str> = flat(steps).iter().map(|p| p.pass.name()).collect();
        let message = format!(
            "fix({}) still changes the program after {} rounds",
            names.join(","),
            self.options.fix_limit
        );
        let mut warning = Diagnostic::new(codes::RESOURCE_LIMIT, message);
        warning.severity = Severity::Warning;
        self.report.diagnostics.push(warning);
        Ok(())
    }

    /// Whether the options leave this pass out.
    fn is_left_out(&mut self, planned: &Planned) -> bool {
        if self.stopped || self.options.skip.iter().any(|name| planned.is(name)) {
            return true;
        }
        if planned.pass.is_required() {
            return false;
        }
        let cut = self.options.bisect_limit.is_some_and(|limit| self.ran >= limit);
        self.report.cut += usize::from(cut);
        cut
    }

    fn pass(
        &mut self,
        planned: &Planned,
        program: &mut Program,
        only: Option<FuncId>,
    ) -> Result<(), Stop> {
        let name = planned.pass.name();
        let alias = planned.alias.as_deref();
        self.ran += usize::from(!planned.pass.is_required());
        self.observer.start(name, planned.index, self.count);
        if self.options.print_before.wants(name, alias, false) {
            self.show(&format!("before {name}"), program);
        }
        let before = self.needs_before().then(|| program.clone());
        let failed = |this: &Self, errors: Diagnostics| {
            let replay = before.as_ref().map(|before| this.replay(planned, before));
            this.stop(planned, errors, replay)
        };
        let changed = match self.timed(planned, program, only) {
            Ok(changed) => changed,
            Err(errors) => return Err(failed(self, errors)),
        };
        if let Err(errors) = self.check(planned, program, (before.as_ref(), changed)) {
            return Err(failed(self, errors));
        }
        if changed == Changed::Yes {
            self.version += 1;
            self.dump(name, program).map_err(|error| failed(self, error))?;
        }
        if self.options.print_after.wants(name, alias, changed == Changed::Yes) {
            self.show(&format!("after {name}"), program);
        }
        Ok(())
    }

    fn needs_before(&self) -> bool {
        self.options.reproducer.is_some() || self.options.verify_each > VerifyEach::Changed
    }

    /// Runs the pass and the clean-up, and notes the run.
    fn timed(
        &mut self,
        planned: &Planned,
        program: &mut Program,
        only: Option<FuncId>,
    ) -> Result<Changed, Diagnostics> {
        let pass = &planned.pass;
        let ops_before = program.op_count();
        let span = tracing::debug_span!("pass", name = pass.name(), ops_before);
        let _entered = span.enter();
        let start = self.options.timing.then(Instant::now);
        let mut cx = PassCx::of(only, self.options.seed);
        cx.given.clone_from(&self.given);
        cx.meter = self.observer.meter(planned.pass.name());
        let result = guarded(pass.name(), || pass.run(program, &mut cx));
        let mut removed = 0;
        if let (Ok(Changed::Yes), true) = (&result, pass.cleans()) {
            for func in cx.functions(program) {
                removed += remove_unused(&mut program.functions[func]);
            }
        }
        let changed = matches!(result, Ok(Changed::Yes));
        let ops_after = program.op_count();
        tracing::debug!(changed, ops_after, removed);
        self.report.diagnostics.extend(cx.diagnostics);
        self.report.runs.push(PassRun {
            pass: pass.name(),
            changed,
            ops_before,
            ops_after,
            removed,
            counters: cx.counters,
            records: cx.records,
            time: start.map(|start| start.elapsed()),
        });
        result.map_err(|error| error.0)
    }

    fn check(
        &mut self,
        planned: &Planned,
        program: &Program,
        (before, changed): (Option<&Program>, Changed),
    ) -> Result<(), Diagnostics> {
        let name = planned.pass.name();
        let each = self.options.verify_each;
        if changed == Changed::Yes || each > VerifyEach::Changed {
            let violations = verify(program);
            if violations.has_errors() {
                let message = format!("the program is not valid after `{name}`");
                let mut error = Diagnostic::new(codes::INTERNAL, message);
                for violation in violations.items().iter().take(5) {
                    error = error.note(violation.to_string());
                }
                return Err(error.into());
            }
        }
        let Some(before) = before.filter(|_| each > VerifyEach::Changed) else { return Ok(()) };
        if let (Changed::No, Some(print)) = (changed, self.options.printer) {
            if print(before) != print(program) {
                let message = format!("`{name}` says it changed nothing, and did");
                return Err(Diagnostic::new(codes::INTERNAL, message).into());
            }
            return Ok(());
        }
        if let (VerifyEach::Numbers, Some(numbers)) = (each, self.numbers.as_deref_mut()) {
            let numerics = planned.pass.numerics();
            numbers.compare(before, program, numerics, self.options.seed).map_err(|errors| {
                let note = format!("the numbers changed in `{name}`");
                errors.into_iter().map(|error| error.note(note.clone())).collect::<Diagnostics>()
            })?;
        }
        Ok(())
    }

    fn replay(&self, planned: &Planned, before: &Program) -> Option<Replay> {
        let print = self.options.printer?;
        Some(Replay {
            input: print(before),
            pipeline: planned.call.to_string(),
            whole: self.whole.clone(),
            seed: self.options.seed,
        })
    }

    fn stop(
        &self,
        planned: &Planned,
        mut errors: Diagnostics,
        replay: Option<Option<Replay>>,
    ) -> Stop {
        let mut reproducer = None;
        if let (Some(folder), Some(Some(replay))) = (&self.options.reproducer, replay) {
            match replay.write(folder) {
                Ok(path) => {
                    let note = format!("`mlc opt --replay {}` repeats this", path.display());
                    let all = std::mem::take(&mut errors).into_iter();
                    errors = all.map(|e| if e.is_error() { e.note(&*note) } else { e }).collect();
                    reproducer = Some(path);
                }
                Err(unwritten) => errors.extend(unwritten.into_iter().map(|mut error| {
                    error.severity = Severity::Warning;
                    error
                })),
            }
        }
        Stop { pass: planned.pass.name(), errors, reproducer }
    }

    fn show(&mut self, heading: &str, program: &Program) {
        if let Some(print) = self.options.printer {
            self.observer.show(heading, &print(program));
        }
    }

    fn dump(&mut self, after: &str, program: &Program) -> Result<(), Diagnostics> {
        let (Some(folder), Some(print)) = (&self.options.dump_dir, self.options.printer) else {
            return Ok(());
        };
        let path = folder.join(format!("{:03}-{after}.mlc", self.dumps));
        self.dumps += 1;
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, print(program))).map_err(|e| {
            let file = path.display().to_string().into();
            let error = Diagnostic::new(codes::NOT_WRITABLE, e.to_string());
            error.at(Place::Entry { file, entry: "".into() }).into()
        })
    }
}

/// A panic of a pass is an error like any other, so that it leaves a reproducer.
fn guarded(
    pass: &str,
    run: impl FnOnce() -> crate::pass::Result<Changed>,
) -> crate::pass::Result<Changed> {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(Diagnostic::new(codes::INTERNAL, format!("`{pass}` panicked: {text}")).into())
    })
}
