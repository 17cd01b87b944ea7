//! Writes small files of `torch.export`, of both generations, for tests that need one that is sound or
//! broken in a chosen place.
//!
//! ```
//! use mlc_testkit::archive_builder::{Call, Graph};
//!
//! let mut graph = Graph::new();
//! graph.input("x", &[2, 3]);
//! graph.weight("p_w", "fc.weight", &[4, 3], vec![0.5; 12]);
//! graph.call(Call::new("aten.linear.default", "y", &[2, 4]).tensor("input", "x").tensor("weight", "p_w"));
//! let bytes = graph.output("y").archive().v2();
//! assert_eq!(&bytes[..2], b"PK");
//! ```

use std::io::{Cursor, Write};

use serde_json::{Map, Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Element type f32 in the schema.
const FLOAT: i64 = 7;
/// The layout of dense tensors in the schema.
const STRIDED: i64 = 7;

/// The entries of an archive, in order.
pub type Entries = Vec<(String, Vec<u8>)>;

/// A graph of f32 tensors in the making.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    inputs: Vec<Value>,
    input_specs: Vec<Value>,
    outputs: Vec<Value>,
    output_specs: Vec<Value>,
    nodes: Vec<Value>,
    values: Map<String, Value>,
    weights: Vec<Weight>,
}

/// A parameter and its values.
#[derive(Debug, Clone)]
pub struct Weight {
    /// Its name in the module.
    pub name: String,
    /// Extents.
    pub sizes: Vec<i64>,
    /// Elements in row-major order.
    pub values: Vec<f32>,
}

/// One call of an op.
#[derive(Debug, Clone)]
pub struct Call {
    node: Value,
    result: String,
    sizes: Vec<i64>,
}

/// What goes into a file.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The program as JSON.
    pub program: Value,
    /// The parameters.
    pub weights: Vec<Weight>,
}

impl Call {
    /// A call of `op`, such as `aten.relu.default`, that gives a tensor called `result`.
    #[must_use]
    pub fn new(op: &str, result: &str, sizes: &[i64]) -> Self {
        let node = json!({
            "target": format!("torch.ops.{op}"),
            "inputs": [],
            "outputs": [tensor(result)],
            "metadata": {},
        });
        Self { node, result: result.to_owned(), sizes: sizes.to_vec() }
    }

    /// With the tensor `value` as argument `name`.
    #[must_use]
    pub fn tensor(self, name: &str, value: &str) -> Self {
        self.argument(name, tensor(value))
    }

    /// With an argument as the schema writes it, such as `{"as_int": 1}`.
    #[must_use]
    pub fn argument(mut self, name: &str, value: Value) -> Self {
        if let Some(inputs) = self.node["inputs"].as_array_mut() {
            inputs.push(json!({"name": name, "arg": value, "kind": 1}));
        }
        self
    }

    /// Called in the module at `path`, from that line.
    #[must_use]
    pub fn at(mut self, path: &str, file: &str, line: u32) -> Self {
        let key = path.replace('.', "_");
        self.node["metadata"] = json!({
            "nn_module_stack": format!("L__self__,,net.Net;L__self___{key},{path},net.Part"),
            "stack_trace": format!("File \"{file}\", line {line}, in forward\n    return x"),
        });
        self
    }
}

impl Graph {
    /// A graph without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input of the user.
    pub fn input(&mut self, name: &str, sizes: &[i64]) -> &mut Self {
        self.inputs.push(tensor(name));
        self.input_specs.push(json!({"user_input": {"arg": tensor(name)}}));
        self.value(name, sizes)
    }

    /// Adds a parameter: `name` in the graph, `path` in the module. Parameters come before inputs.
    pub fn weight(&mut self, name: &str, path: &str, sizes: &[i64], values: Vec<f32>) -> &mut Self {
        let at = self.weights.len();
        self.inputs.insert(at, tensor(name));
        let spec = json!({"parameter": {"arg": {"name": name}, "parameter_name": path}});
        self.input_specs.insert(at, spec);
        self.weights.push(Weight { name: path.to_owned(), sizes: sizes.to_vec(), values });
        self.value(name, sizes)
    }

    /// Adds a call.
    pub fn call(&mut self, call: Call) -> &mut Self {
        self.nodes.push(call.node);
        self.value(&call.result, &call.sizes)
    }

    /// Makes a tensor an output.
    pub fn output(&mut self, name: &str) -> &mut Self {
        self.outputs.push(tensor(name));
        self.output_specs.push(json!({"user_output": {"arg": tensor(name)}}));
        self
    }

    fn value(&mut self, name: &str, sizes: &[i64]) -> &mut Self {
        self.values.insert(name.to_owned(), meta(sizes));
        self
    }

    /// The archive of the graph.
    #[must_use]
    pub fn archive(&self) -> Archive {
        let is_user = |spec: &Value| spec.get("user_input").is_some();
        let users: Vec<String> = self
            .input_specs
            .iter()
            .filter(|spec| is_user(spec))
            .filter_map(|spec| spec["user_input"]["arg"]["as_tensor"]["name"].as_str())
            .map(str::to_owned)
            .collect();
        let leaves =
            |n: usize| vec![json!({"type": null, "context": null, "children_spec": []}); n];
        let tuple = |of: Vec<Value>| json!({"type": "builtins.tuple", "context": "null", "children_spec": of});
        let named = json!({"type": "builtins.dict", "context": "[]", "children_spec": []});
        let taken = json!([1, tuple(vec![tuple(leaves(users.len())), named])]);
        let given = json!([1, tuple(leaves(self.outputs.len()))]);
        let program = json!({
            "graph_module": {
                "graph": {
                    "inputs": self.inputs, "outputs": self.outputs, "nodes": self.nodes,
                    "tensor_values": self.values, "sym_int_values": {}, "sym_bool_values": {},
                    "is_single_tensor_return": false,
                },
                "signature": {
                    "input_specs": self.input_specs, "output_specs": self.output_specs,
                },
                "module_call_graph": [{"fqn": "", "signature": {
                    "inputs": [], "outputs": [], "in_spec": taken.to_string(),
                    "out_spec": given.to_string(), "forward_arg_names": users,
                }}],
            },
            "opset_version": {"aten": 10},
            "range_constraints": {},
            "schema_version": {"major": 8, "minor": 7},
            "verifiers": ["TRAINING"],
            "torch_version": "2.15.0",
        });
        Archive { program, weights: self.weights.clone() }
    }
}

impl Archive {
    /// The entries of torch 2.5 to 2.7.
    #[must_use]
    pub fn v1_entries(&self) -> Entries {
        let weights = torch_save(&self.weights);
        vec![
            ("serialized_exported_program.json".into(), self.program.to_string().into_bytes()),
            ("serialized_state_dict.pt".into(), weights),
            ("serialized_constants.pt".into(), torch_save(&[])),
            ("version".into(), b"8.7".to_vec()),
        ]
    }

    /// The entries of torch 2.9 and later.
    #[must_use]
    pub fn v2_entries(&self) -> Entries {
        let mut config = Map::new();
        let mut entries = Entries::new();
        for (index, weight) in self.weights.iter().enumerate() {
            let path = format!("weight_{index}");
            let entry = json!({
                "path_name": path, "is_param": true, "use_pickle": false,
                "tensor_meta": meta(&weight.sizes),
            });
            config.insert(weight.name.clone(), entry);
            entries.push((format!("model/data/weights/{path}"), bytes(&weight.values)));
        }
        let mut add = |name: &str, bytes: Vec<u8>| entries.push((format!("model/{name}"), bytes));
        let config = json!({"config": config}).to_string().into_bytes();
        add("data/weights/model_weights_config.json", config);
        add("data/constants/model_constants_config.json", b"{\"config\": {}}".to_vec());
        add("models/model.json", self.program.to_string().into_bytes());
        add("archive_format", b"pt2".to_vec());
        add("archive_version", b"0".to_vec());
        add("byteorder", b"little".to_vec());
        entries
    }

    /// The file that torch 2.7 would write.
    #[must_use]
    pub fn v1(&self) -> Vec<u8> {
        zip(&self.v1_entries())
    }

    /// The file that torch 2.15 would write.
    #[must_use]
    pub fn v2(&self) -> Vec<u8> {
        zip(&self.v2_entries())
    }
}

/// A zip file of entries without compression.
#[must_use]
pub fn zip(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        writer.start_file(name.as_str(), options).expect("entries have different names");
        writer.write_all(bytes).expect("memory takes every byte");
    }
    writer.finish().expect("memory takes every byte").into_inner()
}

fn tensor(name: &str) -> Value {
    json!({"as_tensor": {"name": name}})
}

fn strides(sizes: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; sizes.len()];
    for axis in (1..sizes.len()).rev() {
        strides[axis - 1] = strides[axis] * sizes[axis];
    }
    strides
}

/// The description of a dense f32 tensor.
fn meta(sizes: &[i64]) -> Value {
    let dims = |d: &[i64]| d.iter().map(|i| json!({"as_int": i})).collect::<Vec<_>>();
    json!({
        "dtype": FLOAT, "sizes": dims(sizes), "strides": dims(&strides(sizes)),
        "requires_grad": false, "device": {"type": "cpu", "index": null},
        "storage_offset": {"as_int": 0}, "layout": STRIDED,
    })
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// What `torch.save` writes of an ordered dictionary of parameters.
fn torch_save(weights: &[Weight]) -> Vec<u8> {
    let mut entries = vec![
        ("archive/data.pkl".to_owned(), pickle(weights)),
        ("archive/byteorder".to_owned(), b"little".to_vec()),
    ];
    for (index, weight) in weights.iter().enumerate() {
        entries.push((format!("archive/data/{index}"), bytes(&weight.values)));
    }
    entries.push(("archive/version".to_owned(), b"3\n".to_vec()));
    zip(&entries)
}

fn pickle(weights: &[Weight]) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (index, weight) in weights.iter().enumerate() {
        text(&mut out, &weight.name);
        out.extend(b"ctorch._utils\n_rebuild_parameter\n(ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &index.to_string());
        text(&mut out, "cpu");
        int(&mut out, weight.values.len() as i64);
        out.extend(b"tQ");
        int(&mut out, 0);
        ints(&mut out, &weight.sizes);
        ints(&mut out, &strides(&weight.sizes));
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR\x88ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
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
