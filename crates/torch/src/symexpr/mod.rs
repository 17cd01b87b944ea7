//! Symbolic scalars: sizes and conditions that depend on the sizes of the inputs.
//!
//! torch writes them as the text of a sympy expression, either its constructor form
//! (`Add(Integer(1), Symbol('s0'))`) or, in old files, plain infix (`s0 + 1`). Both become the same
//! tree; [`SymExpr`]'s `Display` is infix.

mod names;
mod parse;

use std::fmt;

pub use parse::{ParseError, parse};

/// A symbolic scalar.
#[derive(Debug, Clone, PartialEq)]
pub enum SymExpr {
    /// An integer.
    Int(i64),
    /// A fraction; the denominator is positive.
    Rational(i64, i64),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Plus or minus infinity.
    Infinity {
        /// Whether it is minus infinity.
        negative: bool,
    },
    /// A size that is not known: `s…` comes from an input, `u…` from data.
    Symbol(String),
    /// A function of others.
    Apply(SymFn, Vec<SymExpr>),
}

/// What an [`SymExpr::Apply`] computes. Integers are unbounded mathematical ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SymFn {
    /// Sum of all.
    Add,
    /// Product of all.
    Mul,
    /// First to the power of the second.
    Pow,
    /// Quotient rounded down.
    FloorDiv,
    /// Exact quotient.
    TrueDiv,
    /// Remainder of numbers that are not negative.
    Mod,
    /// Remainder with the sign of the divisor.
    PythonMod,
    /// Quotient rounded up.
    CeilDiv,
    /// `(a // b) % c`.
    ModularIndexing,
    /// `a · 2^b`.
    LShift,
    /// `a // 2^b`.
    RShift,
    /// Greatest of all.
    Max,
    /// Least of all.
    Min,
    /// Absolute value.
    Abs,
    /// Greatest integer that is not above.
    Floor,
    /// Least integer that is not below.
    Ceil,
    /// Integer part.
    Trunc,
    /// Nearest integer, ties to even.
    Round,
    /// Square root.
    Sqrt,
    /// `eˣ`.
    Exp,
    /// Natural logarithm.
    Log,
    /// The number as a float.
    ToFloat,
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// All hold.
    And,
    /// One holds.
    Or,
    /// Does not hold.
    Not,
    /// `(value, condition)` pairs, flattened: the value of the first condition that holds.
    Piecewise,
    /// `(condition, then, else)`.
    Where,
}

impl SymExpr {
    /// The integer, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(i) => Some(*i),
            _ => None,
        }
    }

    /// Names of all symbols, in order of appearance, with repeats.
    #[must_use]
    pub fn symbols(&self) -> Vec<&str> {
        match self {
            Self::Symbol(name) => vec![name],
            Self::Apply(_, args) => args.iter().flat_map(Self::symbols).collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for SymExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(i) => write!(f, "{i}"),
            Self::Rational(p, q) => write!(f, "({p}/{q})"),
            Self::Float(x) => write!(f, "{x:?}"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Infinity { negative: false } => f.write_str("oo"),
            Self::Infinity { negative: true } => f.write_str("-oo"),
            Self::Symbol(name) => f.write_str(name),
            Self::Apply(function, args) => {
                let operator = function.operator();
                let (open, separator) = match operator {
                    Some(operator) => ("(".to_owned(), format!(" {operator} ")),
                    None => (format!("{function:?}("), ", ".to_owned()),
                };
                f.write_str(&open)?;
                for (i, arg) in args.iter().enumerate() {
                    if i > 0 {
                        f.write_str(&separator)?;
                    }
                    write!(f, "{arg}")?;
                }
                f.write_str(")")
            }
        }
    }
}
