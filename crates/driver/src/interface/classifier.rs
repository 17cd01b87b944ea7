//! Labels for the probabilities of an output.

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::ops::{Cast, Classify};
use mlc_ir::{Builder, FuncId, Output, Program};
use mlc_tensor::DType;

use super::{ClassifierRequest, Labels, Pinned, unknown};

/// Puts a label and a dictionary in place of the output with the probabilities; they come first.
pub(super) fn add(
    program: &mut Program,
    func: FuncId,
    request: &ClassifierRequest,
    pinned: &mut Pinned,
    found: &mut Diagnostics,
) {
    let Some(at) = output(program, func, request, found) else { return };
    let function = &program.functions[func];
    let value = function.regions[function.body].results[at];
    let name = function.outputs[at].name.clone();
    let ty = function.ty(value).clone();
    let count = request.labels.count();
    let place = Place::Argument("--classifier".into());
    let fits = ty.as_tensor().filter(|ty| ty.dtype.is_float());
    let Some(elements) = fits.map(mlc_ir::TensorType::count) else {
        let message = format!("output `{name}` is {ty}, which are no probabilities");
        found.push(Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message).at(place));
        return;
    };
    if !i64::try_from(count).is_ok_and(|count| elements.is(count)) {
        let message = format!("output `{name}` is {ty}, and there are {count} labels");
        found.push(
            Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message)
                .at(place)
                .help("give one label a line for each element, and fix the shape with `--input`"),
        );
        return;
    }
    let op = match &request.labels {
        Labels::Strings(classes) => Classify { classes: classes.clone(), class_ids: vec![] },
        Labels::Ints(ids) => Classify { classes: vec![], class_ids: ids.clone() },
    };
    let mut b = Builder::new(program, func);
    let built = match ty.as_tensor().map(|ty| ty.dtype) {
        Some(DType::F32) => Ok(value),
        _ => Cast { dtype: DType::F32 }.build(&mut b, value),
    }
    .and_then(|wide| op.build_many(&mut b, wide));
    let results = match built {
        Ok(results) => results,
        Err(error) => {
            found.push(Diagnostic::new(error.code, error.message).at(place));
            return;
        }
    };
    let probabilities =
        request.probabilities_name.clone().unwrap_or_else(|| format!("{name}_probs"));
    let function = &mut program.functions[func];
    let body = function.body;
    function.outputs.remove(at);
    function.regions[body].results.remove(at);
    let names = [request.label_name.clone(), probabilities];
    for (position, (name, result)) in names.into_iter().zip(results).enumerate() {
        function.outputs.insert(position, Output { name });
        function.regions[body].results.insert(position, result);
    }
    // Two features in front, one less at `at`.
    let moved = |old: usize| if old < at { old + 2 } else { old + 1 };
    pinned.outputs = std::mem::take(&mut pinned.outputs)
        .into_iter()
        .filter(|&(old, _)| old != at)
        .map(|(old, dtype)| (moved(old), dtype))
        .collect();
}

/// The output with the probabilities.
fn output(
    program: &Program,
    func: FuncId,
    request: &ClassifierRequest,
    found: &mut Diagnostics,
) -> Option<usize> {
    let function = &program.functions[func];
    let names: Vec<&str> = function.outputs.iter().map(|output| output.name.as_str()).collect();
    let Some(wanted) = &request.output else {
        if names.len() == 1 {
            return Some(0);
        }
        let message = format!("which of {} outputs has the probabilities is not said", names.len());
        found.push(
            Diagnostic::new(codes::BAD_ARGUMENT, message)
                .at(Place::Argument("--classifier".into()))
                .note(format!("outputs are {}", names.join(", ")))
                .help("write --classifier FILE,output=NAME"),
        );
        return None;
    };
    let at = names.iter().position(|name| name == wanted);
    if at.is_none() {
        found.push(unknown("--classifier", wanted, &names));
    }
    at
}
