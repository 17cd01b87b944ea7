//! Reads archives that the tests write, sound and broken ones.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where its archive cannot be written"
)]

mod archives;
mod broken;
mod mutated;
mod pickled;
mod scripts;
mod sound;
