//! Command lines that make no sense.

use crate::support::{Folder, TEXT, linear};

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("model.pt2", linear().archive().v2()).file("model.mlc", TEXT);
    folder
}

#[test]
fn words_that_nobody_knows() {
    let folder = folder();
    let lines = [
        "convret model.pt2 -o out.mlpackage",
        "convert model.pt2 -o out.mlpackage --tarrget ios17",
        "convert model.pt2 -o out.mlpackage --target ios12",
        "convert model.pt2 -o out.mlpackage --precision fp8",
        "convert model.pt2 -o out.mlpackage --from pt3",
        "convert model.pt2 -o out.mlpackage --passes cleanp",
        "convert model.pt2 -o out.mlpackage -D int-narowing",
        "convert model.pt2 -o out.mlpackage --tolerance 35",
        "convert model.pt2 -o out.mlpackage --rename x",
        "convert model.pt2 -o out.mlpackage --rename z=w --output relo",
        "opt model.mlc --passes cse,fold{budgte=1}",
        "opt model.mlc --passes fix(cse",
        "opt model.mlc --skip cze",
        "run model.mlc --in z=zeros",
        "run model.mlc --in x=1,2",
        "run model.mlc --in x=seven",
        "run model.mlc --out z=@z.npy",
        "run model.mlc --function other",
        "dump model.mlc",
        "explain int-narowing",
    ];
    let found: Vec<String> = lines.iter().map(|line| folder.refused(2, line)).collect();
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn flags_that_do_not_go_together() {
    let folder = folder();
    let lines = [
        "convert model.pt2",
        "convert model.pt2 -o",
        "convert model.pt2 -o a.mlpackage b.mlpackage",
        "convert model.pt2 -o a.mlpackage --verify --no-verify",
        "convert model.pt2 -o a.mlpackage -O 7",
        "convert model.pt2 -o a.mlpackage --verify=many",
    ];
    let found: Vec<String> = lines.iter().map(|line| folder.refused(2, line)).collect();
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn help_and_version_are_products() {
    let folder = Folder::new();
    let help = folder.line("--help").ok();
    assert!(help.stdout.contains("convert") && help.stderr.is_empty());
    assert!(folder.line("convert --help").ok().stdout.contains("--precision"));
    assert!(folder.line("--version").ok().stdout.starts_with("mlc "));
}

#[test]
fn the_last_level_wins() {
    let folder = Folder::new();
    let text = "func @main(%ids: tensor<2xi64>) -> (y: tensor<2xi64>) {
  %y = add %ids, 1
  return %y
}
";
    folder.file("model.mlc", text);
    let opt = |flags: &str| folder.line(&format!("opt model.mlc --passes narrow-types {flags}"));
    assert!(opt("").ok().stderr.contains("warning[int-narrowing]"));
    assert_eq!(opt("-A int-narrowing").ok().stderr, "");
    let denied = opt("-A int-narrowing -D numerics");
    assert_eq!((denied.code, denied.stdout.as_str()), (1, ""));
    assert!(denied.stderr.contains("error[int-narrowing]"), "{}", denied.stderr);
    assert_eq!(opt("-D numerics -A int-narrowing").ok().stderr, "");
    folder.refused(1, "convert model.mlc -o out.mlpackage -D int-narrowing");
    assert_eq!(folder.line("opt model.mlc -D nume").code, 2);
}

#[test]
fn colours_are_for_terminals() {
    let folder = Folder::new();
    let stderr = |flags: &str| folder.line(&format!("print none.mlc {flags}")).stderr;
    assert!(!stderr("").contains('\x1b'));
    assert!(!stderr("--color never").contains('\x1b'));
    assert!(stderr("--color always").contains("\x1b[1;31merror[file-not-found]\x1b[0m"));
    let mut command = folder.command(&["print", "none.mlc"]);
    command.env("NO_COLOR", "1");
    assert!(!folder.finish(command, b"").stderr.contains('\x1b'));
}

#[test]
fn arguments_come_from_files() {
    let folder = folder();
    folder.file("flags", "--target\nios17\n--precision\nfp32\n");
    let ran = folder.line("convert model.pt2 -o out.mlpackage @flags").ok();
    assert!(ran.stderr.contains("iOS 17 (asked)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("precision fp32"), "{}", ran.stderr);
    let missing = folder.refused(2, "convert model.pt2 -o other.mlpackage @none");
    assert!(missing.contains("error[bad-argument]") && missing.contains("none"), "{missing}");
}
