//! Arithmetic on small constants: what a graph computes of them may have to be known here, such as the
//! size that an image is scaled to.

use mlc_ir::Op;
use mlc_tensor::{DType, Tensor};

/// Constants of more elements are left to passes.
pub(super) const MAX_ELEMENTS: usize = 1024;

/// Elements as numbers of one kind.
enum Numbers {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
}

fn numbers(tensor: &Tensor) -> Option<Numbers> {
    match tensor.dtype() {
        dtype if dtype.is_float() => tensor.to_f64s().ok().map(Numbers::Floats),
        DType::U64 => None,
        dtype if dtype.is_int() || dtype == DType::Bool => tensor.to_i64s().ok().map(Numbers::Ints),
        _ => None,
    }
}

fn floats(dtype: DType, shape: &[u64], values: &[f64]) -> Option<Tensor> {
    // Casts of tensors keep finite what a float type cannot hold.
    let fits = |x: &f64| match dtype {
        DType::F32 | DType::Bf16 => x.is_finite() && x.abs() <= f64::from(f32::MAX),
        DType::F16 => x.is_finite() && x.abs() <= 65504.0,
        _ => true,
    };
    values.iter().all(fits).then(|| Tensor::from_f64s(dtype, shape, values).ok()).flatten()
}

fn ints(dtype: DType, shape: &[u64], values: &[i64]) -> Option<Tensor> {
    let (low, high) = dtype.int_range()?;
    let fits = values.iter().all(|x| (low..=high).contains(x));
    fits.then(|| Tensor::from_i64s(dtype, shape, values).ok()).flatten()
}

/// The result of `op` on a constant, where it is cheap and exact to tell.
pub(super) fn unary(op: &Op, x: &Tensor) -> Option<Tensor> {
    if x.count() > MAX_ELEMENTS {
        return None;
    }
    let (dtype, shape) = (x.dtype(), x.shape());
    if let Op::Cast(cast) = op {
        return match numbers(x)? {
            Numbers::Ints(values) if cast.dtype.is_int() => ints(cast.dtype, shape, &values),
            Numbers::Floats(values) if cast.dtype.is_int() => {
                let (low, high) = cast.dtype.int_range()?;
                let inside = |x: &f64| x.trunc() >= low as f64 && x.trunc() <= high as f64;
                let values: Vec<i64> = values
                    .iter()
                    .all(inside)
                    .then(|| values.iter().map(|x| *x as i64).collect())?;
                ints(cast.dtype, shape, &values)
            }
            Numbers::Ints(values) if cast.dtype.is_float() => {
                let values: Vec<f64> = values.iter().map(|&x| x as f64).collect();
                floats(cast.dtype, shape, &values)
            }
            Numbers::Floats(values) if cast.dtype.is_float() => floats(cast.dtype, shape, &values),
            Numbers::Ints(values) if cast.dtype == DType::Bool => {
                let values: Vec<i64> = values.iter().map(|&x| i64::from(x != 0)).collect();
                ints(DType::Bool, shape, &values)
            }
            _ => None,
        };
    }
    match numbers(x)? {
        Numbers::Floats(values) => {
            let f: fn(f64) -> f64 = match op {
                Op::Abs(_) => f64::abs,
                Op::Ceil(_) => f64::ceil,
                Op::Floor(_) => f64::floor,
                Op::Round(_) => f64::round_ties_even,
                Op::Square(_) => |x| x * x,
                _ => return None,
            };
            floats(dtype, shape, &values.into_iter().map(f).collect::<Vec<_>>())
        }
        Numbers::Ints(values) => {
            let f: fn(i64) -> Option<i64> = match op {
                Op::Abs(_) => i64::checked_abs,
                Op::Square(_) => |x| x.checked_mul(x),
                Op::LogicalNot(_) => |x| Some(i64::from(x == 0)),
                Op::Sign(_) => |x| Some(x.signum()),
                _ => return None,
            };
            ints(dtype, shape, &values.into_iter().map(f).collect::<Option<Vec<_>>>()?)
        }
    }
}

/// `cond ? a : b` of constants.
pub(super) fn select(cond: &Tensor, a: &Tensor, b: &Tensor) -> Option<Tensor> {
    if cond.count().max(a.count()).max(b.count()) > MAX_ELEMENTS {
        return None;
    }
    let (shape, first) = pairs(cond.shape(), a.shape())?;
    let (shape, second) = pairs(&shape, b.shape())?;
    let taken = cond.to_i64s().ok()?;
    let places = || second.iter().map(|&(i, j)| (first[i], j));
    match (numbers(a)?, numbers(b)?) {
        (Numbers::Ints(a_values), Numbers::Ints(b_values)) => {
            let pick = |((c, i), j): ((usize, usize), usize)| match taken[c] {
                0 => b_values[j],
                _ => a_values[i],
            };
            ints(a.dtype(), &shape, &places().map(pick).collect::<Vec<_>>())
        }
        (Numbers::Floats(a_values), Numbers::Floats(b_values)) => {
            let pick = |((c, i), j): ((usize, usize), usize)| match taken[c] {
                0 => b_values[j],
                _ => a_values[i],
            };
            floats(a.dtype(), &shape, &places().map(pick).collect::<Vec<_>>())
        }
        _ => None,
    }
}

/// A shape, and for each of its elements the places of the two that it is computed from.
type Paired = (Vec<u64>, Vec<(usize, usize)>);

/// The elements that broadcasting pairs up; `None` for shapes that do not fit.
fn pairs(a: &[u64], b: &[u64]) -> Option<Paired> {
    let rank = a.len().max(b.len());
    let at = |shape: &[u64], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |k| shape[k]);
    let mut shape = Vec::with_capacity(rank);
    for i in 0..rank {
        shape.push(match (at(a, i), at(b, i)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => return None,
        });
    }
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d as usize))?;
    if count > MAX_ELEMENTS {
        return None;
    }
    let flat = |own: &[u64], mut index: usize| {
        let (mut at, mut stride) = (0, 1);
        for i in (0..rank).rev() {
            let extent = shape[i] as usize;
            let coordinate = index % extent;
            index /= extent;
            if let Some(k) = (i + own.len()).checked_sub(rank) {
                if own[k] != 1 {
                    at += coordinate * stride;
                }
                stride *= own[k] as usize;
            }
        }
        at
    };
    let all = (0..count).map(|i| (flat(a, i), flat(b, i))).collect();
    Some((shape, all))
}

/// The result of `op` on two constants, where it is cheap and exact to tell.
pub(super) fn binary(op: &Op, x: &Tensor, y: &Tensor) -> Option<Tensor> {
    if x.count() > MAX_ELEMENTS || y.count() > MAX_ELEMENTS || x.dtype() != y.dtype() {
        return None;
    }
    let (shape, pairs) = pairs(x.shape(), y.shape())?;
    let dtype = x.dtype();
    match (numbers(x)?, numbers(y)?) {
        (Numbers::Floats(a), Numbers::Floats(b)) => {
            let compared: Option<fn(f64, f64) -> bool> = match op {
                Op::Equal(_) => Some(|x, y| x == y),
                Op::NotEqual(_) => Some(|x, y| x != y),
                Op::Less(_) => Some(|x, y| x < y),
                Op::LessEqual(_) => Some(|x, y| x <= y),
                Op::Greater(_) => Some(|x, y| x > y),
                Op::GreaterEqual(_) => Some(|x, y| x >= y),
                _ => None,
            };
            if let Some(f) = compared {
                let values: Vec<i64> =
                    pairs.iter().map(|&(i, j)| i64::from(f(a[i], b[j]))).collect();
                return ints(DType::Bool, &shape, &values);
            }
            let f: fn(f64, f64) -> f64 = match op {
                Op::Add(_) => |x, y| x + y,
                Op::Sub(_) => |x, y| x - y,
                Op::Mul(_) => |x, y| x * y,
                Op::RealDiv(_) => |x, y| x / y,
                Op::Maximum(_) => f64::max,
                Op::Minimum(_) => f64::min,
                _ => return None,
            };
            let values: Vec<f64> = pairs.iter().map(|&(i, j)| f(a[i], b[j])).collect();
            floats(dtype, &shape, &values)
        }
        (Numbers::Ints(a), Numbers::Ints(b)) => {
            let compared: Option<fn(i64, i64) -> bool> = match op {
                Op::Equal(_) => Some(|x, y| x == y),
                Op::NotEqual(_) => Some(|x, y| x != y),
                Op::Less(_) => Some(|x, y| x < y),
                Op::LessEqual(_) => Some(|x, y| x <= y),
                Op::Greater(_) => Some(|x, y| x > y),
                Op::GreaterEqual(_) => Some(|x, y| x >= y),
                Op::LogicalAnd(_) => Some(|x, y| x & y != 0),
                Op::LogicalOr(_) => Some(|x, y| x | y != 0),
                _ => None,
            };
            if let Some(f) = compared {
                let values: Vec<i64> =
                    pairs.iter().map(|&(i, j)| i64::from(f(a[i], b[j]))).collect();
                return ints(DType::Bool, &shape, &values);
            }
            let f: fn(i64, i64) -> Option<i64> = match op {
                Op::Add(_) => i64::checked_add,
                Op::Sub(_) => i64::checked_sub,
                Op::Mul(_) => i64::checked_mul,
                Op::FloorDiv(_) => |x, y| {
                    let q = x.checked_div(y)?;
                    Some(if x % y != 0 && ((x < 0) != (y < 0)) { q - 1 } else { q })
                },
                Op::Mod(_) => |x, y| {
                    let r = x.checked_rem(y)?;
                    Some(if r != 0 && ((r < 0) != (y < 0)) { r + y } else { r })
                },
                Op::RealDiv(_) => i64::checked_div,
                Op::Maximum(_) => |x, y| Some(x.max(y)),
                Op::Minimum(_) => |x, y| Some(x.min(y)),
                _ => return None,
            };
            let values = pairs.iter().map(|&(i, j)| f(a[i], b[j])).collect::<Option<Vec<_>>>()?;
            ints(dtype, &shape, &values)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mlc_ir::ops;

    use super::*;

    #[test]
    fn constants_broadcast() {
        let a = Tensor::from_i64s(DType::I32, &[2, 1], &[1, 2]).unwrap();
        let b = Tensor::from_i64s(DType::I32, &[3], &[10, 20, 30]).unwrap();
        let sum = binary(&ops::Add {}.into(), &a, &b).unwrap();
        assert_eq!(sum.shape(), [2, 3]);
        assert_eq!(sum.to_i64s().unwrap(), [11, 21, 31, 12, 22, 32]);
        let minus = Tensor::from_i64s(DType::I32, &[], &[-7]).unwrap();
        let two = Tensor::from_i64s(DType::I32, &[], &[2]).unwrap();
        assert_eq!(
            binary(&ops::FloorDiv {}.into(), &minus, &two).unwrap().to_i64s().unwrap(),
            [-4]
        );
        assert_eq!(binary(&ops::Mod {}.into(), &minus, &two).unwrap().to_i64s().unwrap(), [1]);
        let zero = Tensor::from_i64s(DType::I32, &[], &[0]).unwrap();
        assert!(binary(&ops::Mod {}.into(), &minus, &zero).is_none());
        let x = Tensor::from_f64s(DType::F32, &[2], &[2.7, -2.7]).unwrap();
        let cast = unary(&ops::Cast { dtype: DType::I32 }.into(), &x).unwrap();
        assert_eq!(cast.to_i64s().unwrap(), [2, -2]);
    }
}
