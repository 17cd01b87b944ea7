//! Random numbers. Seeds of a graph make no sequence that another implementation could repeat, so they
//! are not honoured: every run draws anew.

use mlc_ir::Value;
use mlc_ir::attr::CategoricalMode;
use mlc_ir::ops::{Add, Argsort, Floor, Mul, RandomCategorical, RandomNormal, RandomUniform, Sub};
use mlc_tensor::DType;

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "Multinomial", lower: multinomial },
    Lowering { name: "ParameterizedTruncatedNormal", lower: parameterized },
    Lowering { name: "RandomStandardNormal", lower: normal },
    Lowering { name: "RandomUniform", lower: uniform },
    Lowering { name: "RandomUniformInt", lower: uniform_int },
    Lowering { name: "RandomShuffle", lower: shuffle },
    Lowering { name: "StatelessMultinomial", lower: multinomial },
    Lowering { name: "StatelessRandomGetAlg", lower: generator },
    Lowering { name: "StatelessRandomGetKeyCounter", lower: generator },
    Lowering { name: "StatelessRandomGetKeyCounterAlg", lower: generator },
    Lowering { name: "StatelessRandomNormal", lower: normal },
    Lowering { name: "StatelessRandomNormalV2", lower: normal },
    Lowering { name: "StatelessRandomUniform", lower: uniform },
    Lowering { name: "StatelessRandomUniformV2", lower: uniform },
    Lowering { name: "StatelessTruncatedNormal", lower: truncated },
    Lowering { name: "StatelessTruncatedNormalV2", lower: truncated },
    Lowering { name: "TruncatedNormal", lower: truncated },
];

fn ignore_seeds(call: &Call<'_>) {
    call.ignore(&["seed", "seed2"]);
}

/// The shape that input 0 says, as i32, and the element type.
fn shape(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<(Value, DType)> {
    ignore_seeds(call);
    let shape = cx.cast(call.tensor(0)?, DType::I32)?;
    Ok((shape, call.dtype_or("dtype", DType::F32)?))
}

fn uniform(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (shape, dtype) = shape(cx, call)?;
    let (low, high) = (cx.number(dtype, 0.0)?, cx.number(dtype, 1.0)?);
    let y = RandomUniform { seed: -1 }.build(&mut cx.b, shape, Some(low), Some(high))?;
    cx.one(y)
}

/// The state of a generator of random numbers, which nothing reads.
fn generator(_: &mut Cx<'_>, _: &Call<'_>) -> LowerResult<Vec<Val>> {
    Ok(vec![Val::Nothing; 3])
}

/// The rows in the order of as many random numbers.
fn shuffle(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    ignore_seeds(call);
    let x = call.tensor(0)?;
    let count = cx.shape(x)?.into_iter().next();
    let count = count.ok_or_else(|| LowerError::invalid("a scalar has no rows"))?;
    let shape = crate::lower::dims::vector(cx, &[count])?;
    let (low, high) = (cx.number(DType::F32, 0.0)?, cx.number(DType::F32, 1.0)?);
    let draw = RandomUniform { seed: -1 }.build(&mut cx.b, shape, Some(low), Some(high))?;
    let order = cx.unary(Argsort { axis: 0, ascending: true }, draw)?;
    let y = super::join::gathered(cx, x, order, 0)?;
    cx.one(y)
}

fn uniform_int(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    ignore_seeds(call);
    let shape = cx.cast(call.tensor(0)?, DType::I32)?;
    let (low, high) = (call.tensor(1)?, call.tensor(2)?);
    let dtype = cx.dtype(low)?;
    let (zero, one) = (cx.number(DType::F32, 0.0)?, cx.number(DType::F32, 1.0)?);
    let x = RandomUniform { seed: -1 }.build(&mut cx.b, shape, Some(zero), Some(one))?;
    let width = cx.binary(Sub {}, high, low)?;
    let width = cx.cast(width, DType::F32)?;
    let x = cx.binary(Mul {}, x, width)?;
    let x = cx.unary(Floor {}, x)?;
    let x = cx.cast(x, dtype)?;
    let y = cx.binary(Add {}, x, low)?;
    cx.one(y)
}

fn normal(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (shape, dtype) = shape(cx, call)?;
    let (mean, stddev) = (cx.number(dtype, 0.0)?, cx.number(dtype, 1.0)?);
    let y = RandomNormal { seed: -1 }.build(&mut cx.b, shape, Some(mean), Some(stddev))?;
    cx.one(y)
}

/// A normal distribution cut off at two standard deviations: by its quantile function of a uniform
/// number.
fn truncated(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    // The probabilities of −2 and 2.
    const LOW: f64 = 0.022_750_131_948_179_21;
    let (shape, dtype) = shape(cx, call)?;
    let (low, high) = (cx.number(dtype, LOW)?, cx.number(dtype, 1.0 - LOW)?);
    let p = RandomUniform { seed: -1 }.build(&mut cx.b, shape, Some(low), Some(high))?;
    let y = super::special::ndtri_value(cx, p)?;
    cx.one(y)
}

fn parameterized(_: &mut Cx<'_>, _: &Call<'_>) -> LowerResult<Vec<Val>> {
    Err(LowerError::argument("a truncated normal distribution with parameters for each row")
        .help("draw a standard one and scale it"))
}

fn multinomial(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    ignore_seeds(call);
    let x = cx.cast(call.tensor(0)?, DType::F32)?;
    let size = cx.need_int(call.tensor(1)?, "num_samples")?;
    let op = RandomCategorical { mode: CategoricalMode::Logits, size, seed: -1 };
    let y = op.build(&mut cx.b, x)?;
    let y = cx.cast(y, call.dtype_or("output_dtype", DType::I64)?)?;
    cx.one(y)
}
