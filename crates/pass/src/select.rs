//! Naming ops in options.

use mlc_ir::{Function, Node, Program, glob_matches};

/// Text that names ops: the kind of an op, the name of one of its results (and that alone after a `%`),
/// or a path of modules in the source. `*` stands for any characters. A path names the modules in it
/// too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(String);

impl Selector {
    /// A selector.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it names `node`.
    #[must_use]
    pub fn names(&self, program: &Program, function: &Function, node: Node) -> bool {
        let data = &function.nodes[node];
        let result = |pattern: &str| {
            let names = data.results.iter().filter_map(|&v| function.values[v].name.as_deref());
            names.into_iter().any(|name| glob_matches(pattern, name))
        };
        if let Some(name) = self.0.strip_prefix('%') {
            return result(name);
        }
        let named = |text: &str| glob_matches(&self.0, text);
        let module = program.loc(data.loc).module.as_deref();
        let inside = module.is_some_and(|path| {
            let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().any(|end| named(&path[..end]))
        });
        inside || named(data.op.spec().name) || result(&self.0)
    }

    /// Whether it is `name`, or a pattern of it.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        glob_matches(&self.0, name)
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}
