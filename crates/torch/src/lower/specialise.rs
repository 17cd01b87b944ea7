//! An exported program with extents that the user fixed or narrowed.
//!
//! It is done before lowering, so that everything that needs a known extent sees it.

use mlc_diag::Diagnostics;
use mlc_ir::{Declared, Dim, InputRequest, Specialisation, SymbolRange, Symbols, TensorType};
use mlc_tensor::DType;

use super::dims;
use super::graph::{input_name, meta_dims};
use super::signature::default_shape;
use crate::graph::{Arg, ExportedProgram, Graph, InputKind, Range};
use crate::symexpr::{SymExpr, SymFn};

/// The program with the symbols that `requests` fix, narrow or name replaced, and the shapes that its
/// inputs have then.
///
/// # Errors
/// What contradicts the file.
pub(super) fn specialised(
    source: &ExportedProgram,
    requests: &[InputRequest],
) -> Result<(ExportedProgram, Specialisation), Diagnostics> {
    let mut symbols = Symbols::default();
    for (name, range) in &source.ranges {
        symbols.declare(name, symbol_range(*range));
    }
    let inputs = declared(source);
    // Inputs that come of buffers are not known yet; the caller checks names.
    let known: Vec<InputRequest> = requests
        .iter()
        .filter(|request| inputs.iter().any(|input| input.name == request.name))
        .cloned()
        .collect();
    let made = Specialisation::find(&known, &inputs, &symbols)?;
    let mut program = source.clone();
    graph(&mut program.graph, &made);
    for (old, new) in &made.symbols {
        let range = program.ranges.remove(old).unwrap_or_default();
        if let Some(name) = new.as_symbol() {
            program.ranges.insert(name.to_owned(), range);
        }
        if let Some(example) = program.examples.remove(old)
            && let Some(name) = new.as_symbol()
        {
            program.examples.insert(name.to_owned(), example);
        }
    }
    for (name, range) in &made.ranges {
        program.ranges.insert(name.clone(), Range { min: Some(range.min), max: range.max });
    }
    for (expr, _) in &mut program.expr_ranges {
        replace(expr, &made);
    }
    program.expr_ranges.retain(|(expr, _)| !expr.symbols().is_empty());
    Ok((program, made))
}

/// The range that extents have: they are not negative.
pub(super) fn symbol_range(range: Range) -> SymbolRange {
    SymbolRange { min: range.min.unwrap_or(0).max(0), max: range.max }
}

/// The inputs that the user gives. One whose type has no place in the IR is left out; lowering reports
/// it.
fn declared(source: &ExportedProgram) -> Vec<Declared> {
    let user = source.inputs.iter().filter(|spec| spec.kind == InputKind::User);
    user.filter_map(|spec| {
        let name = spec.name.clone();
        if let Arg::Int(_) = spec.value {
            let ty = TensorType::new(DType::I32, Vec::<Dim>::new());
            return Some(Declared { name, ty, default_shape: None });
        }
        let meta = source.graph.tensors.get(input_name(&spec.value)?)?;
        let shape = meta_dims(meta).ok()?;
        let default_shape = default_shape(source, &shape);
        Some(Declared { name, ty: TensorType::new(meta.dtype, shape), default_shape })
    })
    .collect()
}

fn graph(graph: &mut Graph, made: &Specialisation) {
    for meta in graph.tensors.values_mut() {
        meta.sizes.iter_mut().chain(&mut meta.strides).for_each(|expr| replace(expr, made));
    }
    let scalars = [&mut graph.sym_ints, &mut graph.sym_floats, &mut graph.sym_bools];
    for expr in scalars.into_iter().flat_map(|exprs| exprs.values_mut()) {
        replace(expr, made);
    }
    for (_, arg) in graph.nodes.iter_mut().flat_map(|node| &mut node.args) {
        nested(arg, made);
    }
}

fn nested(arg: &mut Arg, made: &Specialisation) {
    match arg {
        Arg::Graph { graph: inner, .. } => graph(inner, made),
        Arg::Map(pairs) => pairs.iter_mut().for_each(|(_, arg)| nested(arg, made)),
        _ => {}
    }
}

/// Replaces symbols in `expr`; what is known then becomes a number or a truth value.
fn replace(expr: &mut SymExpr, made: &Specialisation) {
    match expr {
        SymExpr::Symbol(name) => match made.symbols.get(name.as_str()) {
            Some(Dim::Const(n)) => *expr = SymExpr::Int(*n),
            Some(dim) => {
                if let Some(symbol) = dim.as_symbol() {
                    symbol.clone_into(name);
                }
            }
            None => {}
        },
        SymExpr::Apply(function, args) => {
            args.iter_mut().for_each(|arg| replace(arg, made));
            if let Some(known) = fold(*function, args) {
                *expr = known;
            }
        }
        _ => {}
    }
}

/// The value of a function of known numbers.
fn fold(function: SymFn, args: &[SymExpr]) -> Option<SymExpr> {
    let truth = |arg: &SymExpr| match arg {
        SymExpr::Bool(known) => Some(*known),
        _ => None,
    };
    let compare = |holds: fn(&i64, &i64) -> bool| {
        let [a, b] = args else { return None };
        let number = |arg| dims::to_dim(arg)?.as_const();
        Some(SymExpr::Bool(holds(&number(a)?, &number(b)?)))
    };
    match function {
        SymFn::Eq => compare(i64::eq),
        SymFn::Ne => compare(i64::ne),
        SymFn::Lt => compare(i64::lt),
        SymFn::Le => compare(i64::le),
        SymFn::Gt => compare(i64::gt),
        SymFn::Ge => compare(i64::ge),
        SymFn::Not => truth(args.first()?).map(|known| SymExpr::Bool(!known)),
        SymFn::And | SymFn::Or => {
            let stops = function == SymFn::Or;
            if args.iter().any(|arg| truth(arg) == Some(stops)) {
                return Some(SymExpr::Bool(stops));
            }
            args.iter().all(|arg| truth(arg).is_some()).then_some(SymExpr::Bool(!stops))
        }
        _ => None,
    }
}
