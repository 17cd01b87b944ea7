//! `--json`: one document on stdout, whatever happens.

use serde_json::Value;

use crate::support::{Folder, Ran, TEXT, linear};

#[track_caller]
fn document(ran: &Ran, command: &str) -> Value {
    let document = ran.json();
    assert_eq!(document["schema"], format!("mlc.{command}/1"));
    assert_eq!(document["exit"], ran.code);
    assert!(document["diagnostics"].is_array());
    assert_eq!(ran.stderr, "");
    document
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("model.pt2", linear().archive().v2()).file("model.mlc", TEXT);
    folder
}

#[test]
fn every_command_has_a_document() {
    let folder = folder();
    let lines = [
        "convert model.pt2 -o out.mlpackage --json",
        "opt model.mlc --passes cse --json",
        "opt model.mlc -o out.mlc --passes cse --json",
        "run model.mlc --json",
        "verify out.mlpackage --source model.pt2 --json",
        "inspect out.mlpackage --json",
        "print model.mlc --json",
        "dump out.mlpackage --json",
        "ops --json",
        "ops --from torch --json",
        "targets --json",
        "passes --json",
        "codes --json",
        "explain syntax --json",
        "completions bash --json",
    ];
    for line in lines {
        let ran = folder.line(line).ok();
        let document = document(&ran, line.split(' ').next().unwrap());
        assert!(!document["report"].is_null(), "mlc {line}");
    }
}

#[test]
fn failures_are_documents_too() {
    let folder = folder();
    let lines = [
        ("convert none.pt2 -o a.mlpackage --json", 3),
        ("convert model.pt2 -o a.mlpackage --target ios12 --json", 2),
        ("convert model.pt2 -o - --json", 2),
        ("convert model.pt2 -o a.mlpackage --tarrget --json", 2),
        ("convert model.pt2 -o a.mlpackage --tolerance snr=300 --json", 1),
        ("opt model.mlc --passes cze --json", 2),
        ("run model.mlc --in z=ones --json", 2),
        ("explain nothing --json", 2),
    ];
    for (line, code) in lines {
        let ran = folder.line(line);
        assert_eq!(ran.code, code, "mlc {line}\n{}", ran.stdout);
        let document = document(&ran, line.split(' ').next().unwrap());
        let first = &document["diagnostics"][0];
        assert_eq!(first["severity"], "error", "mlc {line}");
        assert!(first["code"].is_string() && first["message"].is_string(), "mlc {line}");
    }
}

#[test]
fn places_have_parts() {
    let folder = folder();
    folder.file("bad.mlc", TEXT.replace("add %1", "adds %1"));
    let text = folder.line("print bad.mlc --json").json();
    let place = &text["diagnostics"][0]["location"][0];
    assert_eq!(place["kind"], "text");
    assert_eq!((&place["file"], &place["line"]), (&"bad.mlc".into(), &4.into()));
    let exists = folder.line("print model.mlc -o model.mlc --json").json();
    assert_eq!(exists["diagnostics"][0]["fix"], "--force");
}

#[test]
fn inspect_lists_what_there_is() {
    let folder = folder();
    folder.line("convert model.pt2 -o out.mlpackage --target ios17").ok();
    let report = folder.line("inspect out.mlpackage --json").ok().json()["report"].clone();
    assert_eq!((&report["kind"], &report["target"]), (&"package".into(), &"ios17".into()));
    let main = &report["functions"][0];
    assert_eq!(main["inputs"][0]["type"], "f32[2,3]");
    assert_eq!(main["outputs"][0]["type"], "f32[2,4]");
    assert_eq!(main["ops"]["linear"], 1);
    assert_eq!(report["parameters"], 16);
    assert!(report["metadata"].as_object().is_some_and(|m| m.contains_key("mlc.version")));
    let source = folder.line("inspect model.pt2 --json").ok().json()["report"].clone();
    assert_eq!(source["kind"], "pt2");
    assert!(source["source"].as_str().is_some_and(|s| s.contains("2.15.0")), "{source}");
}

#[test]
fn what_a_package_says_of_itself_is_carried_on() {
    let folder = folder();
    folder
        .line("convert model.pt2 -o a.mlpackage --set-metadata author=me --set-metadata key=word")
        .ok();
    folder.line("opt a.mlpackage -o b.mlpackage --passes cleanup").ok();
    folder.line("convert b.mlpackage -o c.mlpackage --set-metadata key=other").ok();
    let facts = |name: &str| {
        let report = folder.line(&format!("inspect {name} --json")).ok().json();
        report["report"]["metadata"].clone()
    };
    assert_eq!(facts("a.mlpackage"), facts("b.mlpackage"));
    let last = facts("c.mlpackage");
    assert_eq!((&last["author"], &last["key"]), (&"me".into(), &"other".into()));
}

#[test]
fn the_report_goes_to_a_file() {
    let folder = folder();
    folder.line("convert model.pt2 -o out.mlpackage --report report.json").ok();
    let report: Value = serde_json::from_slice(&folder.read("report.json")).unwrap();
    let document = folder.line("convert model.pt2 -o out.mlpackage --force --json").ok().json();
    assert_eq!(report["id"], document["report"]["id"]);
    assert_eq!(report["functions"], document["report"]["functions"]);
}
