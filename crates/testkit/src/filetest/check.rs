//! `CHECK` lines.
//!
//! - `CHECK: text`: a line at or behind the last match has `text`; the next search begins behind it.
//! - `CHECK-NEXT: text`: the line right below the last match has it.
//! - `CHECK-SAME: text`: the rest of the line of the last match has it.
//! - `CHECK-NOT: text`: nothing between the matches around it has it.
//! - `CHECK-COUNT-3: text`: like three `CHECK` lines.
//!
//! `{{…}}` in `text` is a regular expression. A `CHECK-NOT` that stands first or last reaches to the
//! start or the end of the output.

use regex::Regex;

/// What a check asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somewhere behind.
    Plain,
    /// On the next line.
    Next,
    /// On the same line.
    Same,
    /// Nowhere.
    Not,
    /// So many times.
    Count(usize),
}

/// A check.
#[derive(Debug, Clone)]
pub struct Check {
    /// What it asks for.
    pub kind: Kind,
    /// Its text as it stands.
    pub text: String,
    /// 1-based line in the fixture.
    pub line: usize,
    pattern: Regex,
}

/// A check that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// No directive has that name.
    #[error(
        "`{0}` is no directive; there are CHECK, CHECK-NEXT, CHECK-SAME, CHECK-NOT, CHECK-COUNT-n"
    )]
    Unknown(String),
    /// Nothing stands behind the colon.
    #[error("the check says nothing")]
    Empty,
    /// An expression in `{{…}}` is wrong.
    #[error("{0}")]
    Pattern(String),
}

impl Check {
    /// Reads `CHECK…: text`.
    ///
    /// # Errors
    /// It is no check, or its expression is wrong.
    pub fn parse(comment: &str, line: usize) -> Result<Self, CheckError> {
        let (name, text) =
            comment.split_once(':').ok_or_else(|| CheckError::Unknown(comment.to_owned()))?;
        let kind = match name.strip_prefix("CHECK") {
            Some("") => Kind::Plain,
            Some("-NEXT") => Kind::Next,
            Some("-SAME") => Kind::Same,
            Some("-NOT") => Kind::Not,
            Some(rest) => {
                let count = rest.strip_prefix("-COUNT-").and_then(|n| n.parse().ok());
                match count {
                    Some(count) if count > 0 => Kind::Count(count),
                    _ => return Err(CheckError::Unknown(name.to_owned())),
                }
            }
            None => return Err(CheckError::Unknown(name.to_owned())),
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(CheckError::Empty);
        }
        Ok(Self { kind, text: text.to_owned(), line, pattern: pattern(text)? })
    }
}

/// `text` with its `{{…}}` taken as expressions and the rest as it stands.
fn pattern(text: &str) -> Result<Regex, CheckError> {
    let mut source = String::new();
    let mut rest = text;
    while let Some((plain, more)) = rest.split_once("{{") {
        let Some((expression, after)) = more.split_once("}}") else {
            return Err(CheckError::Pattern(format!("`{{{{{more}` has no end")));
        };
        source.push_str(&regex::escape(plain));
        source.push_str(&format!("(?:{expression})"));
        rest = after;
    }
    source.push_str(&regex::escape(rest));
    Regex::new(&source).map_err(|error| CheckError::Pattern(error.to_string()))
}

/// Whether `output` says what the checks ask for.
///
/// # Errors
/// The first check that does not hold, and the place in the output.
pub fn all(checks: &[Check], output: &str) -> Result<(), String> {
    let mut cursor = Cursor { output, at: 0, not: Vec::new() };
    for check in checks {
        match check.kind {
            Kind::Not => cursor.not.push(check),
            Kind::Plain => cursor.find(check)?,
            Kind::Next => cursor.find_next(check)?,
            Kind::Same => cursor.find_same(check)?,
            Kind::Count(count) => (0..count).try_for_each(|_| cursor.find(check))?,
        }
    }
    cursor.absent(output.len())
}

/// The end of the last match, and what must not stand between it and the next one.
struct Cursor<'a> {
    output: &'a str,
    at: usize,
    not: Vec<&'a Check>,
}

impl<'a> Cursor<'a> {
    fn find(&mut self, check: &'a Check) -> Result<(), String> {
        self.within(check, self.at, self.output.len())
    }

    fn find_next(&mut self, check: &'a Check) -> Result<(), String> {
        let start = self.line_end(self.at);
        self.within(check, start, self.line_end(start))
    }

    fn find_same(&mut self, check: &'a Check) -> Result<(), String> {
        self.within(check, self.at, self.line_end(self.at))
    }

    /// The position behind the end of the line that `at` is on.
    fn line_end(&self, at: usize) -> usize {
        self.output[at..].find('\n').map_or(self.output.len(), |found| at + found + 1)
    }

    fn within(&mut self, check: &'a Check, start: usize, end: usize) -> Result<(), String> {
        let Some(found) = check.pattern.find(&self.output[start..end]) else {
            let line = self.output[..self.at].lines().count().max(1);
            return Err(format!(
                "line {}: `{}` was not found behind line {line} of the output",
                check.line, check.text
            ));
        };
        self.absent(start + found.start())?;
        self.at = start + found.end();
        Ok(())
    }

    /// What must not stand before `end` does not.
    fn absent(&mut self, end: usize) -> Result<(), String> {
        for check in std::mem::take(&mut self.not) {
            let between = self.output.get(self.at..end).unwrap_or_default();
            if let Some(found) = check.pattern.find(between) {
                let line = self.output[..self.at + found.start()].matches('\n').count() + 1;
                return Err(format!(
                    "line {}: `{}` must not be there and is, on line {line} of the output",
                    check.line, check.text
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "a = add x\nb = mul a\nc = mul b\nreturn c\n";

    fn run(lines: &[&str]) -> Result<(), String> {
        let checks: Vec<Check> = lines.iter().map(|l| Check::parse(l, 1).unwrap()).collect();
        all(&checks, OUTPUT)
    }

    #[test]
    fn checks_hold_in_order() {
        run(&["CHECK: add", "CHECK-COUNT-2: mul", "CHECK: return"]).unwrap();
        run(&["CHECK: add", "CHECK-NEXT: b = {{[a-z]+}} a", "CHECK-NOT: add"]).unwrap();
        run(&["CHECK: b", "CHECK-SAME: mul"]).unwrap();
    }

    #[test]
    fn checks_that_do_not_hold_are_found() {
        assert!(run(&["CHECK: mul", "CHECK: add"]).is_err());
        assert!(run(&["CHECK-COUNT-3: mul"]).is_err());
        assert!(run(&["CHECK: add", "CHECK-NEXT: return"]).is_err());
        assert!(run(&["CHECK: add", "CHECK-SAME: mul"]).is_err());
        assert!(run(&["CHECK-NOT: mul"]).is_err());
        assert!(run(&["CHECK: add", "CHECK-NOT: mul", "CHECK: return"]).is_err());
        assert!(run(&["CHECK-NOT: return", "CHECK: c = "]).is_ok());
    }

    #[test]
    fn misspelled_checks_are_refused() {
        for line in ["CHECK-NXT: a", "CHECK-COUNT-0: a", "CHECK-COUNT: a", "CHECK a"] {
            assert!(matches!(Check::parse(line, 1), Err(CheckError::Unknown(_))), "{line}");
        }
        assert_eq!(Check::parse("CHECK: ", 1).unwrap_err(), CheckError::Empty);
        assert!(Check::parse("CHECK: {{a", 1).is_err());
        assert!(Check::parse("CHECK: {{(}}", 1).is_err());
    }
}
