//! The pass `identity-removal`.

use mlc_ir::ops::Cast;
use mlc_ir::{Action, Builder, Node, Op, Program, Value};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use mlc_tensor::{DType, Source, Tensor};
use serde::{Deserialize, Serialize};

use crate::rewrite;

/// Removes ops that give back their own operand: `identity`; `reshape`, `transpose`, `cast`, `pad`,
/// `tile`, slices and joins that change nothing; `x·1`, `x/1`, `x−0`; and zero points of 0. A `cast` of a `cast` becomes one
/// where the first loses nothing.
///
/// ```mlc before
/// func @f(%x: tensor<2x8xf16>) -> tensor<2x8xf16> {
///   %1 = cast %x {dtype = f32}
///   %2 = cast %1 {dtype = f16}
///   %3 = transpose %2 {perm = [0, 1]}
///   %y = exp %3
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x8xf16>) -> tensor<2x8xf16> {
///   %y = exp %x
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityRemoval {}

impl Pass for IdentityRemoval {
    fn name(&self) -> &'static str {
        "identity-removal"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        rewrite(program, cx, Some(self.name()), &mut |b, node, yields| {
            if let Some(same) = unchanged(b, node) {
                let result = b.results(node)[0];
                if yields.replace(b, result, same) {
                    return Ok(Action::Replace(vec![same]));
                }
            }
            if let Some(value) = without_zero(b, node)? {
                return Ok(Action::Replace(vec![value]));
            }
            let Some((x, dtype)) = inner_of_casts(b, node) else { return Ok(Action::Keep) };
            let result = b.results(node)[0];
            let back = b.tensor(x)?.dtype == dtype && yields.replace(b, result, x);
            Ok(Action::Replace(vec![if back { x } else { Cast { dtype }.build(b, x)? }]))
        })
    }
}

/// The operand that the only result of `node` is equal to.
fn unchanged(b: &Builder<'_>, node: Node) -> Option<Value> {
    let data = &b.function().nodes[node];
    let ([result], Some(&x)) = (&data.results[..], data.operands.all().first()) else {
        return None;
    };
    let same_type = |value: Value| b.ty(value) == b.ty(*result);
    let operand = |slot: usize| data.operands.slot(slot).first().copied();
    let neutral = |slot: usize, number: f64| {
        operand(slot).and_then(|value| b.constant_of(value)).is_some_and(|c| is_all(c, number))
    };
    let found = match &data.op {
        Op::Transpose(op) => {
            let rank = op.perm.len() as i64;
            let stays = |(i, &p): (usize, &i64)| p.rem_euclid(rank.max(1)) == i as i64;
            op.perm.iter().enumerate().all(stays).then_some(x)
        }
        Op::SliceByIndex(op) => op.stride.iter().all(|&s| s == 1).then_some(x),
        Op::Concat(_) => (data.operands.all().len() == 1).then_some(x),
        Op::Mul(_) if neutral(1, 1.0) => Some(x),
        Op::Mul(_) if neutral(0, 1.0) => operand(1),
        Op::RealDiv(_) if neutral(1, 1.0) => Some(x),
        Op::Sub(_) if neutral(1, 0.0) => Some(x),
        // Equal type is equal content: these move or convert nothing then.
        Op::Identity(_)
        | Op::Reshape(_)
        | Op::ReshapeLike(_)
        | Op::Flatten2d(_)
        | Op::ExpandDims(_)
        | Op::Squeeze(_)
        | Op::SliceBySize(_)
        | Op::Pad(_)
        | Op::Tile(_)
        | Op::Cast(_) => Some(x),
        _ => None,
    };
    found.filter(|&value| same_type(value))
}

/// `quantize` or `dequantize` without a zero point of 0.
fn without_zero(b: &mut Builder<'_>, node: Node) -> Result<Option<Value>> {
    let data = &b.function().nodes[node];
    let op = data.op.clone();
    let &[x, zero, scale] = data.operands.all() else { return Ok(None) };
    if !b.constant_of(zero).is_some_and(|zero| is_all(zero, 0.0)) {
        return Ok(None);
    }
    Ok(match op {
        Op::Quantize(op) => Some(op.build(b, x, None, scale)?),
        Op::Dequantize(op) => Some(op.build(b, x, None, scale)?),
        _ => None,
    })
}

/// Whether every element is `number`, `-0` and `0` told apart; only of constants that are cheap to
/// read.
fn is_all(tensor: &Tensor, number: f64) -> bool {
    let cheap = tensor.count() <= 64 || matches!(tensor.source(), Source::Splat(_));
    let one = || match tensor.source() {
        Source::Splat(element) => Tensor::from_bytes(tensor.dtype(), &[], element.clone()),
        _ => Ok(tensor.clone()),
    };
    let numbers = if cheap { one().and_then(|t| t.to_f64s()) } else { return false };
    numbers.is_ok_and(|n| !n.is_empty() && n.iter().all(|x| x.to_bits() == number.to_bits()))
}

/// The innermost operand and the element type of casts of which the inner loses nothing.
fn inner_of_casts(b: &Builder<'_>, node: Node) -> Option<(Value, DType)> {
    let function = b.function();
    let data = &function.nodes[node];
    let Op::Cast(Cast { dtype }) = data.op else { return None };
    let (_, inner) = function.def(*data.operands.all().first()?)?;
    let Op::Cast(Cast { dtype: middle }) = inner.op else { return None };
    let x = *inner.operands.all().first()?;
    let from = function.ty(x).as_tensor()?.dtype;
    holds(middle, from).then_some((x, dtype))
}

/// Whether every number of type `from` is one of type `to`.
fn holds(to: DType, from: DType) -> bool {
    /// Bits of the significand and of the exponent.
    fn float(dtype: DType) -> Option<(u32, u32)> {
        match dtype {
            DType::F16 => Some((11, 5)),
            DType::Bf16 => Some((8, 8)),
            DType::F32 => Some((24, 8)),
            DType::F64 => Some((53, 11)),
            _ => None,
        }
    }
    match (float(from), float(to), from.int_range(), to.int_range()) {
        _ if from == to => true,
        (Some(from), Some(to), ..) => from.0 <= to.0 && from.1 <= to.1,
        // `u64` has a range that ends too early.
        _ if from == DType::U64 => false,
        (_, Some((bits, _)), Some((low, high)), _) => -(1 << bits) <= low && high <= 1 << bits,
        (_, _, Some((low, high)), Some(range)) => {
            to != DType::Bool && range.0 <= low && high <= range.1
        }
        _ => false,
    }
}
