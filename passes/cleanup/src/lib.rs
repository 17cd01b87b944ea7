//! Passes that remove what computes nothing new.
//!
//! **Invariant:** each pass here leaves the value of every output as it was, bit for bit, but for the
//! rounding of constants that the evaluator folds.
//! **Invariant:** an output that is the result of an op stays one, and two outputs do not become one
//! value.

mod counters;
mod cse;
mod dce;
mod decompress_weights;
mod dedup_consts;
mod dequantize_to_constexpr;
mod fold;
mod hoist;
mod identity_removal;
mod inline;
mod inline_branches;
mod prune_loops;
mod select_branches;
mod single_parts;
mod unroll_loops;

use std::collections::BTreeSet;

use mlc_ir::{
    Action, Builder, Def, EntityId, Function, Node, Op, Program, Region, Rewriter, Value,
};
use mlc_pass::{Alias, Changed, PassCx, PassEntry, PassError, PassList, Result};

pub use cse::Cse;
pub use dce::Dce;
pub use decompress_weights::DecompressWeights;
pub use dedup_consts::DedupConsts;
pub use dequantize_to_constexpr::DequantizeToConstexpr;
pub use fold::Fold;
pub use hoist::Hoist;
pub use identity_removal::IdentityRemoval;
pub use inline_branches::InlineBranches;
pub use prune_loops::PruneLoops;
pub use select_branches::SelectBranches;
pub use single_parts::SingleParts;
pub use unroll_loops::UnrollLoops;

/// The passes of this crate.
pub const PASSES: PassList = PassList {
    passes: &[
        PassEntry::of::<Cse>("Nothing is computed twice.").source(include_str!("cse.rs")),
        PassEntry::of::<Dce>("Every op is needed for an output or a state.")
            .source(include_str!("dce.rs")),
        PassEntry::of::<DecompressWeights>("Stored weights are plain constants.")
            .source(include_str!("decompress_weights.rs")),
        PassEntry::of::<DedupConsts>("Constants of equal bytes are one.")
            .source(include_str!("dedup_consts.rs")),
        PassEntry::of::<DequantizeToConstexpr>("No constant is dequantized as the program runs.")
            .source(include_str!("dequantize_to_constexpr.rs")),
        PassEntry::of::<Fold>("What depends on constants alone is a constant.")
            .source(include_str!("fold.rs")),
        PassEntry::of::<Hoist>("No loop computes the same in every round.")
            .source(include_str!("hoist.rs")),
        PassEntry::of::<IdentityRemoval>("No op gives back its own operand.")
            .source(include_str!("identity_removal.rs")),
        PassEntry::of::<InlineBranches>("No branch has a constant condition.")
            .source(include_str!("inline_branches.rs")),
        PassEntry::of::<PruneLoops>("Every loop variable changes and is needed.")
            .source(include_str!("prune_loops.rs")),
        PassEntry::of::<SelectBranches>("No branch is a few ops on single elements.")
            .source(include_str!("select_branches.rs")),
        PassEntry::of::<SingleParts>("Every split has several parts that are used.")
            .source(include_str!("single_parts.rs")),
        PassEntry::of::<UnrollLoops>("No short loop has a known number of rounds.")
            .source(include_str!("unroll_loops.rs")),
    ],
    aliases: &[Alias {
        name: "cleanup",
        pipeline: "dequantize-to-constexpr,fix(identity-removal,fold,inline-branches,unroll-loops,cse),prune-loops,hoist,select-branches,single-parts,dedup-consts,dce",
        summary: "No op and no constant that could be left out.",
    }],
};

/// Shows each op of the functions that `cx` names to `each`, which may replace it; `marked` is the pass that
/// new ops are marked with.
fn rewrite(
    program: &mut Program,
    cx: &PassCx,
    marked: Option<&'static str>,
    each: &mut dyn FnMut(&mut Builder<'_>, Node, &mut Yields) -> Result<Action>,
) -> Result<Changed> {
    let mut changed = false;
    for func in cx.functions(program) {
        let mut yields = Yields::of(&program.functions[func]);
        changed |= Rewriter::run::<PassError>(program, func, marked, &mut |b, node| {
            each(b, node, &mut yields)
        })?;
    }
    Ok(Changed::from(changed))
}

/// What regions yield, so that replacing one value by another keeps outputs apart.
struct Yields {
    yielded: BTreeSet<Value>,
    /// The region of each op that was there at the start, by index of the op.
    homes: Vec<Option<Region>>,
}

impl Yields {
    fn of(function: &Function) -> Self {
        let mut homes = vec![None; function.nodes.len()];
        let mut regions = BTreeSet::from([function.body]);
        function.for_each_node(&mut |region, node| {
            homes[node.index()] = Some(region);
            regions.extend(&function.nodes[node].regions);
        });
        let yielded =
            regions.iter().flat_map(|&r| function.regions[r].results.iter().copied()).collect();
        Self { yielded, homes }
    }

    /// Whether all uses of `from`, a result of an op in the region of `b`, may become uses of `to`.
    /// Always if no region yields `from`; else if `to` is the result of another op of that region,
    /// no constant, and yielded nowhere.
    fn replace(&mut self, b: &Builder<'_>, from: Value, to: Value) -> bool {
        if !self.yielded.contains(&from) {
            return true;
        }
        let function = b.function();
        let Def::Result(node, _) = function.values[to].def else { return false };
        let at_home = self.homes.get(node.index()) == Some(&Some(b.region));
        let constant = matches!(function.nodes[node].op, Op::Const(_));
        at_home && !constant && self.yielded.insert(to)
    }

    /// [`Yields::replace`] by the result of an op that was made in the region of `from`, no constant.
    fn replace_by_new(&mut self, from: Value, to: Value) -> bool {
        !self.yielded.contains(&from) || self.yielded.insert(to)
    }
}
