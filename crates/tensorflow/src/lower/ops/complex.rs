//! Complex numbers as pairs of real and imaginary parts.

use mlc_ir::Value;
use mlc_ir::ops::{Abs, Add, Mul, RealDiv, Sqrt, Square, Sub};
use mlc_tensor::{DType, Tensor};

use super::elementwise::{atan2_value, negated};
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "Angle", lower: angle },
    Lowering { name: "Complex", lower: complex },
    Lowering { name: "ComplexAbs", lower: complex_abs },
    Lowering { name: "Conj", lower: conj },
    Lowering { name: "Imag", lower: imag },
    Lowering { name: "Real", lower: real },
];

/// Ops that treat real and imaginary parts alike, each on its own.
const PARTWISE: &[&str] = &[
    "Add",
    "AddN",
    "AddV2",
    "BatchToSpaceND",
    "BroadcastTo",
    "Concat",
    "ConcatV2",
    "Cumsum",
    "ExpandDims",
    "Gather",
    "GatherNd",
    "GatherV2",
    "MatrixDiag",
    "MatrixDiagPart",
    "Mean",
    "Neg",
    "Pack",
    "Pad",
    "Reshape",
    "Reverse",
    "ReverseV2",
    "Roll",
    "Select",
    "SelectV2",
    "Slice",
    "SpaceToBatchND",
    "Split",
    "SplitV",
    "Squeeze",
    "StridedSlice",
    "Sub",
    "Sum",
    "Tile",
    "Transpose",
    "Unpack",
    "ZerosLike",
];

/// Ops of two complex operands.
const BINARY: &[&str] = &["Mul", "RealDiv", "Div", "MatMul", "BatchMatMulV2", "BatchMatMul"];

/// Ops of one complex operand.
const UNARY: &[&str] = &["Abs", "Square", "Exp"];

/// Whether a call has a complex input and is lowered by [`Cx::partwise`].
pub(in crate::lower) fn is_partwise(call: &Call<'_>) -> bool {
    let complex = call.inputs().iter().any(|val| matches!(val, Val::Complex(..)));
    complex && [PARTWISE, BINARY, UNARY].iter().any(|list| list.contains(&call.op))
}

fn parts(call: &Call<'_>, index: usize) -> LowerResult<(Value, Value)> {
    match call.input(index)? {
        Val::Complex(re, im) => Ok((*re, *im)),
        other => Err(LowerError::invalid(format!("input {index} is {}", other.kind()))),
    }
}

impl Cx<'_> {
    /// A complex constant.
    pub(in crate::lower) fn complex_constant(&mut self, tensor: &Tensor) -> LowerResult<Val> {
        let dtype = if tensor.dtype() == DType::C128 { DType::F64 } else { DType::F32 };
        let size = dtype.size().unwrap_or(4);
        let bytes = tensor.bytes()?;
        let half = |first: bool| -> Vec<u8> {
            bytes
                .chunks_exact(2 * size)
                .flat_map(|pair| if first { &pair[..size] } else { &pair[size..] })
                .copied()
                .collect()
        };
        let re = Tensor::from_bytes(dtype, tensor.shape(), half(true))?;
        let im = Tensor::from_bytes(dtype, tensor.shape(), half(false))?;
        Ok(Val::Complex(self.b.constant(re)?, self.b.constant(im)?))
    }

    /// Lowers an op on complex numbers by ops on their parts.
    pub(in crate::lower) fn partwise(&mut self, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        if BINARY.contains(&call.op) {
            return self.complex_binary(call);
        }
        if UNARY.contains(&call.op) {
            return self.complex_unary(call);
        }
        let half = |first: bool| -> Vec<Val> {
            call.inputs()
                .iter()
                .map(|val| match val {
                    Val::Complex(re, im) => Val::Tensor(if first { *re } else { *im }),
                    other => other.clone(),
                })
                .collect()
        };
        let re = self.lower_call(&call.with_inputs(half(true)))?;
        let im = self.lower_call(&call.with_inputs(half(false)))?;
        re.into_iter()
            .zip(im)
            .map(|pair| match pair {
                (Val::Tensor(re), Val::Tensor(im)) => Ok(Val::Complex(re, im)),
                _ => Err(LowerError::argument("a result that is no tensor")),
            })
            .collect()
    }

    fn part_call(&mut self, call: &Call<'_>, a: Value, b: Value) -> LowerResult<Value> {
        let call = call.with_inputs(vec![Val::Tensor(a), Val::Tensor(b)]);
        match self.lower_call(&call)?.first() {
            Some(Val::Tensor(value)) => Ok(*value),
            _ => Err(LowerError::invalid("no result")),
        }
    }

    fn complex_binary(&mut self, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        let ((a, b), (c, d)) = (parts(call, 0)?, parts(call, 1)?);
        if call.op.ends_with("Div") {
            let (c2, d2) = (self.unary(Square {}, c)?, self.unary(Square {}, d)?);
            let norm = self.binary(Add {}, c2, d2)?;
            let (ac, bd) = (self.binary(Mul {}, a, c)?, self.binary(Mul {}, b, d)?);
            let (bc, ad) = (self.binary(Mul {}, b, c)?, self.binary(Mul {}, a, d)?);
            let (re, im) = (self.binary(Add {}, ac, bd)?, self.binary(Sub {}, bc, ad)?);
            let (re, im) = (self.binary(RealDiv {}, re, norm)?, self.binary(RealDiv {}, im, norm)?);
            return Ok(vec![Val::Complex(re, im)]);
        }
        // Adjoints of batched products are conjugated too.
        let (mut b, mut d) = (b, d);
        if call.bool_or("adj_x", false)? {
            b = negated(self, b)?;
        }
        if call.bool_or("adj_y", false)? {
            d = negated(self, d)?;
        }
        let (ac, bd) = (self.part_call(call, a, c)?, self.part_call(call, b, d)?);
        let (ad, bc) = (self.part_call(call, a, d)?, self.part_call(call, b, c)?);
        let (re, im) = (self.binary(Sub {}, ac, bd)?, self.binary(Add {}, ad, bc)?);
        Ok(vec![Val::Complex(re, im)])
    }

    fn complex_unary(&mut self, call: &Call<'_>) -> LowerResult<Vec<Val>> {
        let (re, im) = parts(call, 0)?;
        match call.op {
            "Square" => {
                let (a, b) = (self.unary(Square {}, re)?, self.unary(Square {}, im)?);
                let real = self.binary(Sub {}, a, b)?;
                let cross = self.binary(Mul {}, re, im)?;
                let two = self.scalar_like(re, 2.0)?;
                let imag = self.binary(Mul {}, cross, two)?;
                Ok(vec![Val::Complex(real, imag)])
            }
            "Exp" => {
                let size = self.unary(mlc_ir::ops::Exp {}, re)?;
                let (cos, sin) =
                    (self.unary(mlc_ir::ops::Cos {}, im)?, self.unary(mlc_ir::ops::Sin {}, im)?);
                let (re, im) = (self.binary(Mul {}, size, cos)?, self.binary(Mul {}, size, sin)?);
                Ok(vec![Val::Complex(re, im)])
            }
            _ => {
                let size = magnitude(self, re, im)?;
                self.one(size)
            }
        }
    }
}

/// `√(re² + im²)`
pub(super) fn magnitude(cx: &mut Cx<'_>, re: Value, im: Value) -> LowerResult<Value> {
    let (a, b) = (cx.unary(Square {}, re)?, cx.unary(Square {}, im)?);
    let sum = cx.binary(Add {}, a, b)?;
    cx.unary(Sqrt {}, sum)
}

fn complex(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (re, im) = (call.tensor(0)?, call.tensor(1)?);
    let shape = mlc_ir::infer::broadcast(&cx.shape(re)?, &cx.shape(im)?)?;
    let re = crate::lower::dims::expand(cx, re, &shape)?;
    let im = crate::lower::dims::expand(cx, im, &shape)?;
    Ok(vec![Val::Complex(re, im)])
}

fn real(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    match call.input(0)? {
        Val::Complex(re, _) => cx.one(*re),
        other => Ok(vec![other.clone()]),
    }
}

fn imag(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (_, im) = parts(call, 0)?;
    cx.one(im)
}

fn conj(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    match call.input(0)? {
        Val::Complex(re, im) => {
            let im = negated(cx, *im)?;
            Ok(vec![Val::Complex(*re, im)])
        }
        other => Ok(vec![other.clone()]),
    }
}

fn complex_abs(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let y = match call.input(0)? {
        Val::Complex(re, im) => magnitude(cx, *re, *im)?,
        _ => cx.unary(Abs {}, call.tensor(0)?)?,
    };
    cx.one(y)
}

fn angle(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (re, im) = parts(call, 0)?;
    let y = atan2_value(cx, im, re)?;
    cx.one(y)
}
