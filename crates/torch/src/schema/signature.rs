//! What the inputs and outputs of a graph stand for.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::union::union;
use super::{Argument, Float, Name, or_default};

#[derive(Debug)]
pub(crate) enum InputSpec {
    Parameter(ParameterInput),
    Buffer(BufferInput),
    TensorConstant(ConstantInput),
    CustomObj(ObjectInput),
    User(UserArg),
    Literal(LiteralInput),
    Token(TokenArg),
    /// A kind that is not known, by its key.
    Unknown(String),
}

#[derive(Debug, Deserialize)]
pub(crate) struct ParameterInput {
    pub(crate) arg: Name,
    pub(crate) parameter_name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BufferInput {
    pub(crate) arg: Name,
    pub(crate) buffer_name: String,
    #[serde(default = "yes")]
    pub(crate) persistent: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
pub(crate) struct ConstantInput {
    pub(crate) arg: Name,
    pub(crate) tensor_constant_name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ObjectInput {
    pub(crate) arg: Name,
    pub(crate) custom_obj_name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct UserArg {
    pub(crate) arg: Argument,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TokenArg {
    pub(crate) arg: Name,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LiteralInput {
    pub(crate) name: String,
    pub(crate) value: ConstantValue,
}

#[derive(Debug, Deserialize)]
pub(crate) enum ConstantValue {
    #[serde(rename = "as_none")]
    None(IgnoredAny),
    #[serde(rename = "as_int")]
    Int(i64),
    #[serde(rename = "as_float")]
    Float(Float),
    #[serde(rename = "as_string")]
    Str(String),
    #[serde(rename = "as_bool")]
    Bool(bool),
}

#[derive(Debug)]
pub(crate) enum OutputSpec {
    User(UserArg),
    BufferMutation(BufferOutput),
    InputMutation(InputOutput),
    ParameterMutation(ParameterOutput),
    Loss(TokenArg),
    GradientToParameter(ParameterOutput),
    GradientToInput(InputOutput),
    Token(TokenArg),
    /// A kind that is not known, by its key.
    Unknown(String),
}

#[derive(Debug, Deserialize)]
pub(crate) struct BufferOutput {
    pub(crate) arg: Name,
    pub(crate) buffer_name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct InputOutput {
    pub(crate) arg: Name,
    pub(crate) user_input_name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ParameterOutput {
    pub(crate) arg: Name,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) parameter_name: String,
}

union!(InputSpec {
    "parameter" => Parameter,
    "buffer" => Buffer,
    "tensor_constant" => TensorConstant,
    "custom_obj" => CustomObj,
    "user_input" => User,
    "constant_input" => Literal,
    "token" => Token,
});

union!(OutputSpec {
    "user_output" => User,
    "buffer_mutation" => BufferMutation,
    "user_input_mutation" => InputMutation,
    "parameter_mutation" => ParameterMutation,
    "loss_output" => Loss,
    "gradient_to_parameter" => GradientToParameter,
    "gradient_to_user_input" => GradientToInput,
    "token" => Token,
});
