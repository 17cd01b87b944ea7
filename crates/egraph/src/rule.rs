//! Rules, families of them, and the set that is used.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::Build;
use crate::matching::Match;
use crate::pattern::Pattern;

/// What a rule does: the replacement for the op that it is shown, if it has one.
#[derive(Debug, Clone, Copy)]
pub enum Apply {
    /// By a function.
    Function(fn(&Match<'_>) -> Option<Build>),
    /// By a pattern that was loaded; it lives as long as the process.
    Pattern(&'static Pattern),
}

/// How close the two sides of a rule are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Bit for bit, but for the sign of zero.
    Exact,
    /// Up to rounding: a sum or product in another order, or one rounding less.
    Close,
}

/// A rule: an op of one of some kinds is equal to something else.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// In kebab-case; the function has the same name in snake case.
    pub name: &'static str,
    /// MIL's names of the ops that it is tried on.
    pub roots: &'static [&'static str],
    /// How close the two sides are.
    pub rounding: Rounding,
    /// What it does.
    pub apply: Apply,
    /// The text of its fixture, on which it fires.
    pub example: &'static str,
}

impl Rule {
    /// The replacement for the op of a match.
    pub(crate) fn replacement(&self, m: &Match<'_>) -> Option<Build> {
        match self.apply {
            Apply::Function(function) => function(m),
            Apply::Pattern(pattern) => pattern.apply(m),
        }
    }
}

/// An entry of a table of rules: how close the two sides are, the name, the ops it is tried on, and the
/// function. The fixture `testdata/rules/NAME.mlc` of the workspace that the crate stands in two folders
/// deep is part of it.
#[macro_export]
macro_rules! rule {
    ($rounding:ident, $name:literal, $roots:expr, $apply:path) => {
        $crate::Rule {
            name: $name,
            roots: &$roots,
            rounding: $crate::Rounding::$rounding,
            apply: $crate::Apply::Function($apply),
            example: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../testdata/rules/",
                $name,
                ".mlc"
            )),
        }
    };
}

/// Rules about one thing, in one file.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// In kebab-case; the file has the same name in snake case.
    pub name: &'static str,
    /// Its rules, in the order in which they are tried.
    pub rules: &'static [Rule],
    /// The text of its file: comments on the functions are the equations.
    pub source: &'static str,
}

impl Family {
    /// The documentation of a rule: its equation, and more where there is more to say.
    #[must_use]
    pub fn doc(&self, rule: &str) -> String {
        let function = format!("fn {}(", rule.replace('-', "_"));
        let mut lines: Vec<&str> = Vec::new();
        for line in self.source.lines() {
            if let Some(text) = line.strip_prefix("///") {
                lines.push(text.strip_prefix(' ').unwrap_or(text));
            } else if line.contains(&function) {
                return lines.join("\n");
            } else if !line.starts_with("#[") {
                lines.clear();
            }
        }
        String::new()
    }

    /// The page of a rule: its documentation, and a program before and after it.
    #[must_use]
    pub fn page(&self, rule: &Rule) -> String {
        let result = "// ---- result ----\n";
        let (before, after) = rule.example.split_once(result).unwrap_or((rule.example, ""));
        let code = |lines: &mut dyn Iterator<Item = &str>| lines.collect::<Vec<_>>().join("\n");
        let is_code = |line: &&str| !line.starts_with("//");
        let before = code(&mut before.lines().filter(is_code));
        let after = code(
            &mut after
                .lines()
                .map(|line| line.strip_prefix("// ").unwrap_or(line.trim_start_matches('/'))),
        );
        format!(
            "# {}\n\n{}\n\nBefore:\n\n```mlc\n{}\n```\n\nAfter:\n\n```mlc\n{}\n```\n",
            rule.name,
            self.doc(rule.name),
            before.trim(),
            after.trim()
        )
    }

    /// The equation of a rule: the first paragraph of its documentation.
    #[must_use]
    pub fn equation(&self, rule: &str) -> String {
        let doc = self.doc(rule);
        doc.split("\n\n").next().unwrap_or_default().replace('\n', " ")
    }
}

/// The rules that are used.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    by_root: BTreeMap<&'static str, Vec<usize>>,
}

impl RuleSet {
    /// A set of these rules, tried in this order.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut set = Self::default();
        for rule in rules {
            for root in rule.roots {
                set.by_root.entry(root).or_default().push(set.rules.len());
            }
            set.rules.push(rule);
        }
        set
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Positions of the rules that are tried on ops of that name.
    pub(crate) fn for_op(&self, name: &str) -> &[usize] {
        self.by_root.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Everything that is wrong with families as a table: names that stand twice or are not in kebab-case,
/// rules without equation or with a root that is no op.
#[must_use]
pub fn table_problems(families: &[Family]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for family in families {
        for rule in family.rules {
            let mut problem = |what: &str| problems.push(format!("{}: {what}", rule.name));
            if !names.insert(rule.name) {
                problem("the name stands twice");
            }
            if !rule.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            {
                problem("the name is not in kebab-case");
            }
            if !family.equation(rule.name).contains('=') {
                problem("the comment on its function has no equation");
            }
            if rule.roots.is_empty() || rule.roots.iter().any(|r| mlc_ir::ops::spec(r).is_none()) {
                problem("a root is no op");
            }
        }
    }
    problems
}
