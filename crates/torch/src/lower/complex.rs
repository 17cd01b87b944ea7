//! Complex tensors, as pairs of reals.
//!
//! A complex tensor of torch is a real one here, with one more axis at the end for the real and the
//! imaginary part. Lowerings see the element type and the shape of torch; the pairs are given to those
//! alone that ask for them ([`Cx::pairs`], [`Cx::parts`]), and any other that reads one fails.

use mlc_ir::ops::Stack;
use mlc_ir::{Dim, Op, Value};
use mlc_tensor::{DType, DTypeKind};

use super::Cx;
use super::alias::{Owner, View, select};
use super::dims;
use super::error::{LowerError, LowerResult};
use super::value::{TensorId, Val};

/// The complex type whose parts are of a real one.
pub(super) fn complex_of(real: DType) -> DType {
    if real == DType::F64 { DType::C128 } else { DType::C64 }
}

/// The element type of the parts of a complex type; others are their own.
#[must_use]
pub fn real_of(dtype: DType) -> DType {
    match dtype {
        DType::C64 => DType::F32,
        DType::C128 => DType::F64,
        other => other,
    }
}

/// The refusal of a lowering that does not know complex numbers.
pub(super) fn refused() -> LowerError {
    LowerError::dtype("complex numbers have no lowering here")
        .help("write it with the real and imaginary parts, such as `torch.view_as_real(x)`")
}

impl Cx<'_> {
    /// A complex tensor with memory of its own, from pairs along a last axis.
    pub fn fresh_complex(&mut self, pairs: Value) -> Val {
        let tensor = self.memory.allocate(pairs, Owner::Local);
        self.memory.complex.insert(tensor);
        Val::Tensor(tensor)
    }

    /// Whether a tensor is complex.
    #[must_use]
    pub fn is_complex(&self, tensor: TensorId) -> bool {
        self.memory.complex.contains(&tensor)
    }

    /// Whether an argument is, holds or asks for complex numbers.
    pub(super) fn has_complex(&self, val: &Val) -> bool {
        match val {
            Val::Tensor(tensor) => self.is_complex(*tensor),
            Val::List(items) => items.iter().any(|item| self.has_complex(item)),
            Val::DType(dtype) => dtype.kind() == DTypeKind::Complex,
            Val::Complex(..) => true,
            _ => false,
        }
    }

    /// The same memory, as a complex tensor of pairs or as the pairs.
    ///
    /// # Errors
    /// A view cannot be derived.
    pub fn as_complex(&mut self, tensor: TensorId, complex: bool) -> LowerResult<TensorId> {
        let value = self.pairs(tensor)?;
        let place = self.memory.same_place(tensor, value);
        if complex {
            self.memory.complex.insert(place);
        }
        Ok(place)
    }

    /// The real and the imaginary part of a tensor; a real one has no imaginary part.
    ///
    /// # Errors
    /// A view cannot be derived.
    pub fn parts(&mut self, tensor: TensorId) -> LowerResult<(Value, Option<Value>)> {
        if !self.is_complex(tensor) {
            return Ok((self.read(tensor)?, None));
        }
        let pairs = self.pairs(tensor)?;
        let (re, im) = self.split_pairs(pairs)?;
        Ok((re, Some(im)))
    }

    /// The real and the imaginary parts of pairs.
    ///
    /// # Errors
    /// The last axis has no two elements.
    pub fn split_pairs(&mut self, pairs: Value) -> LowerResult<(Value, Value)> {
        let axis = self.b.tensor(pairs)?.rank().saturating_sub(1);
        if let Some((_, node)) = self.b.function().def(pairs)
            && matches!(&node.op, Op::Stack(stack) if stack.axis == axis as i64)
            && let &[re, im] = node.operands.all()
        {
            return Ok((re, im));
        }
        let re = select(self, pairs, axis, &Dim::Const(0))?;
        let im = select(self, pairs, axis, &Dim::Const(1))?;
        Ok((re, im))
    }

    /// Pairs of real and imaginary parts.
    ///
    /// # Errors
    /// The shapes differ.
    pub fn join_pairs(&mut self, re: Value, im: Value) -> LowerResult<Value> {
        let axis = self.b.tensor(re)?.rank() as i64;
        Ok(Stack { axis }.build(&mut self.b, vec![re, im])?)
    }

    /// A complex result with memory of its own, from its parts; for the end of a lowering.
    ///
    /// # Errors
    /// The shapes differ.
    pub fn one_complex(&mut self, re: Value, im: Value) -> LowerResult<Vec<Val>> {
        let pairs = self.join_pairs(re, im)?;
        Ok(vec![self.fresh_complex(pairs)])
    }

    /// Makes the pairs of one complex tensor the value of another.
    pub(super) fn store_complex(&mut self, target: TensorId, result: TensorId) -> LowerResult<Val> {
        let value = self.pairs(result)?;
        let shape = self.b.tensor(self.memory.latest(target))?.shape.clone();
        let value = dims::expand(self, value, &shape)?;
        self.write(target, value)?;
        Ok(Val::Tensor(target))
    }
}

/// The view of the pairs that is a view of a complex tensor.
pub(super) fn on_pairs(view: View) -> LowerResult<View> {
    let two = |mut dims: Vec<Dim>| {
        dims.push(Dim::Const(2));
        dims
    };
    Ok(match view {
        View::Reshape { from, to } => View::Reshape { from: two(from), to: two(to) },
        View::Expand { to } => View::Expand { to: two(to) },
        View::Permute(mut perm) => {
            perm.push(perm.len());
            View::Permute(perm)
        }
        View::Windows { .. } => return Err(refused()),
        same => same,
    })
}
