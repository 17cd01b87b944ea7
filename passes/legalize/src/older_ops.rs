//! The pass `older-ops`.

use mlc_ir::ops::Op;
use mlc_ir::{Action, FuncId, Program, Rewriter};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Property, Result};
use mlc_target::Opset;
use serde::{Deserialize, Serialize};

use crate::choose;
use crate::einsum;
use crate::legality::{Refusal, accepts};
use crate::respell::{clip, lower_half, product, suppression};
use crate::spell::{Parts, attention, fill_like, pixel_unshuffle, resize, slice_update};
use crate::spread::{dilated, mirrored};
use crate::stored::stored;

/// Spells ops that `target` does not have in ops that it has, where that computes the same; without
/// `target`, for the lowest target for which everything can be spelled.
///
/// `scaled_dot_product_attention`, `pixel_unshuffle`, `fill_like`, linear `resize` of two axes and
/// `slice_update` of known extents are spelled. Where attention masks a whole row, the row is averaged
/// instead of being no number. `non_maximum_suppression` goes from either form to the other; `clip`
/// with equal bounds, padding `same_lower` and other equations of `einsum` than Core ML's two are spelled
/// where the target does not take them, and `linear` whose weight or bias is computed is a `matmul`. Stored weights get the form that the target has, if one says the
/// same.
///
/// ```mlc before (target=ios17)
/// func @f(%q: tensor<2x3x4xf32>, %k: tensor<2x5x4xf32>) -> tensor<2x3x4xf32> {
///   %y = scaled_dot_product_attention %q, %k, %k
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%q: tensor<2x3x4xf32>, %k: tensor<2x5x4xf32>) -> tensor<2x3x4xf32> {
///   %1 = mul %q, 0.5
///   %2 = matmul %1, %k {transpose_y = true}
///   %3 = softmax %2
///   %y = matmul %3, %k
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OlderOps {
    /// The system it is for, such as `ios17`; the lowest one that holds the program if none is named.
    target: Option<String>,
}

impl Pass for OlderOps {
    fn name(&self) -> &'static str {
        "older-ops"
    }

    fn phase(&self) -> Phase {
        Phase::Legalize
    }

    fn requires(&self) -> &'static [Property] {
        &[crate::CORE_DTYPES]
    }

    fn is_required(&self) -> bool {
        true
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let opset = choose::opset(program, self.target.as_deref())?;
        let mut changed = false;
        for func in cx.functions(program) {
            changed |= rewrite(program, func, opset)?;
        }
        Ok(Changed::from(changed))
    }
}

/// Spells what `opset` does not have.
pub(crate) fn rewrite(program: &mut Program, func: FuncId, opset: Opset) -> Result<bool> {
    Rewriter::run::<PassError>(program, func, Some("older-ops"), &mut |b, node| {
        let operands = b.function().nodes[node].operands.all().to_vec();
        match accepts(b.program, b.function(), node, opset) {
            Err(Refusal::NoOp | Refusal::Argument(_)) => {}
            Err(Refusal::NotConstant(_))
                if matches!(b.function().nodes[node].op, Op::Linear(_)) =>
            {
                return Ok(Action::Replace(vec![product(b, &operands)?]));
            }
            _ => return Ok(Action::Keep),
        }
        let value = match b.function().nodes[node].op.clone() {
            Op::ScaledDotProductAttention(_) => match Parts::of(&operands) {
                Some(parts) => attention(b, &parts)?,
                None => None,
            },
            Op::PixelUnshuffle(op) => pixel_unshuffle(b, operands[0], op.downscale_factor)?,
            Op::FillLike(_) => Some(fill_like(b, &operands)?),
            Op::SliceUpdate(op) => slice_update(b, op, &operands)?,
            Op::Resize(_) => resize(b, node)?,
            Op::Einsum(op) => einsum::product(b, &op.equation, &operands)?,
            Op::Clip(op) => Some(clip(b, &op, operands[0])?),
            Op::NonMaximumSuppression(op) => {
                return Ok(Action::Replace(suppression(b, op, &operands)?));
            }
            Op::Pad(op) => mirrored(b, &op, &operands)?,
            Op::Conv(op) if op.dilations.iter().any(|&d| d != 1) => match lower_half(b, node)? {
                Some(value) => Some(value),
                None => dilated(b, &op, &operands)?,
            },
            Op::ConstexprLutToDense(_)
            | Op::ConstexprSparseToDense(_)
            | Op::ConstexprBlockwiseShiftScale(_) => stored(b, node, opset)?,
            Op::Conv(_) | Op::MaxPool(_) | Op::AvgPool(_) | Op::L2Pool(_) => lower_half(b, node)?,
            _ => None,
        };
        Ok(value.map_or(Action::Keep, |value| Action::Replace(vec![value])))
    })
}
