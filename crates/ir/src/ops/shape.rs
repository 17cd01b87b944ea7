//! Shapes and views.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{
    InferCx, Inferred, OpError, OpResult, may_equal, normalize_axes, normalize_axis, shape_text,
};

op! {
    /// The extents of `x`, as a vector of i32.
    "shape" = Shape(x: One) {} + Pure => infer_shape;

    /// The elements of `x` in row-major order under `shape`; one entry may be −1 and is computed, 0
    /// copies the extent of `x` at the same distance from the end (from the front before iOS 17,
    /// where both ranks are equal).
    "reshape" = Reshape(x: One, shape: One) {} + Pure + View => infer_reshape;

    /// Axis `i` of the result is axis `perm[i]` of `x`.
    "transpose" = Transpose(x: One) { perm: Vec<i64> } + Pure + View => infer_transpose;

    /// `x` with an axis of extent 1 at each of `axes`, which are positions in the result.
    "expand_dims" = ExpandDims(x: One) { axes: Vec<i64> } + Pure + View => infer_expand_dims;

    /// `x` without those of `axes` (all axes when absent) whose extent is 1; others stay.
    "squeeze" = Squeeze(x: One) { axes: Option<Vec<i64>> = None } + Pure + View => infer_squeeze;

    /// The elements of `x` as a matrix: axes before `axis` are its rows, the others its columns.
    "flatten2d" = Flatten2d(x: One) { axis: i64 = 1 } + Pure + View => infer_flatten2d;

    /// The elements of `x` under the shape that is the concatenation over `i` of the extents
    /// `begins[i]` to `ends[i]` (exclusive; to the last where `end_masks[i]`) of `ref_tensors[i]`.
    "reshape_like" = ReshapeLike(x: One, ref_tensors: Many) {
        begins: Vec<i64>,
        ends: Vec<i64>,
        end_masks: Vec<bool>,
    } + Pure + View => infer_reshape_like;
}

impl Transpose {
    /// Swaps the last two of `rank` axes, at least 2.
    #[must_use]
    pub fn last_two(rank: usize) -> Self {
        let rank = rank as i64;
        Self { perm: (0..rank - 2).chain([rank - 1, rank - 2]).collect() }
    }

    /// Whether it swaps the last two axes and moves no other.
    #[must_use]
    pub fn is_of_last_two(&self) -> bool {
        let rank = self.perm.len();
        let own = self.perm.iter().map(|axis| axis.rem_euclid(rank.max(1) as i64));
        rank >= 2 && own.eq(Self::last_two(rank).perm)
    }
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

fn infer_expand_dims(op: &ExpandDims, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let axes = normalize_axes(&op.axes, x.rank() + op.axes.len())?;
    let mut shape = x.shape.clone();
    for axis in axes {
        shape.insert(axis, Dim::Const(1));
    }
    Ok(Inferred::tensor(x.dtype, shape).with_content(cx.content("x").map(<[Dim]>::to_vec)))
}

fn infer_squeeze(op: &Squeeze, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let axes = match &op.axes {
        Some(axes) => normalize_axes(axes, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    let mut shape = Vec::with_capacity(x.rank());
    for (axis, dim) in x.shape.iter().enumerate() {
        if !axes.contains(&axis) {
            shape.push(dim.clone());
            continue;
        }
        match cx.symbols().bounds(dim) {
            (Some(1), Some(1)) => {}
            (low, high) if low > Some(1) || high.is_some_and(|h| h < 1) => shape.push(dim.clone()),
            _ => {
                let message = format!("extent {dim} of axis {axis} of {x} may or may not be 1");
                return Err(OpError::shape(message));
            }
        }
    }
    Ok(Inferred::tensor(x.dtype, shape).with_content(cx.content("x").map(<[Dim]>::to_vec)))
}

fn infer_flatten2d(op: &Flatten2d, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let rank = x.rank() as i64;
    let axis = if op.axis < 0 { op.axis + rank } else { op.axis };
    if !(0..=rank).contains(&axis) {
        return Err(OpError::attr(format!("axis {} of a tensor of rank {rank}", op.axis)));
    }
    let (rows, columns) = x.shape.split_at(axis as usize);
    Ok(Inferred::tensor(x.dtype, [Dim::product(rows), Dim::product(columns)]))
}

fn infer_reshape_like(op: &ReshapeLike, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let refs = cx.tensors("ref_tensors")?;
    if [op.begins.len(), op.ends.len(), op.end_masks.len()] != [refs.len(); 3] {
        return Err(OpError::attr(format!(
            "{} `ref_tensors` with {} `begins`, {} `ends`, {} `end_masks`",
            refs.len(),
            op.begins.len(),
            op.ends.len(),
            op.end_masks.len()
        )));
    }
    let mut shape = Vec::new();
    for (i, ty) in refs.iter().enumerate() {
        let range = reference_range(op.begins[i], op.ends[i], op.end_masks[i], ty.rank());
        let (begin, end) = range.ok_or_else(|| {
            let (begin, end) = (op.begins[i], op.ends[i]);
            OpError::attr(format!("axes {begin} to {end} of `ref_tensors[{i}]`, which is {ty}"))
        })?;
        shape.extend_from_slice(&ty.shape[begin..end]);
    }
    if !may_equal(&x.count(), &Dim::product(&shape)) {
        let text = shape_text(&shape);
        return Err(OpError::shape(format!("the elements of {x} do not fill {text}")));
    }
    Ok(Inferred::tensor(x.dtype, shape))
}

/// The axes that one reference of `reshape_like` gives, as `begin..end`; negative ones count from
/// the end. `None` where they are out of range.
#[must_use]
pub fn reference_range(begin: i64, end: i64, to_last: bool, rank: usize) -> Option<(usize, usize)> {
    let from_front = |at: i64| {
        let at = if at < 0 { at.checked_add(rank as i64)? } else { at };
        usize::try_from(at).ok().filter(|&at| at <= rank)
    };
    let begin = from_front(begin)?;
    let end = if to_last { rank } else { from_front(end)? };
    (begin <= end).then_some((begin, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use crate::dim::SymbolRange;
    use crate::ops::testing::{infer_result, tensor};
    use crate::ops::{Concat, Fill, Gather};
    use crate::program::Value;

    #[test]
    fn reshape_follows_shape_arithmetic() {
        let [b, s] = ["b", "s"].map(Dim::symbol);
        let x = tensor(DType::F32, [b.clone(), s.clone(), Dim::Const(64)]);
        let heads = |builder: &mut Builder<'_>, args: &[Value]| {
            let shape = Shape {}.build(builder, args[0])?;
            let mut values = Vec::new();
            for axis in [0, 1] {
                let index = builder.int(axis)?;
                let gather = Gather { axis: 0, batch_dims: 0, validate_indices: false };
                values.push(gather.build(builder, shape, index)?);
            }
            values.push(builder.int(8)?);
            values.push(builder.int(-1)?);
            let shape = Concat { axis: 0, interleave: false }.build(builder, values)?;
            Reshape {}.build(builder, args[0], shape)
        };
        let got = infer_result(heads, std::slice::from_ref(&x)).unwrap();
        assert_eq!(got.shape, [b.clone(), s.clone(), 8.into(), 8.into()]);
        let merged = |builder: &mut Builder<'_>, args: &[Value]| {
            let shape = builder.ints(&[-1, 32])?;
            Reshape {}.build(builder, args[0], shape)
        };
        let got = infer_result(merged, std::slice::from_ref(&x)).unwrap();
        assert_eq!(got.shape, [b.mul(&s).mul(&2.into()), 32.into()]);
    }

    #[test]
    fn squeeze_needs_to_know() {
        let x = tensor(DType::F32, [Dim::symbol("s"), Dim::Const(1)]);
        let squeeze = |min: i64, max: Option<i64>| {
            let build = |b: &mut Builder<'_>, args: &[Value]| {
                b.program.symbols.declare("s", SymbolRange { min, max });
                Squeeze { axes: None }.build(b, args[0])
            };
            infer_result(build, std::slice::from_ref(&x)).map(|ty| ty.shape)
        };
        assert_eq!(squeeze(2, None), Ok(vec![Dim::symbol("s")]));
        assert_eq!(squeeze(1, Some(1)), Ok(vec![]));
        assert!(squeeze(1, None).unwrap_err().message.contains("may or may not be 1"));
    }

    #[test]
    fn contents_of_views() {
        let build = |b: &mut Builder<'_>, _: &[Value]| {
            let (length, value) = (b.ints(&[3])?, b.int(5)?);
            let fives = Fill {}.build(b, length, Some(value))?;
            let matrix = ExpandDims { axes: vec![0] }.build(b, fives)?;
            assert_eq!(b.content(matrix), None);
            let one = ExpandDims { axes: vec![0] }.build(b, value)?;
            assert_eq!(b.content(one), Some(&[Dim::Const(5)][..]));
            assert_eq!(b.content(fives), Some(&[5, 5, 5].map(Dim::Const)[..]));
            Squeeze { axes: Some(vec![0]) }.build(b, one)
        };
        assert_eq!(infer_result(build, &[]).unwrap().rank(), 0);
    }
}
