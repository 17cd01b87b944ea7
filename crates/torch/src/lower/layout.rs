//! How tensors lie in memory, where the file does not tell.
//!
//! Strides follow from those of the tensor that a view is of. What an op makes is packed if what it was made
//! of is; else its layout is not known, since torch keeps the order of axes in memory for many ops. Whether
//! a reshape of such a tensor is a view or a copy is not known either: both are *twins*, and writing to
//! one makes the other unreadable.

use mlc_ir::Dim;

use super::Cx;
use super::alias::View;
use super::error::LowerError;
use super::value::{TensorId, Val};

/// Ops of ATen whose results, if new, are packed whatever they are made of.
const PACKING: &[&str] = &[
    "addmm",
    "arange",
    "baddbmm",
    "bmm",
    "cat",
    "contiguous",
    "embedding",
    "eye",
    "flatten",
    "full",
    "linear",
    "linspace",
    "matmul",
    "mm",
    "ones",
    "reshape",
    "stack",
    "zeros",
];

/// The strides of a tensor of this shape without gaps, the last axis innermost.
pub(super) fn packed(shape: &[Dim]) -> Vec<Dim> {
    ordered(shape, &(0..shape.len()).collect::<Vec<_>>())
}

/// The strides of a tensor of this shape without gaps whose axes lie in this order, the last innermost.
pub(super) fn ordered(shape: &[Dim], order: &[usize]) -> Vec<Dim> {
    let mut strides = vec![Dim::Const(1); shape.len()];
    let mut count = Dim::Const(1);
    for &axis in order.iter().rev() {
        strides[axis] = count.clone();
        count = count.mul(&shape[axis]);
    }
    strides
}

/// Whether a tensor of these extents has no gaps and the last axis innermost.
pub(crate) fn is_packed(shape: &[Dim], strides: &[Dim]) -> bool {
    lies_alike(shape, strides, &packed(shape))
}

/// Whether two strides of a tensor of these extents are one layout: those of axes of extent 1 are nothing.
pub(super) fn lies_alike(shape: &[Dim], a: &[Dim], b: &[Dim]) -> bool {
    a.len() == b.len() && shape.iter().zip(a.iter().zip(b)).all(|(dim, (a, b))| dim.is(1) || a == b)
}

/// The strides of memory of `shape` and `strides` seen as `to`, if that moves no elements: each run of axes
/// that follow one another without gaps holds a whole number of the new axes.
pub(super) fn reshaped(shape: &[Dim], strides: &[Dim], to: &[Dim]) -> Option<Vec<Dim>> {
    if shape.len() != strides.len() {
        return None;
    }
    let one = Dim::Const(1);
    // The new axes from the innermost, and the strides of those that were placed.
    let mut rest = to.iter().rev().peekable();
    let mut found = Vec::with_capacity(to.len());
    let mut count = one.clone();
    let mut base = strides.last().cloned().unwrap_or_else(|| one.clone());
    for axis in (0..shape.len()).rev() {
        count = count.mul(&shape[axis]);
        let goes_on = axis > 0 && (shape[axis - 1].is(1) || strides[axis - 1] == count.mul(&base));
        if goes_on {
            continue;
        }
        let mut filled = one.clone();
        while let Some(dim) = rest.next_if(|dim| filled != count || dim.is(1)) {
            found.push(filled.mul(&base));
            filled = filled.mul(dim);
        }
        if filled != count {
            return None;
        }
        if axis > 0 {
            base = strides[axis - 1].clone();
            count = one.clone();
        }
    }
    found.extend(rest.map(|_| one.clone()));
    found.reverse();
    Some(found)
}

/// The strides of a view of memory of `shape` and `strides`.
pub(super) fn viewed(shape: &[Dim], strides: &[Dim], view: &View) -> Option<Vec<Dim>> {
    if shape.len() != strides.len() {
        return None;
    }
    let mut out = strides.to_vec();
    match view {
        View::Reshape { to, .. } => return reshaped(shape, strides, to),
        View::Permute(perm) => {
            return perm.iter().map(|&axis| strides.get(axis).cloned()).collect();
        }
        View::Slice { axis, step, .. } => {
            let stride = out.get_mut(*axis)?;
            *stride = stride.mul(&Dim::Const(*step));
        }
        View::Expand { to } => {
            let new = to.len().checked_sub(shape.len())?;
            out.splice(0..0, vec![Dim::Const(0); new]);
            for ((stride, before), after) in out[new..].iter_mut().zip(shape).zip(&to[new..]) {
                if before != after {
                    *stride = Dim::Const(0);
                }
            }
        }
        View::Select { axis, .. } => {
            (*axis < out.len()).then(|| out.remove(*axis))?;
        }
        View::Unsqueeze(axes) => {
            for &axis in axes {
                (axis <= out.len()).then(|| out.insert(axis, Dim::Const(1)))?;
            }
        }
        View::Squeeze(axes) => {
            for &axis in axes.iter().rev() {
                (axis < out.len()).then(|| out.remove(axis))?;
            }
        }
        View::Windows { axis, step, .. } => {
            let inner = out.get(*axis)?.clone();
            out[*axis] = inner.mul(&Dim::Const(*step));
            out.insert(*axis + 1, inner);
        }
        View::Index { .. } => return None,
    }
    Some(out)
}

impl Cx<'_> {
    /// Whether a tensor is known to have no gaps and the last axis innermost.
    fn lies_packed(&self, tensor: TensorId) -> bool {
        let latest = self.memory.latest(tensor);
        match (self.strides(tensor), self.b.tensor(latest)) {
            (Some(strides), Ok(ty)) => is_packed(&ty.shape, strides),
            _ => self.is_complex(tensor),
        }
    }

    fn all_packed(&self, val: &Val) -> bool {
        match val {
            Val::Tensor(tensor) => self.lies_packed(*tensor),
            Val::List(items) => items.iter().all(|item| self.all_packed(item)),
            _ => true,
        }
    }

    /// Takes back what is assumed of the layout of tensors that `op` made of `operands`, where that is not
    /// known: those with a base from `first` on.
    pub(super) fn forget_layout<'v>(
        &mut self,
        (op, outputs): (&str, &[Val]),
        mut operands: impl Iterator<Item = &'v Val>,
        first: usize,
    ) {
        let is_packing = op.strip_prefix("aten.").is_some_and(|op| PACKING.contains(&op));
        if is_packing || operands.all(|val| self.all_packed(val)) {
            return;
        }
        for output in outputs {
            if let Val::Tensor(tensor) = output {
                self.memory.forget_strides(*tensor, first);
            }
        }
    }

    /// What a reshape of `x` gives where `value` is its value and the layout of `x` is not known; nor is that
    /// of the result.
    pub(super) fn twin(&mut self, x: TensorId, value: mlc_ir::Value) -> TensorId {
        let tensor = self.fresh_tensor(value);
        self.memory.pair(x, tensor);
        self.memory.forget_strides(tensor, 0);
        tensor
    }
}

/// A tensor may have changed through another of which it is not known whether it is a view or a copy.
pub(super) fn unknown_sharing() -> LowerError {
    LowerError::argument(
        "a tensor was written to, and whether another shares its memory depends on how an op lays it out",
    )
    .help("call `.contiguous()` before the reshape, or write to the tensor itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(all: &[i64]) -> Vec<Dim> {
        all.iter().copied().map(Dim::Const).collect()
    }

    #[test]
    fn reshapes_share_memory_where_axes_are_packed() {
        let see = |shape: &[i64], strides: &[i64], to: &[i64]| {
            reshaped(&dims(shape), &dims(strides), &dims(to)).is_some()
        };
        assert!(see(&[2, 3, 4], &[12, 4, 1], &[6, 4]));
        assert!(see(&[2, 3, 4], &[12, 4, 1], &[1, 24, 1]));
        assert!(!see(&[3, 2], &[1, 3], &[6]));
        assert!(see(&[3, 4], &[8, 1], &[3, 2, 2]));
        assert!(!see(&[3, 4], &[8, 1], &[12]));
        assert!(!see(&[2, 4], &[0, 1], &[8]));
        assert!(see(&[2, 1, 4], &[4, 99, 1], &[8]));
    }

    #[test]
    fn symbolic_reshapes_too() {
        let s = Dim::symbol("s");
        let shape = [s.clone(), 4.into(), 6.into()];
        let strides = [24.into(), 6.into(), 1.into()];
        assert!(reshaped(&shape, &strides, &[s.mul(&4.into()), 6.into()]).is_some());
        let turned = [1.into(), s.clone(), s.mul(&4.into())];
        assert!(reshaped(&shape, &turned, &[s.mul(&24.into())]).is_none());
    }

    #[test]
    fn views_keep_track_of_memory() {
        let (shape, packed) = (dims(&[2, 3, 4]), packed(&dims(&[2, 3, 4])));
        let of = |view: View| viewed(&shape, &packed, &view);
        assert_eq!(of(View::Permute(vec![2, 0, 1])), Some(dims(&[1, 12, 4])));
        assert_eq!(of(View::Select { axis: 1, index: 2.into() }), Some(dims(&[12, 1])));
        assert_eq!(of(View::Windows { axis: 2, size: 2, step: 3 }), Some(dims(&[12, 4, 3, 1])));
        let slice = View::Slice { axis: 2, start: 0.into(), end: 4.into(), step: 2 };
        assert_eq!(of(slice), Some(dims(&[12, 4, 2])));
        assert_eq!(of(View::Expand { to: dims(&[5, 2, 3, 4]) }), Some(dims(&[0, 12, 4, 1])));
        assert_eq!(
            of(View::Reshape { from: shape.clone(), to: dims(&[6, 4]) }),
            Some(dims(&[4, 1]))
        );
    }
}
