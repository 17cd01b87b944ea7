//! How far a case came.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use mlc_diag::{Diagnostic, Diagnostics};
use mlc_target::Opset;
use regex::Regex;

use crate::package::is_too_old;

/// What was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// Nothing.
    Nothing,
    /// The target lacks an op that the case needs.
    TooOld,
    /// It was converted.
    Converted,
    /// What was written can be read.
    Validated,
    /// The numbers agree.
    Matched,
}

/// What went wrong first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it is counted with: the code and the message without its numbers.
    pub group: String,
    /// All of it.
    pub text: String,
}

/// How far a case came for one target and precision.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was reached.
    pub reached: Reached,
    /// Why no more; none where the numbers agree.
    pub failure: Option<Failure>,
    /// The lowest version of Core ML that holds it, where known.
    pub needs: Option<Opset>,
    /// Ops of the result, constants not counted.
    pub ops: BTreeMap<&'static str, usize>,
    /// Casts among them that only give outputs the type that the source declares.
    pub output_casts: usize,
    /// What the result is modelled to cost, in picoseconds.
    pub cost: u64,
    /// The greatest difference over the greatest reference, of all outputs.
    pub relative: f64,
    /// Seconds that the conversion took.
    pub seconds: f64,
}

impl Outcome {
    /// Nothing reached, because of `failure`.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self {
            reached: Reached::Nothing,
            failure: Some(failure),
            needs: None,
            ops: BTreeMap::new(),
            output_casts: 0,
            cost: 0,
            relative: 0.0,
            seconds: 0.0,
        }
    }

    /// What `errors` mean: a failure, or a target that is too old.
    #[must_use]
    pub fn refused(errors: &Diagnostics) -> Self {
        let mut outcome = Self::failed(Failure::of(errors));
        if is_too_old(errors) {
            outcome.reached = Reached::TooOld;
            outcome.needs = needs(errors);
        }
        outcome
    }

    /// The same, stopped by `failure`.
    #[must_use]
    pub fn stopped(mut self, failure: Failure) -> Self {
        self.failure = Some(failure);
        self
    }
}

/// The latest version that the errors ask for.
fn needs(errors: &Diagnostics) -> Option<Opset> {
    let asked = |d: &Diagnostic| d.fix.as_ref()?.strip_prefix("--target ")?.parse::<Opset>().ok();
    errors.items().iter().filter_map(asked).max()
}

impl Failure {
    /// A failure without a diagnostic.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        let text = message.into();
        let head = text.lines().next().unwrap_or_default();
        Self {
            group: format!("{code}: {}", without_numbers(head)),
            text: format!("{code}: {text}"),
        }
    }

    /// The first error, and the text of all.
    #[must_use]
    pub fn of(errors: &Diagnostics) -> Self {
        let Some(first) = errors.items().iter().find(|d| d.is_error()) else {
            return Self::new("internal", "stopped without an error");
        };
        let text: Vec<String> = errors.items().iter().map(ToString::to_string).collect();
        let group = format!("{}: {}", first.code, without_numbers(&first.message));
        Self { group, text: text.join("\n") }
    }
}

/// `message` with its numbers, and lists of them, as `#`. Digits in words stay.
fn without_numbers(message: &str) -> String {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\b[0-9]+(?:[.x×][0-9]+)*(?:e[-+]?[0-9]+)?\b").expect("it is a constant")
    });
    static LIST: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("#(?:, #)+").expect("it is a constant"));
    LIST.replace_all(&NUMBER.replace_all(message, "#"), "#").into_owned()
}

#[cfg(test)]
mod tests {
    use super::without_numbers;

    #[test]
    fn messages_that_differ_in_numbers_are_one() {
        assert_eq!(
            without_numbers("`conv2d` of [1, 3, 2] is 1.5e-3 off"),
            "`conv2d` of [#] is # off"
        );
        assert_eq!(
            without_numbers("no lowering for `aten.conv1d`"),
            "no lowering for `aten.conv1d`"
        );
    }
}
