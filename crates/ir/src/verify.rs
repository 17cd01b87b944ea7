//! The verifier.
//!
//! A program is valid when
//! - operands are defined before they are used, in the same region or one around it;
//! - each op has the operand slots, regions and attributes its entry asks for;
//! - the types of results are those that inference gives, where it knows them;
//! - the body of each function has one argument a parameter and one result an output;
//! - names of parameters and outputs of a function are unique, names of functions too;
//! - no type holds an unknown extent, and every symbol is declared;
//! - state types belong to state parameters alone, and every constant is in the pool.

use std::collections::BTreeSet;

use mlc_diag::{Diagnostic, Diagnostics, Loc, codes};

use crate::builder::infer;
use crate::dim::Dim;
use crate::entity::EntityId;
use crate::infer::OpError;
use crate::program::{FuncId, Node, ParamKind, Program, Region, Value};
use crate::types::Type;

/// All violations in `program`.
#[must_use]
pub fn verify(program: &Program) -> Diagnostics {
    let mut found = Diagnostics::new();
    let mut names = BTreeSet::new();
    for (id, function) in program.functions.iter() {
        if !names.insert(&function.name) {
            let message = format!("two functions are named `{}`", function.name);
            found.push(Diagnostic::new(codes::INVALID_IR, message));
        }
        Verifier {
            program,
            func: id,
            defined: vec![false; function.values.len()],
            found: &mut found,
        }
        .function();
    }
    found
}

/// What is wrong with one op taken by itself: operand slots, attributes, result types.
///
/// # Errors
/// The first violation.
pub fn verify_node(program: &Program, func: FuncId, node: Node) -> Result<(), OpError> {
    let function = &program.functions[func];
    let data = &function.nodes[node];
    let inferred = infer(program, func, &data.op, &data.operands, &data.regions)?;
    if inferred.results.len() != data.results.len() {
        let (got, want) = (data.results.len(), inferred.results.len());
        return Err(OpError::ty(format!("{got} results, {want} inferred")));
    }
    for (&value, (ty, _)) in data.results.iter().zip(&inferred.results) {
        let declared = &function.values[value].ty;
        if !agrees(ty, declared) {
            return Err(OpError::ty(format!("result is {declared}, {ty} inferred")));
        }
    }
    Ok(())
}

/// Whether `declared` is `inferred` with any extent where that is unknown.
fn agrees(inferred: &Type, declared: &Type) -> bool {
    let mut wanted = Vec::new();
    inferred.for_each_dim(&mut |dim| wanted.push(dim.clone()));
    let mut wanted = wanted.into_iter();
    let masked = declared.map_dims(&mut |dim| match wanted.next() {
        Some(Dim::Unknown) => Dim::Unknown,
        _ => dim.clone(),
    });
    masked == *inferred
}

struct Verifier<'a> {
    program: &'a Program,
    func: FuncId,
    defined: Vec<bool>,
    found: &'a mut Diagnostics,
}

impl Verifier<'_> {
    fn report(&mut self, message: String, loc: &Loc) {
        self.found.push(Diagnostic::new(codes::INVALID_IR, message).at_op(loc));
    }

    fn function(&mut self) {
        let function = &self.program.functions[self.func];
        let body = &function.regions[function.body];
        let unknown = Loc::unknown();
        if body.args.len() != function.params.len() || body.results.len() != function.outputs.len()
        {
            let message =
                format!("`{}`: parameters or outputs do not match the body", function.name);
            self.report(message, &unknown);
            return;
        }
        let mut names = BTreeSet::new();
        for name in
            function.params.iter().map(|p| &p.name).chain(function.outputs.iter().map(|o| &o.name))
        {
            if !names.insert(name) {
                self.report(
                    format!("`{}`: two features are named `{name}`", function.name),
                    &unknown,
                );
            }
        }
        for (param, &arg) in function.params.iter().zip(&body.args) {
            let is_state = matches!(function.ty(arg), Type::State(_));
            if is_state != (param.kind == ParamKind::State) {
                self.report(
                    format!("parameter `{}` is {}", param.name, function.ty(arg)),
                    &unknown,
                );
            }
        }
        self.region(function.body, &unknown);
    }

    fn region(&mut self, region: Region, around: &Loc) {
        let function = &self.program.functions[self.func];
        let data = &function.regions[region];
        let mut scope: Vec<Value> = data.args.clone();
        for &arg in &data.args {
            self.define(arg, around);
        }
        for &node in &data.nodes {
            let node_data = &function.nodes[node];
            let loc = self.program.loc(node_data.loc);
            let mut usable = true;
            for &operand in node_data.operands.all() {
                if !self.defined.get(operand.index()).copied().unwrap_or(false) {
                    usable = false;
                    let op = node_data.op.spec().name;
                    self.report(format!("`{op}` uses {operand:?} before its definition"), loc);
                }
            }
            for &nested in &node_data.regions {
                self.region(nested, loc);
            }
            if usable && let Err(error) = verify_node(self.program, self.func, node) {
                let message = format!("`{}`: {}", node_data.op.spec().name, error.message);
                self.found.push(Diagnostic::new(error.code, message).at_op(loc));
            }
            for &result in &node_data.results {
                self.define(result, loc);
                scope.push(result);
            }
        }
        for &result in &data.results {
            if !self.defined.get(result.index()).copied().unwrap_or(false) {
                self.report(format!("{result:?} is yielded before its definition"), around);
            }
        }
        for value in scope {
            self.defined[value.index()] = false;
        }
    }

    fn define(&mut self, value: Value, loc: &Loc) {
        let ty = &self.program.functions[self.func].values[value].ty;
        let mut problem = None;
        ty.for_each_dim(&mut |dim| {
            if *dim == Dim::Unknown {
                problem = Some(format!("{value:?} is {ty}, which has an unknown extent"));
            }
            dim.for_each_symbol(&mut |name| {
                if !self.program.symbols.contains(name) {
                    problem =
                        Some(format!("{value:?} is {ty}, but symbol `{name}` is not declared"));
                }
            });
        });
        if let Some(problem) = problem {
            self.report(problem, loc);
        }
        self.defined[value.index()] = true;
    }
}
