//! Sums of products by labelled axes: `einsum` and what is written with it.

use std::collections::BTreeMap;

use mlc_ir::ops::{Einsum, Equal, ExpandDims, Matmul, Mul, Select, Transpose};
use mlc_ir::{Dim, Value};

use super::attention::positions;
use super::axes;
use super::reduction::{Reduction, reduce};
use crate::lower::alias::slice;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.einsum", lower: einsum },
    Lowering { name: "aten.inner", lower: inner },
    Lowering { name: "aten.tensordot", lower: tensordot },
    Lowering { name: "aten.bilinear", lower: bilinear },
    Lowering { name: "aten.trace", lower: trace },
    Lowering { name: "aten.linalg_vecdot", lower: vecdot },
];

/// What an axis is called: letters of the equation, or positions within an ellipsis counted from
/// its end.
type Label = u32;

/// Labels of the ellipsis lie above those of letters.
const ELLIPSIS: Label = 1 << 16;

/// A tensor with a label for each axis.
#[derive(Clone)]
struct Labelled {
    labels: Vec<Label>,
    value: Value,
}

/// An equation with the ellipsis written out.
#[derive(Debug, PartialEq, Eq)]
struct Equation {
    operands: Vec<Vec<Label>>,
    result: Vec<Label>,
}

impl Equation {
    fn parse(text: &str, ranks: &[usize]) -> LowerResult<Self> {
        let wrong = |what: String| LowerError::invalid(format!("equation `{text}`: {what}"));
        let clean: String = text.chars().filter(|c| *c != ' ').collect();
        let (left, right) = match clean.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (&clean[..], None),
        };
        let parts: Vec<&str> = left.split(',').collect();
        if parts.len() != ranks.len() {
            return Err(wrong(format!("{} operands, {} given", parts.len(), ranks.len())));
        }
        let mut hidden = 0;
        let mut operands = Vec::new();
        for (part, &rank) in parts.iter().zip(ranks) {
            let named = part.chars().filter(char::is_ascii_alphabetic).count();
            let extra = rank
                .checked_sub(named)
                .filter(|&extra| extra == 0 || part.contains("..."))
                .ok_or_else(|| wrong(format!("`{part}` for a tensor of rank {rank}")))?;
            hidden = hidden.max(extra);
            operands.push(labels(part, extra).ok_or_else(|| wrong(format!("`{part}`")))?);
        }
        let result = match right {
            Some(right) => labels(right, hidden).ok_or_else(|| wrong(format!("`{right}`")))?,
            None => implied(&operands, hidden),
        };
        let lost = |label: &&Label| !operands.iter().flatten().any(|l| l == *label);
        if let Some(label) = result.iter().find(lost) {
            let letter = char::from_u32(*label).unwrap_or('?');
            return Err(wrong(format!("`{letter}` of the result is in no operand")));
        }
        for (i, label) in result.iter().enumerate() {
            if result[..i].contains(label) {
                return Err(wrong("the result names an axis twice".to_owned()));
            }
        }
        Ok(Self { operands, result })
    }
}

/// The labels of one operand, an ellipsis standing for `extra` axes; `None` for other characters.
fn labels(part: &str, extra: usize) -> Option<Vec<Label>> {
    let mut labels = Vec::new();
    let pieces: Vec<&str> = part.split("...").collect();
    if pieces.len() > 2 {
        return None;
    }
    for (i, piece) in pieces.iter().enumerate() {
        if i > 0 {
            labels.extend((0..extra as Label).rev().map(|k| ELLIPSIS + k));
        }
        for c in piece.chars() {
            labels.push(c.is_ascii_alphabetic().then_some(c as Label)?);
        }
    }
    Some(labels)
}

/// The result of an equation without `->`: the ellipsis, then the letters that stand once, capitals
/// first, in order.
fn implied(operands: &[Vec<Label>], hidden: usize) -> Vec<Label> {
    let mut count: BTreeMap<Label, usize> = BTreeMap::new();
    for &label in operands.iter().flatten() {
        *count.entry(label).or_default() += 1;
    }
    let ellipsis = (0..hidden as Label).rev().map(|k| ELLIPSIS + k);
    let letters = count.into_iter().filter(|&(l, n)| l < ELLIPSIS && n == 1).map(|(l, _)| l);
    ellipsis.chain(letters).collect()
}

fn einsum(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    // The order of the products changes the rounding alone.
    call.ignore(&["path"]);
    let text = call
        .opt_str("equation")?
        .ok_or_else(|| LowerError::invalid("argument `equation` is missing"))?;
    let mut values = Vec::new();
    for tensor in call.tensors("tensors")? {
        values.push(cx.read(tensor)?);
    }
    let ranks =
        values.iter().map(|&v| Ok(cx.b.tensor(v)?.rank())).collect::<LowerResult<Vec<_>>>()?;
    let equation = Equation::parse(text, &ranks)?;
    let z = contract_all(cx, &equation, &values)?;
    cx.one(z)
}

fn contract_all(cx: &mut Cx<'_>, equation: &Equation, values: &[Value]) -> LowerResult<Value> {
    if let Some(z) = channels_first(cx, equation, values)? {
        return Ok(z);
    }
    let mut open = Vec::new();
    for (labels, &value) in equation.operands.iter().zip(values) {
        let operand = Labelled { labels: labels.clone(), value };
        open.push(diagonal(cx, operand)?);
    }
    let mut open = open.into_iter();
    let mut left =
        open.next().ok_or_else(|| LowerError::invalid("an equation without operands"))?;
    while let Some(right) = open.next() {
        let wanted: Vec<Label> = open
            .as_slice()
            .iter()
            .flat_map(|operand| &operand.labels)
            .chain(&equation.result)
            .copied()
            .collect();
        left = contract(cx, left, right, &wanted)?;
    }
    let left = sum_unwanted(cx, left, &equation.result)?;
    Ok(arrange(cx, &left, &equation.result)?.value)
}

/// `nchw,nwhu->nchu` under any letters and in either order of operands: what MIL's `einsum` does.
fn channels_first(
    cx: &mut Cx<'_>,
    equation: &Equation,
    values: &[Value],
) -> LowerResult<Option<Value>> {
    let ([a, b], [x, y]) = (&equation.operands[..], values) else { return Ok(None) };
    let fits = |a: &[Label], b: &[Label]| match (a, b, &equation.result[..]) {
        (&[n, c, h, w], &[n2, w2, h2, u], &[n3, c3, h3, u3]) => {
            let mut all = [n, c, h, w, u];
            all.sort_unstable();
            let distinct = all.windows(2).all(|pair| pair[0] != pair[1]);
            distinct && [n2, w2, h2, n3, c3, h3, u3] == [n, w, h, n, c, h, u]
        }
        _ => false,
    };
    let values = if fits(a, b) {
        vec![*x, *y]
    } else if fits(b, a) {
        vec![*y, *x]
    } else {
        return Ok(None);
    };
    let float = cx.b.tensor(*x)?.dtype.is_float();
    let (s, t) = (cx.b.tensor(values[0])?.shape.clone(), cx.b.tensor(values[1])?.shape.clone());
    // Extents that stretch are left to the general way.
    if !float || s[0] != t[0] || s[2] != t[2] || s[3] != t[1] {
        return Ok(None);
    }
    let op = Einsum { equation: "nchw,nwhu->nchu".to_owned() };
    Ok(Some(op.build(&mut cx.b, values)?))
}

/// Axes of one label joined to their diagonal.
fn diagonal(cx: &mut Cx<'_>, mut operand: Labelled) -> LowerResult<Labelled> {
    loop {
        let repeated = operand.labels.iter().enumerate().find_map(|(i, label)| {
            let earlier = operand.labels[..i].iter().position(|l| l == label)?;
            Some((earlier, i))
        });
        let Some((first, second)) = repeated else { return Ok(operand) };
        let label = operand.labels[first];
        operand.value = diagonal_of(cx, operand.value, first, second)?;
        operand.labels.remove(second);
        operand.labels.remove(first);
        operand.labels.push(label);
    }
}

/// The diagonal of two axes, as a new last axis: every (n+1)-th element of an n × n block.
fn diagonal_of(cx: &mut Cx<'_>, x: Value, first: usize, second: usize) -> LowerResult<Value> {
    let shape = cx.b.tensor(x)?.shape.clone();
    let perm = axes::moved_last(&[first, second], shape.len());
    let x = permuted(cx, x, &perm)?;
    let mut shape: Vec<Dim> = perm.iter().map(|&p| shape[p].clone()).collect();
    let (columns, rows) = (shape.pop(), shape.pop());
    let (Some(rows), Some(columns)) = (rows, columns) else {
        return Err(LowerError::invalid("the diagonal of a vector"));
    };
    if rows != columns && !(rows.is(1) || columns.is(1)) {
        return Err(LowerError::invalid(format!("one label for extents {rows} and {columns}")));
    }
    let extent = if rows.is(1) { columns.clone() } else { rows.clone() };
    if rows.is(1) || columns.is(1) {
        shape.push(extent);
        return cx.reshape(x, &shape);
    }
    let Some(n) = extent.as_const() else { return dynamic_diagonal(cx, x, &extent) };
    shape.push(extent.mul(&extent));
    let flat = cx.reshape(x, &shape)?;
    let last = shape.len() - 1;
    slice(cx, flat, last, (&Dim::Const(0), &shape[last].clone(), n.saturating_add(1)))
}

/// The diagonal of the last two axes, as the sum of rows that are 0 elsewhere.
fn dynamic_diagonal(cx: &mut Cx<'_>, x: Value, extent: &Dim) -> LowerResult<Value> {
    let ty = cx.b.tensor(x)?.clone();
    let along = positions(cx, extent)?;
    let rows = ExpandDims { axes: vec![1] }.build(&mut cx.b, along)?;
    let columns = ExpandDims { axes: vec![0] }.build(&mut cx.b, along)?;
    let on = cx.binary(Equal {}, rows, columns)?;
    let zero = cx.b.scalar(ty.dtype, 0.0)?;
    let kept = Select {}.build(&mut cx.b, on, x, zero)?;
    reduce(cx, Reduction::Sum, kept, (&[ty.rank() - 2], false))
}

fn permuted(cx: &mut Cx<'_>, x: Value, perm: &[usize]) -> LowerResult<Value> {
    if perm.iter().enumerate().all(|(i, &p)| i == p) {
        return Ok(x);
    }
    cx.unary(Transpose { perm: perm.iter().map(|&p| p as i64).collect() }, x)
}

/// The operand with its axes in the order of `labels`, which are its own.
fn arrange(cx: &mut Cx<'_>, operand: &Labelled, labels: &[Label]) -> LowerResult<Labelled> {
    let perm = labels
        .iter()
        .map(|label| {
            operand
                .labels
                .iter()
                .position(|own| own == label)
                .ok_or_else(|| LowerError::invalid("an axis of the result is in no operand"))
        })
        .collect::<LowerResult<Vec<_>>>()?;
    let value = permuted(cx, operand.value, &perm)?;
    Ok(Labelled { labels: labels.to_vec(), value })
}

/// Sums over axes whose label is not wanted.
fn sum_unwanted(cx: &mut Cx<'_>, operand: Labelled, wanted: &[Label]) -> LowerResult<Labelled> {
    sum_where(cx, operand, |label| !wanted.contains(&label))
}

fn sum_where(
    cx: &mut Cx<'_>,
    mut operand: Labelled,
    gone: impl Fn(Label) -> bool,
) -> LowerResult<Labelled> {
    let over: Vec<usize> = (0..operand.labels.len()).filter(|&i| gone(operand.labels[i])).collect();
    if !over.is_empty() {
        operand.value = reduce(cx, Reduction::Sum, operand.value, (&over, false))?;
        operand.labels.retain(|&label| !gone(label));
    }
    Ok(operand)
}

/// Drops axes of extent 1 where the other operand has the label with another extent: there the
/// product stretches.
fn drop_stretched(
    cx: &mut Cx<'_>,
    mut operand: Labelled,
    other: &Labelled,
) -> LowerResult<Labelled> {
    let own = cx.b.tensor(operand.value)?.shape.clone();
    let theirs = cx.b.tensor(other.value)?.shape.clone();
    let stretched: Vec<usize> = (0..own.len())
        .filter(|&i| {
            let at = other.labels.iter().position(|l| *l == operand.labels[i]);
            own[i].is(1) && at.is_some_and(|at| !theirs[at].is(1))
        })
        .collect();
    operand.value = dims::squeeze(cx, operand.value, &stretched)?;
    let mut at = 0;
    operand.labels.retain(|_| {
        at += 1;
        !stretched.contains(&(at - 1))
    });
    Ok(operand)
}

/// The sum over labels that are not wanted of the product of two operands.
fn contract(cx: &mut Cx<'_>, a: Labelled, b: Labelled, wanted: &[Label]) -> LowerResult<Labelled> {
    let stretched_a = drop_stretched(cx, a.clone(), &b)?;
    let b = drop_stretched(cx, b, &a)?;
    let a = stretched_a;
    let a = sum_where(cx, a, |l| !wanted.contains(&l) && !b.labels.contains(&l))?;
    let b = sum_where(cx, b, |l| !wanted.contains(&l) && !a.labels.contains(&l))?;
    let shared = |l: &&Label| b.labels.contains(*l);
    let batch: Vec<Label> =
        a.labels.iter().filter(shared).filter(|l| wanted.contains(l)).copied().collect();
    let inner: Vec<Label> =
        a.labels.iter().filter(shared).filter(|l| !wanted.contains(l)).copied().collect();
    let rows: Vec<Label> = a.labels.iter().filter(|l| !shared(l)).copied().collect();
    let columns: Vec<Label> = b.labels.iter().filter(|l| !a.labels.contains(l)).copied().collect();
    let labels: Vec<Label> = batch.iter().chain(&rows).chain(&columns).copied().collect();
    if inner.is_empty() {
        let value = broadcast_product(cx, (&a, &b), &labels)?;
        return Ok(Labelled { labels, value });
    }
    let (x, transpose_x) = matrix(cx, &a, [&batch, &rows, &inner])?;
    let (y, transpose_y) = matrix(cx, &b, [&batch, &inner, &columns])?;
    let z = cx.binary(Matmul { transpose_x, transpose_y }, x, y)?;
    let mut shape = Vec::new();
    for label in &labels {
        shape.push(
            extent_of(cx, &a, *label)?
                .map_or_else(|| extent_of(cx, &b, *label), |d| Ok(Some(d)))?,
        );
    }
    let shape: Vec<Dim> = shape.into_iter().flatten().collect();
    let value = cx.reshape(z, &shape)?;
    Ok(Labelled { labels, value })
}

fn extent_of(cx: &Cx<'_>, operand: &Labelled, label: Label) -> LowerResult<Option<Dim>> {
    let shape = &cx.b.tensor(operand.value)?.shape;
    Ok(operand.labels.iter().position(|&l| l == label).map(|i| shape[i].clone()))
}

/// Most axes that tell matrices apart; matrix products of more axes than five run nowhere.
const MAX_BATCH_AXES: usize = 3;

/// The operand as matrices: the axes of each of the last two groups made one, and those of the first
/// from the third on. The flag says that
/// rows and columns are left swapped, which saves a transpose.
fn matrix(
    cx: &mut Cx<'_>,
    operand: &Labelled,
    [batch, rows, columns]: [&[Label]; 3],
) -> LowerResult<(Value, bool)> {
    let straight: Vec<Label> = [batch, rows, columns].concat();
    let swapped: Vec<Label> = [batch, columns, rows].concat();
    let swap = operand.labels != straight && operand.labels == swapped;
    let (first, second) = if swap { (columns, rows) } else { (rows, columns) };
    let operand = arrange(cx, operand, if swap { &swapped } else { &straight })?;
    let shape = cx.b.tensor(operand.value)?.shape.clone();
    let (kept, joined) = shape[..batch.len()].split_at(batch.len().min(MAX_BATCH_AXES - 1));
    let mut to = kept.to_vec();
    if !joined.is_empty() {
        to.push(Dim::product(joined));
    }
    to.push(Dim::product(&shape[batch.len()..batch.len() + first.len()]));
    to.push(Dim::product(&shape[batch.len() + first.len()..]));
    debug_assert_eq!(second.len(), shape.len() - batch.len() - first.len());
    Ok((cx.reshape(operand.value, &to)?, swap))
}

/// The product of two operands whose axes are all kept.
fn broadcast_product(
    cx: &mut Cx<'_>,
    (a, b): (&Labelled, &Labelled),
    labels: &[Label],
) -> LowerResult<Value> {
    let mut spread = Vec::new();
    for operand in [a, b] {
        let own: Vec<Label> =
            labels.iter().filter(|l| operand.labels.contains(l)).copied().collect();
        let arranged = arrange(cx, operand, &own)?;
        let missing: Vec<i64> =
            (0..labels.len()).filter(|&i| !own.contains(&labels[i])).map(|i| i as i64).collect();
        spread.push(if missing.is_empty() {
            arranged.value
        } else {
            ExpandDims { axes: missing }.build(&mut cx.b, arranged.value)?
        });
    }
    cx.binary(Mul {}, spread[0], spread[1])
}

/// Labels for the axes of two tensors of which some are summed together.
fn pair_labels(ranks: [usize; 2], joined: &[(usize, usize)]) -> Equation {
    let a: Vec<Label> = (0..ranks[0] as Label).collect();
    let mut b: Vec<Label> = (0..ranks[1] as Label).map(|i| ranks[0] as Label + i).collect();
    for &(i, j) in joined {
        b[j] = a[i];
    }
    let kept = |labels: &[Label], taken: &dyn Fn(usize) -> bool| -> Vec<Label> {
        (0..labels.len()).filter(|&i| !taken(i)).map(|i| labels[i]).collect()
    };
    let mut result = kept(&a, &|i| joined.iter().any(|pair| pair.0 == i));
    result.extend(kept(&b, &|j| joined.iter().any(|pair| pair.1 == j)));
    Equation { operands: vec![a, b], result }
}

/// The sum over the last axes of both; of a scalar, the product.
fn inner(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (cx.read(call.tensor("self")?)?, cx.read(call.tensor("other")?)?);
    let ranks = [cx.b.tensor(x)?.rank(), cx.b.tensor(y)?.rank()];
    let z = if ranks.contains(&0) {
        cx.binary(Mul {}, x, y)?
    } else {
        contract_all(cx, &pair_labels(ranks, &[(ranks[0] - 1, ranks[1] - 1)]), &[x, y])?
    };
    cx.one(z)
}

fn tensordot(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, y) = (cx.read(call.tensor("self")?)?, cx.read(call.tensor("other")?)?);
    let ranks = [cx.b.tensor(x)?.rank(), cx.b.tensor(y)?.rank()];
    let over_x = axes::axes(&call.opt_ints("dims_self")?.unwrap_or_default(), ranks[0])?;
    let over_y = axes::axes(&call.opt_ints("dims_other")?.unwrap_or_default(), ranks[1])?;
    if over_x.len() != over_y.len() {
        return Err(LowerError::invalid("`dims_self` and `dims_other` differ in length"));
    }
    let joined: Vec<(usize, usize)> = over_x.into_iter().zip(over_y).collect();
    let z = contract_all(cx, &pair_labels(ranks, &joined), &[x, y])?;
    cx.one(z)
}

/// `z[…, o] = Σ x[…, i] · weight[o, i, j] · y[…, j] + bias[o]`
fn bilinear(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut values = Vec::new();
    for name in ["input1", "weight", "input2"] {
        values.push(cx.read(call.tensor(name)?)?);
    }
    let ranks =
        values.iter().map(|&v| Ok(cx.b.tensor(v)?.rank())).collect::<LowerResult<Vec<_>>>()?;
    let equation = Equation::parse("...i,oij,...j->...o", &ranks)?;
    let mut z = contract_all(cx, &equation, &values)?;
    if let Some(bias) = call.opt_tensor("bias")? {
        let bias = cx.read(bias)?;
        z = cx.binary(mlc_ir::ops::Add {}, z, bias)?;
    }
    cx.one(z)
}

fn trace(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut x = cx.read(call.tensor("self")?)?;
    let ty = cx.b.tensor(x)?.clone();
    if !ty.dtype.is_float() {
        x = cx.cast(x, mlc_tensor::DType::I64)?;
    }
    let [rows, columns] = &ty.shape[..] else {
        return Err(LowerError::invalid(format!("the trace of {ty}")));
    };
    // The diagonal of the square that both axes have.
    let side = axes::lesser(cx, rows, columns);
    for axis in 0..2 {
        x = slice(cx, x, axis, (&Dim::Const(0), &side, 1))?;
    }
    let z = if side.is(0) { x } else { diagonal_of(cx, x, 0, 1)? };
    let all: Vec<usize> = (0..cx.b.tensor(z)?.rank()).collect();
    let z = reduce(cx, Reduction::Sum, z, (&all, false))?;
    cx.one(z)
}

fn vecdot(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("x")?, call.operand("y")?);
    let dtype = cx.promoted(&[&a, &b])?;
    let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
    let product = cx.binary(Mul {}, x, y)?;
    let rank = cx.b.tensor(product)?.rank();
    let axis = axes::axis_arg(call, "dim", -1, rank)?;
    let z = reduce(cx, Reduction::Sum, product, (&[axis], false))?;
    cx.one(z)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(labels: &[Label]) -> String {
        let name = |&l: &Label| match char::from_u32(l) {
            Some(c) if l < ELLIPSIS => c.to_string(),
            _ => format!("<{}>", l - ELLIPSIS),
        };
        labels.iter().map(name).collect()
    }

    #[test]
    fn ellipses_align_at_their_end() {
        let e = Equation::parse("...ij, ...jk -> ...ik", &[4, 3]).unwrap();
        assert_eq!(text(&e.operands[0]), "<1><0>ij");
        assert_eq!(text(&e.operands[1]), "<0>jk");
        assert_eq!(text(&e.result), "<1><0>ik");
    }

    #[test]
    fn without_an_arrow_single_letters_stay_in_order() {
        let e = Equation::parse("cb...,ba", &[3, 2]).unwrap();
        assert_eq!(text(&e.result), "<0>ac");
        let e = Equation::parse("bA", &[2]).unwrap();
        assert_eq!(text(&e.result), "Ab");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(Equation::parse("ij->ij", &[3]).is_err());
        assert!(Equation::parse("ij->ik", &[2]).is_err());
        assert!(Equation::parse("ij->ii", &[2]).is_err());
        assert!(Equation::parse("i,j", &[1]).is_err());
        assert!(Equation::parse("i1", &[2]).is_err());
        assert!(Equation::parse("......", &[2]).is_err());
    }
}
