//! Norms of vectors and matrices, and distances.

use mlc_ir::ops::{Abs, Add, Cast, ExpandDims, Maximum, Mul, NotEqual, Pow, RealDiv, Sub};
use mlc_ir::{Dim, Value};

use super::axes;
use super::reduction::{Reduction, axes_of, reduce};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.linalg_vector_norm", lower: |cx, call| vector(cx, call, "ord") },
    Lowering { name: "aten.norm", lower: |cx, call| vector(cx, call, "p") },
    Lowering { name: "aten.frobenius_norm", lower: |cx, call| vector(cx, call, "p") },
    Lowering { name: "aten.linalg_norm", lower: linalg_norm },
    Lowering { name: "aten.linalg_matrix_norm", lower: matrix },
    Lowering { name: "aten.nuclear_norm", lower: nuclear },
    Lowering { name: "aten.cosine_similarity", lower: cosine_similarity },
    Lowering { name: "aten.pairwise_distance", lower: pairwise_distance },
    Lowering { name: "aten.dist", lower: dist },
    Lowering { name: "aten.cdist", lower: cdist },
    Lowering { name: "aten._cdist_forward", lower: cdist },
    Lowering { name: "aten._euclidean_dist", lower: cdist },
];

/// `(Σ |x|ᵖ)^(1/p)` over `over`: the greatest absolute value for ∞, the least for −∞, the number of
/// elements that are not 0 for 0.
fn norm_value(cx: &mut Cx<'_>, x: Value, p: f64, over: (&[usize], bool)) -> LowerResult<Value> {
    let dtype = cx.b.tensor(x)?.dtype;
    if !dtype.is_float() {
        return Err(LowerError::dtype(format!("the norm of {dtype}")));
    }
    if p == 2.0 {
        return reduce(cx, Reduction::L2, x, over);
    }
    if p == 1.0 {
        return reduce(cx, Reduction::L1, x, over);
    }
    if p == 0.0 {
        let zero = cx.b.scalar(dtype, 0.0)?;
        let counted = cx.binary(NotEqual {}, x, zero)?;
        let ones = Cast { dtype }.build(&mut cx.b, counted)?;
        return reduce(cx, Reduction::Sum, ones, over);
    }
    let size = cx.unary(Abs {}, x)?;
    if p.is_infinite() {
        let reduction = if p > 0.0 { Reduction::Max } else { Reduction::Min };
        return reduce(cx, reduction, size, over);
    }
    let exponent = cx.b.scalar(dtype, p)?;
    let powers = cx.binary(Pow {}, size, exponent)?;
    let sum = reduce(cx, Reduction::Sum, powers, over)?;
    let root = cx.b.scalar(dtype, p.recip())?;
    cx.binary(Pow {}, sum, root)
}

/// The operand of a norm, in `dtype` where that is given.
fn operand(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Value> {
    let x = call.tensor("self")?;
    match call.opt_dtype("dtype")? {
        Some(dtype) => cx.read_as(x, dtype),
        None => cx.read(x),
    }
}

fn vector(cx: &mut Cx<'_>, call: &Call<'_>, order: &str) -> LowerResult<Vec<Val>> {
    let x = operand(cx, call)?;
    let axes = axes_of(call, "dim", cx.b.tensor(x)?.rank())?;
    let p = call.float_or(order, 2.0)?;
    let keep = call.bool_or("keepdim", false)?;
    let y = norm_value(cx, x, p, (&axes, keep))?;
    cx.one(y)
}

/// Which norm `linalg_norm` and `linalg_matrix_norm` are asked for.
#[derive(Debug, Clone, PartialEq)]
enum Order {
    Number(f64),
    Named(String),
}

fn order(call: &Call<'_>) -> LowerResult<Option<Order>> {
    match call.get("ord") {
        None => Ok(None),
        Some(Val::Str(name)) => Ok(Some(Order::Named(name.clone()))),
        Some(_) => Ok(call.opt_float("ord")?.map(Order::Number)),
    }
}

fn linalg_norm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = operand(cx, call)?;
    let rank = cx.b.tensor(x)?.rank();
    let given = call.has("dim");
    let axes = match call.opt_ints("dim")? {
        Some(list) => axes::axes(&list, rank)?,
        None => (0..rank).collect(),
    };
    let keep = call.bool_or("keepdim", false)?;
    let order = order(call)?;
    let y = match (order, &axes[..]) {
        // Without an order all elements are one vector.
        (None, axes) => norm_value(cx, x, 2.0, (if rank == 0 { &[] } else { axes }, keep))?,
        (Some(Order::Number(p)), [axis]) if rank > 0 => norm_value(cx, x, p, (&[*axis], keep))?,
        (Some(order), &[rows, columns]) if given || rank == 2 => {
            matrix_value(cx, x, &order, ([rows, columns], keep))?
        }
        (Some(order), _) => {
            return Err(LowerError::invalid(format!("the norm {order:?} over axes {axes:?}")));
        }
    };
    cx.one(y)
}

fn matrix(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = operand(cx, call)?;
    let rank = cx.b.tensor(x)?.rank();
    let list = call.opt_ints("dim")?.unwrap_or_else(|| vec![-2, -1]);
    let axes = axes::axes(&list, rank)?;
    let &[rows, columns] = &axes[..] else {
        return Err(LowerError::invalid(format!("a matrix norm over axes {list:?}")));
    };
    let order = order(call)?.unwrap_or_else(|| Order::Named("fro".to_owned()));
    let keep = call.bool_or("keepdim", false)?;
    let y = matrix_value(cx, x, &order, ([rows, columns], keep))?;
    cx.one(y)
}

/// `fro`: the norm of all elements; ±1: the greatest or least column sum; ±∞: that of rows; ±2: the
/// greatest or least singular value; `nuc`: the sum of those.
fn matrix_value(
    cx: &mut Cx<'_>,
    x: Value,
    order: &Order,
    ([rows, columns], keep): ([usize; 2], bool),
) -> LowerResult<Value> {
    let (summed, greatest) = match order {
        Order::Named(name) if name == "fro" => {
            let mut both = [rows, columns];
            both.sort_unstable();
            return norm_value(cx, x, 2.0, (&both, keep));
        }
        Order::Number(p) if p.abs() == 1.0 => (rows, *p > 0.0),
        Order::Number(p) if p.is_infinite() => (columns, *p > 0.0),
        Order::Number(p) if p.abs() == 2.0 => {
            let reduction = if *p > 0.0 { Reduction::Max } else { Reduction::Min };
            return of_singular_values(cx, x, reduction, ([rows, columns], keep));
        }
        Order::Named(name) if name == "nuc" => {
            return of_singular_values(cx, x, Reduction::Sum, ([rows, columns], keep));
        }
        order => return Err(LowerError::invalid(format!("the matrix norm {order:?}"))),
    };
    let sums = reduce(cx, Reduction::L1, x, (&[summed], true))?;
    let reduction = if greatest { Reduction::Max } else { Reduction::Min };
    let mut both = [rows, columns];
    both.sort_unstable();
    if keep {
        reduce(cx, reduction, sums, (&[rows + columns - summed], true))
    } else {
        // The summed axis has extent 1 by now and goes with the other.
        reduce(cx, reduction, sums, (&both, false))
    }
}

/// A reduction of the singular values.
fn of_singular_values(
    cx: &mut Cx<'_>,
    x: Value,
    reduction: Reduction,
    ([rows, columns], keep): ([usize; 2], bool),
) -> LowerResult<Value> {
    let rank = cx.b.tensor(x)?.rank();
    let last = super::indices::transposed(cx, x, &axes::moved_last(&[rows, columns], rank))?;
    let all = super::singular::values(cx, last)?;
    let y = reduce(cx, reduction, all, (&[rank - 2], false))?;
    if !keep {
        return Ok(y);
    }
    let mut both = [rows, columns];
    both.sort_unstable();
    crate::lower::alias::unsqueeze(cx, y, &both)
}

/// The sum of the singular values.
fn nuclear(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let list = call.opt_ints("dim")?.unwrap_or_else(|| vec![-2, -1]);
    let axes = axes::axes(&list, cx.b.tensor(x)?.rank())?;
    let &[rows, columns] = &axes[..] else {
        return Err(LowerError::invalid(format!("a matrix norm over axes {list:?}")));
    };
    let keep = call.bool_or("keepdim", false)?;
    let y = of_singular_values(cx, x, Reduction::Sum, ([rows, columns], keep))?;
    cx.one(y)
}

/// Both operands in the float type they are promoted to.
fn pair(cx: &mut Cx<'_>, call: &Call<'_>, names: [&str; 2]) -> LowerResult<(Value, Value)> {
    let (a, b) = (call.operand(names[0])?, call.operand(names[1])?);
    let dtype = cx.promoted(&[&a, &b])?;
    if !dtype.is_float() {
        return Err(LowerError::dtype(format!("a distance of {dtype}")));
    }
    Ok((cx.operand(&a, dtype)?, cx.operand(&b, dtype)?))
}

/// `Σ (x / max(‖x‖, eps)) · (y / max(‖y‖, eps))` along an axis of the broadcast operands.
fn cosine_similarity(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = pair(cx, call, ["x1", "x2"])?;
    let eps = call.float_or("eps", 1e-8)?;
    let shapes = [x, y].map(|v| cx.b.tensor(v).map(|ty| ty.shape.clone()));
    let [x_shape, y_shape] = shapes;
    let shape = mlc_ir::infer::broadcast(&x_shape?, &y_shape?)?;
    let axis = axes::axis_arg(call, "dim", 1, shape.len())?;
    let mut scaled = Vec::new();
    for operand in [x, y] {
        let full = broadcast_along(cx, operand, &shape, axis)?;
        let dtype = cx.b.tensor(full)?.dtype;
        let own = cx.b.tensor(full)?.rank();
        let size = if own == 0 {
            cx.unary(Abs {}, full)?
        } else {
            reduce(cx, Reduction::L2, full, (&[axis], true))?
        };
        let eps = cx.b.scalar(dtype, eps)?;
        let size = cx.binary(Maximum {}, size, eps)?;
        scaled.push(cx.binary(RealDiv {}, full, size)?);
    }
    let product = cx.binary(Mul {}, scaled[0], scaled[1])?;
    let over: &[usize] = if shape.is_empty() { &[] } else { &[axis] };
    let z = reduce(cx, Reduction::Sum, product, (over, false))?;
    cx.one(z)
}

/// The operand with the rank of `shape` and its extent along `axis`; others may stay 1.
fn broadcast_along(cx: &mut Cx<'_>, x: Value, shape: &[Dim], axis: usize) -> LowerResult<Value> {
    let own = cx.b.tensor(x)?.shape.clone();
    let mut wanted = vec![Dim::Const(1); shape.len() - own.len()];
    wanted.extend(own);
    if let (Some(at), Some(extent)) = (wanted.get_mut(axis), shape.get(axis))
        && at.is(1)
    {
        *at = extent.clone();
    }
    crate::lower::dims::expand(cx, x, &wanted)
}

/// `‖x − y + eps‖` along the last axis.
fn pairwise_distance(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("x1")?, call.operand("x2")?);
    let dtype = cx.promoted(&[&a, &b])?;
    let dtype = if dtype.is_float() { dtype } else { mlc_tensor::DType::F32 };
    let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
    let difference = cx.binary(Sub {}, x, y)?;
    let ty = cx.b.tensor(difference)?.clone();
    let eps = cx.b.scalar(ty.dtype, call.float_or("eps", 1e-6)?)?;
    let moved = cx.binary(Add {}, difference, eps)?;
    let over: Vec<usize> = ty.rank().checked_sub(1).into_iter().collect();
    let keep = call.bool_or("keepdim", false)?;
    let z = norm_value(cx, moved, call.float_or("p", 2.0)?, (&over, keep))?;
    cx.one(z)
}

fn dist(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = pair(cx, call, ["self", "other"])?;
    let difference = cx.binary(Sub {}, x, y)?;
    let all: Vec<usize> = (0..cx.b.tensor(difference)?.rank()).collect();
    let z = norm_value(cx, difference, call.float_or("p", 2.0)?, (&all, false))?;
    cx.one(z)
}

/// `z[…, i, j] = ‖x[…, i] − y[…, j]‖`
fn cdist(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    // Whether the distances are made of a matrix product changes the rounding alone.
    call.ignore(&["compute_mode"]);
    let (x, y) = pair(cx, call, ["x1", "x2"])?;
    let rank = cx.b.tensor(x)?.rank().max(cx.b.tensor(y)?.rank());
    if rank < 2 {
        return Err(LowerError::invalid("`cdist` of vectors"));
    }
    let rows = ExpandDims { axes: vec![-2] }.build(&mut cx.b, x)?;
    let columns = ExpandDims { axes: vec![-3] }.build(&mut cx.b, y)?;
    let difference = cx.binary(Sub {}, rows, columns)?;
    let last = cx.b.tensor(difference)?.rank() - 1;
    let z = norm_value(cx, difference, call.float_or("p", 2.0)?, (&[last], false))?;
    cx.one(z)
}
