//! What a pass sees besides the program.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use mlc_diag::{Diagnostic, Diagnostics};
use mlc_ir::{FuncId, Program};
use serde::Serialize;

use crate::observe::Meter;

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
    pub(crate) given: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) meter: Option<Arc<dyn Meter>>,
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

    /// What whoever runs the pipeline measured of the program, if it is of this type; see
    /// [`PassManager::given`](crate::PassManager::given).
    #[must_use]
    pub fn given<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.given.as_deref()?.downcast_ref()
    }

    /// The same surroundings with something measured.
    #[must_use]
    pub fn with_given(mut self, given: Arc<dyn Any + Send + Sync>) -> Self {
        self.given = Some(given);
        self
    }

    /// Where a pass of many parts tells, from any thread, how far it is.
    #[must_use]
    pub fn meter(&self) -> Option<&dyn Meter> {
        self.meter.as_deref()
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
