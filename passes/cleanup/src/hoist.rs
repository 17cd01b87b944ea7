//! The pass `hoist`.

use std::collections::BTreeSet;

use mlc_ir::{Function, Node, Op, Program, Region, Trait, Value};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

/// Moves ops that compute the same in every round of a loop before it. Only ops that cannot fail are
/// moved, as the loop may run no round at all.
///
/// ```mlc before
/// func @f(%x: tensor<2xf32>, %n: i32) -> tensor<2xf32> {
///   %0 = const 0 : i32
///   %y, %k = while_loop [%x, %0] (%a: tensor<2xf32>, %i: i32) {
///     %t = less %i, %n
///     yield %t
///   } (%b: tensor<2xf32>, %j: i32) {
///     %e = exp %x
///     %s = add %b, %e
///     %m = add %j, 1
///     yield %s, %m
///   }
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2xf32>, %n: i32) -> tensor<2xf32> {
///   %0 = const 0 : i32
///   %e = exp %x
///   %y, %k = while_loop [%x, %0] (%a: tensor<2xf32>, %i: i32) {
///     %t = less %i, %n
///     yield %t
///   } (%b: tensor<2xf32>, %j: i32) {
///     %s = add %b, %e
///     %m = add %j, 1
///     yield %s, %m
///   }
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hoist {}

impl Pass for Hoist {
    fn name(&self) -> &'static str {
        "hoist"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut moved = 0;
        for func in cx.functions(program) {
            let function = &mut program.functions[func];
            moved += walk(function, function.body);
        }
        cx.count("moved", moved);
        Ok(Changed::from(moved > 0))
    }
}

/// Moves what can be moved out of the loops of a region, inner ones first, and says how many ops moved.
fn walk(function: &mut Function, region: Region) -> u64 {
    let old = std::mem::take(&mut function.regions[region].nodes);
    let mut new = Vec::with_capacity(old.len());
    let mut moved = 0;
    for node in old {
        for nested in function.nodes[node].regions.clone() {
            moved += walk(function, nested);
            if matches!(function.nodes[node].op, Op::WhileLoop(_)) {
                let taken = take_invariant(function, nested);
                let is_op = |node: &&Node| !matches!(function.nodes[**node].op, Op::Const(_));
                moved += taken.iter().filter(is_op).count() as u64;
                new.extend(taken);
            }
        }
        new.push(node);
    }
    function.regions[region].nodes = new;
    moved
}

/// Unlinks the ops of a region that use values from outside alone and cannot fail, and the constants
/// that they use.
fn take_invariant(function: &mut Function, region: Region) -> Vec<Node> {
    let data = &function.regions[region];
    let mut inside: BTreeSet<Value> = data.args.iter().copied().collect();
    let (mut taken, mut needed) = (BTreeSet::new(), BTreeSet::<Value>::new());
    for &node in &data.nodes {
        let op = &function.nodes[node];
        let is_const = matches!(op.op, Op::Const(_));
        if !is_const
            && op.operands.all().iter().all(|v| !inside.contains(v))
            && is_total(function, node)
        {
            needed.extend(op.operands.all());
            taken.insert(node);
        } else if !is_const {
            inside.extend(&op.results);
        }
    }
    let all = std::mem::take(&mut function.regions[region].nodes);
    let (gone, kept) = all.into_iter().partition(|&node| {
        let data = &function.nodes[node];
        let is_const = matches!(data.op, Op::Const(_));
        taken.contains(&node) || (is_const && data.results.iter().any(|r| needed.contains(r)))
    });
    function.regions[region].nodes = kept;
    gone
}

/// Families of ops that give a result for all operands of their types.
const TOTAL: [&str; 4] = ["activation", "conv", "linear", "reduction"];

/// Whether the op gives a result for all operands of its types and changes nothing.
fn is_total(function: &Function, node: Node) -> bool {
    let data = &function.nodes[node];
    let spec = data.op.spec();
    let is_static = |value: &Value| {
        function.ty(*value).as_tensor().is_some_and(|ty| ty.static_shape().is_some())
    };
    let kind = spec.traits.has(Trait::Elementwise)
        || matches!(data.op, Op::Transpose(_) | Op::ExpandDims(_) | Op::Concat(_) | Op::Stack(_))
        || TOTAL.iter().any(|family| spec.family.ends_with(family));
    // A number without fraction cannot be divided by zero.
    let divides = matches!(data.op, Op::FloorDiv(_) | Op::Mod(_) | Op::RealDiv(_));
    let is_int =
        |value: &Value| function.ty(*value).as_tensor().is_some_and(|ty| ty.dtype.is_int());
    spec.traits.has(Trait::Pure)
        && data.regions.is_empty()
        && !data.operands.all().is_empty()
        && kind
        && !(divides && data.operands.all().iter().any(is_int))
        && data.operands.all().iter().chain(&data.results).all(is_static)
}
