//! Every code has a page and is met by a test.

use mlc_testkit::workspace_root;

use crate::support::Folder;

/// Codes that no text fixture can show; the tests of this command meet them.
const MET_HERE: &[&str] = &[
    "output-exists",
    "missing-shape",
    "shape-request",
    "unknown-format",
    "corrupt-archive",
    "corrupt-package",
    "corrupt-manifest",
    "corrupt-protobuf",
    "duplicate-name",
    "invalid-graph",
    "not-writable",
    "unsupported-op",
    "unread-argument",
    "verify-mismatch",
    "verify-skipped",
    "evaluation",
    "fp32-io",
    "state-initial-value",
    "input-mutation",
    "unused-state",
    "bad-rule",
    "unsound-rule",
];

/// Codes that need a full disk or a fault of the compiler.
const NOT_MET: &[&str] = &["disk-full", "internal"];

fn codes(folder: &Folder) -> Vec<String> {
    let rows = folder.line("codes --json").ok().json()["report"].clone();
    rows.as_array().unwrap().iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_code_is_explained() {
    let folder = Folder::new();
    let codes = codes(&folder);
    assert!(codes.len() > 30);
    for code in &codes {
        let page = folder.line(&format!("explain {code}")).ok().stdout;
        assert!(page.starts_with(&format!("# {code}\n")), "{page}");
        let severities = ["error", "warning", "note"];
        let example = |severity: &&str| page.contains(&format!("\n{severity}[{code}]: "));
        assert!(severities.iter().any(example), "no example on the page of {code}");
        assert!(page.contains("\n## What to do\n"), "no way out on the page of {code}");
        let lines = page.lines().count();
        assert!((14..=45).contains(&lines), "the page of {code} has {lines} lines");
    }
}

#[test]
fn every_code_is_met_by_a_test() {
    let folder = Folder::new();
    let fixtures = workspace_root().join("testdata/errors");
    for code in codes(&folder) {
        let fixture = fixtures.join(format!("{code}.mlc"));
        let text = std::fs::read_to_string(&fixture).unwrap_or_default();
        let in_fixture = text.contains(&format!("[{code}]"));
        let here = MET_HERE.contains(&&*code);
        let not_met = NOT_MET.contains(&&*code);
        assert_eq!(
            usize::from(in_fixture) + usize::from(here) + usize::from(not_met),
            1,
            "{code} needs a fixture {} or a test here, and not both",
            fixture.display()
        );
    }
}

#[test]
fn passes_and_ops_are_explained_too() {
    let folder = Folder::new();
    assert!(folder.line("explain cse").ok().stdout.starts_with("# cse\n"));
    assert!(folder.line("explain softmax").ok().stdout.contains("axis"));
}
