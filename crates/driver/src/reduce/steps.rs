//! The ways in which a program becomes smaller.

use std::collections::BTreeSet;

use mlc_ir::{FuncId, Node, Op, Program, Region, Type, Uses, Value};
use mlc_tensor::Tensor;

use super::edit::{By, Edit, Shrink};

/// A kind of step: the parts that may go, and what their going means.
pub(super) type Parts = Vec<Part>;

/// Something that may go on its own or together with others of its kind.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Function(FuncId),
    Output(FuncId, usize),
    Param(FuncId, usize),
    Value(FuncId, Vec<(Value, By)>),
    Constant(Tensor, Tensor),
    Default(FuncId, Node, usize),
    Region(FuncId, Node, usize),
    Yield(FuncId, usize, Value),
    Extent(Shrink),
    Bare,
}

/// The edit that takes all of `parts` away.
pub(super) fn edit(parts: &[Part]) -> Edit {
    let mut edit = Edit::default();
    for part in parts {
        match part {
            Part::Function(id) => drop(edit.functions.insert(*id)),
            Part::Output(id, at) => drop(edit.outputs.insert((*id, *at))),
            Part::Param(id, at) => drop(edit.params.insert((*id, *at))),
            Part::Value(id, values) => {
                edit.values.extend(values.iter().map(|(value, by)| ((*id, *value), *by)));
            }
            Part::Constant(old, new) => drop(edit.constants.insert(old.clone(), new.clone())),
            Part::Default(id, node, at) => drop(edit.defaults.insert((*id, *node, *at))),
            Part::Region(id, node, at) => drop(edit.inlined.insert((*id, *node), *at)),
            Part::Yield(id, at, value) => drop(edit.yields.insert((*id, *at), *value)),
            Part::Extent(shrink) => edit.shrink = Some(*shrink),
            Part::Bare => edit.bare = true,
        }
    }
    edit
}

/// Kinds of steps, in the order in which they are tried.
pub(super) const KINDS: [fn(&Program) -> Parts; 10] =
    [bare, functions, outputs, inlined, inputs, bypasses, params, extents, constants, defaults];

fn bare(program: &Program) -> Parts {
    let mut is_bare = program.metadata.is_empty();
    for (_, function) in program.functions.iter() {
        function.for_each_node(&mut |_, node| {
            is_bare &= program.loc(function.nodes[node].loc).is_unknown();
        });
    }
    if is_bare { Vec::new() } else { vec![Part::Bare] }
}

fn functions(program: &Program) -> Parts {
    // One has to stay: which one, the halves that go find out.
    program.func_ids().map(Part::Function).collect()
}

fn outputs(program: &Program) -> Parts {
    let of = |(id, function): (FuncId, &mlc_ir::Function)| {
        (0..function.outputs.len()).map(move |at| Part::Output(id, at)).collect::<Vec<_>>()
    };
    program.functions.iter().flat_map(of).collect()
}

/// Unused parameters.
fn params(program: &Program) -> Parts {
    let mut parts = Vec::new();
    for (id, function) in program.functions.iter() {
        let uses = Uses::of(function);
        for (at, &arg) in function.regions[function.body].args.iter().enumerate() {
            if uses.count(arg) == 0 {
                parts.push(Part::Param(id, at));
            }
        }
    }
    parts
}

/// All ops that are no constants, with those of regions.
fn ops(program: &Program) -> Vec<(FuncId, Region, Node)> {
    let mut found = Vec::new();
    for (id, function) in program.functions.iter() {
        function.for_each_node(&mut |region, node| {
            if !matches!(function.nodes[node].op, Op::Const(_)) {
                found.push((id, region, node));
            }
        });
    }
    found
}

/// Results of ops become inputs.
fn inputs(program: &Program) -> Parts {
    let part = |(id, _, node): (FuncId, Region, Node)| {
        let function = &program.functions[id];
        let results = &function.nodes[node].results;
        let tensors = results.iter().all(|&r| matches!(function.ty(r), Type::Tensor(_)));
        let values = results.iter().map(|&result| (result, By::Input)).collect();
        (tensors && !results.is_empty()).then_some(Part::Value(id, values))
    };
    ops(program).into_iter().filter_map(part).collect()
}

/// Operands of the same type stand for results.
fn bypasses(program: &Program) -> Parts {
    let part = |(id, _, node): (FuncId, Region, Node)| {
        let function = &program.functions[id];
        let data = &function.nodes[node];
        let values: Option<Vec<(Value, By)>> = data
            .results
            .iter()
            .map(|&result| {
                let same = |&&operand: &&Value| function.ty(operand) == function.ty(result);
                let operand = data.operands.all().iter().find(same)?;
                Some((result, By::Value(*operand)))
            })
            .collect();
        values.filter(|values| !values.is_empty()).map(|values| Part::Value(id, values))
    };
    ops(program).into_iter().filter_map(part).collect()
}

/// Regions stand for the ops around them.
fn inlined(program: &Program) -> Parts {
    let mut parts = Vec::new();
    for (id, _, node) in ops(program) {
        let regions = program.functions[id].nodes[node].regions.len();
        parts.extend((0..regions).rev().map(|at| Part::Region(id, node, at)));
    }
    parts
}

fn extents(program: &Program) -> Parts {
    let mut found: BTreeSet<u64> = BTreeSet::new();
    for (_, function) in program.functions.iter() {
        for &arg in &function.regions[function.body].args {
            function.ty(arg).for_each_dim(&mut |dim| {
                found.extend(dim.as_const().and_then(|n| u64::try_from(n).ok()));
            });
        }
    }
    found.extend(program.consts.iter().flat_map(|(_, tensor)| tensor.shape().to_vec()));
    let mut parts = Vec::new();
    for from in found.into_iter().rev().filter(|&from| from > 1) {
        let mut smaller = vec![1, 2, 3, from / 4, from / 2];
        smaller.retain(|&to| to > 0 && to < from);
        smaller.dedup();
        for to in smaller {
            for in_numbers in [false, true] {
                parts.push(Part::Extent(Shrink { from, to, in_numbers }));
            }
        }
    }
    parts
}

/// Large constants become ones.
fn constants(program: &Program) -> Parts {
    let part = |(_, tensor): (_, &Tensor)| {
        let is_large = tensor.count() > 1 && tensor.dtype().is_float();
        let ones = Tensor::full(tensor.dtype(), tensor.shape(), 1.0).ok()?;
        (is_large && *tensor != ones).then(|| Part::Constant(tensor.clone(), ones))
    };
    program.consts.iter().filter_map(part).collect()
}

fn defaults(program: &Program) -> Parts {
    let mut parts = Vec::new();
    for (id, _, node) in ops(program) {
        let op = &program.functions[id].nodes[node].op;
        let pairs = op.attrs().into_iter().zip(op.defaults());
        for (at, (value, default)) in pairs.enumerate() {
            if default.is_some_and(|default| default != value) {
                parts.push(Part::Default(id, node, at));
            }
        }
    }
    parts
}

/// Earlier values that may become the output at a position: half-way points first, then what the op
/// that makes it uses.
pub(super) fn yields(program: &Program) -> Parts {
    let mut parts = Vec::new();
    for (id, function) in program.functions.iter() {
        let body = &function.regions[function.body];
        let is_tensor = |&value: &Value| matches!(function.ty(value), Type::Tensor(_));
        let made: Vec<Value> = body
            .nodes
            .iter()
            .filter(|&&node| !matches!(function.nodes[node].op, Op::Const(_)))
            .flat_map(|&node| function.nodes[node].results.iter().copied())
            .filter(is_tensor)
            .collect();
        for (at, &result) in body.results.iter().enumerate() {
            // Before parameters and constants there is nothing.
            let Some(place) = made.iter().position(|&value| value == result) else { continue };
            let mut step = place / 2;
            while step > 0 {
                parts.push(Part::Yield(id, at, made[place - step]));
                step /= 2;
            }
            if let Some((_, data)) = function.def(result) {
                let operands = data.operands.all().iter().copied().filter(is_tensor);
                let is_constant = |value: Value| program.constant_of(function, value).is_some();
                let operands = operands.filter(|&value| !is_constant(value));
                parts.extend(operands.map(|value| Part::Yield(id, at, value)));
            }
        }
    }
    parts
}
