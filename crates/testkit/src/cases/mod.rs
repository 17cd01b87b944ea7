//! Folders of real models and single ops with reference outputs.
//!
//! A case is converted, the package is read back, and every call of its references is evaluated and
//! compared: by the rules that the folder's README states ([`compare`]). What was reached, for each
//! target and precision, makes a table by family ([`totals`]) and a table by model ([`table`]).

pub mod ablation;
pub mod calls;
pub mod collect;
pub mod compare;
pub mod levels;
pub mod op_counts;
pub mod outcome;
pub mod run;
pub mod table;
mod tensorflow;
pub mod totals;

use mlc_driver::Precision;
use mlc_target::Opset;

/// Up to where a case is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Stage {
    /// The file is read and lowered.
    Import,
    /// The lowered program is evaluated and compared.
    Eval,
    /// It is converted, and what comes out evaluated and compared, without a package.
    Convert,
    /// A package is written, read back, evaluated and compared.
    Emit,
}

/// What a case is converted for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// The version of Core ML.
    pub opset: Opset,
    /// The float type.
    pub precision: Precision,
}

impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.opset, self.precision.as_str())
    }
}
