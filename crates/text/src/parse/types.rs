//! Types and extents.

use mlc_diag::codes;
use mlc_ir::{Dim, TensorType, Type};
use mlc_tensor::DType;

use super::Read;
use super::cursor::Cursor;
use crate::ast::{Spanned, TypeAst};
use crate::lex::Kind;
use crate::names;
use crate::source::Span;

/// Most operations in one extent.
const MAX_TERMS: usize = 256;

impl Cursor<'_> {
    /// Reads a type.
    pub(super) fn ty(&mut self) -> Read<TypeAst> {
        let start = self.peek().span;
        let item = self.nested(Self::bare_type)?;
        Ok(Spanned { item, span: start.to(self.last_span()) })
    }

    fn bare_type(&mut self) -> Read<Type> {
        let word = self.word("a type")?;
        match word.item.as_str() {
            "tensor" => Ok(Type::Tensor(self.tensor_body()?)),
            "state" => {
                self.expect(Kind::Less)?;
                let ty = self.tensor_type()?;
                self.expect(Kind::Greater)?;
                Ok(Type::State(ty))
            }
            "list" => {
                self.expect(Kind::Less)?;
                let element = self.tensor_type()?;
                self.expect(Kind::Comma)?;
                let length = if self.eat(Kind::Question) { Dim::Unknown } else { self.extent()? };
                self.expect(Kind::Greater)?;
                Ok(Type::List { element, length })
            }
            "tuple" => {
                self.expect(Kind::Less)?;
                let items = self.list(Kind::Greater, |this| this.nested(Self::bare_type))?;
                Ok(Type::Tuple(items))
            }
            "dict" => {
                self.expect(Kind::Less)?;
                let key = self.dtype()?;
                self.expect(Kind::Comma)?;
                let value = self.dtype()?;
                self.expect(Kind::Greater)?;
                Ok(Type::Dict { key, value })
            }
            name => Ok(Type::Tensor(TensorType::new(self.dtype_named(name, word.span)?, []))),
        }
    }

    fn tensor_type(&mut self) -> Read<TensorType> {
        if self.eat_word("tensor") {
            self.tensor_body()
        } else {
            Ok(TensorType::new(self.dtype()?, []))
        }
    }

    fn dtype(&mut self) -> Read<DType> {
        let word = self.word("an element type")?;
        self.dtype_named(&word.item, word.span)
    }

    fn dtype_named(&mut self, name: &str, span: Span) -> Read<DType> {
        if let Some(dtype) = DType::from_name(name) {
            return Ok(dtype);
        }
        let known =
            DType::all().map(DType::name).chain(["tensor", "state", "list", "tuple", "dict"]);
        let mut problem = self.source.problem(
            codes::SYNTAX,
            span,
            format!("`{}` is no type", names::shortened(name)),
        );
        if let [best, ..] = names::nearest(name, known)[..] {
            problem = problem.help(format!("write `{best}`"));
        }
        Err(self.report(problem))
    }

    /// Reads `<2x(s0+1)x?xf32>`. The tokens `x3xf32` are words, which are taken apart here.
    fn tensor_body(&mut self) -> Read<TensorType> {
        self.expect(Kind::Less)?;
        let mut shape = Vec::new();
        loop {
            match self.kind() {
                Kind::Int => {
                    let token = self.next();
                    shape.push(self.number_extent(self.slice(token), token.span)?);
                }
                Kind::Question => {
                    self.next();
                    shape.push(Dim::Unknown);
                }
                Kind::OpenParen => {
                    self.next();
                    shape.push(self.extent()?);
                    self.expect(Kind::CloseParen)?;
                }
                Kind::Word if shape.is_empty() => {
                    let dtype = self.dtype()?;
                    self.expect(Kind::Greater)?;
                    return Ok(TensorType::new(dtype, shape));
                }
                _ => return Err(self.expected("an extent: a number, `?` or `(expression)`")),
            }
            if let Some(dtype) = self.extents_in_word(&mut shape)? {
                self.expect(Kind::Greater)?;
                return Ok(TensorType::new(dtype, shape));
            }
        }
    }

    /// Reads a word such as `x3x4xf32` or `x`; gives the element type if it ends in one.
    fn extents_in_word(&mut self, shape: &mut Vec<Dim>) -> Read<Option<DType>> {
        let token = self.peek();
        if token.kind != Kind::Word || !self.slice(token).starts_with('x') {
            return Err(self.expected("`x` and the next extent or the element type"));
        }
        self.next();
        let mut rest = &self.slice(token)[1..];
        loop {
            if rest.is_empty() {
                return Ok(None);
            }
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return self.dtype_named(rest, token.span).map(Some);
            }
            shape.push(self.number_extent(&rest[..digits], token.span)?);
            rest = match rest[digits..].strip_prefix('x') {
                Some(rest) => rest,
                None => return Err(self.syntax(token.span, "expected `x` between extents")),
            };
        }
    }

    fn number_extent(&mut self, digits: &str, span: Span) -> Read<Dim> {
        match digits.parse::<i64>() {
            Ok(n) => Ok(Dim::Const(n)),
            Err(_) => Err(self.syntax(span, format!("the extent {digits} is too large"))),
        }
    }

    /// Reads an extent such as `2*s0+floordiv(s1, 2)-1`.
    fn extent(&mut self) -> Read<Dim> {
        let start = self.peek().span;
        let mut budget = MAX_TERMS;
        let dim = self.sum(&mut budget)?;
        let span = start.to(self.last_span());
        match dim {
            Dim::Unknown => Err(self.syntax(span, "the extent has no value")),
            dim => Ok(dim),
        }
    }

    fn sum(&mut self, budget: &mut usize) -> Read<Dim> {
        self.nested(|this| {
            let mut total = if this.eat(Kind::Minus) {
                Dim::Const(0).sub(&this.product(budget)?)
            } else {
                this.product(budget)?
            };
            loop {
                if this.eat(Kind::Plus) {
                    total = total.add(&this.product(budget)?);
                } else if this.eat(Kind::Minus) {
                    total = total.sub(&this.product(budget)?);
                } else {
                    return Ok(total);
                }
            }
        })
    }

    fn product(&mut self, budget: &mut usize) -> Read<Dim> {
        let mut total = self.factor(budget)?;
        while self.eat(Kind::Star) {
            total = total.mul(&self.factor(budget)?);
        }
        Ok(total)
    }

    fn factor(&mut self, budget: &mut usize) -> Read<Dim> {
        let token = self.peek();
        let Some(left) = budget.checked_sub(1) else {
            return Err(
                self.syntax(token.span, format!("an extent of more than {MAX_TERMS} parts"))
            );
        };
        *budget = left;
        match token.kind {
            Kind::Int => {
                self.next();
                self.number_extent(self.slice(token), token.span)
            }
            Kind::OpenParen => {
                self.next();
                let dim = self.sum(budget)?;
                self.expect(Kind::CloseParen)?;
                Ok(dim)
            }
            Kind::Word if self.look(1).kind == Kind::OpenParen => self.dim_function(budget),
            Kind::Word | Kind::Str => {
                let name = self.word_or_string("a symbol")?;
                let dim = Dim::symbol(&name.item);
                self.symbols.push(name);
                Ok(dim)
            }
            _ => Err(self.expected("a number, a symbol or `(`")),
        }
    }

    fn dim_function(&mut self, budget: &mut usize) -> Read<Dim> {
        let name = self.word("a function of extents")?;
        let of: fn(&Dim, &Dim) -> Dim = match name.item.as_str() {
            "floordiv" => Dim::floor_div,
            "mod" => Dim::modulo,
            "max" => Dim::maximum,
            "min" => Dim::minimum,
            other => {
                let message = format!(
                    "`{other}` is no function of extents; there are floordiv, mod, max, min"
                );
                return Err(self.syntax(name.span, message));
            }
        };
        self.expect(Kind::OpenParen)?;
        let a = self.sum(budget)?;
        self.expect(Kind::Comma)?;
        let b = self.sum(budget)?;
        self.expect(Kind::CloseParen)?;
        Ok(of(&a, &b))
    }
}
