//! Slices, windows and reversals.

use crate::dim::Dim;
use crate::infer::{
    InferCx, Inferred, OpError, OpResult, may_equal, normalize_axes, normalize_axis, shape_text,
};

op! {
    /// Along each axis `i` of extent `D`, the elements `begin[i]`, `begin[i] + stride[i]`, … before
    /// `end[i]` (after it for a negative stride).
    ///
    /// Negative `begin` and `end` count from the end; what still lies outside is cut off for
    /// positive strides and an error for negative ones. `begin_mask[i]` means from the first element
    /// of the walk, `end_mask[i]` to its last; `squeeze_mask[i]` takes element `begin[i]` alone and
    /// drops the axis. Empty lists: strides of 1, no masks.
    "slice_by_index" = SliceByIndex(x: One, begin: One, end: One) {
        stride: Vec<i64> = vec![],
        begin_mask: Vec<bool> = vec![],
        end_mask: Vec<bool> = vec![],
        squeeze_mask: Vec<bool> = vec![],
    } + Pure => infer_slice_by_index;

    /// `size[i]` elements from `begin[i]` along each axis `i`; all that follow for a size of −1.
    /// Negative `begin` counts from the end.
    "slice_by_size" = SliceBySize(x: One, begin: One, size: One) {} + Pure => infer_slice_by_size;

    /// `x` with the elements that `slice_by_index` would give replaced by `update`.
    "slice_update" = SliceUpdate(x: One, update: One, begin: One, end: One) {
        stride: Vec<i64> = vec![],
        begin_mask: Vec<bool> = vec![],
        end_mask: Vec<bool> = vec![],
        squeeze_mask: Vec<bool> = vec![],
    } + Pure => infer_slice_update;

    /// `x` with the order along each of `axes` (all axes when absent) turned round.
    "reverse" = Reverse(x: One) { axes: Option<Vec<i64>> = None } + Pure => infer_reverse;

    /// For each index `b` along `batch_axis`, the first `lengths[b]` elements along `seq_axis` turned
    /// round; the others stay.
    "reverse_sequence" = ReverseSequence(x: One, lengths: One) {
        seq_axis: i64 = 0,
        batch_axis: i64 = 0,
    } + Pure => infer_reverse_sequence;

    /// `y[…, i, j, …] = x[…, i·stride + j, …]`: `axis` becomes two, windows and the `size` elements
    /// of each.
    "sliding_windows" = SlidingWindows(x: One) {
        axis: i64,
        size: i64,
        stride: i64 = 1,
    } + Pure => infer_sliding_windows;

    /// `x` where `m − n ≤ lower` (or `lower < 0`) and `n − m ≤ upper` (or `upper < 0`) for row `m` and
    /// column `n` of the last two axes, and 0 elsewhere.
    "band_part" = BandPart(x: One) { lower: i64 = -1, upper: i64 = -1 } + Pure => infer_band_part;
}

/// How `slice_by_index` and `slice_update` walk one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisSlice {
    /// Distance between elements; not 0.
    pub stride: i64,
    /// Starts at the edge of the axis.
    pub from_edge: bool,
    /// Goes on to the edge of the axis.
    pub to_edge: bool,
    /// Takes one element and drops the axis.
    pub single: bool,
}

impl AxisSlice {
    fn list(
        stride: &[i64],
        [begin_mask, end_mask, squeeze_mask]: [&[bool]; 3],
        rank: usize,
    ) -> OpResult<Vec<Self>> {
        let lengths = [stride.len(), begin_mask.len(), end_mask.len(), squeeze_mask.len()];
        if lengths.iter().any(|&n| n != 0 && n != rank) {
            let message = format!("strides and masks of lengths {lengths:?} for rank {rank}");
            return Err(OpError::attr(message));
        }
        if stride.contains(&0) {
            return Err(OpError::attr(format!("`stride` {stride:?} has a zero")));
        }
        let mask = |mask: &[bool], i: usize| mask.get(i).copied().unwrap_or(false);
        let one = |i: usize| Self {
            stride: stride.get(i).copied().unwrap_or(1),
            from_edge: mask(begin_mask, i),
            to_edge: mask(end_mask, i),
            single: mask(squeeze_mask, i),
        };
        Ok((0..rank).map(one).collect())
    }

    /// The first element and the number of elements, on an axis of `extent`; 1 for a single one.
    ///
    /// # Errors
    /// The single element, or an edge of a backward walk, lies outside.
    pub fn walk(&self, begin: i64, end: i64, extent: i64) -> OpResult<(i64, i64)> {
        let from_front = |at: i64| if at < 0 { at.saturating_add(extent) } else { at };
        let (first, stop) = (from_front(begin), from_front(end));
        if self.single {
            return if (0..extent).contains(&first) {
                Ok((first, 1))
            } else {
                Err(OpError::shape(format!("element {begin} of an axis of {extent}")))
            };
        }
        if self.stride > 0 {
            let first = if self.from_edge { 0 } else { first.max(0) };
            let stop = if self.to_edge { extent } else { stop.clamp(0, extent) };
            return Ok((first, count(stop.saturating_sub(first), self.stride)));
        }
        if extent == 0 {
            return Ok((0, 0));
        }
        let first = if self.from_edge { extent - 1 } else { first };
        let stop = if self.to_edge { -1 } else { stop };
        if !(0..extent).contains(&first) || (stop < 0 && !self.to_edge) {
            let message = format!("backwards from {begin} to {end} on an axis of {extent}");
            return Err(OpError::shape(message));
        }
        Ok((first, count(first - stop, self.stride.saturating_neg())))
    }

    /// The number of elements, where `begin` and `end` are known or not.
    fn extent(&self, cx: &InferCx<'_>, ends: [Option<&Dim>; 2], extent: &Dim) -> OpResult<Dim> {
        let known = ends.map(|end| end.and_then(Dim::as_const));
        if let ([Some(begin), Some(end)], Some(extent)) = (known, extent.as_const()) {
            return Ok(Dim::Const(self.walk(begin, end, extent)?.1));
        }
        let [begin, end] = ends.map(|end| from_front(cx, end, extent));
        let span = if self.stride > 0 {
            let first = if self.from_edge { Dim::Const(0) } else { begin };
            let stop = if self.to_edge { extent.clone() } else { cx.lesser(&end, extent) };
            stop.sub(&first)
        } else {
            let first = if self.from_edge { extent.sub(&Dim::Const(1)) } else { begin };
            let stop = if self.to_edge { Dim::Const(-1) } else { end };
            first.sub(&stop)
        };
        let Some(stride) = self.stride.checked_abs() else { return Ok(Dim::Unknown) };
        let rounded = cx.at_least_zero(&span).add(&Dim::Const(stride - 1));
        Ok(rounded.floor_div(&Dim::Const(stride)))
    }
}

/// `⌈span / stride⌉`, not negative.
fn count(span: i64, stride: i64) -> i64 {
    if span <= 0 { 0 } else { (span - 1) / stride + 1 }
}

/// A position counted from the front and not negative; unknown where its sign is.
fn from_front(cx: &InferCx<'_>, at: Option<&Dim>, extent: &Dim) -> Dim {
    let Some(at) = at else { return Dim::Unknown };
    match cx.symbols().bounds(at) {
        (Some(low), _) if low >= 0 => at.clone(),
        (_, Some(high)) if high < 0 => cx.at_least_zero(&extent.add(at)),
        _ => Dim::Unknown,
    }
}

impl SliceByIndex {
    /// How each axis of a tensor of `rank` is walked.
    ///
    /// # Errors
    /// Strides or masks do not fit.
    pub fn axes(&self, rank: usize) -> OpResult<Vec<AxisSlice>> {
        let masks = [&self.begin_mask[..], &self.end_mask, &self.squeeze_mask];
        AxisSlice::list(&self.stride, masks, rank)
    }
}

impl SliceUpdate {
    /// How each axis of a tensor of `rank` is walked.
    ///
    /// # Errors
    /// Strides or masks do not fit.
    pub fn axes(&self, rank: usize) -> OpResult<Vec<AxisSlice>> {
        let masks = [&self.begin_mask[..], &self.end_mask, &self.squeeze_mask];
        AxisSlice::list(&self.stride, masks, rank)
    }
}

/// The shape of a slice of `x`.
fn slice_shape(cx: &InferCx<'_>, axes: &[AxisSlice]) -> OpResult<Vec<Dim>> {
    let x = cx.tensor("x")?;
    if x.rank() == 0 {
        return Err(OpError::shape("`x` is a scalar, which has no slices"));
    }
    cx.int_vector("begin", Some(x.rank()))?;
    cx.int_vector("end", Some(x.rank()))?;
    let mut shape = Vec::new();
    for (i, (axis, extent)) in axes.iter().zip(&x.shape).enumerate() {
        let ends = ["begin", "end"].map(|name| cx.content(name).and_then(|all| all.get(i)));
        if !axis.single {
            shape.push(axis.extent(cx, ends, extent)?);
        } else if let (Some(Dim::Const(begin)), Dim::Const(extent)) = (ends[0], extent) {
            axis.walk(*begin, 0, *extent)?;
        }
    }
    Ok(shape)
}

fn infer_slice_by_index(op: &SliceByIndex, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let axes = op.axes(x.rank())?;
    let shape = slice_shape(cx, &axes)?;
    Ok(Inferred::tensor(x.dtype, shape).with_content(slice_content(cx, &axes)))
}

fn slice_content(cx: &InferCx<'_>, axes: &[AxisSlice]) -> Option<Vec<Dim>> {
    let content = cx.content("x")?;
    let [axis] = axes else { return None };
    let (first, count) = axis
        .walk(
            end_of(cx, "begin", axis.from_edge)?,
            end_of(cx, "end", axis.to_edge)?,
            content.len() as i64,
        )
        .ok()?;
    (0..count)
        .map(|k| content.get(usize::try_from(first + k * axis.stride).ok()?).cloned())
        .collect()
}

/// An end of the slice of a vector; any number where a mask hides it.
fn end_of(cx: &InferCx<'_>, name: &str, hidden: bool) -> Option<i64> {
    let known = cx.content(name).and_then(|all| all.first()?.as_const());
    if hidden { known.or(Some(0)) } else { known }
}

fn infer_slice_update(op: &SliceUpdate, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    cx.same_dtype(&["x", "update"])?;
    let update = cx.tensor("update")?;
    let shape = slice_shape(cx, &op.axes(x.rank())?)?;
    if update.rank() == 0 {
        return Err(OpError::shape("`update` is a scalar; keep an axis of extent 1"));
    }
    let fits = shape.len() == update.rank()
        && shape.iter().zip(&update.shape).all(|(a, b)| may_equal(a, b));
    if !fits {
        let text = shape_text(&shape);
        return Err(OpError::shape(format!("`update` is {update}, the slice of {x} is {text}")));
    }
    Ok(Inferred::ty(x.clone()))
}

/// The first element and the number of elements that `slice_by_size` takes of an axis of `extent`.
///
/// # Errors
/// They lie outside, or `size` is below −1.
pub fn sized_walk(begin: i64, size: i64, extent: i64) -> OpResult<(i64, i64)> {
    let first = if begin < 0 { begin.saturating_add(extent) } else { begin };
    let left = extent.saturating_sub(first);
    let count = if size == -1 { left } else { size };
    if first < 0 || count < 0 || count > left {
        let message = format!("{size} elements from {begin} of an axis of {extent}");
        return Err(OpError::shape(message));
    }
    Ok((first, count))
}

fn infer_slice_by_size(_: &SliceBySize, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    cx.int_vector("begin", Some(x.rank()))?;
    cx.int_vector("size", Some(x.rank()))?;
    let mut shape = Vec::with_capacity(x.rank());
    for (i, extent) in x.shape.iter().enumerate() {
        let [begin, size] = ["begin", "size"].map(|name| cx.content(name).and_then(|c| c.get(i)));
        shape.push(match (begin, size, extent) {
            (Some(Dim::Const(begin)), Some(Dim::Const(size)), Dim::Const(extent)) => {
                Dim::Const(sized_walk(*begin, *size, *extent)?.1)
            }
            (_, Some(size), _) if size.is(-1) => {
                cx.at_least_zero(&extent.sub(&from_front(cx, begin, extent)))
            }
            (_, Some(size), _) if cx.symbols().bounds(size).0 >= Some(0) => size.clone(),
            (_, Some(Dim::Const(size)), _) => {
                return Err(OpError::shape(format!("a slice of {size} elements of axis {i}")));
            }
            _ => Dim::Unknown,
        });
    }
    Ok(Inferred::tensor(x.dtype, shape).with_content(sized_content(cx)))
}

fn sized_content(cx: &InferCx<'_>) -> Option<Vec<Dim>> {
    let content = cx.content("x")?;
    let [begin, size] = ["begin", "size"].map(|name| cx.content(name)?.first()?.as_const());
    let (first, count) = sized_walk(begin?, size?, content.len() as i64).ok()?;
    Some(content.get(first as usize..(first + count) as usize)?.to_vec())
}

fn infer_reverse(op: &Reverse, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let axes = match &op.axes {
        Some(axes) => normalize_axes(axes, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    let content = cx.content("x").map(|content| {
        let mut content = content.to_vec();
        if !axes.is_empty() {
            content.reverse();
        }
        content
    });
    Ok(Inferred::ty(x.clone()).with_content(content))
}

fn infer_reverse_sequence(op: &ReverseSequence, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let axis = normalize_axis(op.seq_axis, x.rank())?;
    let batch = normalize_axis(op.batch_axis, x.rank())?;
    if axis == batch {
        return Err(OpError::attr(format!("`seq_axis` and `batch_axis` are both {axis}")));
    }
    let lengths = cx.int_vector("lengths", None)?;
    if !may_equal(&lengths.shape[0], &x.shape[batch]) {
        let message = format!("`lengths` is {lengths}, axis {batch} of {x} is needed");
        return Err(OpError::shape(message));
    }
    if let (Some(lengths), Some(extent)) = (cx.ints("lengths"), x.shape[axis].as_const())
        && let Some(length) = lengths.iter().find(|n| !(0..=extent).contains(*n))
    {
        return Err(OpError::shape(format!("a length of {length} on an axis of {extent}")));
    }
    Ok(Inferred::ty(x.clone()))
}

fn infer_sliding_windows(op: &SlidingWindows, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let axis = normalize_axis(op.axis, x.rank())?;
    if op.size < 1 || op.stride < 1 {
        let message = format!("`size` is {}, `stride` is {}", op.size, op.stride);
        return Err(OpError::attr(message));
    }
    let room = x.shape[axis].sub(&Dim::Const(op.size));
    if room.as_const().is_some_and(|n| n < 0) {
        return Err(OpError::shape(format!("windows of {} on axis {axis} of {x}", op.size)));
    }
    let mut shape = x.shape.clone();
    shape[axis] = room.floor_div(&Dim::Const(op.stride)).add(&Dim::Const(1));
    shape.insert(axis + 1, Dim::Const(op.size));
    Ok(Inferred::tensor(x.dtype, shape))
}

fn infer_band_part(_: &BandPart, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    if x.rank() < 2 {
        return Err(OpError::shape(format!("`x` is {x}, a matrix or a stack of them is needed")));
    }
    Ok(Inferred::ty(x.clone()))
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::*;
    use crate::builder::Builder;
    use crate::dim::SymbolRange;
    use crate::ops::testing::{infer_result, tensor};
    use crate::ops::{Shape, SliceByIndex, SliceBySize};

    /// The extent of a slice of a vector of `s` elements, `s` being at least `min`.
    fn extent(min: i64, [begin, end]: [i64; 2], op: SliceByIndex) -> OpResult<String> {
        let build = |b: &mut Builder<'_>, args: &[crate::program::Value]| {
            b.program.symbols.declare("s", SymbolRange { min, max: None });
            let (begin, end) = (b.ints(&[begin])?, b.ints(&[end])?);
            op.build(b, args[0], begin, end)
        };
        let result = infer_result(build, &[tensor(DType::F32, [Dim::symbol("s")])])?;
        Ok(result.shape[0].to_string())
    }

    fn plain() -> SliceByIndex {
        SliceByIndex { stride: vec![], begin_mask: vec![], end_mask: vec![], squeeze_mask: vec![] }
    }

    fn to_edge(stride: i64) -> SliceByIndex {
        SliceByIndex { stride: vec![stride], end_mask: vec![true], ..plain() }
    }

    #[test]
    fn slices_of_symbolic_extents() {
        assert_eq!(extent(1, [1, 0], to_edge(1)).unwrap(), "s-1");
        assert_eq!(extent(0, [1, 0], to_edge(1)).unwrap(), "max(0, s-1)");
        assert_eq!(extent(4, [-3, 0], to_edge(1)).unwrap(), "3");
        assert_eq!(extent(0, [0, 0], to_edge(2)).unwrap(), "floordiv(s+1, 2)");
        assert_eq!(extent(0, [0, 4], plain()).unwrap(), "min(4, s)");
        assert_eq!(extent(9, [2, 8], plain()).unwrap(), "6");
        assert_eq!(extent(9, [2, -1], plain()).unwrap(), "s-3");
        assert_eq!(extent(3, [-1, 0], to_edge(-1)).unwrap(), "s");
        assert!(extent(0, [1, 0], SliceByIndex { stride: vec![0], ..plain() }).is_err());
    }

    #[test]
    fn slices_of_shapes_keep_contents() {
        let [s, t] = ["s", "t"].map(Dim::symbol);
        let build = |b: &mut Builder<'_>, args: &[crate::program::Value]| {
            let shape = Shape {}.build(b, args[0])?;
            let (begin, end) = (b.ints(&[2])?, b.ints(&[0])?);
            let last = SliceByIndex { squeeze_mask: vec![true], ..plain() };
            let last = last.build(b, shape, begin, end)?;
            assert_eq!(b.content(last), Some(std::slice::from_ref(&t)));
            let turned = SliceByIndex { begin_mask: vec![true], ..to_edge(-2) };
            let turned = turned.build(b, shape, begin, end)?;
            assert_eq!(b.content(turned), Some(&[t.clone(), s.clone()][..]));
            let (begin, size) = (b.ints(&[1])?, b.ints(&[-1])?);
            let tail = SliceBySize {}.build(b, shape, begin, size)?;
            assert_eq!(b.content(tail), Some(&[Dim::Const(7), t.clone()][..]));
            // An extent may be an end: the first s of 7.
            let (begin, end) =
                (b.ints(&[0])?, SliceByIndex { squeeze_mask: vec![true], ..plain() });
            let first = end.build(b, shape, begin, begin)?;
            let first = crate::ops::ExpandDims { axes: vec![0] }.build(b, first)?;
            plain().build(b, args[1], begin, first)
        };
        let operands = [
            tensor(DType::F32, [s.clone(), Dim::Const(7), t.clone()]),
            tensor(DType::F32, [Dim::Const(7)]),
        ];
        let result = infer_result(build, &operands).unwrap();
        assert_eq!(result.shape[0], s.minimum(&Dim::Const(7)));
    }
}
