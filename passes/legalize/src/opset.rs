//! The pass `opset`.

use mlc_diag::Diagnostics;
use mlc_ir::Program;
use mlc_pass::{Changed, Pass, PassCx, Phase, Property, Result};
use mlc_target::Target;
use serde::{Deserialize, Serialize};

use crate::choose;
use crate::requirement::{problems, required_opset};

/// Checks that `target` takes every op, argument, input, output and state; without `target`, that some
/// target does. Everything that it does not take is an error with the target that does. The program
/// stays as it is.
///
/// ```mlc before
/// func @f(%x: tensor<2xf32>) -> tensor<2xf32> {
///   %y = exp %x
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2xf32>) -> tensor<2xf32> {
///   %y = exp %x
///   return %y
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsetCheck {
    /// The system it is for, such as `ios17`; the lowest one that holds the program if none is named.
    target: Option<String>,
}

impl Pass for OpsetCheck {
    fn name(&self) -> &'static str {
        "opset"
    }

    fn phase(&self) -> Phase {
        Phase::Legalize
    }

    fn requires(&self) -> &'static [Property] {
        &[crate::CORE_DTYPES, crate::LOW_RANKS]
    }

    fn is_required(&self) -> bool {
        true
    }

    fn run(&self, program: &mut Program, _: &mut PassCx) -> Result<Changed> {
        let Some(name) = &self.target else {
            required_opset(program)?;
            return Ok(Changed::No);
        };
        let opset = choose::opset(program, Some(name))?;
        let label = name.parse::<Target>().map_or_else(|_| opset.label(), Target::label);
        let found: Diagnostics = problems(program, opset)
            .into_iter()
            .map(|problem| problem.diagnostic(Some(&label)))
            .collect();
        if found.has_errors() { Err(found.into()) } else { Ok(Changed::No) }
    }
}
