//! Compares two programs by their numbers.

use mlc_eval::{Array, EvalError, EvalValue, Evaluator, States};
use mlc_ir::{FuncId, Program};
use mlc_tensor::DType;

use super::draw::Draw;
use crate::rule::Rounding;

/// How two programs compare.
pub(super) enum Comparison {
    /// Results agree.
    Agrees,
    /// The first one has none: it is not defined on these inputs, or cannot be evaluated.
    NoNumbers,
    /// They do not, and why.
    Differs(String),
}

/// Runs both programs on the same inputs.
pub(super) fn compare(
    (before, after): (&Program, &Program),
    func: FuncId,
    (rounding, seed): (Rounding, u64),
) -> Comparison {
    let mut draw = Draw::new(seed);
    let Some(inputs) = inputs(before, func, &mut draw) else { return Comparison::NoNumbers };
    let mut scale = 0f64;
    let observed = |_, value: &EvalValue| {
        if let EvalValue::Array(array) = value
            && let Ok(numbers) = array.to_f64s()
        {
            scale =
                numbers.into_iter().filter(|x| x.is_finite()).fold(scale, |s, x| s.max(x.abs()));
        }
    };
    let run = Evaluator::new(before, func).observed(observed).run(&inputs, &mut States::new());
    let Ok(wanted) = run else { return Comparison::NoNumbers };
    let got = match Evaluator::new(after, func).run(&inputs, &mut States::new()) {
        Ok(got) => got,
        Err(EvalError::Unsupported(_)) => return Comparison::NoNumbers,
        Err(error) => {
            return Comparison::Differs(format!("the result cannot be evaluated: {error}"));
        }
    };
    for (i, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
        let (Ok(wanted), Ok(got)) = (wanted.array(), got.array()) else { continue };
        if wanted.shape() != got.shape() || wanted.dtype() != got.dtype() {
            return Comparison::Differs(format!("output {i} has another shape or type"));
        }
        if let Some(what) = difference((wanted, got), rounding, scale) {
            return Comparison::Differs(format!("output {i}: {what}"));
        }
    }
    Comparison::Agrees
}

/// Numbers for the parameters at their default shapes.
fn inputs(program: &Program, func: FuncId, draw: &mut Draw) -> Option<Vec<Array>> {
    let function = &program.functions[func];
    let body = &function.regions[function.body];
    let mut arrays = Vec::new();
    for (param, &arg) in function.params.iter().zip(&body.args) {
        let ty = function.ty(arg).as_tensor()?;
        let shape: Vec<usize> = match (ty.static_shape(), &param.default_shape) {
            (Some(shape), _) => shape.iter().map(|&n| n as usize).collect(),
            (None, Some(shape)) => shape.iter().map(|&n| n as usize).collect(),
            (None, None) => return None,
        };
        let count: usize = shape.iter().product();
        let array = match ty.dtype {
            DType::Bool => Array::from_bools(&shape, (0..count).map(|_| draw.chance(50)).collect()),
            dtype if dtype.is_int() => {
                let low = if dtype.int_range().is_some_and(|range| range.0 < 0) { 4 } else { 0 };
                let numbers = (0..count).map(|_| draw.below(9) as i64 - low);
                Array::from_i64s(dtype, &shape, numbers.collect())
            }
            dtype => Array::from_f64s(dtype, &shape, (0..count).map(|_| draw.float()).collect()),
        };
        arrays.push(array.ok()?);
    }
    Some(arrays)
}

/// What is different; `scale` is the greatest number that came up on the way.
fn difference((wanted, got): (&Array, &Array), rounding: Rounding, scale: f64) -> Option<String> {
    let (a, b) = (wanted.to_f64s().ok()?, got.to_f64s().ok()?);
    let tolerance = match (rounding, wanted.dtype()) {
        (Rounding::Exact, _) => 0.0,
        (_, DType::F16) => 4e-3 * scale,
        (_, DType::Bf16) => 3e-2 * scale,
        (_, dtype) if dtype.is_float() => 5e-6 * scale,
        _ => 0.0,
    };
    let differs = |x: f64, y: f64| {
        let same = x == y || (x.is_nan() && y.is_nan());
        // Half precision overflows earlier one way than the other.
        let beyond = wanted.dtype() == DType::F16
            && rounding == Rounding::Close
            && (!x.is_finite() || !y.is_finite());
        let near = (x - y).abs() <= tolerance;
        !same && !beyond && !near
    };
    let at = a.iter().zip(&b).position(|(&x, &y)| differs(x, y))?;
    Some(format!("element {at} is {} before and {} after", a[at], b[at]))
}
