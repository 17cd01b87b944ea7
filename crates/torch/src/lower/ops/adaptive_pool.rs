//! Pools that give a wanted number of windows: window `o` of `n` over an axis of extent `i` begins at
//! `⌊o·i/n⌋` and ends before `⌈(o+1)·i/n⌉`.
//!
//! Rows of windows are combined axis by axis, which is exact: every window is a box, and all windows
//! at one position of an axis have one extent along it.

use mlc_ir::attr::PadType;
use mlc_ir::ops::{Add, AvgPool, Concat, ExpandDims, GatherAlongAxis, MaxPool, Mul, ReduceArgmax};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::reduction::{Reduction, reduce};
use crate::lower::alias::slice;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.adaptive_avg_pool1d", lower: |cx, call| average(cx, call, 1) },
    Lowering { name: "aten.adaptive_avg_pool2d", lower: |cx, call| average(cx, call, 2) },
    Lowering { name: "aten.adaptive_avg_pool3d", lower: |cx, call| average(cx, call, 3) },
    Lowering { name: "aten._adaptive_avg_pool2d", lower: |cx, call| average(cx, call, 2) },
    Lowering { name: "aten._adaptive_avg_pool3d", lower: |cx, call| average(cx, call, 3) },
    Lowering { name: "aten.adaptive_max_pool1d", lower: |cx, call| greatest(cx, call, 1) },
    Lowering { name: "aten.adaptive_max_pool2d", lower: |cx, call| greatest(cx, call, 2) },
    Lowering { name: "aten.adaptive_max_pool3d", lower: |cx, call| greatest(cx, call, 3) },
];

/// Most windows along an axis that are made one by one.
const MOST_WINDOWS: i64 = 4096;

/// How an axis is cut into windows.
#[derive(Debug, Clone, PartialEq)]
enum Cut {
    /// Each element is its own window.
    Each,
    /// One window.
    Whole,
    /// Windows of one extent at one distance.
    Regular { kernel: i64, stride: i64 },
    /// `n` windows, side by side, of an extent that is known only when the program runs.
    Blocks { count: Dim, extent: Dim },
    /// Start and end of each.
    Windows(Vec<(i64, i64)>),
}

impl Cut {
    fn new(extent: &Dim, count: &Dim) -> LowerResult<Self> {
        if extent == count {
            return Ok(Self::Each);
        }
        if count.is(1) {
            return Ok(Self::Whole);
        }
        match (extent.as_const(), count.as_const()) {
            (Some(i), Some(n)) if i > 0 && (1..=MOST_WINDOWS).contains(&n) => {
                let windows = windows(i, n).ok_or_else(|| {
                    LowerError::invalid(format!("{n} windows over an axis of {i}"))
                })?;
                Ok(regular(&windows).unwrap_or(Self::Windows(windows)))
            }
            (Some(i), Some(n)) => Err(LowerError::argument(format!(
                "{n} windows over an axis of {i}; up to {MOST_WINDOWS} are possible"
            ))),
            _ => match extent.exact_div(count) {
                Some(each) => Ok(Self::Blocks { count: count.clone(), extent: each }),
                None => Err(LowerError::dynamic(format!(
                    "{count} windows over an axis of {extent}: their extents differ with it"
                ))
                .help("export the model with that extent fixed, or pool to an output size of 1")),
            },
        }
    }
}

/// Start and end of the `n` windows over `i` elements; `None` on overflow.
fn windows(i: i64, n: i64) -> Option<Vec<(i64, i64)>> {
    (0..n)
        .map(|o| {
            let end = (o + 1).checked_mul(i)?;
            Some((o * i / n, end / n + i64::from(end % n != 0)))
        })
        .collect()
}

/// Windows of one extent at one distance, if they are such.
fn regular(windows: &[(i64, i64)]) -> Option<Cut> {
    let (&(start, end), rest) = windows.split_first()?;
    let stride = rest.first().map_or(1, |second| second.0 - start);
    let kernel = end - start;
    let fits = windows
        .iter()
        .zip(0..)
        .all(|(&(from, to), o)| from == start + o * stride && to - from == kernel);
    (fits && stride > 0).then_some(Cut::Regular { kernel, stride })
}

/// The operand with a batch axis, and the cuts of its spatial axes.
struct Pool {
    x: Value,
    cuts: Vec<Cut>,
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
        let mut counts = call.dims("output_size")?;
        if counts.len() == 1 {
            counts = vec![counts[0].clone(); spatial];
        }
        if counts.len() != spatial {
            return Err(LowerError::invalid(format!("{} output sizes", counts.len())));
        }
        let shape = &ty.shape[ty.rank() - spatial..];
        let cuts = shape
            .iter()
            .zip(&counts)
            .map(|(extent, count)| Cut::new(extent, count))
            .collect::<LowerResult<_>>()?;
        Ok(Self { x, cuts, single })
    }

    fn finish(&self, cx: &mut Cx<'_>, y: Value) -> LowerResult<Value> {
        if self.single { dims::squeeze(cx, y, &[0]) } else { Ok(y) }
    }
}

/// Combines the elements of each window: all regular axes by one pool, whole axes by one reduction,
/// the others one by one.
fn pooled(cx: &mut Cx<'_>, pool: &Pool, reduction: Reduction) -> LowerResult<Value> {
    let mut y = pool.x;
    let axes = |wanted: fn(&Cut) -> bool| -> Vec<usize> {
        (0..pool.cuts.len()).filter(|&i| wanted(&pool.cuts[i])).map(|i| i + 2).collect()
    };
    let whole = axes(|cut| *cut == Cut::Whole);
    if !whole.is_empty() {
        y = reduce(cx, reduction, y, (&whole, true))?;
    }
    if !axes(|cut| matches!(cut, Cut::Regular { .. })).is_empty() {
        y = regular_pool(cx, y, (&pool.cuts, reduction))?;
    }
    for (at, cut) in pool.cuts.iter().enumerate() {
        let axis = at + 2;
        match cut {
            Cut::Blocks { count, extent } => {
                let mut shape = cx.b.tensor(y)?.shape.clone();
                shape[axis] = count.clone();
                shape.insert(axis + 1, extent.clone());
                let blocks = cx.reshape(y, &shape)?;
                y = reduce(cx, reduction, blocks, (&[axis + 1], false))?;
            }
            Cut::Windows(windows) => {
                let mut parts = Vec::with_capacity(windows.len());
                for &(start, end) in windows {
                    let part = slice(cx, y, axis, (&Dim::Const(start), &Dim::Const(end), 1))?;
                    parts.push(reduce(cx, reduction, part, (&[axis], true))?);
                }
                y = Concat { axis: axis as i64, interleave: false }.build(&mut cx.b, parts)?;
            }
            Cut::Each | Cut::Whole | Cut::Regular { .. } => {}
        }
    }
    Ok(y)
}

fn regular_pool(
    cx: &mut Cx<'_>,
    x: Value,
    (cuts, reduction): (&[Cut], Reduction),
) -> LowerResult<Value> {
    let (kernel_sizes, strides): (Vec<i64>, Vec<i64>) = cuts
        .iter()
        .map(|cut| match cut {
            Cut::Regular { kernel, stride } => (*kernel, *stride),
            _ => (1, 1),
        })
        .unzip();
    let (pad_type, pad) = (PadType::Valid, vec![0; 2 * cuts.len()]);
    Ok(match reduction {
        Reduction::Mean => AvgPool {
            exclude_padding_from_average: false,
            kernel_sizes,
            strides,
            pad_type,
            pad,
            ceil_mode: false,
        }
        .build(&mut cx.b, x)?,
        _ => MaxPool { kernel_sizes, strides, pad_type, pad, ceil_mode: false }
            .build(&mut cx.b, x)?,
    })
}

fn average(cx: &mut Cx<'_>, call: &Call<'_>, spatial: usize) -> LowerResult<Vec<Val>> {
    let pool = Pool::of(cx, call, spatial)?;
    let y = pooled(cx, &pool, Reduction::Mean)?;
    let y = pool.finish(cx, y)?;
    cx.one(y)
}

/// The greatest elements, and their positions in the flat spatial extent.
fn greatest(cx: &mut Cx<'_>, call: &Call<'_>, spatial: usize) -> LowerResult<Vec<Val>> {
    let pool = Pool::of(cx, call, spatial)?;
    let y = pooled(cx, &pool, Reduction::Max)?;
    let y = pool.finish(cx, y)?;
    let positions = match positions(cx, &pool)? {
        Some(positions) => {
            let positions = pool.finish(cx, positions)?;
            cx.fresh(positions)
        }
        None => Val::Opaque("positions in an adaptive max pool of dynamic extent".to_owned()),
    };
    Ok(vec![cx.fresh(y), positions])
}

/// Start and end of each window of a cut.
fn all_windows(cut: &Cut, extent: i64, count: Option<i64>) -> Option<Vec<(i64, i64)>> {
    match cut {
        Cut::Each => (extent <= MOST_WINDOWS).then(|| (0..extent).map(|o| (o, o + 1)).collect()),
        Cut::Whole => Some(vec![(0, extent)]),
        Cut::Regular { kernel, stride } => {
            Some((0..count?).map(|o| (o * stride, o * stride + kernel)).collect())
        }
        Cut::Windows(windows) => Some(windows.clone()),
        Cut::Blocks { .. } => None,
    }
}

/// The position of the first greatest element of each window. From the last axis to the first, each
/// keeps the greatest element and where it was; of equal ones the first along every axis is the
/// first in the order of the elements.
fn positions(cx: &mut Cx<'_>, pool: &Pool) -> LowerResult<Option<Value>> {
    let shape = cx.b.tensor(pool.x)?.shape[2..].to_vec();
    let Some(extents) = shape.iter().map(Dim::as_const).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let mut greatest = pool.x;
    // Positions within the axes done so far.
    let mut position: Option<Value> = None;
    let mut inner = 1i64;
    for (at, cut) in pool.cuts.iter().enumerate().rev() {
        let axis = at + 2;
        let count = match cut {
            Cut::Regular { kernel, stride } => Some((extents[at] - kernel) / stride + 1),
            _ => None,
        };
        let Some(windows) = all_windows(cut, extents[at], count) else { return Ok(None) };
        let step = cx.b.int(inner)?;
        let (mut values, mut places) = (Vec::new(), Vec::new());
        for (start, end) in windows {
            let range = (&Dim::Const(start), &Dim::Const(end), 1);
            let part = slice(cx, greatest, axis, range)?;
            let op = ReduceArgmax { axis: axis as i64, keep_dims: true, output_dtype: DType::I32 };
            let local = cx.unary(op, part)?;
            let start = cx.b.int(start)?;
            let along = cx.binary(Add {}, local, start)?;
            let mut place = cx.binary(Mul {}, along, step)?;
            if let Some(position) = position {
                let earlier = slice(cx, position, axis, range)?;
                let op = GatherAlongAxis { axis: axis as i64, validate_indices: false };
                let earlier = op.build(&mut cx.b, earlier, local)?;
                place = cx.binary(Add {}, place, earlier)?;
            }
            values.push(reduce(cx, Reduction::Max, part, (&[axis], true))?);
            places.push(place);
        }
        let join = || Concat { axis: axis as i64, interleave: false };
        greatest = join().build(&mut cx.b, values)?;
        position = Some(join().build(&mut cx.b, places)?);
        let Some(product) = inner.checked_mul(extents[at]) else { return Ok(None) };
        inner = product;
    }
    position.map(|position| cx.cast(position, DType::I64)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_axis() {
        assert_eq!(windows(7, 3), Some(vec![(0, 3), (2, 5), (4, 7)]));
        assert_eq!(windows(5, 3), Some(vec![(0, 2), (1, 4), (3, 5)]));
        assert_eq!(windows(2, 3), Some(vec![(0, 1), (0, 2), (1, 2)]));
    }

    #[test]
    fn only_windows_of_one_extent_are_regular() {
        let cut = |i: i64, n: i64| Cut::new(&Dim::Const(i), &Dim::Const(n)).unwrap();
        assert_eq!(cut(6, 3), Cut::Regular { kernel: 2, stride: 2 });
        assert_eq!(cut(7, 3), Cut::Regular { kernel: 3, stride: 2 });
        assert!(matches!(cut(5, 3), Cut::Windows(_)));
        assert!(matches!(cut(2, 4), Cut::Windows(_)));
        assert_eq!(cut(9, 1), Cut::Whole);
        assert_eq!(cut(4, 4), Cut::Each);
    }

    #[test]
    fn dynamic_extents_need_even_windows() {
        let s = Dim::symbol("s");
        let four = Dim::Const(4);
        assert!(matches!(Cut::new(&s.mul(&four), &four), Ok(Cut::Blocks { .. })));
        assert!(Cut::new(&s, &four).is_err());
        assert_eq!(Cut::new(&s, &s), Ok(Cut::Each));
    }
}
