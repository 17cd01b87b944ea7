//! Truth values that go through numbers, and indices as vectors.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::infer::normalize_axis;
use mlc_ir::ops::{
    Add, Argsort, Cast, Dequantize, Equal, Gather, Linear, LogicalNot, Matmul, NotEqual, OneHot,
    Quantize, ReduceArgmax, ReduceArgmin, Transpose,
};
use mlc_tensor::DType;

use super::quantized::are_inverse;

pub(super) const FAMILY: Family = Family {
    name: "cast",
    source: include_str!("cast.rs"),
    rules: &[
        rule!(Exact, "test-of-cast", ["not_equal", "equal"], test_of_cast),
        rule!(Exact, "cast-of-truth", ["cast"], cast_of_truth),
        rule!(Exact, "quantize-of-dequantize", ["quantize"], quantize_of_dequantize),
        rule!(Exact, "one-hot-matmul", ["matmul", "linear"], one_hot_matmul),
        rule!(Exact, "gather-of-gather", ["gather"], gather_of_gather),
    ],
};

/// The truth value that a class is as a number.
fn truth(class: Class<'_>) -> Option<Class<'_>> {
    let cast = class.find::<Cast>()?;
    let x = cast.operand(0);
    (x.dtype() == Some(DType::Bool)).then_some(x)
}

/// `(cast(b) ≠ 0) = b` and `(cast(b) = 0) = ¬b`
fn test_of_cast(m: &Match<'_>) -> Option<Build> {
    let differs = m.op::<NotEqual>();
    let pairs = match differs {
        Some(op) => op.pairs(),
        None => m.op::<Equal>()?.pairs(),
    };
    let (number, _) = pairs.into_iter().find(|(_, zero)| zero.scalar() == Some(0.0))?;
    let b = truth(number).filter(|b| b.ty() == m.ty())?;
    Some(match differs {
        Some(_) => b.into(),
        None => m.build(LogicalNot {}, [b.into()]),
    })
}

/// `cast(cast(b)) = cast(b)` for a truth value `b`, which no number loses; `= b` where it becomes one again
fn cast_of_truth(m: &Match<'_>) -> Option<Build> {
    let outer = m.op::<Cast>()?;
    let b = truth(outer.operand(0))?;
    Some(match outer.dtype {
        DType::Bool => b.into(),
        dtype => m.build(Cast { dtype }, [b.into()]),
    })
}

/// Whether all indices of a class are known to be in `0..n`: it is a constant, or tells positions of an axis
/// of at most that extent.
fn are_within(class: Class<'_>, n: i64) -> bool {
    if let Some(tensor) = class.constant().filter(|tensor| tensor.count() <= 1 << 14) {
        return tensor.to_i64s().is_ok_and(|all| all.iter().all(|i| (0..n).contains(i)));
    }
    let extent = |x: Class<'_>, axis: i64| {
        let axis = normalize_axis(axis, x.rank()).ok()?;
        x.shape()[axis].as_const()
    };
    let found = class
        .find::<ReduceArgmax>()
        .and_then(|op| extent(op.operand(0), op.axis))
        .or_else(|| class.find::<ReduceArgmin>().and_then(|op| extent(op.operand(0), op.axis)))
        .or_else(|| class.find::<Argsort>().and_then(|op| extent(op.operand(0), op.axis)));
    found.is_some_and(|extent| (1..=n).contains(&extent))
}

/// `matmul(one_hot(i), W) = gather(W, i)` for indices that are known to be in range
fn one_hot_matmul(m: &Match<'_>) -> Option<Build> {
    let (hot, table, by_rows, bias) = match m.op::<Matmul>() {
        Some(op) => {
            let plain = !op.transpose_x && op.operand(1).rank() == 2;
            plain.then(|| (op.operand(0), op.operand(1), !op.transpose_y, None))?
        }
        None => {
            let op = m.op::<Linear>()?;
            (op.operand(0), op.operand(1), false, op.opt(2))
        }
    };
    let one_hot = hot.find::<OneHot>()?;
    let last = normalize_axis(one_hot.axis, hot.rank()).ok()? + 1 == hot.rank();
    let is = |slot: usize, wanted: f64| {
        one_hot.opt(slot).is_none_or(|number| number.scalar() == Some(wanted))
    };
    let size = hot.shape().last()?.as_const()?;
    let indices = one_hot.operand(0);
    let fits = last && is(2, 1.0) && is(3, 0.0) && are_within(indices, size);
    table.constant().filter(|_| fits)?;
    let rows = match by_rows {
        true => table.into(),
        false => m.build(Transpose { perm: vec![1, 0] }, [table.into()]),
    };
    let op = Gather { axis: 0, batch_dims: 0, validate_indices: false };
    let y = m.build(op, [rows, indices.into()]);
    Some(match bias {
        Some(bias) => m.build(Add {}, [y, bias.into()]),
        None => y,
    })
}

/// `gather(gather(x, i), j) = gather(x, gather(i, j))` along one axis, for constant vectors `i`
fn gather_of_gather(m: &Match<'_>) -> Option<Build> {
    let outer = m.op::<Gather>()?;
    let inner = outer.operand(0).find::<Gather>()?;
    let (i, j) = (inner.operand(1), outer.operand(1));
    i.constant().and(j.constant())?;
    let rank = inner.class().rank();
    let axis = normalize_axis(inner.axis, rank).ok()?;
    let fits = i.rank() == 1
        && normalize_axis(outer.axis, rank).ok()? == axis
        && [outer.batch_dims, inner.batch_dims] == [0, 0];
    let op = Gather { axis: axis as i64, batch_dims: 0, validate_indices: false };
    let both = m.build(Gather { axis: 0, ..op.clone() }, [i.into(), j.into()]);
    fits.then(|| m.build(op, [inner.operand(0).into(), both]))
}

/// `quantize(dequantize(x)) = x` with the same scale, zero point and axis
fn quantize_of_dequantize(m: &Match<'_>) -> Option<Build> {
    let outer = m.op::<Quantize>()?;
    let inner = outer.operand(0).find::<Dequantize>()?;
    let x = inner.operand(0);
    let fits = are_inverse(&outer, &inner)? && outer.axis == inner.axis && x.ty() == m.ty();
    fits.then(|| x.into())
}
