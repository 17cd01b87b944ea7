//! `cargo xtask coverage`: which ops of the IR the lowerings of each frontend make.
//!
//! Frontends are listed here; their lowerings stand in `src/lower`. The names are read from its imports of
//! `mlc_ir::ops` and from paths such as `ops::Conv`, and stand in `src/lower/made.txt`, an op a line,
//! which `mlc ops` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Result};
use crate::workspace;

/// Crates of frontends; those that are not there are passed over.
const FRONTENDS: [&str; 2] = ["torch", "tensorflow"];

/// Writes the list of every frontend.
pub(crate) fn run() -> Result<()> {
    for (path, text) in lists(&workspace::root())? {
        fs::write(&path, text).at(&path)?;
    }
    Ok(())
}

/// Lists that are not what the sources say.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (path, text) in lists(root)? {
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            findings.push(format!("{shown}: out of date; `cargo xtask coverage` writes it"));
        }
    }
    Ok(findings)
}

/// The file of each frontend and what belongs in it.
fn lists(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let entries = entries(root)?;
    let mut found = BTreeMap::new();
    let crates = root.join("crates");
    for frontend in FRONTENDS {
        let folder = crates.join(frontend).join("src/lower");
        if !folder.is_dir() {
            continue;
        }
        let mut made = BTreeSet::new();
        for path in sources(&folder)? {
            let text = fs::read_to_string(&path).at(&path)?;
            let names = payloads(&text);
            made.extend(names.iter().filter_map(|name| entries.get(name.as_str()).cloned()));
        }
        let text: String = made.iter().map(|name| format!("{name}\n")).collect();
        found.insert(folder.join("made.txt"), text);
    }
    Ok(found)
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    workspace::files(folder, &|path| workspace::has_extension(path, "rs"))
}

/// Names of ops by the names of their payloads, from the entries `"name" = Payload(`.
fn entries(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for path in sources(&root.join("crates/ir/src/ops"))? {
        for line in fs::read_to_string(&path).at(&path)?.lines() {
            let entry = line.trim().strip_prefix('"').and_then(|rest| rest.split_once("\" = "));
            if let Some((name, rest)) = entry {
                found.insert(word(rest).to_owned(), name.to_owned());
            }
        }
    }
    Ok(found)
}

/// The letters and digits that `text` begins with.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    &text[..end]
}

/// What stands behind `ops::`: names, or lists of them in braces.
fn payloads(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("ops::") {
        let rest = &text[at + "ops::".len()..];
        match rest.strip_prefix('{').and_then(|list| list.split_once('}')) {
            Some((list, _)) => {
                found.extend(list.split(',').map(|name| word(name.trim()).to_owned()))
            }
            None => drop(found.insert(word(rest).to_owned())),
        }
    }
    found.remove("");
    found
}

#[cfg(test)]
mod tests {
    use super::payloads;

    #[test]
    fn imports_and_paths_are_read() {
        let text = "use mlc_ir::ops::{\n    Add, Conv,\n};\nlet x = ops::Relu {};\n";
        assert_eq!(Vec::from_iter(payloads(text)), ["Add", "Conv", "Relu"]);
    }
}
