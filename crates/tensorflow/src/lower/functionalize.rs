//! Turns control flow by dataflow (`Switch`, `Merge`, `Enter`, `Exit` …) into `While` and `If` nodes that
//! hold graphs.
//!
//! Loops come first, innermost ones before those around them: the nodes of a *frame* become the condition
//! and the body of one `While`. Then, in each graph, `Merge`s of one predicate become an `If`: the nodes
//! that only run for one value of it become the graph of that branch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::{LowerError, LowerResult};
use crate::graph::{Attr, Graph, Node, Source};

/// What is wrong, and the node where it shows.
type Problem = (LowerError, usize);

/// Rewrites `graph` in place.
pub(super) fn functionalize(graph: &mut Graph) -> Result<(), Vec<Problem>> {
    if graph.nodes.iter().any(|node| is(node, "Enter")) {
        loops(graph).map_err(|problem| vec![problem])?;
    }
    conditions(graph).map_err(|problem| vec![problem])
}

/// Whether a node is of that op, or of its form for references.
fn is(node: &Node, op: &str) -> bool {
    *node.op == *op || node.op.strip_prefix("Ref").is_some_and(|rest| rest == op)
}

fn text_attr(node: &Node, key: &str) -> String {
    match node.attrs.get(key) {
        Some(Attr::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    }
}

/// Says where an error is.
fn at(node: usize) -> impl FnOnce(LowerError) -> Problem {
    move |error| (error, node)
}

/// A loop: the nodes between its `Enter`s and `Exit`s.
#[derive(Debug, Default, Clone)]
struct Frame {
    parent: Option<usize>,
    depth: usize,
    enters: Vec<usize>,
}

/// The frame of each node, `None` for the top level, and the frames.
struct Frames {
    of: Vec<Option<usize>>,
    all: Vec<Frame>,
}

/// Nodes in running order where the way back of loops is not followed.
fn forward_order(graph: &Graph) -> Result<Vec<usize>, Problem> {
    let mut open = graph.clone();
    let backward: Vec<bool> = graph.nodes.iter().map(|node| is(node, "NextIteration")).collect();
    for node in &mut open.nodes {
        if is(node, "Merge") {
            node.inputs.retain(|source| source.node().is_none_or(|at| !backward[at]));
        }
    }
    let roots: BTreeSet<usize> = (0..graph.nodes.len()).collect();
    open.order(&roots).map_err(|cycle| {
        let name = &graph.nodes[cycle.0].name;
        (LowerError::invalid(format!("node `{name}` depends on itself")), cycle.0)
    })
}

fn frames(graph: &Graph) -> Result<Frames, Problem> {
    let order = forward_order(graph)?;
    let mut names: BTreeMap<(String, Option<usize>), usize> = BTreeMap::new();
    let mut frames = Frames { of: vec![None; graph.nodes.len()], all: Vec::new() };
    // The frame that the results of a node are in.
    let mut after: Vec<Option<usize>> = vec![None; graph.nodes.len()];
    for node in order {
        let depth = |frame: Option<usize>, all: &[Frame]| frame.map_or(0, |f| all[f].depth);
        let mut own = None;
        for need in graph.needs(node) {
            if depth(after[need], &frames.all) > depth(own, &frames.all) {
                own = after[need];
            }
        }
        let data = &graph.nodes[node];
        if is(data, "Enter") {
            let key = (text_attr(data, "frame_name"), own);
            let next = frames.all.len();
            let frame = *names.entry(key).or_insert(next);
            if frame == next {
                let depth = depth(own, &frames.all) + 1;
                frames.all.push(Frame { parent: own, depth, enters: Vec::new() });
            }
            frames.all[frame].enters.push(node);
            own = Some(frame);
        }
        frames.of[node] = own;
        after[node] = if is(data, "Exit") { own.and_then(|f| frames.all[f].parent) } else { own };
    }
    Ok(frames)
}

/// Replaces every loop by a `While`.
fn loops(graph: &mut Graph) -> Result<(), Problem> {
    let mut frames = frames(graph)?;
    let mut order: Vec<usize> = (0..frames.all.len()).collect();
    order.sort_by_key(|&frame| std::cmp::Reverse(frames.all[frame].depth));
    for frame in order {
        one_loop(graph, &mut frames, frame)?;
    }
    Ok(())
}

/// A variable of a loop.
struct Variable {
    merge: usize,
    enter: usize,
    next: Source,
    switch: Option<usize>,
}

fn one_loop(graph: &mut Graph, frames: &mut Frames, frame: usize) -> Result<(), Problem> {
    let members: Vec<usize> =
        (0..graph.nodes.len()).filter(|&node| frames.of[node] == Some(frame)).collect();
    let first = frames.all[frame].enters.first().copied().unwrap_or(0);
    let fail = |message: &str, node: usize| (LowerError::argument(message), node);
    let test = members.iter().copied().find(|&node| is(&graph.nodes[node], "LoopCond"));
    let test = test.ok_or_else(|| fail("a loop without `LoopCond`", first))?;
    let variables = variables(graph, &members, test)?;
    let merged: BTreeMap<usize, usize> =
        variables.iter().enumerate().map(|(i, v)| (v.merge, i)).collect();
    let switched: BTreeMap<usize, usize> =
        variables.iter().enumerate().filter_map(|(i, v)| Some((v.switch?, i))).collect();
    let entered: BTreeSet<usize> = variables.iter().map(|v| v.enter).collect();
    let inside: BTreeSet<usize> = members
        .iter()
        .copied()
        .filter(|node| {
            let data = &graph.nodes[*node];
            !merged.contains_key(node)
                && !switched.contains_key(node)
                && !is(data, "Enter")
                && !is(data, "Exit")
                && !is(data, "LoopCond")
        })
        .collect();
    let mut captures = Captures::from(variables.len());
    let place = |source: Source| -> Place {
        let Source::Out(node, index) = source else { return Place::Outside(source) };
        if let Some(&i) = merged.get(&node) {
            return if index == 0 { Place::Arg(i) } else { Place::Unknown };
        }
        if let Some(&i) = switched.get(&node) {
            return Place::Arg(i);
        }
        let data = &graph.nodes[node];
        if is(data, "Enter") && !entered.contains(&node) {
            return data.inputs.first().map_or(Place::Unknown, |&input| Place::Outside(input));
        }
        if is(data, "LoopCond") {
            return Place::Unknown;
        }
        if inside.contains(&node) { Place::Inside } else { Place::Outside(source) }
    };
    let name = graph.nodes[variables.first().map_or(first, |v| v.merge)].name.clone();
    let enters_have_inputs =
        members.iter().all(|&n| !is(&graph.nodes[n], "Enter") || !graph.nodes[n].inputs.is_empty());
    let condition = graph.nodes[test].inputs.first().copied();
    let (Some(condition), true) = (condition, enters_have_inputs) else {
        return Err((LowerError::invalid("a loop whose nodes lack inputs"), test));
    };
    let nexts: Vec<Source> = variables.iter().map(|v| v.next).collect();
    let mut cond = extract(graph, &[condition], &mut captures, &place).map_err(at(test))?;
    let mut body = extract(graph, &nexts, &mut captures, &place).map_err(at(test))?;
    let count = variables.len() + captures.sources.len();
    for made in [&mut cond, &mut body] {
        made.args = (0..count).map(|i| format!("arg{i}")).collect();
    }
    for i in variables.len()..count {
        body.rets.push((format!("ret{i}"), Source::Arg(i)));
    }
    for made in [&mut cond, &mut body] {
        conditions(made).map_err(|(error, _)| (error, test))?;
    }
    let mut inputs: Vec<Source> =
        variables.iter().map(|v| graph.nodes[v.enter].inputs[0]).collect();
    inputs.extend(&captures.sources);
    let node = graph.nodes.len();
    graph.nodes.push(Node {
        name,
        op: "While".into(),
        inputs,
        controls: Vec::new(),
        attrs: BTreeMap::from([
            ("cond".to_owned(), Attr::Graph(Arc::new(cond))),
            ("body".to_owned(), Attr::Graph(Arc::new(body))),
        ]),
    });
    frames.of.push(frames.all[frame].parent);
    // What left the loop comes from the new node.
    let exits: BTreeMap<usize, usize> = members
        .iter()
        .filter(|&&exit| is(&graph.nodes[exit], "Exit"))
        .filter_map(|&exit| {
            let from = graph.nodes[exit].inputs.first()?.node()?;
            Some((exit, *switched.get(&from)?))
        })
        .collect();
    let replace = |source: &mut Source| {
        if let Source::Out(exit, 0) = source
            && let Some(&i) = exits.get(exit)
        {
            *source = Source::Out(node, i);
        }
    };
    graph.nodes.iter_mut().flat_map(|node| &mut node.inputs).for_each(replace);
    graph.rets.iter_mut().map(|(_, source)| source).for_each(replace);
    for other in &mut graph.nodes {
        other.controls.retain(|need| !exits.contains_key(need));
    }
    Ok(())
}

fn variables(graph: &Graph, members: &[usize], test: usize) -> Result<Vec<Variable>, Problem> {
    let mut switches = BTreeMap::new();
    for &node in members {
        let data = &graph.nodes[node];
        if let (true, [Source::Out(value, 0), pred]) = (is(data, "Switch"), &data.inputs[..])
            && graph.behind(*pred).node() == Some(test)
        {
            switches.insert(*value, node);
        }
    }
    let mut variables = Vec::new();
    for &merge in members {
        if !is(&graph.nodes[merge], "Merge") {
            continue;
        }
        let find = |op: &str| {
            let inputs = graph.nodes[merge].inputs.iter().filter_map(|source| source.node());
            inputs.into_iter().find(|&node| is(&graph.nodes[node], op))
        };
        let Some(back) = find("NextIteration") else { continue };
        let enter = find("Enter").ok_or_else(|| {
            (LowerError::argument("a loop variable that does not come from outside"), merge)
        })?;
        let next = graph.nodes[back].inputs.first().copied();
        let next = next.ok_or_else(|| (LowerError::invalid("`NextIteration` of nothing"), back))?;
        variables.push(Variable { merge, enter, next, switch: switches.get(&merge).copied() });
    }
    Ok(variables)
}

/// Where a source is found from inside a graph that is taken out of another.
enum Place {
    /// It is an argument.
    Arg(usize),
    /// It is that one outside, and becomes an argument.
    Outside(Source),
    /// It is made inside.
    Inside,
    /// It has no meaning there.
    Unknown,
}

/// What a graph uses from outside.
struct Captures {
    /// Number of the first argument that is captured.
    first: usize,
    sources: Vec<Source>,
    places: BTreeMap<Source, usize>,
}

impl Captures {
    /// The argument that stands for a source outside.
    fn take(&mut self, source: Source) -> usize {
        let next = self.sources.len();
        let at = *self.places.entry(source).or_insert(next);
        if at == next {
            self.sources.push(source);
        }
        self.first + at
    }

    /// No captures; arguments are numbered from `first` on.
    fn from(first: usize) -> Self {
        Self { first, sources: Vec::new(), places: BTreeMap::new() }
    }
}

/// Whether a node only says on which branch nodes run that come after it. A constant of a branch is tied
/// to it by nothing else.
fn is_pivot(graph: &Graph, node: usize) -> bool {
    let data = &graph.nodes[node];
    let switched = |source: &Source| source.node().is_some_and(|n| is_switch(&graph.nodes[n]));
    is(data, "NoOp")
        || is_switch(data)
        || (is(data, "Identity") && data.inputs.iter().any(switched))
}

/// The nodes that `rets` need and that are inside, as a graph of their own.
fn extract(
    graph: &Graph,
    rets: &[Source],
    captures: &mut Captures,
    place: &dyn Fn(Source) -> Place,
) -> LowerResult<Graph> {
    let mut new: BTreeMap<usize, usize> = BTreeMap::new();
    let mut open: Vec<usize> = Vec::new();
    let visit = |source: Source,
                 captures: &mut Captures,
                 new: &mut BTreeMap<usize, usize>,
                 open: &mut Vec<usize>|
     -> LowerResult<Source> {
        match (place(source), source) {
            (Place::Arg(index), _) => Ok(Source::Arg(index)),
            (Place::Outside(outer), _) => Ok(Source::Arg(captures.take(outer))),
            (Place::Inside, Source::Out(node, index)) => {
                let next = new.len();
                let at = *new.entry(node).or_insert(next);
                if at == next {
                    open.push(node);
                }
                Ok(Source::Out(at, index))
            }
            _ => Err(LowerError::argument("a value of the control flow is used as a tensor")),
        }
    };
    let mut made = Graph::default();
    for (i, &source) in rets.iter().enumerate() {
        let source = visit(source, captures, &mut new, &mut open)?;
        made.rets.push((format!("ret{i}"), source));
    }
    let mut wired: BTreeMap<usize, Vec<Source>> = BTreeMap::new();
    while let Some(node) = open.pop() {
        let mut inputs = Vec::new();
        for &source in &graph.nodes[node].inputs {
            inputs.push(visit(source, captures, &mut new, &mut open)?);
        }
        for &need in &graph.nodes[node].controls {
            let source = Source::Out(need, 0);
            if is_pivot(graph, need) && matches!(place(source), Place::Inside) {
                visit(source, captures, &mut new, &mut open)?;
            }
        }
        wired.insert(node, inputs);
    }
    let mut order: Vec<(usize, usize)> = new.iter().map(|(&old, &new)| (new, old)).collect();
    order.sort_unstable();
    for (_, old) in order {
        let data = &graph.nodes[old];
        let controls = data.controls.iter().filter_map(|need| new.get(need).copied()).collect();
        let inputs = wired.remove(&old).unwrap_or_default();
        made.nodes.push(Node { inputs, controls, ..data.clone() });
    }
    Ok(made)
}

/// A merge, and its input for each branch.
type Merging = (usize, BTreeMap<usize, Source>);

/// For which values of predicates a node runs.
type Context = BTreeMap<Source, usize>;

/// Replaces every conditional by an `If` or `Case`.
fn conditions(graph: &mut Graph) -> Result<(), Problem> {
    if !graph.nodes.iter().any(|node| is(node, "Merge")) {
        return Ok(());
    }
    let order = {
        let roots: BTreeSet<usize> = graph
            .rets
            .iter()
            .filter_map(|(_, source)| source.node())
            .chain(graph.effects.iter().copied())
            .collect();
        graph.order(&roots).map_err(|cycle| {
            let name = &graph.nodes[cycle.0].name;
            (LowerError::invalid(format!("node `{name}` depends on itself")), cycle.0)
        })?
    };
    let mut contexts: BTreeMap<usize, Arc<Context>> = BTreeMap::new();
    let mut levels: BTreeMap<usize, usize> = BTreeMap::new();
    // By level and predicate: the merges that become one node, with their inputs by branch.
    let mut groups: BTreeMap<(usize, Source), Vec<Merging>> = BTreeMap::new();
    let empty = Arc::new(Context::new());
    for node in order {
        let data = &graph.nodes[node];
        let level = graph.needs(node).filter_map(|n| levels.get(&n)).max().copied().unwrap_or(0);
        if is(data, "Merge") {
            let own = data.inputs.iter().map(|&s| source_context(graph, s, &contexts)).collect();
            let (pred, branches, context) = merged(&own).map_err(at(node))?;
            levels.insert(node, level + 1);
            if context.is_empty() {
                let inputs = branches.into_iter().zip(data.inputs.iter().copied()).collect();
                groups.entry((level + 1, pred)).or_default().push((node, inputs));
            }
            contexts.insert(node, Arc::new(context));
            continue;
        }
        levels.insert(node, level);
        let mut own: Option<Arc<Context>> = None;
        let mut join = |more: &Arc<Context>| {
            own = Some(match own.take() {
                None => Arc::clone(more),
                Some(have) if have == *more || more.is_empty() => have,
                Some(have) if have.is_empty() => Arc::clone(more),
                Some(have) => {
                    let mut both = (*have).clone();
                    both.extend(more.iter().map(|(k, v)| (*k, *v)));
                    Arc::new(both)
                }
            });
        };
        for &source in &data.inputs {
            join(&source_context(graph, source, &contexts));
        }
        for need in &data.controls {
            // An order after a switch itself is no condition.
            if let (Some(context), false) = (contexts.get(need), is_switch(&graph.nodes[*need])) {
                join(context);
            }
        }
        contexts.insert(node, own.unwrap_or_else(|| Arc::clone(&empty)));
    }
    for ((_, pred), merges) in groups {
        one_condition(graph, &contexts, pred, &merges)?;
    }
    Ok(())
}

/// The ops of control flow by dataflow.
pub(super) const DATAFLOW: &[&str] = &[
    "Enter",
    "Exit",
    "LoopCond",
    "Merge",
    "NextIteration",
    "RefEnter",
    "RefExit",
    "RefMerge",
    "RefNextIteration",
    "RefSwitch",
    "Switch",
    "_SwitchN",
];

fn is_switch(node: &Node) -> bool {
    is(node, "Switch") || &*node.op == "_SwitchN"
}

/// For which values of predicates a tensor has a value.
fn source_context(
    graph: &Graph,
    source: Source,
    contexts: &BTreeMap<usize, Arc<Context>>,
) -> Arc<Context> {
    let Source::Out(node, index) = source else { return Arc::default() };
    let own = contexts.get(&node).cloned().unwrap_or_default();
    let data = &graph.nodes[node];
    if is_switch(data)
        && let Some(&pred) = data.inputs.get(1)
    {
        let mut own = (*own).clone();
        own.insert(graph.behind(pred), index);
        return Arc::new(own);
    }
    own
}

/// The predicate that decides between the inputs of a merge, the branch of each input, and what is left
/// of their contexts.
fn merged(own: &Vec<Arc<Context>>) -> LowerResult<(Source, Vec<usize>, Context)> {
    let unclear = || LowerError::argument("it is not clear which condition decides here");
    let mut candidates: BTreeMap<Source, BTreeSet<usize>> = BTreeMap::new();
    for context in own {
        for (&pred, &branch) in &**context {
            candidates.entry(pred).or_default().insert(branch);
        }
    }
    let all = own.len();
    let differs = |pred: &Source| {
        let known = own.iter().filter(|context| context.contains_key(pred)).count();
        let distinct = candidates[pred].len();
        distinct == known && known + 1 >= all && distinct >= 1 && all >= 2
    };
    let full: Vec<Source> = candidates
        .keys()
        .copied()
        .filter(|pred| differs(pred) && candidates[pred].len() == all)
        .collect();
    let partly: Vec<Source> = candidates
        .keys()
        .copied()
        .filter(|pred| differs(pred) && candidates[pred].len() + 1 == all)
        .collect();
    let pred = match (&full[..], &partly[..]) {
        ([one, ..], _) | ([], [one]) => *one,
        _ => return Err(unclear()),
    };
    let missing = (0..all).find(|branch| !candidates[&pred].contains(branch));
    let branches = own
        .iter()
        .map(|context| context.get(&pred).copied().or(missing).ok_or_else(unclear))
        .collect::<LowerResult<Vec<_>>>()?;
    let mut left = Context::new();
    for context in own {
        left.extend(context.iter().filter(|(own, _)| **own != pred).map(|(k, v)| (*k, *v)));
    }
    Ok((pred, branches, left))
}

fn one_condition(
    graph: &mut Graph,
    contexts: &BTreeMap<usize, Arc<Context>>,
    pred: Source,
    merges: &[Merging],
) -> Result<(), Problem> {
    let (first, inputs) = &merges[0];
    let count = inputs.len();
    let mut captures = Captures::from(0);
    let mut graphs = Vec::new();
    for branch in 0..count {
        let rets: Vec<Source> =
            merges.iter().filter_map(|(_, inputs)| inputs.get(&branch).copied()).collect();
        if rets.len() != merges.len() {
            let error = LowerError::argument("a condition whose branches are not all there");
            return Err((error, *first));
        }
        let place = |source: Source| -> Place {
            let Source::Out(node, index) = source else { return Place::Outside(source) };
            let data = &graph.nodes[node];
            if let (true, &[value, by, ..]) = (is_switch(data), &data.inputs[..])
                && graph.behind(by) == pred
            {
                // The value itself may be made inside, of an outer switch on the same condition.
                return if index == branch { Place::Outside(value) } else { Place::Unknown };
            }
            match contexts.get(&node) {
                Some(context) if context.contains_key(&pred) => Place::Inside,
                _ => Place::Outside(source),
            }
        };
        let made = extract(graph, &rets, &mut captures, &place).map_err(at(*first))?;
        graphs.push(made);
    }
    for made in &mut graphs {
        made.args = (0..captures.sources.len()).map(|i| format!("arg{i}")).collect();
        conditions(made).map_err(|(error, _)| (error, *first))?;
    }
    let name = graph.nodes[*first].name.clone();
    let mut all_inputs = vec![pred];
    all_inputs.extend(&captures.sources);
    let mut graphs: Vec<Attr> = graphs.into_iter().map(|g| Attr::Graph(Arc::new(g))).collect();
    let (op, attrs) = if graphs.len() == 2 {
        let yes = graphs.pop().unwrap_or(Attr::Empty);
        let no = graphs.pop().unwrap_or(Attr::Empty);
        let attrs = [("then_branch".to_owned(), yes), ("else_branch".to_owned(), no)];
        ("If", BTreeMap::from(attrs))
    } else {
        let named = graphs.into_iter().enumerate();
        ("Case", named.map(|(i, graph)| (format!("branch{i}"), graph)).collect())
    };
    let node = graph.nodes.len();
    graph.nodes.push(Node { name, op: op.into(), inputs: all_inputs, controls: Vec::new(), attrs });
    let places: BTreeMap<usize, usize> =
        merges.iter().enumerate().map(|(i, (merge, _))| (*merge, i)).collect();
    let replace = |source: &mut Source| {
        if let Source::Out(merge, 0) = source
            && let Some(&i) = places.get(merge)
        {
            *source = Source::Out(node, i);
        }
    };
    graph.nodes.iter_mut().flat_map(|node| &mut node.inputs).for_each(replace);
    graph.rets.iter_mut().map(|(_, source)| source).for_each(replace);
    for other in &mut graph.nodes {
        other.controls.retain(|need| !places.contains_key(need));
    }
    Ok(())
}
