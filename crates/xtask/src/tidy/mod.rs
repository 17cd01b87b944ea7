//! `cargo xtask tidy`: what must hold of every file, checked on the text of the checkout.
//!
//! A *finding* is one line, `path:line: what is wrong`. Each check returns all it finds, so one run
//! tells everything. Nothing here needs cargo, git or a network, and all of it is also a test.

mod codes;
mod functions;
mod layers;
mod passes;
mod source;
mod text;

use std::path::Path;

use crate::failure::{Failure, Result};
use crate::{coverage, workspace};

pub(crate) use codes::check_pages;

type Check = fn(&Path) -> Result<Vec<String>>;

const CHECKS: &[(&str, Check)] = &[
    ("sizes", functions::check),
    ("layers", layers::check),
    ("manifests", layers::check_manifests),
    ("passes", passes::check),
    ("codes", codes::check),
    ("text", text::check),
    ("coverage", coverage::check),
];

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Print the dependency table as the Cargo.toml files have it, for ARCHITECTURE.md
    #[arg(long)]
    layers: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    if args.layers {
        print!("{}", layers::table(&root)?);
        return Ok(());
    }
    let mut findings = Vec::new();
    for (_, check) in CHECKS {
        findings.extend(check(&root)?);
    }
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    Err(Failure::new(format!("tidy: {} findings", findings.len())))
}

/// `path` relative to `root`, for a finding.
fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn holds(name: &str) {
        let (_, check) = CHECKS.iter().find(|(found, _)| *found == name).unwrap();
        let findings = check(&workspace::root()).unwrap();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn files_and_functions_are_small() {
        holds("sizes");
    }

    #[test]
    fn layers_are_those_of_the_architecture() {
        holds("layers");
    }

    #[test]
    fn manifests_pin_and_lint() {
        holds("manifests");
    }

    #[test]
    fn every_pass_has_its_file_and_its_fixture() {
        holds("passes");
    }

    #[test]
    fn every_diagnostic_code_has_its_page_and_its_fixture() {
        holds("codes");
    }

    #[test]
    fn lists_of_what_frontends_make_are_fresh() {
        holds("coverage");
    }

    #[test]
    fn text_files_are_clean() {
        holds("text");
    }
}
