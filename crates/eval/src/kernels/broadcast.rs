//! Walking operands that broadcast by NumPy's rule: right-aligned, extent 1 stretches.

use crate::array::element_count;
use crate::kernel::EvalError;

/// The shape two shapes broadcast to.
pub(crate) fn broadcast_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>, EvalError> {
    let rank = a.len().max(b.len());
    let at =
        |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |k| shape[k]);
    let shape = (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(EvalError::undefined(format!("{a:?} and {b:?} do not broadcast"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    element_count(&shape)?;
    Ok(shape)
}

/// `count` elements of each of `K` operands: operand `k` at `start[k] + i · step[k]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run<const K: usize> {
    pub(crate) start: [usize; K],
    pub(crate) step: [usize; K],
    pub(crate) count: usize,
}

/// The runs, in row-major order of `shape`, that the operands of shapes `of` are walked in when all
/// broadcast to `shape`; as few and as long as can be.
pub(crate) fn for_each_run<const K: usize>(
    shape: &[usize],
    of: [&[usize]; K],
    mut visit: impl FnMut(Run<K>),
) {
    if shape.contains(&0) {
        return;
    }
    let axes = merged_axes(shape, of);
    let Some((&(count, step), outer)) = axes.split_last() else {
        visit(Run { start: [0; K], step: [0; K], count: 1 });
        return;
    };
    let mut index = vec![0; outer.len()];
    let mut start = [0; K];
    loop {
        visit(Run { start, step, count });
        let mut axis = outer.len();
        loop {
            let Some(at) = axis.checked_sub(1) else { return };
            axis = at;
            let (extent, steps) = outer[axis];
            index[axis] += 1;
            for k in 0..K {
                start[k] += steps[k];
            }
            if index[axis] < extent {
                break;
            }
            index[axis] = 0;
            for k in 0..K {
                start[k] -= steps[k] * extent;
            }
        }
    }
}

/// Extent and step of each operand along the axes of `shape`, axes joined where every operand walks
/// them as one.
fn merged_axes<const K: usize>(shape: &[usize], of: [&[usize]; K]) -> Vec<(usize, [usize; K])> {
    let mut axes: Vec<(usize, [usize; K])> = Vec::with_capacity(shape.len());
    let mut size = [1; K];
    for (from_end, &extent) in shape.iter().rev().enumerate() {
        let mut step = [0; K];
        for k in 0..K {
            let own = of[k].len().checked_sub(from_end + 1).map_or(1, |i| of[k][i]);
            step[k] = if own == 1 { 0 } else { size[k] };
            size[k] *= own;
        }
        if extent == 1 {
            continue;
        }
        match axes.last_mut() {
            Some((inner, steps)) if (0..K).all(|k| step[k] == steps[k] * *inner) => {
                *inner *= extent;
            }
            _ => axes.push((extent, step)),
        }
    }
    axes.reverse();
    axes
}

/// For each element of `shape`, the flat index of the element of `of` that broadcasts to it.
pub(crate) fn broadcast_index(of: &[usize], shape: &[usize]) -> Vec<usize> {
    let mut index = Vec::with_capacity(shape.iter().product());
    for_each_run(shape, [of], |run| {
        index.extend((0..run.count).map(|i| run.start[0] + i * run.step[0]));
    });
    index
}

/// Elements and their shape.
pub(crate) type Shaped<'a, T> = (&'a [T], &'a [usize]);

/// `f` of each pair of elements, and the shape they broadcast to.
pub(crate) fn zip<T: Copy, U>(
    (a, a_shape): Shaped<'_, T>,
    (b, b_shape): Shaped<'_, T>,
    f: impl Fn(T, T) -> U,
) -> Result<(Vec<usize>, Vec<U>), EvalError> {
    let shape = broadcast_shape(a_shape, b_shape)?;
    let mut out = Vec::with_capacity(shape.iter().product());
    for_each_run(&shape, [a_shape, b_shape], |run| {
        let ([i, j], n) = (run.start, run.count);
        match run.step {
            [1, 1] => out.extend(a[i..i + n].iter().zip(&b[j..j + n]).map(|(&x, &y)| f(x, y))),
            [1, 0] => {
                let y = b[j];
                out.extend(a[i..i + n].iter().map(|&x| f(x, y)));
            }
            [0, 1] => {
                let x = a[i];
                out.extend(b[j..j + n].iter().map(|&y| f(x, y)));
            }
            [s, t] => out.extend((0..n).map(|k| f(a[i + k * s], b[j + k * t]))),
        }
    });
    Ok((shape, out))
}

/// `a` where `test` holds, else `b`; all three broadcast.
pub(crate) fn select<T: Copy>(
    (test, test_shape): Shaped<'_, u8>,
    (a, a_shape): Shaped<'_, T>,
    (b, b_shape): Shaped<'_, T>,
) -> Result<(Vec<usize>, Vec<T>), EvalError> {
    let shape = broadcast_shape(&broadcast_shape(a_shape, b_shape)?, test_shape)?;
    let mut out = Vec::with_capacity(shape.iter().product());
    for_each_run(&shape, [test_shape, a_shape, b_shape], |run| {
        let ([c, i, j], [r, s, t]) = (run.start, run.step);
        out.extend(
            (0..run.count).map(|k| if test[c + k * r] != 0 { a[i + k * s] } else { b[j + k * t] }),
        );
    });
    Ok((shape, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs<const K: usize>(shape: &[usize], of: [&[usize]; K]) -> Vec<Run<K>> {
        let mut all = Vec::new();
        for_each_run(shape, of, |run| all.push(run));
        all
    }

    #[test]
    fn axes_are_walked_as_one_where_possible() {
        let one = Run { start: [0, 0], step: [1, 1], count: 24 };
        assert_eq!(runs(&[2, 3, 4], [&[2, 3, 4], &[2, 3, 4]]), [one]);
        let scalar = Run { start: [0, 0], step: [1, 0], count: 24 };
        assert_eq!(runs(&[2, 3, 4], [&[2, 3, 4], &[]]), [scalar]);
        assert_eq!(runs(&[2, 3, 4], [&[2, 3, 4], &[3, 1]]).len(), 6);
        assert_eq!(runs(&[2, 0], [&[2, 0], &[1, 1]]), []);
        assert_eq!(runs(&[], [&[], &[]]).len(), 1);
    }

    #[test]
    fn indices_repeat_along_stretched_axes() {
        assert_eq!(broadcast_index(&[2, 1], &[2, 2, 3]), [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
        assert_eq!(broadcast_index(&[1, 3], &[2, 3]), [0, 1, 2, 0, 1, 2]);
    }
}
