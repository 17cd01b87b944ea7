//! Promise: text that is read prints to text that reads back and prints the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlc_text::{ParseOptions, PrintOptions};

fuzz_target!(|text: &str| {
    let Ok(parsed) = mlc_text::parse("fuzz", text, &ParseOptions::default()) else { return };
    let printed = mlc_text::print(&parsed.program, &PrintOptions::default());
    let again = mlc_text::parse("fuzz", &printed, &ParseOptions::default())
        .unwrap_or_else(|problems| panic!("{printed}\n{problems:?}"));
    assert_eq!(printed, mlc_text::print(&again.program, &PrintOptions::default()));
});
