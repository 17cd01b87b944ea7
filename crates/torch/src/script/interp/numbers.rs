//! Arithmetic of Python numbers.

use mlc_ir::{Algebra, Dim, DimOp};
use mlc_tensor::{DType, Tensor};

use super::Interp;
use super::item::{Item, NumberKind};
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::value::{TensorId, Val};
use crate::symexpr::{SymExpr, SymFn};

const BINARY: &[&str] = &[
    "add",
    "sub",
    "mul",
    "div",
    "truediv",
    "true_divide",
    "floordiv",
    "floor_divide",
    "remainder",
    "mod",
    "fmod",
    "pow",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "__and__",
    "__or__",
    "__xor__",
    "__lshift__",
    "__rshift__",
    "min",
    "max",
    "minimum",
    "maximum",
    "atan2",
    "copysign",
    "gcd",
];
const UNARY: &[&str] = &[
    "neg",
    "abs",
    "fabs",
    "sqrt",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "floor",
    "ceil",
    "round",
    "trunc",
    "isnan",
    "isinf",
    "isfinite",
    "__not__",
    "bitwise_not",
    "__invert__",
    "degrees",
    "radians",
    "int",
    "Int",
    "IntImplicit",
    "float",
    "Float",
    "FloatImplicit",
    "bool",
    "Bool",
    "ScalarImplicit",
    "Scalar",
    "factorial",
    "real",
    "imag",
];

/// Whether a function computes with numbers.
pub(super) fn is_number_function(name: &str) -> bool {
    BINARY.contains(&name) || UNARY.contains(&name)
}

/// The dim of an integer or truth value.
fn integer(item: &Item) -> Option<Dim> {
    match item {
        Item::Val(Val::Int(dim)) => Some(dim.clone()),
        Item::Val(Val::Bool(b)) => Some(Dim::Const(i64::from(*b))),
        _ => None,
    }
}

/// The number, if it is known.
fn known(item: &Item) -> Option<f64> {
    match item {
        Item::Val(Val::Float(x)) => Some(*x),
        item => integer(item)?.as_const().map(|n| n as f64),
    }
}

fn is_number(item: &Item) -> bool {
    matches!(
        item,
        Item::Number(..) | Item::Val(Val::Int(_) | Val::Float(_) | Val::Bool(_) | Val::Relation(_))
    )
}

impl Interp<'_, '_, '_> {
    /// A function of numbers; `None` if it is none, or its arguments are no numbers.
    pub(super) fn number_function(
        &mut self,
        name: &str,
        args: &[Item],
    ) -> Option<LowerResult<Item>> {
        if !is_number_function(name) || !args.iter().all(is_number) {
            return None;
        }
        match args {
            [x] if UNARY.contains(&name) => Some(self.unary(name, x)),
            [a, b] if name == "log" => Some(match (known(a), known(b)) {
                (Some(x), Some(base)) => Ok(Item::float(x.ln() / base.ln())),
                _ => Err(LowerError::dynamic("a logarithm of a number that is not known")),
            }),
            [a, b] if BINARY.contains(&name) => Some(self.arithmetic(name, a, b)),
            _ => None,
        }
    }

    /// `a op b`.
    pub(super) fn arithmetic(&mut self, op: &str, a: &Item, b: &Item) -> LowerResult<Item> {
        let both_bools = |a: &Item, b: &Item| {
            matches!((a, b), (Item::Val(Val::Bool(_)), Item::Val(Val::Bool(_))))
        };
        if matches!(op, "__and__" | "__or__" | "__xor__")
            && (both_bools(a, b) || integer(a).is_none() || integer(b).is_none())
        {
            return self.logical(op, a, b);
        }
        if let (Some(x), Some(y)) = (integer(a), integer(b)) {
            if let Some(function) = comparison(op) {
                return Ok(self.compare(function, &x, &y));
            }
            if let Some(result) = of_ints(op, &x, &y)? {
                return Ok(result);
            }
        }
        if let (Some(x), Some(y)) = (known(a), known(b)) {
            return of_floats(op, x, y);
        }
        self.of_tensors(op, a, b)
    }

    fn compare(&self, function: SymFn, x: &Dim, y: &Dim) -> Item {
        let difference = x.sub(y);
        let (low, high) = self.cx.b.program.symbols.bounds(&difference);
        let (below, above) = (high.is_some_and(|h| h < 0), low.is_some_and(|l| l > 0));
        let (not_above, not_below) = (high.is_some_and(|h| h <= 0), low.is_some_and(|l| l >= 0));
        let answer = |yes: bool, no: bool| match (yes, no) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let known = match function {
            SymFn::Lt => answer(below, not_below),
            SymFn::Le => answer(not_above, above),
            SymFn::Gt => answer(above, not_above),
            SymFn::Ge => answer(not_below, below),
            SymFn::Eq => answer(difference.is(0), below || above),
            _ => answer(below || above, difference.is(0)),
        };
        match (known, to_expr(x), to_expr(y)) {
            (Some(known), ..) => Item::bool(known),
            (None, Some(x), Some(y)) => {
                Item::Val(Val::Relation(SymExpr::Apply(function, vec![x, y])))
            }
            _ => Item::absent(
                mlc_diag::codes::DYNAMIC_SHAPE,
                format!("whether `{x}` and `{y}` are so is not known"),
                "give the inputs fixed shapes",
            ),
        }
    }

    fn logical(&mut self, op: &str, a: &Item, b: &Item) -> LowerResult<Item> {
        let and = op == "__and__";
        match (a, b) {
            (Item::Val(Val::Bool(x)), Item::Val(Val::Bool(y))) => Ok(Item::bool(match op {
                "__and__" => *x && *y,
                "__or__" => *x || *y,
                _ => x != y,
            })),
            (Item::Val(Val::Bool(known)), other) | (other, Item::Val(Val::Bool(known)))
                if op != "__xor__" =>
            {
                Ok(if *known == and { other.clone() } else { Item::bool(!and) })
            }
            (Item::Val(Val::Relation(x)), Item::Val(Val::Relation(y))) if op != "__xor__" => {
                let function = if and { SymFn::And } else { SymFn::Or };
                Ok(Item::Val(Val::Relation(SymExpr::Apply(function, vec![x.clone(), y.clone()]))))
            }
            _ => {
                let op = match op {
                    "__and__" => "aten.logical_and",
                    "__or__" => "aten.logical_or",
                    _ => "aten.logical_xor",
                };
                let (x, y) = (self.tensor_of(a)?, self.tensor_of(b)?);
                let args = [("self", Val::Tensor(x)), ("other", Val::Tensor(y))];
                let result = self.cx.call_tensor(op, &args)?;
                Ok(Item::Number(result, NumberKind::Bool))
            }
        }
    }

    /// Arithmetic while the program runs.
    fn of_tensors(&mut self, op: &str, a: &Item, b: &Item) -> LowerResult<Item> {
        let op = match op {
            "truediv" | "true_divide" => "div",
            "floordiv" => "floor_divide",
            "min" => "minimum",
            "max" => "maximum",
            "mod" => "fmod",
            op => op,
        };
        let (mut x, mut y) = (self.tensor_of(a)?, self.tensor_of(b)?);
        if matches!(op, "minimum" | "maximum") {
            x = self.float_tensor(x)?;
            y = self.float_tensor(y)?;
        }
        let args = [("self", Val::Tensor(x)), ("other", Val::Tensor(y))];
        let args = if op == "pow" { [args[0].clone(), ("exponent", Val::Tensor(y))] } else { args };
        let result = self.cx.call_tensor(&format!("aten.{op}"), &args)?;
        let kind = if comparison(op).is_some() { NumberKind::Bool } else { NumberKind::Float };
        Ok(Item::Number(result, kind))
    }

    fn float_tensor(&mut self, x: TensorId) -> LowerResult<TensorId> {
        let args = [("self", Val::Tensor(x)), ("dtype", Val::DType(DType::F32))];
        self.cx.call_tensor("aten.to", &args)
    }

    /// A number as a tensor of rank 0.
    pub(super) fn tensor_of(&mut self, item: &Item) -> LowerResult<TensorId> {
        let tensor = match item {
            Item::Number(tensor, _) | Item::Val(Val::Tensor(tensor)) => return Ok(*tensor),
            Item::Val(Val::Float(x)) => Tensor::from_f64s(DType::F32, &[], &[*x])?,
            Item::Val(Val::Bool(b)) => Tensor::from_bytes(DType::Bool, &[], vec![u8::from(*b)])?,
            Item::Val(Val::Int(dim)) => match dim.as_const() {
                Some(n) => Tensor::from_i64s(DType::I64, &[], &[n])?,
                None => {
                    let value = dims::scalar(self.cx, dim)?;
                    let value = self.cx.cast(value, DType::I64)?;
                    return Ok(self.cx.fresh_tensor(value));
                }
            },
            Item::Val(val @ Val::Relation(_)) => {
                let truth = self.cx.predicate(val)?;
                let value = self.cx.truth_value(truth)?;
                return Ok(self.cx.fresh_tensor(value));
            }
            item => return Err(LowerError::invalid(format!("{} as a number", item.kind()))),
        };
        let value = self.cx.b.constant(tensor)?;
        Ok(self.cx.fresh_tensor(value))
    }

    fn unary(&mut self, op: &str, x: &Item) -> LowerResult<Item> {
        match op {
            "int" | "Int" | "IntImplicit" | "trunc" => return self.int_of(x),
            "float" | "Float" | "FloatImplicit" => return self.float_of(x),
            "bool" | "Bool" => return self.bool_of(x),
            "ScalarImplicit" | "Scalar" => return self.scalar_of(x),
            "__not__" => return self.negated(x),
            _ => {}
        }
        if let Some(n) = integer(x) {
            let result = match op {
                "neg" => Dim::Const(0).sub(&n),
                "floor" | "ceil" | "round" | "real" => n,
                "abs" if n.as_const().is_none() => n.maximum(&Dim::Const(0).sub(&n)),
                "abs" => Dim::Const(n.as_const().and_then(i64::checked_abs).unwrap_or(i64::MAX)),
                "bitwise_not" | "__invert__" => Dim::Const(-1).sub(&n),
                _ => match n.as_const() {
                    Some(n) => return of_float(op, n as f64),
                    None => return self.unary_tensor(op, x),
                },
            };
            return Ok(Item::Val(Val::Int(result)));
        }
        match known(x) {
            Some(x) => of_float(op, x),
            None => self.unary_tensor(op, x),
        }
    }

    fn unary_tensor(&mut self, op: &str, x: &Item) -> LowerResult<Item> {
        let mut tensor = self.tensor_of(x)?;
        let name = match op {
            "fabs" => "abs",
            name => name,
        };
        if !matches!(name, "neg" | "abs") {
            tensor = self.float_tensor(tensor)?;
        }
        let result =
            self.cx.call_tensor(&format!("aten.{name}"), &[("self", Val::Tensor(tensor))])?;
        match op {
            "floor" | "ceil" => self.int_of(&Item::Val(Val::Tensor(result))),
            "isnan" | "isinf" | "isfinite" => Ok(Item::Number(result, NumberKind::Bool)),
            _ => Ok(Item::Number(result, NumberKind::Float)),
        }
    }

    pub(super) fn negated(&mut self, x: &Item) -> LowerResult<Item> {
        match self.bool_of(x)? {
            Item::Val(Val::Bool(known)) => Ok(Item::bool(!known)),
            Item::Val(Val::Relation(expr)) => {
                Ok(Item::Val(Val::Relation(SymExpr::Apply(SymFn::Not, vec![expr]))))
            }
            Item::Number(tensor, _) => {
                let args = [("self", Val::Tensor(tensor))];
                let result = self.cx.call_tensor("aten.logical_not", &args)?;
                Ok(Item::Number(result, NumberKind::Bool))
            }
            item => Err(LowerError::invalid(format!("not of {}", item.kind()))),
        }
    }
}

fn comparison(op: &str) -> Option<SymFn> {
    Some(match op {
        "eq" => SymFn::Eq,
        "ne" => SymFn::Ne,
        "lt" => SymFn::Lt,
        "le" => SymFn::Le,
        "gt" => SymFn::Gt,
        "ge" => SymFn::Ge,
        _ => return None,
    })
}

/// Arithmetic of integers that gives an integer; `None` where it gives something else.
fn of_ints(op: &str, x: &Dim, y: &Dim) -> LowerResult<Option<Item>> {
    let divisor = || {
        if y.is(0) { Err(LowerError::invalid("a division by zero")) } else { Ok(()) }
    };
    let both = x.as_const().zip(y.as_const());
    let overflow = || LowerError::invalid("an integer is out of range");
    let result = match op {
        "add" => x.add(y),
        "sub" => x.sub(y),
        "mul" => x.mul(y),
        "min" | "minimum" => x.minimum(y),
        "max" | "maximum" => x.maximum(y),
        "floordiv" | "floor_divide" => {
            divisor()?;
            match both {
                Some((a, b)) => {
                    let quotient = a.checked_div(b).ok_or_else(overflow)?;
                    let down = a % b != 0 && (a < 0) != (b < 0);
                    Dim::Const(quotient - i64::from(down))
                }
                None => x.floor_div(y),
            }
        }
        "remainder" => {
            divisor()?;
            match both {
                Some((a, b)) => {
                    let rest = a.checked_rem(b).ok_or_else(overflow)?;
                    let other = rest != 0 && (rest < 0) != (b < 0);
                    Dim::Const(if other { rest + b } else { rest })
                }
                None => x.modulo(y),
            }
        }
        "pow" => match (both, y.as_const()) {
            (Some((a, b)), _) if b >= 0 => {
                let power = u32::try_from(b).ok().and_then(|b| a.checked_pow(b));
                return Ok(power.map_or_else(
                    || Some(Item::float((a as f64).powf(b as f64))),
                    |power| Some(Item::int(power)),
                ));
            }
            (None, Some(b @ 0..=8)) => (0..b).fold(Dim::Const(1), |product, _| product.mul(x)),
            _ => return Ok(None),
        },
        "__and__" | "__or__" | "__xor__" | "__lshift__" | "__rshift__" | "gcd" => {
            let Some((a, b)) = both else {
                return Err(LowerError::dynamic("bits of an extent that is not known"));
            };
            let shift = |f: fn(i64, u32) -> Option<i64>| {
                u32::try_from(b).ok().and_then(|b| f(a, b)).ok_or_else(overflow)
            };
            Dim::Const(match op {
                "__and__" => a & b,
                "__or__" => a | b,
                "__xor__" => a ^ b,
                "__lshift__" => shift(i64::checked_shl)?,
                "__rshift__" => shift(i64::checked_shr)?,
                _ => gcd(a.unsigned_abs(), b.unsigned_abs()) as i64,
            })
        }
        _ => return Ok(None),
    };
    if result == Dim::Unknown {
        return Err(overflow());
    }
    Ok(Some(Item::Val(Val::Int(result))))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn of_floats(op: &str, x: f64, y: f64) -> LowerResult<Item> {
    if y == 0.0 && matches!(op, "div" | "truediv" | "true_divide" | "floordiv" | "floor_divide") {
        return Err(LowerError::invalid("a division by zero"));
    }
    Ok(Item::float(match op {
        "add" => x + y,
        "sub" => x - y,
        "mul" => x * y,
        "div" | "truediv" | "true_divide" => x / y,
        "floordiv" | "floor_divide" => (x / y).floor(),
        "remainder" => x - (x / y).floor() * y,
        "mod" | "fmod" => x % y,
        "pow" => x.powf(y),
        "min" | "minimum" => x.min(y),
        "max" | "maximum" => x.max(y),
        "atan2" => x.atan2(y),
        "copysign" => x.copysign(y),
        "eq" => return Ok(Item::bool(x == y)),
        "ne" => return Ok(Item::bool(x != y)),
        "lt" => return Ok(Item::bool(x < y)),
        "le" => return Ok(Item::bool(x <= y)),
        "gt" => return Ok(Item::bool(x > y)),
        "ge" => return Ok(Item::bool(x >= y)),
        op => return Err(LowerError::argument(format!("`{op}` of floats"))),
    }))
}

fn of_float(op: &str, x: f64) -> LowerResult<Item> {
    let whole = |x: f64| {
        let fits = x.is_finite() && x.abs() < 9.2e18;
        fits.then(|| Item::int(x as i64)).ok_or_else(|| LowerError::invalid("no integer"))
    };
    Ok(Item::float(match op {
        "neg" => -x,
        "abs" | "fabs" => x.abs(),
        "sqrt" => x.sqrt(),
        "exp" => x.exp(),
        "expm1" => x.exp_m1(),
        "log" => x.ln(),
        "log1p" => x.ln_1p(),
        "log2" => x.log2(),
        "log10" => x.log10(),
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tan" => x.tan(),
        "asin" => x.asin(),
        "acos" => x.acos(),
        "atan" => x.atan(),
        "sinh" => x.sinh(),
        "cosh" => x.cosh(),
        "tanh" => x.tanh(),
        "asinh" => x.asinh(),
        "acosh" => x.acosh(),
        "atanh" => x.atanh(),
        "degrees" => x.to_degrees(),
        "radians" => x.to_radians(),
        "round" => x.round_ties_even(),
        "real" => x,
        "floor" => return whole(x.floor()),
        "ceil" => return whole(x.ceil()),
        "isnan" => return Ok(Item::bool(x.is_nan())),
        "isinf" => return Ok(Item::bool(x.is_infinite())),
        "isfinite" => return Ok(Item::bool(x.is_finite())),
        op => return Err(LowerError::argument(format!("`{op}` of a float"))),
    }))
}

struct ToExpr;

impl Algebra for ToExpr {
    type Value = SymExpr;
    type Error = ();

    fn constant(&mut self, n: i64) -> Result<SymExpr, ()> {
        Ok(SymExpr::Int(n))
    }

    fn symbol(&mut self, name: &str) -> Result<SymExpr, ()> {
        Ok(SymExpr::Symbol(name.to_owned()))
    }

    fn apply(&mut self, op: DimOp, x: SymExpr, y: SymExpr) -> Result<SymExpr, ()> {
        let function = match op {
            DimOp::Add => SymFn::Add,
            DimOp::Mul => SymFn::Mul,
            DimOp::FloorDiv => SymFn::FloorDiv,
            DimOp::Mod => SymFn::PythonMod,
            DimOp::Max => SymFn::Max,
            DimOp::Min => SymFn::Min,
        };
        Ok(SymExpr::Apply(function, vec![x, y]))
    }

    fn unknown(&mut self) -> Result<SymExpr, ()> {
        Err(())
    }
}

/// An extent as a symbolic expression.
fn to_expr(dim: &Dim) -> Option<SymExpr> {
    dim.evaluate(&mut ToExpr).ok()
}
