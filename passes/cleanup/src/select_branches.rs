//! The pass `select-branches`.

use mlc_ir::ops::Select;
use mlc_ir::{Action, Builder, Node, Op, Program, Region, Trait};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

use crate::inline::{apart, inline};
use crate::rewrite;

/// Computes both branches and selects, where the branches are a few ops on single elements: at most
/// `ops` in both, on values of at most `elements` elements.
///
/// ```mlc before
/// func @f(%x: tensor<2x8xf32>, %c: bool) -> tensor<2x8xf32> {
///   %y = cond %c {
///     %1 = sin %x
///     yield %1
///   } {
///     %2 = cos %x
///     yield %2
///   }
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x8xf32>, %c: bool) -> tensor<2x8xf32> {
///   %1 = sin %x
///   %2 = cos %x
///   %y = select %c, %1, %2
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectBranches {
    /// Most ops of both branches together.
    ops: usize,
    /// Most elements of a value of a branch.
    elements: u64,
}

impl Default for SelectBranches {
    fn default() -> Self {
        Self { ops: 4, elements: 1 << 16 }
    }
}

impl Pass for SelectBranches {
    fn name(&self) -> &'static str {
        "select-branches"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        rewrite(program, cx, Some(self.name()), &mut |b, node, yields| {
            let Some([yes, no]) = self.branches(b, node) else { return Ok(Action::Keep) };
            let start = b.function().regions[b.region].nodes.len();
            let pred = b.function().nodes[node].operands.all()[0];
            let (yes, no) = (inline(b, yes, &[])?, inline(b, no, &[])?);
            let mut values = Vec::new();
            for (yes, no) in yes.into_iter().zip(no) {
                values.push(if yes == no { yes } else { Select {}.build(b, pred, yes, no)? });
            }
            Ok(Action::Replace(apart(b, (node, start), values, yields)?))
        })
    }
}

impl SelectBranches {
    /// The branches of a `cond` that are cheap enough to run both.
    fn branches(&self, b: &Builder<'_>, node: Node) -> Option<[Region; 2]> {
        let data = &b.function().nodes[node];
        let (Op::Cond(_), &[yes, no]) = (&data.op, &data.regions[..]) else { return None };
        let count = self.cheap(b, yes)? + self.cheap(b, no)?;
        // A branch and what it holds are no fewer ops than the selections.
        let selected = data.results.len();
        (count <= self.ops && selected <= 1 && self.fits(b, yes) && self.fits(b, no))
            .then_some([yes, no])
    }

    /// The number of ops of a branch, if each computes single elements.
    fn cheap(&self, b: &Builder<'_>, region: Region) -> Option<usize> {
        let mut count = 0;
        for &node in &b.function().regions[region].nodes {
            let data = &b.function().nodes[node];
            let traits = data.op.spec().traits;
            match &data.op {
                Op::Const(_) => continue,
                // Divided by zero, a number without fraction has no result.
                Op::FloorDiv(_) | Op::Mod(_) | Op::RealDiv(_) => return None,
                _ if traits.has(Trait::Elementwise) && traits.has(Trait::Pure) => count += 1,
                _ => return None,
            }
            if !data.results.iter().all(|&value| self.is_small(b, value)) {
                return None;
            }
        }
        Some(count)
    }

    fn fits(&self, b: &Builder<'_>, region: Region) -> bool {
        b.function().regions[region].results.iter().all(|&value| self.is_small(b, value))
    }

    fn is_small(&self, b: &Builder<'_>, value: mlc_ir::Value) -> bool {
        let count = b.ty(value).as_tensor().and_then(|ty| ty.count().as_const());
        count.and_then(|n| u64::try_from(n).ok()).is_some_and(|n| n <= self.elements)
    }
}
