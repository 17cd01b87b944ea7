//! Random numbers. With a `seed` other than −1 an op gives the same numbers whenever it runs; with −1
//! others each time. The parameters of a distribution are scalars of the element type of the result,
//! which is f32 when none is given.

use mlc_tensor::DType;

use crate::attr::CategoricalMode;
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult};

op! {
    /// 1 with probability `prob` (absent, 0.5), else 0, independently for each element of `shape`.
    "random_bernoulli" = RandomBernoulli(shape: One, prob: Opt) { seed: i64 = -1 } + Random
        => infer_random_bernoulli;

    /// `size` independent indices into each row along the last axis of `x`, index `i` with a
    /// probability proportional to `e^x[i]` or, for `probs`, to `x[i]`; `x` is `[*D, K]`, the result
    /// `[*D, size]` of the same element type.
    "random_categorical" = RandomCategorical(x: One) {
        mode: CategoricalMode = CategoricalMode::Logits,
        size: i64 = 1,
        seed: i64 = -1,
    } + Random => infer_random_categorical;

    /// Normally distributed with the mean `mean` (absent, 0) and the standard deviation `stddev`
    /// (absent, 1), independently for each element of `shape`.
    "random_normal" = RandomNormal(shape: One, mean: Opt, stddev: Opt) { seed: i64 = -1 } + Random
        => infer_random_normal;

    /// Uniform from `low` (absent, 0) to before `high` (absent, 1), independently for each element of
    /// `shape`.
    "random_uniform" = RandomUniform(shape: One, low: Opt, high: Opt) { seed: i64 = -1 } + Random
        => infer_random_uniform;
}

/// A tensor of the shape that `shape` holds, of the element type of the scalars `params`.
fn sampled(cx: &InferCx<'_>, params: &[&str]) -> OpResult<Inferred> {
    let mut dtype: Option<(&str, DType)> = None;
    for name in params {
        let Some(ty) = cx.opt_tensor(name)? else { continue };
        if ty.rank() > 0 || !ty.dtype.is_float() {
            return Err(OpError::ty(format!("`{name}` is {ty}, a scalar float is needed")));
        }
        match dtype {
            Some((other, first)) if first != ty.dtype => {
                let message = format!("`{other}` is of {first}, `{name}` of {}", ty.dtype);
                return Err(OpError::ty(message));
            }
            _ => dtype = Some((name, ty.dtype)),
        }
    }
    let length = cx.int_vector("shape", None)?;
    let shape = match cx.content("shape") {
        Some(shape) => shape.to_vec(),
        None => {
            let rank = length.shape[0].as_const().and_then(|n| usize::try_from(n).ok());
            let rank = rank
                .filter(|&n| n <= Inferred::MAX_CONTENT)
                .ok_or_else(|| OpError::shape("the rank of the result is not known"))?;
            vec![Dim::Unknown; rank]
        }
    };
    Ok(Inferred::tensor(dtype.map_or(DType::F32, |(_, dtype)| dtype), shape))
}

fn infer_random_bernoulli(_: &RandomBernoulli, cx: &InferCx<'_>) -> OpResult<Inferred> {
    sampled(cx, &["prob"])
}

fn infer_random_normal(_: &RandomNormal, cx: &InferCx<'_>) -> OpResult<Inferred> {
    sampled(cx, &["mean", "stddev"])
}

fn infer_random_uniform(_: &RandomUniform, cx: &InferCx<'_>) -> OpResult<Inferred> {
    sampled(cx, &["low", "high"])
}

fn infer_random_categorical(op: &RandomCategorical, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.float("x")?;
    let Some((_, outer)) = x.shape.split_last() else {
        return Err(OpError::shape("`x` is a scalar, rank 1 or more is needed"));
    };
    if op.size < 1 {
        return Err(OpError::attr(format!("`size` is {}, 1 or more is needed", op.size)));
    }
    let mut shape = outer.to_vec();
    shape.push(Dim::Const(op.size));
    Ok(Inferred::tensor(x.dtype, shape))
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::RandomNormal;
    use crate::dim::Dim;
    use crate::ops::Shape;
    use crate::ops::testing::{infer_result, tensor};

    #[test]
    fn shapes_may_be_of_another_tensor() {
        let x = tensor(DType::F32, [Dim::symbol("s"), 3.into()]);
        let mean = tensor(DType::F16, []);
        let y = infer_result(
            |b, v| {
                let shape = Shape {}.build(b, v[0])?;
                RandomNormal { seed: 1 }.build(b, shape, Some(v[1]), None)
            },
            &[x, mean],
        );
        assert_eq!(y, Ok(tensor(DType::F16, [Dim::symbol("s"), 3.into()])));
    }
}
