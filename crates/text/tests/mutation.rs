//! Changed texts never make the reader panic, and what it accepts round trips.

use std::fs;
use std::path::Path;

use mlc_text::{ParseOptions, PrintOptions, parse, print};
use proptest::prelude::*;

const PIECES: [&str; 44] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    ",",
    ":",
    "=",
    "->",
    "..",
    "?",
    "-",
    "+",
    "*",
    "\n",
    " ",
    "\"",
    "%",
    "@",
    "%x",
    "%0",
    "func @f",
    "return",
    "yield",
    "const",
    "relu",
    "concat",
    "none",
    "true",
    "nan(\"7fff\")",
    "1e999",
    "0",
    "9223372036854775807",
    "170141183460469231731687303715884105728",
    "tensor<0x9223372036854775807x9223372036854775807xf32>",
    "floordiv(s0, 0)",
    "str",
    "u3",
    "é",
    "\u{0}",
    "//",
];

fn texts() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/texts");
    let entries = fs::read_dir(folder).expect("the folder of texts is there");
    let mut paths: Vec<_> = entries.map(|e| e.expect("it can be listed").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("texts are UTF-8")).collect()
}

#[derive(Debug, Clone)]
enum Change {
    Insert(usize, usize),
    Delete(usize, usize),
    Copy(usize, usize, usize),
    Token(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<usize>(), 1..20usize).prop_map(|(at, len)| Change::Delete(at, len)),
        (any::<usize>(), any::<usize>(), 1..60usize).prop_map(|(a, b, n)| Change::Copy(a, b, n)),
        (any::<usize>(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Token(at, piece)),
    ]
}

fn apply(text: &mut Vec<char>, change: &Change) {
    let len = text.len().max(1);
    match *change {
        Change::Insert(at, piece) => {
            let at = at % len;
            text.splice(at..at, PIECES[piece].chars());
        }
        Change::Delete(at, count) => {
            let at = at % len;
            let end = (at + count).min(text.len());
            text.drain(at.min(end)..end);
        }
        Change::Copy(from, to, count) => {
            let from = from % len;
            let part: Vec<char> = text[from.min(text.len())..(from + count).min(text.len())].into();
            let to = to % len;
            text.splice(to..to, part);
        }
        Change::Token(at, piece) => {
            let word = |c: &char| c.is_alphanumeric();
            let start = at % len;
            let end = start + text[start.min(text.len())..].iter().take_while(|c| word(c)).count();
            text.splice(start..end, PIECES[piece].chars());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn changed_texts_are_read_or_refused(
        which in any::<usize>(),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let all = texts();
        let mut text: Vec<char> = all[which % all.len()].chars().collect();
        for change in &changes {
            apply(&mut text, change);
        }
        let text: String = text.into_iter().collect();
        if let Ok(parsed) = parse("t", &text, &ParseOptions::default()) {
            let options = PrintOptions { locations: true, ..PrintOptions::default() };
            let printed = print(&parsed.program, &options);
            match parse("printed", &printed, &ParseOptions::default()) {
                Ok(again) => prop_assert_eq!(print(&again.program, &options), printed),
                Err(errors) => prop_assert!(false, "{}\n{}", errors.items()[0], printed),
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\n]{0,200}") {
        let _ = parse("t", &text, &ParseOptions::default());
    }
}
