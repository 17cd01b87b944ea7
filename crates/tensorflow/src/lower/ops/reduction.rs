//! Reductions.

use mlc_ir::ops::{
    Abs, Mul, ReduceArgmax, ReduceArgmin, ReduceL2Norm, ReduceMax, ReduceMean, ReduceMin,
    ReduceProd, ReduceSum, ReduceSumSquare,
};
use mlc_ir::{Op, Value};
use mlc_tensor::DType;

use super::axes;
use super::elementwise::float_input;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "All", lower: |cx, call| truth(cx, call, false) },
    Lowering { name: "Any", lower: |cx, call| truth(cx, call, true) },
    Lowering { name: "ArgMax", lower: |cx, call| arg(cx, call, true) },
    Lowering { name: "ArgMin", lower: |cx, call| arg(cx, call, false) },
    Lowering { name: "EuclideanNorm", lower: euclidean_norm },
    Lowering { name: "L2Loss", lower: l2_loss },
    Lowering { name: "Max", lower: |cx, call| reduce(cx, call, max) },
    Lowering { name: "Mean", lower: |cx, call| reduce(cx, call, mean) },
    Lowering { name: "Min", lower: |cx, call| reduce(cx, call, min) },
    Lowering { name: "Prod", lower: |cx, call| reduce(cx, call, prod) },
    Lowering { name: "Sum", lower: |cx, call| reduce(cx, call, sum) },
];

type Make = fn(Vec<i64>, bool) -> Op;

fn sum(axes: Vec<i64>, keep_dims: bool) -> Op {
    ReduceSum { axes: Some(axes), keep_dims }.into()
}

fn mean(axes: Vec<i64>, keep_dims: bool) -> Op {
    ReduceMean { axes: Some(axes), keep_dims }.into()
}

fn max(axes: Vec<i64>, keep_dims: bool) -> Op {
    ReduceMax { axes: Some(axes), keep_dims }.into()
}

fn min(axes: Vec<i64>, keep_dims: bool) -> Op {
    ReduceMin { axes: Some(axes), keep_dims }.into()
}

fn prod(axes: Vec<i64>, keep_dims: bool) -> Op {
    ReduceProd { axes: Some(axes), keep_dims }.into()
}

fn norm(axes: Vec<i64>, keep_dims: bool) -> Op {
    ReduceL2Norm { axes: Some(axes), keep_dims }.into()
}

/// The norm of each element alone, where there are no axes, is its size.
fn euclidean_norm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, axes) = (call.tensor(0)?, call.tensor(1)?);
    if cx.ints(axes).is_some_and(|axes| axes.is_empty()) {
        call.ignore(&["keep_dims"]);
        let y = cx.unary(Abs {}, x)?;
        return cx.one(y);
    }
    reduce(cx, call, norm)
}

fn reduce(cx: &mut Cx<'_>, call: &Call<'_>, make: Make) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let keep = call.bool_or("keep_dims", false)?;
    let axes = axes::axes(cx, call.tensor(1)?, cx.rank(x)?)?;
    let dtype = cx.dtype(x)?;
    if dtype.is_int() && dtype.bits() < 32 {
        // Sums and products of narrow integers wrap around; so do those of wider ones, cut off.
        let wide = cx.cast(x, DType::I32)?;
        let y = reduced(cx, wide, &axes, (keep, make))?;
        let y = narrowed(cx, y, dtype)?;
        return cx.one(y);
    }
    let y = reduced(cx, x, &axes, (keep, make))?;
    cx.one(y)
}

fn narrowed(cx: &mut Cx<'_>, x: Value, dtype: DType) -> LowerResult<Value> {
    let zero = cx.integer(dtype, 0)?;
    let wide = cx.cast(zero, DType::I32)?;
    let (low, _) = dtype.int_range().unwrap_or((0, 0));
    let range = cx.integer(DType::I32, 1 << dtype.bits())?;
    let shift = cx.integer(DType::I32, -low)?;
    let x = cx.binary(mlc_ir::ops::Add {}, x, wide)?;
    let x = cx.binary(mlc_ir::ops::Add {}, x, shift)?;
    let x = cx.binary(mlc_ir::ops::Mod {}, x, range)?;
    let x = cx.binary(mlc_ir::ops::Sub {}, x, shift)?;
    cx.cast(x, dtype)
}

fn reduced(
    cx: &mut Cx<'_>,
    x: Value,
    axes: &[usize],
    (keep, make): (bool, Make),
) -> LowerResult<Value> {
    if axes.is_empty() {
        return Ok(x);
    }
    if let Some(known) = folded(cx, x, axes, make) {
        let shape = if keep { vec![1; axes.len()] } else { vec![] };
        let known = known.reshape(&shape)?;
        return Ok(cx.b.constant(known)?);
    }
    let axes = axes.iter().map(|&axis| axis as i64).collect();
    cx.unary(make(axes, keep), x)
}

/// The reduction of a small integer constant over all axes: sizes are computed so.
fn folded(cx: &Cx<'_>, x: Value, axes: &[usize], make: Make) -> Option<mlc_tensor::Tensor> {
    let values = cx.ints(x).filter(|all| all.len() <= 64 && !all.is_empty())?;
    let dtype = cx.dtype(x).ok().filter(|d| d.is_int())?;
    if axes.len() != cx.rank(x).ok()? {
        return None;
    }
    let total = match make(vec![], false) {
        Op::ReduceSum(_) => values.iter().try_fold(0i64, |a, &b| a.checked_add(b))?,
        Op::ReduceProd(_) => values.iter().try_fold(1i64, |a, &b| a.checked_mul(b))?,
        Op::ReduceMax(_) => *values.iter().max()?,
        Op::ReduceMin(_) => *values.iter().min()?,
        _ => return None,
    };
    let (low, high) = dtype.int_range()?;
    let fits = (low..=high).contains(&total);
    fits.then(|| mlc_tensor::Tensor::from_i64s(dtype, &[], &[total]).ok()).flatten()
}

fn truth(cx: &mut Cx<'_>, call: &Call<'_>, any: bool) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let keep = call.bool_or("keep_dims", false)?;
    let axes = axes::axes(cx, call.tensor(1)?, cx.rank(x)?)?;
    if axes.is_empty() {
        return cx.one(x);
    }
    let numbers = cx.cast(x, DType::I32)?;
    let make: Make = if any { max } else { min };
    let y = reduced(cx, numbers, &axes, (keep, make))?;
    let y = cx.cast(y, DType::Bool)?;
    cx.one(y)
}

fn arg(cx: &mut Cx<'_>, call: &Call<'_>, greatest: bool) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let rank = cx.rank(x)?;
    let axis = cx.need_int(call.tensor(1)?, "dimension")?;
    let axis = axes::axis(axis, rank)? as i64;
    let dtype = cx.dtype(x)?;
    let x = if dtype == DType::Bool { cx.cast(x, DType::I32)? } else { x };
    let (keep_dims, output_dtype) = (false, DType::I32);
    let y = match greatest {
        true => cx.unary(ReduceArgmax { axis, keep_dims, output_dtype }, x)?,
        false => cx.unary(ReduceArgmin { axis, keep_dims, output_dtype }, x)?,
    };
    let y = cx.cast(y, call.dtype_or("output_type", DType::I64)?)?;
    cx.one(y)
}

/// `Σ x² / 2`
fn l2_loss(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = float_input(cx, call, 0)?;
    if cx.rank(x)? == 0 {
        return Err(LowerError::argument("the loss of a scalar"));
    }
    let y = cx.unary(ReduceSumSquare { axes: None, keep_dims: false }, x)?;
    let half = cx.scalar_like(y, 0.5)?;
    let y = cx.binary(Mul {}, y, half)?;
    cx.one(y)
}
