//! What decides how often a loop runs.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::{Builder, Def, Node, Op, Region, Value};
use mlc_tensor::Tensor;

/// The number of ops in a region.
pub(crate) fn size(b: &Builder<'_>, region: Region) -> usize {
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
pub(crate) struct Counters<'a, 'p> {
    b: &'a Builder<'p>,
    needed: BTreeSet<Node>,
    /// The loop variables that are needed, by position.
    variables: BTreeSet<usize>,
}

/// A counter has at most this many elements.
const MAX_ELEMENTS: usize = 64;

impl<'a, 'p> Counters<'a, 'p> {
    /// `None` if the condition depends on something that is not known before the program runs.
    pub(crate) fn of(b: &'a Builder<'p>, test: Region, body: Region) -> Option<Self> {
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
    pub(crate) fn evaluate(
        &self,
        region: Region,
        args: &[Option<Tensor>],
    ) -> Option<Vec<Option<Tensor>>> {
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
