//! Reductions over axes. `axes` absent means all of them; `keep_dims` leaves them with extent 1.

use mlc_tensor::DType;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, normalize_axes, normalize_axis};

op! {
    /// `Σ x`; 0 over nothing.
    "reduce_sum" = ReduceSum(x: One) { axes: Option<Vec<i64>> = None, keep_dims: bool = false } + Pure
        => infer_reduce_sum;
    /// `Σ x / n`; of integers, truncated toward zero.
    "reduce_mean" = ReduceMean(x: One) { axes: Option<Vec<i64>> = None, keep_dims: bool = false } + Pure
        => infer_reduce_mean;
    /// `Π x`; 1 over nothing.
    "reduce_prod" = ReduceProd(x: One) { axes: Option<Vec<i64>> = None, keep_dims: bool = false } + Pure
        => infer_reduce_prod;
    /// The greatest; NaN if there is one.
    "reduce_max" = ReduceMax(x: One) { axes: Option<Vec<i64>> = None, keep_dims: bool = false } + Pure
        => infer_reduce_max;
    /// The least; NaN if there is one.
    "reduce_min" = ReduceMin(x: One) { axes: Option<Vec<i64>> = None, keep_dims: bool = false } + Pure
        => infer_reduce_min;
    /// `Σ x²`
    "reduce_sum_square" = ReduceSumSquare(x: One) {
        axes: Option<Vec<i64>> = None, keep_dims: bool = false,
    } + Pure => infer_reduce_sum_square;
    /// `Σ |x|`
    "reduce_l1_norm" = ReduceL1Norm(x: One) {
        axes: Option<Vec<i64>> = None, keep_dims: bool = false,
    } + Pure => infer_reduce_l1_norm;
    /// `√(Σ x²)`; of integers, truncated toward zero.
    "reduce_l2_norm" = ReduceL2Norm(x: One) {
        axes: Option<Vec<i64>> = None, keep_dims: bool = false,
    } + Pure => infer_reduce_l2_norm;
    /// `ln(Σ x)`; of integers, truncated toward zero.
    "reduce_log_sum" = ReduceLogSum(x: One) {
        axes: Option<Vec<i64>> = None, keep_dims: bool = false,
    } + Pure => infer_reduce_log_sum;
    /// `ln(Σ eˣ)`, computed after the maximum is taken off; of integers, truncated toward zero.
    "reduce_log_sum_exp" = ReduceLogSumExp(x: One) {
        axes: Option<Vec<i64>> = None, keep_dims: bool = false,
    } + Pure => infer_reduce_log_sum_exp;
    /// The index along `axis` of the greatest element, of equal ones the first; of the first NaN if
    /// there is one. `output_dtype` is `int32` or, from iOS 17 on, `uint16`.
    "reduce_argmax" = ReduceArgmax(x: One) {
        axis: i64 = -1, keep_dims: bool = false, output_dtype: DType = DType::I32,
    } + Pure => infer_reduce_argmax;
    /// The index along `axis` of the least element, of equal ones the first; of the first NaN if
    /// there is one. `output_dtype` is `int32` or, from iOS 17 on, `uint16`.
    "reduce_argmin" = ReduceArgmin(x: One) {
        axis: i64 = -1, keep_dims: bool = false, output_dtype: DType = DType::I32,
    } + Pure => infer_reduce_argmin;
}

/// The axes, from the front and sorted.
///
/// # Errors
/// An axis is out of range or stands twice, or the list is empty: what an empty list means is not
/// defined.
pub fn reduced_axes(axes: Option<&[i64]>, rank: usize) -> OpResult<Vec<usize>> {
    match axes {
        None => Ok((0..rank).collect()),
        Some([]) => Err(OpError::attr("`axes` is empty; leave it out to reduce all axes")),
        Some(axes) => normalize_axes(axes, rank),
    }
}

fn without(shape: &[Dim], axes: &[usize], keep_dims: bool) -> Vec<Dim> {
    let at = |(i, dim): (usize, &Dim)| match axes.contains(&i) {
        false => Some(dim.clone()),
        true => keep_dims.then_some(Dim::Const(1)),
    };
    shape.iter().enumerate().filter_map(at).collect()
}

fn reduce(axes: Option<&[i64]>, keep_dims: bool, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    if !x.dtype.is_float() && !x.dtype.is_int() {
        return Err(OpError::ty(format!("`x` is {x}, numbers are needed")));
    }
    let axes = reduced_axes(axes, x.rank())?;
    Ok(Inferred::tensor(x.dtype, without(&x.shape, &axes, keep_dims)))
}

/// The known content of the result when all known elements of `x` are folded into one.
fn folded(cx: &InferCx<'_>, start: Option<i64>, f: fn(&Dim, &Dim) -> Dim) -> Option<Vec<Dim>> {
    let (first, rest) = match (start, cx.content("x")?) {
        (Some(start), all) => (Dim::Const(start), all),
        (None, all) => {
            let (first, rest) = all.split_first()?;
            (first.clone(), rest)
        }
    };
    Some(vec![rest.iter().fold(first, |sum, dim| f(&sum, dim))])
}

macro_rules! reductions {
    ($($name:ident: $Payload:ident $(($start:expr, $f:expr))?;)*) => {$(
        fn $name(op: &$Payload, cx: &InferCx<'_>) -> OpResult<Inferred> {
            let inferred = reduce(op.axes.as_deref(), op.keep_dims, cx)?;
            $(let inferred = match cx.tensor("x")?.rank() {
                1 => inferred.with_content(folded(cx, $start, $f)),
                _ => inferred,
            };)?
            Ok(inferred)
        }
    )*};
}

reductions! {
    infer_reduce_sum: ReduceSum(Some(0), Dim::add);
    infer_reduce_mean: ReduceMean;
    infer_reduce_prod: ReduceProd(Some(1), Dim::mul);
    infer_reduce_max: ReduceMax(None, Dim::maximum);
    infer_reduce_min: ReduceMin(None, Dim::minimum);
    infer_reduce_sum_square: ReduceSumSquare;
    infer_reduce_l1_norm: ReduceL1Norm;
    infer_reduce_l2_norm: ReduceL2Norm;
    infer_reduce_log_sum: ReduceLogSum;
    infer_reduce_log_sum_exp: ReduceLogSumExp;
}

fn arg(axis: i64, keep_dims: bool, dtype: DType, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    if !x.dtype.is_float() && !x.dtype.is_int() {
        return Err(OpError::ty(format!("`x` is {x}, numbers are needed")));
    }
    if !dtype.is_int() {
        return Err(OpError::attr(format!("`output_dtype` is {dtype}, an integer is needed")));
    }
    let axis = normalize_axis(axis, x.rank())?;
    if x.shape[axis].is(0) {
        return Err(OpError::shape(format!("axis {axis} of `x`, {x}, has no elements")));
    }
    if let (Some(extent), Some((_, most))) = (x.shape[axis].as_const(), dtype.int_range())
        && extent - 1 > most
    {
        let message = format!("indices of {extent} elements do not fit {dtype}");
        return Err(OpError::attr(message));
    }
    Ok(Inferred::tensor(dtype, without(&x.shape, &[axis], keep_dims)))
}

fn infer_reduce_argmax(op: &ReduceArgmax, cx: &InferCx<'_>) -> OpResult<Inferred> {
    arg(op.axis, op.keep_dims, op.output_dtype, cx)
}

fn infer_reduce_argmin(op: &ReduceArgmin, cx: &InferCx<'_>) -> OpResult<Inferred> {
    arg(op.axis, op.keep_dims, op.output_dtype, cx)
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::{ReduceProd, ReduceSum};
    use crate::builder::Builder;
    use crate::dim::Dim;
    use crate::ops::Shape;
    use crate::ops::testing::{infer_result, tensor};
    use crate::program::{Function, Program};

    #[test]
    fn axes_leave_or_stay() {
        let (s, t) = (Dim::symbol("s"), Dim::symbol("t"));
        let x = tensor(DType::F32, [s.clone(), t.clone(), 4.into()]);
        let run = |axes: Option<&[i64]>, keep_dims| {
            let op = ReduceSum { axes: axes.map(<[i64]>::to_vec), keep_dims };
            infer_result(|b, v| op.build(b, v[0]), std::slice::from_ref(&x))
        };
        assert_eq!(run(Some(&[-1, 0]), false).unwrap().shape, [t]);
        assert_eq!(run(Some(&[1]), true).unwrap().shape, [s, 1.into(), 4.into()]);
        assert_eq!(run(None, false).unwrap().shape, []);
        assert!(run(Some(&[0, -3]), false).is_err());
        assert!(run(Some(&[]), false).is_err());
    }

    #[test]
    fn a_count_of_elements_is_known() {
        let mut program = Program::new();
        let mut function = Function::new("main");
        let shape = [Dim::symbol("s"), 3.into()];
        let x = function.add_arg(function.body, tensor(DType::F32, shape));
        let func = program.functions.push(function);
        let mut b = Builder::new(&mut program, func);
        let shape = Shape {}.build(&mut b, x).unwrap();
        let count = ReduceProd { axes: None, keep_dims: false }.build(&mut b, shape).unwrap();
        assert_eq!(b.content(count), Some(&[Dim::symbol("s").mul(&3.into())][..]));
    }
}
