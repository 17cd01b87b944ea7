//! Tensors of one number.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::Dim;
use mlc_ir::ops::{Concat, Fill};

pub(super) const FAMILY: Family = Family {
    name: "fill",
    source: include_str!("fill.rs"),
    rules: &[rule!(Exact, "move-of-fill", MOVES, move_of_fill)],
};

/// Ops of which every element is one of an operand.
const MOVES: [&str; 9] = [
    "concat",
    "expand_dims",
    "reshape",
    "reverse",
    "slice_by_index",
    "slice_by_size",
    "squeeze",
    "tile",
    "transpose",
];

/// The vectors of one extent each that a shape is joined of, with the extents.
fn parts(shape: Class<'_>) -> Vec<(Class<'_>, Dim)> {
    let Some(joined) = shape.find::<Concat>() else { return Vec::new() };
    let one = |part: Class<'_>| match part.content() {
        Some([dim]) if part.rank() == 1 => Some(dim.clone()),
        _ => None,
    };
    joined.operands(0).into_iter().filter_map(|part| Some((part, one(part)?))).collect()
}

/// `move(fill(s, c)) = fill(t, c)` for an op that only moves elements; of several operands if all are
/// filled with `c`
fn move_of_fill(m: &Match<'_>) -> Option<Build> {
    let op = m.any();
    let values = op.operands(0);
    let fills = values.iter().map(Class::find::<Fill>).collect::<Option<Vec<_>>>()?;
    let value = fills.first()?.opt(1)?;
    if fills.iter().any(|fill| fill.opt(1) != Some(value)) {
        return None;
    }
    let known: Vec<_> = fills.iter().flat_map(|fill| parts(fill.operand(0))).collect();
    let shape = &m.ty()?.shape;
    let numbers: Option<Vec<i64>> = shape.iter().map(Dim::as_const).collect();
    let shape = match numbers {
        Some(numbers) => m.ints(&numbers)?,
        None => {
            let mut vector = Vec::new();
            for dim in shape {
                vector.push(match dim.as_const() {
                    Some(n) => m.ints(&[n])?,
                    None => known.iter().find(|(_, given)| given == dim)?.0.into(),
                });
            }
            match &vector[..] {
                [one] => one.clone(),
                _ => Build::of(Concat { axis: 0, interleave: false }, vector),
            }
        }
    };
    Some(m.build(Fill {}, [shape, value.into()]))
}
