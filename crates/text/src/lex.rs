//! Tokens.

use logos::Logos;

use crate::source::Span;

/// What a token is. Blanks and comments are none.
#[derive(Logos, Debug, Clone, Copy, PartialEq, Eq)]
#[logos(skip r"[ \t\r\n\x0C]+")]
#[logos(skip(r"//[^\n]*", allow_greedy = true))]
pub(crate) enum Kind {
    /// `%name`
    #[regex(r"%[A-Za-z0-9_.$]+")]
    Value,
    /// `%"name"`
    #[regex(r#"%"([^"\\\n]|\\[^\n])*""#)]
    QuotedValue,
    /// `@name`
    #[regex(r"@[A-Za-z0-9_.$]+")]
    At,
    /// `@"name"`
    #[regex(r#"@"([^"\\\n]|\\[^\n])*""#)]
    QuotedAt,
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*")]
    Word,
    #[regex(r"[0-9]+")]
    Int,
    #[regex(r"[0-9]+\.[0-9]+([eE][+-]?[0-9]+)?")]
    #[regex(r"[0-9]+[eE][+-]?[0-9]+")]
    Float,
    #[regex(r#""([^"\\\n]|\\[^\n])*""#)]
    Str,
    #[token("(")]
    OpenParen,
    #[token(")")]
    CloseParen,
    #[token("{")]
    OpenBrace,
    #[token("}")]
    CloseBrace,
    #[token("[")]
    OpenBracket,
    #[token("]")]
    CloseBracket,
    #[token("<")]
    Less,
    #[token(">")]
    Greater,
    #[token(",")]
    Comma,
    #[token(":")]
    Colon,
    #[token("=")]
    Equal,
    #[token("-")]
    Minus,
    #[token("+")]
    Plus,
    #[token("*")]
    Star,
    #[token("->")]
    Arrow,
    #[token("..")]
    Dots,
    #[token("?")]
    Question,
    /// Bytes that begin no token.
    Bad,
    /// The end of the text.
    End,
}

impl Kind {
    /// How messages call it where its text does not matter.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Value | Self::QuotedValue => "a value such as `%x`",
            Self::At | Self::QuotedAt => "a name such as `@x`",
            Self::Word => "a word",
            Self::Int => "an integer",
            Self::Float => "a float",
            Self::Str => "a text in quotes",
            Self::OpenParen => "`(`",
            Self::CloseParen => "`)`",
            Self::OpenBrace => "`{`",
            Self::CloseBrace => "`}`",
            Self::OpenBracket => "`[`",
            Self::CloseBracket => "`]`",
            Self::Less => "`<`",
            Self::Greater => "`>`",
            Self::Comma => "`,`",
            Self::Colon => "`:`",
            Self::Equal => "`=`",
            Self::Minus => "`-`",
            Self::Plus => "`+`",
            Self::Star => "`*`",
            Self::Arrow => "`->`",
            Self::Dots => "`..`",
            Self::Question => "`?`",
            Self::Bad => "something unreadable",
            Self::End => "the end of the text",
        }
    }
}

/// A token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    /// Whether it is the first of its line.
    pub(crate) first: bool,
}

/// All tokens, the last being [`Kind::End`]; neighbouring unreadable bytes are one token.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::new();
    let mut before = 0;
    for (kind, range) in Kind::lexer(text).spanned() {
        let span = Span { start: range.start, end: range.end };
        let kind = kind.unwrap_or(Kind::Bad);
        let first = out.is_empty() || text[before..span.start].contains('\n');
        before = span.end;
        match out.last_mut() {
            Some(last) if kind == Kind::Bad && last.kind == Kind::Bad && !first => {
                last.span.end = span.end;
            }
            _ => out.push(Token { kind, span, first }),
        }
    }
    let end = Span::at(text.trim_end().len());
    out.push(Token { kind: Kind::End, span: end, first: true });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        tokens(text).into_iter().map(|t| (t.kind, &text[t.span.start..t.span.end])).collect()
    }

    #[test]
    fn ranges_floats_and_shapes_do_not_mix() {
        use Kind::{Arrow, Dots, End, Float, Int, Minus, QuotedValue, Value, Word};
        let got = kinds("2..16 1.5e-3 1e4 0x4xf32 -1 -> %a.b %\"x \\\" y\" // no\n");
        let want = [
            (Int, "2"),
            (Dots, ".."),
            (Int, "16"),
            (Float, "1.5e-3"),
            (Float, "1e4"),
            (Int, "0"),
            (Word, "x4xf32"),
            (Minus, "-"),
            (Int, "1"),
            (Arrow, "->"),
            (Value, "%a.b"),
            (QuotedValue, "%\"x \\\" y\""),
            (End, ""),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn unreadable_bytes_are_one_token() {
        assert_eq!(kinds("§§ x").len(), 3);
    }
}
