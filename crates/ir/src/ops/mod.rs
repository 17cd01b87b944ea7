//! The op table: one entry an op, in the file of its family.
//!
//! An entry reads
//! ```text
//! /// Meaning, as a formula.
//! "mil_name" = Payload(operand: One, other: Opt, rest: Many) -> results [regions] {
//!     attribute: Type = default,
//! } + Trait => infer_function;
//! ```
//! `-> results` is left out for one result, a number for more, `inferred` where inference tells.
//! From it come the payload struct, its [`OpSpec`], the builders (which take the operands, then the
//! regions) and the variant of [`Op`].

#[cfg(test)]
pub(crate) mod testing;

use crate::attr::AttrValue;
use crate::infer::{InferCx, Inferred, OpResult};
use crate::spec::{OpSpec, Payload};

/// Declares ops. See the module documentation.
macro_rules! op {
    ($($(#[doc = $doc:literal])+ $mil:literal = $Name:ident (
        $($opd:ident : $ar:ident),* $(,)?
    ) $(-> $results:tt)? $([$($region:ident),+])? {
        $($attr:ident : $aty:ty $(= $default:expr)?),* $(,)?
    } $(+ $tr:ident)* => $infer:path;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $Name {
            $(#[doc = concat!("MIL's `", stringify!($attr), "`.")] pub $attr: $aty),*
        }

        impl $crate::spec::Payload for $Name {
            const SPEC: $crate::spec::OpSpec = $crate::spec::OpSpec {
                name: $mil,
                doc: concat!($($doc, "\n"),+),
                family: module_path!(),
                operands: &[$($crate::spec::OperandSpec {
                    name: stringify!($opd),
                    arity: $crate::spec::Arity::$ar,
                }),*],
                attrs: &[$($crate::spec::AttrSpec {
                    name: stringify!($attr),
                    kind: <$aty as $crate::attr::Attr>::KIND,
                    required: $crate::ops::op!(@required $($default)?),
                }),*],
                results: $crate::ops::op!(@results $($results)?),
                regions: &[$($(stringify!($region)),+)?],
                traits: $crate::spec::Traits::NONE$(.with($crate::spec::Trait::$tr))*,
            };

            fn of(op: &$crate::ops::Op) -> Option<&Self> {
                match op {
                    $crate::ops::Op::$Name(payload) => Some(payload),
                    _ => None,
                }
            }

            fn attrs(&self) -> Vec<$crate::attr::AttrValue> {
                vec![$($crate::attr::Attr::to_value(&self.$attr)),*]
            }

            fn defaults() -> Vec<Option<$crate::attr::AttrValue>> {
                vec![$($crate::ops::op!(@default $aty, $($default)?)),*]
            }

            fn from_attrs(values: &[Option<$crate::attr::AttrValue>]) -> Result<Self, usize> {
                let mut values = values.iter().enumerate();
                let _ = &mut values;
                Ok(Self {
                    $($attr: {
                        let (i, given) = values.next().ok_or(usize::MAX)?;
                        match given {
                            Some(value) => {
                                <$aty as $crate::attr::Attr>::from_value(value).ok_or(i)?
                            }
                            None => $crate::ops::op!(@or_missing $aty, i, $($default)?),
                        }
                    }),*
                })
            }

            fn infer(
                &self,
                cx: &$crate::infer::InferCx<'_>,
            ) -> $crate::infer::OpResult<$crate::infer::Inferred> {
                $infer(self, cx)
            }
        }

        impl $Name {
            /// Appends the op and gives its first result.
            ///
            /// # Errors
            /// What inference finds wrong, or an op without results.
            pub fn build(
                self,
                b: &mut $crate::builder::Builder<'_>,
                $($opd: $crate::builder::arity::$ar,)*
                $($($region: $crate::program::Region,)+)?
            ) -> $crate::infer::OpResult<$crate::program::Value> {
                let results = self.build_many(b, $($opd,)* $($($region),+)?)?;
                results.first().copied().ok_or_else(|| {
                    $crate::infer::OpError::ty(concat!("`", $mil, "` has no result"))
                })
            }

            /// Appends the op and gives all its results.
            ///
            /// # Errors
            /// What inference finds wrong.
            pub fn build_many(
                self,
                b: &mut $crate::builder::Builder<'_>,
                $($opd: $crate::builder::arity::$ar,)*
                $($($region: $crate::program::Region,)+)?
            ) -> $crate::infer::OpResult<Vec<$crate::program::Value>> {
                #[allow(unused_mut, clippy::allow_attributes, reason = "ops without operands")]
                let mut operands = $crate::program::Operands::new();
                $($crate::builder::IntoSlot::push_to($opd, &mut operands);)*
                let node = b.push($crate::ops::Op::$Name(self), operands, vec![$($($region),+)?])?;
                Ok(b.results(node).to_vec())
            }
        }
    )+};
    (@required $default:expr) => { false };
    (@required) => { true };
    (@default $aty:ty, $default:expr) => {
        Some($crate::attr::Attr::to_value(&{ let default: $aty = $default; default }))
    };
    (@default $aty:ty,) => { None };
    (@or_missing $aty:ty, $i:ident, $default:expr) => { { let default: $aty = $default; let _ = $i; default } };
    (@or_missing $aty:ty, $i:ident,) => { return Err($i) };
    (@results inferred) => { $crate::spec::ResultCount::Inferred };
    (@results $n:literal) => { $crate::spec::ResultCount::Fixed($n) };
    (@results) => { $crate::spec::ResultCount::Fixed(1) };
}
pub(crate) use op;

/// Makes [`Op`] from the payload names of each family.
macro_rules! op_enum {
    ($d:tt $($family:ident { $($Name:ident),* $(,)? })*) => {
        $(pub mod $family;)*
        $(pub use $family::{$($Name),*};)*

        /// Kind and attributes of an op.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Op {
            $($(#[doc = concat!("`", stringify!($Name), "`.")] $Name($Name),)*)*
        }

        $($(impl From<$Name> for Op {
            fn from(payload: $Name) -> Self {
                Self::$Name(payload)
            }
        })*)*

        impl Op {
            /// The entry of the table.
            #[must_use]
            pub fn spec(&self) -> &'static OpSpec {
                match self { $($(Self::$Name(_) => {
                    static SPEC: OpSpec = <$Name as Payload>::SPEC;
                    &SPEC
                })*)* }
            }

            /// Every attribute, in the order of the entry.
            #[must_use]
            pub fn attrs(&self) -> Vec<AttrValue> {
                match self { $($(Self::$Name(payload) => payload.attrs(),)*)* }
            }

            /// The default of each attribute, in the order of the entry.
            #[must_use]
            pub fn defaults(&self) -> Vec<Option<AttrValue>> {
                match self { $($(Self::$Name(_) => $Name::defaults(),)*)* }
            }

            /// The types of the results.
            ///
            /// # Errors
            /// What is wrong with operands or attributes.
            pub fn infer(&self, cx: &InferCx<'_>) -> OpResult<Inferred> {
                match self { $($(Self::$Name(payload) => payload.infer(cx),)*)* }
            }

            /// An op by MIL's name, with attributes in the order of its entry; `None` means the
            /// default.
            ///
            /// # Errors
            /// The position of an attribute that is missing or does not fit.
            #[must_use]
            pub fn from_attrs(name: &str, values: &[Option<AttrValue>]) -> Option<Result<Self, usize>> {
                let entry = ENTRIES.iter().find(|entry| entry.0.name == name)?;
                Some((entry.1)(values))
            }
        }

        type FromAttrs = fn(&[Option<AttrValue>]) -> Result<Op, usize>;

        static ENTRIES: &[(&OpSpec, FromAttrs)] = &[
            $($({
                static SPEC: OpSpec = <$Name as Payload>::SPEC;
                (&SPEC, |values| <$Name as Payload>::from_attrs(values).map(Op::$Name))
            }),*),*
        ];

        /// Calls the macro it is given with the payload names of all ops, separated by spaces.
        #[macro_export]
        macro_rules! for_each_op {
            ($d callback:ident) => { $d callback! { $($($Name)*)* } };
        }
    };
}

mod window;

op_enum! { $
    core { Const, Identity }
    elementwise {
        Abs, Acos, Asin, Atan, Atanh, Ceil, Cos, Cosh, Erf, Exp, Exp2, Floor, Round, Sign, Sin, Sinh,
        Sqrt, Square, Tan, Tanh, Inverse, Log, Rsqrt, Clip, Threshold, LogicalNot, Cast,
        Add, Sub, Mul, RealDiv, FloorDiv, Mod, Pow, Maximum, Minimum,
        Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, LogicalAnd, LogicalOr, LogicalXor,
        Select,
    }
    activation {
        Relu, Relu6, LeakyRelu, Prelu, Elu, ClampedRelu, ThresholdedRelu, LinearActivation,
        Sigmoid, SigmoidHard, ScaledTanh, Silu, Softplus, SoftplusParametric, Softsign, Gelu,
        Softmax,
    }
    linear { Linear, Matmul, Einsum }
    reduction {
        ReduceSum, ReduceMean, ReduceProd, ReduceMax, ReduceMin, ReduceSumSquare, ReduceL1Norm,
        ReduceL2Norm, ReduceLogSum, ReduceLogSumExp, ReduceArgmax, ReduceArgmin,
    }
    norm { BatchNorm, InstanceNorm, LayerNorm, L2Norm, LocalResponseNorm }
    attention { ScaledDotProductAttention }
    recurrent { Rnn, Gru, Lstm }
    random { RandomBernoulli, RandomCategorical, RandomNormal, RandomUniform }
    quantize { Quantize, Dequantize }
    constexpr {
        ConstexprAffineDequantize, ConstexprBlockwiseShiftScale, ConstexprCast, ConstexprLutToDense,
        ConstexprLutToSparse, ConstexprSparseBlockwiseShiftScale, ConstexprSparseToDense,
    }
    shape { Shape, Reshape, Transpose, ExpandDims, Squeeze, Flatten2d, ReshapeLike }
    join { Concat, Stack, Split, Tile }
    slice {
        SliceByIndex, SliceBySize, SliceUpdate, Reverse, ReverseSequence, SlidingWindows, BandPart,
    }
    gather { Gather, GatherAlongAxis, GatherNd }
    create { Fill, FillLike, Range1d, OneHot, NonZero }
    scan { Cumsum }
    scatter { Scatter, ScatterAlongAxis, ScatterNd }
    sort { Topk, Argsort }
    control { Cond, WhileLoop }
    state { ReadState, WriteState }
    list { MakeList, ListLength, ListRead, ListWrite, ListGather, ListScatter }
    classify { Classify }
    conv { Conv, ConvTranspose }
    pool { MaxPool, AvgPool, L2Pool }
    pad { Pad }
    resize { UpsampleNearestNeighbor, UpsampleBilinear, ResizeNearestNeighbor, ResizeBilinear, Resize }
    rearrange { PixelShuffle, PixelUnshuffle, DepthToSpace, SpaceToDepth, SpaceToBatch, BatchToSpace }
    sample { Resample, Affine, CropResize, Crop }
    detect { NonMaximumSuppression }
}

/// The entries of all ops, by family.
pub fn specs() -> impl Iterator<Item = &'static OpSpec> {
    ENTRIES.iter().map(|entry| entry.0)
}

/// The entry of that name.
#[must_use]
pub fn spec(name: &str) -> Option<&'static OpSpec> {
    specs().find(|spec| spec.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::attr::AttrKind;

    #[test]
    fn names_are_unique_and_defaults_fit() {
        let mut names = BTreeSet::new();
        for (spec, from_attrs) in ENTRIES {
            assert!(names.insert(spec.name), "{} stands twice", spec.name);
            assert!(spec.doc.trim().ends_with(['.', '`', ')', ']']) || spec.doc.len() > 3);
            let none = vec![None; spec.attrs.len()];
            match (from_attrs(&none), spec.attrs.iter().position(|a| a.required)) {
                (Ok(op), None) => {
                    let values: Vec<_> = op.attrs().into_iter().map(Some).collect();
                    assert_eq!(op.defaults(), values);
                    assert_eq!(from_attrs(&values), Ok(op));
                }
                (Err(at), Some(required)) => assert_eq!(at, required, "{}", spec.name),
                (got, _) => panic!("{}: {got:?}", spec.name),
            }
            for attr in spec.attrs {
                if let AttrKind::Word(words) = attr.kind {
                    assert!(!words.is_empty());
                }
            }
        }
    }
}
