//! A text with its lines.

use std::sync::Arc;

use mlc_diag::{Code, Diagnostic, Place};

/// A range of bytes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn at(start: usize) -> Self {
        Self { start, end: start }
    }

    pub(crate) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end.max(self.end) }
    }
}

/// Most characters of a message.
const MAX_MESSAGE: usize = 600;

/// Bytes between two positions whose distance from the start is known in characters.
const STEP: usize = 256;

/// A text, its name and what is needed to find lines and columns fast.
pub(crate) struct SourceText<'a> {
    pub(crate) name: Arc<str>,
    pub(crate) text: &'a str,
    lines: Vec<usize>,
    chars: Vec<usize>,
}

impl<'a> SourceText<'a> {
    pub(crate) fn new(name: &str, text: &'a str) -> Self {
        let mut lines = vec![0];
        lines.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1));
        let mut chars = Vec::with_capacity(text.len() / STEP + 1);
        let mut count = 0;
        for block in text.as_bytes().chunks(STEP) {
            chars.push(count);
            count += char_starts(block);
        }
        chars.push(count);
        Self { name: name.into(), text, lines, chars }
    }

    fn chars_before(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        let block = at / STEP;
        self.chars[block] + char_starts(&self.text.as_bytes()[block * STEP..at])
    }

    /// 1-based line of a position.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at)
    }

    /// The place of `span`, cut at the end of its first line.
    pub(crate) fn place(&self, span: Span) -> Place {
        let line = self.line(span.start);
        let start = self.lines[line - 1];
        let line_end = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        let first = self.chars_before(span.start);
        let len = self.chars_before(span.end.min(line_end)).saturating_sub(first).max(1);
        let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place::Text {
            file: Arc::clone(&self.name),
            line: short(line),
            column: short(first - self.chars_before(start) + 1),
            len: short(len),
        }
    }

    /// A problem at `span`. Messages that quote very long names or types are cut.
    pub(crate) fn problem(&self, code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Diagnostic::new(code, message).at(self.place(span))
    }
}

fn char_starts(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&b| b & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = format!("{}\nab é=c", "é".repeat(300));
        let source = SourceText::new("t", &text);
        let at = text.find('=').unwrap();
        let place = source.place(Span { start: at, end: at + 2 });
        assert_eq!(place, Place::Text { file: "t".into(), line: 2, column: 5, len: 2 });
        let Place::Text { line, column, .. } = source.place(Span::at(598)) else { panic!() };
        assert_eq!((line, column), (1, 300));
    }
}
