//! What a pass sees besides the program.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, Diagnostics};
use mlc_ir::{FuncId, Program};
use serde::Serialize;

/// What a pass did to one thing, such as a weight, for a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// What it did it to.
    pub name: String,
    /// What it did, and what came of it, by name.
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// The surroundings of one run of a pass.
#[derive(Debug, Default)]
pub struct PassCx {
    only: Option<FuncId>,
    seed: u64,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) counters: BTreeMap<&'static str, u64>,
    pub(crate) records: Vec<Record>,
}

impl PassCx {
    /// Surroundings for a pass that runs alone, such as in a test.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn of(only: Option<FuncId>, seed: u64) -> Self {
        Self { only, seed, ..Self::default() }
    }

    /// The functions to change: all, or the one of the `func NAME(...)` around the pass.
    #[must_use]
    pub fn functions(&self, program: &Program) -> Vec<FuncId> {
        match self.only {
            Some(one) => vec![one],
            None => program.func_ids().collect(),
        }
    }

    /// The seed of everything random.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Tells the user something; the pass goes on.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Adds to a number that `--pass-stats` shows.
    pub fn count(&mut self, what: &'static str, by: u64) {
        if by > 0 {
            *self.counters.entry(what).or_default() += by;
        }
    }

    /// Adds a row to the table of what the pass did.
    pub fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// The rows so far.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What was reported so far.
    #[must_use]
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }
}
