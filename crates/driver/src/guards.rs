//! How far from zero what is guarded against it stays.
//!
//! An epsilon such as 1e-12 keeps a division from failing, and half precision has no such number. Where the
//! values that it is added to, or that it bounds, are far above the least number that half precision has, that
//! one does as well: this measures them.

use std::collections::BTreeMap;

use mlc_eval::Array;
use mlc_ir::infer::normalize_axes;
use mlc_ir::{Function, Node, Op, Program, Trait, Uses, Value};

/// The least value seen of what each guard is put on, by the name of its result and of views of it: the variance
/// of what a norm is given, the other operand of a sum or a bound.
pub(crate) type Least = BTreeMap<String, f64>;

/// Epsilons from here on are numbers of half precision.
const SMALL: f64 = 6e-8;

/// Views of a result that are looked at.
const MAX_VIEWS: usize = 16;

/// What is measured of a value.
#[derive(Debug)]
enum Measure {
    /// The variance along these axes.
    Variance(Vec<usize>),
    /// The elements.
    Element,
}

/// An op with a small epsilon.
#[derive(Debug)]
struct Guard {
    names: Vec<String>,
    measure: Measure,
}

/// The ops with a small epsilon of a function, by what they are given.
#[derive(Debug, Default)]
pub(crate) struct Guards(BTreeMap<Value, Vec<Guard>>);

impl Guards {
    pub(crate) fn of(program: &Program, function: &Function) -> Self {
        let uses = Uses::of(function);
        let mut guards = Self::default();
        function.for_each_node(&mut |_, node| {
            let Some((x, measure)) = guarded(program, function, node) else { return };
            let Some(&result) = function.nodes[node].results.first() else { return };
            let names = names((function, &uses), result);
            guards.0.entry(x).or_default().push(Guard { names, measure });
        });
        guards
    }

    /// Notes how near to zero `array`, which is `value`, comes, if it is guarded.
    pub(crate) fn look(&self, value: Value, array: &Array, least: &mut Least) {
        for guard in self.0.get(&value).into_iter().flatten() {
            let Ok(elements) = array.to_f32s() else { continue };
            let measured = match &guard.measure {
                Measure::Variance(axes) => least_variance(&elements, array.shape(), axes),
                Measure::Element => elements.iter().map(|&x| f64::from(x)).min_by(f64::total_cmp),
            };
            let Some(measured) = measured.filter(|x| x.is_finite()) else { continue };
            for name in &guard.names {
                let known = least.entry(name.clone()).or_insert(measured);
                *known = known.min(measured);
            }
        }
    }
}

/// What an op with a small epsilon guards.
fn guarded(program: &Program, function: &Function, node: Node) -> Option<(Value, Measure)> {
    let data = &function.nodes[node];
    let operands = data.operands.all();
    let rank = || function.ty(*operands.first()?).as_tensor().map(mlc_ir::TensorType::rank);
    let is_small = |x: f64| x > 0.0 && x < SMALL;
    match &data.op {
        Op::LayerNorm(op) if op.epsilon.0 < SMALL => {
            let axes = match &op.axes {
                Some(axes) => normalize_axes(axes, rank()?).ok()?,
                None => (0..rank()?).collect(),
            };
            Some((operands[0], Measure::Variance(axes)))
        }
        Op::InstanceNorm(op) if op.epsilon.0 < SMALL => {
            Some((operands[0], Measure::Variance((2..rank()?).collect())))
        }
        Op::Clip(op) if is_small(op.alpha.0) => Some((operands[0], Measure::Element)),
        Op::Threshold(op) if is_small(op.alpha.0) => Some((operands[0], Measure::Element)),
        Op::Add(_) | Op::Maximum(_) => {
            let &[x, y] = operands else { return None };
            let small = |value: Value| {
                let tensor = program.constant_of(function, value)?;
                let float = tensor.dtype().is_float() && tensor.count() == 1;
                let element = if float { tensor.to_f64s().ok()?.first().copied() } else { None };
                element.filter(|&element| is_small(element))
            };
            match (small(x), small(y)) {
                (None, Some(_)) => Some((x, Measure::Element)),
                (Some(_), None) => Some((y, Measure::Element)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The names of a value and of views of it.
fn names((function, uses): (&Function, &Uses), value: Value) -> Vec<String> {
    let mut values = vec![value];
    let mut at = 0;
    while at < values.len() && values.len() <= MAX_VIEWS {
        for &user in uses.users(values[at]) {
            let data = &function.nodes[user];
            if data.op.spec().traits.has(Trait::View) {
                values.extend(&data.results);
            }
        }
        at += 1;
    }
    values
        .iter()
        .filter_map(|&value| function.values[value].name.as_deref().map(str::to_owned))
        .collect()
}

/// The least variance of the elements that share their places on all axes but `axes`.
fn least_variance(elements: &[f32], shape: &[usize], axes: &[usize]) -> Option<f64> {
    // For each axis, how far a step moves among the rows.
    let mut steps = vec![0; shape.len()];
    let mut rows = 1;
    for axis in (0..shape.len()).rev().filter(|axis| !axes.contains(axis)) {
        steps[axis] = rows;
        rows *= shape[axis];
    }
    let length = elements.len().checked_div(rows)?;
    if length == 0 {
        return None;
    }
    let mut places = vec![0; shape.len()];
    let mut row_of = Vec::with_capacity(elements.len());
    let mut row = 0;
    for _ in elements {
        row_of.push(row);
        for axis in (0..shape.len()).rev() {
            places[axis] += 1;
            row += steps[axis];
            if places[axis] < shape[axis] {
                break;
            }
            row -= steps[axis] * shape[axis];
            places[axis] = 0;
        }
    }
    let mut means = vec![0f64; rows];
    for (&row, &x) in row_of.iter().zip(elements) {
        means[row] += f64::from(x) / length as f64;
    }
    let mut variances = vec![0f64; rows];
    for (&row, &x) in row_of.iter().zip(elements) {
        variances[row] += (f64::from(x) - means[row]).powi(2) / length as f64;
    }
    variances.into_iter().filter(|v| v.is_finite()).min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::least_variance;

    #[test]
    fn rows_are_told_apart() {
        let x = [1.0, 3.0, 5.0, 5.0, 0.0, 8.0];
        assert_eq!(least_variance(&x, &[3, 2], &[1]), Some(0.0));
        assert_eq!(least_variance(&x[..4], &[2, 2], &[1]), Some(0.0));
        assert_eq!(least_variance(&x[..4], &[2, 2], &[0]), Some(1.0));
        assert_eq!(least_variance(&[], &[0, 2], &[1]), None);
    }
}
