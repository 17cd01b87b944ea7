//! Passes, pipelines of them, and the manager that runs them.
//!
//! Words: a [`Pass`] changes a program; a [`Pipeline`] says which passes run, in which order and with
//! which options, as text; a [`Registry`] knows passes by name; a [`PassManager`] runs a pipeline and
//! does everything around a pass: verification, clean-up, dumps, counts, limits, reproducers.
//!
//! A crate of passes exports a [`PassList`]; a driver makes a [`Registry`] from the lists it wants:
//!
//! ```text
//! let registry = Registry::new(&[mlc_cleanup::PASSES, my_passes::PASSES])?;
//! let pipeline = Pipeline::parse("cleanup,fix(fold,my-pass{limit=3})")?;
//! let report = PassManager::new(&registry).run(&pipeline, &mut program)?;
//! ```
//!
//! **Invariant:** this crate computes with no tensor element; numbers are compared through
//! [`NumbersCheck`].
//! **Invariant:** no pass verifies, dumps, times or removes dead ops by itself.

mod cx;
mod manager;
mod observe;
mod options;
mod parse;
mod pass;
mod pipeline;
mod plan;
mod presets;
mod rebuild;
mod registry;
mod replay;
mod select;

pub use cx::{PassCx, Record};
pub use manager::{Failure, PassManager, PassRun, Report, RunOptions};
pub use observe::{Meter, NumbersCheck, Observer, PrintWhen, Printer, VerifyEach};
pub use options::{OptionValue, Options};
pub use pass::{Changed, Numerics, Pass, PassError, Phase, Property, Result};
pub use pipeline::{Item, PassCall, Pipeline};
pub use presets::{Preset, preset};
pub use rebuild::{Rebuild, Step, append_like, rebuild};
pub use registry::{Alias, Listed, ListedKind, ListedOption, PassEntry, PassList, Registry};
pub use replay::Replay;
pub use select::Selector;
