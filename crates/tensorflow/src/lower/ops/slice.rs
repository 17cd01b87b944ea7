//! Slices, flips and padding.

use mlc_ir::attr::PadMode;
use mlc_ir::ops::{Pad, Reverse, ReverseSequence, SliceByIndex, SliceBySize, SliceUpdate};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::DType;

use super::axes;
use super::join::{joined, with_extent};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "MirrorPad", lower: mirror_pad },
    Lowering { name: "Pad", lower: pad },
    Lowering { name: "PadV2", lower: pad },
    Lowering { name: "Reverse", lower: reverse },
    Lowering { name: "ReverseSequence", lower: reverse_sequence },
    Lowering { name: "ReverseV2", lower: reverse_v2 },
    Lowering { name: "Roll", lower: roll },
    Lowering { name: "Slice", lower: slice },
    Lowering { name: "StridedSlice", lower: strided_slice },
    Lowering { name: "TensorStridedSliceUpdate", lower: strided_slice_update },
];

/// `count` elements from `start` on along one axis.
pub(super) fn window(
    cx: &mut Cx<'_>,
    x: Value,
    axis: usize,
    (start, count): (i64, i64),
) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    let mut begin = vec![0; rank];
    let mut size = vec![-1; rank];
    (begin[axis], size[axis]) = (start, count);
    let (begin, size) = (cx.b.ints(&begin)?, cx.b.ints(&size)?);
    Ok(SliceBySize {}.build(&mut cx.b, x, begin, size)?)
}

fn slice(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, begin, size) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let shape = cx.shape(x)?;
    if shape.is_empty() {
        return cx.one(x);
    }
    if let (Some(begin), Some(size)) = (cx.ints(begin), cx.ints(size)) {
        let whole = begin.iter().all(|&b| b == 0)
            && size.iter().zip(&shape).all(|(&n, dim)| n == -1 || dim.is(n));
        if whole {
            return cx.one(x);
        }
    }
    let (begin, size) = (cx.cast(begin, DType::I32)?, cx.cast(size, DType::I32)?);
    let y = SliceBySize {}.build(&mut cx.b, x, begin, size)?;
    cx.one(y)
}

/// A strided slice in the terms of the IR: one entry for each axis of the operand.
struct Strided {
    begin: Vec<Value>,
    end: Vec<Value>,
    stride: Vec<i64>,
    begin_mask: Vec<bool>,
    end_mask: Vec<bool>,
    squeeze: Vec<bool>,
    /// Positions of new axes in the result.
    new_axes: Vec<i64>,
}

/// Bit `index` of the mask attribute `name`.
struct Masks {
    begin: i64,
    end: i64,
    ellipsis: i64,
    new_axis: i64,
    shrink: i64,
}

impl Masks {
    fn of(call: &Call<'_>) -> LowerResult<Self> {
        Ok(Self {
            begin: call.int_or("begin_mask", 0)?,
            end: call.int_or("end_mask", 0)?,
            ellipsis: call.int_or("ellipsis_mask", 0)?,
            new_axis: call.int_or("new_axis_mask", 0)?,
            shrink: call.int_or("shrink_axis_mask", 0)?,
        })
    }
}

fn bit(mask: i64, index: usize) -> bool {
    index < 63 && mask >> index & 1 == 1
}

/// Entry `index` of an integer vector, as a scalar.
fn entry(cx: &mut Cx<'_>, all: Value, index: usize) -> LowerResult<Value> {
    if let Some(content) = cx.b.content(all)
        && let Some(n) = content.get(index).and_then(Dim::as_const)
    {
        return Ok(cx.b.int(n.clamp(i64::from(i32::MIN), i64::from(i32::MAX)))?);
    }
    if let Some(n) = cx.ints(all).and_then(|all| all.get(index).copied()) {
        return Ok(cx.b.int(n.clamp(i64::from(i32::MIN), i64::from(i32::MAX)))?);
    }
    let all = cx.cast(all, DType::I32)?;
    let at = cx.b.int(index as i64)?;
    super::join::gathered(cx, all, at, 0)
}

fn plan(
    cx: &mut Cx<'_>,
    rank: usize,
    (begin, end, strides): (Value, Value, Value),
    masks: &Masks,
) -> LowerResult<Strided> {
    let strides = cx.need_ints(strides, "strides")?;
    let count = strides.len();
    let named = (0..count).filter(|&i| !bit(masks.new_axis, i) && !bit(masks.ellipsis, i)).count();
    let hidden = rank.checked_sub(named).ok_or_else(|| {
        LowerError::invalid(format!("{named} axes are sliced of a tensor of rank {rank}"))
    })?;
    let zero = cx.b.int(0)?;
    let mut plan = Strided {
        begin: vec![],
        end: vec![],
        stride: vec![],
        begin_mask: vec![],
        end_mask: vec![],
        squeeze: vec![],
        new_axes: vec![],
    };
    let mut out = 0i64;
    let mut seen = false;
    for (i, &stride) in strides.iter().enumerate() {
        if bit(masks.ellipsis, i) && !seen {
            seen = true;
            for _ in 0..hidden {
                plan.whole(zero);
            }
            out += hidden as i64;
            continue;
        }
        if bit(masks.new_axis, i) {
            plan.new_axes.push(out);
            out += 1;
            continue;
        }
        if stride == 0 {
            return Err(LowerError::invalid("a stride of 0"));
        }
        let single = bit(masks.shrink, i);
        plan.begin.push(entry(cx, begin, i)?);
        plan.end.push(entry(cx, end, i)?);
        plan.stride.push(stride);
        plan.begin_mask.push(bit(masks.begin, i) && !single);
        plan.end_mask.push(bit(masks.end, i) && !single);
        plan.squeeze.push(single);
        if !single {
            out += 1;
        }
    }
    if !seen {
        for _ in 0..hidden {
            plan.whole(zero);
        }
    }
    Ok(plan)
}

impl Strided {
    /// One more axis, taken whole.
    fn whole(&mut self, zero: Value) {
        self.begin.push(zero);
        self.end.push(zero);
        self.stride.push(1);
        self.begin_mask.push(true);
        self.end_mask.push(true);
        self.squeeze.push(false);
    }

    /// Whether every axis is taken whole.
    fn is_whole(&self) -> bool {
        let plain = |i: usize| {
            self.begin_mask[i] && self.end_mask[i] && self.stride[i] == 1 && !self.squeeze[i]
        };
        (0..self.begin.len()).all(plain)
    }

    /// Ends that the op would cut off or refuse, brought into range where extents are known.
    fn settled(&mut self, cx: &mut Cx<'_>, shape: &[Dim]) -> LowerResult<Option<Vec<Dim>>> {
        let mut empty = false;
        let mut result = Vec::new();
        for (axis, dim) in shape.iter().enumerate() {
            let begin = cx.ints(self.begin[axis]).and_then(|v| v.first().copied());
            let end = cx.ints(self.end[axis]).and_then(|v| v.first().copied());
            let Some(n) = dim.as_const() else {
                if !self.squeeze[axis] {
                    result.push(dim.clone());
                }
                // `[-k:]` of an open extent and the like are left to the op.
                continue;
            };
            let stride = self.stride[axis];
            if self.squeeze[axis] {
                if let Some(b) = begin {
                    let at = if b < 0 { b + n } else { b };
                    if !(0..n).contains(&at) {
                        return Err(LowerError::invalid(format!("index {b} of an extent of {n}")));
                    }
                    self.begin[axis] = cx.b.int(at)?;
                }
                continue;
            }
            let (low, high) = if stride > 0 { (0, n) } else { (-1, n - 1) };
            let place = |at: i64| (if at < 0 { at + n } else { at }).clamp(low, high);
            let first = match (self.begin_mask[axis], begin) {
                (true, _) => Some(if stride > 0 { 0 } else { n - 1 }),
                (false, Some(b)) => Some(place(b)),
                _ => None,
            };
            let last = match (self.end_mask[axis], end) {
                (true, _) => Some(if stride > 0 { n } else { -1 }),
                (false, Some(e)) => Some(place(e)),
                _ => None,
            };
            let (Some(first), Some(last)) = (first, last) else {
                result.push(Dim::Unknown);
                continue;
            };
            let count = if stride > 0 {
                (last - first).max(0).div_ceil_by(stride)
            } else {
                (first - last).max(0).div_ceil_by(-stride)
            };
            result.push(Dim::Const(count));
            if count == 0 {
                empty = true;
                continue;
            }
            self.begin_mask[axis] = first == if stride > 0 { 0 } else { n - 1 };
            self.end_mask[axis] = last == if stride > 0 { n } else { -1 };
            self.begin[axis] = cx.b.int(first.max(0))?;
            self.end[axis] = cx.b.int(last.max(0))?;
        }
        Ok(empty.then_some(result))
    }
}

trait DivCeil {
    fn div_ceil_by(self, by: i64) -> i64;
}

impl DivCeil for i64 {
    fn div_ceil_by(self, by: i64) -> i64 {
        (self + by - 1) / by
    }
}

fn strided_slice(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let masks = Masks::of(call)?;
    let shape = cx.shape(x)?;
    let given = (call.tensor(1)?, call.tensor(2)?, call.tensor(3)?);
    let mut plan = plan(cx, shape.len(), given, &masks)?;
    let empty = plan.settled(cx, &shape)?;
    let y = match empty {
        Some(extents) if !extents.contains(&Dim::Unknown) => {
            let zero = cx.scalar_like(x, 0.0)?;
            cx.filled(&extents, zero)?
        }
        _ if plan.is_whole() => x,
        _ => {
            let begin = vector_of(cx, &plan.begin)?;
            let end = vector_of(cx, &plan.end)?;
            if let Some(taken) = constant_slice(cx, x, &plan)? {
                taken
            } else {
                let op = SliceByIndex {
                    stride: plan.stride.clone(),
                    begin_mask: plan.begin_mask.clone(),
                    end_mask: plan.end_mask.clone(),
                    squeeze_mask: plan.squeeze.clone(),
                };
                op.build(&mut cx.b, x, begin, end)?
            }
        }
    };
    let y = cx.expand_dims(y, &plan.new_axes)?;
    cx.one(y)
}

/// The slice of a constant, as a constant; walks backwards are left to the op.
fn constant_slice(cx: &mut Cx<'_>, x: Value, plan: &Strided) -> LowerResult<Option<Value>> {
    let Some(tensor) = cx.b.constant_of(x).cloned() else { return Ok(None) };
    if tensor.dtype().size().is_none() {
        return Ok(None);
    }
    let one = |v: Value| cx.ints(v).and_then(|v| v.first().copied());
    let (mut shape, mut strides, mut offset) = (Vec::new(), Vec::new(), 0u64);
    let mut step = tensor.count() as u64;
    for (axis, &extent) in tensor.shape().iter().enumerate() {
        step = step.checked_div(extent).unwrap_or(0);
        let (n, stride) = (extent as i64, plan.stride[axis]);
        let (Some(begin), Some(end)) = (one(plan.begin[axis]), one(plan.end[axis])) else {
            return Ok(None);
        };
        let first = if plan.begin_mask[axis] { 0 } else { begin };
        let last = match (plan.squeeze[axis], plan.end_mask[axis]) {
            (true, _) => first + 1,
            (false, true) => n,
            (false, false) => end,
        };
        if stride < 1 || !(0 <= first && first < last && last <= n) {
            return Ok(None);
        }
        offset += first as u64 * step;
        if !plan.squeeze[axis] {
            shape.push((last - first).div_ceil_by(stride) as u64);
            strides.push(step * stride as u64);
        }
    }
    let part = tensor.strided(&shape, &strides, offset)?;
    if part.count() <= 64 {
        return super::join::made_now(cx, &part).map(Some);
    }
    Ok(Some(cx.b.constant(part)?))
}

/// Scalars as a vector.
fn vector_of(cx: &mut Cx<'_>, scalars: &[Value]) -> LowerResult<Value> {
    let known: Option<Vec<i64>> =
        scalars.iter().map(|&v| cx.ints(v).and_then(|v| v.first().copied())).collect();
    if let Some(known) = known {
        return Ok(cx.b.ints(&known)?);
    }
    let mut parts = Vec::with_capacity(scalars.len());
    for &scalar in scalars {
        parts.push(cx.expand_dims(scalar, &[0])?);
    }
    joined(cx, parts, 0)
}

fn strided_slice_update(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, update) = (call.tensor(0)?, call.tensor(4)?);
    let masks = Masks::of(call)?;
    let shape = cx.shape(x)?;
    let given = (call.tensor(1)?, call.tensor(2)?, call.tensor(3)?);
    let mut plan = plan(cx, shape.len(), given, &masks)?;
    if plan.settled(cx, &shape)?.is_some() {
        return cx.one(x);
    }
    let mut axes: Vec<usize> = plan.new_axes.iter().map(|&a| a as usize).collect();
    axes.sort_unstable();
    let update = cx.squeeze(update, &axes)?;
    let (begin, end) = (vector_of(cx, &plan.begin)?, vector_of(cx, &plan.end)?);
    let op = SliceUpdate {
        stride: plan.stride,
        begin_mask: plan.begin_mask,
        end_mask: plan.end_mask,
        squeeze_mask: plan.squeeze,
    };
    let y = op.build(&mut cx.b, x, update, begin, end)?;
    cx.one(y)
}

fn reverse_axes(cx: &mut Cx<'_>, x: Value, axes: &[usize]) -> LowerResult<Value> {
    if axes.is_empty() {
        return Ok(x);
    }
    let axes = axes.iter().map(|&axis| axis as i64).collect();
    Ok(Reverse { axes: Some(axes) }.build(&mut cx.b, x)?)
}

fn reverse_v2(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let axes = axes::axes(cx, call.tensor(1)?, cx.rank(x)?)?;
    let y = reverse_axes(cx, x, &axes)?;
    cx.one(y)
}

/// The first form: a truth value for each axis.
fn reverse(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let flags = cx.need_ints(call.tensor(1)?, "dims")?;
    let axes: Vec<usize> = (0..flags.len()).filter(|&axis| flags[axis] != 0).collect();
    let y = reverse_axes(cx, x, &axes)?;
    cx.one(y)
}

fn reverse_sequence(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, lengths) = (call.tensor(0)?, call.tensor(1)?);
    let rank = cx.rank(x)?;
    let seq_axis = axes::axis(call.int("seq_dim")?, rank)? as i64;
    let batch_axis = axes::axis(call.int_or("batch_dim", 0)?, rank)? as i64;
    let lengths = cx.cast(lengths, DType::I32)?;
    let y = ReverseSequence { seq_axis, batch_axis }.build(&mut cx.b, x, lengths)?;
    cx.one(y)
}

/// Rolls by amounts, or along extents, that only running the program tells: element `i` is that of
/// `(i − shift) mod extent`.
fn roll_by(cx: &mut Cx<'_>, x: Value, (shifts, axes): (Value, &[i64])) -> LowerResult<Vec<Val>> {
    let rank = cx.rank(x)?;
    let shifts = cx.cast(shifts, DType::I32)?;
    let mut y = x;
    for (i, &axis) in axes.iter().enumerate() {
        let axis = axes::axis(axis, rank)?;
        let shift = if cx.rank(shifts)? == 0 { shifts } else { entry(cx, shifts, i)? };
        let extent = cx.shape(y)?[axis].clone();
        let places = super::join::iota(cx, &extent, DType::I32)?;
        let count = crate::lower::dims::scalar(cx, &extent)?;
        let from = cx.binary(mlc_ir::ops::Sub {}, places, shift)?;
        let from = cx.binary(mlc_ir::ops::Mod {}, from, count)?;
        y = super::join::gathered(cx, y, from, axis)?;
    }
    cx.one(y)
}

fn roll(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let axes = cx.need_ints(call.tensor(2)?, "axis")?;
    let rank = cx.rank(x)?;
    let shape = cx.shape(x)?;
    let fixed =
        |axis: &i64| axes::axis(*axis, rank).is_ok_and(|axis| shape[axis].as_const().is_some());
    let shifts = match cx.ints(call.tensor(1)?) {
        Some(shifts) if axes.iter().all(fixed) => shifts,
        _ => return roll_by(cx, x, (call.tensor(1)?, &axes)),
    };
    if shifts.len() != axes.len() {
        return Err(LowerError::invalid("as many shifts as axes are needed"));
    }
    let mut y = x;
    for (shift, axis) in shifts.into_iter().zip(axes) {
        let axis = axes::axis(axis, rank)?;
        let extent = cx.shape(y)?[axis].as_const().ok_or_else(|| {
            LowerError::dynamic(format!("axis {axis} is rolled and its extent is not known"))
        })?;
        if extent == 0 {
            continue;
        }
        let by = shift.rem_euclid(extent);
        if by == 0 {
            continue;
        }
        let head = window(cx, y, axis, (extent - by, by))?;
        let tail = window(cx, y, axis, (0, extent - by))?;
        y = joined(cx, vec![head, tail], axis)?;
    }
    cx.one(y)
}

/// (before, after) of each axis.
fn amounts(cx: &Cx<'_>, paddings: Value, rank: usize) -> LowerResult<Vec<(i64, i64)>> {
    let all = cx.need_ints(paddings, "paddings")?;
    if all.len() != 2 * rank {
        return Err(LowerError::invalid(format!("{} paddings for rank {rank}", all.len())));
    }
    Ok(all.chunks(2).map(|pair| (pair[0], pair[1])).collect())
}

fn pad(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, paddings) = (call.tensor(0)?, call.tensor(1)?);
    let rank = cx.rank(x)?;
    let fill = if call.has_input(2) { Some(call.tensor(2)?) } else { None };
    let y = match cx.ints(paddings) {
        Some(_) => {
            let amounts = amounts(cx, paddings, rank)?;
            padded(cx, x, &amounts, fill)?
        }
        None => {
            let value = match fill {
                Some(fill) => cx.need_float(fill, "constant_values")?,
                None => 0.0,
            };
            let flat = cx.reshape(paddings, &[Dim::Const(2 * rank as i64)])?;
            let flat = cx.cast(flat, DType::I32)?;
            pad_by(cx, x, flat, value)?
        }
    };
    cx.one(y)
}

/// `x` with a number around it, by amounts that only running the program tells: (before, after) of each
/// axis, flat.
pub(super) fn pad_by(cx: &mut Cx<'_>, x: Value, amounts: Value, value: f64) -> LowerResult<Value> {
    let dtype = cx.dtype(x)?;
    let wide = floating(cx, x)?;
    let op = Pad { mode: PadMode::Constant, constant_val: F64(value) };
    let y = op.build(&mut cx.b, wide, amounts)?;
    cx.cast(y, dtype)
}

/// `x` as floats where that loses nothing.
fn floating(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    match cx.dtype(x)? {
        dtype if dtype.is_float() => Ok(x),
        DType::I32 | DType::I64 | DType::U32 | DType::U64 => {
            Err(LowerError::dtype("wide integers are padded by amounts that are not known"))
        }
        _ => cx.cast(x, DType::F32),
    }
}

/// `x` with a constant around it. Integers and values that are not known are joined on.
pub(super) fn padded(
    cx: &mut Cx<'_>,
    x: Value,
    amounts: &[(i64, i64)],
    fill: Option<Value>,
) -> LowerResult<Value> {
    if amounts.iter().any(|&(a, b)| a < 0 || b < 0) {
        return Err(LowerError::invalid("a negative padding"));
    }
    let Some(first) = amounts.iter().position(|&pair| pair != (0, 0)) else { return Ok(x) };
    let known = match fill {
        None => Some(0.0),
        Some(fill) => cx.floats(fill).and_then(|all| all.first().copied()),
    };
    if let (true, Some(value)) = (cx.dtype(x)?.is_float(), known) {
        let flat: Vec<i64> = amounts[first..].iter().flat_map(|&(a, b)| [a, b]).collect();
        let flat = cx.b.ints(&flat)?;
        let op = Pad { mode: PadMode::Constant, constant_val: F64(value) };
        return Ok(op.build(&mut cx.b, x, flat)?);
    }
    let fill = match fill {
        Some(fill) => fill,
        None => cx.scalar_like(x, 0.0)?,
    };
    let mut y = x;
    for (axis, &(before, after)) in amounts.iter().enumerate() {
        let shape = cx.shape(y)?;
        let mut parts = Vec::new();
        for (count, own) in [(before, false), (0, true), (after, false)] {
            if own {
                parts.push(y);
            } else if count > 0 {
                let block = with_extent(&shape, axis, Dim::Const(count));
                parts.push(cx.filled(&block, fill)?);
            }
        }
        y = joined(cx, parts, axis)?;
    }
    Ok(y)
}

/// `REFLECT` does not repeat the edge, `SYMMETRIC` does.
fn mirror_pad(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let y = mirrored(cx, call, (call.tensor(0)?, call.tensor(1)?))?;
    cx.one(y)
}

/// `x` with itself mirrored around it, as the attribute `mode` says.
pub(super) fn mirrored(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (x, paddings): (Value, Value),
) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    let amounts = amounts(cx, paddings, rank)?;
    let repeats = match call.text_or("mode", "REFLECT")? {
        "REFLECT" => false,
        "SYMMETRIC" => true,
        other => return Err(LowerError::argument(format!("`mode` is `{other}`"))),
    };
    let last = amounts.iter().rposition(|&pair| pair != (0, 0));
    let Some(first) = amounts.iter().position(|&pair| pair != (0, 0)) else { return Ok(x) };
    // The op mirrors the last two axes.
    if !repeats && cx.dtype(x)?.is_float() && first + 2 >= rank && last.is_some() && rank >= 2 {
        let flat: Vec<i64> = amounts[rank - 2..].iter().flat_map(|&(a, b)| [a, b]).collect();
        let flat = cx.b.ints(&flat)?;
        let op = Pad { mode: PadMode::Reflect, constant_val: F64(0.0) };
        return Ok(op.build(&mut cx.b, x, flat)?);
    }
    let mut y = x;
    for (axis, &(before, after)) in amounts.iter().enumerate() {
        if (before, after) == (0, 0) {
            continue;
        }
        let skip = i64::from(!repeats);
        let extent = cx.shape(y)?[axis].clone();
        let mut parts = Vec::new();
        if before > 0 {
            let edge = window(cx, y, axis, (skip, before))?;
            parts.push(reverse_axes(cx, edge, &[axis])?);
        }
        parts.push(y);
        if after > 0 {
            let extent = extent.as_const().ok_or_else(|| {
                LowerError::dynamic(format!("axis {axis} is mirrored and its extent is not known"))
            })?;
            let start = extent - after - skip;
            if start < 0 {
                return Err(LowerError::invalid(format!("{after} of an extent of {extent}")));
            }
            let edge = window(cx, y, axis, (start, after))?;
            parts.push(reverse_axes(cx, edge, &[axis])?);
        }
        y = joined(cx, parts, axis)?;
    }
    Ok(y)
}
