//! Promise: a valid program that passes the check is emitted, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlc_coreml::emit::{EmitOptions, check, emit};
use mlc_coreml::package::Existing;
use mlc_target::Opset;
use mlc_text::ParseOptions;

fuzz_target!(|text: &str| {
    let Ok(parsed) = mlc_text::parse("fuzz", text, &ParseOptions::default()) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for opset in Opset::ALL {
        let options = EmitOptions::new(opset);
        if check(&parsed.program, &options).has_errors() {
            continue;
        }
        let goal = folder.path().join(format!("{opset}.mlpackage"));
        emit(&parsed.program, &goal, &options, Existing::Refuse)
            .unwrap_or_else(|problems| panic!("{problems:?}"));
    }
});
