//! The text as a whole: header, symbols, metadata, weights, functions.

use mlc_diag::codes;

use super::Read;
use super::cursor::Cursor;
use crate::ast::{Ast, Spanned, SymbolAst};
use crate::lex::Kind;

impl Cursor<'_> {
    /// Reads a whole text.
    pub(super) fn text(&mut self) -> Ast {
        let mut ast = Ast { symbols_known: true, ..Ast::default() };
        if self.header().is_err() {
            self.skip_section();
        }
        while self.kind() != Kind::End && !self.gave_up() {
            let from = self.position();
            if self.section(&mut ast).is_err() {
                if self.position() == from {
                    self.next();
                }
                self.skip_section();
            }
        }
        ast.symbol_uses = std::mem::take(&mut self.symbols);
        ast
    }

    /// Reads `mlc-ir 1`, if it is there.
    fn header(&mut self) -> Read<()> {
        if !self.is_word(0, "mlc") {
            return Ok(());
        }
        self.next();
        self.expect(Kind::Minus)?;
        if !self.eat_word("ir") {
            return Err(self.expected("`mlc-ir`"));
        }
        let version = self.expect(Kind::Int)?;
        if self.slice(version) != "1" {
            let message = format!("text IR of version {}; this `mlc` reads 1", self.slice(version));
            self.problem(codes::UNSUPPORTED_SCHEMA, version.span, message);
        }
        Ok(())
    }

    fn section(&mut self, ast: &mut Ast) -> Read<()> {
        if self.eat_word("symbols") {
            let read = self.symbols_section(ast);
            ast.symbols_known &= read.is_ok();
            read
        } else if self.eat_word("metadata") {
            self.metadata_section(ast)
        } else if self.eat_word("weights") {
            self.weights_section(ast)
        } else if self.eat_word("func") {
            let function = self.function()?;
            ast.functions.push(function);
            Ok(())
        } else {
            Err(self.expected("`func`, `weights`, `symbols` or `metadata`"))
        }
    }

    /// Reads `{ s0 = 2..16, u0 = 0.. }`.
    fn symbols_section(&mut self, ast: &mut Ast) -> Read<()> {
        self.expect(Kind::OpenBrace)?;
        while !self.eat(Kind::CloseBrace) {
            let name = self.word_or_string("a symbol")?;
            self.expect(Kind::Equal)?;
            let min = self.integer()?;
            self.expect(Kind::Dots)?;
            let bounded = matches!(self.kind(), Kind::Int | Kind::Minus);
            let max: Option<i64> = if bounded { Some(self.integer()?) } else { None };
            if max.is_some_and(|max| max < min) {
                self.syntax(name.span, format!("the range of `{}` is empty", name.item));
            }
            ast.symbols.push(SymbolAst { name, min, max });
            self.eat(Kind::Comma);
        }
        Ok(())
    }

    /// Reads `{ "key" = "value" }`.
    fn metadata_section(&mut self, ast: &mut Ast) -> Read<()> {
        self.expect(Kind::OpenBrace)?;
        while !self.eat(Kind::CloseBrace) {
            let key = self.word_or_string("a key")?;
            self.expect(Kind::Equal)?;
            let value = self.string()?;
            ast.metadata.push((key, value.item));
            self.eat(Kind::Comma);
        }
        Ok(())
    }

    /// Reads `{ @name : type = source … }`. A weight that cannot be read is skipped.
    fn weights_section(&mut self, ast: &mut Ast) -> Read<()> {
        self.expect(Kind::OpenBrace)?;
        while !self.eat(Kind::CloseBrace) {
            let start = self.peek();
            match self.weight() {
                Ok(weight) => ast.weights.push(weight),
                Err(reported) => {
                    if !matches!(start.kind, Kind::At | Kind::QuotedAt) {
                        return Err(reported);
                    }
                    let name = self.slice(start)[1..].to_owned();
                    ast.broken_weights.push(crate::names::unquote(&name).unwrap_or(name));
                    self.skip_weight();
                    if self.gave_up() {
                        return Err(reported);
                    }
                }
            }
            self.eat(Kind::Comma);
        }
        Ok(())
    }

    fn skip_weight(&mut self) {
        loop {
            let token = self.peek();
            let next = match token.kind {
                Kind::End | Kind::CloseBrace => true,
                Kind::At | Kind::QuotedAt => token.first,
                Kind::Word => token.first && self.slice(token) == "func",
                _ => false,
            };
            if next {
                return;
            }
            self.next();
        }
    }

    /// Reads a name of a feature.
    pub(super) fn feature(&mut self) -> Read<Spanned<String>> {
        self.word_or_string("a name")
    }
}
