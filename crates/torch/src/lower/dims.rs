//! Extents as values of the program: shape vectors, reshapes and expansions with symbolic extents.

use std::collections::BTreeMap;

use mlc_ir::builder::Builder;
use mlc_ir::ops::{
    Add, Concat, ExpandDims, FloorDiv, Gather, Maximum, Minimum, Mod, Mul, Reshape, Shape, Squeeze,
    Tile,
};
use mlc_ir::{Algebra, Dim, DimOp, Value};
use mlc_tensor::DType;

use super::error::{LowerError, LowerResult};
pub use super::symbolic::to_dim;
use super::{Cx, evaluate};

/// Where the value of a symbol can be read while the program runs.
#[derive(Debug, Clone)]
pub(super) enum SymbolSource {
    /// The extent of that axis is `factor · symbol + offset`.
    Axis {
        /// The tensor.
        value: Value,
        /// The axis.
        axis: usize,
        /// Not 0.
        factor: i64,
        /// Any number.
        offset: i64,
    },
    /// The symbol is this i32 scalar.
    Scalar(Value),
}

/// The sources of all symbols that can be read, and the values made from them so far.
#[derive(Debug, Clone, Default)]
pub(super) struct SymbolSources {
    sources: BTreeMap<String, SymbolSource>,
}

impl SymbolSources {
    /// Declares a source unless there is one.
    pub(super) fn add(&mut self, name: &str, source: SymbolSource) {
        self.sources.entry(name.to_owned()).or_insert(source);
    }

    /// Declares a source in place of any there is.
    pub(super) fn replace(&mut self, name: &str, source: SymbolSource) {
        self.sources.insert(name.to_owned(), source);
    }

    /// Declares that a symbol is another one, whose source it then has unless it has one.
    pub(super) fn same(&mut self, name: &str, other: &str) {
        if let Some(source) = self.sources.get(other).cloned() {
            self.add(name, source);
        }
    }

    /// The scalar that a symbol is, if it is one.
    pub(super) fn scalar(&self, name: &str) -> Option<Value> {
        match self.sources.get(name) {
            Some(SymbolSource::Scalar(value)) => Some(*value),
            _ => None,
        }
    }

    /// Whether the value of a symbol can be read.
    pub(super) fn has(&self, name: &str) -> bool {
        self.sources.contains_key(name)
    }

    /// Declares the symbols that the extents of `value` tell.
    pub(super) fn add_tensor(&mut self, value: Value, shape: &[Dim]) {
        for (axis, dim) in shape.iter().enumerate() {
            let Some((symbol, factor, offset)) = dim.linear() else { continue };
            self.add(&symbol, SymbolSource::Axis { value, axis, factor, offset });
        }
    }
}

struct ToValue<'a, 'p> {
    cx: &'a mut Cx<'p>,
}

impl Algebra for ToValue<'_, '_> {
    type Value = Value;
    type Error = LowerError;

    fn constant(&mut self, n: i64) -> LowerResult<Value> {
        Ok(self.cx.b.int(n)?)
    }

    fn symbol(&mut self, name: &str) -> LowerResult<Value> {
        let source = self.cx.symbols.sources.get(name).cloned().ok_or_else(|| {
            LowerError::dynamic(format!("the value of `{name}` is not known while the model runs"))
        })?;
        match source {
            SymbolSource::Scalar(value) => Ok(value),
            SymbolSource::Axis { value, axis, factor, offset } => {
                let b = &mut self.cx.b;
                let mut extent = extent(b, value, axis)?;
                if offset != 0 {
                    let minus = b.int(offset.saturating_neg())?;
                    extent = Add {}.build(b, extent, minus)?;
                }
                if factor == 1 {
                    return Ok(extent);
                }
                let factor = b.int(factor)?;
                Ok(FloorDiv {}.build(b, extent, factor)?)
            }
        }
    }

    fn apply(&mut self, op: DimOp, x: Value, y: Value) -> LowerResult<Value> {
        let b = &mut self.cx.b;
        Ok(match op {
            DimOp::Add => Add {}.build(b, x, y),
            DimOp::Mul => Mul {}.build(b, x, y),
            DimOp::FloorDiv => FloorDiv {}.build(b, x, y),
            DimOp::Mod => Mod {}.build(b, x, y),
            DimOp::Max => Maximum {}.build(b, x, y),
            DimOp::Min => Minimum {}.build(b, x, y),
        }?)
    }

    fn unknown(&mut self) -> LowerResult<Value> {
        Err(LowerError::dynamic("an extent is not known while the model runs"))
    }
}

/// The extent of one axis as an i32 scalar.
fn extent(b: &mut Builder<'_>, x: Value, axis: usize) -> LowerResult<Value> {
    let shape = Shape {}.build(b, x)?;
    let axis = b.int(axis as i64)?;
    Ok(Gather { axis: 0, batch_dims: 0, validate_indices: false }.build(b, shape, axis)?)
}

/// An extent as an i32 scalar.
///
/// # Errors
/// It has a symbol that no input tells.
pub fn scalar(cx: &mut Cx<'_>, dim: &Dim) -> LowerResult<Value> {
    dim.evaluate(&mut ToValue { cx })
}

/// Extents as an i32 vector: a constant where all are known.
///
/// # Errors
/// One has a symbol that no input tells.
pub fn vector(cx: &mut Cx<'_>, dims: &[Dim]) -> LowerResult<Value> {
    if let Some(known) = dims.iter().map(Dim::as_const).collect::<Option<Vec<_>>>() {
        return Ok(cx.b.ints(&known)?);
    }
    let mut parts = Vec::new();
    let mut run = Vec::new();
    for dim in dims {
        match dim.as_const() {
            Some(n) => run.push(n),
            None => {
                if !run.is_empty() {
                    parts.push(cx.b.ints(&run)?);
                    run.clear();
                }
                let one = scalar(cx, dim)?;
                parts.push(ExpandDims { axes: vec![0] }.build(&mut cx.b, one)?);
            }
        }
    }
    if !run.is_empty() {
        parts.push(cx.b.ints(&run)?);
    }
    match parts[..] {
        [one] => Ok(one),
        _ => Ok(Concat { axis: 0, interleave: false }.build(&mut cx.b, parts)?),
    }
}

/// Reshapes `x` to `to`. One symbolic extent is left for the op to compute, so that no shape
/// arithmetic is needed for it.
///
/// # Errors
/// The counts differ, or a symbol that no input tells is needed.
pub fn reshape(cx: &mut Cx<'_>, x: Value, to: &[Dim]) -> LowerResult<Value> {
    let from = cx.b.tensor(x)?.shape.clone();
    if from == to {
        return Ok(x);
    }
    let symbolic: Vec<usize> = (0..to.len()).filter(|&i| to[i].as_const().is_none()).collect();
    let computable = |hole: usize| {
        // −1 is computed from the count, so no other extent may be 0.
        to.iter().enumerate().all(|(i, d)| i == hole || d.as_const().is_none_or(|n| n > 0))
    };
    // Prefer to leave out the extent that is hardest to read.
    let hole = symbolic
        .iter()
        .copied()
        .filter(|&i| computable(i))
        .max_by_key(|&i| (to[i].as_symbol().is_none(), std::cmp::Reverse(i)));
    let mut wanted = to.to_vec();
    if let Some(hole) = hole {
        wanted[hole] = Dim::Const(-1);
    }
    let shape = vector(cx, &wanted)?;
    let y = Reshape {}.build(&mut cx.b, x, shape)?;
    cx.refine(y, to)?;
    Ok(y)
}

/// Repeats axes of extent 1 and adds axes in front, so that `x` has the extents `to`.
///
/// # Errors
/// An extent does not fit.
pub fn expand(cx: &mut Cx<'_>, x: Value, to: &[Dim]) -> LowerResult<Value> {
    let mut from = cx.b.tensor(x)?.shape.clone();
    if from == to {
        return Ok(x);
    }
    let mut y = x;
    if to.len() > from.len() {
        let axes: Vec<i64> = (0..(to.len() - from.len()) as i64).collect();
        y = ExpandDims { axes: axes.clone() }.build(&mut cx.b, y)?;
        from.splice(0..0, axes.iter().map(|_| Dim::Const(1)));
    }
    let mut reps = Vec::with_capacity(to.len());
    let mut open = false;
    for (have, want) in from.iter().zip(to) {
        reps.push(match (have, want) {
            (have, want) if have == want => Dim::Const(1),
            (Dim::Const(1), want) => want.clone(),
            (Dim::Const(have), Dim::Const(want)) => {
                return Err(LowerError::invalid(format!("extent {have} cannot become {want}")));
            }
            // Equal, or 1: the model runs in no other case, and the quotient is right in both.
            (have, want) => {
                open = true;
                want.floor_div(&have.maximum(&Dim::Const(1)))
            }
        });
    }
    if reps.iter().all(|r| r.is(1)) {
        return Ok(y);
    }
    let reps = vector(cx, &reps)?;
    let y = Tile {}.build(&mut cx.b, y, reps)?;
    if open { reshape(cx, y, to) } else { Ok(y) }
}

/// `x` without axes of extent 1.
///
/// # Errors
/// An axis is out of range.
pub fn squeeze(cx: &mut Cx<'_>, x: Value, axes: &[usize]) -> LowerResult<Value> {
    if axes.is_empty() {
        return Ok(x);
    }
    let axes = axes.iter().map(|&a| a as i64).collect();
    Ok(Squeeze { axes: Some(axes) }.build(&mut cx.b, x)?)
}

/// An integer scalar of the program as an extent: its known content, or a fresh symbol whose value
/// is read from it.
///
/// # Errors
/// The value is no integer scalar.
pub fn from_scalar(cx: &mut Cx<'_>, x: Value) -> LowerResult<Dim> {
    let ty = cx.b.tensor(x)?.clone();
    if !ty.dtype.is_int() || !ty.count().is(1) {
        return Err(LowerError::invalid(format!("{ty} is no integer scalar")));
    }
    if let Some([one]) = cx.b.content(x) {
        return Ok(one.clone());
    }
    if let Some(number) = evaluate::number(cx, x) {
        return Ok(Dim::Const(number as i64));
    }
    let x = cx.cast(x, DType::I32)?;
    let x = super::alias::reshape_static(&mut cx.b, x, &[])?;
    let dim = cx.b.program.symbols.fresh();
    if let Some(name) = dim.as_symbol() {
        cx.symbols.add(name, SymbolSource::Scalar(x));
    }
    Ok(dim)
}
