//! Programs as packages and packages as programs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cases;
mod corrupt;
mod emit;
mod read;
mod support;
