//! The calls in a file of references.

use std::collections::BTreeMap;
use std::path::Path;

use mlc_eval::{Array, EvalError, EvalValue, Evaluator, States};
use mlc_ir::{FuncId, ParamKind, Program, Type};

/// Inputs and what comes out.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// Its name in the file: empty for the plain one, `alt0`, `step1` …
    pub name: String,
    /// Inputs in order.
    pub inputs: Vec<Array>,
    /// Outputs in order.
    pub outputs: Vec<Array>,
    /// States before, by name; those of the model where there are none.
    pub states_in: BTreeMap<String, Array>,
    /// States after, by name.
    pub states_out: BTreeMap<String, Array>,
}

/// Calls that keep the states from one to the next.
pub type Sequence = Vec<Call>;

/// The sequences of calls in the file at `path`: each call alone, and all `step…` as one.
///
/// # Errors
/// The file cannot be read, or a number is missing in the row of inputs or outputs.
pub fn read(path: &Path) -> Result<Vec<Sequence>, String> {
    let tensors = mlc_driver::read_safetensors(path)
        .map_err(|errors| errors.items().first().map_or_else(String::new, ToString::to_string))?;
    let mut calls: BTreeMap<String, Rows> = BTreeMap::new();
    for (name, array) in tensors {
        let (call, slot) = split(&name).ok_or_else(|| format!("`{name}` is no part of a call"))?;
        let rows = calls.entry(call.to_owned()).or_default();
        match slot {
            Slot::Input(index) => drop(rows.inputs.insert(index, array)),
            Slot::Output(index) => drop(rows.outputs.insert(index, array)),
            Slot::StateIn(name) => drop(rows.states_in.insert(name.to_owned(), array)),
            Slot::StateOut(name) => drop(rows.states_out.insert(name.to_owned(), array)),
        }
    }
    let mut sequences = Vec::new();
    let mut steps = BTreeMap::new();
    for (name, rows) in calls {
        let step = name.strip_prefix("step").and_then(|n| n.parse::<usize>().ok());
        let call = rows.call(name)?;
        match step {
            Some(step) => drop(steps.insert(step, call)),
            None => sequences.push(vec![call]),
        }
    }
    if !steps.is_empty() {
        sequences.push(steps.into_values().collect());
    }
    Ok(sequences)
}

/// Puts `values` in the order of a program, whose feature `i` is number `order[i]`.
pub(super) fn reorder(values: &mut Vec<Array>, order: &[usize]) {
    if !order.is_empty() {
        *values = order.iter().filter_map(|&at| values.get(at).cloned()).collect();
    }
}

enum Slot<'a> {
    Input(usize),
    Output(usize),
    StateIn(&'a str),
    StateOut(&'a str),
}

/// The call and the slot that `alt0.input.1` names.
fn split(name: &str) -> Option<(&str, Slot<'_>)> {
    const KINDS: [&str; 4] = ["input.", "output.", "state_in.", "state_out."];
    let (at, kind) = KINDS
        .iter()
        .filter_map(|kind| name.find(kind).map(|at| (at, *kind)))
        .min_by_key(|(at, _)| *at)?;
    let (call, rest) = (name[..at].trim_end_matches('.'), &name[at + kind.len()..]);
    let slot = match kind {
        "input." => Slot::Input(rest.parse().ok()?),
        "output." => Slot::Output(rest.parse().ok()?),
        "state_in." => Slot::StateIn(rest),
        _ => Slot::StateOut(rest),
    };
    Some((call, slot))
}

#[derive(Default)]
struct Rows {
    inputs: BTreeMap<usize, Array>,
    outputs: BTreeMap<usize, Array>,
    states_in: BTreeMap<String, Array>,
    states_out: BTreeMap<String, Array>,
}

impl Rows {
    fn call(self, name: String) -> Result<Call, String> {
        let row =
            |row: BTreeMap<usize, Array>, what: &str| match row.keys().copied().eq(0..row.len()) {
                true => Ok(row.into_values().collect::<Vec<_>>()),
                false => Err(format!("call `{name}` has gaps in its {what}")),
            };
        let (inputs, outputs) = (row(self.inputs, "inputs")?, row(self.outputs, "outputs")?);
        let (states_in, states_out) = (self.states_in, self.states_out);
        Ok(Call { name, inputs, outputs, states_in, states_out })
    }
}

/// Runs `func` as `call` says; `states` carry over. Inputs take the shape the function declares
/// where that is another spelling of a scalar.
///
/// # Errors
/// The function cannot be run.
pub fn run(
    (program, func): (&Program, FuncId),
    call: &Call,
    states: &mut States,
) -> Result<Vec<Array>, EvalError> {
    let function = &program.functions[func];
    let args = &function.regions[function.body].args;
    let ranks = function
        .params
        .iter()
        .zip(args)
        .filter(|(param, _)| param.kind == ParamKind::Input)
        .map(|(_, &arg)| function.ty(arg).as_tensor().map(mlc_ir::TensorType::rank));
    let mut inputs = Vec::new();
    for (input, rank) in call.inputs.iter().zip(ranks.chain(std::iter::repeat(None))) {
        inputs.push(match rank {
            Some(1) if input.rank() == 0 => input.reshape(&[1])?,
            _ => input.clone(),
        });
    }
    let outputs = Evaluator::new(program, func).run(&inputs, states)?;
    outputs.iter().map(|output: &EvalValue| output.array().cloned()).collect()
}

/// The states of `func` as a call begins: those it gives, else those of the model, by name.
///
/// # Errors
/// A state that neither has.
pub fn states(
    (program, func): (&Program, FuncId),
    call: &Call,
    stored: &BTreeMap<String, Array>,
) -> Result<States, String> {
    let mut states = States::new();
    let function = &program.functions[func];
    let args = &function.regions[function.body].args;
    for (param, &arg) in function.params.iter().zip(args) {
        let Type::State(ty) = function.ty(arg) else { continue };
        let name = spelling(&param.name);
        let find = |all: &BTreeMap<String, Array>| {
            all.iter().find(|(key, _)| spelling(key) == name).map(|(_, array)| array.clone())
        };
        let start = find(&call.states_in)
            .or_else(|| find(stored))
            .ok_or_else(|| format!("nothing says how state `{}` begins", param.name))?;
        let start = start.cast(ty.dtype).map_err(|error| error.to_string())?;
        states.insert(param.name.clone(), start);
    }
    Ok(states)
}

/// Packages allow letters, digits and underscores in names; the rest becomes underscores. A word that
/// they reserve, such as `state`, gets an ending.
pub(crate) fn spelling(name: &str) -> String {
    let name = name.strip_suffix("_workaround").unwrap_or(name);
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        assert!(matches!(split("input.0"), Some(("", Slot::Input(0)))));
        assert!(matches!(split("alt1.output.12"), Some(("alt1", Slot::Output(12)))));
        assert!(matches!(split("state_in.a.input.b"), Some(("", Slot::StateIn("a.input.b")))));
        assert!(split("weights").is_none() && split("input.x").is_none());
    }
}
