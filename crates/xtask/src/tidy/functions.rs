//! Files stay below 1,000 lines and functions below 120.

use std::fs;
use std::path::Path;

use super::shown;
use super::source::code_only;
use crate::failure::{Context, Result};
use crate::workspace;

const FILE_LINES: usize = 1000;
const FUNCTION_LINES: usize = 120;
const GENERATED: &str = "// @generated";

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for folder in ["crates", "passes", "fuzz/fuzz_targets"] {
        let keep = |path: &Path| workspace::has_extension(path, "rs");
        for path in workspace::files(&root.join(folder), &keep)? {
            let text = fs::read_to_string(&path).at(&path)?;
            if !text.starts_with(GENERATED) {
                findings.extend(long_parts(&shown(root, &path), &text));
            }
        }
    }
    Ok(findings)
}

fn long_parts(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines >= FILE_LINES {
        findings.push(format!("{path}:1: {lines} lines; a file has fewer than {FILE_LINES}"));
    }
    for Function { name, line, lines } in functions(&code_only(text)) {
        if lines >= FUNCTION_LINES {
            findings.push(format!(
                "{path}:{line}: `{name}` has {lines} lines; a function has fewer than {FUNCTION_LINES}"
            ));
        }
    }
    findings
}

/// Name, first line and number of lines, from `fn` to the closing brace.
#[derive(Debug, PartialEq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// All functions of `code`, in which comments and literals are blanked. A declaration without a body
/// and a function pointer type are none.
fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("fn ") {
        let begins_word =
            !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '#');
        let rest = &code[start + 3..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if !begins_word || end == 0 {
            continue;
        }
        if let Some(length) = body_end(&rest[end..]) {
            let all = &code[start..start + 3 + end + length];
            found.push(Function {
                name: rest[..end].to_owned(),
                line: code[..start].matches('\n').count() + 1,
                lines: all.matches('\n').count() + 1,
            });
        }
    }
    found
}

/// Bytes from the name up to and including the closing brace of the body.
fn body_end(code: &str) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' if braces == 0 => others += 1,
            ')' | ']' if braces == 0 => others = others.saturating_sub(1),
            ';' if braces == 0 && others == 0 => return None,
            '{' if others == 0 => braces += 1,
            '}' if others == 0 && braces == 0 => return None,
            '}' if others == 0 => {
                braces -= 1;
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_with_their_lines() {
        let code = "trait A { fn no(x: [u8; 4]); }\nfn one<F: Fn(u8)>(f: F) {\n  fn two() {}\n}\n\
                    type P = fn (u8);\nconst fn three(x: [u8; { 4 }])\n{\n}\n";
        let found: Vec<_> =
            functions(code).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        let expected = [("one", 2, 3), ("two", 3, 1), ("three", 6, 3)];
        assert_eq!(found, expected.map(|(name, line, lines)| (name.to_owned(), line, lines)));
    }

    #[test]
    fn limits_are_exact() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "x();\n".repeat(lines - 2));
        assert!(long_parts("a.rs", &function(119)).is_empty());
        assert_eq!(long_parts("a.rs", &function(120)).len(), 1);
        assert!(long_parts("a.rs", &"\n".repeat(999)).is_empty());
        assert_eq!(long_parts("a.rs", &"\n".repeat(1000)).len(), 1);
    }
}
