//! Reductions over axes.

use mlc_ir::ops::{
    Cast, Equal, Maximum, Mul, NotEqual, RealDiv, ReduceArgmax, ReduceArgmin, ReduceL1Norm,
    ReduceL2Norm, ReduceLogSumExp, ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum, Select,
    Sqrt, Square, Sub,
};
use mlc_ir::{Dim, Op, Value};
use mlc_tensor::{DType, Tensor};

use super::axes;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Scalar, TensorId, Val};
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.sum", lower: |cx, call| numeric(cx, call, Reduction::Sum) },
    Lowering { name: "aten.nansum", lower: nansum },
    Lowering { name: "aten.nanmean", lower: nanmean },
    Lowering { name: "aten.mean", lower: |cx, call| numeric(cx, call, Reduction::Mean) },
    Lowering { name: "aten.prod", lower: |cx, call| numeric(cx, call, Reduction::Prod) },
    Lowering { name: "aten.amax", lower: |cx, call| extremum(cx, call, Reduction::Max) },
    Lowering { name: "aten.amin", lower: |cx, call| extremum(cx, call, Reduction::Min) },
    Lowering { name: "aten.aminmax", lower: aminmax },
    Lowering { name: "aten.max", lower: |cx, call| extremum_or_other(cx, call, Reduction::Max) },
    Lowering { name: "aten.min", lower: |cx, call| extremum_or_other(cx, call, Reduction::Min) },
    Lowering { name: "aten.argmax", lower: |cx, call| arg(cx, call, Reduction::Max) },
    Lowering { name: "aten.argmin", lower: |cx, call| arg(cx, call, Reduction::Min) },
    Lowering { name: "aten.any", lower: |cx, call| logical(cx, call, Reduction::Max) },
    Lowering { name: "aten.all", lower: |cx, call| logical(cx, call, Reduction::Min) },
    Lowering { name: "aten.logsumexp", lower: logsumexp },
    Lowering { name: "aten.count_nonzero", lower: count_nonzero },
    Lowering { name: "aten.median", lower: median },
    Lowering { name: "aten.var", lower: |cx, call| spread(cx, call, (false, false)) },
    Lowering { name: "aten.std", lower: |cx, call| spread(cx, call, (true, false)) },
    Lowering { name: "aten.var_mean", lower: |cx, call| spread(cx, call, (false, true)) },
    Lowering { name: "aten.std_mean", lower: |cx, call| spread(cx, call, (true, true)) },
];

/// What elements are combined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    /// `Σ x`
    Sum,
    /// `Σ x / n`
    Mean,
    /// `Π x`
    Prod,
    /// The greatest.
    Max,
    /// The least.
    Min,
    /// `Σ |x|`
    L1,
    /// `√Σ x²`
    L2,
    /// `ln Σ eˣ`
    LogSumExp,
}

impl Reduction {
    fn op(self, axes: Vec<i64>, keep_dims: bool) -> Op {
        let axes = Some(axes);
        match self {
            Self::Sum => ReduceSum { axes, keep_dims }.into(),
            Self::Mean => ReduceMean { axes, keep_dims }.into(),
            Self::Prod => ReduceProd { axes, keep_dims }.into(),
            Self::Max => ReduceMax { axes, keep_dims }.into(),
            Self::Min => ReduceMin { axes, keep_dims }.into(),
            Self::L1 => ReduceL1Norm { axes, keep_dims }.into(),
            Self::L2 => ReduceL2Norm { axes, keep_dims }.into(),
            Self::LogSumExp => ReduceLogSumExp { axes, keep_dims }.into(),
        }
    }
}

/// The axes that argument `name` lists; all where it is left out or empty. A tensor of rank 0 has
/// none, but may be said to have axis 0.
pub(super) fn axes_of(call: &Call<'_>, name: &str, rank: usize) -> LowerResult<Vec<usize>> {
    match call.opt_ints(name)? {
        Some(list) if !list.is_empty() => {
            let mut axes = axes::axes(&list, rank)?;
            axes.sort_unstable();
            Ok(if rank == 0 { Vec::new() } else { axes })
        }
        _ => Ok((0..rank).collect()),
    }
}

/// One axis; `None` for the axis 0 or −1 of a tensor of rank 0.
pub(super) fn one_axis(axis: i64, rank: usize) -> LowerResult<Option<usize>> {
    let at = axes::axis(axis, rank)?;
    Ok((rank > 0).then_some(at))
}

fn signed(axes: &[usize]) -> Vec<i64> {
    axes.iter().map(|&a| a as i64).collect()
}

/// Reduces over `axes`; over none of them each element stays for itself.
pub(super) fn reduce(
    cx: &mut Cx<'_>,
    reduction: Reduction,
    x: Value,
    (axes, keep): (&[usize], bool),
) -> LowerResult<Value> {
    if axes.is_empty() {
        return match reduction {
            Reduction::L1 | Reduction::L2 => cx.unary(mlc_ir::ops::Abs {}, x),
            _ => Ok(x),
        };
    }
    cx.unary(reduction.op(signed(axes), keep), x)
}

/// Sums and products are `i64` for integers and truth values, unless `dtype` says otherwise.
fn numeric(cx: &mut Cx<'_>, call: &Call<'_>, reduction: Reduction) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let own = cx.dtype(x)?;
    let dtype = match call.opt_dtype("dtype")? {
        Some(dtype) => dtype,
        None if own.is_float() => own,
        None if reduction == Reduction::Mean => {
            return Err(LowerError::dtype(format!("the mean of {own}")));
        }
        None => DType::I64,
    };
    let x = cx.read_as(x, dtype)?;
    let axes = axes_of(call, "dim", cx.b.tensor(x)?.rank())?;
    let keep = call.bool_or("keepdim", false)?;
    let y = reduce(cx, reduction, x, (&axes, keep))?;
    cx.one(y)
}

/// The operand with 0 for NaN, and whether each element is a number.
fn numbers(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<(Value, Value)> {
    let x = cx.read(call.tensor("self")?)?;
    let zero = cx.b.scalar(cx.b.tensor(x)?.dtype, 0.0)?;
    let number = cx.binary(Equal {}, x, x)?;
    let mut y = Select {}.build(&mut cx.b, number, x, zero)?;
    if let Some(dtype) = call.opt_dtype("dtype")? {
        y = cx.cast(y, dtype)?;
    }
    Ok((y, number))
}

/// The sum of what is not NaN.
fn nansum(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    if !cx.dtype(call.tensor("self")?)?.is_float() {
        return numeric(cx, call, Reduction::Sum);
    }
    let (x, _) = numbers(cx, call)?;
    let axes = axes_of(call, "dim", cx.b.tensor(x)?.rank())?;
    let y = reduce(cx, Reduction::Sum, x, (&axes, call.bool_or("keepdim", false)?))?;
    cx.one(y)
}

/// The mean of what is not NaN.
fn nanmean(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let own = cx.dtype(call.tensor("self")?)?;
    if !own.is_float() {
        return Err(LowerError::dtype(format!("the mean of {own}")));
    }
    let (x, number) = numbers(cx, call)?;
    let ty = cx.b.tensor(x)?.clone();
    let axes = axes_of(call, "dim", ty.rank())?;
    let keep = call.bool_or("keepdim", false)?;
    let ones = cx.cast(number, ty.dtype)?;
    let sum = reduce(cx, Reduction::Sum, x, (&axes, keep))?;
    let count = reduce(cx, Reduction::Sum, ones, (&axes, keep))?;
    let y = cx.binary(RealDiv {}, sum, count)?;
    cx.one(y)
}

/// The value of a tensor in which elements can be ordered: truth values become `i32`.
fn ordered(cx: &mut Cx<'_>, x: TensorId) -> LowerResult<Value> {
    match cx.dtype(x)? {
        DType::Bool => cx.read_as(x, DType::I32),
        _ => cx.read(x),
    }
}

fn extremum_over(
    cx: &mut Cx<'_>,
    x: TensorId,
    reduction: Reduction,
    over: (&[usize], bool),
) -> LowerResult<Value> {
    let dtype = cx.dtype(x)?;
    let x = ordered(cx, x)?;
    let y = reduce(cx, reduction, x, over)?;
    cx.cast(y, dtype)
}

fn extremum(cx: &mut Cx<'_>, call: &Call<'_>, reduction: Reduction) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let axes = axes_of(call, "dim", cx.rank(x)?)?;
    let keep = call.bool_or("keepdim", false)?;
    let y = extremum_over(cx, x, reduction, (&axes, keep))?;
    cx.one(y)
}

fn aminmax(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let axes = axes_of(call, "dim", cx.rank(x)?)?;
    let keep = call.bool_or("keepdim", false)?;
    let low = extremum_over(cx, x, Reduction::Min, (&axes, keep))?;
    let high = extremum_over(cx, x, Reduction::Max, (&axes, keep))?;
    Ok(vec![cx.fresh(low), cx.fresh(high)])
}

/// Three ops share the name: of two tensors, of all elements, and along an axis with indices.
fn extremum_or_other(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    reduction: Reduction,
) -> LowerResult<Vec<Val>> {
    if call.has("other") {
        let name = if reduction == Reduction::Max { "aten.maximum" } else { "aten.minimum" };
        let args = [
            ("self", Val::Tensor(call.tensor("self")?)),
            ("other", Val::Tensor(call.tensor("other")?)),
        ];
        return cx.call(name, &args);
    }
    let Some(axis) = call.opt_int("dim")? else { return extremum(cx, call, reduction) };
    let x = call.tensor("self")?;
    let keep = call.bool_or("keepdim", false)?;
    let axis = one_axis(axis, cx.rank(x)?)?;
    let axes: Vec<usize> = axis.into_iter().collect();
    let values = extremum_over(cx, x, reduction, (&axes, keep))?;
    let x = ordered(cx, x)?;
    let indices = position(cx, x, reduction, (axis, keep))?;
    Ok(vec![cx.fresh(values), cx.fresh(indices)])
}

/// The position of the first greatest or least element along an axis, as `i64`.
pub(super) fn position(
    cx: &mut Cx<'_>,
    x: Value,
    reduction: Reduction,
    (axis, keep_dims): (Option<usize>, bool),
) -> LowerResult<Value> {
    let Some(axis) = axis else {
        return Ok(cx.b.constant(Tensor::from_i64s(DType::I64, &[], &[0])?)?);
    };
    let (axis, output_dtype) = (axis as i64, DType::I32);
    let y = match reduction {
        Reduction::Min => cx.unary(ReduceArgmin { axis, keep_dims, output_dtype }, x)?,
        _ => cx.unary(ReduceArgmax { axis, keep_dims, output_dtype }, x)?,
    };
    cx.cast(y, DType::I64)
}

fn arg(cx: &mut Cx<'_>, call: &Call<'_>, reduction: Reduction) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let keep = call.bool_or("keepdim", false)?;
    let rank = cx.rank(x)?;
    let x = ordered(cx, x)?;
    let y = match call.opt_int("dim")? {
        Some(axis) => position(cx, x, reduction, (one_axis(axis, rank)?, keep))?,
        None => {
            let count = cx.b.tensor(x)?.count();
            let flat = if rank == 0 { x } else { cx.reshape(x, &[count])? };
            let y = position(cx, flat, reduction, ((rank > 0).then_some(0), false))?;
            if keep { cx.reshape(y, &vec![Dim::Const(1); rank])? } else { y }
        }
    };
    cx.one(y)
}

/// Whether any (`Max`) or every (`Min`) element is not 0; `u8` for operands of `u8`, else `bool`.
fn logical(cx: &mut Cx<'_>, call: &Call<'_>, reduction: Reduction) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let dtype = if cx.dtype(x)? == DType::U8 { DType::U8 } else { DType::Bool };
    let keep = call.bool_or("keepdim", false)?;
    let shape = cx.shape(x)?;
    let axes = axes_of(call, "dim", shape.len())?;
    let truth = cx.read_as(x, DType::Bool)?;
    let number = cx.cast(truth, DType::I32)?;
    let empty = axes.iter().any(|&a| shape[a].is(0));
    let y = match (empty, reduction) {
        // Over nothing, the sum is 0 and the product 1.
        (true, Reduction::Max) => reduce(cx, Reduction::Sum, number, (&axes, keep))?,
        (true, _) => reduce(cx, Reduction::Prod, number, (&axes, keep))?,
        (false, reduction) => reduce(cx, reduction, number, (&axes, keep))?,
    };
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

fn logsumexp(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = super::unary::float_operand(cx, call)?;
    let axes = axes_of(call, "dim", cx.b.tensor(x)?.rank())?;
    let keep = call.bool_or("keepdim", false)?;
    let y = reduce(cx, Reduction::LogSumExp, x, (&axes, keep))?;
    cx.one(y)
}

fn count_nonzero(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let ty = cx.b.tensor(x)?.clone();
    let axes = axes_of(call, "dim", ty.rank())?;
    let counted = if ty.dtype == DType::Bool {
        x
    } else {
        let zero = cx.b.scalar(ty.dtype, 0.0)?;
        cx.binary(NotEqual {}, x, zero)?
    };
    let ones = cx.cast(counted, DType::I64)?;
    let y = reduce(cx, Reduction::Sum, ones, (&axes, false))?;
    cx.one(y)
}

/// The element in the middle of the order along an axis, the lesser of two, and its position; NaN
/// where there is one. Without an axis, of all elements, and no position.
fn median(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let keep = call.bool_or("keepdim", false)?;
    let (shape, axis) = (cx.shape(x)?, call.opt_int("dim")?);
    let (x, axis, extent) = match axis {
        _ if shape.is_empty() => (cx.read(x)?, None, Dim::Const(1)),
        Some(axis) => {
            let axis = axes::axis(axis, shape.len())?;
            (cx.read(x)?, Some(axis), shape[axis].clone())
        }
        None => {
            let (value, count) = (cx.read(x)?, Dim::product(&shape));
            (cx.reshape(value, std::slice::from_ref(&count))?, Some(0), count)
        }
    };
    let Some(axis) = axis else {
        let zero = position(cx, x, Reduction::Max, (None, false))?;
        return Ok(vec![cx.fresh(x), cx.fresh(zero)]);
    };
    let n = extent.as_const().filter(|&n| n > 0).ok_or_else(|| {
        LowerError::dynamic(format!("the median of {extent} elements"))
            .help("export the model with that extent fixed")
    })?;
    let args = [
        ("self", cx.fresh(x)),
        ("k", Val::Int(Dim::Const((n - 1) / 2 + 1))),
        ("dim", Val::Int(Dim::Const(axis as i64))),
        ("keepdim", Val::Bool(keep)),
    ];
    let outputs = cx.call("aten.kthvalue", &args)?;
    let [Val::Tensor(values), Val::Tensor(at)] = outputs[..] else {
        return Err(LowerError::invalid("`kthvalue` gives other results"));
    };
    let dtype = cx.b.tensor(x)?.dtype;
    if !dtype.is_float() {
        return Ok(outputs);
    }
    let (values, at) = (cx.read(values)?, cx.read(at)?);
    let odd = cx.binary(NotEqual {}, x, x)?;
    let odd = cx.cast(odd, DType::I32)?;
    let any = reduce(cx, Reduction::Max, odd, (&[axis], keep))?;
    let any = cx.cast(any, DType::Bool)?;
    let first = position(cx, odd, Reduction::Max, (Some(axis), keep))?;
    let nan = cx.b.scalar(dtype, f64::NAN)?;
    let values = Select {}.build(&mut cx.b, any, nan, values)?;
    let at = Select {}.build(&mut cx.b, any, first, at)?;
    Ok(vec![cx.fresh(values), cx.fresh(at)])
}

/// `Σ (x − μ)² / max(0, n − correction)`, its root where `root`, and μ too where `with_mean`.
fn spread(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (root, with_mean): (bool, bool),
) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let axes = axes_of(call, "dim", cx.b.tensor(x)?.rank())?;
    let keep = call.bool_or("keepdim", false)?;
    let correction = match call.opt_float("correction")? {
        Some(correction) => correction,
        None => f64::from(u8::from(call.bool_or("unbiased", true)?)),
    };
    let mean = reduce(cx, Reduction::Mean, x, (&axes, true))?;
    let mut y = variance(cx, x, mean, (&axes, keep, correction))?;
    if root {
        y = cx.unary(Sqrt {}, y)?;
    }
    let mut outputs = vec![cx.fresh(y)];
    if with_mean {
        let mean = if keep { mean } else { dims::squeeze(cx, mean, &axes)? };
        outputs.push(cx.fresh(mean));
    }
    Ok(outputs)
}

/// `Σ (x − mean)² / max(0, n − correction)`. The mean of the squares is taken first, which stays in
/// the range of narrow floats where their sum may not.
pub(super) fn variance(
    cx: &mut Cx<'_>,
    x: Value,
    mean: Value,
    (axes, keep, correction): (&[usize], bool, f64),
) -> LowerResult<Value> {
    let ty = cx.b.tensor(x)?.clone();
    let off = cx.binary(Sub {}, x, mean)?;
    let square = cx.unary(Square {}, off)?;
    let biased = reduce(cx, Reduction::Mean, square, (axes, keep))?;
    if correction == 0.0 {
        return Ok(biased);
    }
    let count = axes.iter().fold(Dim::Const(1), |n, &a| n.mul(&ty.shape[a]));
    let factor = match count.as_const() {
        Some(n) => {
            let n = n as f64;
            cx.b.scalar(ty.dtype, n / (n - correction).max(0.0))?
        }
        None => {
            let n = cx.number(&Scalar::Int(count), DType::F32)?;
            let correction = cx.b.scalar(DType::F32, correction)?;
            let zero = cx.b.scalar(DType::F32, 0.0)?;
            let rest = cx.binary(Sub {}, n, correction)?;
            let rest = cx.binary(Maximum {}, rest, zero)?;
            let factor = cx.binary(RealDiv {}, n, rest)?;
            Cast { dtype: ty.dtype }.build(&mut cx.b, factor)?
        }
    };
    cx.binary(Mul {}, biased, factor)
}
