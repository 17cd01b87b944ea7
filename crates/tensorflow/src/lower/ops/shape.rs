//! Shapes and views.

use mlc_ir::ops::{Identity, Reshape};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::axes;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "BroadcastArgs", lower: broadcast_args },
    Lowering { name: "BroadcastTo", lower: broadcast_to },
    Lowering { name: "ConjugateTranspose", lower: transpose },
    Lowering { name: "ExpandDims", lower: expand_dims },
    Lowering { name: "Rank", lower: rank },
    Lowering { name: "Reshape", lower: reshape },
    Lowering { name: "Shape", lower: shape },
    Lowering { name: "ShapeN", lower: shape_n },
    Lowering { name: "Size", lower: size },
    Lowering { name: "Squeeze", lower: squeeze },
    Lowering { name: "Transpose", lower: transpose },
];

fn shape(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dtype = call.dtype_or("out_type", DType::I32)?;
    let x = match call.input(0)? {
        Val::Complex(re, _) => *re,
        _ => call.tensor(0)?,
    };
    let y = shape_of(cx, x, dtype)?;
    cx.one(y)
}

fn shape_of(cx: &mut Cx<'_>, x: Value, dtype: DType) -> LowerResult<Value> {
    let y = cx.shape_value(x)?;
    cx.cast(y, dtype)
}

fn shape_n(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["N"]);
    let dtype = call.dtype_or("out_type", DType::I32)?;
    let all = call.tensors(0)?;
    all.into_iter().map(|x| shape_of(cx, x, dtype).map(Val::Tensor)).collect()
}

fn size(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dtype = call.dtype_or("out_type", DType::I32)?;
    let x = call.tensor(0)?;
    let count = cx.b.tensor(x)?.count();
    let y = match count.as_const() {
        Some(n) => cx.integer(dtype, n)?,
        None => {
            let n = dims::scalar(cx, &count)?;
            cx.cast(n, dtype)?
        }
    };
    cx.one(y)
}

fn rank(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let n = cx.rank(call.tensor(0)?)?;
    let y = cx.b.int(n as i64)?;
    cx.one(y)
}

fn reshape(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, shape) = (call.tensor(0)?, call.tensor(1)?);
    let y = reshaped(cx, x, shape)?;
    cx.one(y)
}

/// `x` under the shape that a vector holds, in which −1 is computed.
pub(super) fn reshaped(cx: &mut Cx<'_>, x: Value, shape: Value) -> LowerResult<Value> {
    let content = match cx.b.content(shape) {
        Some(content) => Some(content.to_vec()),
        None => cx.ints(shape).map(|all| all.into_iter().map(Dim::Const).collect()),
    };
    let Some(mut wanted) = content else {
        let shape = cx.cast(shape, DType::I32)?;
        let y = Reshape {}.build(&mut cx.b, x, shape)?;
        return Ok(y);
    };
    let count = cx.b.tensor(x)?.count();
    let hole = wanted.iter().position(|dim| dim.is(-1));
    if let Some(hole) = hole {
        let others = Dim::product(wanted.iter().filter(|dim| !dim.is(-1)));
        let exact = match (count.as_const(), others.as_const()) {
            (Some(_), Some(0)) => Some(Dim::Const(0)),
            (Some(a), Some(b)) if a % b == 0 => Some(Dim::Const(a / b)),
            (Some(a), Some(b)) => {
                return Err(LowerError::invalid(format!("{a} elements do not fill {b}·n")));
            }
            _ => count.exact_div(&others),
        };
        wanted[hole] = exact.unwrap_or_else(|| count.floor_div(&others));
    }
    if let (Some(a), Some(b)) = (count.as_const(), Dim::product(&wanted).as_const())
        && a != b
    {
        return Err(LowerError::invalid(format!("{a} elements do not fill {b}")));
    }
    cx.reshape(x, &wanted)
}

fn expand_dims(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let at = cx.need_int(call.tensor(1)?, "axis")?;
    let at = axes::axis(at, cx.rank(x)? + 1)?;
    let y = cx.expand_dims(x, &[at as i64])?;
    cx.one(y)
}

fn squeeze(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let shape = cx.shape(x)?;
    let mut given = call.ints("squeeze_dims")?;
    given.extend(call.ints("axis")?);
    let axes = if given.is_empty() {
        if let Some(dim) = shape.iter().find(|dim| dim.as_const().is_none()) {
            let (low, _) = cx.b.program.symbols.bounds(dim);
            // An open extent, such as that of the batch, is taken for one that stays.
            if low.is_none_or(|low| low < 1) {
                return Err(LowerError::dynamic(format!("extent {dim} may or may not be 1"))
                    .help("name the axes to squeeze in the model"));
            }
        }
        (0..shape.len()).filter(|&axis| shape[axis].is(1)).collect()
    } else {
        let mut axes = given
            .into_iter()
            .map(|at| axes::axis(at, shape.len()))
            .collect::<LowerResult<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        axes
    };
    let y = cx.squeeze(x, &axes)?;
    cx.one(y)
}

fn transpose(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, perm) = (call.tensor(0)?, call.tensor(1)?);
    let rank = cx.rank(x)?;
    let perm = cx
        .need_ints(perm, "perm")?
        .into_iter()
        .map(|at| axes::axis(at, rank))
        .collect::<LowerResult<Vec<_>>>()?;
    let y = cx.transpose(x, &perm)?;
    cx.one(y)
}

fn broadcast_to(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let own = cx.shape(x)?;
    let mut to = cx.extents(call.tensor(1)?, "shape")?;
    let lead = to.len().checked_sub(own.len()).ok_or_else(|| {
        LowerError::invalid(format!(
            "{} cannot have {} axes",
            cx.b.tensor(x).map_or(0, |t| t.rank()),
            to.len()
        ))
    })?;
    for (axis, dim) in to.iter_mut().enumerate() {
        if dim.is(-1) && axis >= lead {
            *dim = own[axis - lead].clone();
        }
        // Extents that are not known to differ are taken for equal.
        if axis >= lead && dim.as_const().is_none() && !own[axis - lead].is(1) {
            *dim = own[axis - lead].clone();
        }
    }
    if to == own {
        let y = cx.unary(Identity {}, x)?;
        return cx.one(y);
    }
    let y = dims::expand(cx, x, &to)?;
    cx.one(y)
}

/// The shape that two shapes broadcast to.
fn broadcast_args(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    let dtype = cx.dtype(a)?;
    let (a, b) = (cx.extents(a, "s0")?, cx.extents(b, "s1")?);
    let both = mlc_ir::infer::broadcast(&a, &b)?;
    if both.contains(&Dim::Unknown) {
        return Err(LowerError::dynamic("two open extents may or may not be 1"));
    }
    let y = dims::vector(cx, &both)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}
