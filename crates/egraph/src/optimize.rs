//! Optimizes a function window by window.

use std::collections::{BTreeMap, BTreeSet};

use egg::{Id, Language};
use mlc_ir::infer::Inferred;
use mlc_ir::ops::Identity;
use mlc_ir::{
    Builder, Def, Dim, FuncId, Node, NodeData, Op, OpResult, Program, Region, Trait, Type, Uses,
    Value,
};
use mlc_target::Opset;
use mlc_target::cost::Device;

use crate::cost::Cost;
use crate::emit::Emitter;
use crate::extract::{self, Candidate, Choice, Problem};
use crate::graph::Graph;
use crate::language::ENode;
use crate::rule::RuleSet;
use crate::saturate::{Limit, Limits, first_found, saturate};
use crate::window::windows;

/// What is used and how far it goes.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The rules.
    pub rules: &'a RuleSet,
    /// What cheap means.
    pub device: &'static Device,
    /// Limits of each window.
    pub limits: Limits,
    /// Most ops of a window.
    pub window: usize,
    /// The version that has every op which rules may make.
    pub opset: Opset,
    /// Which of the ways that rules find is taken.
    pub strategy: Strategy,
}

/// Which of the ways that rules find is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// All are kept side by side, and the cheapest whole is taken.
    #[default]
    Cheapest,
    /// In one walk, the first rule that fires on an op replaces it, whether it pays or not: what a
    /// rewriter without a graph does, to compare with.
    Greedy,
    /// As `Cheapest`, but what a rule gave is taken even where it is dearer: to test rules.
    Forced,
}

impl Strategy {
    /// Whether what a rule gave is taken even where it is dearer.
    fn prefers_new(self) -> bool {
        self != Self::Cheapest
    }
}

/// What was done to a function.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Windows that were looked at, and those that got cheaper.
    pub windows: u64,
    /// Windows that were rebuilt.
    pub improved: u64,
    /// Replacements that rules added to graphs.
    pub applied: BTreeMap<&'static str, u64>,
    /// Ops in the result that a rule made.
    pub used: BTreeMap<&'static str, u64>,
    /// Replacements of another type: faults of rules, which were left out.
    pub mistyped: BTreeMap<&'static str, u64>,
    /// Limits that were hit, by how many windows.
    pub limits: BTreeMap<Limit, u64>,
    /// Windows that were left alone since equal ops had different types.
    pub conflicts: u64,
    /// Nodes of all graphs.
    pub nodes: u64,
    /// Modelled cost of the windows that were rebuilt, in picoseconds: before and after.
    pub cost: (u64, u64),
}

/// Optimizes `func`. Names and places of values stay; an op that a rule made has the place of what it
/// replaces and the name of the rule among the passes that touched it.
///
/// # Errors
/// None for a program that verifies; otherwise the function is incomplete.
pub fn optimize(program: &mut Program, func: FuncId, options: &Options<'_>) -> OpResult<Report> {
    let mut report = Report::default();
    for shifted in [false, true] {
        let mut sweep = Sweep {
            func,
            options,
            uses: Uses::of(&program.functions[func]),
            replaced: BTreeMap::new(),
            report: &mut report,
            is_cut: false,
        };
        let mut regions = vec![program.functions[func].body];
        program.functions[func].for_each_node(&mut |_, node| {
            regions.extend(&program.functions[func].nodes[node].regions);
        });
        for region in regions {
            sweep.region(program, region, shifted)?;
        }
        let is_cut = sweep.is_cut;
        sweep.finish(program);
        if !is_cut {
            break;
        }
    }
    Ok(report)
}

/// One walk over all regions of a function.
struct Sweep<'a> {
    func: FuncId,
    options: &'a Options<'a>,
    /// Uses before the walk.
    uses: Uses,
    /// What stands for values that went.
    replaced: BTreeMap<Value, Value>,
    report: &'a mut Report,
    /// Whether a region has more than one window.
    is_cut: bool,
}

/// An op of the window that is in the graph.
pub(crate) struct Original {
    pub(crate) node: Node,
    pub(crate) enode: ENode,
    pub(crate) class: Id,
    /// The classes of its results; that of the op itself for one.
    pub(crate) results: Vec<Id>,
}

/// A window as a graph.
struct Loaded {
    graph: Graph,
    classes: BTreeMap<Value, Id>,
    originals: Vec<Original>,
    /// Constants that are there before the window, by class.
    available: Vec<(Id, Value)>,
    /// Leaves made by ops of the window, with the position of the op.
    made_at: BTreeMap<Value, usize>,
    /// Needed values: their position and class.
    roots: Vec<(usize, Value, Id)>,
}

impl Sweep<'_> {
    fn resolve(&self, mut value: Value) -> Value {
        while let Some(&next) = self.replaced.get(&value) {
            value = next;
        }
        value
    }

    fn region(&mut self, program: &mut Program, region: Region, shifted: bool) -> OpResult<()> {
        let nodes = std::mem::take(&mut program.functions[self.func].regions[region].nodes);
        let positions: BTreeMap<Node, usize> =
            nodes.iter().enumerate().map(|(at, &node)| (node, at)).collect();
        let live = self.live(program, &nodes, &positions);
        let ranges = windows(&live, self.options.window, shifted);
        self.is_cut |= ranges.len() > 1;
        for range in ranges {
            let window = &nodes[range];
            if !self.rewrite(program, region, window)? {
                self.keep(program, region, window);
            }
        }
        self.fix_yields(program, region)
    }

    /// How many values cross the cut before each position.
    fn live(
        &self,
        program: &Program,
        nodes: &[Node],
        positions: &BTreeMap<Node, usize>,
    ) -> Vec<u32> {
        let function = &program.functions[self.func];
        let mut steps = vec![0i64; nodes.len() + 1];
        for (at, &node) in nodes.iter().enumerate() {
            if matches!(function.nodes[node].op, Op::Const(_)) {
                continue;
            }
            for &value in &function.nodes[node].results {
                let mut last = if self.uses.yields(value) > 0 { nodes.len() } else { at };
                for user in self.uses.users(value) {
                    last = last.max(positions.get(user).copied().unwrap_or(nodes.len()));
                }
                steps[at + 1] += i64::from(last > at);
                if last > at && last < nodes.len() {
                    steps[last + 1] -= 1;
                }
            }
        }
        let mut now = 0;
        let counted = steps.iter().take(nodes.len()).map(|step| {
            now += step;
            u32::try_from(now).unwrap_or(0)
        });
        counted.collect()
    }

    /// Links ops again as they are.
    fn keep(&self, program: &mut Program, region: Region, nodes: &[Node]) {
        for &node in nodes {
            self.link(program, region, node);
        }
    }

    fn link(&self, program: &mut Program, region: Region, node: Node) {
        let function = &mut program.functions[self.func];
        for operand in function.nodes[node].operands.all_mut() {
            *operand = self.resolve(*operand);
        }
        function.regions[region].nodes.push(node);
    }

    /// Rebuilds a window if that makes it cheaper. Says whether it did.
    fn rewrite(
        &mut self,
        program: &mut Program,
        region: Region,
        window: &[Node],
    ) -> OpResult<bool> {
        let function = &program.functions[self.func];
        let rules = self.options.rules;
        let has_rule = |&node: &Node| !rules.for_op(function.nodes[node].op.spec().name).is_empty();
        if !window.iter().any(has_rule) {
            return Ok(false);
        }
        self.report.windows += 1;
        for strict in [false, true] {
            let mut loaded = self.load(program, window, strict);
            let limits = &self.options.limits;
            let graph = &mut loaded.graph;
            let done = untimed(|| match self.options.strategy {
                Strategy::Greedy => first_found(graph, rules, limits),
                Strategy::Cheapest | Strategy::Forced => saturate(graph, rules, limits),
            });
            loaded.graph.give_back(program);
            self.report.nodes += loaded.graph.egraph.total_size() as u64;
            for (&rule, &count) in &done.mistyped {
                tracing::warn!("rule `{rule}` gave another type {count} times");
                *self.report.mistyped.entry(rule).or_default() += count as u64;
            }
            if loaded.graph.egraph.analysis.conflict {
                if strict {
                    self.report.conflicts += 1;
                }
                continue;
            }
            for (&rule, &count) in &done.applied {
                *self.report.applied.entry(rule).or_default() += count as u64;
            }
            for &limit in &done.limits {
                tracing::info!("limit {limit:?} was hit");
                *self.report.limits.entry(limit).or_default() += 1;
            }
            if done.applied.is_empty() {
                return Ok(false);
            }
            return self.choose(program, region, (window, loaded));
        }
        Ok(false)
    }

    /// The window as a graph. `strict` leaves ops out that have extents of their own.
    fn load(&self, program: &mut Program, window: &[Node], strict: bool) -> Loaded {
        let graph = Graph::new(program, self.options.limits.nodes, self.options.opset);
        let mut loaded = Loaded {
            graph,
            classes: BTreeMap::new(),
            originals: Vec::new(),
            available: Vec::new(),
            made_at: BTreeMap::new(),
            roots: Vec::new(),
        };
        let function = &program.functions[self.func];
        for (at, &node) in window.iter().enumerate() {
            let data = &function.nodes[node];
            let is_inside = is_pure(program, self.func, data)
                && !(strict && has_own_extents(program, self.func, data));
            let mut slots = Vec::new();
            if is_inside {
                for slot in 0..data.operands.slots() {
                    let values = data.operands.slot(slot).iter();
                    slots.push(values.map(|&v| self.class(program, &mut loaded, v)).collect());
                }
            }
            if !is_inside || !add_original(program, self.func, &mut loaded, (node, &slots)) {
                loaded.made_at.extend(data.results.iter().map(|&value| (value, at)));
                continue;
            }
        }
        let inside: BTreeSet<Node> = loaded.originals.iter().map(|o| o.node).collect();
        for (at, node) in window.iter().enumerate().filter(|(_, node)| inside.contains(node)) {
            for &value in &program.functions[self.func].nodes[*node].results {
                let is_needed = self.uses.yields(value) > 0
                    || self.uses.users(value).iter().any(|user| !inside.contains(user));
                if is_needed {
                    loaded.roots.push((at, value, loaded.classes[&value]));
                }
            }
        }
        loaded
    }

    fn class(&self, program: &Program, loaded: &mut Loaded, value: Value) -> Id {
        let value = self.resolve(value);
        if let Some(&known) = loaded.classes.get(&value) {
            return known;
        }
        let function = &program.functions[self.func];
        let data = &function.values[value];
        let known = (data.ty.clone(), data.content.clone());
        let (op, loc) = match function.def(value) {
            Some((_, node)) => (Some(&node.op), node.loc),
            None => (None, loaded.graph.unknown_loc()),
        };
        let made = match op {
            Some(op @ Op::Const(_)) => {
                let results = Inferred { results: [known.clone()].into_iter().collect() };
                let given = loaded.graph.given(op.clone(), &[], results, loc);
                given.map(|(id, _)| id).inspect(|&id| loaded.available.push((id, value)))
            }
            _ => None,
        };
        let id = made.unwrap_or_else(|| loaded.graph.leaf(value, known, loc));
        loaded.classes.insert(value, id);
        id
    }

    /// Chooses the cheapest program and, if it is cheaper than the window, emits it.
    fn choose(
        &mut self,
        program: &mut Program,
        region: Region,
        (window, loaded): (&[Node], Loaded),
    ) -> OpResult<bool> {
        let cost = Cost { device: self.options.device, symbols: &program.symbols };
        let mut chosen = Chosen::of(&loaded, cost, self.options.strategy.prefers_new());
        let (choice, after) = extract::extract(&chosen.problem);
        let before = chosen.before;
        let pays = after < before || self.options.strategy.prefers_new();
        if !pays || !chosen.is_ready(&loaded, &choice) {
            return Ok(false);
        }
        chosen.choice = choice;
        self.report.improved += 1;
        self.report.cost.0 = self.report.cost.0.saturating_add(before);
        self.report.cost.1 = self.report.cost.1.saturating_add(after);
        self.emit(program, region, (window, &loaded, &chosen))?;
        Ok(true)
    }

    fn emit(
        &mut self,
        program: &mut Program,
        region: Region,
        (window, loaded, chosen): (&[Node], &Loaded, &Chosen),
    ) -> OpResult<()> {
        let mut emitter = Emitter::new(program, (self.func, region), &loaded.graph);
        emitter.choose(&chosen.ids, &chosen.choice);
        emitter.originals(&loaded.originals);
        for &(id, value) in &loaded.available {
            emitter.available(id, value);
        }
        let mut roots = loaded.roots.iter().peekable();
        let inside: BTreeSet<Node> = loaded.originals.iter().map(|o| o.node).collect();
        for (at, &node) in window.iter().enumerate() {
            while let Some(&&(_, value, id)) = roots.peek().filter(|root| root.0 <= at) {
                roots.next();
                let made = emitter.value(id)?;
                if made != value {
                    self.replaced.insert(value, made);
                }
            }
            if !inside.contains(&node) {
                self.link(emitter.program, region, node);
            }
        }
        for (rule, count) in emitter.used {
            *self.report.used.entry(rule).or_default() += count;
        }
        Ok(())
    }

    /// Keeps what a region yields results of its own ops, each yielded once, where they were.
    fn fix_yields(&mut self, program: &mut Program, region: Region) -> OpResult<()> {
        let results = program.functions[self.func].regions[region].results.clone();
        let nodes = &program.functions[self.func].regions[region].nodes;
        let own: BTreeSet<Node> = nodes.iter().copied().collect();
        let mut yielded: BTreeMap<Value, Value> = BTreeMap::new();
        let mut fixed = Vec::new();
        for &old in &results {
            let mut new = self.resolve(old);
            let function = &program.functions[self.func];
            let is_own = match function.values[new].def {
                Def::Result(node, _) => {
                    own.contains(&node) && !matches!(function.nodes[node].op, Op::Const(_))
                }
                Def::Arg(..) => false,
            };
            let taken = yielded.get(&new).is_some_and(|&first| first != old);
            if new != old && (!is_own || taken) {
                let loc = function.def(old).map(|(_, data)| data.loc);
                let mut b = Builder::new(program, self.func);
                b.region = region;
                b.loc = loc.unwrap_or(b.loc);
                new = Identity {}.build(&mut b, new)?;
            }
            let name = program.functions[self.func].values[old].name.clone();
            let slot = &mut program.functions[self.func].values[new].name;
            *slot = slot.take().or(name);
            yielded.entry(new).or_insert(old);
            fixed.push(new);
        }
        program.functions[self.func].regions[region].results = fixed;
        Ok(())
    }

    /// Replaces what is left of values that went: uses in nested regions that stand before.
    fn finish(self, program: &mut Program) {
        let function = &mut program.functions[self.func];
        let mut nodes = Vec::new();
        function.for_each_node(&mut |_, node| nodes.push(node));
        for node in nodes {
            for operand in function.nodes[node].operands.all_mut() {
                let mut value = *operand;
                while let Some(&next) = self.replaced.get(&value) {
                    value = next;
                }
                *operand = value;
            }
        }
        let mut regions = Vec::new();
        function.for_each_node(&mut |_, node| regions.extend(&function.nodes[node].regions));
        for region in regions {
            for result in &mut function.regions[region].results {
                while let Some(&next) = self.replaced.get(result) {
                    *result = next;
                }
            }
        }
    }
}

/// Runs `work` on a clock that stands still: `egg` times itself, and a clock that goes is first compared
/// with the system's for up to 200 ms.
fn untimed<T>(work: impl FnOnce() -> T) -> T {
    quanta::with_clock(&quanta::Clock::mock().0, work)
}

/// Puts an op into the graph. Says whether it could be.
fn add_original(
    program: &Program,
    func: FuncId,
    loaded: &mut Loaded,
    (node, slots): (Node, &[Vec<Id>]),
) -> bool {
    let function = &program.functions[func];
    let NodeData { op, results, loc, .. } = &function.nodes[node];
    let known = results.iter().map(|&value| {
        let data = &function.values[value];
        (data.ty.clone(), data.content.clone())
    });
    let known = Inferred { results: known.collect() };
    let Some((class, enode)) = loaded.graph.given(op.clone(), slots, known, *loc) else {
        return false;
    };
    let mut ids = vec![class];
    if results.len() != 1 {
        ids.clear();
        for index in 0..results.len() {
            let Ok(id) = loaded.graph.project(class, index, *loc) else { return false };
            ids.push(id);
        }
    }
    loaded.classes.extend(results.iter().copied().zip(ids.iter().copied()));
    loaded.originals.push(Original { node, enode, class, results: ids });
    true
}

/// Whether an op is one that graphs hold: tensors in and out, and no effect.
fn is_pure(program: &Program, func: FuncId, data: &NodeData) -> bool {
    let function = &program.functions[func];
    let spec = data.op.spec();
    let tensors = |values: &[Value]| {
        values.iter().all(|&value| matches!(function.ty(value), Type::Tensor(_)))
    };
    spec.traits.has(Trait::Pure)
        && !spec.traits.has(Trait::Random)
        && data.regions.is_empty()
        && !data.results.is_empty()
        && !matches!(data.op, Op::Identity(_))
        && tensors(&data.results)
        && tensors(data.operands.all())
}

/// Whether a result has a symbol that no operand has: an extent that only running the op tells.
fn has_own_extents(program: &Program, func: FuncId, data: &NodeData) -> bool {
    let function = &program.functions[func];
    let mut own: BTreeSet<String> = BTreeSet::new();
    for &value in &data.results {
        let mut add = |dim: &Dim| {
            dim.for_each_symbol(&mut |name| {
                own.insert(name.to_owned());
            })
        };
        function.ty(value).for_each_dim(&mut add);
    }
    if own.is_empty() {
        return false;
    }
    for &value in data.operands.all() {
        let mut remove = |dim: &Dim| {
            dim.for_each_symbol(&mut |name| {
                own.remove(name);
            })
        };
        function.ty(value).for_each_dim(&mut remove);
        function.values[value].content.iter().flatten().for_each(&mut remove);
    }
    !own.is_empty()
}

/// A window as a problem of choice.
struct Chosen {
    problem: Problem,
    /// The class of each index.
    ids: Vec<Id>,
    choice: Choice,
    /// The cost of the window as it is, with everything that is computed twice.
    before: u64,
}

/// What not taking the result of a rule costs: of two ways that cost the same it is the one to take.
const TIE: u64 = 1;
/// The same when rules are tested.
const PENALTY: u64 = 1 << 50;

impl Chosen {
    fn of(loaded: &Loaded, cost: Cost<'_>, prefer_new: bool) -> Self {
        let graph = &loaded.graph;
        let mut ids: Vec<Id> = graph.egraph.classes().map(|class| class.id).collect();
        ids.sort_unstable();
        let index: BTreeMap<Id, u32> =
            ids.iter().enumerate().map(|(at, &id)| (id, at as u32)).collect();
        let at = |id: Id| index[&graph.find(id)];
        let made: BTreeSet<ENode> =
            graph.made_by.keys().map(|node| canonical(graph, node)).collect();
        let penalty = if prefer_new { PENALTY } else { TIE };
        let mut problem = Problem::default();
        let mut groups: BTreeMap<Id, Vec<(u32, usize)>> = BTreeMap::new();
        for &id in &ids {
            let nodes = &graph.egraph[id].nodes;
            for (position, node) in nodes.iter().enumerate() {
                if let ENode::Result(_, [tuple]) = node {
                    groups.entry(graph.find(*tuple)).or_default().push((at(id), position));
                }
            }
            let has_made = nodes.iter().any(|node| made.contains(node));
            let candidates = nodes.iter().map(|node| {
                let needs = node.children().iter().map(|&child| at(child)).collect();
                let mut own = node_cost(graph, cost, id, node);
                if has_made && !made.contains(node) {
                    own = own.saturating_add(penalty);
                }
                Candidate { cost: own, needs }
            });
            problem.classes.push(candidates.collect());
            problem.initial.push(nodes.iter().position(|node| matches!(node, ENode::Leaf(_))));
        }
        problem.groups = groups.into_values().filter(|group| group.len() > 1).collect();
        let mut before = 0u64;
        for &(id, _) in &loaded.available {
            let class = at(id) as usize;
            let nodes = &graph.egraph[id].nodes;
            let constant = |node: &ENode| matches!(node, ENode::Op(head, _) if matches!(head.op, Op::Const(_)));
            let position = nodes.iter().position(constant);
            problem.initial[class] = problem.initial[class].or(position);
            let own = position.map_or(0, |i| node_cost(graph, cost, id, &nodes[i]));
            before = before.saturating_add(own);
        }
        for original in &loaded.originals {
            let mut start = |id: Id, node: &ENode| {
                let position = graph.egraph[id].nodes.iter().position(|known| known == node);
                let slot = &mut problem.initial[at(id) as usize];
                *slot = slot.or(position);
            };
            let node = canonical(graph, &original.enode);
            let nodes = &graph.egraph[original.class].nodes;
            let tie = if nodes.iter().any(|node| made.contains(node)) { TIE } else { 0 };
            before = before.saturating_add(node_cost(graph, cost, original.class, &node) + tie);
            start(original.class, &node);
            if original.results.len() != 1 || original.results[0] != original.class {
                for (i, &id) in original.results.iter().enumerate() {
                    start(id, &ENode::Result(i as u32, [graph.find(original.class)]));
                }
            }
        }
        problem.roots = loaded.roots.iter().map(|&(_, _, id)| at(id)).collect();
        problem.roots.sort_unstable();
        problem.roots.dedup();
        Self { problem, ids, choice: Vec::new(), before }
    }

    /// Whether every root can be made where it was: from what is there before it.
    fn is_ready(&self, loaded: &Loaded, choice: &Choice) -> bool {
        let graph = &loaded.graph;
        let mut ready: BTreeMap<Id, usize> = BTreeMap::new();
        let index: BTreeMap<Id, usize> =
            self.ids.iter().enumerate().map(|(at, &id)| (id, at)).collect();
        loaded.roots.iter().all(|&(position, _, root)| {
            let mut stack = vec![(graph.find(root), 0usize, 0usize)];
            while let Some((id, next, latest)) = stack.pop() {
                let Some(node) = choice[index[&id]].and_then(|at| graph.egraph[id].nodes.get(at))
                else {
                    return false;
                };
                let own = match node {
                    ENode::Leaf(value) => loaded.made_at.get(value).map_or(0, |at| at + 1),
                    _ => 0,
                };
                let latest = latest.max(own);
                let Some(&child) = node.children().get(next) else {
                    ready.insert(id, latest);
                    if let Some(user) = stack.last_mut() {
                        user.2 = user.2.max(latest);
                    }
                    continue;
                };
                let child = graph.find(child);
                match ready.get(&child) {
                    Some(&known) => stack.push((id, next + 1, latest.max(known))),
                    None => {
                        stack.push((id, next, latest));
                        stack.push((child, 0, 0));
                    }
                }
            }
            ready.get(&graph.find(root)).is_some_and(|&latest| latest <= position)
        })
    }
}

/// A node with canonical operands.
pub(crate) fn canonical(graph: &Graph, node: &ENode) -> ENode {
    node.clone().map_children(|id| graph.find(id))
}

fn node_cost(graph: &Graph, cost: Cost<'_>, id: Id, node: &ENode) -> u64 {
    let ENode::Op(head, operands) = node else { return 0 };
    let types = |id: &Id| graph.data(*id).results.iter().map(|result| &result.0);
    let operands: Vec<&Type> = operands.iter().flat_map(types).collect();
    let results: Vec<&Type> = types(&id).collect();
    cost.op(&head.op, &operands, &results)
}
