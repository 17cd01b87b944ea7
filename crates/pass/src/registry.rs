//! Passes by name.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, Diagnostics, codes, nearest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::options::{OptionError, Options, build, defaults, unknown};
use crate::pass::Pass;
use crate::pipeline::{PassCall, Pipeline};

type Make = fn(&Options) -> Result<Box<dyn Pass>, Vec<OptionError>>;

/// A pass as its crate lists it.
#[derive(Clone, Copy)]
pub struct PassEntry {
    make: Make,
    probe: fn() -> Box<dyn Pass>,
    defaults: fn() -> serde_json::Map<String, serde_json::Value>,
    path: fn() -> &'static str,
    summary: &'static str,
    source: &'static str,
}

impl PassEntry {
    /// The pass `P`, with a line that says what is new after it.
    #[must_use]
    pub const fn of<P>(summary: &'static str) -> Self
    where
        P: Pass + Default + Serialize + DeserializeOwned + 'static,
    {
        Self {
            make: make::<P>,
            probe: probe::<P>,
            defaults: defaults::<P>,
            path: std::any::type_name::<P>,
            summary,
            source: "",
        }
    }

    /// The same with the text of its source file, whose documentation `mlc explain` prints.
    #[must_use]
    pub const fn source(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }
}

impl PassEntry {
    fn options(&self) -> Vec<ListedOption> {
        let docs = fields(self.source);
        let listed = |(name, default): (String, _)| {
            let doc = docs.get(name.as_str()).cloned().unwrap_or_default();
            ListedOption { name, doc, default }
        };
        (self.defaults)().into_iter().map(listed).collect()
    }
}

fn make<P: Pass + Default + Serialize + DeserializeOwned + 'static>(
    options: &Options,
) -> Result<Box<dyn Pass>, Vec<OptionError>> {
    Ok(Box::new(build::<P>(options)?))
}

fn probe<P: Pass + Default + 'static>() -> Box<dyn Pass> {
    Box::new(P::default())
}

/// A name for a pipeline. Its options go to each pass in it that has an option of that name.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// The name.
    pub name: &'static str,
    /// What it stands for.
    pub pipeline: &'static str,
    /// A line that says what is new after it.
    pub summary: &'static str,
}

/// What a crate of passes exports.
#[derive(Clone, Copy)]
pub struct PassList {
    /// Its passes.
    pub passes: &'static [PassEntry],
    /// Names for pipelines of them.
    pub aliases: &'static [Alias],
}

/// A pass or an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListedKind {
    /// A pass.
    Pass,
    /// A name for a pipeline.
    Alias,
}

/// An option in a listing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListedOption {
    /// Its name.
    pub name: String,
    /// What it means, from the documentation of its field.
    pub doc: String,
    /// What holds when it is not given, as JSON.
    pub default: serde_json::Value,
}

/// A row of `mlc passes`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// Its name in pipelines.
    pub name: String,
    /// Pass or alias.
    pub kind: ListedKind,
    /// Where it may stand; empty for aliases.
    pub phase: &'static str,
    /// A line that says what is new after it.
    pub summary: &'static str,
    /// Its documentation, Markdown; of an alias, its pipeline.
    pub doc: String,
    /// Options with defaults; of an alias, those that a pass in it has.
    pub options: Vec<ListedOption>,
    /// Name of the crate it comes from; empty for aliases.
    pub origin: String,
}

/// Passes and aliases by name, from explicit lists.
pub struct Registry {
    passes: BTreeMap<&'static str, PassEntry>,
    aliases: BTreeMap<&'static str, (Alias, Pipeline)>,
}

impl Registry {
    /// A registry of these lists.
    ///
    /// # Errors
    /// `internal`: a name stands twice, or an alias is not a pipeline of known passes.
    pub fn new(lists: &[PassList]) -> Result<Self, Diagnostics> {
        let mut this = Self { passes: BTreeMap::new(), aliases: BTreeMap::new() };
        let mut found = Diagnostics::new();
        let twice =
            |name: &str| Diagnostic::new(codes::INTERNAL, format!("two passes are named `{name}`"));
        for list in lists {
            for entry in list.passes {
                let name = (entry.probe)().name();
                if this.passes.insert(name, *entry).is_some() {
                    found.push(twice(name));
                }
            }
            for alias in list.aliases {
                match Pipeline::parse_named(alias.pipeline, alias.name) {
                    Ok(pipeline) => {
                        let old = this.aliases.insert(alias.name, (*alias, pipeline));
                        if old.is_some() || this.passes.contains_key(alias.name) {
                            found.push(twice(alias.name));
                        }
                    }
                    Err(errors) => found.extend(errors),
                }
            }
        }
        for (alias, pipeline) in this.aliases.values() {
            for name in pipeline.names() {
                // Aliases name passes alone, so that expanding them ends.
                if !this.passes.contains_key(name) {
                    let message = format!("alias `{}` names no pass `{name}`", alias.name);
                    found.push(Diagnostic::new(codes::INTERNAL, message));
                }
            }
        }
        if found.is_empty() { Ok(this) } else { Err(found) }
    }

    /// Whether there is a pass or alias of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.passes.contains_key(name) || self.aliases.contains_key(name)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.passes.keys().chain(self.aliases.keys()).copied()
    }

    /// `unknown-pass` for `name`, with the nearest names.
    #[must_use]
    pub fn unknown_pass(&self, name: &str) -> Diagnostic {
        let near = nearest(name, self.names());
        let help = if near.is_empty() {
            "`mlc passes` lists them".to_owned()
        } else {
            format!("did you mean {}?", quoted(&near))
        };
        Diagnostic::new(codes::UNKNOWN_PASS, format!("no pass is named `{name}`")).help(help)
    }

    /// The pipeline that an alias stands for, with options handed on. `None` for a pass.
    pub(crate) fn expand(&self, call: &PassCall) -> Option<Result<Pipeline, Diagnostics>> {
        let (_, pipeline) = self.aliases.get(call.name.as_str())?;
        let known: Vec<String> =
            self.alias_options(pipeline).into_iter().map(|option| option.name).collect();
        let mut found = Diagnostics::new();
        for name in call.options.keys().filter(|name| !known.contains(name)) {
            let error = unknown(name, known.iter().map(String::as_str));
            found.push(option_diagnostic(&call.name, &error));
        }
        if !found.is_empty() {
            return Some(Err(found));
        }
        let mut pipeline = pipeline.clone();
        self.hand_on(&mut pipeline.items, &call.options);
        Some(Ok(pipeline))
    }

    fn hand_on(&self, items: &mut [crate::Item], options: &Options) {
        for item in items {
            match item {
                crate::Item::Pass(call) => {
                    let Some(entry) = self.passes.get(call.name.as_str()) else { continue };
                    let own = (entry.defaults)();
                    for (name, value) in options {
                        if own.contains_key(name) {
                            call.options.insert(name.clone(), value.clone());
                        }
                    }
                }
                crate::Item::Fix(items) | crate::Item::Func(_, items) => {
                    self.hand_on(items, options);
                }
            }
        }
    }

    fn alias_options(&self, pipeline: &Pipeline) -> Vec<ListedOption> {
        let mut options: Vec<ListedOption> = Vec::new();
        for entry in pipeline.names().iter().filter_map(|name| self.passes.get(name)) {
            for option in entry.options() {
                if options.iter().all(|known| known.name != option.name) {
                    options.push(option);
                }
            }
        }
        options
    }

    /// The pass of a call.
    ///
    /// # Errors
    /// `unknown-pass`, `unknown-option` and `bad-pipeline`, all there are.
    pub fn make(&self, call: &PassCall) -> Result<Box<dyn Pass>, Diagnostics> {
        let Some(entry) = self.passes.get(call.name.as_str()) else {
            return Err(self.unknown_pass(&call.name).into());
        };
        (entry.make)(&call.options)
            .map_err(|errors| errors.iter().map(|e| option_diagnostic(&call.name, e)).collect())
    }

    /// Everything there is, aliases after passes, each in order of name.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let passes = self.passes.iter().map(|(name, entry)| Listed {
            name: (*name).to_owned(),
            kind: ListedKind::Pass,
            phase: (entry.probe)().phase().as_str(),
            summary: entry.summary,
            doc: documentation(entry.source),
            options: entry.options(),
            origin: (entry.path)().split("::").next().unwrap_or_default().replace('_', "-"),
        });
        let aliases = self.aliases.values().map(|(alias, pipeline)| Listed {
            name: alias.name.to_owned(),
            kind: ListedKind::Alias,
            phase: "",
            summary: alias.summary,
            doc: format!("Stands for `{pipeline}`."),
            options: self.alias_options(pipeline),
            origin: String::new(),
        });
        passes.chain(aliases).collect()
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn option_diagnostic(pass: &str, error: &OptionError) -> Diagnostic {
    match error {
        OptionError::Unknown { name, nearest, known } => {
            let message = format!("`{pass}` has no option `{name}`");
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let note = if known.is_empty() {
                "it has no options".to_owned()
            } else {
                format!("its options are {}", quoted(&known))
            };
            let diagnostic = Diagnostic::new(codes::UNKNOWN_OPTION, message).note(note);
            match nearest.first() {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic,
            }
        }
        OptionError::BadValue { name, message } => {
            let message = format!("option `{name}` of `{pass}`: {message}");
            Diagnostic::new(codes::BAD_PIPELINE, message)
        }
    }
}

/// The documentation comment of the public struct of a source file.
fn documentation(source: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("///") {
            lines.push(text.strip_prefix(' ').unwrap_or(text));
        } else if line.starts_with("pub struct ") {
            return lines.join("\n");
        } else if !line.starts_with("#[") {
            lines.clear();
        }
    }
    String::new()
}

/// The documentation of the fields of the public struct of a source text, a line each.
fn fields(source: &str) -> BTreeMap<&str, String> {
    let mut found = BTreeMap::new();
    let mut doc: Vec<&str> = Vec::new();
    let inside = source.lines().skip_while(|line| !line.starts_with("pub struct "));
    for line in inside.skip(1).take_while(|line| !line.starts_with('}')).map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.trim());
        } else if let Some((name, _)) = line.split_once(':') {
            found.insert(name.trim_start_matches("pub "), doc.join(" "));
            doc.clear();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{documentation, fields};

    #[test]
    fn documentation_of_options_is_that_of_the_fields() {
        let source = "pub struct B {\n    /// One\n    /// two.\n    a: u8,\n    b: u8,\n}\n";
        let found = fields(source);
        assert_eq!((found["a"].as_str(), found["b"].as_str()), ("One two.", ""));
        assert!(fields("pub struct A {}\n\nimpl A {\n").is_empty());
    }

    #[test]
    fn documentation_is_that_of_the_public_struct() {
        let source = "//! Module.\n\n/// Helper.\nstruct A;\n\n/// One.\n///\n/// Two.\n#[derive(Debug)]\npub struct B {}\n";
        assert_eq!(documentation(source), "One.\n\nTwo.");
        assert_eq!(documentation("fn f() {}"), "");
    }
}
