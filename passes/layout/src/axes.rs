//! Attributes that name axes.

use mlc_ir::attr::AttrValue;
use mlc_ir::infer::{normalize_axes, normalize_axis};
use mlc_ir::{Op, OpResult};

/// The attribute of that name.
pub(crate) fn attr(op: &Op, name: &str) -> Option<AttrValue> {
    let at = op.spec().attrs.iter().position(|attr| attr.name == name)?;
    op.attrs().into_iter().nth(at)
}

/// The op with another value of an attribute; `None` if it has none of that name, or it does not fit.
pub(crate) fn with_attr(op: &Op, name: &str, value: AttrValue) -> Option<Op> {
    let at = op.spec().attrs.iter().position(|attr| attr.name == name)?;
    let mut values: Vec<Option<AttrValue>> = op.attrs().into_iter().map(Some).collect();
    values[at] = Some(value);
    Op::from_attrs(op.spec().name, &values)?.ok()
}

/// The axes that the attribute `axes` names, all for none.
pub(crate) fn axes(op: &Op, rank: usize) -> OpResult<Option<Vec<usize>>> {
    Ok(match attr(op, "axes") {
        Some(AttrValue::Ints(axes)) => Some(normalize_axes(&axes, rank)?),
        Some(AttrValue::None) => Some((0..rank).collect()),
        _ => None,
    })
}

/// The axis that the attribute `axis` names.
pub(crate) fn axis(op: &Op, rank: usize) -> OpResult<Option<usize>> {
    Ok(match attr(op, "axis") {
        Some(AttrValue::Int(axis)) => Some(normalize_axis(axis, rank)?),
        _ => None,
    })
}

/// Axes as an attribute holds them, in rising order.
pub(crate) fn ints(mut axes: Vec<usize>) -> AttrValue {
    axes.sort_unstable();
    AttrValue::Ints(axes.into_iter().map(|axis| axis as i64).collect())
}
