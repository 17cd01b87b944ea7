//! The opset that is legalized for.

use mlc_diag::{Diagnostic, codes};
use mlc_ir::Program;
use mlc_pass::Result;
use mlc_target::{Opset, Target};

use crate::requirement::problems;
use crate::{legal_dtypes, older_ops};

/// The opset of target `name`, or the lowest one that `program` can be rewritten for; the newest, if
/// it cannot be for any.
///
/// # Errors
/// `unknown-target`, or a rewrite that fails.
pub(crate) fn opset(program: &Program, name: Option<&str>) -> Result<Opset> {
    if let Some(name) = name {
        let parsed = name.parse::<Target>();
        return Ok(parsed
            .map_err(|e| Diagnostic::new(codes::UNKNOWN_TARGET, e.to_string()))?
            .opset());
    }
    for opset in Opset::ALL {
        if problems(program, opset).is_empty() {
            return Ok(opset);
        }
        let mut rewritten = program.clone();
        for func in program.func_ids() {
            older_ops::rewrite(&mut rewritten, func, opset)?;
            legal_dtypes::rewrite(&mut rewritten, func, opset)?;
        }
        if problems(&rewritten, opset).is_empty() {
            return Ok(opset);
        }
    }
    Ok(Opset::Ios26)
}
