//! Bodies, statements and regions.

use std::sync::Arc;

use mlc_diag::Loc;
use mlc_ir::ops;

use super::Read;
use super::cursor::Cursor;
use crate::ast::{
    ArgAst, ArgValue, AttrAst, AttrValueAst, Body, ConstAst, Literal, LiteralKind, Name, OpAst,
    RegionAst, Spanned, Statement, TypeAst,
};
use crate::lex::Kind;

impl Cursor<'_> {
    /// Reads statements up to and with the closing brace; `end` is `return` or `yield`. Statements
    /// that cannot be read are skipped, and a missing brace is reported.
    pub(super) fn body(&mut self, end: &str) -> Read<Body> {
        let mut statements = Vec::new();
        let mut results = None;
        let mut broken = false;
        let mut place = None;
        loop {
            let token = self.peek();
            if self.eat(Kind::CloseBrace) {
                break;
            }
            let lost = token.kind == Kind::End || token.first && self.is_word(0, "func");
            if lost || self.gave_up() {
                self.expected(&format!("`{end}` or `}}`"));
                broken = true;
                break;
            }
            let from = self.position();
            let read = if place.is_some() {
                Err(self.expected(&format!("`}}` after `{end}`")))
            } else if self.is_word(0, "return") || self.is_word(0, "yield") {
                place = Some(token.span);
                self.terminator(end).map(|names| results = Some(names))
            } else {
                let mut names = Vec::new();
                match self.statement(&mut names) {
                    Ok(op) => {
                        statements.push(Statement::Op(Box::new(op)));
                        Ok(())
                    }
                    Err(reported) => {
                        statements.push(Statement::Broken(names));
                        Err(reported)
                    }
                }
            };
            if read.is_err() {
                broken = true;
                self.skip_statement(from);
            }
        }
        if place.is_none() && !broken {
            results = Some(Vec::new());
        }
        Ok(Body { statements, results, end: place.unwrap_or(self.last_span()) })
    }

    fn terminator(&mut self, end: &str) -> Read<Vec<Name>> {
        if !self.eat_word(end) {
            return Err(self.expected(&format!("`{end}`")));
        }
        let mut names = Vec::new();
        if self.at_value(0) {
            names.push(self.value()?);
            while self.eat(Kind::Comma) {
                names.push(self.value()?);
            }
        }
        if self.kind() != Kind::CloseBrace {
            return Err(self.expected("`,` or `}`"));
        }
        Ok(names)
    }

    /// Reads a statement; `names` are what it defines, as far as they could be read.
    fn statement(&mut self, names: &mut Vec<Name>) -> Read<OpAst> {
        if self.at_value(0) {
            names.push(self.value()?);
            while self.eat(Kind::Comma) {
                names.push(self.value()?);
            }
            self.expect(Kind::Equal)?;
        }
        let op = self.word("the name of an op")?;
        let constant = if op.item == "const" { Some(self.constant(false)?) } else { None };
        let args = if constant.is_none() { self.args()? } else { Vec::new() };
        let has_regions = ops::spec(&op.item).is_none_or(|spec| !spec.regions.is_empty());
        let empty = self.kind() == Kind::OpenBrace && self.look(1).kind == Kind::CloseBrace;
        let attrs = if self.opens_attributes() || empty && !has_regions {
            self.next();
            self.list(Kind::CloseBrace, Self::attr)?
        } else {
            Vec::new()
        };
        let span = op.span.to(self.last_span());
        let mut regions = Vec::new();
        while has_regions && matches!(self.kind(), Kind::OpenBrace | Kind::OpenParen) {
            regions.push(self.nested(Self::region)?);
        }
        let mut types = Vec::new();
        if self.eat(Kind::Colon) {
            types.push(self.ty()?);
            while self.eat(Kind::Comma) {
                types.push(self.ty()?);
            }
        }
        let loc = if self.is_word(0, "loc") && self.look(1).kind == Kind::OpenParen {
            Some(self.loc()?)
        } else {
            None
        };
        self.statement_end()?;
        let results = std::mem::take(names);
        Ok(OpAst { results, op, span, constant, args, attrs, regions, types, loc })
    }

    /// A statement ends where another begins: at a new line, at `}`, or before `%x =`.
    fn statement_end(&mut self) -> Read<()> {
        let token = self.peek();
        let another = self.starts_definition()
            || self.is_word(0, "return")
            || self.is_word(0, "yield")
            || matches!(token.kind, Kind::CloseBrace | Kind::End);
        if token.first || another { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    /// Whether `%x =` or `%x, %y =` comes next.
    fn starts_definition(&self) -> bool {
        let mut ahead = 0;
        while self.at_value(ahead) {
            match self.look(ahead + 1).kind {
                Kind::Equal => return true,
                Kind::Comma => ahead += 2,
                _ => return false,
            }
        }
        false
    }

    fn args(&mut self) -> Read<Vec<ArgAst>> {
        let mut args = Vec::new();
        if !self.starts_arg() {
            return Ok(args);
        }
        loop {
            args.push(self.arg()?);
            if !self.eat(Kind::Comma) {
                return Ok(args);
            }
        }
    }

    /// Whether the next token begins the first operand rather than the next statement.
    fn starts_arg(&self) -> bool {
        let next = self.look(1).kind;
        match self.kind() {
            _ if self.peek().first => false,
            Kind::Value | Kind::QuotedValue => next != Kind::Equal,
            Kind::Word => next == Kind::Equal || self.at_literal(),
            _ => self.at_literal(),
        }
    }

    fn arg(&mut self) -> Read<ArgAst> {
        let slot = if self.kind() == Kind::Word && self.look(1).kind == Kind::Equal {
            let name = self.word("an operand")?;
            self.next();
            Some(name)
        } else {
            None
        };
        Ok(ArgAst { slot, value: self.arg_value()? })
    }

    fn arg_value(&mut self) -> Read<Spanned<ArgValue>> {
        let start = self.peek().span;
        let item = if self.at_value(0) {
            ArgValue::Value(self.value()?)
        } else if self.eat(Kind::OpenBracket) {
            let items = self.nested(|this| this.list(Kind::CloseBracket, Self::arg_value))?;
            let span = start.to(self.last_span());
            match plain_literals(items) {
                Ok(items) => {
                    let literal = Literal { kind: LiteralKind::List(items), span };
                    ArgValue::Literal(literal, self.literal_type()?)
                }
                Err(items) => ArgValue::List(items),
            }
        } else if self.at_literal() || self.kind() == Kind::OpenParen {
            let literal = self.literal()?;
            ArgValue::Literal(literal, self.literal_type()?)
        } else {
            return Err(self.expected("an operand: a value such as `%x`, or a literal"));
        };
        Ok(Spanned { item, span: start.to(self.last_span()) })
    }

    /// Reads the type of a literal: a colon right behind it, without a blank.
    fn literal_type(&mut self) -> Read<Option<TypeAst>> {
        let colon = self.peek();
        if colon.kind == Kind::Colon && colon.span.start == self.last_span().end {
            self.next();
            return self.ty().map(Some);
        }
        Ok(None)
    }

    fn attr(&mut self) -> Read<AttrAst> {
        let name = self.word("an attribute")?;
        self.expect(Kind::Equal)?;
        let value = match self.kind() {
            Kind::At | Kind::QuotedAt => AttrValueAst::Const(self.constant(true)?),
            _ => {
                let literal = self.literal()?;
                if self.eat(Kind::Colon) {
                    let ty = self.ty()?;
                    let (literal, ty) = (Some(literal), Some(ty));
                    AttrValueAst::Const(ConstAst { name: None, literal, ty })
                } else {
                    AttrValueAst::Plain(literal)
                }
            }
        };
        let span = name.span.to(self.last_span());
        Ok(AttrAst { name, value, span })
    }

    fn region(&mut self) -> Read<RegionAst> {
        let args = if self.eat(Kind::OpenParen) {
            self.list(Kind::CloseParen, |this| {
                let name = this.value()?;
                this.expect(Kind::Colon)?;
                Ok((name, this.ty()?))
            })?
        } else {
            Vec::new()
        };
        self.expect(Kind::OpenBrace)?;
        Ok(RegionAst { args, body: self.body("yield")? })
    }

    /// Reads `loc("module", "file":12, "origin", passes = ["p"])`; `_` leaves a part out.
    fn loc(&mut self) -> Read<Loc> {
        self.next();
        self.next();
        let mut loc = Loc::unknown();
        let mut part = 0;
        self.list(Kind::CloseParen, |this| {
            if this.eat_word("passes") {
                this.expect(Kind::Equal)?;
                this.expect(Kind::OpenBracket)?;
                loc.passes = this.list(Kind::CloseBracket, Self::pass_name)?;
                return Ok(());
            }
            part += 1;
            if this.eat_word("_") {
                return Ok(());
            }
            let text = this.string()?;
            let shared = Some(text.item.as_str().into());
            match part {
                1 => loc.module = shared,
                2 => {
                    this.expect(Kind::Colon)?;
                    loc.source = Some((text.item.as_str().into(), this.integer()?));
                }
                3 => loc.origin = shared,
                _ => return Err(this.syntax(text.span, "a location has at most three parts")),
            }
            Ok(())
        })?;
        Ok(loc)
    }

    fn pass_name(&mut self) -> Read<Arc<str>> {
        let name = self.string()?;
        match name.item.is_empty() {
            true => Err(self.syntax(name.span, "no name of a pass")),
            false => Ok(name.item.as_str().into()),
        }
    }
}

/// The literals, if all items are literals without types.
fn plain_literals(items: Vec<Spanned<ArgValue>>) -> Result<Vec<Literal>, Vec<Spanned<ArgValue>>> {
    if !items.iter().all(|item| matches!(item.item, ArgValue::Literal(_, None))) {
        return Err(items);
    }
    let literal = |item: Spanned<ArgValue>| match item.item {
        ArgValue::Literal(literal, _) => Some(literal),
        _ => None,
    };
    Ok(items.into_iter().filter_map(literal).collect())
}
