//! Smallest programs that still show a fault.

use crate::support::Folder;

const MODEL: &str = "func @main(%x: tensor<2x64xf32>, %c: tensor<bool>) -> (y: tensor<2x64xf32>, z: tensor<2x64xf32>) {
  %0 = relu %x
  %1 = cond %c {
    %a = exp %0
    yield %a
  } {
    %b = sqrt %0
    yield %b
  }
  %2 = mul %1, 2.0
  %3 = gelu %2 {mode = TANH_APPROXIMATION}
  %y = softmax %3 {axis = 1}
  %z = mul %0, 3.0
  return %y, %z
}
func @other(%x: tensor<4xf32>) -> (y: tensor<4xf32>) {
  %y = tanh %x
  return %y
}
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("model.mlc", MODEL);
    folder
}

#[test]
fn a_command_says_what_must_stay() {
    let folder = folder();
    let args = ["reduce", "model.mlc", "--check", "grep -q 'gelu' {}", "-q"];
    let text = folder.run(&args).ok().stdout;
    insta::assert_snapshot!(text);
    assert_eq!(folder.run(&args).ok().stdout, text, "the same twice");
    // Ops in regions come out of them.
    let args = ["reduce", "model.mlc", "--check", "grep -q ' sqrt ' {}", "-q"];
    let text = folder.run(&args).ok().stdout;
    assert!(!text.contains("cond") && !text.contains("@other"), "{text}");
    assert_eq!(text.matches(" = ").count(), 1, "{text}");
}

#[test]
fn a_pipeline_that_fails_is_a_fault() {
    let folder = folder();
    let line = "reduce model.mlc --fails legalize{target=ios15} -o small.mlc";
    let ran = folder.line(line).ok();
    assert!(ran.stderr.contains("ops → 0"), "{}", ran.stderr);
    let failed = folder.line("opt small.mlc --passes legalize{target=ios15}");
    assert_eq!(failed.code, 5, "{}", failed.stderr);
    let refused = folder.refused(2, "reduce model.mlc --fails cse -o a.mlc");
    assert!(refused.contains("does not fail"), "{refused}");
}

#[test]
fn limits_end_it_early() {
    let folder = folder();
    let args = ["reduce", "model.mlc", "--check", "grep -q gelu {}", "--max-checks", "3", "--json"];
    let json = folder.run(&args).ok().json();
    assert_eq!(json["report"]["minimal"], false);
    let args = ["reduce", "model.mlc", "--check", "grep -q gelu {}", "--max-ops", "3", "--json"];
    assert!(folder.run(&args).ok().json()["report"]["ops"].as_u64().unwrap() <= 3);
}

#[test]
fn faults_that_make_no_sense_are_refused() {
    let folder = folder();
    folder.refused(2, "reduce model.mlc");
    folder.refused(2, "reduce model.mlc --check true --fails cse");
    assert!(folder.refused(2, "reduce model.mlc --check true").contains("no `{}`"));
    assert!(folder.refused(2, "reduce model.mlc --changes cse").contains("not there"));
    let ran = folder.run(&["reduce", "model.mlc", "--check", "grep -q nothing {}"]);
    assert!(ran.code == 2 && ran.stderr.contains("not there to begin with"), "{}", ran.stderr);
}

#[test]
fn candidates_are_packages_where_the_result_is_one() {
    let folder = folder();
    folder.line("opt model.mlc --passes legalize{target=ios18} -o legal.mlc").ok();
    let check = "test -f {}/Manifest.json";
    folder.run(&["reduce", "legal.mlc", "--check", check, "-o", "small.mlpackage"]).ok();
    folder.line("print small.mlpackage").ok();
}
