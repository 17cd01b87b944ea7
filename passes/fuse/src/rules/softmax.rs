//! Softmax from the ops that spell it.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{
    Add, Exp, Inverse, Mul, RealDiv, ReduceLogSumExp, ReduceMax, ReduceSum, Softmax, Sub,
};

pub(super) const FAMILY: Family = Family {
    name: "softmax",
    source: include_str!("softmax.rs"),
    rules: &[
        rule!(Close, "softmax", ["real_div", "mul"], softmax),
        rule!(Close, "softmax-of-exp", ["exp"], softmax_of_exp),
        rule!(Close, "log-sum-exp-of-shift", ["add"], log_sum_exp_of_shift),
        rule!(Close, "log-softmax", ["sub"], log_softmax),
    ],
};

/// `eˣ⁻ᵐ / Σ eˣ⁻ᵐ = softmax(x)`, where `m` is the maximum along the axis of the sum
fn softmax(m: &Match<'_>) -> Option<Build> {
    let (powers, sum) = match m.op::<RealDiv>() {
        Some(div) => (div.operand(0), div.operand(1).find::<ReduceSum>()?),
        None => m.op::<Mul>()?.pairs().into_iter().find_map(|(powers, scale)| {
            let inverse = scale.find::<Inverse>().filter(|op| op.epsilon.0.abs() <= 1e-30)?;
            Some((powers, inverse.operand(0).find::<ReduceSum>()?))
        })?,
    };
    (sum.operand(0) == powers).then_some(())?;
    let axis = single(sum.axes.as_deref(), powers.rank()).filter(|_| sum.keep_dims)?;
    let shifted = powers.find::<Exp>()?.operand(0).find::<Sub>()?;
    let x = shifted.operand(0);
    // Without the maximum taken off the powers may overflow where softmax does not: another function.
    let is_maximum = |class: Class<'_>| {
        class.find::<ReduceMax>().is_some_and(|max| {
            let same_axis = single(max.axes.as_deref(), x.rank()) == Some(axis);
            max.operand(0) == x && max.keep_dims && same_axis
        })
    };
    let fits = is_maximum(shifted.operand(1)) && x.ty() == m.ty();
    fits.then(|| m.build(Softmax { axis: axis as i64 }, [x.into()]))
}

/// `(x − m) − lse(x − m) = x − lse(x)`, where `lse` is `reduce_log_sum_exp` and `m` does not change along
/// its axes
fn log_softmax(m: &Match<'_>) -> Option<Build> {
    let sub = m.op::<Sub>()?;
    let shifted = sub.operand(0);
    let lse = sub.operand(1).find::<ReduceLogSumExp>().filter(|lse| lse.operand(0) == shifted)?;
    let inner = shifted.find::<Sub>()?;
    let x = inner.operand(0);
    let maximum = inner.operand(1).find::<ReduceMax>().filter(|max| max.operand(0) == x)?;
    let axis = single(lse.axes.as_deref(), x.rank())?;
    let same = single(maximum.axes.as_deref(), x.rank()) == Some(axis);
    let fits = same && lse.keep_dims && maximum.keep_dims && x.ty() == m.ty();
    fits.then(|| {
        let sum = m.build(lse.payload().clone(), [x.into()]);
        m.build(Sub {}, [x.into(), sum])
    })
}

/// `e^(x − lse(x)) = softmax(x)`, where `lse` is `reduce_log_sum_exp` along one axis
fn softmax_of_exp(m: &Match<'_>) -> Option<Build> {
    m.op::<Exp>()?;
    let sub = m.operand(0).find::<Sub>()?;
    let x = sub.operand(0);
    let lse = sub.operand(1).find::<ReduceLogSumExp>().filter(|lse| lse.operand(0) == x)?;
    let axis = single(lse.axes.as_deref(), x.rank()).filter(|_| lse.keep_dims)?;
    let fits = x.ty() == m.ty() && x.dtype()?.is_float();
    fits.then(|| m.build(Softmax { axis: axis as i64 }, [x.into()]))
}

/// `lse(x − max(x)) + max(x) = lse(x)`, where `lse` is `reduce_log_sum_exp`
fn log_sum_exp_of_shift(m: &Match<'_>) -> Option<Build> {
    let pairs = m.op::<Add>()?.pairs();
    m.ty().filter(|ty| ty.dtype.is_float())?;
    pairs.into_iter().find_map(|(lse, maximum)| {
        let lse = lse.find::<ReduceLogSumExp>()?;
        let shifted = lse.operand(0).find::<Sub>()?;
        let x = shifted.operand(0);
        let axis = single(lse.axes.as_deref(), x.rank())?;
        let is_maximum = |class: Class<'_>, kept: bool| {
            class.find::<ReduceMax>().is_some_and(|max| {
                let same_axis = single(max.axes.as_deref(), x.rank()) == Some(axis);
                max.operand(0) == x && max.keep_dims == kept && same_axis
            })
        };
        let fits = is_maximum(shifted.operand(1), true)
            && is_maximum(maximum, lse.keep_dims)
            && x.ty() == lse.operand(0).ty();
        fits.then(|| m.build(lse.payload().clone(), [x.into()]))
    })
}

/// The only axis of a list, counted from the front.
fn single(axes: Option<&[i64]>, rank: usize) -> Option<usize> {
    match axes {
        Some([axis]) => normalize_axis(*axis, rank).ok(),
        None if rank == 1 => Some(0),
        _ => None,
    }
}
