//! Promise: every pipeline of clean-up passes keeps what a program computes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlc_driver::{Driver, Tolerance, VerifyOptions, verify_programs};
use mlc_pass::{PassManager, Pipeline};
use mlc_text::ParseOptions;

fuzz_target!(|text: &str| {
    let Ok(parsed) = mlc_text::parse("fuzz", text, &ParseOptions::default()) else { return };
    let Some((_, function)) = parsed.program.functions.iter().next() else { return };
    let name = function.name.clone();
    let options =
        VerifyOptions { samples: 1, tolerance: Tolerance::Relative(1e-3), seed: 0, steps: 1 };
    if verify_programs(&parsed.program, &parsed.program, &name, &options).is_err() {
        return;
    }
    let driver = Driver::new(&[]).expect("the passes of the project");
    let pipeline = Pipeline::parse("cleanup").expect("an alias of the project");
    let mut after = parsed.program.clone();
    PassManager::new(driver.passes()).run(&pipeline, &mut after).expect("clean-up does not fail");
    verify_programs(&parsed.program, &after, &name, &options)
        .unwrap_or_else(|problems| panic!("{problems:?}"));
});
