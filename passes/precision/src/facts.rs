//! What half precision does to constants.

use std::collections::BTreeMap;

use half::f16;
use mlc_pass::Result;
use mlc_tensor::{DType, Recipe, Source, Span, Tensor};

use crate::interval::Interval;

/// The greatest finite number of half precision.
pub(crate) const MAX: f64 = 65504.0;

/// The least positive number of half precision, 2⁻²⁴.
pub(crate) const LEAST: f64 = 1.0 / 16_777_216.0;

/// What masks that are added become: far below every logit, and finite when two of them, or one and a
/// logit, are added.
pub(crate) const MASK: f64 = 32752.0;

/// Whether `x` is a number that half precision rounds to zero.
pub(crate) fn vanishes(x: f64) -> bool {
    x != 0.0 && f16::from_f64(x) == f16::ZERO
}

/// Whether `x` is finite and half precision has no finite number near it.
pub(crate) fn overflows(x: f64) -> bool {
    x.is_finite() && x.abs() > MAX
}

/// What is known of a constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Facts {
    /// The finite element of greatest magnitude, 0 if there is none.
    pub(crate) extreme: f64,
    /// It has one element, which half precision rounds to zero.
    pub(crate) vanishes: bool,
    /// No element reaches the least normal number of half precision, so that all lose digits.
    pub(crate) coarse: bool,
}

/// The finite element of greatest magnitude, 0 if there is none.
fn extreme(span: Span) -> f64 {
    if span.lo > span.hi {
        return 0.0;
    }
    if span.hi.abs() >= span.lo.abs() { span.hi } else { span.lo }
}

/// Facts on constants, each read once.
#[derive(Default)]
pub(crate) struct FactBook {
    known: BTreeMap<Tensor, Span>,
}

impl FactBook {
    pub(crate) fn of(&mut self, tensor: &Tensor) -> Result<Facts> {
        let extreme = extreme(self.known(tensor)?);
        let vanishes = tensor.count() == 1 && vanishes(extreme);
        let coarse = extreme != 0.0 && extreme.abs() < f64::from(f16::MIN_POSITIVE);
        Ok(Facts { extreme, vanishes, coarse })
    }

    /// The range of the elements, if there are some and all are finite.
    pub(crate) fn span(&mut self, tensor: &Tensor) -> Result<Option<Interval>> {
        let Span { lo, hi, only } = self.known(tensor)?;
        Ok(if only { Interval::new(lo, hi) } else { None })
    }

    /// The finite elements; of views of a tensor, those of the whole tensor.
    fn known(&mut self, tensor: &Tensor) -> Result<Span> {
        if let Some(&span) = self.known.get(tensor) {
            return Ok(span);
        }
        let span = match tensor.source() {
            Source::Random { scale, .. } if tensor.dtype().is_float() => {
                let scale = f64::from_bits(*scale);
                Span { lo: -scale, hi: scale, only: true }
            }
            Source::Splat(element) if tensor.count() > 0 => {
                Span::of(&Tensor::from_bytes(tensor.dtype(), &[], element.clone())?)?
            }
            Source::Recipe(recipe) if moves_floats(recipe, tensor) => {
                let mut span = Span::NONE;
                for part in recipe.operands() {
                    span = span.join(self.known(part)?);
                }
                span
            }
            _ => Span::of(tensor)?,
        };
        self.known.insert(tensor.clone(), span);
        Ok(span)
    }
}

/// Whether the elements are those of the operands.
fn moves_floats(recipe: &Recipe, tensor: &Tensor) -> bool {
    let one = tensor.count() == 1;
    let moves = matches!(
        recipe,
        Recipe::Strided { .. }
            | Recipe::Reshape(_)
            | Recipe::Transpose { .. }
            | Recipe::Concat { .. }
    );
    moves && !one && recipe.operands().iter().all(|part| part.dtype() == tensor.dtype())
}

/// `tensor` in half precision, finite numbers beyond ±`bound` clamped to it.
pub(crate) fn halved(tensor: &Tensor, bound: f64) -> Result<Tensor> {
    if bound >= MAX {
        return Ok(tensor.cast(DType::F16)?);
    }
    let clamp = |x: f64| if overflows(x) { x.clamp(-bound, bound) } else { x };
    if let Source::Splat(element) = tensor.source() {
        let one = Tensor::from_bytes(tensor.dtype(), &[], element.clone())?.to_f64s()?;
        let one: Vec<f64> = one.into_iter().map(clamp).collect();
        let one = Tensor::from_f64s(DType::F16, &[], &one)?;
        return Ok(Tensor::splat(DType::F16, tensor.shape(), &one.bytes()?)?);
    }
    let numbers: Vec<f64> = tensor.to_f64s()?.into_iter().map(clamp).collect();
    Ok(Tensor::from_f64s(DType::F16, tensor.shape(), &numbers)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_of_half_precision() {
        assert!(vanishes(1e-12) && vanishes(2f64.powi(-25)) && !vanishes(1e-7) && !vanishes(0.0));
        assert!(
            overflows(1e5) && overflows(-3.4e38) && !overflows(MAX) && !overflows(f64::INFINITY)
        );
    }

    #[test]
    fn masks_keep_room_and_infinities() {
        let mask = Tensor::from_f64s(DType::F32, &[4], &[0.0, -3.4e38, f64::NEG_INFINITY, -6e4]);
        let got = halved(&mask.unwrap(), MASK).unwrap().to_f64s().unwrap();
        assert_eq!(got, [0.0, -MASK, f64::NEG_INFINITY, -6e4]);
        let splat = Tensor::splat(DType::F32, &[2], &f32::MIN.to_le_bytes()).unwrap();
        assert_eq!(halved(&splat, MASK).unwrap().to_f64s().unwrap(), [-MASK; 2]);
        assert_eq!(FactBook::default().of(&splat).unwrap().extreme, f64::from(f32::MIN));
    }
}
