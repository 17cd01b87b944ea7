//! Reductions. Floats are summed in doubles.

use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::reduction::reduced_axes;
use mlc_ir::ops::{
    ReduceArgmax, ReduceArgmin, ReduceL1Norm, ReduceL2Norm, ReduceLogSum, ReduceLogSumExp,
    ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum, ReduceSumSquare,
};

use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};

/// A tensor as rows: those axes that are reduced last, in their order, the others before.
pub(crate) struct Rows {
    /// The tensor, axes reordered, contiguous.
    pub(crate) data: candle_core::Tensor,
    /// Number of elements of a row.
    pub(crate) length: usize,
    /// Number of rows.
    pub(crate) count: usize,
    /// Axis of the tensor that stands at each place.
    pub(crate) order: Vec<usize>,
}

impl Rows {
    /// The rows of `x` along `axes`, which are sorted.
    pub(crate) fn of(x: &Array, axes: &[usize]) -> Result<Self, EvalError> {
        let order: Vec<usize> =
            (0..x.rank()).filter(|i| !axes.contains(i)).chain(axes.iter().copied()).collect();
        let data = x.candle().permute(order.clone())?.contiguous()?;
        let length: usize = axes.iter().map(|&i| x.shape()[i]).product();
        let kept = x.rank() - axes.len();
        let count: usize = data.dims()[..kept].iter().product();
        Ok(Self { data, length, count, order })
    }

    pub(crate) fn f64s(&self) -> Result<Vec<f64>, EvalError> {
        Ok(self.data.flatten_all()?.to_dtype(candle_core::DType::F64)?.to_vec1()?)
    }

    fn i64s(&self) -> Result<Vec<i64>, EvalError> {
        Ok(self.data.flatten_all()?.to_vec1()?)
    }
}

/// `f` of each row.
fn fold<T, U>(rows: &Rows, values: &[T], f: impl Fn(&[T]) -> U) -> Vec<U> {
    (0..rows.count).map(|i| f(&values[i * rows.length..][..rows.length])).collect()
}

fn kept_shape(x: &Array, axes: &[usize], keep_dims: bool) -> Vec<usize> {
    let at = |(i, &extent): (usize, &usize)| match axes.contains(&i) {
        false => Some(extent),
        true => keep_dims.then_some(1),
    };
    x.shape().iter().enumerate().filter_map(at).collect()
}

/// Whether a row of no elements has a value.
enum OfNothing {
    Always,
    OfFloats,
    Never,
}

/// What a reduction does to one row.
struct Reduction<'f> {
    axes: Option<&'f [i64]>,
    keep_dims: bool,
    of_nothing: OfNothing,
}

impl Reduction<'_> {
    fn run(
        &self,
        cx: &KernelCx<'_, '_>,
        float: impl Fn(&[f64]) -> f64,
        int: impl Fn(&[i64]) -> i64,
    ) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let axes =
            reduced_axes(self.axes, x.rank()).map_err(|e| EvalError::internal(e.to_string()))?;
        let rows = Rows::of(x, &axes)?;
        let defined = match self.of_nothing {
            OfNothing::Always => true,
            OfNothing::OfFloats => x.dtype().is_float(),
            OfNothing::Never => false,
        };
        if rows.length == 0 && rows.count > 0 && !defined {
            return Err(EvalError::undefined("a reduction of no elements"));
        }
        let shape = kept_shape(x, &axes, self.keep_dims);
        if x.dtype().is_float() {
            cx.one_f64s(&shape, fold(&rows, &rows.f64s()?, float))
        } else {
            cx.one_i64s(&shape, fold(&rows, &rows.i64s()?, int))
        }
    }
}

macro_rules! reductions {
    ($($Name:ident($of_nothing:ident): $float:expr, $int:expr;)*) => {$(
        impl Kernel for $Name {
            fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
                let reduction = Reduction {
                    axes: self.axes.as_deref(),
                    keep_dims: self.keep_dims,
                    of_nothing: OfNothing::$of_nothing,
                };
                reduction.run(cx, $float, $int)
            }
        }
    )*};
}

fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    terms.fold(0.0, |sum, x| sum + x)
}

fn sum_square(row: &[f64]) -> f64 {
    sum(row.iter().map(|x| x * x))
}

fn doubles(row: &[i64]) -> Vec<f64> {
    row.iter().map(|&x| x as f64).collect()
}

fn log_sum_exp(row: &[f64]) -> f64 {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, greater);
    if max.is_infinite() || max.is_nan() {
        return max;
    }
    max + sum(row.iter().map(|x| (x - max).exp())).ln()
}

fn greater(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

fn lesser(a: f64, b: f64) -> f64 {
    if b < a || b.is_nan() { b } else { a }
}

fn int_sum(row: impl Iterator<Item = i64>) -> i64 {
    row.fold(0, i64::wrapping_add)
}

reductions! {
    ReduceSum(Always): |row| sum(row.iter().copied()), |row| int_sum(row.iter().copied());
    ReduceMean(OfFloats): |row| sum(row.iter().copied()) / row.len() as f64, |row| {
        (row.iter().map(|&x| i128::from(x)).sum::<i128>() / row.len() as i128) as i64
    };
    ReduceProd(Always): |row| row.iter().product(), |row| row.iter().copied().fold(1, i64::wrapping_mul);
    ReduceMax(Never): |row| row.iter().copied().fold(f64::NEG_INFINITY, greater),
        |row| row.iter().copied().max().unwrap_or(i64::MIN);
    ReduceMin(Never): |row| row.iter().copied().fold(f64::INFINITY, lesser),
        |row| row.iter().copied().min().unwrap_or(i64::MAX);
    ReduceSumSquare(Always): sum_square, |row| int_sum(row.iter().map(|x| x.wrapping_mul(*x)));
    ReduceL1Norm(Always): |row| sum(row.iter().map(|x| x.abs())),
        |row| int_sum(row.iter().map(|x| x.wrapping_abs()));
    ReduceL2Norm(Always): |row| sum_square(row).sqrt(), |row| sum_square(&doubles(row)).sqrt() as i64;
    ReduceLogSum(Always): |row| sum(row.iter().copied()).ln(),
        |row| sum(doubles(row).into_iter()).ln() as i64;
    ReduceLogSumExp(Always): log_sum_exp, |row| log_sum_exp(&doubles(row)) as i64;
}

/// The first index whose element `beats` all before it; the first NaN beats everything.
fn best<T: Copy>(row: &[T], beats: impl Fn(T, T) -> bool) -> i64 {
    let mut at = 0;
    for i in 1..row.len() {
        if beats(row[i], row[at]) {
            at = i;
        }
    }
    at as i64
}

fn arg(
    cx: &KernelCx<'_, '_>,
    (axis, keep_dims): (i64, bool),
    float: impl Fn(f64, f64) -> bool,
    int: impl Fn(i64, i64) -> bool,
) -> Result<Outputs, EvalError> {
    let x = cx.array("x")?;
    let axis = normalize_axis(axis, x.rank()).map_err(|e| EvalError::internal(e.to_string()))?;
    let rows = Rows::of(x, &[axis])?;
    if rows.length == 0 && rows.count > 0 {
        return Err(EvalError::undefined("the index of the best of no elements"));
    }
    let nan_first = |a: f64, b: f64| !b.is_nan() && (a.is_nan() || float(a, b));
    let indices = if x.dtype().is_float() {
        fold(&rows, &rows.f64s()?, |row| best(row, nan_first))
    } else {
        fold(&rows, &rows.i64s()?, |row| best(row, &int))
    };
    cx.one_i64s(&kept_shape(x, &[axis], keep_dims), indices)
}

impl Kernel for ReduceArgmax {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        arg(cx, (self.axis, self.keep_dims), |a, b| a > b, |a, b| a > b)
    }
}

impl Kernel for ReduceArgmin {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        arg(cx, (self.axis, self.keep_dims), |a, b| a < b, |a, b| a < b)
    }
}
