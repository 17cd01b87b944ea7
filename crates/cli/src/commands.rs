//! `run`, `verify`, `inspect`, `print`, `dump`, `completions`.

use std::path::Path;

use clap::CommandFactory;
use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_driver::{
    Driver, FeatureReport, Histogram, InspectReport, Kind, OutputReport, RunOptions, VerifyOptions,
};
use serde_json::json;

use crate::Outcome;
use crate::args::{
    Cli, CompletionsArgs, DumpArgs, InspectArgs, PrintArgs, RunArgs, Shared, VerifyArgs,
};
use crate::convert::{bad, levels, pair, tolerance};
use crate::render::{Output, say};
use crate::summary::bytes;

fn kind(from: Option<&String>) -> Result<Option<Kind>, Diagnostics> {
    from.map(|word| word.parse()).transpose()
}

pub(crate) fn run(driver: &Driver, args: &RunArgs, output: &Output) -> Outcome {
    let mut options = RunOptions {
        from: kind(args.from.as_ref())?,
        function: args.function.clone(),
        feeds: Vec::new(),
        steps: args.steps,
    };
    for text in &args.feeds {
        let (name, value) = pair("--in", text)?;
        let feed = mlc_driver::parse_feed(&name, &value)?;
        options.feeds.push((name, feed));
    }
    let mut wanted = Vec::new();
    for text in &args.outputs {
        let (name, file) = pair("--out", text)?;
        let Some(file) = file.strip_prefix('@') else {
            return Err(bad("--out", format!("`{file}` is not @FILE.npy")).into());
        };
        mlc_driver::check_output(Path::new(file), args.force)?;
        wanted.push((name, file.to_owned()));
    }
    let report = driver.run(&args.input, &options)?;
    for (name, file) in wanted {
        let found = report.outputs.iter().find(|o| o.name == name);
        let Some(found) = found else {
            let names: Vec<&str> = report.outputs.iter().map(|o| o.name.as_str()).collect();
            return Err(bad("--out", format!("there is no output `{name}`"))
                .help(format!("outputs are {}", names.join(", ")))
                .into());
        };
        let npy = found.to_npy().map_err(|message| Diagnostic::new(codes::EVALUATION, message))?;
        mlc_driver::write_text(Path::new(&file), &npy, args.force)?;
    }
    output.report("run", &report, &report.diagnostics, || {
        let mut text = String::new();
        for out in &report.outputs {
            text += &output_text(out);
        }
        output.product(text.as_bytes())
    })
}

/// An output for people: labels with their numbers, or a summary and the first elements.
fn output_text(out: &OutputReport) -> String {
    if !out.labels.is_empty() {
        return labelled(out);
    }
    let dims: Vec<String> = out.shape.iter().map(ToString::to_string).collect();
    let first: Vec<String> = out.first.iter().map(|x| format!("{x}")).collect();
    let odd = match out.non_finite {
        0 => String::new(),
        n => format!(", {n} not finite"),
    };
    let more = if out.shape.iter().product::<usize>() > first.len() { " …" } else { "" };
    format!(
        "{} {}[{}]  min {} max {} mean {:.6}{odd}\n  {}{more}\n",
        out.name,
        out.dtype,
        dims.join(","),
        out.min,
        out.max,
        out.mean,
        first.join(" ")
    )
}

pub(crate) fn verify(driver: &Driver, args: &VerifyArgs, output: &Output) -> Outcome {
    let options = VerifyOptions {
        samples: args.samples,
        tolerance: tolerance("--tolerance", &args.tolerance)?,
        seed: args.seed,
        steps: args.steps,
        other_sizes: Some(f64::INFINITY),
        images: Vec::new(),
    };
    let report = driver.verify(&args.input, &args.source, kind(args.from.as_ref())?, &options)?;
    output.report("verify", &report, &Diagnostics::new(), || {
        let several = report.samples.iter().any(|s| s.function != report.samples[0].function);
        for (i, sample) in report.samples.iter().enumerate() {
            let of = if several { format!(" of {}", sample.function) } else { String::new() };
            for (name, d) in &sample.outputs {
                let sizes = match sample.sizes.as_str() {
                    "" => String::new(),
                    sizes => format!(" at {sizes}"),
                };
                say(&format!(
                    "  input {i}{of}{sizes}  {name}: SNR {:.1} dB, relative {:.1e}, max |Δ| {:.1e}",
                    d.snr_db, d.relative, d.max_abs
                ));
            }
        }
        for skipped in &report.skipped {
            say(&format!("  not compared: {skipped}"));
        }
        say(&format!("  ok ({})", report.tolerance));
        Ok(())
    })
}

pub(crate) fn inspect(
    driver: &Driver,
    args: &InspectArgs,
    shared: &Shared,
    output: &Output,
) -> Outcome {
    let levels = levels(shared)?;
    let report = driver.inspect(&args.input, kind(args.from.as_ref())?, args.weights)?;
    let diagnostics = levels.apply(report.diagnostics.clone());
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    output.report("inspect", &report, &diagnostics, || {
        output.product(inspect_text(&report, args).as_bytes())
    })
}

/// A feature and, below it, how its extents may vary.
fn feature_text(word: &str, feature: &FeatureReport) -> String {
    let FeatureReport { name, ty, flexible, image, default_value, description } = feature;
    let mut text = format!("  {word:<7} {name} {ty}");
    if let Some(layout) = image {
        text += &format!(", {layout} image");
    }
    if let Some(value) = default_value {
        text += &format!(", {value} if left out");
    }
    if !description.is_empty() {
        text += &format!(", {description}");
    }
    text.push('\n');
    let Some(flexible) = flexible else { return text };
    let shape =
        |shape: &Vec<u64>| shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    let mut parts: Vec<String> = Vec::new();
    if flexible.enumerated.is_empty() {
        parts.extend(flexible.ranges.iter().map(|(name, (low, high))| {
            let high = high.map(|high| high.to_string()).unwrap_or_default();
            format!("{name} = {low}..{high}")
        }));
    } else {
        let shapes: Vec<String> = flexible.enumerated.iter().map(shape).collect();
        parts.push(format!("one of {}", shapes.join(", ")));
    }
    let default = flexible.default_shape.as_ref();
    parts.extend(default.map(|default| format!("default {}", shape(default))));
    text + &format!("          {}\n", parts.join(", "))
}

fn inspect_text(report: &InspectReport, args: &InspectArgs) -> String {
    let everything = !(args.ops || args.io || args.weights);
    let mut text = format!("{} ({})\n", report.source, report.kind);
    if let Some(target) = &report.target {
        text += &format!("needs {target}\n");
    }
    text += &format!(
        "{} parameters, {} in {} constants\n",
        report.parameters,
        bytes(report.bytes),
        report.weights.len()
    );
    for function in &report.functions {
        text += &format!("\nfunction {}\n", function.name);
        if everything || args.io {
            let groups = [
                ("input", &function.inputs),
                ("state", &function.states),
                ("output", &function.outputs),
            ];
            for (word, features) in groups {
                for feature in features {
                    text += &feature_text(word, feature);
                }
            }
        }
        if everything || args.ops {
            let total: usize = function.ops.values().sum();
            text += &format!("  {total} ops\n");
            let mut ops: Vec<_> = function.ops.iter().collect();
            ops.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            for (name, n) in ops {
                text += &format!("  {n:>7} {name}\n");
            }
        }
    }
    if args.weights {
        text += "\nconstants\n";
        for weight in &report.weights {
            let size = bytes(weight.bytes);
            text += &format!("  {size:>10} {:<24} {}", weight.ty, weight.name);
            if let Some(histogram) = &weight.histogram {
                text += &format!("\n{:>13}{}", "", plot(histogram));
            }
            text.push('\n');
        }
    }
    if everything && !report.metadata.is_empty() {
        text += "\nmetadata\n";
        for (key, value) in &report.metadata {
            text += &format!("  {key} = {value}\n");
        }
    }
    text
}

/// A line of bars from the least to the greatest element; heights go by the logarithm, so that a few
/// outliers show.
fn plot(histogram: &Histogram) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = histogram.counts.iter().copied().max().unwrap_or(1).max(1) as f64;
    let bar = |&count: &u64| match count {
        0 => ' ',
        count => {
            let height = (count as f64 + 1.0).ln() / (most + 1.0).ln();
            BARS[((height * 8.0) as usize).min(7)]
        }
    };
    let bars: String = histogram.counts.iter().map(bar).collect();
    let odd = match histogram.non_finite {
        0 => String::new(),
        n => format!("  {n} not finite"),
    };
    format!("{:.3e} |{bars}| {:.3e}{odd}", histogram.min, histogram.max)
}

pub(crate) fn print(driver: &Driver, args: &PrintArgs, output: &Output) -> Outcome {
    mlc_driver::check_output(&args.output, args.force)?;
    let from = kind(args.from.as_ref())?;
    let text = driver.print(&args.input, from, args.function.as_deref(), args.locations)?;
    let to_stdout = args.output.as_os_str() == "-";
    if !to_stdout {
        mlc_driver::write_text(&args.output, text.as_bytes(), args.force)?;
    }
    let report =
        json!({ "output": args.output.to_string_lossy(), "text": to_stdout.then_some(&text) });
    output.report("print", &report, &Diagnostics::new(), || match to_stdout {
        true => output.product(text.as_bytes()),
        false => Ok(()),
    })
}

pub(crate) fn dump(args: &DumpArgs, output: &Output) -> Outcome {
    let text = mlc_driver::dump(&args.input)?;
    let report = json!({ "text": String::from_utf8_lossy(&text) });
    output.report("dump", &report, &Diagnostics::new(), || output.product(&text))
}

pub(crate) fn completions(args: &CompletionsArgs, output: &Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mlc", &mut script);
    let report = json!({ "script": String::from_utf8_lossy(&script) });
    output.report("completions", &report, &Diagnostics::new(), || output.product(&script))
}

/// A class by its label, or classes with their numbers, the greatest first.
fn labelled(out: &OutputReport) -> String {
    let numbers = out.array.to_f64s().unwrap_or_default();
    if numbers.is_empty() {
        return format!("{} {}  {}\n", out.name, out.dtype, out.labels.join(" "));
    }
    let mut entries: Vec<(&String, f64)> = out.labels.iter().zip(numbers).collect();
    entries.sort_by(|a, b| b.1.total_cmp(&a.1));
    let most = 8;
    let shown = entries.iter().take(most).map(|(label, x)| format!("{label} {x}"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    let rest = if entries.len() > most { " …" } else { "" };
    format!("{} {} of {}\n  {shown}{rest}\n", out.name, out.dtype, entries.len())
}
