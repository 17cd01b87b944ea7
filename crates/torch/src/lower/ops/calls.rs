//! Lowerings written in terms of other ops.

use mlc_ir::Dim;
use mlc_tensor::DType;

use crate::lower::Cx;
use crate::lower::error::LowerResult;
use crate::lower::value::{TensorId, Val};

/// Calls ops by name, with their most common arguments.
pub(super) struct Calls<'a, 'p>(pub(super) &'a mut Cx<'p>);

impl Calls<'_, '_> {
    /// An op of `self`.
    pub(super) fn one(&mut self, op: &str, x: TensorId) -> LowerResult<TensorId> {
        self.0.call_tensor(op, &[("self", Val::Tensor(x))])
    }

    /// An op of `self` and `other`.
    pub(super) fn two(
        &mut self,
        op: &str,
        x: TensorId,
        y: impl Into<Val>,
    ) -> LowerResult<TensorId> {
        self.0.call_tensor(op, &[("self", Val::Tensor(x)), ("other", y.into())])
    }

    /// An op of `self` with one more argument.
    pub(super) fn with(
        &mut self,
        op: &str,
        x: TensorId,
        (name, val): (&str, impl Into<Val>),
    ) -> LowerResult<TensorId> {
        self.0.call_tensor(op, &[("self", Val::Tensor(x)), (name, val.into())])
    }

    /// `test ? x : y`
    pub(super) fn select(
        &mut self,
        test: TensorId,
        x: TensorId,
        y: TensorId,
    ) -> LowerResult<TensorId> {
        let args =
            [("condition", Val::Tensor(test)), ("self", Val::Tensor(x)), ("other", Val::Tensor(y))];
        self.0.call_tensor("aten.where", &args)
    }

    /// `test ? 0 : x`
    pub(super) fn zero_where(&mut self, test: TensorId, x: TensorId) -> LowerResult<TensorId> {
        let args = [("self", x.into()), ("mask", test.into()), ("value", Val::Int(0.into()))];
        self.0.call_tensor("aten.masked_fill", &args)
    }

    /// A reduction over one axis, counted from either end.
    pub(super) fn over(
        &mut self,
        op: &str,
        x: TensorId,
        (axis, keep): (i64, bool),
    ) -> LowerResult<TensorId> {
        let args = [("self", x.into()), ("dim", Val::Int(axis.into())), ("keepdim", keep.into())];
        self.0.call_tensor(op, &args)
    }

    /// The elements from `start` to before `end` along an axis.
    pub(super) fn slice(
        &mut self,
        x: TensorId,
        axis: i64,
        (start, end): (i64, i64),
    ) -> LowerResult<TensorId> {
        let args = [
            ("self", x.into()),
            ("dim", Val::Int(axis.into())),
            ("start", Val::Int(start.into())),
            ("end", Val::Int(end.into())),
        ];
        self.0.call_tensor("aten.slice", &args)
    }

    /// An axis of extent 1 more.
    pub(super) fn unsqueeze(&mut self, x: TensorId, axis: i64) -> LowerResult<TensorId> {
        self.with("aten.unsqueeze", x, ("dim", Val::Int(axis.into())))
    }

    /// Another shape of the same elements.
    pub(super) fn reshape(&mut self, x: TensorId, shape: &[Dim]) -> LowerResult<TensorId> {
        let shape = Val::List(shape.iter().cloned().map(Val::Int).collect());
        self.with("aten.reshape", x, ("shape", shape))
    }

    /// Tensors joined along an axis.
    pub(super) fn cat(&mut self, all: &[TensorId], axis: i64) -> LowerResult<TensorId> {
        let list = Val::List(all.iter().copied().map(Val::Tensor).collect());
        self.0.call_tensor("aten.cat", &[("tensors", list), ("dim", Val::Int(axis.into()))])
    }

    /// Tensors of one shape along a new axis.
    pub(super) fn stack(&mut self, all: &[TensorId], axis: i64) -> LowerResult<TensorId> {
        let list = Val::List(all.iter().copied().map(Val::Tensor).collect());
        self.0.call_tensor("aten.stack", &[("tensors", list), ("dim", Val::Int(axis.into()))])
    }

    /// The same numbers as `dtype`.
    pub(super) fn to(&mut self, x: TensorId, dtype: DType) -> LowerResult<TensorId> {
        self.with("aten.to", x, ("dtype", Val::DType(dtype)))
    }

    /// `max(x, least)`
    pub(super) fn at_least(&mut self, x: TensorId, least: f64) -> LowerResult<TensorId> {
        self.with("aten.clamp_min", x, ("min", least))
    }

    /// What has the values of a constant.
    pub(super) fn constant(&mut self, tensor: mlc_tensor::Tensor) -> LowerResult<TensorId> {
        let value = self.0.b.constant(tensor)?;
        self.tensor(value)
    }

    /// A tensor of a value.
    pub(super) fn tensor(&mut self, value: mlc_ir::Value) -> LowerResult<TensorId> {
        match self.0.fresh(value) {
            Val::Tensor(tensor) => Ok(tensor),
            _ => Err(crate::lower::error::LowerError::invalid("no tensor")),
        }
    }
}

impl From<TensorId> for Val {
    fn from(tensor: TensorId) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<f64> for Val {
    fn from(x: f64) -> Self {
        Self::Float(x)
    }
}

impl From<bool> for Val {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<i64> for Val {
    fn from(n: i64) -> Self {
        Self::Int(n.into())
    }
}
