//! The pipelines that commands run.

use mlc_diag::Diagnostics;
use mlc_pass::{Item, OptionValue, Pipeline, Preset, preset};
use mlc_target::Opset;

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
/// The user's pipeline cannot be parsed.
pub fn compose(
    level: Preset,
    own: Option<&str>,
    narrowing: &Narrowing,
) -> Result<Pipeline, Diagnostics> {
    let front = match own {
        Some(text) => Pipeline::parse_named(text, "--passes")?,
        None => {
            let mut preset = preset(level)?;
            if let Some(opset) = narrowing.target {
                aim(&mut preset.items, opset);
            }
            preset
        }
    };
    let keep = narrowing.keep.iter().map(|k| format!("{k:?}")).collect::<Vec<_>>().join(",");
    let target = narrowing.target.map_or_else(String::new, |opset| format!(",target={opset}"));
    let precision = format!("precision{{to={},keep=[{keep}]{target}}}", narrowing.to);
    let tail = match level {
        Preset::O0 => precision,
        _ => format!("{precision},cleanup"),
    };
    Ok(front.then(Pipeline::parse(&tail)?))
}

/// Tells passes that may make newer ops for a newer version which one was asked for. Without one they
/// make only what every version has: the version that is chosen then is not raised by them.
fn aim(items: &mut [Item], opset: Opset) {
    for item in items {
        match item {
            Item::Pass(call) if call.name == "egraph" => {
                let target = OptionValue::Text(opset.to_string());
                call.options.entry("target".to_owned()).or_insert(target);
            }
            Item::Pass(_) => {}
            Item::Fix(items) | Item::Func(_, items) => aim(items, opset),
        }
    }
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
