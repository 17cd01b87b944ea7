//! `ops`, `targets`, `passes`, `rules`, `codes`, `explain`.

use mlc_diag::Diagnostics;
use mlc_driver::{Driver, Rewriting, RewrittenOp};
use serde_json::json;

use crate::Outcome;
use crate::args::{ExplainArgs, FrontendArg, OpsArgs, RulesArgs};
use crate::render::{Output, say};

fn torch(driver: &Driver, output: &Output) -> Outcome {
    let report = driver.torch_coverage();
    output.report("ops", &report, &Diagnostics::new(), || {
        let missing = report.core_missing.iter().map(|name| format!("{name} (no lowering)"));
        let rows: Vec<String> = report.ops.iter().cloned().chain(missing).collect();
        output.product((rows.join("\n") + "\n").as_bytes())?;
        say(&format!(
            "{} ops; {} of {} overloads of the Core ATen opset",
            report.ops.len(),
            report.core_covered,
            report.core
        ));
        Ok(())
    })
}

pub(crate) fn ops(driver: &Driver, args: &OpsArgs, output: &Output) -> Outcome {
    match args.from {
        Some(FrontendArg::Torch) => return torch(driver, output),
        Some(FrontendArg::Tensorflow) => {
            let names = driver.tensorflow_coverage();
            return output.report(
                "ops",
                &json!({ "frontend": "tensorflow", "ops": names }),
                &Diagnostics::new(),
                || output.product((names.join("\n") + "\n").as_bytes()),
            );
        }
        None => {}
    }
    let rows = mlc_driver::ops_table();
    output.report("ops", &rows, &Diagnostics::new(), || {
        let mut text = format!("{:<40} {:<6} {:<16} family(operands) {{attributes}}\n", "op", "since", "made by");
        for row in &rows {
            let since = row.since.as_deref().unwrap_or("-");
            let made = if row.frontends.is_empty() { "-".to_owned() } else { row.frontends.join(" ") };
            let operands = row.operands.join(", ");
            text += &format!("{:<40} {since:<6} {made:<16} {}({operands})", row.name, row.family);
            if !row.attributes.is_empty() {
                text += &format!(" {{{}}}", row.attributes.join(", "));
            }
            text.push('\n');
        }
        text += &format!("\n{} ops", rows.len());
        for frontend in mlc_driver::frontends() {
            let made = rows.iter().filter(|row| row.frontends.contains(&frontend)).count();
            text += &format!("; lowerings of {frontend} make {made}");
        }
        text += "\n`mlc ops --from FRONTEND` lists the ops that a frontend reads, `mlc explain OP` says what one means\n";
        output.product(text.as_bytes())
    })
}

pub(crate) fn targets(output: &Output) -> Outcome {
    let rows = mlc_driver::targets_table();
    output.report("targets", &rows, &Diagnostics::new(), || {
        let mut text = String::new();
        for row in &rows {
            text += &format!(
                "{:<6} specification {:<2} {}  {} new ops  {}\n",
                row.name,
                row.specification,
                row.opset,
                row.new_ops.len(),
                row.names.join(" ")
            );
        }
        output.product(text.as_bytes())
    })
}

pub(crate) fn passes(driver: &Driver, output: &Output) -> Outcome {
    let rows = driver.passes().list();
    output.report("passes", &rows, &Diagnostics::new(), || {
        let mut text = String::new();
        for row in &rows {
            let phase = if row.phase.is_empty() { "alias" } else { row.phase };
            text += &format!("{:<24} {phase:<12} {:<14} {}\n", row.name, row.origin, row.summary);
            for option in &row.options {
                let value = format!("{}={}", option.name, option.default);
                text += &format!("    {value:<32} {}\n", option.doc);
            }
        }
        output.product(text.as_bytes())
    })
}

pub(crate) fn rules(driver: &Driver, args: &RulesArgs, output: &Output) -> Outcome {
    let rewriting =
        Rewriting { files: args.rules.clone(), thorough: args.check_rules, ..Rewriting::default() };
    let rows = mlc_driver::rules_table(driver, &rewriting)?;
    output.report("rules", &rows, &Diagnostics::new(), || {
        let mut text = String::new();
        for row in &rows {
            text += &format!(
                "{:<32} {:<14} {:<10} {}\n",
                row.name, row.family, row.origin, row.equation
            );
        }
        output.product(text.as_bytes())
    })
}

/// A line for each op and the rules that made it.
pub(crate) fn rewrites(rows: &[RewrittenOp]) -> String {
    let line = |row: &RewrittenOp| {
        let rules = match row.rules.is_empty() {
            true => "no rule".to_owned(),
            false => row.rules.join(", "),
        };
        format!("{:<32} {:<24} {:<32} {rules}\n", row.op, row.value, row.place)
    };
    rows.iter().map(line).collect()
}

pub(crate) fn codes(output: &Output) -> Outcome {
    let rows = mlc_driver::codes_table();
    output.report("codes", &rows, &Diagnostics::new(), || {
        let mut text = String::new();
        for row in &rows {
            text += &format!(
                "{:<24} {:<8} exit {:<3} {:<10} since {}\n",
                row.code, row.severity, row.exit, row.group, row.since
            );
        }
        output.product(text.as_bytes())
    })
}

pub(crate) fn explain(driver: &Driver, args: &ExplainArgs, output: &Output) -> Outcome {
    let page = mlc_driver::explain(driver, &args.name)?;
    output.report(
        "explain",
        &json!({ "name": args.name, "page": page }),
        &Diagnostics::new(),
        || output.product(page.as_bytes()),
    )
}
