//! `cases`: converts folders of models with references, and says how far each came.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use mlc_driver::{Precision, Preset};
use mlc_target::Opset;
use mlc_testkit::cases::ablation::ablation;
use mlc_testkit::cases::collect::{Case, Wanted, collect};
use mlc_testkit::cases::op_counts::{Baseline, op_counts};
use mlc_testkit::cases::outcome::{Outcome, Reached};
use mlc_testkit::cases::run::{Plan, catch_panics, run_all};
use mlc_testkit::cases::totals::{failures, totals};
use mlc_testkit::cases::{Config, Stage, table};
use mlc_testkit::diff::unified;
use mlc_testkit::workspace_root;

/// The model files that are converted unless others are asked for.
const KINDS: &str = "model.pt2,core.pt2,model.pb,saved_model,saved_model_tf1,frozen.pb,\
                     frozen_tf1.pb,frozen_lowered.pb";

/// Converts, validates and evaluates cases, and compares them with their references.
#[derive(Parser)]
#[command(name = "cases")]
struct Arguments {
    /// Folder with models/, torch_ops/, tf_models/ and tf_ops/, or with a folder for each case;
    /// target/cases without it
    folder: Option<PathBuf>,
    /// Only cases with this in their name, or with this op; any of several
    #[arg(long, value_delimiter = ',')]
    filter: Vec<String>,
    /// Only this family, such as conv or vision; any of several
    #[arg(long, value_delimiter = ',')]
    family: Vec<String>,
    /// Versions of Core ML
    #[arg(long, value_delimiter = ',', default_value = "ios15,ios17,ios18")]
    target: Vec<Opset>,
    /// Float types
    #[arg(long, value_delimiter = ',', default_value = "fp16,fp32", value_parser = precision)]
    precision: Vec<Precision>,
    /// Names of model files
    #[arg(long, value_delimiter = ',', default_value = KINDS)]
    kinds: Vec<String>,
    /// How far each case is taken
    #[arg(long, value_enum, default_value = "emit")]
    stage: Stage,
    /// Threads
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Keep the packages in this folder
    #[arg(long)]
    packages: Option<PathBuf>,
    /// Write the totals to this file; without it, a run over everything writes
    /// testdata/cases-totals.txt
    #[arg(long)]
    totals: Option<PathBuf>,
    /// Compare the totals with the file instead of writing it
    #[arg(long)]
    check: bool,
    /// Write the table of models to this file
    #[arg(long)]
    table: Option<PathBuf>,
    /// Write op counts of the models beside those of --baseline to this file
    #[arg(long, requires = "baseline")]
    op_counts: Option<PathBuf>,
    /// Op counts of another converter, as JSON
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Only write what each family of rules is worth, over the models, to this file
    #[arg(long)]
    ablation: Option<PathBuf>,
    /// The optimization level
    #[arg(long, default_value = "O2", value_parser = level)]
    level: Preset,
    /// Compare with the results of this level, such as O0, instead of the references
    #[arg(long, value_parser = level)]
    against: Option<Preset>,
    /// Convert traces at the sizes that they were made with alone
    #[arg(long)]
    fixed: bool,
    /// Show every failing case, not eight of a kind, and the ops of those that agree
    #[arg(short, long)]
    verbose: bool,
}

fn precision(word: &str) -> Result<Precision, String> {
    [Precision::Fp16, Precision::Fp32]
        .into_iter()
        .find(|precision| precision.as_str() == word)
        .ok_or_else(|| format!("`{word}` is neither fp16 nor fp32"))
}

fn level(word: &str) -> Result<Preset, String> {
    let all = Preset::ALL.into_iter();
    all.clone().find(|level| level.name() == word).ok_or_else(|| {
        format!("`{word}` is none of {}", all.map(Preset::name).collect::<Vec<_>>().join(", "))
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let folder = arguments.folder.clone().unwrap_or_else(|| workspace_root().join("target/cases"));
    let wanted = Wanted {
        filters: arguments.filter.clone(),
        families: arguments.family.clone(),
        kinds: arguments.kinds.clone(),
    };
    let cases = collect(&folder, &wanted);
    if cases.is_empty() {
        return Err(format!("there is no such case in {}", folder.display()));
    }
    if let Some(path) = &arguments.ablation {
        let table = ablation(&cases).map_err(|errors| format!("{:?}", errors.items()))?;
        print!("{table}");
        std::fs::write(path, table).map_err(|e| format!("{}: {e}", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(packages) = &arguments.packages {
        std::fs::create_dir_all(packages).map_err(|e| format!("{}: {e}", packages.display()))?;
    }
    let plan = plan(arguments);
    catch_panics();
    let outcomes = run_all(&cases, &plan, &progress(cases.len()))
        .map_err(|errors| format!("{:?}", errors.items()))?;
    let text = totals(&cases, &outcomes, plan.columns());
    if arguments.verbose {
        show_agreeing(&cases, &outcomes, plan.columns());
    }
    print!("{text}");
    show_failures(&cases, &outcomes, arguments.verbose);
    if let Some(path) = &arguments.table {
        let table = table::table(&cases, &outcomes, plan.columns());
        std::fs::write(path, table).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if let (Some(path), Some(baseline)) = (&arguments.op_counts, &arguments.baseline) {
        let baseline = Baseline::read(baseline)?;
        let table = op_counts(&cases, &outcomes, (plan.columns(), &baseline));
        std::fs::write(path, table).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    settle(arguments, &text)
}

fn plan(arguments: &Arguments) -> Plan {
    let precisions = &arguments.precision;
    let configs = arguments
        .target
        .iter()
        .flat_map(|&opset| precisions.iter().map(move |&precision| Config { opset, precision }))
        .collect();
    Plan {
        configs,
        stage: arguments.stage,
        packages: arguments.packages.clone(),
        jobs: arguments.jobs,
        fixed: arguments.fixed,
        level: arguments.level,
        against: arguments.against,
    }
}

/// A line that is drawn over, on a terminal.
fn progress(count: usize) -> impl Fn(&Case, &[Outcome]) + Sync {
    let done = AtomicUsize::new(0);
    let shown = std::io::stderr().is_terminal();
    move |case, _| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if shown {
            eprint!("\r\x1b[2K{done}/{count} {}", case.id);
        }
        if shown && done == count {
            eprint!("\r\x1b[2K");
        }
    }
}

fn show_agreeing(cases: &[Case], outcomes: &[Vec<Outcome>], configs: &[Config]) {
    for (case, outcomes) in cases.iter().zip(outcomes) {
        for (outcome, config) in outcomes.iter().zip(configs) {
            if outcome.reached == Reached::Matched {
                let ops: Vec<String> =
                    outcome.ops.iter().map(|(op, count)| format!("{count} {op}")).collect();
                let (relative, ops) = (outcome.relative, ops.join(", "));
                println!("ok {} {config}: off by {relative:.1e}; {ops}", case.id);
            }
        }
    }
    println!();
}

fn show_failures(cases: &[Case], outcomes: &[Vec<Outcome>], verbose: bool) {
    for (group, members) in failures(cases, outcomes) {
        println!("\n{group}");
        let most = if verbose { members.len() } else { 8 };
        for (case, outcome) in members.iter().take(most) {
            let text = outcome.failure.as_ref().map_or("", |failure| failure.text.as_str());
            let text = match verbose {
                true => text.replace('\n', "\n    "),
                false => text.lines().next().unwrap_or_default().to_owned(),
            };
            println!("  {} {}\n    {text}", case.id, case.name);
        }
        if members.len() > most {
            println!("  and {} more", members.len() - most);
        }
    }
    let agree = |outcomes: &&Vec<Outcome>| {
        outcomes.iter().all(|o| matches!(o.reached, Reached::Matched | Reached::TooOld))
    };
    let agreeing = outcomes.iter().filter(agree).count();
    println!("\n{agreeing} of {} agree wherever they convert", cases.len());
}

/// Writes the totals or compares them.
fn settle(arguments: &Arguments, text: &str) -> Result<ExitCode, String> {
    let everything = arguments.filter.is_empty()
        && arguments.family.is_empty()
        && arguments.folder.is_none()
        && arguments.stage == Stage::Emit
        && (arguments.level, arguments.against, arguments.fixed) == (Preset::O2, None, false)
        && arguments.target == [Opset::Ios15, Opset::Ios17, Opset::Ios18]
        && arguments.precision == [Precision::Fp16, Precision::Fp32]
        && arguments.kinds.iter().map(String::as_str).eq(KINDS.split(','));
    let path = match &arguments.totals {
        Some(path) => path.clone(),
        None if everything => workspace_root().join("testdata/cases-totals.txt"),
        None if arguments.check => {
            return Err("totals of a part have no file to be compared with: give --totals".into());
        }
        None => return Ok(ExitCode::SUCCESS),
    };
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if !arguments.check {
        std::fs::write(&path, text).map_err(failed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let committed = std::fs::read_to_string(&path).map_err(failed)?;
    if committed == text {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nthe totals moved\n{}", unified(&committed, text));
    Ok(ExitCode::from(1))
}
