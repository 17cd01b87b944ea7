//! Views under another shape.

use mlc_egraph::{Build, Family, Match, rule};
use mlc_ir::ops::{ExpandDims, Reshape, Squeeze};

pub(super) const FAMILY: Family = Family {
    name: "shape",
    source: include_str!("shape.rs"),
    rules: &[
        rule!(Exact, "reshape-of-reshape", ["reshape"], reshape_of_reshape),
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
