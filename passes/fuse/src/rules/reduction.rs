//! Reductions.

use mlc_egraph::{Build, Class, Family, Found, Match, rule};
use mlc_ir::infer::normalize_axes;
use mlc_ir::ops::{
    Abs, Exp, Log, Mul, RealDiv, ReduceL1Norm, ReduceL2Norm, ReduceLogSum, ReduceLogSumExp,
    ReduceMean, ReduceSum, ReduceSumSquare, Sqrt, Square,
};
use mlc_ir::{AttrValue, Op};

pub(super) const FAMILY: Family = Family {
    name: "reduction",
    source: include_str!("reduction.rs"),
    rules: &[
        rule!(Close, "mean-of-sum", ["mul"], mean_of_sum),
        rule!(Close, "mean-of-sum-div", ["real_div"], mean_of_sum_div),
        rule!(Close, "sum-of-square", ["reduce_sum"], sum_of_square),
        rule!(Close, "root-of-sum-square", ["sqrt"], root_of_sum_square),
        rule!(Close, "sum-of-abs", ["reduce_sum"], sum_of_abs),
        rule!(Close, "log-of-sum-of-exp", ["log"], log_of_sum_of_exp),
        rule!(Close, "log-of-sum", ["log"], log_of_sum),
        rule!(Close, "reduce-of-reduce", NESTED, reduce_of_reduce),
        rule!(Exact, "reduce-of-one", NESTED, reduce_of_one),
    ],
};

/// `reduce_sum(x) · (1/n) = reduce_mean(x)`, `n` the number of elements summed
fn mean_of_sum(m: &Match<'_>) -> Option<Build> {
    let (sum, scale) = m.op::<Mul>()?.with_scalar()?;
    mean(m, sum, scale)
}

/// `reduce_sum(x) / n = reduce_mean(x)`, `n` the number of elements summed
fn mean_of_sum_div(m: &Match<'_>) -> Option<Build> {
    let div = m.op::<RealDiv>()?;
    mean(m, div.operand(0), 1.0 / div.operand(1).scalar()?)
}

fn mean(m: &Match<'_>, sum: Class<'_>, scale: f64) -> Option<Build> {
    let sum = sum.find::<ReduceSum>()?;
    let x = sum.operand(0);
    x.dtype().filter(|dtype| dtype.is_float())?;
    let shape = x.static_shape()?;
    let axes = match &sum.axes {
        Some(axes) => normalize_axes(axes, shape.len()).ok()?,
        None => (0..shape.len()).collect(),
    };
    let count: u64 = axes.iter().map(|&axis| shape[axis]).product();
    let is_mean = count > 0 && (scale * count as f64 - 1.0).abs() < 1e-6;
    let mean = ReduceMean { axes: sum.axes.clone(), keep_dims: sum.keep_dims };
    (is_mean && sum.class().ty() == m.ty()).then(|| m.build(mean, [x.into()]))
}

/// `reduce_sum(x²) = reduce_sum_square(x)`
fn sum_of_square(m: &Match<'_>) -> Option<Build> {
    let sum = m.op::<ReduceSum>()?;
    let square = sum.operand(0).find::<Square>()?;
    let reduce = ReduceSumSquare { axes: sum.axes.clone(), keep_dims: sum.keep_dims };
    Some(m.build(reduce, [square.operand(0).into()]))
}

/// `√(reduce_sum_square(x)) = reduce_l2_norm(x)`
fn root_of_sum_square(m: &Match<'_>) -> Option<Build> {
    m.op::<Sqrt>()?;
    let sum = m.operand(0).find::<ReduceSumSquare>()?;
    let reduce = ReduceL2Norm { axes: sum.axes.clone(), keep_dims: sum.keep_dims };
    Some(m.build(reduce, [sum.operand(0).into()]))
}

/// `reduce_sum(|x|) = reduce_l1_norm(x)`
fn sum_of_abs(m: &Match<'_>) -> Option<Build> {
    let sum = m.op::<ReduceSum>()?;
    let abs = sum.operand(0).find::<Abs>()?;
    let reduce = ReduceL1Norm { axes: sum.axes.clone(), keep_dims: sum.keep_dims };
    Some(m.build(reduce, [abs.operand(0).into()]))
}

/// `log(reduce_sum(eˣ)) = reduce_log_sum_exp(x)`
fn log_of_sum_of_exp(m: &Match<'_>) -> Option<Build> {
    let log = m.op::<Log>()?;
    let sum = log.operand(0).find::<ReduceSum>()?;
    let exp = sum.operand(0).find::<Exp>()?;
    let reduce = ReduceLogSumExp { axes: sum.axes.clone(), keep_dims: sum.keep_dims };
    // An epsilon that counts would be lost.
    (log.epsilon.0.abs() <= 1e-30).then(|| m.build(reduce, [exp.operand(0).into()]))
}

/// `log(reduce_sum(x)) = reduce_log_sum(x)`
fn log_of_sum(m: &Match<'_>) -> Option<Build> {
    let log = m.op::<Log>()?;
    let sum = log.operand(0).find::<ReduceSum>()?;
    let reduce = ReduceLogSum { axes: sum.axes.clone(), keep_dims: sum.keep_dims };
    (log.epsilon.0.abs() <= 1e-30).then(|| m.build(reduce, [sum.operand(0).into()]))
}

/// Reductions of which one after another is the same over all axes.
const NESTED: [&str; 5] = ["reduce_max", "reduce_min", "reduce_sum", "reduce_mean", "reduce_prod"];

/// The axes of a reduction, counted from the front, and whether they are kept.
fn axes_of(op: &Found<'_, Op>) -> Option<(Vec<usize>, bool)> {
    let rank = op.operand(0).rank();
    let (mut axes, mut kept) = ((0..rank).collect(), false);
    for value in op.attrs() {
        match value {
            AttrValue::Ints(given) => axes = normalize_axes(&given, rank).ok()?,
            AttrValue::Bool(given) => kept = given,
            _ => {}
        }
    }
    Some((axes, kept))
}

/// `reduce(reduce(x; a); b) = reduce(x; a ∪ b)` for maximum, minimum, sum, mean and product
fn reduce_of_reduce(m: &Match<'_>) -> Option<Build> {
    let outer = m.any();
    let name = outer.spec().name;
    m.ty().filter(|ty| ty.dtype.is_float() || !name.ends_with("mean"))?;
    let inner = m.operand(0).ops().into_iter().find(|op| op.spec().name == name)?;
    let ((over, outer_kept), (own, kept)) = (axes_of(&outer)?, axes_of(&inner)?);
    let x = inner.operand(0);
    // Axes of the inner result as axes of `x`.
    let left: Vec<usize> = (0..x.rank()).filter(|axis| kept || !own.contains(axis)).collect();
    let mut axes = own.clone();
    for &axis in &over {
        axes.push(*left.get(axis)?);
    }
    axes.sort_unstable();
    axes.dedup();
    let keep = outer_kept && kept;
    if outer_kept && !kept {
        return None;
    }
    // What is kept by the inner one and dropped by the outer one only in part.
    if kept && !outer_kept && own.iter().any(|axis| !over.contains(axis)) {
        return None;
    }
    let axes: Vec<i64> = axes.into_iter().map(|axis| axis as i64).collect();
    let values = [Some(AttrValue::Ints(axes)), Some(AttrValue::Bool(keep))];
    let op = Op::from_attrs(name, &values)?.ok()?;
    Some(m.build(op, [x.into()]))
}

/// `reduce(x) = x` over axes of extent 1 that are kept, for maximum, minimum, sum, mean and product
fn reduce_of_one(m: &Match<'_>) -> Option<Build> {
    let (axes, kept) = axes_of(&m.any())?;
    let x = m.operand(0);
    let fits = kept && axes.iter().all(|&axis| x.shape()[axis].is(1)) && x.ty() == m.ty();
    fits.then(|| x.into())
}
