//! What a model may take in, give out and keep: arrays, images, states, functions.

use crate::{DataType, Opset};

/// The highest rank of an array that is a model's input, output or state.
pub const MAX_RANK: usize = 5;

/// The first opset with states.
pub const STATES_SINCE: Opset = Opset::Ios18;

/// The only element type of a state. Its shape is fixed too.
pub const STATE_DTYPE: DataType = DataType::Fp16;

/// The first opset whose models may have several functions.
pub const MULTI_FUNCTION_SINCE: Opset = Opset::Ios18;

/// The first opset whose models may have more than one input with enumerated shapes.
pub const SEVERAL_ENUMERATED_INPUTS_SINCE: Opset = Opset::Ios18;

/// The first opset that takes a [`ColorLayout::Grayscale`] image input as `uint8` values in the program.
pub const GRAYSCALE_UINT8_SINCE: Opset = Opset::Ios17;

/// Which way a feature goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Into the model.
    Input,
    /// Out of the model.
    Output,
}

/// An element type that array features can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureDtype {
    /// The type, in the program and in the feature.
    pub dtype: DataType,
    /// Its code in `ArrayFeatureType.dataType`: a kind in the high half, the bits in the low half.
    pub code: i32,
    /// The first opset that takes it as an input.
    pub input_since: Opset,
    /// The first opset that gives it as an output.
    pub output_since: Opset,
}

impl FeatureDtype {
    /// The first opset with features of this type in `direction`.
    pub const fn since(&self, direction: Direction) -> Opset {
        match direction {
            Direction::Input => self.input_since,
            Direction::Output => self.output_since,
        }
    }

    const fn both(dtype: DataType, code: i32, since: Opset) -> Self {
        Self { dtype, code, input_since: since, output_since: since }
    }
}

/// All element types of array features. `DOUBLE` exists in the format, but ML Programs have no use of it.
pub const FEATURE_DTYPES: [FeatureDtype; 4] = [
    FeatureDtype::both(DataType::Fp32, 0x1_0020, Opset::Ios15),
    FeatureDtype::both(DataType::Int32, 0x2_0020, Opset::Ios15),
    FeatureDtype::both(DataType::Fp16, 0x1_0010, Opset::Ios16),
    FeatureDtype::both(DataType::Int8, 0x2_0008, Opset::Ios26),
];

/// The facts on array features of `dtype`; `None` when no opset has such features.
pub fn feature_dtype(dtype: DataType) -> Option<&'static FeatureDtype> {
    FEATURE_DTYPES.iter().find(|row| row.dtype == dtype)
}

/// The element types that array features in `direction` may have under `opset`.
pub fn feature_dtypes(opset: Opset, direction: Direction) -> impl Iterator<Item = DataType> {
    FEATURE_DTYPES.iter().filter(move |row| row.since(direction) <= opset).map(|row| row.dtype)
}

/// How an image feature is laid out in the program: `[1, channels, height, width]`, values 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ColorLayout {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel.
    Grayscale,
    /// One channel of float16 values in the caller's own range.
    GrayscaleFloat16,
}

impl ColorLayout {
    /// All layouts.
    pub const ALL: [Self; 4] = [Self::Rgb, Self::Bgr, Self::Grayscale, Self::GrayscaleFloat16];

    /// The value of `ImageFeatureType.colorSpace`.
    pub const fn color_space(self) -> i32 {
        match self {
            Self::Grayscale => 10,
            Self::Rgb => 20,
            Self::Bgr => 30,
            Self::GrayscaleFloat16 => 40,
        }
    }

    /// The size of the channel axis.
    pub const fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grayscale | Self::GrayscaleFloat16 => 1,
        }
    }

    /// The element type of the value in the program (see also [`GRAYSCALE_UINT8_SINCE`]).
    pub const fn program_dtype(self) -> DataType {
        match self {
            Self::Rgb | Self::Bgr | Self::Grayscale => DataType::Fp32,
            Self::GrayscaleFloat16 => DataType::Fp16,
        }
    }

    /// The first opset with image features of this layout.
    pub const fn since(self) -> Opset {
        match self {
            Self::Rgb | Self::Bgr | Self::Grayscale => Opset::Ios15,
            Self::GrayscaleFloat16 => Opset::Ios16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ColorLayout, Direction, FEATURE_DTYPES, feature_dtype, feature_dtypes};
    use crate::{DataType, Opset};

    #[test]
    fn array_dtypes_grow_with_the_opset() {
        let (fp32, int32, fp16, int8) =
            (DataType::Fp32, DataType::Int32, DataType::Fp16, DataType::Int8);
        let rows: [(Opset, &[DataType]); 5] = [
            (Opset::Ios15, &[fp32, int32]),
            (Opset::Ios16, &[fp32, int32, fp16]),
            (Opset::Ios17, &[fp32, int32, fp16]),
            (Opset::Ios18, &[fp32, int32, fp16]),
            (Opset::Ios26, &[fp32, int32, fp16, int8]),
        ];
        for (opset, dtypes) in rows {
            for direction in [Direction::Input, Direction::Output] {
                assert!(feature_dtypes(opset, direction).eq(dtypes.iter().copied()), "{opset}");
            }
        }
        assert_eq!(feature_dtype(DataType::Bool), None);
    }

    #[test]
    fn array_codes() {
        let codes: Vec<i32> = FEATURE_DTYPES.iter().map(|row| row.code).collect();
        assert_eq!(codes, [65568, 131_104, 65552, 131_080]);
        for row in FEATURE_DTYPES {
            let bits = row.dtype.bits().and_then(|bits| i32::try_from(bits).ok());
            assert_eq!(Some(row.code & 0xffff), bits, "{}", row.dtype);
        }
    }

    #[test]
    fn image_layouts() {
        let rows = ColorLayout::ALL.map(|layout| {
            (layout.color_space(), layout.channels(), layout.program_dtype(), layout.since())
        });
        assert_eq!(
            rows,
            [
                (20, 3, DataType::Fp32, Opset::Ios15),
                (30, 3, DataType::Fp32, Opset::Ios15),
                (10, 1, DataType::Fp32, Opset::Ios15),
                (40, 1, DataType::Fp16, Opset::Ios16),
            ]
        );
    }
}
