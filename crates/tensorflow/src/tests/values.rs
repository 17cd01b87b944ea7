//! Results of small graphs.

use mlc_eval::{Array, Evaluator, States};
use mlc_tensor::{DType, Tensor};
use prost::bytes::Bytes;

use super::*;
use crate::proto::tensorflow::attr_value::ListValue;

const INT: i32 = 3;

fn constant(name: &str, dims: &[i64], values: &[f32]) -> NodeDef {
    let tensor = TensorProto {
        dtype: FLOAT,
        tensor_shape: Some(shape(dims)),
        float_val: values.to_vec(),
        ..TensorProto::default()
    };
    node(name, "Const", &[], &[("value", Value::Tensor(tensor))])
}

fn whole(name: &str, dims: &[i64], values: &[i32]) -> NodeDef {
    let tensor = TensorProto {
        dtype: INT,
        tensor_shape: Some(shape(dims)),
        int_val: values.to_vec(),
        ..TensorProto::default()
    };
    node(name, "Const", &[], &[("value", Value::Tensor(tensor))])
}

fn texts(all: &[&'static str]) -> Value {
    let s = all.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
    Value::List(ListValue { s, ..ListValue::default() })
}

fn numbers(all: &[i64]) -> Value {
    Value::List(ListValue { i: all.to_vec(), ..ListValue::default() })
}

fn text(text: &'static str) -> Value {
    Value::S(Bytes::from_static(text.as_bytes()))
}

/// The first result for inputs of these shapes and elements.
fn computed(nodes: Vec<NodeDef>, inputs: &[(&[u64], &[f32])]) -> Vec<f32> {
    let program = lowered(nodes, vec![]).expect("it lowers");
    let inputs: Vec<Array> = inputs
        .iter()
        .map(|(shape, values)| {
            let values: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
            let tensor = Tensor::from_f64s(DType::F32, shape, &values).expect("they fit");
            Array::from_tensor(&tensor).expect("it is read")
        })
        .collect();
    let main = program.function("main").expect("there is one");
    let outputs = Evaluator::new(&program, main).run(&inputs, &mut States::new());
    let outputs = outputs.expect("it runs");
    let output = outputs[0].array().expect("a tensor").to_f64s().expect("numbers");
    output.into_iter().map(|x| x as f32).collect()
}

#[test]
fn fused_convolutions_are_the_ops_they_hold() {
    let window = [("strides", numbers(&[1, 1, 1, 1])), ("padding", text("SAME"))];
    let weights: Vec<f32> = (0..36).map(|i| i as f32 % 5.0 - 2.0).collect();
    let image: Vec<f32> = (0..18).map(|i| i as f32 % 7.0 - 3.0).collect();
    let inputs = || {
        vec![
            placeholder("x", &[1, 3, 3, 2]),
            constant("w", &[3, 3, 2, 2], &weights),
            constant("b", &[2], &[0.5, -4.0]),
        ]
    };
    let mut fused = window.to_vec();
    fused.extend([
        ("num_args", Value::I(1)),
        ("epsilon", Value::F(0.0)),
        ("leakyrelu_alpha", Value::F(0.25)),
        ("fused_ops", texts(&["BiasAdd", "LeakyRelu"])),
    ]);
    let mut one = inputs();
    one.push(node("y", "_FusedConv2D", &["x", "w", "b"], &fused));
    let mut apart = inputs();
    apart.extend([
        node("c", "Conv2D", &["x", "w"], &window),
        node("s", "BiasAdd", &["c", "b"], &[]),
        node("y", "LeakyRelu", &["s"], &[("alpha", Value::F(0.25))]),
    ]);
    let shape: &[u64] = &[1, 3, 3, 2];
    assert_eq!(computed(one, &[(shape, &image)]), computed(apart, &[(shape, &image)]));
}

#[test]
fn fused_ops_that_are_not_known_are_named() {
    let attrs = [("fused_ops", texts(&["BiasAdd", "Frobnicate"]))];
    let nodes = vec![
        placeholder("x", &[1, 2]),
        constant("w", &[2, 2], &[1.0]),
        constant("b", &[2], &[1.0]),
        node("y", "_FusedMatMul", &["x", "w", "b"], &attrs),
    ];
    assert!(refused(nodes, vec![])[0].contains("`fused_ops` holds `Frobnicate`"));
}

#[test]
fn neighbours_of_floats_are_exact() {
    let x = [1.0f32, 1.0, -1.0, 0.0, 0.0, 3.7, 2.0, -2.5, f32::MAX, f32::INFINITY, 5.0];
    let y = [2.0f32, 0.0, 5.0, -1.0, 0.0, 9.0, -9.0, -3.0, f32::INFINITY, 0.0, 5.0];
    let want: Vec<f32> = x
        .iter()
        .zip(&y)
        .map(|(&x, &y)| match x.partial_cmp(&y) {
            Some(std::cmp::Ordering::Less) => x.next_up(),
            Some(std::cmp::Ordering::Greater) => x.next_down(),
            _ => y,
        })
        .collect();
    let nodes = vec![
        placeholder("x", &[11]),
        placeholder("y", &[11]),
        node("z", "NextAfter", &["x", "y"], &[]),
    ];
    assert_eq!(computed(nodes, &[(&[11], &x), (&[11], &y)]), want);
}

#[test]
fn the_sign_is_all_that_is_known_of_bits() {
    let bits = |mask: i32| {
        vec![
            placeholder("x", &[4]),
            node("bits", "Bitcast", &["x"], &[("type", Value::Type(INT))]),
            whole("mask", &[], &[mask]),
            node("sign", "BitwiseAnd", &["bits", "mask"], &[]),
            node("y", "Cast", &["sign"], &[("DstT", Value::Type(FLOAT))]),
        ]
    };
    let least = i32::MIN as f32;
    let found = computed(bits(i32::MIN), &[(&[4], &[1.0, -1.0, 0.0, -0.0])]);
    assert_eq!(found, [0.0, least, 0.0, least]);
    assert!(refused(bits(7), vec![])[0].contains("bits of floats that are not their sign"));
}

#[test]
fn points_between_pixels_and_outside() {
    let nodes = vec![
        placeholder("x", &[1, 2, 2, 1]),
        placeholder("at", &[1, 3, 2]),
        node("y", "Addons>Resampler", &["x", "at"], &[]),
    ];
    let at = [0.5, 0.5, 1.5, 0.0, -3.0, 0.0];
    let found = computed(nodes, &[(&[1, 2, 2, 1], &[1.0, 2.0, 3.0, 4.0]), (&[1, 3, 2], &at)]);
    assert_eq!(found, [2.5, 1.0, 0.0]);
}

#[test]
fn rows_are_rolled_by_an_amount_that_is_not_known() {
    let by = node(
        "by",
        "Placeholder",
        &[],
        &[("dtype", Value::Type(FLOAT)), ("shape", Value::Shape(shape(&[])))],
    );
    let nodes = vec![
        placeholder("x", &[4]),
        by,
        node("shift", "Cast", &["by"], &[("DstT", Value::Type(INT))]),
        whole("axis", &[], &[0]),
        node("y", "Roll", &["x", "shift", "axis"], &[]),
    ];
    let found = computed(nodes, &[(&[4], &[1.0, 2.0, 3.0, 4.0]), (&[], &[-1.0])]);
    assert_eq!(found, [2.0, 3.0, 4.0, 1.0]);
}

#[test]
fn text_that_is_printed_is_left_out() {
    let nodes = vec![
        placeholder("x", &[1]),
        node("text", "StringFormat", &["x"], &[("template", text("x {}"))]),
        node("print", "PrintV2", &["text"], &[]),
        node("y", "Relu", &["x", "^print"], &[]),
    ];
    assert_eq!(computed(nodes, &[(&[1], &[-3.0])]), [0.0]);
}
