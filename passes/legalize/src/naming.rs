//! The pass `naming`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mlc_diag::{Diagnostic, Place, codes};
use mlc_ir::ops::Identity;
use mlc_ir::{Builder, Def, FuncId, Op, ParamKind, Program, Uses, Value};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

use crate::names::legal;

/// Gives every value of a function a name of its own that Core ML accepts: letters, digits and `_`, no
/// digit first, none of the words of the format. Names of inputs, states and outputs go first and are
/// changed only where they have to, with a note.
///
/// After it every output is the result of an op of its own that is no constant, and every input is
/// used: `identity` ops stand where that was not so.
///
/// ```mlc before
/// func @f(%x: tensor<2xf32>) -> (y: tensor<2xf32>, z: tensor<2xf32>) {
///   %1 = exp %x
///   return %1, %1
/// }
/// ```
/// ```mlc after
/// func @f(%x: tensor<2xf32>) -> (y: tensor<2xf32>, z: tensor<2xf32>) {
///   %y = exp %x
///   %z = identity %y
///   return %y, %z
/// }
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Naming {}

impl Pass for Naming {
    fn name(&self) -> &'static str {
        "naming"
    }

    fn phase(&self) -> Phase {
        Phase::Legalize
    }

    fn is_required(&self) -> bool {
        true
    }

    /// The identities that keep unused inputs have no users.
    fn cleans(&self) -> bool {
        false
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut changed = false;
        let functions = cx.functions(program);
        let mut taken = BTreeSet::new();
        for &func in &functions {
            let old = program.functions[func].name.clone();
            let new = unique(legal(&old), &mut taken);
            changed |= old != new;
            program.functions[func].name = new;
        }
        for func in functions {
            changed |= own_outputs(program, func)?;
            let features = feature_names(program, func, cx);
            changed |= keep_inputs(program, func)?;
            changed |= name_values(program, func, features);
        }
        Ok(Changed::from(changed))
    }
}

fn unique(name: String, taken: &mut BTreeSet<String>) -> String {
    let mut candidate = name.clone();
    let mut count = 0;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{count}");
        count += 1;
    }
    candidate
}

/// A cursor at the end of the body.
fn at_end(program: &mut Program, func: FuncId) -> Builder<'_> {
    let loc = program.intern_loc(mlc_diag::Loc::unknown().after("naming"));
    let mut b = Builder::new(program, func);
    b.loc = loc;
    b
}

/// Makes each output the result of an op of the body that is no constant and no other output.
fn own_outputs(program: &mut Program, func: FuncId) -> Result<bool> {
    let body = program.functions[func].body;
    let mut results = program.functions[func].regions[body].results.clone();
    let home: BTreeSet<_> = program.functions[func].regions[body].nodes.iter().copied().collect();
    let mut b = at_end(program, func);
    let mut seen = BTreeSet::new();
    let mut changed = false;
    for result in &mut results {
        let function = b.function();
        let own = match function.values[*result].def {
            Def::Result(node, _) => {
                home.contains(&node) && !matches!(function.nodes[node].op, Op::Const(_))
            }
            Def::Arg(..) => false,
        };
        if !own || seen.contains(result) {
            *result = Identity {}.build(&mut b, *result)?;
            changed = true;
        }
        seen.insert(*result);
    }
    program.functions[func].regions[body].results = results;
    Ok(changed)
}

/// Makes the names of parameters and outputs legal and unique, and gives them by value.
fn feature_names(program: &mut Program, func: FuncId, cx: &mut PassCx) -> BTreeMap<Value, String> {
    let function = &mut program.functions[func];
    let body = &function.regions[function.body];
    let (args, results) = (body.args.clone(), body.results.clone());
    let mut taken = BTreeSet::new();
    let mut named = BTreeMap::new();
    let params = function.params.iter_mut().map(|p| ("input", &mut p.name)).zip(args);
    let outputs = function.outputs.iter_mut().map(|o| ("output", &mut o.name)).zip(results);
    for ((kind, name), value) in params.chain(outputs) {
        let new = unique(legal(name), &mut taken);
        if new != *name {
            let message = format!("{kind} `{name}` is called `{new}`");
            let note = "names are letters, digits and `_`, begin with no digit, and are no word of the format";
            cx.report(
                Diagnostic::new(codes::RENAMED_FEATURE, message)
                    .at(Place::Argument(name.as_str().into()))
                    .note(note),
            );
            new.clone_into(name);
        }
        named.insert(value, new);
    }
    named
}

/// Adds an identity for each input that nothing uses.
fn keep_inputs(program: &mut Program, func: FuncId) -> Result<bool> {
    let function = &program.functions[func];
    let uses = Uses::of(function);
    let args = function.regions[function.body].args.iter().zip(&function.params);
    let unused: Vec<(Value, String)> = args
        .filter(|(arg, param)| param.kind == ParamKind::Input && uses.count(**arg) == 0)
        .map(|(&arg, param)| (arg, format!("{}_tmp", param.name)))
        .collect();
    let mut b = at_end(program, func);
    for (arg, name) in &unused {
        let kept = Identity {}.build(&mut b, *arg)?;
        b.name(kept, name);
    }
    Ok(!unused.is_empty())
}

/// Names every value of the function, features first. Says whether a name changed.
fn name_values(program: &mut Program, func: FuncId, features: BTreeMap<Value, String>) -> bool {
    let function = &mut program.functions[func];
    let mut taken: BTreeSet<String> = features.values().cloned().collect();
    let mut values: Vec<(Value, Option<&'static str>)> = Vec::new();
    function.for_each_node(&mut |_, node| {
        let data = &function.nodes[node];
        for &region in &data.regions {
            values.extend(function.regions[region].args.iter().map(|&arg| (arg, None)));
        }
        values.extend(data.results.iter().map(|&r| (r, Some(data.op.spec().name))));
    });
    let mut changed = false;
    let mut names = features;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for (value, op) in values {
        if names.contains_key(&value) {
            continue;
        }
        let hint = function.values[value].name.as_deref().map(legal);
        let base = hint.clone().unwrap_or_else(|| op.unwrap_or("arg").to_owned());
        let name = match hint {
            Some(hint) if taken.insert(hint.clone()) => hint,
            _ => {
                // Counting on from the last one keeps this linear.
                let count = counts.entry(base.clone()).or_default();
                loop {
                    let name = format!("{base}_{count}");
                    *count += 1;
                    if taken.insert(name.clone()) {
                        break name;
                    }
                }
            }
        };
        names.insert(value, name);
    }
    for (value, name) in names {
        let slot = &mut function.values[value].name;
        if slot.as_deref() != Some(&name) {
            *slot = Some(Arc::from(name));
            changed = true;
        }
    }
    changed
}
