//! Values that weights alone are multiplied with, and the constants that scale them.

use std::collections::BTreeMap;

use mlc_compress::{Axes, HalfOr, Weight};
use mlc_ir::infer::normalize_axis;
use mlc_ir::{ConstId, FuncId, Function, Node, Op, Program, Uses, Value};
use mlc_pass::Result;
use mlc_tensor::{Tensor, TensorError};

/// A constant whose channels scale a value; its first axis that is not of extent 1 is that of channels.
pub(crate) type Producer = ConstId;

/// A weight that the value is multiplied with.
pub(crate) struct Consumer {
    pub(crate) id: ConstId,
    pub(crate) axes: Axes,
}

/// A value between both.
pub(crate) struct Meeting {
    pub(crate) name: String,
    pub(crate) channels: usize,
    pub(crate) producers: Vec<Producer>,
    pub(crate) consumers: Vec<Consumer>,
}

/// A constant in memory.
pub(crate) struct Read {
    pub(crate) elements: Vec<f32>,
    shape: Vec<usize>,
    float: HalfOr,
}

impl Read {
    pub(crate) fn shown(&self, axes: Axes) -> Weight<'_> {
        Weight {
            elements: &self.elements,
            shape: &self.shape,
            float: self.float,
            output: axes.output,
            input: axes.input,
            moments: None,
        }
    }

    /// Other elements of the same shape and type.
    pub(crate) fn tensor(&self, elements: &[f32]) -> Result<Tensor, TensorError> {
        let shape: Vec<u64> = self.shape.iter().map(|&d| d as u64).collect();
        Tensor::from_bytes(self.float.dtype(), &shape, self.float.bytes(elements))
    }
}

/// Constants that were changed, by what they were.
pub(crate) type Edits = BTreeMap<ConstId, Tensor>;

/// A constant of floats as it is now; `None` if it is of something else.
pub(crate) fn read(program: &Program, edits: &Edits, id: ConstId) -> Result<Option<Read>> {
    let Some(tensor) = edits.get(&id).or_else(|| program.consts.try_get(id)) else {
        return Ok(None);
    };
    let Some(float) = HalfOr::of(tensor.dtype()) else { return Ok(None) };
    let shape = tensor.shape().iter().map(|&d| d as usize).collect();
    Ok(Some(Read { elements: float.read(&tensor.bytes()?), shape, float }))
}

/// All values of `functions` whose scales can move, in order.
pub(crate) fn meetings(program: &Program, functions: &[FuncId]) -> Vec<Meeting> {
    let places = places(program);
    let mut found = Vec::new();
    for &func in functions {
        let function = &program.functions[func];
        let search = Search { program, function, uses: Uses::of(function), places: &places };
        function.for_each_node(&mut |_, node| {
            if let &[value] = &function.nodes[node].results[..] {
                found.extend(search.meeting(node, value));
            }
        });
    }
    found
}

/// How many ops `const` hold each constant.
fn places(program: &Program) -> BTreeMap<ConstId, usize> {
    let mut places = BTreeMap::new();
    for (_, function) in program.functions.iter() {
        function.for_each_node(&mut |_, node| {
            if let Op::Const(payload) = &function.nodes[node].op {
                *places.entry(payload.value).or_default() += 1;
            }
        });
    }
    places
}

struct Search<'a> {
    program: &'a Program,
    function: &'a Function,
    uses: Uses,
    places: &'a BTreeMap<ConstId, usize>,
}

impl Search<'_> {
    /// The constant that `value` is, if nothing else uses it.
    fn own(&self, value: Value) -> Option<ConstId> {
        let (_, data) = self.function.def(value)?;
        let Op::Const(payload) = &data.op else { return None };
        let is_own = self.is_single(value) && self.places.get(&payload.value) == Some(&1);
        is_own.then_some(payload.value)
    }

    fn is_single(&self, value: Value) -> bool {
        self.uses.users(value).len() == 1 && self.uses.yields(value) == 0
    }

    fn shape(&self, id: ConstId) -> &[u64] {
        self.program.consts.try_get(id).map_or(&[], Tensor::shape)
    }

    fn meeting(&self, node: Node, value: Value) -> Option<Meeting> {
        let users = self.uses.users(value);
        if users.is_empty() || self.uses.yields(value) > 0 {
            return None;
        }
        let consumers: Vec<Consumer> =
            users.iter().map(|&user| self.consumer(user, value)).collect::<Option<_>>()?;
        let is_conv = consumers.iter().any(|c| self.shape(c.id).len() > 2);
        let ty = self.function.ty(value).as_tensor()?;
        let axis = if is_conv { 1 } else { ty.rank().checked_sub(1)? };
        let channels = usize::try_from(ty.shape.get(axis)?.as_const()?).ok()?;
        let producers = self.producers(node, (channels, is_conv))?;
        let name = self.function.values[value].name.as_deref().unwrap_or("value").to_owned();
        Some(Meeting { name, channels, producers, consumers })
    }

    /// The weight that `value` is multiplied with by `user`.
    fn consumer(&self, user: Node, value: Value) -> Option<Consumer> {
        let data = &self.function.nodes[user];
        let is_first = data.operands.all().iter().filter(|&&v| v == value).count() == 1
            && data.operands.slot(0) == [value];
        let id = self.own(*data.operands.slot(1).first()?)?;
        let rank = self.shape(id).len();
        let axes = match &data.op {
            Op::Linear(_) => Axes { output: 0, input: 1 },
            Op::Conv(op) if op.groups == 1 => Axes { output: 0, input: 1 },
            Op::Matmul(op) if rank == 2 && !op.transpose_x => {
                let output = usize::from(!op.transpose_y);
                Axes { output, input: 1 - output }
            }
            _ => return None,
        };
        is_first.then_some(Consumer { id, axes })
    }

    /// The constants to divide so that each channel of the result of `node` is divided.
    fn producers(&self, node: Node, of: (usize, bool)) -> Option<Vec<Producer>> {
        let data = &self.function.nodes[node];
        let (channels, is_conv) = of;
        let operand = |slot: usize| data.operands.slot(slot).first().copied();
        let vector = |value: Value| {
            let id = self.own(value)?;
            let shape = self.shape(id);
            let fits = shape.last() == Some(&(channels as u64))
                && shape.iter().product::<u64>() == channels as u64;
            fits.then_some(id)
        };
        match &data.op {
            Op::LayerNorm(op) if !is_conv => {
                let rank = self.function.ty(operand(0)?).as_tensor()?.rank();
                let is_last = |axes: &Vec<i64>| {
                    axes.len() == 1 && normalize_axis(axes[0], rank).is_ok_and(|a| a + 1 == rank)
                };
                if !op.axes.as_ref().is_some_and(is_last) {
                    return None;
                }
                let mut found = vec![vector(operand(1)?)?];
                if let Some(beta) = operand(2) {
                    found.push(vector(beta)?);
                }
                Some(found)
            }
            Op::Mul(_) => {
                let (a, b) = (operand(0)?, operand(1)?);
                if !is_conv && let Some(one) = vector(b).or_else(|| vector(a)) {
                    return Some(vec![one]);
                }
                // Either factor will do, if all of it has the channels.
                let made = |value: Value| {
                    let (node, _) = self.function.def(value)?;
                    let ty = self.function.ty(value).as_tensor()?;
                    let full = is_conv || ty.shape.last()?.as_const() == Some(channels as i64);
                    (full && self.is_single(value)).then(|| self.layer(node, of)).flatten()
                };
                made(b).or_else(|| made(a))
            }
            Op::Relu(_) => {
                let value = operand(0)?;
                let (node, _) = self.function.def(value)?;
                self.is_single(value).then(|| self.layer(node, of)).flatten()
            }
            _ => self.layer(node, of),
        }
    }

    /// Weight and bias of a layer whose output channels come first.
    fn layer(&self, node: Node, (channels, is_conv): (usize, bool)) -> Option<Vec<Producer>> {
        let data = &self.function.nodes[node];
        let fits = match &data.op {
            Op::Linear(_) => !is_conv,
            Op::Conv(_) => is_conv,
            _ => false,
        };
        if !fits {
            return None;
        }
        let mut found = Vec::new();
        for slot in [1, 2] {
            let Some(&value) = data.operands.slot(slot).first() else { continue };
            let id = self.own(value)?;
            if self.shape(id).first() != Some(&(channels as u64)) {
                return None;
            }
            found.push(id);
        }
        Some(found)
    }
}
