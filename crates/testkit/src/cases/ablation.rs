//! What each family of rules is worth, and the e-graph itself: op counts and modelled costs of the models
//! with it and without.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Instant;

use mlc_diag::Diagnostics;
use mlc_driver::{Driver, LowerOptions, SourceOptions};
use mlc_pass::{PassManager, Pipeline};
use mlc_target::cost::DEVICES;

use super::collect::Case;

/// A way to optimize.
struct Variant {
    name: String,
    pipeline: Pipeline,
}

/// What is rewritten before and after rules.
fn around(middle: &str) -> Result<Pipeline, Diagnostics> {
    Pipeline::parse(&format!("cleanup,sink-transposes,{middle}cleanup"))
}

/// Everything, everything greedily, nothing, and all but one family each.
fn variants(driver: &Driver) -> Result<Vec<Variant>, Diagnostics> {
    let names: Vec<&str> = driver.rules().iter().map(|family| family.name).collect();
    let mut all = vec![
        ("all rules".to_owned(), "egraph{target=ios18},".to_owned()),
        ("all rules, greedy, one walk".to_owned(), "egraph{target=ios18,greedy=true},".to_owned()),
        (
            "all rules, greedy, to the end".to_owned(),
            "fix(egraph{target=ios18,greedy=true},identity-removal,cse),".to_owned(),
        ),
        ("no rules".to_owned(), String::new()),
    ];
    for left_out in &names {
        let others: Vec<&str> = names.iter().copied().filter(|name| name != left_out).collect();
        let pass = format!("egraph{{target=ios18,families=[{}]}},", others.join(","));
        all.push((format!("without {left_out}"), pass));
    }
    all.into_iter().map(|(name, middle)| Ok(Variant { name, pipeline: around(&middle)? })).collect()
}

/// Sums over the models for one variant.
#[derive(Default)]
struct Sums {
    ops: f64,
    cost: f64,
    seconds: f64,
    more: usize,
    failed: usize,
}

/// A table: for each variant the geometric means, over the models, of op count and modelled cost beside
/// those with all rules, how many models have more ops, and the time of the passes. One file of each model
/// is taken.
///
/// # Errors
/// The driver cannot be made.
pub fn ablation(cases: &[Case]) -> Result<String, Diagnostics> {
    let driver = Driver::new(&[])?;
    let variants = variants(&driver)?;
    let mut sums: Vec<Sums> = variants.iter().map(|_| Sums::default()).collect();
    let (mut seen, mut models) = (BTreeSet::new(), 0u32);
    for case in cases.iter().filter(|case| case.is_model()) {
        if !seen.insert(&case.name) {
            continue;
        }
        let options = SourceOptions {
            signature: case.signature.clone(),
            outputs: case.outputs.clone(),
            lowering: LowerOptions::default(),
            ..SourceOptions::default()
        };
        let Ok(loaded) = driver.load_source(&case.file, None, &options) else { continue };
        models += 1;
        let mut whole = None;
        for (variant, sums) in variants.iter().zip(&mut sums) {
            let mut program = loaded.program.clone();
            let start = Instant::now();
            if PassManager::new(driver.passes()).run(&variant.pipeline, &mut program).is_err() {
                sums.failed += 1;
                continue;
            }
            sums.seconds += start.elapsed().as_secs_f64();
            let own = (program.op_count(), mlc_egraph::program_cost(&program, &DEVICES[0]).max(1));
            let (ops, cost) = *whole.get_or_insert(own);
            sums.ops += (own.0.max(1) as f64 / ops.max(1) as f64).ln();
            sums.cost += (own.1 as f64 / cost as f64).ln();
            sums.more += usize::from(own.0 > ops);
        }
    }
    let mut out = format!(
        "{models} models; op count and modelled cost are geometric means beside all rules\n\n\
         variant                            ops    cost  more ops  failed  seconds\n"
    );
    for (variant, sums) in variants.iter().zip(sums) {
        let n = f64::from(models).max(1.0) - sums.failed as f64;
        let _ = writeln!(
            out,
            "{:<32} {:>6.3} {:>7.3} {:>9} {:>7} {:>8.1}",
            variant.name,
            (sums.ops / n).exp(),
            (sums.cost / n).exp(),
            sums.more,
            sums.failed,
            sums.seconds
        );
    }
    Ok(out)
}
