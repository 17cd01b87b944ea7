//! The weights of a program: constants of floats, and what uses them.

use std::collections::BTreeMap;

use mlc_ir::{ConstId, FuncId, Function, Node, Op, Program, Trait, Uses, Value};
use mlc_tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::filter::{Asked, Filter, FilterError};

/// Which weights of a program a pass compresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Conditions, one of which holds: names of weights, kinds of ops that use them, module paths,
    /// `shape=*x*x1x1`, `rank=4`, `elements>100000`, and such joined by ` & `; `name=` and a name as it
    /// stands; all weights if empty.
    pub only: Vec<String>,
    /// Those that stay as they are.
    pub skip: Vec<String>,
    /// Weights of at most so many elements stay as they are.
    pub threshold: u64,
    /// Weights of more elements stay as they are; 0 for no limit.
    pub limit: u64,
}

impl Default for Selection {
    fn default() -> Self {
        Self { only: Vec::new(), skip: Vec::new(), threshold: 2048, limit: 0 }
    }
}

/// The axes of channels of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Axes {
    /// Of outputs.
    pub output: usize,
    /// Of inputs.
    pub input: usize,
}

/// A use of a constant as a weight.
#[derive(Debug, Clone)]
pub struct Site {
    /// The function.
    pub func: FuncId,
    /// The op `const`.
    pub node: Node,
    /// Its constant.
    pub id: ConstId,
    /// The axes of channels.
    pub axes: Axes,
}

/// A weight: a constant, with all its uses under the same axes.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// The constant.
    pub id: ConstId,
    /// Its elements.
    pub tensor: Tensor,
    /// The axes of channels.
    pub axes: Axes,
    /// Kinds of the ops that use it.
    pub users: Vec<&'static str>,
}

/// A weight that stays although it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    /// Its name.
    pub(crate) name: String,
    /// Why.
    pub(crate) why: String,
    /// Whether that is as it should be, such as that it is compressed already.
    pub(crate) expected: bool,
}

/// What [`find`] finds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Weights, in order, with their uses.
    pub(crate) weights: Vec<(Candidate, Vec<Site>)>,
    /// Those that stay.
    pub(crate) left: Vec<Left>,
    /// Conditions that no weight meets.
    pub(crate) idle: Vec<String>,
}

/// The weights that `selection` names, with their uses.
///
/// # Errors
/// A condition that is none.
pub(crate) fn find(
    program: &Program,
    functions: &[FuncId],
    selection: &Selection,
) -> Result<Found, FilterError> {
    let only = Filter::all(&selection.only)?;
    let skip = Filter::all(&selection.skip)?;
    let mut search = Search {
        program,
        selection,
        used: vec![false; only.len()],
        only,
        skip,
        known: BTreeMap::new(),
        found: Found::default(),
    };
    for &func in functions {
        search.function(func);
    }
    let idle = search.only.iter().zip(&search.used).filter(|(_, used)| !**used);
    search.found.idle = idle.map(|(filter, _)| filter.text().to_owned()).collect();
    Ok(search.found)
}

struct Search<'a> {
    program: &'a Program,
    selection: &'a Selection,
    only: Vec<Filter>,
    /// Which of them named something.
    used: Vec<bool>,
    skip: Vec<Filter>,
    known: BTreeMap<(ConstId, Axes), usize>,
    found: Found,
}

impl Search<'_> {
    fn function(&mut self, func: FuncId) {
        let program = self.program;
        let function = &program.functions[func];
        let uses = Uses::of(function);
        let mut nodes = Vec::new();
        function.for_each_node(&mut |_, node| nodes.push(node));
        for node in nodes {
            let data = &function.nodes[node];
            let Some(&value) = data.results.first() else { continue };
            let users = uses.users(value);
            if users.is_empty() {
                continue;
            }
            if data.op.spec().traits.has(Trait::Constexpr) {
                self.stored(function, node, users);
            }
            let Op::Const(payload) = &data.op else { continue };
            let Some(tensor) = program.consts.try_get(payload.value) else { continue };
            let is_part = users.iter().all(|&user| decodes(function, user));
            if is_part || !is_weight(tensor, self.selection, || is_operand(function, value, users))
            {
                continue;
            }
            let asked = Asked {
                program,
                function,
                node,
                users,
                name: program.consts.name(payload.value),
                shape: tensor.shape(),
            };
            if self.is_named(asked) {
                self.constant((func, node), (value, payload.value), users);
            }
        }
    }

    fn is_named(&mut self, asked: Asked<'_>) -> bool {
        let mut named = self.only.is_empty();
        for (filter, used) in self.only.iter().zip(&mut self.used) {
            if filter.holds(asked) {
                (named, *used) = (true, true);
            }
        }
        named && !self.skip.iter().any(|filter| filter.holds(asked))
    }

    /// Notes a weight that is compressed already.
    fn stored(&mut self, function: &Function, node: Node, users: &[Node]) {
        let data = &function.nodes[node];
        let Some(ty) = data.results.first().and_then(|&r| function.ty(r).as_tensor()) else {
            return;
        };
        let Some(shape) = ty.static_shape() else { return };
        if users.iter().any(|&user| decodes(function, user)) {
            return;
        }
        let asked =
            Asked { program: self.program, function, node, users, name: None, shape: &shape };
        if self.is_named(asked) {
            let name = data.results.first().and_then(|&r| function.values[r].name.clone());
            let why = format!("it is stored by `{}` already", data.op.spec().name);
            let name = name.map_or_else(|| format!("{node:?}"), |name| name.to_string());
            self.found.left.push(Left { name, why, expected: true });
        }
    }

    fn constant(&mut self, (func, node): (FuncId, Node), value: (Value, ConstId), users: &[Node]) {
        let function = &self.program.functions[func];
        let id = value.1;
        let Some(tensor) = self.program.consts.try_get(id) else { return };
        let name = name(self.program, function, value);
        match axes(function, users, value.0) {
            Err(why) => self.found.left.push(Left { name, why, expected: false }),
            Ok(axes) => {
                let weights = &mut self.found.weights;
                let at = *self.known.entry((id, axes)).or_insert_with(|| {
                    let users =
                        users.iter().map(|&user| function.nodes[user].op.spec().name).collect();
                    let tensor = tensor.clone();
                    weights.push((Candidate { name, id, tensor, axes, users }, Vec::new()));
                    weights.len() - 1
                });
                weights[at].1.push(Site { func, node, id, axes });
            }
        }
    }
}

fn decodes(function: &Function, node: Node) -> bool {
    function.nodes[node].op.spec().traits.has(Trait::Constexpr)
}

/// Whether an op multiplies with `value`, or looks rows of it up.
fn is_operand(function: &Function, value: Value, users: &[Node]) -> bool {
    users.iter().any(|&user| {
        let data = &function.nodes[user];
        let slot = match data.op {
            Op::Linear(_) | Op::Conv(_) | Op::ConvTranspose(_) | Op::Matmul(_) => 1,
            Op::Gather(_) => 0,
            _ => return false,
        };
        data.operands.slot(slot).contains(&value)
    })
}

/// Floats of at least two axes; other numbers where an op multiplies with them, which is then told.
fn is_weight(tensor: &Tensor, selection: &Selection, is_operand: impl Fn() -> bool) -> bool {
    let count = tensor.count() as u64;
    let fits = count > selection.threshold && (selection.limit == 0 || count <= selection.limit);
    fits && tensor.shape().len() >= 2 && (tensor.dtype().is_float() || is_operand())
}

fn name(program: &Program, function: &Function, (value, id): (Value, ConstId)) -> String {
    let own = function.values[value].name.as_deref().or_else(|| program.consts.name(id));
    own.map_or_else(|| format!("{id:?}"), str::to_owned)
}

/// The axes of channels that all users agree on.
fn axes(function: &Function, users: &[Node], value: Value) -> Result<Axes, String> {
    let mut found: Option<Axes> = None;
    for &user in users {
        let data = &function.nodes[user];
        if data.op.spec().traits.has(Trait::Constexpr) {
            return Err(format!("it is an operand of `{}`", data.op.spec().name));
        }
        let rank = function.ty(value).as_tensor().map_or(2, mlc_ir::TensorType::rank);
        let slot = (0..data.operands.slots())
            .find(|&slot| data.operands.slot(slot).contains(&value))
            .unwrap_or(0);
        let axes = axes_of(&data.op, slot, rank);
        match found {
            Some(other) if other != axes => {
                return Err("its users do not agree on the axis of channels".to_owned());
            }
            _ => found = Some(axes),
        }
    }
    found.ok_or_else(|| "nothing uses it".to_owned())
}

/// The axes of channels of an operand of rank `rank`.
fn axes_of(op: &Op, slot: usize, rank: usize) -> Axes {
    let (last, before) = (rank - 1, rank.saturating_sub(2));
    match op {
        Op::ConvTranspose(_) => Axes { output: 1, input: 0 },
        Op::Matmul(op) if slot == 1 => {
            if op.transpose_y {
                Axes { output: before, input: last }
            } else {
                Axes { output: last, input: before }
            }
        }
        Op::Matmul(op) => {
            if op.transpose_x {
                Axes { output: last, input: before }
            } else {
                Axes { output: before, input: last }
            }
        }
        _ => Axes { output: 0, input: 1 },
    }
}
