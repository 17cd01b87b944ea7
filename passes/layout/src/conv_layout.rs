//! The pass `conv-layout`.

use mlc_ir::{Action, Op, OpError, Program, Rewriter};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

use crate::lifted::{Images, is_sequence};
use crate::on_images::visit;

/// Computes on sequences `[b, s, c]` as on images `[b, c, 1, s]`, and on images whose channels come last as on
/// ones whose channels come first: a `linear` is a convolution with a window
/// of one element, as the neural engine has it. Done where a function has `least` of them.
///
/// ```mlc before
/// func @f(%x: tensor<1x8x2xf32>) -> tensor<1x8x2xf32> {
///   %v = const [[1.0, 2.0], [3.0, 4.0]] : tensor<2x2xf32>
///   %1 = linear %x, %v
///   %2 = relu %1
///   %y = linear %2, %v
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<1x8x2xf32>) -> tensor<1x8x2xf32> {
///   %1 = transpose %x {perm = [0, 2, 1]}
///   %2 = expand_dims %1 {axes = [2]}
///   %v = const [[[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]]] : tensor<2x2x1x1xf32>
///   %3 = conv %2, %v {strides = [1, 1], pad = [0, 0, 0, 0], dilations = [1, 1]}
///   %4 = relu %3
///   %w = const [[[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]]] : tensor<2x2x1x1xf32>
///   %5 = conv %4, %w {strides = [1, 1], pad = [0, 0, 0, 0], dilations = [1, 1]}
///   %6 = squeeze %5 {axes = [2]}
///   %y = transpose %6 {perm = [0, 2, 1]}
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConvLayout {
    /// Fewest `linear` on sequences that a function has.
    least: usize,
}

impl Default for ConvLayout {
    fn default() -> Self {
        Self { least: 2 }
    }
}

impl Pass for ConvLayout {
    fn name(&self) -> &'static str {
        "conv-layout"
    }

    fn phase(&self) -> Phase {
        Phase::Optimize
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let (mut changed, mut convs) = (false, 0);
        for func in cx.functions(program) {
            let function = &program.functions[func];
            let (body, mut count) = (function.body, 0);
            for &node in &function.regions[body].nodes {
                let data = &function.nodes[node];
                let is_linear = matches!(data.op, Op::Linear(_));
                let x = is_linear.then(|| function.ty(data.operands.all()[0]).as_tensor());
                count += usize::from(x.flatten().is_some_and(is_sequence));
            }
            if count < self.least {
                continue;
            }
            let mut images = Images::default();
            changed |=
                Rewriter::run::<OpError>(program, func, Some(self.name()), &mut |b, node| {
                    // What regions compute is left as it is.
                    if b.region != body {
                        return Ok(Action::Keep);
                    }
                    let old = b.results(node).to_vec();
                    let Some(values) = visit(b, node, &mut images)? else {
                        return Ok(Action::Keep);
                    };
                    // Of equal extents that have two names, inference may have taken the other.
                    if old.iter().zip(&values).any(|(&old, &new)| b.ty(old) != b.ty(new)) {
                        return Ok(Action::Keep);
                    }
                    convs += u64::from(matches!(b.function().nodes[node].op, Op::Linear(_)));
                    Ok(Action::Replace(values))
                })?;
        }
        cx.count("linear as conv", convs);
        Ok(Changed::from(changed))
    }
}
