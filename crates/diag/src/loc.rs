//! Where an op comes from.

use std::fmt;
use std::sync::Arc;

/// The origin of an op: a chain from the framework's module to the passes that touched it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Loc {
    /// Module path in the source framework, such as `layer1.0.conv1`.
    pub module: Option<Arc<str>>,
    /// Source file and 1-based line of the user's code.
    pub source: Option<(Arc<str>, u32)>,
    /// The op of the source framework, such as `aten.conv2d.default`.
    pub origin: Option<Arc<str>>,
    /// Passes that made or changed the op, oldest first, each once.
    pub passes: Vec<Arc<str>>,
}

impl Loc {
    /// A location that knows nothing.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// The same location, touched by `pass` as well.
    #[must_use]
    pub fn after(&self, pass: &str) -> Self {
        let mut loc = self.clone();
        if !loc.passes.iter().any(|known| **known == *pass) {
            loc.passes.push(pass.into());
        }
        loc
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut details = Vec::new();
        if let Some((file, line)) = &self.source {
            details.push(format!("from {file}:{line}"));
        }
        if let Some(origin) = &self.origin {
            details.push(format!("as {origin}"));
        }
        if !self.passes.is_empty() {
            details.push(format!("after {}", self.passes.join(", ")));
        }
        match (&self.module, details.is_empty()) {
            (Some(module), true) => write!(f, "{module}"),
            (Some(module), false) => write!(f, "{module}  ({})", details.join(", ")),
            (None, false) => write!(f, "{}", details.join(", ")),
            (None, true) => write!(f, "unknown place"),
        }
    }
}

/// Where one instance of a problem is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// An op of a model.
    Op(Loc),
    /// A range of a text file: name, 1-based line and column, length in characters.
    Text {
        /// Name of the text, usually its path.
        file: Arc<str>,
        /// 1-based line.
        line: u32,
        /// 1-based column, in characters.
        column: u32,
        /// Length in characters, at least 1.
        len: u32,
    },
    /// A part of a binary or structured file, such as `model.pt2: data/weights/weight_3`.
    Entry {
        /// Name of the file.
        file: Arc<str>,
        /// What part of it.
        entry: Arc<str>,
    },
    /// A flag or argument of the command line.
    Argument(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Op(loc) => write!(f, "{loc}"),
            Self::Text { file, line, column, .. } => write!(f, "{file}:{line}:{column}"),
            Self::Entry { file, entry } if entry.is_empty() => write!(f, "{file}"),
            Self::Entry { file, entry } => write!(f, "{file}: {entry}"),
            Self::Argument(name) => write!(f, "argument {name}"),
        }
    }
}
