//! Graphs that no exporter writes.

mod values;

use std::collections::BTreeMap;

use mlc_diag::Diagnostics;
use mlc_ir::Program;
use prost::Message;

use crate::lower::{lower, registry};
use crate::proto::tensorflow::attr_value::Value;
use crate::proto::tensorflow::op_def::ArgDef;
use crate::proto::tensorflow::tensor_shape_proto::Dim;
use crate::proto::tensorflow::{
    AttrValue, FunctionDef, FunctionDefLibrary, GraphDef, MetaGraphDef, NameAttrList, NodeDef,
    OpDef, SavedModel, SignatureDef, TensorInfo, TensorProto, TensorShapeProto,
};
use crate::{ReadOptions, read_graph};

const FLOAT: i32 = 1;

fn attr(value: Value) -> AttrValue {
    AttrValue { value: Some(value) }
}

fn shape(dims: &[i64]) -> TensorShapeProto {
    let dim = dims.iter().map(|&size| Dim { size }).collect();
    TensorShapeProto { dim, unknown_rank: false }
}

fn node(name: &str, op: &str, inputs: &[&str], attrs: &[(&str, Value)]) -> NodeDef {
    NodeDef {
        name: name.to_owned(),
        op: op.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        attr: attrs.iter().map(|(key, value)| ((*key).to_owned(), attr(value.clone()))).collect(),
    }
}

fn placeholder(name: &str, dims: &[i64]) -> NodeDef {
    let attrs = [("dtype", Value::Type(FLOAT)), ("shape", Value::Shape(shape(dims)))];
    node(name, "Placeholder", &[], &attrs)
}

fn function(name: &str, nodes: Vec<NodeDef>, result: &str) -> FunctionDef {
    let arg = |name: &str| ArgDef { name: name.to_owned(), r#type: FLOAT, ..ArgDef::default() };
    FunctionDef {
        signature: Some(OpDef {
            name: name.to_owned(),
            input_arg: vec![arg("x")],
            output_arg: vec![arg("y")],
        }),
        node_def: nodes,
        ret: BTreeMap::from([("y".to_owned(), result.to_owned())]),
        ..FunctionDef::default()
    }
}

fn call(name: &str, function: &str, input: &str) -> NodeDef {
    let list = NameAttrList { name: function.to_owned(), ..NameAttrList::default() };
    node(name, "PartitionedCall", &[input], &[("f", Value::Func(list))])
}

fn lowered(nodes: Vec<NodeDef>, functions: Vec<FunctionDef>) -> Result<Program, Diagnostics> {
    let graph = GraphDef {
        node: nodes,
        library: Some(FunctionDefLibrary { function: functions }),
        versions: None,
    };
    let file = tempfile::NamedTempFile::new().map_err(|_| Diagnostics::new())?;
    std::fs::write(file.path(), graph.encode_to_vec()).map_err(|_| Diagnostics::new())?;
    let model = read_graph(file.path(), &ReadOptions::default())?;
    let program = lower(&model, &registry())?;
    assert!(!mlc_ir::verify(&program).has_errors());
    Ok(program)
}

fn refused(nodes: Vec<NodeDef>, functions: Vec<FunctionDef>) -> Vec<String> {
    let found = lowered(nodes, functions).expect_err("it is refused");
    found.items().iter().map(ToString::to_string).collect()
}

#[test]
fn functions_are_inlined() {
    let body = vec![node("r", "Relu", &["x"], &[])];
    let nodes = vec![placeholder("x", &[2]), call("c", "f", "x"), call("d", "f", "c")];
    let program = lowered(nodes, vec![function("f", body, "r:activations:0")]);
    assert_eq!(program.expect("it lowers").op_count(), 2);
}

#[test]
fn functions_that_call_themselves_are_refused() {
    let f = function("f", vec![call("inner", "g", "x")], "inner:output:0");
    let g = function("g", vec![call("again", "f", "x")], "again:output:0");
    let found = refused(vec![placeholder("x", &[2]), call("c", "f", "x")], vec![f, g]);
    assert!(found[0].contains("function `f` calls itself: f → g → f"), "{found:?}");
    assert!(found[0].contains("c/inner/again"), "{found:?}");
}

#[test]
fn all_ops_without_a_lowering_are_named_at_once() {
    let nodes = vec![
        placeholder("x", &[2]),
        node("a", "Frobnicate", &["x"], &[]),
        node("b", "Frobnicate", &["a"], &[]),
        node("c", "Sigmod", &["b"], &[]),
        node("unused", "NoOp", &[], &[]),
    ];
    let found = refused(nodes, vec![]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("`Frobnicate` has no lowering") && found[0].contains("--> a"));
    assert!(found[0].contains("--> b"), "{found:?}");
    assert!(found[1].contains("`Sigmod` has no lowering") && found[1].contains("`Sigmoid`"));
}

#[test]
fn variables_without_a_value_are_refused() {
    let attrs = [
        ("dtype", Value::Type(FLOAT)),
        ("shape", Value::Shape(shape(&[2]))),
        ("shared_name", Value::S(prost::bytes::Bytes::from_static(b"lost"))),
    ];
    let nodes = vec![
        placeholder("x", &[2]),
        node("v", "VarHandleOp", &[], &attrs),
        node("read", "ReadVariableOp", &["v"], &[("dtype", Value::Type(FLOAT))]),
        node("sum", "AddV2", &["x", "read"], &[]),
    ];
    let found = refused(nodes, vec![]);
    assert!(found[0].contains("nothing says what variable `lost` holds"), "{found:?}");
}

#[test]
fn attributes_that_nobody_reads_are_refused() {
    let attrs = [("leakiness", Value::F(0.5))];
    let nodes = vec![placeholder("x", &[2]), node("r", "Relu", &["x"], &attrs)];
    let found = refused(nodes, vec![]);
    assert!(found[0].contains("attribute `leakiness` is not honoured"), "{found:?}");
}

#[test]
fn graphs_that_are_not_sound_are_refused() {
    let cyclic = vec![
        placeholder("x", &[2]),
        node("a", "AddV2", &["x", "b"], &[]),
        node("b", "Relu", &["a"], &[]),
        node("out", "Relu", &["b"], &[]),
    ];
    assert!(refused(cyclic, vec![])[0].contains("depends on itself"));
    let lost = vec![placeholder("x", &[2]), node("a", "Relu", &["y:3"], &[])];
    assert!(refused(lost, vec![])[0].contains("input `y:3` is no tensor of the graph"));
    let twice = vec![placeholder("x", &[2]), placeholder("x", &[2])];
    assert!(refused(twice, vec![])[0].contains("two nodes are called `x`"));
    let missing = vec![placeholder("x", &[2]), call("c", "f", "x")];
    assert!(refused(missing, vec![])[0].contains("there is no function `f`"));
}

#[test]
fn constants_that_do_not_fit_are_refused() {
    let tensor = TensorProto {
        dtype: FLOAT,
        tensor_shape: Some(shape(&[2])),
        float_val: vec![1.0, 2.0, 3.0],
        ..TensorProto::default()
    };
    let nodes =
        vec![placeholder("x", &[2]), node("c", "Const", &[], &[("value", Value::Tensor(tensor))])];
    assert!(refused(nodes, vec![])[0].contains("3 values for 2 elements"));
    let tensor = TensorProto {
        dtype: FLOAT,
        tensor_shape: Some(shape(&[i64::MAX, 9])),
        ..TensorProto::default()
    };
    let nodes =
        vec![placeholder("x", &[2]), node("c", "Const", &[], &[("value", Value::Tensor(tensor))])];
    assert!(refused(nodes, vec![])[0].contains("too large"));
}

#[test]
fn inputs_of_unknown_rank_ask_for_a_shape() {
    let unknown = TensorShapeProto { dim: vec![], unknown_rank: true };
    let attrs = [("dtype", Value::Type(FLOAT)), ("shape", Value::Shape(unknown))];
    let nodes = vec![node("x", "Placeholder", &[], &attrs), node("r", "Relu", &["x"], &[])];
    let found = refused(nodes, vec![]);
    assert!(found[0].contains("the rank of input `x` is not known"), "{found:?}");
    assert!(found[0].contains("--input x=1x224x224x3"), "{found:?}");
}

#[test]
fn ops_that_lowering_handles_itself_are_covered() {
    let all = crate::lower::covered(&registry());
    for op in ["Conv2D", "If", "PartitionedCall", "Switch", "VarHandleOp", "While", "_FusedConv2D"]
    {
        assert!(all.contains(&op), "{op}");
    }
    assert!(all.is_sorted());
}

#[test]
fn an_empty_folder_of_variables_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    std::fs::create_dir(path.join("variables")).expect("it is made");
    let info = |name: &str| TensorInfo {
        name: name.to_owned(),
        dtype: FLOAT,
        tensor_shape: Some(shape(&[2])),
    };
    let signature = SignatureDef {
        inputs: BTreeMap::from([("x".to_owned(), info("x:0"))]),
        outputs: BTreeMap::from([("y".to_owned(), info("r:0"))]),
        ..SignatureDef::default()
    };
    let meta = MetaGraphDef {
        graph_def: Some(GraphDef {
            node: vec![placeholder("x", &[2]), node("r", "Relu", &["x"], &[])],
            ..GraphDef::default()
        }),
        signature_def: BTreeMap::from([("serving_default".to_owned(), signature)]),
        ..MetaGraphDef::default()
    };
    let model = SavedModel { meta_graphs: vec![meta], ..SavedModel::default() };
    std::fs::write(path.join("saved_model.pb"), model.encode_to_vec()).expect("it is written");
    let model = crate::read_saved_model(path, &ReadOptions::default());
    assert_eq!(model.expect("it is read").graph.rets.len(), 1);
}
