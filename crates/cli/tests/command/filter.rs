//! `opt` and `print` between pipes.

use crate::support::{Folder, TEXT, linear};

#[test]
fn opt_is_a_filter() {
    let folder = Folder::new();
    let ran = folder.pipe(&["opt", "--passes=fix(identity-removal,cse),dce"], TEXT).ok();
    assert_eq!(ran.stderr, "");
    insta::assert_snapshot!(ran.stdout);
    let through = folder.pipe(&["opt"], TEXT).ok().stdout;
    assert_eq!(folder.pipe(&["opt", "-", "-o", "-"], &through).ok().stdout, through);
}

#[test]
fn filters_can_be_joined() {
    let folder = Folder::new();
    let at_once = folder.pipe(&["opt", "--passes=identity-removal,cse"], TEXT).ok().stdout;
    let first = folder.pipe(&["opt", "--passes=identity-removal"], TEXT).ok().stdout;
    assert_eq!(folder.pipe(&["opt", "--passes=cse"], &first).ok().stdout, at_once);
}

#[test]
fn errors_in_a_filter_have_a_place() {
    let folder = Folder::new();
    let ran = folder.pipe(&["opt", "--passes=cse"], &TEXT.replace("add %1", "adds %1, %0"));
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn what_is_printed_reads_back() {
    let folder = Folder::new();
    folder.file("model.pt2", linear().archive().v2());
    let printed = folder.line("print model.pt2").ok().stdout;
    assert_eq!(folder.pipe(&["print"], &printed).ok().stdout, printed);
    let through = folder.pipe(&["opt"], &printed).ok().stdout;
    assert_eq!(folder.pipe(&["print"], &through).ok().stdout, printed);
    let located = folder.line("print model.pt2 --locations").ok().stdout;
    let through = folder.pipe(&["opt", "--print-locations"], &located).ok().stdout;
    assert!(through.contains("loc(\"fc\", \"net.py\":7, \"aten.linear.default\")"), "{through}");
}

#[test]
fn a_package_prints_as_text_that_converts_to_it() {
    let folder = Folder::new();
    folder.file("model.pt2", linear().archive().v2());
    folder.line("convert model.pt2 -o a.mlpackage --target ios16 --no-record").ok();
    folder.line("print a.mlpackage -o a.mlc").ok();
    let verified = folder.line("verify a.mlc --source a.mlpackage --tolerance rtol=0").ok();
    assert!(verified.stderr.contains("ok"), "{}", verified.stderr);
    let twice = folder.line("print a.mlc").ok().stdout;
    assert_eq!(twice, String::from_utf8(folder.read("a.mlc")).unwrap());
}

#[test]
fn passes_can_be_watched() {
    let folder = Folder::new();
    let args = ["opt", "--passes=identity-removal,cse", "--print-after", "changed", "--pass-stats"];
    let ran = folder.pipe(&args, TEXT).ok();
    assert!(ran.stderr.contains("// ---- after cse ----"), "{}", ran.stderr);
    assert!(ran.stderr.contains("identity-removal"), "{}", ran.stderr);
    let stopped = folder.pipe(&["opt", "--passes=cse,dce", "--bisect-limit", "0"], TEXT).ok();
    assert_eq!(stopped.stdout, folder.pipe(&["opt"], TEXT).ok().stdout);
}
