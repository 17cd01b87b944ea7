//! From a program to text.

mod constant;
mod function;
mod ty;

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::path::PathBuf;

use mlc_ir::{Dim, FuncId, Function, Program, SymbolRange, Type};

use crate::names;
use constant::Constants;
use function::FunctionPrinter;

/// What is printed, and how.
#[derive(Debug, Clone, Default)]
pub struct PrintOptions {
    /// Begins with the line `mlc-ir 1`.
    pub header: bool,
    /// Prints where each op comes from.
    pub locations: bool,
    /// Prints this function alone, with the symbols and weights it uses.
    pub function: Option<FuncId>,
    /// Prints the paths of files under this folder relative to it.
    pub base_dir: Option<PathBuf>,
}

/// The text of `program`.
#[must_use]
pub fn print(program: &Program, options: &PrintOptions) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail, and the printer has no errors of its own.
    let _ = write(&mut out, program, options);
    out
}

/// Writes the text of `program` to `out`. Linear in the number of ops.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut dyn Write, program: &Program, options: &PrintOptions) -> fmt::Result {
    let functions: Vec<&Function> = program
        .functions
        .iter()
        .filter(|(id, _)| options.function.is_none_or(|only| only == *id))
        .map(|(_, function)| function)
        .collect();
    if options.header {
        out.write_str("mlc-ir 1\n")?;
    }
    let symbols = write_symbols(out, program, &functions)?;
    if !program.metadata.is_empty() {
        out.write_str("metadata {\n")?;
        for (key, value) in &program.metadata {
            writeln!(out, "  {} = {}", names::quote(key), names::quote(value))?;
        }
        out.write_str("}\n")?;
    }
    let constants = Constants::of(program, &functions);
    constants.write_weights(out, program, options)?;
    let sections = symbols || !program.metadata.is_empty() || constants.has_weights();
    for (i, function) in functions.iter().enumerate() {
        if i > 0 || sections || options.header {
            out.write_str("\n")?;
        }
        FunctionPrinter::new(program, function, &constants, options).write(out)?;
    }
    Ok(())
}

/// Calls `visit` on the type of every value that is printed.
fn for_each_type(function: &Function, visit: &mut dyn FnMut(&Type)) {
    let args = |region, visit: &mut dyn FnMut(&Type)| {
        for &arg in &function.regions[region].args {
            visit(function.ty(arg));
        }
    };
    args(function.body, &mut *visit);
    function.for_each_node(&mut |_, node| {
        let data = &function.nodes[node];
        data.results.iter().for_each(|&result| visit(function.ty(result)));
        data.regions.iter().for_each(|&region| args(region, visit));
    });
}

/// Writes the symbols that types of `functions` use; says whether there are any.
fn write_symbols(
    out: &mut dyn Write,
    program: &Program,
    functions: &[&Function],
) -> Result<bool, fmt::Error> {
    let mut used = BTreeSet::new();
    for function in functions {
        for_each_type(function, &mut |ty| {
            ty.for_each_dim(&mut |dim: &Dim| {
                dim.for_each_symbol(&mut |name| {
                    if !used.contains(name) {
                        used.insert(name.to_owned());
                    }
                });
            });
        });
    }
    if used.is_empty() {
        return Ok(false);
    }
    out.write_str("symbols { ")?;
    for (i, name) in used.iter().enumerate() {
        let SymbolRange { min, max } = program.symbols.range(name);
        let comma = if i > 0 { ", " } else { "" };
        write!(out, "{comma}{} = {min}..", ty::symbol(name))?;
        if let Some(max) = max {
            write!(out, "{max}")?;
        }
    }
    out.write_str(" }\n")?;
    Ok(true)
}
