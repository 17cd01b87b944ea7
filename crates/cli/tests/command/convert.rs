//! Conversions that succeed.

use crate::support::{Folder, linear};

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("model.pt2", linear().archive().v2()).file("old.pt2", linear().archive().v1());
    folder
}

#[test]
fn the_summary_says_what_was_made() {
    let ran = folder().line("convert model.pt2 -o out.mlpackage --target ios17").ok();
    assert_eq!(ran.stdout, "");
    let summary = |line: &&str| {
        line.starts_with("  ") && !line.starts_with("  --") && !line.starts_with("  =")
    };
    assert!(ran.stderr.lines().filter(summary).count() <= 12, "{}", ran.stderr);
    // Left out is what depends on time, on the processor and on the version of the tool.
    let varies = ["  size ", "  verify ", "  id "];
    let lines = ran.stderr.lines().filter(|line| !varies.iter().any(|word| line.starts_with(word)));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn quiet_says_nothing() {
    let folder = folder();
    let ran = folder.line("convert model.pt2 -o out.mlpackage -q").ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert!(folder.exists("out.mlpackage"));
}

#[test]
fn memory_can_be_limited() {
    let folder = folder();
    let line = "convert model.pt2 -o out.mlpackage --max-memory";
    if cfg!(target_os = "linux") {
        let refused = folder.refused(6, &format!("{line} 100k"));
        assert!(refused.contains("error[resource-limit]: reading the model takes"), "{refused}");
    }
    let wrong = folder.refused(2, &format!("{line} much"));
    assert!(wrong.contains("`much` is no size"), "{wrong}");
    folder.line(&format!("{line} 4G")).ok();
    assert!(folder.exists("out.mlpackage"));
}

#[test]
fn times_of_stages_are_told() {
    let ran = folder().line("convert model.pt2 -o out.mlpackage --time-passes").ok();
    assert!(ran.stderr.contains("stages (ms): import "), "{}", ran.stderr);
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = folder();
    let before = folder.tree("");
    let ran = folder.line("convert model.pt2 -o out.mlpackage --dry-run").ok();
    assert!(ran.stderr.contains("nothing written"), "{}", ran.stderr);
    assert!(folder.tree("") == before);
}

#[test]
fn the_bytes_depend_on_nothing_else() {
    let folder = folder();
    folder.file("elsewhere/model.pt2", linear().archive().v2());
    let lines = [
        "convert model.pt2 -o a.mlpackage --jobs 1",
        "convert model.pt2 -o b.mlpackage --jobs 2",
        "convert elsewhere/model.pt2 -o c.mlpackage --no-verify -v",
    ];
    lines.iter().for_each(|line| drop(folder.line(line).ok()));
    let mut command =
        folder.command(&["convert", "model.pt2", "-o", "elsewhere/d.mlpackage", "--jobs", "2"]);
    command.env("TZ", "Asia/Tokyo").env("LANG", "de_DE.UTF-8").env("HOME", "/");
    folder.finish(command, b"").ok();
    let first = folder.tree("a.mlpackage");
    assert!(first.len() >= 6, "{:?}", first.keys());
    for other in ["b.mlpackage", "c.mlpackage", "elsewhere/d.mlpackage"] {
        assert!(folder.tree(other) == first, "{other} differs");
    }
}

#[test]
fn both_generations_give_one_package() {
    let folder = folder();
    folder.line("convert model.pt2 -o new.mlpackage --no-record").ok();
    folder.line("convert old.pt2 -o old.mlpackage --no-record").ok();
    assert!(folder.tree("new.mlpackage") == folder.tree("old.mlpackage"));
}

#[test]
fn the_dump_is_stable() {
    let folder = folder();
    folder.line("convert model.pt2 -o out.mlpackage --target ios16 --no-record").ok();
    let dump = folder.line("dump out.mlpackage").ok().stdout;
    assert_eq!(folder.line("dump out.mlpackage").ok().stdout, dump);
    insta::assert_snapshot!(dump);
}

#[test]
fn features_can_be_chosen_and_renamed() {
    let folder = folder();
    let line = "convert model.pt2 -o out.mlpackage --rename x=features --rename relu=scores \
                --set-metadata author=me --set-metadata training.epochs=3";
    folder.line(line).ok();
    let report = folder.line("inspect out.mlpackage --json").ok().json();
    let main = &report["report"]["functions"][0];
    assert_eq!(main["inputs"][0]["name"], "features");
    assert_eq!(main["outputs"][0]["name"], "scores");
    let dump = folder.line("dump out.mlpackage").ok().stdout;
    assert!(dump.contains("training.epochs") && dump.contains("\"me\""), "{dump}");
}

#[test]
fn text_is_an_output_too() {
    let folder = folder();
    let text = folder.line("convert model.pt2 -o - --no-verify").ok().stdout;
    assert!(text.contains("func @main"), "{text}");
    folder.line("convert model.pt2 -o out.mlc --no-verify").ok();
    assert_eq!(String::from_utf8(folder.read("out.mlc")).unwrap(), text);
    let verified = folder.line("verify out.mlc --source model.pt2").ok();
    assert!(verified.stderr.contains("ok"), "{}", verified.stderr);
}

#[test]
fn half_precision_names_features_of_single_precision() {
    let folder = folder();
    let noted = folder.line("convert model.pt2 -o a.mlpackage --target ios17").ok().stderr;
    assert!(noted.contains("note[fp32-io]"), "{noted}");
    let passes = "cleanup,precision{io=[x,relu]},cleanup";
    let args =
        ["convert", "model.pt2", "-o", "b.mlpackage", "--target", "ios17", "--passes", passes];
    let half = folder.run(&args).ok().stderr;
    assert!(!half.contains("fp32-io") && half.contains("x f16[2,3]"), "{half}");
    let single = "convert model.pt2 -o c.mlpackage --target ios17 --precision fp32";
    assert!(!folder.line(single).ok().stderr.contains("fp32-io"));
}

#[test]
fn long_comparisons_are_left_out_unless_asked_for() {
    let folder = Folder::new();
    let text = "func @main(%x: tensor<8192x8192xf32>) -> (y: tensor<8192x8192xf32>) {
  %y = matmul %x, %x
  return %y
}
";
    folder.file("model.mlc", text);
    let ran = folder.line("convert model.mlc -o out.mlpackage").ok();
    assert!(ran.stderr.contains("note[verify-skipped]"), "{}", ran.stderr);
    assert!(ran.stderr.contains("not compared"), "{}", ran.stderr);
    let denied = folder.refused(1, "convert model.mlc -o other.mlpackage -D verify-skipped");
    assert!(denied.contains("error[verify-skipped]"), "{denied}");
}

#[test]
fn results_that_differ_are_refused() {
    let folder = folder();
    let line = "convert model.pt2 -o out.mlpackage --tolerance snr=300";
    let refused = folder.refused(1, line);
    assert!(refused.contains("error[verify-mismatch]: output `relu` is off"), "{refused}");
    let kept = folder.line(&format!("{line} --keep-output")).ok();
    assert!(kept.stderr.contains("warning[verify-mismatch]"), "{}", kept.stderr);
    assert!(folder.exists("out.mlpackage/Manifest.json"));
}

#[test]
fn the_target_decides_and_is_explained() {
    let folder = Folder::new();
    let text =
        "func @main(%x: tensor<4xf16>, state %s: state<tensor<4xf16>>) -> (y: tensor<4xf16>) {
  %1 = read_state %s
  %y = add %x, %1
  write_state %s, %y
  return %y
}
";
    folder.file("model.mlc", text);
    let refused = folder.refused(5, "convert model.mlc -o out.mlpackage --target ios16");
    insta::assert_snapshot!(refused);
    let ran = folder.line("convert model.mlc -o out.mlpackage").ok();
    assert!(ran.stderr.contains("iOS 18 (the lowest that fits)"), "{}", ran.stderr);
}

#[test]
fn a_trace_tells_the_shapes_of_its_inputs() {
    let folder = Folder::new();
    let root = mlc_testkit::workspace_root();
    folder
        .file("traced.pt", std::fs::read(root.join("testdata/front/ts/traced/model.pt")).unwrap());
    let ran = folder.line("convert traced.pt -o out.mlpackage --json").ok().json();
    assert_eq!(ran["report"]["inputs"][0]["type"], "f32[1,3,8,8]");
    assert_eq!(ran["report"]["outputs"][0]["name"], "output");
}
