//! Comparisons, and operands that spread.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::infer::normalize_axes;
use mlc_ir::ops::{Cast, ExpandDims, Greater, GreaterEqual, Less, LessEqual, ReduceMax, Tile};
use mlc_ir::{Op, Payload};
use mlc_tensor::{DType, Tensor};

use super::transpose::BINARY;

pub(super) const FAMILY: Family = Family {
    name: "broadcast",
    source: include_str!("broadcast.rs"),
    rules: &[
        rule!(Exact, "binary-of-expand", BINARY, binary_of_expand),
        rule!(Exact, "binary-of-tile", BINARY, binary_of_tile),
        rule!(Exact, "select-of-expand", ["select"], select_of_expand),
        rule!(Exact, "constant-compared", ["less", "less_equal"], constant_compared),
        rule!(Exact, "any-compared", ["cast"], any_compared),
    ],
};

/// The op with one operand that has fewer axes: those in front of extent 1 come with another operand.
fn without_front(m: &Match<'_>) -> Option<Build> {
    let op = m.any();
    let count = op.spec().operands.len();
    let all: Vec<Class<'_>> = (0..count).map(|slot| op.operand(slot)).collect();
    let rank = m.ty()?.rank();
    let at = (0..count).find_map(|slot| {
        let x = all[slot].find::<ExpandDims>()?.operand(0);
        // The elements of `x` keep their order, so that any axes of 1 may be the new ones.
        let (front, back) = all[slot].shape().split_at(all[slot].rank() - x.rank());
        let in_front = back == x.shape() && front.iter().all(|dim| dim.is(1));
        let others = (0..count).any(|other| other != slot && all[other].rank() == rank);
        (others && in_front).then_some((slot, x))
    });
    let (slot, x) = at?;
    let new = (0..count).map(|i| Build::from(if i == slot { x } else { all[i] })).collect();
    Some(Build::of(op.payload().clone(), new))
}

/// `f(expand_dims(x, [0, 1, …]), y) = f(x, y)` where `y` has all axes of the result
fn binary_of_expand(m: &Match<'_>) -> Option<Build> {
    without_front(m)
}

/// `f(tile(x, n), y) = f(x, y)` where `x` is of extent 1 on the axes that repeat, and `y` has all of the result
fn binary_of_tile(m: &Match<'_>) -> Option<Build> {
    let op = m.any();
    let all = [op.operand(0), op.operand(1)];
    let result = &m.ty()?.shape;
    let at = (0..2).find_map(|slot| {
        let x = all[slot].find::<Tile>()?.operand(0);
        let pairs = || x.shape().iter().zip(all[slot].shape());
        let spreads = x.rank() == all[slot].rank() && pairs().all(|(x, y)| x == y || x.is(1));
        (spreads && all[1 - slot].shape() == result).then_some((slot, x))
    });
    let (slot, x) = at?;
    let new = (0..2).map(|i| Build::from(if i == slot { x } else { all[i] })).collect();
    Some(Build::of(op.payload().clone(), new))
}

/// `select(expand_dims(c, [0, 1, …]), x, y) = select(c, x, y)` where `x` or `y` has all axes of the
/// result; of the other operands too
fn select_of_expand(m: &Match<'_>) -> Option<Build> {
    without_front(m)
}

/// `c ≤ x = x ≥ c` for a constant `c`; of `<` too
fn constant_compared(m: &Match<'_>) -> Option<Build> {
    let op = m.any();
    let (c, x) = (op.operand(0), op.operand(1));
    if c.constant().is_none() || x.constant().is_some() {
        return None;
    }
    let swapped: Op = match m.op::<Less>() {
        Some(_) => Greater {}.into(),
        None => GreaterEqual {}.into(),
    };
    Some(m.build(swapped, [x.into(), c.into()]))
}

/// The least or the greatest element of a constant, as a scalar.
fn extreme(c: &Tensor, least: bool) -> Option<Tensor> {
    if c.count() == 0 || c.count() > 1 << 16 {
        return None;
    }
    if c.dtype().is_int() {
        let all = c.to_i64s().ok()?;
        let one = if least { all.iter().min() } else { all.iter().max() }?;
        return Tensor::from_i64s(c.dtype(), &[], &[*one]).ok();
    }
    let all = c.to_f64s().ok()?;
    let finite = all.iter().all(|x| x.is_finite());
    let one = match least {
        true => all.iter().copied().reduce(f64::min),
        false => all.iter().copied().reduce(f64::max),
    };
    Tensor::from_f64s(c.dtype(), &[], &[one?]).ok().filter(|_| finite)
}

/// A reduction of a comparison: the axes that go, counted in the comparison's result.
struct Reduced<'m> {
    compared: Class<'m>,
    axes: Vec<usize>,
}

/// The comparison with one element of its constant operand that is true if any is: the constant varies
/// along the reduced axes alone, and the other operand has the shape of the result.
fn nearest<P: Payload + Clone + Into<Op>>(
    m: &Match<'_>,
    reduced: &Reduced<'_>,
    first_is_low: bool,
) -> Option<Build> {
    let op = reduced.compared.find::<P>()?;
    let (first, second) = (op.operand(0), op.operand(1));
    let is_first = first.constant().is_some();
    let (c, x) = if is_first { (first, second) } else { (second, first) };
    let skipped = reduced.compared.rank().checked_sub(c.rank())?;
    let mut extents = c.shape().iter().enumerate();
    let varies_there = extents.all(|(i, n)| n.is(1) || reduced.axes.contains(&(i + skipped)));
    if !varies_there || x.shape() != m.ty()?.shape {
        return None;
    }
    let one = m.constant(extreme(c.constant()?, is_first == first_is_low)?);
    let operands = if is_first { [one, x.into()] } else { [x.into(), one] };
    Some(m.build(op.payload().clone(), operands))
}

/// `any(c ≤ x) = min(c) ≤ x` for a constant `c` over the axes that only `c` has; of the other
/// comparisons too
fn any_compared(m: &Match<'_>) -> Option<Build> {
    m.op::<Cast>().filter(|cast| cast.dtype == DType::Bool)?;
    let reduce = m.operand(0).find::<ReduceMax>().filter(|op| op.keep_dims)?;
    let number = reduce.operand(0).find::<Cast>().filter(|cast| cast.dtype.is_int())?;
    let compared = number.operand(0);
    let axes = match &reduce.axes {
        Some(axes) => normalize_axes(axes, compared.rank()).ok()?,
        None => (0..compared.rank()).collect(),
    };
    let reduced = Reduced { compared, axes };
    nearest::<Less>(m, &reduced, true)
        .or_else(|| nearest::<LessEqual>(m, &reduced, true))
        .or_else(|| nearest::<Greater>(m, &reduced, false))
        .or_else(|| nearest::<GreaterEqual>(m, &reduced, false))
}
