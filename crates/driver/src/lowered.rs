//! From a source to a program that a version of Core ML takes.

use mlc_coreml::emit::EmitOptions;
use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::Program;
use mlc_pass::{Observer, PassManager, Pipeline, Report, RunOptions};
use mlc_target::{Opset, Target};

use crate::convert::{ConvertOptions, is_text};
use crate::interface::Pinned;
use crate::opt::printer;
use crate::pipeline::{self, Narrowing, compose};
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
}

/// What a source is lowered for.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) options: &'a ConvertOptions,
    /// The function that is called.
    pub(crate) main: &'a str,
    /// The element types that its inputs and outputs must have.
    pub(crate) pinned: &'a Pinned,
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
        let narrowing = Narrowing {
            to: options.precision.as_str(),
            keep: options.keep_fp32.clone(),
            target: options.target.map(Target::opset),
        };
        let own = options.passes.as_deref();
        let mut front = compose(options.preset, own, &narrowing, &options.rewriting)?;
        if let Some(recipe) = &options.recipe {
            front = front.then(Pipeline::parse(&recipe.pipeline(None))?);
        }
        match &options.run {
            None => self.search(source, (&front, request), observer),
            Some(run) => self.watched(source, (&front, request, run), observer),
        }
    }

    /// Runs the passes for each version of Core ML that comes into question, oldest first, until one
    /// holds the result.
    fn search(
        &self,
        source: &Loaded,
        (front, request): (&Pipeline, Request<'_>),
        observer: &mut dyn Observer,
    ) -> Result<Lowered, Diagnostics> {
        let options = request.options;
        let mut program = source.program.clone();
        let mut report = PassManager::new(self.passes())
            .observer(observer)
            .run(front, &mut program)
            .map_err(|failure| failure.diagnostics)?;
        let attempt = |opset| {
            let back = pipeline::legalization(opset, options.preset)?;
            let package = EmitOptions { opset, ..source.package.clone() };
            let (legal, later) = self.legalize(&program, &back, &package)?;
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
        let pipeline = front.clone().then(back).to_string();
        Ok(Lowered { program, opset, needs, because, report, pipeline })
    }

    /// Runs the whole pipeline once, the way `run` says, for the version that [`Self::search`] finds,
    /// or where it finds none for the one asked for, or the newest.
    fn watched(
        &self,
        source: &Loaded,
        (front, request, run): (&Pipeline, Request<'_>, &RunOptions),
        observer: &mut dyn Observer,
    ) -> Result<Lowered, Diagnostics> {
        let options = request.options;
        let found = self.search(source, (front, request), &mut Quiet).ok();
        let asked = options.target.map(Target::opset);
        let newest = Opset::ALL[Opset::ALL.len() - 1];
        let opset = asked.or(found.as_ref().map(|f| f.opset)).unwrap_or(newest);
        let pipeline = front.clone().then(pipeline::legalization(opset, options.preset)?);
        let mut program = source.program.clone();
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
        Ok(Lowered { program, opset, needs, because, report, pipeline: pipeline.to_string() })
    }

    fn legalize(
        &self,
        program: &Program,
        pipeline: &Pipeline,
        package: &EmitOptions,
    ) -> Result<(Program, Report), Diagnostics> {
        let mut legal = program.clone();
        let report = PassManager::new(self.passes())
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
