//! `run`, `verify`, `inspect`, `print`, `dump`, `completions`.

use std::path::Path;

use clap::CommandFactory;
use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_driver::{Driver, FeatureReport, InspectReport, Kind, RunOptions, VerifyOptions};

use crate::Outcome;
use crate::args::{Cli, CompletionsArgs, DumpArgs, InspectArgs, PrintArgs, RunArgs, VerifyArgs};
use crate::convert::{bad, pair, tolerance};
use crate::render::Output;
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
    output.report("run", &report, &Diagnostics::new(), || {
        let mut text = String::new();
        for out in &report.outputs {
            let dims: Vec<String> = out.shape.iter().map(ToString::to_string).collect();
            let first: Vec<String> = out.first.iter().map(|x| format!("{x}")).collect();
            let odd = match out.non_finite {
                0 => String::new(),
                n => format!(", {n} not finite"),
            };
            text += &format!(
                "{} {}[{}]  min {} max {} mean {:.6}{odd}\n  {}{}\n",
                out.name,
                out.dtype,
                dims.join(","),
                out.min,
                out.max,
                out.mean,
                first.join(" "),
                if out.shape.iter().product::<usize>() > first.len() { " …" } else { "" }
            );
        }
        output.product(text.as_bytes());
    });
    Ok(())
}

pub(crate) fn verify(driver: &Driver, args: &VerifyArgs, output: &Output) -> Outcome {
    let options = VerifyOptions {
        samples: args.samples,
        tolerance: tolerance("--tolerance", &args.tolerance)?,
        seed: args.seed,
        steps: args.steps,
    };
    let report = driver.verify(&args.input, &args.source, kind(args.from.as_ref())?, &options)?;
    output.report("verify", &report, &Diagnostics::new(), || {
        for (i, sample) in report.samples.iter().enumerate() {
            for (name, d) in &sample.outputs {
                eprintln!(
                    "  input {i}  {name}: SNR {:.1} dB, relative {:.1e}, max |Δ| {:.1e}",
                    d.snr_db, d.relative, d.max_abs
                );
            }
        }
        eprintln!("  ok ({})", report.tolerance);
    });
    Ok(())
}

pub(crate) fn inspect(driver: &Driver, args: &InspectArgs, output: &Output) -> Outcome {
    let report = driver.inspect(&args.input, kind(args.from.as_ref())?)?;
    output.report("inspect", &report, &report.diagnostics, || {
        output.product(inspect_text(&report, args).as_bytes());
    });
    Ok(())
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
                for FeatureReport { name, ty } in features {
                    text += &format!("  {word:<7} {name} {ty}\n");
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
            text += &format!("  {:>10} {} {}\n", bytes(weight.bytes), weight.ty, weight.name);
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

pub(crate) fn print(driver: &Driver, args: &PrintArgs, _: &Output) -> Outcome {
    let from = kind(args.from.as_ref())?;
    let text = driver.print(&args.input, from, args.function.as_deref(), args.locations)?;
    mlc_driver::write_text(&args.output, text.as_bytes(), args.force)
}

pub(crate) fn dump(args: &DumpArgs, output: &Output) -> Outcome {
    output.product(&mlc_driver::dump(&args.input)?);
    Ok(())
}

pub(crate) fn completions(args: &CompletionsArgs) -> Outcome {
    clap_complete::generate(args.shell, &mut Cli::command(), "mlc", &mut std::io::stdout());
    Ok(())
}
