//! What a target takes.
//!
//! **Invariant:** after the passes of `legalize` for a target, every op is one that the target's opset
//! has, with arguments it takes, or the pipeline ended with an error that names the op.

mod choose;
mod einsum;
mod high_moves;
mod high_rank;
mod legality;
mod names;
mod narrow;
mod requirement;
mod respell;
mod sentinel;
mod shape_vector;
mod spell;
mod spread;
mod stored;

mod bounds;
mod engine_attention;
mod feature_types;
mod legal_dtypes;
mod naming;
mod narrow_types;
mod older_ops;
mod opset;
mod ranks;
mod select_shapes;
mod state_types;

use mlc_pass::{Alias, PassEntry, PassList, Property};

pub use bounds::Bounds;
pub use engine_attention::EngineAttention;
pub use feature_types::FeatureTypes;
pub use legal_dtypes::LegalDtypes;
pub use legality::{Refusal, accepts, data_type};
pub use names::legal;
pub use naming::Naming;
pub use narrow_types::NarrowTypes;
pub use older_ops::OlderOps;
pub use opset::OpsetCheck;
pub use ranks::Ranks;
pub use requirement::{Reason, Requirement, required_opset};
pub use select_shapes::SelectShapes;
pub use state_types::StateTypes;

/// Every tensor is of f16, f32, i32 or bool, stored weights aside.
pub const CORE_DTYPES: Property = Property("core-dtypes");

/// No tensor has more than five axes.
pub const LOW_RANKS: Property = Property("low-ranks");

/// The passes of this crate.
pub const PASSES: PassList = PassList {
    passes: &[
        PassEntry::of::<Bounds>("Symbolic extents of inputs have an upper bound.")
            .source(include_str!("bounds.rs")),
        PassEntry::of::<EngineAttention>(
            "Attention of transposed operands is spelled as products, which take them either way.",
        )
        .source(include_str!("engine_attention.rs")),
        PassEntry::of::<FeatureTypes>("Inputs and outputs are of types that the target takes.")
            .source(include_str!("feature_types.rs")),
        PassEntry::of::<LegalDtypes>("Operands are of types that the target's ops take.")
            .source(include_str!("legal_dtypes.rs")),
        PassEntry::of::<Naming>("Every value has a name that the package format accepts.")
            .source(include_str!("naming.rs")),
        PassEntry::of::<NarrowTypes>("Elements are f16, f32, i32 or bool.")
            .source(include_str!("narrow_types.rs")),
        PassEntry::of::<OlderOps>("Ops that the target does not have are spelled in ones it has.")
            .source(include_str!("older_ops.rs")),
        PassEntry::of::<OpsetCheck>(
            "The target takes every op, or what it does not take is named.",
        )
        .source(include_str!("opset.rs")),
        PassEntry::of::<Ranks>("Tensors have at most five axes, inputs at least one.")
            .source(include_str!("ranks.rs")),
        PassEntry::of::<SelectShapes>("A `select` has branches of the shape of its result.")
            .source(include_str!("select_shapes.rs")),
        PassEntry::of::<StateTypes>("States are of f16 and have an axis.")
            .source(include_str!("state_types.rs")),
    ],
    aliases: &[Alias {
        name: "legalize",
        pipeline: "bounds,narrow-types,state-types,ranks,feature-types,older-ops,select-shapes,legal-dtypes,opset,naming",
        summary: "The program is one that the target takes.",
    }],
};
