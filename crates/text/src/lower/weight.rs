//! Weights: sources of bytes and constants.

use std::path::Path;
use std::sync::Arc;

use mlc_diag::{Code, codes};
use mlc_ir::ConstId;
use mlc_tensor::{DType, MappedFile, Recipe, Tensor, TensorError};

use super::literal::{self, Misfit};
use super::{Lower, MAX_ELEMENTS, scalar_dtype};
use crate::ast::{Ast, ConstAst, SourceKind, TypeAst, TypedSource};
use crate::names;
use crate::source::Span;

/// Bytes that a source inside another one may always have.
const MIN_INNER_BYTES: u64 = 1 << 30;

/// Bytes that a source inside another one may have for each byte of a mapped file.
const INNER_BYTES_PER_FILE_BYTE: u64 = 16;

impl Lower<'_> {
    pub(super) fn weights(&mut self, ast: &Ast) {
        for name in &ast.broken_weights {
            self.weights.insert(name.clone(), None);
        }
        for weight in &ast.weights {
            let name = &weight.name.item;
            if self.weights.get(name).is_some_and(Option::is_some) {
                self.duplicate(weight.name.span, &format!("weight `@{name}`"));
            }
            let id = self.tensor(&weight.source).map(|t| self.program.consts.intern_named(t, name));
            self.weights.insert(name.clone(), id);
        }
    }

    /// The tensor of a source, or a report of why there is none.
    fn tensor(&mut self, typed: &TypedSource) -> Option<Tensor> {
        let (dtype, shape) = self.static_type(&typed.ty)?;
        let span = typed.source.span;
        let recipe = match &typed.source.kind {
            SourceKind::File(path, offset) => {
                let file = self.file(path, span)?;
                return self.made(span, Tensor::mapped(&file, *offset, dtype, &shape));
            }
            SourceKind::Hex(bytes) => {
                return self.made(span, Tensor::from_bytes(dtype, &shape, bytes.as_slice()));
            }
            SourceKind::Splat(value) => {
                let element = literal::element(value, dtype);
                let element = self.fitting(element)?;
                return self.made(span, Tensor::splat(dtype, &shape, &element));
            }
            SourceKind::Random(seed, scale) => {
                return self.made(span, Tensor::random(dtype, &shape, *seed, *scale));
            }
            SourceKind::Literal(value) => {
                let tensor = literal::tensor(value, dtype, Some(&shape));
                return self.fitting(tensor);
            }
            SourceKind::Strided { of, strides, offset } => {
                if strides.iter().chain([offset]).any(|&n| n > MAX_ELEMENTS) {
                    self.problem(
                        codes::SHAPE_MISMATCH,
                        span,
                        "a stride or the offset is too large",
                    );
                    return None;
                }
                Recipe::Strided { of: self.inner(of)?, offset: *offset, strides: strides.clone() }
            }
            SourceKind::Reshape(of) => Recipe::Reshape(self.inner(of)?),
            SourceKind::Cast(of) => Recipe::Cast(self.inner(of)?),
            SourceKind::Transpose(of, perm) => {
                Recipe::Transpose { of: self.inner(of)?, perm: perm.clone() }
            }
            SourceKind::Concat(axis, parts) => {
                let parts = parts.iter().map(|p| self.inner(p)).collect::<Option<Vec<_>>>()?;
                Recipe::Concat { axis: *axis, parts }
            }
            SourceKind::Zip(op, operands) => {
                let [x, y] = &**operands;
                Recipe::Zip { op: *op, operands: [self.inner(x)?, self.inner(y)?] }
            }
        };
        self.made(span, Tensor::from_recipe(dtype, &shape, recipe))
    }

    /// The tensor of a source inside another one. Its bytes may be made whole when only a few of
    /// them are needed, so their number is bounded by the size of the files.
    fn inner(&mut self, typed: &TypedSource) -> Option<Tensor> {
        let tensor = self.tensor(typed)?;
        let files =
            self.files.values().flatten().map(|file| file.bytes().len() as u64).sum::<u64>();
        let most = files.saturating_mul(INNER_BYTES_PER_FILE_BYTE).max(MIN_INNER_BYTES);
        if tensor.byte_len() > most {
            let message = format!("{} bytes are too many inside another source", tensor.byte_len());
            self.problem(codes::RESOURCE_LIMIT, typed.source.span, message);
            return None;
        }
        Some(tensor)
    }

    fn file(&mut self, name: &str, span: Span) -> Option<Arc<MappedFile>> {
        let path = self.options.base_dir.join(Path::new(name));
        if let Some(known) = self.files.get(&path) {
            let known = known.clone();
            if known.is_none() {
                self.no_file(name, span, None);
            }
            return known;
        }
        let opened = MappedFile::open(&path);
        let file = match opened {
            Ok(file) => Some(file),
            Err(error) => {
                let why = match error.raw_os_error() {
                    Some(_) => error.kind().to_string(),
                    None => error.to_string(),
                };
                self.no_file(name, span, Some(&why));
                None
            }
        };
        self.files.insert(path, file.clone());
        file
    }

    fn no_file(&mut self, name: &str, span: Span, why: Option<&str>) {
        let message = format!("file {} with weights cannot be mapped", names::quote(name));
        let mut problem = self.source.problem(codes::FILE_NOT_FOUND, span, message);
        if let Some(why) = why {
            problem = problem.note(why);
        }
        self.report(problem);
    }

    fn made(&mut self, span: Span, made: Result<Tensor, TensorError>) -> Option<Tensor> {
        match made {
            Ok(tensor) => Some(tensor),
            Err(error) => {
                self.problem(code_of(&error), span, error.to_string());
                None
            }
        }
    }

    pub(super) fn fitting<T>(&mut self, result: Result<T, Misfit>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(misfit) => {
                self.problem(codes::TYPE_MISMATCH, misfit.span, misfit.message);
                None
            }
        }
    }

    /// The constant that `ast` names or writes out; `ty` is its type where the text says one.
    pub(super) fn constant(&mut self, ast: &ConstAst, ty: Option<&TypeAst>) -> Option<ConstId> {
        if let Some(literal) = &ast.literal {
            let tensor = match ty {
                Some(ty) => {
                    let (dtype, shape) = self.static_type(ty)?;
                    literal::tensor(literal, dtype, Some(&shape))
                }
                None => literal::tensor(literal, literal::default_dtype(literal), None),
            };
            let tensor = self.fitting(tensor)?;
            return Some(match &ast.name {
                Some(name) => self.program.consts.intern_named(tensor, &name.item),
                None => self.program.consts.intern(tensor),
            });
        }
        let name = ast.name.as_ref()?;
        if let Some(known) = self.weights.get(&name.item) {
            return *known;
        }
        let known: Vec<String> = self
            .weights
            .keys()
            .take(names::MAX_CANDIDATES)
            .map(|name| names::global(name))
            .collect();
        let shown = names::global(&name.item);
        self.unknown(
            (codes::UNKNOWN_VALUE, name.span),
            (format!("there is no weight `{shown}`"), &shown),
            known.iter().map(String::as_str),
        );
        None
    }

    /// The tensor of a literal operand: of the type behind it, or else of `dtype`.
    pub(super) fn operand_tensor(
        &mut self,
        value: &crate::ast::Literal,
        ty: Option<&TypeAst>,
        dtype: DType,
    ) -> Option<Result<Tensor, Misfit>> {
        let Some(ty) = ty else { return Some(literal::tensor(value, dtype, None)) };
        if let Some(dtype) = scalar_dtype(&ty.item) {
            return Some(literal::tensor(value, dtype, None));
        }
        let (dtype, shape) = self.static_type(ty)?;
        Some(literal::tensor(value, dtype, Some(&shape)))
    }
}

fn code_of(error: &TensorError) -> Code {
    match error {
        TensorError::TooShort { .. } | TensorError::Unreadable { .. } => codes::CORRUPT_WEIGHTS,
        TensorError::TooLarge { .. } | TensorError::BadRecipe { .. } => codes::SHAPE_MISMATCH,
        TensorError::SubByte { .. } | TensorError::NoCast { .. } => codes::TYPE_MISMATCH,
    }
}
