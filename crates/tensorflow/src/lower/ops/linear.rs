//! Products of matrices.

use mlc_ir::ops::{Linear, Matmul, Mul, ReduceSum, Sub};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "BatchMatMul", lower: batch_matmul },
    Lowering { name: "BatchMatMulV2", lower: batch_matmul },
    Lowering { name: "BatchMatMulV3", lower: batch_matmul },
    Lowering { name: "Cross", lower: cross },
    Lowering { name: "Einsum", lower: einsum },
    Lowering { name: "MatMul", lower: matmul },
    Lowering { name: "SparseMatMul", lower: sparse_matmul },
];

fn matmul(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let flags = (call.bool_or("transpose_a", false)?, call.bool_or("transpose_b", false)?);
    call.ignore(&["a_is_sparse", "b_is_sparse"]);
    let y = product(cx, call.tensor(0)?, call.tensor(1)?, flags)?;
    cx.one(y)
}

/// Zeros are not skipped; operands may be bfloat16, the result is f32.
fn sparse_matmul(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let flags = (call.bool_or("transpose_a", false)?, call.bool_or("transpose_b", false)?);
    call.ignore(&["a_is_sparse", "b_is_sparse"]);
    let (a, b) = (cx.cast(call.tensor(0)?, DType::F32)?, cx.cast(call.tensor(1)?, DType::F32)?);
    let y = product(cx, a, b, flags)?;
    cx.one(y)
}

fn batch_matmul(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let flags = (call.bool_or("adj_x", false)?, call.bool_or("adj_y", false)?);
    let (mut a, mut b) = (call.tensor(0)?, call.tensor(1)?);
    let mut out = cx.dtype(a)?;
    if call.attr("Tout").is_some() {
        out = call.dtype("Tout")?;
        (a, b) = (cx.cast(a, out)?, cx.cast(b, out)?);
    }
    let y = product(cx, a, b, flags)?;
    let y = cx.cast(y, out)?;
    cx.one(y)
}

/// The product of matrices, each swapped first where its flag says so.
pub(super) fn product(
    cx: &mut Cx<'_>,
    a: Value,
    b: Value,
    (swap_a, swap_b): (bool, bool),
) -> LowerResult<Value> {
    let dtype = cx.dtype(a)?;
    let rank = (cx.rank(a)?, cx.rank(b)?);
    if rank.0 < 2 || rank.1 < 2 {
        return Err(LowerError::invalid("a product of matrices needs two axes"));
    }
    if dtype.is_int() && dtype.bits() < 32 {
        return Err(LowerError::dtype(format!("a product of matrices of {dtype}")));
    }
    let constant = cx.b.constant_of(b).is_some() && cx.b.constant_of(a).is_none();
    if constant && rank.1 == 2 && !swap_a && dtype.is_float() {
        let weight = if swap_b { b } else { cx.transpose(b, &[1, 0])? };
        return Ok(Linear {}.build(&mut cx.b, a, weight, None)?);
    }
    Ok(Matmul { transpose_x: swap_a, transpose_y: swap_b }.build(&mut cx.b, a, b)?)
}

/// The cross product of vectors of three along the last axis.
fn cross(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    let axis = cx.rank(a)?.checked_sub(1).ok_or_else(|| LowerError::invalid("a scalar"))?;
    let rotated = |cx: &mut Cx<'_>, x: Value, by: &[i64]| {
        let at = cx.b.ints(by)?;
        super::join::gathered(cx, x, at, axis)
    };
    let (a1, b2) = (rotated(cx, a, &[1, 2, 0])?, rotated(cx, b, &[2, 0, 1])?);
    let (a2, b1) = (rotated(cx, a, &[2, 0, 1])?, rotated(cx, b, &[1, 2, 0])?);
    let (first, second) = (cx.binary(Mul {}, a1, b2)?, cx.binary(Mul {}, a2, b1)?);
    let y = cx.binary(Sub {}, first, second)?;
    cx.one(y)
}

/// One operand of an equation: its axes by letter.
#[derive(Debug, Clone)]
struct Term {
    value: Value,
    letters: Vec<char>,
}

/// Letters stand for axes; `...` for the axes that are not named, which broadcast.
fn einsum(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["N"]);
    let equation: String =
        call.text_or("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let values = call.tensors(0)?;
    let bad = || LowerError::invalid(format!("equation `{equation}`"));
    let (left, right) = equation.split_once("->").ok_or_else(bad)?;
    let parts: Vec<&str> = left.split(',').collect();
    if parts.len() != values.len() {
        return Err(bad());
    }
    // The axes that `...` stands for get capital letters from a range of their own.
    let spare: Vec<char> = ('\u{e000}'..'\u{e020}').collect();
    let mut widest = 0;
    let mut terms = Vec::new();
    for (part, value) in parts.iter().zip(values) {
        let rank = cx.rank(value)?;
        let named = part.chars().filter(|c| *c != '.').count();
        let hidden = if part.contains("...") {
            rank.checked_sub(named).filter(|&n| n <= spare.len()).ok_or_else(bad)?
        } else {
            0
        };
        widest = widest.max(hidden);
        let letters = expanded(part, &spare[spare.len() - hidden..]);
        if letters.len() != rank {
            return Err(bad());
        }
        terms.push(Term { value, letters });
    }
    let result = expanded(right, &spare[spare.len() - widest..]);
    let y = contracted(cx, terms, &result, bad)?;
    cx.one(y)
}

fn expanded(part: &str, hidden: &[char]) -> Vec<char> {
    match part.split_once("...") {
        Some((before, after)) => {
            before.chars().chain(hidden.iter().copied()).chain(after.chars()).collect()
        }
        None => part.chars().collect(),
    }
}

fn contracted(
    cx: &mut Cx<'_>,
    terms: Vec<Term>,
    result: &[char],
    bad: impl Fn() -> LowerError,
) -> LowerResult<Value> {
    let mut terms = terms
        .into_iter()
        .map(|term| diagonals(cx, term))
        .collect::<LowerResult<Vec<_>>>()?
        .into_iter();
    let mut left = terms.next().ok_or_else(&bad)?;
    let mut rest: Vec<Term> = terms.collect();
    rest.reverse();
    while let Some(right) = rest.pop() {
        let later: Vec<char> = rest.iter().flat_map(|t| t.letters.clone()).collect();
        let wanted = |c: &char| result.contains(c) || later.contains(c);
        left = pairwise(cx, left, right, &wanted)?;
    }
    let wanted = |c: &char| result.contains(c);
    left = summed(cx, left, &wanted)?;
    let mut shape = Vec::new();
    let mut perm = Vec::new();
    for letter in result {
        let at = left.letters.iter().position(|c| c == letter).ok_or_else(&bad)?;
        perm.push(at);
        shape.push(at);
    }
    if perm.len() != left.letters.len() {
        return Err(bad());
    }
    cx.transpose(left.value, &perm)
}

/// A term in which each letter occurs once: of a repeated one, the diagonal.
fn diagonals(cx: &mut Cx<'_>, mut term: Term) -> LowerResult<Term> {
    loop {
        let repeated = (0..term.letters.len()).find_map(|i| {
            let j = term.letters[i + 1..].iter().position(|c| *c == term.letters[i])? + i + 1;
            Some((i, j))
        });
        let Some((i, j)) = repeated else { return Ok(term) };
        let shape = cx.shape(term.value)?;
        let extent = shape[i]
            .as_const()
            .filter(|_| shape[i] == shape[j])
            .ok_or_else(|| LowerError::dynamic("the diagonal of axes whose extent is not known"))?;
        // The diagonal of an n by n matrix is every (n + 1)-th of its elements.
        let mut perm: Vec<usize> = (0..shape.len()).filter(|&k| k != i && k != j).collect();
        let kept: Vec<Dim> = perm.iter().map(|&k| shape[k].clone()).collect();
        let letters: Vec<char> = perm.iter().map(|&k| term.letters[k]).collect();
        perm.extend([i, j]);
        let moved = cx.transpose(term.value, &perm)?;
        let mut flat = kept;
        flat.push(Dim::Const(extent * extent));
        let rank = flat.len();
        let flat = cx.reshape(moved, &flat)?;
        let at: Vec<i64> = (0..extent).map(|k| k * (extent + 1)).collect();
        let at = cx.b.ints(&at)?;
        term.value = super::join::gathered(cx, flat, at, rank - 1)?;
        let letter = term.letters[i];
        term.letters = letters;
        term.letters.push(letter);
    }
}

/// A term without the letters that are not wanted: they are summed over.
fn summed(cx: &mut Cx<'_>, term: Term, wanted: &dyn Fn(&char) -> bool) -> LowerResult<Term> {
    let axes: Vec<i64> = term
        .letters
        .iter()
        .enumerate()
        .filter(|(_, c)| !wanted(c))
        .map(|(i, _)| i as i64)
        .collect();
    if axes.is_empty() {
        return Ok(term);
    }
    let letters = term.letters.iter().copied().filter(|c| wanted(c)).collect();
    let value = cx.unary(ReduceSum { axes: Some(axes), keep_dims: false }, term.value)?;
    Ok(Term { value, letters })
}

/// The product of two terms, summed over the letters that nobody needs afterwards.
fn pairwise(
    cx: &mut Cx<'_>,
    a: Term,
    b: Term,
    wanted: &dyn Fn(&char) -> bool,
) -> LowerResult<Term> {
    let a = summed(cx, a, &|c| wanted(c) || b.letters.contains(c))?;
    let b = summed(cx, b, &|c| wanted(c) || a.letters.contains(c))?;
    let in_both: Vec<char> = a.letters.iter().copied().filter(|c| b.letters.contains(c)).collect();
    let batch: Vec<char> = in_both.iter().copied().filter(|c| wanted(c)).collect();
    let inner: Vec<char> = in_both.iter().copied().filter(|c| !wanted(c)).collect();
    let rows: Vec<char> = a.letters.iter().copied().filter(|c| !in_both.contains(c)).collect();
    let columns: Vec<char> = b.letters.iter().copied().filter(|c| !in_both.contains(c)).collect();
    let extents = |cx: &Cx<'_>, term: &Term, letters: &[char]| -> LowerResult<Vec<Dim>> {
        let shape = cx.shape(term.value)?;
        Ok(letters
            .iter()
            .filter_map(|c| term.letters.iter().position(|own| own == c))
            .map(|at| shape[at].clone())
            .collect())
    };
    let letters: Vec<char> = batch.iter().chain(&rows).chain(&columns).copied().collect();
    // A letter that two letters at most contract and that broadcast: the op of the IR knows it.
    if let Some(value) = native(cx, (&a, &b), (&batch, &inner, &rows, &columns))? {
        return Ok(Term { value, letters });
    }
    let ordered = |cx: &mut Cx<'_>, term: &Term, letters: &[char]| -> LowerResult<Value> {
        let perm: Vec<usize> =
            letters.iter().filter_map(|c| term.letters.iter().position(|own| own == c)).collect();
        cx.transpose(term.value, &perm)
    };
    let join = |parts: [&[char]; 3]| parts.concat();
    let (batch_a, batch_b) = (extents(cx, &a, &batch)?, extents(cx, &b, &batch)?);
    let (rows_n, columns_n) = (extents(cx, &a, &rows)?, extents(cx, &b, &columns)?);
    let inner_n = extents(cx, &a, &inner)?;
    let inner_b = extents(cx, &b, &inner)?;
    let left = ordered(cx, &a, &join([&batch, &rows, &inner]))?;
    let right = ordered(cx, &b, &join([&batch, &inner, &columns]))?;
    let merged = |batch: &[Dim], first: &[Dim], second: &[Dim]| {
        let mut shape = batch.to_vec();
        shape.push(Dim::product(first));
        shape.push(Dim::product(second));
        shape
    };
    let left = cx.reshape(left, &merged(&batch_a, &rows_n, &inner_n))?;
    let right = cx.reshape(right, &merged(&batch_b, &inner_b, &columns_n))?;
    let y = product(cx, left, right, (false, false))?;
    let batch_n = cx.shape(y)?[..batch.len()].to_vec();
    let whole: Vec<Dim> = batch_n.into_iter().chain(rows_n).chain(columns_n).collect();
    let value = cx.reshape(y, &whole)?;
    Ok(Term { value, letters })
}

/// The product where it is a plain matrix product of the last two axes, without moving anything.
fn native(
    cx: &mut Cx<'_>,
    (a, b): (&Term, &Term),
    (batch, inner, rows, columns): (&[char], &[char], &[char], &[char]),
) -> LowerResult<Option<Value>> {
    let ([k], [m], [n]) = (inner, rows, columns) else { return Ok(None) };
    let lead = batch.len();
    if a.letters[..lead] != *batch || b.letters[..lead] != *batch {
        return Ok(None);
    }
    let swap_a = match a.letters[lead..] {
        [first, second] if first == *m && second == *k => false,
        [first, second] if first == *k && second == *m => true,
        _ => return Ok(None),
    };
    let swap_b = match b.letters[lead..] {
        [first, second] if first == *k && second == *n => false,
        [first, second] if first == *n && second == *k => true,
        _ => return Ok(None),
    };
    product(cx, a.value, b.value, (swap_a, swap_b)).map(Some)
}
