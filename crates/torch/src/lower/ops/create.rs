//! Tensors made from numbers and shapes.

use mlc_ir::ops::{Add, Equal, Exp, Fill, Mul, Range1d, Shape, Sub};
use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, Tensor};

use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, Scalar, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.zeros", lower: |cx, call| of_size(cx, call, Content::Zero) },
    Lowering { name: "aten.ones", lower: |cx, call| of_size(cx, call, Content::One) },
    Lowering { name: "aten.full", lower: |cx, call| of_size(cx, call, Content::Given) },
    Lowering { name: "aten.empty", lower: |cx, call| of_size(cx, call, Content::Zero) },
    Lowering { name: "aten.empty_strided", lower: |cx, call| of_size(cx, call, Content::Zero) },
    Lowering { name: "aten.empty_permuted", lower: |cx, call| of_size(cx, call, Content::Zero) },
    Lowering { name: "aten.new_zeros", lower: |cx, call| of_size(cx, call, Content::Zero) },
    Lowering { name: "aten.new_ones", lower: |cx, call| of_size(cx, call, Content::One) },
    Lowering { name: "aten.new_full", lower: |cx, call| of_size(cx, call, Content::Given) },
    Lowering { name: "aten.new_empty", lower: |cx, call| of_size(cx, call, Content::Zero) },
    Lowering { name: "aten.new_empty_strided", lower: |cx, call| of_size(cx, call, Content::Zero) },
    Lowering { name: "aten.zeros_like", lower: |cx, call| like(cx, call, Content::Zero) },
    Lowering { name: "aten.ones_like", lower: |cx, call| like(cx, call, Content::One) },
    Lowering { name: "aten.full_like", lower: |cx, call| like(cx, call, Content::Given) },
    Lowering { name: "aten.empty_like", lower: |cx, call| like(cx, call, Content::Zero) },
    Lowering { name: "aten.zero", lower: |cx, call| like(cx, call, Content::Zero) },
    Lowering { name: "aten.fill", lower: fill },
    Lowering { name: "aten.scalar_tensor", lower: scalar_tensor },
    Lowering { name: "aten.arange", lower: arange },
    Lowering { name: "aten.linspace", lower: linspace },
    Lowering { name: "aten.logspace", lower: logspace },
    Lowering { name: "aten.eye", lower: eye },
    Lowering { name: "aten.tril_indices", lower: |cx, call| band_indices(cx, call, true) },
    Lowering { name: "aten.triu_indices", lower: |cx, call| band_indices(cx, call, false) },
    Lowering { name: "aten.fft_fftfreq", lower: |cx, call| frequencies(cx, call, false) },
    Lowering { name: "aten.fft_rfftfreq", lower: |cx, call| frequencies(cx, call, true) },
    Lowering { name: "aten.sym_size", lower: sym_size },
    Lowering { name: "aten.sym_numel", lower: sym_numel },
    Lowering { name: "aten.item", lower: item },
    Lowering { name: "aten._local_scalar_dense", lower: item },
];

/// Most elements of a tensor that is made at compile time.
pub(super) const MAX_KNOWN: i64 = 1 << 20;

/// What a new tensor is filled with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Content {
    /// 0; also what memory that is not set holds.
    Zero,
    /// 1.
    One,
    /// `fill_value`.
    Given,
}

/// Marks the arguments as read that say where and how a new tensor is stored.
pub(super) fn ignore_storage(call: &Call<'_>) {
    call.ignore(&["layout", "device", "pin_memory", "memory_format"]);
}

/// The type that a Python number has as a tensor.
fn default_dtype(number: &Scalar) -> DType {
    match number {
        Scalar::Bool(_) => DType::Bool,
        Scalar::Int(_) => DType::I64,
        Scalar::Float(_) | Scalar::Symbolic(_) => DType::F32,
    }
}

/// A Python number converted to `dtype` as `fill_` does: integers drop the fraction, `bool` is what
/// is not 0.
pub(super) fn converted(cx: &mut Cx<'_>, number: &Scalar, dtype: DType) -> LowerResult<Value> {
    match number {
        Scalar::Int(dim) if dtype.is_int() || dim.as_const().is_none() => cx.number(number, dtype),
        Scalar::Symbolic(_) => cx.number(number, dtype),
        number => {
            let value = number
                .as_f64()
                .ok_or_else(|| LowerError::dynamic("a number is not known at compile time"))?;
            Ok(cx.b.scalar(dtype, value)?)
        }
    }
}

/// A tensor with `value`, a scalar, everywhere.
pub(in crate::lower) fn filled(cx: &mut Cx<'_>, shape: &[Dim], value: Value) -> LowerResult<Value> {
    if shape.is_empty() {
        return Ok(value);
    }
    // `fill` takes only a number that is known.
    if cx.b.constant_of(value).is_none() {
        return dims::expand(cx, value, shape);
    }
    let extents = dims::vector(cx, shape)?;
    let y = Fill {}.build(&mut cx.b, extents, Some(value))?;
    cx.refine(y, shape)?;
    Ok(y)
}

fn content(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (content, default): (Content, Option<DType>),
) -> LowerResult<Value> {
    let given = match content {
        Content::Zero => Scalar::Int(Dim::Const(0)),
        Content::One => Scalar::Int(Dim::Const(1)),
        Content::Given => match call.get("fill_value") {
            Some(Val::Tensor(value)) => {
                let dtype = call.opt_dtype("dtype")?.or(default);
                let dtype = dtype.unwrap_or(cx.dtype(*value)?);
                return cx.read_as(*value, dtype);
            }
            _ => call.scalar("fill_value")?,
        },
    };
    let otherwise = match content {
        Content::Given => default_dtype(&given),
        _ => DType::F32,
    };
    let dtype = call.opt_dtype("dtype")?.or(default).unwrap_or(otherwise);
    converted(cx, &given, dtype)
}

/// A tensor of `size`; of the element type of `self` where there is one.
fn of_size(cx: &mut Cx<'_>, call: &Call<'_>, what: Content) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    call.ignore(&["stride", "physical_layout"]);
    let default = call.opt_tensor("self")?.map(|x| cx.dtype(x)).transpose()?;
    let value = content(cx, call, (what, default))?;
    let y = filled(cx, &call.dims("size")?, value)?;
    cx.one(y)
}

/// A tensor of the shape and element type of `self`.
fn like(cx: &mut Cx<'_>, call: &Call<'_>, what: Content) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    let x = call.tensor("self")?;
    let default = Some(cx.dtype(x)?);
    let value = content(cx, call, (what, default))?;
    let x = cx.read(x)?;
    let y = filled_like(cx, x, value)?;
    cx.one(y)
}

/// A tensor of the shape of `x` with `value`, a scalar, everywhere.
pub(super) fn filled_like(cx: &mut Cx<'_>, x: Value, value: Value) -> LowerResult<Value> {
    let shape = cx.b.tensor(x)?.shape.clone();
    if shape.iter().all(|dim| dim.as_const().is_some()) {
        return filled(cx, &shape, value);
    }
    let extents = Shape {}.build(&mut cx.b, x)?;
    Ok(Fill {}.build(&mut cx.b, extents, Some(value))?)
}

fn fill(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let dtype = cx.dtype(x)?;
    let value = match call.operand("value")? {
        Operand::Tensor(value) => {
            let value = cx.read_as(value, dtype)?;
            cx.reshape(value, &[])?
        }
        Operand::Scalar(number) => converted(cx, &number, dtype)?,
    };
    let x = cx.read(x)?;
    let y = filled_like(cx, x, value)?;
    cx.one(y)
}

fn scalar_tensor(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    let dtype = call.opt_dtype("dtype")?.unwrap_or(DType::F32);
    let y = converted(cx, &call.scalar("s")?, dtype)?;
    cx.one(y)
}

fn arange(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    let start = call.opt_scalar("start")?.unwrap_or(Scalar::Int(Dim::Const(0)));
    let step = call.opt_scalar("step")?.unwrap_or(Scalar::Int(Dim::Const(1)));
    let end = call.scalar("end")?;
    let floats =
        [&start, &end, &step].iter().any(|n| matches!(n, Scalar::Float(_) | Scalar::Symbolic(_)));
    let dtype = call.opt_dtype("dtype")?;
    let dtype = dtype.unwrap_or(if floats { DType::F32 } else { DType::I64 });
    let y = match (&start, &end, &step) {
        (Scalar::Int(start), Scalar::Int(end), Scalar::Int(step)) => {
            let step = step
                .as_const()
                .filter(|&n| n != 0)
                .ok_or_else(|| LowerError::argument(format!("`step` is `{step}`")))?;
            int_range(cx, (start, end, step), dtype)?
        }
        _ => float_range(cx, [&start, &end, &step], dtype)?,
    };
    cx.one(y)
}

fn int_range(
    cx: &mut Cx<'_>,
    (start, end, step): (&Dim, &Dim, i64),
    dtype: DType,
) -> LowerResult<Value> {
    if let (Some(start), Some(end)) = (start.as_const(), end.as_const()) {
        let span = if step > 0 { end.checked_sub(start) } else { start.checked_sub(end) };
        let size = step.checked_abs().unwrap_or(i64::MAX);
        let count = span.map(|span| Dim::Const(span.max(0)).ceil_div(&Dim::Const(size)));
        if let Some(count) = count.and_then(|n| n.as_const()).filter(|&n| n <= MAX_KNOWN) {
            let all: Vec<i64> = (0..count).map(|k| start + k * step).collect();
            let tensor = Tensor::from_i64s(dtype, &[count as u64], &all)?;
            return Ok(cx.b.constant(tensor)?);
        }
    }
    let (start, end) = (dims::scalar(cx, start)?, dims::scalar(cx, end)?);
    let step = cx.b.int(step)?;
    let y = Range1d {}.build(&mut cx.b, end, start, step)?;
    cx.cast(y, dtype)
}

/// `⌈(end − start)/step⌉` numbers, computed in double precision.
fn float_range(cx: &mut Cx<'_>, all: [&Scalar; 3], dtype: DType) -> LowerResult<Value> {
    if let [Some(start), Some(end), Some(step)] = all.map(Scalar::as_f64) {
        let count = mlc_ir::ops::create::float_range_length(end, start, step)
            .filter(|&n| n <= MAX_KNOWN as u64)
            .ok_or_else(|| {
                LowerError::argument(format!("the range from {start} to {end} by {step}"))
            })?;
        // Of integers, the first number and the step are integers too.
        let whole = |x: f64| if dtype.is_float() { x } else { x.trunc() };
        let values: Vec<f64> = (0..count).map(|k| whole(start) + k as f64 * whole(step)).collect();
        return Ok(cx.b.constant(Tensor::from_f64s(dtype, &[count], &values)?)?);
    }
    if !dtype.is_float() {
        return Err(LowerError::dtype(format!("a range of floats as {dtype}")));
    }
    let [start, end, step] = all;
    let start = cx.number(start, dtype)?;
    let end = cx.number(end, dtype)?;
    let step = cx.number(step, dtype)?;
    Ok(Range1d {}.build(&mut cx.b, end, start, step)?)
}

/// The number of steps of a linear or logarithmic range.
fn steps(call: &Call<'_>) -> LowerResult<i64> {
    let steps = call.int("steps")?;
    if !(0..=MAX_KNOWN).contains(&steps) {
        return Err(LowerError::argument(format!("`steps` is {steps}")));
    }
    Ok(steps)
}

/// The factor of the distance that step `k` of `n` is at.
fn share(k: i64, n: i64) -> f64 {
    if n > 1 { k as f64 / (n - 1) as f64 } else { 0.0 }
}

/// `steps` numbers at equal distances: from the start in the first half, from the end in the second,
/// as torch computes them.
fn even(start: f64, end: f64, n: i64) -> Vec<f64> {
    let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
    (0..n)
        .map(|k| match k < n / 2 || n == 1 {
            true => start + step * k as f64,
            false => end - step * (n - 1 - k) as f64,
        })
        .collect()
}

fn linspace(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    let dtype = call.opt_dtype("dtype")?.unwrap_or(DType::F32);
    let (start, end, n) = (call.operand("start")?, call.operand("end")?, steps(call)?);
    if let (Operand::Scalar(start), Operand::Scalar(end)) = (&start, &end)
        && let (Some(start), Some(end)) = (start.as_f64(), end.as_f64())
    {
        let tensor = Tensor::from_f64s(dtype, &[n as u64], &even(start, end, n))?;
        let y = cx.b.constant(tensor)?;
        return cx.one(y);
    }
    let y = even_between(cx, (&start, &end), n, dtype)?;
    cx.one(y)
}

/// `steps` numbers at equal distances between two that the program computes.
fn even_between(
    cx: &mut Cx<'_>,
    (start, end): (&Operand, &Operand),
    n: i64,
    dtype: DType,
) -> LowerResult<Value> {
    if !dtype.is_float() {
        return Err(LowerError::dtype(format!("`linspace` of {dtype} between tensors")));
    }
    let start = cx.operand(start, dtype)?;
    let end = cx.operand(end, dtype)?;
    let (start, end) = (cx.reshape(start, &[])?, cx.reshape(end, &[])?);
    let weights = |f: fn(i64, i64) -> f64| {
        let all: Vec<f64> = (0..n).map(|k| f(k, n)).collect();
        Tensor::from_f64s(dtype, &[n as u64], &all)
    };
    let before = cx.b.constant(weights(|k, n| 1.0 - share(k, n))?)?;
    let after = cx.b.constant(weights(share)?)?;
    let (a, b) = (cx.binary(Mul {}, before, start)?, cx.binary(Mul {}, after, end)?);
    cx.binary(Add {}, a, b)
}

/// `base` to the power of each number of `linspace`.
fn logspace(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    let dtype = call.opt_dtype("dtype")?.unwrap_or(DType::F32);
    let (start, end, n) = (call.operand("start")?, call.operand("end")?, steps(call)?);
    let base = call.float_or("base", 10.0)?;
    if let (Operand::Scalar(start), Operand::Scalar(end)) = (&start, &end)
        && let (Some(start), Some(end)) = (start.as_f64(), end.as_f64())
    {
        let values: Vec<f64> = even(start, end, n).into_iter().map(|x| base.powf(x)).collect();
        let y = cx.b.constant(Tensor::from_f64s(dtype, &[n as u64], &values)?)?;
        return cx.one(y);
    }
    if base <= 0.0 {
        return Err(LowerError::argument(format!("`base` is {base}")));
    }
    let exponents = even_between(cx, (&start, &end), n, dtype)?;
    let scale = cx.b.scalar(dtype, base.ln())?;
    let scaled = cx.binary(Mul {}, exponents, scale)?;
    let y = cx.unary(Exp {}, scaled)?;
    cx.one(y)
}

/// Ones on the diagonal, zeros elsewhere.
fn eye(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    let dtype = call.opt_dtype("dtype")?.unwrap_or(DType::F32);
    let n = call.dim("n")?;
    let m = call.opt_dim("m")?.unwrap_or_else(|| n.clone());
    let y = band(cx, [&n, &m], &|row, column| row == column)?;
    let y = match y {
        Some(y) => y,
        None => {
            let distance = distances(cx, [&n, &m])?;
            let zero = cx.b.int(0)?;
            cx.binary(Equal {}, distance, zero)?
        }
    };
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// Which elements of a matrix `keep` says, as a constant; `None` where the extents are not known, or
/// too large.
pub(super) fn band(
    cx: &mut Cx<'_>,
    [rows, columns]: [&Dim; 2],
    keep: &dyn Fn(i64, i64) -> bool,
) -> LowerResult<Option<Value>> {
    let (Some(rows), Some(columns)) = (rows.as_const(), columns.as_const()) else {
        return Ok(None);
    };
    if rows < 0 || columns < 0 || rows.checked_mul(columns).is_none_or(|n| n > MAX_KNOWN) {
        return Ok(None);
    }
    let bytes: Vec<u8> = (0..rows)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .map(|(row, column)| u8::from(keep(row, column)))
        .collect();
    let tensor = Tensor::from_bytes(DType::Bool, &[rows as u64, columns as u64], bytes)?;
    Ok(Some(cx.b.constant(tensor)?))
}

/// `column − row` for each element of a matrix, as i32.
pub(super) fn distances(cx: &mut Cx<'_>, [rows, columns]: [&Dim; 2]) -> LowerResult<Value> {
    let zero = Dim::Const(0);
    let row = alias::range(cx, &zero, rows, 1)?;
    let column = alias::range(cx, &zero, columns, 1)?;
    let row = alias::unsqueeze(cx, row, &[1])?;
    let column = alias::unsqueeze(cx, column, &[0])?;
    cx.binary(Sub {}, column, row)
}

/// The places of a triangle of a matrix, as two rows: indices of rows and of columns.
fn band_indices(cx: &mut Cx<'_>, call: &Call<'_>, lower: bool) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    let dtype = call.opt_dtype("dtype")?.unwrap_or(DType::I64);
    let (rows, columns) = (call.int("row")?, call.int("col")?);
    let offset = call.int_or("offset", 0)?;
    if rows < 0 || columns < 0 || rows.checked_mul(columns).is_none_or(|n| n > MAX_KNOWN) {
        return Err(LowerError::argument(format!("a matrix of {rows} by {columns}")));
    }
    let places = || {
        (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).filter(
            |&(row, column)| {
                let distance = column - row;
                if lower { distance <= offset } else { distance >= offset }
            },
        )
    };
    let all: Vec<i64> =
        places().map(|place| place.0).chain(places().map(|place| place.1)).collect();
    let tensor = Tensor::from_i64s(dtype, &[2, (all.len() / 2) as u64], &all)?;
    let y = cx.b.constant(tensor)?;
    cx.one(y)
}

/// The frequencies of a transform of `n` points that are `d` apart: those not negative, then, unless
/// `half`, the negative ones.
fn frequencies(cx: &mut Cx<'_>, call: &Call<'_>, half: bool) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    let dtype = call.opt_dtype("dtype")?.unwrap_or(DType::F32);
    let (n, d) = (call.int("n")?, call.float_or("d", 1.0)?);
    if !(1..=MAX_KNOWN).contains(&n) {
        return Err(LowerError::argument(format!("the frequencies of {n} points")));
    }
    let whole: Vec<i64> = match half {
        true => (0..=n / 2).collect(),
        false => (0..(n + 1) / 2).chain(-(n / 2)..0).collect(),
    };
    let step = 1.0 / (n as f64 * d);
    let values: Vec<f64> = whole.iter().map(|&k| k as f64 * step).collect();
    let y = cx.b.constant(Tensor::from_f64s(dtype, &[values.len() as u64], &values)?)?;
    cx.one(y)
}

fn sym_size(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let shape = cx.shape(x)?;
    let value = cx.read(x)?;
    cx.symbols.add_tensor(value, &shape);
    if !call.has("dim") {
        return Ok(vec![Val::List(shape.into_iter().map(Val::Int).collect())]);
    }
    let axis = super::axes::axis_arg(call, "dim", 0, shape.len())?;
    let extent = shape.into_iter().nth(axis);
    Ok(vec![Val::Int(extent.ok_or_else(|| LowerError::invalid("a scalar has no extents"))?)])
}

fn sym_numel(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let shape = cx.shape(call.tensor("self")?)?;
    Ok(vec![Val::Int(Dim::product(&shape))])
}

/// The number that a tensor of one element holds, as a scalar tensor: what takes numbers takes those
/// too, and the value of an integer becomes that of the file's symbol for it.
fn item(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let y = cx.reshape(x, &[])?;
    cx.one(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_steps_meet_both_ends() {
        assert_eq!(even(0.0, 1.0, 5), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(even(3.0, 7.0, 1), [3.0]);
        assert_eq!(even(0.0, 1.0, 0), Vec::<f64>::new());
        assert_eq!(even(-1.0, 0.1, 4).last(), Some(&0.1));
    }
}
