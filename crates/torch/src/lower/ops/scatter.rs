//! Elements along one axis by index tensors of the shape of the result.

use mlc_ir::attr::ScatterMode;
use mlc_ir::ops::{FloorDiv, GatherAlongAxis, RealDiv, Scatter, ScatterAlongAxis};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::axes::axis_arg;
use super::create::{converted, filled_like};
use super::index::flat;
use super::indices::{non_negative, widened};
use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.gather", lower: gather },
    Lowering { name: "aten.take_along_dim", lower: take_along_dim },
    Lowering { name: "aten.scatter", lower: scatter },
    Lowering { name: "aten.scatter_add", lower: scatter_add },
    Lowering { name: "aten.scatter_reduce", lower: scatter_reduce },
    Lowering { name: "aten.index_reduce", lower: index_reduce },
];

/// The part of `x` that begins at the first elements and has the extents `to`, apart from one axis.
fn corner(cx: &mut Cx<'_>, x: Value, to: &[Dim], skip: Option<usize>) -> LowerResult<Value> {
    let mut y = x;
    if cx.b.tensor(x)?.rank() != to.len() {
        return Err(LowerError::invalid("indices and elements differ in rank"));
    }
    for (axis, end) in to.iter().enumerate().filter(|(axis, _)| Some(*axis) != skip) {
        if cx.b.tensor(y)?.shape[axis] != *end {
            y = alias::slice(cx, y, axis, (&Dim::Const(0), end, 1))?;
        }
    }
    Ok(y)
}

/// `x` and indices of the same rank; scalars become vectors of one.
fn ranked(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    if cx.b.tensor(x)?.rank() == 0 { alias::unsqueeze(cx, x, &[0]) } else { Ok(x) }
}

fn gather(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["sparse_grad"]);
    let (x, index) = (call.tensor("self")?, call.tensor("index")?);
    let shape = cx.shape(index)?;
    let axis = axis_arg(call, "dim", 0, cx.rank(x)?)?;
    if shape.iter().any(|extent| extent.is(0)) {
        let zero = cx.b.scalar(cx.dtype(x)?, 0.0)?;
        let y = super::create::filled(cx, &shape, zero)?;
        return cx.one(y);
    }
    let (x, index) = (cx.read(x)?, cx.read(index)?);
    let (x, index) = (ranked(cx, x)?, ranked(cx, index)?);
    let y = along(cx, x, index, axis)?;
    let y = cx.reshape(y, &shape)?;
    cx.one(y)
}

fn along(cx: &mut Cx<'_>, x: Value, index: Value, axis: usize) -> LowerResult<Value> {
    let to = cx.b.tensor(index)?.shape.clone();
    if cx.b.tensor(x)?.rank() != to.len() {
        return Err(LowerError::invalid("`index` has another rank than `self`"));
    }
    let x = corner(cx, x, &to, Some(axis))?;
    let op = GatherAlongAxis { axis: axis as i64, validate_indices: false };
    Ok(op.build(&mut cx.b, x, index)?)
}

/// As `gather`, where the extents of other axes broadcast; of all elements where no axis is named.
fn take_along_dim(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let index = cx.read(call.tensor("indices")?)?;
    let Some(dim) = call.opt_int("dim")? else {
        let (x, index) = (flat(cx, x)?, flat(cx, index)?);
        let y = along(cx, x, index, 0)?;
        return cx.one(y);
    };
    let (own, wanted) = (cx.b.tensor(x)?.shape.clone(), cx.b.tensor(index)?.shape.clone());
    let axis = super::axes::axis(dim, own.len())?;
    if own.len() != wanted.len() || own.is_empty() {
        return Err(LowerError::invalid("`indices` has another rank than `self`"));
    }
    let (mut others, mut to) =
        (own.clone(), mlc_ir::infer::broadcast(&without(&own, axis), &without(&wanted, axis))?);
    to[axis] = wanted[axis].clone();
    let index = widened(cx, index, &to)?;
    others.clone_from(&to);
    others[axis] = own[axis].clone();
    let x = widened(cx, x, &others)?;
    let y = along(cx, x, index, axis)?;
    cx.one(y)
}

/// The extents with 1 for one axis.
fn without(shape: &[Dim], axis: usize) -> Vec<Dim> {
    let mut shape = shape.to_vec();
    shape[axis] = Dim::Const(1);
    shape
}

/// Where updates go.
enum Target {
    /// One index for each update.
    Each(Value),
    /// One index for each place along the axis.
    Vector(Value),
}

/// A tensor, an axis of it and the places that are updated.
struct Scattering {
    axis: usize,
    target: Target,
}

impl Scattering {
    fn apply(
        &self,
        cx: &mut Cx<'_>,
        (x, updates): (Value, Value),
        mode: ScatterMode,
    ) -> LowerResult<Value> {
        let axis = self.axis as i64;
        let index = match self.target {
            Target::Vector(index) => {
                let op = Scatter { axis, mode, validate_indices: false };
                return Ok(op.build(&mut cx.b, x, index, updates)?);
            }
            Target::Each(index) => index,
        };
        // The op wants indices for every place of the other axes: only that corner is updated.
        let to = cx.b.tensor(index)?.shape.clone();
        let mut stages = vec![x];
        let mut ends = Vec::new();
        for (at, end) in to.iter().enumerate().filter(|(at, _)| *at != self.axis) {
            let last = stages[stages.len() - 1];
            if cx.b.tensor(last)?.shape[at] != *end {
                stages.push(alias::slice(cx, last, at, (&Dim::Const(0), end, 1))?);
                ends.push((at, end));
            }
        }
        let op = ScatterAlongAxis { axis, mode, validate_indices: false };
        let mut y = op.build(&mut cx.b, stages[stages.len() - 1], index, updates)?;
        for ((at, end), before) in ends.into_iter().zip(&stages).rev() {
            y = alias::slice_scatter(cx, *before, y, at, (&Dim::Const(0), end, 1))?;
        }
        Ok(y)
    }

    /// `x` reduced with `updates` at the places; without `include_self`, what stood there before does
    /// not count.
    fn reduce(
        &self,
        cx: &mut Cx<'_>,
        (x, updates): (Value, Value),
        (how, include_self): (&str, bool),
    ) -> LowerResult<Value> {
        let dtype = cx.b.tensor(x)?.dtype;
        if dtype == DType::Bool {
            return Err(LowerError::dtype("truth values cannot be reduced by a scatter"));
        }
        let (low, high) = match dtype.int_range() {
            // Core ML computes with 32 bits.
            Some((low, high)) => {
                (low.max(i64::from(i32::MIN)) as f64, high.min(i64::from(i32::MAX)) as f64)
            }
            None => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let (mode, neutral) = match how {
            "sum" | "add" | "mean" => (ScatterMode::Add, 0.0),
            "prod" | "multiply" => (ScatterMode::Mul, 1.0),
            "amax" => (ScatterMode::Max, low),
            "amin" => (ScatterMode::Min, high),
            other => return Err(LowerError::argument(format!("`reduce` is `{other}`"))),
        };
        let start = match include_self {
            true => x,
            false => {
                let neutral = cx.b.scalar(dtype, neutral)?;
                let blank = filled_like(cx, updates, neutral)?;
                self.apply(cx, (x, blank), ScatterMode::Update)?
            }
        };
        let y = self.apply(cx, (start, updates), mode)?;
        if how != "mean" {
            return Ok(y);
        }
        let one = cx.b.scalar(dtype, 1.0)?;
        let mut counts = filled_like(cx, x, one)?;
        let ones = filled_like(cx, updates, one)?;
        if !include_self {
            let zero = cx.b.scalar(dtype, 0.0)?;
            let zeros = filled_like(cx, updates, zero)?;
            counts = self.apply(cx, (counts, zeros), ScatterMode::Update)?;
        }
        counts = self.apply(cx, (counts, ones), ScatterMode::Add)?;
        // Places without updates were not cleared: their count is 1.
        if dtype.is_float() {
            cx.binary(RealDiv {}, y, counts)
        } else {
            cx.binary(FloorDiv {}, y, counts)
        }
    }
}

/// The operands of the scatter ops: target, updates of the shape of the indices, and where they go.
fn operands(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<(Value, Value, Scattering)> {
    let x = call.tensor("self")?;
    let dtype = cx.dtype(x)?;
    let axis = axis_arg(call, "dim", 0, cx.rank(x)?)?;
    let x = cx.read(x)?;
    let x = ranked(cx, x)?;
    let index = cx.read(call.tensor("index")?)?;
    let index = ranked(cx, index)?;
    let to = cx.b.tensor(index)?.shape.clone();
    if cx.b.tensor(x)?.rank() != to.len() {
        return Err(LowerError::invalid("`index` has another rank than `self`"));
    }
    let given = if call.has("src") { "src" } else { "value" };
    let updates = match call.operand(given)? {
        Operand::Tensor(source) if given == "src" => {
            let source = cx.read_as(source, dtype)?;
            let source = ranked(cx, source)?;
            corner(cx, source, &to, None)?
        }
        Operand::Tensor(value) => {
            let value = cx.read_as(value, dtype)?;
            let value = cx.reshape(value, &[])?;
            filled_like(cx, index, value)?
        }
        Operand::Scalar(number) => {
            let value = converted(cx, &number, dtype)?;
            filled_like(cx, index, value)?
        }
    };
    Ok((x, updates, Scattering { axis, target: Target::Each(index) }))
}

fn finished(cx: &mut Cx<'_>, call: &Call<'_>, y: Value) -> LowerResult<Vec<Val>> {
    let shape = cx.shape(call.tensor("self")?)?;
    let y = if shape.is_empty() { cx.reshape(y, &[])? } else { y };
    cx.one(y)
}

fn scatter(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, updates, scattering) = operands(cx, call)?;
    let y = match call.opt_str("reduce")? {
        None => scattering.apply(cx, (x, updates), ScatterMode::Update)?,
        Some(how @ ("add" | "multiply")) => scattering.reduce(cx, (x, updates), (how, true))?,
        Some(other) => return Err(LowerError::argument(format!("`reduce` is `{other}`"))),
    };
    finished(cx, call, y)
}

fn scatter_add(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, updates, scattering) = operands(cx, call)?;
    let y = scattering.reduce(cx, (x, updates), ("sum", true))?;
    finished(cx, call, y)
}

/// How a reduction is done, and whether what stood at a place before counts.
fn reduction<'c>(call: &'c Call<'_>) -> LowerResult<(&'c str, bool)> {
    let how = call
        .opt_str("reduce")?
        .ok_or_else(|| LowerError::invalid("argument `reduce` is missing"))?;
    Ok((how, call.bool_or("include_self", true)?))
}

fn scatter_reduce(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, updates, scattering) = operands(cx, call)?;
    let y = scattering.reduce(cx, (x, updates), reduction(call)?)?;
    finished(cx, call, y)
}

fn index_reduce(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let dtype = cx.dtype(x)?;
    let axis = axis_arg(call, "dim", 0, cx.rank(x)?)?;
    let x = cx.read(x)?;
    let x = ranked(cx, x)?;
    let index = cx.read(call.tensor("index")?)?;
    let index = ranked(cx, index)?;
    let index = non_negative(cx, index, &cx.b.tensor(x)?.shape[axis].clone())?;
    let source = cx.read_as(call.tensor("source")?, dtype)?;
    let source = ranked(cx, source)?;
    let scattering = Scattering { axis, target: Target::Vector(index) };
    let y = scattering.reduce(cx, (x, source), reduction(call)?)?;
    finished(cx, call, y)
}
