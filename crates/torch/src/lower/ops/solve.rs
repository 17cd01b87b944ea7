//! Linear systems, determinants and factors of matrices, by elimination in loops over the rows.
//!
//! Loops carry batches of matrices `[batch, n, m]`; the row that a step works on is told apart by
//! masks, so that no step depends on its number but by them.

use mlc_ir::ops::{
    Abs, Add, Equal, ExpandDims, Greater, GreaterEqual, Less, Matmul, Mul, NotEqual, RealDiv,
    ReduceArgmax, ReduceProd, ReduceSum, Select, Sqrt, Squeeze, Sub, WhileLoop,
};
use mlc_ir::{Builder, Dim, Value};
use mlc_tensor::{DType, Tensor};

use super::calls::Calls;
use super::indices::widened;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.linalg_inv", lower: inverse },
    Lowering { name: "aten.inverse", lower: inverse },
    Lowering { name: "aten.linalg_inv_ex", lower: inverse_checked },
    Lowering { name: "aten.linalg_solve", lower: solve },
    Lowering { name: "aten.linalg_solve_ex", lower: solve_checked },
    Lowering { name: "aten._linalg_solve_ex", lower: solve_checked },
    Lowering { name: "aten.linalg_det", lower: det },
    Lowering { name: "aten.det", lower: det },
    Lowering { name: "aten._linalg_det", lower: det },
    Lowering { name: "aten.linalg_slogdet", lower: slogdet },
    Lowering { name: "aten.slogdet", lower: slogdet },
    Lowering { name: "aten._linalg_slogdet", lower: slogdet },
    Lowering { name: "aten.logdet", lower: logdet },
    Lowering { name: "aten.linalg_cholesky", lower: cholesky },
    Lowering { name: "aten.cholesky", lower: cholesky },
    Lowering { name: "aten.linalg_cholesky_ex", lower: cholesky_checked },
    Lowering { name: "aten.cholesky_solve", lower: cholesky_solve },
    Lowering { name: "aten.cholesky_inverse", lower: cholesky_inverse },
    Lowering { name: "aten.linalg_solve_triangular", lower: solve_triangular },
    Lowering { name: "aten.triangular_solve", lower: triangular_solve },
    Lowering { name: "aten.linalg_matrix_power", lower: matrix_power },
    Lowering { name: "aten.matrix_power", lower: matrix_power },
];

/// Matrices of a float type, with one batch axis, and the axes it stands for.
struct Matrices {
    value: Value,
    batch: Vec<Dim>,
    rows: i64,
    columns: i64,
    dtype: DType,
}

fn matrices(cx: &mut Cx<'_>, x: TensorId) -> LowerResult<Matrices> {
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    if !dtype.is_float() {
        return Err(LowerError::dtype(format!("a linear system of {dtype}")));
    }
    let [batch @ .., rows, columns] = &shape[..] else {
        return Err(LowerError::invalid("a matrix has two axes"));
    };
    let known = |dim: &Dim| {
        dim.as_const().filter(|&n| n > 0).ok_or_else(|| {
            LowerError::dynamic(format!("elimination in {dim} rows"))
                .help("export the model with the extents of the matrix fixed")
        })
    };
    let (rows, columns) = (known(rows)?, known(columns)?);
    let value = cx.read(x)?;
    let to = [Dim::product(batch), Dim::Const(rows), Dim::Const(columns)];
    let value = cx.reshape(value, &to)?;
    Ok(Matrices { value, batch: batch.to_vec(), rows, columns, dtype })
}

fn square(cx: &mut Cx<'_>, x: TensorId) -> LowerResult<Matrices> {
    let all = matrices(cx, x)?;
    if all.rows != all.columns {
        return Err(LowerError::invalid(format!("a matrix of {} by {}", all.rows, all.columns)));
    }
    Ok(all)
}

impl Matrices {
    /// The numbers `0, 1, …` of the rows.
    fn numbers(&self, cx: &mut Cx<'_>) -> LowerResult<Value> {
        let all: Vec<i64> = (0..self.rows).collect();
        Ok(cx.b.constant(Tensor::from_i64s(DType::I32, &[self.rows as u64], &all)?)?)
    }

    /// `[1, n, n]` with ones on the diagonal.
    fn identity(&self, cx: &mut Cx<'_>) -> LowerResult<Value> {
        let n = self.rows as usize;
        let all: Vec<f64> = (0..n * n).map(|k| f64::from(u8::from(k / n == k % n))).collect();
        Ok(cx.b.constant(Tensor::from_f64s(self.dtype, &[1, n as u64, n as u64], &all)?)?)
    }

    /// The value with the axes of the batch again.
    fn batched(&self, cx: &mut Cx<'_>, value: Value, rest: &[Dim]) -> LowerResult<Value> {
        let mut to = self.batch.clone();
        to.extend_from_slice(rest);
        cx.reshape(value, &to)
    }
}

fn spread(b: &mut Builder<'_>, x: Value, axes: &[i64]) -> LowerResult<Value> {
    Ok(ExpandDims { axes: axes.to_vec() }.build(b, x)?)
}

fn total(b: &mut Builder<'_>, x: Value, axis: i64) -> LowerResult<Value> {
    Ok(ReduceSum { axes: Some(vec![axis]), keep_dims: true }.build(b, x)?)
}

/// Gauss–Jordan elimination with partial pivoting on `[batch, n, m]`, the first `n` columns the
/// matrices: the others become the solutions. Also the pivots, `[batch, n]`, negated where rows
/// changed places: their product is the determinant.
fn eliminated(cx: &mut Cx<'_>, all: &Matrices, wide: Value) -> LowerResult<[Value; 2]> {
    let numbers = all.numbers(cx)?;
    let n = cx.b.int(all.rows)?;
    let (start, step) = (cx.b.int(0)?, cx.b.int(1)?);
    let (zero, one) = (cx.b.scalar(all.dtype, 0.0)?, cx.b.scalar(all.dtype, 1.0)?);
    let minus = cx.b.scalar(all.dtype, -1.0)?;
    let columns = cx.b.tensor(wide)?.shape[2].as_const();
    let columns = columns.ok_or_else(|| LowerError::dynamic("right-hand sides"))?;
    let places: Vec<i64> = (0..columns).collect();
    let places = Tensor::from_i64s(DType::I32, &[columns as u64], &places)?;
    let places = cx.b.constant(places)?;
    let count = cx.b.tensor(wide)?.shape[0].clone();
    let pivots = super::create::filled(cx, &[count, Dim::Const(all.rows)], one)?;
    let results = WhileLoop::build_with::<LowerError>(
        &mut cx.b,
        vec![start, wide, pivots],
        |b, args| Ok(Less {}.build(b, args[0], n)?),
        |b, args| {
            let (k, x, pivots) = (args[0], args[1], args[2]);
            // The column of the step, and the row with its greatest element from there on.
            let here = Equal {}.build(b, places, k)?;
            let column = Select {}.build(b, here, x, zero)?;
            let column = total(b, column, 2)?;
            let size = Abs {}.build(b, column)?;
            let size = Squeeze { axes: Some(vec![2]) }.build(b, size)?;
            let later = GreaterEqual {}.build(b, numbers, k)?;
            let size = Select {}.build(b, later, size, minus)?;
            let op = ReduceArgmax { axis: 1, keep_dims: true, output_dtype: DType::I32 };
            let best = op.build(b, size)?;
            let best_row = Equal {}.build(b, numbers, best)?;
            let best_row = spread(b, best_row, &[2])?;
            let own_row = Equal {}.build(b, numbers, k)?;
            let own_row = spread(b, own_row, &[0, 2])?;
            let first = Select {}.build(b, own_row, x, zero)?;
            let first = total(b, first, 1)?;
            let second = Select {}.build(b, best_row, x, zero)?;
            let second = total(b, second, 1)?;
            let swapped = Select {}.build(b, best_row, first, x)?;
            let swapped = Select {}.build(b, own_row, second, swapped)?;
            let pivot = Select {}.build(b, here, second, zero)?;
            let pivot = total(b, pivot, 2)?;
            let row = RealDiv {}.build(b, second, pivot)?;
            let factors = Select {}.build(b, here, swapped, zero)?;
            let factors = total(b, factors, 2)?;
            let taken = Mul {}.build(b, factors, row)?;
            let rest = Sub {}.build(b, swapped, taken)?;
            let next = Select {}.build(b, own_row, row, rest)?;
            // The pivot, with the sign of the exchange.
            let moved = NotEqual {}.build(b, best, k)?;
            let sign = Select {}.build(b, moved, minus, one)?;
            let pivot = Squeeze { axes: Some(vec![2]) }.build(b, pivot)?;
            let signed = Mul {}.build(b, pivot, sign)?;
            let mine = Equal {}.build(b, numbers, k)?;
            let pivots = Select {}.build(b, mine, signed, pivots)?;
            let k = Add {}.build(b, k, step)?;
            Ok(vec![k, next, pivots])
        },
    )?;
    let &[_, solved, pivots] = &results[..] else {
        return Err(LowerError::invalid("no results"));
    };
    Ok([solved, pivots])
}

/// `x` with `y` beside it, `[batch, n, n + m]`.
fn beside(cx: &mut Cx<'_>, x: Value, y: Value) -> LowerResult<Value> {
    let mut to = cx.b.tensor(x)?.shape.clone();
    if let (Some(last), Some(own)) = (to.last_mut(), cx.b.tensor(y)?.shape.last()) {
        last.clone_from(own);
    }
    let y = widened(cx, y, &to)?;
    let op = mlc_ir::ops::Concat { axis: 2, interleave: false };
    Ok(op.build(&mut cx.b, vec![x, y])?)
}

/// The columns from `from` on.
fn columns_from(cx: &mut Cx<'_>, x: Value, from: i64) -> LowerResult<Value> {
    let extent = cx.b.tensor(x)?.shape[2].clone();
    crate::lower::alias::slice(cx, x, 2, (&Dim::Const(from), &extent, 1))
}

fn inverse_value(cx: &mut Cx<'_>, x: TensorId) -> LowerResult<Value> {
    let all = square(cx, x)?;
    let identity = all.identity(cx)?;
    let wide = beside(cx, all.value, identity)?;
    let [solved, _] = eliminated(cx, &all, wide)?;
    let y = columns_from(cx, solved, all.rows)?;
    all.batched(cx, y, &[Dim::Const(all.rows), Dim::Const(all.rows)])
}

/// The argument of a matrix, by either of its names.
fn matrix(call: &Call<'_>) -> LowerResult<TensorId> {
    call.tensor(if call.has("self") { "self" } else { "A" })
}

fn inverse(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let y = inverse_value(cx, matrix(call)?)?;
    cx.one(y)
}

/// The code of success for each matrix: what torch gives unless a matrix is singular.
fn success(cx: &mut Cx<'_>, batch: &[Dim]) -> LowerResult<Val> {
    let zero = cx.b.constant(Tensor::from_i64s(DType::I32, &[], &[0])?)?;
    let value = super::create::filled(cx, batch, zero)?;
    Ok(cx.fresh(value))
}

fn inverse_checked(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["check_errors"]);
    let x = matrix(call)?;
    let y = inverse_value(cx, x)?;
    let shape = cx.shape(x)?;
    Ok(vec![cx.fresh(y), success(cx, &shape[..shape.len() - 2])?])
}

/// The `x` of `A·x = b`, or of `x·A = b`; a `b` with one axis less is a vector.
fn solve_value(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Value> {
    let (a, b) = (call.tensor("A")?, call.tensor("B")?);
    let (a_shape, b_shape) = (cx.shape(a)?, cx.shape(b)?);
    let left = call.bool_or("left", true)?;
    let vector = b_shape.len() == 1
        || (a_shape.len() == b_shape.len() + 1 && a_shape[..a_shape.len() - 1] == b_shape[..]);
    let mut calls = Calls(cx);
    let mut a = a;
    let mut b = if vector { calls.unsqueeze(b, -1)? } else { b };
    if !left {
        a = calls.one("aten.mT", a)?;
        b = calls.one("aten.mT", b)?;
    }
    // The batches broadcast against one another.
    let (a_shape, b_shape) = (calls.0.shape(a)?, calls.0.shape(b)?);
    let batch = mlc_ir::infer::broadcast(
        &a_shape[..a_shape.len().saturating_sub(2)],
        &b_shape[..b_shape.len().saturating_sub(2)],
    )?;
    let mut expanded = Vec::with_capacity(2);
    for (tensor, shape) in [(a, &a_shape), (b, &b_shape)] {
        let mut to = batch.clone();
        to.extend_from_slice(&shape[shape.len().saturating_sub(2)..]);
        let size = Val::List(to.into_iter().map(Val::Int).collect());
        expanded.push(calls.with("aten.expand", tensor, ("size", size))?);
    }
    let (matrix, right) = (square(cx, expanded[0])?, matrices(cx, expanded[1])?);
    let wide = beside(cx, matrix.value, right.value)?;
    let [solved, _] = eliminated(cx, &matrix, wide)?;
    let y = columns_from(cx, solved, matrix.rows)?;
    let y = matrix.batched(cx, y, &[Dim::Const(matrix.rows), Dim::Const(right.columns)])?;
    let mut calls = Calls(cx);
    let mut y = calls.tensor(y)?;
    if !left {
        y = calls.one("aten.mT", y)?;
    }
    if vector {
        y = calls.with("aten.squeeze", y, ("dim", -1i64))?;
    }
    cx.read(y)
}

fn solve(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let y = solve_value(cx, call)?;
    cx.one(y)
}

/// Also gives the factors of the matrix, or a code for each: of the former there are none here.
fn solve_checked(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["check_errors"]);
    let shape = cx.shape(call.tensor("A")?)?;
    let y = solve_value(cx, call)?;
    let y = cx.fresh(y);
    if call.op.contains("._") {
        let factors = |what: &str| Val::Opaque(format!("the {what} of the matrix of a system"));
        let info = success(cx, &shape[..shape.len().saturating_sub(2)])?;
        return Ok(vec![y, factors("factors"), factors("pivots"), info]);
    }
    Ok(vec![y, success(cx, &shape[..shape.len().saturating_sub(2)])?])
}

/// The pivots of matrices.
fn pivots(cx: &mut Cx<'_>, x: TensorId) -> LowerResult<(Value, Matrices)> {
    let all = square(cx, x)?;
    let [_, pivots] = eliminated(cx, &all, all.value)?;
    Ok((pivots, all))
}

fn det(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (pivots, all) = pivots(cx, matrix(call)?)?;
    let y = cx.unary(ReduceProd { axes: Some(vec![1]), keep_dims: false }, pivots)?;
    // A pivot of 0 ends elimination; what comes after divides by it.
    let y = zero_if_singular(cx, y, (pivots, all.dtype))?;
    let y = all.batched(cx, y, &[])?;
    let y = cx.fresh(y);
    let factors = |what: &str| Val::Opaque(format!("the {what} of the matrix of a determinant"));
    Ok(if call.op.contains("._") {
        vec![y, factors("factors"), factors("pivots")]
    } else {
        vec![y]
    })
}

/// 0 where a pivot is 0, as it is before anything divided by it.
fn zero_if_singular(
    cx: &mut Cx<'_>,
    y: Value,
    (pivots, dtype): (Value, DType),
) -> LowerResult<Value> {
    let zero = cx.b.scalar(dtype, 0.0)?;
    let none = cx.binary(Equal {}, pivots, zero)?;
    let none = cx.cast(none, DType::I32)?;
    let none = cx.unary(ReduceSum { axes: Some(vec![1]), keep_dims: false }, none)?;
    let nothing = cx.b.int(0)?;
    let singular = cx.binary(Greater {}, none, nothing)?;
    Ok(Select {}.build(&mut cx.b, singular, zero, y)?)
}

/// The sign of the determinant and the logarithm of its absolute value.
fn sign_and_log(cx: &mut Cx<'_>, x: TensorId) -> LowerResult<[Value; 2]> {
    let (pivots, all) = pivots(cx, x)?;
    let signs = cx.unary(mlc_ir::ops::Sign {}, pivots)?;
    let sign = cx.unary(ReduceProd { axes: Some(vec![1]), keep_dims: false }, signs)?;
    let sign = zero_if_singular(cx, sign, (pivots, all.dtype))?;
    let size = cx.unary(Abs {}, pivots)?;
    let logs = cx.unary(mlc_ir::ops::Log { epsilon: mlc_ir::F64(0.0) }, size)?;
    let log = cx.unary(ReduceSum { axes: Some(vec![1]), keep_dims: false }, logs)?;
    let nothing = cx.b.scalar(all.dtype, 0.0)?;
    let singular = cx.binary(Equal {}, sign, nothing)?;
    let least = cx.b.scalar(all.dtype, f64::NEG_INFINITY)?;
    let log = Select {}.build(&mut cx.b, singular, least, log)?;
    Ok([all.batched(cx, sign, &[])?, all.batched(cx, log, &[])?])
}

fn slogdet(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let [sign, log] = sign_and_log(cx, matrix(call)?)?;
    let mut all = vec![cx.fresh(sign), cx.fresh(log)];
    if call.op.contains("._") {
        let none = |what: &str| Val::Opaque(format!("the {what} of the matrix of a determinant"));
        all.extend([none("factors"), none("pivots")]);
    }
    Ok(all)
}

/// NaN of a negative determinant.
fn logdet(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let [sign, log] = sign_and_log(cx, matrix(call)?)?;
    let dtype = cx.b.tensor(sign)?.dtype;
    let (zero, nan) = (cx.b.scalar(dtype, 0.0)?, cx.b.scalar(dtype, f64::NAN)?);
    let below = cx.binary(Less {}, sign, zero)?;
    let y = Select {}.build(&mut cx.b, below, nan, log)?;
    cx.one(y)
}

/// The lower triangle whose product with its transpose is the matrix, column by column; of the matrix
/// the lower triangle counts alone.
fn cholesky_value(cx: &mut Cx<'_>, x: TensorId) -> LowerResult<(Value, Matrices)> {
    let all = square(cx, x)?;
    let numbers = all.numbers(cx)?;
    let (start, step, n) = (cx.b.int(0)?, cx.b.int(1)?, cx.b.int(all.rows)?);
    let zero = cx.b.scalar(all.dtype, 0.0)?;
    let blank = cx.binary(Mul {}, all.value, zero)?;
    let given = all.value;
    let results = WhileLoop::build_with::<LowerError>(
        &mut cx.b,
        vec![start, blank],
        |b, args| Ok(Less {}.build(b, args[0], n)?),
        |b, args| {
            let (k, lower) = (args[0], args[1]);
            let here = Equal {}.build(b, numbers, k)?;
            let row_mask = spread(b, here, &[0, 2])?;
            let row = Select {}.build(b, row_mask, lower, zero)?;
            let row = total(b, row, 1)?;
            let product = Matmul { transpose_x: false, transpose_y: true };
            let taken = product.build(b, lower, row)?;
            let column = Select {}.build(b, here, given, zero)?;
            let column = total(b, column, 2)?;
            let rest = Sub {}.build(b, column, taken)?;
            let pivot = Select {}.build(b, row_mask, rest, zero)?;
            let pivot = total(b, pivot, 1)?;
            let root = Sqrt {}.build(b, pivot)?;
            let scaled = RealDiv {}.build(b, rest, root)?;
            let later = GreaterEqual {}.build(b, numbers, k)?;
            let later = spread(b, later, &[0, 2])?;
            let scaled = Select {}.build(b, later, scaled, zero)?;
            let next = Select {}.build(b, here, scaled, lower)?;
            Ok(vec![Add {}.build(b, k, step)?, next])
        },
    )?;
    let &[_, lower] = &results[..] else { return Err(LowerError::invalid("no results")) };
    Ok((lower, all))
}

fn cholesky_result(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<(Value, Vec<Dim>)> {
    let x = matrix(call)?;
    let upper = call.bool_or("upper", false)?;
    let source = if upper { Calls(cx).one("aten.mT", x)? } else { x };
    let (lower, all) = cholesky_value(cx, source)?;
    let lower = if upper {
        cx.unary(mlc_ir::ops::Transpose { perm: vec![0, 2, 1] }, lower)?
    } else {
        lower
    };
    let y = all.batched(cx, lower, &[Dim::Const(all.rows), Dim::Const(all.rows)])?;
    Ok((y, all.batch))
}

fn cholesky(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (y, _) = cholesky_result(cx, call)?;
    cx.one(y)
}

fn cholesky_checked(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["check_errors"]);
    let (y, batch) = cholesky_result(cx, call)?;
    Ok(vec![cx.fresh(y), success(cx, &batch)?])
}

/// `A = L·Lᵀ`, or `Uᵀ·U`, of a triangular factor.
fn of_factor(cx: &mut Cx<'_>, factor: TensorId, upper: bool) -> LowerResult<TensorId> {
    let mut calls = Calls(cx);
    let op = if upper { "aten.triu" } else { "aten.tril" };
    let factor = calls.one(op, factor)?;
    let turned = calls.one("aten.mT", factor)?;
    let (x, y) = if upper { (turned, factor) } else { (factor, turned) };
    calls.two("aten.matmul", x, y)
}

/// Two triangular systems, one after the other.
fn cholesky_solve(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (b, factor) = (call.tensor("self")?, call.tensor("input2")?);
    let upper = call.bool_or("upper", false)?;
    let mut calls = Calls(cx);
    let turned = calls.one("aten.mT", factor)?;
    let steps =
        if upper { [(turned, false), (factor, true)] } else { [(factor, false), (turned, true)] };
    let mut y = b;
    for (factor, upper) in steps {
        let args = [("self", factor.into()), ("B", y.into()), ("upper", upper.into())];
        y = calls.0.call_tensor("aten.linalg_solve_triangular", &args)?;
    }
    Ok(vec![Val::Tensor(y)])
}

fn cholesky_inverse(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let whole = of_factor(cx, call.tensor("self")?, call.bool_or("upper", false)?)?;
    let y = inverse_value(cx, whole)?;
    cx.one(y)
}

/// The triangle that counts, with ones on the diagonal where that is not given.
fn triangle(cx: &mut Cx<'_>, x: TensorId, (upper, unit): (bool, bool)) -> LowerResult<TensorId> {
    let mut calls = Calls(cx);
    let op = if upper { "aten.triu" } else { "aten.tril" };
    if !unit {
        return calls.one(op, x);
    }
    let side = if upper { 1i64 } else { -1 };
    let strict = calls.with(op, x, ("diagonal", side))?;
    let n = calls.0.shape(x)?.pop().and_then(|dim| dim.as_const());
    let n = n.ok_or_else(|| LowerError::dynamic("a triangular matrix of unknown extents"))?;
    let dtype = calls.0.dtype(x)?;
    let eye = calls.0.call_tensor("aten.eye", &[("n", n.into()), ("dtype", Val::DType(dtype))])?;
    calls.two("aten.add", strict, eye)
}

fn solve_triangular(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let flags = (call.bool_or("upper", false)?, call.bool_or("unitriangular", false)?);
    let a = triangle(cx, call.tensor("self")?, flags)?;
    let args = [
        ("A", a.into()),
        ("B", call.tensor("B")?.into()),
        ("left", call.bool_or("left", true)?.into()),
    ];
    cx.call("aten.linalg_solve", &args)
}

fn triangular_solve(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (b, a) = (call.tensor("self")?, call.tensor("A")?);
    let flags = (call.bool_or("upper", true)?, call.bool_or("unitriangular", false)?);
    let mut matrix = triangle(cx, a, flags)?;
    if call.bool_or("transpose", false)? {
        matrix = Calls(cx).one("aten.mT", matrix)?;
    }
    let y = cx.call_tensor("aten.linalg_solve", &[("A", matrix.into()), ("B", b.into())])?;
    Ok(vec![Val::Tensor(y), Val::Tensor(a)])
}

/// By repeated squaring; of the inverse for a negative exponent.
fn matrix_power(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut x = call.tensor("self")?;
    let n = call.int("n")?;
    if n < 0 {
        let inverse = inverse_value(cx, x)?;
        x = Calls(cx).tensor(inverse)?;
    }
    let mut calls = Calls(cx);
    let mut rest = n.unsigned_abs();
    if rest == 0 {
        let (dtype, shape) = (calls.0.dtype(x)?, calls.0.shape(x)?);
        let n = shape.last().cloned().ok_or_else(|| LowerError::invalid("a scalar"))?;
        let args = [("n", Val::Int(n)), ("dtype", Val::DType(dtype))];
        let eye = calls.0.call_tensor("aten.eye", &args)?;
        let size = Val::List(shape.into_iter().map(Val::Int).collect());
        let y = calls.with("aten.expand", eye, ("size", size))?;
        let y = calls.0.read(y)?;
        return cx.one(y);
    }
    let mut product: Option<TensorId> = None;
    let mut power = x;
    loop {
        if rest & 1 == 1 {
            product = Some(match product {
                Some(product) => calls.two("aten.matmul", product, power)?,
                None => power,
            });
        }
        rest >>= 1;
        if rest == 0 {
            break;
        }
        power = calls.two("aten.matmul", power, power)?;
    }
    let y = product.ok_or_else(|| LowerError::invalid("a power without factors"))?;
    let y = calls.0.read(y)?;
    cx.one(y)
}
