//! Literals as tensors.

use mlc_tensor::{DType, DTypeKind, Tensor};

use crate::ast::{Literal, LiteralKind, Number};
use crate::float::{BitWriter, encode, show};
use crate::names;
use crate::source::Span;

/// What is wrong with a literal, and where.
pub(super) struct Misfit {
    pub(super) span: Span,
    pub(super) message: String,
}

/// The element type of a literal that nothing else gives one.
pub(super) fn default_dtype(literal: &Literal) -> DType {
    match &literal.kind {
        LiteralKind::Number(Number::Int(_)) => DType::I32,
        LiteralKind::Bool(_) => DType::Bool,
        LiteralKind::Complex(..) => DType::C64,
        LiteralKind::List(items) => {
            let found: Vec<DType> = items.iter().map(default_dtype).collect();
            found.iter().find(|d| **d != DType::I32).copied().unwrap_or(DType::I32)
        }
        _ => DType::F32,
    }
}

/// The tensor of `dtype` that `literal` writes out; with `shape`, of that shape.
pub(super) fn tensor(
    literal: &Literal,
    dtype: DType,
    shape: Option<&[u64]>,
) -> Result<Tensor, Misfit> {
    let misfit = |message: String| Misfit { span: literal.span, message };
    let mut found = Vec::new();
    find_shape(literal, &mut found);
    let mut writer = BitWriter::default();
    let count = write(literal, dtype, &found, &mut writer)?;
    let shape = match shape {
        Some(shape) if count == 0 && shape.contains(&0) => shape,
        Some(shape) if shape != found => {
            let message = format!("the literal has the shape {found:?}, {shape:?} is needed");
            return Err(misfit(message));
        }
        _ => &found,
    };
    Tensor::from_bytes(dtype, shape, writer.into_bytes()).map_err(|e| misfit(e.to_string()))
}

/// The bytes of one element.
pub(super) fn element(literal: &Literal, dtype: DType) -> Result<Vec<u8>, Misfit> {
    let mut writer = BitWriter::default();
    write_element(literal, dtype, &mut writer)?;
    Ok(writer.into_bytes())
}

/// The shape by the first item of each list.
fn find_shape(literal: &Literal, shape: &mut Vec<u64>) {
    if let LiteralKind::List(items) = &literal.kind {
        shape.push(items.len() as u64);
        if let Some(first) = items.first() {
            find_shape(first, shape);
        }
    }
}

/// Writes the elements and says how many; every list must have the length that `shape` says.
fn write(
    literal: &Literal,
    dtype: DType,
    shape: &[u64],
    writer: &mut BitWriter,
) -> Result<usize, Misfit> {
    match (&literal.kind, shape.split_first()) {
        (LiteralKind::List(items), Some((&len, rest))) if items.len() as u64 == len => {
            items.iter().try_fold(0, |count, item| Ok(count + write(item, dtype, rest, writer)?))
        }
        (LiteralKind::List(_), _) | (_, Some(_)) => {
            let message = "the rows of the literal differ in length".to_owned();
            Err(Misfit { span: literal.span, message })
        }
        (_, None) => {
            write_element(literal, dtype, writer)?;
            Ok(1)
        }
    }
}

fn write_element(literal: &Literal, dtype: DType, writer: &mut BitWriter) -> Result<(), Misfit> {
    let misfit = |message: String| Misfit { span: literal.span, message };
    if dtype.kind() == DTypeKind::Complex {
        let part = if dtype == DType::C64 { DType::F32 } else { DType::F64 };
        let zero = Number::Int(0);
        let (re, im) = match &literal.kind {
            LiteralKind::Complex(re, im) => (re, im),
            LiteralKind::Number(re) => (re, &zero),
            _ => return Err(misfit(format!("{} is no {dtype}", describe(literal)))),
        };
        for number in [re, im] {
            writer.push(encode(number, part).map_err(misfit)?, part.bits());
        }
        return Ok(());
    }
    let bits = match &literal.kind {
        LiteralKind::Number(number) => encode(number, dtype).map_err(misfit)?,
        LiteralKind::Bool(b) if dtype == DType::Bool => u64::from(*b),
        _ => return Err(misfit(format!("{} is no {dtype}", describe(literal)))),
    };
    writer.push(bits, dtype.bits());
    Ok(())
}

/// How messages show a literal.
pub(super) fn describe(literal: &Literal) -> String {
    match &literal.kind {
        LiteralKind::Number(number) => show(number),
        LiteralKind::Bool(b) => b.to_string(),
        LiteralKind::Complex(re, im) => format!("({}, {})", show(re), show(im)),
        LiteralKind::Str(text) => names::quote(&names::shortened(text)),
        LiteralKind::Word(word) => format!("`{}`", names::shortened(word)),
        LiteralKind::List(items) => {
            let shown: Vec<String> = items.iter().take(4).map(describe).collect();
            let rest = if items.len() > 4 { ", …" } else { "" };
            format!("[{}{rest}]", shown.join(", "))
        }
    }
}
