//! Tensors made from shapes and ranges.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, normalize_axis};

op! {
    /// A tensor of `shape` with `value` (0 of f32 when absent) everywhere.
    "fill" = Fill(shape: One, value: Opt) {} + Pure => infer_fill;

    /// A tensor of the shape of `ref_tensor` with `value` (0 of f32 when absent) everywhere.
    "fill_like" = FillLike(ref_tensor: One, value: Opt) {} + Pure => infer_fill_like;

    /// `start`, `start + step`, `start + 2·step`, … before `end`: `⌈(end − start)/step⌉` elements,
    /// none where that is negative.
    "range_1d" = Range1d(end: One, start: One, step: One) {} + Pure => infer_range_1d;

    /// A new axis at position `axis` of the result with `one_hot_vector_size` elements: `on_value`
    /// (1 when absent) at the index, `off_value` (0) elsewhere; all off for an index out of range.
    "one_hot" = OneHot(indices: One, one_hot_vector_size: One, on_value: Opt, off_value: Opt) {
        axis: i64 = -1,
    } + Pure => infer_one_hot;

    /// The multi-indices of the elements that are not 0, as rows of a matrix, in row-major order.
    "non_zero" = NonZero(x: One) {} + Pure => infer_non_zero;
}

/// The element type of an optional scalar; `default` when it is absent.
fn scalar_dtype(cx: &InferCx<'_>, name: &str, default: DType) -> OpResult<DType> {
    match cx.opt_tensor(name)? {
        Some(ty) if ty.rank() > 0 => {
            Err(OpError::shape(format!("`{name}` is {ty}, a scalar is needed")))
        }
        Some(ty) => Ok(ty.dtype),
        None => Ok(default),
    }
}

/// The known content of a small vector or scalar of `shape` that holds `value` everywhere.
fn filled(cx: &InferCx<'_>, shape: &[Dim]) -> Option<Vec<Dim>> {
    let [value] = cx.content("value")? else { return None };
    let count = match shape {
        [] => 1,
        [extent] => usize::try_from(extent.as_const()?).ok()?,
        _ => return None,
    };
    (count <= Inferred::MAX_CONTENT).then(|| vec![value.clone(); count])
}

fn infer_fill(_: &Fill, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let dtype = scalar_dtype(cx, "value", DType::F32)?;
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
    let content = filled(cx, &shape);
    Ok(Inferred::tensor(dtype, shape).with_content(content))
}

fn infer_fill_like(_: &FillLike, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let dtype = scalar_dtype(cx, "value", DType::F32)?;
    let shape = cx.tensor("ref_tensor")?.shape.clone();
    let content = filled(cx, &shape);
    Ok(Inferred::tensor(dtype, shape).with_content(content))
}

/// The number of elements of a range of floats: `⌈(end − start)/step⌉`, not negative; `None` for a
/// step of 0, NaN, or more than 2^53 elements.
#[must_use]
pub fn float_range_length(end: f64, start: f64, step: f64) -> Option<u64> {
    let count = ((end - start) / step).ceil();
    (step != 0.0 && count.is_finite() && count <= 9.0e15).then_some(count.max(0.0) as u64)
}

fn infer_range_1d(_: &Range1d, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let names = ["end", "start", "step"];
    let dtype = cx.same_dtype(&names)?;
    for name in names {
        let ty = cx.tensor(name)?;
        if ty.rank() > 0 || !(dtype.is_float() || dtype.is_int()) {
            return Err(OpError::ty(format!("`{name}` is {ty}, a number is needed")));
        }
    }
    if dtype.is_float() {
        let number = |name: &str| cx.constant(name)?.to_f64s().ok()?.first().copied();
        let length = match names.map(number) {
            [Some(end), Some(start), Some(step)] => {
                let length = float_range_length(end, start, step).ok_or_else(|| {
                    OpError::shape(format!("no range from {start} to {end} by {step}"))
                })?;
                Dim::from(length)
            }
            _ => Dim::Unknown,
        };
        return Ok(Inferred::tensor(dtype, [length]));
    }
    let number = |name: &str| cx.content(name).and_then(<[Dim]>::first);
    let [Some(end), Some(start), Some(Dim::Const(step))] = names.map(number) else {
        return Ok(Inferred::tensor(dtype, [Dim::Unknown]));
    };
    let length = match *step {
        0 => return Err(OpError::shape("`step` is 0")),
        1.. => round_up(&cx.at_least_zero(&end.sub(start)), *step),
        step => round_up(&cx.at_least_zero(&start.sub(end)), step.saturating_neg()),
    };
    let content = length
        .as_const()
        .filter(|&n| n <= Inferred::MAX_CONTENT as i64)
        .map(|n| (0..n).map(|k| start.add(&Dim::Const(k).mul(&Dim::Const(*step)))).collect());
    Ok(Inferred::tensor(dtype, [length]).with_content(content))
}

/// `⌈span / step⌉` of a span that is not negative.
fn round_up(span: &Dim, step: i64) -> Dim {
    span.add(&Dim::Const(step - 1)).floor_div(&Dim::Const(step))
}

fn infer_one_hot(op: &OneHot, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let indices = cx.int("indices")?;
    cx.int_scalar("one_hot_vector_size")?;
    let on = scalar_dtype(cx, "on_value", DType::I32)?;
    let off = scalar_dtype(cx, "off_value", DType::I32)?;
    if on != off {
        return Err(OpError::ty(format!("`on_value` is {on}, `off_value` {off}")));
    }
    let axis = normalize_axis(op.axis, indices.rank() + 1)?;
    let size = cx.content("one_hot_vector_size").and_then(<[Dim]>::first);
    let mut shape = indices.shape.clone();
    shape.insert(axis, size.cloned().unwrap_or(Dim::Unknown));
    Ok(Inferred::tensor(on, shape))
}

fn infer_non_zero(_: &NonZero, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let rank = cx.tensor("x")?.rank() as i64;
    Ok(Inferred::tensor(DType::I32, [Dim::Unknown, Dim::Const(rank)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use crate::ops::testing::{infer_result, tensor};
    use crate::ops::{Gather, Shape};
    use crate::program::Value;

    #[test]
    fn ranges_to_a_symbol() {
        let range = |start: i64, step: i64| {
            let build = |b: &mut Builder<'_>, args: &[Value]| {
                let (zero, start, step) = (b.int(0)?, b.int(start)?, b.int(step)?);
                let shape = Shape {}.build(b, args[0])?;
                let gather = Gather { axis: 0, batch_dims: 0, validate_indices: false };
                let end = gather.build(b, shape, zero)?;
                Range1d {}.build(b, end, start, step)
            };
            let x = tensor(DType::F32, [Dim::symbol("s")]);
            infer_result(build, &[x]).unwrap().shape[0].to_string()
        };
        assert_eq!(range(0, 1), "s");
        assert_eq!(range(0, 2), "floordiv(s+1, 2)");
        assert_eq!(range(3, 1), "max(0, s-3)");
        assert_eq!(range(0, -1), "0");
    }
}
