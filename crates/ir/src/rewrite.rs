//! Changing functions: local replacement, uses, removal of dead ops.

use std::collections::BTreeMap;

use crate::builder::{Builder, freshen, infer};
use crate::entity::EntityId;
use crate::infer::OpResult;
use crate::program::{FuncId, Function, Node, Program, Region, Value};

/// What becomes of an op that a [`Rewriter`] shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It stays.
    Keep,
    /// Its results are replaced by these values and it goes.
    Replace(Vec<Value>),
}

/// Walks a function in execution order and rebuilds it.
///
/// Each op is shown once with its operands already replaced, after the ops of its regions. Ops that
/// the callback builds stand before it. When a replacement changes the type of a value or what is
/// known of its elements, the types of the ops that use it are inferred again. Linear in the number of ops.
pub struct Rewriter {
    pass: Option<&'static str>,
    map: BTreeMap<Value, Value>,
    retyped: Vec<bool>,
    changed: bool,
}

impl Rewriter {
    /// Rewrites `func`; ops that `each` builds are marked as made by `pass`. Says whether anything
    /// was replaced.
    ///
    /// # Errors
    /// What `each` gives, or an op whose operands no longer fit; the function is then incomplete
    /// and must be thrown away.
    pub fn run<E: From<crate::infer::OpError>>(
        program: &mut Program,
        func: FuncId,
        pass: Option<&'static str>,
        each: &mut dyn FnMut(&mut Builder<'_>, Node) -> Result<Action, E>,
    ) -> Result<bool, E> {
        let mut this = Self { pass, map: BTreeMap::new(), retyped: Vec::new(), changed: false };
        let body = program.functions[func].body;
        this.region(program, func, body, each)?;
        Ok(this.changed)
    }

    fn resolve(&self, value: Value) -> Value {
        self.map.get(&value).copied().unwrap_or(value)
    }

    fn region<E: From<crate::infer::OpError>>(
        &mut self,
        program: &mut Program,
        func: FuncId,
        region: Region,
        each: &mut dyn FnMut(&mut Builder<'_>, Node) -> Result<Action, E>,
    ) -> Result<(), E> {
        let old = std::mem::take(&mut program.functions[func].regions[region].nodes);
        for node in old {
            self.update_operands(program, func, node)?;
            for nested in program.functions[func].nodes[node].regions.clone() {
                self.region(program, func, nested, each)?;
            }
            let mut loc = program.functions[func].nodes[node].loc;
            if let Some(pass) = self.pass {
                let after = program.loc(loc).after(pass);
                loc = program.intern_loc(after);
            }
            let mut builder = Builder { program: &mut *program, func, region, loc };
            match each(&mut builder, node)? {
                Action::Keep => program.functions[func].regions[region].nodes.push(node),
                Action::Replace(values) => {
                    self.changed = true;
                    self.replace(&mut program.functions[func], node, &values);
                }
            }
        }
        let mut results = std::mem::take(&mut program.functions[func].regions[region].results);
        for result in &mut results {
            *result = self.resolve(*result);
        }
        program.functions[func].regions[region].results = results;
        Ok(())
    }

    fn replace(&mut self, function: &mut Function, node: Node, values: &[Value]) {
        let results = function.nodes[node].results.clone();
        debug_assert_eq!(results.len(), values.len(), "one value a result");
        for (&from, &to) in results.iter().zip(values) {
            if from == to {
                continue;
            }
            self.map.insert(from, to);
            let (old, new) = (&function.values[from], &function.values[to]);
            if old.ty != new.ty || old.content != new.content {
                self.mark(to);
            }
            if function.values[to].name.is_none() {
                function.values[to].name = function.values[from].name.clone();
            }
        }
    }

    fn mark(&mut self, value: Value) {
        let at = value.index();
        if self.retyped.len() <= at {
            self.retyped.resize(at + 1, false);
        }
        self.retyped[at] = true;
    }

    fn update_operands(&mut self, program: &mut Program, func: FuncId, node: Node) -> OpResult<()> {
        let mut operands = std::mem::take(&mut program.functions[func].nodes[node].operands);
        let mut retyped = false;
        for operand in operands.all_mut() {
            *operand = self.resolve(*operand);
            retyped |= self.retyped.get(operand.index()).copied().unwrap_or(false);
        }
        program.functions[func].nodes[node].operands = operands;
        if retyped {
            for result in reinfer(program, func, node)? {
                self.mark(result);
            }
        }
        Ok(())
    }
}

/// Infers the results of `node` again, and gives those whose type changed.
///
/// # Errors
/// The operands do not fit.
fn reinfer(program: &mut Program, func: FuncId, node: Node) -> OpResult<Vec<Value>> {
    let data = &program.functions[func].nodes[node];
    let inferred = infer(program, func, &data.op, &data.operands, &data.regions)?;
    let types = freshen(program, inferred);
    let function = &mut program.functions[func];
    let results = function.nodes[node].results.clone();
    let mut changed = Vec::new();
    for (&value, (ty, content)) in results.iter().zip(types) {
        let data = &mut function.values[value];
        if data.ty != ty || data.content != content {
            changed.push(value);
        }
        data.ty = ty;
        data.content = content;
    }
    Ok(changed)
}

/// Who uses each value.
#[derive(Debug)]
pub struct Uses {
    starts: Vec<u32>,
    users: Vec<Node>,
    yields: Vec<u32>,
}

impl Uses {
    /// The uses in `function`, by linked ops and as results of regions.
    #[must_use]
    pub fn of(function: &Function) -> Self {
        let mut counts = vec![0u32; function.values.len() + 1];
        let mut yields = vec![0u32; function.values.len()];
        let count_region = |region: Region, yields: &mut Vec<u32>| {
            for &value in &function.regions[region].results {
                yields[value.index()] += 1;
            }
        };
        count_region(function.body, &mut yields);
        function.for_each_node(&mut |_, node| {
            for &operand in function.nodes[node].operands.all() {
                counts[operand.index() + 1] += 1;
            }
            for &region in &function.nodes[node].regions {
                count_region(region, &mut yields);
            }
        });
        for i in 1..counts.len() {
            counts[i] += counts[i - 1];
        }
        let starts = counts.clone();
        let mut users = vec![Node::from_index(0); *counts.last().unwrap_or(&0) as usize];
        function.for_each_node(&mut |_, node| {
            for &operand in function.nodes[node].operands.all() {
                let at = &mut counts[operand.index()];
                users[*at as usize] = node;
                *at += 1;
            }
        });
        Self { starts, users, yields }
    }

    /// The ops that use `value`, in execution order, once for each operand.
    #[must_use]
    pub fn users(&self, value: Value) -> &[Node] {
        let at = value.index();
        &self.users[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// How often regions yield `value`.
    #[must_use]
    pub fn yields(&self, value: Value) -> u32 {
        self.yields[value.index()]
    }

    /// Uses by ops and by regions.
    #[must_use]
    pub fn count(&self, value: Value) -> usize {
        self.users(value).len() + self.yields(value) as usize
    }
}

/// Unlinks every op without effects whose results nobody uses. Says how many went.
pub fn remove_unused(function: &mut Function) -> usize {
    let mut live = vec![false; function.nodes.len()];
    let mut order = Vec::new();
    function.for_each_node(&mut |region, node| order.push((region, node)));
    let mut needed = vec![false; function.values.len()];
    for &value in &function.regions[function.body].results {
        needed[value.index()] = true;
    }
    // An op stands after everything it uses, so one walk backwards finds all live ops. Regions of a
    // live op come after it in `order`, so their results are marked when it is first needed by
    // walking until nothing changes; nesting is shallow and each round handles one level more.
    loop {
        let mut grew = false;
        for &(_, node) in order.iter().rev() {
            let data = &function.nodes[node];
            let wanted = !data.op.spec().is_removable()
                || writes_state(function, node)
                || data.results.iter().any(|r| needed[r.index()]);
            if live[node.index()] || !wanted {
                continue;
            }
            live[node.index()] = true;
            for &operand in data.operands.all() {
                needed[operand.index()] = true;
            }
            for &region in &data.regions {
                grew = true;
                for &value in &function.regions[region].results {
                    needed[value.index()] = true;
                }
            }
        }
        if !grew {
            break;
        }
    }
    let mut removed = 0;
    let mut regions: Vec<Region> = order.iter().map(|&(region, _)| region).collect();
    regions.sort_unstable();
    regions.dedup();
    for region in regions {
        let before = function.regions[region].nodes.len();
        let nodes = std::mem::take(&mut function.regions[region].nodes);
        let kept: Vec<Node> = nodes.into_iter().filter(|node| live[node.index()]).collect();
        removed += before - kept.len();
        function.regions[region].nodes = kept;
    }
    removed
}

fn writes_state(function: &Function, node: Node) -> bool {
    function.nodes[node].regions.iter().any(|&region| {
        function.regions[region].nodes.iter().any(|&inner| {
            !function.nodes[inner].op.spec().is_removable() || writes_state(function, inner)
        })
    })
}
