//! Text files: no stray blanks, no notes to self, nothing of the machine they were written on.

use std::fs;
use std::path::{Path, PathBuf};

use super::shown;
use crate::failure::{Context, Result};
use crate::workspace;

/// Folders that are not part of the project's text.
const SKIPPED: [&str; 6] =
    [".git", "target", "corpus", "artifacts", "__pycache__", "proptest-regressions"];
const TEXT: [&str; 11] =
    ["rs", "toml", "md", "sh", "py", "proto", "mlc", "txt", "yml", "snap", "lock"];
/// Written in two parts so this file does not contain them.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
const MACHINE: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
const REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for path in text_files(root)? {
        let bytes = fs::read(&path).at(&path)?;
        let name = shown(root, &path);
        match std::str::from_utf8(&bytes) {
            Ok(text) => findings.extend(faults(&name, text)),
            Err(_) => findings.push(format!("{name}: not UTF-8")),
        }
    }
    Ok(findings)
}

fn text_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).at(root)? {
        let path = entry.at(root)?.path();
        if path.is_file() {
            found.push(path);
        } else if !skipped(&path) {
            found.extend(workspace::files(&path, &|path| !path.ancestors().any(skipped))?);
        }
    }
    found.retain(|path| {
        let bare = path.extension().is_none()
            && path.parent().and_then(Path::file_name).is_some_and(|name| name == ".ci");
        bare || TEXT.iter().any(|extension| workspace::has_extension(path, extension))
    });
    found.sort();
    Ok(found)
}

fn skipped(path: &Path) -> bool {
    path.file_name().is_some_and(|name| SKIPPED.iter().any(|skipped| name == *skipped))
}

fn faults(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut add = |line: usize, what: &str| findings.push(format!("{name}:{line}: {what}"));
    for (at, line) in text.lines().enumerate() {
        let at = at + 1;
        if line.ends_with([' ', '\t', '\r']) {
            add(at, "blank at the end of the line");
        }
        if name.ends_with(".rs") && line.contains('\t') {
            add(at, "tab");
        }
        for note in NOTES.iter().filter(|note| line.contains(**note)) {
            add(at, &format!("`{note}`: do it, or file an issue"));
        }
        for path in MACHINE.iter().filter(|path| line.contains(**path)) {
            add(at, &format!("`{path}`: a path of one machine"));
        }
        if name == "Cargo.lock" && line.starts_with("source = ") && line != REGISTRY {
            add(at, "a crate that is not from crates.io");
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        add(text.lines().count(), "no line break at the end of the file");
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_found() {
        let faulty = |name: &str, text: &str| faults(name, text).len();
        assert_eq!(faulty("a.rs", "let x = 1;\n"), 0);
        assert_eq!(faulty("a.rs", "let x = 1; \n\tlet y;\n"), 2);
        assert_eq!(faulty("a.md", &format!("{} it\n", NOTES[0])), 1);
        assert_eq!(faulty("a.py", &format!("open('{}x')", MACHINE[0])), 2);
        assert_eq!(faulty("Cargo.lock", &format!("{REGISTRY}\nsource = \"git+x\"\n")), 1);
    }
}
