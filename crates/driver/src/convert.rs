//! `mlc convert`: a model in, a package out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mlc_coreml::emit::EmitOptions;
use mlc_coreml::interface::ModelMetadata;
use mlc_coreml::package::Existing;
use mlc_diag::{Diagnostic, Diagnostics, Place, Severity, codes};
use mlc_ir::{FuncId, ParamKind, Program};
use mlc_pass::{Observer, Preset, RunOptions};
use mlc_target::Target;
use mlc_tensor::Tensor;
use mlc_torch::lower::{LowerOptions, StateMode};
use serde::Serialize;

use crate::compare::Tolerance;
use crate::compress::{Recipe, WeightRow, rows, uncalibrated};
use crate::feature::{FeatureReport, features};
use crate::interface::{InterfaceOptions, Pinned};
use crate::levels::Levels;
use crate::lowered::{Lowered, Request};
use crate::memory::Cap;
use crate::opt::PassRunReport;
use crate::origin::Digesting;
use crate::reference::{self, Reference, Runner};
use crate::rewriting::{Rewriting, RewrittenOp};
use crate::search::SearchReport;
use crate::sizes::Sizes;
use crate::verify::{self, VerifyOptions, VerifyReport, main_of};
use crate::{Driver, Kind, Loaded, SourceOptions, forecast, interface, output};

/// The float type a package computes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Half.
    #[default]
    Fp16,
    /// Single.
    Fp32,
    /// Half, and single for as few ops as give this signal-to-noise ratio, in dB.
    Auto(f64),
}

/// The ratio that `--precision auto` asks for by itself, in dB.
pub const AUTO_DB: f64 = 60.0;

impl Precision {
    /// The word that `--precision` takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp16 => "fp16",
            Self::Fp32 => "fp32",
            Self::Auto(_) => "auto",
        }
    }

    /// The type that ops get which nothing else is said of.
    pub(crate) fn most(self) -> &'static str {
        if self == Self::Fp32 { "fp32" } else { "fp16" }
    }
}

/// What to convert and how.
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// The model.
    pub input: PathBuf,
    /// The package, or a file `*.mlc` for text IR.
    pub output: PathBuf,
    /// Forces the kind of the model.
    pub from: Option<Kind>,
    /// The signature of a SavedModel.
    pub signature: Option<String>,
    /// The tags of the graph of a SavedModel.
    pub tags: Vec<String>,
    /// The system the package must run on; the lowest that holds the program if `None`.
    pub target: Option<Target>,
    /// The float type.
    pub precision: Precision,
    /// What becomes of buffers and inputs that the model writes.
    pub states: StateMode,
    /// The written buffers and inputs that become states, as globs; the others become inputs and
    /// outputs. As `states` says if empty.
    pub state_globs: Vec<String>,
    /// What is asked of inputs and outputs.
    pub interface: InterfaceOptions,
    /// Ops that stay in single precision.
    pub keep_fp32: Vec<String>,
    /// Ranges that inputs and values lie in, as `name=lo..hi`.
    pub ranges: Vec<String>,
    /// A file or folder of `*.safetensors` with inputs to compare and measure on.
    pub calib: Option<PathBuf>,
    /// Keys and values for the package: `author`, `license`, `version`, `description` have fields
    /// of their own.
    pub metadata: Vec<(String, String)>,
    /// Which passes.
    pub preset: Preset,
    /// A pipeline in place of the preset's.
    pub passes: Option<String>,
    /// Rewrite rules of the user.
    pub rewriting: Rewriting,
    /// Ops of the result of which is said which rules made them.
    pub explain_rewrites: Vec<String>,
    /// How weights are compressed, if they are.
    pub recipe: Option<Recipe>,
    /// How the pipeline is run and watched; plainly if `None`.
    pub run: Option<RunOptions>,
    /// Compare with the source on this many inputs; never if `None`.
    pub verify: Option<usize>,
    /// Compare even if it takes long.
    pub force_verify: bool,
    /// When results agree; by precision if `None`.
    pub tolerance: Option<Tolerance>,
    /// Where random inputs begin.
    pub seed: u64,
    /// Severities.
    pub levels: Levels,
    /// Bytes that the process may hold and no file backs; any number if `None`.
    pub max_memory: Option<u64>,
    /// Replace what is at the output.
    pub force: bool,
    /// Do everything but write.
    pub dry_run: bool,
    /// Leave the build record out.
    pub no_record: bool,
    /// Write the package even if it does not agree with its source.
    pub keep_output: bool,
}

impl ConvertOptions {
    /// The defaults for this input and output.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self {
            input: input.into(),
            output: output.into(),
            from: None,
            signature: None,
            tags: Vec::new(),
            target: None,
            precision: Precision::default(),
            states: StateMode::default(),
            state_globs: Vec::new(),
            interface: InterfaceOptions::default(),
            keep_fp32: Vec::new(),
            ranges: Vec::new(),
            calib: None,
            metadata: Vec::new(),
            preset: Preset::O2,
            passes: None,
            rewriting: Rewriting::default(),
            explain_rewrites: Vec::new(),
            recipe: None,
            run: None,
            verify: Some(1),
            force_verify: false,
            tolerance: None,
            seed: 0,
            levels: Levels::default(),
            max_memory: None,
            force: false,
            dry_run: false,
            no_record: false,
            keep_output: false,
        }
    }
}

/// Which version of Core ML the package is for, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetReport {
    /// The version the package is written for.
    pub target: String,
    /// What was asked for.
    pub asked: Option<String>,
    /// The lowest version that holds the program.
    pub needs: String,
    /// Why no lower one does.
    pub because: Vec<String>,
}

/// Seconds that the stages of a conversion took.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Stages {
    /// Reading the source and lowering it to the IR.
    pub import: f64,
    /// Running the source in the evaluator.
    pub reference: f64,
    /// Passes, with those that were tried for versions of Core ML that do not hold the program.
    pub passes: f64,
    /// Running the result in the evaluator and comparing.
    pub verify: f64,
    /// Writing.
    pub emission: f64,
}

/// Takes the time from one stage to the next.
struct Watch(Instant);

impl Watch {
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let seconds = now.duration_since(self.0).as_secs_f64();
        self.0 = now;
        seconds
    }
}

/// What a conversion did.
#[derive(Debug, Clone, Serialize)]
pub struct ConvertReport {
    /// The model.
    pub input: String,
    /// The package.
    pub output: String,
    /// One line about the source.
    pub source: String,
    /// Ops of the source.
    pub source_ops: usize,
    /// Elements of all constants of the source.
    pub parameters: u64,
    /// Bytes of all constants of the source.
    pub source_bytes: u64,
    /// Ops of the package, by function.
    pub functions: Vec<(String, usize)>,
    /// States.
    pub states: Vec<FeatureReport>,
    /// Inputs.
    pub inputs: Vec<FeatureReport>,
    /// Outputs.
    pub outputs: Vec<FeatureReport>,
    /// The target.
    pub target: TargetReport,
    /// The float type.
    pub precision: Precision,
    /// Ops that were kept in single precision.
    pub kept_fp32: u64,
    /// What the search for `auto` came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchReport>,
    /// Bytes of the model file.
    pub model_bytes: u64,
    /// Bytes of the weight file.
    pub weight_bytes: u64,
    /// Uses of a weight beyond the first.
    pub shared_weights: u64,
    /// How the package compares with its source; `None` if it was not compared.
    pub verify: Option<VerifyReport>,
    /// Digest of model and weights.
    pub id: String,
    /// The passes that ran.
    pub pipeline: String,
    /// The ops that were asked for, with the rules that made them.
    pub rewrites: Vec<RewrittenOp>,
    /// What each of them did.
    pub runs: Vec<PassRunReport>,
    /// What became of weights that a recipe compresses.
    pub weights: Vec<WeightRow>,
    /// Passes that `bisect_limit` left out.
    pub cut: usize,
    /// How long it took.
    pub stages: Stages,
    /// Warnings and notes.
    #[serde(skip)]
    pub diagnostics: Diagnostics,
}

impl Driver {
    /// Converts a model.
    ///
    /// # Errors
    /// Everything that is wrong, at the first stage that cannot go on. No output is left then.
    pub fn convert(
        &self,
        options: &ConvertOptions,
        observer: &mut dyn Observer,
    ) -> Result<ConvertReport, Diagnostics> {
        check_output(options)?;
        check_recipe(options)?;
        observer.start("read", 0, 4);
        let (mut stages, mut watch) = (Stages::default(), Watch(Instant::now()));
        let asked = options.interface.by_source_names();
        let lowering = LowerOptions {
            states: options.states,
            state_globs: options.state_globs.clone(),
            inputs: asked.inputs.clone(),
        };
        let chosen = SourceOptions {
            lowering,
            signature: options.signature.clone(),
            tags: options.tags.clone(),
            outputs: asked.outputs.iter().map(|output| output.name.clone()).collect(),
        };
        let mut source = self.load_source(&options.input, options.from, &chosen)?;
        let recorded = !(options.no_record || options.dry_run || is_text(&options.output));
        let digest = recorded.then(|| source.origin.start_digest());
        let mut notes = std::mem::take(&mut source.warnings);
        let main = main_of(&source.program);
        let pinned = interface::apply(&mut source, &main, &asked)?;
        stages.import = watch.lap();
        let cap = Cap::new(options.max_memory);
        cap.check("reading the model")?;
        let measured = measure(&source, (&main, &pinned), options, &mut notes)?;
        stages.reference = watch.lap();
        let runs = measured.as_ref().map(|measured| &measured.reference);
        let request = Request { options, main: &main, pinned: &pinned, runs };
        let lowered = self.lower(&source, request, observer)?;
        notes.extend(lowered.report.diagnostics.clone());
        notes.extend(interface::single_features(&lowered.program, &main, lowered.opset));
        stages.passes = watch.lap();
        cap.check("running the passes")?;
        cap.check_writing(&lowered.program)?;
        let verified = match &measured {
            Some(measured) => compare(&source, measured, &lowered.program, options, &mut notes)?,
            None => None,
        };
        let notes = options.levels.apply(notes);
        if notes.has_errors() {
            return Err(notes);
        }
        let mut report = describe(&source, &lowered, options, verified);
        report.diagnostics = notes;
        for wanted in &options.explain_rewrites {
            report.rewrites.extend(self.rewritten(&lowered.program, wanted)?);
        }
        stages.verify = watch.lap();
        observer.start("write", 3, 4);
        self.write(&source, (&lowered, digest), options, &mut report)?;
        stages.emission = watch.lap();
        report.stages = stages;
        Ok(report)
    }

    fn write(
        &self,
        source: &Loaded,
        (lowered, digest): (&Lowered, Option<Digesting>),
        options: &ConvertOptions,
        report: &mut ConvertReport,
    ) -> Result<(), Diagnostics> {
        if options.dry_run {
            return Ok(());
        }
        if is_text(&options.output) {
            let print =
                mlc_text::PrintOptions { header: true, locations: true, ..Default::default() };
            let text = mlc_text::print(&lowered.program, &print);
            report.model_bytes = text.len() as u64;
            return output::write_text(&options.output, text.as_bytes(), options.force);
        }
        let mut emit = EmitOptions { opset: lowered.opset, ..source.package.clone() };
        emit.metadata = metadata(source, (lowered, digest), options)?;
        let existing = if options.force { Existing::Replace } else { Existing::Refuse };
        let emitted = mlc_coreml::emit::emit(&lowered.program, &options.output, &emit, existing)?;
        report.model_bytes = emitted.model_bytes;
        report.weight_bytes = emitted.weight_bytes;
        report.shared_weights = emitted.shared;
        report.id = emitted.id.to_string();
        report.diagnostics.extend(emitted.notes);
        Ok(())
    }
}

pub(crate) fn is_text(path: &Path) -> bool {
    path == Path::new("-") || path.extension().is_some_and(|e| e == "mlc")
}

/// A conversion runs no calibration.
fn check_recipe(options: &ConvertOptions) -> Result<(), Diagnostics> {
    if options.recipe.as_ref().is_some_and(Recipe::needs_calibration) {
        let help =
            "convert without it, then `mlc compress OUT --recipe … --calib inputs.safetensors`";
        return Err(uncalibrated(help).into());
    }
    Ok(())
}

fn check_output(options: &ConvertOptions) -> Result<(), Diagnostics> {
    if options.dry_run {
        return Ok(());
    }
    let path = &options.output;
    if !is_text(path) && path.extension().is_none_or(|e| e != "mlpackage") {
        let message = format!("`{}` is neither an `.mlpackage` nor an `.mlc`", path.display());
        return Err(Diagnostic::new(codes::BAD_ARGUMENT, message)
            .at(Place::Argument("-o".into()))
            .help("name the package `NAME.mlpackage`; `NAME.mlc` or `-` gives text IR")
            .into());
    }
    output::check_output(path, options.force)
}

/// Successive calls that a program with states is compared on.
const STATE_STEPS: usize = 4;

/// Seconds that comparing may take unasked.
const LONGEST: f64 = 60.0;

/// Seconds that may be spent on sizes beside the default one.
const OTHER_SIZES: f64 = 10.0;

/// Runs of the source, and how results are compared with them.
struct Measured {
    reference: Reference,
    func: FuncId,
    settings: VerifyOptions,
}

/// Runs the source, unless that was not asked for or would take long.
fn measure(
    model: &Loaded,
    (main, pinned): (&str, &Pinned),
    options: &ConvertOptions,
    notes: &mut Diagnostics,
) -> Result<Option<Measured>, Diagnostics> {
    let source = &model.program;
    let Some(func) = source.function(main) else { return Ok(None) };
    let automatic = matches!(options.precision, Precision::Auto(_));
    let Some(samples) = options.verify.or(automatic.then_some(1)) else { return Ok(None) };
    let given = options.calib.as_deref().map_or(Ok(Vec::new()), reference::calibration)?;
    let samples = if given.is_empty() { samples } else { given.len() };
    let function = &source.functions[func];
    let one = forecast::verify_seconds(source, function, &Sizes::default());
    let seconds = samples.max(1) as f64 * one;
    if seconds > LONGEST && !options.force_verify && !automatic {
        let message = format!("comparing with the source would take about {seconds:.0} s (±×3)");
        notes.push(
            Diagnostic::new(codes::VERIFY_SKIPPED, message)
                .help("`--verify` compares all the same")
                .fix("--verify"),
        );
        return Ok(None);
    }
    let memory = forecast::evaluation_bytes(source, function, &Sizes::default());
    if Cap::new(options.max_memory).forbids(memory) {
        let megabytes = memory.div_ceil(1_000_000);
        let message = format!(
            "comparing with the source would take about {megabytes} MB, `--max-memory` allows less"
        );
        if options.force_verify || automatic {
            return Err(Diagnostic::new(codes::RESOURCE_LIMIT, message)
                .help("allow more with `--max-memory SIZE`, or compare nothing with `--no-verify`")
                .into());
        }
        notes.push(Diagnostic::new(codes::VERIFY_SKIPPED, message).help("allow more memory"));
        return Ok(None);
    }
    // States are kept in half precision whatever the program computes in, which shows from the
    // second call on.
    let keeps = function.params.iter().any(|p| p.kind == ParamKind::State);
    let tolerance = options.tolerance.unwrap_or(match options.precision {
        _ if options.recipe.is_some() => verify::LOSSY,
        Precision::Fp32 if !keeps && !pinned.has_half() => verify::SINGLE,
        Precision::Auto(asked) if !keeps && !pinned.has_half() => Tolerance::SnrDb(asked),
        _ => verify::HALF,
    });
    let steps = if keeps { STATE_STEPS } else { 1 };
    let images = verify::image_inputs(model, function);
    let other_sizes = match options.precision {
        // The ratio was reached at the default size.
        Precision::Auto(_) => None,
        _ => Some(if options.force_verify { f64::INFINITY } else { OTHER_SIZES }),
    };
    let settings =
        VerifyOptions { samples, tolerance, seed: options.seed, steps, other_sizes, images };
    match Runner::new(source, func, &settings).reference(&given) {
        Ok(reference) => Ok(Some(Measured { reference, func, settings })),
        // Numbers that are made up need not be what the model can take.
        Err(errors) if given.is_empty() && !options.force_verify && !automatic => {
            notes.extend(errors.into_iter().map(|error| {
                let message = format!("not compared, as made-up inputs fail: {}", error.message);
                let mut note = Diagnostic::new(codes::VERIFY_SKIPPED, message)
                    .help("give real inputs with `--calib FILE`");
                note.notes = error.notes;
                note
            }));
            Ok(None)
        }
        Err(errors) => Err(errors),
    }
}

fn compare(
    model: &Loaded,
    measured: &Measured,
    lowered: &Program,
    options: &ConvertOptions,
    notes: &mut Diagnostics,
) -> Result<Option<VerifyReport>, Diagnostics> {
    if options.verify.is_none() {
        return Ok(None);
    }
    let Measured { reference, func, settings } = measured;
    match verify::verify_against(reference, (&model.program, *func), lowered, settings) {
        Ok(report) => {
            for why in &report.skipped {
                let message = format!("not compared at {why}");
                notes.push(Diagnostic::new(codes::VERIFY_SKIPPED, message));
            }
            Ok(Some(report))
        }
        Err(errors) if options.keep_output => {
            notes.extend(errors.into_iter().map(|mut d| {
                d.severity = Severity::Warning;
                d
            }));
            Ok(None)
        }
        Err(mut errors) => {
            errors.extend(std::mem::take(notes));
            Err(errors)
        }
    }
}

fn describe(
    source: &Loaded,
    lowered: &Lowered,
    options: &ConvertOptions,
    verify: Option<VerifyReport>,
) -> ConvertReport {
    let main = main_of(&lowered.program);
    let (inputs, outputs, states) = features(&lowered.program, &main, &source.package.features);
    let kept = lowered.report.runs.iter().filter_map(|run| run.counters.get("ops kept")).sum();
    ConvertReport {
        input: options.input.to_string_lossy().into_owned(),
        output: options.output.to_string_lossy().into_owned(),
        source: source.description.clone(),
        source_ops: source.ops,
        parameters: source.parameters,
        source_bytes: crate::input::constants(&source.program).map(Tensor::byte_len).sum(),
        functions: lowered
            .program
            .functions
            .iter()
            .map(|(_, f)| (f.name.clone(), f.op_count()))
            .collect(),
        states,
        inputs,
        outputs,
        target: TargetReport {
            target: options
                .target
                .map_or_else(|| lowered.opset.to_string(), |target| target.to_string()),
            asked: options.target.map(|target| target.to_string()),
            needs: lowered.needs.to_string(),
            because: lowered.because.clone(),
        },
        precision: options.precision,
        kept_fp32: kept,
        search: lowered.search.clone(),
        model_bytes: 0,
        weight_bytes: 0,
        shared_weights: 0,
        verify,
        id: String::new(),
        pipeline: lowered.pipeline.clone(),
        rewrites: Vec::new(),
        runs: PassRunReport::of(&lowered.report),
        weights: rows(&lowered.report),
        cut: lowered.report.cut,
        stages: Stages::default(),
        diagnostics: Diagnostics::new(),
    }
}

fn metadata(
    source: &Loaded,
    (lowered, digest): (&Lowered, Option<Digesting>),
    options: &ConvertOptions,
) -> Result<ModelMetadata, Diagnostics> {
    let mut metadata = source.package.metadata.clone();
    for (key, value) in &options.metadata {
        match key.as_str() {
            "author" => metadata.author.clone_from(value),
            "license" => metadata.license.clone_from(value),
            "version" => metadata.version.clone_from(value),
            "description" => metadata.short_description.clone_from(value),
            _ => {
                metadata.user_defined.insert(key.clone(), value.clone());
            }
        }
    }
    if let Some(digest) = digest {
        let record = &mut metadata.user_defined;
        record.insert("mlc.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        record.insert("mlc.source".to_owned(), source.description.clone());
        record.insert("mlc.source.digest".to_owned(), format!("blake3:{}", digest.finish()?));
        record.insert("mlc.pipeline".to_owned(), lowered.pipeline.clone());
        record.insert("mlc.precision".to_owned(), options.precision.as_str().to_owned());
        let flags = format!(
            "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}",
            lowered.opset,
            options.precision,
            options.keep_fp32,
            options.ranges,
            options.interface,
            options.state_globs,
            options.metadata,
            source.lowerings
        );
        let digest = blake3::hash(flags.as_bytes()).to_hex().to_string();
        record.insert("mlc.flags.digest".to_owned(), format!("blake3:{digest}"));
    }
    Ok(metadata)
}
