//! Attention layers that torch runs as one op in evaluation mode.

use mlc_ir::ops::{Add, Gelu, LogicalNot, ReduceMean, Relu, Transpose};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::DType;

use super::attention::Attention;
use super::linear::affine;
use crate::lower::Cx;
use crate::lower::alias::slice;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten._native_multi_head_attention", lower: multi_head },
    Lowering { name: "aten._transformer_encoder_layer_fwd", lower: encoder_layer },
];

/// The weights of a layer, and what tells how it cuts its operands.
struct Layer {
    /// `[3·E, E]`: those of queries, keys and values.
    qkv_weight: Value,
    qkv_bias: Value,
    proj_weight: Value,
    proj_bias: Value,
    width: Dim,
    heads: i64,
    /// True where a key is not attended to.
    mask: Option<Value>,
}

impl Layer {
    fn of(cx: &mut Cx<'_>, call: &Call<'_>, heads: &str) -> LowerResult<Self> {
        let width = call.dim("embed_dim")?;
        let heads = call.int(heads)?;
        let mut read = |name| cx.read(call.tensor(name)?);
        let (qkv_weight, qkv_bias) = (read("qkv_weight")?, read("qkv_bias")?);
        let (proj_weight, proj_bias) = (read("proj_weight")?, read("proj_bias")?);
        if heads < 1 || width.exact_div(&Dim::Const(heads)).is_none() {
            return Err(LowerError::invalid(format!("a width of {width} in {heads} heads")));
        }
        let mask = mask(cx, call)?;
        Ok(Self { qkv_weight, qkv_bias, proj_weight, proj_bias, width, heads, mask })
    }

    /// The part of weight and bias for queries (0), keys (1) or values (2), of `parts` parts.
    fn part(&self, cx: &mut Cx<'_>, from: i64, parts: i64) -> LowerResult<[Value; 2]> {
        let (start, end) =
            (self.width.mul(&Dim::Const(from)), self.width.mul(&Dim::Const(from + parts)));
        let range = (&start, &end, 1);
        Ok([slice(cx, self.qkv_weight, 0, range)?, slice(cx, self.qkv_bias, 0, range)?])
    }

    /// `[B, L, E]` as `[B, heads, L, E/heads]`.
    fn split(&self, cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
        let shape = cx.b.tensor(x)?.shape.clone();
        let [batch, length, width] = &shape[..] else {
            return Err(LowerError::invalid("attention over another rank than 3"));
        };
        let head = width.floor_div(&Dim::Const(self.heads));
        let to = [batch.clone(), length.clone(), Dim::Const(self.heads), head];
        let y = cx.reshape(x, &to)?;
        cx.unary(Transpose { perm: vec![0, 2, 1, 3] }, y)
    }

    /// The result, and the attention it was made with.
    fn run(&self, cx: &mut Cx<'_>, [q, k, v]: [Value; 3]) -> LowerResult<(Value, Attention)> {
        let mut heads = Vec::with_capacity(3);
        if q == k && k == v {
            let all = affine(cx, q, self.qkv_weight, Some(self.qkv_bias))?;
            for i in 0..3 {
                let start = self.width.mul(&Dim::Const(i));
                let end = start.add(&self.width);
                let one = slice(cx, all, 2, (&start, &end, 1))?;
                heads.push(self.split(cx, one)?);
            }
        } else {
            for (x, i) in [q, k, v].into_iter().zip(0..) {
                let [weight, bias] = self.part(cx, i, 1)?;
                let one = affine(cx, x, weight, Some(bias))?;
                heads.push(self.split(cx, one)?);
            }
        }
        let open = self.mask.map(|mask| cx.unary(LogicalNot {}, mask)).transpose()?;
        let attention = Attention::new([heads[0], heads[1], heads[2]], open);
        let y = attention.result(cx)?;
        let y = cx.unary(Transpose { perm: vec![0, 2, 1, 3] }, y)?;
        let shape = cx.b.tensor(q)?.shape.clone();
        let y = cx.reshape(y, &shape)?;
        Ok((affine(cx, y, self.proj_weight, Some(self.proj_bias))?, attention))
    }
}

/// The mask with axes as the scores have them; `mask_type` 0 is `[L, S]`, 1 `[B, S]`, 2 the whole.
fn mask(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Option<Value>> {
    let kind = call.opt_int("mask_type")?;
    let Some(mask) = call.opt_tensor("mask")? else { return Ok(None) };
    let mask = cx.read_as(mask, DType::Bool)?;
    let shape = cx.b.tensor(mask)?.shape.clone();
    match (kind, &shape[..]) {
        (Some(0), [_, _]) | (Some(2), [_, _, _, _]) => Ok(Some(mask)),
        (Some(1), [batch, keys]) => {
            let to = [batch.clone(), Dim::Const(1), Dim::Const(1), keys.clone()];
            cx.reshape(mask, &to).map(Some)
        }
        (kind, _) => {
            let rank = shape.len();
            Err(LowerError::argument(format!("`mask_type` {kind:?} of a mask of rank {rank}")))
        }
    }
}

fn multi_head(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let layer = Layer::of(cx, call, "num_head")?;
    let mut read = |name| cx.read(call.tensor(name)?);
    let operands = [read("query")?, read("key")?, read("value")?];
    let (y, attention) = layer.run(cx, operands)?;
    let mean = call.bool_or("average_attn_weights", true)?;
    let mut outputs = vec![cx.fresh(y)];
    outputs.push(if call.bool_or("need_weights", true)? {
        let mut weights = attention.weights(cx)?;
        if mean {
            weights = cx.unary(ReduceMean { axes: Some(vec![1]), keep_dims: false }, weights)?;
        }
        cx.fresh(weights)
    } else {
        Val::None
    });
    Ok(outputs)
}

/// A layer of a transformer's encoder: attention and two linear layers, each with a residual and a
/// norm, which comes before (`norm_first`) or after.
fn encoder_layer(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let layer = Layer::of(cx, call, "num_heads")?;
    let mut x = cx.read(call.tensor("src")?)?;
    let (gelu, before) = (call.bool_or("use_gelu", false)?, call.bool_or("norm_first", false)?);
    let epsilon = F64(call.float_or("eps", 1e-5)?);
    let mut pair = |kind: &str, i: i64| -> LowerResult<[Value; 2]> {
        let weight = cx.read(call.tensor(&format!("{kind}_weight_{i}"))?)?;
        Ok([weight, cx.read(call.tensor(&format!("{kind}_bias_{i}"))?)?])
    };
    let norms = [pair("norm", 1)?, pair("norm", 2)?];
    let [[up, up_bias], [down, down_bias]] = [pair("ffn", 1)?, pair("ffn", 2)?];
    let norm = |cx: &mut Cx<'_>, x: Value, [gamma, beta]: [Value; 2]| {
        super::norm::last_axis_norm(cx, x, ([Some(gamma), Some(beta)], epsilon))
    };
    for (i, parameters) in norms.into_iter().enumerate() {
        let inner = if before { norm(cx, x, parameters)? } else { x };
        let y = if i == 0 {
            layer.run(cx, [inner; 3])?.0
        } else {
            let hidden = affine(cx, inner, up, Some(up_bias))?;
            let hidden = if gelu {
                cx.unary(Gelu { mode: mlc_ir::attr::GeluMode::Exact }, hidden)?
            } else {
                cx.unary(Relu {}, hidden)?
            };
            affine(cx, hidden, down, Some(down_bias))?
        };
        x = cx.binary(Add {}, x, y)?;
        if !before {
            x = norm(cx, x, parameters)?;
        }
    }
    cx.one(x)
}
