//! One op on operands of given types, for tests of inference.

use mlc_tensor::DType;

use crate::builder::Builder;
use crate::dim::Dim;
use crate::infer::OpResult;
use crate::program::{Function, Program, Value};
use crate::types::{TensorType, Type};

/// A tensor type.
pub(crate) fn tensor(dtype: DType, shape: impl Into<Vec<Dim>>) -> TensorType {
    TensorType::new(dtype, shape)
}

/// The type of the tensor that `build` makes of arguments of these types.
pub(crate) fn infer_result(
    build: impl FnOnce(&mut Builder<'_>, &[Value]) -> OpResult<Value>,
    operands: &[TensorType],
) -> OpResult<TensorType> {
    let mut program = Program::new();
    let mut function = Function::new("main");
    let body = function.body;
    let values: Vec<Value> =
        operands.iter().map(|ty| function.add_arg(body, Type::Tensor(ty.clone()))).collect();
    let func = program.functions.push(function);
    let mut builder = Builder::new(&mut program, func);
    let value = build(&mut builder, &values)?;
    builder.tensor(value).cloned()
}
