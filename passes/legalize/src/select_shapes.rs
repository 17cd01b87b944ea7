//! The pass `select-shapes`.

use mlc_ir::ops::{Add, Cast, LogicalAnd, LogicalNot, LogicalOr, Mul, Op};
use mlc_ir::{Action, Builder, OpResult, Rewriter, TensorType, Value, infer::broadcast};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Result};
use mlc_tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// Gives a branch of a `select` the shape of the result where the condition is larger than both
/// branches: Core ML takes the type of the result from the branches alone.
///
/// ```mlc before
/// func @f(%c: tensor<2x3xbool>, %a: f32) -> tensor<2x3xf32> {
///   %y = select %c, %a, 0.5
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%c: tensor<2x3xbool>, %a: f32) -> tensor<2x3xf32> {
///   %1 = const [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
///   %y = select %c, %a, %1
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectShapes {}

impl Pass for SelectShapes {
    fn name(&self) -> &'static str {
        "select-shapes"
    }

    fn phase(&self) -> Phase {
        Phase::Legalize
    }

    fn is_required(&self) -> bool {
        true
    }

    fn run(&self, program: &mut mlc_ir::Program, cx: &mut PassCx) -> Result<Changed> {
        let mut changed = false;
        for func in cx.functions(program) {
            let name = Some(self.name());
            changed |= Rewriter::run::<PassError>(program, func, name, &mut |b, node| {
                let data = &b.function().nodes[node];
                let (Op::Select(op), &[cond, x, y]) = (data.op.clone(), data.operands.all()) else {
                    return Ok(Action::Keep);
                };
                let whole = b.tensor(data.results[0])?.clone();
                if broadcast(&b.tensor(x)?.shape, &b.tensor(y)?.shape)? == whole.shape {
                    return Ok(Action::Keep);
                }
                // A constant branch costs nothing to spread.
                let first = b.constant_of(y).is_none() && b.constant_of(x).is_some();
                let (x, y) = if first {
                    (spread(b, cond, x, &whole)?, y)
                } else {
                    (x, spread(b, cond, y, &whole)?)
                };
                Ok(Action::Replace(vec![op.build(b, cond, x, y)?]))
            })?;
        }
        Ok(changed.into())
    }
}

/// `x` with the shape of `whole`, which `cond` and `x` broadcast to.
fn spread(b: &mut Builder<'_>, cond: Value, x: Value, whole: &TensorType) -> OpResult<Value> {
    if let (Some(tensor), Some(shape)) = (b.constant_of(x), whole.static_shape())
        && tensor.count() == 1
        && let Ok(element) = tensor.bytes()
        && let Ok(splat) = Tensor::splat(tensor.dtype(), &shape, &element)
    {
        return b.constant(splat);
    }
    // Nothing of the shape of the condition, joined with `x`, is `x` everywhere.
    if whole.dtype == DType::Bool {
        let other = LogicalNot {}.build(b, cond)?;
        let never = LogicalAnd {}.build(b, cond, other)?;
        return LogicalOr {}.build(b, never, x);
    }
    let mask = Cast { dtype: whole.dtype }.build(b, cond)?;
    let zero = b.scalar(whole.dtype, 0.0)?;
    let zeros = Mul {}.build(b, mask, zero)?;
    Add {}.build(b, zeros, x)
}
