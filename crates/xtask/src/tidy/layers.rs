//! Crates depend on each other as ARCHITECTURE.md says, and manifests follow the house rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::shown;
use crate::failure::{Context, Failure, Result};

const PREFIX: &str = "mlc-";
const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// The only member that may name `egg`.
const EGG_OWNER: &str = "crates/egraph/Cargo.toml";

/// Crate name without the prefix, to the names of the crates it is built on.
type Layers = BTreeMap<String, BTreeSet<String>>;

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let path = root.join(ARCHITECTURE);
    let text = fs::read_to_string(&path).at(&path)?;
    let declared = parse(&text)?;
    let actual = actual(root)?;
    let mut findings = Vec::new();
    let names: BTreeSet<&String> = declared.keys().chain(actual.keys()).collect();
    for name in names {
        match (declared.get(name), actual.get(name)) {
            (Some(declared), Some(actual)) if declared == actual => {}
            (_, Some(actual)) => findings.push(format!(
                "{ARCHITECTURE}: the layers of the Cargo.toml files say `{}`",
                line(name, actual)
            )),
            (_, None) => findings.push(format!("{ARCHITECTURE}: there is no crate `{name}`")),
        }
    }
    Ok(findings)
}

/// Every member inherits the lints and takes its dependencies from the workspace; every registry
/// dependency is pinned there; `egg` has one owner.
pub(super) fn check_manifests(root: &Path) -> Result<Vec<String>> {
    let mut findings = unpinned(&read(&root.join("Cargo.toml"))?);
    for path in manifests(root)? {
        let name = shown(root, &path);
        let manifest = read(&path)?;
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if lints.and_then(Value::as_bool) != Some(true) {
            findings.push(format!("{name}: `[lints] workspace = true` is missing"));
        }
        for (dependency, value) in dependencies(&manifest, &ALL_KINDS) {
            if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                findings.push(format!("{name}: `{dependency}` does not come from the workspace"));
            }
            if dependency == "egg" && name != EGG_OWNER {
                findings.push(format!("{name}: only {EGG_OWNER} may name `egg`"));
            }
        }
    }
    Ok(findings)
}

/// The dependency table as the Cargo.toml files have it, one line a crate.
pub(super) fn table(root: &Path) -> Result<String> {
    let mut out = String::new();
    for (name, dependencies) in actual(root)? {
        let _ = writeln!(out, "{}", line(&name, &dependencies));
    }
    Ok(out)
}

fn line(name: &str, dependencies: &BTreeSet<String>) -> String {
    let mut out = format!("{name}:");
    for dependency in dependencies {
        out.push(' ');
        out.push_str(dependency);
    }
    out
}

/// The block that begins with a fence named `layers`: lines `crate: dependency dependency`.
fn parse(text: &str) -> Result<Layers> {
    let mut layers = Layers::new();
    let body = text.lines().skip_while(|line| line.trim() != "```layers").skip(1);
    for line in body.take_while(|line| line.trim() != "```") {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let Some((name, dependencies)) = line.split_once(':') else {
            return Err(Failure::new(format!("{ARCHITECTURE}: `{line}` has no colon")));
        };
        let dependencies = dependencies.split_whitespace().map(str::to_owned).collect();
        if layers.insert(name.trim().to_owned(), dependencies).is_some() {
            return Err(Failure::new(format!("{ARCHITECTURE}: `{name}` stands twice")));
        }
    }
    if layers.is_empty() {
        return Err(Failure::new(format!("{ARCHITECTURE} has no ```layers block")));
    }
    Ok(layers)
}

fn actual(root: &Path) -> Result<Layers> {
    let mut layers = Layers::new();
    for path in manifests(root)? {
        let manifest = read(&path)?;
        let name = manifest.get("package").and_then(|package| package.get("name"));
        let Some(name) = name.and_then(Value::as_str) else {
            return Err(Failure::new(format!("{}: no package name", path.display())));
        };
        let own = dependencies(&manifest, &["dependencies", "build-dependencies"]);
        let own = own.into_iter().filter_map(|(name, _)| name.strip_prefix(PREFIX));
        let name = name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        layers.insert(name, own.map(str::to_owned).collect());
    }
    Ok(layers)
}

fn manifests(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["crates", "passes"] {
        let folder = root.join(folder);
        for entry in fs::read_dir(&folder).at(&folder)? {
            let path = entry.at(&folder)?.path().join("Cargo.toml");
            if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Table> {
    fs::read_to_string(path).at(path)?.parse::<Table>().at(path)
}

const ALL_KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

fn dependencies<'a>(manifest: &'a Table, kinds: &[&str]) -> Vec<(&'a str, &'a Value)> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(targets)
        .flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)))
        .filter_map(Value::as_table)
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
        .collect()
}

fn unpinned(manifest: &Table) -> Vec<String> {
    let Some(workspace) = manifest.get("workspace").and_then(Value::as_table) else {
        return vec!["Cargo.toml: no [workspace]".to_owned()];
    };
    let mut findings = Vec::new();
    for (name, value) in dependencies(workspace, &["dependencies"]) {
        let version = value.as_str().or_else(|| value.get("version").and_then(Value::as_str));
        let local = value.get("path").is_some() && name.starts_with(PREFIX);
        if !local && !version.is_some_and(|version| version.starts_with('=')) {
            findings.push(format!("Cargo.toml: `{name}` is not pinned to one version (`=x.y.z`)"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_as_written() {
        let layers = parse("# A\n```layers\n# data\ndiag:\nir: diag tensor\n```\nx: y\n").unwrap();
        assert_eq!(layers.len(), 2);
        assert_eq!(line("ir", &layers["ir"]), "ir: diag tensor");
        assert!(parse("no block").is_err());
        assert!(parse("```layers\na b\n```").is_err());
        assert!(parse("```layers\na:\na:\n```").is_err());
    }

    #[test]
    fn faulty_manifests_are_found() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace.dependencies]\na = '1'\nb = '=1.0.0'\n");
        write("passes/readme.txt", "");
        write(
            "crates/x/Cargo.toml",
            "[package]\nname = 'mlc-x'\n[dependencies]\nmlc-y.workspace = true\negg = '1'\n",
        );
        let findings = check_manifests(root.path()).unwrap();
        assert_eq!(findings.len(), 4, "{findings:?}");
        write("ARCHITECTURE.md", "```layers\nx: z\nw:\n```\n");
        let findings = check(root.path()).unwrap();
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[1].contains("`x: y`"), "{findings:?}");
    }
}
