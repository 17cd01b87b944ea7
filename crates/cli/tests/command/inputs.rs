//! Files that are missing, damaged, or say what nobody knows.

use mlc_testkit::archive_builder::{Archive, Call, Graph, zip};
use serde_json::{Value, json};

use crate::support::{Folder, linear};

const CONVERT: &str = "convert model.pt2 -o out.mlpackage";

/// What `convert` says of these bytes; it exits with `code` and writes nothing.
#[track_caller]
fn refused(code: i32, bytes: &[u8]) -> String {
    let folder = Folder::new();
    folder.file("model.pt2", bytes).refused(code, CONVERT)
}

/// The same for the program in `archive`, in both generations; gives the newer one's message.
#[track_caller]
fn both(code: i32, archive: &Archive) -> String {
    let old = refused(code, &archive.v1());
    let new = refused(code, &archive.v2());
    let head = |text: &str| text.lines().nth(1).unwrap_or_default().to_owned();
    let first_word = |text: &str| head(text).split(':').next().unwrap_or_default().to_owned();
    assert_eq!(first_word(&old), first_word(&new), "{old}{new}");
    new
}

/// The linear model with a change to its graph module.
fn changed(change: impl Fn(&mut Value)) -> Archive {
    let mut archive = linear().archive();
    change(&mut archive.program["graph_module"]);
    archive
}

#[test]
fn the_sound_model_converts() {
    for bytes in [linear().archive().v1(), linear().archive().v2()] {
        let folder = Folder::new();
        folder.file("model.pt2", bytes).line(CONVERT).ok();
        assert!(folder.exists("out.mlpackage/Manifest.json"));
    }
}

#[test]
fn a_missing_file() {
    let folder = Folder::new();
    insta::assert_snapshot!(folder.refused(3, CONVERT));
}

#[test]
fn a_truncated_archive() {
    let bytes = linear().archive().v2();
    insta::assert_snapshot!(refused(3, &bytes[..bytes.len() / 2]));
    for end in (0..bytes.len()).step_by(197) {
        refused(3, &bytes[..end]);
    }
}

#[test]
fn a_damaged_entry() {
    let mut bytes = linear().archive().v2();
    let at = bytes.windows(12).position(|w| w == b"graph_module").unwrap();
    bytes[at] ^= 1;
    insta::assert_snapshot!(refused(3, &bytes));
}

#[test]
fn wrong_magic() {
    insta::assert_snapshot!(refused(3, b"GGUF\x03\0\0\0 and so on"));
    refused(3, b"");
    let folder = Folder::new();
    folder.file("notes", "just some words");
    insta::assert_snapshot!(folder.refused(3, "inspect notes"));
}

#[test]
fn other_archives() {
    let script = [
        ("m/data.pkl".to_owned(), vec![]),
        ("m/code/__torch__.py".to_owned(), vec![]),
        ("m/version".to_owned(), vec![]),
    ];
    insta::assert_snapshot!(refused(3, &zip(&script)));
}

#[test]
fn a_schema_from_the_future() {
    let mut archive = linear().archive();
    archive.program["schema_version"] = json!({"major": 9, "minor": 1});
    insta::assert_snapshot!(both(3, &archive));
}

#[test]
fn an_unknown_kind_of_argument() {
    let archive = changed(|module| {
        module["graph"]["nodes"][1]["inputs"][0]["arg"] = json!({"as_frob": [1]});
    });
    insta::assert_snapshot!(both(3, &archive));
}

#[test]
fn an_unknown_enum_number() {
    let archive = changed(|module| {
        module["graph"]["nodes"][1]["inputs"][0]["arg"] = json!({"as_memory_format": 99});
        module["graph"]["tensor_values"]["linear"]["dtype"] = json!(77);
    });
    insta::assert_snapshot!(both(3, &archive));
}

#[test]
fn a_value_of_the_wrong_type() {
    let archive = changed(|module| {
        module["graph"]["nodes"][1]["inputs"][0]["arg"] = json!({"as_int": "three"});
    });
    insta::assert_snapshot!(both(3, &archive));
}

#[test]
fn a_graph_that_is_not_sound() {
    let archive = changed(|module| {
        module["graph"]["nodes"][1]["inputs"][0]["arg"] = json!({"as_tensor": {"name": "ghost"}});
    });
    insta::assert_snapshot!(both(3, &archive));
}

#[test]
fn a_weight_that_is_too_short() {
    let mut archive = linear().archive();
    archive.weights[1].values.truncate(2);
    insta::assert_snapshot!(both(3, &archive));
    archive.weights.pop();
    insta::assert_snapshot!("a_weight_that_is_missing", both(3, &archive));
}

#[test]
fn absurd_shapes_of_weights() {
    let mut archive = linear().archive();
    archive.weights[0].sizes = vec![1 << 40, 1 << 40];
    insta::assert_snapshot!(both(3, &archive));
    archive.weights[0].sizes = vec![-4, 3];
    insta::assert_snapshot!("negative_shapes_of_weights", both(3, &archive));
}

#[test]
fn absurd_shapes_of_inputs() {
    let mut graph = Graph::new();
    let sizes = [1 << 40, 1 << 40];
    graph
        .input("x", &sizes)
        .call(Call::new("aten.relu.default", "y", &sizes).tensor("self", "x"))
        .output("y");
    let folder = Folder::new();
    folder.file("model.pt2", graph.archive().v2());
    insta::assert_snapshot!(folder.refused(6, "run model.pt2"));
    insta::assert_snapshot!(
        "absurd_shapes_of_inputs_in_verification",
        folder.refused(6, "convert model.pt2 -o out.mlpackage --verify")
    );
    let negative = changed(|module| {
        module["graph"]["tensor_values"]["x"]["sizes"][0] = json!({"as_int": -2});
    });
    insta::assert_snapshot!("negative_shapes_of_inputs", both(3, &negative));
}

#[test]
fn absurd_shapes_inside() {
    let text = "func @main(%x: tensor<1xf32>) -> tensor<1099511627776x1048576xf32> {
  %y = tile %x, [1152921504606846976]: i64
  %z = reshape %y, [1099511627776, 1048576]: i64
  return %z
}
";
    let folder = Folder::new();
    let ran = folder.file("model.mlc", text).line("run model.mlc");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.starts_with("error[evaluation]"), "{}", ran.stderr);
}

#[test]
fn unsupported_ops_are_all_named_with_their_places() {
    let mut graph = Graph::new();
    let call = |op: &str, from: &str, to: &str| Call::new(op, to, &[2]).tensor("self", from);
    graph
        .input("x", &[2])
        .call(call("mylib.frobnicate.default", "x", "a").at("encoder.0.act", "net.py", 11))
        .call(call("mylib.frobnicate.default", "x", "b").at("encoder.1.act", "net.py", 11))
        .call(call("aten.relu.default", "x", "c").at("encoder.act", "net.py", 12))
        .call(call("mylib.wibble.default", "c", "d").at("decoder", "net.py", 30))
        .call(call("aten.exp.default", "d", "e").at("decoder", "net.py", 31))
        .output("a")
        .output("b")
        .output("e");
    insta::assert_snapshot!(both(4, &graph.archive()));
}

#[test]
fn an_argument_that_no_lowering_reads() {
    let archive = changed(|module| {
        let inputs = module["graph"]["nodes"][1]["inputs"].as_array_mut().unwrap();
        inputs.push(json!({"name": "slope", "arg": {"as_float": 0.5}, "kind": 1}));
    });
    insta::assert_snapshot!(both(4, &archive));
}

#[test]
fn damaged_packages() {
    let folder = Folder::new();
    folder.file("model.pt2", linear().archive().v2()).line(CONVERT).ok();
    let manifest = folder.path("out.mlpackage/Manifest.json");
    let model = folder.path("out.mlpackage/Data/com.apple.CoreML/model.mlmodel");
    let bytes = std::fs::read(&model).unwrap();
    std::fs::write(&model, &bytes[..bytes.len() - 3]).unwrap();
    let cut = folder.refused(3, "print out.mlpackage");
    assert!(cut.contains("error[corrupt-protobuf]"), "{cut}");
    std::fs::remove_file(&manifest).unwrap();
    insta::assert_snapshot!(folder.refused(3, "print out.mlpackage"));
}
