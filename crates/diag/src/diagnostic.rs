//! One problem, and collections of them.

use std::fmt;

use crate::codes::Code;
use crate::loc::{Loc, Place};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Information the user should see.
    Note,
    /// The result stands but deserves a look.
    Warning,
    /// No result.
    Error,
}

impl Severity {
    /// `note`, `warning` or `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A set of codes that flags can name at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Usage, input and format problems.
    Input,
    /// Ops, attributes, types that have no exact lowering.
    Semantics,
    /// Properties of the emitted package.
    Package,
    /// Numbers: overflow, narrowing, mismatches.
    Numerics,
    /// Core ML versions.
    Target,
    /// States.
    State,
}

impl Group {
    /// The name that `-A`, `-W` and `-D` take.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Semantics => "semantics",
            Self::Package => "package",
            Self::Numerics => "numerics",
            Self::Target => "target",
            Self::State => "state",
        }
    }
}

/// What the exit code of the process says when an error of this class stopped it.
///
/// The order is the order of precedence: with several classes the smallest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExitClass {
    /// Bad flag, unknown pass or target, output exists: exit 2.
    Usage,
    /// Input cannot be read, output directory cannot be written: exit 3.
    Input,
    /// Semantics without an exact lowering: exit 4.
    Unsupported,
    /// Target or placement requirement unmet: exit 5.
    Target,
    /// A cap on memory, time or disk was hit: exit 6.
    Resource,
    /// An honest "no": exit 1.
    No,
    /// A fault of the compiler: exit 70.
    Internal,
}

impl ExitClass {
    /// The exit code of the process.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Input => 3,
            Self::Unsupported => 4,
            Self::Target => 5,
            Self::Resource => 6,
            Self::No => 1,
            Self::Internal => 70,
        }
    }
}

/// One problem: what, where, why and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which kind of problem.
    pub code: Code,
    /// How bad it is here.
    pub severity: Severity,
    /// First line: the values and what is wrong with them, lower case, no full stop.
    pub message: String,
    /// Where; several when the same problem was found at several places.
    pub places: Vec<Place>,
    /// Facts that explain it.
    pub notes: Vec<String>,
    /// What the user can do.
    pub help: Option<String>,
    /// A flag or pipeline fragment that `mlc` accepts as it stands.
    pub fix: Option<String>,
}

impl Diagnostic {
    /// A problem of `code` at that code's own severity.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.info().severity,
            message: message.into(),
            places: Vec::new(),
            notes: Vec::new(),
            help: None,
            fix: None,
        }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    /// Adds the place of an op, unless nothing is known of it.
    #[must_use]
    pub fn at_op(self, loc: &Loc) -> Self {
        if loc.is_unknown() { self } else { self.at(Place::Op(loc.clone())) }
    }

    /// Adds a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Sets what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets the fragment that would help as it stands.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Whether it stops the command.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    /// The plain form, with at most three places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity.as_str(), self.code, self.message)?;
        for place in self.places.iter().take(3) {
            write!(f, "\n  --> {place}")?;
        }
        if self.places.len() > 3 {
            write!(f, "\n  --> and {} more places", self.places.len() - 3)?;
        }
        for note in &self.notes {
            write!(f, "\n  = note: {note}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  = help: {help}")?;
        }
        Ok(())
    }
}

/// All problems of a stage, grouped by cause.
///
/// Problems with equal code, severity, message, notes and help become one with several places, in
/// the order in which their causes were first seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
    index: std::collections::BTreeMap<(Code, String, Vec<String>), usize>,
}

impl Diagnostics {
    /// No problems.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a problem, joining it with an equal cause.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let key = (diagnostic.code, diagnostic.message.clone(), diagnostic.notes.clone());
        match self.index.get(&key) {
            Some(&at) => {
                let item = &mut self.items[at];
                item.places.extend(diagnostic.places);
                item.severity = item.severity.max(diagnostic.severity);
            }
            None => {
                self.index.insert(key, self.items.len());
                self.items.push(diagnostic);
            }
        }
    }

    /// Adds many.
    pub fn extend(&mut self, diagnostics: impl IntoIterator<Item = Diagnostic>) {
        for diagnostic in diagnostics {
            self.push(diagnostic);
        }
    }

    /// The problems, in order.
    #[must_use]
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether one of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.items.iter().any(Diagnostic::is_error)
    }

    /// The exit class of the errors: the first that applies in the order of [`ExitClass`].
    #[must_use]
    pub fn exit_class(&self) -> Option<ExitClass> {
        self.items.iter().filter(|d| d.is_error()).map(|d| d.code.info().exit).min()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        let mut all = Self::new();
        all.push(diagnostic);
        all
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(iter: I) -> Self {
        let mut all = Self::new();
        all.extend(iter);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;

    fn at(module: &str) -> Loc {
        Loc { module: Some(module.into()), ..Loc::default() }
    }

    #[test]
    fn equal_causes_are_joined() {
        let all: Diagnostics = ["a", "b", "c", "d"]
            .iter()
            .map(|m| Diagnostic::new(codes::UNSUPPORTED_OP, "no lowering for `x`").at_op(&at(m)))
            .collect();
        assert_eq!(all.items().len(), 1);
        let text = all.items()[0].to_string();
        assert!(text.contains("--> c") && text.contains("and 1 more places"), "{text}");
        assert_eq!(all.exit_class(), Some(ExitClass::Unsupported));
    }

    #[test]
    fn usage_wins_over_later_classes() {
        let all: Diagnostics = [codes::VERIFY_MISMATCH, codes::UNKNOWN_PASS]
            .map(|code| Diagnostic::new(code, "m"))
            .into_iter()
            .collect();
        assert_eq!(all.exit_class(), Some(ExitClass::Usage));
    }
}
