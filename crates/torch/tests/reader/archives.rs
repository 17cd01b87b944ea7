//! Writes small archives of both generations.

use std::io::{Cursor, Write};
use std::path::PathBuf;

use mlc_diag::Diagnostics;
use mlc_torch::graph::ExportedProgram;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A tensor over one of the storages.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) name: &'static str,
    pub(crate) storage: usize,
    pub(crate) sizes: Vec<i64>,
    pub(crate) strides: Vec<i64>,
    pub(crate) offset: i64,
}

/// The content of an archive.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) program: Value,
    pub(crate) storages: Vec<Vec<f32>>,
    pub(crate) weights: Vec<View>,
}

pub(crate) fn zip(entries: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in entries {
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

pub(crate) fn stored(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let owned: Vec<_> = entries.iter().map(|(n, b)| ((*n).to_owned(), b.clone())).collect();
    zip(&owned, CompressionMethod::Stored)
}

fn le(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn int(out: &mut Vec<u8>, value: i64) {
    out.extend([0x8a, 8]);
    out.extend(value.to_le_bytes());
}

fn ints(out: &mut Vec<u8>, values: &[i64]) {
    out.push(b'(');
    values.iter().for_each(|&value| int(out, value));
    out.push(b't');
}

/// The pickle of an `OrderedDict` of parameters.
pub(crate) fn state_dict_pickle(views: &[View], storages: &[Vec<f32>]) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for view in views {
        text(&mut out, view.name);
        out.extend(b"ctorch._utils\n_rebuild_parameter\n(ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &view.storage.to_string());
        text(&mut out, "cpu");
        out.extend([b'K', storages.get(view.storage).map_or(0, |s| s.len() as u8)]);
        out.extend(b"tQ");
        int(&mut out, view.offset);
        ints(&mut out, &view.sizes);
        ints(&mut out, &view.strides);
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR\x88ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}

pub(crate) fn torch_save(pickle: Vec<u8>, storages: &[Vec<f32>]) -> Vec<u8> {
    let mut entries = vec![
        ("archive/data.pkl".to_owned(), pickle),
        ("archive/byteorder".to_owned(), b"little".to_vec()),
    ];
    for (i, storage) in storages.iter().enumerate() {
        entries.push((format!("archive/data/{i}"), le(storage)));
    }
    entries.push(("archive/version".to_owned(), b"3\n".to_vec()));
    zip(&entries, CompressionMethod::Stored)
}

pub(crate) fn meta(dtype: i64, sizes: &[i64], strides: &[i64], offset: i64) -> Value {
    let dims = |d: &[i64]| d.iter().map(|i| json!({"as_int": i})).collect::<Vec<_>>();
    json!({
        "dtype": dtype, "sizes": dims(sizes), "strides": dims(strides), "requires_grad": false,
        "device": {"type": "cpu", "index": null}, "storage_offset": {"as_int": offset}, "layout": 7
    })
}

impl Model {
    /// Entries of torch 2.7.
    pub(crate) fn v1_entries(&self) -> Vec<(String, Vec<u8>)> {
        let pickle = state_dict_pickle(&self.weights, &self.storages);
        let weights = torch_save(pickle, &self.storages);
        let constants = torch_save(state_dict_pickle(&[], &[]), &[]);
        vec![
            ("serialized_exported_program.json".into(), self.program.to_string().into_bytes()),
            ("serialized_state_dict.pt".into(), weights),
            ("serialized_constants.pt".into(), constants),
            ("version".into(), b"8.7".to_vec()),
        ]
    }

    /// Entries of torch 2.9 and later, below `prefix`.
    pub(crate) fn v2_entries(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let mut config = serde_json::Map::new();
        for view in &self.weights {
            let path = format!("weight_{}", view.storage);
            let meta = meta(7, &view.sizes, &view.strides, view.offset);
            config.insert(
                view.name.into(),
                json!({"path_name": path, "is_param": true, "use_pickle": false, "tensor_meta": meta}),
            );
        }
        let mut entries: Vec<(String, Vec<u8>)> = self
            .storages
            .iter()
            .enumerate()
            .map(|(i, s)| (format!("{prefix}data/weights/weight_{i}"), le(s)))
            .collect();
        let mut add = |name: &str, bytes: Vec<u8>| entries.push((format!("{prefix}{name}"), bytes));
        let config = json!({"config": config}).to_string().into_bytes();
        add("data/weights/model_weights_config.json", config);
        add("data/constants/model_constants_config.json", b"{\"config\": {}}".to_vec());
        add("models/model.json", self.program.to_string().into_bytes());
        add("archive_format", b"pt2".to_vec());
        add("archive_version", b"0".to_vec());
        add("byteorder", b"little".to_vec());
        entries
    }

    pub(crate) fn v1(&self) -> Vec<u8> {
        zip(&self.v1_entries(), CompressionMethod::Stored)
    }

    pub(crate) fn v2(&self) -> Vec<u8> {
        zip(&self.v2_entries("demo/"), CompressionMethod::Stored)
    }
}

/// `relu(linear(x, a.weight, a.bias)) @ tied`, where `tied` is another name of `a.weight` and both
/// lie at offset 6 of a storage of 20 elements with rows 5 apart.
pub(crate) fn linear_model() -> Model {
    let storage: Vec<f32> = (0..20).map(|i| i as f32).collect();
    let weight =
        |name| View { name, storage: 0, sizes: vec![3, 2], strides: vec![5, 1], offset: 6 };
    let bias = View { name: "a.bias", storage: 1, sizes: vec![3], strides: vec![1], offset: 0 };
    Model {
        program: linear_program(),
        storages: vec![storage, vec![0.5, 1.5, 2.5]],
        weights: vec![weight("a.weight"), bias, weight("b.weight")],
    }
}

fn tensor(name: &str) -> Value {
    json!({"as_tensor": {"name": name}})
}

fn linear_program() -> Value {
    let parameter = |name: &str, fqn: &str| json!({"parameter": {"arg": {"name": name}, "parameter_name": fqn}});
    let batch = json!({"as_expr": {"expr_str": "Symbol('s77', positive=True, integer=True)",
                                   "hint": {"as_int": 5}}});
    let rows = |width: i64| {
        let mut meta = meta(7, &[0, width], &[width, 1], 0);
        meta["sizes"][0] = batch.clone();
        meta
    };
    let leaf = r#"{"type": null, "context": null, "children_spec": []}"#;
    let tuple = r#""type": "builtins.tuple", "context": "null""#;
    let dict = r#""type": "builtins.dict""#;
    let in_spec = format!(
        r#"[1, {{{tuple}, "children_spec": [{{{tuple}, "children_spec": [{leaf}]}}, {{{dict}, "context": "[]", "children_spec": []}}]}}]"#
    );
    let out_spec =
        format!(r#"[1, {{{dict}, "context": "[\"logits\"]", "children_spec": [{leaf}]}}]"#);
    json!({
        "graph_module": {
            "graph": {
                "inputs": [tensor("p_a_weight"), tensor("p_a_bias"), tensor("p_b"), tensor("x")],
                "outputs": [tensor("mm")],
                "nodes": [
                    {"target": "torch.ops.aten.linear.default",
                     "inputs": [{"name": "input", "arg": tensor("x"), "kind": 1},
                                {"name": "weight", "arg": tensor("p_a_weight"), "kind": 1},
                                {"name": "bias", "arg": tensor("p_a_bias"), "kind": 1}],
                     "outputs": [tensor("linear")],
                     "metadata": {
                         "nn_module_stack": "L__self__,,pkg.Net;L__self___a,a,torch.nn.modules.linear.Linear",
                         "stack_trace": "File \"net.py\", line 7, in forward\n    return self.a(x)"
                     }},
                    {"target": "torch.ops.aten.relu.default",
                     "inputs": [{"name": "self", "arg": tensor("linear"), "kind": 1}],
                     "outputs": [tensor("relu")], "metadata": {}},
                    {"target": "torch.ops.aten.mm.default",
                     "inputs": [{"name": "self", "arg": tensor("relu"), "kind": 1},
                                {"name": "mat2", "arg": tensor("p_b"), "kind": 1}],
                     "outputs": [tensor("mm")], "metadata": {}}
                ],
                "tensor_values": {
                    // The graph's own offset is not to be trusted.
                    "p_a_weight": meta(7, &[3, 2], &[5, 1], 0), "p_a_bias": meta(7, &[3], &[1], 0),
                    "p_b": meta(7, &[3, 2], &[5, 1], 0), "x": rows(2), "linear": rows(3),
                    "relu": rows(3), "mm": rows(2)
                },
                "sym_int_values": {}, "sym_bool_values": {}, "is_single_tensor_return": false
            },
            "signature": {
                "input_specs": [parameter("p_a_weight", "a.weight"), parameter("p_a_bias", "a.bias"),
                                parameter("p_b", "b.weight"), {"user_input": {"arg": tensor("x")}}],
                "output_specs": [{"user_output": {"arg": tensor("mm")}}]
            },
            "module_call_graph": [{"fqn": "", "signature": {
                "inputs": [], "outputs": [], "in_spec": in_spec, "out_spec": out_spec,
                "forward_arg_names": ["features"]}}]
        },
        "opset_version": {"aten": 10},
        "range_constraints": {"s77": {"min_val": 2, "max_val": 16}, "2*s77": {"min_val": 4, "max_val": null}},
        "schema_version": {"major": 8, "minor": 20},
        "verifiers": ["TRAINING"],
        "torch_version": "2.15.0"
    })
}

/// Reads `bytes` from a file called `demo.pt2`.
pub(crate) fn read(bytes: &[u8]) -> Result<ExportedProgram, Diagnostics> {
    let (_folder, path) = file(bytes);
    mlc_torch::read(&path)
}

pub(crate) fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.pt2");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}
