//! Quantized tensors of torch, as the floats that they stand for.
//!
//! A quantized tensor holds `q` for `(q − zero_point) · scale`. Here it is that product: an op on it
//! computes with floats and rounds its result to the scale and zero point that it is given. What a
//! tensor was rounded to is kept beside it, as it is the type that results are rounded to.
//!
//! *Packed* weights are a list: the weight, the bias or None, and for convolutions stride, padding,
//! dilation and groups.

use mlc_ir::Dim;
use mlc_tensor::DType;

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{TensorId, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.quantize_per_tensor", lower: per_tensor },
    Lowering { name: "aten.quantize_per_channel", lower: per_channel },
    Lowering { name: "aten.dequantize", lower: dequantize },
    Lowering { name: "quantized.add", lower: |cx, call| pointwise(cx, call, ("aten.add", false)) },
    Lowering {
        name: "quantized.add_relu",
        lower: |cx, call| pointwise(cx, call, ("aten.add", true)),
    },
    Lowering { name: "quantized.mul", lower: |cx, call| pointwise(cx, call, ("aten.mul", false)) },
    Lowering {
        name: "quantized.mul_relu",
        lower: |cx, call| pointwise(cx, call, ("aten.mul", true)),
    },
    Lowering { name: "quantized.linear_prepack", lower: linear_prepack },
    Lowering { name: "quantized.linear_unpack", lower: linear_unpack },
    Lowering { name: "quantized.linear", lower: |cx, call| linear(cx, call, false) },
    Lowering { name: "quantized.linear_relu", lower: |cx, call| linear(cx, call, true) },
    Lowering { name: "quantized.conv1d_prepack", lower: conv_prepack },
    Lowering { name: "quantized.conv2d_prepack", lower: conv_prepack },
    Lowering { name: "quantized.conv3d_prepack", lower: conv_prepack },
    Lowering { name: "quantized.conv1d", lower: |cx, call| conv(cx, call, ("aten.conv1d", false)) },
    Lowering {
        name: "quantized.conv1d_relu",
        lower: |cx, call| conv(cx, call, ("aten.conv1d", true)),
    },
    Lowering { name: "quantized.conv2d", lower: |cx, call| conv(cx, call, ("aten.conv2d", false)) },
    Lowering {
        name: "quantized.conv2d_relu",
        lower: |cx, call| conv(cx, call, ("aten.conv2d", true)),
    },
    Lowering { name: "quantized.conv3d", lower: |cx, call| conv(cx, call, ("aten.conv3d", false)) },
    Lowering {
        name: "quantized.conv3d_relu",
        lower: |cx, call| conv(cx, call, ("aten.conv3d", true)),
    },
];

/// The floats nearest to `x` that `dtype` holds with these parameters, as quantizing and dequantizing
/// gives them.
fn rounded(
    cx: &mut Cx<'_>,
    x: TensorId,
    (kind, params): (&str, &[(&str, Val)]),
    dtype: DType,
) -> LowerResult<Vec<Val>> {
    let range = dtype.int_range().filter(|_| matches!(dtype, DType::I8 | DType::U8 | DType::I32));
    let (low, high) =
        range.ok_or_else(|| LowerError::dtype(format!("tensors quantized to {dtype}")))?;
    let mut args = params.to_vec();
    args.push(("quant_min", Val::Int(Dim::Const(low))));
    args.push(("quant_max", Val::Int(Dim::Const(high))));
    args.push(("dtype", Val::DType(dtype)));
    let mut whole = vec![("input", Val::Tensor(x))];
    whole.extend(args.iter().cloned());
    let q = cx.call_tensor(&format!("quantized_decomposed.quantize_per_{kind}"), &whole)?;
    whole[0].1 = Val::Tensor(q);
    let y = cx.call_tensor(&format!("quantized_decomposed.dequantize_per_{kind}"), &whole)?;
    cx.set_quantized(y, dtype);
    Ok(vec![Val::Tensor(y)])
}

/// An argument as it stands.
fn given(call: &Call<'_>, name: &str) -> LowerResult<Val> {
    let missing = || LowerError::invalid(format!("argument `{name}` is missing"));
    call.get(name).cloned().ok_or_else(missing)
}

fn dtype_of(call: &Call<'_>) -> LowerResult<DType> {
    call.opt_dtype("dtype")?.ok_or_else(|| LowerError::invalid("argument `dtype` is missing"))
}

fn per_tensor(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let params = [("scale", given(call, "scale")?), ("zero_point", given(call, "zero_point")?)];
    rounded(cx, call.tensor("self")?, ("tensor", &params), dtype_of(call)?)
}

fn per_channel(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let params = [
        ("scales", given(call, "scales")?),
        ("zero_points", given(call, "zero_points")?),
        ("axis", given(call, "axis")?),
    ];
    rounded(cx, call.tensor("self")?, ("channel", &params), dtype_of(call)?)
}

fn dequantize(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    if call.has("self") {
        let x = call.tensor("self")?;
        let x = cx.read_as(x, DType::F32)?;
        return cx.one(x);
    }
    let name = if call.has("tensors") { "tensors" } else { "qtensors" };
    let mut all = Vec::new();
    for x in call.tensors(name)? {
        let x = cx.read_as(x, DType::F32)?;
        all.push(cx.fresh(x));
    }
    Ok(vec![Val::List(all)])
}

/// The result of an op on a quantized tensor, rounded as that op was told to.
fn finished(
    cx: &mut Cx<'_>,
    y: TensorId,
    (relu, dtype): (bool, DType),
    params: [Val; 2],
) -> LowerResult<Vec<Val>> {
    let y = if relu { cx.call_tensor("aten.relu", &[("self", Val::Tensor(y))])? } else { y };
    let [scale, zero_point] = params;
    let params = [("scale", scale), ("zero_point", zero_point)];
    rounded(cx, y, ("tensor", &params), dtype)
}

fn quantized_type(cx: &Cx<'_>, x: TensorId) -> LowerResult<DType> {
    cx.quantized(x).ok_or_else(|| {
        LowerError::argument("the type that the operand is quantized to is not known")
            .help("quantize right before the op, or use `torch.ao.quantization.quantize_pt2e`")
    })
}

fn pointwise(cx: &mut Cx<'_>, call: &Call<'_>, (op, relu): (&str, bool)) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.tensor("qa")?, call.tensor("qb")?);
    let dtype = quantized_type(cx, a)?;
    let params = [given(call, "scale")?, given(call, "zero_point").unwrap_or(Val::Int(0.into()))];
    let y = cx.call_tensor(op, &[("self", Val::Tensor(a)), ("other", Val::Tensor(b))])?;
    finished(cx, y, (relu, dtype), params)
}

fn linear_prepack(_: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let bias = call.get("B").cloned().unwrap_or(Val::None);
    Ok(vec![Val::List(vec![Val::Tensor(call.tensor("W")?), bias])])
}

fn packed<'c>(call: &'c Call<'_>, name: &str, parts: usize) -> LowerResult<&'c [Val]> {
    match call.get(name) {
        Some(Val::List(items)) if items.len() == parts => Ok(items),
        _ => Err(LowerError::invalid(format!("`{name}` holds no packed weights"))),
    }
}

fn linear_unpack(_: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    Ok(packed(call, "W_prepack", 2)?.to_vec())
}

fn linear(cx: &mut Cx<'_>, call: &Call<'_>, relu: bool) -> LowerResult<Vec<Val>> {
    let x = call.tensor("X")?;
    let dtype = quantized_type(cx, x)?;
    let params =
        [given(call, "Y_scale_i")?, given(call, "Y_zero_point_i").unwrap_or(Val::Int(0.into()))];
    let [weight, bias] = packed(call, "W_prepack", 2)? else {
        return Err(LowerError::invalid("no packed weights"));
    };
    let args = [("input", Val::Tensor(x)), ("weight", weight.clone()), ("bias", bias.clone())];
    let y = cx.call_tensor("aten.linear", &args)?;
    finished(cx, y, (relu, dtype), params)
}

fn conv_prepack(_: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let bias = call.get("bias").cloned().unwrap_or(Val::None);
    let mut parts = vec![Val::Tensor(call.tensor("weight")?), bias];
    for name in ["stride", "padding", "dilation", "groups"] {
        parts.push(given(call, name)?);
    }
    Ok(vec![Val::List(parts)])
}

fn conv(cx: &mut Cx<'_>, call: &Call<'_>, (op, relu): (&str, bool)) -> LowerResult<Vec<Val>> {
    let x = call.tensor("qx")?;
    let dtype = quantized_type(cx, x)?;
    let params = [
        given(call, "output_scale")?,
        given(call, "output_zero_point").unwrap_or(Val::Int(0.into())),
    ];
    let parts = packed(call, "packed_weight", 6)?;
    let names = ["weight", "bias", "stride", "padding", "dilation", "groups"];
    let mut args = vec![("input", Val::Tensor(x))];
    args.extend(names.into_iter().zip(parts.iter().cloned()));
    let y = cx.call_tensor(op, &args)?;
    finished(cx, y, (relu, dtype), params)
}
