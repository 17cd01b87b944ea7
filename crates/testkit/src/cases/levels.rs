//! Whether two optimization levels compute the same.

use mlc_driver::Preset;
use mlc_eval::Array;
use mlc_ir::Program;

use super::compare::relative;
use super::outcome::Failure;
use super::run::{Work, in_call};
use crate::package::Silent;

/// How far two levels may be apart: the greatest difference of an output over its greatest element. In single
/// precision rounding alone is a hundredth of this for each operation that is ordered otherwise.
pub const MOST: f64 = 1e-5;

/// Converts the case of `work` at `level`, and compares what it computes with what `program` does, for every call
/// of the references and the states after it. The greatest relative difference.
pub(super) fn agree(work: &Work<'_>, program: &Program, level: Preset) -> Result<f64, Failure> {
    let folder = tempfile::tempdir().map_err(|e| Failure::new("internal", e.to_string()))?;
    let output = folder.path().join("other.mlc");
    let mut options = work.options(&output);
    options.preset = level;
    let level = level.name();
    let at_level = |errors: &_| {
        let failure = Failure::of(errors);
        Failure { group: format!("at {level}: {}", failure.group), ..failure }
    };
    work.driver.convert(&options, &mut Silent).map_err(|errors| at_level(&errors))?;
    let other = work.driver.load(&output, None).map_err(|errors| at_level(&errors))?.program;
    let results = (results(work, program)?, results(work, &other)?);
    let mut worst = 0f64;
    for ((call, ours), (_, theirs)) in results.0.iter().zip(&results.1) {
        for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let apart = relative(ours, theirs).map_err(|error| Failure::new("levels", error))?;
            if apart > MOST {
                let text = format!("levels differ: by {apart:.1e} from {level}, result {index}");
                return Err(in_call(call, &text));
            }
            worst = worst.max(apart);
        }
    }
    Ok(worst)
}

/// For each call its name, outputs, and states after it.
fn results(work: &Work<'_>, program: &Program) -> Result<Vec<(String, Vec<Array>)>, Failure> {
    let mut results = Vec::new();
    work.each_call(program, &mut |call, outputs, states| {
        let all = outputs.iter().chain(states.values()).cloned().collect();
        results.push((call.name.clone(), all));
        Ok(())
    })?;
    Ok(results)
}
