//! Outputs that exist already or cannot be written.

use crate::support::{Folder, TEXT, linear};

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("model.pt2", linear().archive().v2()).file("model.mlc", TEXT);
    folder
}

#[test]
fn an_output_that_exists_stays() {
    let folder = folder();
    folder.file("out.mlpackage/mine", "precious").file("out.mlc", "mine").file("y.npy", "mine");
    insta::assert_snapshot!(folder.refused(2, "convert model.pt2 -o out.mlpackage"));
    folder.refused(2, "opt model.mlc -o out.mlc");
    folder.refused(2, "print model.mlc -o out.mlc");
    folder.refused(2, "run model.mlc --out y=@y.npy");
    folder.refused(2, "convert model.pt2 -o new.mlpackage --report out.mlc");
}

#[test]
fn force_replaces_the_whole_output() {
    let folder = folder();
    folder.file("out.mlpackage/mine", "precious").file("out.mlc", "mine");
    folder.line("convert model.pt2 -o out.mlpackage --force").ok();
    assert!(!folder.exists("out.mlpackage/mine"));
    assert!(folder.exists("out.mlpackage/Manifest.json"));
    folder.line("print model.mlc -o out.mlc --force").ok();
    assert!(String::from_utf8(folder.read("out.mlc")).unwrap().contains("func @main"));
    let names = folder.tree("");
    assert!(names.keys().all(|path| !path.to_string_lossy().contains(".mlc-")), "{names:?}");
}

#[test]
fn folders_that_cannot_be_written() {
    let folder = folder();
    insta::assert_snapshot!(folder.refused(3, "convert model.pt2 -o none/out.mlpackage"));
    insta::assert_snapshot!(
        "a_file_in_place_of_a_folder",
        folder.refused(3, "convert model.pt2 -o model.pt2/out.mlpackage")
    );
    folder.refused(3, "opt model.mlc -o none/out.mlc");
    folder.refused(3, "run model.mlc --out y=@none/y.npy");
    folder.refused(3, "convert model.pt2 -o out.mlpackage --report none/report.json");
}

#[test]
fn an_output_of_no_known_kind() {
    insta::assert_snapshot!(folder().refused(2, "convert model.pt2 -o out.coreml"));
}

#[test]
fn a_failed_conversion_replaces_nothing() {
    let folder = folder();
    folder.line("convert model.pt2 -o out.mlpackage").ok();
    let refused = folder.refused(
        1,
        "convert model.pt2 -o out.mlpackage --force --precision fp32 --verify --tolerance snr=400 \
         --passes precision{to=fp16}",
    );
    assert!(refused.contains("error[verify-mismatch]"), "{refused}");
}

#[cfg(unix)]
#[test]
fn outputs_are_readable_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    folder.line("print model.mlc -o out.mlc").ok();
    let mode = |name: &str| folder.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("out.mlc"), mode("model.mlc"));
}
