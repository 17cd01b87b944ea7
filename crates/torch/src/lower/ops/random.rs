//! Random numbers. Core ML draws others than torch does, from the same distributions.

use mlc_ir::attr::CategoricalMode;
use mlc_ir::ops::{
    Add, Argsort, Floor, Less, Log, Mul, RandomBernoulli, RandomCategorical, RandomNormal,
    RandomUniform, RealDiv, Shape, Topk,
};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::DType;

use super::create::ignore_storage;
use super::view::common_shape;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::formula::Formula;
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.rand", lower: |cx, call| drawn(cx, call, false) },
    Lowering { name: "aten.randn", lower: |cx, call| drawn(cx, call, true) },
    Lowering { name: "aten.rand_like", lower: |cx, call| drawn(cx, call, false) },
    Lowering { name: "aten.randn_like", lower: |cx, call| drawn(cx, call, true) },
    Lowering { name: "aten.randint", lower: randint },
    Lowering { name: "aten.randint_like", lower: randint },
    Lowering { name: "aten.randperm", lower: randperm },
    Lowering { name: "aten.uniform", lower: uniform },
    Lowering { name: "aten.normal", lower: normal },
    Lowering { name: "aten.normal_functional", lower: normal },
    Lowering { name: "aten.bernoulli", lower: bernoulli },
    Lowering { name: "aten.multinomial", lower: multinomial },
    Lowering { name: "aten.exponential", lower: exponential },
    Lowering { name: "aten.cauchy", lower: cauchy },
    Lowering { name: "aten.geometric", lower: geometric },
    Lowering { name: "aten.log_normal", lower: log_normal },
];

/// The shape that a call asks for: `size`, or that of `self`, as a vector of i32.
fn shape_of(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Value> {
    ignore_storage(call);
    call.ignore(&["generator"]);
    if let Some(size) = call.opt_dims("size")? {
        return dims::vector(cx, &size);
    }
    let x = call.tensor("self")?;
    shape_like(cx, &cx.shape(x)?, x)
}

fn shape_like(
    cx: &mut Cx<'_>,
    shape: &[Dim],
    x: crate::lower::value::TensorId,
) -> LowerResult<Value> {
    if shape.iter().all(|dim| dim.as_const().is_some()) {
        return dims::vector(cx, shape);
    }
    let x = cx.read(x)?;
    Ok(Shape {}.build(&mut cx.b, x)?)
}

/// The float type of the result: `dtype`, or that of `self`.
fn float_type(cx: &Cx<'_>, call: &Call<'_>) -> LowerResult<DType> {
    let own = call.opt_tensor("self")?.map(|x| cx.dtype(x)).transpose()?;
    let dtype = call.opt_dtype("dtype")?.or(own).unwrap_or(DType::F32);
    if dtype.is_float() {
        Ok(dtype)
    } else {
        Err(LowerError::dtype(format!("random {dtype} from a continuous distribution")))
    }
}

fn uniform_between(
    cx: &mut Cx<'_>,
    shape: Value,
    (low, high): (f64, f64),
    dtype: DType,
) -> LowerResult<Value> {
    let (low, high) = (cx.b.scalar(dtype, low)?, cx.b.scalar(dtype, high)?);
    Ok(RandomUniform { seed: -1 }.build(&mut cx.b, shape, Some(low), Some(high))?)
}

fn normal_with(
    cx: &mut Cx<'_>,
    shape: Value,
    (mean, deviation): (f64, f64),
    dtype: DType,
) -> LowerResult<Value> {
    let (mean, deviation) = (cx.b.scalar(dtype, mean)?, cx.b.scalar(dtype, deviation)?);
    Ok(RandomNormal { seed: -1 }.build(&mut cx.b, shape, Some(mean), Some(deviation))?)
}

fn drawn(cx: &mut Cx<'_>, call: &Call<'_>, normal: bool) -> LowerResult<Vec<Val>> {
    let dtype = float_type(cx, call)?;
    let shape = shape_of(cx, call)?;
    let y = match normal {
        true => normal_with(cx, shape, (0.0, 1.0), dtype)?,
        false => uniform_between(cx, shape, (0.0, 1.0), dtype)?,
    };
    cx.one(y)
}

/// Integers from `low` to before `high`: uniform numbers rounded down.
fn randint(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (low, high) = (call.int_or("low", 0)?, call.int("high")?);
    let exact = 1i64 << 24;
    if low >= high || low < -exact || high > exact {
        return Err(LowerError::argument(format!("random integers from {low} to {high}"))
            .help("use a range within ±2^24, which floats hold exactly"));
    }
    let own = call.opt_tensor("self")?.map(|x| cx.dtype(x)).transpose()?;
    let dtype = call.opt_dtype("dtype")?.or(own).unwrap_or(DType::I64);
    let shape = shape_of(cx, call)?;
    let y = uniform_between(cx, shape, (low as f64, high as f64), DType::F32)?;
    let y = cx.unary(Floor {}, y)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// The order of random numbers.
fn randperm(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    ignore_storage(call);
    call.ignore(&["generator"]);
    let dtype = call.opt_dtype("dtype")?.unwrap_or(DType::I64);
    let shape = dims::vector(cx, &[call.dim("n")?])?;
    let keys = uniform_between(cx, shape, (0.0, 1.0), DType::F32)?;
    let y = Argsort { axis: 0, ascending: true }.build(&mut cx.b, keys)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

fn uniform(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dtype = float_type(cx, call)?;
    let range = (call.float_or("from", 0.0)?, call.float_or("to", 1.0)?);
    let shape = shape_of(cx, call)?;
    let y = uniform_between(cx, shape, range, dtype)?;
    cx.one(y)
}

/// Normal numbers of a `size` or of the shape of `self`, or one for each of `mean` and `std`.
fn normal(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let given = |name: &str, default: f64| match call.get(name) {
        None => Ok(Operand::Scalar(crate::lower::value::Scalar::Float(default))),
        Some(_) => call.operand(name),
    };
    let (mean, deviation) = (given("mean", 0.0)?, given("std", 1.0)?);
    if let (Operand::Scalar(mean), Operand::Scalar(deviation)) = (&mean, &deviation) {
        let known = mean.as_f64().zip(deviation.as_f64());
        let known = known.ok_or_else(|| LowerError::dynamic("`mean` or `std` is not known"))?;
        let dtype = float_type(cx, call)?;
        let shape = shape_of(cx, call)?;
        let y = normal_with(cx, shape, known, dtype)?;
        return cx.one(y);
    }
    call.ignore(&["generator"]);
    let dtype = cx.promoted(&[&mean, &deviation])?;
    let tensors: Vec<_> = [&mean, &deviation]
        .into_iter()
        .filter_map(|operand| match operand {
            Operand::Tensor(tensor) => Some(*tensor),
            Operand::Scalar(_) => None,
        })
        .collect();
    let shape = common_shape(cx, &tensors)?;
    let shape = dims::vector(cx, &shape)?;
    let y = normal_with(cx, shape, (0.0, 1.0), dtype)?;
    let deviation = cx.operand(&deviation, dtype)?;
    let y = cx.binary(Mul {}, y, deviation)?;
    let mean = cx.operand(&mean, dtype)?;
    let y = cx.binary(Add {}, y, mean)?;
    cx.one(y)
}

/// 1 with a probability that is a number, or an element of `p` or of `self`.
fn bernoulli(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let dtype = cx.dtype(x)?;
    let shape = shape_of(cx, call)?;
    let likely = match call.get("p") {
        None => x,
        Some(Val::Tensor(p)) => *p,
        Some(_) => {
            let p = call.float_or("p", 0.5)?;
            let own = if dtype.is_float() { dtype } else { DType::F32 };
            let p = cx.b.scalar(own, p)?;
            let y = RandomBernoulli { seed: -1 }.build(&mut cx.b, shape, Some(p))?;
            let y = cx.cast(y, dtype)?;
            return cx.one(y);
        }
    };
    let own = cx.dtype(likely)?;
    if !own.is_float() {
        return Err(LowerError::dtype(format!("probabilities of {own}")));
    }
    let likely = cx.read(likely)?;
    let drawn = uniform_between(cx, shape, (0.0, 1.0), own)?;
    let y = cx.binary(Less {}, drawn, likely)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// Indices with probabilities proportional to the elements of a row. Without replacement, they are
/// those of the largest `p / q` where the `q` are exponentially distributed.
fn multinomial(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["generator"]);
    let x = call.tensor("self")?;
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let size = call.int("num_samples")?;
    let replacement = call.bool_or("replacement", false)?;
    if !dtype.is_float() || size < 1 || shape.is_empty() {
        return Err(LowerError::argument(format!("{size} samples from probabilities of {dtype}")));
    }
    let p = cx.read(x)?;
    let y = if replacement || size == 1 {
        let op = RandomCategorical { mode: CategoricalMode::Probs, size, seed: -1 };
        cx.unary(op, p)?
    } else {
        let extents = shape_like(cx, &shape, x)?;
        let drawn = uniform_between(cx, extents, (0.0, 1.0), dtype)?;
        let log = cx.unary(Log { epsilon: F64(0.0) }, drawn)?;
        let minus = cx.b.scalar(dtype, -1.0)?;
        let q = cx.binary(Mul {}, log, minus)?;
        let keys = cx.binary(RealDiv {}, p, q)?;
        let k = cx.b.int(size)?;
        let op = Topk {
            axis: -1,
            ascending: false,
            sort: true,
            return_indices: true,
            output_indices_dtype: DType::I32,
        };
        let results = op.build_many(&mut cx.b, keys, Some(k))?;
        *results.get(1).ok_or_else(|| LowerError::invalid("`topk` gives positions"))?
    };
    let y = cx.cast(y, DType::I64)?;
    cx.one(y)
}

/// Numbers from above 0 to 1.
fn above_zero(cx: &mut Cx<'_>, call: &Call<'_>, dtype: DType) -> LowerResult<Value> {
    let shape = shape_of(cx, call)?;
    let drawn = uniform_between(cx, shape, (0.0, 1.0), dtype)?;
    Formula::new(cx, dtype).from(1.0, drawn)
}

/// `−ln u / lambd`
fn exponential(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dtype = float_type(cx, call)?;
    let rate = call.float_or("lambd", 1.0)?;
    let drawn = above_zero(cx, call, dtype)?;
    let mut f = Formula::new(cx, dtype);
    let log = f.ln(drawn)?;
    let y = f.times(log, -1.0 / rate)?;
    cx.one(y)
}

/// `median + sigma · tan(π·(u − ½))`
fn cauchy(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dtype = float_type(cx, call)?;
    let (median, sigma) = (call.float_or("median", 0.0)?, call.float_or("sigma", 1.0)?);
    let drawn = above_zero(cx, call, dtype)?;
    let mut f = Formula::new(cx, dtype);
    let angle = f.plus(drawn, -0.5)?;
    let angle = f.times(angle, std::f64::consts::PI)?;
    let slope = f.cx.unary(mlc_ir::ops::Tan {}, angle)?;
    let y = f.times(slope, sigma)?;
    let y = f.plus(y, median)?;
    cx.one(y)
}

/// How often it takes until what has probability `p` occurs: `⌈ln u / ln(1 − p)⌉`.
fn geometric(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let own = cx.dtype(call.tensor("self")?)?;
    let dtype = if own.is_float() { own } else { DType::F32 };
    let p = call.float_or("p", 0.5)?;
    let drawn = above_zero(cx, call, dtype)?;
    let mut f = Formula::new(cx, dtype);
    let log = f.ln(drawn)?;
    let count = f.times(log, 1.0 / (-p).ln_1p())?;
    let count = f.cx.unary(mlc_ir::ops::Ceil {}, count)?;
    let one = f.num(1.0)?;
    let count = f.max(count, one)?;
    let y = cx.cast(count, own)?;
    cx.one(y)
}

fn log_normal(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dtype = float_type(cx, call)?;
    let (mean, deviation) = (call.float_or("mean", 1.0)?, call.float_or("std", 2.0)?);
    let shape = shape_of(cx, call)?;
    let y = normal_with(cx, shape, (mean, deviation), dtype)?;
    let y = Formula::new(cx, dtype).exp(y)?;
    cx.one(y)
}
