//! Views under another shape.

use mlc_egraph::{Build, Family, Match, rule};
use mlc_ir::infer::normalize_axes;
use mlc_ir::ops::{ExpandDims, Reshape, Squeeze};
use mlc_ir::{AttrValue, Op};

pub(super) const FAMILY: Family = Family {
    name: "shape",
    source: include_str!("shape.rs"),
    rules: &[
        rule!(Exact, "reshape-of-reshape", ["reshape"], reshape_of_reshape),
        rule!(Exact, "view-of-reduction", ["reshape", "squeeze"], view_of_reduction),
        rule!(Exact, "view-to-same", ["reshape", "expand_dims", "squeeze"], view_to_same),
    ],
};

/// `reshape(reshape(x, t), s) = reshape(x, s)`, `s` without zeros; of other views too
fn reshape_of_reshape(m: &Match<'_>) -> Option<Build> {
    m.op::<Reshape>()?;
    let inner = m.operand(0);
    let x = inner
        .find::<Reshape>()
        .map(|op| op.operand(0))
        .or_else(|| inner.find::<ExpandDims>().map(|op| op.operand(0)))
        .or_else(|| inner.find::<Squeeze>().map(|op| op.operand(0)))?;
    // A zero copies an extent of the operand, which is another one then.
    let shape = m.operand(1).content()?;
    if shape.iter().any(|dim| dim.is(0) || dim.as_const().is_none()) {
        return None;
    }
    Some(m.build(Reshape {}, [x.into(), m.operand(1).into()]))
}

/// `view(x) = x` where the type is the same
fn view_to_same(m: &Match<'_>) -> Option<Build> {
    let x = m.operand(0);
    (x.ty() == m.ty()).then(|| x.into())
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
