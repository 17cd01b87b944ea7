//! Rewrite rules of the user, and what rules did.

use std::path::PathBuf;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes, nearest};
use mlc_ir::Program;
use mlc_pass::{Item, OptionValue, Pipeline};
use mlc_target::Opset;
use mlc_target::cost::{DEVICES, Device, device};
use serde::Serialize;

use crate::Driver;

/// Programs that a rule of a file is tested on, and with `--check-rules`.
const DRAWS: i64 = 200;
const THOROUGH_DRAWS: i64 = 5000;

/// Most ops that a loop comes to that is written out for an engine, which runs no loops.
const UNROLLED: i64 = 512;

/// The passes of `--layout ane`.
const IMAGES: &str = "conv-layout,fix(sink-transposes{shared=true},identity-removal,cse),\
                      engine-attention,fix(sink-transposes,identity-removal,cse),\
                      egraph{families=[transpose,shape,views,slice]},cleanup";

/// How programs are rewritten: files of rules, used beside those of the project, and what cheap means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewriting {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Test each rule on many programs.
    pub thorough: bool,
    /// The class of devices whose costs are counted; `latency` if `None`.
    pub cost: Option<String>,
    /// Compute on sequences as on images of one row, as neural engines have it.
    pub images: bool,
}

impl Rewriting {
    /// Programs that each rule is tested on.
    #[must_use]
    pub fn draws(&self) -> i64 {
        if self.thorough { THOROUGH_DRAWS } else { DRAWS }
    }

    /// Gives the passes that rewrite the files, and the version that was asked for: what they make must
    /// not need a newer one. Without a version they make what every version has. For an engine, loops of
    /// known length are written out first.
    ///
    /// # Errors
    /// There are files or a cost and no pass that rewrites, or no cost has that name.
    pub(crate) fn hand_to(
        &self,
        pipeline: &mut Pipeline,
        target: Option<Opset>,
    ) -> Result<(), Diagnostics> {
        let device = self.cost.as_deref().map(known).transpose()?;
        if self.images {
            pipeline.items.append(&mut Pipeline::parse(IMAGES)?.items);
        }
        let mut users = 0;
        self.hand_on(&mut pipeline.items, target, &mut users);
        if device.is_some() && users == 0 {
            return Err(Diagnostic::new(codes::BAD_ARGUMENT, "no pass counts costs")
                .at(Place::Argument("--cost".into()))
                .help("use -O2, or put `egraph` into --passes")
                .into());
        }
        if device.is_some_and(|device| device.engine.is_some()) {
            let text = format!("fix(identity-removal,fold,unroll-loops{{ops={UNROLLED}}})");
            let mut items = Pipeline::parse(&text)?.items;
            items.append(&mut pipeline.items);
            pipeline.items = items;
        }
        match self.files.first() {
            Some(file) if users == 0 => {
                let message = format!("no pass uses the rules of {}", file.display());
                Err(Diagnostic::new(codes::BAD_ARGUMENT, message)
                    .at(Place::Argument("--rules".into()))
                    .help("use -O2, or put `egraph` into --passes")
                    .into())
            }
            _ => Ok(()),
        }
    }

    fn hand_on(&self, items: &mut [Item], target: Option<Opset>, users: &mut usize) {
        for item in items {
            match item {
                Item::Pass(call) if call.name == "egraph" => {
                    *users += 1;
                    if let Some(opset) = target {
                        let target = OptionValue::Text(opset.to_string());
                        call.options.entry("target".to_owned()).or_insert(target);
                    }
                    if let Some(cost) = &self.cost {
                        call.options.insert("cost".to_owned(), OptionValue::Text(cost.clone()));
                    }
                    if !self.files.is_empty() {
                        let file = |path: &PathBuf| OptionValue::Text(path.display().to_string());
                        let files = self.files.iter().map(file).collect();
                        call.options.insert("files".to_owned(), OptionValue::List(files));
                        call.options.insert("check".to_owned(), OptionValue::Int(self.draws()));
                    }
                }
                Item::Pass(_) => {}
                Item::Fix(items) | Item::Func(_, items) => self.hand_on(items, target, users),
            }
        }
    }
}

/// The class of devices of that name.
fn known(name: &str) -> Result<&'static Device, Diagnostics> {
    device(name).ok_or_else(|| {
        let names = || DEVICES.iter().map(|device| device.name);
        let help = match nearest(name, names()).first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        Diagnostic::new(codes::BAD_ARGUMENT, format!("no cost is called `{name}`"))
            .at(Place::Argument("--cost".into()))
            .help(help)
            .into()
    })
}

/// An op and the rules that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RewrittenOp {
    /// The kind of the op.
    pub op: String,
    /// Its first result.
    pub value: String,
    /// Where what it replaces comes from.
    pub place: String,
    /// The rules, in the order in which they were applied; none for an op of the source.
    pub rules: Vec<String>,
}

impl Driver {
    /// The ops of `program` that are of kind `wanted`, or have a result or a module of that name, with
    /// the rules that made them.
    ///
    /// # Errors
    /// There is no such op.
    pub fn rewritten(
        &self,
        program: &Program,
        wanted: &str,
    ) -> Result<Vec<RewrittenOp>, Diagnostics> {
        let mut found = Vec::new();
        let known = |pass: &str| {
            // What is no pass is a rule, of the project or of a file.
            !self.passes().contains(pass)
        };
        for (_, function) in program.functions.iter() {
            function.for_each_node(&mut |_, node| {
                let data = &function.nodes[node];
                let loc = program.loc(data.loc);
                let names = data.results.iter().filter_map(|&v| function.values[v].name.as_deref());
                let kind = data.op.spec().name;
                let is_wanted = kind == wanted
                    || loc.module.as_deref() == Some(wanted)
                    || names.clone().any(|name| name == wanted);
                if is_wanted {
                    let rules = loc.passes.iter().filter(|pass| known(pass));
                    found.push(RewrittenOp {
                        op: kind.to_owned(),
                        value: names.clone().next().unwrap_or("-").to_owned(),
                        place: loc.module.as_deref().unwrap_or("-").to_owned(),
                        rules: rules.map(|rule| rule.to_string()).collect(),
                    });
                }
            });
        }
        if found.is_empty() {
            let message = format!("no op of the result is called `{wanted}`");
            return Err(Diagnostic::new(codes::BAD_ARGUMENT, message)
                .at(Place::Argument("--explain-rewrites".into()))
                .help("name a kind of op, a value, or a module of the source")
                .into());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_need_a_pass_that_uses_them() {
        let mut pipeline = Pipeline::parse("cleanup,fix(egraph),dce").unwrap();
        let rewriting =
            Rewriting { files: vec!["my.rules".into()], thorough: true, ..Rewriting::default() };
        rewriting.hand_to(&mut pipeline, Some(Opset::Ios17)).unwrap();
        let text = pipeline.to_string();
        for part in ["target=ios17", "my.rules", "check=5000"] {
            assert!(text.contains(part), "{text}");
        }
        let mut without = Pipeline::parse("cleanup").unwrap();
        assert!(rewriting.hand_to(&mut without, None).is_err());
        assert!(Rewriting::default().hand_to(&mut without, None).is_ok());
    }
}
