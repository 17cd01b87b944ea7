//! Element type promotion, as ATen does it.
//!
//! Operands fall in three classes: tensors with axes, tensors of rank 0, Python numbers. The result
//! has the highest category (bool < int < float < complex) that occurs. Within that category the
//! first class that has it decides the width; a Python number that raises the category gives the
//! default type of it (`int64`, `float32`).

use mlc_tensor::{DType, DTypeKind};

use super::value::Scalar;

/// What promotion needs to know of an operand.
#[derive(Debug, Clone, PartialEq)]
pub enum Class {
    /// A tensor of rank 1 or more.
    Tensor(DType),
    /// A tensor of rank 0.
    ZeroDim(DType),
    /// A Python number of that category.
    Number(DTypeKind),
}

impl Class {
    /// The class of a Python number.
    #[must_use]
    pub fn of_scalar(scalar: &Scalar) -> Self {
        Self::Number(match scalar {
            Scalar::Bool(_) => DTypeKind::Bool,
            Scalar::Int(_) => DTypeKind::Int,
            Scalar::Float(_) | Scalar::Symbolic(_) => DTypeKind::Float,
        })
    }
}

/// The element type of an elementwise result.
///
/// Source: the documented rules of `torch.result_type`.
#[must_use]
pub fn promote(operands: &[Class]) -> DType {
    let mut tensors = None;
    let mut zero_dims = None;
    let mut numbers = None;
    for operand in operands {
        match operand {
            Class::Tensor(dtype) => tensors = Some(join_opt(tensors, *dtype)),
            Class::ZeroDim(dtype) => zero_dims = Some(join_opt(zero_dims, *dtype)),
            Class::Number(kind) => numbers = Some(join_opt(numbers, default_of(*kind))),
        }
    }
    let higher = |low: Option<DType>, high: Option<DType>| match (low, high) {
        (Some(low), Some(high)) if low.kind() > high.kind() => Some(low),
        (low, high) => high.or(low),
    };
    higher(numbers, higher(zero_dims, tensors)).unwrap_or(DType::F32)
}

fn default_of(kind: DTypeKind) -> DType {
    match kind {
        DTypeKind::Bool => DType::Bool,
        DTypeKind::Int => DType::I64,
        DTypeKind::Float | DTypeKind::Str => DType::F32,
        DTypeKind::Complex => DType::C64,
    }
}

fn join_opt(a: Option<DType>, b: DType) -> DType {
    a.map_or(b, |a| join(a, b))
}

/// The smallest type that holds both, by torch's table: `u8` with a signed type goes to the next
/// wider signed one, `f16` with `bf16` to `f32`.
#[must_use]
pub fn join(a: DType, b: DType) -> DType {
    if a == b {
        return a;
    }
    match (a.kind(), b.kind()) {
        (ka, kb) if ka < kb => match (kb, a) {
            (DTypeKind::Complex, DType::F64) => DType::C128,
            _ => b,
        },
        (ka, kb) if ka > kb => join(b, a),
        (DTypeKind::Int, _) => join_ints(a, b),
        (DTypeKind::Float, _) => {
            if a.bits() == b.bits() {
                if a.bits() == 16 { DType::F32 } else { DType::F16 }
            } else if a.bits() > b.bits() {
                a
            } else {
                b
            }
        }
        (DTypeKind::Complex, _) => DType::C128,
        _ => b,
    }
}

fn join_ints(a: DType, b: DType) -> DType {
    let signed = |t: DType| t.int_range().is_some_and(|(low, _)| low < 0);
    match (signed(a), signed(b)) {
        (true, true) | (false, false) => {
            if a.bits() >= b.bits() {
                a
            } else {
                b
            }
        }
        (false, true) => join_ints(b, a),
        (true, false) if a.bits() > b.bits() => a,
        _ => match b.bits() {
            8 => DType::I16,
            16 => DType::I32,
            _ => DType::I64,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_take_precedence_within_a_category() {
        use Class::{Number, Tensor, ZeroDim};
        let cases = [
            (vec![Tensor(DType::F16), ZeroDim(DType::F32)], DType::F16),
            (vec![Tensor(DType::I32), Number(DTypeKind::Int)], DType::I32),
            (vec![Tensor(DType::I32), Number(DTypeKind::Float)], DType::F32),
            (vec![Tensor(DType::I32), ZeroDim(DType::F64)], DType::F64),
            (vec![Tensor(DType::F64), Number(DTypeKind::Float)], DType::F64),
            (vec![Tensor(DType::Bool), Number(DTypeKind::Int)], DType::I64),
            (vec![ZeroDim(DType::I32), Number(DTypeKind::Int)], DType::I32),
            (vec![Tensor(DType::U8), Tensor(DType::I8)], DType::I16),
            (vec![Tensor(DType::F16), Tensor(DType::Bf16)], DType::F32),
            (vec![Tensor(DType::I64), Tensor(DType::F16)], DType::F16),
        ];
        for (operands, want) in cases {
            assert_eq!(promote(&operands), want, "{operands:?}");
        }
    }
}
