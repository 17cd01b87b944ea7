//! Shapes and views.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, normalize_axis};

op! {
    /// The extents of `x`, as a vector of i32.
    "shape" = Shape(x: One) {} + Pure => infer_shape;

    /// The elements of `x` in row-major order under `shape`; one entry may be −1 and is computed, 0
    /// copies the extent of `x` at the same distance from the end (from the front before iOS 17,
    /// where both ranks are equal).
    "reshape" = Reshape(x: One, shape: One) {} + Pure + View => infer_reshape;

    /// Axis `i` of the result is axis `perm[i]` of `x`.
    "transpose" = Transpose(x: One) { perm: Vec<i64> } + Pure + View => infer_transpose;
}

fn infer_shape(_: &Shape, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let ty = cx.tensor("x")?;
    let rank = Dim::Const(ty.rank() as i64);
    Ok(Inferred::tensor(DType::I32, [rank]).with_content(Some(ty.shape.clone())))
}

fn infer_reshape(_: &Reshape, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let shape_ty = cx.int("shape")?;
    let [length] = &shape_ty.shape[..] else {
        return Err(OpError::shape(format!("`shape` is {shape_ty}, a vector is needed")));
    };
    let Some(wanted) = cx.content("shape") else {
        let rank = length
            .as_const()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|&n| n <= Inferred::MAX_CONTENT)
            .ok_or_else(|| OpError::shape("the rank of the result is not known"))?;
        return Ok(Inferred::tensor(x.dtype, vec![Dim::Unknown; rank]));
    };
    let mut shape = wanted.to_vec();
    for i in 0..shape.len() {
        if shape[i].is(0) {
            let from_end = shape.len() - i;
            if let Some(at) = x.rank().checked_sub(from_end) {
                shape[i] = x.shape[at].clone();
            } else if !x.count().is(0) {
                shape[i] = Dim::Const(1);
            }
        }
    }
    let holes: Vec<usize> = (0..shape.len()).filter(|&i| shape[i].is(-1)).collect();
    let known = Dim::product(shape.iter().filter(|d| !d.is(-1)));
    match holes[..] {
        [] => {
            let (have, want) = (x.count(), known);
            if let (Some(a), Some(b)) = (have.as_const(), want.as_const())
                && a != b
            {
                return Err(OpError::shape(format!("{a} elements of {x} do not fill {b}")));
            }
        }
        [hole] => {
            let count = x.count();
            shape[hole] = match (count.as_const(), known.as_const()) {
                (Some(a), Some(b)) if b > 0 && a % b == 0 => Dim::Const(a / b),
                (Some(a), Some(b)) => {
                    return Err(OpError::shape(format!("{a} elements of {x} do not fill {b}·n")));
                }
                _ => count.floor_div(&known),
            };
        }
        _ => return Err(OpError::shape(format!("`shape` has {} entries of −1", holes.len()))),
    }
    let content = if shape.len() <= 1 { cx.content("x").map(<[Dim]>::to_vec) } else { None };
    Ok(Inferred::tensor(x.dtype, shape).with_content(content))
}

fn infer_transpose(op: &Transpose, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let perm =
        op.perm.iter().map(|&p| normalize_axis(p, x.rank())).collect::<OpResult<Vec<_>>>()?;
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.rank()) {
        return Err(OpError::attr(format!("{:?} is no permutation of {} axes", op.perm, x.rank())));
    }
    let shape: Vec<Dim> = perm.iter().map(|&p| x.shape[p].clone()).collect();
    Ok(Inferred::tensor(x.dtype, shape).with_content(cx.content("x").map(<[Dim]>::to_vec)))
}
