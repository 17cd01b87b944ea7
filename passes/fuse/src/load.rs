//! Rules from files: text IR in two functions each, and guards.
//!
//! ```text
//! rule halves where scalar(c), float(x) {
//!   func @before(%x: tensor<2x8xf32>, %c: f32) -> tensor<2x8xf32> {
//!     %1 = mul %x, 0.5
//!     %2 = mul %1, %c
//!     return %2
//!   }
//!   func @after(%x: tensor<2x8xf32>, %c: f32) -> tensor<2x8xf32> {
//!     %1 = mul %c, 0.5
//!     %2 = mul %x, %1
//!     return %2
//!   }
//! }
//! ```
//!
//! A parameter stands for any value: its type is that of a sample, on which the rule is tested. Numbers
//! in the pattern stand for constants of equal elements, attributes must be equal. Guards are
//! `constant(x)`, `scalar(x)`, `float(x)`, `static(x)`, `rank(x, n)`, `extent(x, axis, n)`,
//! `same_type(x, y)` and `same_dtype(x, y)`; `result` stands for what is replaced.

use std::path::Path;
use std::sync::Arc;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_egraph::soundness::{Effort, check};
use mlc_egraph::{Apply, Guard, Pattern, Rounding, Rule};
use mlc_text::{ParseOptions, PrintOptions};

/// The rules of the file at `path`, each tested on at most `draws` programs like its left side.
///
/// # Errors
/// `file-not-found`, `bad-rule`, `unsound-rule`, and what is wrong with the text; all there are.
pub fn load(path: &Path, draws: usize) -> Result<Vec<Rule>, Diagnostics> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let place = Place::Entry { file: name.as_str().into(), entry: "".into() };
        Diagnostic::new(codes::FILE_NOT_FOUND, format!("cannot be read: {error}")).at(place)
    })?;
    let (mut rules, mut found) = (Vec::new(), Diagnostics::new());
    for block in blocks(&name, &text)? {
        match block.rule(&name).and_then(|rule| block.test(&name, rule, draws)) {
            Ok(rule) if rules.iter().all(|known: &Rule| known.name != rule.name) => {
                rules.push(rule)
            }
            Ok(rule) => {
                let message = format!("rule `{}` stands twice", rule.name);
                found.push(block.problem(&name, &message));
            }
            Err(problems) => found.extend(problems),
        }
    }
    if rules.is_empty() && found.is_empty() {
        found.push(problem(&name, 1, "the file has no rule"));
    }
    if found.has_errors() { Err(found) } else { Ok(rules) }
}

/// One `rule NAME where GUARDS { … }`.
struct Block<'t> {
    name: &'t str,
    guards: &'t str,
    body: &'t str,
    /// 1-based line of the word `rule`, and of the brace.
    lines: (usize, usize),
}

fn problem(file: &str, line: usize, message: impl Into<String>) -> Diagnostic {
    let file: Arc<str> = file.into();
    let place = Place::Text { file, line: u32::try_from(line).unwrap_or(1), column: 1, len: 1 };
    Diagnostic::new(codes::BAD_RULE, message).at(place).help("see `mlc explain bad-rule`")
}

/// The parts of a file.
fn blocks<'t>(file: &str, text: &'t str) -> Result<Vec<Block<'t>>, Diagnostics> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(start) = next_word(text, at) {
        let line = text[..start].matches('\n').count() + 1;
        let Some(head) = text[start..].strip_prefix("rule ") else {
            return Err(problem(file, line, "a rule begins with `rule NAME {`").into());
        };
        let Some(open) = head.find('{') else {
            return Err(problem(file, line, "the rule has no `{`").into());
        };
        let body_start = start + "rule ".len() + open + 1;
        let Some(length) = closing(&text[body_start..]) else {
            return Err(problem(file, line, "the rule has no closing `}`").into());
        };
        let (name, guards) = head[..open].split_once(" where ").unwrap_or((&head[..open], ""));
        let brace = text[..body_start].matches('\n').count() + 1;
        blocks.push(Block {
            name: name.trim(),
            guards: guards.trim(),
            body: &text[body_start..body_start + length],
            lines: (line, brace),
        });
        at = body_start + length + 1;
    }
    Ok(blocks)
}

/// The position of the first character from `at` on that is neither blank nor in a comment.
fn next_word(text: &str, mut at: usize) -> Option<usize> {
    loop {
        let rest = text.get(at..)?;
        let skipped = rest.len() - rest.trim_start().len();
        at += skipped;
        let rest = &text[at..];
        if !rest.starts_with("//") {
            return (!rest.is_empty()).then_some(at);
        }
        at += rest.find('\n').unwrap_or(rest.len());
    }
}

/// The position of the brace that closes one that was opened before; those in comments and strings do
/// not count.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut comment) = (1, false, false);
    let mut last = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '\n' => (quoted, comment) = (false, false),
            _ if comment => {}
            '"' if last != '\\' => quoted = !quoted,
            _ if quoted => {}
            '/' if last == '/' => comment = true,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        last = c;
    }
    None
}

impl Block<'_> {
    fn problem(&self, file: &str, message: &str) -> Diagnostic {
        problem(file, self.lines.0, message)
    }

    fn rule(&self, file: &str) -> Result<Rule, Diagnostics> {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(is_name) {
            let message = format!("`{}` is no name in kebab-case", self.name);
            return Err(self.problem(file, &message).into());
        }
        // Problems name the lines of the file.
        let text = "\n".repeat(self.lines.1 - 1) + self.body;
        let parsed = mlc_text::parse(file, &text, &ParseOptions::default())?;
        let params: Vec<String> = match parsed.program.function("before") {
            Some(func) => {
                let params = &parsed.program.functions[func].params;
                params.iter().map(|param| param.name.clone()).collect()
            }
            None => Vec::new(),
        };
        let guards = guards(self.guards, &params).map_err(|what| self.problem(file, &what))?;
        let pattern = Pattern::new(parsed.program, guards)
            .map_err(|error| self.problem(file, &error.to_string()))?;
        // Rules are few and used until the process ends.
        let pattern: &'static Pattern = Box::leak(Box::new(pattern));
        Ok(Rule {
            name: Box::leak(self.name.to_owned().into_boxed_str()),
            roots: Box::leak(Box::new([pattern.root()])),
            rounding: Rounding::Close,
            apply: Apply::Pattern(pattern),
            example: "",
        })
    }

    fn test(&self, file: &str, rule: Rule, draws: usize) -> Result<Rule, Diagnostics> {
        let Apply::Pattern(pattern) = rule.apply else { return Ok(rule) };
        let effort = Effort { draws, enough: (draws / 10).max(4), seed: 0 };
        let verdict = check(&rule, &[pattern.template()], effort);
        if let Some(fault) = verdict.fault {
            let text = |program| mlc_text::print(program, &PrintOptions::default());
            let (before, after) = (text(&fault.before), text(&fault.after));
            let message = format!("rule `{}` changes results: {}", rule.name, fault.what);
            let mut diagnostic = self.problem(file, &message);
            diagnostic.code = codes::UNSOUND_RULE;
            return Err(diagnostic
                .note(format!("before:\n{before}"))
                .note(format!("after:\n{after}"))
                .help("add a guard that leaves such programs out")
                .into());
        }
        if verdict.fired == 0 {
            let message = format!("rule `{}` does not fire on its own left side", rule.name);
            return Err(self.problem(file, &message).into());
        }
        Ok(rule)
    }
}

/// The guards of a list such as `rank(x, 4), float(x)`.
fn guards(text: &str, params: &[String]) -> Result<Vec<Guard>, String> {
    let mut guards = Vec::new();
    for call in text.split(')').map(|call| call.trim_matches([' ', ',', '\n', '\t'])) {
        if call.is_empty() {
            continue;
        }
        let (name, arguments) =
            call.split_once('(').ok_or_else(|| format!("`{call}` is no guard"))?;
        let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
        let value = |at: usize| match arguments.get(at) {
            Some(&"result") => Ok(Guard::RESULT),
            Some(name) => params
                .iter()
                .position(|param| param == name)
                .ok_or_else(|| format!("guard `{call})` names no parameter with `{name}`")),
            None => Err(format!("guard `{call})` needs more arguments")),
        };
        let number = |at: usize| {
            let text = arguments.get(at).copied().unwrap_or_default();
            text.parse::<i64>().map_err(|_| format!("guard `{call})`: `{text}` is no number"))
        };
        let (guard, count) = match name.trim() {
            "constant" => (Guard::Constant(value(0)?), 1),
            "scalar" => (Guard::Scalar(value(0)?), 1),
            "float" => (Guard::Float(value(0)?), 1),
            "static" => (Guard::Static(value(0)?), 1),
            "rank" => {
                (Guard::Rank(value(0)?, usize::try_from(number(1)?).unwrap_or(usize::MAX)), 2)
            }
            "extent" => (Guard::Extent(value(0)?, number(1)?, number(2)?), 3),
            "same_type" => (Guard::SameType(value(0)?, value(1)?), 2),
            "same_dtype" => (Guard::SameDtype(value(0)?, value(1)?), 2),
            other => return Err(format!("there is no guard `{other}`")),
        };
        if arguments.len() != count {
            return Err(format!("guard `{call})` takes {count} arguments"));
        }
        guards.push(guard);
    }
    Ok(guards)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "// Numbers go together.\nrule halves where scalar(c), float(x), same_type(x, result) {\n\
        func @before(%x: tensor<2x8xf32>, %c: f32) -> tensor<2x8xf32> {\n  %1 = mul %x, 0.5\n  \
        %2 = mul %1, %c\n  return %2\n}\nfunc @after(%x: tensor<2x8xf32>, %c: f32) -> tensor<2x8xf32> {\n  \
        %1 = mul %c, 0.5\n  %2 = mul %x, %1\n  return %2\n}\n}\n";
    const UNSOUND: &str = "rule wrong {\nfunc @before(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {\n  \
        %1 = exp %x\n  return %1\n}\nfunc @after(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {\n  \
        %1 = abs %x\n  return %1\n}\n}\n";

    fn load_text(text: &str) -> Result<Vec<Rule>, Diagnostics> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.rules");
        std::fs::write(&path, text).unwrap();
        load(&path, 200)
    }

    fn codes_of(text: &str) -> Vec<&'static str> {
        let problems = load_text(text).unwrap_err();
        problems.items().iter().map(|problem| problem.code.name()).collect()
    }

    #[test]
    fn sound_rules_load_and_others_do_not() {
        let constant = SOUND.replace("%c: f32", "%c: f32 ").replace("scalar(c), ", "");
        assert_eq!(load_text(&constant).unwrap()[0].roots, ["mul"]);
        assert_eq!(codes_of(UNSOUND), ["unsound-rule"]);
        assert_eq!(codes_of(&format!("{constant}{constant}")), ["bad-rule"]);
        assert_eq!(codes_of(""), ["bad-rule"]);
        assert_eq!(codes_of("rule x {"), ["bad-rule"]);
        assert_eq!(codes_of("rewrite x {}"), ["bad-rule"]);
        assert_eq!(codes_of(&SOUND.replace("float(x)", "wooden(x)")), ["bad-rule"]);
        assert_eq!(codes_of(&SOUND.replace("rule halves", "rule Halves")), ["bad-rule"]);
        assert_eq!(
            codes_of(&SOUND.replace("exp", "exq").replace("mul %1", "mull %1")),
            ["unknown-op"]
        );
    }

    #[test]
    fn guards_are_read() {
        let params = ["x".to_owned(), "y".to_owned()];
        let read = |text: &str| guards(text, &params);
        assert_eq!(
            read("rank(x, 4), same_dtype(y, result)"),
            Ok(vec![Guard::Rank(0, 4), Guard::SameDtype(1, Guard::RESULT),])
        );
        assert_eq!(read("extent(y,-1,3)"), Ok(vec![Guard::Extent(1, -1, 3)]));
        assert!(read("rank(z, 4)").is_err() && read("rank(x)").is_err() && read("float").is_err());
        assert!(read("float(x, y)").is_err());
    }
}
