//! The `Argument` union: an object with one key, which is the kind.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::union::union;
use super::{Float, Graph};

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Name {
    pub(crate) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) enum OptName {
    #[serde(rename = "as_tensor")]
    Tensor(Name),
    #[serde(rename = "as_none")]
    None(IgnoredAny),
}

/// A scalar that is a value of the graph or known.
#[derive(Debug, Clone, Deserialize)]
pub(crate) enum SymArg<T> {
    #[serde(rename = "as_name")]
    Name(String),
    #[serde(rename = "as_int", alias = "as_float", alias = "as_bool")]
    Known(T),
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeviceArg {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) index: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GraphArg {
    pub(crate) name: String,
    pub(crate) graph: Graph,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ObjectArg {
    pub(crate) name: String,
    #[serde(default, deserialize_with = "super::or_default")]
    pub(crate) class_fqn: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ComplexArg {
    pub(crate) real: Float,
    pub(crate) imag: Float,
}

#[derive(Debug)]
pub(crate) enum Argument {
    None(IgnoredAny),
    Tensor(Name),
    Tensors(Vec<Name>),
    OptTensor(OptName),
    OptTensors(Vec<OptName>),
    NestedTensors(Vec<Vec<Name>>),
    Int(i64),
    Ints(Vec<i64>),
    IntLists(Vec<Vec<i64>>),
    Float(Float),
    Floats(Vec<Float>),
    FloatLists(Vec<Vec<Float>>),
    Bool(bool),
    Bools(Vec<bool>),
    Str(String),
    Strs(Vec<String>),
    SymInt(SymArg<i64>),
    SymInts(Vec<SymArg<i64>>),
    SymFloat(SymArg<Float>),
    SymFloats(Vec<SymArg<Float>>),
    SymBool(SymArg<bool>),
    SymBools(Vec<SymArg<bool>>),
    ScalarType(i64),
    Layout(i64),
    MemoryFormat(i64),
    Device(DeviceArg),
    Graph(Box<GraphArg>),
    CustomObj(ObjectArg),
    Operator(String),
    Complex(ComplexArg),
    StrMap(StrMap),
    /// A kind that is not known, by its key.
    Unknown(String),
}

/// Arguments by name, in the order of the file.
#[derive(Debug)]
pub(crate) struct StrMap(pub(crate) Vec<(String, Argument)>);

impl<'de> Deserialize<'de> for StrMap {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct StrMapVisitor;
        impl<'de> Visitor<'de> for StrMapVisitor {
            type Value = StrMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of arguments")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StrMap, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(StrMap(pairs))
            }
        }
        input.deserialize_map(StrMapVisitor)
    }
}

union!(Argument {
    "as_none" => None,
    "as_tensor" => Tensor,
    "as_tensors" => Tensors,
    "as_optional_tensor" => OptTensor,
    "as_optional_tensors" => OptTensors,
    "as_nested_tensors" => NestedTensors,
    "as_int" => Int,
    "as_ints" => Ints,
    "as_int_lists" => IntLists,
    "as_float" => Float,
    "as_floats" => Floats,
    "as_float_lists" => FloatLists,
    "as_bool" => Bool,
    "as_bools" => Bools,
    "as_string" => Str,
    "as_strings" => Strs,
    "as_sym_int" => SymInt,
    "as_sym_ints" => SymInts,
    "as_sym_float" => SymFloat,
    "as_sym_floats" => SymFloats,
    "as_sym_bool" => SymBool,
    "as_sym_bools" => SymBools,
    "as_scalar_type" => ScalarType,
    "as_layout" => Layout,
    "as_memory_format" => MemoryFormat,
    "as_device" => Device,
    "as_graph" => Graph,
    "as_custom_obj" => CustomObj,
    "as_operator" => Operator,
    "as_complex" => Complex,
    "as_string_to_argument" => StrMap,
});
