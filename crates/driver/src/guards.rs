//! How far from zero what is guarded against it stays.
//!
//! An epsilon such as 1e-12 keeps a division from failing, and half precision has no such number. Where the
//! values that it is added to, or that it bounds, are far above the least number that half precision has, that
//! one does as well: this measures them.

use std::collections::BTreeMap;

use mlc_eval::Array;
use mlc_ir::{Function, Program, Trait, Uses, Value};
use mlc_precision::{Guarded, guarded};

/// The least value seen of what each guard is put on, by the name of its result and of views of it: the variance
/// of what a norm is given, the other operand of a sum or a bound.
pub(crate) type Least = BTreeMap<String, f64>;

/// Views of a result that are looked at.
const MAX_VIEWS: usize = 16;

/// An op with a small epsilon.
#[derive(Debug)]
struct Guard {
    names: Vec<String>,
    of: Guarded,
}

/// The ops with a small epsilon of a function, by what they are given.
#[derive(Debug, Default)]
pub(crate) struct Guards(BTreeMap<Value, Vec<Guard>>);

impl Guards {
    pub(crate) fn of(program: &Program, function: &Function) -> Self {
        let uses = Uses::of(function);
        let mut guards = Self::default();
        function.for_each_node(&mut |_, node| {
            let Some((x, of)) = guarded(program, function, node) else { return };
            let Some(&result) = function.nodes[node].results.first() else { return };
            let names = names((function, &uses), result);
            guards.0.entry(x).or_default().push(Guard { names, of });
        });
        guards
    }

    /// Notes how near to zero `array`, which is `value`, comes, if it is guarded.
    pub(crate) fn look(&self, value: Value, array: &Array, least: &mut Least) {
        for guard in self.0.get(&value).into_iter().flatten() {
            let Ok(elements) = array.to_f32s() else { continue };
            let measured = match &guard.of {
                Guarded::Variance(axes) => least_variance(&elements, array.shape(), axes),
                Guarded::Element => elements.iter().map(|&x| f64::from(x)).min_by(f64::total_cmp),
            };
            let Some(measured) = measured.filter(|x| x.is_finite()) else { continue };
            for name in &guard.names {
                let known = least.entry(name.clone()).or_insert(measured);
                *known = known.min(measured);
            }
        }
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
