//! Naming ops from the command line.

use mlc_ir::{Function, Node, Program};

/// Text that names ops: the kind of an op, the name of one of its results, or a path of modules in the
/// source. `*` stands for any characters. A path names the modules in it too.
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
        let named = |text: &str| matches(self.0.as_bytes(), text.as_bytes());
        let module = program.loc(data.loc).module.as_deref();
        let inside = module.is_some_and(|path| {
            let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
            ends.into_iter().any(|end| named(&path[..end]))
        });
        let result = || {
            let names = data.results.iter().filter_map(|&v| function.values[v].name.as_deref());
            names.into_iter().any(named)
        };
        inside || named(data.op.spec().name) || result()
    }

    /// Whether it is `name`, or a pattern of it.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name.as_bytes())
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Whether `pattern`, in which `*` stands for anything, is `text`. Takes time in proportion to the
/// product of the lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            (p, t) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_anything() {
        let m = |p: &str, t: &str| matches(p.as_bytes(), t.as_bytes());
        assert!(m("layer*.norm", "layer.3.norm") && m("*", "") && m("a*b*c", "a.b.b.c"));
        assert!(!m("layer*.norm", "layer.3.norms") && !m("softmax", "softmax_1") && !m("", "a"));
    }
}
