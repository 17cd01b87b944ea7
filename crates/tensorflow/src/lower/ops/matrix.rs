//! Diagonals, bands, and linear algebra of small matrices.

use mlc_ir::ops::{
    BandPart, GreaterEqual, LessEqual, LogicalAnd, Matmul, Mul, RealDiv, ReduceSum, Sqrt, Sub,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, Tensor};

use super::elementwise::float_input;
use super::join::{gathered, joined};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "BatchMatrixBandPart", lower: band_part },
    Lowering { name: "Cholesky", lower: cholesky },
    Lowering { name: "Diag", lower: diag },
    Lowering { name: "DiagPart", lower: diag_part },
    Lowering { name: "MatrixBandPart", lower: band_part },
    Lowering { name: "LogMatrixDeterminant", lower: log_determinant },
    Lowering { name: "MatrixDeterminant", lower: determinant },
    Lowering { name: "MatrixDiag", lower: matrix_diag },
    Lowering { name: "MatrixDiagPart", lower: matrix_diag_part },
    Lowering { name: "MatrixDiagPartV2", lower: matrix_diag_part },
    Lowering { name: "MatrixDiagPartV3", lower: matrix_diag_part },
    Lowering { name: "MatrixDiagV2", lower: matrix_diag },
    Lowering { name: "MatrixDiagV3", lower: matrix_diag },
    Lowering { name: "MatrixInverse", lower: inverse },
    Lowering { name: "MatrixSetDiag", lower: set_diag },
    Lowering { name: "MatrixSetDiagV2", lower: set_diag },
    Lowering { name: "MatrixSetDiagV3", lower: set_diag },
    Lowering { name: "MatrixSolve", lower: solve },
    Lowering { name: "MatrixTriangularSolve", lower: triangular_solve },
    Lowering { name: "SparseTensorDenseMatMul", lower: sparse_dense },
];

/// Matrices are factored one column at a time up to this extent.
const MAX_EXTENT: i64 = 32;

fn band_part(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let (lower, upper) = (call.tensor(1)?, call.tensor(2)?);
    if let (Some([lower]), Some([upper])) = (cx.ints(lower).as_deref(), cx.ints(upper).as_deref())
        && cx.dtype(x)? != DType::Bool
    {
        let y = cx.unary(BandPart { lower: *lower, upper: *upper }, x)?;
        return cx.one(y);
    }
    let shape = cx.shape(x)?;
    let [.., rows, columns] = &shape[..] else {
        return Err(LowerError::invalid("a matrix is needed"));
    };
    let dtype = DType::I32;
    let row = super::join::iota(cx, rows, dtype)?;
    let column = super::join::iota(cx, columns, dtype)?;
    let row = cx.expand_dims(row, &[1])?;
    let gap = cx.binary(Sub {}, row, column)?;
    let (lower, upper) = (cx.cast(lower, dtype)?, cx.cast(upper, dtype)?);
    let zero = cx.b.int(0)?;
    let inside = |cx: &mut Cx<'_>, gap: Value, most: Value| -> LowerResult<Value> {
        let near = cx.binary(LessEqual {}, gap, most)?;
        let open = cx.binary(mlc_ir::ops::Less {}, most, zero)?;
        cx.binary(mlc_ir::ops::LogicalOr {}, near, open)
    };
    let below = inside(cx, gap, lower)?;
    let minus = cx.binary(Sub {}, zero, gap)?;
    let above = inside(cx, minus, upper)?;
    let kept = cx.binary(LogicalAnd {}, below, above)?;
    let y = if cx.dtype(x)? == DType::Bool {
        cx.binary(LogicalAnd {}, x, kept)?
    } else {
        let none = cx.scalar_like(x, 0.0)?;
        cx.select(kept, x, none)?
    };
    cx.one(y)
}

/// A table of places in the last `cut` axes of a tensor, flattened, of which −1 is the padding.
struct Table {
    places: Vec<i64>,
    shape: Vec<i64>,
    cut: usize,
}

/// Elements by a table; `padding` where it says −1.
fn by_table(cx: &mut Cx<'_>, x: Value, table: &Table, padding: Value) -> LowerResult<Value> {
    let shape = cx.shape(x)?;
    let lead = shape.len() - table.cut;
    let count = Dim::product(&shape[lead..]);
    let mut flat = shape[..lead].to_vec();
    flat.push(count.clone());
    let flat_x = cx.reshape(x, &flat)?;
    let count = count
        .as_const()
        .ok_or_else(|| LowerError::dynamic("the extents of a matrix are not known"))?;
    let padded = table.places.contains(&-1);
    let source = if padded {
        let mut one = flat.clone();
        one[lead] = Dim::Const(1);
        let fill = cx.filled(&one, padding)?;
        joined(cx, vec![flat_x, fill], lead)?
    } else {
        flat_x
    };
    let places: Vec<i64> = table.places.iter().map(|&at| if at < 0 { count } else { at }).collect();
    let at = cx.b.ints(&places)?;
    let taken = gathered(cx, source, at, lead)?;
    let mut whole = shape[..lead].to_vec();
    whole.extend(table.shape.iter().map(|&n| Dim::Const(n)));
    cx.reshape(taken, &whole)
}

/// Which diagonals: from `low` to `high`, and on which side short ones are padded.
struct Diagonals {
    low: i64,
    high: i64,
    align: Align,
}

#[derive(Clone, Copy)]
struct Align {
    /// Diagonals above the main one stand at the right.
    upper_right: bool,
    /// Those below it stand at the right.
    lower_right: bool,
}

fn diagonals(cx: &Cx<'_>, call: &Call<'_>, index: Option<usize>) -> LowerResult<Diagonals> {
    let (low, high) = match index {
        Some(index) => match cx.need_ints(call.tensor(index)?, "k")?[..] {
            [one] => (one, one),
            [low, high] => (low, high),
            _ => return Err(LowerError::invalid("`k` has more than two entries")),
        },
        None => (0, 0),
    };
    let default = if call.op.ends_with("V3") { "RIGHT_LEFT" } else { "LEFT_LEFT" };
    let align = match call.text_or("align", default)? {
        "RIGHT_LEFT" => Align { upper_right: true, lower_right: false },
        "LEFT_RIGHT" => Align { upper_right: false, lower_right: true },
        "LEFT_LEFT" => Align { upper_right: false, lower_right: false },
        "RIGHT_RIGHT" => Align { upper_right: true, lower_right: true },
        other => return Err(LowerError::argument(format!("`align` is `{other}`"))),
    };
    if low > high {
        return Err(LowerError::invalid(format!("`k` is {low} to {high}")));
    }
    Ok(Diagonals { low, high, align })
}

impl Diagonals {
    /// Length of diagonal `d` of a matrix.
    fn length(d: i64, rows: i64, columns: i64) -> i64 {
        (rows + d.min(0)).min(columns - d.max(0))
    }

    fn longest(&self, rows: i64, columns: i64) -> i64 {
        (self.low..=self.high).map(|d| Self::length(d, rows, columns)).max().unwrap_or(0)
    }

    /// How far diagonal `d` is moved to the right.
    fn offset(&self, d: i64, length: i64, longest: i64) -> i64 {
        let right = if d >= 0 { self.align.upper_right } else { self.align.lower_right };
        if right { longest - length } else { 0 }
    }

    fn is_one(&self) -> bool {
        self.low == self.high
    }
}

fn matrix_extents(shape: &[Dim]) -> LowerResult<(i64, i64)> {
    match shape {
        [.., rows, columns] => rows.as_const().zip(columns.as_const()).ok_or_else(|| {
            LowerError::dynamic("the extents of a matrix are not known at compile time")
        }),
        _ => Err(LowerError::invalid("a matrix is needed")),
    }
}

fn matrix_diag_part(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let versioned = call.op != "MatrixDiagPart";
    let which = diagonals(cx, call, versioned.then_some(1))?;
    let padding = if versioned { call.tensor(2)? } else { cx.scalar_like(x, 0.0)? };
    let (rows, columns) = matrix_extents(&cx.shape(x)?)?;
    let longest = which.longest(rows, columns);
    let mut places = Vec::new();
    for d in (which.low..=which.high).rev() {
        let length = Diagonals::length(d, rows, columns);
        let offset = which.offset(d, length, longest);
        for i in 0..longest {
            let at = i - offset;
            places.push(if (0..length).contains(&at) {
                (at + (-d).max(0)) * columns + at + d.max(0)
            } else {
                -1
            });
        }
    }
    let shape = match which.is_one() {
        true => vec![longest],
        false => vec![which.high - which.low + 1, longest],
    };
    let y = by_table(cx, x, &Table { places, shape, cut: 2 }, padding)?;
    cx.one(y)
}

fn matrix_diag(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let versioned = call.op != "MatrixDiag";
    let which = diagonals(cx, call, versioned.then_some(1))?;
    let shape = cx.shape(x)?;
    let open = shape.last().is_some_and(|dim| dim.as_const().is_none());
    if open && !versioned {
        let y = open_diag(cx, x)?;
        return cx.one(y);
    }
    let longest = shape.last().and_then(Dim::as_const).ok_or_else(|| {
        LowerError::dynamic("the length of a diagonal is not known at compile time")
    })?;
    let (mut rows, mut columns) = (-1, -1);
    let mut padding = cx.scalar_like(x, 0.0)?;
    if versioned {
        rows = cx.need_int(call.tensor(2)?, "num_rows")?;
        columns = cx.need_int(call.tensor(3)?, "num_cols")?;
        padding = call.tensor(4)?;
    }
    let (least_rows, least_columns) = (longest - which.high.min(0), longest + which.low.max(0));
    match (rows, columns) {
        (-1, -1) => {
            rows = least_rows.max(least_columns);
            columns = rows;
        }
        (-1, _) => rows = least_rows,
        (_, -1) => columns = least_columns,
        _ => {}
    }
    let mut places = vec![-1; usize::try_from(rows * columns).unwrap_or(0)];
    for (line, d) in (which.low..=which.high).rev().enumerate() {
        let length = Diagonals::length(d, rows, columns);
        let offset = which.offset(d, length, longest);
        for at in 0..length {
            let place = (at + (-d).max(0)) * columns + at + d.max(0);
            places[place as usize] = line as i64 * longest + at + offset;
        }
    }
    let cut = if which.is_one() { 1 } else { 2 };
    let table = Table { places, shape: vec![rows, columns], cut };
    let y = by_table(cx, x, &table, padding)?;
    cx.one(y)
}

/// Square matrices with the vectors of `x` on their diagonals, of an extent that is not known.
fn open_diag(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let shape = cx.shape(x)?;
    let extent = shape.last().cloned().ok_or_else(|| LowerError::invalid("a scalar"))?;
    let own = super::join::iota(cx, &extent, DType::I32)?;
    let row = cx.expand_dims(own, &[1])?;
    let diagonal = cx.binary(mlc_ir::ops::Equal {}, row, own)?;
    let lines = cx.expand_dims(x, &[-2])?;
    let mut whole = shape.clone();
    whole.push(extent);
    let lines = crate::lower::dims::expand(cx, lines, &whole)?;
    let zero = cx.scalar_like(x, 0.0)?;
    cx.select(diagonal, lines, zero)
}

fn set_diag(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, diagonal) = (call.tensor(0)?, call.tensor(1)?);
    let versioned = call.op != "MatrixSetDiag";
    let which = diagonals(cx, call, versioned.then_some(2))?;
    let (rows, columns) = matrix_extents(&cx.shape(x)?)?;
    let longest = which.longest(rows, columns);
    let mut places = vec![-1; usize::try_from(rows * columns).unwrap_or(0)];
    let mut own = vec![0i64; places.len()];
    for (line, d) in (which.low..=which.high).rev().enumerate() {
        let length = Diagonals::length(d, rows, columns);
        let offset = which.offset(d, length, longest);
        for at in 0..length {
            let place = ((at + (-d).max(0)) * columns + at + d.max(0)) as usize;
            places[place] = line as i64 * longest + at + offset;
            own[place] = 1;
        }
    }
    let cut = if which.is_one() { 1 } else { 2 };
    let zero = cx.scalar_like(x, 0.0)?;
    let table = Table { places, shape: vec![rows, columns], cut };
    let spread = by_table(cx, diagonal, &table, zero)?;
    let mask = Tensor::from_i64s(DType::Bool, &[rows as u64, columns as u64], &own)?;
    let mask = cx.b.constant(mask)?;
    let y = cx.select(mask, spread, x)?;
    cx.one(y)
}

/// `y[i…, i…] = x[i…]`
fn diag(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let shape = cx.shape(x)?;
    let count = Dim::product(&shape).as_const().ok_or_else(|| {
        LowerError::dynamic("the extents of a diagonal are not known at compile time")
    })?;
    let flat = cx.reshape(x, &[Dim::Const(count)])?;
    let mut places = vec![-1; usize::try_from(count * count).unwrap_or(0)];
    for i in 0..count {
        places[(i * (count + 1)) as usize] = i;
    }
    let zero = cx.scalar_like(x, 0.0)?;
    let y = by_table(cx, flat, &Table { places, shape: vec![count, count], cut: 1 }, zero)?;
    let twice = [shape.clone(), shape].concat();
    let y = cx.reshape(y, &twice)?;
    cx.one(y)
}

fn diag_part(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let shape = cx.shape(x)?;
    let half = shape[..shape.len() / 2].to_vec();
    let count = Dim::product(&half).as_const().ok_or_else(|| {
        LowerError::dynamic("the extents of a diagonal are not known at compile time")
    })?;
    let flat = cx.reshape(x, &[Dim::Const(count * count)])?;
    let at: Vec<i64> = (0..count).map(|i| i * (count + 1)).collect();
    let at = cx.b.ints(&at)?;
    let y = gathered(cx, flat, at, 0)?;
    let y = cx.reshape(y, &half)?;
    cx.one(y)
}

/// Element `(i, j)` of matrices, with axes of extent 1 for both.
fn element(cx: &mut Cx<'_>, x: Value, i: i64, j: i64) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    let row = super::slice::window(cx, x, rank - 2, (i, 1))?;
    super::slice::window(cx, row, rank - 1, (j, 1))
}

fn square_extent(cx: &Cx<'_>, x: Value) -> LowerResult<i64> {
    let (rows, columns) = matrix_extents(&cx.shape(x)?)?;
    if rows != columns || !(1..=MAX_EXTENT).contains(&rows) {
        return Err(LowerError::argument(format!(
            "matrices of {rows} by {columns}; square ones of at most {MAX_EXTENT} are factored"
        )));
    }
    Ok(rows)
}

/// `a⁻¹·b` by Gauss–Jordan elimination with row exchange, and the determinant of `a`.
fn eliminated(cx: &mut Cx<'_>, a: Value, b: Option<Value>) -> LowerResult<(Option<Value>, Value)> {
    let n = square_extent(cx, a)?;
    let rank = cx.rank(a)?;
    let dtype = cx.dtype(a)?;
    let (row_axis, column_axis) = (rank - 2, rank - 1);
    let mut work = match b {
        Some(b) => joined(cx, vec![a, b], column_axis)?,
        None => a,
    };
    let rows: Vec<i64> = (0..n).collect();
    let rows = Tensor::from_i64s(DType::I32, &[n as u64, 1], &rows)?;
    let rows = cx.b.constant(rows)?;
    let (zero, one) = (cx.number(dtype, 0.0)?, cx.number(dtype, 1.0)?);
    let mut determinant: Option<Value> = None;
    for k in 0..n {
        let at = cx.b.int(k)?;
        // The row at or below k with the greatest element in column k.
        let column = super::slice::window(cx, work, column_axis, (k, 1))?;
        let size = cx.unary(mlc_ir::ops::Abs {}, column)?;
        let candidate = cx.binary(GreaterEqual {}, rows, at)?;
        let below = cx.number(dtype, -1.0)?;
        let size = cx.select(candidate, size, below)?;
        let best = mlc_ir::ops::ReduceArgmax {
            axis: row_axis as i64,
            keep_dims: true,
            output_dtype: DType::I32,
        };
        let best = cx.unary(best, size)?;
        let is_best = cx.binary(mlc_ir::ops::Equal {}, rows, best)?;
        let is_own = cx.binary(mlc_ir::ops::Equal {}, rows, at)?;
        let chosen = {
            let mask = cx.cast(is_best, dtype)?;
            let only = cx.binary(Mul {}, work, mask)?;
            cx.unary(ReduceSum { axes: Some(vec![row_axis as i64]), keep_dims: true }, only)?
        };
        let own = super::slice::window(cx, work, row_axis, (k, 1))?;
        let swapped = cx.select(is_best, own, work)?;
        work = cx.select(is_own, chosen, swapped)?;
        let pivot = super::slice::window(cx, chosen, column_axis, (k, 1))?;
        let moved = cx.binary(mlc_ir::ops::NotEqual {}, best, at)?;
        let minus = super::elementwise::negated(cx, pivot)?;
        let signed = cx.select(moved, minus, pivot)?;
        determinant = Some(match determinant {
            Some(d) => cx.binary(Mul {}, d, signed)?,
            None => signed,
        });
        let line = cx.binary(RealDiv {}, chosen, pivot)?;
        let column = super::slice::window(cx, work, column_axis, (k, 1))?;
        let factor = cx.select(is_own, zero, column)?;
        let change = cx.binary(Mul {}, factor, line)?;
        let reduced = cx.binary(Sub {}, work, change)?;
        work = cx.select(is_own, line, reduced)?;
    }
    let determinant = determinant.unwrap_or(one);
    let solution = match b {
        Some(b) => {
            let (_, width) = matrix_extents(&cx.shape(b)?)?;
            Some(super::slice::window(cx, work, column_axis, (n, width))?)
        }
        None => None,
    };
    Ok((solution, determinant))
}

fn determinant(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let y = determinant_value(cx, call)?;
    cx.one(y)
}

/// The sign of the determinant and the logarithm of its size.
fn log_determinant(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let y = determinant_value(cx, call)?;
    let sign = cx.unary(mlc_ir::ops::Sign {}, y)?;
    let size = cx.unary(mlc_ir::ops::Abs {}, y)?;
    let log = cx.unary(mlc_ir::ops::Log { epsilon: mlc_ir::F64(0.0) }, size)?;
    Ok(vec![Val::Tensor(sign), Val::Tensor(log)])
}

fn determinant_value(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Value> {
    let a = float_input(cx, call, 0)?;
    let (_, d) = eliminated(cx, a, None)?;
    let rank = cx.rank(d)?;
    // A singular matrix divides by 0 on the way; its determinant is 0.
    let y = cx.squeeze(d, &[rank - 2, rank - 1])?;
    let (zero, same) = (cx.scalar_like(y, 0.0)?, cx.binary(mlc_ir::ops::Equal {}, y, y)?);
    cx.select(same, y, zero)
}

fn identity(cx: &mut Cx<'_>, like: Value, n: i64) -> LowerResult<Value> {
    let dtype = cx.dtype(like)?;
    let mut all = vec![0.0; (n * n) as usize];
    (0..n).for_each(|i| all[(i * (n + 1)) as usize] = 1.0);
    let eye = Tensor::from_f64s(dtype, &[n as u64, n as u64], &all)?;
    let eye = cx.b.constant(eye)?;
    let shape = cx.shape(like)?;
    crate::lower::dims::expand(cx, eye, &shape)
}

fn transposed(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let rank = cx.rank(x)?;
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    cx.transpose(x, &perm)
}

fn inverse(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut a = float_input(cx, call, 0)?;
    if call.bool_or("adjoint", false)? {
        a = transposed(cx, a)?;
    }
    let n = square_extent(cx, a)?;
    let eye = identity(cx, a, n)?;
    let (y, _) = eliminated(cx, a, Some(eye))?;
    cx.one(y.ok_or_else(|| LowerError::invalid("no solution"))?)
}

fn solve(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut a = float_input(cx, call, 0)?;
    let b = float_input(cx, call, 1)?;
    if call.bool_or("adjoint", false)? {
        a = transposed(cx, a)?;
    }
    let (y, _) = eliminated(cx, a, Some(b))?;
    cx.one(y.ok_or_else(|| LowerError::invalid("no solution"))?)
}

/// Row by row, from the end of the matrix whose unknowns stand alone.
fn triangular_solve(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (float_input(cx, call, 0)?, float_input(cx, call, 1)?);
    let lower = call.bool_or("lower", true)?;
    let adjoint = call.bool_or("adjoint", false)?;
    let (a, lower) = if adjoint { (transposed(cx, a)?, !lower) } else { (a, lower) };
    let n = square_extent(cx, a)?;
    let axis = cx.rank(b)? - 2;
    let order: Vec<i64> = if lower { (0..n).collect() } else { (0..n).rev().collect() };
    let mut solved: Vec<(i64, Value)> = Vec::new();
    for &i in &order {
        let mut right = super::slice::window(cx, b, axis, (i, 1))?;
        for &(j, value) in &solved {
            let factor = element(cx, a, i, j)?;
            let known = cx.binary(Mul {}, factor, value)?;
            right = cx.binary(Sub {}, right, known)?;
        }
        let pivot = element(cx, a, i, i)?;
        solved.push((i, cx.binary(RealDiv {}, right, pivot)?));
    }
    solved.sort_by_key(|(i, _)| *i);
    let y = joined(cx, solved.into_iter().map(|(_, value)| value).collect(), axis)?;
    cx.one(y)
}

/// The lower triangular factor, element by element.
fn cholesky(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let a = float_input(cx, call, 0)?;
    let n = square_extent(cx, a)?;
    let rank = cx.rank(a)?;
    let mut factor: Vec<Vec<Value>> = Vec::new();
    for i in 0..n {
        let mut line: Vec<Value> = Vec::new();
        for j in 0..=i {
            let mut rest = element(cx, a, i, j)?;
            for k in 0..j as usize {
                let other = if j == i { line[k] } else { factor[j as usize][k] };
                let product = cx.binary(Mul {}, line[k], other)?;
                rest = cx.binary(Sub {}, rest, product)?;
            }
            line.push(if i == j {
                cx.unary(Sqrt {}, rest)?
            } else {
                let pivot = factor[j as usize][j as usize];
                cx.binary(RealDiv {}, rest, pivot)?
            });
        }
        factor.push(line);
    }
    let mut rows = Vec::new();
    for (i, mut line) in factor.into_iter().enumerate() {
        let zero = cx.scalar_like(a, 0.0)?;
        let shape = cx.shape(line[0])?;
        for _ in i + 1..n as usize {
            line.push(cx.filled(&shape, zero)?);
        }
        rows.push(joined(cx, line, rank - 1)?);
    }
    let y = joined(cx, rows, rank - 2)?;
    cx.one(y)
}

/// A sparse matrix, by the places of its elements, times a dense one.
fn sparse_dense(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (at, values, shape, b) =
        (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?, call.tensor(3)?);
    let (swap_a, swap_b) = (call.bool_or("adjoint_a", false)?, call.bool_or("adjoint_b", false)?);
    let shape = cx.extents(shape, "a_shape")?;
    let zero = cx.scalar_like(values, 0.0)?;
    let data = cx.filled(&shape, zero)?;
    let at = cx.cast(at, DType::I32)?;
    let op =
        mlc_ir::ops::ScatterNd { mode: mlc_ir::attr::ScatterMode::Add, validate_indices: false };
    let a = op.build(&mut cx.b, data, at, values)?;
    let y = Matmul { transpose_x: swap_a, transpose_y: swap_b }.build(&mut cx.b, a, b)?;
    cx.one(y)
}
