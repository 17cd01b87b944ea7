//! Every diagnostic code has an explanation page and a fixture that shows it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::shown;
use crate::failure::{Context, Failure, Result};
use crate::workspace;

const TABLE: &str = "crates/diag/src/codes.rs";
const PAGES: &str = "crates/diag/src/pages";
/// What a test cannot bring about: a bug of ours, a full disk.
const WITHOUT_FIXTURE: [&str; 2] = ["internal", "disk-full"];
/// Fixtures and tests that may show a code.
const SHOWN_IN: [&str; 4] =
    ["testdata", "crates/cli/tests", "crates/driver/tests", "crates/testkit/tests"];

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = check_pages(root)?;
    findings.extend(check_fixtures(root)?);
    Ok(findings)
}

/// Every row of the table has a page with text, and every page has its row.
pub(crate) fn check_pages(root: &Path) -> Result<Vec<String>> {
    let codes = codes(root)?;
    let pages = workspace::files(&root.join(PAGES), &|path| workspace::has_extension(path, "md"))?;
    let mut findings = Vec::new();
    let mut without_page = codes.clone();
    for page in pages {
        let name = page.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if !codes.contains(&name) {
            findings.push(format!("{}: {TABLE} has no such code", shown(root, &page)));
        } else if fs::read_to_string(&page).at(&page)?.trim().is_empty() {
            findings.push(format!("{}: empty page", shown(root, &page)));
        }
        without_page.remove(&name);
    }
    findings.extend(without_page.iter().map(|code| format!("{TABLE}: no page {PAGES}/{code}.md")));
    Ok(findings)
}

/// A fixture shows a code as `[code]`, as a JSON string, or by its own file or folder name. Nothing
/// is asked before the first fixture of an error exists.
fn check_fixtures(root: &Path) -> Result<Vec<String>> {
    if !root.join("testdata/errors").is_dir() {
        return Ok(Vec::new());
    }
    let mut codes = codes(root)?;
    codes.retain(|code| !WITHOUT_FIXTURE.contains(&code.as_str()));
    for folder in SHOWN_IN {
        for path in workspace::files(&root.join(folder), &|_| true)? {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            codes.retain(|code| !mentions(&text, code) && !named(&path, code));
        }
    }
    Ok(codes.iter().map(|code| format!("{TABLE}: no fixture in testdata shows `{code}`")).collect())
}

fn named(path: &Path, code: &str) -> bool {
    path.with_extension("").components().any(|part| part.as_os_str() == code)
}

/// Whether `text` names `code` as `[code]` or `"code"`.
fn mentions(text: &str, code: &str) -> bool {
    text.contains(&format!("[{code}]")) || text.contains(&format!("\"{code}\""))
}

fn codes(root: &Path) -> Result<BTreeSet<String>> {
    let path = root.join(TABLE);
    let rows = rows(&fs::read_to_string(&path).at(&path)?);
    match rows.is_empty() {
        true => Err(Failure::new(format!("{TABLE}: no row found"))),
        false => Ok(rows),
    }
}

/// The names in the rows of the table: `CONST = "name", …;`.
fn rows(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| {
            let (constant, rest) = line.trim().split_once(" = \"")?;
            let constant =
                constant.chars().all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c));
            let (name, rest) = rest.split_once('"')?;
            (constant && rest.starts_with(',')).then(|| name.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "codes! {\n    A_B = \"a-b\", Error, Input, Package, \"0.1.0\";\n}\n";

    #[test]
    fn rows_and_mentions_are_read() {
        assert_eq!(rows(ROWS), BTreeSet::from(["a-b".to_owned()]));
        assert!(mentions("error[a-b] x", "a-b"));
        assert!(mentions("{\"code\": \"a-b\"}", "a-b"));
        assert!(!mentions("error[a-b-c] a-b", "a-b"));
    }

    #[test]
    fn a_missing_page_and_a_missing_fixture_are_found() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(TABLE, ROWS);
        write("crates/diag/src/pages/old.md", "text");
        write("testdata/errors/x.mlc", "nothing");
        assert_eq!(check(root.path()).unwrap().len(), 3);
        fs::remove_file(root.path().join("crates/diag/src/pages/old.md")).unwrap();
        write("crates/diag/src/pages/a-b.md", "text");
        write("testdata/errors/x.mlc", "// error[a-b] \"x\"");
        assert!(check(root.path()).unwrap().is_empty());
    }
}
