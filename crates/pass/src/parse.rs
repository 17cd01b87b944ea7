//! The parser of pipeline text.

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};

use crate::options::{OptionValue, Options};
use crate::pipeline::{Item, PassCall};

/// Groups and option values nest at most this deep.
const MAX_DEPTH: u32 = 32;

/// Longest text that is read, in characters.
const MAX_LEN: usize = 1 << 20;

pub(crate) fn pipeline(text: &str, file: &str) -> Result<Vec<Item>, Diagnostics> {
    let mut parser = Parser { chars: text.chars().collect(), at: 0, file, depth: 0 };
    if parser.chars.len() > MAX_LEN {
        return Err(parser.error(0, 1, "a pipeline of more than a million characters"));
    }
    parser.blank();
    if parser.peek().is_none() {
        return Ok(Vec::new());
    }
    let items = parser.items()?;
    match parser.peek() {
        None => Ok(items),
        Some(c) => Err(parser.error(parser.at, 1, format!("`,` expected, not `{c}`"))),
    }
}

struct Parser<'a> {
    chars: Vec<char>,
    at: usize,
    file: &'a str,
    depth: u32,
}

impl Parser<'_> {
    fn error(&self, at: usize, len: usize, message: impl Into<String>) -> Diagnostics {
        let before = &self.chars[..at.min(self.chars.len())];
        let line = before.iter().filter(|&&c| c == '\n').count() + 1;
        let column = before.iter().rev().take_while(|&&c| c != '\n').count() + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let place = Place::Text {
            file: self.file.into(),
            line: number(line),
            column: number(column),
            len: number(len.max(1)),
        };
        Diagnostic::new(codes::BAD_PIPELINE, message).at(place).into()
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// Skips white space and comments.
    fn blank(&mut self) {
        while let Some(c) = self.peek() {
            if c == '#' {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.at += 1;
                }
            } else if c.is_whitespace() {
                self.at += 1;
            } else {
                break;
            }
        }
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += 1;
            self.blank();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), Diagnostics> {
        if self.eat(wanted) {
            return Ok(());
        }
        let message = match self.peek() {
            Some(c) => format!("`{wanted}` expected, not `{c}`"),
            None => format!("`{wanted}` expected at the end"),
        };
        Err(self.error(self.at, 1, message))
    }

    fn word(&mut self, what: &str) -> Result<String, Diagnostics> {
        let start = self.at;
        while self.peek().is_some_and(OptionValue::is_word_char) {
            self.at += 1;
        }
        if start == self.at {
            let message = match self.peek() {
                Some(c) => format!("{what} expected, not `{c}`"),
                None => format!("{what} expected at the end"),
            };
            return Err(self.error(start, 1, message));
        }
        let word = self.chars[start..self.at].iter().collect();
        self.blank();
        Ok(word)
    }

    /// A name of letters, digits, `-` and `_`.
    fn name(&mut self, what: &str) -> Result<String, Diagnostics> {
        let start = self.at;
        let word = self.word(what)?;
        if word.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
            return Ok(word);
        }
        Err(self.error(start, word.chars().count(), format!("`{word}` is no {what}")))
    }

    fn deeper(&mut self) -> Result<(), Diagnostics> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} deep");
            return Err(self.error(self.at, 1, message));
        }
        Ok(())
    }

    fn items(&mut self) -> Result<Vec<Item>, Diagnostics> {
        let mut items = Vec::new();
        loop {
            items.push(self.item()?);
            if !self.eat(',') {
                return Ok(items);
            }
        }
    }

    fn item(&mut self) -> Result<Item, Diagnostics> {
        let name = self.name("pass name")?;
        if name == "func" && self.peek().is_some_and(OptionValue::is_word_char) {
            let function = self.word("function name")?;
            return Ok(Item::Func(function, self.group()?));
        }
        if name == "fix" && self.peek() == Some('(') {
            return Ok(Item::Fix(self.group()?));
        }
        if self.peek() == Some('(') {
            let message = format!("`{name}` is no group: `fix(...)` and `func NAME(...)` are");
            return Err(self.error(self.at, 1, message));
        }
        let options = if self.peek() == Some('{') { self.options()? } else { Options::new() };
        Ok(Item::Pass(PassCall { name, options }))
    }

    fn group(&mut self) -> Result<Vec<Item>, Diagnostics> {
        self.expect('(')?;
        self.deeper()?;
        let items = self.items()?;
        self.depth -= 1;
        self.expect(')')?;
        Ok(items)
    }

    fn options(&mut self) -> Result<Options, Diagnostics> {
        self.expect('{')?;
        self.deeper()?;
        let mut options = Options::new();
        if !self.eat('}') {
            loop {
                let start = self.at;
                let name = self.name("option name")?;
                self.expect('=')?;
                let value = self.value()?;
                if options.insert(name.clone(), value).is_some() {
                    let message = format!("option `{name}` is given twice");
                    return Err(self.error(start, name.chars().count(), message));
                }
                if !self.eat(',') {
                    break;
                }
            }
            self.expect('}')?;
        }
        self.depth -= 1;
        Ok(options)
    }

    fn value(&mut self) -> Result<OptionValue, Diagnostics> {
        match self.peek() {
            Some('{') => self.options().map(OptionValue::Map),
            Some('"') => self.quoted().map(OptionValue::Text),
            Some('[') => {
                self.expect('[')?;
                self.deeper()?;
                let mut items = Vec::new();
                if !self.eat(']') {
                    loop {
                        items.push(self.value()?);
                        if !self.eat(',') {
                            break;
                        }
                    }
                    self.expect(']')?;
                }
                self.depth -= 1;
                Ok(OptionValue::List(items))
            }
            _ => Ok(OptionValue::from_word(&self.word("value")?)),
        }
    }

    fn quoted(&mut self) -> Result<String, Diagnostics> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(self.error(start, 1, "text without a closing quote"));
            };
            self.at += 1;
            match c {
                '"' => break,
                '\\' => match self.peek() {
                    Some('n') => text.push('\n'),
                    Some(c @ ('"' | '\\')) => text.push(c),
                    _ => {
                        return Err(self.error(self.at - 1, 2, "`\\` before no `n`, `\"` or `\\`"));
                    }
                },
                c => text.push(c),
            }
            if c == '\\' {
                self.at += 1;
            }
        }
        self.blank();
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::Pipeline;

    fn value() -> impl Strategy<Value = OptionValue> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(OptionValue::Bool),
            any::<i64>().prop_map(OptionValue::Int),
            (-1e300..1e300f64).prop_map(OptionValue::Float),
            any::<String>().prop_map(OptionValue::Text),
            "[0-9a-z.:*/+-]{0,6}".prop_map(OptionValue::Text),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(OptionValue::List),
                prop::collection::btree_map("[a-z][a-z-]{0,4}", inner, 0..3)
                    .prop_map(OptionValue::Map),
            ]
        })
    }

    fn items() -> impl Strategy<Value = Vec<Item>> {
        let options = prop::collection::btree_map("[a-z][a-z0-9_-]{0,6}", value(), 0..3);
        let call = ("[a-z][a-z0-9-]{0,8}", options)
            .prop_filter("a group", |(name, _)| name != "func" && name != "fix")
            .prop_map(|(name, options)| Item::Pass(PassCall { name, options }));
        let one = call.prop_recursive(3, 12, 3, |inner| {
            let group = prop::collection::vec(inner, 1..4);
            prop_oneof![
                group.clone().prop_map(Item::Fix),
                ("[a-zA-Z_.][a-z_.]{0,6}", group).prop_map(|(n, items)| Item::Func(n, items)),
            ]
        });
        prop::collection::vec(one, 0..4)
    }

    proptest! {
        #[test]
        fn printing_and_parsing_round_trip(items in items()) {
            let pipeline = Pipeline { items };
            let text = pipeline.to_string();
            prop_assert_eq!(Pipeline::parse(&text), Ok(pipeline));
        }

        #[test]
        fn no_text_panics(text in "[a-z,(){}=\"\\\\ #\\[\\]\n]{0,40}") {
            let _ = Pipeline::parse(&text);
        }
    }

    #[test]
    fn errors_have_a_place() {
        let place = |text: &str| Pipeline::parse(text).unwrap_err().items()[0].to_string();
        assert!(place("fold,").contains("pass name expected at the end\n  --> --passes:1:6"));
        assert!(place("a{x=1,x=2}").contains("`x` is given twice\n  --> --passes:1:7"));
        assert!(place("fix(a,b").contains("`)` expected at the end"));
        assert!(place("cleanup\n fold").contains("`,` expected, not `f`\n  --> --passes:2:2"));
        assert!(place("loop(a)").contains("is no group"));
        assert!(place(&"fix(".repeat(40)).contains("nested more than"));
        assert!(place("a{x=\"y}").contains("without a closing quote"));
    }

    #[test]
    fn the_example_of_the_reference_page_is_read() {
        let text = "cleanup,fix(fold,fuse-gelu),egraph{iters=8,nodes=50000,cost=ane-m2},\
                    precision{to=fp16,keep=softmax},func main(legalize{target=ios17})";
        let pipeline = Pipeline::parse(text).unwrap();
        assert_eq!(pipeline.items.len(), 5);
        assert_eq!(pipeline.names().len(), 6);
        let again = pipeline.to_string();
        assert!(again.contains("egraph{cost=ane-m2,iters=8,nodes=50000}"), "{again}");
    }
}
