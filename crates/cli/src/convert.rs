//! `mlc convert`.

use std::time::Instant;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_driver::{
    ConvertOptions, Driver, Kind, Levels, Precision, Preset, Rewriting, StateMode, Target,
    Tolerance,
};

use crate::Outcome;
use crate::args::{ConvertArgs, PrecisionArg, RewritingArgs, Shared, StatesArg};
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

/// The files of rules that the flags name.
pub(crate) fn rewriting(args: &RewritingArgs) -> Rewriting {
    Rewriting { files: args.rules.clone(), thorough: args.check_rules }
}

/// The severities that the flags ask for.
pub(crate) fn levels(shared: &Shared) -> Result<Levels, Diagnostics> {
    let mut levels = Levels::default();
    for (level, name) in &shared.levels {
        levels.add(*level, name)?;
    }
    Ok(levels)
}

fn options(args: &ConvertArgs, shared: &Shared) -> Result<ConvertOptions, Diagnostics> {
    let mut found = Diagnostics::new();
    let mut options = ConvertOptions::new(&args.input, &args.output);
    macro_rules! take {
        ($value:expr) => {
            match $value {
                Ok(value) => Some(value),
                Err(problems) => {
                    found.extend(problems);
                    None
                }
            }
        };
    }
    options.from = args.from.as_deref().and_then(|word| take!(word.parse::<Kind>()));
    options.signature.clone_from(&args.signature);
    options.tags.clone_from(&args.tags);
    options.target = args.target.as_deref().and_then(|word| take!(target(word)));
    options.tolerance =
        args.tolerance.as_deref().and_then(|text| take!(tolerance("--tolerance", text)));
    options.renames = args.rename.iter().filter_map(|text| take!(pair("--rename", text))).collect();
    options.metadata =
        args.set_metadata.iter().filter_map(|text| take!(pair("--set-metadata", text))).collect();
    options.levels = take!(levels(shared)).unwrap_or_default();
    options.precision = match args.precision {
        PrecisionArg::Fp16 => Precision::Fp16,
        PrecisionArg::Fp32 => Precision::Fp32,
    };
    options.states = match args.states {
        StatesArg::Buffers => StateMode::Buffers,
        StatesArg::All => StateMode::All,
        StatesArg::Io => StateMode::Io,
    };
    options.keep_fp32.clone_from(&args.keep_fp32);
    options.outputs.clone_from(&args.outputs);
    options.preset = match args.level {
        0 => Preset::O0,
        1 => Preset::O1,
        2 => Preset::O2,
        _ => Preset::O3,
    };
    options.passes.clone_from(&args.passes);
    options.rewriting = rewriting(&args.rewriting);
    options.explain_rewrites.clone_from(&args.rewriting.explain_rewrites);
    options.verify = if args.no_verify { None } else { Some(args.verify.unwrap_or(1)) };
    options.force_verify = args.verify.is_some();
    options.seed = args.seed;
    options.force = args.force;
    options.dry_run = args.dry_run;
    options.no_record = args.no_record;
    options.keep_output = args.keep_output;
    if found.has_errors() { Err(found) } else { Ok(options) }
}

pub(crate) fn convert(
    driver: &Driver,
    args: &ConvertArgs,
    shared: &Shared,
    output: &Output,
) -> Outcome {
    let start = Instant::now();
    let options = options(args, shared)?;
    if output.json && args.output.as_os_str() == "-" {
        return Err(bad("-o", "`--json` and the text of `-o -` would both go to stdout")
            .help("name a file `*.mlc` for the text")
            .into());
    }
    if let Some(path) = &args.report {
        mlc_driver::check_output(path, args.force)?;
    }
    let mut shower = Shower::new(output);
    let result = driver.convert(&options, &mut shower);
    shower.finish();
    let report = result?;
    if let Some(path) = &args.report {
        let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
        text.push('\n');
        mlc_driver::write_text(path, text.as_bytes(), args.force)?;
    }
    output.report("convert", &report, &report.diagnostics, || {
        if !output.quiet {
            for line in summary::lines(&report, start.elapsed(), summary::peak_memory()) {
                say(&format!("  {line}"));
            }
        }
        for line in tables::rewrites(&report.rewrites).lines() {
            say(line);
        }
        Ok(())
    })
}
