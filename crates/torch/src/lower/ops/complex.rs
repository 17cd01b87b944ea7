//! Complex numbers. The lowerings of [`COMPLEX`] stand in for those of the same name where an operand
//! is complex; see [`crate::lower::complex`].

use mlc_ir::ops::{
    Add, Atan, Concat, Cos, Exp, FillLike, Greater, GreaterEqual, Less, Mul, RealDiv, Select, Sin,
    Sqrt, Sub,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::{DType, DTypeKind};

use super::reduction::one_axis;
use crate::lower::alias::View;
use crate::lower::call::Call;
use crate::lower::complex::real_of;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Scalar, TensorId, Val};
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.complex", lower: complex },
    Lowering { name: "aten.polar", lower: polar },
    Lowering { name: "aten.view_as_complex", lower: view_as_complex },
    Lowering { name: "aten.real", lower: same },
    Lowering { name: "aten.conj", lower: same },
    Lowering { name: "aten._conj", lower: same },
    Lowering { name: "aten.conj_physical", lower: same },
    Lowering { name: "aten._conj_physical", lower: same },
    Lowering { name: "aten.resolve_conj", lower: same },
    Lowering { name: "aten.resolve_neg", lower: same },
    Lowering { name: "aten.angle", lower: angle_of_real },
    Lowering { name: "aten.atan2", lower: atan2 },
];

pub(super) const COMPLEX: &[Lowering] = &[
    Lowering { name: "aten.view_as_real", lower: view_as_real },
    Lowering { name: "aten.real", lower: |cx, call| part(cx, call, 0) },
    Lowering { name: "aten.imag", lower: |cx, call| part(cx, call, 1) },
    Lowering { name: "aten.conj", lower: conj },
    Lowering { name: "aten._conj", lower: conj },
    Lowering { name: "aten.conj_physical", lower: conj },
    Lowering { name: "aten._conj_physical", lower: conj },
    Lowering { name: "aten.clone", lower: clone },
    Lowering { name: "aten.contiguous", lower: same_layout },
    Lowering { name: "aten.lift_fresh_copy", lower: clone },
    Lowering { name: "aten.to", lower: to },
    Lowering { name: "aten._to_copy", lower: to },
    Lowering { name: "aten.abs", lower: abs },
    Lowering { name: "aten.angle", lower: angle },
    Lowering { name: "aten.neg", lower: neg },
    Lowering { name: "aten.add", lower: |cx, call| sum(cx, call, false) },
    Lowering { name: "aten.sub", lower: |cx, call| sum(cx, call, true) },
    Lowering { name: "aten.mul", lower: mul },
    Lowering { name: "aten.div", lower: div },
    Lowering { name: "aten.square", lower: square },
    Lowering { name: "aten.reciprocal", lower: reciprocal },
    Lowering { name: "aten.exp", lower: exp },
    Lowering { name: "aten.matmul", lower: |cx, call| matmul(cx, call, "other") },
    Lowering { name: "aten.mm", lower: |cx, call| matmul(cx, call, "mat2") },
    Lowering { name: "aten.bmm", lower: |cx, call| matmul(cx, call, "mat2") },
    Lowering { name: "aten.cat", lower: |cx, call| joined(cx, call, false) },
    Lowering { name: "aten.stack", lower: |cx, call| joined(cx, call, true) },
    Lowering { name: "aten.pad", lower: each_part },
    Lowering { name: "aten.constant_pad_nd", lower: each_part },
    Lowering { name: "aten.roll", lower: along_axes },
    Lowering { name: "aten.flip", lower: along_axes },
    Lowering { name: "aten.index_select", lower: along_axes },
    Lowering { name: "aten.cumsum", lower: along_axes },
    Lowering { name: "aten.sum", lower: along_axes },
    Lowering { name: "aten.mean", lower: along_axes },
];

fn same(_: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    Ok(vec![Val::Tensor(call.tensor("self")?)])
}

fn complex(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (re, im) = (cx.read(call.tensor("real")?)?, cx.read(call.tensor("imag")?)?);
    let (re, im) = broadcast(cx, re, im)?;
    cx.one_complex(re, im)
}

/// Two values of one shape.
fn broadcast(cx: &mut Cx<'_>, x: Value, y: Value) -> LowerResult<(Value, Value)> {
    let (a, b) = (cx.b.tensor(x)?.shape.clone(), cx.b.tensor(y)?.shape.clone());
    if a == b {
        return Ok((x, y));
    }
    let rank = a.len().max(b.len());
    let at = |shape: &[Dim], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(Dim::Const(1), |i| shape[i].clone())
    };
    let shape: Vec<Dim> = (0..rank)
        .map(|axis| {
            let (m, n) = (at(&a, axis), at(&b, axis));
            if m.is(1) { n } else { m }
        })
        .collect();
    Ok((dims::expand(cx, x, &shape)?, dims::expand(cx, y, &shape)?))
}

/// `abs · (cos angle + i sin angle)`
fn polar(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (abs, angle) = (cx.read(call.tensor("abs")?)?, cx.read(call.tensor("angle")?)?);
    let (cos, sin) = (cx.unary(Cos {}, angle)?, cx.unary(Sin {}, angle)?);
    let (re, im) = (cx.binary(Mul {}, abs, cos)?, cx.binary(Mul {}, abs, sin)?);
    cx.one_complex(re, im)
}

fn view_as_complex(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    if !cx.shape(x)?.last().is_some_and(|last| last.is(2)) || !cx.dtype(x)?.is_float() {
        return Err(LowerError::invalid("the last axis has no two floats"));
    }
    Ok(vec![Val::Tensor(cx.as_complex(x, true)?)])
}

fn view_as_real(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    Ok(vec![Val::Tensor(cx.as_complex(call.tensor("self")?, false)?)])
}

fn part(cx: &mut Cx<'_>, call: &Call<'_>, index: i64) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let axis = cx.rank(x)?;
    let (re, im) = cx.parts(x)?;
    let value = if index == 0 { re } else { im.unwrap_or(re) };
    let pairs = cx.as_complex(x, false)?;
    let view = View::Select { axis, index: Dim::Const(index) };
    Ok(vec![Val::Tensor(cx.view_valued(pairs, view, value))])
}

/// The parts of a complex tensor.
fn parts(cx: &mut Cx<'_>, tensor: TensorId) -> LowerResult<(Value, Value)> {
    match cx.parts(tensor)? {
        (re, Some(im)) => Ok((re, im)),
        (re, None) => Ok((re, zeros(cx, re)?)),
    }
}

fn zeros(cx: &mut Cx<'_>, like: Value) -> LowerResult<Value> {
    let zero = cx.b.scalar(cx.b.tensor(like)?.dtype, 0.0)?;
    Ok(FillLike {}.build(&mut cx.b, like, Some(zero))?)
}

fn minus(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let factor = cx.b.scalar(cx.b.tensor(x)?.dtype, -1.0)?;
    cx.binary(Mul {}, x, factor)
}

fn conj(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (re, im) = parts(cx, call.tensor("self")?)?;
    let im = minus(cx, im)?;
    cx.one_complex(re, im)
}

fn clone(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["memory_format"]);
    let pairs = cx.pairs(call.tensor("self")?)?;
    Ok(vec![cx.fresh_complex(pairs)])
}

fn same_layout(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["memory_format"]);
    same(cx, call)
}

/// To or from complex numbers. The imaginary part is dropped by a conversion to reals.
fn to(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["device", "layout", "pin_memory", "non_blocking", "memory_format", "copy"]);
    let x = call.tensor("self")?;
    if call.has("other") {
        return Err(LowerError::argument("a conversion to the type of another tensor"));
    }
    let dtype = call.opt_dtype("dtype")?.unwrap_or(cx.dtype(x)?);
    if dtype.kind() != DTypeKind::Complex {
        let (re, _) = cx.parts(x)?;
        let y = cx.cast(re, dtype)?;
        return cx.one(y);
    }
    let (re, im) = parts(cx, x)?;
    let (re, im) = (cx.cast(re, real_of(dtype))?, cx.cast(im, real_of(dtype))?);
    cx.one_complex(re, im)
}

fn abs(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (re, im) = parts(cx, call.tensor("self")?)?;
    let y = magnitude(cx, re, im)?;
    cx.one(y)
}

/// `√(re² + im²)`, of numbers divided by the greater part, so that no square overflows.
pub(super) fn magnitude(cx: &mut Cx<'_>, re: Value, im: Value) -> LowerResult<Value> {
    let (re, im) = (cx.unary(mlc_ir::ops::Abs {}, re)?, cx.unary(mlc_ir::ops::Abs {}, im)?);
    let (high, low) =
        (cx.binary(mlc_ir::ops::Maximum {}, re, im)?, cx.binary(mlc_ir::ops::Minimum {}, re, im)?);
    let dtype = cx.b.tensor(high)?.dtype;
    let (zero, one) = (cx.b.scalar(dtype, 0.0)?, cx.b.scalar(dtype, 1.0)?);
    let some = cx.binary(Greater {}, high, zero)?;
    let divisor = Select {}.build(&mut cx.b, some, high, one)?;
    let ratio = cx.binary(RealDiv {}, low, divisor)?;
    let square = cx.binary(Mul {}, ratio, ratio)?;
    let square = cx.binary(Add {}, square, one)?;
    let root = cx.unary(Sqrt {}, square)?;
    cx.binary(Mul {}, high, root)
}

/// The angle of `(x, y)`: the arctangent of `y / x`, half a turn further on the left. On the axes:
/// ±π/2 above and below, 0 at the origin.
pub(super) fn atan2_of(cx: &mut Cx<'_>, y: Value, x: Value) -> LowerResult<Value> {
    let dtype = cx.b.tensor(x)?.dtype;
    let (zero, one) = (cx.b.scalar(dtype, 0.0)?, cx.b.scalar(dtype, 1.0)?);
    let pi = std::f64::consts::PI;
    let on_axis = cx.binary(mlc_ir::ops::Equal {}, x, zero)?;
    let divisor = Select {}.build(&mut cx.b, on_axis, one, x)?;
    let slope = cx.binary(RealDiv {}, y, divisor)?;
    let slope = cx.unary(Atan {}, slope)?;
    let (half, minus_half) = (cx.b.scalar(dtype, pi)?, cx.b.scalar(dtype, -pi)?);
    let upper = cx.binary(GreaterEqual {}, y, zero)?;
    let turn = Select {}.build(&mut cx.b, upper, half, minus_half)?;
    let left = cx.binary(Less {}, x, zero)?;
    let turned = cx.binary(Add {}, slope, turn)?;
    let angle = Select {}.build(&mut cx.b, left, turned, slope)?;
    let (up, down) = (cx.b.scalar(dtype, pi / 2.0)?, cx.b.scalar(dtype, -pi / 2.0)?);
    let above = cx.binary(Greater {}, y, zero)?;
    let below = cx.binary(Less {}, y, zero)?;
    let vertical = Select {}.build(&mut cx.b, below, down, y)?;
    let vertical = Select {}.build(&mut cx.b, above, up, vertical)?;
    Ok(Select {}.build(&mut cx.b, on_axis, vertical, angle)?)
}

fn atan2(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (y, x) = (call.operand("self")?, call.operand("other")?);
    let dtype = cx.promoted(&[&y, &x])?;
    let dtype = if dtype.is_float() { dtype } else { DType::F32 };
    let (y, x) = (cx.operand(&y, dtype)?, cx.operand(&x, dtype)?);
    let (y, x) = broadcast(cx, y, x)?;
    let angle = atan2_of(cx, y, x)?;
    cx.one(angle)
}

fn angle(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (re, im) = parts(cx, call.tensor("self")?)?;
    let angle = atan2_of(cx, im, re)?;
    cx.one(angle)
}

/// π of negative numbers, 0 of others, NaN of NaN.
fn angle_of_real(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = super::unary::float_operand(cx, call)?;
    let dtype = cx.b.tensor(x)?.dtype;
    let (zero, pi) = (cx.b.scalar(dtype, 0.0)?, cx.b.scalar(dtype, std::f64::consts::PI)?);
    let below = cx.binary(Less {}, x, zero)?;
    let y = Select {}.build(&mut cx.b, below, pi, zero)?;
    let nan = cx.binary(mlc_ir::ops::NotEqual {}, x, x)?;
    let y = Select {}.build(&mut cx.b, nan, x, y)?;
    cx.one(y)
}

fn neg(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let pairs = cx.pairs(call.tensor("self")?)?;
    let pairs = minus(cx, pairs)?;
    Ok(vec![cx.fresh_complex(pairs)])
}

/// An operand: real and imaginary part.
#[derive(Clone, Copy)]
struct Number {
    re: Value,
    im: Option<Value>,
}

/// Both operands in the element type of the result.
fn operands(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<[Number; 2]> {
    let names = ["self", "other"];
    let mut wide = false;
    for name in names {
        if let Some(Val::Tensor(tensor)) = call.get(name) {
            wide |= cx.rank(*tensor)? > 0 && matches!(cx.dtype(*tensor)?, DType::F64 | DType::C128);
        }
    }
    let dtype = if wide { DType::F64 } else { DType::F32 };
    let mut number = |name: &str| -> LowerResult<Number> {
        match call.get(name) {
            Some(Val::Tensor(tensor)) => {
                let (re, im) = cx.parts(*tensor)?;
                let im = im.map(|im| cx.cast(im, dtype)).transpose()?;
                Ok(Number { re: cx.cast(re, dtype)?, im })
            }
            Some(Val::Complex(re, im)) => {
                let (re, im) = (cx.b.scalar(dtype, *re)?, cx.b.scalar(dtype, *im)?);
                Ok(Number { re, im: Some(im) })
            }
            _ => Ok(Number { re: cx.number(&call.scalar(name)?, dtype)?, im: None }),
        }
    };
    Ok([number(names[0])?, number(names[1])?])
}

fn finish(cx: &mut Cx<'_>, re: Value, im: Value) -> LowerResult<Vec<Val>> {
    let (re, im) = broadcast(cx, re, im)?;
    cx.one_complex(re, im)
}

/// `x ± alpha · y`
fn sum(cx: &mut Cx<'_>, call: &Call<'_>, subtract: bool) -> LowerResult<Vec<Val>> {
    let alpha = call.opt_scalar("alpha")?.unwrap_or(Scalar::Int(1.into()));
    let [x, mut y] = operands(cx, call)?;
    if alpha.as_f64() != Some(1.0) {
        let factor = cx.number(&alpha, cx.b.tensor(y.re)?.dtype)?;
        y.re = cx.binary(Mul {}, y.re, factor)?;
        y.im = y.im.map(|im| cx.binary(Mul {}, im, factor)).transpose()?;
    }
    let mut both = |a: Value, b: Value| match subtract {
        true => cx.binary(Sub {}, a, b),
        false => cx.binary(Add {}, a, b),
    };
    let re = both(x.re, y.re)?;
    let im = match (x.im, y.im) {
        (Some(a), Some(b)) => both(a, b)?,
        (Some(a), None) => a,
        (None, Some(b)) if subtract => minus(cx, b)?,
        (None, Some(b)) => b,
        (None, None) => zeros(cx, re)?,
    };
    finish(cx, re, im)
}

fn product(cx: &mut Cx<'_>, x: Number, y: Number) -> LowerResult<(Value, Value)> {
    let re = cx.binary(Mul {}, x.re, y.re)?;
    Ok(match (x.im, y.im) {
        (Some(a), Some(b)) => {
            let square = cx.binary(Mul {}, a, b)?;
            let (left, right) = (cx.binary(Mul {}, x.re, b)?, cx.binary(Mul {}, a, y.re)?);
            (cx.binary(Sub {}, re, square)?, cx.binary(Add {}, left, right)?)
        }
        (Some(a), None) => (re, cx.binary(Mul {}, a, y.re)?),
        (None, Some(b)) => (re, cx.binary(Mul {}, x.re, b)?),
        (None, None) => (re, zeros(cx, re)?),
    })
}

fn mul(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let [x, y] = operands(cx, call)?;
    let (re, im) = product(cx, x, y)?;
    finish(cx, re, im)
}

/// `1 / (c + di)`, by the ratio of the smaller part to the greater, so that no square overflows.
fn inverse(cx: &mut Cx<'_>, c: Value, d: Value) -> LowerResult<(Value, Value)> {
    let (abs_c, abs_d) = (cx.unary(mlc_ir::ops::Abs {}, c)?, cx.unary(mlc_ir::ops::Abs {}, d)?);
    let real = cx.binary(GreaterEqual {}, abs_c, abs_d)?;
    let high = Select {}.build(&mut cx.b, real, c, d)?;
    let low = Select {}.build(&mut cx.b, real, d, c)?;
    let ratio = cx.binary(RealDiv {}, low, high)?;
    let rest = cx.binary(Mul {}, low, ratio)?;
    let sum = cx.binary(Add {}, high, rest)?;
    let one = cx.b.scalar(cx.b.tensor(sum)?.dtype, 1.0)?;
    let major = cx.binary(RealDiv {}, one, sum)?;
    let minor = cx.binary(RealDiv {}, ratio, sum)?;
    let re = Select {}.build(&mut cx.b, real, major, minor)?;
    let im = Select {}.build(&mut cx.b, real, minor, major)?;
    Ok((re, minus(cx, im)?))
}

fn div(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    if let Some(mode) = call.opt_str("rounding_mode")? {
        return Err(LowerError::argument(format!("a complex quotient rounded by `{mode}`")));
    }
    let [x, y] = operands(cx, call)?;
    let (re, im) = match y.im {
        Some(im) => {
            let (c, d) = broadcast(cx, y.re, im)?;
            let (re, im) = inverse(cx, c, d)?;
            product(cx, x, Number { re, im: Some(im) })?
        }
        None => {
            let re = cx.binary(RealDiv {}, x.re, y.re)?;
            let im = match x.im {
                Some(im) => cx.binary(RealDiv {}, im, y.re)?,
                None => zeros(cx, re)?,
            };
            (re, im)
        }
    };
    finish(cx, re, im)
}

fn square(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (re, im) = parts(cx, call.tensor("self")?)?;
    let x = Number { re, im: Some(im) };
    let (re, im) = product(cx, x, x)?;
    cx.one_complex(re, im)
}

fn reciprocal(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (re, im) = parts(cx, call.tensor("self")?)?;
    let (re, im) = inverse(cx, re, im)?;
    cx.one_complex(re, im)
}

fn exp(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (re, im) = parts(cx, call.tensor("self")?)?;
    let scale = cx.unary(Exp {}, re)?;
    let (cos, sin) = (cx.unary(Cos {}, im)?, cx.unary(Sin {}, im)?);
    let (re, im) = (cx.binary(Mul {}, scale, cos)?, cx.binary(Mul {}, scale, sin)?);
    cx.one_complex(re, im)
}

fn matmul(cx: &mut Cx<'_>, call: &Call<'_>, other: &str) -> LowerResult<Vec<Val>> {
    let (a, b) = parts(cx, call.tensor("self")?)?;
    let (c, d) = parts(cx, call.tensor(other)?)?;
    let mut product = |x, y| super::linear::matmul(cx, x, y);
    let (ac, bd, ad, bc) = (product(a, c)?, product(b, d)?, product(a, d)?, product(b, c)?);
    let (re, im) = (cx.binary(Sub {}, ac, bd)?, cx.binary(Add {}, ad, bc)?);
    cx.one_complex(re, im)
}

/// `cat` and `stack`: of the pairs, along the axis counted from the front.
fn joined(cx: &mut Cx<'_>, call: &Call<'_>, stack: bool) -> LowerResult<Vec<Val>> {
    let tensors = call.tensors("tensors")?;
    let mut wide = false;
    for &tensor in &tensors {
        wide |= matches!(cx.dtype(tensor)?, DType::F64 | DType::C128);
    }
    let dtype = if wide { DType::F64 } else { DType::F32 };
    let mut all = Vec::with_capacity(tensors.len());
    for &tensor in &tensors {
        let (re, im) = parts(cx, tensor)?;
        let (re, im) = (cx.cast(re, dtype)?, cx.cast(im, dtype)?);
        all.push(cx.join_pairs(re, im)?);
    }
    let Some(&first) = all.first() else { return Err(LowerError::invalid("nothing to join")) };
    let rank = cx.b.tensor(first)?.rank() - 1 + usize::from(stack);
    let axis = one_axis(call.int_or("dim", 0)?, rank)?.unwrap_or(0) as i64;
    let pairs = match stack {
        true => mlc_ir::ops::Stack { axis }.build(&mut cx.b, all)?,
        false => Concat { axis, interleave: false }.build(&mut cx.b, all)?,
    };
    Ok(vec![cx.fresh_complex(pairs)])
}

/// Padding, of the real and of the imaginary part.
fn each_part(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (re, im) = parts(cx, call.tensor("self")?)?;
    if call.opt_float("value")?.is_some_and(|value| value != 0.0) {
        return Err(LowerError::argument("complex numbers padded with another number than 0"));
    }
    let args: Vec<(&str, Val)> =
        call.all().filter(|(name, _)| *name != "self").map(|(n, val)| (n, val.clone())).collect();
    let mut padded = |part: Value| -> LowerResult<Value> {
        let mut args = args.clone();
        args.push(("self", cx.fresh(part)));
        let result = cx.call_tensor(&call.op, &args)?;
        cx.read(result)
    };
    let (re, im) = (padded(re)?, padded(im)?);
    cx.one_complex(re, im)
}

/// Ops that treat all places off their axes alike, so that they act on pairs as on numbers.
fn along_axes(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor("self")?;
    let rank = cx.rank(x)?;
    if !cx.is_complex(x) {
        return Err(LowerError::dtype("a conversion to complex numbers within another op")
            .help("convert the tensor with `.to(torch.complex64)` first"));
    }
    let dtype = cx.dtype(x)?;
    let whole = !call.has("dims") && !call.has("dim");
    if whole && !matches!(call.op.as_str(), "aten.sum" | "aten.mean") {
        return Err(LowerError::argument("complex numbers along no axis"));
    }
    let fixed = |dim: &Val| match dim {
        Val::Int(dim) => match dim.as_const() {
            Some(n) if n < 0 => Val::Int(Dim::Const(n + rank as i64)),
            _ => Val::Int(dim.clone()),
        },
        val => val.clone(),
    };
    let pairs = cx.as_complex(x, false)?;
    let mut args: Vec<(&str, Val)> = Vec::new();
    for (name, val) in call.all() {
        let val = match (name, val) {
            ("self", _) => Val::Tensor(pairs),
            ("dtype", Val::DType(wanted)) if *wanted == dtype => continue,
            ("dtype", Val::None) => continue,
            ("dtype", _) => return Err(LowerError::argument("a change of the element type")),
            ("dim" | "dims", Val::List(items)) if !items.is_empty() => {
                Val::List(items.iter().map(fixed).collect())
            }
            ("dim" | "dims", Val::Int(_)) => fixed(val),
            ("dim" | "dims", _) => continue,
            (_, val) => val.clone(),
        };
        args.push((name, val));
    }
    let unset = !args.iter().any(|(name, _)| matches!(*name, "dim" | "dims"));
    if unset {
        args.push(("dim", Val::List((0..rank as i64).map(|n| Val::Int(n.into())).collect())));
    }
    if unset && rank == 0 {
        return clone(cx, call);
    }
    let result = cx.call_tensor(&call.op, &args)?;
    Ok(vec![Val::Tensor(cx.as_complex(result, true)?)])
}
