//! Pools.

use crate::attr::PadType;
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult};
use crate::ops::window::{Window, positive, spatial_rank};

op! {
    /// The greatest element under each window of extent `kernel_sizes`, over 1 to 3 spatial axes:
    /// `y[n, c, p…] = max_k x[n, c, p·stride + k − before…]`. Padding never wins; a window of padding
    /// alone gives −∞. `pad_type` and `pad` as for `conv`.
    ///
    /// With `ceil_mode` an extent is `⌊(i + pad − k + s − 1)/s⌋ + 1`, less 1 where there is padding
    /// and the last window would begin beyond `i + before`; windows end at the edge. It needs one
    /// padding on both sides, at most 2 spatial axes and not `same`.
    "max_pool" = MaxPool(x: One) {
        kernel_sizes: Vec<i64>,
        strides: Vec<i64> = vec![],
        pad_type: PadType,
        pad: Vec<i64> = vec![],
        ceil_mode: bool = false,
    } + Pure => infer_max_pool;

    /// The mean of the elements under each window; windows as for `max_pool`. Padding counts as
    /// zeros, so that the divisor is the product of `kernel_sizes`; with
    /// `exclude_padding_from_average` the divisor is the number of elements that are no padding.
    "avg_pool" = AvgPool(x: One) {
        exclude_padding_from_average: bool = false,
        kernel_sizes: Vec<i64>,
        strides: Vec<i64> = vec![],
        pad_type: PadType,
        pad: Vec<i64> = vec![],
        ceil_mode: bool = false,
    } + Pure => infer_avg_pool;

    /// `√Σ x²` over each window; windows as for `max_pool`, at most 2 spatial axes.
    "l2_pool" = L2Pool(x: One) {
        kernel_sizes: Vec<i64>,
        strides: Vec<i64> = vec![],
        pad_type: PadType,
        pad: Vec<i64> = vec![],
        ceil_mode: bool = false,
    } + Pure => infer_l2_pool;
}

/// The attributes that the three pools share.
struct Pool<'a> {
    kernel_sizes: &'a [i64],
    strides: &'a [i64],
    pad_type: PadType,
    pad: &'a [i64],
    ceil_mode: bool,
}

macro_rules! infer_pools {
    ($($infer:ident: $Name:ident, $most:literal;)*) => {$(
        fn $infer(op: &$Name, cx: &InferCx<'_>) -> OpResult<Inferred> {
            let pool = Pool {
                kernel_sizes: &op.kernel_sizes,
                strides: &op.strides,
                pad_type: op.pad_type,
                pad: &op.pad,
                ceil_mode: op.ceil_mode,
            };
            infer_pool(&pool, cx, $most)
        }
    )*};
}

infer_pools! {
    infer_max_pool: MaxPool, 3;
    infer_avg_pool: AvgPool, 3;
    infer_l2_pool: L2Pool, 2;
}

fn infer_pool(pool: &Pool<'_>, cx: &InferCx<'_>, most: usize) -> OpResult<Inferred> {
    let x = cx.float("x")?;
    let spatial = spatial_rank(x, most)?;
    if pool.kernel_sizes.is_empty() {
        return Err(OpError::attr("`kernel_sizes` is empty"));
    }
    let kernel = positive("kernel_sizes", pool.kernel_sizes, spatial)?;
    let window = Window::new(spatial, pool.strides, &[], (pool.pad_type, pool.pad))?;
    if pool.ceil_mode {
        check_ceil_mode(pool, spatial, &window.pad)?;
    }
    let mut shape = x.shape[..2].to_vec();
    for axis in 0..spatial {
        let (input, kernel) = (&x.shape[2 + axis], Dim::Const(kernel[axis]));
        shape.push(if pool.ceil_mode {
            ceil_positions(&window, axis, (input, &kernel))?
        } else {
            window.positions(axis, input, &kernel)?
        });
    }
    Ok(Inferred::tensor(x.dtype, shape))
}

fn check_ceil_mode(pool: &Pool<'_>, spatial: usize, pad: &[i64]) -> OpResult<()> {
    if spatial > 2 {
        return Err(OpError::attr(format!("`ceil_mode` with {spatial} spatial axes, 2 at most")));
    }
    if matches!(pool.pad_type, PadType::Same | PadType::SameLower) {
        let word = pool.pad_type.as_str();
        return Err(OpError::attr(format!("`ceil_mode` with `pad_type` {word}")));
    }
    if pad.chunks(2).any(|pair| pair[0] != pair[1]) {
        let message = format!("`ceil_mode` with `pad` {pad:?}, which differs before and after");
        return Err(OpError::attr(message));
    }
    Ok(())
}

fn ceil_positions(window: &Window, axis: usize, (input, kernel): (&Dim, &Dim)) -> OpResult<Dim> {
    let before = match window.pad_type {
        PadType::Custom => window.pad[2 * axis],
        PadType::Valid | PadType::Same | PadType::SameLower => 0,
    };
    let (stride, one) = (Dim::Const(window.strides[axis]), Dim::Const(1));
    let begun = input.add(&Dim::Const(before));
    let padded = begun.add(&Dim::Const(before));
    let room = padded.sub(kernel);
    let all = room.ceil_div(&stride).add(&one);
    if all.as_const().is_some_and(|n| n < 1) {
        let message =
            format!("a window of {kernel} does not fit the padded extent {padded} of axis {axis}");
        return Err(OpError::shape(message));
    }
    // Dropping the last window is the lesser of both counts: it begins at `(all − 1)·stride`, and
    // `⌈begun / stride⌉` windows begin before `begun`.
    Ok(if before > 0 { all.minimum(&begun.ceil_div(&stride)) } else { all })
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::*;
    use crate::builder::Builder;
    use crate::program::{Function, Param, Program};
    use crate::types::Type;

    fn extents(shape: Vec<Dim>, op: MaxPool) -> OpResult<Vec<Dim>> {
        let mut program = Program::new();
        let mut function = Function::new("main");
        let x = function.add_param(Param::input("x"), Type::tensor(DType::F32, shape));
        let func = program.functions.push(function);
        let mut b = Builder::new(&mut program, func);
        let y = op.build(&mut b, x)?;
        Ok(b.tensor(y)?.shape.clone())
    }

    fn pool(kernel: i64, stride: i64, pad: i64, ceil_mode: bool) -> MaxPool {
        MaxPool {
            kernel_sizes: vec![kernel],
            strides: vec![stride],
            pad_type: PadType::Custom,
            pad: vec![pad, pad],
            ceil_mode,
        }
    }

    #[test]
    fn ceil_mode_agrees_with_its_formula() {
        for (i, k) in (1..12).flat_map(|i| (1..5).map(move |k| (i, k))) {
            for (s, p) in (1..5).flat_map(|s| (0..=k / 2).map(move |p| (s, p))) {
                let room = i + 2 * p - k;
                if room + s - 1 < 0 {
                    continue;
                }
                let mut want = (room + s - 1) / s + 1;
                if p > 0 && (want - 1) * s >= i + p {
                    want -= 1;
                }
                let shape = vec![1.into(), 1.into(), Dim::Const(i)];
                let got = extents(shape, pool(k, s, p, true)).unwrap();
                assert_eq!(got[2], Dim::Const(want), "i={i} k={k} s={s} p={p}");
                let symbolic = vec![1.into(), 1.into(), Dim::symbol("i")];
                let got = extents(symbolic, pool(k, s, p, true)).unwrap();
                let got = got[2].substitute(&|_| Some(Dim::Const(i)));
                assert_eq!(got, Dim::Const(want), "symbolic i={i} k={k} s={s} p={p}");
            }
        }
    }

    #[test]
    fn ceil_mode_needs_equal_padding() {
        let op = MaxPool { pad: vec![1, 0], ..pool(3, 2, 1, true) };
        let error = extents(vec![1.into(), 1.into(), 8.into()], op).unwrap_err();
        assert!(error.message.contains("[1, 0]"), "{error}");
    }
}
