//! `mlc opt`: runs a pipeline on any model and gives text IR or a package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mlc_coreml::emit::EmitOptions;
use mlc_coreml::package::Existing;
use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::Program;
use mlc_pass::{Observer, PassManager, Pipeline, Replay, Report, RunOptions};
use mlc_target::Opset;
use serde::Serialize;

use crate::rewriting::{Rewriting, RewrittenOp};
use crate::verify::EvaluatorCheck;
use crate::{Driver, Kind, Levels, output};

/// What to run and on what.
#[derive(Debug, Clone)]
pub struct OptOptions {
    /// The model; `-` is text on stdin.
    pub input: PathBuf,
    /// Text IR, a package if it ends so, `-` is stdout.
    pub output: PathBuf,
    /// Forces the kind of the model.
    pub from: Option<Kind>,
    /// The pipeline.
    pub passes: String,
    /// Rewrite rules of the user.
    pub rewriting: Rewriting,
    /// Ops of the result of which is said which rules made them.
    pub explain_rewrites: Vec<String>,
    /// How it is run.
    pub run: RunOptions,
    /// Print where each op comes from.
    pub locations: bool,
    /// Replace what is at the output.
    pub force: bool,
    /// The version a package is written for. If `None`, that of the package that was read, or the
    /// lowest from there on that holds the program.
    pub target: Option<Opset>,
    /// A reproducer to run in place of input and pipeline.
    pub replay: Option<PathBuf>,
    /// Severities.
    pub levels: Levels,
}

/// What happened.
#[derive(Debug, Clone)]
pub struct OptReport {
    /// The runs of passes, with warnings and notes.
    pub passes: Report,
    /// The pipeline, as it was run.
    pub pipeline: String,
    /// The ops that were asked for, with the rules that made them.
    pub rewrites: Vec<RewrittenOp>,
    /// The text of the result, where the output is `-`; the caller prints it.
    pub text: Option<String>,
}

/// How the pass manager prints programs.
pub(crate) fn printer(program: &Program) -> String {
    mlc_text::print(program, &mlc_text::PrintOptions { header: true, ..Default::default() })
}

impl Driver {
    /// Runs a pipeline and writes the result, unless it goes to stdout.
    ///
    /// # Errors
    /// The model or the pipeline is wrong, a pass failed, or found what is denied. No output is left
    /// then.
    pub fn opt(
        &self,
        options: &OptOptions,
        observer: &mut dyn Observer,
    ) -> Result<OptReport, Diagnostics> {
        output::check_output(&options.output, options.force)?;
        let mut run = options.run.clone();
        run.printer = Some(printer);
        let (mut program, package, pipeline, since) = match &options.replay {
            Some(folder) => {
                let replay = Replay::read(folder)?;
                run.seed = replay.seed;
                let parse = mlc_text::ParseOptions { base_dir: folder.clone(), locate: true };
                let parsed = mlc_text::parse("input.mlc", &replay.input, &parse)?;
                let pipeline = Pipeline::parse_named(&replay.pipeline, "replay.json")?;
                (parsed.program, EmitOptions::new(Opset::Ios15), pipeline, Opset::Ios15)
            }
            None => {
                let mut pipeline = Pipeline::parse_named(&options.passes, "--passes")?;
                options.rewriting.hand_to(&mut pipeline, options.target)?;
                let loaded = self.load(&options.input, options.from)?;
                let since = loaded.opset.unwrap_or(Opset::Ios15);
                (loaded.program, loaded.package, pipeline, since)
            }
        };
        let mut check = EvaluatorCheck;
        let mut report = PassManager::new(self.passes())
            .options(run)
            .numbers(&mut check)
            .observer(observer)
            .run(&pipeline, &mut program)
            .map_err(|failure| options.levels.apply(failure.diagnostics))?;
        report.diagnostics = options.levels.apply(report.diagnostics);
        if report.diagnostics.has_errors() {
            return Err(report.diagnostics);
        }
        let mut rewrites = Vec::new();
        for wanted in &options.explain_rewrites {
            rewrites.extend(self.rewritten(&program, wanted)?);
        }
        let text = write_program(&program, (package, since), options)?;
        Ok(OptReport { passes: report, pipeline: pipeline.to_string(), rewrites, text })
    }

    /// The text of the model at `path`.
    ///
    /// # Errors
    /// The model cannot be read, or has no function of that name.
    pub fn print(
        &self,
        path: &Path,
        from: Option<Kind>,
        function: Option<&str>,
        locations: bool,
    ) -> Result<String, Diagnostics> {
        let program = self.load(path, from)?.program;
        let function = match function {
            None => None,
            Some(name) => Some(program.function(name).ok_or_else(|| no_function(&program, name))?),
        };
        let print =
            mlc_text::PrintOptions { function, locations, header: true, ..Default::default() };
        Ok(mlc_text::print(&program, &print))
    }
}

/// `bad-argument` for a function that is not there, with those that are.
pub(crate) fn no_function(program: &Program, name: &str) -> Diagnostic {
    let names: Vec<&str> = program.functions.iter().map(|(_, f)| f.name.as_str()).collect();
    Diagnostic::new(codes::BAD_ARGUMENT, format!("there is no function `{name}`"))
        .help(format!("functions are {}", names.join(", ")))
}

/// What a run of a pass did, for reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PassRunReport {
    /// The pass.
    pub pass: &'static str,
    /// Whether it changed the program.
    pub changed: bool,
    /// Ops before it, constants not counted.
    pub ops_before: usize,
    /// Ops after it.
    pub ops_after: usize,
    /// What it counted.
    pub counters: BTreeMap<&'static str, u64>,
    /// How long it took, where asked.
    pub seconds: Option<f64>,
}

impl PassRunReport {
    /// The runs of a report, in order.
    #[must_use]
    pub fn of(report: &Report) -> Vec<Self> {
        let runs = report.runs.iter().map(|run| Self {
            pass: run.pass,
            changed: run.changed,
            ops_before: run.ops_before,
            ops_after: run.ops_after,
            counters: run.counters.clone(),
            seconds: run.time.map(|time| time.as_secs_f64()),
        });
        runs.collect()
    }
}

/// Writes the package or the text; the text itself where the output is `-`.
fn write_program(
    program: &Program,
    (mut package, since): (EmitOptions, Opset),
    options: &OptOptions,
) -> Result<Option<String>, Diagnostics> {
    if options.output.extension().is_some_and(|e| e == "mlpackage") {
        match options.target {
            Some(opset) => package.opset = opset,
            None => lowest(program, &mut package, since)?,
        }
        let existing = if options.force { Existing::Replace } else { Existing::Refuse };
        mlc_coreml::emit::emit(program, &options.output, &package, existing)?;
        return Ok(None);
    }
    let print = mlc_text::PrintOptions { locations: options.locations, ..Default::default() };
    let text = mlc_text::print(program, &print);
    if options.output == Path::new("-") {
        return Ok(Some(text));
    }
    output::write_text(&options.output, text.as_bytes(), options.force)?;
    Ok(None)
}

/// Chooses the lowest version of Core ML, from `since` on, that holds `program` as it stands.
///
/// # Errors
/// Why the newest does not.
pub(crate) fn lowest(
    program: &Program,
    package: &mut EmitOptions,
    since: Opset,
) -> Result<(), Diagnostics> {
    let mut last = Diagnostics::new();
    for opset in Opset::ALL.into_iter().filter(|&opset| opset >= since) {
        package.opset = opset;
        last = mlc_coreml::emit::check(program, package);
        if !last.has_errors() {
            return Ok(());
        }
    }
    Err(last)
}
