//! The arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mlc_driver::Level;

/// Core ML compiler: PyTorch models in, Core ML packages out.
#[derive(Debug, Parser)]
#[command(
    name = "mlc",
    version,
    about = "Core ML compiler: PyTorch models in, Core ML packages out"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "All commands")]
pub(crate) struct Shared {
    /// Print one JSON document to stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colour diagnostics
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
    /// Draw progress on a terminal, as plain lines, or not at all
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: Progress,
    /// Print errors alone
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Print more: all places of a diagnostic, the passes that run
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How many threads to use
    #[arg(long, global = true, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Allow a code or group
    #[arg(short = 'A', long = "allow", global = true, value_name = "CODE|GROUP")]
    pub(crate) allow: Vec<String>,
    /// Warn of a code or group
    #[arg(short = 'W', long = "warn", global = true, value_name = "CODE|GROUP")]
    pub(crate) warn: Vec<String>,
    /// Make a code or group an error
    #[arg(short = 'D', long = "deny", global = true, value_name = "CODE|GROUP")]
    pub(crate) deny: Vec<String>,
    /// The three above in the order they were given.
    #[arg(skip)]
    pub(crate) levels: Vec<(Level, String)>,
    /// Lower ops of a source by the functions of text IR in this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) lowering: Vec<PathBuf>,
    /// Read flags from this file instead of `mlc.toml` beside the input
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the flags in force and their digest, and do nothing
    #[arg(long, global = true)]
    pub(crate) print_config: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    Auto,
    Plain,
    None,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Convert a model into a Core ML package
    Convert(Box<ConvertArgs>),
    /// Make the weights of a model smaller
    Compress(Box<CompressArgs>),
    /// Make compressed weights of a model plain again
    Decompress(DecompressArgs),
    /// Run a pipeline of passes; a filter on text IR
    Opt(Box<OptArgs>),
    /// Make a model smaller as long as a fault stays
    Reduce(ReduceArgs),
    /// Evaluate a model with given inputs
    Run(RunArgs),
    /// Compare a model with its source
    Verify(VerifyArgs),
    /// Show what is in a model
    Inspect(InspectArgs),
    /// Print a model as text IR
    Print(PrintArgs),
    /// Print the fields and blobs of a package
    Dump(DumpArgs),
    /// List the ops of the IR, or those a frontend covers
    Ops(OpsArgs),
    /// List the targets
    Targets,
    /// List the passes and their options
    Passes,
    /// List the rewrite rules
    Rules(RulesArgs),
    /// List the codes of diagnostics
    Codes,
    /// Print the page of a code, pass, rule or op
    Explain(ExplainArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

impl Command {
    /// The word on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Convert(_) => "convert",
            Self::Compress(_) => "compress",
            Self::Decompress(_) => "decompress",
            Self::Opt(_) => "opt",
            Self::Reduce(_) => "reduce",
            Self::Run(_) => "run",
            Self::Verify(_) => "verify",
            Self::Inspect(_) => "inspect",
            Self::Print(_) => "print",
            Self::Dump(_) => "dump",
            Self::Ops(_) => "ops",
            Self::Targets => "targets",
            Self::Passes => "passes",
            Self::Rules(_) => "rules",
            Self::Codes => "codes",
            Self::Explain(_) => "explain",
            Self::Completions(_) => "completions",
        }
    }

    /// The model it reads, if any.
    pub(crate) fn input(&self) -> Option<&PathBuf> {
        match self {
            Self::Convert(args) => Some(&args.input),
            Self::Compress(args) => Some(&args.input),
            Self::Decompress(args) => Some(&args.input),
            Self::Opt(args) => Some(&args.input),
            Self::Reduce(args) => Some(&args.input),
            Self::Run(args) => Some(&args.input),
            Self::Verify(args) => Some(&args.input),
            Self::Inspect(args) => Some(&args.input),
            Self::Print(args) => Some(&args.input),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatesArg {
    /// Buffers that the model writes become states
    Buffers,
    /// Inputs that it writes become states too
    All,
    /// No states: new values are outputs, buffers are inputs
    Io,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The model
    pub(crate) input: PathBuf,
    /// The package to write; `*.mlc` or `-` gives text IR
    #[arg(short = 'o', value_name = "OUT", required = true)]
    pub(crate) goal: PathBuf,
    /// The kind of the model, where its content does not tell
    #[arg(long, value_name = "KIND")]
    pub(crate) from: Option<String>,
    /// The signature of a SavedModel to convert
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
    /// A tag of the graph of a SavedModel; repeat for several
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    #[command(flatten)]
    pub(crate) features: FeatureArgs,
    #[command(flatten)]
    pub(crate) program: ProgramArgs,
    #[command(flatten)]
    pub(crate) check: CheckArgs,
    #[command(flatten)]
    pub(crate) package: PackageArgs,
}

/// What the caller of the model sees.
#[derive(Debug, Args)]
#[command(next_help_heading = "Inputs and outputs")]
pub(crate) struct FeatureArgs {
    /// Fix the shape of an input, its element type, or both
    #[arg(long = "input", value_name = "NAME=[SHAPE][:DTYPE]")]
    pub(crate) inputs: Vec<String>,
    /// Let an axis vary within a range, or narrow the range it has
    #[arg(long, value_name = "NAME.AXIS=SYMBOL:LEAST..GREATEST[:STEP]")]
    pub(crate) dynamic: Vec<String>,
    /// Allow these shapes alone; the first is the default
    #[arg(long, value_name = "NAME=SHAPE,SHAPE..")]
    pub(crate) enumerate: Vec<String>,
    /// The shape to use where an input may vary
    #[arg(long, value_name = "NAME=SHAPE")]
    pub(crate) default_shape: Vec<String>,
    /// Take or give an image: rgb, bgr, gray or gray-f16; values become (v*scale-mean)/std
    #[arg(long, value_name = "NAME=LAYOUT[,scale=1/255][,mean=A/B/C][,std=A/B/C]")]
    pub(crate) image: Vec<String>,
    /// Name the probabilities of an output by the lines of a file
    #[arg(long, value_name = "FILE[,output=NAME][,label=NAME][,probabilities=NAME][,type=TYPE]")]
    pub(crate) classifier: Option<String>,
    /// Let the caller leave an input out; its elements are then this number, 0 if none is given
    #[arg(long, value_name = "NAME[=NUMBER]")]
    pub(crate) optional: Vec<String>,
    /// Keep this output, as this element type; repeat to choose and order several
    #[arg(long = "output", value_name = "NAME[=:DTYPE]")]
    pub(crate) outputs: Vec<String>,
    /// Rename an input, output or state; other flags may use either name
    #[arg(long, value_name = "OLD=NEW")]
    pub(crate) rename: Vec<String>,
    /// Describe an input or output for people
    #[arg(long, value_name = "NAME=TEXT")]
    pub(crate) describe: Vec<String>,
    /// What becomes of buffers and inputs that the model writes
    #[arg(long, value_name = "MODE", default_value = "buffers")]
    pub(crate) states: StatesArg,
    /// Make states of what has such a name, and inputs and outputs of other buffers
    #[arg(long, value_name = "GLOB")]
    pub(crate) state: Vec<String>,
}

/// What the program becomes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Program")]
pub(crate) struct ProgramArgs {
    /// The oldest system the package must run on, such as ios17 or macos14
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// The float type to compute in: fp16, fp32, fp16{keep=SELECTOR}, or auto[:snr=DB] for fp16 with as few ops in fp32 as
    /// reach that ratio
    #[arg(long, default_value = "fp16", value_name = "TYPE")]
    pub(crate) precision: String,
    /// Keep ops in single precision: an op kind, a name glob or a module path
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) keep_fp32: Vec<String>,
    /// The range that an input or a value lies in; half precision is planned for it
    #[arg(long = "range", value_name = "NAME=LO..HI")]
    pub(crate) ranges: Vec<String>,
    /// Effort of the optimizer, 0 to 3
    #[arg(short = 'O', value_name = "LEVEL", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub(crate) level: u8,
    /// Run this pipeline in place of the preset
    #[arg(long, value_name = "PIPELINE")]
    pub(crate) passes: Option<String>,
    #[command(flatten)]
    pub(crate) rewriting: RewritingArgs,
    /// Compress weights: a scheme such as w8, w4-block32 or lut4-g16, or a file *.toml of rules
    #[arg(long, value_name = "RECIPE")]
    pub(crate) recipe: Option<String>,
    #[command(flatten)]
    pub(crate) run: PassArgs,
}

/// How the result is checked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Check")]
pub(crate) struct CheckArgs {
    /// Compare with the source on N inputs, even if it takes long
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub(crate) verify: Option<usize>,
    /// Do not compare with the source
    #[arg(long, conflicts_with = "verify")]
    pub(crate) no_verify: bool,
    /// Compare and measure on these inputs: a file of tensors by input name, or a folder of such files,
    /// one a call
    #[arg(long, value_name = "SAFETENSORS|DIR")]
    pub(crate) calib: Option<PathBuf>,
    /// When results agree: rtol=X or snr=DB
    #[arg(long, value_name = "TOLERANCE")]
    pub(crate) tolerance: Option<String>,
    /// Seed of the inputs to compare on
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Write the package even if it does not agree with its source
    #[arg(long)]
    pub(crate) keep_output: bool,
}

/// What is written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Package")]
pub(crate) struct PackageArgs {
    /// Hold no more memory than this, mapped pages of files not counted: 500M, 4G; what needs more fails
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_memory: Option<String>,
    /// Set author, license, version, description, or a key of your own
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set_metadata: Vec<String>,
    /// Leave the build record out of the package
    #[arg(long)]
    pub(crate) no_record: bool,
    /// Replace what is at the output
    #[arg(long)]
    pub(crate) force: bool,
    /// Do everything but write
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write the report as JSON to this file too
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group(
    clap::ArgGroup::new("goal").required(true).args(["recipe", "max_bytes", "bits", "min_psnr"])
))]
pub(crate) struct CompressArgs {
    /// The model
    pub(crate) input: PathBuf,
    /// The package to write; `*.mlc` or `-` gives text IR
    #[arg(short = 'o', value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The kind of the model, where its content does not tell
    #[arg(long, value_name = "KIND")]
    pub(crate) from: Option<String>,
    /// A scheme such as w8, w4-block32, lut4-g16, lut6 or prune-2:4+w8, with `--calib` also w8a8 or
    /// w4-block32+smooth, or a file *.toml of rules
    #[arg(long, value_name = "RECIPE")]
    pub(crate) recipe: Option<String>,
    /// Choose schemes so that all constants come to at most so many bytes: 500000, 500k, 50M, 2G
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_bytes: Option<String>,
    /// Choose schemes so that weights come to at most so many bits an element
    #[arg(long, value_name = "BITS")]
    pub(crate) bits: Option<f64>,
    /// Choose the smallest schemes that keep outputs at this signal-to-noise ratio, in dB
    #[arg(long, value_name = "DB")]
    pub(crate) min_psnr: Option<f64>,
    /// Inputs of the model, a *.safetensors file or a folder of such, in place of made-up ones: with
    /// them, what a weight is off by is made up for by other weights
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) calib: Option<PathBuf>,
    /// Compress weights anew that are compressed already
    #[arg(long)]
    pub(crate) recompress: bool,
    /// The oldest system the package must run on
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// The least signal-to-noise ratio of a weight, in dB; anything worse is an error
    #[arg(long, value_name = "DB")]
    pub(crate) min_snr: Option<f64>,
    /// Write what became of each weight to this file, as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
    /// Do not compare outputs with those of the model
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Seed of the inputs to compare on
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Replace what is at the output
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DecompressArgs {
    /// The model
    pub(crate) input: PathBuf,
    /// The package to write; `*.mlc` or `-` gives text IR
    #[arg(short = 'o', value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The kind of the model, where its content does not tell
    #[arg(long, value_name = "KIND")]
    pub(crate) from: Option<String>,
    /// The oldest system the package must run on
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,
    /// Replace what is at the output
    #[arg(long)]
    pub(crate) force: bool,
}

/// How a pipeline is run and watched.
#[derive(Debug, Args)]
#[command(next_help_heading = "Passes")]
pub(crate) struct PassArgs {
    /// Show the program before these passes, or before `all`
    #[arg(long, value_name = "PASS|all", value_delimiter = ',')]
    pub(crate) print_before: Vec<String>,
    /// Show the program after these passes, after `all`, or where it `changed`
    #[arg(long, value_name = "PASS|all|changed", value_delimiter = ',')]
    pub(crate) print_after: Vec<String>,
    /// Write the program to this folder after each pass that changed it
    #[arg(long, value_name = "DIR")]
    pub(crate) dump_dir: Option<PathBuf>,
    /// Print how long each pass took
    #[arg(long)]
    pub(crate) time_passes: bool,
    /// Print what each pass did
    #[arg(long)]
    pub(crate) pass_stats: bool,
    /// Check the program after each pass: its types, or its numbers too
    #[arg(long, value_name = "types|numbers", num_args = 0..=1, require_equals = true, default_missing_value = "types")]
    pub(crate) verify_each: Option<VerifyEachArg>,
    /// Leave a pass out
    #[arg(long, value_name = "PASS", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// Stop after the first run of a pass
    #[arg(long, value_name = "PASS")]
    pub(crate) stop_after: Option<String>,
    /// Run only the first N passes
    #[arg(long, value_name = "N")]
    pub(crate) bisect_limit: Option<usize>,
    /// Leave a reproducer in this folder when a pass fails
    #[arg(long, value_name = "DIR")]
    pub(crate) reproducer: Option<PathBuf>,
}

impl PassArgs {
    /// Whether one of the flags was given.
    pub(crate) fn is_given(&self) -> bool {
        let names = [&self.print_before, &self.print_after, &self.skip];
        names.iter().any(|names| !names.is_empty())
            || [&self.dump_dir, &self.reproducer].iter().any(|path| path.is_some())
            || self.stop_after.is_some()
            || self.bisect_limit.is_some()
            || self.verify_each.is_some()
            || self.time_passes
            || self.pass_stats
    }
}

#[derive(Debug, Args)]
pub(crate) struct OptArgs {
    /// The model; `-` is text IR on stdin
    #[arg(default_value = "-")]
    pub(crate) input: PathBuf,
    /// Where the result goes; `-` is stdout, `*.mlpackage` a package
    #[arg(short = 'o', default_value = "-", value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The kind of the model, where its content does not tell
    #[arg(long, value_name = "KIND")]
    pub(crate) from: Option<String>,
    /// The pipeline
    #[arg(long, default_value = "", value_name = "PIPELINE")]
    pub(crate) passes: String,
    #[command(flatten)]
    pub(crate) rewriting: RewritingArgs,
    /// The version of Core ML a package is written for
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: Option<String>,
    #[command(flatten)]
    pub(crate) run: PassArgs,
    /// Print where each op comes from
    #[arg(long)]
    pub(crate) print_locations: bool,
    /// Repeat the failure in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "passes")]
    pub(crate) replay: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Replace what is at the output
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyEachArg {
    Types,
    Numbers,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("fault").required(true).args(["check", "fails", "changes"])))]
pub(crate) struct ReduceArgs {
    /// The model; `-` is text IR on stdin
    pub(crate) input: PathBuf,
    /// Where the result goes: `*.mlc`, `-` for stdout, or `*.mlpackage`, which candidates are then too
    #[arg(short = 'o', default_value = "-", value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The kind of the model, where its content does not tell
    #[arg(long, value_name = "KIND")]
    pub(crate) from: Option<String>,
    /// A command that exits with 0 while the fault is there; `{}` is the path of a candidate
    #[arg(long, value_name = "COMMAND")]
    pub(crate) check: Option<String>,
    /// The fault is that this pipeline fails the way it does
    #[arg(long, value_name = "PIPELINE")]
    pub(crate) fails: Option<String>,
    /// The fault is that this pipeline changes the numbers
    #[arg(long, value_name = "PIPELINE")]
    pub(crate) changes: Option<String>,
    /// Stop when no more ops than this are left
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) max_ops: usize,
    /// Stop after so many checks
    #[arg(long, default_value_t = 2000, value_name = "N")]
    pub(crate) max_checks: usize,
    /// Seed of the inputs that `--changes` compares on
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Replace what is at the output
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The model
    pub(crate) input: PathBuf,
    /// The kind of the model, where its content does not tell
    #[arg(long, value_name = "KIND")]
    pub(crate) from: Option<String>,
    /// An input: @FILE.npy, @FILE.png, @FILE.safetensors:KEY, rand:SEED, zeros, ones, or numbers
    #[arg(long = "in", value_name = "NAME=VALUE")]
    pub(crate) feeds: Vec<String>,
    /// Where an output goes, as @FILE.npy
    #[arg(long = "out", value_name = "NAME=@FILE")]
    pub(crate) outputs: Vec<String>,
    /// The function; `main` if there is one
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Call it N times; states keep their values
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) steps: usize,
    /// Replace output files
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The model
    pub(crate) input: PathBuf,
    /// The kind of the model, where its content does not tell
    #[arg(long, value_name = "KIND")]
    pub(crate) from: Option<String>,
    /// What it was made from
    #[arg(long, value_name = "FILE")]
    pub(crate) source: PathBuf,
    /// How many inputs
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) samples: usize,
    /// Successive calls, for models with states
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) steps: usize,
    /// When results agree: rtol=X or snr=DB
    #[arg(long, default_value = "snr=35", value_name = "TOLERANCE")]
    pub(crate) tolerance: String,
    /// Seed of the inputs
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The model
    pub(crate) input: PathBuf,
    /// The kind of the model, where its content does not tell
    #[arg(long, value_name = "KIND")]
    pub(crate) from: Option<String>,
    /// Show ops by kind
    #[arg(long)]
    pub(crate) ops: bool,
    /// Show inputs, outputs and states
    #[arg(long)]
    pub(crate) io: bool,
    /// Show all constants
    #[arg(long)]
    pub(crate) weights: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PrintArgs {
    /// The model; `-` is text IR on stdin
    #[arg(default_value = "-")]
    pub(crate) input: PathBuf,
    /// The kind of the model, where its content does not tell
    #[arg(long, value_name = "KIND")]
    pub(crate) from: Option<String>,
    /// Print this function alone
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Print where each op comes from
    #[arg(long)]
    pub(crate) locations: bool,
    /// Where the text goes; `-` is stdout
    #[arg(short = 'o', default_value = "-", value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Replace what is at the output
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// The package
    pub(crate) input: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct OpsArgs {
    /// List the ops that a frontend covers
    #[arg(long, value_name = "FRONTEND")]
    pub(crate) from: Option<FrontendArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FrontendArg {
    Torch,
    Tensorflow,
}

#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// List the rules of this file too
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Vec<PathBuf>,
    /// Test rules of files on many programs
    #[arg(long)]
    pub(crate) check_rules: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayoutArg {
    /// As the model has it
    Model,
    /// Sequences as images of one row: `linear` becomes a convolution
    Ane,
}

/// Rewrite rules and what they did.
#[derive(Debug, Args)]
pub(crate) struct RewritingArgs {
    /// Use the rewrite rules of this file too
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Vec<PathBuf>,
    /// Test rules of files on many programs
    #[arg(long)]
    pub(crate) check_rules: bool,
    /// What cheap means: size, latency, ane (M1 to M4, A14 to A18), ane-h17 (M5, A19), gpu or cpu
    #[arg(long, value_name = "DEVICE")]
    pub(crate) cost: Option<String>,
    /// The layout to compute in: as the model has it, or sequences as images for the neural engine
    #[arg(long, value_enum, value_name = "LAYOUT", default_value = "model")]
    pub(crate) layout: LayoutArg,
    /// Say which rules made the ops of this kind, value or module
    #[arg(long, value_name = "OP", alias = "explain")]
    pub(crate) explain_rewrites: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A code, pass, rule or op
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}
