//! The weights of a program: constants of floats, and what uses them.

use std::collections::BTreeMap;

use mlc_ir::{ConstId, FuncId, Function, Node, Op, Program, Trait, Uses, Value};
use mlc_pass::Selector;
use mlc_tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// Which weights of a program a pass compresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Names of weights, kinds of ops that use them, or module paths; all if empty.
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
    pub tensor: Tensor,
    /// The axes of channels.
    pub axes: Axes,
    /// Kinds of the ops that use it.
    pub users: Vec<&'static str>,
}

/// Weights with their uses, and names of what is left with why.
pub(crate) type Found = (Vec<(Candidate, Vec<Site>)>, Vec<(String, String)>);

/// The weights that `selection` names, in order, with their uses; and those that are left although
/// they are named, with why.
pub(crate) fn find(program: &Program, functions: &[FuncId], selection: &Selection) -> Found {
    let only: Vec<Selector> = selection.only.iter().map(Selector::new).collect();
    let skip: Vec<Selector> = selection.skip.iter().map(Selector::new).collect();
    let mut order: Vec<(Candidate, Vec<Site>)> = Vec::new();
    let mut known: BTreeMap<(ConstId, Axes), usize> = BTreeMap::new();
    let mut left = Vec::new();
    for &func in functions {
        let function = &program.functions[func];
        let uses = Uses::of(function);
        let mut constants = Vec::new();
        function.for_each_node(&mut |_, node| {
            if let Op::Const(payload) = &function.nodes[node].op {
                constants.push((node, payload.value));
            }
        });
        for (node, id) in constants {
            let Some(tensor) = program.consts.try_get(id) else { continue };
            let Some(&value) = function.nodes[node].results.first() else { continue };
            if !is_weight(tensor, selection) {
                continue;
            }
            let users = uses.users(value);
            let named = |all: &[Selector]| {
                all.iter().any(|selector| {
                    let own = program.consts.name(id).is_some_and(|name| selector.is(name));
                    let ops = || users.iter().any(|&user| selector.names(program, function, user));
                    own || selector.names(program, function, node) || ops()
                })
            };
            if users.is_empty() || named(&skip) || !(only.is_empty() || named(&only)) {
                continue;
            }
            let name = name(program, function, (value, id));
            match axes(function, users, value) {
                Err(why) => left.push((name, why)),
                Ok(axes) => {
                    let at = *known.entry((id, axes)).or_insert_with(|| {
                        let users =
                            users.iter().map(|&user| function.nodes[user].op.spec().name).collect();
                        let tensor = tensor.clone();
                        order.push((Candidate { name, tensor, axes, users }, Vec::new()));
                        order.len() - 1
                    });
                    order[at].1.push(Site { func, node, id, axes });
                }
            }
        }
    }
    (order, left)
}

fn is_weight(tensor: &Tensor, selection: &Selection) -> bool {
    let is_float = matches!(tensor.dtype(), DType::F16 | DType::F32);
    let count = tensor.count() as u64;
    let fits = count > selection.threshold && (selection.limit == 0 || count <= selection.limit);
    is_float && tensor.shape().len() >= 2 && fits
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
