//! The pipelines that commands run.

use mlc_diag::Diagnostics;
use mlc_pass::{Pipeline, Preset, preset};
use mlc_target::Opset;

use crate::rewriting::Rewriting;

/// The float type that the program computes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Narrowing {
    /// `fp16` or `fp32`.
    pub(crate) to: &'static str,
    /// Ops that stay in single precision: op kinds, name globs, module paths.
    pub(crate) keep: Vec<String>,
    /// Ranges of inputs and values, as `name=lo..hi`.
    pub(crate) ranges: Vec<String>,
    /// How near to zero what is guarded against it comes, as `name=least`.
    pub(crate) least: Vec<String>,
    /// The version of Core ML that was asked for: some ops compute in half precision only from one on.
    pub(crate) target: Option<Opset>,
    /// Whether to clean up afterwards.
    pub(crate) level: Preset,
}

/// The passes before `precision`: those of the preset or the user's own.
///
/// # Errors
/// The user's pipeline cannot be parsed, or has no use for the rules of files.
pub(crate) fn front(
    level: Preset,
    own: Option<&str>,
    target: Option<Opset>,
    rewriting: &Rewriting,
) -> Result<Pipeline, Diagnostics> {
    let mut front = match own {
        Some(text) => Pipeline::parse_named(text, "--passes")?,
        None => preset(level)?,
    };
    rewriting.hand_to(&mut front, target)?;
    Ok(front)
}

/// The passes that choose float types.
///
/// # Errors
/// A selector or a range has no text form.
pub(crate) fn narrowing(narrowing: &Narrowing) -> Result<Pipeline, Diagnostics> {
    let list = |texts: &[String]| {
        texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(",")
    };
    let keep = list(&narrowing.keep);
    let option = |name: &str, texts: &[String]| match texts {
        [] => String::new(),
        texts => format!(",{name}=[{}]", list(texts)),
    };
    let ranges = option("ranges", &narrowing.ranges);
    let least = option("least", &narrowing.least);
    let target = narrowing.target.map_or_else(String::new, |opset| format!(",target={opset}"));
    let precision =
        format!("precision{{to={},keep=[{keep}]{ranges}{least}{target}}}", narrowing.to);
    Pipeline::parse(&match narrowing.level {
        Preset::O0 => precision,
        _ => format!("{precision},cleanup"),
    })
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
