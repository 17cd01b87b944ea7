//! Attributes: the compile-time parameters of ops.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use mlc_tensor::DType;

use crate::consts::ConstId;

/// A float that is equal, ordered and hashed by its bits, so that payloads can be keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct F64(pub f64);

impl F64 {
    fn key(self) -> i64 {
        let bits = self.0.to_bits() as i64;
        bits ^ (((bits >> 63) as u64) >> 1) as i64
    }
}

impl PartialEq for F64 {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for F64 {}

impl PartialOrd for F64 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for F64 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for F64 {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl From<f64> for F64 {
    fn from(x: f64) -> Self {
        Self(x)
    }
}

impl fmt::Display for F64 {
    /// The shortest text that reads back as the same number; always with a point, exponent, `inf`
    /// or `nan`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = self.0;
        if x.is_nan() {
            f.write_str("nan")
        } else if x.is_infinite() {
            f.write_str(if x > 0.0 { "inf" } else { "-inf" })
        } else {
            write!(f, "{x:?}")
        }
    }
}

/// What an attribute can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttrKind {
    /// An integer.
    Int,
    /// A float.
    Float,
    /// A truth value.
    Bool,
    /// Text.
    Str,
    /// Integers.
    Ints,
    /// Truth values.
    Bools,
    /// Texts.
    Strs,
    /// An element type.
    DType,
    /// One of a fixed set of words.
    Word(&'static [&'static str]),
    /// A constant of the program.
    Const,
    /// An integer or nothing.
    OptInt,
    /// A float or nothing.
    OptFloat,
    /// Integers or nothing.
    OptInts,
    /// A truth value or nothing.
    OptBool,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttrValue {
    /// Nothing; optional attributes only.
    None,
    /// An integer.
    Int(i64),
    /// A float.
    Float(F64),
    /// A truth value.
    Bool(bool),
    /// Text.
    Str(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Truth values.
    Bools(Vec<bool>),
    /// Texts.
    Strs(Vec<String>),
    /// An element type.
    DType(DType),
    /// A word of an enumeration, spelled as MIL does.
    Word(&'static str),
    /// A constant of the program.
    Const(ConstId),
}

impl fmt::Display for AttrValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(items: &[T], f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("[")?;
            for (i, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
            }
            f.write_str("]")
        }
        match self {
            Self::None => f.write_str("none"),
            Self::Int(i) => write!(f, "{i}"),
            Self::Float(x) => write!(f, "{x}"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Str(s) => write!(f, "{s:?}"),
            Self::Ints(items) => list(items, f),
            Self::Bools(items) => list(items, f),
            Self::Strs(items) => f.debug_list().entries(items).finish(),
            Self::DType(dtype) => write!(f, "{dtype}"),
            Self::Word(word) => f.write_str(word),
            Self::Const(id) => write!(f, "{id:?}"),
        }
    }
}

/// A type that can be an attribute of a payload.
pub trait Attr: Sized {
    /// What it holds.
    const KIND: AttrKind;

    /// As a value.
    fn to_value(&self) -> AttrValue;

    /// From a value of another shape if it means the same: integers serve as floats, words and
    /// element types may come as text. `None` where it does not fit.
    fn from_value(value: &AttrValue) -> Option<Self>;
}

macro_rules! plain_attr {
    ($ty:ty, $kind:ident, $variant:ident) => {
        impl Attr for $ty {
            const KIND: AttrKind = AttrKind::$kind;

            fn to_value(&self) -> AttrValue {
                AttrValue::$variant(self.clone())
            }

            fn from_value(value: &AttrValue) -> Option<Self> {
                match value {
                    AttrValue::$variant(inner) => Some(inner.clone()),
                    _ => None,
                }
            }
        }
    };
}

plain_attr!(i64, Int, Int);
plain_attr!(bool, Bool, Bool);
plain_attr!(ConstId, Const, Const);

impl Attr for F64 {
    const KIND: AttrKind = AttrKind::Float;

    fn to_value(&self) -> AttrValue {
        AttrValue::Float(*self)
    }

    fn from_value(value: &AttrValue) -> Option<Self> {
        match value {
            AttrValue::Float(x) => Some(*x),
            AttrValue::Int(i) => Some(Self(*i as f64)),
            _ => None,
        }
    }
}

impl Attr for DType {
    const KIND: AttrKind = AttrKind::DType;

    fn to_value(&self) -> AttrValue {
        AttrValue::DType(*self)
    }

    fn from_value(value: &AttrValue) -> Option<Self> {
        match value {
            AttrValue::DType(dtype) => Some(*dtype),
            AttrValue::Str(name) => Self::from_name(name),
            AttrValue::Word(name) => Self::from_name(name),
            _ => None,
        }
    }
}

impl Attr for String {
    const KIND: AttrKind = AttrKind::Str;

    fn to_value(&self) -> AttrValue {
        AttrValue::Str(self.clone())
    }

    fn from_value(value: &AttrValue) -> Option<Self> {
        match value {
            AttrValue::Str(text) => Some(text.clone()),
            AttrValue::Word(word) => Some((*word).to_owned()),
            _ => None,
        }
    }
}

macro_rules! list_attr {
    ($item:ty, $kind:ident, $variant:ident) => {
        impl Attr for Vec<$item> {
            const KIND: AttrKind = AttrKind::$kind;

            fn to_value(&self) -> AttrValue {
                AttrValue::$variant(self.clone())
            }

            fn from_value(value: &AttrValue) -> Option<Self> {
                match value {
                    AttrValue::$variant(items) => Some(items.clone()),
                    value if *value == AttrValue::Ints(Vec::new()) => Some(Vec::new()),
                    _ => None,
                }
            }
        }
    };
}

list_attr!(i64, Ints, Ints);
list_attr!(bool, Bools, Bools);
list_attr!(String, Strs, Strs);

macro_rules! optional_attr {
    ($inner:ty, $kind:ident) => {
        impl Attr for Option<$inner> {
            const KIND: AttrKind = AttrKind::$kind;

            fn to_value(&self) -> AttrValue {
                self.as_ref().map_or(AttrValue::None, Attr::to_value)
            }

            fn from_value(value: &AttrValue) -> Option<Self> {
                match value {
                    AttrValue::None => Some(None),
                    value => <$inner>::from_value(value).map(Some),
                }
            }
        }
    };
}

optional_attr!(bool, OptBool);
optional_attr!(i64, OptInt);
optional_attr!(F64, OptFloat);
optional_attr!(Vec<i64>, OptInts);

/// Declares an attribute type that is one of a fixed set of words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant),* }

        impl $name {
            /// The word, as MIL spells it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl Attr for $name {
            const KIND: AttrKind = AttrKind::Word(&[$($word),*]);

            fn to_value(&self) -> AttrValue {
                AttrValue::Word(self.as_str())
            }

            fn from_value(value: &AttrValue) -> Option<Self> {
                let word = match value {
                    AttrValue::Word(word) => *word,
                    AttrValue::Str(text) => text.as_str(),
                    _ => return None,
                };
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// How the spatial edges of convolutions and pools are padded.
    PadType {
        /// No padding.
        Valid = "valid",
        /// As the `pad` attribute says.
        Custom = "custom",
        /// Output is `⌈input / stride⌉`; the odd element goes after.
        Same = "same",
        /// As `same`, the odd element goes before.
        SameLower = "same_lower",
    }
}

words! {
    /// How `pad` fills.
    PadMode {
        /// With a value.
        Constant = "constant",
        /// Mirrored, the edge not repeated.
        Reflect = "reflect",
        /// With the edge element.
        Replicate = "replicate",
    }
}

words! {
    /// Which GELU.
    GeluMode {
        /// `x·Φ(x)` by erf.
        Exact = "EXACT",
        /// By tanh of a cubic.
        TanhApproximation = "TANH_APPROXIMATION",
        /// `x·sigmoid(1.702·x)`.
        SigmoidApproximation = "SIGMOID_APPROXIMATION",
    }
}

words! {
    /// Where output pixels of a resize sample the input; see `spec` of each op.
    SamplingMode {
        /// `i·(X−1)/(N−1)`.
        StrictAlignCorners = "STRICT_ALIGN_CORNERS",
        /// As strict, but the centre when `N` is 1.
        AlignCorners = "ALIGN_CORNERS",
        /// `i·X/N`.
        Default = "DEFAULT",
        /// `(i+0.5)·max(1, X−1)/N`.
        OffsetCorners = "OFFSET_CORNERS",
        /// `(i+0.5)·X/N − 0.5`.
        UnalignCorners = "UNALIGN_CORNERS",
    }
}

words! {
    /// How `resize` interpolates.
    InterpolationMode {
        /// Between neighbours.
        Linear = "LINEAR",
        /// The nearest neighbour.
        NearestNeighbor = "NEAREST_NEIGHBOR",
    }
}

words! {
    /// How `resample` and `affine` interpolate.
    ResampleMode {
        /// Between the four neighbours.
        Bilinear = "bilinear",
        /// The nearest neighbour.
        Nearest = "nearest",
    }
}

words! {
    /// What `resample` and `affine` read outside the image.
    ResamplePadding {
        /// `padding_value`.
        Constant = "constant",
        /// The nearest edge element.
        Border = "border",
        /// Mirrored, the edge not repeated.
        Reflection = "reflection",
        /// Mirrored, the edge repeated.
        Symmetric = "symmetric",
    }
}

words! {
    /// The unit of sampling coordinates.
    CoordinatesMode {
        /// Pixels from 0.
        Unnormalized = "unnormalized",
        /// −1 to 1.
        NormalizedMinusOneToOne = "normalized_minus_one_to_one",
        /// 0 to 1.
        NormalizedZeroToOne = "normalized_zero_to_one",
    }
}

words! {
    /// The four numbers of a box.
    BoxCoordinateMode {
        /// y0, x0, y1, x1.
        CornersHeightFirst = "CORNERS_HEIGHT_FIRST",
        /// x0, y0, x1, y1.
        CornersWidthFirst = "CORNERS_WIDTH_FIRST",
        /// Centre y, centre x, height, width.
        CenterSizeHeightFirst = "CENTER_SIZE_HEIGHT_FIRST",
        /// Centre x, centre y, width, height.
        CenterSizeWidthFirst = "CENTER_SIZE_WIDTH_FIRST",
    }
}

words! {
    /// How scattered values meet what is there.
    ScatterMode {
        /// Replace.
        Update = "update",
        /// Add.
        Add = "add",
        /// Subtract.
        Sub = "sub",
        /// Multiply.
        Mul = "mul",
        /// Divide.
        Div = "div",
        /// The greater.
        Max = "max",
        /// The lesser.
        Min = "min",
    }
}

words! {
    /// In which order a recurrent op walks the sequence.
    Direction {
        /// First to last.
        Forward = "forward",
        /// Last to first.
        Reverse = "reverse",
        /// Both, concatenated.
        Bidirectional = "bidirectional",
    }
}

words! {
    /// Activations of recurrent ops.
    Activation {
        /// `tanh`.
        Tanh = "tanh",
        /// `1.7159·tanh(2x/3)`.
        ScaledTanh = "scaled_tanh",
        /// `1/(1+e^−x)`.
        Sigmoid = "sigmoid",
        /// `clamp(0.2x + 0.5, 0, 1)`.
        HardSigmoid = "hard_sigmoid",
        /// The same, as some ops spell it.
        SigmoidHard = "sigmoid_hard",
        /// `max(x, 0)`.
        Relu = "relu",
        /// `x`.
        Linear = "linear",
    }
}

words! {
    /// What `random_categorical` takes.
    CategoricalMode {
        /// Unnormalized log-probabilities.
        Logits = "logits",
        /// Probabilities.
        Probs = "probs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_ordered_and_printed_exactly() {
        let mut all = [F64(1.0), F64(-0.0), F64(0.0), F64(-2.5), F64(f64::NEG_INFINITY)];
        all.sort();
        assert_eq!(all.map(|x| x.to_string()), ["-inf", "-2.5", "-0.0", "0.0", "1.0"]);
        assert_eq!(F64(1e-45).to_string(), "1e-45");
    }

    #[test]
    fn words_read_back() {
        for mode in [PadType::Valid, PadType::SameLower] {
            assert_eq!(PadType::from_value(&mode.to_value()), Some(mode));
        }
        assert_eq!(PadType::from_value(&AttrValue::Str("nope".into())), None);
    }
}
