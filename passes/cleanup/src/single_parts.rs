//! The pass `single-parts`.

use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{SliceByIndex, Split};
use mlc_ir::{Action, Builder, Node, Op, Program, Rewriter, Uses, Value};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Result};
use serde::{Deserialize, Serialize};

/// Cuts out the one part of a `split` that is used.
///
/// ```mlc before
/// func @f(%x: tensor<2x8xf32>) -> tensor<2x3xf32> {
///   %1, %2 = split %x {split_sizes = [3, 5], axis = 1}
///   %y = exp %1
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x8xf32>) -> tensor<2x3xf32> {
///   %1 = slice_by_index %x, [0, 0], [0, 3] {stride = [1, 1], begin_mask = [true, false], end_mask = [true, false]}
///   %y = exp %1
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SingleParts {}

impl Pass for SingleParts {
    fn name(&self) -> &'static str {
        "single-parts"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut changed = false;
        for func in cx.functions(program) {
            let uses = Uses::of(&program.functions[func]);
            let name = Some(self.name());
            changed |= Rewriter::run::<PassError>(program, func, name, &mut |b, node| {
                if !matches!(b.function().nodes[node].op, Op::Split(_)) {
                    return Ok(Action::Keep);
                }
                let results = b.results(node).to_vec();
                let mut used = (0..results.len()).filter(|&i| uses.count(results[i]) > 0);
                let (Some(one), None) = (used.next(), used.next()) else { return Ok(Action::Keep) };
                let Some(part) = cut(b, node, one)? else { return Ok(Action::Keep) };
                let mut all = results;
                all[one] = part;
                Ok(Action::Replace(all))
            })?;
        }
        Ok(Changed::from(changed))
    }
}

/// Part `at` of a split by itself.
fn cut(b: &mut Builder<'_>, node: Node, at: usize) -> Result<Option<Value>> {
    let data = &b.function().nodes[node];
    let (Op::Split(Split { axis, .. }), &[x]) = (&data.op, data.operands.all()) else {
        return Ok(None);
    };
    let rank = b.tensor(x)?.rank();
    let axis = normalize_axis(*axis, rank)?;
    let mut start = 0i64;
    let mut sizes = Vec::new();
    for &part in &data.results {
        let Some(size) = b.tensor(part)?.shape[axis].as_const() else { return Ok(None) };
        sizes.push(size);
    }
    for size in &sizes[..at] {
        let Some(next) = start.checked_add(*size) else { return Ok(None) };
        start = next;
    }
    let Some(stop) = start.checked_add(sizes[at]) else { return Ok(None) };
    let place = |n: i64| (0..rank).map(|i| if i == axis { n } else { 0 }).collect::<Vec<_>>();
    let others: Vec<bool> = (0..rank).map(|i| i != axis).collect();
    let (begin, end) = (b.ints(&place(start))?, b.ints(&place(stop))?);
    let slice = SliceByIndex {
        stride: vec![1; rank],
        begin_mask: others.clone(),
        end_mask: others,
        squeeze_mask: Vec::new(),
    };
    Ok(Some(slice.build(b, x, begin, end)?))
}
