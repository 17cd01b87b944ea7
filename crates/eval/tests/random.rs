//! Random ops: they depend on the seed alone, and follow their distributions.

#![expect(clippy::unwrap_used, reason = "tests")]

use mlc_eval::{Array, Evaluator, States};
use mlc_ir::attr::CategoricalMode;
use mlc_ir::ops::{RandomBernoulli, RandomCategorical, RandomNormal, RandomUniform};
use mlc_ir::{Builder, FuncId, Function, OpResult, Program, Value};
use mlc_tensor::{DType, Tensor};

const COUNT: usize = 40_000;

fn program(build: impl FnOnce(&mut Builder<'_>) -> OpResult<Vec<Value>>) -> (Program, FuncId) {
    let mut program = Program::new();
    let func = program.functions.push(Function::new("main"));
    let mut builder = Builder::new(&mut program, func);
    for (i, value) in build(&mut builder).unwrap().into_iter().enumerate() {
        builder.function_mut().add_output(format!("y{i}"), value);
    }
    (program, func)
}

fn run((program, func): &(Program, FuncId)) -> Vec<Vec<f64>> {
    let outputs = Evaluator::new(program, *func).run(&[], &mut States::new()).unwrap();
    outputs.iter().map(|y| y.array().and_then(Array::to_f64s).unwrap()).collect()
}

fn one(build: impl FnOnce(&mut Builder<'_>) -> OpResult<Value>) -> Vec<f64> {
    run(&program(|b| Ok(vec![build(b)?]))).remove(0)
}

fn uniform(
    b: &mut Builder<'_>,
    (low, high): (f64, f64),
    seed: i64,
    dtype: DType,
) -> OpResult<Value> {
    let shape = b.ints(&[COUNT as i64])?;
    let (low, high) = (b.scalar(dtype, low)?, b.scalar(dtype, high)?);
    RandomUniform { seed }.build(b, shape, Some(low), Some(high))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64
}

/// Whether a fraction of `COUNT` tries is within five standard deviations of its probability.
fn is_likely(fraction: f64, p: f64) -> bool {
    (fraction - p).abs() <= 5.0 * (p * (1.0 - p) / COUNT as f64).sqrt()
}

fn fraction(values: &[f64], holds: impl Fn(f64) -> bool) -> f64 {
    values.iter().filter(|&&x| holds(x)).count() as f64 / values.len() as f64
}

#[test]
fn seeds_decide() {
    let draw = |seed| one(|b| uniform(b, (0.0, 1.0), seed, DType::F32));
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    let ranges = (0.0, 1.0);
    let two = program(|b| {
        Ok(vec![uniform(b, ranges, -1, DType::F32)?, uniform(b, ranges, -1, DType::F32)?])
    });
    let values = run(&two);
    assert_ne!(values[0], values[1]);
    assert_eq!(values, run(&two));
    let correlation: Vec<f64> =
        values[0].iter().zip(&values[1]).map(|(x, y)| (x - 0.5) * (y - 0.5) * 12.0).collect();
    assert!(mean(&correlation).abs() < 5.0 / (COUNT as f64).sqrt());
}

#[test]
fn uniform_fills_its_range_evenly() {
    let values = one(|b| uniform(b, (-2.0, 6.0), 3, DType::F32));
    assert!(values.iter().all(|x| (-2.0..6.0).contains(x)));
    for k in 0..16 {
        let low = -2.0 + f64::from(k) * 0.5;
        assert!(is_likely(fraction(&values, |x| (low..low + 0.5).contains(&x)), 1.0 / 16.0));
    }
    // Neighbours are independent.
    let products: Vec<f64> =
        values.windows(2).map(|pair| (pair[0] - 2.0) * (pair[1] - 2.0)).collect();
    assert!(mean(&products).abs() < 5.0 * (64.0 / 12.0) / (COUNT as f64).sqrt());
    // In f16 a third of the numbers below 1 would round to 1.
    let values = one(|b| uniform(b, (0.999, 1.0), 4, DType::F16));
    assert!(values.iter().all(|&x| x < 1.0));
}

#[test]
fn normal_has_its_moments_and_tails() {
    let values = one(|b| {
        let shape = b.ints(&[2, COUNT as i64 / 2])?;
        let (mean, stddev) = (b.scalar(DType::F32, 3.0)?, b.scalar(DType::F32, 2.0)?);
        RandomNormal { seed: 11 }.build(b, shape, Some(mean), Some(stddev))
    });
    assert!((mean(&values) - 3.0).abs() < 5.0 * 2.0 / (COUNT as f64).sqrt());
    assert!((variance(&values) / 4.0 - 1.0).abs() < 5.0 * (2.0 / COUNT as f64).sqrt());
    for (sigmas, p) in [(1.0, 0.317_310_5), (2.0, 0.045_500_3), (3.0, 0.002_699_8)] {
        assert!(is_likely(fraction(&values, |x| (x - 3.0).abs() > 2.0 * sigmas), p));
    }
    assert!(is_likely(fraction(&values, |x| x > 3.0), 0.5));
}

#[test]
fn bernoulli_and_categorical_hit_their_frequencies() {
    let values = one(|b| {
        let shape = b.ints(&[COUNT as i64])?;
        let prob = b.scalar(DType::F16, 0.25)?;
        RandomBernoulli { seed: 0 }.build(b, shape, Some(prob))
    });
    assert!(values.iter().all(|&x| x == 0.0 || x == 1.0));
    assert!(is_likely(mean(&values), 0.25));
    let draw = |mode, weights: &[f64]| {
        one(|b| {
            let x = b.constant(
                Tensor::from_f64s(DType::F32, &[2, weights.len() as u64 / 2], weights).unwrap(),
            )?;
            RandomCategorical { mode, size: COUNT as i64, seed: 5 }.build(b, x)
        })
    };
    let values = draw(CategoricalMode::Probs, &[0.0, 0.2, 0.8, 0.5, 0.5, 0.0]);
    let (first, second) = values.split_at(COUNT);
    assert!(is_likely(fraction(first, |x| x == 1.0), 0.2));
    assert!(is_likely(fraction(first, |x| x == 2.0), 0.8));
    assert!(is_likely(fraction(second, |x| x == 0.0), 0.5));
    assert!(second.iter().all(|&x| x < 2.0));
    let odds = [1.0f64.ln(), 3.0f64.ln(), 0.0, f64::NEG_INFINITY];
    let values = draw(CategoricalMode::Logits, &odds);
    let (first, second) = values.split_at(COUNT);
    assert!(is_likely(fraction(first, |x| x == 1.0), 0.75));
    assert!(second.iter().all(|&x| x == 0.0));
}
