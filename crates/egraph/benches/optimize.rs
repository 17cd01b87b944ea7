//! How long the optimizer takes for programs of 1,250 to 10,000 ops, with every rule of the project:
//! `cargo bench -p mlc-egraph`. It must double when the ops do: the ops in a second stay the same.

#![expect(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::time::Duration;

use criterion::{
    BatchSize, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use mlc_egraph::{Limits, Options, RuleSet, Strategy, optimize};
use mlc_ir::ops::{Add, Erf, Linear, Mul, RealDiv, Relu, Reshape, Sigmoid, Tanh, Transpose};
use mlc_ir::{Builder, FuncId, Function, OpResult, Param, Program, Type, Value};
use mlc_target::Opset;
use mlc_target::cost::device;
use mlc_tensor::{DType, Tensor};

const OPS_PER_BLOCK: usize = 20;

fn program(ops: usize) -> (Program, FuncId) {
    let mut program = Program::new();
    let mut function = Function::new("main");
    let ty = Type::tensor(DType::F32, vec![64.into(), 64.into()]);
    let x = function.add_param(Param::input("x"), ty);
    let func = program.functions.push(function);
    let mut b = Builder::new(&mut program, func);
    let mut value = x;
    for i in 0..ops / OPS_PER_BLOCK {
        value = block(&mut b, value, i as u64).unwrap();
    }
    b.function_mut().add_output("y", value);
    (program, func)
}

/// Transposes that cancel, a GELU, a SiLU, a layer with a bias, views and constants that go together.
fn block(b: &mut Builder<'_>, x: Value, seed: u64) -> OpResult<Value> {
    let swap = || Transpose { perm: vec![1, 0] };
    let number = |b: &mut Builder<'_>, x: f64| b.scalar(DType::F32, x);
    let turned = swap().build(b, x)?;
    let t = Tanh {}.build(b, turned)?;
    let t = swap().build(b, t)?;
    let root = number(b, std::f64::consts::FRAC_1_SQRT_2)?;
    let one = number(b, 1.0)?;
    let half = number(b, 0.5)?;
    let e = Mul {}.build(b, t, root)?;
    let e = Erf {}.build(b, e)?;
    let e = Add {}.build(b, e, one)?;
    let e = Mul {}.build(b, t, e)?;
    let gelu = Mul {}.build(b, e, half)?;
    let tensor = Tensor::random(DType::F32, &[64, 64], seed, 0.1);
    let weight = b.constant(tensor.map_err(|e| mlc_ir::OpError::ty(e.to_string()))?)?;
    let tensor = Tensor::random(DType::F32, &[64], seed, 0.1);
    let bias = b.constant(tensor.map_err(|e| mlc_ir::OpError::ty(e.to_string()))?)?;
    let y = Linear {}.build(b, gelu, weight, None)?;
    let y = Add {}.build(b, y, bias)?;
    let gate = Sigmoid {}.build(b, y)?;
    let y = Mul {}.build(b, y, gate)?;
    let four = number(b, 4.0)?;
    let y = RealDiv {}.build(b, y, four)?;
    let y = Add {}.build(b, y, x)?;
    let (flat, square) = (b.ints(&[4096])?, b.ints(&[64, 64])?);
    let y = Reshape {}.build(b, y, flat)?;
    let y = Reshape {}.build(b, y, square)?;
    let y = Add {}.build(b, y, half)?;
    let y = Add {}.build(b, y, one)?;
    let y = Relu {}.build(b, y)?;
    let y = Relu {}.build(b, y)?;
    Add {}.build(b, y, x)
}

fn optimizer(c: &mut Criterion) {
    let rules =
        RuleSet::new(mlc_fuse::FAMILIES.iter().flat_map(|family| family.rules.iter().copied()));
    let options = Options {
        rules: &rules,
        device: device("latency").unwrap(),
        limits: Limits { iterations: 12, nodes: 10_000, matches: 2_000 },
        window: 400,
        opset: Opset::Ios18,
        strategy: Strategy::Cheapest,
    };
    let mut group = c.benchmark_group("optimize");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(5));
    for ops in [1250, 2500, 5000, 10_000] {
        let (program, func) = program(ops);
        group.throughput(Throughput::Elements(ops as u64));
        group.bench_with_input(BenchmarkId::from_parameter(ops), &program, |b, program| {
            b.iter_batched(
                || program.clone(),
                |mut program| {
                    optimize(&mut program, func, &options).unwrap();
                    program
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, optimizer);
criterion_main!(benches);
