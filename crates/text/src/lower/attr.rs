//! Attributes.

use mlc_diag::codes;
use mlc_ir::{AttrKind, AttrSpec, AttrValue, F64, Op, OpSpec};
use mlc_tensor::DType;

use super::Lower;
use super::literal::describe;
use crate::ast::{AttrAst, AttrValueAst, Literal, LiteralKind, Number, OpAst};
use crate::float;

impl Lower<'_> {
    /// The payload that the statement asks for.
    pub(super) fn payload(&mut self, ast: &OpAst, spec: &OpSpec) -> Option<Op> {
        let mut values: Vec<Option<AttrValue>> = vec![None; spec.attrs.len()];
        let mut sound = true;
        if let (Some(constant), Some(slot)) = (&ast.constant, values.first_mut()) {
            let id = self.constant(constant, ast.types.first());
            sound &= id.is_some();
            *slot = id.map(AttrValue::Const);
        }
        for attr in &ast.attrs {
            let Some(at) = spec.attrs.iter().position(|a| a.name == attr.name.item) else {
                let message = format!("`{}` has no attribute `{}`", spec.name, attr.name.item);
                self.unknown(
                    (codes::BAD_ATTRIBUTE, attr.name.span),
                    (message, &attr.name.item),
                    spec.attrs.iter().map(|a| a.name),
                );
                sound = false;
                continue;
            };
            if values[at].is_some() {
                self.duplicate(attr.name.span, &format!("attribute `{}`", attr.name.item));
                sound = false;
            }
            values[at] = self.attr(attr, &spec.attrs[at]);
            sound &= values[at].is_some();
        }
        if !sound {
            return None;
        }
        match Op::from_attrs(spec.name, &values)? {
            Ok(op) => Some(op),
            Err(at) => {
                self.misfit(ast, spec, at, values.get(at).and_then(Option::as_ref));
                None
            }
        }
    }

    fn misfit(&mut self, ast: &OpAst, spec: &OpSpec, at: usize, given: Option<&AttrValue>) {
        let name = spec.attrs.get(at).map_or("?", |attr| attr.name);
        let message = match given {
            Some(value) => format!("`{}` cannot have `{name} = {value}`", spec.name),
            None => format!("`{}` needs the attribute `{name}`", spec.name),
        };
        let span =
            ast.attrs.iter().find(|attr| attr.name.item == name).map_or(ast.span, |a| a.span);
        self.problem(codes::BAD_ATTRIBUTE, span, message);
    }

    fn attr(&mut self, attr: &AttrAst, spec: &AttrSpec) -> Option<AttrValue> {
        let literal = match (&attr.value, spec.kind) {
            (AttrValueAst::Const(constant), AttrKind::Const) => {
                let id = self.constant(constant, constant.ty.as_ref())?;
                return self.same_type(constant, id).then_some(AttrValue::Const(id));
            }
            (AttrValueAst::Plain(literal), AttrKind::Const) => {
                let tensor =
                    super::literal::tensor(literal, super::literal::default_dtype(literal), None);
                let tensor = self.fitting(tensor)?;
                return Some(AttrValue::Const(self.program.consts.intern(tensor)));
            }
            (AttrValueAst::Plain(literal), _) => literal,
            (AttrValueAst::Const(_), _) => {
                let message =
                    format!("`{}` takes {}, not a constant", spec.name, wanted(spec.kind));
                self.problem(codes::BAD_ATTRIBUTE, attr.span, message);
                return None;
            }
        };
        let value = value(spec.kind, literal);
        if value.is_none() {
            let message =
                format!("`{}` takes {}, not {}", spec.name, wanted(spec.kind), describe(literal));
            let known = match spec.kind {
                AttrKind::Word(words) => words,
                _ => &[],
            };
            let given = match &literal.kind {
                LiteralKind::Word(word) | LiteralKind::Str(word) => word.as_str(),
                _ => "",
            };
            let place = (codes::BAD_ATTRIBUTE, literal.span);
            self.unknown(place, (message, given), known.iter().copied());
        }
        value
    }

    /// Whether a named constant has the type that stands behind it.
    fn same_type(&mut self, constant: &crate::ast::ConstAst, id: mlc_ir::ConstId) -> bool {
        let Some(ty) = &constant.ty else { return true };
        let Some((dtype, shape)) = self.static_type(ty) else { return false };
        let tensor = self.program.consts.get(id);
        let same = tensor.dtype() == dtype && tensor.shape() == shape;
        if !same {
            let message = format!("the constant is {:?} of {}", tensor.shape(), tensor.dtype());
            self.problem(codes::TYPE_MISMATCH, ty.span, message);
        }
        same
    }
}

/// The value of an attribute of `kind`, if the literal is one.
fn value(kind: AttrKind, literal: &Literal) -> Option<AttrValue> {
    let optional = |inner| match &literal.kind {
        LiteralKind::Word(word) if word == "none" => Some(AttrValue::None),
        _ => value(inner, literal),
    };
    match kind {
        AttrKind::Int => int(literal).map(AttrValue::Int),
        AttrKind::Float => match &literal.kind {
            LiteralKind::Number(number) => {
                let bits = float::encode(number, DType::F64).ok()?;
                Some(AttrValue::Float(F64(f64::from_bits(bits))))
            }
            _ => None,
        },
        AttrKind::Bool => bool(literal).map(AttrValue::Bool),
        AttrKind::Str => text(literal).map(AttrValue::Str),
        AttrKind::Ints => list(literal, int).map(AttrValue::Ints),
        AttrKind::Bools => list(literal, bool).map(AttrValue::Bools),
        AttrKind::Strs => list(literal, text).map(AttrValue::Strs),
        AttrKind::DType => match &literal.kind {
            LiteralKind::Word(word) => DType::from_name(word).map(AttrValue::DType),
            _ => None,
        },
        AttrKind::Word(words) => match &literal.kind {
            LiteralKind::Word(word) | LiteralKind::Str(word) => {
                words.iter().find(|w| *w == word).map(|w| AttrValue::Word(w))
            }
            _ => None,
        },
        AttrKind::Const => None,
        AttrKind::OptInt => optional(AttrKind::Int),
        AttrKind::OptFloat => optional(AttrKind::Float),
        AttrKind::OptInts => optional(AttrKind::Ints),
        AttrKind::OptBool => optional(AttrKind::Bool),
    }
}

fn int(literal: &Literal) -> Option<i64> {
    match literal.kind {
        LiteralKind::Number(Number::Int(i)) => i64::try_from(i).ok(),
        _ => None,
    }
}

fn bool(literal: &Literal) -> Option<bool> {
    match literal.kind {
        LiteralKind::Bool(b) => Some(b),
        _ => None,
    }
}

fn text(literal: &Literal) -> Option<String> {
    match &literal.kind {
        LiteralKind::Str(text) => Some(text.clone()),
        _ => None,
    }
}

fn list<T>(literal: &Literal, item: fn(&Literal) -> Option<T>) -> Option<Vec<T>> {
    match &literal.kind {
        LiteralKind::List(items) => items.iter().map(item).collect(),
        _ => None,
    }
}

fn wanted(kind: AttrKind) -> String {
    let fixed = match kind {
        AttrKind::Int => "an integer",
        AttrKind::Float => "a float",
        AttrKind::Bool => "true or false",
        AttrKind::Str => "a text in quotes",
        AttrKind::Ints => "a list of integers",
        AttrKind::Bools => "a list of true and false",
        AttrKind::Strs => "a list of texts in quotes",
        AttrKind::DType => "an element type",
        AttrKind::Const => "a constant",
        AttrKind::OptInt => "an integer or `none`",
        AttrKind::OptFloat => "a float or `none`",
        AttrKind::OptInts => "a list of integers or `none`",
        AttrKind::OptBool => "true, false or `none`",
        AttrKind::Word(words) => {
            let shown: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
            return format!("one of {}", shown.join(", "));
        }
    };
    fixed.to_owned()
}
