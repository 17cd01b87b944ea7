//! The arguments of one op, and which of them were read.

use std::cell::Cell;

use mlc_diag::Loc;
use mlc_ir::Dim;
use mlc_tensor::DType;

use super::error::{LowerError, LowerResult};
use super::value::{Operand, Scalar, TensorId, Val};

/// A call of an ATen op. Every argument must be read: what a lowering does not look at is an error
/// (`unread-argument`), so that no argument is ignored by accident.
#[derive(Debug)]
pub struct Call<'a> {
    /// `namespace.op`, such as `aten.conv2d`.
    pub op: String,
    /// The overload, such as `default`.
    pub overload: String,
    /// How many values the graph takes from it.
    pub outputs: usize,
    /// The extents that the file declares for the first result, if that is a tensor; unknown where it
    /// has no expression for them.
    pub declared: Option<Vec<Dim>>,
    /// Origin.
    pub loc: &'a Loc,
    args: Vec<(String, Val, Cell<bool>)>,
}

impl<'a> Call<'a> {
    /// A call with named arguments; those equal to their default may be left out.
    pub fn new(
        op: impl Into<String>,
        overload: impl Into<String>,
        args: impl IntoIterator<Item = (String, Val)>,
        loc: &'a Loc,
    ) -> Self {
        let args = args.into_iter().map(|(name, val)| (name, val, Cell::new(false))).collect();
        Self { op: op.into(), overload: overload.into(), outputs: 1, declared: None, loc, args }
    }

    /// The argument of that name, unless it was left out or is `None`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Val> {
        let (_, val, read) = self.args.iter().find(|arg| arg.0 == name)?;
        read.set(true);
        (*val != Val::None).then_some(val)
    }

    /// Argument number `index`, whatever its name; for higher-order ops.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<&Val> {
        let (_, val, read) = self.args.get(index)?;
        read.set(true);
        Some(val)
    }

    /// Whether an argument was given and is not `None`. A `None` is thereby read; anything else is
    /// not.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.args.iter().filter(|arg| arg.0 == name).any(|(_, val, read)| {
            if *val == Val::None {
                read.set(true);
            }
            *val != Val::None
        })
    }

    /// Marks arguments as read that cannot change the result (device, pinning, memory layout).
    pub fn ignore(&self, names: &[&str]) {
        for (name, _, read) in &self.args {
            if names.contains(&name.as_str()) {
                read.set(true);
            }
        }
    }

    /// The names of arguments that nobody read.
    #[must_use]
    pub fn unread(&self) -> Vec<&str> {
        self.args.iter().filter(|arg| !arg.2.get()).map(|arg| arg.0.as_str()).collect()
    }

    /// The head of a function of text IR that could lower it, with its arguments as parameters.
    #[must_use]
    pub fn template(&self) -> String {
        let given = self.args.iter().enumerate().filter(|(_, (_, val, _))| *val != Val::None);
        let params = given.map(|(at, (name, val, _))| {
            let name = if name.is_empty() { format!("arg{at}") } else { name.clone() };
            let list = |items: &[Val]| match items.first() {
                Some(Val::Tensor(_)) => "tensors",
                Some(Val::Float(_)) => "floats",
                Some(Val::Bool(_)) => "bools",
                _ => "ints",
            };
            let ty = match val {
                Val::Int(_) => "int",
                Val::Float(_) => "float",
                Val::Bool(_) | Val::Relation(_) => "bool",
                Val::Str(_) | Val::Opaque(_) | Val::Device(_) | Val::MemoryFormat(_) => "str",
                Val::DType(_) => "dtype",
                Val::List(items) => list(items),
                _ => "tensor",
            };
            format!("%{name}: {ty}")
        });
        let params: Vec<String> = params.collect();
        let name = self.op.replacen('.', "::", 1);
        format!("func @\"{name}\"({}) {{ … }}", params.join(", "))
    }

    /// The values of all arguments; marks none as read.
    pub(super) fn values(&self) -> impl Iterator<Item = &Val> {
        self.args.iter().map(|(_, val, _)| val)
    }

    /// All arguments, with their names; marks them as read.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Val)> {
        self.args.iter().map(|(name, val, read)| {
            read.set(true);
            (name.as_str(), val)
        })
    }

    fn need(&self, name: &str) -> LowerResult<&Val> {
        self.get(name).ok_or_else(|| LowerError::invalid(format!("argument `{name}` is missing")))
    }

    fn wrong(name: &str, val: &Val, want: &str) -> LowerError {
        LowerError::invalid(format!("argument `{name}` is {}, {want} is needed", val.kind()))
    }

    /// A tensor.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn tensor(&self, name: &str) -> LowerResult<TensorId> {
        match self.need(name)? {
            Val::Tensor(id) => Ok(*id),
            val => Err(Self::wrong(name, val, "a tensor")),
        }
    }

    /// A tensor, or nothing.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_tensor(&self, name: &str) -> LowerResult<Option<TensorId>> {
        self.get(name).map(|_| self.tensor(name)).transpose()
    }

    /// A list of tensors.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn tensors(&self, name: &str) -> LowerResult<Vec<TensorId>> {
        self.opt_tensors(name)?
            .into_iter()
            .map(|t| t.ok_or_else(|| LowerError::invalid(format!("`{name}` holds None"))))
            .collect()
    }

    /// A list of tensors or `None`s.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn opt_tensors(&self, name: &str) -> LowerResult<Vec<Option<TensorId>>> {
        let val = self.need(name)?;
        let Val::List(items) = val else { return Err(Self::wrong(name, val, "a list of tensors")) };
        items
            .iter()
            .map(|item| match item {
                Val::Tensor(id) => Ok(Some(*id)),
                Val::None => Ok(None),
                item => Err(Self::wrong(name, item, "a tensor")),
            })
            .collect()
    }

    /// An integer, or nothing.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_dim(&self, name: &str) -> LowerResult<Option<Dim>> {
        match self.get(name) {
            None => Ok(None),
            Some(Val::Int(dim)) => Ok(Some(dim.clone())),
            Some(Val::Bool(b)) => Ok(Some(Dim::Const(i64::from(*b)))),
            Some(val) => Err(Self::wrong(name, val, "an int")),
        }
    }

    /// An integer.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn dim(&self, name: &str) -> LowerResult<Dim> {
        self.need(name)?;
        self.opt_dim(name)?.ok_or_else(|| LowerError::invalid(format!("`{name}` is missing")))
    }

    /// An integer that must be known, or nothing.
    ///
    /// # Errors
    /// It is symbolic or something else.
    pub fn opt_int(&self, name: &str) -> LowerResult<Option<i64>> {
        self.opt_dim(name)?.map(|dim| known(name, &dim)).transpose()
    }

    /// An integer that must be known.
    ///
    /// # Errors
    /// It is missing, symbolic or something else.
    pub fn int(&self, name: &str) -> LowerResult<i64> {
        known(name, &self.dim(name)?)
    }

    /// An integer that must be known, with its default.
    ///
    /// # Errors
    /// It is symbolic or something else.
    pub fn int_or(&self, name: &str, default: i64) -> LowerResult<i64> {
        Ok(self.opt_int(name)?.unwrap_or(default))
    }

    /// A list of integers, or nothing. A single integer is a list of one.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_dims(&self, name: &str) -> LowerResult<Option<Vec<Dim>>> {
        let Some(val) = self.get(name) else { return Ok(None) };
        let items = match val {
            Val::List(items) => items.as_slice(),
            val => std::slice::from_ref(val),
        };
        items
            .iter()
            .map(|item| match item {
                Val::Int(dim) => Ok(dim.clone()),
                item => Err(Self::wrong(name, item, "an int")),
            })
            .collect::<LowerResult<Vec<_>>>()
            .map(Some)
    }

    /// A list of integers.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn dims(&self, name: &str) -> LowerResult<Vec<Dim>> {
        self.need(name)?;
        Ok(self.opt_dims(name)?.unwrap_or_default())
    }

    /// A list of integers that must be known, or nothing.
    ///
    /// # Errors
    /// One is symbolic, or it is something else.
    pub fn opt_ints(&self, name: &str) -> LowerResult<Option<Vec<i64>>> {
        self.opt_dims(name)?
            .map(|dims| dims.iter().map(|dim| known(name, dim)).collect())
            .transpose()
    }

    /// A list of integers that must be known.
    ///
    /// # Errors
    /// It is missing, one is symbolic, or it is something else.
    pub fn ints(&self, name: &str) -> LowerResult<Vec<i64>> {
        self.need(name)?;
        Ok(self.opt_ints(name)?.unwrap_or_default())
    }

    /// `n` integers from a list of `n`, or of one that is repeated; the default where it is left
    /// out or empty.
    ///
    /// # Errors
    /// The list has another length, or it is something else.
    pub fn ints_of(&self, name: &str, n: usize, default: &[i64]) -> LowerResult<Vec<i64>> {
        let list = self.opt_ints(name)?.filter(|l| !l.is_empty());
        let list = list.unwrap_or_else(|| default.to_vec());
        match list.len() {
            len if len == n => Ok(list),
            1 => Ok(vec![list[0]; n]),
            len => Err(LowerError::invalid(format!("`{name}` has {len} entries, {n} are needed"))),
        }
    }

    /// A number, or nothing.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_scalar(&self, name: &str) -> LowerResult<Option<Scalar>> {
        match self.get(name) {
            None => Ok(None),
            Some(Val::Int(dim)) => Ok(Some(Scalar::Int(dim.clone()))),
            Some(Val::Float(x)) => Ok(Some(Scalar::Float(*x))),
            Some(Val::Symbolic(expr)) => Ok(Some(Scalar::Symbolic(expr.clone()))),
            Some(Val::Bool(b)) => Ok(Some(Scalar::Bool(*b))),
            Some(val) => Err(Self::wrong(name, val, "a number")),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn scalar(&self, name: &str) -> LowerResult<Scalar> {
        self.need(name)?;
        self.opt_scalar(name)?.ok_or_else(|| LowerError::invalid(format!("`{name}` is missing")))
    }

    /// A tensor or a number.
    ///
    /// # Errors
    /// It is missing or something else.
    pub fn operand(&self, name: &str) -> LowerResult<Operand> {
        match self.need(name)? {
            Val::Tensor(id) => Ok(Operand::Tensor(*id)),
            _ => Ok(Operand::Scalar(self.scalar(name)?)),
        }
    }

    /// A float that must be known, or nothing; integers serve.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_float(&self, name: &str) -> LowerResult<Option<f64>> {
        self.opt_scalar(name)?
            .map(|scalar| {
                scalar
                    .as_f64()
                    .ok_or_else(|| LowerError::dynamic(format!("`{name}` is not a known number")))
            })
            .transpose()
    }

    /// A float that must be known, with its default.
    ///
    /// # Errors
    /// It is something else.
    pub fn float_or(&self, name: &str, default: f64) -> LowerResult<f64> {
        Ok(self.opt_float(name)?.unwrap_or(default))
    }

    /// A truth value, with its default.
    ///
    /// # Errors
    /// It is something else.
    pub fn bool_or(&self, name: &str, default: bool) -> LowerResult<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(Val::Bool(b)) => Ok(*b),
            Some(Val::Int(dim)) if dim.as_const().is_some() => Ok(!dim.is(0)),
            Some(val) => Err(Self::wrong(name, val, "a bool")),
        }
    }

    /// A string, or nothing.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_str(&self, name: &str) -> LowerResult<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Val::Str(text)) => Ok(Some(text)),
            Some(val) => Err(Self::wrong(name, val, "a string")),
        }
    }

    /// An element type, or nothing.
    ///
    /// # Errors
    /// It is something else.
    pub fn opt_dtype(&self, name: &str) -> LowerResult<Option<DType>> {
        match self.get(name) {
            None => Ok(None),
            Some(Val::DType(dtype)) => Ok(Some(*dtype)),
            Some(val) => Err(Self::wrong(name, val, "a dtype")),
        }
    }
}

fn known(name: &str, dim: &Dim) -> LowerResult<i64> {
    dim.as_const().ok_or_else(|| {
        LowerError::dynamic(format!("`{name}` is `{dim}`, which is not known at compile time"))
            .help("export the model with that extent fixed")
    })
}
