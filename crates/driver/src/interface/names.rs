//! Names of features, and which outputs there are.

use std::collections::{BTreeMap, BTreeSet};

use mlc_coreml::interface::{FeatureKey, Features};
use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::{FuncId, Function, Output, ParamKind, Program, Type};
use mlc_target::io::{Direction, feature_dtypes};
use mlc_target::{DataType, Opset};
use mlc_tensor::DType;

use super::unknown;

/// Keeps the outputs named in `kept`, in that order, if there are any.
pub(super) fn keep(program: &mut Program, func: FuncId, kept: &[String]) -> Diagnostics {
    let mut found = Diagnostics::new();
    if kept.is_empty() {
        return found;
    }
    let function = &mut program.functions[func];
    let body = function.body;
    let results = function.regions[body].results.clone();
    let names: Vec<&str> = function.outputs.iter().map(|output| output.name.as_str()).collect();
    let mut outputs = Vec::new();
    let mut values = Vec::new();
    for name in kept {
        match names.iter().position(|known| known == name) {
            Some(at) => {
                outputs.push(Output { name: name.clone() });
                values.push(results[at]);
            }
            None => found.push(unknown("--output", name, &names)),
        }
    }
    if !found.has_errors() {
        function.outputs = outputs;
        function.regions[body].results = values;
    }
    found
}

/// Renames inputs, outputs and states; names that are not there any more are passed over.
pub(super) fn rename(
    program: &mut Program,
    func: FuncId,
    renames: &[(String, String)],
) -> Diagnostics {
    let mut found = Diagnostics::new();
    let function = &mut program.functions[func];
    let new: BTreeMap<&str, &str> = renames.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let names = function.params.iter_mut().map(|param| &mut param.name);
    for name in names.chain(function.outputs.iter_mut().map(|output| &mut output.name)) {
        if let Some(new) = new.get(name.as_str()) {
            (*new).clone_into(name);
        }
    }
    let mut seen = BTreeSet::new();
    let params = function.params.iter().map(|param| &param.name);
    for name in params.chain(function.outputs.iter().map(|output| &output.name)) {
        if !seen.insert(name) {
            let message = format!("two features would be called `{name}`");
            found.push(
                Diagnostic::new(codes::BAD_ARGUMENT, message)
                    .at(Place::Argument("--rename".into())),
            );
        }
    }
    found
}

/// What a package says of the features of `function`, under the names they have now. Features that were
/// not kept have nothing to say.
pub(crate) fn carried(
    features: Features,
    function: &Function,
    renames: &[(String, String)],
) -> Features {
    let here = |key: &FeatureKey| key.function == function.name;
    let stands = |name: &str| {
        function.params.iter().any(|param| param.name == name)
            || function.outputs.iter().any(|output| output.name == name)
    };
    features
        .into_iter()
        .map(|(mut key, options)| {
            let new = renames.iter().find(|(old, _)| *old == key.name && here(&key));
            if let Some((_, new)) = new {
                key.name.clone_from(new);
            }
            (key, options)
        })
        .filter(|(key, _)| !here(key) || stands(&key.name))
        .collect()
}

/// Says which inputs and outputs of a program that computes in half precision are of single precision,
/// where `opset` takes half ones.
pub(crate) fn single_features(program: &Program, name: &str, opset: Opset) -> Option<Diagnostic> {
    let function = &program.functions[program.function(name)?];
    let is = |ty: &Type, dtype| ty.as_tensor().is_some_and(|ty| ty.dtype == dtype);
    let takes_half = |way| feature_dtypes(opset, way).any(|dtype| dtype == DataType::Fp16);
    let mut computes_half = false;
    function.for_each_node(&mut |_, node| {
        let results = &function.nodes[node].results;
        computes_half |= results.iter().any(|&value| is(function.ty(value), DType::F16));
    });
    if !computes_half {
        return None;
    }
    let body = &function.regions[function.body];
    let inputs = function.params.iter().zip(&body.args).filter(|(param, arg)| {
        param.kind == ParamKind::Input
            && takes_half(Direction::Input)
            && is(function.ty(**arg), DType::F32)
    });
    let outputs = function.outputs.iter().zip(&body.results).filter(|(_, result)| {
        takes_half(Direction::Output) && is(function.ty(**result), DType::F32)
    });
    let inputs: Vec<&str> = inputs.map(|(param, _)| param.name.as_str()).collect();
    let outputs: Vec<&str> = outputs.map(|(output, _)| output.name.as_str()).collect();
    let mut flags: Vec<String> = inputs.iter().map(|name| format!("--input {name}=:f16")).collect();
    if !outputs.is_empty() {
        // `--output` chooses, so all are named.
        flags.extend(function.outputs.iter().map(|output| {
            let half = outputs.contains(&output.name.as_str());
            format!("--output {}{}", output.name, if half { "=:f16" } else { "" })
        }));
    }
    let names: Vec<&str> = inputs.into_iter().chain(outputs).collect();
    if names.is_empty() {
        return None;
    }
    let message = "the program computes in f16 and has inputs or outputs of f32";
    let mut note = Diagnostic::new(codes::FP32_IO, message)
        .help(format!("`{}` makes them f16, if the app can pass that", flags.join(" ")))
        .fix(flags.join(" "));
    for name in names {
        note = note.at(Place::Argument(name.into()));
    }
    Some(note)
}
