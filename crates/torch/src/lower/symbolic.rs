//! Expressions of the file over sizes: as extents, and as values that the program computes.
//!
//! Extents have integer arithmetic with floor division; roundings of quotients, and choices by a
//! condition, are spelled in it. Floats are computed while the model runs; no extent comes from one,
//! since rounding could change it.

use mlc_ir::ops::{
    Abs, Add, Ceil, Equal, Exp, Floor, FloorDiv, Greater, GreaterEqual, Less, LessEqual, Log,
    LogicalAnd, LogicalNot, LogicalOr, Maximum, Minimum, Mod, Mul, NotEqual, Pow, RealDiv, Round,
    Select, Sqrt,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, Tensor};

use super::Cx;
use super::dims;
use super::error::{LowerError, LowerResult};
use crate::symexpr::{SymExpr, SymFn};

/// An expression as an extent; `None` where extents have no such operation.
#[must_use]
pub fn to_dim(expr: &SymExpr) -> Option<Dim> {
    match expr {
        SymExpr::Int(n) => Some(Dim::Const(*n)),
        SymExpr::Symbol(name) if !is_float_symbol(name) => Some(Dim::symbol(name)),
        SymExpr::Apply(function, args) => apply(*function, args),
        _ => None,
    }
}

/// Whether torch gives a float this name: `zf…` comes from an input, `zuf…` from data.
fn is_float_symbol(name: &str) -> bool {
    ["zf", "zuf"].iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    })
}

fn apply(function: SymFn, args: &[SymExpr]) -> Option<Dim> {
    let all = || args.iter().map(to_dim).collect::<Option<Vec<_>>>();
    let two = || match &all()?[..] {
        [a, b] => Some((a.clone(), b.clone())),
        _ => None,
    };
    let fold = |f: fn(&Dim, &Dim) -> Dim| {
        let all = all()?;
        let (first, rest) = all.split_first()?;
        Some(rest.iter().fold(first.clone(), |a, b| f(&a, b)))
    };
    let power_of_two = |n: &Dim| {
        let n = u32::try_from(n.as_const()?).ok()?;
        1i64.checked_shl(n).filter(|&n| n > 0).map(Dim::Const)
    };
    match function {
        SymFn::Add => fold(Dim::add),
        SymFn::Mul => fold(Dim::mul),
        SymFn::Max => fold(Dim::maximum),
        SymFn::Min => fold(Dim::minimum),
        SymFn::Pow => {
            let (base, power) = two()?;
            let power = u32::try_from(power.as_const()?).ok().filter(|&p| p <= 8)?;
            Some((0..power).fold(Dim::Const(1), |product, _| product.mul(&base)))
        }
        SymFn::FloorDiv => two().map(|(a, b)| a.floor_div(&b)),
        SymFn::CeilDiv => two().map(|(a, b)| a.ceil_div(&b)),
        SymFn::Mod | SymFn::PythonMod => two().map(|(a, b)| a.modulo(&b)),
        SymFn::ModularIndexing => match &all()?[..] {
            [a, b, c] => Some(a.floor_div(b).modulo(c)),
            _ => None,
        },
        SymFn::LShift => two().and_then(|(a, b)| Some(a.mul(&power_of_two(&b)?))),
        SymFn::RShift => two().and_then(|(a, b)| Some(a.floor_div(&power_of_two(&b)?))),
        SymFn::Abs => all()?.first().map(|a| a.maximum(&Dim::Const(0).sub(a))),
        SymFn::TrueDiv => two().and_then(|(a, b)| a.exact_div(&b)),
        SymFn::Floor | SymFn::Ceil | SymFn::Trunc | SymFn::Round => {
            rounded(function, args.first()?)
        }
        SymFn::Where => match args {
            [test, x, y] => choice(test, &to_dim(x)?, &to_dim(y)?),
            _ => None,
        },
        SymFn::Piecewise => {
            let mut pairs = args.chunks_exact(2).rev();
            let mut value = to_dim(&pairs.next()?[0])?;
            for pair in pairs {
                value = choice(&pair[1], &to_dim(&pair[0])?, &value)?;
            }
            Some(value)
        }
        _ => None,
    }
}

/// A quotient of extents rounded to an integer.
fn rounded(function: SymFn, expr: &SymExpr) -> Option<Dim> {
    let (a, b) = quotient(expr)?;
    if b.is(1) {
        return Some(a);
    }
    let positive = b.as_const().is_some_and(|b| b > 0) || is_natural(expr);
    match function {
        SymFn::Floor => Some(a.floor_div(&b)),
        SymFn::Ceil => Some(a.ceil_div(&b)),
        SymFn::Trunc if is_natural(expr) => Some(a.floor_div(&b)),
        SymFn::Trunc if positive => {
            Some(a.floor_div(&b).maximum(&a.ceil_div(&b).minimum(&Dim::Const(0))))
        }
        SymFn::Round if positive => {
            // Halves go up and, where that gives an odd number, down again.
            let (one, two) = (Dim::Const(1), Dim::Const(2));
            let (sum, twice) = (a.mul(&two).add(&b), b.mul(&two));
            let up = sum.floor_div(&twice);
            let tie = one.sub(&sum.modulo(&twice).minimum(&one));
            Some(up.sub(&tie.mul(&up.modulo(&two))))
        }
        _ => None,
    }
}

/// Whether it is 0 or more by its form.
fn is_natural(expr: &SymExpr) -> bool {
    match expr {
        SymExpr::Int(n) | SymExpr::Rational(n, _) => *n >= 0,
        SymExpr::Float(x) => *x >= 0.0,
        SymExpr::Symbol(name) => name.starts_with('s'),
        SymExpr::Apply(function, args) => match function {
            SymFn::Add
            | SymFn::Mul
            | SymFn::TrueDiv
            | SymFn::FloorDiv
            | SymFn::CeilDiv
            | SymFn::Min
            | SymFn::ToFloat => args.iter().all(is_natural),
            SymFn::Max => args.iter().any(is_natural),
            _ => false,
        },
        _ => false,
    }
}

/// Numerator and denominator of a quotient of extents, such as `s0 · 1/2`.
fn quotient(expr: &SymExpr) -> Option<(Dim, Dim)> {
    match expr {
        SymExpr::Rational(p, q) => Some((Dim::Const(*p), Dim::Const(*q))),
        SymExpr::Float(x) => binary_fraction(*x),
        SymExpr::Apply(SymFn::ToFloat, args) => quotient(args.first()?),
        SymExpr::Apply(SymFn::TrueDiv, args) => match &args[..] {
            [a, b] => {
                let ((p, q), (r, s)) = (quotient(a)?, quotient(b)?);
                Some((p.mul(&s), q.mul(&r)))
            }
            _ => None,
        },
        SymExpr::Apply(SymFn::Mul, args) => {
            let mut product = (Dim::Const(1), Dim::Const(1));
            for arg in args {
                let (p, q) = quotient(arg)?;
                product = (product.0.mul(&p), product.1.mul(&q));
            }
            Some(product)
        }
        SymExpr::Apply(SymFn::Add, args) => {
            let mut sum = (Dim::Const(0), Dim::Const(1));
            for arg in args {
                let (p, q) = quotient(arg)?;
                sum = (sum.0.mul(&q).add(&p.mul(&sum.1)), sum.1.mul(&q));
            }
            Some(sum)
        }
        other => Some((to_dim(other)?, Dim::Const(1))),
    }
}

/// A float that is a fraction of few binary places, exactly.
fn binary_fraction(x: f64) -> Option<(Dim, Dim)> {
    let places = (0..=16).find(|&places| (x * f64::from(1u32 << places)).fract() == 0.0)?;
    let scale = 1i64 << places;
    let scaled = x * scale as f64;
    (scaled.abs() < 1e9).then_some((Dim::Const(scaled as i64), Dim::Const(scale)))
}

/// `x` where the condition holds, else `y`.
fn choice(test: &SymExpr, x: &Dim, y: &Dim) -> Option<Dim> {
    let test = indicator(test)?;
    Some(test.mul(x).add(&Dim::Const(1).sub(&test).mul(y)))
}

/// 1 where a condition on extents holds, else 0.
fn indicator(expr: &SymExpr) -> Option<Dim> {
    let (zero, one) = (Dim::Const(0), Dim::Const(1));
    let SymExpr::Apply(function, args) = expr else {
        return match expr {
            SymExpr::Bool(known) => Some(Dim::Const(i64::from(*known))),
            _ => None,
        };
    };
    let clamped = |dim: Dim| dim.maximum(&zero).minimum(&one);
    let difference = || match &args[..] {
        [a, b] => Some(to_dim(b)?.sub(&to_dim(a)?)),
        _ => None,
    };
    let differs = || {
        let difference = difference()?;
        Some(difference.maximum(&zero.sub(&difference)).minimum(&one))
    };
    let all = || args.iter().map(indicator).collect::<Option<Vec<_>>>();
    match function {
        SymFn::Lt => difference().map(clamped),
        SymFn::Le => difference().map(|d| clamped(d.add(&one))),
        SymFn::Gt => difference().map(|d| clamped(zero.sub(&d))),
        SymFn::Ge => difference().map(|d| clamped(one.sub(&d))),
        SymFn::Ne => differs(),
        SymFn::Eq => differs().map(|d| one.sub(&d)),
        SymFn::And => Some(all()?.iter().fold(one.clone(), |a, b| a.minimum(b))),
        SymFn::Or => Some(all()?.iter().fold(zero.clone(), |a, b| a.maximum(b))),
        SymFn::Not => all()?.first().map(|a| one.sub(a)),
        _ => None,
    }
}

fn unknown(expr: &SymExpr) -> LowerError {
    LowerError::dynamic(format!("`{expr}` has no lowering"))
        .help("compute it from sizes with integer arithmetic, comparisons and square roots")
}

impl Cx<'_> {
    /// Whether every symbol of an expression can be read.
    pub(super) fn can_evaluate(&self, expr: &SymExpr) -> bool {
        expr.symbols().iter().all(|name| self.symbols.has(name))
    }

    /// An expression as a scalar of f32.
    ///
    /// # Errors
    /// It has no lowering, or needs a symbol that no input tells.
    pub(super) fn float_of(&mut self, expr: &SymExpr) -> LowerResult<Value> {
        if let Some(dim) = to_dim(expr) {
            let value = dims::scalar(self, &dim)?;
            return self.cast(value, DType::F32);
        }
        match expr {
            SymExpr::Float(x) => Ok(self.b.scalar(DType::F32, *x)?),
            SymExpr::Rational(p, q) => Ok(self.b.scalar(DType::F32, *p as f64 / *q as f64)?),
            SymExpr::Symbol(name) => {
                let value = self.symbols.scalar(name).ok_or_else(|| unknown(expr))?;
                self.cast(value, DType::F32)
            }
            SymExpr::Apply(function, args) => self.float_function(*function, (expr, args)),
            _ => Err(unknown(expr)),
        }
    }

    fn float_function(
        &mut self,
        function: SymFn,
        (expr, args): (&SymExpr, &[SymExpr]),
    ) -> LowerResult<Value> {
        if let (SymFn::Where, [test, x, y]) = (function, args) {
            let test = self.relation(test)?;
            let (x, y) = (self.float_of(x)?, self.float_of(y)?);
            return Ok(Select {}.build(&mut self.b, test, x, y)?);
        }
        if function == SymFn::Piecewise {
            return Err(unknown(expr));
        }
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.float_of(arg)?);
        }
        let mut rest = values.into_iter();
        let first = rest.next().ok_or_else(|| unknown(expr))?;
        match function {
            SymFn::ToFloat => return Ok(first),
            SymFn::Sqrt => return self.unary(Sqrt {}, first),
            SymFn::Floor => return self.unary(Floor {}, first),
            SymFn::Ceil => return self.unary(Ceil {}, first),
            SymFn::Round => return self.unary(Round {}, first),
            SymFn::Abs => return self.unary(Abs {}, first),
            SymFn::Exp => return self.unary(Exp {}, first),
            SymFn::Log => return Ok(Log { epsilon: mlc_ir::F64(0.0) }.build(&mut self.b, first)?),
            SymFn::Trunc => {
                let whole = self.cast(first, DType::I32)?;
                return self.cast(whole, DType::F32);
            }
            _ => {}
        }
        let mut value = first;
        for next in rest {
            value = match function {
                SymFn::Add => self.binary(Add {}, value, next)?,
                SymFn::Mul => self.binary(Mul {}, value, next)?,
                SymFn::TrueDiv => self.binary(RealDiv {}, value, next)?,
                SymFn::Pow => self.binary(Pow {}, value, next)?,
                SymFn::FloorDiv => self.binary(FloorDiv {}, value, next)?,
                SymFn::Mod | SymFn::PythonMod => self.binary(Mod {}, value, next)?,
                SymFn::Max => self.binary(Maximum {}, value, next)?,
                SymFn::Min => self.binary(Minimum {}, value, next)?,
                _ => return Err(unknown(expr)),
            };
        }
        Ok(value)
    }

    /// A condition as a scalar of bool.
    ///
    /// # Errors
    /// It has no lowering, or needs a symbol that no input tells.
    pub(super) fn relation(&mut self, expr: &SymExpr) -> LowerResult<Value> {
        if let SymExpr::Bool(known) = expr {
            let known = Tensor::from_bytes(DType::Bool, &[], vec![u8::from(*known)])?;
            return Ok(self.b.constant(known)?);
        }
        let SymExpr::Apply(function, args) = expr else { return Err(unknown(expr)) };
        match (function, &args[..]) {
            (SymFn::Not, [one]) => {
                let one = self.relation(one)?;
                self.unary(LogicalNot {}, one)
            }
            (SymFn::And | SymFn::Or, [first, rest @ ..]) => {
                let mut all = self.relation(first)?;
                for next in rest {
                    let next = self.relation(next)?;
                    all = match function {
                        SymFn::And => self.binary(LogicalAnd {}, all, next)?,
                        _ => self.binary(LogicalOr {}, all, next)?,
                    };
                }
                Ok(all)
            }
            (function, [x, y]) => {
                let (x, y) = match (to_dim(x), to_dim(y)) {
                    (Some(x), Some(y)) => (dims::scalar(self, &x)?, dims::scalar(self, &y)?),
                    _ => (self.float_of(x)?, self.float_of(y)?),
                };
                match function {
                    SymFn::Eq => self.binary(Equal {}, x, y),
                    SymFn::Ne => self.binary(NotEqual {}, x, y),
                    SymFn::Lt => self.binary(Less {}, x, y),
                    SymFn::Le => self.binary(LessEqual {}, x, y),
                    SymFn::Gt => self.binary(Greater {}, x, y),
                    SymFn::Ge => self.binary(GreaterEqual {}, x, y),
                    _ => Err(unknown(expr)),
                }
            }
            _ => Err(unknown(expr)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symexpr::parse;

    fn at(text: &str, n: i64) -> Option<i64> {
        let dim = to_dim(&parse(text).expect("an expression"))?;
        dim.substitute(&|_| Some(Dim::Const(n))).as_const()
    }

    #[test]
    fn quotients_are_rounded_as_python_does() {
        for n in 0..40 {
            let x = n as f64;
            assert_eq!(at("RoundToInt(IntTrueDiv(Symbol('s0'), Integer(4)))", n), {
                let (down, rest) = (n / 4, n % 4);
                let up = rest > 2 || (rest == 2 && down % 2 == 1);
                Some(down + i64::from(up))
            });
            assert_eq!(at("CeilToInt(IntTrueDiv(Symbol('s0'), Integer(3)))", n), Some((n + 2) / 3));
            assert_eq!(at("TruncToInt(Mul(Float('0.5'), ToFloat(Symbol('s0'))))", n), Some(n / 2));
            let shifted = "TruncToInt(IntTrueDiv(Add(Integer(-5), Symbol('s0')), Integer(2)))";
            assert_eq!(at(shifted, n), Some(((x - 5.0) / 2.0).trunc() as i64));
        }
        assert_eq!(at("TruncToInt(OpaqueUnaryFn_sqrt(ToFloat(Symbol('s0'))))", 9), None);
    }

    #[test]
    fn choices_by_a_condition() {
        for (n, want) in [(4, 3), (5, 3), (6, 2)] {
            let text = "Where(StrictGreaterThan(Symbol('s0'), Integer(5)), Integer(2), Integer(3))";
            assert_eq!(at(text, n), Some(want));
        }
        let both = "Where(And(Ge(Symbol('s0'), Integer(2)), Ne(Symbol('s0'), Integer(4))), \
                    Symbol('s0'), Integer(0))";
        assert_eq!([1, 2, 3, 4, 5].map(|n| at(both, n)), [0, 2, 3, 0, 5].map(Some));
    }

    #[test]
    fn floats_are_no_extents() {
        assert_eq!(to_dim(&parse("TruncToInt(Symbol('zuf0'))").expect("an expression")), None);
    }
}
