//! `mlc opt`: runs a pipeline on any model and gives text IR or a package.

use std::path::{Path, PathBuf};

use mlc_coreml::emit::EmitOptions;
use mlc_coreml::package::Existing;
use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::Program;
use mlc_pass::{Observer, PassManager, Pipeline, Replay, Report, RunOptions};
use mlc_target::Opset;

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
    /// The version a package is written for; the lowest that holds the program if `None`.
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
        let (mut program, package, pipeline) = match &options.replay {
            Some(folder) => {
                let replay = Replay::read(folder)?;
                run.seed = replay.seed;
                let parse = mlc_text::ParseOptions { base_dir: folder.clone(), locate: true };
                let parsed = mlc_text::parse("input.mlc", &replay.input, &parse)?;
                let pipeline = Pipeline::parse_named(&replay.pipeline, "replay.json")?;
                (parsed.program, EmitOptions::new(Opset::Ios15), pipeline)
            }
            None => {
                let mut pipeline = Pipeline::parse_named(&options.passes, "--passes")?;
                options.rewriting.hand_to(&mut pipeline, options.target)?;
                let loaded = self.load(&options.input, options.from)?;
                (loaded.program, loaded.package, pipeline)
            }
        };
        let mut check = EvaluatorCheck;
        let mut report = PassManager::new(self.passes())
            .options(run)
            .numbers(&mut check)
            .observer(observer)
            .run(&pipeline, &mut program)
            .map_err(|failure| {
                let mut diagnostics = options.levels.apply(failure.diagnostics);
                if let Some(folder) = failure.reproducer {
                    let message = format!("a reproducer is in {}", folder.display());
                    diagnostics.push(
                        Diagnostic::new(codes::INTERNAL, message)
                            .help("repeat it with `mlc opt --replay DIR`"),
                    );
                }
                diagnostics
            })?;
        report.diagnostics = options.levels.apply(report.diagnostics);
        if report.diagnostics.has_errors() {
            return Err(report.diagnostics);
        }
        let mut rewrites = Vec::new();
        for wanted in &options.explain_rewrites {
            rewrites.extend(self.rewritten(&program, wanted)?);
        }
        let text = write_program(&program, package, options)?;
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
            Some(name) => Some(program.function(name).ok_or_else(|| {
                Diagnostic::new(codes::BAD_ARGUMENT, format!("there is no function `{name}`"))
            })?),
        };
        let print =
            mlc_text::PrintOptions { function, locations, header: true, ..Default::default() };
        Ok(mlc_text::print(&program, &print))
    }
}

/// Writes the package or the text; the text itself where the output is `-`.
fn write_program(
    program: &Program,
    mut package: EmitOptions,
    options: &OptOptions,
) -> Result<Option<String>, Diagnostics> {
    if options.output.extension().is_some_and(|e| e == "mlpackage") {
        match options.target {
            Some(opset) => package.opset = opset,
            None => lowest(program, &mut package)?,
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

/// Chooses the lowest version of Core ML that holds `program` as it stands.
fn lowest(program: &Program, package: &mut EmitOptions) -> Result<(), Diagnostics> {
    let mut last = Diagnostics::new();
    for opset in Opset::ALL {
        package.opset = opset;
        last = mlc_coreml::emit::check(program, package);
        if !last.has_errors() {
            return Ok(());
        }
    }
    Err(last)
}
