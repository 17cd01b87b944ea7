//! Reshapes of transposes as transposes of reshapes.

use std::ops::Range;

use mlc_ir::ops::Reshape;
use mlc_ir::{Builder, Dim, Op, OpResult, Value};

use crate::form::Form;

/// How a reshape of a transposed value is made of the source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Regrouped {
    /// What the source is reshaped to.
    pub(crate) shape: Vec<Dim>,
    /// Axis `i` of the result is axis `perm[i]` of that.
    pub(crate) perm: Vec<usize>,
}

/// A reshape from `from`, the shape of a value of that form, to `to`. Axes are cut and joined in groups; `None` where
/// axes of a group are no neighbours in the source, so that elements would have to move.
pub(crate) fn regroup(form: &Form, from: &[Dim], to: &[Dim]) -> Option<Regrouped> {
    let mut groups = groups(from, to)?;
    // Places of the longer axes in the source, counted without axes of one element.
    let mut places: Vec<usize> =
        (0..from.len()).filter(|&i| !from[i].is(1)).map(|i| form.perm[i]).collect();
    places.sort_unstable();
    let place = |axis: usize| places.binary_search(&form.perm[axis]).ok();
    for (axes, _) in &groups {
        let own: Option<Vec<usize>> = axes.iter().map(|&axis| place(axis)).collect();
        if !own?.windows(2).all(|pair| pair[0] + 1 == pair[1]) {
            return None;
        }
    }
    groups.sort_by_key(|(axes, _)| axes.first().and_then(|&axis| place(axis)));
    let mut perm = vec![0; to.len()];
    let mut shape = Vec::with_capacity(to.len());
    for axis in groups.into_iter().flat_map(|(_, made)| made) {
        perm[axis] = shape.len();
        shape.push(to[axis].clone());
    }
    (shape.len() == to.len()).then_some(Regrouped { shape, perm })
}

/// Axes that become others, first to last: those of `from` that are longer than one element, and the range of
/// those of `to` with the axes of one element before them; the last range has the rest.
fn groups(from: &[Dim], to: &[Dim]) -> Option<Vec<(Vec<usize>, Range<usize>)>> {
    let long = |dims: &[Dim]| (0..dims.len()).filter(|&i| !dims[i].is(1)).collect::<Vec<_>>();
    let (olds, news) = (long(from), long(to));
    let (mut old, mut new) = (olds.iter().copied(), news.iter().copied());
    let mut groups: Vec<(Vec<usize>, Range<usize>)> = Vec::new();
    let mut start = 0;
    loop {
        let (a, b) = match (old.next(), new.next()) {
            (Some(a), Some(b)) => (a, b),
            (None, None) => break,
            _ => return None,
        };
        let (mut axes, mut last) = (vec![a], b);
        let (mut x, mut y) = (from[a].clone(), to[b].clone());
        while x != y {
            let grows_new = match (x.as_const(), y.as_const()) {
                (Some(x), Some(y)) => x > y,
                // Numbers are multiplied until the open extent is there.
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (None, None) => return None,
            };
            if grows_new {
                last = new.next()?;
                y = y.mul(&to[last]);
            } else {
                let axis = old.next()?;
                axes.push(axis);
                x = x.mul(&from[axis]);
            }
        }
        groups.push((axes, start..last + 1));
        start = last + 1;
    }
    groups.last_mut()?.1.end = to.len();
    Some(groups)
}

/// A transpose of a reshape that moves axes of extent 1 alone, as a reshape.
pub(crate) fn reshaped(b: &mut Builder<'_>, x: Value, perm: &[usize]) -> OpResult<Option<Value>> {
    let made = b.function().def(x).map(|(_, node)| node.op.clone());
    if !matches!(made, Some(Op::Reshape(_) | Op::ExpandDims(_))) {
        return Ok(None);
    }
    let shape = b.tensor(x)?.shape.clone();
    let moving: Vec<usize> = perm.iter().copied().filter(|&axis| !shape[axis].is(1)).collect();
    let turned: Vec<Dim> = perm.iter().map(|&axis| shape[axis].clone()).collect();
    let Some(to) = Dim::reshape_sizes(&turned).filter(|_| moving.is_sorted()) else {
        return Ok(None);
    };
    let to = b.ints(&to)?;
    Reshape {}.build(b, x, to).map(Some)
}

#[cfg(test)]
mod tests {
    use mlc_ir::EntityId as _;

    use super::*;

    fn dims(extents: &[i64]) -> Vec<Dim> {
        extents.iter().map(|&n| Dim::Const(n)).collect()
    }

    /// The source's shape and the permutation, for a source of that shape and a transpose of it.
    fn check(source: &[i64], perm: &[usize], to: &[i64]) -> Option<(Vec<Dim>, Vec<usize>)> {
        let from: Vec<i64> = perm.iter().map(|&axis| source[axis]).collect();
        let source = Value::from_index(0);
        let form = Form { perm: perm.to_vec(), source, shared: false };
        regroup(&form, &dims(&from), &dims(to)).map(|r| (r.shape, r.perm))
    }

    #[test]
    fn neighbours_are_joined() {
        let joined = check(&[1, 4, 16, 17], &[3, 0, 1, 2], &[1, 1, 17, 64]);
        assert_eq!(joined, Some((dims(&[64, 1, 1, 17]), vec![1, 2, 3, 0])));
        assert_eq!(check(&[2, 4, 8, 3], &[0, 2, 1, 3], &[2, 8, 12]), None);
    }

    #[test]
    fn axes_are_cut() {
        let cut = check(&[2, 12, 5], &[0, 2, 1], &[2, 5, 3, 4]);
        assert_eq!(cut, Some((dims(&[2, 3, 4, 5]), vec![0, 3, 1, 2])));
    }
}
