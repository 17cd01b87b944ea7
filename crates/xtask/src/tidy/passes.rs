//! One pass is one file, named like the pass, with at least one fixture.

use std::fs;
use std::path::Path;

use super::shown;
use super::source::code_only;
use crate::failure::{Context, Result};
use crate::workspace;

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let passes = root.join("passes");
    let is_source = |path: &Path| {
        workspace::has_extension(path, "rs")
            && path.components().any(|part| part.as_os_str() == "src")
    };
    for path in workspace::files(&passes, &is_source)? {
        let text = fs::read_to_string(&path).at(&path)?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().replace('_', "-"));
        let shown = shown(root, &path);
        let names = names(&text);
        if names.len() > 1 {
            findings.push(format!("{shown}: holds the passes {}: one file each", names.join(", ")));
        }
        for name in names {
            if stem.as_ref() != Some(&name) {
                findings.push(format!("{shown}: pass `{name}` stands in a file of that name"));
            }
            if !has_fixture(&root.join("testdata/passes").join(&name))? {
                findings.push(format!("{shown}: testdata/passes/{name}/ has no fixture"));
            }
        }
    }
    Ok(findings)
}

fn has_fixture(folder: &Path) -> Result<bool> {
    Ok(!workspace::files(folder, &|path| workspace::has_extension(path, "mlc"))?.is_empty())
}

/// What the `name` functions of the passes in `text` return. Test modules are not looked at.
fn names(text: &str) -> Vec<String> {
    let code = code_only(text);
    let end = code.find("#[cfg(test)]").unwrap_or(code.len());
    let mut names = Vec::new();
    for (start, _) in code[..end].match_indices(" Pass for ") {
        let line = code[..start].rfind('\n').map_or(0, |at| at + 1);
        if code[line..].starts_with("impl") {
            let characters = code[..start].chars().count();
            names.push(literal_of_name(text.chars().skip(characters)));
        }
    }
    names
}

/// The first string literal after `fn name`.
fn literal_of_name(text: impl Iterator<Item = char>) -> String {
    let text: String = text.collect();
    let after = text.split_once("fn name").map_or("", |(_, after)| after);
    after.split('"').nth(1).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: &str = "/// é impl Pass for no {}\nimpl Pass for FuseGelu {\n    fn name(&self) -> \
                        &'static str {\n        \"fuse-gelu\"\n    }\n}\n";

    #[test]
    fn names_are_read_from_the_code() {
        assert_eq!(names(PASS), ["fuse-gelu"]);
        assert!(names(&format!("#[cfg(test)]\nmod tests {{\n{PASS}}}")).is_empty());
    }

    #[test]
    fn a_pass_without_fixture_or_with_another_file_name_is_found() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("passes/fuse/src");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("gelu.rs"), PASS).unwrap();
        assert_eq!(check(root.path()).unwrap().len(), 2);
        fs::rename(source.join("gelu.rs"), source.join("fuse_gelu.rs")).unwrap();
        let fixtures = root.path().join("testdata/passes/fuse-gelu");
        fs::create_dir_all(&fixtures).unwrap();
        fs::write(fixtures.join("a.mlc"), "").unwrap();
        assert!(check(root.path()).unwrap().is_empty());
    }
}
