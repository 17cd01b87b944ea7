//! `mlc opt`.

use mlc_driver::{Driver, Kind, OptOptions, OptReport, PassRunOptions, PrintWhen, VerifyEach};
use serde_json::json;

use crate::Outcome;
use crate::args::{OptArgs, Shared, VerifyEachArg};
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

pub(crate) fn opt(driver: &Driver, args: &OptArgs, shared: &Shared, output: &Output) -> Outcome {
    let run = PassRunOptions {
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
        seed: args.seed,
        ..PassRunOptions::default()
    };
    let options = OptOptions {
        input: args.input.clone(),
        output: args.output.clone(),
        from: args.from.as_deref().map(str::parse::<Kind>).transpose()?,
        passes: args.passes.clone(),
        rewriting: convert::rewriting(&args.rewriting),
        explain_rewrites: args.rewriting.explain_rewrites.clone(),
        run,
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
        if args.time_passes || args.pass_stats {
            table(&report, args.time_passes);
        }
        for line in tables::rewrites(&report.rewrites).lines() {
            say(line);
        }
        Ok(())
    })
}

fn document(report: &OptReport) -> serde_json::Value {
    let runs: Vec<_> = report
        .passes
        .runs
        .iter()
        .map(|run| {
            json!({
                "pass": run.pass,
                "changed": run.changed,
                "ops_before": run.ops_before,
                "ops_after": run.ops_after,
                "counters": run.counters,
                "seconds": run.time.map(|t| t.as_secs_f64()),
            })
        })
        .collect();
    json!({
        "pipeline": report.pipeline,
        "runs": runs,
        "cut": report.passes.cut,
        "rewrites": report.rewrites,
        "text": report.text,
    })
}

fn table(report: &OptReport, timing: bool) {
    let unit = if timing { "ms" } else { "" };
    say(&format!("{:<24} {:>8} {:>8} {unit:>8}", "pass", "before", "after"));
    for run in &report.passes.runs {
        let time =
            run.time.map_or_else(String::new, |time| format!("{:.2}", time.as_secs_f64() * 1e3));
        let counters: Vec<String> = run.counters.iter().map(|(k, v)| format!("{k}={v}")).collect();
        say(&format!(
            "{:<24} {:>8} {:>8} {time:>8}  {}",
            run.pass,
            run.ops_before,
            run.ops_after,
            counters.join(" ")
        ));
    }
    if report.passes.cut > 0 {
        say(&format!("{} passes cut by --bisect-limit", report.passes.cut));
    }
}
