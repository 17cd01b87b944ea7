//! The pass `dce`.

use mlc_ir::{Program, remove_unused};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

/// Removes ops whose results nobody uses and that change no state.
///
/// The manager does the same after each pass that changed something; by name it is for programs that
/// come with dead ops.
///
/// ```mlc before
/// func @f(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
///   %1 = exp %x
///   %y = abs %x
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
///   %y = abs %x
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dce {}

impl Pass for Dce {
    fn name(&self) -> &'static str {
        "dce"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut removed = 0;
        for func in cx.functions(program) {
            removed += remove_unused(&mut program.functions[func]);
        }
        cx.count("removed", removed as u64);
        Ok(Changed::from(removed > 0))
    }
}
