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

#[test]
fn costs_choose_between_equal_programs() {
    let folder = folder();
    // The sum of parts that change places is one gather, which the engine leaves to other units.
    let roll = "func @main(%x: tensor<4x6xf32>) -> tensor<4x6xf32> {\n  \
                %a = slice_by_index %x, [0, 2], [4, 6]\n  %b = slice_by_index %x, [0, 0], [4, 2]\n  \
                %y = concat [%a, %b] {axis = 1}\n  return %y\n}\n";
    // A weight that is scaled for one of its users is a second one in the package.
    let scaled = "func @main(%x: tensor<1x2x8xf32>, %z: tensor<1x2x8xf32>) -> (tensor<1x4x8xf32>, \
                  tensor<1x4x8xf32>) {\n  %w = const [[[1.0], [2.0]], [[3.0], [4.0]], [[5.0], [6.0]], \
                  [[7.0], [8.0]]] : tensor<4x2x1xf32>\n  %a = conv %x, %w\n  %b = mul %a, 2.0\n  \
                  %c = conv %z, %w\n  return %b, %c\n}\n";
    folder.file("roll.mlc", roll).file("scaled.mlc", scaled);
    let ops = |file: &str, cost: &str| {
        folder.line(&format!("opt {file} --passes=egraph --cost {cost}")).ok().stdout
    };
    assert!(ops("roll.mlc", "latency").contains("gather"));
    assert!(ops("roll.mlc", "cpu").contains("gather"));
    assert!(ops("roll.mlc", "ane").contains("concat"));
    assert!(!ops("scaled.mlc", "latency").contains("mul"));
    assert!(ops("scaled.mlc", "size").contains("mul"));
    let wrong = folder.refused(2, "opt roll.mlc --passes=egraph --cost latencey");
    assert!(wrong.contains("did you mean `latency`?"), "{wrong}");
    let unused = folder.refused(2, "opt roll.mlc --passes=cse --cost ane");
    assert!(unused.contains("no pass counts costs"), "{unused}");
}
