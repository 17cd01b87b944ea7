//! Templates with types and constants in the place of parameters.

use std::collections::BTreeMap;
use std::ops::Range;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::{Program, SymbolRange, Type};

use super::{Argument, ParamType, Template, without_places};
use crate::lex::{Kind, tokens};
use crate::source::{SourceText, Span};
use crate::{ParseOptions, names};

/// A text made from a template, and where its bytes come from.
pub(super) struct Made {
    pub(super) text: String,
    /// Where a piece begins in `text`, where in the template's text, and whether it was copied.
    pieces: Vec<(usize, usize, bool)>,
}

impl Made {
    fn copy(&mut self, from: &str, range: Range<usize>) {
        self.pieces.push((self.text.len(), range.start, true));
        self.text.push_str(&from[range]);
    }

    /// Writes `text` for what stands at `at` in the template.
    fn put(&mut self, text: &str, at: usize) {
        self.pieces.push((self.text.len(), at, false));
        self.text.push_str(text);
    }

    /// Blanks a range, but for its lines.
    fn blank(&mut self, from: &str, range: Range<usize>) {
        let lines = "\n".repeat(from[range.clone()].matches('\n').count());
        self.put(&lines, range.start);
    }

    /// The position in the template that `at` comes from.
    fn position(&self, at: usize) -> usize {
        let piece = self.pieces.partition_point(|piece| piece.0 <= at).saturating_sub(1);
        self.pieces.get(piece).map_or(
            0,
            |&(start, from, copied)| {
                if copied { from + (at - start) } else { from }
            },
        )
    }

    /// The problem with its places in the template.
    pub(super) fn original(&self, template: &Template, problem: Diagnostic) -> Diagnostic {
        let (mut problem, places) = without_places(problem);
        let source = SourceText::new(&template.file, &template.text);
        for place in places {
            problem = problem.at(match &place {
                Place::Text { line, column, len, .. } => {
                    let start = self.position(offset(&self.text, *line, *column));
                    let end = start + *len as usize;
                    let end = (start + 1..=end.min(template.text.len()))
                        .rev()
                        .find(|&end| template.text.is_char_boundary(end))
                        .unwrap_or(start);
                    source.place(Span { start, end })
                }
                _ => place,
            });
        }
        problem
    }
}

/// The byte at a 1-based line and column.
fn offset(text: &str, line: u32, column: u32) -> usize {
    let start: usize =
        text.split_inclusive('\n').take(line.saturating_sub(1) as usize).map(str::len).sum();
    let rest = &text[start.min(text.len())..];
    let within = rest.char_indices().nth(column.saturating_sub(1) as usize);
    start + within.map_or(rest.len(), |(at, _)| at)
}

impl Template {
    /// The program with one function that the template is for these arguments, one a parameter; the
    /// symbols in their types have these ranges. A list of tensors is as many parameters as it has
    /// items.
    ///
    /// # Errors
    /// What does not fit, with its place in the template.
    pub fn instantiate(
        &self,
        arguments: &[Argument],
        symbols: &BTreeMap<String, SymbolRange>,
        options: &ParseOptions,
    ) -> Result<Program, Diagnostics> {
        if arguments.len() != self.params.len() {
            let message = format!("{} arguments for `{}`", arguments.len(), self.signature());
            return Err(Diagnostic::new(codes::TYPE_MISMATCH, message)
                .at(self.place.clone())
                .into());
        }
        let made = self.substitute(arguments, symbols);
        match crate::parse(&self.file, &made.text, options) {
            Ok(parsed) => Ok(parsed.program),
            Err(problems) => {
                Err(problems.into_iter().map(|problem| made.original(self, problem)).collect())
            }
        }
    }

    pub(super) fn substitute(
        &self,
        arguments: &[Argument],
        symbols: &BTreeMap<String, SymbolRange>,
    ) -> Made {
        let text: &str = &self.text;
        let mut made = Made { text: String::new(), pieces: Vec::new() };
        if !symbols.is_empty() {
            made.put(&header(symbols), self.function.start);
        }
        // The sections around the function stay; other functions go.
        let mut at = 0;
        let mut gaps: Vec<(Range<usize>, bool)> =
            self.others.iter().cloned().map(|range| (range, false)).collect();
        gaps.push((self.function.clone(), true));
        gaps.sort_by_key(|gap| gap.0.start);
        for (range, own) in gaps {
            made.copy(text, at..range.start);
            at = range.end;
            if own {
                self.function(arguments, &mut made);
            } else {
                made.blank(text, range);
            }
        }
        made.copy(text, at..text.len());
        made
    }

    fn function(&self, arguments: &[Argument], made: &mut Made) {
        let text: &str = &self.text;
        made.copy(text, self.function.start..self.list.start);
        let mut at = self.list.start;
        let mut words: BTreeMap<&str, String> = BTreeMap::new();
        let mut first = true;
        for (param, argument) in self.params.iter().zip(arguments) {
            made.blank(text, at..param.span.start);
            at = param.span.end;
            let (declared, word) = declaration(&param.name, argument);
            if !declared.is_empty() {
                let comma = if first { "" } else { ", " };
                made.put(&format!("{comma}{declared}"), param.span.start);
                first = false;
            }
            if let Some(word) = word {
                words.insert(&param.name, word);
            }
        }
        made.blank(text, at..self.list.end);
        made.put(")", self.list.end);
        made.blank(text, self.results.clone());
        let body = self.results.end..self.function.end;
        let mut at = body.start;
        for token in tokens(&text[body.clone()]) {
            let span = body.start + token.span.start..body.start + token.span.end;
            let name = match token.kind {
                Kind::Value => Some(text[span.start + 1..span.end].to_owned()),
                Kind::QuotedValue => names::unquote(&text[span.start + 1..span.end]),
                _ => None,
            };
            let Some(word) = name.and_then(|name| words.get(name.as_str())) else { continue };
            made.copy(text, at..span.start);
            made.put(word, span.start);
            at = span.end;
        }
        made.copy(text, at..body.end);
    }
}

/// The declaration of a parameter that is a value, and what stands for its name elsewhere.
fn declaration(name: &str, argument: &Argument) -> (String, Option<String>) {
    match argument {
        Argument::Tensor(ty) => (format!("{}: {ty}", names::value(name)), None),
        Argument::Tensors(types) => {
            let names: Vec<String> =
                (0..types.len()).map(|at| names::value(&format!("{name}.{at}"))).collect();
            let declared: Vec<String> =
                names.iter().zip(types).map(|(name, ty)| format!("{name}: {ty}")).collect();
            (declared.join(", "), Some(format!("[{}]", names.join(", "))))
        }
        Argument::Literal(text) => (String::new(), Some(text.clone())),
    }
}

fn header(symbols: &BTreeMap<String, SymbolRange>) -> String {
    let mut text = "symbols {".to_owned();
    for (name, range) in symbols {
        let high = range.max.map(|max| max.to_string()).unwrap_or_default();
        text.push_str(&format!(" {} = {}..{high},", names::word(name), range.min));
    }
    text + " } "
}

impl ParamType {
    /// Whether a value of type `given` fits: element types agree, and extents where both are known.
    #[must_use]
    pub fn takes(&self, given: &Type) -> bool {
        match self {
            Self::Tensor(None) => given.as_tensor().is_some(),
            Self::Tensor(Some(want)) => match (want.as_tensor(), given.as_tensor()) {
                (Some(want), Some(given)) => {
                    want.dtype == given.dtype
                        && want.rank() == given.rank()
                        && want
                            .shape
                            .iter()
                            .zip(&given.shape)
                            .all(|(want, given)| want.as_const().is_none_or(|n| given.is(n)))
                }
                _ => false,
            },
            _ => false,
        }
    }
}

/// A text in quotes, as a literal.
#[must_use]
pub fn quoted(text: &str) -> String {
    names::quote(text)
}
