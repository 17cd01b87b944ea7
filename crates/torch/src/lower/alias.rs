//! Memory of torch tensors: views and in-place writes, made functional.
//!
//! Words: a *base* is a piece of memory; a *tensor* is a base and a chain of [`View`]s on it. An
//! in-place op makes a new value for its tensor; the chain is walked backwards to make the new value
//! of the base, and every other tensor on the base is derived anew when it is read next. Programs
//! without mutation never derive anything twice.

use mlc_ir::attr::ScatterMode;
use mlc_ir::builder::Builder;
use mlc_ir::ops::{Concat, Reshape, Scatter, SliceByIndex, Transpose};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::Cx;
use super::dims;
use super::error::{LowerError, LowerResult};
use super::value::TensorId;

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
}

#[derive(Debug)]
struct Place {
    base: usize,
    views: Vec<View>,
    value: Value,
    version: u32,
}

/// The memory of the tensors of a graph.
#[derive(Debug, Default)]
pub(super) struct Memory {
    bases: Vec<Base>,
    places: Vec<Place>,
}

impl Memory {
    /// A tensor with memory of its own.
    pub(super) fn allocate(&mut self, value: Value, owner: Owner) -> TensorId {
        self.bases.push(Base { value, version: 0, owner });
        let base = self.bases.len() - 1;
        self.add(Place { base, views: Vec::new(), value, version: 0 })
    }

    fn add(&mut self, place: Place) -> TensorId {
        self.places.push(place);
        TensorId(self.places.len() as u32 - 1)
    }

    /// Bases that the caller or the model owns and that were written, with their last value.
    pub(super) fn written(&self) -> impl Iterator<Item = (&Owner, Value)> {
        self.bases
            .iter()
            .filter(|base| base.version > 0 && base.owner != Owner::Local)
            .map(|base| (&base.owner, base.value))
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
    /// A view cannot be derived.
    pub fn read(&mut self, tensor: TensorId) -> LowerResult<Value> {
        let place = &self.memory.places[tensor.0 as usize];
        let base = &self.memory.bases[place.base];
        if place.version == base.version {
            return Ok(place.value);
        }
        let (mut value, version) = (base.value, base.version);
        for view in place.views.clone() {
            value = apply(&view, self, value)?;
        }
        let place = &mut self.memory.places[tensor.0 as usize];
        place.value = value;
        place.version = version;
        Ok(value)
    }

    /// A view of a tensor.
    ///
    /// # Errors
    /// The view does not fit.
    pub fn view(&mut self, of: TensorId, view: View) -> LowerResult<TensorId> {
        let value = self.read(of)?;
        let value = apply(&view, self, value)?;
        let place = &self.memory.places[of.0 as usize];
        let (base, version) = (place.base, place.version);
        let mut views = place.views.clone();
        views.push(view);
        Ok(self.memory.add(Place { base, views, value, version }))
    }

    /// Gives a tensor another value of the same shape and element type, for all views of its
    /// memory.
    ///
    /// # Errors
    /// The tensor is a view that cannot be written through.
    pub fn write(&mut self, tensor: TensorId, value: Value) -> LowerResult<()> {
        let place = &self.memory.places[tensor.0 as usize];
        let (at, views) = (place.base, place.views.clone());
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
        let base = &mut self.memory.bases[at];
        base.value = new;
        base.version += 1;
        let version = base.version;
        let place = &mut self.memory.places[tensor.0 as usize];
        place.value = value;
        place.version = version;
        Ok(())
    }
}

fn apply(view: &View, cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    match view {
        View::Reshape { to, .. } => dims::reshape(cx, x, to),
        View::Permute(perm) => permute(&mut cx.b, x, perm),
        View::Slice { axis, start, end, step } => slice(cx, x, *axis, (start, end, *step)),
        View::Expand { to } => dims::expand(cx, x, to),
    }
}

fn permute(b: &mut Builder<'_>, x: Value, perm: &[usize]) -> LowerResult<Value> {
    let perm = perm.iter().map(|&p| p as i64).collect();
    Ok(Transpose { perm }.build(b, x)?)
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
    let mut stop = shape;
    begin[axis] = start.clone();
    stop[axis] = end.clone();
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
        View::Expand { .. } => Err(LowerError::argument(
            "an in-place write to an expanded tensor writes one element \
                                      several times",
        )
        .help("call `.clone()` or `.contiguous()` on the expanded tensor first")),
    }
}

/// `base` with `base[…, start:end:step, …]` replaced by `new`.
pub(super) fn slice_scatter(
    cx: &mut Cx<'_>,
    base: Value,
    new: Value,
    axis: usize,
    (start, end, step): (&Dim, &Dim, i64),
) -> LowerResult<Value> {
    let extent = cx.b.tensor(base)?.shape[axis].clone();
    if step == 1 {
        if start.is(0) && *end == extent {
            return Ok(new);
        }
        let mut parts = Vec::new();
        if !start.is(0) {
            parts.push(slice(cx, base, axis, (&Dim::Const(0), start, 1))?);
        }
        parts.push(new);
        if *end != extent {
            parts.push(slice(cx, base, axis, (end, &extent, 1))?);
        }
        return Ok(Concat { axis: axis as i64, interleave: false }.build(&mut cx.b, parts)?);
    }
    let (Some(start), Some(end)) = (start.as_const(), end.as_const()) else {
        return Err(LowerError::dynamic("a strided slice with symbolic bounds is written to"));
    };
    let indices: Vec<i64> = (start..end).step_by(step as usize).collect();
    let indices = cx.b.ints(&indices)?;
    let op = Scatter { axis: axis as i64, mode: ScatterMode::Update, validate_indices: false };
    Ok(op.build(&mut cx.b, base, indices, new)?)
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
