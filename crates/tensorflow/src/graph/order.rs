//! The order in which the nodes of a graph run.

use std::collections::BTreeSet;

use super::{Graph, Source};

/// A node that depends on itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cycle(pub(crate) usize);

impl Graph {
    /// What node `at` needs first: nodes of its inputs and control edges.
    pub(crate) fn needs(&self, at: usize) -> impl Iterator<Item = usize> {
        let node = &self.nodes[at];
        node.inputs.iter().filter_map(|source| source.node()).chain(node.controls.iter().copied())
    }

    /// The nodes that `roots` need, each after those it needs itself, otherwise in the order of the
    /// file.
    pub(crate) fn order(&self, roots: &BTreeSet<usize>) -> Result<Vec<usize>, Cycle> {
        const UNSEEN: u8 = 0;
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        let mut state = vec![UNSEEN; self.nodes.len()];
        let mut order = Vec::new();
        for &root in roots {
            let mut stack = vec![(root, false)];
            while let Some((node, leave)) = stack.pop() {
                if leave {
                    state[node] = DONE;
                    order.push(node);
                    continue;
                }
                match state[node] {
                    DONE => continue,
                    OPEN => return Err(Cycle(node)),
                    _ => {}
                }
                state[node] = OPEN;
                stack.push((node, true));
                let mut needs: Vec<usize> = self.needs(node).collect();
                needs.sort_unstable();
                needs.dedup();
                for need in needs.into_iter().rev() {
                    match state[need] {
                        UNSEEN => stack.push((need, false)),
                        OPEN => return Err(Cycle(need)),
                        _ => {}
                    }
                }
            }
        }
        Ok(order)
    }

    /// The nodes that the results and effects need, in running order.
    pub(crate) fn running_order(&self) -> Result<Vec<usize>, Cycle> {
        let mut roots: BTreeSet<usize> =
            self.rets.iter().filter_map(|(_, source)| source.node()).collect();
        roots.extend(&self.effects);
        self.order(&roots)
    }

    /// The source behind nodes that only pass a value on.
    pub(crate) fn behind(&self, mut source: Source) -> Source {
        let mut steps = 0;
        while let Source::Out(node, 0) = source {
            let node = &self.nodes[node];
            steps += 1;
            match (&*node.op, node.inputs.first()) {
                ("Identity" | "StopGradient" | "PreventGradient" | "Snapshot", Some(&next))
                    if steps <= self.nodes.len() =>
                {
                    source = next;
                }
                _ => break,
            }
        }
        source
    }
}
