//! The pass `inline-branches`.

use mlc_ir::{Action, Builder, Node, Op, Program, Region};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

use crate::inline::{apart, inline};
use crate::rewrite;

/// Puts a branch whose condition is a constant in the place of the `cond`.
///
/// ```mlc before
/// func @f(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
///   %1 = const true : bool
///   %y = cond %1 {
///     %2 = sin %x
///     yield %2
///   } {
///     %3 = cos %x
///     yield %3
///   }
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
///   %y = sin %x
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InlineBranches {}

impl Pass for InlineBranches {
    fn name(&self) -> &'static str {
        "inline-branches"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        rewrite(program, cx, None, &mut |b, node, yields| {
            let Some(region) = taken(b, node) else { return Ok(Action::Keep) };
            let start = b.function().regions[b.region].nodes.len();
            let Ok(values) = inline(b, region, &[]) else { return Ok(Action::Keep) };
            Ok(Action::Replace(apart(b, (node, start), values, yields)?))
        })
    }
}

/// The region of a `cond` that is always the one that runs.
fn taken(b: &Builder<'_>, node: Node) -> Option<Region> {
    let data = &b.function().nodes[node];
    let Op::Cond(_) = data.op else { return None };
    let known = b.constant_of(*data.operands.slot(0).first()?)?.bytes().ok()?;
    data.regions.get(usize::from(known.first()? == &0)).copied()
}
