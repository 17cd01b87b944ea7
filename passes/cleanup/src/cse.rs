//! The pass `cse`.

use std::collections::BTreeMap;

use mlc_ir::{
    Action, Builder, Function, Node, Op, Operands, Program, Region, Rewriter, Trait, Value,
};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Result};
use serde::{Deserialize, Serialize};

use crate::Yields;

/// Computes equal things once: the later of two ops without effects that have equal attributes and
/// operands goes. Operands of commutative ops are compared in any order. An op in a region is found
/// equal to one before it in the same region or one around it.
///
/// ```mlc before
/// func @f(%x: tensor<2x8xf32>, %z: tensor<2x8xf32>) -> tensor<2x8xf32> {
///   %1 = add %x, %z
///   %2 = add %z, %x
///   %y = mul %1, %2
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x8xf32>, %z: tensor<2x8xf32>) -> tensor<2x8xf32> {
///   %1 = add %x, %z
///   %y = mul %1, %1
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cse {}

impl Pass for Cse {
    fn name(&self) -> &'static str {
        "cse"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut changed = false;
        for func in cx.functions(program) {
            let function = &program.functions[func];
            let mut seen = Seen { parents: parents(function), known: BTreeMap::new() };
            let mut yields = Yields::of(function);
            let mut merged = 0;
            changed |= Rewriter::run::<PassError>(program, func, None, &mut |b, node| {
                let action = seen.look(b, node, &mut yields);
                merged += u64::from(action != Action::Keep);
                Ok(action)
            })?;
            cx.count("merged", merged);
        }
        Ok(Changed::from(changed))
    }
}

/// The region around each nested one.
fn parents(function: &Function) -> BTreeMap<Region, Region> {
    let mut parents = BTreeMap::new();
    function.for_each_node(&mut |region, node| {
        parents.extend(function.nodes[node].regions.iter().map(|&nested| (nested, region)));
    });
    parents
}

/// A region, and the results of an op in it.
type Place = (Region, Vec<Value>);

/// Ops that were met, and where.
struct Seen {
    parents: BTreeMap<Region, Region>,
    known: BTreeMap<(Op, Operands), Vec<Place>>,
}

impl Seen {
    fn look(&mut self, b: &Builder<'_>, node: Node, yields: &mut Yields) -> Action {
        let data = &b.function().nodes[node];
        let traits = data.op.spec().traits;
        if !traits.has(Trait::Pure) || !data.regions.is_empty() {
            return Action::Keep;
        }
        let mut operands = data.operands.clone();
        if let (true, [x, y, ..]) = (traits.has(Trait::Commutative), operands.all_mut())
            && y < x
        {
            std::mem::swap(x, y);
        }
        let places = self.known.entry((data.op.clone(), operands)).or_default();
        let equal = places.iter().find(|(region, results)| {
            encloses(&self.parents, *region, b.region)
                && results.iter().zip(&data.results).all(|(&a, &c)| b.ty(a) == b.ty(c))
        });
        if let Some((_, results)) = equal
            && data.results.iter().zip(results).all(|(&from, &to)| yields.replace(b, from, to))
        {
            return Action::Replace(results.clone());
        }
        places.push((b.region, data.results.to_vec()));
        Action::Keep
    }
}

fn encloses(parents: &BTreeMap<Region, Region>, outer: Region, inner: Region) -> bool {
    let mut at = Some(inner);
    while let Some(region) = at {
        if region == outer {
            return true;
        }
        at = parents.get(&region).copied();
    }
    false
}
