//! A Rust file with everything blanked that is not code.

/// `text` with the contents of comments and of string, byte and character literals replaced by
/// spaces. Line breaks stay, so line numbers hold; every other replaced character becomes one space.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { c } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none does.
fn skipped(chars: &[char], at: usize) -> usize {
    let next = |ahead: usize| chars.get(at + ahead).copied();
    match chars[at] {
        '/' if next(1) == Some('/') => find(chars, at, |c| c == '\n'),
        '/' if next(1) == Some('*') => block_comment(chars, at),
        '"' => string(chars, at),
        'r' if !inside_word(chars, at) => raw_string(chars, at).unwrap_or(at),
        '\'' => character(chars, at),
        _ => at,
    }
}

/// Whether the character before `at` belongs to the same identifier. The prefixes `b` and `c` of raw
/// literals do not count.
fn inside_word(chars: &[char], at: usize) -> bool {
    let word = |at: usize| chars[at].is_alphanumeric() || chars[at] == '_';
    match at {
        0 => false,
        1 => word(0) && !matches!(chars[0], 'b' | 'c'),
        _ => word(at - 1) && (!matches!(chars[at - 1], 'b' | 'c') || word(at - 2)),
    }
}

fn find(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|&at| stop(chars[at])).unwrap_or(chars.len())
}

fn block_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn string(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The end of `r"…"` or `r##"…"##` at `start`; `None` for a raw identifier or another word.
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    let quote = find(chars, start + 1, |c| c != '#');
    let hashes = quote - start - 1;
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let closes = |at: usize| {
        chars[at] == '"' && (1..=hashes).all(|ahead| chars.get(at + ahead) == Some(&'#'))
    };
    let end = (quote + 1..chars.len()).find(|&at| closes(at));
    Some(end.map_or(chars.len(), |end| end + 1 + hashes))
}

/// The end of a character literal; `start` itself for a lifetime.
fn character(chars: &[char], start: usize) -> usize {
    if chars.get(start + 1) == Some(&'\\') {
        return (find(chars, start + 3, |c| c == '\'') + 1).min(chars.len());
    }
    if chars.get(start + 2) == Some(&'\'') { start + 3 } else { start }
}

#[cfg(test)]
mod tests {
    use super::code_only;

    #[test]
    fn comments_and_literals_become_blanks() {
        let cases = [
            ("a /* { /* } */ { */ b", "a                     b"),
            ("x // {\ny", "x     \ny"),
            (r#"f("{ \" {", 1)"#, "f(        , 1)"),
            ("r#\"}\"}\"# + r#type", "           + r#type"),
            ("br\"{\" + bar\"{\"", "b     + bar   "),
            ("'{' '\\'' '\\u{7f}' &'a str", "                  &'a str"),
        ];
        for (text, expected) in cases {
            let blanked = code_only(text);
            assert_eq!(
                blanked.split_whitespace().collect::<Vec<_>>(),
                expected.split_whitespace().collect::<Vec<_>>(),
                "{text}"
            );
            assert_eq!(blanked.chars().count(), text.chars().count(), "{text}");
        }
    }
}
