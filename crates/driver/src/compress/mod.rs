//! `mlc compress` and `mlc decompress`: smaller weights for any model, and back.

mod budget;
mod calibrate;
mod recipe;
mod table;

use std::path::PathBuf;
use std::sync::Arc;

use mlc_compress::Calibration;
use mlc_coreml::emit::EmitOptions;
use mlc_coreml::package::Existing;
use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::Program;
use mlc_pass::{Observer, PassManager, Pipeline, Report};
use mlc_target::{Opset, Target};
use serde::Serialize;

use crate::convert::is_text;
use crate::{Distance, Driver, Kind, Levels, Loaded, output};

use budget::Search;
use calibrate::Runs;

pub use budget::{Budget, CurvePoint};
pub use recipe::{Recipe, Rule};
pub(crate) use table::rows;
pub use table::{WeightRow, csv};

/// What to compress, and how.
#[derive(Debug, Clone)]
pub struct CompressOptions {
    /// The model.
    pub input: PathBuf,
    /// The package, or text.
    pub output: PathBuf,
    /// Forces the kind of the model.
    pub from: Option<Kind>,
    /// The version of Core ML; that of the package, or the lowest from there on that holds the result.
    pub target: Option<Target>,
    /// What is done.
    pub goal: Goal,
    /// The least signal-to-noise ratio of a weight in dB.
    pub min_snr: Option<f64>,
    /// Whether outputs are compared with those of the model.
    pub verify: bool,
    /// The seed of the inputs for that.
    pub seed: u64,
    /// Inputs to run the model on in place of made-up ones, one call or a folder of calls. With them
    /// errors of weights are made up for by other weights, and recipes may ask for more.
    pub calib: Option<PathBuf>,
    /// Weights that are compressed already become plain first.
    pub recompress: bool,
    /// Severities.
    pub levels: Levels,
    /// Replace what is at the output.
    pub force: bool,
}

/// What is done to the weights.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// They are compressed.
    Compress(Recipe),
    /// They are compressed to a budget, with the schemes that do the least damage.
    Budget(Budget),
    /// They become plain again.
    Decompress,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
pub struct CompressReport {
    /// The model.
    pub input: String,
    /// The result.
    pub output: String,
    /// The version of Core ML it is for.
    pub target: String,
    /// Bytes of all constants before.
    pub bytes_before: u64,
    /// Bytes of all constants after.
    pub bytes: u64,
    /// Weights, in order.
    pub weights: Vec<WeightRow>,
    /// How far outputs are from those of the model, by function and output, where they were compared.
    pub outputs: Vec<(String, Distance)>,
    /// Sizes and ratios that were to be had, where a budget was given.
    pub curve: Vec<CurvePoint>,
    /// The passes that ran.
    pub pipeline: String,
    /// Warnings and notes.
    #[serde(skip)]
    pub diagnostics: Diagnostics,
}

impl Driver {
    /// Compresses or decompresses the weights of a model.
    ///
    /// # Errors
    /// The model cannot be read, the recipe fits no weight, a weight is worse than asked for, or the
    /// target does not take the result. No output is left then.
    pub fn compress(
        &self,
        options: &CompressOptions,
        observer: &mut dyn Observer,
    ) -> Result<CompressReport, Diagnostics> {
        output::check_output(&options.output, options.force)?;
        let mut loaded = self.load(&options.input, options.from)?;
        let given = loaded.program.clone();
        if options.recompress {
            self.pass("decompress-weights", &mut loaded.program, &Arc::default(), observer)?;
        }
        let is_calibrated = options.calib.is_some();
        let is_budget = matches!(options.goal, Goal::Budget(_));
        let mut skipped = None;
        let runs = match options.verify || is_calibrated || is_budget {
            true => match Runs::of(&loaded, options.calib.as_deref(), options.seed) {
                Ok(runs) => Some(runs),
                // Without runs the weights are still compared with what they were.
                Err(errors) if !is_calibrated && !is_budget => {
                    skipped = Some(uncompared(errors));
                    None
                }
                Err(errors) => return Err(errors),
            },
            false => None,
        };
        let mut curve = Vec::new();
        let recipe = match &options.goal {
            Goal::Decompress => None,
            Goal::Compress(recipe) => Some(recipe.clone()),
            Goal::Budget(budget) => {
                let opset = options.target.map(Target::opset).or(loaded.opset);
                let Some(runs) = &runs else { return Err(nothing_done().into()) };
                let mut search = Search {
                    driver: self,
                    program: &loaded.program,
                    opset: opset.unwrap_or(Opset::Ios18),
                    runs,
                    is_calibrated,
                    observer: &mut *observer,
                };
                let (recipe, points) = search.run(*budget)?;
                curve = points;
                Some(recipe)
            }
        };
        let mut program = loaded.program.clone();
        let (pipeline, report) = match &recipe {
            None => self.pass("decompress-weights", &mut program, &Arc::default(), observer)?,
            Some(recipe) => {
                if recipe.needs_calibration() && !is_calibrated {
                    let help = "give inputs of one call, or a folder of such files: `--calib inputs.safetensors`";
                    return Err(uncalibrated(help).into());
                }
                let runs = runs.as_ref().filter(|_| is_calibrated);
                self.by_recipe(recipe, &mut program, (runs, options.min_snr), observer)
                    .map_err(|errors| options.levels.apply(errors))?
            }
        };
        let weights = rows(&report);
        let mut diagnostics = loaded.warnings.clone();
        diagnostics.extend(skipped.unwrap_or_default());
        diagnostics.extend(report.diagnostics.clone());
        if weights.is_empty() && options.goal != Goal::Decompress {
            diagnostics.extend(Diagnostics::from(nothing_done()));
        }
        let (program, opset) = self.legal(program, &loaded, options)?;
        let outputs = match (&runs, options.verify) {
            (Some(runs), true) => runs.compare(&given, &program)?,
            _ => Vec::new(),
        };
        let diagnostics = options.levels.apply(diagnostics);
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        write(&program, (&loaded, opset), options)?;
        Ok(CompressReport {
            input: options.input.to_string_lossy().into_owned(),
            output: options.output.to_string_lossy().into_owned(),
            target: opset.to_string(),
            bytes_before: used_bytes(&given),
            bytes: used_bytes(&program),
            weights,
            outputs,
            curve,
            pipeline,
            diagnostics,
        })
    }

    /// Carries a recipe out: scales move first, then activations and weights are quantized. Says which
    /// passes ran.
    fn by_recipe(
        &self,
        recipe: &Recipe,
        program: &mut Program,
        (runs, min_snr): (Option<&Runs>, Option<f64>),
        observer: &mut dyn Observer,
    ) -> Result<(String, Report), Diagnostics> {
        let measure = |program: &Program| match runs {
            Some(runs) => runs.calibrate(program, true).map(Arc::new),
            None => Ok(Arc::default()),
        };
        let mut calibration = measure(program)?;
        let mut text = String::new();
        let mut report = Report::default();
        if recipe.smooth {
            let scheme = recipe.rules.iter().find_map(|rule| rule.scheme.as_ref());
            let scheme = scheme.map_or_else(String::new, ToString::to_string);
            let activations = recipe.activations;
            let call = format!("smooth-weights{{scheme={scheme:?},activations={activations}}}");
            let (name, first) = self.pass(&call, program, &calibration, observer)?;
            text = name + ",";
            report = first;
            calibration = measure(program)?;
        }
        let activations = if recipe.activations { "quantize-activations," } else { "" };
        let call = format!("{activations}{}", recipe.pipeline(min_snr));
        let (name, second) = self.pass(&call, program, &calibration, observer)?;
        text += &name;
        report.runs.extend(second.runs);
        report.diagnostics.extend(second.diagnostics);
        Ok((text, report))
    }

    /// Runs a pipeline, and gives its text.
    fn pass(
        &self,
        pipeline: &str,
        program: &mut Program,
        calibration: &Arc<Calibration>,
        observer: &mut dyn Observer,
    ) -> Result<(String, Report), Diagnostics> {
        let pipeline = Pipeline::parse(pipeline)?;
        let report = PassManager::new(self.passes())
            .observer(observer)
            .given(Arc::clone(calibration))
            .run(&pipeline, program)
            .map_err(|failure| failure.diagnostics)?;
        Ok((pipeline.to_string(), report))
    }

    /// The program in the form of the version asked for, or of the lowest from that of the source on.
    fn legal(
        &self,
        program: Program,
        loaded: &Loaded,
        options: &CompressOptions,
    ) -> Result<(Program, Opset), Diagnostics> {
        if is_text(&options.output) && options.target.is_none() {
            return Ok((program, loaded.opset.unwrap_or(Opset::Ios15)));
        }
        let asked = options.target.map(Target::opset);
        let since = asked.or(loaded.opset).unwrap_or(Opset::Ios15);
        let mut errors = Diagnostics::new();
        for opset in Opset::ALL.into_iter().filter(|&o| o >= since && asked.is_none_or(|a| o <= a))
        {
            match self.for_opset(&program, loaded, opset) {
                Ok(legal) => return Ok((legal, opset)),
                Err(found) => errors = found,
            }
        }
        Err(errors)
    }

    fn for_opset(
        &self,
        program: &Program,
        loaded: &Loaded,
        opset: Opset,
    ) -> Result<Program, Diagnostics> {
        let pipeline = Pipeline::parse(&format!("legalize{{target={opset}}},dedup-consts"))?;
        let mut legal = program.clone();
        let ran: Result<Report, _> = PassManager::new(self.passes()).run(&pipeline, &mut legal);
        ran.map_err(|failure| failure.diagnostics)?;
        let package = EmitOptions { opset, ..loaded.package.clone() };
        let found = mlc_coreml::emit::check(&legal, &package);
        if found.has_errors() { Err(found) } else { Ok(legal) }
    }
}

fn nothing_done() -> Diagnostic {
    let mut warning = Diagnostic::new(
        codes::BAD_ARGUMENT,
        "the recipe names no weight of the model",
    )
    .at(Place::Argument("--recipe".into()))
    .note("weights are constants of floats with two axes or more, and more than 2048 elements")
    .help("`mlc inspect --weights` lists the constants; a recipe file sets `threshold` and `only`");
    warning.severity = mlc_diag::Severity::Warning;
    warning
}

/// Says that outputs are not compared, as made-up inputs fail.
fn uncompared(errors: Diagnostics) -> Diagnostics {
    let note = |error: Diagnostic| {
        let message =
            format!("outputs are not compared, as made-up inputs fail: {}", error.message);
        let mut note = Diagnostic::new(codes::VERIFY_SKIPPED, message)
            .help("give real inputs with `--calib FILE`");
        note.notes = error.notes;
        note
    };
    errors.into_iter().map(note).collect()
}

/// Bytes of the constants that functions use.
fn used_bytes(program: &Program) -> u64 {
    let mut used = std::collections::BTreeSet::new();
    for (_, function) in program.functions.iter() {
        function.for_each_node(&mut |_, node| {
            if let mlc_ir::Op::Const(payload) = &function.nodes[node].op {
                used.insert(payload.value);
            }
        });
    }
    used.into_iter().filter_map(|id| program.consts.try_get(id)).map(|t| t.byte_len()).sum()
}

/// A recipe that needs runs of the model was given without any.
pub(crate) fn uncalibrated(help: &str) -> Diagnostic {
    Diagnostic::new(codes::BAD_ARGUMENT, "the recipe needs to know what reaches the weights")
        .at(Place::Argument("--recipe".into()))
        .note("scales are moved, and activations quantized, by what runs of the model show")
        .help(help)
}

fn write(
    program: &Program,
    (loaded, opset): (&Loaded, Opset),
    options: &CompressOptions,
) -> Result<(), Diagnostics> {
    if is_text(&options.output) {
        let text = crate::opt::printer(program);
        return output::write_text(&options.output, text.as_bytes(), options.force);
    }
    if options.output.extension().is_none_or(|e| e != "mlpackage") {
        let message =
            format!("`{}` is neither an `.mlpackage` nor an `.mlc`", options.output.display());
        return Err(Diagnostic::new(codes::BAD_ARGUMENT, message)
            .at(Place::Argument("-o".into()))
            .into());
    }
    let package = EmitOptions { opset, ..loaded.package.clone() };
    let existing = if options.force { Existing::Replace } else { Existing::Refuse };
    mlc_coreml::emit::emit(program, &options.output, &package, existing).map(drop)
}
