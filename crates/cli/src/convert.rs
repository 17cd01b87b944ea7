//! `mlc convert`.

use std::time::Instant;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_driver::{
    ClassifierRequest, ConvertOptions, Driver, ImageRequest, InputRequest, InterfaceOptions, Kind,
    Levels, OutputRequest, Precision, Preset, RequestError, Rewriting, StateMode, Target,
    Tolerance,
};

use crate::Outcome;
use crate::args::{ConvertArgs, FeatureArgs, LayoutArg, RewritingArgs, Shared, StatesArg};
use crate::compress::size;
use crate::opt::{run_options, table};
use crate::progress::Shower;
use crate::render::{Output, say};
use crate::{summary, tables};

/// A problem with the value of a flag.
pub(crate) fn bad(flag: &str, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(codes::BAD_ARGUMENT, message).at(Place::Argument(flag.into()))
}

/// `NAME=VALUE`.
pub(crate) fn pair(flag: &str, text: &str) -> Result<(String, String), Diagnostics> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(bad(flag, format!("`{text}` is not NAME=VALUE")).into()),
    }
}

/// `rtol=1e-4` or `snr=35`.
pub(crate) fn tolerance(flag: &str, text: &str) -> Result<Tolerance, Diagnostics> {
    let parsed = match text.split_once('=') {
        Some(("rtol", x)) => x.parse().ok().map(Tolerance::Relative),
        Some(("snr", x)) => x.parse().ok().map(Tolerance::SnrDb),
        _ => None,
    };
    let valid = |t: &Tolerance| match t {
        Tolerance::Relative(x) => *x >= 0.0,
        Tolerance::SnrDb(x) => x.is_finite(),
    };
    parsed.filter(valid).ok_or_else(|| {
        bad(flag, format!("`{text}` is no tolerance")).help("write rtol=1e-4 or snr=35").into()
    })
}

/// A target by name.
pub(crate) fn target(text: &str) -> Result<Target, Diagnostics> {
    text.parse::<Target>().map_err(|error| {
        let diagnostic =
            Diagnostic::new(codes::UNKNOWN_TARGET, format!("no target is called `{text}`"))
                .at(Place::Argument("--target".into()));
        let help = if error.nearest.is_empty() {
            "`mlc targets` lists them".to_owned()
        } else {
            format!("the nearest are {}", error.nearest.join(", "))
        };
        diagnostic.help(help).into()
    })
}

/// How the flags ask for programs to be rewritten.
pub(crate) fn rewriting(args: &RewritingArgs) -> Rewriting {
    Rewriting {
        files: args.rules.clone(),
        thorough: args.check_rules,
        cost: args.cost.clone(),
        images: args.layout == LayoutArg::Ane,
    }
}

/// The severities that the flags ask for.
pub(crate) fn levels(shared: &Shared) -> Result<Levels, Diagnostics> {
    let mut levels = Levels::default();
    for (level, name) in &shared.levels {
        levels.add(*level, name)?;
    }
    Ok(levels)
}

/// Values of flags, with all that is wrong with them.
#[derive(Default)]
struct Taken {
    found: Diagnostics,
}

impl Taken {
    fn one<T>(&mut self, value: Result<T, Diagnostics>) -> Option<T> {
        value.map_err(|problems| self.found.extend(problems)).ok()
    }

    fn all<T>(
        &mut self,
        texts: &[String],
        parse: impl Fn(&str) -> Result<T, Diagnostics>,
    ) -> Vec<T> {
        texts.iter().filter_map(|text| self.one(parse(text))).collect()
    }

    /// Requests for inputs, one an input.
    fn inputs(&mut self, args: &FeatureArgs) -> Vec<InputRequest> {
        type Parse = fn(&str) -> Result<InputRequest, RequestError>;
        let flags: [(&str, &[String], Parse); 4] = [
            ("--input", &args.inputs, InputRequest::parse_input),
            ("--dynamic", &args.dynamic, InputRequest::parse_dynamic),
            ("--enumerate", &args.enumerate, InputRequest::parse_enumerate),
            ("--default-shape", &args.default_shape, InputRequest::parse_default),
        ];
        let mut requests: Vec<InputRequest> = Vec::new();
        for (flag, texts, parse) in flags {
            let parsed = self.all(texts, |text| {
                parse(text).map_err(|e| bad(flag, e.to_string()).help(e.help()).into())
            });
            for request in parsed {
                match requests.iter_mut().find(|known| known.name == request.name) {
                    Some(known) => known.merge(request),
                    None => requests.push(request),
                }
            }
        }
        requests
    }
}

/// `x` or `x=0.5`.
fn optional(text: &str) -> Result<(String, f32), Diagnostics> {
    let (name, value) = text.split_once('=').unwrap_or((text, "0"));
    match value.parse::<f32>() {
        Ok(number) if number.is_finite() && !name.is_empty() => Ok((name.to_owned(), number)),
        _ => Err(bad("--optional", format!("`{text}` is not NAME=NUMBER")).into()),
    }
}

fn interface(args: &FeatureArgs, taken: &mut Taken) -> InterfaceOptions {
    InterfaceOptions {
        inputs: taken.inputs(args),
        outputs: taken.all(&args.outputs, OutputRequest::parse),
        images: taken.all(&args.image, ImageRequest::parse),
        classifier: args
            .classifier
            .as_deref()
            .and_then(|text| taken.one(ClassifierRequest::parse(text))),
        optional: taken.all(&args.optional, optional),
        descriptions: taken.all(&args.describe, |text| pair("--describe", text)),
        renames: taken.all(&args.rename, |text| pair("--rename", text)),
    }
}

/// What `--precision` says, and the ops that it keeps in single precision.
fn precision(text: &str) -> Result<(Precision, Vec<String>), Diagnostics> {
    let wrong = || {
        bad("--precision", format!("`{text}` is no precision"))
            .help("write `fp16`, `fp32`, `fp16{keep=softmax}`, `fp16{keep=[softmax,layer_norm]}`, `auto`, or `auto:snr=60dB`")
    };
    let (word, keep) = match text.strip_suffix('}').and_then(|text| text.split_once("{keep=")) {
        Some((word, list)) => {
            let list = list.strip_prefix('[').and_then(|l| l.strip_suffix(']')).unwrap_or(list);
            let keep: Vec<String> = list.split(',').map(|one| one.trim().to_owned()).collect();
            if keep.iter().any(String::is_empty) || word == "fp32" {
                return Err(wrong().into());
            }
            (word, keep)
        }
        None => (text, Vec::new()),
    };
    let precision = match word.split_once(':') {
        None if word == "fp16" => Precision::Fp16,
        None if word == "fp32" => Precision::Fp32,
        None if word == "auto" => Precision::Auto(mlc_driver::AUTO_DB),
        Some(("auto", rest)) => {
            let ratio = rest.strip_prefix("snr=").map(|db| db.strip_suffix("dB").unwrap_or(db));
            let ratio = ratio.and_then(|db| db.parse::<f64>().ok());
            let ratio = ratio.filter(|db| db.is_finite() && *db > 0.0 && *db <= 140.0);
            Precision::Auto(ratio.ok_or_else(wrong)?)
        }
        _ => return Err(wrong().into()),
    };
    Ok((precision, keep))
}

fn options(args: &ConvertArgs, shared: &Shared) -> Result<ConvertOptions, Diagnostics> {
    let mut taken = Taken::default();
    let mut options = ConvertOptions::new(&args.input, &args.goal);
    let (program, check, package) = (&args.program, &args.check, &args.package);
    options.from = args.from.as_deref().and_then(|word| taken.one(word.parse::<Kind>()));
    options.signature.clone_from(&args.signature);
    options.tags.clone_from(&args.tags);
    options.target = program.target.as_deref().and_then(|word| taken.one(target(word)));
    options.tolerance =
        check.tolerance.as_deref().and_then(|text| taken.one(tolerance("--tolerance", text)));
    options.interface = interface(&args.features, &mut taken);
    options.metadata = taken.all(&package.set_metadata, |text| pair("--set-metadata", text));
    options.levels = taken.one(levels(shared)).unwrap_or_default();
    let (chosen, keep) = taken.one(precision(&program.precision)).unwrap_or_default();
    options.precision = chosen;
    options.states = match args.features.states {
        StatesArg::Buffers => StateMode::Buffers,
        StatesArg::All => StateMode::All,
        StatesArg::Io => StateMode::Io,
    };
    options.state_globs.clone_from(&args.features.state);
    options.keep_fp32.clone_from(&program.keep_fp32);
    options.keep_fp32.extend(keep);
    options.ranges.clone_from(&program.ranges);
    options.calib.clone_from(&check.calib);
    options.preset = match program.level {
        0 => Preset::O0,
        1 => Preset::O1,
        2 => Preset::O2,
        _ => Preset::O3,
    };
    options.passes.clone_from(&program.passes);
    options.rewriting = rewriting(&program.rewriting);
    options.explain_rewrites.clone_from(&program.rewriting.explain_rewrites);
    options.recipe =
        program.recipe.as_deref().and_then(|text| taken.one(mlc_driver::Recipe::read(text)));
    options.run = program.run.is_given().then(|| run_options(&program.run, check.seed));
    options.verify = if check.no_verify { None } else { Some(check.verify.unwrap_or(1)) };
    options.force_verify = check.verify.is_some();
    options.seed = check.seed;
    options.max_memory =
        package.max_memory.as_deref().and_then(|text| taken.one(size("--max-memory", text)));
    options.force = package.force;
    options.dry_run = package.dry_run;
    options.no_record = package.no_record;
    options.keep_output = check.keep_output;
    if taken.found.has_errors() { Err(taken.found) } else { Ok(options) }
}

pub(crate) fn convert(
    driver: &Driver,
    args: &ConvertArgs,
    shared: &Shared,
    output: &Output,
) -> Outcome {
    let start = Instant::now();
    let options = options(args, shared)?;
    if output.json && args.goal.as_os_str() == "-" {
        return Err(bad("-o", "`--json` and the text of `-o -` would both go to stdout")
            .help("name a file `*.mlc` for the text")
            .into());
    }
    if let Some(path) = &args.package.report {
        mlc_driver::check_output(path, args.package.force)?;
    }
    let mut shower = Shower::new(output);
    let result = driver.convert(&options, &mut shower);
    shower.finish();
    let report = result?;
    if let Some(path) = &args.package.report {
        let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
        text.push('\n');
        mlc_driver::write_text(path, text.as_bytes(), args.package.force)?;
    }
    output.report("convert", &report, &report.diagnostics, || {
        if !output.quiet {
            for line in summary::lines(&report, start.elapsed(), mlc_driver::peak_memory()) {
                say(&format!("  {line}"));
            }
        }
        table(&args.program.run, &report.runs, report.cut);
        if args.program.run.time_passes {
            say(&summary::stages(&report.stages));
        }
        for line in tables::rewrites(&report.rewrites).lines() {
            say(line);
        }
        Ok(())
    })
}
