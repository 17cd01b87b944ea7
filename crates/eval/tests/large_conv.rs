//! Convolutions that are computed in several blocks of positions, against candle's own on whole
//! numbers, whose sums f32 holds exactly.

#![expect(clippy::unwrap_used, reason = "what fails here has to fail the test")]

use candle_core::{Device, Tensor as Candle};
use mlc_eval::{Array, Evaluator, States};
use mlc_ir::attr::PadType;
use mlc_ir::ops::{Conv, ConvTranspose};
use mlc_ir::{Builder, Dim, Function, OpError, Param, Program, Type, Value};
use mlc_tensor::DType;

fn whole_numbers(shape: &[usize], seed: usize) -> Candle {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 7919 + seed) % 17) as f32 - 8.0).collect();
    Candle::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn run(
    operands: &[&Candle],
    build: impl FnOnce(&mut Builder<'_>, &[Value]) -> Result<Value, OpError>,
) -> Array {
    let mut program = Program::new();
    let mut function = Function::new("main");
    let mut values = Vec::new();
    let mut inputs = Vec::new();
    for operand in operands {
        let shape: Vec<Dim> = operand.dims().iter().map(|&d| Dim::from(d as u64)).collect();
        values.push(function.add_param(Param::input("x"), Type::tensor(DType::F32, shape)));
        inputs.push(Array::new(DType::F32, (*operand).clone()).unwrap());
    }
    let func = program.functions.push(function);
    let mut builder = Builder::new(&mut program, func);
    let y = build(&mut builder, &values).unwrap();
    builder.function_mut().add_output("y", y);
    let outputs = Evaluator::new(&program, func).run(&inputs, &mut States::new()).unwrap();
    outputs[0].array().unwrap().clone()
}

fn assert_equal(got: &Array, want: &Candle) {
    assert_eq!(got.shape(), want.dims());
    let want = want.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let got = got.to_f32s().unwrap();
    let wrong = (0..want.len()).find(|&i| got[i] != want[i]);
    assert_eq!(wrong.map(|i| (i, got[i], want[i])), None);
}

#[test]
fn images_in_blocks() {
    let (x, w) = (whole_numbers(&[2, 3, 301, 299], 1), whole_numbers(&[4, 3, 3, 3], 2));
    let op = Conv {
        strides: vec![1, 1],
        pad_type: PadType::Custom,
        pad: vec![1; 4],
        dilations: vec![1, 1],
        groups: 1,
    };
    let got = run(&[&x, &w], |b, v| op.build(b, v[0], v[1], None));
    assert_equal(&got, &x.conv2d(&w, 1, 1, 1, 1).unwrap());
}

#[test]
fn strided_images_in_blocks() {
    let (x, w) = (whole_numbers(&[1, 8, 301, 299], 3), whole_numbers(&[4, 8, 5, 5], 4));
    let op = Conv {
        strides: vec![2, 2],
        pad_type: PadType::Custom,
        pad: vec![2; 4],
        dilations: vec![],
        groups: 1,
    };
    let got = run(&[&x, &w], |b, v| op.build(b, v[0], v[1], None));
    assert_equal(&got, &x.conv2d(&w, 2, 2, 1, 1).unwrap());
}

#[test]
fn signals_in_blocks() {
    let (x, w) = (whole_numbers(&[1, 8, 70_001], 5), whole_numbers(&[6, 4, 12], 6));
    let op = Conv {
        strides: vec![],
        pad_type: PadType::Custom,
        pad: vec![3, 3],
        dilations: vec![2],
        groups: 2,
    };
    let got = run(&[&x, &w], |b, v| op.build(b, v[0], v[1], None));
    assert_equal(&got, &x.conv1d(&w, 3, 1, 2, 2).unwrap());
}

#[test]
fn transposed_images_in_blocks() {
    let (x, w) = (whole_numbers(&[1, 5, 160, 161], 7), whole_numbers(&[5, 6, 4, 4], 8));
    let op = ConvTranspose {
        pad: vec![1; 4],
        output_shape: None,
        pad_type: PadType::Custom,
        strides: vec![2, 2],
        dilations: vec![],
        groups: 1,
    };
    let got = run(&[&x, &w], |b, v| op.build(b, v[0], v[1], None));
    assert_equal(&got, &x.conv_transpose2d(&w, 1, 0, 2, 1).unwrap());
}
