//! The opset that a program needs.

use mlc_diag::{Diagnostic, Diagnostics, Loc, codes};
use mlc_ir::{Function, Node, Op, ParamKind, Program, Type};
use mlc_target::{Opset, io};
use mlc_tensor::DType;

use crate::legality::{Refusal, accepts};

/// Why a program needs the opset it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What it is about, such as `` `gelu` came with iOS 16 ``.
    pub text: String,
    /// Where it is; unknown for features.
    pub loc: Loc,
}

/// The lowest opset that takes a program as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The opset.
    pub opset: Opset,
    /// What a lower one does not take; empty for the lowest of all.
    pub reasons: Vec<Reason>,
}

/// The lowest opset that takes every op and feature of `program`, and why no lower one does.
///
/// # Errors
/// No opset does: everything that the one which takes most does not take.
pub fn required_opset(program: &Program) -> Result<Requirement, Diagnostics> {
    let mut below: Vec<Reason> = Vec::new();
    let mut best: Option<Vec<Problem>> = None;
    for opset in Opset::ALL {
        let problems = problems(program, opset);
        if problems.is_empty() {
            return Ok(Requirement { opset, reasons: below });
        }
        below =
            problems.iter().map(|p| Reason { text: p.text.clone(), loc: p.loc.clone() }).collect();
        if best.as_ref().is_none_or(|best| problems.len() <= best.len()) {
            best = Some(problems);
        }
    }
    Err(best.unwrap_or_default().into_iter().map(|problem| problem.diagnostic(None)).collect())
}

/// Something that an opset does not take.
#[derive(Debug)]
pub(crate) struct Problem {
    text: String,
    loc: Loc,
    /// The opset that takes it, if one does.
    since: Option<Opset>,
    refusal: Option<Refusal>,
    code: Option<mlc_diag::Code>,
}

impl Problem {
    /// The error for a target of that name; for any target without one.
    pub(crate) fn diagnostic(self, target: Option<&str>) -> Diagnostic {
        let (code, text) = match (self.since, target, &self.refusal) {
            (Some(since), Some(target), _) => {
                let text =
                    format!("{}; {target} is asked for, {} takes it", self.text, since.label());
                (codes::TARGET_TOO_OLD, text)
            }
            (_, _, Some(Refusal::Dtype { .. })) => (codes::UNSUPPORTED_DTYPE, self.text),
            (_, _, Some(Refusal::NoOp)) => (codes::UNSUPPORTED_OP, self.text),
            _ => (codes::UNSUPPORTED_ARGUMENT, self.text),
        };
        let diagnostic = Diagnostic::new(self.code.unwrap_or(code), text).at_op(&self.loc);
        match self.since {
            Some(since) => diagnostic
                .help(format!("target {} or later", since.label()))
                .fix(format!("--target {since}")),
            None if self.code == Some(codes::STATE_DTYPE) => {
                diagnostic.help("`--states=io` makes it an input and an output").fix("--states=io")
            }
            None => diagnostic,
        }
    }
}

/// Everything that `opset` does not take.
pub(crate) fn problems(program: &Program, opset: Opset) -> Vec<Problem> {
    let mut found = features(program, opset);
    for (_, function) in program.functions.iter() {
        function.for_each_node(&mut |_, node| {
            if is_of_refused_state(function, node) {
                return;
            }
            if let Err(refusal) = accepts(program, function, node, opset) {
                found.push(problem(program, function, (node, refusal, opset)));
            }
        });
    }
    found
}

/// Whether an op reads or writes a state that no opset takes, which is said of the state.
fn is_of_refused_state(function: &Function, node: Node) -> bool {
    let data = &function.nodes[node];
    let state = data.operands.all().first().map(|&value| function.ty(value));
    matches!(data.op, Op::ReadState(_) | Op::WriteState(_))
        && matches!(state, Some(Type::State(held)) if held.dtype != DType::F16)
}

fn problem(
    program: &Program,
    function: &Function,
    (node, refusal, opset): (Node, Refusal, Opset),
) -> Problem {
    let data = &function.nodes[node];
    let later = Opset::ALL.into_iter().filter(|&later| later > opset);
    let since = later.into_iter().find(|&later| accepts(program, function, node, later).is_ok());
    Problem {
        text: refusal.text(&data.op),
        loc: program.loc(data.loc).clone(),
        since,
        refusal: Some(refusal),
        code: None,
    }
}

/// Inputs, outputs, states and functions that `opset` does not take.
fn features(program: &Program, opset: Opset) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut need = |since: Option<Opset>, code, text: String| {
        if since.is_none_or(|since| opset < since) {
            found.push(Problem { text, loc: Loc::unknown(), since, refusal: None, code });
        }
    };
    if program.functions.len() > 1 {
        let text = format!("{} functions", program.functions.len());
        need(Some(io::MULTI_FUNCTION_SINCE), None, text);
    }
    for (_, function) in program.functions.iter() {
        let body = &function.regions[function.body];
        for (param, &arg) in function.params.iter().zip(&body.args) {
            match function.ty(arg) {
                Type::State(held) if held.dtype != DType::F16 => {
                    let text = format!("state `{}` is {held}, only f16 can be kept", param.name);
                    need(None, Some(codes::STATE_DTYPE), text);
                }
                Type::State(_) => {
                    need(Some(io::STATES_SINCE), None, format!("state `{}`", param.name));
                }
                Type::Tensor(ty) if ty.dtype == DType::F16 => {
                    need(Some(Opset::Ios16), None, format!("input `{}` is f16", param.name));
                }
                _ => {}
            }
        }
        for (output, &value) in function.outputs.iter().zip(&body.results) {
            if function.ty(value).as_tensor().is_some_and(|ty| ty.dtype == DType::F16) {
                need(Some(Opset::Ios16), None, format!("output `{}` is f16", output.name));
            }
        }
        let inputs = function.params.iter().filter(|p| p.kind == ParamKind::Input);
        let enumerated = inputs.filter(|param| !param.enumerated.is_empty()).count();
        if enumerated > 1 {
            let text = format!("{enumerated} inputs with enumerated shapes");
            need(Some(io::SEVERAL_ENUMERATED_INPUTS_SINCE), None, text);
        }
    }
    found
}
