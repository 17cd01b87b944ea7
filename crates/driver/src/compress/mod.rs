//! `mlc compress` and `mlc decompress`: smaller weights for any model, and back.

mod budget;
mod recipe;
mod table;

use std::path::PathBuf;

use mlc_coreml::emit::EmitOptions;
use mlc_coreml::package::Existing;
use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::Program;
use mlc_pass::{Observer, PassManager, Pipeline, Report};
use mlc_target::{Opset, Target};
use serde::Serialize;

use crate::convert::is_text;
use crate::verify::{LOSSY, VerifyOptions, verify_programs};
use crate::{Distance, Driver, Kind, Levels, Loaded, output};

use budget::Search;

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
        let loaded = self.load(&options.input, options.from)?;
        let mut curve = Vec::new();
        let pipeline = Pipeline::parse(&match &options.goal {
            Goal::Compress(recipe) => recipe.pipeline(options.min_snr),
            Goal::Decompress => "decompress-weights".to_owned(),
            Goal::Budget(budget) => {
                let opset = options.target.map(Target::opset).or(loaded.opset);
                let mut search = Search {
                    driver: self,
                    program: &loaded.program,
                    opset: opset.unwrap_or(Opset::Ios18),
                    seed: options.seed,
                    observer: &mut *observer,
                };
                let (recipe, points) = search.run(*budget)?;
                curve = points;
                recipe.pipeline(options.min_snr)
            }
        })?;
        let mut program = loaded.program.clone();
        let report = PassManager::new(self.passes())
            .observer(observer)
            .run(&pipeline, &mut program)
            .map_err(|failure| options.levels.apply(failure.diagnostics))?;
        let weights = rows(&report);
        let mut diagnostics = loaded.warnings.clone();
        diagnostics.extend(report.diagnostics.clone());
        if weights.is_empty() && options.goal != Goal::Decompress {
            diagnostics.extend(Diagnostics::from(nothing_done()));
        }
        let (program, opset) = self.legal(program, &loaded, options)?;
        let outputs = match options.verify {
            true => compare(&loaded.program, &program, options.seed)?,
            false => Vec::new(),
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
            bytes_before: used_bytes(&loaded.program),
            bytes: used_bytes(&program),
            weights,
            outputs,
            curve,
            pipeline: pipeline.to_string(),
            diagnostics,
        })
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

/// The worst distance of each output of each function.
fn compare(
    before: &Program,
    after: &Program,
    seed: u64,
) -> Result<Vec<(String, Distance)>, Diagnostics> {
    let settings = VerifyOptions { seed, ..VerifyOptions::new(LOSSY) };
    let mut found = Vec::new();
    for (_, function) in before.functions.iter() {
        let report = verify_programs(before, after, &function.name, &settings)?;
        for sample in report.samples {
            found.extend(sample.outputs);
        }
    }
    Ok(found)
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
