//! Literals, and constants as attributes and operands.

use super::Read;
use super::cursor::Cursor;
use crate::ast::{ConstAst, Literal, LiteralKind, Number, Spanned};
use crate::lex::Kind;

impl Cursor<'_> {
    /// Reads a number with its sign; `inf` and `nan` are numbers.
    pub(super) fn number(&mut self) -> Read<Number> {
        let sign = if self.eat(Kind::Minus) { "-" } else { "" };
        let token = self.peek();
        let text = self.slice(token);
        match token.kind {
            Kind::Int => {
                self.next();
                match format!("{sign}{text}").parse() {
                    Ok(i) => Ok(Number::Int(i)),
                    Err(_) => Err(self.syntax(token.span, "the integer is too large")),
                }
            }
            Kind::Float => {
                self.next();
                Ok(Number::Float(format!("{sign}{text}")))
            }
            Kind::Word if text == "inf" => {
                self.next();
                Ok(Number::Float(format!("{sign}inf")))
            }
            Kind::Word if text == "nan" && sign.is_empty() => {
                self.next();
                if !self.eat(Kind::OpenParen) {
                    return Ok(Number::Nan(None));
                }
                let bits = self.string()?;
                self.expect(Kind::CloseParen)?;
                match u64::from_str_radix(&bits.item, 16) {
                    Ok(bits) => Ok(Number::Nan(Some(bits))),
                    Err(_) => {
                        Err(self.syntax(bits.span, "the bits of a NaN are hexadecimal digits"))
                    }
                }
            }
            _ => Err(self.expected("a number")),
        }
    }

    /// Whether a literal that can be an operand comes next.
    pub(super) fn at_literal(&self) -> bool {
        match self.kind() {
            Kind::Int | Kind::Float | Kind::Minus | Kind::OpenBracket => true,
            Kind::Word => {
                let named = self.look(1).kind == Kind::Equal;
                let word = self.slice(self.peek());
                !named && matches!(word, "inf" | "nan" | "true" | "false")
            }
            _ => false,
        }
    }

    /// Reads a literal or the value of an attribute.
    pub(super) fn literal(&mut self) -> Read<Literal> {
        let start = self.peek().span;
        let kind = self.nested(Self::literal_kind)?;
        Ok(Literal { kind, span: start.to(self.last_span()) })
    }

    fn literal_kind(&mut self) -> Read<LiteralKind> {
        let token = self.peek();
        match token.kind {
            Kind::Str => Ok(LiteralKind::Str(self.string()?.item)),
            Kind::OpenBracket => {
                self.next();
                Ok(LiteralKind::List(self.list(Kind::CloseBracket, Self::literal)?))
            }
            Kind::OpenParen => {
                self.next();
                let re = self.number()?;
                self.expect(Kind::Comma)?;
                let im = self.number()?;
                self.expect(Kind::CloseParen)?;
                Ok(LiteralKind::Complex(re, im))
            }
            Kind::Word => match self.slice(token) {
                "inf" | "nan" => Ok(LiteralKind::Number(self.number()?)),
                word => {
                    self.next();
                    Ok(match word {
                        "true" => LiteralKind::Bool(true),
                        "false" => LiteralKind::Bool(false),
                        word => LiteralKind::Word(word.to_owned()),
                    })
                }
            },
            Kind::Int | Kind::Float | Kind::Minus => Ok(LiteralKind::Number(self.number()?)),
            _ => Err(self.expected("a value")),
        }
    }

    /// Reads `@name`, `@name literal` or `literal`; with `typed` a type after a colon as well.
    pub(super) fn constant(&mut self, typed: bool) -> Read<ConstAst> {
        let name = match self.kind() {
            Kind::At | Kind::QuotedAt => Some(self.global()?),
            _ => None,
        };
        let complex = self.kind() == Kind::OpenParen;
        let literal = if name.is_none() || complex || self.at_literal() {
            Some(self.literal()?)
        } else {
            None
        };
        let ty = if typed && self.eat(Kind::Colon) { Some(self.ty()?) } else { None };
        Ok(ConstAst { name, literal, ty })
    }

    /// Reads a list of integers that fit `T`.
    pub(super) fn integers<T: TryFrom<i128>>(&mut self) -> Read<Spanned<Vec<T>>> {
        let open = self.expect(Kind::OpenBracket)?;
        let item = self.list(Kind::CloseBracket, Self::integer)?;
        Ok(Spanned { item, span: open.span.to(self.last_span()) })
    }

    /// Reads an integer that fits `T`.
    pub(super) fn integer<T: TryFrom<i128>>(&mut self) -> Read<T> {
        let start = self.peek().span;
        if !matches!(self.kind(), Kind::Int | Kind::Minus) {
            return Err(self.expected("an integer"));
        }
        let number = self.number()?;
        let fitting = match number {
            Number::Int(i) => T::try_from(i).ok(),
            _ => None,
        };
        let span = start.to(self.last_span());
        fitting.ok_or_else(|| self.syntax(span, "the integer is out of range"))
    }
}
