//! Names of functions in sympy and in torch, and how many arguments they take.

use super::SymFn;

const NAMES: &[(&str, SymFn)] = &[
    ("Add", SymFn::Add),
    ("Mul", SymFn::Mul),
    ("Pow", SymFn::Pow),
    ("PowByNatural", SymFn::Pow),
    ("FloatPow", SymFn::Pow),
    ("FloorDiv", SymFn::FloorDiv),
    ("CleanDiv", SymFn::FloorDiv),
    ("IntTrueDiv", SymFn::TrueDiv),
    ("FloatTrueDiv", SymFn::TrueDiv),
    ("TrueDiv", SymFn::TrueDiv),
    ("Mod", SymFn::Mod),
    ("PythonMod", SymFn::PythonMod),
    ("CeilDiv", SymFn::CeilDiv),
    ("ModularIndexing", SymFn::ModularIndexing),
    ("LShift", SymFn::LShift),
    ("RShift", SymFn::RShift),
    ("Max", SymFn::Max),
    ("Min", SymFn::Min),
    ("Abs", SymFn::Abs),
    ("floor", SymFn::Floor),
    ("FloorToInt", SymFn::Floor),
    ("ceiling", SymFn::Ceil),
    ("CeilToInt", SymFn::Ceil),
    ("TruncToInt", SymFn::Trunc),
    ("TruncToFloat", SymFn::Trunc),
    ("RoundToInt", SymFn::Round),
    ("sqrt", SymFn::Sqrt),
    ("OpaqueUnaryFn_sqrt", SymFn::Sqrt),
    ("exp", SymFn::Exp),
    ("OpaqueUnaryFn_exp", SymFn::Exp),
    ("log", SymFn::Log),
    ("OpaqueUnaryFn_log", SymFn::Log),
    ("ToFloat", SymFn::ToFloat),
    ("Equality", SymFn::Eq),
    ("Eq", SymFn::Eq),
    ("Unequality", SymFn::Ne),
    ("Ne", SymFn::Ne),
    ("StrictLessThan", SymFn::Lt),
    ("Lt", SymFn::Lt),
    ("LessThan", SymFn::Le),
    ("Le", SymFn::Le),
    ("StrictGreaterThan", SymFn::Gt),
    ("Gt", SymFn::Gt),
    ("GreaterThan", SymFn::Ge),
    ("Ge", SymFn::Ge),
    ("And", SymFn::And),
    ("Or", SymFn::Or),
    ("Not", SymFn::Not),
    ("Where", SymFn::Where),
];

impl SymFn {
    /// The function of that name in sympy or in torch's own classes.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|row| row.0 == name).map(|row| row.1)
    }

    /// Its infix operator, if it has one.
    pub(super) fn operator(self) -> Option<&'static str> {
        Some(match self {
            Self::Add => "+",
            Self::Mul => "*",
            Self::Pow => "**",
            Self::FloorDiv => "//",
            Self::TrueDiv => "/",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::And => "and",
            Self::Or => "or",
            _ => return None,
        })
    }

    /// Whether it takes `count` arguments.
    pub(super) fn takes(self, count: usize) -> bool {
        match self {
            Self::Add | Self::Mul | Self::Max | Self::Min | Self::And | Self::Or => count >= 1,
            Self::Abs
            | Self::Floor
            | Self::Ceil
            | Self::Trunc
            | Self::Round
            | Self::Sqrt
            | Self::Exp
            | Self::Log
            | Self::ToFloat
            | Self::Not => count == 1,
            Self::ModularIndexing | Self::Where => count == 3,
            Self::Piecewise => count >= 2 && count.is_multiple_of(2),
            _ => count == 2,
        }
    }
}
