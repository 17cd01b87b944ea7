//! The pass `dequantize-to-constexpr`.

use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::ConstexprBlockwiseShiftScale;
use mlc_ir::{Action, Builder, Node, Op, Program, Value};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use mlc_tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::rewrite;

/// `dequantize` of a constant is a weight that is stored as it stands and decoded when the model is loaded.
///
/// ```mlc before
/// func @f(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
///   %q = const [[1, 2], [3, 4]] : tensor<2x2xi8>
///   %s = const [0.5, 2.0] : tensor<2xf32>
///   %w = dequantize %q, %s {axis = 0}
///   %y = add %x, %w
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
///   %q = const [[1, 2], [3, 4]] : tensor<2x2xi8>
///   %s = const [[0.5], [2.0]] : tensor<2x1xf32>
///   %w = constexpr_blockwise_shift_scale %q, %s
///   %y = add %x, %w
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DequantizeToConstexpr {}

impl Pass for DequantizeToConstexpr {
    fn name(&self) -> &'static str {
        "dequantize-to-constexpr"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        rewrite(program, cx, Some(self.name()), &mut |b, node, _| {
            Ok(stored(b, node)?.map_or(Action::Keep, |value| Action::Replace(vec![value])))
        })
    }
}

/// The stored weight that `node` dequantizes, if it has an axis and all its operands are constants.
fn stored(b: &mut Builder<'_>, node: Node) -> Result<Option<Value>> {
    let data = &b.function().nodes[node];
    let (Op::Dequantize(op), Some(&x)) = (&data.op, data.operands.slot(0).first()) else {
        return Ok(None);
    };
    let constant = |slot: usize| {
        data.operands.slot(slot).first().and_then(|&value| b.constant_of(value)).cloned()
    };
    let has_zero = !data.operands.slot(1).is_empty();
    let (axis, zero) = (op.axis, constant(1));
    let (Some(weight), Some(scale)) = (constant(0), constant(2)) else { return Ok(None) };
    if weight.shape().is_empty() || has_zero != zero.is_some() {
        return Ok(None);
    }
    let mut blocks = vec![1; weight.shape().len()];
    if let Some(axis) = axis.filter(|_| scale.count() > 1) {
        let axis = normalize_axis(axis, blocks.len())?;
        blocks[axis] = scale.count() as u64;
    }
    // What is multiplied by 0 has no scale to be stored with.
    if scale.to_f64s()?.iter().any(|s| !s.is_finite() || *s == 0.0) {
        return Ok(None);
    }
    let offset = match zero {
        Some(zero) => Some(b.constant(offset(&zero, weight.dtype(), &blocks)?)?),
        None => None,
    };
    let scale = b.constant(scale.reshape(&blocks)?)?;
    Ok(Some(ConstexprBlockwiseShiftScale {}.build(b, x, scale, offset)?))
}

/// A zero point, one for each scale.
fn offset(zero: &Tensor, dtype: DType, blocks: &[u64]) -> Result<Tensor> {
    let numbers = zero.to_i64s()?;
    let count = blocks.iter().product::<u64>() as usize;
    let all = if numbers.len() == 1 { vec![numbers[0]; count] } else { numbers };
    Ok(Tensor::from_i64s(dtype, blocks, &all)?)
}
