//! Functions over operands of any type: what stands for an op that the IR does not have.
//!
//! ```text
//! func @"mylib::scaled_silu"(%x: tensor, %scale: float = 1.0, %axis: int) {
//!   %s = sigmoid %x
//!   %m = mul %x, %s
//!   %y = mul %m, %scale
//!   %z = softmax %y {axis = %axis}
//!   return %z
//! }
//! ```
//!
//! A parameter is a `tensor` of any type (or one of a given type, whose extents may be `?`), a list of
//! `tensors`, or a constant: `int`, `float`, `number`, `bool`, `str`, `dtype`, `ints`, `floats`,
//! `bools`. Behind `?` it may be none, behind `=` stands what it is where it is left out. A constant is
//! written as `%name` wherever a literal may stand. `%xs.0` is the first of the tensors `%xs`.
//!
//! [`Template::instantiate`] puts types and constants in the place of parameters and reads the result as
//! any text, so that shapes are inferred anew for each use. Several functions of one name are
//! alternatives, tried in order.

mod instantiate;
mod signature;

pub use instantiate::quoted;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::{Type, ops};

use crate::ast::{Ast, Body, Statement};
use crate::source::{SourceText, Span};
use crate::{names, parse};

/// What a parameter takes.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamType {
    /// A tensor; of this type, if one is given.
    Tensor(Option<Type>),
    /// A list of tensors.
    Tensors,
    /// An integer.
    Int,
    /// A float; an integer serves.
    Float,
    /// An integer or a float.
    Number,
    /// A truth value.
    Bool,
    /// A text.
    Str,
    /// An element type.
    DType,
    /// A list of integers.
    Ints,
    /// A list of floats.
    Floats,
    /// A list of truth values.
    Bools,
}

/// A parameter of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateParam {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub ty: ParamType,
    /// Whether it may be none; a constant is then written `none`.
    pub optional: bool,
    /// The literal that it is where it is left out.
    pub default: Option<String>,
    /// The bytes of its declaration.
    span: Range<usize>,
}

/// What a parameter is given.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// A value of this type.
    Tensor(Type),
    /// Values of these types.
    Tensors(Vec<Type>),
    /// A constant, as a literal of the text form.
    Literal(String),
}

/// One function of a file of templates.
#[derive(Debug, Clone)]
pub struct Template {
    /// The name of the function.
    pub name: String,
    /// Its parameters, in order.
    pub params: Vec<TemplateParam>,
    file: Arc<str>,
    text: Arc<str>,
    place: Place,
    /// Bytes between the parentheses.
    list: Range<usize>,
    /// Bytes from the closing parenthesis to the opening brace.
    results: Range<usize>,
    /// Bytes of the whole function.
    function: Range<usize>,
    /// Bytes of the functions beside it.
    others: Vec<Range<usize>>,
}

impl Template {
    /// Where its name stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A parameter as it is written, such as `%scale: float = 1.0`.
    #[must_use]
    pub fn declaration(&self, param: &TemplateParam) -> &str {
        self.text.get(param.span.clone()).unwrap_or_default()
    }

    /// `@mylib::f(%x: tensor, %scale: float)`, for messages.
    #[must_use]
    pub fn signature(&self) -> String {
        let params: Vec<&str> = self.params.iter().map(|param| self.declaration(param)).collect();
        format!("{}({})", self.name, params.join(", "))
    }
}

/// Reads a file of templates; `name` is what places call it.
///
/// # Errors
/// Every problem of signatures and of the syntax, and every op that does not exist. Types are looked at
/// only when a template is used.
pub fn templates(name: &str, text: &str) -> Result<Vec<Template>, Diagnostics> {
    let source = SourceText::new(name, text);
    let mut found = Diagnostics::new();
    let mut all = signature::functions(&source, &mut found);
    if found.has_errors() {
        return Err(found);
    }
    if all.is_empty() {
        let message = "there is no function in the file";
        return Err(source.problem(codes::SYNTAX, Span::at(0), message).into());
    }
    let spans: Vec<Range<usize>> = all.iter().map(|template| template.function.clone()).collect();
    for (at, template) in all.iter_mut().enumerate() {
        let others = spans.iter().enumerate().filter(|(other, _)| *other != at);
        template.others = others.map(|(_, span)| span.clone()).collect();
    }
    for template in &all {
        template.check(&mut found);
    }
    if found.has_errors() { Err(found) } else { Ok(all) }
}

impl Template {
    /// Reads the body with typical constants, and looks up its ops.
    fn check(&self, found: &mut Diagnostics) {
        let arguments: Vec<Argument> = self.params.iter().map(TemplateParam::typical).collect();
        let made = self.substitute(&arguments, &BTreeMap::new());
        let source = SourceText::new(&self.file, &made.text);
        let (ast, errors) = parse::parse(&source);
        found.extend(errors.into_iter().map(|problem| made.original(self, problem)));
        let Ast { functions, .. } = &ast;
        for function in functions {
            unknown_ops(&function.body, &mut |name, span| {
                let mut problem =
                    source.problem(codes::UNKNOWN_OP, span, format!("there is no op `{name}`"));
                let near = names::nearest(name, ops::specs().map(|spec| spec.name));
                if let Some(near) = near.first() {
                    problem = problem.help(format!("did you mean `{near}`?"));
                }
                found.push(made.original(self, problem));
            });
        }
    }
}

impl TemplateParam {
    /// Something that it takes, whatever that is.
    fn typical(&self) -> Argument {
        let literal = |text: &str| Argument::Literal(text.to_owned());
        match &self.ty {
            ParamType::Tensor(_) => Argument::Tensor(Type::tensor(mlc_tensor::DType::F32, [])),
            ParamType::Tensors => Argument::Tensors(vec![Type::tensor(mlc_tensor::DType::F32, [])]),
            ParamType::Int | ParamType::Number => literal("1"),
            ParamType::Float => literal("1.0"),
            ParamType::Bool => literal("true"),
            ParamType::Str => literal("\"\""),
            ParamType::DType => literal("f32"),
            ParamType::Ints => literal("[1]"),
            ParamType::Floats => literal("[1.0]"),
            ParamType::Bools => literal("[true]"),
        }
    }
}

fn unknown_ops(body: &Body, report: &mut dyn FnMut(&str, Span)) {
    for statement in &body.statements {
        let Statement::Op(op) = statement else { continue };
        if ops::spec(&op.op.item).is_none() {
            report(&op.op.item, op.op.span);
        }
        for region in &op.regions {
            unknown_ops(&region.body, report);
        }
    }
}

/// A diagnostic without the places it has.
fn without_places(mut problem: Diagnostic) -> (Diagnostic, Vec<Place>) {
    let places = std::mem::take(&mut problem.places);
    (problem, places)
}

#[cfg(test)]
mod tests {
    use mlc_ir::Dim;
    use mlc_tensor::DType;

    use super::*;
    use crate::{PrintOptions, print};

    const FILE: &str = "\
func @\"my::scale\"(%x: tensor, %by: float = 2.0, %axis: int?) {
  %y = mul %x, %by
  %z = softmax %y {axis = %axis}
  return %z
}
func @\"my::join\"(%xs: tensors) -> (y: tensor<?xf32>) {
  %y = concat %xs {axis = 0}
  return %y
}
";

    fn tensor(dtype: DType, shape: &[i64]) -> Argument {
        Argument::Tensor(Type::tensor(
            dtype,
            shape.iter().map(|&n| Dim::Const(n)).collect::<Vec<_>>(),
        ))
    }

    #[test]
    fn types_and_constants_take_the_place_of_parameters() {
        let all = templates("t.mlc", FILE).unwrap();
        assert_eq!(all[0].params[1].default.as_deref(), Some("2.0"));
        let args = [
            tensor(DType::F16, &[2, 3]),
            Argument::Literal("0.5".to_owned()),
            Argument::Literal("-1".to_owned()),
        ];
        let program = all[0].instantiate(&args, &BTreeMap::new(), &Default::default()).unwrap();
        let text = print(&program, &PrintOptions::default());
        assert!(text.contains("const 0.5 : f16"), "{text}");
        assert!(text.contains("tensor<2x3xf16>"), "{text}");
        let two = [tensor(DType::F32, &[2]), tensor(DType::F32, &[3])];
        let types = two.map(|arg| match arg {
            Argument::Tensor(ty) => ty,
            _ => unreachable!(),
        });
        let args = [Argument::Tensors(types.to_vec())];
        let program = all[1].instantiate(&args, &BTreeMap::new(), &Default::default()).unwrap();
        assert!(print(&program, &PrintOptions::default()).contains("tensor<5xf32>"));
    }

    #[test]
    fn problems_have_their_place_in_the_file() {
        let text = FILE.replace("softmax", "sofmax").replace("concat", "mul");
        let found = templates("t.mlc", &text).unwrap_err();
        let shown = found.items()[0].to_string();
        assert!(
            shown.contains("there is no op `sofmax`") && shown.contains("t.mlc:3:8"),
            "{shown}"
        );
        let all = templates("t.mlc", FILE).unwrap();
        let args = [
            tensor(DType::F16, &[2, 3]),
            Argument::Literal("123456.5".to_owned()),
            Argument::Literal("7".to_owned()),
        ];
        let found = all[0].instantiate(&args, &BTreeMap::new(), &Default::default()).unwrap_err();
        let shown = found.items()[0].to_string();
        assert!(shown.contains("t.mlc:2:8"), "{shown}");
        for wrong in [
            "",
            "func @f(%x: float = ) {\n  return %x\n}",
            "func @f(%x: tensr) {}",
            "func @f(%x: tensor) {\n",
        ] {
            assert!(templates("t.mlc", wrong).is_err(), "{wrong}");
        }
    }
}
