//! `mlc reduce`.

use mlc_diag::Diagnostics;
use mlc_driver::{Driver, Fault, Kind, ReduceOptions};

use crate::Outcome;
use crate::args::ReduceArgs;
use crate::convert::bad;
use crate::progress::Shower;
use crate::render::{Output, say};

pub(crate) fn reduce(driver: &Driver, args: &ReduceArgs, output: &Output) -> Outcome {
    let fault = match (&args.check, &args.fails, &args.changes) {
        (Some(command), ..) => Fault::Command(command.clone()),
        (_, Some(pipeline), _) => Fault::Fails(pipeline.clone()),
        (.., Some(pipeline)) => Fault::Changes(pipeline.clone()),
        _ => return Err(bad("--check", "no fault is named").into()),
    };
    let options = ReduceOptions {
        input: args.input.clone(),
        output: args.output.clone(),
        from: args.from.as_deref().map(str::parse::<Kind>).transpose()?,
        fault,
        max_ops: args.max_ops,
        max_checks: args.max_checks,
        seed: args.seed,
        force: args.force,
    };
    let mut shower = Shower::new(output);
    let result = driver.reduce(&options, &mut shower);
    shower.finish();
    let report = result?;
    output.report("reduce", &report, &Diagnostics::new(), || {
        if let Some(text) = &report.text {
            output.product(text.as_bytes())?;
        }
        if !output.quiet {
            let end = if report.minimal { "nothing more can go" } else { "a limit was reached" };
            say(&format!(
                "  {} ops → {}, {} checks, {} with the fault: {end}",
                report.ops_before, report.ops, report.checks, report.steps
            ));
        }
        Ok(())
    })
}
