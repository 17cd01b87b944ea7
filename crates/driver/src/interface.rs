//! Changes to what the caller of a model sees: names, and which outputs there are.

use mlc_coreml::interface::{FeatureKey, Features};
use mlc_diag::{Diagnostic, Diagnostics, Place, codes, nearest};
use mlc_ir::{FuncId, Function, Output, ParamKind, Program, Type};
use mlc_target::io::{Direction, feature_dtypes};
use mlc_target::{DataType, Opset};
use mlc_tensor::DType;

/// Renames inputs and outputs, then keeps the outputs named in `keep`, in that order, if there are
/// any.
///
/// # Errors
/// A name that does not exist, or one that then stands twice.
pub(crate) fn adjust(
    program: &mut Program,
    func: FuncId,
    renames: &[(String, String)],
    keep: &[String],
) -> Result<(), Diagnostics> {
    let mut found = Diagnostics::new();
    let function = &mut program.functions[func];
    for (old, new) in renames {
        let param = function.params.iter_mut().find(|p| p.name == *old).map(|p| &mut p.name);
        let output = function.outputs.iter_mut().find(|o| o.name == *old).map(|o| &mut o.name);
        match param.or(output) {
            Some(name) => name.clone_from(new),
            None => {
                let names: Vec<&str> = function
                    .params
                    .iter()
                    .map(|p| p.name.as_str())
                    .chain(function.outputs.iter().map(|o| o.name.as_str()))
                    .collect();
                found.push(unknown("--rename", old, &names));
            }
        }
    }
    let all: Vec<&str> = function
        .params
        .iter()
        .map(|p| p.name.as_str())
        .chain(function.outputs.iter().map(|o| o.name.as_str()))
        .collect();
    for (i, name) in all.iter().enumerate() {
        if all[..i].contains(name) {
            let message = format!("two features would be called `{name}`");
            found.push(
                Diagnostic::new(codes::BAD_ARGUMENT, message)
                    .at(Place::Argument("--rename".into())),
            );
        }
    }
    if !keep.is_empty() {
        let body = function.body;
        let results = function.regions[body].results.clone();
        let mut outputs = Vec::new();
        let mut values = Vec::new();
        for name in keep {
            match function.outputs.iter().position(|o| o.name == *name) {
                Some(at) => {
                    outputs.push(Output { name: name.clone() });
                    values.push(results[at]);
                }
                None => {
                    let names: Vec<&str> =
                        function.outputs.iter().map(|o| o.name.as_str()).collect();
                    found.push(unknown("--output-name", name, &names));
                }
            }
        }
        if !found.has_errors() {
            function.outputs = outputs;
            function.regions[body].results = values;
        }
    }
    if found.has_errors() { Err(found) } else { Ok(()) }
}

fn unknown(flag: &str, name: &str, known: &[&str]) -> Diagnostic {
    let near = nearest(name, known.iter().copied());
    let shown = if near.is_empty() { known.to_vec() } else { near };
    Diagnostic::new(codes::BAD_ARGUMENT, format!("the model has no feature `{name}`"))
        .at(Place::Argument(flag.into()))
        .help(format!("there is {}", shown.join(", ")))
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
    let names: Vec<&str> = inputs
        .map(|(param, _)| param.name.as_str())
        .chain(outputs.map(|(output, _)| output.name.as_str()))
        .collect();
    if names.is_empty() {
        return None;
    }
    let message = "the program computes in f16 and has inputs or outputs of f32";
    let mut note = Diagnostic::new(codes::FP32_IO, message).help(format!(
        "`precision{{io=[{}]}}` in `--passes` makes them f16, if the app can pass that",
        names.join(",")
    ));
    for name in names {
        note = note.at(Place::Argument(name.into()));
    }
    Some(note)
}
