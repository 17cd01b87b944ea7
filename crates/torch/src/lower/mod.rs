//! Lowers ATen graphs to IR.
//!
//! Words: a *lowering* makes IR for one ATen op ([`registry::Lowering`]); a *call* is one op with its
//! arguments ([`call::Call`]); [`Cx`] is what a lowering works with.
//!
//! Ops that differ in spelling alone (in-place, copying, aliases) share one lowering, by rule.
//! Everything that cannot be lowered is reported in one run: a node that fails gives values of the
//! types the file declares, and lowering goes on.
//!
//! **Invariant:** the type of each result equals what the file declares; a lowering that says
//! otherwise is a fault and reported.

pub mod alias;
pub(crate) mod attempt;
pub mod call;
pub mod complex;
pub(crate) mod control;
pub mod dims;
pub mod error;
mod evaluate;
mod formula;
mod graph;
pub(crate) mod layout;
mod ops;
pub mod promote;
pub mod registry;
mod scans;
pub(crate) mod schema;
mod signature;
mod specialise;
mod state;
mod symbolic;
pub mod value;

use mlc_ir::builder::Builder;
use mlc_ir::ops::Cast;
use mlc_ir::{Dim, Op, Value};
use mlc_tensor::{DType, DTypeKind, Tensor};

use alias::{Memory, Owner};
use call::Call;
use dims::SymbolSources;
use error::{LowerError, LowerResult};
use registry::{Form, Registry};
use value::{Operand, Scalar, TensorId, Val};

pub use attempt::Lowered;
pub(crate) use graph::problem as graph_problem;
pub use ops::registry;
pub use signature::{lower, lower_with};
pub use state::{LowerOptions, StateMode};

/// The ops of the IR that lowerings make, an op a line; `cargo xtask coverage` writes it.
pub const MADE: &str = include_str!("made.txt");

/// What a lowering works with: the builder, the memory of tensors, and the other lowerings.
pub struct Cx<'p> {
    /// Appends ops.
    pub b: Builder<'p>,
    memory: Memory,
    symbols: SymbolSources,
    registry: &'p Registry,
    depth: u32,
    /// How often what is lowered now stands in the program because of unrolling.
    unrolled: i64,
    /// Whether what is lowered now stands under autocast.
    autocast: bool,
}

/// Lowerings may call others this deep.
const MAX_DEPTH: u32 = 64;

impl Cx<'_> {
    /// A tensor with memory of its own.
    pub fn fresh(&mut self, value: Value) -> Val {
        Val::Tensor(self.fresh_tensor(value))
    }

    /// A packed tensor with memory of its own.
    pub(super) fn allocate(&mut self, value: Value, owner: Owner) -> TensorId {
        let tensor = self.memory.allocate(value, owner);
        if let Ok(ty) = self.b.tensor(value) {
            let strides = layout::packed(&ty.shape);
            self.set_strides(tensor, strides);
        }
        tensor
    }

    /// As [`Cx::fresh`], by its id.
    pub(crate) fn fresh_tensor(&mut self, value: Value) -> TensorId {
        self.allocate(value, Owner::Local)
    }

    /// Makes the extents of a tensor readable while the program runs, where only it tells them.
    pub(crate) fn know_extents(&mut self, val: &Val) {
        match val {
            Val::Tensor(tensor) => {
                let value = self.memory.latest(*tensor);
                if let Ok(ty) = self.b.tensor(value)
                    && ty.static_shape().is_none()
                {
                    let shape = ty.shape.clone();
                    self.symbols.add_tensor(value, &shape);
                }
            }
            Val::List(items) => items.iter().for_each(|val| self.know_extents(val)),
            _ => {}
        }
    }

    /// The value that a tensor has, if it has no name yet.
    pub(crate) fn nameless(&self, tensor: TensorId) -> Option<Value> {
        let value = self.memory.latest(tensor);
        self.b.function().values[value].name.is_none().then_some(value)
    }

    /// The elements of a tensor, if they are known.
    ///
    /// # Errors
    /// None for tensors of a valid graph.
    pub(crate) fn known(&mut self, tensor: TensorId) -> LowerResult<Option<Tensor>> {
        if self.is_complex(tensor) {
            return Ok(None);
        }
        let value = self.read(tensor)?;
        if let Some(tensor) = self.b.constant_of(value) {
            return Ok(Some(tensor.clone()));
        }
        // Small integers are known to inference where they are no constants.
        let Some(content) = self.b.content(value) else { return Ok(None) };
        let known: Option<Vec<i64>> = content.iter().map(Dim::as_const).collect();
        let ty = self.b.tensor(value)?;
        match (known, ty.static_shape()) {
            (Some(known), Some(shape)) if ty.dtype.is_int() => {
                Ok(Some(Tensor::from_i64s(ty.dtype, &shape, &known)?))
            }
            _ => Ok(None),
        }
    }

    /// Names the value of a tensor, unless it has a name.
    pub(crate) fn suggest_name(&mut self, tensor: TensorId, name: &str) {
        let value = self.memory.latest(tensor);
        self.b.name(value, name);
    }

    /// Whether an op can be lowered for some arguments.
    pub(crate) fn covers(&self, op: &str) -> bool {
        self.registry.covers(op)
    }

    /// The refusal of an op without a lowering.
    pub(crate) fn unsupported_op(&self, op: &str) -> LowerError {
        let loc = mlc_diag::Loc::unknown();
        self.unsupported(&Call::new(op, "", [], &loc))
    }

    /// One result with memory of its own; for the end of a lowering.
    ///
    /// # Errors
    /// None; fits the shape of lowerings.
    pub fn one(&mut self, value: Value) -> LowerResult<Vec<Val>> {
        Ok(vec![self.fresh(value)])
    }

    /// The element type of a tensor.
    ///
    /// # Errors
    /// None for tensors of a valid graph.
    pub fn dtype(&self, tensor: TensorId) -> LowerResult<DType> {
        let dtype = alias::dtype_of(&self.b, self.memory.latest(tensor))?;
        Ok(if self.is_complex(tensor) { complex::complex_of(dtype) } else { dtype })
    }

    /// The extents of a tensor.
    ///
    /// # Errors
    /// None for tensors of a valid graph.
    pub fn shape(&self, tensor: TensorId) -> LowerResult<Vec<Dim>> {
        let mut shape = self.b.tensor(self.memory.latest(tensor))?.shape.clone();
        if self.is_complex(tensor) {
            shape.pop();
        }
        Ok(shape)
    }

    /// The number of axes of a tensor.
    ///
    /// # Errors
    /// None for tensors of a valid graph.
    pub fn rank(&self, tensor: TensorId) -> LowerResult<usize> {
        Ok(self.shape(tensor)?.len())
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
                format!("lowering gives {ty}, the file declares {want}"),
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

    /// Gives an extent that inference could not tell the name that the file has for it, wherever it
    /// occurs.
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
        let from = alias::dtype_of(&self.b, x)?;
        if from == dtype {
            return Ok(x);
        }
        if from.kind() == DTypeKind::Complex || dtype.kind() == DTypeKind::Complex {
            return Err(LowerError::dtype(format!("{from} cannot be converted to {dtype}")));
        }
        Ok(Cast { dtype }.build(&mut self.b, x)?)
    }

    /// The value of a tensor, converted to `dtype`.
    ///
    /// # Errors
    /// There is no such conversion.
    pub fn read_as(&mut self, tensor: TensorId, dtype: DType) -> LowerResult<Value> {
        let x = self.read(tensor)?;
        self.cast(x, dtype)
    }

    /// A Python number as a scalar of `dtype`.
    ///
    /// # Errors
    /// A symbol that no input tells.
    pub fn number(&mut self, scalar: &Scalar, dtype: DType) -> LowerResult<Value> {
        match scalar.as_f64() {
            Some(_)
                if let Scalar::Int(dim) = scalar
                    && let Some(n) = dim.as_const()
                    && dtype.is_int() =>
            {
                let tensor = mlc_tensor::Tensor::from_i64s(dtype, &[], &[n])?;
                Ok(self.b.constant(tensor)?)
            }
            Some(x) => Ok(self.b.scalar(dtype, x)?),
            None => {
                let value = match scalar {
                    Scalar::Int(dim) => dims::scalar(self, dim)?,
                    Scalar::Symbolic(expr) => self.float_of(expr)?,
                    _ => return Err(LowerError::dynamic("a number is not known")),
                };
                self.cast(value, dtype)
            }
        }
    }

    /// An operand as a value of `dtype`.
    ///
    /// # Errors
    /// There is no such conversion, or a symbol that no input tells.
    pub fn operand(&mut self, operand: &Operand, dtype: DType) -> LowerResult<Value> {
        match operand {
            Operand::Tensor(tensor) => self.read_as(*tensor, dtype),
            Operand::Scalar(scalar) => self.number(scalar, dtype),
        }
    }

    /// The element type that operands are promoted to.
    ///
    /// # Errors
    /// None for tensors of a valid graph.
    pub fn promoted(&self, operands: &[&Operand]) -> LowerResult<DType> {
        let classes = operands
            .iter()
            .map(|operand| {
                Ok(match operand {
                    Operand::Scalar(scalar) => promote::Class::of_scalar(scalar),
                    Operand::Tensor(tensor) => match (self.dtype(*tensor)?, self.rank(*tensor)?) {
                        (dtype, 0) => promote::Class::ZeroDim(dtype),
                        (dtype, _) => promote::Class::Tensor(dtype),
                    },
                })
            })
            .collect::<LowerResult<Vec<_>>>()?;
        Ok(promote::promote(&classes))
    }

    /// Reshapes a value; see [`dims::reshape`].
    ///
    /// # Errors
    /// The counts differ, or a symbol that no input tells.
    pub fn reshape(&mut self, x: Value, to: &[Dim]) -> LowerResult<Value> {
        dims::reshape(self, x, to)
    }

    /// Appends an op that takes and gives one value.
    ///
    /// # Errors
    /// What inference finds wrong.
    pub fn unary(&mut self, op: impl Into<Op>, x: Value) -> LowerResult<Value> {
        let mut operands = mlc_ir::Operands::new();
        operands.push_slot([x]);
        let node = self.b.push(op.into(), operands, Vec::new())?;
        self.result(node)
    }

    /// Appends an op that takes two values and gives one.
    ///
    /// # Errors
    /// What inference finds wrong.
    pub fn binary(&mut self, op: impl Into<Op>, x: Value, y: Value) -> LowerResult<Value> {
        let mut operands = mlc_ir::Operands::new();
        operands.push_slot([x]);
        operands.push_slot([y]);
        let node = self.b.push(op.into(), operands, Vec::new())?;
        self.result(node)
    }

    fn result(&self, node: mlc_ir::Node) -> LowerResult<Value> {
        self.b.results(node).first().copied().ok_or_else(|| LowerError::invalid("no result"))
    }

    /// Lowers another op: how a lowering is written in terms of others.
    ///
    /// # Errors
    /// What that lowering gives.
    pub fn call(&mut self, op: &str, args: &[(&str, Val)]) -> LowerResult<Vec<Val>> {
        let loc = mlc_diag::Loc::unknown();
        let args = args.iter().map(|(name, val)| ((*name).to_owned(), val.clone()));
        self.lower_call(&Call::new(op, "default", args, &loc))
    }

    /// The first result of [`Cx::call`], as a tensor.
    ///
    /// # Errors
    /// What that lowering gives.
    pub fn call_tensor(&mut self, op: &str, args: &[(&str, Val)]) -> LowerResult<TensorId> {
        match self.call(op, args)?.first() {
            Some(Val::Tensor(tensor)) => Ok(*tensor),
            _ => Err(LowerError::invalid(format!("`{op}` gives no tensor"))),
        }
    }

    /// Lowers a call by the table, and checks that every argument was read.
    ///
    /// # Errors
    /// No lowering, or what it gives, or an argument that nobody read.
    pub fn lower_call(&mut self, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        let complex = call.values().any(|val| self.has_complex(val));
        let Some((lower, form)) = self.registry.find(&call.op, complex) else {
            return Err(self.unsupported(call));
        };
        if self.depth >= MAX_DEPTH {
            return Err(LowerError::invalid(format!(
                "calls of `{}` are nested too deeply",
                call.op
            )));
        }
        self.depth += 1;
        let first = self.memory.bases();
        let outputs = lower.lower(self, call);
        self.depth -= 1;
        let mut outputs = outputs?;
        self.forget_layout((&call.op, &outputs), call.values(), first);
        if form == Form::InPlace {
            outputs = vec![self.in_place(call, &outputs)?];
        } else if form == Form::Copy {
            outputs = outputs.iter().map(|val| self.copied(val)).collect::<LowerResult<_>>()?;
        } else if call.has("out") {
            let target = call.tensor("out")?;
            outputs = vec![self.store(target, &outputs)?];
        }
        let unread = call.unread();
        if !unread.is_empty() {
            let names = unread.join("`, `");
            return Err(LowerError::new(
                mlc_diag::codes::UNREAD_ARGUMENT,
                format!("argument `{names}` is not honoured by the lowering"),
            ));
        }
        Ok(outputs)
    }

    /// Tensors with memory of their own.
    fn copied(&mut self, val: &Val) -> LowerResult<Val> {
        match val {
            Val::Tensor(tensor) => {
                let value = self.pairs(*tensor)?;
                if self.is_complex(*tensor) {
                    return Ok(self.fresh_complex(value));
                }
                Ok(self.fresh(value))
            }
            Val::List(items) => {
                Ok(Val::List(items.iter().map(|val| self.copied(val)).collect::<LowerResult<_>>()?))
            }
            val => Ok(val.clone()),
        }
    }

    fn in_place(&mut self, call: &Call<'_>, outputs: &[Val]) -> LowerResult<Val> {
        let target = match call.get("self") {
            Some(Val::Tensor(tensor)) => *tensor,
            _ => call.tensor("input")?,
        };
        self.store(target, outputs)
    }

    fn store(&mut self, target: TensorId, outputs: &[Val]) -> LowerResult<Val> {
        let Some(Val::Tensor(result)) = outputs.first() else {
            return Err(LowerError::invalid("an in-place op without a result"));
        };
        if *result == target {
            return Ok(Val::Tensor(target));
        }
        if self.is_complex(target) && self.is_complex(*result) {
            return self.store_complex(target, *result);
        }
        let value = self.read_as(*result, self.dtype(target)?)?;
        let shape = self.shape(target)?;
        let value = dims::expand(self, value, &shape)?;
        self.write(target, value)?;
        Ok(Val::Tensor(target))
    }

    fn unsupported(&self, call: &Call<'_>) -> LowerError {
        if let Some(refusal) = self.registry.refusal(&call.op) {
            let message = format!("`{}` cannot be lowered: {}", call.op, refusal.why);
            return LowerError::new(mlc_diag::codes::UNSUPPORTED_OP, message).help(refusal.help);
        }
        let error = LowerError::new(
            mlc_diag::codes::UNSUPPORTED_OP,
            match call.overload.as_str() {
                "" => format!("`{}` has no lowering", call.op),
                overload => format!("`{}.{overload}` has no lowering", call.op),
            },
        );
        if !call.op.starts_with("aten.") {
            return error.help(format!(
                "write what it computes in text IR and give the file with `--lowering`: {}",
                call.template()
            ));
        }
        let near = mlc_diag::nearest(&call.op, self.registry.names());
        if near.is_empty() {
            error.help("run `mlc ops --from torch` for the list of supported ops")
        } else {
            error.help(format!("the nearest supported ops are `{}`", near.join("`, `")))
        }
    }
}
