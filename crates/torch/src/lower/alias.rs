//! Memory of torch tensors: views and in-place writes, made functional.
//!
//! Words: a *base* is a piece of memory; a *tensor* is a base and a chain of [`View`]s on it. An
//! in-place op makes a new value for its tensor; the chain is walked backwards to make the new value
//! of the base, and every other tensor on the base is derived anew when it is read next. Programs
//! without mutation never derive anything twice.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::attr::ScatterMode;
use mlc_ir::builder::Builder;
use mlc_ir::ops::{
    Concat, ExpandDims, Gather, Range1d, Reshape, Scatter, SliceByIndex, SlidingWindows, Transpose,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::Cx;
use super::complex;
use super::dims;
use super::error::{LowerError, LowerResult};
use super::layout;
use super::value::{TensorId, Val};

/// One step from a tensor to a view of it.
#[derive(Debug, Clone, PartialEq)]
pub enum View {
    /// The same elements in the same order under another shape.
    Reshape {
        /// Extents before.
        from: Vec<Dim>,
        /// Extents after.
        to: Vec<Dim>,
    },
    /// Axis `i` after is axis `perm[i]` before.
    Permute(Vec<usize>),
    /// Every `step`-th element of one axis from `start`, which is not negative, to before `end`,
    /// which is at most the extent.
    Slice {
        /// The axis.
        axis: usize,
        /// First element.
        start: Dim,
        /// One past the last element.
        end: Dim,
        /// At least 1.
        step: i64,
    },
    /// Axes of extent 1 repeated, new axes in front. Cannot be written through.
    Expand {
        /// Extents after.
        to: Vec<Dim>,
    },
    /// One place along an axis, which is dropped.
    Select {
        /// The axis.
        axis: usize,
        /// The place, from the front.
        index: Dim,
    },
    /// New axes of extent 1 at these positions of the result, in order.
    Unsqueeze(Vec<usize>),
    /// These axes, which have extent 1, dropped; in order.
    Squeeze(Vec<usize>),
    /// Windows along an axis: it becomes two, windows and the elements of each. Cannot be written
    /// through.
    Windows {
        /// The axis.
        axis: usize,
        /// Elements a window.
        size: i64,
        /// From one window to the next.
        step: i64,
    },
    /// Places along an axis, in the order of a vector of indices that are not negative.
    Index {
        /// The axis.
        axis: usize,
        /// The places.
        indices: Value,
        /// Whether no place occurs twice; only then can it be written through.
        distinct: bool,
    },
}

/// Who owns the memory of a base.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The graph itself.
    Local,
    /// The caller: an input of that name.
    Input(String),
    /// The model: a parameter, buffer or constant of that name.
    Model(String),
}

#[derive(Debug)]
struct Base {
    value: Value,
    version: u32,
    owner: Owner,
    /// Its group among [`Memory::twins`].
    twins: Option<usize>,
    /// Whether a twin was written to.
    stale: bool,
}

#[derive(Debug)]
struct Place {
    base: usize,
    views: Vec<View>,
    value: Value,
    version: u32,
    strides: Option<Vec<Dim>>,
}

/// What a base or place was before it changed.
#[derive(Debug)]
enum Change {
    Base(usize, Value, u32),
    Place(usize, Value, u32),
}

/// Where a region was entered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    log: usize,
    bases: usize,
}

/// The memory of the tensors of a graph.
#[derive(Debug, Default)]
pub(super) struct Memory {
    bases: Vec<Base>,
    places: Vec<Place>,
    /// What changed since regions were entered, newest last; empty outside of regions.
    log: Vec<Change>,
    /// Regions that are entered.
    regions: u32,
    /// The last version that a base was given.
    versions: u32,
    /// Groups of bases of which it is not known whether they are the same memory.
    twins: Vec<Vec<usize>>,
    doubtful: BTreeSet<TensorId>,
    pub(super) complex: BTreeSet<TensorId>,
    /// What tensors were quantized to that hold the floats they stand for.
    quantized: BTreeMap<TensorId, DType>,
}

impl Memory {
    /// A tensor with memory of its own.
    pub(super) fn allocate(&mut self, value: Value, owner: Owner) -> TensorId {
        self.bases.push(Base { value, version: 0, owner, twins: None, stale: false });
        let base = self.bases.len() - 1;
        self.add(Place { base, views: Vec::new(), value, version: 0, strides: None })
    }

    /// How many bases there are.
    pub(super) fn bases(&self) -> usize {
        self.bases.len()
    }

    /// Makes what is known of the layout of a tensor unknown, if it is all of a base from `first` on.
    pub(super) fn forget_strides(&mut self, tensor: TensorId, first: usize) {
        let place = &mut self.places[tensor.0 as usize];
        if place.base >= first && place.views.is_empty() {
            place.strides = None;
        }
    }

    /// Declares that two tensors may share their memory, or not; `b` is new.
    pub(super) fn pair(&mut self, a: TensorId, b: TensorId) {
        let [a, b] = [a, b].map(|tensor| self.places[tensor.0 as usize].base);
        let next = self.twins.len();
        let group = *self.bases[a].twins.get_or_insert(next);
        if group == next {
            self.twins.push(vec![a]);
        }
        self.twins[group].push(b);
        self.bases[b].twins = Some(group);
    }

    /// The bases that may be the same memory as this one.
    fn twins(&self, at: usize) -> impl Iterator<Item = usize> {
        let group = self.bases[at].twins.map(|group| &self.twins[group]);
        group.into_iter().flatten().copied().filter(move |&other| other != at)
    }

    /// Whether what is written to a base may have to be written to one that the caller or the model owns.
    fn may_be_owned(&self, at: usize) -> bool {
        self.twins(at).any(|twin| self.bases[twin].owner != Owner::Local)
    }

    fn add(&mut self, place: Place) -> TensorId {
        self.places.push(place);
        TensorId(self.places.len() as u32 - 1)
    }

    /// Another tensor at the place of one, whose value is known.
    pub(super) fn same_place(&mut self, tensor: TensorId, value: Value) -> TensorId {
        let place = &self.places[tensor.0 as usize];
        let (base, views, version) = (place.base, place.views.clone(), place.version);
        let strides = place.strides.clone();
        self.add(Place { base, views, value, version, strides })
    }

    /// Bases that the caller or the model owns and that were written, with their last value.
    pub(super) fn written(&self) -> impl Iterator<Item = (&Owner, Value)> {
        self.bases
            .iter()
            .filter(|base| base.version > 0 && base.owner != Owner::Local)
            .map(|base| (&base.owner, base.value))
    }

    /// Enters a region: what is derived and written in it ends with it.
    pub(super) fn enter(&mut self) -> Entry {
        self.regions += 1;
        Entry { log: self.log.len(), bases: self.bases.len() }
    }

    /// Leaves a region; gives the bases from outside that were written in it, with their last value
    /// there.
    pub(super) fn leave(&mut self, entry: Entry) -> BTreeMap<usize, Value> {
        self.regions -= 1;
        let mut written = BTreeMap::new();
        while self.log.len() > entry.log {
            match self.log.pop() {
                Some(Change::Base(at, value, version)) => {
                    let base = &mut self.bases[at];
                    if at < entry.bases {
                        written.entry(at).or_insert(base.value);
                    }
                    (base.value, base.version) = (value, version);
                }
                Some(Change::Place(at, value, version)) => {
                    let place = &mut self.places[at];
                    (place.value, place.version) = (value, version);
                }
                None => break,
            }
        }
        written
    }

    /// The value of a base.
    pub(super) fn base(&self, base: usize) -> Value {
        self.bases[base].value
    }

    /// Gives a base another value.
    pub(super) fn set_base(&mut self, at: usize, value: Value) {
        let base = &mut self.bases[at];
        if self.regions > 0 {
            self.log.push(Change::Base(at, base.value, base.version));
        }
        base.value = value;
        // A version is never used twice, not even for a value that was left behind.
        self.versions += 1;
        base.version = self.versions;
        for twin in self.twins(at).collect::<Vec<_>>() {
            self.bases[twin].stale = true;
        }
    }

    fn set_place(&mut self, at: usize, value: Value, version: u32) {
        let place = &mut self.places[at];
        if self.regions > 0 {
            self.log.push(Change::Place(at, place.value, place.version));
        }
        (place.value, place.version) = (value, version);
    }

    /// The value of a tensor as last derived; its type does not change by writing.
    pub(super) fn latest(&self, tensor: TensorId) -> Value {
        self.places[tensor.0 as usize].value
    }
}

impl Cx<'_> {
    /// The value of a tensor now.
    ///
    /// # Errors
    /// It is complex, or a view cannot be derived.
    pub fn read(&mut self, tensor: TensorId) -> LowerResult<Value> {
        if self.is_complex(tensor) { Err(complex::refused()) } else { self.pairs(tensor) }
    }

    /// The value of a tensor now; of a complex one the pairs of its real and imaginary parts, along
    /// a last axis.
    ///
    /// # Errors
    /// A view cannot be derived.
    pub fn pairs(&mut self, tensor: TensorId) -> LowerResult<Value> {
        let place = &self.memory.places[tensor.0 as usize];
        let base = &self.memory.bases[place.base];
        if base.stale {
            return Err(layout::unknown_sharing());
        }
        if place.version == base.version {
            return Ok(place.value);
        }
        let (mut value, version) = (base.value, base.version);
        for view in place.views.clone() {
            value = apply(&view, self, value)?;
        }
        self.memory.set_place(tensor.0 as usize, value, version);
        Ok(value)
    }

    /// A view of a tensor.
    ///
    /// # Errors
    /// The view does not fit.
    pub fn view(&mut self, of: TensorId, view: View) -> LowerResult<TensorId> {
        let complex = self.is_complex(of);
        let view = if complex { complex::on_pairs(view)? } else { view };
        let value = self.pairs(of)?;
        let value = apply(&view, self, value)?;
        let seen = self.view_valued(of, view, value);
        if complex {
            self.memory.complex.insert(seen);
        }
        Ok(seen)
    }

    /// A view whose value is known: what `view` makes of the value of `of` now.
    pub fn view_valued(&mut self, of: TensorId, view: View, value: Value) -> TensorId {
        let place = &self.memory.places[of.0 as usize];
        let (base, version) = (place.base, self.memory.bases[place.base].version);
        let strides = match (&place.strides, self.b.tensor(place.value)) {
            (Some(strides), Ok(ty)) => layout::viewed(&ty.shape, strides, &view),
            _ => None,
        };
        let mut views = place.views.clone();
        views.push(view);
        self.memory.add(Place { base, views, value, version, strides })
    }

    /// Declares that a tensor holds the floats that values quantized to `dtype` stand for.
    pub(crate) fn set_quantized(&mut self, tensor: TensorId, dtype: DType) {
        self.memory.quantized.insert(tensor, dtype);
    }

    /// What a tensor was quantized to, if it was.
    pub(super) fn quantized(&self, tensor: TensorId) -> Option<DType> {
        self.memory.quantized.get(&tensor).copied()
    }

    /// Declares that the file may have a wrong shape for a tensor, so that shapes it declares for what
    /// is made of that may be wrong too: they are checked, but what lowering says counts.
    pub(super) fn doubt(&mut self, tensor: TensorId) {
        self.memory.doubtful.insert(tensor);
    }

    /// Ends the doubt of [`Cx::doubt`].
    pub(super) fn trust(&mut self, tensor: TensorId) {
        self.memory.doubtful.remove(&tensor);
    }

    /// Whether the file may have a wrong shape for a value.
    pub(super) fn is_doubtful(&self, val: &Val) -> bool {
        match val {
            Val::Tensor(tensor) => self.memory.doubtful.contains(tensor),
            Val::List(items) => items.iter().any(|item| self.is_doubtful(item)),
            _ => false,
        }
    }

    /// Declares how a tensor lies in memory: the distance between neighbours along each axis.
    pub(super) fn set_strides(&mut self, tensor: TensorId, strides: Vec<Dim>) {
        self.memory.places[tensor.0 as usize].strides = Some(strides);
    }

    /// How a tensor lies in memory, if that is known.
    #[must_use]
    pub fn strides(&self, tensor: TensorId) -> Option<&[Dim]> {
        self.memory.places[tensor.0 as usize].strides.as_deref()
    }

    /// Whether a tensor is all of its memory, in the order it was made.
    #[must_use]
    pub fn is_base(&self, tensor: TensorId) -> bool {
        self.memory.places[tensor.0 as usize].views.is_empty()
    }

    /// Gives a tensor another value of the same shape and element type, for all views of its
    /// memory.
    ///
    /// # Errors
    /// The tensor is a view that cannot be written through.
    pub fn write(&mut self, tensor: TensorId, value: Value) -> LowerResult<()> {
        let place = &self.memory.places[tensor.0 as usize];
        let (at, views) = (place.base, place.views.clone());
        if self.memory.may_be_owned(at) || self.memory.bases[at].stale {
            return Err(layout::unknown_sharing());
        }
        // The values between the base and the tensor: a write through a view needs what it is a
        // view of.
        let mut stages = vec![self.memory.bases[at].value];
        for view in views.iter().take(views.len().saturating_sub(1)) {
            let next = apply(view, self, stages[stages.len() - 1])?;
            stages.push(next);
        }
        let mut new = value;
        for (view, before) in views.iter().zip(&stages).rev() {
            new = write_back(view, self, *before, new)?;
        }
        self.memory.set_base(at, new);
        let version = self.memory.bases[at].version;
        self.memory.set_place(tensor.0 as usize, value, version);
        Ok(())
    }
}

fn apply(view: &View, cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    match view {
        View::Reshape { to, .. } => dims::reshape(cx, x, to),
        View::Permute(perm) => permute(&mut cx.b, x, perm),
        View::Slice { axis, start, end, step } => slice(cx, x, *axis, (start, end, *step)),
        View::Expand { to } => dims::expand(cx, x, to),
        View::Select { axis, index } => select(cx, x, *axis, index),
        View::Unsqueeze(axes) => unsqueeze(cx, x, axes),
        View::Squeeze(axes) => dims::squeeze(cx, x, axes),
        View::Windows { axis, size, step } => {
            let op = SlidingWindows { axis: *axis as i64, size: *size, stride: *step };
            Ok(op.build(&mut cx.b, x)?)
        }
        View::Index { axis, indices, .. } => {
            let op = Gather { axis: *axis as i64, batch_dims: 0, validate_indices: false };
            Ok(op.build(&mut cx.b, x, *indices)?)
        }
    }
}

/// `x` with axes of extent 1 at these positions of the result.
pub(super) fn unsqueeze(cx: &mut Cx<'_>, x: Value, axes: &[usize]) -> LowerResult<Value> {
    if axes.is_empty() {
        return Ok(x);
    }
    let axes = axes.iter().map(|&a| a as i64).collect();
    Ok(ExpandDims { axes }.build(&mut cx.b, x)?)
}

/// `x[…, index, …]`: one place along an axis, which is dropped.
pub(super) fn select(cx: &mut Cx<'_>, x: Value, axis: usize, index: &Dim) -> LowerResult<Value> {
    let rank = cx.b.tensor(x)?.rank();
    let mut begin = vec![Dim::Const(0); rank];
    begin[axis] = from_end(index, &cx.b.tensor(x)?.shape[axis]);
    let begin = dims::vector(cx, &begin)?;
    let end = cx.b.ints(&vec![0; rank])?;
    let op = SliceByIndex {
        stride: vec![],
        begin_mask: (0..rank).map(|i| i != axis).collect(),
        end_mask: (0..rank).map(|i| i != axis).collect(),
        squeeze_mask: (0..rank).map(|i| i == axis).collect(),
    };
    Ok(op.build(&mut cx.b, x, begin, end)?)
}

fn permute(b: &mut Builder<'_>, x: Value, perm: &[usize]) -> LowerResult<Value> {
    let perm = perm.iter().map(|&p| p as i64).collect();
    Ok(Transpose { perm }.build(b, x)?)
}

/// A position on an axis, as a negative number where it is known from the end alone.
fn from_end(at: &Dim, extent: &Dim) -> Dim {
    match at.sub(extent) {
        Dim::Const(distance) if distance < 0 && at.as_const().is_none() => Dim::Const(distance),
        _ => at.clone(),
    }
}

/// `x[…, start:end:step, …]` along one axis.
pub(super) fn slice(
    cx: &mut Cx<'_>,
    x: Value,
    axis: usize,
    (start, end, step): (&Dim, &Dim, i64),
) -> LowerResult<Value> {
    let shape = cx.b.tensor(x)?.shape.clone();
    let full = shape[axis] == *end;
    if start.is(0) && full && step == 1 {
        return Ok(x);
    }
    let rank = shape.len();
    let mut begin = vec![Dim::Const(0); rank];
    let mut stop = shape.clone();
    begin[axis] = from_end(start, &shape[axis]);
    stop[axis] = from_end(end, &shape[axis]);
    let begin_mask: Vec<bool> = (0..rank).map(|i| i != axis || start.is(0)).collect();
    let end_mask: Vec<bool> = (0..rank).map(|i| i != axis || full).collect();
    for (i, d) in stop.iter_mut().enumerate() {
        if end_mask[i] && d.as_const().is_none() {
            *d = Dim::Const(0);
        }
    }
    let mut stride = vec![1; rank];
    stride[axis] = step;
    let begin = dims::vector(cx, &begin)?;
    let stop = dims::vector(cx, &stop)?;
    let op = SliceByIndex { stride, begin_mask, end_mask, squeeze_mask: vec![] };
    Ok(op.build(&mut cx.b, x, begin, stop)?)
}

fn write_back(view: &View, cx: &mut Cx<'_>, before: Value, new: Value) -> LowerResult<Value> {
    match view {
        View::Reshape { from, .. } => dims::reshape(cx, new, from),
        View::Permute(perm) => {
            let mut inverse = vec![0; perm.len()];
            for (i, &p) in perm.iter().enumerate() {
                inverse[p] = i;
            }
            permute(&mut cx.b, new, &inverse)
        }
        View::Slice { axis, start, end, step } => {
            slice_scatter(cx, before, new, *axis, (start, end, *step))
        }
        View::Select { axis, index } => {
            let new = unsqueeze(cx, new, &[*axis])?;
            let end = index.add(&Dim::Const(1));
            slice_scatter(cx, before, new, *axis, (index, &end, 1))
        }
        View::Unsqueeze(axes) => dims::squeeze(cx, new, axes),
        View::Squeeze(axes) => unsqueeze(cx, new, axes),
        View::Index { axis, indices, distinct: true } => {
            let op =
                Scatter { axis: *axis as i64, mode: ScatterMode::Update, validate_indices: false };
            Ok(op.build(&mut cx.b, before, *indices, new)?)
        }
        View::Expand { .. } => Err(several_times("an expanded tensor")),
        View::Windows { .. } | View::Index { .. } => Err(several_times("overlapping windows")),
    }
}

fn several_times(what: &str) -> LowerError {
    LowerError::argument(format!("an in-place write to {what} writes one element several times"))
        .help("call `.clone()` on the view first")
}

/// `base` with `base[…, start:end:step, …]` replaced by `new`; the bounds are as in
/// [`View::Slice`].
pub(super) fn slice_scatter(
    cx: &mut Cx<'_>,
    base: Value,
    new: Value,
    axis: usize,
    (start, end, step): (&Dim, &Dim, i64),
) -> LowerResult<Value> {
    let extent = cx.b.tensor(base)?.shape[axis].clone();
    // Parts that may be empty while the program runs are avoided.
    let always = |part: &Dim| cx.b.program.symbols.bounds(part).0 >= Some(1);
    let rest = extent.sub(end);
    let parts_fit = (start.is(0) || always(start)) && (rest.is(0) || always(&rest));
    if step == 1 && parts_fit {
        let mut parts = Vec::new();
        if !start.is(0) {
            parts.push(slice(cx, base, axis, (&Dim::Const(0), start, 1))?);
        }
        parts.push(new);
        if !rest.is(0) {
            parts.push(slice(cx, base, axis, (end, &extent, 1))?);
        }
        return match parts[..] {
            [one] => Ok(one),
            _ => Ok(Concat { axis: axis as i64, interleave: false }.build(&mut cx.b, parts)?),
        };
    }
    let indices = range(cx, start, end, step)?;
    let op = Scatter { axis: axis as i64, mode: ScatterMode::Update, validate_indices: false };
    Ok(op.build(&mut cx.b, base, indices, new)?)
}

/// `start`, `start + step`, … before `end`, as a vector of i32.
pub(super) fn range(cx: &mut Cx<'_>, start: &Dim, end: &Dim, step: i64) -> LowerResult<Value> {
    if end.sub(start).is(1) {
        return dims::vector(cx, std::slice::from_ref(start));
    }
    let count = end.sub(start).ceil_div(&Dim::Const(step)).as_const();
    if let (Some(start), Some(count @ 0..=65536)) = (start.as_const(), count) {
        let all: Vec<i64> = (0..count).map(|k| start + k * step).collect();
        return Ok(cx.b.ints(&all)?);
    }
    let start = dims::scalar(cx, start)?;
    let end = dims::scalar(cx, end)?;
    let step = cx.b.int(step)?;
    Ok(Range1d {}.build(&mut cx.b, end, start, step)?)
}

/// The element type of a value.
pub(super) fn dtype_of(b: &Builder<'_>, value: Value) -> LowerResult<DType> {
    Ok(b.tensor(value)?.dtype)
}

/// Reshapes to extents that are known.
pub(super) fn reshape_static(b: &mut Builder<'_>, x: Value, shape: &[i64]) -> LowerResult<Value> {
    let shape = b.ints(shape)?;
    Ok(Reshape {}.build(b, x, shape)?)
}
