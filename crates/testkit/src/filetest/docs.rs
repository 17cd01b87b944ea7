//! The examples in the documentation of passes are tests.
//!
//! A pass is documented by a block ```` ```mlc before ```` and a block ```` ```mlc after ````: the
//! pass makes the second of the first, up to the names of values. Options may follow the word
//! `before`: ```` ```mlc before (target=ios16) ````, in
//! parentheses, which the documentation tool takes for a comment.

use std::path::{Path, PathBuf};

use mlc_driver::Driver;
use mlc_ir::{Program, Value};
use mlc_pass::{Listed, ListedKind, Pipeline};
use mlc_text::{ParseOptions, PrintOptions};

use super::run::{Opt, rendered};
use crate::diff::unified;
use crate::walk;

/// The passes that are linked in, in order of name.
#[must_use]
pub fn passes(driver: &Driver) -> Vec<Listed> {
    driver.passes().list().into_iter().filter(|listed| listed.kind == ListedKind::Pass).collect()
}

/// Everything that is wrong with the documentation and the fixtures of a pass.
#[must_use]
pub fn check(driver: &Driver, pass: &Listed, testdata: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let fixtures = testdata.join("passes").join(&pass.name);
    match walk::files(&fixtures, "mlc") {
        Ok(files) if !files.is_empty() => {}
        _ => problems.push(format!("testdata/passes/{}/ has no fixture", pass.name)),
    }
    for option in pass.options.iter().filter(|option| option.doc.is_empty()) {
        problems.push(format!("the field `{}` has no documentation", option.name));
    }
    let examples = examples(&pass.doc);
    if examples.is_empty() {
        problems.push("its documentation has no `mlc before` and `mlc after`".to_owned());
    }
    for example in examples {
        match example {
            Ok(example) => problems.extend(example.run(driver, &pass.name)),
            Err(problem) => problems.push(problem),
        }
    }
    problems
}

/// The source files below `passes/` that implement a pass which is not linked in.
///
/// # Errors
/// A folder or file that cannot be read.
pub fn unlisted(driver: &Driver, root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let known: Vec<String> = passes(driver).into_iter().map(|pass| pass.name).collect();
    let mut found = Vec::new();
    for path in walk::files(&root.join("passes"), "rs")? {
        let text = std::fs::read_to_string(&path)?;
        let implements =
            text.lines().any(|line| line.starts_with("impl") && line.contains(" Pass for "));
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().replace('_', "-"));
        if implements && stem.is_none_or(|stem| !known.contains(&stem)) {
            found.push(path);
        }
    }
    Ok(found)
}

/// An example of a pass.
struct Example {
    options: String,
    before: String,
    after: String,
}

/// The examples in a documentation, or what is wrong with their order.
fn examples(doc: &str) -> Vec<Result<Example, String>> {
    let mut found = Vec::new();
    let mut before: Option<(String, String)> = None;
    for (info, text) in blocks(doc) {
        if let Some(options) = info.strip_prefix("mlc before") {
            let options = options.trim().replace('(', "{").replace(')', "}");
            if before.replace((options, text)).is_some() {
                found.push(Err("two `mlc before` without `mlc after` between".to_owned()));
            }
        } else if info == "mlc after" {
            found.push(match before.take() {
                Some((options, before)) => Ok(Example { options, before, after: text }),
                None => Err("an `mlc after` without `mlc before`".to_owned()),
            });
        }
    }
    if before.is_some() {
        found.push(Err("an `mlc before` without `mlc after`".to_owned()));
    }
    found
}

/// The fenced blocks of a Markdown text: what stands behind the fence, and the lines.
fn blocks(doc: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = doc.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let inside: Vec<&str> =
            lines.by_ref().take_while(|line| line.trim_start() != "```").collect();
        found.push((info.trim().to_owned(), inside.join("\n")));
    }
    found
}

impl Example {
    fn run(&self, driver: &Driver, pass: &str) -> Option<String> {
        let read = |name: &str, text: &str| {
            mlc_text::parse(name, text, &ParseOptions::default())
                .map(|parsed| parsed.program)
                .map_err(|errors| rendered(&errors))
        };
        let made = read("before", &self.before).and_then(|mut program| {
            let pipeline = Pipeline::parse(&format!("{pass}{}", self.options))
                .map_err(|errors| rendered(&errors))?;
            let opt = Opt { pipeline, skip: Vec::new(), stop_after: None, bisect_limit: None };
            opt.run(driver, &mut program, true).map_err(|errors| rendered(&errors))?;
            Ok((program, read("after", &self.after)?))
        });
        match made {
            Err(problem) => Some(problem),
            Ok((got, after)) => {
                let (got, after) = (nameless(got), nameless(after));
                (got != after)
                    .then(|| format!("the example gives something else\n{}", unified(&after, &got)))
            }
        }
    }
}

/// The text of `program` with values numbered; parameters and outputs keep their names.
fn nameless(mut program: Program) -> String {
    for func in program.func_ids() {
        let function = &mut program.functions[func];
        let values: Vec<Value> = function.values.iter().map(|(value, _)| value).collect();
        for value in values {
            function.values[value].name = None;
        }
    }
    mlc_text::print(&program, &PrintOptions::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "```mlc before\nfunc @f(%x: tensor<2xf32>) -> tensor<2xf32> {\n  \
                          %1 = exp %x\n  %y = abs %x\n  return %y\n}\n```\n";
    const AFTER: &str = "```mlc after\nfunc @f(%x: tensor<2xf32>) -> (y: tensor<2xf32>) {\n  \
                         %other = abs %x\n  return %other\n}\n```\n";

    #[test]
    fn an_example_holds_up_to_names() {
        let driver = Driver::new(&[]).unwrap();
        let all = examples(&format!("Text.\n{BEFORE}{AFTER}"));
        let [Ok(example)] = &all[..] else { panic!("{} examples", all.len()) };
        assert_eq!(example.run(&driver, "dce"), None);
        let wrong = examples(&format!("{BEFORE}{}", AFTER.replace("abs", "exp")));
        assert!(wrong[0].as_ref().is_ok_and(|example| example.run(&driver, "dce").is_some()));
    }

    #[test]
    fn lone_blocks_are_found() {
        assert!(examples(BEFORE)[0].is_err());
        assert!(examples(AFTER)[0].is_err());
        assert!(examples("```rust\nlet a = 1;\n```").is_empty());
    }
}
