//! Axes and positions as torch counts them.

use mlc_ir::Dim;

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};

/// An axis counted from the front; a scalar has axis 0, as a vector of one does.
pub(super) fn axis(at: i64, rank: usize) -> LowerResult<usize> {
    let extent = rank.max(1) as i64;
    let front = if at < 0 { at.saturating_add(extent) } else { at };
    if (0..extent).contains(&front) {
        Ok(front as usize)
    } else {
        Err(LowerError::invalid(format!("axis {at} of a tensor of rank {rank}")))
    }
}

/// Axes counted from the front, in the order given.
pub(super) fn axes(at: &[i64], rank: usize) -> LowerResult<Vec<usize>> {
    let all = at.iter().map(|&a| axis(a, rank)).collect::<LowerResult<Vec<_>>>()?;
    let mut sorted = all.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(LowerError::invalid(format!("axes {at:?} name an axis twice")));
    }
    Ok(all)
}

/// The axis that an argument names, with its default.
pub(super) fn axis_arg(
    call: &Call<'_>,
    name: &str,
    default: i64,
    rank: usize,
) -> LowerResult<usize> {
    axis(call.int_or(name, default)?, rank)
}

/// The permutation that moves `axes` behind the others, in their order.
pub(super) fn moved_last(axes: &[usize], rank: usize) -> Vec<usize> {
    (0..rank).filter(|a| !axes.contains(a)).chain(axes.iter().copied()).collect()
}

/// The permutation that moves `axes` before the others, in their order.
pub(super) fn moved_first(axes: &[usize], rank: usize) -> Vec<usize> {
    axes.iter().copied().chain((0..rank).filter(|a| !axes.contains(a))).collect()
}

/// The permutation that undoes `perm`.
pub(super) fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        inverse[p] = i;
    }
    inverse
}

/// `min(a, b)`, simplified by the ranges of symbols.
pub(super) fn lesser(cx: &Cx<'_>, a: &Dim, b: &Dim) -> Dim {
    match cx.b.program.symbols.bounds(&a.sub(b)) {
        (Some(low), _) if low >= 0 => b.clone(),
        (_, Some(high)) if high <= 0 => a.clone(),
        _ => a.minimum(b),
    }
}

/// `max(a, b)`, simplified by the ranges of symbols.
pub(super) fn greater(cx: &Cx<'_>, a: &Dim, b: &Dim) -> Dim {
    match cx.b.program.symbols.bounds(&a.sub(b)) {
        (Some(low), _) if low >= 0 => a.clone(),
        (_, Some(high)) if high <= 0 => b.clone(),
        _ => a.maximum(b),
    }
}

/// A position that may be negative, counted from the front of an axis of `extent`.
pub(super) fn from_front(cx: &Cx<'_>, at: &Dim, extent: &Dim) -> Dim {
    match cx.b.program.symbols.bounds(at) {
        (Some(low), _) if low >= 0 => at.clone(),
        (_, Some(high)) if high < 0 => extent.add(at),
        // ⌊at / (2³¹ − 1)⌋ is −1 for every negative i32 and 0 for the others.
        _ => at.sub(&extent.mul(&at.floor_div(&Dim::Const(i64::from(i32::MAX))))),
    }
}

/// A bound of a slice, as Python takes it: negative ones count from the end, and what lies outside
/// is moved to the edge.
pub(super) fn bound(cx: &Cx<'_>, at: &Dim, extent: &Dim) -> Dim {
    match at.as_const() {
        Some(n) if n >= i64::from(i32::MAX) => return extent.clone(),
        Some(n) if n <= -i64::from(i32::MAX) => return Dim::Const(0),
        _ => {}
    }
    let front = greater(cx, &from_front(cx, at, extent), &Dim::Const(0));
    lesser(cx, &front, extent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_count_from_both_ends() {
        assert_eq!(axis(-1, 3), Ok(2));
        assert_eq!(axis(0, 0), Ok(0));
        assert!(axis(3, 3).is_err());
        assert!(axes(&[0, -2], 2).is_err());
    }

    #[test]
    fn permutations_move_axes() {
        assert_eq!(moved_last(&[2, 0], 4), [1, 3, 2, 0]);
        assert_eq!(moved_first(&[2, 0], 4), [2, 0, 1, 3]);
        assert_eq!(inverse(&[2, 0, 1]), [1, 2, 0]);
    }
}
