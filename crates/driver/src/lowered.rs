//! From a source to a program that a version of Core ML takes.

use mlc_coreml::emit::EmitOptions;
use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::Program;
use mlc_pass::{Observer, PassManager, Pipeline, Report, RunOptions};
use mlc_target::{Opset, Target};

use crate::convert::{ConvertOptions, Precision, is_text};
use crate::interface::Pinned;
use crate::opt::printer;
use crate::pipeline::{self, Narrowing};
use crate::reference::{self, Reference};
use crate::search::{self, Search, SearchReport};
use crate::verify::EvaluatorCheck;
use crate::{Driver, Loaded};

/// A program that is legal for a target, and how it came to that.
pub(crate) struct Lowered {
    pub(crate) program: Program,
    pub(crate) opset: Opset,
    pub(crate) needs: Opset,
    pub(crate) because: Vec<String>,
    pub(crate) report: Report,
    pub(crate) pipeline: String,
    /// What the search for `--precision auto` came to.
    pub(crate) search: Option<SearchReport>,
}

/// The way from the source to `legalize`.
struct Plan {
    program: Program,
    /// The passes that have run on it.
    done: Option<(Pipeline, Report)>,
    /// Those that have not.
    rest: Pipeline,
}

impl Plan {
    fn whole(&self) -> Pipeline {
        match &self.done {
            Some((done, _)) => done.clone().then(self.rest.clone()),
            None => self.rest.clone(),
        }
    }
}

/// What a source is lowered for.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) options: &'a ConvertOptions,
    /// The function that is called.
    pub(crate) main: &'a str,
    /// The element types that its inputs and outputs must have.
    pub(crate) pinned: &'a Pinned,
    /// What the source computes, where it was run.
    pub(crate) runs: Option<&'a Reference>,
}

/// Sees nothing.
struct Quiet;

impl Observer for Quiet {}

impl Driver {
    /// Runs the passes, and finds the lowest version of Core ML that holds the result.
    pub(crate) fn lower(
        &self,
        source: &Loaded,
        request: Request<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Lowered, Diagnostics> {
        let options = request.options;
        let mut narrowing = Narrowing {
            to: options.precision.most(),
            keep: options.keep_fp32.clone(),
            ranges: options.ranges.clone(),
            least: Vec::new(),
            target: options.target.map(Target::opset),
            level: options.preset,
        };
        let runs = request.runs.filter(|_| options.precision != Precision::Fp32);
        narrowing.ranges.extend(runs.into_iter().flat_map(|runs| reference::ranges(&runs.seen)));
        narrowing.least.extend(runs.into_iter().flat_map(|runs| reference::least(&runs.seen)));
        let own = options.passes.as_deref();
        let front = pipeline::front(options.preset, own, narrowing.target, &options.rewriting)?;
        let mut plan = Plan { program: source.program.clone(), done: None, rest: front };
        let mut found = None;
        if let (Precision::Auto(asked), Some(runs)) = (options.precision, runs) {
            found = Some(self.choose(
                &mut plan,
                &mut narrowing,
                (asked, runs),
                (source, request.main),
            )?);
        }
        plan.rest = plan.rest.then(pipeline::narrowing(&narrowing)?);
        if let Some(recipe) = &options.recipe {
            plan.rest = plan.rest.then(Pipeline::parse(&recipe.pipeline(None))?);
        }
        let watched = options.run.as_ref().filter(|run| !run.is_plain());
        let mut lowered = match watched {
            None => self.search(source, (&plan, request), observer),
            Some(run) => self.watched(source, (&plan, request, run), observer),
        }?;
        lowered.search = found;
        Ok(lowered)
    }

    /// Runs the passes before `precision`, and finds the ops that have to stay in single precision.
    fn choose(
        &self,
        plan: &mut Plan,
        narrowing: &mut Narrowing,
        (asked, runs): (f64, &Reference),
        from: (&Loaded, &str),
    ) -> Result<SearchReport, Diagnostics> {
        let front = std::mem::take(&mut plan.rest);
        let report = PassManager::new(self.passes())
            .run(&front, &mut plan.program)
            .map_err(|failure| failure.diagnostics)?;
        let (source, main) = (&from.0.program, from.1);
        let (Some(func), Some(at)) = (plan.program.function(main), source.function(main)) else {
            let message = format!("there is no function `{main}` to measure");
            return Err(Diagnostic::new(codes::BAD_ARGUMENT, message).into());
        };
        search::name_results(&mut plan.program, func);
        let (driver, program, source) = (self, &plan.program, &source.functions[at]);
        let all = Opset::ALL;
        let opsets = narrowing.target.as_ref().map_or(&all[..], std::slice::from_ref);
        let search = Search { driver, program, func, source, runs, narrowing, opsets };
        let found = search.run(asked)?;
        narrowing.keep.extend(found.kept.iter().map(|name| search::selector(name)));
        plan.done = Some((front, report));
        Ok(found)
    }

    /// Runs the passes for each version of Core ML that comes into question, oldest first, until one
    /// holds the result.
    fn search(
        &self,
        source: &Loaded,
        (plan, request): (&Plan, Request<'_>),
        observer: &mut dyn Observer,
    ) -> Result<Lowered, Diagnostics> {
        let options = request.options;
        let mut program = plan.program.clone();
        let mut report = plan.done.as_ref().map_or_else(Report::default, |(_, done)| done.clone());
        let timing = options.run.as_ref().is_some_and(|run| run.timing);
        let ran = PassManager::new(self.passes())
            .options(RunOptions { timing, ..RunOptions::default() })
            .observer(observer)
            .run(&plan.rest, &mut program)
            .map_err(|failure| failure.diagnostics)?;
        report.runs.extend(ran.runs);
        report.diagnostics.extend(ran.diagnostics);
        let attempt = |opset| {
            let back = pipeline::legalization(opset, options.preset)?;
            let package = EmitOptions { opset, ..source.package.clone() };
            let (legal, later) = self.legalize(&program, (&back, timing), &package)?;
            let other = request.pinned.check(&legal, request.main, opset);
            if other.has_errors() {
                return Err(other);
            }
            Ok::<_, Diagnostics>((legal, later, back))
        };
        // The lowest version that holds the program, and why those before it do not.
        let asked = options.target.map(Target::opset);
        let mut because = Vec::new();
        let mut lowest = None;
        let mut errors = Diagnostics::new();
        for opset in Opset::ALL.into_iter().filter(|&opset| asked.is_none_or(|a| opset <= a)) {
            match attempt(opset) {
                Ok(made) => {
                    lowest = Some((opset, made));
                    break;
                }
                Err(found) => {
                    because = reasons(&found);
                    errors = found;
                }
            }
        }
        // What a version does not take is told by the one asked for, or the last.
        let Some((needs, made)) = lowest else { return Err(errors) };
        let opset = asked.unwrap_or(needs);
        // A later version may have a better form.
        let (program, later, back) = if opset == needs { made } else { attempt(opset)? };
        report.runs.extend(later.runs);
        report.diagnostics.extend(later.diagnostics);
        let pipeline = plan.whole().then(back).to_string();
        Ok(Lowered { program, opset, needs, because, report, pipeline, search: None })
    }

    /// Runs the whole pipeline once, the way `run` says, for the version that [`Self::search`] finds,
    /// or where it finds none for the one asked for, or the newest.
    fn watched(
        &self,
        source: &Loaded,
        (plan, request, run): (&Plan, Request<'_>, &RunOptions),
        observer: &mut dyn Observer,
    ) -> Result<Lowered, Diagnostics> {
        let options = request.options;
        let found = self.search(source, (plan, request), &mut Quiet).ok();
        let asked = options.target.map(Target::opset);
        let newest = Opset::ALL[Opset::ALL.len() - 1];
        let opset = asked.or(found.as_ref().map(|f| f.opset)).unwrap_or(newest);
        let back = pipeline::legalization(opset, options.preset)?;
        let pipeline = plan.rest.clone().then(back.clone());
        let mut program = plan.program.clone();
        let mut check = EvaluatorCheck;
        let report = PassManager::new(self.passes())
            .options(RunOptions { printer: Some(printer), ..run.clone() })
            .numbers(&mut check)
            .observer(observer)
            .run(&pipeline, &mut program)
            .map_err(|failure| failure.diagnostics)?;
        // Text may show a program that is on its way; a package is legal.
        let is_cut = run.stop_after.is_some() || run.bisect_limit.is_some() || !run.skip.is_empty();
        if !(is_text(&options.output) && is_cut) {
            let package = EmitOptions { opset, ..source.package.clone() };
            let problems = mlc_coreml::emit::check(&program, &package);
            let other = request.pinned.check(&program, request.main, opset);
            if problems.has_errors() || other.has_errors() {
                return Err(problems.into_iter().chain(other).collect());
            }
        }
        let (needs, because) = found.map_or((opset, Vec::new()), |f| (f.needs, f.because));
        let pipeline = plan.whole().then(back).to_string();
        Ok(Lowered { program, opset, needs, because, report, pipeline, search: None })
    }

    fn legalize(
        &self,
        program: &Program,
        (pipeline, timing): (&Pipeline, bool),
        package: &EmitOptions,
    ) -> Result<(Program, Report), Diagnostics> {
        let mut legal = program.clone();
        let report = PassManager::new(self.passes())
            .options(RunOptions { timing, ..RunOptions::default() })
            .run(pipeline, &mut legal)
            .map_err(|failure| failure.diagnostics)?;
        let found = mlc_coreml::emit::check(&legal, package);
        if found.has_errors() { Err(found) } else { Ok((legal, report)) }
    }
}

/// Why a version of Core ML does not hold a program: what it is too old for, or else every error.
fn reasons(found: &Diagnostics) -> Vec<String> {
    let errors = || found.items().iter().filter(|d| d.is_error());
    let old: Vec<String> =
        errors().filter(|d| d.code == codes::TARGET_TOO_OLD).map(reason).collect();
    if old.is_empty() { errors().map(reason).collect() } else { old }
}

/// One line about why a version of Core ML is too old.
fn reason(diagnostic: &Diagnostic) -> String {
    match diagnostic.places.first() {
        Some(place) => format!("{} at {place}", diagnostic.message),
        None => diagnostic.message.clone(),
    }
}
