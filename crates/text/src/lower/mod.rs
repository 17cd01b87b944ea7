//! From the syntax tree to a program: names, types, attributes and weights are looked up.
//!
//! What a faulty statement would have defined is *poisoned*: ops that use it are passed over in
//! silence, so that a consequence of a reported problem is not reported.

mod attr;
mod declared;
mod function;
mod literal;
mod op;
mod operand;
mod weight;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use mlc_diag::{Code, Diagnostic, Diagnostics, codes};
use mlc_ir::{ConstId, Dim, Program, SymbolRange, Type};
use mlc_tensor::{DType, MappedFile};

use crate::ast::{Ast, TypeAst};
use crate::names;
use crate::source::{SourceText, Span};
use crate::{ParseOptions, Parsed, Spans};

/// Most problems that are reported.
const MAX_ERRORS: usize = 500;

/// Most elements of a constant, zero extents counted as one.
const MAX_ELEMENTS: u64 = 1 << 48;

struct Lower<'a> {
    source: &'a SourceText<'a>,
    options: &'a ParseOptions,
    errors: &'a mut Diagnostics,
    program: Program,
    spans: Spans,
    /// `None` for a weight that could not be made.
    weights: BTreeMap<String, Option<ConstId>>,
    files: BTreeMap<PathBuf, Option<Arc<MappedFile>>>,
}

/// Makes the program that `ast` describes; it is complete if `errors` has none.
pub(crate) fn lower(
    source: &SourceText<'_>,
    ast: &Ast,
    options: &ParseOptions,
    errors: &mut Diagnostics,
) -> Parsed {
    let mut lower = Lower {
        source,
        options,
        errors,
        program: Program::new(),
        spans: Spans::default(),
        weights: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    lower.symbols(ast);
    for (key, value) in &ast.metadata {
        if lower.program.metadata.insert(key.item.clone(), value.clone()).is_some() {
            lower.duplicate(key.span, &format!("metadata key {}", names::quote(&key.item)));
        }
    }
    lower.weights(ast);
    let mut names = BTreeSet::new();
    for function in &ast.functions {
        if !names.insert(&function.name.item) {
            lower.duplicate(function.name.span, &format!("function `@{}`", function.name.item));
        }
        function::lower(&mut lower, function);
    }
    Parsed { program: lower.program, spans: lower.spans }
}

impl Lower<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        if self.errors.items().len() < MAX_ERRORS {
            self.errors.push(diagnostic);
        }
    }

    fn problem(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.report(self.source.problem(code, span, message));
    }

    fn duplicate(&mut self, span: Span, what: &str) {
        self.problem(codes::INVALID_IR, span, format!("{what} stands twice"));
    }

    /// Reports a name that does not exist, with the nearest of `known`.
    fn unknown<'n>(
        &mut self,
        (code, span): (Code, Span),
        (message, name): (String, &str),
        known: impl Iterator<Item = &'n str>,
    ) {
        let mut problem = self.source.problem(code, span, message);
        let near = names::nearest(name, known);
        if !near.is_empty() {
            let near: Vec<String> = near.iter().map(|n| format!("`{n}`")).collect();
            problem = problem.help(format!("did you mean {}?", near.join(" or ")));
        }
        self.report(problem);
    }

    fn symbols(&mut self, ast: &Ast) {
        for symbol in &ast.symbols {
            if self.program.symbols.contains(&symbol.name.item) {
                self.duplicate(symbol.name.span, &format!("symbol `{}`", symbol.name.item));
            }
            let range = SymbolRange { min: symbol.min, max: symbol.max };
            self.program.symbols.declare(&symbol.name.item, range);
        }
        if !ast.symbols_known {
            return;
        }
        for used in &ast.symbol_uses {
            if !self.program.symbols.contains(&used.item) {
                let message = format!("symbol `{}` is not declared", used.item);
                let help = format!("add `symbols {{ {} = 1.. }}`", names::word(&used.item));
                self.report(
                    self.source.problem(codes::UNKNOWN_VALUE, used.span, message).help(help),
                );
            }
        }
    }

    /// Element type and extents of a tensor type without symbols; reports what else it is.
    fn static_type(&mut self, ty: &TypeAst) -> Option<(DType, Vec<u64>)> {
        let shape = ty.item.as_tensor().and_then(mlc_ir::TensorType::static_shape);
        let (Some(tensor), Some(shape)) = (ty.item.as_tensor(), shape) else {
            let message = format!("a constant is a tensor of known extents, not {}", ty.item);
            self.problem(codes::TYPE_MISMATCH, ty.span, message);
            return None;
        };
        let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d.max(1)));
        if count.is_none_or(|n| n > MAX_ELEMENTS) {
            let message = format!("{} has too many elements", ty.item);
            self.problem(codes::SHAPE_MISMATCH, ty.span, message);
            return None;
        }
        if tensor.dtype == DType::Str {
            self.problem(codes::TYPE_MISMATCH, ty.span, "a constant cannot hold text");
            return None;
        }
        Some((tensor.dtype, shape))
    }

    /// Reports `?` in a type that is not inferred.
    fn no_open_extents(&mut self, ty: &TypeAst) {
        let mut open = false;
        ty.item.for_each_dim(&mut |dim| open |= *dim == Dim::Unknown);
        if open {
            let message =
                format!("`?` in {}: only results of ops can leave an extent open", ty.item);
            self.problem(codes::TYPE_MISMATCH, ty.span, message);
        }
    }
}

/// The type `dtype` alone names, if it is a scalar.
fn scalar_dtype(ty: &Type) -> Option<DType> {
    ty.as_tensor().filter(|ty| ty.rank() == 0).map(|ty| ty.dtype)
}
