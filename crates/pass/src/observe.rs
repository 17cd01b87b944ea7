//! What a driver can look at while a pipeline runs.

use std::fmt;
use std::sync::Arc;

use mlc_diag::Diagnostics;
use mlc_ir::Program;

use crate::pass::Numerics;

/// Prints a program as text that reads back.
pub type Printer = fn(&Program) -> String;

/// Before or after which passes the program is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PrintWhen {
    /// None.
    #[default]
    Never,
    /// Each.
    All,
    /// Each that changed something; before passes the same as never.
    Changed,
    /// Passes or aliases of these names.
    Named(Vec<String>),
}

impl PrintWhen {
    pub(crate) fn wants(&self, pass: &str, alias: Option<&str>, changed: bool) -> bool {
        match self {
            Self::Never => false,
            Self::All => true,
            Self::Changed => changed,
            Self::Named(names) => names.iter().any(|n| n == pass || Some(n.as_str()) == alias),
        }
    }
}

/// What is checked after each pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum VerifyEach {
    /// The program is valid, where the pass changed it.
    #[default]
    Changed,
    /// The program is valid, and a pass that says it changed nothing changed nothing.
    Types,
    /// That, and the numbers are those from before.
    Numbers,
}

/// Compares the results of two programs.
pub trait NumbersCheck {
    /// Runs both on inputs made from `seed` and compares the outputs by position. Inputs and
    /// outputs may have other element types and names after the pass.
    ///
    /// # Errors
    /// What differs, as `verify-mismatch`, or why the programs cannot be run.
    fn compare(
        &mut self,
        before: &Program,
        after: &Program,
        numerics: Numerics,
        seed: u64,
    ) -> Result<(), Diagnostics>;
}

/// Sees passes start and programs shown.
pub trait Observer {
    /// Pass number `index` of `count` starts; in `fix` groups the same number comes again.
    fn start(&mut self, pass: &str, index: usize, count: usize) {
        let _ = (pass, index, count);
    }

    /// Where the pass that starts tells how far it is; nobody listens if `None`.
    fn meter(&mut self, pass: &str) -> Option<Arc<dyn Meter>> {
        let _ = pass;
        None
    }

    /// The program, under a heading such as `after fold`.
    fn show(&mut self, heading: &str, text: &str) {
        let _ = (heading, text);
    }
}

/// How far a pass is that takes long, in bytes of the tensors it works on.
pub trait Meter: fmt::Debug + Send + Sync {
    /// So many bytes are to be done in all.
    fn total(&self, bytes: u64);

    /// So many more are done; from any thread.
    fn done(&self, bytes: u64);
}

/// Sees nothing.
pub(crate) struct Blind;

impl Observer for Blind {}
