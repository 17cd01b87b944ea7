//! A driver of one's own: `mlc` with one more pass, `double-relu-removal`, and with a lowering of an op
//! of one's own, `mylib::scaled_silu`.
//!
//! `cargo run -p mlc-cli --example custom_driver -- passes` lists the pass beside those of the project,
//! `… -- ops --from torch` the op.

use std::process::ExitCode;

use mlc_driver::Lowering;
use mlc_ir::ops::{Mul, Sigmoid};
use mlc_ir::{Action, Op, Rewriter};
use mlc_pass::{Changed, Pass, PassCx, PassEntry, PassList, Phase};
use mlc_torch::lower::Cx;
use mlc_torch::lower::call::Call;
use mlc_torch::lower::error::LowerResult;
use mlc_torch::lower::value::{Scalar, Val};
use serde::{Deserialize, Serialize};

/// Replaces `relu(relu(x))` by `relu(x)`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DoubleReluRemoval {}

impl Pass for DoubleReluRemoval {
    fn name(&self) -> &'static str {
        "double-relu-removal"
    }

    fn phase(&self) -> Phase {
        Phase::Canonical
    }

    fn run(&self, program: &mut mlc_ir::Program, cx: &mut PassCx) -> mlc_pass::Result<Changed> {
        let mut changed = Changed::No;
        for func in cx.functions(program) {
            let name = Some(self.name());
            let one = Rewriter::run::<mlc_pass::PassError>(program, func, name, &mut |b, node| {
                let function = b.function();
                let data = &function.nodes[node];
                let operand = data.operands.slot(0).first().copied();
                let inner = operand.and_then(|x| function.def(x)).map(|(_, inner)| &inner.op);
                match (&data.op, inner, operand) {
                    (Op::Relu(_), Some(Op::Relu(_)), Some(x)) => Ok(Action::Replace(vec![x])),
                    _ => Ok(Action::Keep),
                }
            })?;
            changed = changed.or(one.into());
        }
        Ok(changed)
    }
}

const PASSES: PassList =
    PassList { passes: &[PassEntry::of::<DoubleReluRemoval>("No relu of a relu.")], aliases: &[] };

const LOWERINGS: &[Lowering] = &[Lowering { name: "mylib.scaled_silu", lower: scaled_silu }];

/// `mylib::scaled_silu(x, scale) = scale · x · sigmoid(x)`
fn scaled_silu(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let tensor = call.tensor("x")?;
    let scale = call.float_or("scale", 1.0)?;
    let dtype = cx.dtype(tensor)?;
    let x = cx.read(tensor)?;
    let gate = cx.unary(Sigmoid {}, x)?;
    let silu = cx.binary(Mul {}, x, gate)?;
    let scale = cx.number(&Scalar::Float(scale), dtype)?;
    let scaled = cx.binary(Mul {}, silu, scale)?;
    cx.one(scaled)
}

fn main() -> ExitCode {
    mlc_cli::main(&[PASSES], &[LOWERINGS])
}
