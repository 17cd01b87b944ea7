//! Watching, cutting and repeating runs of passes.

use crate::support::{Folder, TEXT, linear};

/// Two functions, of which one has something to merge.
fn two() -> String {
    let other = TEXT.replace("@main", "@other");
    format!("{TEXT}{other}")
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("model.mlc", TEXT).file("two.mlc", two());
    folder.file("model.pt2", linear().archive().v2());
    folder
}

#[test]
fn programs_are_shown_before_and_after_passes() {
    let folder = folder();
    let ran = folder.line("opt model.mlc --passes identity-removal,cse --print-before all").ok();
    assert_eq!(ran.stderr.matches("// ---- before ").count(), 2, "{}", ran.stderr);
    let ran = folder.line("opt model.mlc --passes identity-removal,cse,dce --print-after all").ok();
    assert_eq!(ran.stderr.matches("// ---- after ").count(), 3, "{}", ran.stderr);
    let ran = folder.line("opt model.mlc --passes cse,dce --print-after changed").ok();
    assert_eq!(ran.stderr.matches("// ---- after cse").count(), 1, "{}", ran.stderr);
    assert!(!ran.stderr.contains("after dce"), "{}", ran.stderr);
    // An alias stands for its passes.
    let ran = folder.line("opt model.mlc --passes cleanup --print-before cleanup").ok();
    assert!(ran.stderr.contains("// ---- before fold"), "{}", ran.stderr);
    // What is shown reads back.
    let shown = ran.stderr.split("// ---- ").nth(1).unwrap().split_once("----\n").unwrap().1;
    folder.pipe(&["opt"], shown).ok();
    let refused = folder.refused(2, "opt model.mlc --passes cse --print-before changed");
    assert!(refused.contains("not known before it"), "{refused}");
}

#[test]
fn names_that_the_pipeline_does_not_have_are_told() {
    let folder = folder();
    for flag in ["--skip", "--print-before", "--print-after", "--stop-after"] {
        let refused = folder.refused(2, &format!("opt model.mlc --passes cse {flag} cze"));
        assert!(refused.contains("did you mean `cse`"), "{refused}");
        let line = format!("opt model.mlc --passes cse {flag} dce");
        if flag == "--stop-after" {
            assert!(folder.refused(2, &line).contains("has no `dce`"));
        } else {
            let ran = folder.line(&line).ok();
            assert!(ran.stderr.contains("warning[bad-argument]: the pipeline has no `dce`"));
        }
    }
    let ran = folder.run(&["opt", "two.mlc", "--passes=func othr(cse)"]);
    assert!(ran.code == 2 && ran.stderr.contains("`other` is near"), "{}", ran.stderr);
}

#[test]
fn a_folder_gets_every_program_on_the_way() {
    let folder = folder();
    folder.line("opt two.mlc --passes identity-removal,cse,dce --dump-dir d -o out.mlc").ok();
    let names: Vec<String> = folder
        .tree("d")
        .keys()
        .map(|path| path.file_name().unwrap().to_string_lossy().into())
        .collect();
    assert_eq!(names, ["000-input.mlc", "001-identity-removal.mlc", "002-cse.mlc"]);
    let last = String::from_utf8(folder.read("d/002-cse.mlc")).unwrap();
    assert_eq!(
        folder.pipe(&["print"], &last).ok().stdout,
        folder.line("print out.mlc").ok().stdout
    );
}

#[test]
fn passes_are_skipped_stopped_at_and_cut() {
    let folder = folder();
    let text = |line: &str| folder.line(line).ok().stdout;
    let all = text("opt model.mlc --passes cse,identity-removal");
    let first = text("opt model.mlc --passes cse");
    assert_ne!(all, first);
    assert_eq!(text("opt model.mlc --passes cse,identity-removal --stop-after cse"), first);
    assert_eq!(text("opt model.mlc --passes cse,identity-removal --bisect-limit 1"), first);
    assert_eq!(text("opt model.mlc --passes cse,identity-removal --skip identity-removal"), first);
    let one = folder.run(&["opt", "two.mlc", "--passes=func other(cse)"]).ok().stdout;
    assert_eq!(one.matches(" = mul ").count(), 3, "{one}");
}

#[test]
fn what_passes_did_and_how_long_it_took_is_told() {
    let folder = folder();
    let ran = folder.line("opt model.mlc --passes cse,dce --pass-stats").ok();
    assert!(ran.stderr.contains("merged=2") && !ran.stderr.contains(" ms"), "{}", ran.stderr);
    let ran = folder.line("opt model.mlc --passes cse,dce --time-passes").ok();
    assert!(ran.stderr.contains(" ms") && ran.stderr.contains("total"), "{}", ran.stderr);
    let json = folder.line("opt model.mlc --passes cse,dce --json").ok().json();
    assert_eq!(json["report"]["runs"][0]["pass"], "cse");
    assert_eq!(json["report"]["runs"][0]["counters"]["merged"], 2);
}

#[test]
fn a_failure_leaves_what_repeats_it() {
    let folder = folder();
    let line = "opt two.mlc --passes cse,legalize{target=ios15} --reproducer r -o out.mlc";
    let failed = folder.line(line);
    assert_eq!(failed.code, 5, "{}", failed.stderr);
    assert!(failed.stderr.contains("`mlc opt --replay r` repeats this"), "{}", failed.stderr);
    assert!(!folder.exists("out.mlc"));
    let again = folder.line("opt --replay r");
    assert_eq!(again.code, 5);
    assert_eq!(again.stderr.lines().next(), failed.stderr.lines().next());
    let missing = folder.refused(3, "opt --replay nowhere");
    assert!(missing.contains("nowhere/replay.json"), "{missing}");
}

#[test]
fn conversions_are_watched_the_same_way() {
    let folder = folder();
    let convert = "convert model.pt2 --target ios16 --no-record";
    folder.line(&format!("{convert} -o plain.mlpackage")).ok();
    let flags = "--dump-dir d --verify-each=numbers --pass-stats --print-after precision";
    let ran = folder.line(&format!("{convert} -o a.mlpackage {flags}")).ok();
    assert!(ran.stderr.contains("// ---- after precision"), "{}", ran.stderr);
    assert!(ran.stderr.contains("legal-dtypes"), "{}", ran.stderr);
    assert!(folder.exists("d/000-input.mlc"));
    assert_eq!(folder.tree("plain.mlpackage"), folder.tree("a.mlpackage"));
    // Text shows the program on its way, a package is legal.
    let stop = "--stop-after fold";
    folder.line(&format!("{convert} -o b.mlc {stop}")).ok();
    assert!(String::from_utf8(folder.read("b.mlc")).unwrap().contains("xf32>"));
    let refused = folder.line(&format!("{convert} -o a2.mlpackage --skip narrow --time-passes"));
    assert_eq!(refused.code, 2, "{}", refused.stderr);
}

#[test]
fn packages_of_several_functions_go_in_and_out() {
    let folder = folder();
    folder.line("opt two.mlc --passes legalize{target=ios18} -o two.mlpackage").ok();
    folder.line("opt two.mlpackage --passes cse -o less.mlpackage").ok();
    let text = folder.line("opt less.mlpackage").ok().stdout;
    assert!(text.contains("@main") && text.contains("@other"), "{text}");
    assert_eq!(text.matches(" = mul ").count(), 2, "{text}");
    for function in ["main", "other"] {
        let ran =
            folder.line(&format!("run less.mlpackage --function {function} --in x=ones")).ok();
        assert!(ran.stdout.contains("4 4 4 4 4 4"), "{}", ran.stdout);
    }
    let refused = folder.refused(2, "print less.mlpackage --function third");
    assert!(refused.contains("functions are main, other"), "{refused}");
}

#[test]
fn options_are_listed_with_their_meaning() {
    let folder = Folder::new();
    let listed = folder.line("passes").ok().stdout;
    assert!(listed.contains("limit=4096"), "{listed}");
    let rows = folder.line("passes --json").ok().json();
    for row in rows["report"].as_array().unwrap() {
        for option in row["options"].as_array().unwrap() {
            assert_ne!(option["doc"], "", "{} of {}", option["name"], row["name"]);
        }
    }
}

#[test]
fn ops_are_listed_with_the_frontends_that_make_them() {
    let listed = Folder::new().line("ops").ok().stdout;
    let conv = listed.lines().find(|line| line.starts_with("conv ")).unwrap();
    assert!(conv.contains(" torch "), "{conv}");
    assert!(listed.contains("; lowerings of torch make "), "{listed}");
}

#[test]
fn sequences_are_computed_as_images_on_request() {
    let folder = Folder::new();
    folder.file(
        "m.mlc",
        "func @main(%x: tensor<1x8x2xf32>) -> tensor<1x8x2xf32> {\n  \
           %v = const [[1.0, 2.0], [3.0, 4.0]] : tensor<2x2xf32>\n  \
           %1 = linear %x, %v\n  %2 = relu %1\n  %y = linear %2, %v\n  return %y\n}\n",
    );
    let plain = folder.line("convert m.mlc -o -").ok().stdout;
    assert!(plain.contains(" = linear ") && !plain.contains(" = conv "), "{plain}");
    let layout = folder.line("convert m.mlc -o - --layout ane").ok().stdout;
    assert_eq!(layout.matches(" = conv ").count(), 2, "{layout}");
    assert!(!layout.contains(" = linear "), "{layout}");
}
