//! Pipelines as data and as text.

use std::fmt;

use mlc_diag::Diagnostics;

use crate::options::{Options, print_options};
use crate::parse;

/// One use of a pass or an alias.
#[derive(Debug, Clone, PartialEq)]
pub struct PassCall {
    /// Name of the pass or alias.
    pub name: String,
    /// Options that were given.
    pub options: Options,
}

impl PassCall {
    /// A call without options.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), options: Options::new() }
    }
}

impl fmt::Display for PassCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.options.is_empty() { Ok(()) } else { print_options(&self.options, f) }
    }
}

/// An element of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A pass or alias.
    Pass(PassCall),
    /// `fix(...)`: again and again until nothing changes, a bounded number of times.
    Fix(Vec<Item>),
    /// `func NAME(...)`: on one function alone.
    Func(String, Vec<Item>),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass(call) => write!(f, "{call}"),
            Self::Fix(items) => write!(f, "fix({})", Joined(items)),
            Self::Func(name, items) => write!(f, "func {name}({})", Joined(items)),
        }
    }
}

struct Joined<'a>(&'a [Item]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// Passes in order.
///
/// As text: names joined by commas; options in braces (`name{a=1,b=[x,y],c="some text"}`); groups
/// `fix(...)` and `func NAME(...)`. White space between tokens and `#` comments to the end of a line
/// say nothing. Printing and parsing round-trip.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pipeline {
    /// Its elements.
    pub items: Vec<Item>,
}

impl Pipeline {
    /// Reads a pipeline.
    ///
    /// # Errors
    /// `bad-pipeline` with the place in the text, which is called `--passes`.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        Self::parse_named(text, "--passes")
    }

    /// Reads a pipeline from a text of that name.
    ///
    /// # Errors
    /// `bad-pipeline` with the place in the text.
    pub fn parse_named(text: &str, file: &str) -> Result<Self, Diagnostics> {
        parse::pipeline(text, file).map(|items| Self { items })
    }

    /// This pipeline and then the other.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.items.extend(other.items);
        self
    }

    /// The names of the passes and aliases in it, groups included, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        fn walk<'a>(items: &'a [Item], out: &mut Vec<&'a str>) {
            for item in items {
                match item {
                    Item::Pass(call) => out.push(&call.name),
                    Item::Fix(items) | Item::Func(_, items) => walk(items, out),
                }
            }
        }
        let mut out = Vec::new();
        walk(&self.items, &mut out);
        out
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Joined(&self.items))
    }
}
