//! Rewrite rules: those of the project and those of files.

use crate::support::Folder;

const RULES: &str = "rule plain-sign where float(x) {
  func @before(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
    %1 = sign %x
    %2 = sign %1
    return %2
  }
  func @after(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
    %1 = sign %x
    return %1
  }
}
";
const MODEL: &str = "func @main(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %a = sign %x
  %b = sign %a
  %y = exp %b
  return %y
}
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("my.rules", RULES).file("model.mlc", MODEL);
    folder
}

#[test]
fn rules_are_listed_and_explained() {
    let folder = folder();
    let rules = folder.line("rules").ok().stdout;
    assert!(rules.lines().any(|line| line.starts_with("silu ") && line.contains('=')), "{rules}");
    let both = folder.line("rules --rules my.rules").ok().stdout;
    assert!(both.lines().last().unwrap().starts_with("plain-sign"), "{both}");
    let page = folder.line("explain silu").ok().stdout;
    assert!(page.starts_with("# silu\n"), "{page}");
    assert!(page.contains("Before:") && page.contains("silu %x"), "{page}");
}

#[test]
fn rules_of_a_file_are_used() {
    let folder = folder();
    let line = "opt model.mlc --passes=egraph --rules my.rules --explain-rewrites exp";
    let ran = folder.line(line).ok();
    assert_eq!(ran.stdout.matches("sign").count(), 1, "{}", ran.stdout);
    assert!(ran.stderr.contains("no rule"), "{}", ran.stderr);
    let without = folder.line("opt model.mlc --passes=egraph").ok();
    assert_eq!(without.stdout.matches("sign").count(), 2, "{}", without.stdout);
}

#[test]
fn what_made_an_op_is_told() {
    let folder = folder();
    let text = "func @main(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {\n  %a = sigmoid %x\n  \
                %y = mul %x, %a\n  return %y\n}\n";
    folder.file("silu.mlc", text);
    let ran = folder.line("opt silu.mlc --passes=egraph --explain-rewrites silu").ok();
    assert!(ran.stderr.contains("silu"), "{}", ran.stderr);
    let refused = folder.refused(2, "opt silu.mlc --passes=egraph --explain-rewrites gelu");
    assert!(refused.contains("no op of the result"), "{refused}");
}

#[test]
fn unsound_and_broken_rules_are_refused() {
    let folder = folder();
    folder.file(
        "wrong.rules",
        RULES.replace("%1 = sign %x\n    return %1", "%1 = exp %x\n    return %1"),
    );
    let refused = folder.refused(3, "opt model.mlc --passes=egraph --rules wrong.rules");
    assert!(refused.contains("error[unsound-rule]") && refused.contains("before:"), "{refused}");
    folder.file("bad.rules", RULES.replace("@after", "@behind"));
    let refused = folder.refused(3, "opt model.mlc --passes=egraph --rules bad.rules");
    assert!(refused.contains("error[bad-rule]"), "{refused}");
    let refused = folder.refused(2, "opt model.mlc --passes=cleanup --rules my.rules");
    assert!(refused.contains("no pass uses the rules"), "{refused}");
}
