//! The typed form of an op's signature.

use std::collections::BTreeMap;
use std::fmt;

use crate::{DataType, Opset};

/// What one op takes and gives from one opset on.
#[derive(Debug, Clone, PartialEq)]
pub struct OpSignature {
    /// The op's name.
    pub name: &'static str,
    /// The first opset with this signature. It holds until the next one of the same op.
    pub since: Opset,
    /// The parameters, in MIL's order.
    pub params: Vec<Param>,
    /// The dtypes each domain allows. All arguments of one domain have the same dtype.
    pub domains: BTreeMap<&'static str, Vec<DataType>>,
    /// How many results there are.
    pub outputs: Outputs,
    /// The op exists in the model file only: reference tools make it while writing, not in their own programs.
    pub serialized_only: bool,
}

impl OpSignature {
    /// The parameter of this name.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }

    /// The dtypes an argument for `param` may have; `None` when the signature does not restrict them.
    pub fn allowed<'a>(&'a self, param: &'a Param) -> Option<&'a [DataType]> {
        match &param.dtype {
            ParamDtype::Fixed(dtype) => Some(std::slice::from_ref(dtype)),
            ParamDtype::OneOf(dtypes) => Some(dtypes),
            ParamDtype::Domain(id) => self.domains.get(id).map(Vec::as_slice),
            ParamDtype::Untyped => None,
        }
    }
}

/// One parameter of an op.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// The name, unique in the signature.
    pub name: &'static str,
    /// What is bound to it.
    pub kind: ParamKind,
    /// The element type of a tensor.
    pub dtype: ParamDtype,
    /// The value must be known when the model is compiled.
    pub constant: bool,
    /// The argument may be left out.
    pub optional: bool,
    /// What holds when the argument is left out. `None` on an optional parameter: it may be absent, and the op's
    /// meaning says what that is.
    pub default: Option<DefaultValue>,
}

/// What is bound to a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParamKind {
    /// A tensor or scalar.
    Tensor,
    /// Any number of values under one argument.
    Tuple,
    /// A MIL list.
    List,
    /// A state.
    State,
    /// A nested block.
    Block,
    /// A tensor, list or dictionary.
    Any,
    /// A literal that is part of the op.
    Internal,
}

impl ParamKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Tensor,
        Self::Tuple,
        Self::List,
        Self::State,
        Self::Block,
        Self::Any,
        Self::Internal,
    ];

    /// The kind in lower case, such as `tuple`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::Tuple => "tuple",
            Self::List => "list",
            Self::State => "state",
            Self::Block => "block",
            Self::Any => "any",
            Self::Internal => "internal",
        }
    }
}

/// The element types a parameter allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamDtype {
    /// This one.
    Fixed(DataType),
    /// Any of these.
    OneOf(Vec<DataType>),
    /// Those of a domain of the signature.
    Domain(&'static str),
    /// Not restricted, or not a tensor.
    Untyped,
}

/// How many results an op has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// This many.
    Exactly(usize),
    /// As many as the op's arguments or blocks say.
    Variadic,
    /// `count`, and one less when the boolean parameter `flag` is false.
    OneLessUnless {
        /// The number of results when `flag` is true.
        count: usize,
        /// The name of the parameter.
        flag: &'static str,
    },
}

/// What holds when an optional argument is left out.
///
/// Prints as in the data files, except that [`DefaultValue::Absent`] prints the words of [`Absence::name`].
#[derive(Debug, Clone, PartialEq)]
pub enum DefaultValue {
    /// An integer, also for parameters whose domain has floats.
    Int(i64),
    /// A float; the nearest value of the parameter's own dtype is meant.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A string.
    Str(&'static str),
    /// A vector.
    List(Vec<DefaultValue>),
    /// A value that depends on the other arguments.
    Formula(Formula),
    /// No value stands in; the op does something of its own.
    Absent(Absence),
}

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            // `Debug` keeps the point or exponent that tells a float from an integer.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Str(value) => write!(f, "\"{value}\""),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{value}")?;
                }
                f.write_str("]")
            }
            Self::Formula(formula) => f.write_str(formula.name()),
            Self::Absent(absence) => f.write_str(absence.name()),
        }
    }
}

/// A default that depends on the other arguments. In the names, `r` is the rank of `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Formula {
    /// Ones of the shape the parameter must have.
    Ones,
    /// Zeros of the shape the parameter must have.
    Zeros,
    /// A one for each spatial dim: `r - 2` of them.
    OnesPerSpatialDim,
    /// A zero for each end of each spatial dim: `2 * (r - 2)` of them.
    ZerosPerSpatialEnd,
    /// The axes `0` to `r - 1`.
    AllAxes,
    /// A zero for each row of `weight`, in the dtype of `weight`.
    ZerosPerWeightRow,
    /// The numbers from 0, one for each row of `boxes`.
    BoxNumbers,
}

impl Formula {
    /// All formulas.
    pub const ALL: [Self; 7] = [
        Self::Ones,
        Self::Zeros,
        Self::OnesPerSpatialDim,
        Self::ZerosPerSpatialEnd,
        Self::AllAxes,
        Self::ZerosPerWeightRow,
        Self::BoxNumbers,
    ];

    /// The formula as the data files spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ones => "ones",
            Self::Zeros => "zeros",
            Self::OnesPerSpatialDim => "ones(r-2)",
            Self::ZerosPerSpatialEnd => "zeros(2*(r-2))",
            Self::AllAxes => "range(r)",
            Self::ZerosPerWeightRow => "zeros(weight.shape[0])",
            Self::BoxNumbers => "arange(boxes.shape[0])",
        }
    }

    /// The vector for an `x` of rank `rank`; `None` for formulas that depend on more than the rank, and for a rank
    /// without spatial dims (below 3) or beyond [`crate::io::MAX_RANK`].
    pub fn of_rank(self, rank: usize) -> Option<Vec<i32>> {
        if rank > crate::io::MAX_RANK {
            return None;
        }
        let spatial = rank.checked_sub(2).filter(|&dims| dims > 0);
        match self {
            Self::OnesPerSpatialDim => spatial.map(|dims| vec![1; dims]),
            Self::ZerosPerSpatialEnd => spatial.map(|dims| vec![0; 2 * dims]),
            Self::AllAxes => Some((0..).take(rank).collect()),
            Self::Ones | Self::Zeros | Self::ZerosPerWeightRow | Self::BoxNumbers => None,
        }
    }
}

/// What an op does when an argument without a default value is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Absence {
    /// Works the value out from the other arguments.
    Computed,
    /// Acts as if it were zero.
    Zero,
    /// Takes the entries of the table as scalars; illegal for entries that are longer vectors.
    ScalarEntries,
    /// Has one value for the whole tensor.
    PerTensor,
    /// Masks nothing.
    NoMask,
    /// Works on all axes.
    AllAxes,
    /// Makes as many parts as `split_sizes` has entries.
    SplitSizes,
    /// Makes parts of equal size.
    EqualParts,
    /// Removes every axis of size 1.
    UnitAxes,
    /// Does the opposite of `align_corners`.
    NotAlignCorners,
}

impl Absence {
    /// All cases.
    pub const ALL: [Self; 10] = [
        Self::Computed,
        Self::Zero,
        Self::ScalarEntries,
        Self::PerTensor,
        Self::NoMask,
        Self::AllAxes,
        Self::SplitSizes,
        Self::EqualParts,
        Self::UnitAxes,
        Self::NotAlignCorners,
    ];

    /// The case as the data files spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Computed => "computed",
            Self::Zero => "zero",
            Self::ScalarEntries => "scalar-entries",
            Self::PerTensor => "per-tensor",
            Self::NoMask => "no-mask",
            Self::AllAxes => "all-axes",
            Self::SplitSizes => "split-sizes",
            Self::EqualParts => "equal-parts",
            Self::UnitAxes => "unit-axes",
            Self::NotAlignCorners => "not-align-corners",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Formula;

    #[test]
    fn formulas_of_the_rank() {
        assert_eq!(Formula::OnesPerSpatialDim.of_rank(4), Some(vec![1, 1]));
        assert_eq!(Formula::ZerosPerSpatialEnd.of_rank(3), Some(vec![0, 0]));
        assert_eq!(Formula::AllAxes.of_rank(3), Some(vec![0, 1, 2]));
        assert_eq!(Formula::AllAxes.of_rank(0), Some(vec![]));
        for formula in Formula::ALL {
            assert_eq!(formula.of_rank(usize::MAX), None);
        }
        assert_eq!(Formula::OnesPerSpatialDim.of_rank(2), None);
        assert_eq!(Formula::Ones.of_rank(4), None);
    }
}
