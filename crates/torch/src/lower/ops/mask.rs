//! Triangles, diagonals, masks and one-hot vectors.

use mlc_ir::ops::{
    BandPart, Cumsum, GreaterEqual, LessEqual, Maximum, OneHot, ReduceMax, Select, Sub,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::axes::{axis_arg, inverse, moved_last};
use super::create::{band, distances};
use super::index::flat;
use super::indices::{gather, transposed, widened};
use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.tril", lower: |cx, call| triangle(cx, call, true) },
    Lowering { name: "aten.triu", lower: |cx, call| triangle(cx, call, false) },
    Lowering { name: "aten.diag_embed", lower: diag_embed },
    Lowering { name: "aten.diag", lower: diag },
    Lowering { name: "aten.masked_scatter", lower: masked_scatter },
    Lowering { name: "aten.one_hot", lower: one_hot },
];

/// The elements on one side of a diagonal, zeros elsewhere.
fn triangle(cx: &mut Cx<'_>, call: &Call<'_>, lower: bool) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let diagonal = call.int_or("diagonal", 0)?;
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let [.., rows, columns] = &shape[..] else {
        return Err(LowerError::invalid("the triangle of a vector"));
    };
    let x = cx.read(x)?;
    // `band_part` counts from the main diagonal away: the far side of it alone is expressible.
    let reach = if lower { diagonal } else { diagonal.saturating_neg() };
    if reach >= 0 && dtype != DType::Bool {
        let op = match lower {
            true => BandPart { lower: -1, upper: reach },
            false => BandPart { lower: reach, upper: -1 },
        };
        let y = cx.unary(op, x)?;
        return cx.one(y);
    }
    let keep = |row: i64, column: i64| match lower {
        true => column - row <= diagonal,
        false => column - row >= diagonal,
    };
    let kept = match band(cx, [rows, columns], &keep)? {
        Some(kept) => kept,
        None => {
            let distance = distances(cx, [rows, columns])?;
            let diagonal = cx.b.int(diagonal)?;
            match lower {
                true => cx.binary(LessEqual {}, distance, diagonal)?,
                false => cx.binary(GreaterEqual {}, distance, diagonal)?,
            }
        }
    };
    let y = if dtype == DType::Bool {
        cx.binary(mlc_ir::ops::LogicalAnd {}, x, kept)?
    } else {
        let zero = cx.b.scalar(dtype, 0.0)?;
        Select {}.build(&mut cx.b, kept, x, zero)?
    };
    cx.one(y)
}

/// Square matrices with the vectors of the last axis on a diagonal, zeros elsewhere.
fn embedded(cx: &mut Cx<'_>, x: Value, offset: i64) -> LowerResult<Value> {
    let ty = cx.b.tensor(x)?.clone();
    let Some(count) = ty.shape.last() else {
        return Err(LowerError::invalid("the diagonal matrix of a scalar"));
    };
    let zero = Dim::Const(0);
    let pair = match offset {
        0.. => (zero, Dim::Const(offset)),
        _ => (Dim::Const(offset.saturating_neg()), zero),
    };
    let side = count.add(&Dim::Const(offset.saturating_abs()));
    let x = super::pad::constant(cx, x, &[pair], 0.0)?;
    let rank = ty.shape.len();
    let rows = alias::unsqueeze(cx, x, &[rank])?;
    let mut to = ty.shape[..rank - 1].to_vec();
    to.extend([side.clone(), side.clone()]);
    let rows = widened(cx, rows, &to)?;
    let kept = match band(cx, [&side, &side], &|row, column| column - row == offset)? {
        Some(kept) => kept,
        None => {
            let distance = distances(cx, [&side, &side])?;
            let offset = cx.b.int(offset)?;
            cx.binary(mlc_ir::ops::Equal {}, distance, offset)?
        }
    };
    if ty.dtype == DType::Bool {
        return cx.binary(mlc_ir::ops::LogicalAnd {}, rows, kept);
    }
    let zero = cx.b.scalar(ty.dtype, 0.0)?;
    Ok(Select {}.build(&mut cx.b, kept, rows, zero)?)
}

fn diag_embed(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)? + 1;
    let first = axis_arg(call, "dim1", -2, rank)?;
    let second = axis_arg(call, "dim2", -1, rank)?;
    if first == second {
        return Err(LowerError::invalid("both axes of a diagonal are the same"));
    }
    let x = cx.read(x)?;
    let y = embedded(cx, x, call.int_or("offset", 0)?)?;
    let y = transposed(cx, y, &inverse(&moved_last(&[first, second], rank)))?;
    cx.one(y)
}

/// The diagonal of a matrix, or the matrix of a diagonal.
fn diag(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let diagonal = call.int_or("diagonal", 0)?;
    if cx.rank(x)? == 1 {
        let x = cx.read(x)?;
        let y = embedded(cx, x, diagonal)?;
        return cx.one(y);
    }
    let args = [("self", Val::Tensor(x)), ("offset", Val::Int(Dim::Const(diagonal)))];
    let view = cx.call_tensor("aten.diagonal", &args)?;
    let y = cx.read(view)?;
    cx.one(y)
}

/// The elements of `source` in order for those under the mask: the number of true elements before one
/// is its place in `source`.
fn masked_scatter(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let (shape, dtype) = (cx.shape(x)?, cx.dtype(x)?);
    let mask = cx.read_as(call.tensor("mask")?, DType::Bool)?;
    let source = cx.read_as(call.tensor("source")?, dtype)?;
    let mask = widened(cx, mask, &shape)?;
    let (mask, source) = (flat(cx, mask)?, flat(cx, source)?);
    let x = cx.read(x)?;
    let x = flat(cx, x)?;
    let counted = cx.cast(mask, DType::I32)?;
    let op = Cumsum { axis: 0, exclusive: false, reverse: false };
    let counted = op.build(&mut cx.b, counted)?;
    let (zero, one) = (cx.b.int(0)?, cx.b.int(1)?);
    let place = cx.binary(Sub {}, counted, one)?;
    let place = cx.binary(Maximum {}, place, zero)?;
    // Elements that are not under the mask look at one that `source` has.
    let place = Select {}.build(&mut cx.b, mask, place, zero)?;
    let taken = gather(cx, source, 0, place)?;
    let y = Select {}.build(&mut cx.b, mask, taken, x)?;
    let y = cx.reshape(y, &shape)?;
    cx.one(y)
}

/// A last axis of `num_classes` elements, 1 at the index; as many classes as needed for −1.
fn one_hot(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = cx.read(call.tensor("self")?)?;
    let classes = call.opt_dim("num_classes")?.unwrap_or(Dim::Const(-1));
    let size = if classes.is(-1) {
        let indices = cx.cast(x, DType::I32)?;
        let most = ReduceMax { axes: None, keep_dims: false }.build(&mut cx.b, indices)?;
        let one = cx.b.int(1)?;
        cx.binary(mlc_ir::ops::Add {}, most, one)?
    } else {
        crate::lower::dims::scalar(cx, &classes)?
    };
    let (on, off) = (cx.b.scalar(DType::I64, 1.0)?, cx.b.scalar(DType::I64, 0.0)?);
    let y = OneHot { axis: -1 }.build(&mut cx.b, x, size, Some(on), Some(off))?;
    let shape = cx.b.tensor(y)?.shape.clone();
    cx.symbols.add_tensor(y, &shape);
    cx.one(y)
}
