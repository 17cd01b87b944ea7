//! Pools with windows of one extent.
//!
//! What `ceil_mode` adds at the end of an axis is made by explicit padding, which MIL's own
//! `ceil_mode` (two spatial axes at most, other rules without padding) does not always match.

use mlc_ir::attr::{F64, PadMode, PadType};
use mlc_ir::ops::{
    AvgPool, ExpandDims, Greater, LogicalOr, MaxPool, Maximum, Mul, NotEqual, Pad, Select,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, Tensor};

use crate::lower::alias::slice;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.max_pool1d", lower: |cx, call| max_pool(cx, call, (1, false)) },
    Lowering { name: "aten.max_pool2d", lower: |cx, call| max_pool(cx, call, (2, false)) },
    Lowering { name: "aten.max_pool3d", lower: |cx, call| max_pool(cx, call, (3, false)) },
    Lowering {
        name: "aten.max_pool1d_with_indices",
        lower: |cx, call| max_pool(cx, call, (1, true)),
    },
    Lowering {
        name: "aten.max_pool2d_with_indices",
        lower: |cx, call| max_pool(cx, call, (2, true)),
    },
    Lowering {
        name: "aten.max_pool3d_with_indices",
        lower: |cx, call| max_pool(cx, call, (3, true)),
    },
    Lowering { name: "aten.avg_pool1d", lower: |cx, call| avg_pool(cx, call, 1) },
    Lowering { name: "aten.avg_pool2d", lower: |cx, call| avg_pool(cx, call, 2) },
    Lowering { name: "aten.avg_pool3d", lower: |cx, call| avg_pool(cx, call, 3) },
];

/// Most elements of a window that are looked at one by one.
const MOST_TAPS: usize = 1024;

/// Most elements of a channel whose positions are told.
const MOST_POSITIONS: i64 = 1 << 24;

/// How windows lie along one axis.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    kernel: i64,
    stride: i64,
    dilation: i64,
    /// Padding that the caller asks for, on both sides.
    pad: i64,
    /// Elements beyond that padding that the last window reaches.
    extra: i64,
    /// Number of windows.
    windows: Dim,
    /// Whether padding by `extra` gives one window too many, at the end, for some extents.
    surplus: bool,
}

impl Axis {
    /// The last window is dropped where it begins beyond the elements and the padding before them.
    fn new(
        extent: &Dim,
        [kernel, stride, dilation, pad]: [i64; 4],
        ceil: bool,
    ) -> LowerResult<Self> {
        let wrong = || {
            LowerError::invalid(format!(
                "a window of {kernel} with stride {stride}, dilation {dilation}, padding {pad}"
            ))
        };
        if kernel < 1 || stride < 1 || dilation < 1 || pad < 0 {
            return Err(wrong());
        }
        let span = (kernel - 1).checked_mul(dilation).filter(|s| pad <= *s).ok_or_else(wrong)?;
        let room = extent.add(&Dim::Const(2 * pad)).sub(&Dim::Const(span)).sub(&Dim::Const(1));
        if dilation != 1 && usize::try_from(kernel).map_or(true, |k| k > MOST_TAPS) {
            let message = format!("a window of {kernel} elements with a dilation of {dilation}");
            return Err(LowerError::argument(format!("{message}; up to {MOST_TAPS} are possible")));
        }
        if room.as_const().is_some_and(|n| n < 0) {
            return Err(LowerError::invalid(format!(
                "a window of {kernel} over {extent} elements"
            )));
        }
        let (step, one) = (Dim::Const(stride), Dim::Const(1));
        let this = |extra, windows, surplus| {
            Ok(Self { kernel, stride, dilation, pad, extra, windows, surplus })
        };
        if !ceil {
            return this(0, room.floor_div(&step).add(&one), false);
        }
        let all = room.ceil_div(&step).add(&one);
        let begun = extent.add(&Dim::Const(pad)).ceil_div(&step);
        match (all.as_const(), begun.as_const(), room.as_const()) {
            (Some(all), Some(begun), Some(room)) => {
                let windows = all.min(begun);
                let extra = ((windows - 1).saturating_mul(stride) - room).max(0);
                this(extra, Dim::Const(windows), false)
            }
            _ => {
                // A window begins beyond only if `stride − 1` more than its reach are skipped.
                let surplus = pad + stride > span + 1;
                let windows = if surplus { all.minimum(&begun) } else { all };
                this(stride - 1, windows, surplus)
            }
        }
    }
}

/// A pool over the last axes of a batch.
struct Pool {
    x: Value,
    axes: Vec<Axis>,
    /// Whether `x` had no batch axis.
    single: bool,
}

impl Pool {
    fn of(cx: &mut Cx<'_>, call: &Call<'_>, spatial: usize) -> LowerResult<Self> {
        let mut x = cx.read(call.tensor("self")?)?;
        let ty = cx.b.tensor(x)?.clone();
        if !ty.dtype.is_float() {
            return Err(LowerError::dtype(format!("a pool over {}", ty.dtype))
                .help("convert the operand to a float type first"));
        }
        let single = ty.rank() == spatial + 1;
        if !single && ty.rank() != spatial + 2 {
            return Err(LowerError::invalid(format!("a pool of {spatial} axes over {ty}")));
        }
        if single {
            x = ExpandDims { axes: vec![0] }.build(&mut cx.b, x)?;
        }
        let kernel = call.ints_of("kernel_size", spatial, &[])?;
        let stride = call.ints_of("stride", spatial, &kernel)?;
        let dilation = call.ints_of("dilation", spatial, &[1])?;
        let pad = call.ints_of("padding", spatial, &[0])?;
        let ceil = call.bool_or("ceil_mode", false)?;
        let shape = &ty.shape[ty.rank() - spatial..];
        let axes = (0..spatial)
            .map(|i| Axis::new(&shape[i], [kernel[i], stride[i], dilation[i], pad[i]], ceil))
            .collect::<LowerResult<_>>()?;
        Ok(Self { x, axes, single })
    }

    fn list(&self, f: impl Fn(&Axis) -> i64) -> Vec<i64> {
        self.axes.iter().map(f).collect()
    }

    /// Before and after each axis: what the caller asks for, and `extra` behind.
    fn padding(&self) -> Vec<i64> {
        self.axes.iter().flat_map(|a| [a.pad, a.pad + a.extra]).collect()
    }

    /// The result without surplus windows, and without the batch axis that was added.
    fn finish(&self, cx: &mut Cx<'_>, mut y: Value) -> LowerResult<Value> {
        for (at, axis) in self.axes.iter().enumerate().filter(|(_, axis)| axis.surplus) {
            y = slice(cx, y, at + 2, (&Dim::Const(0), &axis.windows, 1))?;
        }
        if self.single { dims::squeeze(cx, y, &[0]) } else { Ok(y) }
    }
}

fn pad_type(pad: &[i64]) -> PadType {
    if pad.iter().any(|&p| p != 0) { PadType::Custom } else { PadType::Valid }
}

/// `x` with `value` around its last axes.
fn padded(cx: &mut Cx<'_>, x: Value, pad: &[i64], value: f64) -> LowerResult<Value> {
    if pad.iter().all(|&p| p == 0) {
        return Ok(x);
    }
    let amounts = cx.b.ints(pad)?;
    let op = Pad { mode: PadMode::Constant, constant_val: F64(value) };
    Ok(op.build(&mut cx.b, x, amounts)?)
}

fn max_pool(
    cx: &mut Cx<'_>,
    call: &Call<'_>,
    (spatial, with_indices): (usize, bool),
) -> LowerResult<Vec<Val>> {
    let pool = Pool::of(cx, call, spatial)?;
    let y = max_value(cx, &pool)?;
    let y = pool.finish(cx, y)?;
    let mut outputs = vec![cx.fresh(y)];
    if with_indices {
        outputs.push(match max_indices(cx, &pool)? {
            Some(indices) => {
                let indices = pool.finish(cx, indices)?;
                cx.fresh(indices)
            }
            None => Val::Opaque("positions in a max pool of dynamic extent".to_owned()),
        });
    }
    Ok(outputs)
}

/// The pool; along axes with a dilation, the greatest of shifted slices.
fn max_value(cx: &mut Cx<'_>, pool: &Pool) -> LowerResult<Value> {
    let mut x = pool.x;
    let mut rest = pool.axes.clone();
    for (at, axis) in rest.iter_mut().enumerate().filter(|(_, axis)| axis.dilation != 1) {
        let mut amounts = vec![0; 2 * (pool.axes.len() - at)];
        (amounts[0], amounts[1]) = (axis.pad, axis.pad + axis.extra);
        x = padded(cx, x, &amounts, f64::NEG_INFINITY)?;
        let mut greatest = None;
        for k in 0..axis.kernel {
            let part = shifted(cx, x, at, (axis, k))?;
            greatest = Some(match greatest {
                None => part,
                Some(greatest) => cx.binary(Maximum {}, greatest, part)?,
            });
        }
        x = greatest.unwrap_or(x);
        (axis.kernel, axis.stride, axis.pad, axis.extra) = (1, 1, 0, 0);
    }
    let reduced = Pool { x, axes: rest, single: pool.single };
    let pad = reduced.padding();
    let op = MaxPool {
        kernel_sizes: reduced.list(|a| a.kernel),
        strides: reduced.list(|a| a.stride),
        pad_type: pad_type(&pad),
        pad,
        ceil_mode: false,
    };
    if op.kernel_sizes.iter().all(|&k| k == 1)
        && op.strides.iter().all(|&s| s == 1)
        && op.pad_type == PadType::Valid
    {
        return Ok(x);
    }
    Ok(op.build(&mut cx.b, x)?)
}

/// Element `k` of each window along spatial axis `at` of padded `x`.
fn shifted(cx: &mut Cx<'_>, x: Value, at: usize, (axis, k): (&Axis, i64)) -> LowerResult<Value> {
    let start = k.checked_mul(axis.dilation);
    let start = start.ok_or_else(|| LowerError::invalid("a window is too large"))?;
    let start = Dim::Const(start);
    // The windows that the padding makes room for, which are all or one more.
    let windows = if axis.surplus {
        let extent = cx.b.tensor(x)?.shape[at + 2].clone();
        let span = Dim::Const((axis.kernel - 1) * axis.dilation + 1);
        extent.sub(&span).floor_div(&Dim::Const(axis.stride)).add(&Dim::Const(1))
    } else {
        axis.windows.clone()
    };
    let reach = windows.sub(&Dim::Const(1)).mul(&Dim::Const(axis.stride)).add(&Dim::Const(1));
    slice(cx, x, at + 2, (&start, &start.add(&reach), axis.stride))
}

/// The position of the first greatest element of each window, in the flat spatial extent of the
/// operand, as `i64`; `None` where the extents are not known or windows are large.
fn max_indices(cx: &mut Cx<'_>, pool: &Pool) -> LowerResult<Option<Value>> {
    let shape = cx.b.tensor(pool.x)?.shape[2..].to_vec();
    let known: Option<Vec<i64>> = shape.iter().map(Dim::as_const).collect();
    let Some(extents) = known else { return Ok(None) };
    let mut taps = 1usize;
    for axis in &pool.axes {
        taps = taps.saturating_mul(usize::try_from(axis.kernel).unwrap_or(usize::MAX));
    }
    let count = extents.iter().try_fold(1i64, |n, &e| n.checked_mul(e));
    let Some(count) = count.filter(|&n| n <= MOST_POSITIONS) else { return Ok(None) };
    if taps > MOST_TAPS {
        return Ok(None);
    }
    let pad = pool.padding();
    let x = padded(cx, pool.x, &pad, f64::NEG_INFINITY)?;
    let mut flat_shape = vec![1u64, 1];
    flat_shape.extend(extents.iter().map(|&e| e.unsigned_abs()));
    let all: Vec<i64> = (0..count).collect();
    let positions = cx.b.constant(Tensor::from_i64s(DType::I32, &flat_shape, &all)?)?;
    let positions = padded(cx, positions, &pad, 0.0)?;
    let mut best: Option<(Value, Value)> = None;
    for tap in 0..taps {
        let (mut value, mut position, mut rest) = (x, positions, tap);
        for (at, axis) in pool.axes.iter().enumerate().rev() {
            let extent = usize::try_from(axis.kernel).unwrap_or(1).max(1);
            let k = (rest % extent) as i64;
            rest /= extent;
            value = shifted(cx, value, at, (axis, k))?;
            position = shifted(cx, position, at, (axis, k))?;
        }
        best = Some(match best {
            None => (value, position),
            Some((greatest, at)) => {
                let greater = cx.binary(Greater {}, value, greatest)?;
                let nan = cx.binary(NotEqual {}, value, value)?;
                let newer = cx.binary(LogicalOr {}, greater, nan)?;
                (
                    Select {}.build(&mut cx.b, newer, value, greatest)?,
                    Select {}.build(&mut cx.b, newer, position, at)?,
                )
            }
        });
    }
    let Some((value, position)) = best else { return Ok(None) };
    // One window element: the positions are those of every channel.
    let shape = cx.b.tensor(value)?.shape.clone();
    let position = dims::expand(cx, position, &shape)?;
    cx.cast(position, DType::I64).map(Some)
}

fn avg_pool(cx: &mut Cx<'_>, call: &Call<'_>, spatial: usize) -> LowerResult<Vec<Val>> {
    let mut pool = Pool::of(cx, call, spatial)?;
    let counted = call.bool_or("count_include_pad", true)?;
    let divisor = call.opt_int("divisor_override")?;
    let extra = pool.axes.iter().any(|a| a.extra != 0);
    let asked = pool.axes.iter().any(|a| a.pad != 0);
    let mut exclude = !counted && asked;
    if divisor.is_none() && extra {
        // What a window reaches beyond the padding never counts.
        exclude = true;
        if counted && asked {
            let amounts: Vec<i64> = pool.axes.iter().flat_map(|a| [a.pad, a.pad]).collect();
            pool.x = padded(cx, pool.x, &amounts, 0.0)?;
            pool.axes.iter_mut().for_each(|a| a.pad = 0);
        }
    }
    let pad = pool.padding();
    let op = AvgPool {
        exclude_padding_from_average: exclude && divisor.is_none(),
        kernel_sizes: pool.list(|a| a.kernel),
        strides: pool.list(|a| a.stride),
        pad_type: pad_type(&pad),
        pad,
        ceil_mode: false,
    };
    let mut y = op.build(&mut cx.b, pool.x)?;
    if let Some(divisor) = divisor {
        if divisor == 0 {
            return Err(LowerError::invalid("`divisor_override` is 0"));
        }
        let elements: f64 = pool.axes.iter().map(|a| a.kernel as f64).product();
        let dtype = cx.b.tensor(y)?.dtype;
        let factor = cx.b.scalar(dtype, elements / divisor as f64)?;
        y = cx.binary(Mul {}, y, factor)?;
    }
    let y = pool.finish(cx, y)?;
    cx.one(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of windows as torch documents it.
    fn windows(i: i64, [k, s, d, p]: [i64; 4], ceil: bool) -> i64 {
        let room = i + 2 * p - d * (k - 1) - 1;
        let mut n = (room + if ceil { s - 1 } else { 0 }).div_euclid(s) + 1;
        if ceil && (n - 1) * s >= i + p {
            n -= 1;
        }
        n
    }

    fn sizes() -> impl Iterator<Item = (i64, [i64; 4])> {
        let kernels = (1..5).flat_map(|k| (1..5).map(move |s| (k, s)));
        let more = kernels.flat_map(|(k, s)| (1..3).map(move |d| (k, s, d)));
        let all = more.flat_map(|(k, s, d)| {
            let most = (d * (k - 1) + 1) / 2;
            (0..=most.min(d * (k - 1))).map(move |p| [k, s, d, p])
        });
        all.flat_map(|w| (1..14).map(move |i| (i, w)))
            .filter(|(i, [k, _, d, p])| i + 2 * p > d * (k - 1))
    }

    #[test]
    fn padding_gives_the_number_of_windows() {
        for (i, w) in sizes() {
            for ceil in [false, true] {
                let axis = Axis::new(&Dim::Const(i), w, ceil).unwrap();
                let want = windows(i, w, ceil);
                assert_eq!(axis.windows, Dim::Const(want), "{i} {w:?} {ceil}");
                let [k, s, d, p] = w;
                let padded = (i + 2 * p + axis.extra - d * (k - 1) - 1).div_euclid(s) + 1;
                assert_eq!(padded, want, "{i} {w:?} {ceil}");
            }
        }
    }

    #[test]
    fn dynamic_extents_give_at_most_one_window_too_many() {
        for (i, w) in sizes() {
            let axis = Axis::new(&Dim::symbol("i"), w, true).unwrap();
            let want = windows(i, w, true);
            let told = axis.windows.substitute(&|_| Some(Dim::Const(i)));
            assert_eq!(told, Dim::Const(want), "{i} {w:?}");
            let [k, s, d, p] = w;
            let padded = (i + 2 * p + axis.extra - d * (k - 1) - 1).div_euclid(s) + 1;
            assert!(padded == want || (axis.surplus && padded == want + 1), "{i} {w:?}");
        }
    }
}
