//! The text form of the IR: a printer and a parser with places.
//!
//! ```text
//! symbols { s0 = 2..16 }
//! weights {
//!   @w : tensor<64x32xf16> = file("model.bin", 4096)
//! }
//! func @main(%x: tensor<(s0)x32xf16>, state %s: state<tensor<4xf16>>) -> (y: tensor<(s0)x64xf16>) {
//!   %w = const @w : tensor<64x32xf16>
//!   %0 = linear %x, %w : tensor<(s0)x64xf16>
//!   %y = mul %0, 0.5 : tensor<(s0)x64xf16>
//!   return %y
//! }
//! ```
//!
//! - A statement is `%a, %b = op operands {attributes} {regions} : types loc(…)`. Slots that take one
//!   value are positional in the order of the op's entry; optional ones are `name = %v`; slots that
//!   take many are lists `[%a, %b]`. Attributes equal to their default are not printed.
//! - Types of results are optional; where they stand they must be those that inference gives, except
//!   that an extent that inference does not know takes the declared one. `?` leaves an extent open.
//! - A literal may stand for an operand. It takes the element type of the first operand that is a
//!   value and that the op accepts, else `i32`, `f32` or `bool`. A colon right behind it, without a
//!   blank, says the type: `0.5: f16`.
//! - Constants of at most [`INLINE_ELEMENTS`] elements stand inline; larger ones are named in
//!   `weights` by where their bytes come from.
//! - `%12` is a value without name, `%x` has the name `x`. Other names are quoted: `%"a b"`.
//!
//! Every text that [`parse`] accepts is a program that the verifier accepts, and printing it, reading
//! that and printing again gives the same text.
//!
//! Tokens come from `logos`, which is well kept and reads each byte once; the grammar is written by
//! hand, because that is what lets one bad statement be skipped and the others be reported.

mod ast;
mod float;
mod lex;
mod lower;
mod names;
mod parse;
mod print;
mod source;
pub mod template;

use std::collections::BTreeMap;
use std::path::PathBuf;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::{FuncId, Node, Program, Value};

pub use print::{PrintOptions, print, write};

/// Most elements of a constant that stands inline.
pub const INLINE_ELEMENTS: usize = 16;

/// How deep regions, types, literals, extents and sources may nest.
pub const MAX_DEPTH: u32 = 64;

/// How a text is read.
#[derive(Debug, Clone, Default)]
pub struct ParseOptions {
    /// The folder that `file("…")` is relative to; the current one if empty.
    pub base_dir: PathBuf,
    /// Gives ops without `loc` the text and its line as source, so that later problems name it.
    pub locate: bool,
}

/// Where the parts of a program stand in its text.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    nodes: BTreeMap<(FuncId, Node), Place>,
    values: BTreeMap<(FuncId, Value), Place>,
    functions: BTreeMap<FuncId, Place>,
}

impl Spans {
    /// The place of an op.
    #[must_use]
    pub fn node(&self, func: FuncId, node: Node) -> Option<&Place> {
        self.nodes.get(&(func, node))
    }

    /// The place where a value is named first: as a result or as an argument.
    #[must_use]
    pub fn value(&self, func: FuncId, value: Value) -> Option<&Place> {
        self.values.get(&(func, value))
    }

    /// The place of a function's name.
    #[must_use]
    pub fn function(&self, func: FuncId) -> Option<&Place> {
        self.functions.get(&func)
    }
}

/// What a text says.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The program; it passes the verifier.
    pub program: Program,
    /// Where its parts stand.
    pub spans: Spans,
}

/// Reads a program from `text`; `name` is what places call it. Files that it names are mapped, not
/// read.
///
/// # Errors
/// Every problem that is no consequence of another one, with its place in the text.
pub fn parse(name: &str, text: &str, options: &ParseOptions) -> Result<Parsed, Diagnostics> {
    let source = source::SourceText::new(name, text);
    let (ast, mut errors) = parse::parse(&source);
    let lowered = lower::lower(&source, &ast, options, &mut errors);
    if errors.has_errors() {
        return Err(in_text_order(errors));
    }
    let mut found = Diagnostics::new();
    for mut diagnostic in mlc_ir::verify(&lowered.program) {
        diagnostic.places.push(source.place(source::Span::at(0)));
        found.push(diagnostic);
    }
    if found.has_errors() {
        found.push(
            Diagnostic::new(codes::INTERNAL, "the reader accepted a program that is not valid")
                .at(source.place(source::Span::at(0))),
        );
        return Err(found);
    }
    Ok(lowered)
}

/// The problems in the order of their first places.
fn in_text_order(errors: Diagnostics) -> Diagnostics {
    let mut items: Vec<Diagnostic> = errors.into_iter().collect();
    for item in &mut items {
        item.places.sort();
    }
    items.sort_by(|a, b| a.places.first().cmp(&b.places.first()));
    items.into_iter().collect()
}
