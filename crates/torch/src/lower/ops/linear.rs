//! Products of matrices and vectors.

use std::collections::BTreeSet;

use mlc_ir::ops::{
    Add, ConstexprBlockwiseShiftScale, ExpandDims, Linear, Matmul, Mul, ReduceSum, Transpose,
};
use mlc_ir::{Dim, EntityId, Op, Trait, Value};
use mlc_tensor::DType;

use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Scalar, Val};
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.linear", lower: linear },
    Lowering { name: "aten.matmul", lower: |cx, call| plain(cx, call, "other") },
    Lowering { name: "aten.linalg_matmul", lower: |cx, call| plain(cx, call, "other") },
    Lowering { name: "aten.mm", lower: |cx, call| plain(cx, call, "mat2") },
    Lowering { name: "aten.bmm", lower: |cx, call| plain(cx, call, "mat2") },
    Lowering { name: "aten.mv", lower: |cx, call| plain(cx, call, "vec") },
    Lowering { name: "aten.dot", lower: |cx, call| plain(cx, call, "tensor") },
    Lowering { name: "aten.vdot", lower: |cx, call| plain(cx, call, "other") },
    Lowering { name: "aten.addmm", lower: |cx, call| sum(cx, call, ["mat1", "mat2"]) },
    Lowering { name: "aten.baddbmm", lower: |cx, call| sum(cx, call, ["batch1", "batch2"]) },
    Lowering { name: "aten.addmv", lower: |cx, call| sum(cx, call, ["mat", "vec"]) },
    Lowering { name: "aten.addbmm", lower: addbmm },
    Lowering { name: "aten.addr", lower: addr },
    Lowering { name: "aten.outer", lower: outer },
    Lowering { name: "aten.linalg_multi_dot", lower: |cx, call| chain(cx, call, "tensors") },
    Lowering { name: "aten.chain_matmul", lower: |cx, call| chain(cx, call, "matrices") },
    Lowering { name: "aten.kron", lower: kron },
];

/// Whether a value is made of constants alone, so that it can be computed before the model runs. What is
/// computed of a quantized constant is not: that stays as it is stored.
pub(super) fn is_known(cx: &Cx<'_>, value: Value) -> bool {
    /// Most ops that are looked at.
    const MOST: usize = 256;
    let function = cx.b.function();
    let (mut seen, mut open) = (BTreeSet::new(), vec![value]);
    while let Some(value) = open.pop() {
        if !seen.insert(value.index()) {
            continue;
        }
        let Some((_, node)) = function.def(value) else { return false };
        let effects = !node.op.spec().traits.has(Trait::Pure) || !node.regions.is_empty();
        let unpacked = node.op.spec().traits.has(Trait::Constexpr) && seen.len() > 1;
        if effects || unpacked || seen.len() > MOST {
            return false;
        }
        open.extend(node.operands.all());
    }
    true
}

/// `x` with its last two axes swapped: the operand of a swap where `x` is one.
pub(super) fn transposed(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let rank = cx.b.tensor(x)?.rank() as i64;
    let mut perm: Vec<i64> = (0..rank).collect();
    if let [.., a, b] = &mut perm[..] {
        std::mem::swap(a, b);
    }
    if let Some((_, node)) = cx.b.function().def(x)
        && matches!(&node.op, Op::Transpose(Transpose { perm: own }) if *own == perm)
        && let [source] = node.operands.all()
    {
        return Ok(*source);
    }
    if let Some(stored) = transposed_store(cx, x, &perm)? {
        return Ok(stored);
    }
    cx.unary(Transpose { perm }, x)
}

/// A quantized constant with its stored parts transposed.
fn transposed_store(cx: &mut Cx<'_>, x: Value, perm: &[i64]) -> LowerResult<Option<Value>> {
    let Some((_, node)) = cx.b.function().def(x) else { return Ok(None) };
    if !matches!(node.op, Op::ConstexprBlockwiseShiftScale(_)) {
        return Ok(None);
    }
    let (operands, perm) =
        (node.operands.all().to_vec(), perm.iter().map(|&axis| axis as usize).collect::<Vec<_>>());
    let mut parts = Vec::with_capacity(operands.len());
    for part in operands {
        let Some(tensor) = cx.b.constant_of(part) else { return Ok(None) };
        let tensor = tensor.transpose(&perm)?;
        parts.push(cx.b.constant(tensor)?);
    }
    let (Some(&data), Some(&scale)) = (parts.first(), parts.get(1)) else { return Ok(None) };
    let offset = parts.get(2).copied();
    Ok(Some(ConstexprBlockwiseShiftScale {}.build(&mut cx.b, data, scale, offset)?))
}

/// A known matrix is a weight: the product with it is `linear`.
fn is_weight(cx: &Cx<'_>, y: Value) -> LowerResult<bool> {
    Ok(cx.b.tensor(y)?.rank() == 2 && is_known(cx, y))
}

/// Whether a value is a known matrix with its axes swapped.
fn is_turned_weight(cx: &Cx<'_>, y: Value) -> LowerResult<bool> {
    let Some((_, node)) = cx.b.function().def(y) else { return Ok(false) };
    match (&node.op, node.operands.all()) {
        (Op::Transpose(op), [x]) if op.perm == [1, 0] => is_weight(cx, *x),
        _ => Ok(false),
    }
}

/// The matrix product by NumPy's rule: vectors are matrices of one row (left) or column (right).
pub(super) fn matmul(cx: &mut Cx<'_>, x: Value, y: Value) -> LowerResult<Value> {
    let (x_rank, y_rank) = (cx.b.tensor(x)?.rank(), cx.b.tensor(y)?.rank());
    if x_rank == 0 || y_rank == 0 {
        return Err(LowerError::invalid("a matrix product with a scalar"));
    }
    let weight = x_rank >= 2 && (is_turned_weight(cx, y)? || is_weight(cx, y)?);
    if weight && !cx.b.tensor(y)?.shape.iter().any(|d| d.is(0)) {
        let weight = transposed(cx, y)?;
        return Ok(Linear {}.build(&mut cx.b, x, weight, None)?);
    }
    let row = if x_rank == 1 { ExpandDims { axes: vec![0] }.build(&mut cx.b, x)? } else { x };
    let column = if y_rank == 1 { ExpandDims { axes: vec![1] }.build(&mut cx.b, y)? } else { y };
    let z = cx.binary(Matmul { transpose_x: false, transpose_y: false }, row, column)?;
    let rank = cx.b.tensor(z)?.rank();
    let mut gone = Vec::new();
    if x_rank == 1 {
        gone.push(rank - 2);
    }
    if y_rank == 1 {
        gone.push(rank - 1);
    }
    dims::squeeze(cx, z, &gone)
}

fn plain(cx: &mut Cx<'_>, call: &Call<'_>, other: &str) -> LowerResult<Vec<Val>> {
    let (x, y) = (cx.read(call.tensor("self")?)?, cx.read(call.tensor(other)?)?);
    let z = matmul(cx, x, y)?;
    cx.one(z)
}

/// `x · weightᵀ + bias`; a vector `weight` has no row axis.
fn linear(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, weight) = (cx.read(call.tensor("input")?)?, cx.read(call.tensor("weight")?)?);
    let bias = call.opt_tensor("bias")?.map(|bias| cx.read(bias)).transpose()?;
    let y = if cx.b.tensor(weight)?.rank() == 1 {
        let y = matmul(cx, x, weight)?;
        bias.map_or(Ok(y), |bias| cx.binary(Add {}, y, bias))?
    } else {
        affine(cx, x, weight, bias)?
    };
    cx.one(y)
}

/// `x · weightᵀ + bias` of a matrix `weight`: `linear` where it is known, else its parts.
pub(super) fn affine(
    cx: &mut Cx<'_>,
    x: Value,
    weight: Value,
    bias: Option<Value>,
) -> LowerResult<Value> {
    let rows = cx.b.tensor(weight)?.shape.first().cloned();
    let (attached, added) = match bias {
        Some(bias) => {
            let fits = cx.b.tensor(bias)?.shape.iter().eq(rows.iter()) && is_known(cx, bias);
            if fits { (Some(bias), None) } else { (None, Some(bias)) }
        }
        None => (None, None),
    };
    let y = if is_weight(cx, weight)? {
        Linear {}.build(&mut cx.b, x, weight, attached)?
    } else {
        let vector = cx.b.tensor(x)?.rank() == 1;
        let row = if vector { ExpandDims { axes: vec![0] }.build(&mut cx.b, x)? } else { x };
        let y = cx.binary(Matmul { transpose_x: false, transpose_y: true }, row, weight)?;
        let y = if vector { dims::squeeze(cx, y, &[0])? } else { y };
        match attached {
            Some(bias) => cx.binary(Add {}, y, bias)?,
            None => y,
        }
    };
    match added {
        Some(bias) => cx.binary(Add {}, y, bias),
        None => Ok(y),
    }
}

/// `beta` and `alpha`, 1 where they are left out.
fn factors(call: &Call<'_>) -> LowerResult<(Scalar, Scalar)> {
    let one = || Scalar::Int(Dim::Const(1));
    Ok((
        call.opt_scalar("beta")?.unwrap_or_else(one),
        call.opt_scalar("alpha")?.unwrap_or_else(one),
    ))
}

fn times(cx: &mut Cx<'_>, x: Value, factor: &Scalar) -> LowerResult<Value> {
    if factor.as_f64() == Some(1.0) {
        return Ok(x);
    }
    let dtype = cx.b.tensor(x)?.dtype;
    let fraction = match factor {
        Scalar::Float(f) => f.fract() != 0.0,
        Scalar::Symbolic(_) => true,
        _ => false,
    };
    if dtype.is_int() && fraction {
        return Err(LowerError::invalid("a product of integers scaled by a fraction"));
    }
    let factor = cx.number(factor, dtype)?;
    cx.binary(Mul {}, x, factor)
}

/// `beta · start + alpha · product`, of the shape of the product; `start` is not read for a `beta`
/// of 0.
fn weighted(
    cx: &mut Cx<'_>,
    start: Value,
    product: Value,
    (beta, alpha): &(Scalar, Scalar),
) -> LowerResult<Value> {
    let product = times(cx, product, alpha)?;
    if beta.as_f64() == Some(0.0) {
        return Ok(product);
    }
    let start = times(cx, start, beta)?;
    cx.binary(Add {}, start, product)
}

fn sum(cx: &mut Cx<'_>, call: &Call<'_>, [left, right]: [&str; 2]) -> LowerResult<Vec<Val>> {
    let start = cx.read(call.tensor("self")?)?;
    let (x, y) = (cx.read(call.tensor(left)?)?, cx.read(call.tensor(right)?)?);
    let factors = factors(call)?;
    let ones = factors.0.as_f64() == Some(1.0) && factors.1.as_f64() == Some(1.0);
    let bias = cx.b.tensor(start)?.shape.clone();
    let z = if ones && cx.b.tensor(x)?.rank() == 2 && is_weight(cx, y)? && bias.len() == 1 {
        let weight = transposed(cx, y)?;
        affine(cx, x, weight, Some(start))?
    } else {
        let product = matmul(cx, x, y)?;
        weighted(cx, start, product, &factors)?
    };
    cx.one(z)
}

/// `beta · self + alpha · Σ_b batch1[b] · batch2[b]`
fn addbmm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let start = cx.read(call.tensor("self")?)?;
    let (x, y) = (cx.read(call.tensor("batch1")?)?, cx.read(call.tensor("batch2")?)?);
    let product = matmul(cx, x, y)?;
    let product = cx.unary(ReduceSum { axes: Some(vec![0]), keep_dims: false }, product)?;
    let z = weighted(cx, start, product, &factors(call)?)?;
    cx.one(z)
}

/// `x[i] · y[j]` of two vectors of one element type.
fn outer_value(cx: &mut Cx<'_>, x: Value, y: Value) -> LowerResult<Value> {
    let column = ExpandDims { axes: vec![1] }.build(&mut cx.b, x)?;
    let row = ExpandDims { axes: vec![0] }.build(&mut cx.b, y)?;
    cx.binary(Mul {}, column, row)
}

fn outer(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("vec2")?);
    let dtype = cx.promoted(&[&a, &b])?;
    if dtype == DType::Bool {
        return Err(LowerError::dtype("the outer product of truth values"));
    }
    let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
    let z = outer_value(cx, x, y)?;
    cx.one(z)
}

/// `beta · self + alpha · vec1 ⊗ vec2`
fn addr(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let start = cx.read(call.tensor("self")?)?;
    let (x, y) = (cx.read(call.tensor("vec1")?)?, cx.read(call.tensor("vec2")?)?);
    let product = outer_value(cx, x, y)?;
    let z = weighted(cx, start, product, &factors(call)?)?;
    cx.one(z)
}

/// Products from the left.
fn chain(cx: &mut Cx<'_>, call: &Call<'_>, name: &str) -> LowerResult<Vec<Val>> {
    let mut product = None;
    for tensor in call.tensors(name)? {
        let next = cx.read(tensor)?;
        product = Some(match product {
            None => next,
            Some(product) => matmul(cx, product, next)?,
        });
    }
    let product = product.ok_or_else(|| LowerError::invalid("a product of nothing"))?;
    cx.one(product)
}

/// `z[i·q + k] = x[i] · y[k]` along each axis, `q` the extent of `y`; axes of extent 1 are put
/// before the shorter shape.
fn kron(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("other")?);
    let dtype = cx.promoted(&[&a, &b])?;
    let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
    let (mut from_x, mut from_y) = (cx.b.tensor(x)?.shape.clone(), cx.b.tensor(y)?.shape.clone());
    let rank = from_x.len().max(from_y.len());
    for shape in [&mut from_x, &mut from_y] {
        let missing = rank - shape.len();
        shape.splice(0..0, std::iter::repeat_n(Dim::Const(1), missing));
    }
    let shape: Vec<Dim> = from_x.iter().zip(&from_y).map(|(p, q)| p.mul(q)).collect();
    let one = || Dim::Const(1);
    let spread_x: Vec<Dim> = from_x.into_iter().flat_map(|p| [p, one()]).collect();
    let spread_y: Vec<Dim> = from_y.into_iter().flat_map(|q| [one(), q]).collect();
    let (x, y) = (cx.reshape(x, &spread_x)?, cx.reshape(y, &spread_y)?);
    let z = cx.binary(Mul {}, x, y)?;
    let z = cx.reshape(z, &shape)?;
    cx.one(z)
}
