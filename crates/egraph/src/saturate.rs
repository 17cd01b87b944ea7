//! Applies rules until nothing new is found or a limit is hit.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use egg::Id;

use crate::build::Build;
use crate::graph::{Graph, Refusal};
use crate::language::ENode;
use crate::matching::Match;
use crate::rule::RuleSet;

/// Limits by count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most rounds over what changed.
    pub iterations: usize,
    /// Most nodes of the graph of a window.
    pub nodes: usize,
    /// Most replacements that one rule adds to a window.
    pub matches: usize,
}

/// A limit that was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// [`Limits::iterations`].
    Iterations,
    /// [`Limits::nodes`].
    Nodes,
    /// [`Limits::matches`], by the rule of that name.
    Matches(&'static str),
}

/// What saturation did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Saturation {
    /// Rounds.
    pub(crate) iterations: usize,
    /// Replacements that were new, by rule.
    pub(crate) applied: BTreeMap<&'static str, usize>,
    /// Replacements of another type than the op, by rule: faults of rules.
    pub(crate) mistyped: BTreeMap<&'static str, usize>,
    /// Limits that were hit.
    pub(crate) limits: BTreeSet<Limit>,
}

/// Applies `rules` to `graph`.
pub(crate) fn saturate(graph: &mut Graph, rules: &RuleSet, limits: &Limits) -> Saturation {
    let mut done = Saturation::default();
    graph.egraph.rebuild();
    graph.egraph.analysis.touched.clear();
    let mut dirty: BTreeSet<Id> = graph.egraph.classes().map(|class| class.id).collect();
    let mut missed: BTreeSet<(&'static str, Id)> = BTreeSet::new();
    while !dirty.is_empty() && !rules.is_empty() {
        if done.iterations == limits.iterations {
            done.limits.insert(Limit::Iterations);
            break;
        }
        done.iterations += 1;
        let mut found = Vec::new();
        let mut looks = Looks::default();
        for &class in &dirty {
            search(graph, rules, class, (&mut found, &mut looks));
        }
        for (seen, root) in looks.classes {
            graph.egraph[seen].data.watchers.insert(root);
        }
        missed.extend(looks.missed);
        let full = apply(graph, rules, (&found, limits), &mut done);
        graph.egraph.rebuild();
        let touched = std::mem::take(&mut graph.egraph.analysis.touched);
        dirty = touched.into_iter().map(|id| graph.find(id)).collect();
        let watching: Vec<Id> =
            dirty.iter().flat_map(|&id| graph.data(id).watchers.iter().copied()).collect();
        dirty.extend(watching.into_iter().map(|id| graph.find(id)));
        let appeared = missed.extract_if(.., |(kind, _)| graph.has_kind(kind));
        dirty.extend(appeared.map(|(_, id)| graph.find(id)));
        if full {
            done.limits.insert(Limit::Nodes);
            break;
        }
        if graph.egraph.analysis.conflict {
            break;
        }
    }
    done
}

/// Replaces each op by what the first rule that fires on it gives, without looking at what that gives
/// rise to.
pub(crate) fn first_found(graph: &mut Graph, rules: &RuleSet, limits: &Limits) -> Saturation {
    let mut done = Saturation { iterations: 1, ..Saturation::default() };
    graph.egraph.rebuild();
    let classes: BTreeSet<Id> = graph.egraph.classes().map(|class| class.id).collect();
    let mut firsts = Vec::new();
    for class in classes {
        let mut found = Vec::new();
        search(graph, rules, class, (&mut found, &mut Looks::default()));
        firsts.extend(found.into_iter().next());
    }
    if apply(graph, rules, (&firsts, limits), &mut done) {
        done.limits.insert(Limit::Nodes);
    }
    graph.egraph.rebuild();
    done
}

/// A replacement of a class, and the position of the rule that found it.
type Found = (Id, usize, Build);

/// What rules looked at.
#[derive(Default)]
struct Looks {
    /// Classes, and the class that a rule was tried on.
    classes: Vec<(Id, Id)>,
    /// Kinds of ops that were not there, and the class that a rule was tried on.
    missed: Vec<(&'static str, Id)>,
}

/// Tries rules on the ops of a class.
fn search(
    graph: &Graph,
    rules: &RuleSet,
    class: Id,
    (found, looks): (&mut Vec<Found>, &mut Looks),
) {
    let mut looked_at = Vec::new();
    let mut try_on = |node: &ENode, index: usize| {
        let ENode::Op(head, operands) = node else { return };
        for &at in rules.for_op(head.op.spec().name) {
            let seen = RefCell::new(std::mem::take(&mut looked_at));
            let missed = RefCell::default();
            let m = Match { graph, root: class, head, operands, index, seen, missed };
            if let Some(build) = rules.rules()[at].replacement(&m) {
                found.push((class, at, build));
            }
            looked_at = m.seen.into_inner();
            looks.missed.extend(m.missed.into_inner().into_iter().map(|kind| (kind, class)));
        }
    };
    for node in &graph.egraph[class].nodes {
        match node {
            ENode::Leaf(_) => {}
            // All results of an op together are replaced through each of them.
            ENode::Op(..) if graph.data(class).results.len() != 1 => {}
            ENode::Op(..) => try_on(node, 0),
            ENode::Result(index, [tuple]) => {
                for node in &graph.egraph[*tuple].nodes {
                    try_on(node, *index as usize);
                }
            }
        }
    }
    looked_at.iter_mut().for_each(|id| *id = graph.find(*id));
    looked_at.sort_unstable();
    looked_at.dedup();
    looks.classes.extend(looked_at.into_iter().map(|seen| (seen, class)));
}

/// Adds replacements. Says whether the graph is full.
fn apply(
    graph: &mut Graph,
    rules: &RuleSet,
    (found, limits): (&[Found], &Limits),
    done: &mut Saturation,
) -> bool {
    for (root, at, build) in found {
        let rule = rules.rules()[*at].name;
        let applied = done.applied.get(rule).copied().unwrap_or(0);
        if applied >= limits.matches {
            done.limits.insert(Limit::Matches(rule));
            continue;
        }
        let (results, loc) = (graph.data(*root).results.clone(), graph.data(*root).loc);
        graph.rule = Some(rule);
        let added = build.add_to(graph, Some(&results), loc);
        graph.rule = None;
        match added {
            Ok(id) if graph.find(id) == graph.find(*root) => {}
            Ok(id) => {
                let slot = match graph.union(id, *root) {
                    true => &mut done.applied,
                    false => &mut done.mistyped,
                };
                *slot.entry(rule).or_default() += 1;
            }
            Err(Refusal::Full) => return true,
            Err(Refusal::Target) => {}
            Err(Refusal::Types) => *done.mistyped.entry(rule).or_default() += 1,
        }
    }
    false
}
