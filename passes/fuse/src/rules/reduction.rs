//! Reductions.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::infer::normalize_axes;
use mlc_ir::ops::{
    Abs, Exp, Log, Mul, RealDiv, ReduceL1Norm, ReduceL2Norm, ReduceLogSumExp, ReduceMax,
    ReduceMean, ReduceMin, ReduceSum, ReduceSumSquare, Sqrt, Square,
};

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
        rule!(Exact, "reduce-of-reduce", ["reduce_max", "reduce_min"], reduce_of_reduce),
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

/// `max(max(x; a); b) = max(x; a ∪ b)` with axes kept, and the minimum
fn reduce_of_reduce(m: &Match<'_>) -> Option<Build> {
    let x = m.operand(0);
    let joined = |outer: &Option<Vec<i64>>, inner: &Option<Vec<i64>>| {
        let mut axes = normalize_axes(outer.as_ref()?, x.rank()).ok()?;
        axes.extend(normalize_axes(inner.as_ref()?, x.rank()).ok()?);
        axes.sort_unstable();
        axes.dedup();
        Some(axes.into_iter().map(|axis| axis as i64).collect())
    };
    if let (Some(outer), Some(inner)) = (m.op::<ReduceMax>(), x.find::<ReduceMax>()) {
        let axes = Some(joined(&outer.axes, &inner.axes)?);
        let kept = inner.keep_dims && outer.keep_dims;
        return kept
            .then(|| m.build(ReduceMax { axes, keep_dims: true }, [inner.operand(0).into()]));
    }
    let (outer, inner) = (m.op::<ReduceMin>()?, x.find::<ReduceMin>()?);
    let axes = Some(joined(&outer.axes, &inner.axes)?);
    let kept = inner.keep_dims && outer.keep_dims;
    kept.then(|| m.build(ReduceMin { axes, keep_dims: true }, [inner.operand(0).into()]))
}
