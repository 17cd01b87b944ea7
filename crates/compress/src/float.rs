//! The float type of a weight.

use half::f16;
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
        match self {
            Self::Half => {
                let (pairs, _) = bytes.as_chunks::<2>();
                pairs.iter().map(|&pair| f16::from_le_bytes(pair).to_f32()).collect()
            }
            Self::Single => {
                let (quads, _) = bytes.as_chunks::<4>();
                quads.iter().map(|&quad| f32::from_le_bytes(quad)).collect()
            }
        }
    }
}
