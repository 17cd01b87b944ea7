//! Writes what was chosen back as ops.

use std::collections::BTreeMap;
use std::sync::Arc;

use egg::Id;
use mlc_ir::infer::Inferred;
use mlc_ir::{Builder, FuncId, Node, OpError, OpResult, Operands, Program, Region, Value};
use smallvec::SmallVec;

use crate::extract::Choice;
use crate::graph::Graph;
use crate::language::{self, ENode};
use crate::optimize::{Original, canonical};

/// Appends the ops of chosen classes to a region, each once.
pub(crate) struct Emitter<'a> {
    pub(crate) program: &'a mut Program,
    func: FuncId,
    region: Region,
    graph: &'a Graph,
    chosen: BTreeMap<Id, usize>,
    /// An op of the program for a node, and names of values of a class.
    reusable: BTreeMap<ENode, Node>,
    names: BTreeMap<Id, Arc<str>>,
    made_by: BTreeMap<ENode, &'static str>,
    /// What was made.
    made: BTreeMap<Id, SmallVec<[Value; 1]>>,
    /// How many ops each rule made.
    pub(crate) used: BTreeMap<&'static str, u64>,
}

impl<'a> Emitter<'a> {
    pub(crate) fn new(
        program: &'a mut Program,
        (func, region): (FuncId, Region),
        graph: &'a Graph,
    ) -> Self {
        let made_by =
            graph.made_by.iter().map(|(node, &rule)| (canonical(graph, node), rule)).collect();
        Self {
            program,
            func,
            region,
            graph,
            chosen: BTreeMap::new(),
            reusable: BTreeMap::new(),
            names: BTreeMap::new(),
            made_by,
            made: BTreeMap::new(),
            used: BTreeMap::new(),
        }
    }

    /// Takes the choice for the classes `ids`.
    pub(crate) fn choose(&mut self, ids: &[Id], choice: &Choice) {
        let chosen = ids.iter().zip(choice).filter_map(|(&id, &at)| Some((id, at?)));
        self.chosen.extend(chosen);
    }

    /// Takes the ops that are there, and the names of their results.
    pub(crate) fn originals(&mut self, originals: &[Original]) {
        for original in originals {
            let node = canonical(self.graph, &original.enode);
            self.reusable.entry(node).or_insert(original.node);
            let function = &self.program.functions[self.func];
            let values = &function.nodes[original.node].results;
            for (&id, &value) in original.results.iter().zip(values) {
                if let Some(name) = &function.values[value].name {
                    self.names.entry(self.graph.find(id)).or_insert_with(|| Arc::clone(name));
                }
            }
        }
    }

    /// Says that a class is there already.
    pub(crate) fn available(&mut self, id: Id, value: Value) {
        self.made.entry(self.graph.find(id)).or_insert_with(|| SmallVec::from_slice(&[value]));
    }

    /// The value of a class of one result.
    ///
    /// # Errors
    /// Nothing was chosen for a class that it needs.
    pub(crate) fn value(&mut self, id: Id) -> OpResult<Value> {
        self.values(id)?.first().copied().ok_or_else(missing)
    }

    fn values(&mut self, id: Id) -> OpResult<SmallVec<[Value; 1]>> {
        let root = self.graph.find(id);
        let mut stack = vec![root];
        while let Some(&id) = stack.last() {
            if self.made.contains_key(&id) {
                stack.pop();
                continue;
            }
            let node = self.chosen.get(&id).and_then(|&at| self.graph.egraph[id].nodes.get(at));
            let node = node.ok_or_else(missing)?;
            let before = stack.len();
            for &child in egg::Language::children(node) {
                let child = self.graph.find(child);
                if !self.made.contains_key(&child) {
                    stack.push(child);
                }
            }
            if stack.len() == before {
                let values = self.make(id, node)?;
                self.name(id, &values);
                self.made.insert(id, values);
                stack.pop();
            } else {
                // Operands are made in their order: the last one pushed is made first.
                stack[before..].reverse();
            }
        }
        self.made.get(&root).cloned().ok_or_else(missing)
    }

    fn make(&mut self, id: Id, node: &ENode) -> OpResult<SmallVec<[Value; 1]>> {
        let (head, children) = match node {
            ENode::Leaf(value) => return Ok(SmallVec::from_slice(&[*value])),
            ENode::Result(index, [tuple]) => {
                let all = &self.made[&self.graph.find(*tuple)];
                let value = all.get(*index as usize).copied().ok_or_else(missing)?;
                return Ok(SmallVec::from_slice(&[value]));
            }
            ENode::Op(head, children) => (head, children),
        };
        let mut operands = Operands::new();
        for slot in 0..head.ends.len() {
            let ids = language::slot(head, children, slot).iter();
            let values = ids.map(|&id| self.made[&self.graph.find(id)].first().copied());
            operands.push_slot(values.collect::<Option<Vec<_>>>().ok_or_else(missing)?);
        }
        if let Some(&own) = self.reusable.get(node) {
            let function = &mut self.program.functions[self.func];
            function.nodes[own].operands = operands;
            function.regions[self.region].nodes.push(own);
            return Ok(SmallVec::from_slice(&function.nodes[own].results));
        }
        let data = self.graph.data(id);
        let mut loc = self.program.loc(data.loc).clone();
        if let Some(&rule) = self.made_by.get(node) {
            *self.used.entry(rule).or_default() += 1;
            loc = loc.after(rule);
        }
        let loc = self.program.intern_loc(loc);
        let results = Inferred { results: data.results.iter().cloned().collect() };
        let mut builder =
            Builder { program: &mut *self.program, func: self.func, region: self.region, loc };
        let made = builder.append(head.op.clone(), operands, Vec::new(), results);
        Ok(SmallVec::from_slice(builder.results(made)))
    }

    fn name(&mut self, id: Id, values: &[Value]) {
        let (Some(name), [value]) = (self.names.get(&id), values) else { return };
        let slot = &mut self.program.functions[self.func].values[*value].name;
        if slot.is_none() {
            *slot = Some(Arc::clone(name));
        }
    }
}

/// The checker of choices lets none of these through.
fn missing() -> OpError {
    OpError::ty("a class that is needed has no op")
}
