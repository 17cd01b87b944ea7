//! Packages of other tools, damaged in one place.

use mlc_testkit::workspace_root;

use crate::support::Folder;

const MODEL: &str = "A.mlpackage/Data/com.apple.CoreML/model.mlmodel";
const MANIFEST: &str = "A.mlpackage/Manifest.json";

/// A folder with the package `name` of `testdata/coreml/packages` as `A.mlpackage`.
fn with(name: &str) -> Folder {
    let folder = Folder::new();
    let root = workspace_root().join("testdata/coreml/packages").join(name);
    let package = root.join(format!("{name}.mlpackage"));
    for file in [MODEL, MANIFEST, "A.mlpackage/Data/com.apple.CoreML/weights/weight.bin"] {
        let inside = file.trim_start_matches("A.mlpackage/");
        if let Ok(bytes) = std::fs::read(package.join(inside)) {
            folder.file(file, bytes);
        }
    }
    folder
}

#[test]
fn damage_is_named_and_nothing_is_written() {
    let folder = with("fp16_ios17");
    let sound = folder.read(MODEL);
    let refused = |line: &str, code: &str| {
        let text = folder.refused(3, line);
        assert!(text.contains(&format!("error[{code}]: ")), "{text}");
    };
    folder.file(MODEL, &sound[..sound.len() / 2]);
    for line in
        ["print A.mlpackage", "run A.mlpackage", "opt A.mlpackage -o B.mlpackage --passes=cse"]
    {
        refused(line, "corrupt-protobuf");
    }
    folder.file(MODEL, &sound);
    let manifest = folder.read(MANIFEST);
    folder.file(MANIFEST, &manifest[..30]);
    refused("inspect A.mlpackage", "corrupt-manifest");
    folder.file(MANIFEST, &manifest);
    // The name of the second op becomes that of the first: both have as many letters.
    let names = ["input_3_cast_fp16", "input_5_cast_fp16"].map(str::as_bytes);
    let mut bytes = sound.clone();
    for at in 0..bytes.len() - names[1].len() {
        if bytes[at..].starts_with(names[1]) {
            bytes[at..at + names[1].len()].copy_from_slice(names[0]);
        }
    }
    folder.file(MODEL, &bytes);
    refused("print A.mlpackage", "duplicate-name");
}

#[test]
fn classifiers_are_run_and_compared() {
    let folder = with("classifier");
    let shown = folder.line("run A.mlpackage").ok().stdout;
    let label = shown.lines().next().unwrap();
    assert!(label.starts_with("classLabel string  "), "{shown}");
    let best = shown.lines().nth(2).unwrap().split_whitespace().next().unwrap();
    assert!(label.ends_with(best), "{shown}");
    folder.line("verify A.mlpackage --source A.mlpackage").ok();
}
