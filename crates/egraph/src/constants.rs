//! Constants that rules compute with.

use mlc_ir::{Dim, Op, Type};
use mlc_tensor::{DType, Source, Tensor};

use crate::graph::Known;

/// Most elements of operands and result of an op that is computed at once.
const MOST_ELEMENTS: usize = 1 << 14;
/// Most elements that are looked at to see whether they are equal.
const MOST_EQUAL: usize = 64;

/// The constant that an op on constants is equal to, if it is cheap to make and not much larger than
/// its operands.
pub(crate) fn fold(op: &Op, slots: &[Vec<Tensor>], ty: &Type) -> Option<Tensor> {
    let operands = || slots.iter().flatten();
    operands().next()?;
    let ty = ty.as_tensor().filter(|ty| ty.dtype != DType::Str)?;
    let shape = ty.static_shape()?;
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d))?;
    let bytes = ty.dtype.bytes_for(count)?;
    let given = operands().map(Tensor::byte_len).sum::<u64>();
    let small = count <= MOST_ELEMENTS as u64;
    if bytes > given.saturating_mul(2).max(64) {
        return None;
    }
    if let Some(made) = mlc_eval::lazy(op, slots, &Type::Tensor(ty.clone())) {
        return Some(made);
    }
    if !small || operands().any(|tensor| tensor.count() > MOST_ELEMENTS) {
        return None;
    }
    let made = mlc_eval::fold(op, slots).ok()?;
    let [one] = <[Tensor; 1]>::try_from(made).ok()?;
    (one.dtype() == ty.dtype && one.shape() == shape).then_some(one)
}

/// The constant of a result whose contents inference knows.
pub(crate) fn of_content((ty, content): &Known) -> Option<Tensor> {
    let numbers: Vec<i64> = content.as_ref()?.iter().map(Dim::as_const).collect::<Option<_>>()?;
    let ty = ty.as_tensor()?;
    Tensor::from_i64s(ty.dtype, &ty.static_shape()?, &numbers).ok()
}

/// The number that every element is, if that is cheap to see.
pub(crate) fn uniform(tensor: &Tensor) -> Option<f64> {
    let one = match tensor.source() {
        Source::Splat(element) => Tensor::from_bytes(tensor.dtype(), &[], element.clone()).ok()?,
        _ if tensor.count() > MOST_EQUAL => return None,
        _ => match tensor.dtype().size() {
            Some(size) => {
                let bytes = tensor.bytes().ok()?;
                let first = bytes.get(..size)?;
                if bytes.chunks_exact(size).any(|element| element != first) {
                    return None;
                }
                Tensor::from_bytes(tensor.dtype(), &[], first).ok()?
            }
            None => tensor.clone(),
        },
    };
    let numbers = one.to_f64s().ok()?;
    let first = *numbers.first()?;
    numbers.iter().all(|x| x.to_bits() == first.to_bits()).then_some(first)
}
