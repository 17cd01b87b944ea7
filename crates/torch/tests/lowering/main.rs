//! Small ATen graphs, lowered and evaluated; the wanted numbers are worked out by hand.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where its graph cannot be evaluated"
)]

mod support;

mod control;
mod indexing;
mod memory;
mod networks;
mod resizing;
mod state;
