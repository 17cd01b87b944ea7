//! Reductions.

use mlc_egraph::{Build, Family, Match, rule};
use mlc_ir::infer::normalize_axes;
use mlc_ir::ops::{Mul, ReduceMean, ReduceSum};

pub(super) const FAMILY: Family = Family {
    name: "reduction",
    source: include_str!("reduction.rs"),
    rules: &[rule!(Close, "mean-of-sum", ["mul"], mean_of_sum)],
};

/// `reduce_sum(x) · (1/n) = reduce_mean(x)`, `n` the number of elements summed
fn mean_of_sum(m: &Match<'_>) -> Option<Build> {
    let (sum, scale) = m.op::<Mul>()?.with_scalar()?;
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
