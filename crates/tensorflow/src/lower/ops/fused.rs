//! Ops that other ops were fused into: by the optimizer of graphs, or by tools that prepare models.

use mlc_ir::attr::GeluMode;
use mlc_ir::ops::{Add, Elu, Gelu, LeakyRelu, Relu, Relu6, Sigmoid, Tanh};
use mlc_ir::{F64, Op, Value};

use super::conv::{conv_values, depthwise_value};
use super::elementwise::bias_added;
use super::linear::product;
use super::norm::{BatchNormInputs, batch_norm_values};
use super::resize::bilinear_legacy;
use super::slice::mirrored;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "FusedPadConv2D", lower: fused_pad_conv },
    Lowering { name: "FusedResizeAndPadConv2D", lower: fused_resize_and_pad_conv },
    Lowering { name: "_FusedBatchNormEx", lower: fused_batch_norm_ex },
    Lowering { name: "_FusedConv2D", lower: fused_conv },
    Lowering { name: "_FusedDepthwiseConv2dNative", lower: fused_depthwise },
    Lowering { name: "_FusedMatMul", lower: fused_matmul },
];

fn fused_conv(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    plain_filter(call)?;
    let y = conv_values(cx, call, (call.tensor(0)?, call.tensor(1)?), 2)?;
    finished(cx, call, y)
}

fn fused_depthwise(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    plain_filter(call)?;
    let y = depthwise_value(cx, call)?;
    finished(cx, call, y)
}

fn fused_matmul(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let flags = (call.bool_or("transpose_a", false)?, call.bool_or("transpose_b", false)?);
    let y = product(cx, call.tensor(0)?, call.tensor(1)?, flags)?;
    finished(cx, call, y)
}

/// Checks that filters are `[h, w, in, out]`, and that no input stands apart from the others.
fn plain_filter(call: &Call<'_>) -> LowerResult<()> {
    match call.text_or("filter_format", "HWIO")? {
        "HWIO" => {}
        other => return Err(LowerError::argument(format!("`filter_format` is `{other}`"))),
    }
    match call.int_or("num_host_args", 0)? {
        0 => Ok(()),
        n => Err(LowerError::argument(format!("`num_host_args` is {n}"))),
    }
}

/// `y` after the ops that `fused_ops` lists; inputs from number 2 on are theirs.
fn finished(cx: &mut Cx<'_>, call: &Call<'_>, mut y: Value) -> LowerResult<Vec<Val>> {
    call.ignore(&["num_args"]);
    let alpha = call.float_or("leakyrelu_alpha", 0.2)?;
    let epsilon = call.float_or("epsilon", 1e-4)?;
    let mut next = 2;
    for name in call.texts("fused_ops")? {
        let op: Op = match name {
            "BiasAdd" => {
                y = bias_added(cx, call, (y, call.tensor(next)?))?;
                next += 1;
                continue;
            }
            "FusedBatchNorm" => {
                let inputs = BatchNormInputs::of(cx, call, y, (next, epsilon))?;
                y = batch_norm_values(cx, &inputs)?;
                next += 4;
                continue;
            }
            "Add" => {
                y = cx.binary(Add {}, y, call.tensor(next)?)?;
                next += 1;
                continue;
            }
            "Elu" => Elu { alpha: F64(1.0) }.into(),
            "GeluApproximate" => Gelu { mode: GeluMode::TanhApproximation }.into(),
            "GeluExact" => Gelu { mode: GeluMode::Exact }.into(),
            "LeakyRelu" => LeakyRelu { alpha: F64(alpha) }.into(),
            "Relu" => Relu {}.into(),
            "Relu6" => Relu6 {}.into(),
            "Sigmoid" => Sigmoid {}.into(),
            "Tanh" => Tanh {}.into(),
            other => {
                return Err(LowerError::argument(format!("`fused_ops` holds `{other}`")).help(
                    "convert the graph as it was before it was optimized for one kind of device",
                ));
            }
        };
        y = cx.unary(op, y)?;
    }
    cx.one(y)
}

/// Batch normalization, then a second input added, then an activation.
fn fused_batch_norm_ex(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut vals = super::norm::fused_batch_norm(cx, call)?;
    let Some(Val::Tensor(mut y)) = vals.first().cloned() else {
        return Err(LowerError::invalid("no result"));
    };
    match call.int_or("num_side_inputs", 0)? {
        0 => {}
        1 => y = cx.binary(Add {}, y, call.tensor(5)?)?,
        n => return Err(LowerError::invalid(format!("`num_side_inputs` is {n}"))),
    }
    match call.text_or("activation_mode", "Identity")? {
        "Identity" => {}
        "Relu" => y = cx.unary(Relu {}, y)?,
        other => return Err(LowerError::argument(format!("`activation_mode` is `{other}`"))),
    }
    vals[0] = Val::Tensor(y);
    Ok(vals)
}

fn fused_pad_conv(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = mirrored(cx, call, (call.tensor(0)?, call.tensor(1)?))?;
    let y = conv_values(cx, call, (x, call.tensor(2)?), 2)?;
    cx.one(y)
}

fn fused_resize_and_pad_conv(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let corners = call.bool_or("resize_align_corners", false)?;
    let x = bilinear_legacy(cx, (call.tensor(0)?, call.tensor(1)?), corners)?;
    let x = mirrored(cx, call, (x, call.tensor(2)?))?;
    let y = conv_values(cx, call, (x, call.tensor(3)?), 2)?;
    cx.one(y)
}
