//! From tokens to the syntax tree.
//!
//! Each function reads one thing and gives it, or reports what is wrong and gives [`Reported`]; the
//! caller that can go on skips to where it can.

mod cursor;
mod function;
mod literal;
mod section;
mod statement;
mod types;
mod weight;

use mlc_diag::Diagnostics;

use crate::ast::Ast;
use crate::source::SourceText;
use cursor::Cursor;

/// A problem was found and reported.
#[derive(Debug)]
pub(crate) struct Reported;

type Read<T> = Result<T, Reported>;

/// Reads a text as far as it can be read, and says what is wrong with the rest.
pub(crate) fn parse(source: &SourceText<'_>) -> (Ast, Diagnostics) {
    let mut cursor = Cursor::new(source);
    let ast = cursor.text();
    (ast, cursor.into_errors())
}
