//! Sound archives of both generations give the program and the weights they hold.

use mlc_diag::Diagnostics;
use mlc_tensor::{DType, Source, Tensor};
use mlc_torch::graph::{Arg, Dialect, ExportedProgram, InputKind, Range, Sym};
use serde_json::json;
use zip::CompressionMethod;

use crate::archives::{file, linear_model, read, stored, zip};

fn parameter(program: &ExportedProgram, name: &str) -> Tensor {
    let input = program.inputs.iter().find(|input| input.name == name).unwrap();
    let InputKind::Parameter(tensor) = &input.kind else { panic!("{input:?}") };
    tensor.clone()
}

fn check_linear(program: &ExportedProgram) {
    assert_eq!((program.schema, program.dialect), ((8, 20), Dialect::Training));
    let weight = parameter(program, "a.weight");
    assert_eq!((weight.dtype(), weight.shape()), (DType::F32, &[3, 2][..]));
    assert_eq!(weight.to_f64s().unwrap(), [6.0, 7.0, 11.0, 12.0, 16.0, 17.0]);
    assert_eq!(parameter(program, "b.weight"), weight, "tied tensors have one source");
    assert_eq!(parameter(program, "a.bias").to_f64s().unwrap(), [0.5, 1.5, 2.5]);
    let x = &program.inputs[3];
    assert_eq!((x.name.as_str(), &x.kind), ("features", &InputKind::User));
    assert_eq!(program.outputs[0].name.as_deref(), Some("logits"));
    assert_eq!(program.ranges["s77"], Range { min: Some(2), max: Some(16) });
    assert_eq!(program.expr_ranges[0].1, Range { min: Some(4), max: None });
    assert_eq!(program.graph.tensors["x"].sizes[0].to_string(), "s77");
    let linear = &program.graph.nodes[0];
    assert_eq!(linear.target.to_string(), "aten.linear.default");
    assert_eq!(linear.arg("weight"), Some(&Arg::Tensor("p_a_weight".into())));
    assert_eq!(linear.loc.to_string(), "a  (from net.py:7, as aten.linear.default)");
}

#[test]
fn both_generations_give_one_program() {
    let model = linear_model();
    check_linear(&read(&model.v1()).unwrap());
    check_linear(&read(&model.v2()).unwrap());
    let unprefixed = zip(&model.v2_entries(""), CompressionMethod::Stored);
    check_linear(&read(&unprefixed).unwrap());
}

#[test]
fn deflated_entries_are_inflated() {
    let model = linear_model();
    check_linear(&read(&zip(&model.v1_entries(), CompressionMethod::Deflated)).unwrap());
    check_linear(&read(&zip(&model.v2_entries("m/"), CompressionMethod::Deflated)).unwrap());
}

#[test]
fn weights_of_torch_2_8_are_pickled_in_the_new_container() {
    let model = linear_model();
    let saved = model.v1_entries()[1].1.clone();
    let program = model.program.to_string().into_bytes();
    let archive = stored(&[
        ("m/archive_format", b"pt2".to_vec()),
        ("m/models/model.json", program),
        ("m/data/weights/model.pt", saved),
    ]);
    check_linear(&read(&archive).unwrap());
}

#[test]
fn stored_weights_stay_ranges_of_the_file() {
    for bytes in [linear_model().v1(), linear_model().v2()] {
        let (_folder, path) = file(&bytes);
        let program = mlc_torch::read(&path).unwrap();
        let bias = parameter(&program, "a.bias");
        let Source::Mapped { offset, .. } = bias.source() else { panic!("{:?}", bias.source()) };
        let at = *offset as usize;
        assert_eq!(bytes[at..at + 4], 0.5f32.to_le_bytes());
    }
}

#[test]
fn schema_7_writes_none_as_an_empty_list_and_no_kinds() {
    let mut model = linear_model();
    model.program["schema_version"] = json!({"major": 7, "minor": 3});
    let node = &mut model.program["graph_module"]["graph"]["nodes"][0];
    node["inputs"][2] = json!({"name": "bias", "arg": {"as_none": []}});
    let program = read(&model.v1()).unwrap();
    assert_eq!(program.schema, (7, 3));
    assert_eq!(program.graph.nodes[0].arg("bias"), Some(&Arg::None));
}

#[test]
fn every_kind_of_argument_is_read() {
    let mut model = linear_model();
    let args = json!([
        {"as_ints": [1, -2]}, {"as_sym_ints": [{"as_int": 3}, {"as_name": "n"}]},
        {"as_float": "-Infinity"}, {"as_floats": [1, 2.5]}, {"as_bools": [true]},
        {"as_scalar_type": 13}, {"as_layout": 7}, {"as_memory_format": 2},
        {"as_device": {"type": "cuda", "index": 1}}, {"as_complex": {"real": 1.0, "imag": -1.0}},
        {"as_optional_tensors": [{"as_none": true}, {"as_tensor": {"name": "x"}}]},
        {"as_optional_tensor": {"as_tensor": {"name": "x"}}}, {"as_strings": ["a"]},
        {"as_int_lists": [[1], []]}, {"as_nested_tensors": [[{"name": "x"}]]},
        {"as_string_to_argument": {"k": {"as_int": 1}}}, {"as_sym_bool": {"as_bool": true}},
        {"as_sym_float": {"as_float": 0.5}}, {"as_operator": "torch.add"}, {"as_string": "s"}
    ]);
    let inputs: Vec<_> =
        args.as_array().unwrap().iter().map(|arg| json!({"name": "", "arg": arg})).collect();
    let graph = &mut model.program["graph_module"]["graph"];
    let size = json!({"target": "torch.ops.aten.sym_size.int", "metadata": {},
        "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}}],
        "outputs": [{"as_sym_int": {"as_name": "n"}}]});
    let custom = json!({"target": "torch.ops.my.op.default", "inputs": inputs, "outputs": [],
        "metadata": {}});
    let nodes = graph["nodes"].as_array_mut().unwrap();
    nodes.extend([size, custom]);
    graph["sym_int_values"] = json!({"n": {"as_expr": {"expr_str": "2*s77", "hint": null}}});
    let program = read(&model.v2()).unwrap();
    assert_eq!(program.graph.sym_ints["n"].to_string(), "(2 * s77)");
    let x = || "x".to_owned();
    let got: Vec<&Arg> = program.graph.nodes[4].args.iter().map(|(_, arg)| arg).collect();
    assert_eq!(got[0], &Arg::Ints(vec![Sym::Known(1), Sym::Known(-2)]));
    assert_eq!(got[1], &Arg::Ints(vec![Sym::Known(3), Sym::Named("n".into())]));
    assert_eq!(got[2], &Arg::Float(Sym::Known(f64::NEG_INFINITY)));
    assert_eq!(got[5], &Arg::Dtype(DType::Bf16));
    assert_eq!(got[9], &Arg::Complex { re: 1.0, im: -1.0 });
    assert_eq!(got[10], &Arg::OptTensors(vec![None, Some(x())]));
    assert_eq!(got[11], &Arg::Tensor(x()));
    assert_eq!(got[14], &Arg::NestedTensors(vec![vec![x()]]));
    assert_eq!(got[15], &Arg::Map(vec![("k".into(), Arg::Int(Sym::Known(1)))]));
    assert_eq!(got[16], &Arg::Bool(Sym::Known(true)));
    assert_eq!(got[17], &Arg::Float(Sym::Known(0.5)));
}

#[test]
fn sub_graphs_have_names_of_their_own() {
    let mut model = linear_model();
    let graph = &mut model.program["graph_module"]["graph"];
    let body = json!({
        "inputs": [{"as_tensor": {"name": "x"}}], "outputs": [{"as_tensor": {"name": "linear"}}],
        "nodes": [{"target": "torch.ops.aten.tanh.default", "metadata": {},
            "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}}],
            "outputs": [{"as_tensor": {"name": "linear"}}]}],
        "tensor_values": {"x": crate::archives::meta(7, &[2], &[1], 0), "linear": crate::archives::meta(7, &[2], &[1], 0)}
    });
    let node = json!({"target": "torch.ops.higher_order.map_impl", "metadata": {},
        "inputs": [{"name": "", "arg": {"as_graph": {"name": "body", "graph": body}}},
                   {"name": "", "arg": {"as_tensors": [{"name": "x"}]}}],
        "outputs": [{"as_tensor": {"name": "unused"}}]});
    graph["nodes"].as_array_mut().unwrap().push(node);
    let program = read(&model.v2()).unwrap();
    let Arg::Graph { name, graph } = &program.graph.nodes[3].args[0].1 else { panic!() };
    assert_eq!((name.as_str(), graph.nodes.len()), ("body", 1));
}

#[test]
fn one_of_several_models_is_chosen_by_name() {
    let model = linear_model();
    let mut entries = model.v2_entries("m/");
    for (name, bytes) in model.v2_entries("m/") {
        let twin = name.replace("/model_", "/other_").replace("models/model", "models/other");
        if twin != name {
            entries.push((twin, bytes));
        }
    }
    let (_folder, path) = file(&zip(&entries, CompressionMethod::Stored));
    check_linear(&mlc_torch::read_model(&path, Some("other")).unwrap());
    let text =
        |result: Result<ExportedProgram, Diagnostics>| result.unwrap_err().items()[0].to_string();
    let several = text(mlc_torch::read(&path));
    assert!(several.contains("holds 2 models") && several.contains("model, other"), "{several}");
    let near = text(mlc_torch::read_model(&path, Some("othr")));
    assert!(near.contains("there is other"), "{near}");
}

#[test]
fn constant_arguments_keep_their_place() {
    let mut model = linear_model();
    let module = &mut model.program["graph_module"];
    module["graph"]["inputs"].as_array_mut().unwrap().push(json!({"as_float": 2.5}));
    let spec = json!({"constant_input": {"name": "scale", "value": {"as_float": 2.5}}});
    module["signature"]["input_specs"].as_array_mut().unwrap().push(spec);
    let program = read(&model.v2()).unwrap();
    let scale = &program.inputs[4];
    assert_eq!((scale.name.as_str(), &scale.kind), ("scale", &InputKind::Literal));
    assert_eq!(scale.value, Arg::Float(Sym::Known(2.5)));
}
