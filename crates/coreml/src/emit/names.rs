//! Names of values and ops: identifiers, unique in a function.

use std::collections::{BTreeMap, BTreeSet};

/// Words that no value may be called by.
const RESERVED: [&str; 25] = [
    "any", "bool", "program", "func", "tensor", "list", "dict", "tuple", "true", "false", "string",
    "bf16", "fp16", "fp32", "fp64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "state", "get",
];

/// `name` as an identifier: letters, digits and `_`, no digit in front, no reserved word.
pub(crate) fn sanitize(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert_str(0, "var_");
    }
    if RESERVED.contains(&out.as_str()) {
        out.push_str("_workaround");
    }
    out
}

/// The names of a function.
#[derive(Debug, Default)]
pub(crate) struct Namespace {
    used: BTreeSet<String>,
    next: BTreeMap<String, u32>,
}

impl Namespace {
    /// `wanted` as an identifier, with `_0`, `_1` … behind it when it is taken.
    pub(crate) fn claim(&mut self, wanted: &str) -> String {
        let base = sanitize(wanted);
        if self.used.insert(base.clone()) {
            return base;
        }
        self.numbered(&base)
    }

    /// The first of `base_0`, `base_1` … that is free.
    pub(crate) fn numbered(&mut self, base: &str) -> String {
        let next = self.next.entry(base.to_owned()).or_insert(0);
        loop {
            let name = format!("{base}_{next}");
            *next += 1;
            if self.used.insert(name.clone()) {
                return name;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        let rows = [
            ("in/0:a", "in_0_a"),
            ("1y", "var_1y"),
            ("out-put.1", "out_put_1"),
            ("state", "state_workaround"),
            ("größe", "gr__e"),
            ("", "var_"),
            ("_ok9", "_ok9"),
        ];
        for (name, wanted) in rows {
            assert_eq!(sanitize(name), wanted);
        }
    }

    #[test]
    fn taken_names_get_the_next_number() {
        let mut space = Namespace::default();
        let names = ["a.b", "a_b", "a_b", "a_b_0"].map(|name| space.claim(name));
        assert_eq!(names, ["a_b", "a_b_0", "a_b_1", "a_b_0_0"]);
        assert_eq!([space.numbered("conv"), space.numbered("conv")], ["conv_0", "conv_1"]);
    }
}
