//! A pipeline with its passes made and its order checked.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, Diagnostics, codes};

use crate::pass::{Pass, Phase, Property};
use crate::pipeline::{Item, PassCall, Pipeline};
use crate::registry::Registry;

/// A pass that is ready to run.
pub(crate) struct Planned {
    pub(crate) pass: Box<dyn Pass>,
    pub(crate) call: PassCall,
    /// Aliases that it came from.
    pub(crate) alias: Option<String>,
    /// Its position among all passes of the plan.
    pub(crate) index: usize,
}

pub(crate) enum Step {
    Pass(Planned),
    Fix(Vec<Step>),
    Func(String, Vec<Step>),
}

/// Makes the passes of `pipeline`, expanding aliases, and checks their order.
pub(crate) fn plan(registry: &Registry, pipeline: &Pipeline) -> Result<Vec<Step>, Diagnostics> {
    let mut planner = Planner { registry, found: Diagnostics::new(), count: 0 };
    let steps = planner.steps(&pipeline.items, None);
    let mut found = planner.found;
    check_order(&steps, &mut found);
    if found.has_errors() { Err(found) } else { Ok(steps) }
}

struct Planner<'a> {
    registry: &'a Registry,
    found: Diagnostics,
    count: usize,
}

impl Planner<'_> {
    fn steps(&mut self, items: &[Item], alias: Option<&str>) -> Vec<Step> {
        let mut steps = Vec::new();
        for item in items {
            match item {
                Item::Fix(items) => steps.push(Step::Fix(self.steps(items, alias))),
                Item::Func(name, items) => {
                    steps.push(Step::Func(name.clone(), self.steps(items, alias)));
                }
                Item::Pass(call) => match self.registry.expand(call) {
                    Some(Ok(pipeline)) => {
                        steps.extend(self.steps(&pipeline.items, Some(&call.name)));
                    }
                    Some(Err(errors)) => self.found.extend(errors),
                    None => match self.registry.make(call) {
                        Ok(pass) => {
                            let alias = alias.map(str::to_owned);
                            let index = self.count;
                            self.count += 1;
                            let call = call.clone();
                            steps.push(Step::Pass(Planned { pass, call, alias, index }));
                        }
                        Err(errors) => self.found.extend(errors),
                    },
                },
            }
        }
        steps
    }
}

/// All passes in order, groups included.
pub(crate) fn flat(steps: &[Step]) -> Vec<&Planned> {
    let mut out = Vec::new();
    for step in steps {
        match step {
            Step::Pass(planned) => out.push(planned),
            Step::Fix(steps) | Step::Func(_, steps) => out.extend(flat(steps)),
        }
    }
    out
}

fn check_order(steps: &[Step], found: &mut Diagnostics) {
    let passes = flat(steps);
    let mut first: BTreeMap<Property, (usize, &str)> = BTreeMap::new();
    for planned in &passes {
        for &property in planned.pass.establishes() {
            first.entry(property).or_insert((planned.index, planned.pass.name()));
        }
    }
    let mut latest: Option<(Phase, &str)> = None;
    for planned in &passes {
        let (name, phase) = (planned.pass.name(), planned.pass.phase());
        if phase != Phase::Any {
            if let Some((before, other)) = latest
                && phase < before
            {
                let message = format!("`{name}` stands after `{other}`");
                let note = format!(
                    "`{name}` is of phase {}, `{other}` of the later phase {}",
                    phase.as_str(),
                    before.as_str()
                );
                let help = format!("move `{name}` before `{other}`");
                found.push(Diagnostic::new(codes::BAD_PIPELINE, message).note(note).help(help));
            }
            latest = Some(latest.map_or((phase, name), |old| old.max((phase, name))));
        }
        for property in planned.pass.requires() {
            if let Some(&(at, maker)) = first.get(property)
                && at > planned.index
            {
                let message = format!(
                    "`{name}` needs `{}`, which only the later `{maker}` establishes",
                    property.0
                );
                let help = format!("move `{maker}` before `{name}`");
                found.push(Diagnostic::new(codes::BAD_PIPELINE, message).help(help));
            }
        }
    }
}
