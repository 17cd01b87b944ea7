//! The pipelines that commands run.

use mlc_diag::Diagnostics;
use mlc_pass::{Pipeline, Preset, preset};
use mlc_target::Opset;

use crate::rewriting::Rewriting;

/// The float type that the program computes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowing {
    /// `fp16` or `fp32`.
    pub to: &'static str,
    /// Ops that stay in single precision: op kinds, name globs, module paths.
    pub keep: Vec<String>,
    /// The version of Core ML that was asked for: some ops compute in half precision only from one on.
    pub target: Option<Opset>,
}

/// The passes that do not depend on the target: those of the preset or the user's own, and the
/// precision.
///
/// # Errors
/// The user's pipeline cannot be parsed, or has no use for the rules of files.
pub fn compose(
    level: Preset,
    own: Option<&str>,
    narrowing: &Narrowing,
    rewriting: &Rewriting,
) -> Result<Pipeline, Diagnostics> {
    let mut front = match own {
        Some(text) => Pipeline::parse_named(text, "--passes")?,
        None => preset(level)?,
    };
    rewriting.hand_to(&mut front, narrowing.target)?;
    let keep = narrowing.keep.iter().map(|k| format!("{k:?}")).collect::<Vec<_>>().join(",");
    let target = narrowing.target.map_or_else(String::new, |opset| format!(",target={opset}"));
    let precision = format!("precision{{to={},keep=[{keep}]{target}}}", narrowing.to);
    let tail = match level {
        Preset::O0 => precision,
        _ => format!("{precision},cleanup"),
    };
    Ok(front.then(Pipeline::parse(&tail)?))
}

/// The passes that make a program legal for `opset`.
///
/// # Errors
/// None for the passes of the project.
pub(crate) fn legalization(opset: Opset, level: Preset) -> Result<Pipeline, Diagnostics> {
    let text = match level {
        Preset::O0 => format!("legalize{{target={opset}}}"),
        _ => {
            format!("legalize{{target={opset}}},fix(identity-removal,fold,cse),dedup-consts,naming")
        }
    };
    Pipeline::parse(&text)
}
