//! Formulas over values of one element type, written as they are read.

use mlc_ir::ops::{
    Abs, Add, Equal, Exp, Floor, Greater, GreaterEqual, Less, LessEqual, Log, LogicalAnd,
    LogicalOr, Maximum, Minimum, Mul, NotEqual, RealDiv, Select, Sqrt, Sub,
};
use mlc_ir::{F64, Value};
use mlc_tensor::DType;

use super::Cx;
use super::error::LowerResult;

/// Builds arithmetic whose numbers are of one element type.
pub(super) struct Formula<'a, 'p> {
    /// Where ops are appended.
    pub(super) cx: &'a mut Cx<'p>,
    /// The element type of numbers.
    pub(super) dtype: DType,
}

impl<'a, 'p> Formula<'a, 'p> {
    pub(super) fn new(cx: &'a mut Cx<'p>, dtype: DType) -> Self {
        Self { cx, dtype }
    }

    /// With the element type of `x`.
    pub(super) fn of(cx: &'a mut Cx<'p>, x: Value) -> LowerResult<Self> {
        let dtype = cx.b.tensor(x)?.dtype;
        Ok(Self { cx, dtype })
    }

    pub(super) fn num(&mut self, x: f64) -> LowerResult<Value> {
        Ok(self.cx.b.scalar(self.dtype, x)?)
    }

    pub(super) fn add(&mut self, x: Value, y: Value) -> LowerResult<Value> {
        self.cx.binary(Add {}, x, y)
    }

    pub(super) fn sub(&mut self, x: Value, y: Value) -> LowerResult<Value> {
        self.cx.binary(Sub {}, x, y)
    }

    pub(super) fn mul(&mut self, x: Value, y: Value) -> LowerResult<Value> {
        self.cx.binary(Mul {}, x, y)
    }

    pub(super) fn div(&mut self, x: Value, y: Value) -> LowerResult<Value> {
        self.cx.binary(RealDiv {}, x, y)
    }

    pub(super) fn max(&mut self, x: Value, y: Value) -> LowerResult<Value> {
        self.cx.binary(Maximum {}, x, y)
    }

    pub(super) fn min(&mut self, x: Value, y: Value) -> LowerResult<Value> {
        self.cx.binary(Minimum {}, x, y)
    }

    /// `x + n`
    pub(super) fn plus(&mut self, x: Value, n: f64) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.add(x, n)
    }

    /// `x · n`
    pub(super) fn times(&mut self, x: Value, n: f64) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.mul(x, n)
    }

    /// `n − x`
    pub(super) fn from(&mut self, n: f64, x: Value) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.sub(n, x)
    }

    /// `n / x`
    pub(super) fn over(&mut self, n: f64, x: Value) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.div(n, x)
    }

    pub(super) fn eq(&mut self, x: Value, n: f64) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.cx.binary(Equal {}, x, n)
    }

    pub(super) fn lt(&mut self, x: Value, n: f64) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.cx.binary(Less {}, x, n)
    }

    pub(super) fn gt(&mut self, x: Value, n: f64) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.cx.binary(Greater {}, x, n)
    }

    pub(super) fn ge(&mut self, x: Value, n: f64) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.cx.binary(GreaterEqual {}, x, n)
    }

    pub(super) fn le(&mut self, x: Value, n: f64) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.cx.binary(LessEqual {}, x, n)
    }

    pub(super) fn same(&mut self, x: Value, y: Value) -> LowerResult<Value> {
        self.cx.binary(Equal {}, x, y)
    }

    /// Whether each element is NaN.
    pub(super) fn is_nan(&mut self, x: Value) -> LowerResult<Value> {
        self.cx.binary(NotEqual {}, x, x)
    }

    pub(super) fn and(&mut self, x: Value, y: Value) -> LowerResult<Value> {
        self.cx.binary(LogicalAnd {}, x, y)
    }

    pub(super) fn or(&mut self, x: Value, y: Value) -> LowerResult<Value> {
        self.cx.binary(LogicalOr {}, x, y)
    }

    /// `test ? x : y`
    pub(super) fn select(&mut self, test: Value, x: Value, y: Value) -> LowerResult<Value> {
        Ok(Select {}.build(&mut self.cx.b, test, x, y)?)
    }

    /// `test ? x : n`
    pub(super) fn select_or(&mut self, test: Value, x: Value, n: f64) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.select(test, x, n)
    }

    /// `test ? n : y`
    pub(super) fn select_num(&mut self, test: Value, n: f64, y: Value) -> LowerResult<Value> {
        let n = self.num(n)?;
        self.select(test, n, y)
    }

    pub(super) fn abs(&mut self, x: Value) -> LowerResult<Value> {
        self.cx.unary(Abs {}, x)
    }

    pub(super) fn exp(&mut self, x: Value) -> LowerResult<Value> {
        self.cx.unary(Exp {}, x)
    }

    pub(super) fn ln(&mut self, x: Value) -> LowerResult<Value> {
        self.cx.unary(Log { epsilon: F64(0.0) }, x)
    }

    pub(super) fn sqrt(&mut self, x: Value) -> LowerResult<Value> {
        self.cx.unary(Sqrt {}, x)
    }

    pub(super) fn floor(&mut self, x: Value) -> LowerResult<Value> {
        self.cx.unary(Floor {}, x)
    }

    /// `((c₀·x + c₁)·x + …)·x + cₙ`
    pub(super) fn polynomial(&mut self, x: Value, c: &[f64]) -> LowerResult<Value> {
        let mut sum = self.num(c.first().copied().unwrap_or(0.0))?;
        for &next in c.iter().skip(1) {
            sum = self.mul(sum, x)?;
            sum = self.plus(sum, next)?;
        }
        Ok(sum)
    }
}
