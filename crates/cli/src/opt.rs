//! `mlc opt`.

use mlc_driver::{
    Driver, Kind, OptOptions, OptReport, PassRunOptions, PassRunReport, PrintWhen, VerifyEach,
};
use serde_json::json;

use crate::Outcome;
use crate::args::{OptArgs, PassArgs, Shared, VerifyEachArg};
use crate::progress::Shower;
use crate::render::{Output, say};
use crate::{convert, tables};

fn when(names: &[String]) -> PrintWhen {
    match names {
        [] => PrintWhen::Never,
        names if names.iter().any(|n| n == "all") => PrintWhen::All,
        names if names.iter().any(|n| n == "changed") => PrintWhen::Changed,
        names => PrintWhen::Named(names.to_vec()),
    }
}

/// How the flags ask for a pipeline to be run.
pub(crate) fn run_options(args: &PassArgs, seed: u64) -> PassRunOptions {
    PassRunOptions {
        skip: args.skip.clone(),
        stop_after: args.stop_after.clone(),
        bisect_limit: args.bisect_limit,
        print_before: when(&args.print_before),
        print_after: when(&args.print_after),
        dump_dir: args.dump_dir.clone(),
        verify_each: match args.verify_each {
            None => VerifyEach::Changed,
            Some(VerifyEachArg::Types) => VerifyEach::Types,
            Some(VerifyEachArg::Numbers) => VerifyEach::Numbers,
        },
        timing: args.time_passes,
        reproducer: args.reproducer.clone(),
        seed,
        ..PassRunOptions::default()
    }
}

pub(crate) fn opt(driver: &Driver, args: &OptArgs, shared: &Shared, output: &Output) -> Outcome {
    let options = OptOptions {
        input: args.input.clone(),
        output: args.output.clone(),
        from: args.from.as_deref().map(str::parse::<Kind>).transpose()?,
        passes: args.passes.clone(),
        rewriting: convert::rewriting(&args.rewriting),
        explain_rewrites: args.rewriting.explain_rewrites.clone(),
        run: run_options(&args.run, args.seed),
        locations: args.print_locations,
        force: args.force,
        target: args.target.as_deref().map(convert::target).transpose()?.map(|t| t.opset()),
        replay: args.replay.clone(),
        levels: convert::levels(shared)?,
    };
    let mut shower = Shower::new(output);
    let result = driver.opt(&options, &mut shower);
    shower.finish();
    let report = result?;
    output.report("opt", &document(&report), &report.passes.diagnostics, || {
        if let Some(text) = &report.text {
            output.product(text.as_bytes())?;
        }
        table(&args.run, &PassRunReport::of(&report.passes), report.passes.cut);
        for line in tables::rewrites(&report.rewrites).lines() {
            say(line);
        }
        Ok(())
    })
}

fn document(report: &OptReport) -> serde_json::Value {
    json!({
        "pipeline": report.pipeline,
        "runs": PassRunReport::of(&report.passes),
        "cut": report.passes.cut,
        "rewrites": report.rewrites,
        "text": report.text,
    })
}

/// Prints what each pass did, and how long that took, where the flags ask for it.
pub(crate) fn table(args: &PassArgs, runs: &[PassRunReport], cut: usize) {
    if !(args.time_passes || args.pass_stats) {
        return;
    }
    let time = |seconds: Option<f64>| match seconds {
        Some(seconds) => format!("{:>10.2}", seconds * 1e3),
        None => String::new(),
    };
    let unit = if args.time_passes { format!("{:>10}", "ms") } else { String::new() };
    say(&format!("{:<24} {:>8} {:>8}{unit}  changed", "pass", "before", "after"));
    for run in runs {
        let mut notes = vec![if run.changed { "yes" } else { "no" }.to_owned()];
        if args.pass_stats {
            notes.extend(run.counters.iter().map(|(what, count)| format!("{what}={count}")));
        }
        say(&format!(
            "{:<24} {:>8} {:>8}{}  {}",
            run.pass,
            run.ops_before,
            run.ops_after,
            time(run.seconds),
            notes.join(" ")
        ));
    }
    if let (Some(first), Some(last)) = (runs.first(), runs.last()) {
        let total: Option<f64> = runs.iter().map(|run| run.seconds).sum();
        let (before, after) = (first.ops_before, last.ops_after);
        let line = format!("{:<24} {before:>8} {after:>8}{}", "total", time(total));
        say(line.trim_end());
    }
    if cut > 0 {
        say(&format!("{cut} passes cut by --bisect-limit"));
    }
}
