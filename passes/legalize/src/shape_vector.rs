//! Vectors of extents that only running the program tells.

use std::collections::BTreeMap;

use mlc_ir::ops::{Add, Concat, ExpandDims, FloorDiv, Gather, Maximum, Minimum, Mod, Mul, Shape};
use mlc_ir::{Algebra, Builder, Dim, DimOp, OpError, OpResult, Value};

/// The extents `dims` as a vector of i32, made from the extents of the function's inputs.
///
/// # Errors
/// No input has an extent that one of them depends on.
pub(crate) fn shape_vector(b: &mut Builder<'_>, dims: &[Dim]) -> OpResult<Value> {
    let function = b.function();
    let mut sources = BTreeMap::new();
    for &arg in &function.regions[function.body].args {
        let Some(ty) = function.ty(arg).as_tensor() else { continue };
        for (axis, dim) in ty.shape.iter().enumerate() {
            if let Some(symbol) = dim.as_symbol() {
                sources.entry(symbol.to_owned()).or_insert((arg, axis));
            }
        }
    }
    let mut parts = Vec::with_capacity(dims.len());
    for dim in dims {
        parts.push(match dim.as_const() {
            Some(n) => b.ints(&[n])?,
            None => {
                let scalar = dim.evaluate(&mut Extents { b, sources: &sources })?;
                ExpandDims { axes: vec![0] }.build(b, scalar)?
            }
        });
    }
    Concat { axis: 0, interleave: false }.build(b, parts)
}

struct Extents<'a, 'p> {
    b: &'a mut Builder<'p>,
    sources: &'a BTreeMap<String, (Value, usize)>,
}

impl Algebra for Extents<'_, '_> {
    type Value = Value;
    type Error = OpError;

    fn constant(&mut self, n: i64) -> OpResult<Value> {
        self.b.int(n)
    }

    fn symbol(&mut self, name: &str) -> OpResult<Value> {
        let &(value, axis) = self
            .sources
            .get(name)
            .ok_or_else(|| OpError::shape(format!("`{name}` is the extent of no input")))?;
        let shape = Shape {}.build(self.b, value)?;
        let axis = self.b.int(axis as i64)?;
        Gather { axis: 0, batch_dims: 0, validate_indices: false }.build(self.b, shape, axis)
    }

    fn apply(&mut self, op: DimOp, x: Value, y: Value) -> OpResult<Value> {
        match op {
            DimOp::Add => Add {}.build(self.b, x, y),
            DimOp::Mul => Mul {}.build(self.b, x, y),
            DimOp::FloorDiv => FloorDiv {}.build(self.b, x, y),
            DimOp::Mod => Mod {}.build(self.b, x, y),
            DimOp::Max => Maximum {}.build(self.b, x, y),
            DimOp::Min => Minimum {}.build(self.b, x, y),
        }
    }

    fn unknown(&mut self) -> OpResult<Value> {
        Err(OpError::shape("an extent is not known while the model runs"))
    }
}
