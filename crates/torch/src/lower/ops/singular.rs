//! Singular values, by one-sided Jacobi rotations.
//!
//! Columns are rotated in pairs until all are orthogonal; their lengths are the singular values. One
//! step rotates half as many pairs as there are columns, and then all but the first column move one
//! place on, so that after a *sweep* of steps each has met each and stands where it stood.

use mlc_ir::ops::{
    Abs, Add, Concat, Equal, Gather, GreaterEqual, Less, Mul, RealDiv, ReduceMax, ReduceMin,
    ReduceSum, Rsqrt, Select, Sqrt, Sub, Topk, Transpose, WhileLoop,
};
use mlc_ir::{Builder, Dim, F64, Value};
use mlc_tensor::DType;

use crate::lower::Cx;
use crate::lower::alias::slice;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.linalg_svdvals", lower: svdvals },
    Lowering { name: "aten.linalg_cond", lower: cond },
    Lowering { name: "aten.linalg_matrix_rank", lower: matrix_rank },
];

/// Enough for single precision: convergence is quadratic.
const SWEEPS: i64 = 12;

/// Most columns.
const MAX_COLUMNS: i64 = 256;

/// The singular values of matrices in the last two axes, along a last axis, in no order.
pub(super) fn values(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let ty = cx.b.tensor(x)?.clone();
    if !matches!(ty.dtype, DType::F32 | DType::F16 | DType::Bf16) {
        return Err(LowerError::dtype(format!("singular values of {}", ty.dtype))
            .help("convert the matrix to float32, which Core ML computes with in any case"));
    }
    let [batch @ .., rows, columns] = &ty.shape[..] else {
        return Err(LowerError::invalid("a matrix has two axes"));
    };
    let known = |dim: &Dim| {
        dim.as_const().filter(|&n| n > 0).ok_or_else(|| {
            LowerError::dynamic(format!("the singular values of {dim} rows or columns"))
                .help("export the model with the extents of the matrix fixed")
        })
    };
    let (mut m, mut n) = (known(rows)?, known(columns)?);
    let mut y = cx.cast(x, DType::F32)?;
    y = cx.reshape(y, &[Dim::product(batch), Dim::Const(m), Dim::Const(n)])?;
    if n > m {
        y = cx.unary(Transpose { perm: vec![0, 2, 1] }, y)?;
        (m, n) = (n, m);
    }
    if n > MAX_COLUMNS {
        return Err(LowerError::argument(format!("the singular values of {m} by {n} numbers"))
            .help("compute them outside of the model"));
    }
    let y = if n > 1 { rotated(cx, y, n)? } else { y };
    let square = cx.binary(Mul {}, y, y)?;
    let sum = cx.unary(ReduceSum { axes: Some(vec![1]), keep_dims: false }, square)?;
    let lengths = cx.unary(Sqrt {}, sum)?;
    let lengths = cx.cast(lengths, ty.dtype)?;
    let mut to = batch.to_vec();
    to.push(Dim::Const(n));
    cx.reshape(lengths, &to)
}

/// The columns made orthogonal.
fn rotated(cx: &mut Cx<'_>, x: Value, n: i64) -> LowerResult<Value> {
    let mut x = x;
    let shape = cx.b.tensor(x)?.shape.clone();
    let even = n + n % 2;
    if even > n {
        // A column of zeros keeps out of every rotation.
        let zero = cx.b.scalar(DType::F32, 0.0)?;
        let to = [shape[0].clone(), shape[1].clone(), Dim::Const(1)];
        let blank = super::create::filled(cx, &to, zero)?;
        x = Concat { axis: 2, interleave: false }.build(&mut cx.b, vec![x, blank])?;
    }
    let order = cx.b.ints(&places(even))?;
    let (start, step) = (cx.b.int(0)?, cx.b.int(1)?);
    let end = cx.b.int(SWEEPS * (even - 1))?;
    let results = WhileLoop::build_with::<LowerError>(
        &mut cx.b,
        vec![start, x],
        |b, args| Ok(Less {}.build(b, args[0], end)?),
        |b, args| {
            let turned = rotation(b, args[1], even)?;
            let op = Gather { axis: 2, batch_dims: 0, validate_indices: false };
            let moved = op.build(b, turned, order)?;
            Ok(vec![Add {}.build(b, args[0], step)?, moved])
        },
    )?;
    let &[_, y] = &results[..] else { return Err(LowerError::invalid("no results")) };
    slice(cx, y, 2, (&Dim::Const(0), &Dim::Const(n), 1))
}

/// Where each place takes its column from after a step. The pairs are those of a round of a
/// tournament, the two of one next to each other: places 0, 2, 4, … and 1, 3, 5, … are the two sides
/// of the table, at which all but the first sit one on.
fn places(n: i64) -> Vec<i64> {
    let half = n / 2;
    let seat = |at: i64| if at < half { 2 * at } else { 2 * (n - 1 - at) + 1 };
    let mut from = vec![0; n as usize];
    for at in 0..n {
        let before = match at {
            0 => 0,
            1 => n - 1,
            at => at - 1,
        };
        if let Some(slot) = from.get_mut(seat(at) as usize) {
            *slot = seat(before);
        }
    }
    from
}

/// Turns columns `2k` and `2k + 1` in their plane so that they become orthogonal.
fn rotation(b: &mut Builder<'_>, x: Value, n: i64) -> LowerResult<Value> {
    let pick = Gather { axis: 2, batch_dims: 0, validate_indices: false };
    let side = |first: i64| (0..n / 2).map(|k| 2 * k + first).collect::<Vec<_>>();
    let (left, right) = (b.ints(&side(0))?, b.ints(&side(1))?);
    let left = pick.clone().build(b, x, left)?;
    let right = pick.build(b, x, right)?;
    let dot = |b: &mut Builder<'_>, x: Value, y: Value| -> LowerResult<Value> {
        let product = Mul {}.build(b, x, y)?;
        Ok(ReduceSum { axes: Some(vec![1]), keep_dims: true }.build(b, product)?)
    };
    let (alpha, beta, gamma) = (dot(b, left, left)?, dot(b, right, right)?, dot(b, left, right)?);
    let (zero, one, two) =
        (b.scalar(DType::F32, 0.0)?, b.scalar(DType::F32, 1.0)?, b.scalar(DType::F32, 2.0)?);
    let minus = b.scalar(DType::F32, -1.0)?;
    let none = Equal {}.build(b, gamma, zero)?;
    let safe = Select {}.build(b, none, one, gamma)?;
    let twice = Mul {}.build(b, safe, two)?;
    let gap = Sub {}.build(b, beta, alpha)?;
    let zeta = RealDiv {}.build(b, gap, twice)?;
    let size = Abs {}.build(b, zeta)?;
    let square = Mul {}.build(b, zeta, zeta)?;
    let square = Add {}.build(b, square, one)?;
    let root = Sqrt {}.build(b, square)?;
    let sum = Add {}.build(b, size, root)?;
    let positive = GreaterEqual {}.build(b, zeta, zero)?;
    let sign = Select {}.build(b, positive, one, minus)?;
    let slope = RealDiv {}.build(b, sign, sum)?;
    let slope = Select {}.build(b, none, zero, slope)?;
    let square = Mul {}.build(b, slope, slope)?;
    let square = Add {}.build(b, square, one)?;
    let cos = Rsqrt { epsilon: F64(0.0) }.build(b, square)?;
    let sin = Mul {}.build(b, cos, slope)?;
    let (a, c) = (Mul {}.build(b, left, cos)?, Mul {}.build(b, right, sin)?);
    let (d, e) = (Mul {}.build(b, left, sin)?, Mul {}.build(b, right, cos)?);
    let left = Sub {}.build(b, a, c)?;
    let right = Add {}.build(b, d, e)?;
    Ok(Concat { axis: 2, interleave: true }.build(b, vec![left, right])?)
}

fn matrix(call: &Call<'_>) -> LowerResult<TensorId> {
    call.tensor(if call.has("A") {
        "A"
    } else if call.has("self") {
        "self"
    } else {
        "input"
    })
}

/// The singular values in descending order.
fn svdvals(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["driver"]);
    let x = cx.read(matrix(call)?)?;
    let y = values(cx, x)?;
    let y = descending(cx, y)?;
    cx.one(y)
}

fn descending(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let all = cx.b.int(-1)?;
    let op = Topk {
        axis: -1,
        ascending: false,
        sort: true,
        return_indices: true,
        output_indices_dtype: DType::I32,
    };
    let sorted = op.build_many(&mut cx.b, x, Some(all))?;
    sorted.first().copied().ok_or_else(|| LowerError::invalid("`topk` gives values"))
}

/// The greatest and the least singular value.
fn extremes(cx: &mut Cx<'_>, x: Value) -> LowerResult<[Value; 2]> {
    let y = values(cx, x)?;
    let (axes, keep_dims) = (Some(vec![-1]), false);
    let most = cx.unary(ReduceMax { axes: axes.clone(), keep_dims }, y)?;
    Ok([most, cx.unary(ReduceMin { axes, keep_dims }, y)?])
}

/// The quotient of the greatest and the least singular value, or, for other norms, the product of
/// those of the matrix and of its inverse.
fn cond(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let tensor = matrix(call)?;
    let p = match call.get("p") {
        Some(Val::Str(_)) => None,
        Some(_) => call.opt_float("p")?,
        None => Some(2.0),
    };
    if let Some(p) = p.filter(|p| p.abs() == 2.0) {
        let x = cx.read(tensor)?;
        let [most, least] = extremes(cx, x)?;
        let y = if p > 0.0 {
            cx.binary(RealDiv {}, most, least)?
        } else {
            cx.binary(RealDiv {}, least, most)?
        };
        return cx.one(y);
    }
    let order = call.get("p").cloned().unwrap_or(Val::None);
    let inverse = cx.call_tensor("aten.linalg_inv", &[("A", Val::Tensor(tensor))])?;
    let mut norms = Vec::with_capacity(2);
    for x in [tensor, inverse] {
        let args = [("self", Val::Tensor(x)), ("ord", order.clone())];
        let norm = cx.call_tensor("aten.linalg_matrix_norm", &args)?;
        norms.push(cx.read(norm)?);
    }
    let y = cx.binary(Mul {}, norms[0], norms[1])?;
    cx.one(y)
}

/// How many singular values are above `max(atol, rtol · the greatest)`.
fn matrix_rank(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    // Of a Hermitian matrix the singular values are the absolute eigenvalues: the same.
    call.ignore(&["hermitian"]);
    let x = cx.read(matrix(call)?)?;
    let ty = cx.b.tensor(x)?.clone();
    let given = |name: &str| -> LowerResult<Option<f64>> {
        match call.get(name) {
            Some(Val::Tensor(_)) => Err(LowerError::argument(format!("a tensor `{name}`"))
                .help("give the tolerance as a number")),
            _ => call.opt_float(name),
        }
    };
    let atol = given("atol")?.or(given("tol")?);
    let longer = ty.shape.iter().rev().take(2).filter_map(Dim::as_const).max();
    let longer = longer.ok_or_else(|| LowerError::dynamic("the rank of a matrix"))? as f64;
    let rtol = match given("rtol")? {
        Some(rtol) => rtol,
        None if atol.is_some_and(|atol| atol > 0.0) => 0.0,
        None => longer * f64::from(f32::EPSILON),
    };
    let y = values(cx, x)?;
    let most = cx.unary(ReduceMax { axes: Some(vec![-1]), keep_dims: true }, y)?;
    let mut f = crate::lower::formula::Formula::of(cx, y)?;
    let limit = f.times(most, rtol)?;
    let least = f.num(atol.unwrap_or(0.0))?;
    let limit = f.max(limit, least)?;
    let above = f.cx.binary(mlc_ir::ops::Greater {}, y, limit)?;
    let ones = cx.cast(above, DType::I32)?;
    let count = cx.unary(ReduceSum { axes: Some(vec![-1]), keep_dims: false }, ones)?;
    let count = cx.cast(count, DType::I64)?;
    cx.one(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_brings_all_pairs_together_and_columns_back() {
        for n in [2, 4, 6, 10] {
            let from = places(n);
            let mut columns: Vec<i64> = (0..n).collect();
            let mut met = std::collections::BTreeSet::new();
            for _ in 0..n - 1 {
                for pair in columns.chunks(2) {
                    met.insert((pair[0].min(pair[1]), pair[0].max(pair[1])));
                }
                columns = from.iter().map(|&at| columns[at as usize]).collect();
            }
            assert_eq!(met.len() as i64, n * (n - 1) / 2);
            assert_eq!(columns, (0..n).collect::<Vec<_>>());
        }
    }
}
