//! `mlc.toml`.

use crate::support::{Folder, linear};

fn folder(config: &str) -> Folder {
    let folder = Folder::new();
    folder.file("in/model.pt2", linear().archive().v2()).file("in/mlc.toml", config);
    folder
}

const CONVERT: &str = "convert in/model.pt2 -o out.mlpackage";

#[test]
fn flags_are_found_beside_the_input() {
    let folder = folder("[convert]\ntarget = \"ios17\"\nprecision = \"fp32\"\n\n[opt]\nseed = 3\n");
    let ran = folder.line(CONVERT).ok();
    assert!(ran.stderr.contains("iOS 17 (asked)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("precision fp32"), "{}", ran.stderr);
}

#[test]
fn flags_of_the_command_line_win() {
    let folder = folder("[convert]\ntarget = \"ios17\"\nforce = true\n");
    folder.file("out.mlpackage/mine", "");
    let ran = folder.line(&format!("{CONVERT} --target ios16")).ok();
    assert!(ran.stderr.contains("iOS 16 (asked)"), "{}", ran.stderr);
}

#[test]
fn another_file_can_be_named() {
    let folder = folder("[convert]\ntarget = \"ios17\"\n");
    folder
        .file("other.toml", "[convert]\ntarget = \"ios18\"\nkeep-fp32 = [\"linear\", \"relu\"]\n");
    let ran = folder.line(&format!("{CONVERT} --config other.toml")).ok();
    assert!(ran.stderr.contains("iOS 18 (asked)"), "{}", ran.stderr);
    let missing = folder.refused(2, &format!("{CONVERT} --config none.toml --force"));
    assert!(missing.contains("none.toml"), "{missing}");
}

#[test]
fn the_flags_in_force_can_be_shown() {
    let folder = folder("[convert]\ntarget = \"ios17\"\n");
    let line = format!("{CONVERT} --precision fp32 --print-config");
    let shown = folder.line(&line).ok().stdout;
    assert!(!folder.exists("out.mlpackage"));
    insta::assert_snapshot!(shown);
    assert_eq!(folder.line(&line).ok().stdout, shown);
    let other = folder.line(&format!("{CONVERT} --print-config")).ok().stdout;
    assert_ne!(other.lines().last(), shown.lines().last());
}

#[test]
fn mistakes_are_named_with_the_file() {
    let mistakes = [
        "[convert]\ntarrget = \"ios17\"\n",
        "[convert]\ntarget = \"ios12\"\n",
        "[convret]\ntarget = \"ios17\"\n",
        "target = \"ios17\"\n",
        "[convert]\nkeep-fp32 = { softmax = true }\n",
        "[convert\n",
    ];
    let found: Vec<String> =
        mistakes.iter().map(|text| format!("{text}{}", folder(text).refused(2, CONVERT))).collect();
    insta::assert_snapshot!(found.join("\n"));
}
