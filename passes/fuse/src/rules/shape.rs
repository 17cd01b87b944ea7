//! Views under another shape.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::infer::normalize_axes;
use mlc_ir::ops::{ExpandDims, Linear, Reshape, Squeeze, Transpose};
use mlc_ir::{AttrValue, Dim, Op, Trait};

use super::transpose::{BINARY, UNARY, axes};

pub(super) const FAMILY: Family = Family {
    name: "shape",
    source: include_str!("shape.rs"),
    rules: &[
        rule!(Exact, "reshape-of-reshape", ["reshape"], reshape_of_reshape),
        rule!(Exact, "view-of-reduction", ["reshape", "squeeze"], view_of_reduction),
        rule!(Exact, "view-to-same", VIEWS, view_to_same),
        rule!(Exact, "view-of-view", VIEWS, view_of_view),
        rule!(Exact, "transpose-to-reshape", ["transpose"], transpose_to_reshape),
        rule!(Exact, "view-of-transpose", VIEWS, view_of_transpose),
        rule!(Exact, "unary-of-view", UNARY, unary_of_view),
        rule!(Exact, "binary-of-view", BINARY, binary_of_view),
        rule!(Exact, "binary-of-views", BINARY, binary_of_views),
        rule!(Close, "linear-of-view", ["linear"], linear_of_view),
        rule!(Close, "view-of-linear", VIEWS, view_of_linear),
    ],
};

/// Ops that change nothing but the shape.
const VIEWS: [&str; 3] = ["reshape", "expand_dims", "squeeze"];

/// A shape as the operand of a reshape: at most one extent is open, none is 0.
pub(super) fn extents(m: &Match<'_>, dims: &[Dim]) -> Option<Build> {
    m.ints(&Dim::reshape_sizes(dims)?)
}

/// What a class is a view of, under another shape.
pub(super) fn viewed(class: Class<'_>) -> Option<Class<'_>> {
    if let Some(op) = class.find::<Reshape>() {
        return Some(op.operand(0));
    }
    if let Some(op) = class.find::<ExpandDims>() {
        return Some(op.operand(0));
    }
    Some(class.find::<Squeeze>()?.operand(0))
}

/// `reshape(reshape(x, t), s) = reshape(x, s)`, `s` without zeros; of other views too
fn reshape_of_reshape(m: &Match<'_>) -> Option<Build> {
    m.op::<Reshape>()?;
    let x = viewed(m.operand(0))?;
    // A zero copies an extent of the operand, which is another one then.
    let shape = m.operand(1).content()?;
    if shape.iter().any(|dim| dim.is(0) || dim.as_const().is_none()) {
        return None;
    }
    Some(m.build(Reshape {}, [x.into(), m.operand(1).into()]))
}

/// `view(view(x)) = x` where the type is the same, otherwise `= reshape(x)`
fn view_of_view(m: &Match<'_>) -> Option<Build> {
    let x = viewed(m.operand(0))?;
    if x.ty() == m.ty() {
        return Some(x.into());
    }
    // Some extent of each has to be known to be the same.
    m.op::<Reshape>().is_none().then(|| {
        let shape = extents(m, &m.ty()?.shape)?;
        Some(m.build(Reshape {}, [x.into(), shape]))
    })?
}

/// `view(x) = x` where the type is the same
fn view_to_same(m: &Match<'_>) -> Option<Build> {
    let x = m.operand(0);
    (x.ty() == m.ty()).then(|| x.into())
}

/// `transpose(x) = reshape(x)` where no axes but those of extent 1 change places
fn transpose_to_reshape(m: &Match<'_>) -> Option<Build> {
    let perm = axes(&m.op::<Transpose>()?.perm)?;
    let x = m.operand(0);
    let kept = perm.iter().filter(|&&p| !x.shape()[p as usize].is(1));
    kept.is_sorted().then(|| Some(m.build(Reshape {}, [x.into(), extents(m, &m.ty()?.shape)?])))?
}

/// For each axis of `to` the axis of `from` it is, none for those of extent 1 alone, where the two shapes
/// differ by axes of extent 1.
fn matched(from: &[Dim], to: &[Dim]) -> Option<Vec<Option<usize>>> {
    let mut left = from.iter().enumerate().filter(|(_, dim)| !dim.is(1));
    let mut found = Vec::new();
    for dim in to {
        found.push(match dim.is(1) {
            true => None,
            false => {
                let (axis, own) = left.next()?;
                (own == dim).then_some(Some(axis))?
            }
        });
    }
    left.next().is_none().then_some(found)
}

/// `view(transpose(x)) = transpose(reshape(x))` where the view adds and drops axes of extent 1 alone
fn view_of_transpose(m: &Match<'_>) -> Option<Build> {
    let inner = m.operand(0).find::<Transpose>()?;
    let perm = axes(&inner.perm)?;
    let x = inner.operand(0);
    let to = &m.ty()?.shape;
    let from = matched(inner.class().shape(), to)?;
    // Axes of extent 1 come first, the others in the order that they have in `x`.
    let order = |axis: usize| from[axis].map(|axis| perm[axis]);
    let mut sorted: Vec<usize> = (0..to.len()).collect();
    sorted.sort_by_key(|&axis| order(axis));
    let shape: Vec<Dim> = sorted.iter().map(|&axis| to[axis].clone()).collect();
    let mut moved = vec![0; to.len()];
    for (at, &axis) in sorted.iter().enumerate() {
        moved[axis] = at as i64;
    }
    let view = m.build(Reshape {}, [x.into(), extents(m, &shape)?]);
    Some(m.build(Transpose { perm: moved }, [view]))
}

/// The ops that make the view `to` of another value.
fn again(m: &Match<'_>, to: Class<'_>, value: Build) -> Option<Build> {
    if let Some(op) = to.find::<Reshape>() {
        return Some(m.build(Reshape {}, [value, op.operand(1).into()]));
    }
    if let Some(op) = to.find::<ExpandDims>() {
        return Some(m.build(op.payload().clone(), [value]));
    }
    Some(m.build(to.find::<Squeeze>()?.payload().clone(), [value]))
}

/// `f(view(x)) = view(f(x))` for `f` on single elements
fn unary_of_view(m: &Match<'_>) -> Option<Build> {
    let f = m.any();
    if !f.spec().traits.has(Trait::Elementwise) || f.spec().operands.len() != 1 {
        return None;
    }
    let x = viewed(m.operand(0))?;
    let value = m.build(f.payload().clone(), [x.into()]);
    again(m, m.operand(0), value)
}

/// A constant that is combined with `view` in the shape that it has beside `x`, of which `view` is one.
fn beside(m: &Match<'_>, c: Class<'_>, (x, view): (Class<'_>, Class<'_>)) -> Option<Build> {
    c.constant()?;
    let shape = c.static_shape()?;
    if shape.iter().all(|&n| n == 1) {
        return (c.rank() <= x.rank()).then(|| c.into());
    }
    let lead = view.rank().checked_sub(shape.len())?;
    let own = |axis: usize| axis.checked_sub(lead).map_or(1, |i| shape[i]);
    if let Some(axes) = matched(x.shape(), view.shape()) {
        let mut wanted = vec![1; x.rank()];
        for (axis, from) in axes.iter().enumerate() {
            match from {
                Some(from) => wanted[*from] = i64::try_from(own(axis)).ok()?,
                None if own(axis) == 1 => {}
                None => return None,
            }
        }
        return Some(m.build(Reshape {}, [c.into(), m.ints(&wanted)?]));
    }
    // The last axis of `x` is cut into axes that the constant has whole.
    let first = shape.iter().position(|&n| n != 1)?;
    let mut whole = shape[first..].iter().zip(&view.shape()[lead + first..]);
    let last = i64::try_from(shape.iter().product::<u64>()).ok()?;
    let fits = whole.all(|(&n, dim)| i64::try_from(n).is_ok_and(|n| dim.is(n)))
        && x.shape().last()?.is(last);
    fits.then(|| Some(m.build(Reshape {}, [c.into(), m.ints(&[last])?])))?
}

/// `f(view(x), c) = view(f(x, c))` for a constant that is a number or differs along whole axes
fn binary_of_view(m: &Match<'_>) -> Option<Build> {
    let f = m.any();
    [(0, 1), (1, 0)].into_iter().find_map(|(at, other)| {
        let view = f.operand(at);
        if view.constant().is_some() || Some(view.shape()) != m.ty().map(|ty| &ty.shape[..]) {
            return None;
        }
        let x = viewed(view)?;
        let c = beside(m, f.operand(other), (x, view))?;
        let operands = if at == 0 { vec![x.into(), c] } else { vec![c, x.into()] };
        again(m, view, Build::of(f.payload().clone(), operands))
    })
}

/// `f(view(x), view(y)) = view(f(x, y))` for equal shapes
fn binary_of_views(m: &Match<'_>) -> Option<Build> {
    let f = m.any();
    let (left, right) = (f.operand(0), f.operand(1));
    let (x, y) = (viewed(left)?, viewed(right)?);
    let fits = x.shape() == y.shape() && left.shape() == right.shape();
    fits.then(|| again(m, left, m.build(f.payload().clone(), [x.into(), y.into()])))?
}

/// `linear(view(x)) = view(linear(x))` where the last axis stays
fn linear_of_view(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Linear>()?;
    let view = op.operand(0);
    let x = viewed(view)?;
    let fits = x.rank() >= 2 && x.shape().last() == view.shape().last();
    let shape = extents(m, &m.ty()?.shape).filter(|_| fits)?;
    let slots = vec![vec![x.into()], op.slot(1), op.slot(2)];
    Some(m.build(Reshape {}, [Build::with_slots(Linear {}, slots), shape]))
}

/// `view(linear(x)) = linear(view(x))` where the last axis stays
fn view_of_linear(m: &Match<'_>) -> Option<Build> {
    let inner = m.operand(0);
    let op = inner.find::<Linear>()?;
    let to = &m.ty()?.shape;
    let x = op.operand(0);
    if to.len() < 2 || to.last() != inner.shape().last() {
        return None;
    }
    let mut shape = to.clone();
    *shape.last_mut()? = x.shape().last()?.clone();
    let view = m.build(Reshape {}, [x.into(), extents(m, &shape)?]);
    let slots = vec![vec![view], op.slot(1), op.slot(2)];
    Some(Build::with_slots(Linear {}, slots))
}

/// `squeeze(reduce(x))` with axes kept `= reduce(x)` without them, however the squeeze is spelled
fn view_of_reduction(m: &Match<'_>) -> Option<Build> {
    let dropped = &m.ty()?.shape;
    m.operand(0).ops().into_iter().find_map(|reduce| {
        let axes: Vec<usize> = match reduce.spec().attr("axes") {
            Some(_) if reduce.spec().family.ends_with("reduction") => {
                let axes = reduce.attrs().into_iter().find_map(|value| match value {
                    AttrValue::Ints(axes) => Some(axes),
                    _ => None,
                })?;
                normalize_axes(&axes, reduce.operand(0).rank()).ok()?
            }
            _ => return None,
        };
        let x = reduce.operand(0).shape();
        let kept = x.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, dim)| dim);
        if !kept.eq(dropped.iter()) {
            return None;
        }
        let names = reduce.spec().attrs.iter().map(|attr| attr.name);
        let values = names.zip(reduce.attrs()).map(|(name, value)| match name {
            "keep_dims" => Some(AttrValue::Bool(false)),
            _ => Some(value),
        });
        let op = Op::from_attrs(reduce.spec().name, &values.collect::<Vec<_>>())?.ok()?;
        Some(m.build(op, [reduce.operand(0).into()]))
    })
}
