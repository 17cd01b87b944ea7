//! Attributes of nodes.

use std::sync::Arc;

use prost::bytes::Bytes;

use super::Graph;
use crate::constant::{Constant, ConstantError, constant};
use crate::file::ProtoFile;
use crate::proto::tensorflow::attr_value::Value;
use crate::proto::tensorflow::{AttrValue, TensorShapeProto};

/// A shape; extents that are not known are `None`, as is a whole shape of unknown rank.
pub type PartialShape = Option<Vec<Option<i64>>>;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attr {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
    /// A truth value.
    Bool(bool),
    /// Text, or any bytes.
    Text(Bytes),
    /// An element type, by its number.
    Type(i32),
    /// A shape.
    Shape(PartialShape),
    /// A constant.
    Tensor(Constant),
    /// A function of the library.
    Func(String),
    /// A graph that was made from nodes of this one.
    Graph(Arc<Graph>),
    /// Integers.
    Ints(Vec<i64>),
    /// Floats.
    Floats(Vec<f32>),
    /// Truth values.
    Bools(Vec<bool>),
    /// Texts.
    Texts(Vec<Bytes>),
    /// Element types.
    Types(Vec<i32>),
    /// Shapes.
    Shapes(Vec<PartialShape>),
    /// Functions of the library.
    Funcs(Vec<String>),
    /// A list of nothing, or no value.
    Empty,
    /// A parameter of the function around it.
    Parameter(String),
}

/// A shape as it is known.
pub(crate) fn partial_shape(proto: &TensorShapeProto) -> PartialShape {
    (!proto.unknown_rank)
        .then(|| proto.dim.iter().map(|dim| Some(dim.size).filter(|&n| n >= 0)).collect())
}

/// The attribute that `proto`, a part of `file`, holds.
///
/// # Errors
/// A constant does not fit its shape.
pub(super) fn attr(file: &ProtoFile, proto: &AttrValue) -> Result<Attr, ConstantError> {
    Ok(match &proto.value {
        None => Attr::Empty,
        Some(Value::S(bytes)) => Attr::Text(bytes.clone()),
        Some(Value::I(n)) => Attr::Int(*n),
        Some(Value::F(x)) => Attr::Float(*x),
        Some(Value::B(b)) => Attr::Bool(*b),
        Some(Value::Type(t)) => Attr::Type(*t),
        Some(Value::Shape(shape)) => Attr::Shape(partial_shape(shape)),
        Some(Value::Tensor(tensor)) => Attr::Tensor(constant(file, tensor)?),
        Some(Value::Placeholder(name)) => Attr::Parameter(name.clone()),
        Some(Value::Func(func)) => Attr::Func(func.name.clone()),
        Some(Value::List(list)) => {
            if !list.i.is_empty() {
                Attr::Ints(list.i.clone())
            } else if !list.f.is_empty() {
                Attr::Floats(list.f.clone())
            } else if !list.b.is_empty() {
                Attr::Bools(list.b.clone())
            } else if !list.s.is_empty() {
                Attr::Texts(list.s.clone())
            } else if !list.r#type.is_empty() {
                Attr::Types(list.r#type.clone())
            } else if !list.shape.is_empty() {
                Attr::Shapes(list.shape.iter().map(partial_shape).collect())
            } else if !list.func.is_empty() {
                Attr::Funcs(list.func.iter().map(|func| func.name.clone()).collect())
            } else {
                Attr::Empty
            }
        }
    })
}
