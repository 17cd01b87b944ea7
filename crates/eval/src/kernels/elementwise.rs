//! Elementwise arithmetic, comparison, logic and conversion.

use candle_core::Tensor as Candle;
use candle_core::cpu::erf::erf_f64;
use mlc_ir::ops::{
    Abs, Acos, Add, Asin, Atan, Atanh, Cast, Ceil, Clip, Cos, Cosh, Equal, Erf, Exp, Exp2, Floor,
    FloorDiv, Greater, GreaterEqual, Inverse, Less, LessEqual, Log, LogicalAnd, LogicalNot,
    LogicalOr, LogicalXor, Maximum, Minimum, Mod, Mul, NotEqual, Pow, RealDiv, Round, Rsqrt,
    Select, Sign, Sin, Sinh, Sqrt, Square, Sub, Tan, Tanh, Threshold,
};
use mlc_tensor::DType;

use crate::array::{Array, each, rounded};
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::broadcast::{broadcast_shape, select, zip};

/// Applies `f` to each element of the float operand `x`.
pub(crate) fn map_floats(
    cx: &KernelCx<'_, '_>,
    f: impl Fn(f64) -> f64 + Sync,
) -> Result<Outputs, EvalError> {
    let x = cx.array("x")?;
    let dtype = x.dtype();
    if dtype == DType::F64 {
        return cx.one_f64s(x.shape(), each(&x.to_f64s()?, |&x| f(x)));
    }
    let values = each(&x.to_f32s()?, |&x| rounded(dtype, f(f64::from(x))));
    cx.one_f32s(x.shape(), values)
}

/// Applies `float` or `int` to each element of `x`.
fn map(
    cx: &KernelCx<'_, '_>,
    float: impl Fn(f64) -> f64 + Sync,
    int: impl Fn(i64) -> i64,
) -> Result<Outputs, EvalError> {
    let x = cx.array("x")?;
    if x.dtype().is_float() {
        map_floats(cx, float)
    } else {
        cx.one_i64s(x.shape(), x.to_i64s()?.into_iter().map(int).collect())
    }
}

fn float_only(x: i64) -> i64 {
    x
}

macro_rules! unary {
    ($($Name:ident: $float:expr $(, $int:expr)?;)*) => {$(
        impl Kernel for $Name {
            fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
                map(cx, $float, unary!(@int $($int)?))
            }
        }
    )*};
    (@int $int:expr) => { $int };
    (@int) => { float_only };
}

unary! {
    Abs: f64::abs, i64::wrapping_abs;
    Acos: f64::acos;
    Asin: f64::asin;
    Atan: f64::atan;
    Atanh: f64::atanh;
    Ceil: f64::ceil;
    Cos: f64::cos;
    Cosh: f64::cosh;
    Erf: erf_f64;
    Exp: f64::exp;
    Exp2: f64::exp2, |x| if (0..63).contains(&x) { 1 << x } else { 0 };
    Floor: f64::floor;
    Round: f64::round_ties_even;
    Sign: |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x }, i64::signum;
    Sin: f64::sin;
    Sinh: f64::sinh;
    Sqrt: f64::sqrt;
    Square: |x| x * x, |x| x.wrapping_mul(x);
    Tan: f64::tan;
    Tanh: f64::tanh;
}

/// An attribute of the element type of `x`, as the op sees it: rounded to that type.
pub(crate) fn attribute(cx: &KernelCx<'_, '_>, value: f64) -> Result<f64, EvalError> {
    let dtype = cx.array("x")?.dtype();
    if dtype.is_float() {
        Ok(Array::from_f64s(dtype, &[], vec![value])?.to_f64s()?[0])
    } else {
        Ok(value.trunc())
    }
}

impl Kernel for Inverse {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let epsilon = attribute(cx, self.epsilon.0)?;
        map(cx, |x| (x + epsilon).recip(), float_only)
    }
}

impl Kernel for Log {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let epsilon = attribute(cx, self.epsilon.0)?;
        map(cx, |x| (x + epsilon).ln(), float_only)
    }
}

impl Kernel for Rsqrt {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let epsilon = attribute(cx, self.epsilon.0)?;
        map(cx, |x| (x + epsilon).sqrt().recip(), float_only)
    }
}

/// `max(x, low)` that keeps NaN.
pub(crate) fn at_least(x: f64, low: f64) -> f64 {
    if x < low { low } else { x }
}

impl Kernel for Clip {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (low, high) = (attribute(cx, self.alpha.0)?, attribute(cx, self.beta.0)?);
        map(
            cx,
            |x| {
                let x = at_least(x, low);
                if x > high { high } else { x }
            },
            float_only,
        )
    }
}

impl Kernel for Threshold {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let low = attribute(cx, self.alpha.0)?;
        map(cx, |x| at_least(x, low), |x| x.max(low as i64))
    }
}

impl Kernel for LogicalNot {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let values = x.to_bools()?.into_iter().map(|b| !b).collect();
        Ok(vec![Array::from_bools(x.shape(), values)?.into()])
    }
}

impl Kernel for Cast {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        Ok(vec![cx.array("x")?.cast(self.dtype)?.into()])
    }
}

fn arithmetic(
    cx: &KernelCx<'_, '_>,
    float: impl Fn(f64, f64) -> f64,
    int: impl Fn(i64, i64) -> Option<i64>,
) -> Result<Outputs, EvalError> {
    let (x, y) = (cx.array("x")?, cx.array("y")?);
    if x.dtype().is_float() && x.dtype() != DType::F32 {
        let (shape, values) = zip((&x.to_f64s()?, x.shape()), (&y.to_f64s()?, y.shape()), float)?;
        cx.one_f64s(&shape, values)
    } else if x.dtype().is_float() {
        let narrow = |x: f32, y: f32| float(f64::from(x), f64::from(y)) as f32;
        let (shape, values) = zip((&x.to_f32s()?, x.shape()), (&y.to_f32s()?, y.shape()), narrow)?;
        cx.one_f32s(&shape, values)
    } else {
        let (shape, values) = zip((&x.to_i64s()?, x.shape()), (&y.to_i64s()?, y.shape()), int)?;
        let values = values
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| EvalError::undefined("integer division by zero"))?;
        cx.one_i64s(&shape, values)
    }
}

/// A float op that candle has with broadcasting; exact results are rounded once.
fn candle_binary(
    cx: &KernelCx<'_, '_>,
    op: fn(&Candle, &Candle) -> candle_core::Result<Candle>,
    int: fn(i64, i64) -> Option<i64>,
) -> Result<Outputs, EvalError> {
    let (x, y) = (cx.array("x")?, cx.array("y")?);
    if x.dtype().is_float() && x.count() > 0 && y.count() > 0 {
        broadcast_shape(x.shape(), y.shape())?;
        return cx.one(op(x.candle(), y.candle())?);
    }
    arithmetic(cx, |_, _| f64::NAN, int)
}

macro_rules! binary {
    ($($Name:ident: candle $op:ident, $int:expr;)*) => {$(
        impl Kernel for $Name {
            fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
                candle_binary(cx, Candle::$op, $int)
            }
        }
    )*};
    ($($Name:ident: $float:expr, $int:expr;)*) => {$(
        impl Kernel for $Name {
            fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
                arithmetic(cx, $float, $int)
            }
        }
    )*};
}

binary! {
    Add: candle broadcast_add, |x, y| Some(x.wrapping_add(y));
    Sub: candle broadcast_sub, |x, y| Some(x.wrapping_sub(y));
    Mul: candle broadcast_mul, |x, y| Some(x.wrapping_mul(y));
    RealDiv: candle broadcast_div, |x, y| (y != 0).then(|| x.wrapping_div(y));
}

binary! {
    FloorDiv: |x, y| (x / y).floor(), |x, y| {
        let (q, r) = (y != 0).then(|| (x.wrapping_div(y), x.wrapping_rem(y)))?;
        Some(if r != 0 && (r < 0) != (y < 0) { q - 1 } else { q })
    };
    Mod: |x, y| {
        let r = x % y;
        if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
    }, |x, y| {
        let r = (y != 0).then(|| x.wrapping_rem(y))?;
        Some(if r != 0 && (r < 0) != (y < 0) { r + y } else { r })
    };
    Pow: f64::powf, int_power;
    Maximum: |x, y| if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) }, |x, y| Some(x.max(y));
    Minimum: |x, y| if x.is_nan() || y.is_nan() { f64::NAN } else { x.min(y) }, |x, y| Some(x.min(y));
}

/// `xʸ`, wrapping; of a negative power, the quotient truncated toward zero.
fn int_power(x: i64, y: i64) -> Option<i64> {
    if y < 0 {
        return match x {
            0 => None,
            1 => Some(1),
            -1 => Some(if y % 2 == 0 { 1 } else { -1 }),
            _ => Some(0),
        };
    }
    let (mut base, mut left, mut power) = (x, y, 1i64);
    while left > 0 {
        if left & 1 == 1 {
            power = power.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        left >>= 1;
    }
    Some(power)
}

fn compare(
    cx: &KernelCx<'_, '_>,
    float: impl Fn(f64, f64) -> bool,
    int: impl Fn(i64, i64) -> bool,
) -> Result<Outputs, EvalError> {
    let (x, y) = (cx.array("x")?, cx.array("y")?);
    let (shape, values) = if x.dtype() == DType::F64 {
        zip((&x.to_f64s()?, x.shape()), (&y.to_f64s()?, y.shape()), float)?
    } else if x.dtype().is_float() {
        let widened = |x: f32, y: f32| float(f64::from(x), f64::from(y));
        zip((&x.to_f32s()?, x.shape()), (&y.to_f32s()?, y.shape()), widened)?
    } else {
        zip((&x.to_i64s()?, x.shape()), (&y.to_i64s()?, y.shape()), int)?
    };
    Ok(vec![Array::from_bools(&shape, values)?.into()])
}

macro_rules! comparison {
    ($($Name:ident: $op:tt;)*) => {$(
        impl Kernel for $Name {
            fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
                compare(cx, |x, y| x $op y, |x, y| x $op y)
            }
        }
    )*};
}

comparison! {
    Equal: ==;
    NotEqual: !=;
    Less: <;
    LessEqual: <=;
    Greater: >;
    GreaterEqual: >=;
}

macro_rules! logical {
    ($($Name:ident: $op:tt;)*) => {$(
        impl Kernel for $Name {
            fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
                compare(cx, |_, _| false, |x, y| (x != 0) $op (y != 0))
            }
        }
    )*};
}

logical! {
    LogicalAnd: &&;
    LogicalOr: ||;
    LogicalXor: !=;
}

impl Kernel for Select {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (cond, a, b) = (cx.array("cond")?, cx.array("a")?, cx.array("b")?);
        let test: Vec<u8> = cond.to_bools()?.into_iter().map(u8::from).collect();
        let test = (&test[..], cond.shape());
        if a.dtype() == DType::F64 {
            let (a_values, b_values) = (a.to_f64s()?, b.to_f64s()?);
            let (shape, values) = select(test, (&a_values, a.shape()), (&b_values, b.shape()))?;
            cx.one_f64s(&shape, values)
        } else if a.dtype().is_float() {
            let (a_values, b_values) = (a.to_f32s()?, b.to_f32s()?);
            let (shape, values) = select(test, (&a_values, a.shape()), (&b_values, b.shape()))?;
            cx.one_f32s(&shape, values)
        } else {
            let (a_values, b_values) = (a.to_i64s()?, b.to_i64s()?);
            let (shape, values) = select(test, (&a_values, a.shape()), (&b_values, b.shape()))?;
            cx.one_i64s(&shape, values)
        }
    }
}
