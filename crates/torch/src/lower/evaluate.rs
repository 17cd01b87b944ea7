//! Numbers that are known although they are computed: one-element tensors made from constants, as traces
//! compute sizes with scale factors.

use mlc_ir::{Def, Op, Value};
use mlc_tensor::DType;

use super::Cx;

/// Ops that one number may be made with.
const MAX_DEPTH: u32 = 32;

/// The number that a value of one element always is, rounded at each step as its type is; `None` if it
/// depends on an input, or on an op that is not arithmetic.
pub(crate) fn number(cx: &Cx<'_>, value: Value) -> Option<f64> {
    walk(cx, value, MAX_DEPTH)
}

fn walk(cx: &Cx<'_>, value: Value, depth: u32) -> Option<f64> {
    let function = cx.b.function();
    let ty = function.ty(value).as_tensor()?;
    if !ty.count().is(1) || depth == 0 {
        return None;
    }
    if let Some(tensor) = cx.b.constant_of(value) {
        return tensor.to_f64s().ok()?.first().copied();
    }
    if let Some([content]) = function.values[value].content.as_deref() {
        return content.as_const().map(|n| n as f64);
    }
    let Def::Result(node, _) = function.values[value].def else { return None };
    let data = &function.nodes[node];
    let operand = |i: usize| walk(cx, *data.operands.all().get(i)?, depth - 1);
    let both = |f: &dyn Fn(f64, f64) -> f64| Some(f(operand(0)?, operand(1)?));
    let result = match &data.op {
        Op::Identity(_) | Op::Reshape(_) | Op::ExpandDims(_) | Op::Squeeze(_) => operand(0),
        Op::Cast(_) => operand(0),
        Op::Floor(_) => operand(0).map(f64::floor),
        Op::Ceil(_) => operand(0).map(f64::ceil),
        Op::Round(_) => operand(0).map(f64::round_ties_even),
        Op::Add(_) => both(&|a, b| a + b),
        Op::Sub(_) => both(&|a, b| a - b),
        Op::Mul(_) => both(&|a, b| a * b),
        Op::RealDiv(_) if ty.dtype.is_float() => both(&|a, b| a / b),
        Op::FloorDiv(_) => both(&|a, b| (a / b).floor()),
        // The root of a single is the same whether it is rounded once or twice.
        Op::Sqrt(_) => operand(0).map(f64::sqrt),
        Op::Abs(_) => operand(0).map(f64::abs),
        Op::Square(_) => operand(0).map(|x| x * x),
        Op::Pow(_) => operand(1).filter(is_exact_power).and_then(|n| Some(operand(0)?.powf(n))),
        Op::Mod(_) => both(&|a, b| a - (a / b).floor() * b),
        Op::Maximum(_) => both(&f64::max),
        Op::Minimum(_) => both(&f64::min),
        _ => None,
    }?;
    rounded(result, ty.dtype)
}

/// Whether powers by this exponent are the same number on all machines.
fn is_exact_power(exponent: &f64) -> bool {
    [0.5, 1.0, 2.0].contains(exponent)
}

/// `x` as a number of that type.
fn rounded(x: f64, dtype: DType) -> Option<f64> {
    let x = match dtype {
        DType::F64 => x,
        DType::F32 => f64::from(x as f32),
        dtype if dtype.is_int() => {
            let (lo, hi) = dtype.int_range()?;
            let x = x.trunc();
            // Beyond 2⁵³ not every integer is a number here.
            let exact = x.abs() <= 9_007_199_254_740_992.0;
            (exact && x >= lo as f64 && x <= hi as f64).then_some(x)?
        }
        _ => return None,
    };
    x.is_finite().then_some(x)
}
