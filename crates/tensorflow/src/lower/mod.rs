//! Lowers graphs to IR.
//!
//! Words: a *lowering* makes IR for one op ([`registry::Lowering`]); a *call* is one node with its
//! inputs ([`call::Call`]); [`Cx`] is what a lowering works with.
//!
//! Functions are inlined where they are called. Everything that cannot be lowered is reported in one
//! run: what depends on a node that fails is passed over.

pub mod call;
mod control;
pub mod dims;
pub mod error;
mod fold;
mod functionalize;
mod graph;
pub mod list;
mod ops;
pub mod registry;
mod signature;
mod state;
pub mod value;

use mlc_diag::Diagnostics;
use mlc_ir::builder::Builder;
use mlc_ir::ops::{Cast, ExpandDims, Select, Squeeze, Transpose};
use mlc_ir::{Dim, Op, Value};
use mlc_tensor::{DType, DTypeKind, Tensor};

use dims::SymbolSources;
use error::{LowerError, LowerResult};
use registry::Registry;
use value::Val;

use crate::model::Model;

pub use graph::covered;
pub use ops::registry;
pub use signature::{Lowered, lower, lower_with};
pub use state::{LowerOptions, StateMode};

/// The ops of the IR that lowerings make, an op a line; `cargo xtask coverage` writes it.
pub const MADE: &str = include_str!("made.txt");

/// What a lowering works with: the builder, the values of variables, and the other lowerings.
pub struct Cx<'p> {
    /// Appends ops.
    pub b: Builder<'p>,
    symbols: SymbolSources,
    registry: &'p Registry,
    model: &'p Model,
    variables: state::Current,
    /// Functions that are being inlined.
    calls: Vec<String>,
    /// Where the graph that is lowered now is called.
    path: String,
    found: Diagnostics,
}

impl Cx<'_> {
    /// One result; for the end of a lowering.
    ///
    /// # Errors
    /// None; fits the shape of lowerings.
    pub fn one(&mut self, value: Value) -> LowerResult<Vec<Val>> {
        Ok(vec![Val::Tensor(value)])
    }

    /// The element type of a tensor.
    ///
    /// # Errors
    /// It is no tensor.
    pub fn dtype(&self, x: Value) -> LowerResult<DType> {
        Ok(self.b.tensor(x)?.dtype)
    }

    /// The extents of a tensor.
    ///
    /// # Errors
    /// It is no tensor.
    pub fn shape(&self, x: Value) -> LowerResult<Vec<Dim>> {
        Ok(self.b.tensor(x)?.shape.clone())
    }

    /// The number of axes of a tensor.
    ///
    /// # Errors
    /// It is no tensor.
    pub fn rank(&self, x: Value) -> LowerResult<usize> {
        Ok(self.b.tensor(x)?.rank())
    }

    /// The value of a small tensor, where it is known.
    #[must_use]
    pub fn known(&self, x: Value) -> Option<Tensor> {
        if let Some(tensor) = self.b.constant_of(x) {
            return Some(tensor.clone());
        }
        let ty = self.b.tensor(x).ok()?;
        let shape = ty.static_shape()?;
        let content = self.b.content(x)?;
        let values: Vec<i64> = content.iter().map(Dim::as_const).collect::<Option<_>>()?;
        Tensor::from_i64s(ty.dtype, &shape, &values).ok()
    }

    /// The elements of an integer tensor, where they are known.
    #[must_use]
    pub fn ints(&self, x: Value) -> Option<Vec<i64>> {
        let tensor = self.known(x)?;
        let small = tensor.count() <= 1 << 16;
        (small && !tensor.dtype().is_float()).then(|| tensor.to_i64s().ok()).flatten()
    }

    /// The elements of an integer tensor that must be known; `what` says which in messages.
    ///
    /// # Errors
    /// They are not known.
    pub fn need_ints(&self, x: Value, what: &str) -> LowerResult<Vec<i64>> {
        self.ints(x).ok_or_else(|| {
            LowerError::dynamic(format!("`{what}` is not known at compile time"))
                .help("make it a constant of the graph, or fix the shapes it is computed from")
        })
    }

    /// An integer that must be known.
    ///
    /// # Errors
    /// It is not known, or not one.
    pub fn need_int(&self, x: Value, what: &str) -> LowerResult<i64> {
        match self.need_ints(x, what)?[..] {
            [one] => Ok(one),
            ref all => {
                Err(LowerError::invalid(format!("`{what}` has {} elements, not one", all.len())))
            }
        }
    }

    /// The elements of a tensor of numbers, where they are known and not many.
    #[must_use]
    pub fn floats(&self, x: Value) -> Option<Vec<f64>> {
        let tensor = self.known(x)?;
        (tensor.count() <= 1 << 16).then(|| tensor.to_f64s().ok()).flatten()
    }

    /// A number that must be known.
    ///
    /// # Errors
    /// It is not known, or not one.
    pub fn need_float(&self, x: Value, what: &str) -> LowerResult<f64> {
        match self.floats(x).as_deref() {
            Some([one]) => Ok(*one),
            _ => Err(LowerError::dynamic(format!("`{what}` is no number known at compile time"))),
        }
    }

    /// The elements of an integer vector as extents: those that are known, fresh symbols for the
    /// others.
    ///
    /// # Errors
    /// It is no vector of integers of known length.
    pub fn extents(&mut self, x: Value, what: &str) -> LowerResult<Vec<Dim>> {
        if let Some(content) = self.b.content(x) {
            return Ok(content.to_vec());
        }
        if let Some(all) = self.ints(x) {
            return Ok(all.into_iter().map(Dim::Const).collect());
        }
        let ty = self.b.tensor(x)?.clone();
        let count = match &ty.shape[..] {
            [count] if ty.dtype.is_int() => count.as_const(),
            _ => None,
        };
        let count = count.filter(|n| (0..=64).contains(n)).ok_or_else(|| {
            LowerError::dynamic(format!("`{what}` is {ty}, a vector of known length is needed"))
        })?;
        let mut all = Vec::new();
        for i in 0..count {
            let at = self.b.int(i)?;
            let one = mlc_ir::ops::Gather { axis: 0, batch_dims: 0, validate_indices: false };
            let one = one.build(&mut self.b, x, at)?;
            all.push(dims::from_scalar(self, one)?);
        }
        Ok(all)
    }

    /// Declares the extents of a value where inference could not tell them.
    ///
    /// # Errors
    /// An extent that inference knows is another.
    pub fn refine(&mut self, value: Value, dims: &[Dim]) -> LowerResult<()> {
        let ty = self.b.tensor(value)?;
        if ty.shape == dims {
            return Ok(());
        }
        let contradiction = ty.rank() != dims.len()
            || ty.shape.iter().zip(dims).any(|(a, b)| !mlc_ir::infer::may_equal(a, b));
        if contradiction {
            let want = mlc_ir::infer::shape_text(dims);
            return Err(LowerError::new(
                mlc_diag::codes::SHAPE_MISMATCH,
                format!("lowering gives {ty}, {want} is declared"),
            ));
        }
        let symbols = &self.b.program.symbols;
        let mut told = Vec::new();
        for (have, want) in ty.shape.iter().zip(dims) {
            let Some(name) = have.as_symbol().filter(|name| symbols.is_fresh(name)) else {
                continue;
            };
            let mut known = *want != Dim::Unknown;
            want.for_each_symbol(&mut |other| known &= other != name);
            if known {
                told.push((name.to_owned(), want.clone()));
            }
        }
        for (name, want) in told {
            self.replace_symbol(&name, &want);
        }
        Ok(())
    }

    /// Replaces an extent that inference could not tell wherever it occurs.
    fn replace_symbol(&mut self, name: &str, by: &Dim) {
        let at = |symbol: &str| (symbol == name).then(|| by.clone());
        let function = self.b.function_mut();
        let values: Vec<Value> = function.values.iter().map(|(value, _)| value).collect();
        for value in values {
            let value = &mut function.values[value];
            value.ty = value.ty.map_dims(&mut |dim| dim.substitute(&at));
            if let Some(content) = &mut value.content {
                *content = content.iter().map(|dim| dim.substitute(&at)).collect();
            }
        }
        if let Some(symbol) = by.as_symbol() {
            self.symbols.same(symbol, name);
        }
    }

    /// `x` converted to `dtype`.
    ///
    /// # Errors
    /// There is no such conversion.
    pub fn cast(&mut self, x: Value, dtype: DType) -> LowerResult<Value> {
        let from = self.dtype(x)?;
        if from == dtype {
            return Ok(x);
        }
        if from.kind() == DTypeKind::Complex || dtype.kind() == DTypeKind::Complex {
            return Err(LowerError::dtype(format!("{from} cannot be converted to {dtype}")));
        }
        self.unary(Cast { dtype }, x)
    }

    /// A constant scalar of the element type of `like`.
    ///
    /// # Errors
    /// The number cannot be of that type.
    pub fn scalar_like(&mut self, like: Value, x: f64) -> LowerResult<Value> {
        let dtype = self.dtype(like)?;
        self.number(dtype, x)
    }

    /// A constant scalar.
    ///
    /// # Errors
    /// The number cannot be of that type.
    pub fn number(&mut self, dtype: DType, x: f64) -> LowerResult<Value> {
        Ok(self.b.scalar(dtype, x)?)
    }

    /// A constant scalar integer of any width.
    ///
    /// # Errors
    /// The number cannot be of that type.
    pub fn integer(&mut self, dtype: DType, x: i64) -> LowerResult<Value> {
        Ok(self.b.constant(Tensor::from_i64s(dtype, &[], &[x])?)?)
    }

    /// Appends an op that takes and gives one value; computes it of a small constant.
    ///
    /// # Errors
    /// What inference finds wrong.
    pub fn unary(&mut self, op: impl Into<Op>, x: Value) -> LowerResult<Value> {
        let op = op.into();
        if let Some(tensor) = self.known(x)
            && let Some(folded) = fold::unary(&op, &tensor)
        {
            return Ok(self.b.constant(folded)?);
        }
        let mut operands = mlc_ir::Operands::new();
        operands.push_slot([x]);
        let node = self.b.push(op, operands, Vec::new())?;
        self.result(node)
    }

    /// Appends an op that takes two values and gives one; computes it of small constants.
    ///
    /// # Errors
    /// What inference finds wrong.
    pub fn binary(&mut self, op: impl Into<Op>, x: Value, y: Value) -> LowerResult<Value> {
        let op = op.into();
        if let (Some(a), Some(b)) = (self.known(x), self.known(y))
            && let Some(folded) = fold::binary(&op, &a, &b)
        {
            return Ok(self.b.constant(folded)?);
        }
        let mut operands = mlc_ir::Operands::new();
        operands.push_slot([x]);
        operands.push_slot([y]);
        let node = self.b.push(op, operands, Vec::new())?;
        self.result(node)
    }

    fn result(&self, node: mlc_ir::Node) -> LowerResult<Value> {
        self.b.results(node).first().copied().ok_or_else(|| LowerError::invalid("no result"))
    }

    /// `cond ? a : b`
    ///
    /// # Errors
    /// What inference finds wrong.
    pub fn select(&mut self, cond: Value, a: Value, b: Value) -> LowerResult<Value> {
        if let (Some(cond), Some(a), Some(b)) = (self.known(cond), self.known(a), self.known(b))
            && let Some(folded) = fold::select(&cond, &a, &b)
        {
            return Ok(self.b.constant(folded)?);
        }
        Ok(Select {}.build(&mut self.b, cond, a, b)?)
    }

    /// The axes of `x` in the order `perm`; of a constant, a constant.
    ///
    /// # Errors
    /// `perm` is no permutation of the axes.
    pub fn transpose(&mut self, x: Value, perm: &[usize]) -> LowerResult<Value> {
        if perm.iter().copied().eq(0..perm.len()) && self.rank(x)? == perm.len() {
            return Ok(x);
        }
        if let Some(tensor) = self.b.constant_of(x) {
            let tensor = tensor.transpose(perm)?;
            return Ok(self.b.constant(tensor)?);
        }
        let perm = perm.iter().map(|&axis| axis as i64).collect();
        Ok(Transpose { perm }.build(&mut self.b, x)?)
    }

    /// Reshapes a value; see [`dims::reshape`].
    ///
    /// # Errors
    /// The counts differ, or a symbol that nothing tells.
    pub fn reshape(&mut self, x: Value, to: &[Dim]) -> LowerResult<Value> {
        dims::reshape(self, x, to)
    }

    /// Adds axes of extent 1 at these positions of the result.
    ///
    /// # Errors
    /// A position is out of range.
    pub fn expand_dims(&mut self, x: Value, axes: &[i64]) -> LowerResult<Value> {
        if axes.is_empty() {
            return Ok(x);
        }
        if self.b.constant_of(x).is_some() {
            let mut shape = self.shape(x)?;
            for axis in mlc_ir::infer::normalize_axes(axes, shape.len() + axes.len())? {
                shape.insert(axis, Dim::Const(1));
            }
            return self.reshape(x, &shape);
        }
        Ok(ExpandDims { axes: axes.to_vec() }.build(&mut self.b, x)?)
    }

    /// Removes these axes, whose extent is 1 or turns out to be.
    ///
    /// # Errors
    /// An extent is known to be another.
    pub fn squeeze(&mut self, x: Value, axes: &[usize]) -> LowerResult<Value> {
        if axes.is_empty() {
            return Ok(x);
        }
        let shape = self.shape(x)?;
        if let Some(&axis) = axes
            .iter()
            .find(|&&a| shape.get(a).is_none_or(|d| d.as_const().is_some_and(|n| n != 1)))
        {
            return Err(LowerError::invalid(format!(
                "axis {axis} of {} has another extent than 1",
                self.b.tensor(x)?
            )));
        }
        let kept: Vec<Dim> = (0..shape.len())
            .filter(|axis| !axes.contains(axis))
            .map(|axis| shape[axis].clone())
            .collect();
        let sure = axes.iter().all(|&axis| shape[axis].is(1));
        if !sure || self.b.constant_of(x).is_some() {
            return self.reshape(x, &kept);
        }
        let axes = axes.iter().map(|&a| a as i64).collect();
        Ok(Squeeze { axes: Some(axes) }.build(&mut self.b, x)?)
    }

    /// The shape of a value as an i32 vector.
    ///
    /// # Errors
    /// It is no tensor.
    pub fn shape_value(&mut self, x: Value) -> LowerResult<Value> {
        let shape = self.shape(x)?;
        if shape.iter().all(|dim| dim.as_const().is_some()) {
            return dims::vector(self, &shape);
        }
        Ok(mlc_ir::ops::Shape {}.build(&mut self.b, x)?)
    }

    /// A tensor of `shape` with one number everywhere.
    ///
    /// # Errors
    /// A symbol that nothing tells.
    pub fn filled(&mut self, shape: &[Dim], value: Value) -> LowerResult<Value> {
        let known: Option<Vec<u64>> =
            shape.iter().map(|d| d.as_const().and_then(|n| u64::try_from(n).ok())).collect();
        if let (Some(extents), Some(tensor)) = (known, self.b.constant_of(value))
            && tensor.dtype().size().is_some()
        {
            let tensor = Tensor::splat(tensor.dtype(), &extents, &tensor.bytes()?)?;
            return Ok(self.b.constant(tensor)?);
        }
        let shape = dims::vector(self, shape)?;
        Ok(mlc_ir::ops::Fill {}.build(&mut self.b, shape, Some(value))?)
    }
}
