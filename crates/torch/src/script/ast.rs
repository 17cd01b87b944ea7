//! What the source of an archive says.
//!
//! Types are expressions: `Dict[str, Tensor]` is a subscript.

use std::sync::Arc;

/// A name.
pub(crate) type Name = Arc<str>;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    /// First byte in its file.
    pub(crate) at: u32,
    pub(crate) kind: ExprKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExprKind {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// An imaginary number.
    Imaginary(f64),
    Str(String),
    Name(Name),
    Attr(Box<Expr>, Name),
    Index(Box<Expr>, Box<Expr>),
    Call(Box<Expr>, Vec<Expr>, Vec<(Name, Expr)>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Unary(Unary, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `then if condition else otherwise`, in the order condition, then, otherwise.
    If(Box<[Expr; 3]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    Minus,
    Invert,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    And,
    Or,
    /// An operator, by the name of the function that it stands for.
    Call(&'static str),
}

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stmt {
    /// First byte in its file.
    pub(crate) at: u32,
    pub(crate) kind: StmtKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StmtKind {
    Assign {
        targets: Vec<Expr>,
        /// Whether the value is a sequence whose items go to the targets.
        unpack: bool,
        ty: Option<Expr>,
        value: Expr,
    },
    /// `name : Type` in a class.
    Declare(Expr, Expr),
    Expr(Expr),
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    For(Expr, Expr, Vec<Stmt>),
    While(Expr, Vec<Stmt>),
    Return(Option<Expr>),
    /// A function within another, which sees the names around it.
    Define(Function),
    /// A check with its message.
    Assert(Expr, Option<Expr>),
    Raise(Option<Expr>),
    Break,
    Continue,
    Pass,
}

/// A parameter of a function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) name: Name,
    pub(crate) ty: Option<Expr>,
    pub(crate) default: Option<Expr>,
}

/// A function or method.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: Name,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) result: Option<Expr>,
    pub(crate) body: Vec<Stmt>,
}

/// A class.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Class {
    pub(crate) name: Name,
    /// `Module`, `NamedTuple`, `Enum`, `Interface`, or nothing.
    pub(crate) base: Option<Name>,
    /// Attributes with their types, in order.
    pub(crate) attributes: Vec<(Name, Expr)>,
    /// Values that stand in the class.
    pub(crate) values: Vec<(Name, Expr)>,
    pub(crate) parameters: Vec<Name>,
    pub(crate) methods: Vec<Function>,
}

/// What a file defines.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct File {
    pub(crate) classes: Vec<Class>,
    pub(crate) functions: Vec<Function>,
}

impl Expr {
    /// The name, if it is one.
    pub(crate) fn as_name(&self) -> Option<&Name> {
        match &self.kind {
            ExprKind::Name(name) => Some(name),
            _ => None,
        }
    }

    /// `a.b.c`, if it is names alone.
    pub(crate) fn path(&self) -> Option<String> {
        match &self.kind {
            ExprKind::Name(name) => Some(name.to_string()),
            ExprKind::Attr(of, name) => Some(format!("{}.{name}", of.path()?)),
            _ => None,
        }
    }

    /// The head of a type and its arguments: `Dict` and two for `Dict[str, Tensor]`.
    pub(crate) fn type_parts(&self) -> Option<(String, &[Expr])> {
        match &self.kind {
            ExprKind::Index(head, argument) => {
                let arguments = match &argument.kind {
                    ExprKind::Tuple(items) => items.as_slice(),
                    _ => std::slice::from_ref(&**argument),
                };
                Some((head.path()?, arguments))
            }
            ExprKind::None => Some(("NoneType".to_owned(), &[])),
            _ => Some((self.path()?, &[])),
        }
    }
}
