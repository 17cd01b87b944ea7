//! A position in the tokens, and the problems found so far.

use mlc_diag::{Code, Diagnostic, Diagnostics, codes};

use super::{Read, Reported};
use crate::MAX_DEPTH;
use crate::ast::{Name, Spanned};
use crate::lex::{Kind, Token, tokens};
use crate::names;
use crate::source::{SourceText, Span};

/// Most problems that one text is worth reporting.
const MAX_ERRORS: usize = 500;

pub(super) struct Cursor<'a> {
    pub(super) source: &'a SourceText<'a>,
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
    errors: Diagnostics,
    count: usize,
    /// Where a token was reported that is not what is needed.
    unexpected: Option<usize>,
    /// Uses of symbols in types.
    pub(super) symbols: Vec<Spanned<String>>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a SourceText<'a>) -> Self {
        Self {
            source,
            tokens: tokens(source.text),
            at: 0,
            depth: 0,
            errors: Diagnostics::new(),
            count: 0,
            unexpected: None,
            symbols: Vec::new(),
        }
    }

    pub(super) fn into_errors(self) -> Diagnostics {
        self.errors
    }

    /// The token `ahead` of the next one.
    pub(super) fn look(&self, ahead: usize) -> Token {
        let last = self.tokens.len() - 1;
        self.tokens[(self.at + ahead).min(last)]
    }

    pub(super) fn peek(&self) -> Token {
        self.look(0)
    }

    pub(super) fn kind(&self) -> Kind {
        self.peek().kind
    }

    pub(super) fn slice(&self, token: Token) -> &'a str {
        &self.source.text[token.span.start..token.span.end]
    }

    /// Whether the token `ahead` is that word.
    pub(super) fn is_word(&self, ahead: usize, word: &str) -> bool {
        let token = self.look(ahead);
        token.kind == Kind::Word && self.slice(token) == word
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek();
        if token.kind != Kind::End {
            self.at += 1;
        }
        token
    }

    /// The place of the token that was read last.
    pub(super) fn last_span(&self) -> Span {
        self.at.checked_sub(1).map_or(Span::at(0), |at| self.tokens[at].span)
    }

    /// How many tokens were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Reads the next token if it is of `kind`.
    pub(super) fn eat(&mut self, kind: Kind) -> bool {
        let found = self.kind() == kind;
        if found {
            self.next();
        }
        found
    }

    /// Reads the next token if it is that word.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(0, word);
        if found {
            self.next();
        }
        found
    }

    /// Whether so many problems were found that the rest is not worth reading.
    pub(super) fn gave_up(&self) -> bool {
        self.count > MAX_ERRORS
    }

    /// Reports a problem.
    pub(super) fn report(&mut self, diagnostic: Diagnostic) -> Reported {
        self.count += 1;
        if self.count <= MAX_ERRORS {
            self.errors.push(diagnostic);
        }
        Reported
    }

    /// Reports a problem of `code` at `span`.
    pub(super) fn problem(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> Reported {
        self.report(self.source.problem(code, span, message))
    }

    /// Reports a problem of syntax.
    pub(super) fn syntax(&mut self, span: Span, message: impl Into<String>) -> Reported {
        self.problem(codes::SYNTAX, span, message)
    }

    /// Reports that the next token is not what is needed, once for each token.
    pub(super) fn expected(&mut self, what: &str) -> Reported {
        if self.unexpected.replace(self.at) == Some(self.at) {
            return Reported;
        }
        let token = self.peek();
        let found = match token.kind {
            Kind::End => "the end of the text".to_owned(),
            _ => format!("`{}`", names::shortened(self.slice(token))),
        };
        self.syntax(token.span, format!("expected {what}, found {found}"))
    }

    /// Reads a token of `kind`.
    pub(super) fn expect(&mut self, kind: Kind) -> Read<Token> {
        if self.kind() == kind { Ok(self.next()) } else { Err(self.expected(kind.describe())) }
    }

    /// Runs `read` one level deeper.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= MAX_DEPTH {
            let span = self.peek().span;
            return Err(self.syntax(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Reads items with commas between them until `close`, which is read too.
    pub(super) fn list<T>(
        &mut self,
        close: Kind,
        mut item: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(item(self)?);
            if !self.eat(Kind::Comma) {
                if self.eat(close) {
                    break;
                }
                return Err(self.expected(&format!("`,` or {}", close.describe())));
            }
        }
        Ok(items)
    }

    /// The text that a quoted token means.
    fn unquoted(&mut self, token: Token, prefix: usize) -> Read<String> {
        let quoted = &self.slice(token)[prefix..];
        names::unquote(quoted)
            .ok_or_else(|| self.syntax(token.span, "an escape that does not exist"))
    }

    /// Reads a text in quotes.
    pub(super) fn string(&mut self) -> Read<Spanned<String>> {
        let token = self.expect(Kind::Str)?;
        Ok(Spanned { item: self.unquoted(token, 0)?, span: token.span })
    }

    /// Reads a word.
    pub(super) fn word(&mut self, what: &str) -> Read<Spanned<String>> {
        if self.kind() != Kind::Word {
            return Err(self.expected(what));
        }
        let token = self.next();
        Ok(Spanned { item: self.slice(token).to_owned(), span: token.span })
    }

    /// Reads a word or a text in quotes.
    pub(super) fn word_or_string(&mut self, what: &str) -> Read<Spanned<String>> {
        if self.kind() == Kind::Str { self.string() } else { self.word(what) }
    }

    /// Reads `@name`.
    pub(super) fn global(&mut self) -> Read<Spanned<String>> {
        let token = self.peek();
        let item = match token.kind {
            Kind::At => self.slice(token)[1..].to_owned(),
            Kind::QuotedAt => self.unquoted(token, 1)?,
            _ => return Err(self.expected(Kind::At.describe())),
        };
        self.next();
        Ok(Spanned { item, span: token.span })
    }

    /// Whether the next token is the name of a value.
    pub(super) fn at_value(&self, ahead: usize) -> bool {
        matches!(self.look(ahead).kind, Kind::Value | Kind::QuotedValue)
    }

    /// Reads `%name`.
    pub(super) fn value(&mut self) -> Read<Name> {
        let token = self.peek();
        let (text, number) = match token.kind {
            Kind::Value => {
                let text = self.slice(token)[1..].to_owned();
                let number = names::is_number(&text);
                (text, number)
            }
            Kind::QuotedValue => (self.unquoted(token, 1)?, false),
            _ => return Err(self.expected(Kind::Value.describe())),
        };
        self.next();
        Ok(Name { text, number, span: token.span })
    }

    /// Skips to the next token that can begin a statement: the first of a line outside braces that
    /// were opened meanwhile, or the closing brace of the region.
    pub(super) fn skip_statement(&mut self, from: usize) {
        let mut depth = 0_usize;
        loop {
            let token = self.peek();
            let moved = self.at > from;
            match token.kind {
                Kind::End => return,
                Kind::Word if token.first && self.slice(token) == "func" => return,
                Kind::OpenBrace if self.opens_attributes() => self.skip_attributes(),
                Kind::OpenBrace => {
                    depth += 1;
                    self.next();
                }
                Kind::CloseBrace if depth == 0 => return,
                Kind::CloseBrace => {
                    depth -= 1;
                    self.next();
                }
                Kind::Value | Kind::QuotedValue | Kind::Word
                    if token.first && depth == 0 && moved =>
                {
                    return;
                }
                _ => {
                    self.next();
                }
            }
        }
    }

    /// Whether the brace that comes next begins attributes rather than a region.
    pub(super) fn opens_attributes(&self) -> bool {
        self.kind() == Kind::OpenBrace
            && self.look(1).kind == Kind::Word
            && self.look(2).kind == Kind::Equal
    }

    fn skip_attributes(&mut self) {
        self.next();
        while self.kind() != Kind::End && !self.peek().first {
            if self.next().kind == Kind::CloseBrace {
                return;
            }
        }
    }

    /// Skips to the next function or section.
    pub(super) fn skip_section(&mut self) {
        const STARTS: [&str; 4] = ["func", "weights", "symbols", "metadata"];
        while self.kind() != Kind::End {
            let token = self.peek();
            if token.first && token.kind == Kind::Word && STARTS.contains(&self.slice(token)) {
                return;
            }
            self.next();
        }
    }
}
