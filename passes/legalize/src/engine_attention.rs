//! The pass `engine-attention`.

use mlc_ir::ops::Op;
use mlc_ir::{Action, Builder, Program, Rewriter, Value};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Result};
use serde::{Deserialize, Serialize};

use crate::spell::{Parts, attention};

/// Spells `scaled_dot_product_attention` as products and a softmax where operands are transposes of their last two
/// axes, as those of images of sequences are: products take their operands either way, so that the transposes
/// go. Part of `--layout ane`; engines have the products.
///
/// ```mlc before
/// func @f(%q: tensor<1x4x2xf32>, %k: tensor<1x4x3xf32>, %v: tensor<1x4x3xf32>) -> tensor<1x4x2xf32> {
///   %1 = transpose %q {perm = [0, 2, 1]}
///   %2 = transpose %k {perm = [0, 2, 1]}
///   %3 = transpose %v {perm = [0, 2, 1]}
///   %4 = scaled_dot_product_attention %1, %2, %3
///   %y = transpose %4 {perm = [0, 2, 1]}
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%q: tensor<1x4x2xf32>, %k: tensor<1x4x3xf32>, %v: tensor<1x4x3xf32>) -> tensor<1x4x2xf32> {
///   %1 = mul %q, 0.5
///   %2 = matmul %1, %k {transpose_x = true}
///   %3 = softmax %2
///   %4 = matmul %v, %3 {transpose_y = true}
///   %5 = transpose %4 {perm = [0, 2, 1]}
///   %y = transpose %5 {perm = [0, 2, 1]}
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineAttention {}

impl Pass for EngineAttention {
    fn name(&self) -> &'static str {
        "engine-attention"
    }

    fn phase(&self) -> Phase {
        Phase::Optimize
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut spelled = 0;
        for func in cx.functions(program) {
            Rewriter::run::<PassError>(program, func, Some(self.name()), &mut |b, node| {
                let data = &b.function().nodes[node];
                if !matches!(data.op, Op::ScaledDotProductAttention(_)) {
                    return Ok(Action::Keep);
                }
                let operands = data.operands.all().to_vec();
                let [query, key, value, mask @ ..] = &operands[..] else {
                    return Ok(Action::Keep);
                };
                let turned = [query, key, value].map(|&value| turned(b, value));
                if turned.iter().flatten().count() < 2 {
                    return Ok(Action::Keep);
                }
                let part = |at: usize| (turned[at].unwrap_or(operands[at]), turned[at].is_some());
                let parts = Parts {
                    query: part(0),
                    key: part(1),
                    value: part(2),
                    mask: mask.first().copied(),
                };
                let Some(value) = attention(b, &parts)? else { return Ok(Action::Keep) };
                spelled += 1;
                Ok(Action::Replace(vec![value]))
            })?;
        }
        cx.count("attention as products", spelled);
        Ok(Changed::from(spelled > 0))
    }
}

/// What `value` is a transpose of, if only its last two axes are swapped.
fn turned(b: &Builder<'_>, value: Value) -> Option<Value> {
    let (_, data) = b.function().def(value)?;
    let Op::Transpose(op) = &data.op else { return None };
    op.is_of_last_two().then(|| data.operands.all()[0])
}
