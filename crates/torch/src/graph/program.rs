//! Puts a program together and checks it.

use std::collections::BTreeMap;

use mlc_diag::codes;

use super::signature::{Stored, inputs, outputs};
use super::{Dialect, ExportedProgram, Range, build, check};
use crate::report::Report;
use crate::schema;
use crate::symexpr::{SymExpr, parse};

/// The checked program, unless there are errors in `report`.
pub(crate) fn program(
    header: schema::Header,
    file: &schema::ExportedProgram,
    stored: &Stored,
    report: &mut Report,
) -> ExportedProgram {
    let corrupt = |dict: &crate::torch_save::Weights, report: &mut Report| {
        for (name, weight) in dict {
            if let Err(e) = weight
                && e.is_corrupt()
            {
                report.weight(name, e);
            }
        }
    };
    corrupt(&stored.weights, report);
    corrupt(&stored.constants, report);
    let module = &file.graph_module;
    let graph = build::graph(&module.graph, report);
    // Arguments that were refused are missing from the graph; what hangs on them is not reported.
    if !report.has_errors() {
        check::graph(&graph, "the graph", report);
    }
    let inputs = inputs(module, &graph, stored, report);
    let outputs = outputs(module, &graph, report);
    let (ranges, expr_ranges) = ranges(&file.range_constraints, report);
    ExportedProgram {
        torch_version: header.torch_version.unwrap_or_default(),
        schema: (header.schema_version.major, header.schema_version.minor),
        dialect: dialect(file, report),
        graph,
        inputs,
        outputs,
        ranges,
        examples: examples(&module.graph),
        expr_ranges,
    }
}

/// The symbols that are extents of inputs, as they were at export.
fn examples(graph: &schema::Graph) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    let metas = graph.inputs.iter().filter_map(|input| match input {
        schema::Argument::Tensor(tensor) => graph.tensor_values.get(&tensor.name),
        _ => None,
    });
    for size in metas.flat_map(|meta| &meta.sizes) {
        if let schema::SymInt::Expr(text) = size
            && let Some(value) = text.hint.as_int
            && let Ok(SymExpr::Symbol(name)) = parse(&text.expr_str)
        {
            found.entry(name).or_insert(value);
        }
    }
    found
}

fn dialect(file: &schema::ExportedProgram, report: &mut Report) -> Dialect {
    let names = || file.verifiers.iter().chain(std::iter::once(&file.dialect));
    let is = |name: &str| names().any(|own| own == name);
    match (is("TRAINING"), is("ATEN")) {
        (true, _) => Dialect::Training,
        (false, true) => Dialect::Aten,
        (false, false) => {
            let known: Vec<&str> = names().map(String::as_str).filter(|n| !n.is_empty()).collect();
            let message = format!("dialect `{}` is not known", known.join(", "));
            report.at_entry(codes::UNSUPPORTED_SCHEMA, message, "verifiers");
            Dialect::Training
        }
    }
}

fn ranges(
    file: &BTreeMap<String, schema::RangeConstraint>,
    report: &mut Report,
) -> (BTreeMap<String, Range>, Vec<(SymExpr, Range)>) {
    let (mut symbols, mut compound) = (BTreeMap::new(), Vec::new());
    for (key, range) in file {
        let range = Range {
            min: range.min_val.and_then(|bound| bound.0),
            max: range.max_val.and_then(|bound| bound.0),
        };
        if let (Some(min), Some(max)) = (range.min, range.max)
            && min > max
        {
            report.graph(format!("range of `{key}` is empty: {min} to {max}"), "range_constraints");
        }
        match parse(key) {
            Ok(SymExpr::Symbol(name)) => {
                symbols.insert(name, range);
            }
            Ok(expr) => compound.push((expr, range)),
            Err(e) => {
                report.at_entry(codes::UNSUPPORTED_SCHEMA, e.to_string(), "range_constraints");
            }
        }
    }
    (symbols, compound)
}
