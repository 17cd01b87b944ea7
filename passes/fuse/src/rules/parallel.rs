//! Ops side by side on one value become one op whose result is split.

use mlc_egraph::{Build, Class, Family, Found, Match, rule};
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{Concat, Conv, Linear, Reshape, Split, Transpose};
use mlc_ir::{Dim, Trait};
use mlc_tensor::Tensor;

use super::slice::part_sizes;
use super::transpose::{UNARY, axes};

pub(super) const FAMILY: Family = Family {
    name: "parallel",
    source: include_str!("parallel.rs"),
    rules: &[
        rule!(Close, "parallel-linear", ["linear"], parallel_linear),
        rule!(Close, "parallel-conv", ["conv"], parallel_conv),
        rule!(Exact, "unary-of-split", UNARY, unary_of_split),
        rule!(Exact, "transpose-of-split", ["transpose"], transpose_of_split),
        rule!(Exact, "reshape-of-split", ["reshape"], reshape_of_split),
    ],
};

/// Weights and biases of ops side by side, one after another, and how long each part is.
struct Joined {
    weight: Build,
    bias: Option<Build>,
    sizes: Vec<i64>,
}

/// Joins ops with a constant weight in slot 1 and perhaps a constant bias in slot 2.
fn joined<P>(m: &Match<'_>, ops: &[Found<'_, P>]) -> Option<Joined> {
    let (mut weights, mut biases, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    let dtype = m.ty()?.dtype;
    let any_bias = ops.iter().any(|op| op.opt(2).is_some());
    for op in ops {
        let weight = op.operand(1);
        weight.constant().filter(|weight| weight.dtype() == dtype)?;
        let rows = weight.static_shape()?[0];
        weights.push(weight.into());
        sizes.push(i64::try_from(rows).ok()?);
        biases.push(match op.opt(2) {
            Some(bias) => {
                bias.constant().filter(|bias| bias.dtype() == dtype)?;
                bias.into()
            }
            None => {
                let zero = vec![0; dtype.size()?];
                m.constant(Tensor::splat(dtype, &[rows], &zero).ok()?)
            }
        });
    }
    let concat = || Concat { axis: 0, interleave: false };
    let bias = any_bias.then(|| Build::of(concat(), biases));
    Some(Joined { weight: Build::of(concat(), weights), bias, sizes })
}

/// The op of `siblings` that the match is about, counted among them.
fn position<P>(m: &Match<'_>, siblings: &[Found<'_, P>]) -> Option<usize> {
    let at = siblings.iter().position(|op| op.class() == m.root())?;
    (2..=8).contains(&siblings.len()).then_some(at)
}

/// Whether a value is split already, as that of joined ops is.
fn is_split(class: Class<'_>) -> bool {
    !class.users::<Split>().is_empty()
}

/// `linear(x, W₁), linear(x, W₂), … = split(linear(x, [W₁; W₂; …]))`
fn parallel_linear(m: &Match<'_>) -> Option<Build> {
    let x = m.op::<Linear>()?.operand(0);
    let constant = |op: &Found<'_, Linear>| op.operand(1).constant().is_some();
    let mut siblings = x.users::<Linear>();
    siblings.retain(|op| op.operand(0) == x && constant(op) && !is_split(op.class()));
    let at = position(m, &siblings)?;
    let all = joined(m, &siblings)?;
    let operands = [Some(x.into()), Some(all.weight), all.bias].into_iter().flatten().collect();
    let axis = x.rank() as i64 - 1;
    let split = Split { num_splits: None, split_sizes: Some(all.sizes), axis };
    Some(m.build(split, [Build::of(Linear {}, operands)]).result(at))
}

/// `conv(x, W₁), conv(x, W₂), … = split(conv(x, [W₁; W₂; …]))` for windows that are alike
fn parallel_conv(m: &Match<'_>) -> Option<Build> {
    let own = m.op::<Conv>().filter(|conv| conv.groups == 1)?;
    let x = own.operand(0);
    let window = own.operand(1).static_shape()?;
    let mut siblings = x.users::<Conv>();
    siblings.retain(|op| {
        let shape = op.operand(1).constant().and_then(|_| op.operand(1).static_shape());
        op.payload() == own.payload()
            && op.operand(0) == x
            && shape.is_some_and(|shape| shape[1..] == window[1..])
            && !is_split(op.class())
    });
    let at = position(m, &siblings)?;
    let all = joined(m, &siblings)?;
    let operands = [Some(x.into()), Some(all.weight), all.bias].into_iter().flatten().collect();
    let split = Split { num_splits: None, split_sizes: Some(all.sizes), axis: 1 };
    Some(m.build(split, [Build::of(own.payload().clone(), operands)]).result(at))
}

/// `f(split(x)ᵢ) = split(f(x))ᵢ` for `f` on single elements
fn unary_of_split(m: &Match<'_>) -> Option<Build> {
    let f = m.any();
    if !f.spec().traits.has(Trait::Elementwise) || f.spec().operands.len() != 1 {
        return None;
    }
    let (at, split) = m.operand(0).result_of::<Split>()?;
    let value = m.build(f.payload().clone(), [split.operand(0).into()]);
    Some(m.build(split.payload().clone(), [value]).result(at))
}

/// `transpose(split(x)ᵢ) = split(transpose(x))ᵢ`
fn transpose_of_split(m: &Match<'_>) -> Option<Build> {
    let perm = axes(&m.op::<Transpose>()?.perm)?;
    let (at, split) = m.operand(0).result_of::<Split>()?;
    let axis = normalize_axis(split.axis, perm.len()).ok()? as i64;
    let axis = perm.iter().position(|&p| p == axis)? as i64;
    let value = m.build(Transpose { perm }, [split.operand(0).into()]);
    Some(m.build(Split { axis, ..split.payload().clone() }, [value]).result(at))
}

/// `reshape(split(x)ᵢ, [*B, hᵢ, d]) = split(reshape(x, [*B, h, d]))ᵢ` where the last axis is split and
/// then cut into rows of `d`; the other axes may be merged or cut
fn reshape_of_split(m: &Match<'_>) -> Option<Build> {
    m.op::<Reshape>()?;
    let part = m.operand(0);
    let (at, split) = part.result_of::<Split>()?;
    let x = split.operand(0);
    let shape = &m.ty()?.shape;
    let [batch @ .., rows, columns] = &shape[..] else { return None };
    let columns = columns.as_const().filter(|&d| d > 0)?;
    let (last, outer) = x.shape().split_last()?;
    let total = last.as_const()?;
    rows.as_const()?;
    let same = outer == batch || Dim::product(outer) == Dim::product(batch);
    if !same || normalize_axis(split.axis, x.rank()).ok()? + 1 != x.rank() {
        return None;
    }
    let sizes = part_sizes(&split, x.rank() - 1)?;
    if sizes.iter().any(|size| size % columns != 0) {
        return None;
    }
    // One open extent can be left to the reshape.
    let mut wanted = Dim::reshape_sizes(batch)?;
    wanted.extend([total / columns, columns]);
    let value = m.build(Reshape {}, [x.into(), m.ints(&wanted)?]);
    let sizes = sizes.iter().map(|size| size / columns).collect();
    let axis = batch.len() as i64;
    let split = Split { num_splits: None, split_sizes: Some(sizes), axis };
    Some(m.build(split, [value]).result(at))
}
