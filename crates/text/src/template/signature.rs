//! The signatures of templates, and where their parts stand.

use std::ops::Range;

use mlc_diag::{Diagnostics, codes};

use super::{ParamType, Template, TemplateParam};
use crate::lex::{Kind, Token, tokens};
use crate::source::{SourceText, Span};
use crate::{ast, names, parse};

/// A reader of signatures over the tokens of a text.
struct Reader<'a> {
    source: &'a SourceText<'a>,
    tokens: Vec<Token>,
    at: usize,
}

type Read<T> = Result<T, (Span, String)>;

/// The functions of a text. Other sections are left alone.
pub(super) fn functions(source: &SourceText<'_>, found: &mut Diagnostics) -> Vec<Template> {
    let mut reader = Reader { source, tokens: tokens(source.text), at: 0 };
    let mut all = Vec::new();
    while reader.kind() != Kind::End {
        let token = reader.peek();
        if !(token.first && reader.slice(token) == "func") {
            reader.at += 1;
            continue;
        }
        match reader.function() {
            Ok(template) => all.push(template),
            Err((span, message)) => {
                found.push(source.problem(codes::SYNTAX, span, message));
            }
        }
    }
    all
}

impl Reader<'_> {
    fn peek(&self) -> Token {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn kind(&self) -> Kind {
        self.peek().kind
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn slice(&self, token: Token) -> &str {
        &self.source.text[token.span.start..token.span.end]
    }

    fn expect(&mut self, kind: Kind) -> Read<Token> {
        let token = self.next();
        if token.kind == kind {
            return Ok(token);
        }
        let here = if token.kind == Kind::End {
            "the end of the text".to_owned()
        } else {
            format!("`{}`", names::shortened(self.slice(token)))
        };
        Err((token.span, format!("expected {}, found {here}", kind.describe())))
    }

    fn function(&mut self) -> Read<Template> {
        let func = self.next();
        let name = self.next();
        let text = match name.kind {
            Kind::At => Some(self.slice(name)[1..].to_owned()),
            Kind::QuotedAt => names::unquote(&self.slice(name)[1..]),
            _ => None,
        };
        let Some(text) = text else {
            return Err((
                name.span,
                "expected the name of an op, such as @\"mylib::op\"".to_owned(),
            ));
        };
        let open = self.expect(Kind::OpenParen)?;
        let mut params = Vec::new();
        while self.kind() != Kind::CloseParen {
            let param = self.param()?;
            if params.iter().any(|known: &TemplateParam| known.name == param.name) {
                let span = Span { start: param.span.start, end: param.span.end };
                return Err((span, format!("parameter `%{}` stands twice", param.name)));
            }
            params.push(param);
            if self.kind() == Kind::Comma {
                self.next();
            } else if self.kind() != Kind::CloseParen {
                return Err((self.peek().span, "expected `,` or `)` after a parameter".to_owned()));
            }
        }
        let close = self.next();
        // Results are what the body gives; a declaration of them is for people.
        while !matches!(self.kind(), Kind::OpenBrace | Kind::End) {
            self.next();
        }
        let brace = self.expect(Kind::OpenBrace)?;
        let end = self.closing(brace)?;
        Ok(Template {
            name: text,
            params,
            file: self.source.name.clone(),
            text: self.source.text.into(),
            place: self.source.place(name.span),
            list: open.span.end..close.span.start,
            results: close.span.end..brace.span.start,
            function: func.span.start..end,
            others: Vec::new(),
        })
    }

    /// The end of the block that `open` begins.
    fn closing(&mut self, open: Token) -> Read<usize> {
        let mut depth = 1usize;
        loop {
            let token = self.next();
            match token.kind {
                Kind::OpenBrace => depth += 1,
                Kind::CloseBrace => depth -= 1,
                Kind::End => return Err((open.span, "the block has no end".to_owned())),
                _ => {}
            }
            if depth == 0 {
                return Ok(token.span.end);
            }
        }
    }

    /// Reads `%x: tensor`, `%axis: int?` or `%scale: float = 1.0`.
    fn param(&mut self) -> Read<TemplateParam> {
        let token = self.next();
        let name = match token.kind {
            Kind::Value => Some(self.slice(token)[1..].to_owned()),
            Kind::QuotedValue => names::unquote(&self.slice(token)[1..]),
            _ => None,
        };
        let Some(name) = name else {
            return Err((token.span, "expected a parameter such as `%x: tensor`".to_owned()));
        };
        self.expect(Kind::Colon)?;
        let ty = self.param_type()?;
        let optional = self.kind() == Kind::Question;
        if optional {
            let mark = self.next();
            if matches!(ty, ParamType::Tensor(_) | ParamType::Tensors) {
                let message = "a tensor is never none; write another function of this name \
                               without the parameter";
                return Err((mark.span, message.to_owned()));
            }
        }
        let mut default = None;
        if self.kind() == Kind::Equal {
            let equal = self.next();
            let text = self.literal();
            if text.is_empty() {
                return Err((equal.span, "expected a literal after `=`".to_owned()));
            }
            if matches!(ty, ParamType::Tensor(_) | ParamType::Tensors) {
                return Err((equal.span, "a tensor has no default".to_owned()));
            }
            default = Some(self.source.text[text].to_owned());
        }
        let end = self.tokens[self.at - 1].span.end;
        Ok(TemplateParam { name, ty, optional, default, span: token.span.start..end })
    }

    /// The bytes of a literal, up to the comma or parenthesis behind it.
    fn literal(&mut self) -> Range<usize> {
        let start = self.peek().span.start;
        let mut end = start;
        let mut depth = 0usize;
        loop {
            match self.kind() {
                Kind::End => break,
                Kind::OpenBracket | Kind::OpenParen => depth += 1,
                Kind::CloseBracket | Kind::CloseParen if depth > 0 => depth -= 1,
                Kind::Comma | Kind::CloseParen if depth == 0 => break,
                _ => {}
            }
            end = self.next().span.end;
        }
        start..end
    }

    fn param_type(&mut self) -> Read<ParamType> {
        let token = self.next();
        let word = self.slice(token).to_owned();
        let known = [
            ("tensors", ParamType::Tensors),
            ("int", ParamType::Int),
            ("float", ParamType::Float),
            ("number", ParamType::Number),
            ("bool", ParamType::Bool),
            ("str", ParamType::Str),
            ("dtype", ParamType::DType),
            ("ints", ParamType::Ints),
            ("floats", ParamType::Floats),
            ("bools", ParamType::Bools),
        ];
        if word == "tensor" {
            if self.kind() != Kind::Less {
                return Ok(ParamType::Tensor(None));
            }
            while !matches!(self.kind(), Kind::Greater | Kind::End) {
                self.next();
            }
            let end = self.expect(Kind::Greater)?;
            return self.tensor(Span { start: token.span.start, end: end.span.end });
        }
        if let Some((_, ty)) = known.iter().find(|(name, _)| *name == word) {
            return Ok(ty.clone());
        }
        let near = names::nearest(&word, known.iter().map(|(name, _)| *name).chain(["tensor"]));
        let hint = near.first().map_or_else(
            || "parameters are tensor, tensors, int, float, number, bool, str, dtype, ints, floats or bools".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        Err((
            token.span,
            format!("`{}` is no type of a parameter; {hint}", names::shortened(&word)),
        ))
    }

    /// A type written out, as the reader of text has it.
    fn tensor(&self, span: Span) -> Read<ParamType> {
        let text = format!("func @f(%x: {}) {{\n}}", &self.source.text[span.start..span.end]);
        let source = SourceText::new("", &text);
        let (ast, errors) = parse::parse(&source);
        let read =
            ast.functions.first().and_then(|function: &ast::FunctionAst| function.params.first());
        match (read, errors.items().first()) {
            (Some(param), None) => Ok(ParamType::Tensor(Some(param.ty.item.clone()))),
            (_, problem) => {
                let message = problem.map_or("the type cannot be read", |p| p.message.as_str());
                Err((span, message.to_owned()))
            }
        }
    }
}
