//! The pass `older-ops`.

use mlc_ir::ops::{
    Add, Fill, Matmul, Mul, Op, Reshape, ResizeBilinear, Select, Shape, Softmax, Transpose,
};
use mlc_ir::{Action, Builder, FuncId, Node, Program, Rewriter, Value};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Property, Result};
use mlc_target::Opset;
use mlc_tensor::DType;
use serde::{Deserialize, Serialize};

use crate::choose;
use crate::legality::{Refusal, accepts};

/// Spells ops that `target` does not have in ops that it has, where that computes the same; without
/// `target`, for the lowest target for which everything can be spelled.
///
/// `scaled_dot_product_attention`, `pixel_unshuffle`, `fill_like` and linear `resize` of two axes are
/// spelled. Where attention masks a whole row, the row is averaged instead of being no number.
///
/// ```mlc before {target=ios17}
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
        if accepts(b.program, b.function(), node, opset) != Err(Refusal::NoOp) {
            return Ok(Action::Keep);
        }
        let operands = b.function().nodes[node].operands.all().to_vec();
        let value = match b.function().nodes[node].op.clone() {
            Op::ScaledDotProductAttention(_) => attention(b, &operands)?,
            Op::PixelUnshuffle(op) => pixel_unshuffle(b, operands[0], op.downscale_factor)?,
            Op::FillLike(_) => {
                let shape = Shape {}.build(b, operands[0])?;
                Some(Fill {}.build(b, shape, operands.get(1).copied())?)
            }
            Op::Resize(_) => resize(b, node)?,
            _ => None,
        };
        Ok(value.map_or(Action::Keep, |value| Action::Replace(vec![value])))
    })
}

fn attention(b: &mut Builder<'_>, operands: &[Value]) -> Result<Option<Value>> {
    let [query, key, value, mask @ ..] = operands else { return Ok(None) };
    let ty = b.tensor(*query)?.clone();
    let Some(width) = ty.shape.last().and_then(mlc_ir::Dim::as_const) else { return Ok(None) };
    // Scaling before the product keeps half precision from overflowing.
    let scale = b.scalar(ty.dtype, 1.0 / (width as f64).sqrt())?;
    let query = Mul {}.build(b, *query, scale)?;
    let product = Matmul { transpose_x: false, transpose_y: true };
    let mut scores = product.build(b, query, *key)?;
    if let Some(&mask) = mask.first() {
        scores = if b.tensor(mask)?.dtype == DType::Bool {
            let lowest = if ty.dtype == DType::F16 { -65504.0 } else { f64::from(f32::MIN) };
            let lowest = b.scalar(ty.dtype, lowest)?;
            Select {}.build(b, mask, scores, lowest)?
        } else {
            Add {}.build(b, scores, mask)?
        };
    }
    let weights = Softmax { axis: -1 }.build(b, scores)?;
    let product = Matmul { transpose_x: false, transpose_y: false };
    Ok(Some(product.build(b, weights, *value)?))
}

fn pixel_unshuffle(b: &mut Builder<'_>, x: Value, factor: i64) -> Result<Option<Value>> {
    let Some(shape) = b.tensor(x)?.static_shape() else { return Ok(None) };
    let [n, c, h, w] = shape.iter().map(|&d| d as i64).collect::<Vec<_>>()[..] else {
        return Ok(None);
    };
    let (Some(rows), Some(columns)) = (h.checked_div(factor), w.checked_div(factor)) else {
        return Ok(None);
    };
    // Batch and channel stay neighbours, so that five axes are enough.
    let apart = b.ints(&[n * c, rows, factor, columns, factor])?;
    let apart = Reshape {}.build(b, x, apart)?;
    let moved = Transpose { perm: vec![0, 2, 4, 1, 3] }.build(b, apart)?;
    let together = b.ints(&[n, c * factor * factor, rows, columns])?;
    Ok(Some(Reshape {}.build(b, moved, together)?))
}

/// Linear `resize` of the last two axes to known extents.
fn resize(b: &mut Builder<'_>, node: Node) -> Result<Option<Value>> {
    let data = &b.function().nodes[node];
    let Op::Resize(op) = &data.op else { return Ok(None) };
    let linear = op.interpolation_mode == mlc_ir::attr::InterpolationMode::Linear;
    let (x, sampling_mode) = (data.operands.all()[0], op.sampling_mode);
    let shape = b.tensor(data.results[0])?.static_shape();
    let (true, 2, Some([.., height, width])) = (linear, op.resized_dims, shape.as_deref()) else {
        return Ok(None);
    };
    let op = ResizeBilinear {
        target_size_height: *height as i64,
        target_size_width: *width as i64,
        sampling_mode,
    };
    Ok(Some(op.build(b, x)?))
}
