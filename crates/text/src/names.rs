//! Names and texts as they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Names that are taken.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    names: BTreeSet<String>,
    next: BTreeMap<String, u32>,
}

impl Taken {
    /// Takes `name`; says whether it was free.
    pub(crate) fn insert(&mut self, name: &str) -> bool {
        self.names.insert(name.to_owned())
    }

    /// Takes `name`, or the first free of `name_1`, `name_2`, …
    pub(crate) fn unique(&mut self, name: &str) -> String {
        if self.insert(name) {
            return name.to_owned();
        }
        let mut number = self.next.get(name).copied().unwrap_or(0);
        let unique = loop {
            number += 1;
            let unique = format!("{name}_{number}");
            if self.insert(&unique) {
                break unique;
            }
        };
        self.next.insert(name.to_owned(), number);
        unique
    }
}

/// Most names that are compared with one that does not exist.
pub(crate) const MAX_CANDIDATES: usize = 300;

/// Longest name that is compared with others.
const MAX_COMPARED: usize = 48;

/// The names of `known` that look most like `name`, best first; long ones are not compared.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    if name.len() > MAX_COMPARED {
        return Vec::new();
    }
    mlc_diag::nearest(name, known.filter(|k| k.len() <= MAX_COMPARED).take(MAX_CANDIDATES))
}

/// The first characters of a long text.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether `name` can stand behind `%` or `@` without quotes.
fn is_bare(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$'))
}

/// Whether `name` is one word.
pub(crate) fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `name` is a number.
pub(crate) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())
}

/// `text` in quotes; [`unquote`] gives it back.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What stands between the quotes of `quoted`; `None` for an escape that does not exist.
pub(crate) fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            '"' => out.push('"'),
            '\\' => out.push('\\'),
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'u' => {
                let rest = chars.as_str().strip_prefix('{')?;
                let (code, after) = rest.split_once('}')?;
                out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                chars = after.chars();
            }
            _ => return None,
        }
    }
    Some(out)
}

/// `%name`, in quotes where it would be taken for something else.
pub(crate) fn value(name: &str) -> String {
    if is_bare(name) && !is_number(name) { format!("%{name}") } else { format!("%{}", quote(name)) }
}

/// `@name`, in quotes where needed.
pub(crate) fn global(name: &str) -> String {
    if is_bare(name) { format!("@{name}") } else { format!("@{}", quote(name)) }
}

/// `name` as a word, in quotes where needed.
pub(crate) fn word(name: &str) -> String {
    if is_word(name) { name.to_owned() } else { quote(name) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quoting_can_be_undone(text: String) {
            prop_assert_eq!(unquote(&quote(&text)), Some(text));
        }
    }

    #[test]
    fn unknown_escapes_are_refused() {
        assert_eq!(unquote(r#""\q""#), None);
        assert_eq!(unquote(r#""\u{110000}""#), None);
        assert_eq!(unquote(r#""\u{41}""#).as_deref(), Some("A"));
    }
}
