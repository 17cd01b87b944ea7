//! The float type of a weight.

use half::f16;
use half::slice::HalfFloatSliceExt;
use mlc_tensor::DType;

/// Half or single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfOr {
    /// f16.
    Half,
    /// f32.
    Single,
}

impl HalfOr {
    /// That of an element type; none if it is neither.
    #[must_use]
    pub fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F16 => Some(Self::Half),
            DType::F32 => Some(Self::Single),
            _ => None,
        }
    }

    /// The element type.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::Half => DType::F16,
            Self::Single => DType::F32,
        }
    }

    /// The nearest number of the type.
    #[must_use]
    pub fn round(self, x: f64) -> f32 {
        match self {
            Self::Half => f16::from_f64(x).to_f32(),
            Self::Single => x as f32,
        }
    }

    /// The nearest positive finite number of the type.
    #[must_use]
    pub fn positive(self, x: f64) -> f32 {
        let (least, most) = match self {
            Self::Half => (f16::from_bits(1).to_f32(), f16::MAX.to_f32()),
            Self::Single => (f32::MIN_POSITIVE, f32::MAX),
        };
        self.round(x).clamp(least, most)
    }

    /// The nearest number of the type to one of single precision.
    #[inline(always)]
    pub(crate) fn round_single(self, x: f32) -> f32 {
        match self {
            Self::Half => round_half(x),
            Self::Single => x,
        }
    }

    /// The nearest positive finite number of the type to one of single precision.
    #[inline(always)]
    pub(crate) fn positive_single(self, x: f32) -> f32 {
        let (least, most) = match self {
            Self::Half => (LEAST_HALF, 65504.0),
            Self::Single => (f32::MIN_POSITIVE, f32::MAX),
        };
        self.round_single(x).clamp(least, most)
    }

    /// Bytes of an element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Half => 2,
            Self::Single => 4,
        }
    }

    /// The bytes of `values` in this type.
    #[must_use]
    pub fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::Half => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            Self::Single => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    /// The numbers of bytes of this type.
    #[must_use]
    pub fn read(self, bytes: &[u8]) -> Vec<f32> {
        let mut out = vec![0.0; bytes.len() / self.size()];
        self.read_into(bytes, &mut out);
        out
    }

    /// Puts the numbers of bytes of this type into `out`, as many as both have.
    pub(crate) fn read_into(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::Half => {
                let mut narrow = [f16::ZERO; LANE];
                let pairs = bytes.as_chunks::<2>().0;
                for (out, pairs) in out.chunks_mut(LANE).zip(pairs.chunks(LANE)) {
                    let narrow = &mut narrow[..out.len().min(pairs.len())];
                    narrow.iter_mut().zip(pairs).for_each(|(x, b)| *x = f16::from_le_bytes(*b));
                    narrow.convert_to_f32_slice(&mut out[..narrow.len()]);
                }
            }
            Self::Single => {
                let quads = bytes.as_chunks::<4>().0;
                out.iter_mut().zip(quads).for_each(|(x, b)| *x = f32::from_le_bytes(*b));
            }
        }
    }
}

/// Halves converted at a time.
const LANE: usize = 256;
/// The least positive half.
const LEAST_HALF: f32 = 1.0 / 16_777_216.0;

/// The nearest number of single precision, or of half precision if `HALF`.
#[inline(always)]
pub(crate) fn rounded<const HALF: bool>(x: f32) -> f32 {
    if HALF { round_half(x) } else { x }
}

/// The nearest half, ties to even; without branches, so that many are rounded at once.
#[inline(always)]
fn round_half(x: f32) -> f32 {
    let sign = x.to_bits() & 0x8000_0000;
    let magnitude = x.to_bits() & 0x7fff_ffff;
    let normal = (magnitude + 0xfff + (magnitude >> 13 & 1)) & !0x1fff;
    let normal = if normal >= 0x4780_0000 { 0x7f80_0000 } else { normal };
    // Halves below 2⁻¹⁴ are multiples of 2⁻²⁴, as singles from a half to one are.
    let small = ((f32::from_bits(magnitude) + 0.5) - 0.5).to_bits();
    f32::from_bits(sign | if magnitude < 0x3880_0000 { small } else { normal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_as_conversion_does() {
        let mut bits = 1u32;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let x = f32::from_bits(bits);
            let near = f32::from_bits(0x3380_0000 + bits % 0x1500_0000);
            for x in [x, near, -near].into_iter().filter(|x| !x.is_nan()) {
                assert_eq!(round_half(x).to_bits(), f16::from_f32(x).to_f32().to_bits(), "{x}");
            }
        }
        for bits in 0..0x7c00u16 {
            let (x, next) = (f16::from_bits(bits).to_f32(), f16::from_bits(bits + 1).to_f32());
            let middle = if next.is_finite() { (x + next) / 2.0 } else { 65520.0 };
            assert_eq!(round_half(x), x);
            assert_eq!(round_half(middle), f16::from_f32(middle).to_f32(), "{middle}");
        }
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let numbers: Vec<f32> = (0..600).map(|i| (i as f32 - 300.0) / 8.0).collect();
        for float in [HalfOr::Half, HalfOr::Single] {
            assert_eq!(float.read(&float.bytes(&numbers)), numbers);
        }
    }
}
