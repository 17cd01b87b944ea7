//! Shapes and ranges of inputs.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::{
    AxisRequest, Builder, Declared, FuncId, InputRequest, Node, ParamKind, Program, Specialisation,
};
use mlc_pass::{Rebuild, Result, Step, rebuild};

use super::InterfaceOptions;

/// Gives the inputs of `func` the shapes that are asked for, and infers everything anew.
pub(super) fn specialise(
    program: &mut Program,
    func: FuncId,
    options: &InterfaceOptions,
) -> Diagnostics {
    let declared = declared(program, func);
    let mut requests = options.inputs.clone();
    for image in &options.images {
        batch_of_one(&image.name, &declared, program, &mut requests);
    }
    // The outputs are chosen by now: what only others need is not in the way.
    super::tidy(program, func);
    let made = match Specialisation::find(&requests, &declared, &program.symbols) {
        Ok(made) => made,
        Err(found) => return found,
    };
    if made.is_empty() {
        return Diagnostics::new();
    }
    made.apply(program, func);
    if made.symbols.is_empty() && made.ranges.is_empty() {
        return Diagnostics::new();
    }
    match rebuild(program, func, "input-shapes", &mut Again) {
        Ok(()) => Diagnostics::new(),
        Err(error) => {
            let mut found = Diagnostics::new();
            for problem in error.0 {
                let message = "the program does not take the shapes that are asked for";
                let mut told = Diagnostic::new(codes::SHAPE_REQUEST, message).note(problem.message);
                told.places = problem.places;
                found.push(told);
            }
            found
        }
    }
}

/// The inputs of a function.
fn declared(program: &Program, func: FuncId) -> Vec<Declared> {
    let function = &program.functions[func];
    let args = &function.regions[function.body].args;
    let inputs = function.params.iter().zip(args).filter(|(p, _)| p.kind == ParamKind::Input);
    inputs
        .filter_map(|(param, &arg)| {
            Some(Declared {
                name: param.name.clone(),
                ty: function.ty(arg).as_tensor()?.clone(),
                default_shape: param.default_shape.clone(),
            })
        })
        .collect()
}

/// Images come one at a time: a batch axis that is open becomes 1 unless the user said otherwise.
fn batch_of_one(
    image: &str,
    inputs: &[Declared],
    program: &Program,
    requests: &mut Vec<InputRequest>,
) {
    let Some(input) = inputs.iter().find(|input| input.name == image) else { return };
    let [batch, _, _, _] = &input.ty.shape[..] else { return };
    let open = batch.as_symbol().is_some_and(|name| program.symbols.range(name).min <= 1);
    let asked = InputRequest::find(requests, image);
    let silent = asked.is_none_or(|r| r.shape.is_none() && r.enumerated.is_empty());
    if !open || !silent {
        return;
    }
    let mut request = asked.cloned().unwrap_or_else(|| InputRequest::new(image));
    let dynamic: BTreeMap<usize, AxisRequest> = (1..4)
        .filter_map(|axis| {
            let symbol = input.ty.shape[axis].as_symbol()?.to_owned();
            let range = program.symbols.range(&symbol);
            Some((axis, AxisRequest { symbol, range, step: 1 }))
        })
        .collect();
    let least = |axis: usize| {
        let dim = &input.ty.shape[axis];
        let known = input.default_shape.as_ref().and_then(|shape| shape.get(axis)).copied();
        let low = program.symbols.bounds(dim).0.and_then(|low| u64::try_from(low).ok());
        known.or(low).unwrap_or(1)
    };
    request.shape = Some(vec![1, least(1), least(2), least(3)]);
    for (axis, asked) in dynamic {
        request.dynamic.entry(axis).or_insert(asked);
    }
    match requests.iter_mut().find(|known| known.name == image) {
        Some(known) => *known = request,
        None => requests.push(request),
    }
}

/// Infers every op anew.
struct Again;

impl Rebuild for Again {
    fn node(&mut self, _: &mut Builder<'_>, _: Node) -> Result<Step> {
        Ok(Step::Keep)
    }
}
