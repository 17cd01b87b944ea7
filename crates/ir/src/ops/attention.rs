//! Attention.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, broadcast, may_equal, meet};

op! {
    /// `softmax(query · keyᵀ / √E + attn_mask) · value`, the softmax along the last axis; `query` is
    /// `[*B, L, E]`, `key` `[*B, S, E]`, `value` `[*B, S, Ev]` with at least one axis `B`, the result
    /// `[*B, L, Ev]`. A mask of floats is added; one of `bool` adds 0 where it is true and −∞ where it
    /// is not. Its last axis is `S`, the others broadcast to `[*B, L]`.
    "scaled_dot_product_attention" = ScaledDotProductAttention(
        query: One, key: One, value: One, attn_mask: Opt,
    ) {} + Pure => infer_attention;
}

fn infer_attention(_: &ScaledDotProductAttention, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (query, key, value) = (cx.float("query")?, cx.float("key")?, cx.float("value")?);
    let dtype = cx.same_dtype(&["query", "key", "value"])?;
    let ranks = [query.rank(), key.rank(), value.rank()];
    if ranks[0] < 3 || ranks.iter().any(|&r| r != ranks[0]) {
        let message =
            format!("`query` is {query}, `key` {key}, `value` {value}: one rank of 3 or more");
        return Err(OpError::shape(message));
    }
    let at = ranks[0] - 2;
    let mut shape: Vec<Dim> = Vec::with_capacity(ranks[0]);
    for i in 0..at {
        let (q, k, v) = (&query.shape[i], &key.shape[i], &value.shape[i]);
        if !may_equal(q, k) || !may_equal(q, v) || !may_equal(k, v) {
            let message = format!("axis {i} of {query}, {key} and {value} must be equal");
            return Err(OpError::shape(message));
        }
        shape.push(meet(&meet(q, k), v));
    }
    if !may_equal(&query.shape[at + 1], &key.shape[at + 1]) {
        return Err(OpError::shape(format!("last axes of `query`, {query}, and `key`, {key}")));
    }
    if query.shape[at + 1].is(0) {
        return Err(OpError::shape(format!("the last axis of `query`, {query}, is empty")));
    }
    if !may_equal(&key.shape[at], &value.shape[at]) {
        let message = format!("axis {at} of `key`, {key}, and `value`, {value}");
        return Err(OpError::shape(message));
    }
    shape.push(query.shape[at].clone());
    check_mask(cx, &shape, &meet(&key.shape[at], &value.shape[at]))?;
    shape.push(value.shape[at + 1].clone());
    Ok(Inferred::tensor(dtype, shape))
}

/// `outer` is `[*B, L]`, `length` `S`.
fn check_mask(cx: &InferCx<'_>, outer: &[Dim], length: &Dim) -> OpResult<()> {
    let Some(mask) = cx.opt_tensor("attn_mask")? else { return Ok(()) };
    if mask.dtype != DType::Bool && !mask.dtype.is_float() {
        return Err(OpError::ty(format!("`attn_mask` is {mask}, bool or a float is needed")));
    }
    let Some((last, rest)) = mask.shape.split_last() else {
        return Err(OpError::shape("`attn_mask` is a scalar"));
    };
    if !may_equal(last, length) {
        let message = format!("the last axis of `attn_mask`, {mask}, is not {length}");
        return Err(OpError::shape(message));
    }
    let spread = broadcast(rest, outer)?;
    let fits =
        spread.len() == outer.len() && spread.iter().zip(outer).all(|(a, b)| may_equal(a, b));
    if fits {
        Ok(())
    } else {
        Err(OpError::shape(format!("`attn_mask` is {mask}, larger than the scores")))
    }
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::ScaledDotProductAttention;
    use crate::dim::Dim;
    use crate::ops::testing::{infer_result, tensor};

    #[test]
    fn shapes_and_masks() {
        let (l, s) = (Dim::symbol("l"), Dim::symbol("s"));
        let q = tensor(DType::F16, [1.into(), 8.into(), l.clone(), 64.into()]);
        let k = tensor(DType::F16, [1.into(), 8.into(), s.clone(), 64.into()]);
        let run = |mask: Vec<Dim>| {
            infer_result(
                |b, v| ScaledDotProductAttention {}.build(b, v[0], v[1], v[2], Some(v[3])),
                &[q.clone(), k.clone(), k.clone(), tensor(DType::Bool, mask)],
            )
        };
        assert_eq!(run(vec![1.into(), l, s.clone()]).unwrap().shape, q.shape);
        assert!(run(vec![2.into(), 8.into(), 1.into(), s.clone()]).is_err());
        assert!(run(vec![1.into(), 1.into(), 8.into(), 1.into(), s]).is_err());
    }
}
