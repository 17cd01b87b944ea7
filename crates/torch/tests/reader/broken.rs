//! Each fault has its diagnostic.

use mlc_diag::Diagnostics;
use serde_json::{Value, json};
use zip::CompressionMethod;

use crate::archives::{
    Model, file, linear_model, read, state_dict_pickle, stored, torch_save, zip,
};

fn shown(found: &Diagnostics) -> String {
    found.items().iter().map(|d| format!("{d}\n")).collect()
}

/// Reads `bytes` and checks that each of `parts` stands in what is said of them.
#[track_caller]
fn refused(bytes: &[u8], parts: &[&str]) {
    let text = shown(&read(bytes).expect_err("the file is broken"));
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

/// The same for the linear model with a changed graph module, in both generations.
#[track_caller]
fn refused_graph(change: impl Fn(&mut Value), parts: &[&str]) {
    let mut model = linear_model();
    change(&mut model.program["graph_module"]);
    refused(&model.v1(), parts);
    refused(&model.v2(), parts);
}

#[track_caller]
fn refused_weights(change: impl Fn(&mut Model), parts: &[&str]) {
    let mut model = linear_model();
    change(&mut model);
    refused(&model.v1(), parts);
    refused(&model.v2(), parts);
}

fn op(target: &str, takes: &str, gives: &str) -> Value {
    json!({"target": target, "metadata": {},
        "inputs": [{"name": "self", "arg": {"as_tensor": {"name": takes}}}],
        "outputs": [{"as_tensor": {"name": gives}}]})
}

#[test]
fn other_formats_are_named() {
    refused(b"", &["error[unknown-format]", "the file is empty"]);
    refused(b"hello, world", &["error[unknown-format]", "no zip archive"]);
    refused(b"GGUF\x03", &["error[unknown-format]", "GGUF"]);
    refused(b"\x80\x02}q\x00.", &["error[unknown-format]", "bare pickle"]);
    let script = [("m/data.pkl", vec![]), ("m/code/__torch__.py", vec![]), ("m/version", vec![])];
    refused(&stored(&script), &["error[unknown-format]", "TorchScript", "torch.export.save"]);
    let saved = torch_save(state_dict_pickle(&[], &[]), &[]);
    refused(&saved, &["error[unknown-format]", "torch.save"]);
    let compiled = [("m/archive_format", b"pt2".to_vec()), ("m/data/aotinductor/a.so", vec![])];
    refused(&stored(&compiled), &["error[unknown-format]", "compiled code"]);
    refused(&stored(&[("readme.txt", vec![])]), &["error[unknown-format]", "neither"]);
}

#[test]
fn a_missing_file_is_named() {
    let (folder, _) = file(b"");
    let found = mlc_torch::read(&folder.path().join("none.pt2")).unwrap_err();
    assert!(shown(&found).starts_with("error[file-not-found]: there is no file `none.pt2`"));
    let found = mlc_torch::read(folder.path()).unwrap_err();
    assert!(shown(&found).contains("error[file-not-found]"), "{}", shown(&found));
}

#[test]
fn damaged_archives_are_refused() {
    let bytes = linear_model().v2();
    refused(&bytes[..bytes.len() / 2], &["error[corrupt-archive]", "cut off"]);
    let json = bytes.windows(13).position(|w| w == b"graph_module\"").unwrap();
    let mut flipped = bytes.clone();
    flipped[json] ^= 1;
    refused(&flipped, &["error[corrupt-archive]", "models/model.json", "cannot be read"]);
    let mut twice = stored(&[("m/aaaa", vec![1]), ("m/aaab", vec![2])]);
    for at in 0..twice.len() - 6 {
        if &twice[at..at + 6] == b"m/aaab" {
            twice[at + 5] = b'a';
        }
    }
    refused(&twice, &["error[corrupt-archive]", "share a name"]);
}

#[test]
fn archives_that_inflate_without_measure_are_refused() {
    let mut entries = linear_model().v2_entries("");
    for (name, bytes) in &mut entries {
        if name == "models/model.json" {
            *bytes = vec![b' '; 8 << 20];
        }
    }
    let bomb = zip(&entries, CompressionMethod::Deflated);
    refused(&bomb, &["error[resource-limit]", "models/model.json", "inflates to more than"]);
}

#[test]
fn counts_that_no_file_can_hold_are_refused() {
    let mut bytes = linear_model().v2();
    let end = bytes.len() - 22;
    for (at, value) in [(8, u16::MAX), (10, u16::MAX), (12, u16::MAX), (14, u16::MAX)] {
        bytes[end + at..end + at + 2].copy_from_slice(&value.to_le_bytes());
    }
    refused(&bytes, &["error[corrupt-archive]"]);
    // The same in the 64-bit form, with a directory said to lie far beyond the file.
    let mut end64 = b"PK\x06\x06".to_vec();
    end64.extend(44u64.to_le_bytes());
    end64.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for field in [1u64 << 40, 1 << 40, 1 << 60, 1 << 50] {
        end64.extend(field.to_le_bytes());
    }
    let mut locator = b"PK\x06\x07\0\0\0\0".to_vec();
    locator.extend((end as u64).to_le_bytes());
    locator.extend(1u32.to_le_bytes());
    let tail = bytes.split_off(end);
    let tail = [&tail[..16], &u32::MAX.to_le_bytes(), &tail[20..]].concat();
    bytes.extend([end64, locator, tail].concat());
    refused(&bytes, &["error[corrupt-archive]"]);
}

#[test]
fn versions_and_bytes_of_other_machines_are_refused() {
    let mut model = linear_model();
    model.program["schema_version"] = json!({"major": 9, "minor": 1});
    model.program["graph_module"] = json!("of another shape");
    refused(&model.v2(), &["error[unsupported-schema]", "schema 9.1", "torch 2.15.0"]);
    let mut entries = linear_model().v2_entries("");
    for (name, bytes) in &mut entries {
        if name == "byteorder" {
            *bytes = b"big".to_vec();
        }
    }
    let big = zip(&entries, CompressionMethod::Stored);
    refused(&big, &["error[unknown-format]", "big-endian"]);
}

#[test]
fn text_that_is_no_program_is_refused() {
    let with = |text: &str| {
        let mut entries = linear_model().v1_entries();
        entries[0].1 = text.as_bytes().to_vec();
        zip(&entries, CompressionMethod::Stored)
    };
    refused(&with("{\"schema"), &["error[corrupt-archive]", "no JSON"]);
    refused(&with("{}"), &["error[invalid-graph]", "schema_version"]);
    let mut model = linear_model();
    model.program["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = json!("HERE");
    let open = r#"{"as_string_to_argument":{"k":"#.repeat(5000);
    let deep = format!("{open}{{}}{}", "}}".repeat(5000));
    let text = model.program.to_string().replace("\"HERE\"", &deep);
    refused(&with(&text), &["error[", "recursion limit exceeded"]);
}

#[test]
fn a_wrong_value_is_named_with_its_node() {
    let set = |value: Value| {
        move |module: &mut Value| module["graph"]["nodes"][1]["inputs"][0]["arg"] = value.clone()
    };
    let node = "node 1: ";
    refused_graph(set(json!({"as_int": "x"})), &["error[invalid-graph]", node, "`as_int`"]);
    refused_graph(set(json!({})), &["error[invalid-graph]", node, "without a kind"]);
    refused_graph(
        set(json!({"as_int": 1, "as_bool": true})),
        &[node, "both `as_bool` and `as_int`"],
    );
    let unknown = "argument `self` of `aten.relu.default` is of kind `as_frob`";
    refused_graph(set(json!({"as_frob": [1]})), &["error[unsupported-schema]", unknown]);
    refused_graph(
        set(json!({"as_scalar_type": 99})),
        &["error[unsupported-schema]", "`self` of `aten.relu.default`", "number 99"],
    );
    refused_graph(set(json!({"as_scalar_type": 9})), &["error[unsupported-dtype]", "complex32"]);
    refused_graph(set(json!({"as_memory_format": 0})), &["memory format number 0"]);
}

#[test]
fn names_are_defined_once_and_before_their_uses() {
    let push = |node: Value| {
        move |module: &mut Value| {
            module["graph"]["nodes"].as_array_mut().unwrap().push(node.clone());
        }
    };
    refused_graph(
        push(op("torch.ops.aten.tanh.default", "ghost", "t")),
        &["error[invalid-graph]: `aten.tanh.default` takes `ghost`, which nothing defines"],
    );
    refused_graph(
        push(op("torch.ops.aten.tanh.default", "x", "relu")),
        &["`aten.tanh.default` defines `relu` again"],
    );
    refused_graph(push(op("tanh", "x", "t")), &["`tanh` is no name of an op"]);
    let early = |module: &mut Value| {
        module["graph"]["nodes"].as_array_mut().unwrap().swap(0, 1);
    };
    refused_graph(
        early,
        &["`aten.relu.default` takes `linear` before `aten.linear.default` makes it"],
    );
    let cycle = |module: &mut Value| {
        module["graph"]["nodes"][0]["inputs"][0]["arg"] = json!({"as_tensor": {"name": "relu"}});
    };
    refused_graph(cycle, &["`aten.linear.default` depends on itself through `relu`"]);
    let kind = |module: &mut Value| {
        module["graph"]["nodes"][1]["inputs"][0]["arg"] = json!({"as_sym_int": {"as_name": "x"}});
    };
    refused_graph(kind, &["takes `x` as an integer, which is a tensor"]);
    let untyped = |module: &mut Value| {
        module["graph"]["tensor_values"].as_object_mut().unwrap().remove("linear");
    };
    refused_graph(untyped, &["takes `linear`, which has no type"]);
}

#[test]
fn signatures_fit_their_graph() {
    let fewer = |module: &mut Value| {
        module["signature"]["input_specs"].as_array_mut().unwrap().pop();
    };
    refused_graph(fewer, &["error[invalid-graph]", "4 inputs and the signature 3"]);
    let output = |spec: Value| {
        move |module: &mut Value| module["signature"]["output_specs"][0] = spec.clone()
    };
    refused_graph(output(json!({"frob": {}})), &["error[unsupported-schema]", "kind `frob`"]);
    let stray = json!({"buffer_mutation": {"arg": {"name": "mm"}, "buffer_name": "cache"}});
    refused_graph(output(stray), &["buffer `cache` is written and is no input"]);
    let other = |module: &mut Value| {
        module["signature"]["input_specs"][0]["parameter"]["arg"]["name"] = json!("p_b");
    };
    refused_graph(other, &["`p_a_weight` in the graph and `p_b` in its spec"]);
}

#[test]
fn sizes_are_expressions_that_are_known() {
    let size = |size: Value| {
        move |module: &mut Value| module["graph"]["tensor_values"]["x"]["sizes"][0] = size.clone()
    };
    refused_graph(size(json!({"as_int": -3})), &["error[invalid-graph]", "negative size"]);
    let text = json!({"as_expr": {"expr_str": "frob(s0)"}});
    refused_graph(size(text), &["error[unsupported-schema]", "function `frob` is not known"]);
    let sparse = |module: &mut Value| {
        module["graph"]["tensor_values"]["x"]["layout"] = json!(1);
    };
    refused_graph(sparse, &["error[unsupported-signature]", "sparse_coo"]);
}

#[test]
fn weights_fit_their_description() {
    let corrupt = "error[corrupt-weights]: cannot read `a.weight`";
    refused_weights(|m| m.weights[0].offset = 16, &[corrupt, "reach beyond"]);
    refused_weights(|m| m.weights[0].offset = -1, &[corrupt, "the storage offset is -1"]);
    refused_weights(|m| m.weights[0].strides = vec![-5, 1], &[corrupt, "a stride is -5"]);
    refused_weights(|m| m.weights[0].strides = vec![1], &[corrupt, "strides"]);
    let absurd = |m: &mut Model| {
        m.weights[0].sizes = vec![1 << 40, 1 << 40];
        m.weights[0].strides = vec![0, 0];
    };
    refused_weights(absurd, &[corrupt, "too often"]);
    let other = "`a.bias` is stored as f32 [2], and the graph takes f32 [3]";
    refused_weights(|m| m.weights[1].sizes = vec![2], &["error[corrupt-weights]", other]);
    let gone = |m: &mut Model| {
        m.weights.remove(1);
    };
    refused_weights(gone, &["error[corrupt-weights]: there are no values for `a.bias`"]);
    let short = |m: &mut Model| m.storages[1].truncate(2);
    refused_weights(short, &["error[corrupt-weights]: cannot read `a.bias`"]);
    let lost = |m: &mut Model| {
        m.storages.pop();
    };
    refused_weights(lost, &["error[corrupt-weights]: cannot read `a.bias`: there is no entry"]);
}

#[test]
fn an_empty_view_far_outside_is_harmless() {
    let mut model = linear_model();
    model.weights[1].sizes = vec![0];
    model.weights[1].offset = i64::MAX;
    model.program["graph_module"]["graph"]["tensor_values"]["p_a_bias"]["sizes"] =
        json!([{"as_int": 0}]);
    assert!(read(&model.v1()).is_ok());
    assert!(read(&model.v2()).is_ok());
}

#[test]
fn pickles_that_call_something_else_are_not_run() {
    let mut entries = linear_model().v1_entries();
    let pickle = b"\x80\x02}X\x08\x00\x00\x00a.weightcos\nsystem\nX\x04\x00\x00\x00true\x85Rs.";
    entries[1].1 = torch_save(pickle.to_vec(), &[]);
    let archive = zip(&entries, CompressionMethod::Stored);
    refused(
        &archive,
        &["cannot read `a.weight`: it is an object made by `os.system`", "no values for `a.bias`"],
    );
}

#[test]
fn all_problems_are_found_in_one_run() {
    let change = |module: &mut Value| {
        module["graph"]["nodes"][1]["inputs"][0]["arg"] = json!({"as_frob": 1});
        module["graph"]["tensor_values"]["x"]["dtype"] = json!(9);
        module["signature"]["output_specs"][0] = json!({"blob": {}});
        module["signature"]["input_specs"][1]["parameter"]["parameter_name"] = json!("nowhere");
    };
    refused_graph(change, &["as_frob", "complex32", "kind `blob`", "no values for `nowhere`"]);
}
