//! The pass `unroll-loops`.

use mlc_ir::{Action, Builder, Node, Op, OpResult, Program, Region, Value};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use mlc_tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::counters::{Counters, size};
use crate::inline::{apart, inline};
use crate::rewrite;

/// Writes out a loop whose number of rounds is known: one whose condition depends on constants and
/// counters alone. At most `ops` ops are made from a loop, and at most `rounds` rounds are counted.
///
/// ```mlc before
/// func @f(%x: tensor<2xf32>) -> tensor<2xf32> {
///   %0 = const 0 : i32
///   %y, %n = while_loop [%x, %0] (%a: tensor<2xf32>, %i: i32) {
///     %t = less %i, 2
///     yield %t
///   } (%b: tensor<2xf32>, %j: i32) {
///     %e = exp %b
///     %m = add %j, 1
///     yield %e, %m
///   }
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2xf32>) -> tensor<2xf32> {
///   %1 = exp %x
///   %y = exp %1
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnrollLoops {
    /// Most ops that the rounds of a loop may come to.
    ops: usize,
    /// Most rounds of a loop that is unrolled.
    rounds: usize,
}

impl Default for UnrollLoops {
    fn default() -> Self {
        Self { ops: 64, rounds: 128 }
    }
}

impl Pass for UnrollLoops {
    fn name(&self) -> &'static str {
        "unroll-loops"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        rewrite(program, cx, None, &mut |b, node, yields| {
            let Some((body, rounds)) = self.rounds(b, node) else { return Ok(Action::Keep) };
            let start = b.function().regions[b.region].nodes.len();
            let Ok(values) = unroll(b, node, body, rounds) else { return Ok(Action::Keep) };
            let data = &b.function().nodes[node];
            let fits = values.iter().zip(&data.results).all(|(&to, &from)| {
                b.ty(to) == b.ty(from)
                    || b.ty(from).as_tensor().is_some_and(|ty| ty.static_shape().is_none())
            });
            if !fits {
                return Ok(Action::Keep);
            }
            Ok(Action::Replace(apart(b, (node, start), values, yields)?))
        })
    }
}

fn unroll(b: &mut Builder<'_>, node: Node, body: Region, rounds: usize) -> OpResult<Vec<Value>> {
    let mut values = b.function().nodes[node].operands.all().to_vec();
    for _ in 0..rounds {
        values = inline(b, body, &values)?;
    }
    Ok(values)
}

impl UnrollLoops {
    /// The body of a loop that is to be unrolled, and how often it runs.
    fn rounds(&self, b: &Builder<'_>, node: Node) -> Option<(Region, usize)> {
        let data = &b.function().nodes[node];
        let (Op::WhileLoop(_), [test, body]) = (&data.op, &data.regions[..]) else { return None };
        let most = self.rounds.min(self.ops / size(b, *body).max(1));
        let counters = Counters::of(b, *test, *body)?;
        let mut known: Vec<Option<Tensor>> =
            data.operands.all().iter().map(|&value| b.constant_of(value).cloned()).collect();
        for round in 0..=most {
            let test = counters.evaluate(*test, &known)?;
            let again = test.first()?.as_ref()?.bytes().ok()?.first().copied()?;
            if again == 0 {
                return Some((*body, round));
            }
            known = counters.evaluate(*body, &known)?;
        }
        None
    }
}
