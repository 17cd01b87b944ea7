//! Names that the package format accepts.

/// Words of the format that are no names.
const RESERVED: [&str; 25] = [
    "any", "bool", "program", "func", "tensor", "list", "dict", "tuple", "true", "false", "string",
    "bf16", "fp16", "fp32", "fp64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "state", "",
];

/// `name` with other characters than letters, digits and `_` replaced by `_`, and changed where it
/// begins with a digit or is a word of the format. Legal names stay.
#[must_use]
pub fn legal(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert_str(0, "var_");
    }
    if RESERVED.contains(&out.as_str()) {
        out.push_str("_workaround");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::legal;

    #[test]
    fn names_become_legal() {
        let cases = [
            ("in/0:a", "in_0_a"),
            ("1y", "var_1y"),
            ("out-put.1", "out_put_1"),
            ("state", "state_workaround"),
            ("", "_workaround"),
            ("ö", "_"),
            ("x", "x"),
        ];
        for (from, to) in cases {
            assert_eq!(legal(from), to);
            assert_eq!(legal(to), to);
        }
    }
}
