//! Random numbers: a hash of the seed and the position of the element, so that they depend on nothing
//! else.

use half::{bf16, f16};
use mlc_ir::attr::CategoricalMode;
use mlc_ir::ops::{RandomBernoulli, RandomCategorical, RandomNormal, RandomUniform};
use mlc_tensor::DType;

use crate::array::element_count;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// A stream of numbers that are uniform in `[0, 1)`, by position.
#[derive(Debug, Clone, Copy)]
struct Stream(u64);

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Stream {
    /// The stream of a seed; of −1, one of the place of this op among the ops of the run.
    fn of(cx: &mut KernelCx<'_, '_>, seed: i64) -> Self {
        match seed {
            -1 => Self(mix(mix(STEP) ^ cx.next_draw())),
            seed => Self(mix(seed as u64)),
        }
    }

    fn uniform(self, at: u64) -> f64 {
        let bits = mix(self.0.wrapping_add(at.wrapping_add(1).wrapping_mul(STEP)));
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// By the transform of Box and Muller.
    fn normal(self, at: u64) -> f64 {
        let (u, v) = (self.uniform(2 * at), self.uniform(2 * at + 1));
        (-2.0 * (1.0 - u).ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }
}

/// The shape that operand `shape` holds.
fn shape_of(cx: &KernelCx<'_, '_>) -> Result<Vec<usize>, EvalError> {
    let extent = |d: i64| {
        usize::try_from(d).map_err(|_| EvalError::undefined(format!("a shape with the extent {d}")))
    };
    let shape: Vec<usize> =
        cx.array("shape")?.to_i64s()?.into_iter().map(extent).collect::<Result<_, _>>()?;
    element_count(&shape)?;
    Ok(shape)
}

fn param(cx: &KernelCx<'_, '_>, name: &str, default: f64) -> Result<f64, EvalError> {
    match cx.opt_array(name)? {
        Some(value) => value
            .to_f64s()?
            .first()
            .copied()
            .ok_or_else(|| EvalError::internal(format!("`{name}` is no scalar"))),
        None => Ok(default),
    }
}

/// `f` of the position of each element of the result.
fn sample(cx: &KernelCx<'_, '_>, f: impl Fn(u64) -> f64) -> Result<Outputs, EvalError> {
    let shape = shape_of(cx)?;
    let count = element_count(&shape)? as u64;
    cx.one_f64s(&shape, (0..count).map(f).collect())
}

impl Kernel for RandomBernoulli {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let stream = Stream::of(cx, self.seed);
        let prob = param(cx, "prob", 0.5)?;
        if !(0.0..=1.0).contains(&prob) {
            return Err(EvalError::undefined(format!("a probability of {prob}")));
        }
        sample(cx, |at| if stream.uniform(at) < prob { 1.0 } else { 0.0 })
    }
}

impl Kernel for RandomNormal {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let stream = Stream::of(cx, self.seed);
        let (mean, stddev) = (param(cx, "mean", 0.0)?, param(cx, "stddev", 1.0)?);
        sample(cx, |at| mean + stddev * stream.normal(at))
    }
}

impl Kernel for RandomUniform {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let stream = Stream::of(cx, self.seed);
        let (low, high) = (param(cx, "low", 0.0)?, param(cx, "high", 1.0)?);
        let dtype = cx.result_dtype(0)?;
        let rounded = |x: f64| match dtype {
            DType::F16 => f16::from_f64(x).to_f64(),
            DType::Bf16 => bf16::from_f64(x).to_f64(),
            DType::F32 => f64::from(x as f32),
            _ => x,
        };
        sample(cx, |at| {
            let x = rounded(low + stream.uniform(at) * (high - low));
            // Rounding must not reach the excluded end.
            if x == high { low } else { x }
        })
    }
}

impl Kernel for RandomCategorical {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let stream = Stream::of(cx, self.seed);
        let x = cx.array("x")?;
        let mut shape = x.shape().to_vec();
        let classes = shape.pop().unwrap_or(0);
        let rows: usize = shape.iter().product();
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        shape.push(size);
        let mut picked = Vec::with_capacity(element_count(&shape)?);
        if classes == 0 && rows > 0 {
            return Err(EvalError::undefined("a choice among no classes"));
        }
        let values = x.to_f64s()?;
        for (row, values) in values.chunks(classes.max(1)).enumerate() {
            let sums = cumulative(values, self.mode)?;
            let total = sums.last().copied().unwrap_or(0.0);
            for k in 0..size {
                let aim = stream.uniform((row * size + k) as u64) * total;
                // The first class whose sum is beyond the aim; classes of weight 0 are never it.
                picked.push(sums.partition_point(|&sum| sum <= aim) as f64);
            }
        }
        cx.one_f64s(&shape, picked)
    }
}

/// Sums of the weights of the classes up to each.
fn cumulative(values: &[f64], mode: CategoricalMode) -> Result<Vec<f64>, EvalError> {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    let sums: Vec<f64> = values
        .iter()
        .map(|&x| {
            sum += match mode {
                CategoricalMode::Logits => (x - max).exp(),
                CategoricalMode::Probs => x,
            };
            sum
        })
        .collect();
    let valid = sum > 0.0 && sum.is_finite() && sums.windows(2).all(|pair| pair[0] <= pair[1]);
    if valid && sums.first().is_none_or(|&first| first >= 0.0) {
        Ok(sums)
    } else {
        Err(EvalError::undefined(format!("{values:?} are no weights of classes")))
    }
}
