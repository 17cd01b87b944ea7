//! Tokens of the serialized source.

use logos::Logos;

/// What a token is. Blanks within a line and comments are none.
#[derive(Logos, Debug, Clone, Copy, PartialEq, Eq)]
#[logos(skip r"[ \t\r\x0C]+")]
#[logos(skip(r"#[^\n]*", allow_greedy = true))]
pub(crate) enum Kind {
    #[token("\n")]
    Newline,
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*")]
    Word,
    #[regex(r"[0-9]+")]
    Int,
    #[regex(r"[0-9]+\.[0-9]*([eE][+-]?[0-9]+)?")]
    #[regex(r"\.[0-9]+([eE][+-]?[0-9]+)?")]
    #[regex(r"[0-9]+[eE][+-]?[0-9]+")]
    Float,
    #[regex(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?j")]
    Imaginary,
    #[regex(r#""([^"\\\n]|\\[^\n])*""#)]
    #[regex(r#"'([^'\\\n]|\\[^\n])*'"#)]
    Str,
    #[token("(")]
    #[token("[")]
    #[token("{")]
    Open,
    #[token(")")]
    #[token("]")]
    #[token("}")]
    Close,
    #[regex(r"->|\*\*|//|<<|>>|<=|>=|==|!=|[-+*/%@&|^~<>=,:.;]")]
    Mark,
    /// Bytes that begin no token.
    Bad,
    /// The end of the text.
    End,
}

/// A token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind,
    pub(crate) text: &'t str,
    pub(crate) at: u32,
    /// For the first token of a line, the blanks before it.
    pub(crate) indent: Option<u32>,
}

/// All tokens but line ends within brackets, the last being [`Kind::End`]. Lines without tokens are
/// left out.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut out: Vec<Token<'_>> = Vec::new();
    let (mut open, mut line_start, mut fresh) = (0u32, 0, true);
    let end = u32::try_from(text.len()).unwrap_or(u32::MAX);
    for (kind, range) in Kind::lexer(text).spanned() {
        let kind = kind.unwrap_or(Kind::Bad);
        match kind {
            Kind::Newline => {
                if open == 0 {
                    if !fresh {
                        out.push(Token { kind, text: "\n", at: range.start as u32, indent: None });
                    }
                    fresh = true;
                }
                line_start = range.end;
                continue;
            }
            Kind::Open => open += 1,
            Kind::Close => open = open.saturating_sub(1),
            _ => {}
        }
        let indent = fresh.then(|| (range.start - line_start) as u32);
        fresh = false;
        out.push(Token { kind, text: &text[range.clone()], at: range.start as u32, indent });
    }
    if !fresh {
        out.push(Token { kind: Kind::Newline, text: "\n", at: end, indent: None });
    }
    out.push(Token { kind: Kind::End, text: "", at: end, indent: Some(0) });
    out
}
