//! Everything `mlc` does, as functions over typed options: the command line only parses and prints.
//!
//! A [`Driver`] holds the passes and lowerings that are linked in; a driver of one's own adds to them
//! from an explicit list. Each command gives a report that serializes, and diagnostics.
//!
//! **Invariant:** an output appears whole under its name, or not at all.
//! **Invariant:** nothing here depends on the clock, on environment variables or on the order of a
//! hash map, but for the times that reports carry.

mod compare;
mod compress;
mod convert;
mod feature;
mod feed;
mod forecast;
mod guards;
mod image;
mod input;
mod inspect;
mod interface;
mod levels;
mod lowered;
mod lowering;
mod masks;
mod memory;
mod npy;
mod opt;
mod origin;
mod output;
mod overflow;
mod pipeline;
mod reduce;
mod reference;
mod rewriting;
mod run;
mod search;
mod sizes;
mod tables;
mod verify;

use mlc_diag::Diagnostics;
use mlc_pass::Registry;

pub use memory::peak_memory;
pub use mlc_ir::request::RequestError;
pub use mlc_ir::{AxisRequest, InputRequest};
pub use mlc_pass::{
    Meter, Observer, PassList, Preset, PrintWhen, RunOptions as PassRunOptions, VerifyEach,
};
pub use mlc_target::Target;
pub use mlc_torch::lower::registry::Lowering;
pub use mlc_torch::lower::{LowerOptions, StateMode};

pub use compare::{Distance, Tolerance, distance};
pub use compress::{
    Budget, CompressOptions, CompressReport, CurvePoint, Goal, Recipe, Rule, WeightRow, csv,
};
pub use convert::{AUTO_DB, ConvertOptions, ConvertReport, Precision, Stages, TargetReport};
pub use feature::{FeatureReport, FlexibleReport};
pub use feed::{Feed, FeedArray, parse as parse_feed, read_safetensors};
pub use input::{Kind, Loaded, SourceOptions, sniff};
pub use inspect::{Histogram, InspectReport, StateReport, dump};
pub use interface::{
    Channels, ClassifierRequest, ImageRequest, InterfaceOptions, Labels, OutputRequest,
};
pub use levels::{Level, Levels};
pub use lowering::Lowerings;
pub use opt::{OptOptions, OptReport, PassRunReport};
pub use origin::Origin;
pub use output::{check_output, write_text};
pub use reduce::{Fault, ReduceOptions, ReduceReport};
pub use rewriting::{Rewriting, RewrittenOp};
pub use run::{OutputReport, RunOptions, RunReport};
pub use search::SearchReport;
pub use tables::{
    CodeRow, FrontendReport, OpRow, RuleRow, TargetRow, codes_table, explain, frontends, ops_table,
    rules_table, targets_table,
};
pub use verify::{SampleReport, VerifyOptions, VerifyReport, verify_programs};

/// The passes and lowerings that are linked in.
pub struct Driver {
    passes: Registry,
    lowerings: mlc_torch::lower::registry::Registry,
    tensorflow_lowerings: mlc_tensorflow::lower::registry::Registry,
    /// Of files with lowerings.
    digests: Vec<String>,
}

impl Driver {
    /// The same with lowerings of one's own; they replace those of the same name.
    #[must_use]
    pub fn with_lowerings(mut self, extra: &[&[Lowering]]) -> Self {
        for list in extra {
            self.lowerings = self.lowerings.with(list);
        }
        self
    }

    /// The same with the lowerings of text files, which come before all others.
    #[must_use]
    pub fn with_files(mut self, files: &Lowerings) -> Self {
        self.lowerings = self.lowerings.with_custom(&files.ops);
        self.digests.extend_from_slice(&files.digests);
        self
    }

    /// The passes of the project and those of `extra`.
    ///
    /// # Errors
    /// Two passes have one name.
    pub fn new(extra: &[PassList]) -> Result<Self, Diagnostics> {
        let mut lists = vec![
            mlc_cleanup::PASSES,
            mlc_fuse::PASSES,
            mlc_precision::PASSES,
            mlc_prune::PASSES,
            mlc_palettize::PASSES,
            mlc_quantize::PASSES,
            mlc_layout::PASSES,
            mlc_legalize::PASSES,
        ];
        lists.extend_from_slice(extra);
        Ok(Self {
            passes: Registry::new(&lists)?,
            lowerings: mlc_torch::lower::registry(),
            tensorflow_lowerings: mlc_tensorflow::lower::registry(),
            digests: Vec::new(),
        })
    }

    /// The passes.
    #[must_use]
    pub fn passes(&self) -> &Registry {
        &self.passes
    }

    /// The rewrite rules, by family.
    #[must_use]
    pub fn rules(&self) -> &'static [mlc_egraph::Family] {
        mlc_fuse::FAMILIES
    }

    /// The lowerings of ATen ops.
    #[must_use]
    pub fn lowerings(&self) -> &mlc_torch::lower::registry::Registry {
        &self.lowerings
    }

    /// The lowerings of ops of TensorFlow.
    #[must_use]
    pub fn tensorflow_lowerings(&self) -> &mlc_tensorflow::lower::registry::Registry {
        &self.tensorflow_lowerings
    }
}
