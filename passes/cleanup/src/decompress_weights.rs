//! The pass `decompress-weights`.

use mlc_diag::{Diagnostic, codes};
use mlc_ir::{Action, Program, Rewriter, Trait};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Result, Selector};
use mlc_tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Stored weights are plain constants: what their ops decode to.
///
/// ```mlc before
/// func @f(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
///   %q = const [[1, 2], [3, 4]] : tensor<2x2xi8>
///   %s = const [[0.5], [2.0]] : tensor<2x1xf32>
///   %w = constexpr_blockwise_shift_scale %q, %s
///   %y = add %x, %w
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
///   %w = const [[0.5, 1.0], [6.0, 8.0]] : tensor<2x2xf32>
///   %y = add %x, %w
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecompressWeights {
    /// Stored weights that become plain: names, kinds of the ops that decode them, module paths; all
    /// if empty.
    only: Vec<String>,
}

impl Pass for DecompressWeights {
    fn name(&self) -> &'static str {
        "decompress-weights"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let only: Vec<Selector> = self.only.iter().map(Selector::new).collect();
        let mut changed = false;
        let mut count = 0;
        for func in cx.functions(program) {
            changed |=
                Rewriter::run::<PassError>(program, func, Some(self.name()), &mut |b, node| {
                    let data = &b.function().nodes[node];
                    let named = || only.iter().any(|one| one.names(b.program, b.function(), node));
                    if !data.op.spec().traits.has(Trait::Constexpr) || !(only.is_empty() || named())
                    {
                        return Ok(Action::Keep);
                    }
                    let mut slots: Vec<Vec<Tensor>> = Vec::new();
                    for slot in 0..data.operands.slots() {
                        let values = data.operands.slot(slot).iter();
                        let constants: Option<Vec<Tensor>> =
                            values.map(|&value| b.constant_of(value).cloned()).collect();
                        let Some(constants) = constants else { return Ok(Action::Keep) };
                        slots.push(constants);
                    }
                    let decoded = mlc_eval::fold(&data.op, &slots).map_err(|error| {
                        let message = format!("a stored weight cannot be decoded: {error}");
                        let loc = b.program.loc(data.loc).clone();
                        Diagnostic::new(codes::EVALUATION, message).at_op(&loc)
                    })?;
                    count += 1;
                    let mut values = Vec::new();
                    for tensor in decoded {
                        values.push(b.constant(tensor)?);
                    }
                    Ok(Action::Replace(values))
                })?;
        }
        cx.count("decoded", count);
        Ok(Changed::from(changed))
    }
}
