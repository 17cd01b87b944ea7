//! The `mlc` command as its users meet it: exit codes, messages, files.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where its folder or its command cannot be had"
)]

mod codes;
mod compress;
mod config;
mod convert;
mod features;
mod filter;
mod inputs;
mod interrupted;
mod json;
mod lowering;
mod outputs;
mod packages;
mod passes;
mod precision;
mod reduce;
mod rules;
mod run;
mod states;
mod support;
mod usage;
