//! The pass `prune-loops`.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::{Def, Function, Node, Op, Program, Region, Uses, Value};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

/// Takes loop variables away that no round changes, and those that nothing but themselves depends on.
///
/// ```mlc before
/// func @f(%x: tensor<2xf32>, %w: tensor<2xf32>, %n: i32) -> tensor<2xf32> {
///   %0 = const 0 : i32
///   %y, %k, %v, %d = while_loop [%x, %0, %w, %x] (%a: tensor<2xf32>, %i: i32, %c: tensor<2xf32>, %g: tensor<2xf32>) {
///     %t = less %i, %n
///     yield %t
///   } (%b: tensor<2xf32>, %j: i32, %u: tensor<2xf32>, %h: tensor<2xf32>) {
///     %s = add %b, %u
///     %m = add %j, 1
///     %e = exp %h
///     yield %s, %m, %u, %e
///   }
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2xf32>, %w: tensor<2xf32>, %n: i32) -> tensor<2xf32> {
///   %0 = const 0 : i32
///   %y, %k = while_loop [%x, %0] (%a: tensor<2xf32>, %i: i32) {
///     %t = less %i, %n
///     yield %t
///   } (%b: tensor<2xf32>, %j: i32) {
///     %s = add %b, %w
///     %m = add %j, 1
///     yield %s, %m
///   }
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneLoops {}

impl Pass for PruneLoops {
    fn name(&self) -> &'static str {
        "prune-loops"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut gone = 0;
        for func in cx.functions(program) {
            let function = &mut program.functions[func];
            let mut loops = Vec::new();
            function.for_each_node(&mut |_, node| {
                if matches!(function.nodes[node].op, Op::WhileLoop(_)) {
                    loops.push(node);
                }
            });
            if loops.is_empty() {
                continue;
            }
            let uses = Uses::of(function);
            let mut replaced = BTreeMap::new();
            for node in loops {
                gone += prune(function, node, &uses, &mut replaced);
            }
            substitute(function, &replaced);
        }
        cx.count("variables removed", gone as u64);
        Ok(Changed::from(gone > 0))
    }
}

/// Removes variables of one loop; what stands for their values goes to `replaced`.
fn prune(
    function: &mut Function,
    node: Node,
    uses: &Uses,
    replaced: &mut BTreeMap<Value, Value>,
) -> usize {
    let &[test, body] = &function.nodes[node].regions[..] else { return 0 };
    let initial = function.nodes[node].operands.all().to_vec();
    let results = function.nodes[node].results.clone();
    let live = live(function, node, uses);
    let mut keep = vec![true; initial.len()];
    for i in 0..initial.len() {
        let args = [function.regions[test].args[i], function.regions[body].args[i]];
        let same = function.regions[body].results[i] == args[1]
            && args.iter().chain([&results[i]]).all(|&v| function.ty(v) == function.ty(initial[i]));
        if same && uses.yields(results[i]) == 0 {
            replaced.extend(args.into_iter().chain([results[i]]).map(|value| (value, initial[i])));
            keep[i] = false;
        } else if !live[i] {
            keep[i] = false;
        }
    }
    // A loop has a variable.
    if keep.iter().all(|&keep| !keep) {
        return 0;
    }
    retain(function, node, &keep);
    keep.iter().filter(|&&keep| !keep).count()
}

/// Which variables something depends on besides their own next values.
fn live(function: &Function, node: Node, uses: &Uses) -> Vec<bool> {
    let data = &function.nodes[node];
    let (test, body) = (data.regions[0], data.regions[1]);
    let mut live: Vec<bool> = data.results.iter().map(|&value| uses.count(value) > 0).collect();
    let mut needed = needs(function, test, &function.regions[test].results);
    loop {
        let roots: Vec<Value> = (0..live.len())
            .filter(|&i| live[i])
            .map(|i| function.regions[body].results[i])
            .collect();
        needed.extend(needs(function, body, &roots));
        let mut grew = false;
        for (i, live) in live.iter_mut().enumerate() {
            let args = [function.regions[test].args[i], function.regions[body].args[i]];
            if !*live && args.iter().any(|arg| needed.contains(arg)) {
                *live = true;
                grew = true;
            }
        }
        if !grew {
            return live;
        }
    }
}

/// The values that `roots` and effects of a region depend on.
fn needs(function: &Function, region: Region, roots: &[Value]) -> BTreeSet<Value> {
    let mut needed: BTreeSet<Value> = roots.iter().copied().collect();
    for &node in function.regions[region].nodes.iter().rev() {
        let data = &function.nodes[node];
        let wanted = !data.op.spec().is_removable()
            || !data.regions.is_empty()
            || data.results.iter().any(|value| needed.contains(value));
        if wanted {
            needed.extend(data.operands.all());
            for &nested in &data.regions {
                needed.extend(needs(function, nested, &function.regions[nested].results));
            }
        }
    }
    needed
}

/// Keeps the variables of a loop that `keep` says.
fn retain(function: &mut Function, node: Node, keep: &[bool]) {
    let kept = |values: &[Value]| -> Vec<Value> {
        values.iter().zip(keep).filter(|(_, keep)| **keep).map(|(value, _)| *value).collect()
    };
    let regions = function.nodes[node].regions.clone();
    for (at, &region) in regions.iter().enumerate() {
        let args = kept(&function.regions[region].args);
        for (i, &arg) in (0..).zip(&args) {
            function.values[arg].def = Def::Arg(region, i);
        }
        function.regions[region].args = args;
        // The first region yields whether to go on.
        if at == 1 {
            function.regions[region].results = kept(&function.regions[region].results);
        }
    }
    let results = kept(&function.nodes[node].results);
    for (i, &value) in (0..).zip(&results) {
        function.values[value].def = Def::Result(node, i);
    }
    let mut operands = mlc_ir::Operands::new();
    operands.push_slot(kept(function.nodes[node].operands.all()));
    function.nodes[node].operands = operands;
    function.nodes[node].results = results.into_iter().collect();
}

/// Uses other values everywhere.
fn substitute(function: &mut Function, replaced: &BTreeMap<Value, Value>) {
    if replaced.is_empty() {
        return;
    }
    // What stands for a value may have gone itself, with a loop around.
    let resolve = |value: &mut Value| {
        while let Some(&to) = replaced.get(value) {
            *value = to;
        }
    };
    let (mut nodes, mut regions) = (Vec::new(), vec![function.body]);
    function.for_each_node(&mut |_, node| {
        nodes.push(node);
        regions.extend(&function.nodes[node].regions);
    });
    for node in nodes {
        function.nodes[node].operands.all_mut().iter_mut().for_each(resolve);
    }
    for region in regions {
        function.regions[region].results.iter_mut().for_each(resolve);
    }
}
