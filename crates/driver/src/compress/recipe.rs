//! Recipes: which weights get which scheme.

use std::path::Path;

use mlc_compress::Scheme;
use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use serde::Deserialize;

/// Weights of at most so many elements stay as they are, unless a recipe says otherwise.
pub(super) const THRESHOLD: u64 = 2048;

/// A scheme for some weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Names of weights, kinds of ops that use them, module paths; all if empty.
    pub only: Vec<String>,
    /// The scheme; `None` leaves them as they are.
    pub scheme: Option<Scheme>,
    /// Weights of at most so many elements stay as they are.
    pub threshold: u64,
    /// Weights of more elements are not meant; 0 for no limit.
    pub limit: u64,
}

/// Rules, of which the first that names a weight counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recipe {
    /// In order.
    pub rules: Vec<Rule>,
    /// Whether scales are moved from what reaches a weight into the weight first; needs calibration.
    pub smooth: bool,
    /// Whether what reaches weights is quantized too, to 8 bits; needs calibration.
    pub activations: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What the weights that no rule names get.
    scheme: Option<String>,
    #[serde(default = "default_threshold")]
    threshold: u64,
    #[serde(default)]
    smooth: bool,
    /// Bits of activations: 8.
    activations: Option<u32>,
    #[serde(default)]
    rule: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileRule {
    only: Vec<String>,
    scheme: String,
    threshold: Option<u64>,
    #[serde(default)]
    limit: u64,
}

fn default_threshold() -> u64 {
    THRESHOLD
}

impl Recipe {
    /// These rules and nothing else.
    #[must_use]
    pub fn of(rules: Vec<Rule>) -> Self {
        Self { rules, ..Self::default() }
    }

    /// One scheme for all weights.
    #[must_use]
    pub fn uniform(scheme: Scheme) -> Self {
        let scheme = Some(scheme);
        let rules = vec![Rule { only: Vec::new(), scheme, threshold: THRESHOLD, limit: 0 }];
        Self { rules, ..Self::default() }
    }

    /// The recipe that `text` names: a scheme such as `w4-block32`, or a file `*.toml`. Behind a scheme
    /// `+smooth` moves scales into weights, `+a8` quantizes activations; `w8a8` is both with `w8`.
    ///
    /// # Errors
    /// It is neither, or the file is not a recipe.
    pub fn read(text: &str) -> Result<Self, Diagnostics> {
        if Path::new(text).extension().is_some_and(|e| e == "toml") {
            let content = std::fs::read_to_string(text).map_err(|error| {
                problem(text, codes::FILE_NOT_FOUND, format!("cannot be read: {error}"))
            })?;
            return Self::parse(text, &content);
        }
        let mut rest = if text == "w8a8" { "w8+smooth+a8" } else { text };
        let (mut smooth, mut activations) = (false, false);
        loop {
            if let Some(before) = rest.strip_suffix("+smooth") {
                (smooth, rest) = (true, before);
            } else if let Some(before) = rest.strip_suffix("+a8") {
                (activations, rest) = (true, before);
            } else {
                break;
            }
        }
        let scheme = rest.parse::<Scheme>().map_err(|error| {
            Diagnostic::new(codes::BAD_ARGUMENT, error.to_string())
                .at(Place::Argument("--recipe".into()))
                .help("name a scheme such as w8, w4-block32, lut4-g16 or prune-2:4+w8, or a file *.toml")
        })?;
        Ok(Self { smooth, activations, ..Self::uniform(scheme) })
    }

    /// The recipe of a file called `name`:
    ///
    /// ```toml
    /// scheme = "w8"            # what no rule names; left out: stays
    /// threshold = 2048
    /// smooth = true            # with calibration: scales move into weights
    /// activations = 8          # with calibration: what reaches weights is quantized too
    /// [[rule]]
    /// only = ["*embed*", "gather", "conv & shape=*x*x1x1 & elements>100000"]
    /// scheme = "lut4-g16"      # or "none"
    /// ```
    ///
    /// # Errors
    /// It is no such file, or names a scheme that is none.
    pub fn parse(name: &str, content: &str) -> Result<Self, Diagnostics> {
        let file: File = toml::from_str(content)
            .map_err(|error| problem(name, codes::BAD_ARGUMENT, error.message().to_owned()))?;
        let scheme = |text: &str| match text {
            "none" => Ok(None),
            text => text
                .parse::<Scheme>()
                .map(Some)
                .map_err(|error| problem(name, codes::BAD_ARGUMENT, error.to_string())),
        };
        let mut rules = Vec::new();
        for rule in &file.rule {
            rules.push(Rule {
                only: rule.only.clone(),
                scheme: scheme(&rule.scheme)?,
                threshold: rule.threshold.unwrap_or(file.threshold),
                limit: rule.limit,
            });
        }
        if let Some(text) = &file.scheme {
            let (scheme, threshold) = (scheme(text)?, file.threshold);
            rules.push(Rule { only: Vec::new(), scheme, threshold, limit: 0 });
        }
        if rules.is_empty() {
            let message = "the recipe has neither a `scheme` nor a `[[rule]]`".to_owned();
            return Err(problem(name, codes::BAD_ARGUMENT, message));
        }
        if file.activations.is_some_and(|bits| bits != 8) {
            let message = "activations are of 8 bits: `activations = 8`".to_owned();
            return Err(problem(name, codes::BAD_ARGUMENT, message));
        }
        Ok(Self { rules, smooth: file.smooth, activations: file.activations.is_some() })
    }

    /// Whether it asks for something that only runs of the model tell.
    #[must_use]
    pub fn needs_calibration(&self) -> bool {
        self.smooth || self.activations
    }

    /// The passes that carry it out, as a pipeline.
    #[must_use]
    pub fn pipeline(&self, min_snr: Option<f64>) -> String {
        let list = |names: &[String]| {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            format!("[{}]", names.join(","))
        };
        let mut calls = Vec::new();
        let mut skip: Vec<String> = Vec::new();
        for rule in &self.rules {
            if let Some(scheme) = &rule.scheme {
                let pass = match (&scheme.palette, &scheme.quantize) {
                    (Some(_), _) => "palettize-weights",
                    (None, Some(_)) => "quantize-weights",
                    (None, None) => "prune-weights",
                };
                let mut options = format!("scheme={:?}", scheme.to_string());
                if !rule.only.is_empty() {
                    options += &format!(",only={}", list(&rule.only));
                }
                if !skip.is_empty() {
                    options += &format!(",skip={}", list(&skip));
                }
                if rule.threshold != THRESHOLD {
                    options += &format!(",threshold={}", rule.threshold);
                }
                if rule.limit > 0 {
                    options += &format!(",limit={}", rule.limit);
                }
                if let Some(snr) = min_snr {
                    options += &format!(",min_snr={snr:?}");
                }
                calls.push(format!("{pass}{{{options}}}"));
            }
            // A rule that a size narrows leaves the others of its names to the rules behind it.
            if rule.limit == 0 {
                skip.extend(rule.only.iter().cloned());
            }
        }
        calls.join(",")
    }
}

fn problem(file: &str, code: mlc_diag::Code, message: String) -> Diagnostics {
    let place = Place::Entry { file: file.into(), entry: "".into() };
    Diagnostic::new(code, message).at(place).into()
}

#[cfg(test)]
mod tests {
    use super::Recipe;

    #[test]
    fn the_first_rule_counts() {
        let text = "scheme = \"w8\"\n[[rule]]\nonly = [\"*embed*\"]\nscheme = \"lut4-g16\"\n\
                    [[rule]]\nonly = [\"head\"]\nscheme = \"none\"\n";
        let recipe = Recipe::parse("a.toml", text).unwrap();
        let pipeline = recipe.pipeline(None);
        assert_eq!(
            pipeline,
            "palettize-weights{scheme=\"lut4-g16\",only=[\"*embed*\"]},\
             quantize-weights{scheme=\"w8\",skip=[\"*embed*\",\"head\"]}"
        );
    }

    #[test]
    fn recipes_that_make_no_sense_are_refused() {
        for text in ["", "scheme = \"w9\"", "shceme = \"w8\"", "[[rule]]\nscheme = \"w8\""] {
            assert!(Recipe::parse("a.toml", text).is_err(), "{text}");
        }
        assert!(Recipe::read("w8x").is_err());
        assert!(Recipe::parse("a.toml", "scheme = \"w8\"\nactivations = 4").is_err());
    }

    #[test]
    fn what_needs_calibration_stands_behind_a_scheme() {
        let recipe = Recipe::read("w4-block32+smooth").unwrap();
        assert!(recipe.smooth && !recipe.activations && recipe.needs_calibration());
        let both = Recipe::read("w8a8").unwrap();
        assert_eq!(both, Recipe::read("w8+a8+smooth").unwrap());
        assert_eq!(both.pipeline(None), "quantize-weights{scheme=\"w8\"}");
    }
}
