//! The pass `unroll-loops`.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::{Action, Builder, Def, Node, Op, OpResult, Program, Region, Rewriter, Value};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Result};
use mlc_tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::Yields;
use crate::inline::{apart, inline};

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
    ops: usize,
    rounds: usize,
}

impl Default for UnrollLoops {
    fn default() -> Self {
        Self { ops: 512, rounds: 128 }
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
        let mut changed = false;
        for func in cx.functions(program) {
            let mut yields = Yields::of(&program.functions[func]);
            changed |= Rewriter::run::<PassError>(program, func, None, &mut |b, node| {
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
                Ok(Action::Replace(apart(b, (node, start), values, &mut yields)?))
            })?;
        }
        Ok(Changed::from(changed))
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

/// The number of ops in a region.
fn size(b: &Builder<'_>, region: Region) -> usize {
    let function = b.function();
    let mut open = vec![region];
    let mut count = 0;
    while let Some(region) = open.pop() {
        let nodes = &function.regions[region].nodes;
        count += nodes.iter().filter(|&&n| !matches!(function.nodes[n].op, Op::Const(_))).count();
        open.extend(nodes.iter().flat_map(|&node| function.nodes[node].regions.iter().copied()));
    }
    count
}

/// The part of a loop that its condition depends on.
struct Counters<'a, 'p> {
    b: &'a Builder<'p>,
    needed: BTreeSet<Node>,
    /// The loop variables that are needed, by position.
    variables: BTreeSet<usize>,
}

/// A counter has at most this many elements.
const MAX_ELEMENTS: usize = 64;

impl<'a, 'p> Counters<'a, 'p> {
    /// `None` if the condition depends on something that is not known before the program runs.
    fn of(b: &'a Builder<'p>, test: Region, body: Region) -> Option<Self> {
        let mut this = Self { b, needed: BTreeSet::new(), variables: BTreeSet::new() };
        let mut open = b.function().regions[test].results.clone();
        while let Some(value) = open.pop() {
            match b.function().values[value].def {
                Def::Result(node, _) => {
                    let data = &b.function().nodes[node];
                    if b.constant_of(value).is_some() || !this.needed.insert(node) {
                        continue;
                    }
                    if !data.regions.is_empty() || !data.op.spec().is_removable() {
                        return None;
                    }
                    open.extend(data.operands.all());
                }
                Def::Arg(region, at) if region == test || region == body => {
                    let at = at as usize;
                    if this.variables.insert(at) {
                        open.push(*b.function().regions[body].results.get(at)?);
                    }
                }
                Def::Arg(..) => return None,
            }
        }
        Some(this)
    }

    /// What a region yields, as far as it is needed, for these arguments.
    fn evaluate(&self, region: Region, args: &[Option<Tensor>]) -> Option<Vec<Option<Tensor>>> {
        let function = self.b.function();
        let data = &function.regions[region];
        let mut found: BTreeMap<Value, Tensor> = BTreeMap::new();
        for (&arg, tensor) in data.args.iter().zip(args) {
            if let Some(tensor) = tensor.as_ref().filter(|t| t.count() <= MAX_ELEMENTS) {
                found.insert(arg, tensor.clone());
            }
        }
        let get = |found: &BTreeMap<Value, Tensor>, value: &Value| {
            found.get(value).cloned().or_else(|| self.b.constant_of(*value).cloned())
        };
        for node in data.nodes.iter().filter(|node| self.needed.contains(node)) {
            let node = &function.nodes[*node];
            let slots = (0..node.operands.slots())
                .map(|slot| node.operands.slot(slot).iter().map(|v| get(&found, v)).collect())
                .collect::<Option<Vec<Vec<Tensor>>>>()?;
            let results = mlc_eval::fold(&node.op, &slots).ok()?;
            found.extend(node.results.iter().copied().zip(results));
        }
        Some(data.results.iter().map(|value| get(&found, value)).collect())
    }
}
