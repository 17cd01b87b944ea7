//! What a text says before names, types and attributes are looked up.

use mlc_diag::Loc;
use mlc_ir::Type;
use mlc_tensor::ZipOp;

use crate::source::Span;

/// Something with its place.
#[derive(Debug, Clone)]
pub(crate) struct Spanned<T> {
    pub(crate) item: T,
    pub(crate) span: Span,
}

/// The name of a value. `%12` and `%"12"` differ: only the latter is a name that is kept.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) number: bool,
    pub(crate) span: Span,
}

impl Name {
    /// What tells values apart within a function.
    pub(crate) fn key(&self) -> (String, bool) {
        (self.text.clone(), self.number)
    }
}

/// A type; symbols in it are checked elsewhere.
pub(crate) type TypeAst = Spanned<Type>;

/// A number as it is written, so that it is rounded once, to the type it gets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Number {
    Int(i128),
    /// Digits with a point or exponent, or `inf`; with its sign.
    Float(String),
    /// Not a number, with its bits if they are not the usual ones.
    Nan(Option<u64>),
}

/// A literal or the value of an attribute.
#[derive(Debug, Clone)]
pub(crate) struct Literal {
    pub(crate) kind: LiteralKind,
    pub(crate) span: Span,
}

#[derive(Debug, Clone)]
pub(crate) enum LiteralKind {
    Number(Number),
    Bool(bool),
    Complex(Number, Number),
    Str(String),
    Word(String),
    List(Vec<Literal>),
}

/// A constant: the name of a weight, or a literal that may have a name and a type.
#[derive(Debug, Clone)]
pub(crate) struct ConstAst {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) literal: Option<Literal>,
    pub(crate) ty: Option<TypeAst>,
}

#[derive(Debug)]
pub(crate) enum AttrValueAst {
    Plain(Literal),
    Const(ConstAst),
}

#[derive(Debug)]
pub(crate) struct AttrAst {
    pub(crate) name: Spanned<String>,
    pub(crate) value: AttrValueAst,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ArgValue {
    Value(Name),
    Literal(Literal, Option<TypeAst>),
    List(Vec<Spanned<ArgValue>>),
}

#[derive(Debug)]
pub(crate) struct ArgAst {
    pub(crate) slot: Option<Spanned<String>>,
    pub(crate) value: Spanned<ArgValue>,
}

#[derive(Debug)]
pub(crate) struct OpAst {
    pub(crate) results: Vec<Name>,
    pub(crate) op: Spanned<String>,
    /// From the op's name to the end of its attributes.
    pub(crate) span: Span,
    pub(crate) constant: Option<ConstAst>,
    pub(crate) args: Vec<ArgAst>,
    pub(crate) attrs: Vec<AttrAst>,
    pub(crate) regions: Vec<RegionAst>,
    pub(crate) types: Vec<TypeAst>,
    pub(crate) loc: Option<Loc>,
}

#[derive(Debug)]
pub(crate) enum Statement {
    Op(Box<OpAst>),
    /// A statement that could not be read and would have defined these.
    Broken(Vec<Name>),
}

#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) statements: Vec<Statement>,
    /// What `return` or `yield` gives; `None` if that statement could not be read.
    pub(crate) results: Option<Vec<Name>>,
    /// The place of `return` or `yield`, or of the closing brace.
    pub(crate) end: Span,
}

#[derive(Debug)]
pub(crate) struct RegionAst {
    pub(crate) args: Vec<(Name, TypeAst)>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) struct ParamAst {
    pub(crate) name: Name,
    pub(crate) feature: Option<String>,
    pub(crate) state: bool,
    pub(crate) ty: TypeAst,
    pub(crate) default: Option<Spanned<Vec<u64>>>,
    pub(crate) enumerated: Vec<Spanned<Vec<u64>>>,
}

#[derive(Debug)]
pub(crate) struct OutputAst {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) ty: TypeAst,
}

#[derive(Debug)]
pub(crate) struct FunctionAst {
    pub(crate) name: Spanned<String>,
    pub(crate) params: Vec<ParamAst>,
    /// `None` where the signature does not say.
    pub(crate) outputs: Option<Vec<OutputAst>>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) struct SymbolAst {
    pub(crate) name: Spanned<String>,
    pub(crate) min: i64,
    pub(crate) max: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct SourceAst {
    pub(crate) kind: SourceKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct TypedSource {
    pub(crate) source: SourceAst,
    pub(crate) ty: TypeAst,
}

#[derive(Debug)]
pub(crate) enum SourceKind {
    File(String, u64),
    Hex(Vec<u8>),
    Splat(Literal),
    Random(u64, f64),
    Literal(Literal),
    Strided { of: Box<TypedSource>, strides: Vec<u64>, offset: u64 },
    Reshape(Box<TypedSource>),
    Transpose(Box<TypedSource>, Vec<usize>),
    Cast(Box<TypedSource>),
    Concat(usize, Vec<TypedSource>),
    Zip(ZipOp, Box<[TypedSource; 2]>),
}

#[derive(Debug)]
pub(crate) struct WeightAst {
    pub(crate) name: Spanned<String>,
    pub(crate) source: TypedSource,
}

/// A whole text.
#[derive(Debug, Default)]
pub(crate) struct Ast {
    pub(crate) symbols: Vec<SymbolAst>,
    pub(crate) metadata: Vec<(Spanned<String>, String)>,
    pub(crate) weights: Vec<WeightAst>,
    /// Names of weights that could not be read.
    pub(crate) broken_weights: Vec<String>,
    pub(crate) functions: Vec<FunctionAst>,
    /// Every use of a symbol in a type.
    pub(crate) symbol_uses: Vec<Spanned<String>>,
    /// Whether `symbols` could be read, so that a missing one is a fault.
    pub(crate) symbols_known: bool,
}
