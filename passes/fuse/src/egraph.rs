//! The pass `egraph`.

use std::path::Path;

use mlc_diag::{Diagnostic, Severity, codes, nearest};
use mlc_egraph::{Limit, Limits, Options, Report, Rule, RuleSet, Strategy, optimize};
use mlc_ir::Program;
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use mlc_target::Opset;
use mlc_target::cost::{DEVICES, device};
use serde::{Deserialize, Serialize};

use crate::load::load;
use crate::rules::FAMILIES;

/// Rewrites by rules that say what computes the same: every way is kept side by side, and the cheapest
/// whole is taken, shared values counted once.
///
/// `cost` says what cheap means: `latency`, `size`, or a class of devices such as `ane`. `families` and `rules` name what is used,
/// all if both are empty; `files` are read for more, which are tested on `check` programs each. Rules make
/// only ops of opset `target`. A region is cut into windows of at most
/// `window` ops; in each at most `iters` rounds are made, `nodes` nodes kept, and `matches` replacements
/// by one rule. Windows that do not get cheaper stay as they are. `greedy` takes what the first rule gives
/// instead, to compare with.
///
/// ```mlc before
/// func @f(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
///   %1 = sigmoid %x
///   %2 = mul %x, %1
///   %3 = mul %2, 2.0
///   %y = mul %3, 0.25
///   return %y
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
///   %1 = silu %x
///   %y = mul %1, 0.5
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Egraph {
    /// Most rounds in a window.
    iters: usize,
    /// Most nodes of a window's graph.
    nodes: usize,
    /// Most replacements by one rule in a window.
    matches: usize,
    /// Most ops of a window.
    window: usize,
    /// Replace each op by the first rule that fires, whether it pays or not, in one walk.
    greedy: bool,
    /// What cheap means: `latency`, `size`, `ane`, `ane-h17`, `gpu` or `cpu`.
    cost: String,
    /// The system whose ops rules may make.
    target: String,
    /// Families of rules that are used; all if empty, and `rules` is.
    families: Vec<String>,
    /// Rules that are used besides.
    rules: Vec<String>,
    /// Files with rules of the user's own.
    files: Vec<String>,
    /// On how many programs each of those is tested before it is used.
    check: usize,
}

impl Default for Egraph {
    fn default() -> Self {
        Self {
            iters: 12,
            nodes: 10_000,
            matches: 2_000,
            window: 400,
            greedy: false,
            cost: "latency".to_owned(),
            target: Opset::Ios15.to_string(),
            families: Vec::new(),
            rules: Vec::new(),
            files: Vec::new(),
            check: 200,
        }
    }
}

impl Pass for Egraph {
    fn name(&self) -> &'static str {
        "egraph"
    }

    fn phase(&self) -> Phase {
        Phase::Optimize
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut rules = self.rules()?;
        for file in &self.files {
            rules.extend(load(Path::new(file), self.check)?);
        }
        let rules = RuleSet::new(rules);
        let wrong = |message: String| Diagnostic::new(codes::BAD_ARGUMENT, message);
        let device = device(&self.cost).ok_or_else(|| {
            let known: Vec<_> = DEVICES.iter().map(|device| device.name).collect();
            wrong(format!("no cost is called `{}`; there are {}", self.cost, known.join(", ")))
        })?;
        let opset = self
            .target
            .parse::<Opset>()
            .map_err(|error| Diagnostic::new(codes::UNKNOWN_TARGET, error.to_string()))?;
        let limits = Limits { iterations: self.iters, nodes: self.nodes, matches: self.matches };
        let options = Options {
            rules: &rules,
            device,
            limits,
            window: self.window,
            opset,
            strategy: if self.greedy { Strategy::Greedy } else { Strategy::Cheapest },
        };
        let mut changed = false;
        for func in cx.functions(program) {
            let report = optimize(program, func, &options)?;
            changed |= report.improved > 0;
            tell(&report, cx);
        }
        Ok(Changed::from(changed))
    }
}

impl Egraph {
    /// The rules that the options name.
    fn rules(&self) -> Result<Vec<Rule>> {
        let known = |name: &str| {
            FAMILIES.iter().any(|f| f.name == name || f.rules.iter().any(|r| r.name == name))
        };
        if let Some(name) = self.families.iter().chain(&self.rules).find(|name| !known(name)) {
            let rules = FAMILIES.iter().flat_map(|f| f.rules.iter().map(|r| r.name));
            let near = nearest(name, rules.chain(FAMILIES.iter().map(|f| f.name)));
            let message = format!("no rule or family is called `{name}`");
            let help = match near.first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`mlc rules` lists them".to_owned(),
            };
            return Err(Diagnostic::new(codes::BAD_ARGUMENT, message).help(help).into());
        }
        let all = self.families.is_empty() && self.rules.is_empty();
        let is_named = |names: &[String], name: &str| names.iter().any(|n| n == name);
        let chosen = FAMILIES.iter().flat_map(|family| {
            let whole = all || is_named(&self.families, family.name);
            family.rules.iter().filter(move |r| whole || is_named(&self.rules, r.name))
        });
        Ok(chosen.copied().collect())
    }
}

/// Counters, and a note for each kind of limit that was hit.
fn tell(report: &Report, cx: &mut PassCx) {
    cx.count("windows", report.windows);
    cx.count("windows improved", report.improved);
    cx.count("nodes", report.nodes);
    cx.count("cost before, µs", report.cost.0 / 1_000_000);
    cx.count("cost after, µs", report.cost.1 / 1_000_000);
    cx.count("windows with a conflict of types", report.conflicts);
    for (&rule, &count) in &report.used {
        cx.count(rule, count);
    }
    for (limit, count) in &report.limits {
        let (option, of) = match limit {
            Limit::Iterations => ("iters", String::new()),
            Limit::Nodes => ("nodes", String::new()),
            Limit::Matches(rule) => ("matches", format!(" by rule `{rule}`")),
        };
        let message = format!("limit `{option}` of `egraph` was hit in {count} windows{of}");
        let mut note = Diagnostic::new(codes::RESOURCE_LIMIT, message)
            .help(format!("a greater `{option}` may find more"));
        note.severity = Severity::Note;
        cx.report(note);
    }
}
