//! A driver of one's own: `mlc` with one more pass, `double-relu-removal`.
//!
//! `cargo run -p mlc-cli --example custom_driver -- passes` lists it beside those of the project.

use std::process::ExitCode;

use mlc_ir::{Action, Op, Rewriter};
use mlc_pass::{Changed, Pass, PassCx, PassEntry, PassList, Phase};
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

fn main() -> ExitCode {
    mlc_cli::main(&[PASSES])
}
