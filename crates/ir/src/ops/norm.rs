//! Normalizations. Variances are those of the population: divided by the number of elements.

use crate::attr::F64;
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal, normalize_axes, shape_text};
use crate::ops::activation::check_channels;
use crate::types::TensorType;

op! {
    /// `(x − mean[c]) / √(variance[c] + epsilon) · gamma[c] + beta[c]`, where `c` is the index of `x`
    /// along axis 1; `x` is `[N, C, *D]` with one to three axes `D`. No `gamma` is ones, no `beta`
    /// zeros.
    "batch_norm" = BatchNorm(x: One, mean: One, variance: One, gamma: Opt, beta: Opt) {
        epsilon: F64 = F64(1e-5),
    } + Pure => infer_batch_norm;

    /// `(x − μ) / √(σ² + epsilon) · gamma[c] + beta[c]`, μ and σ² taken over the axes after axis 1
    /// for each index of axes 0 and 1, `c` that of axis 1; `x` is `[N, C, *D]` with one or two axes
    /// `D`. No `gamma` is ones, no `beta` zeros.
    "instance_norm" = InstanceNorm(x: One, gamma: Opt, beta: Opt) {
        epsilon: F64 = F64(1e-5),
    } + Pure => infer_instance_norm;

    /// `(x − μ) / √(σ² + epsilon) · gamma + beta`, μ and σ² taken over `axes` together, which absent
    /// are all; `gamma` and `beta` have the extents of `x` along `axes`, in rising order of the axes.
    /// No `gamma` is ones, no `beta` zeros.
    "layer_norm" = LayerNorm(x: One, gamma: Opt, beta: Opt) {
        axes: Option<Vec<i64>> = None,
        epsilon: F64 = F64(1e-5),
    } + Pure => infer_layer_norm;

    /// `x / √(Σ x² + epsilon)`, summed over the last three axes.
    "l2_norm" = L2Norm(x: One) { epsilon: F64 = F64(1e-6) } + Pure => infer_l2_norm;

    /// `x / (k + alpha/size · Σ x[c′]²)^beta`, summed over the `size` indices `c′` of axis 1 from
    /// `c − ⌊size/2⌋` on that exist; `x` is `[N, C, *D]` with one or two axes `D`.
    "local_response_norm" = LocalResponseNorm(x: One) {
        size: i64,
        alpha: F64 = F64(1e-4),
        beta: F64 = F64(0.75),
        k: F64 = F64(1.0),
    } + Pure => infer_local_response_norm;
}

fn ranked<'a>(cx: &InferCx<'a>, least: usize, most: usize) -> OpResult<&'a TensorType> {
    let x = cx.float("x")?;
    if (least..=most).contains(&x.rank()) {
        Ok(x)
    } else {
        Err(OpError::shape(format!("`x` is {x}, rank {least} to {most} is needed")))
    }
}

fn infer_batch_norm(_: &BatchNorm, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = ranked(cx, 3, 5)?;
    for name in ["mean", "variance", "gamma", "beta"] {
        check_channels(cx, name)?;
    }
    Ok(Inferred::ty(x.clone()))
}

fn infer_instance_norm(_: &InstanceNorm, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = ranked(cx, 3, 4)?;
    check_channels(cx, "gamma")?;
    check_channels(cx, "beta")?;
    Ok(Inferred::ty(x.clone()))
}

fn infer_layer_norm(op: &LayerNorm, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.float("x")?;
    let axes = match &op.axes {
        None => (0..x.rank()).collect(),
        Some(axes) => normalize_axes(axes, x.rank())?,
    };
    if axes.is_empty() {
        return Err(OpError::attr("there are no axes to normalize over"));
    }
    for name in ["gamma", "beta"] {
        if cx.value(name).is_none() {
            continue;
        }
        let param = cx.float(name)?;
        let fits = param.rank() == axes.len()
            && param.shape.iter().zip(&axes).all(|(dim, &i)| may_equal(dim, &x.shape[i]));
        if !fits {
            let wanted: Vec<_> = axes.iter().map(|&i| x.shape[i].clone()).collect();
            let message = format!("`{name}` is {param}, {} is needed", shape_text(&wanted));
            return Err(OpError::shape(message));
        }
    }
    Ok(Inferred::ty(x.clone()))
}

fn infer_l2_norm(_: &L2Norm, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.float("x")?;
    if x.rank() < 3 {
        return Err(OpError::shape(format!("`x` is {x}, rank 3 or more is needed")));
    }
    Ok(Inferred::ty(x.clone()))
}

fn infer_local_response_norm(op: &LocalResponseNorm, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = ranked(cx, 3, 4)?;
    if op.size < 1 {
        return Err(OpError::attr(format!("`size` is {}, 1 or more is needed", op.size)));
    }
    Ok(Inferred::ty(x.clone()))
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::LayerNorm;
    use crate::attr::F64;
    use crate::dim::Dim;
    use crate::ops::testing::{infer_result, tensor};

    #[test]
    fn parameters_follow_the_axes_in_rising_order() {
        let x = tensor(DType::F16, [Dim::symbol("s"), 4.into(), 8.into()]);
        let run = |gamma: [Dim; 2]| {
            let op = LayerNorm { axes: Some(vec![-1, 1]), epsilon: F64(1e-5) };
            let gamma = tensor(DType::F32, gamma);
            infer_result(|b, v| op.build(b, v[0], Some(v[1]), None), &[x.clone(), gamma])
        };
        assert_eq!(run([4.into(), 8.into()]), Ok(x.clone()));
        assert!(run([8.into(), 4.into()]).is_err());
    }
}
