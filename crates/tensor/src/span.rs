//! The range of the elements of a tensor.

use rayon::prelude::*;

use crate::dtype::DType;
use crate::reader::Reader;
use crate::tensor::{Tensor, TensorError, unreadable};

/// Elements that a thread looks at at a time.
const PIECE: usize = 1 << 16;

/// The finite elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// The least of them; infinite if there is none.
    pub lo: f64,
    /// The greatest of them; negative infinity if there is none.
    pub hi: f64,
    /// Whether there are no others.
    pub only: bool,
}

impl Span {
    /// That of no element.
    pub const NONE: Self = Self { lo: f64::INFINITY, hi: f64::NEG_INFINITY, only: true };

    /// That of both together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let only = self.only && other.only;
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi), only }
    }

    /// That of numbers in memory.
    #[must_use]
    pub fn of_singles(numbers: &[f32]) -> Self {
        let pieces = numbers.par_chunks(PIECE);
        let one = |piece| of_bits(piece, |x: &f32| x.to_bits() as i32);
        pieces.map(one).reduce(|| Self::NONE, Self::join)
    }

    /// Reads `tensor`, a piece at a time and on all cores, and gives back what mapped files took.
    ///
    /// # Errors
    /// A recipe cannot be carried out, or the elements are no real numbers.
    pub fn of(tensor: &Tensor) -> Result<Self, TensorError> {
        let exact = matches!(
            tensor.dtype(),
            DType::F64 | DType::I64 | DType::U64 | DType::I32 | DType::U32
        );
        let wide = tensor.cast(if exact { DType::F64 } else { DType::F32 })?;
        let reader = Reader::of(&wide)?;
        let piece = |i: usize| {
            let start = i * PIECE;
            let n = (reader.count() - start).min(PIECE);
            Ok(match reader.slice() {
                Some(bytes) => {
                    of_bytes(&bytes[start * reader.size()..][..n * reader.size()], exact)
                }
                None => {
                    let mut bytes = vec![0; n * reader.size()];
                    reader.fill(start, &mut bytes).map_err(|error| unreadable(&error))?;
                    of_bytes(&bytes, exact)
                }
            })
        };
        let pieces = reader.count().div_ceil(PIECE);
        let spans = (0..pieces).into_par_iter().map(piece);
        let span = spans.try_reduce(|| Self::NONE, |a, b| Ok(a.join(b)))?;
        tensor.release();
        Ok(span)
    }
}

fn of_bytes(bytes: &[u8], exact: bool) -> Span {
    if !exact {
        return of_bits(bytes.as_chunks::<4>().0, |bytes| i32::from_le_bytes(*bytes));
    }
    let numbers = bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b));
    numbers.fold(Span::NONE, |span, x| match x.is_finite() {
        true => span.join(Span { lo: x, hi: x, only: true }),
        false => Span { only: false, ..span },
    })
}

/// Changes the bits of a float to an integer of the same order, and back.
fn key(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
}

/// The bits of infinity.
const INFINITE: i32 = 0x7f80_0000;

fn of_bits<B>(numbers: &[B], bits: impl Fn(&B) -> i32) -> Span {
    let (lo, hi) = extremes(numbers, |number| {
        let at = key(bits(number));
        (at, at)
    });
    // Infinities and NaNs lie beyond the finite numbers on either side.
    let only = lo > key(INFINITE | i32::MIN) && hi < key(INFINITE);
    let (lo, hi) = match only {
        true => (lo, hi),
        false => extremes(numbers, |number| match bits(number) {
            bits if bits & INFINITE == INFINITE => (i32::MAX, i32::MIN),
            bits => (key(bits), key(bits)),
        }),
    };
    let number = |at: i32| f64::from(f32::from_bits(key(at) as u32));
    match lo <= hi {
        true => Span { lo: number(lo), hi: number(hi), only },
        false => Span { only: only || numbers.is_empty(), ..Span::NONE },
    }
}

/// The least and the greatest of what `of` says of the numbers.
fn extremes<B>(numbers: &[B], of: impl Fn(&B) -> (i32, i32)) -> (i32, i32) {
    const LANES: usize = 32;
    let (mut lo, mut hi) = ([i32::MAX; LANES], [i32::MIN; LANES]);
    let (whole, rest) = numbers.as_chunks::<LANES>();
    pulp::Arch::new().dispatch(|| {
        for chunk in whole {
            for lane in 0..LANES {
                let (least, greatest) = of(&chunk[lane]);
                lo[lane] = lo[lane].min(least);
                hi[lane] = hi[lane].max(greatest);
            }
        }
    });
    let rest = rest.iter().map(of);
    let lanes = lo.into_iter().zip(hi);
    lanes.chain(rest).fold((i32::MAX, i32::MIN), |(lo, hi), (l, h)| (lo.min(l), hi.max(h)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_leave_out_what_is_not_finite() {
        let numbers = [3.5, f64::NEG_INFINITY, -2.0, f64::NAN, 0.0];
        for dtype in [DType::F16, DType::Bf16, DType::F32, DType::F64] {
            let tensor = Tensor::from_f64s(dtype, &[5], &numbers).unwrap();
            assert_eq!(Span::of(&tensor).unwrap(), Span { lo: -2.0, hi: 3.5, only: false });
        }
        let tensor = Tensor::from_i64s(DType::I32, &[2], &[7, -9]).unwrap();
        assert_eq!(Span::of(&tensor).unwrap(), Span { lo: -9.0, hi: 7.0, only: true });
        let none = Tensor::from_f64s(DType::F32, &[1], &[f64::NAN]).unwrap();
        assert_eq!(Span::of(&none).unwrap(), Span { only: false, ..Span::NONE });
    }

    #[test]
    fn ranges_of_nothing_finite_and_of_nothing() {
        let none = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        for x in none {
            let numbers = vec![x; 40];
            assert_eq!(Span::of_singles(&numbers), Span { only: false, ..Span::NONE });
            let mut numbers = vec![-0.0, f32::MAX, f32::MIN];
            numbers.resize(70, x);
            let want = Span { lo: f32::MIN.into(), hi: f32::MAX.into(), only: false };
            assert_eq!(Span::of_singles(&numbers), want);
        }
        assert_eq!(Span::of_singles(&[]), Span::NONE);
        assert_eq!(Span::of_singles(&[1.0]), Span { lo: 1.0, hi: 1.0, only: true });
    }

    #[test]
    fn ranges_of_many_pieces() {
        let numbers: Vec<f64> =
            (0..200_001).map(|i| f64::from(i % 1000) - f64::from(i / 1000)).collect();
        let tensor = Tensor::from_f64s(DType::F32, &[200_001], &numbers).unwrap();
        assert_eq!(Span::of(&tensor).unwrap(), Span { lo: -200.0, hi: 999.0, only: true });
    }
}
