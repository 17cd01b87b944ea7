//! Attention.

use mlc_ir::infer::{broadcast, meet};
use mlc_ir::ops::{
    Add, ExpandDims, Greater, LessEqual, LogicalAnd, Matmul, Mul, Range1d, ReduceLogSumExp,
    ReduceMax, ScaledDotProductAttention, Select, Softmax,
};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;
use crate::lower::{Cx, dims};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.scaled_dot_product_attention", lower: plain },
    Lowering { name: "aten._scaled_dot_product_attention_math", lower: math },
    Lowering {
        name: "aten._scaled_dot_product_flash_attention_for_cpu",
        lower: |cx, call| with_sums(cx, call, 0),
    },
    Lowering {
        name: "aten._scaled_dot_product_flash_attention",
        lower: |cx, call| with_sums(cx, call, 7),
    },
    Lowering {
        name: "aten._scaled_dot_product_efficient_attention",
        lower: |cx, call| with_sums(cx, call, 2),
    },
    Lowering {
        name: "aten._scaled_dot_product_cudnn_attention",
        lower: |cx, call| with_sums(cx, call, 7),
    },
    Lowering {
        name: "aten._scaled_dot_product_fused_attention_overrideable",
        lower: |cx, call| with_sums(cx, call, 7),
    },
];

/// Masks of at most this many elements are looked at.
const MOST_SEEN: usize = 1 << 22;

/// Operands of one rank of at least 3, of equal extents before the last two axes.
pub(super) struct Attention {
    query: Value,
    key: Value,
    value: Value,
    /// Added to the scores, or true where a key is attended to; its last axis is that of the keys.
    mask: Option<Value>,
    /// What scores are multiplied with, unless it is `1/√E`.
    scale: Option<f64>,
    /// Axes of extent 1 that were added in front.
    added: usize,
    /// Whether a query without keys gives zeros, not NaN.
    zeros: bool,
}

impl Attention {
    /// Attention of operands that fit each other, with the usual factor; a query without keys gives
    /// NaN.
    pub(super) fn new([query, key, value]: [Value; 3], mask: Option<Value>) -> Self {
        Self { query, key, value, mask, scale: None, added: 0, zeros: false }
    }

    fn of(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Self> {
        let mut read = |name| cx.read(call.tensor(name)?);
        let [query, key, value] = [read("query")?, read("key")?, read("value")?];
        if call.float_or("dropout_p", 0.0)? != 0.0 || call.has("dropout_mask") {
            return Err(super::housekeeping::training("attention with dropout"));
        }
        call.ignore(&["dropout_mask"]);
        let ranks = [query, key, value].map(|v| cx.b.tensor(v).map(|ty| ty.rank()));
        let [q, k, v] = ranks;
        let rank = q?.max(k?).max(v?);
        if rank < 2 {
            return Err(LowerError::invalid("attention of vectors"));
        }
        let name = if call.has("attn_bias") { "attn_bias" } else { "attn_mask" };
        let mask = call.opt_tensor(name)?.map(|mask| cx.read(mask)).transpose()?;
        let mut this = Self {
            query,
            key,
            value,
            mask,
            scale: call.opt_float("scale")?,
            added: 0,
            zeros: true,
        };
        if rank == 2 {
            this.added = 1;
            for operand in [&mut this.query, &mut this.key, &mut this.value] {
                *operand = ExpandDims { axes: vec![0] }.build(&mut cx.b, *operand)?;
            }
        }
        if call.bool_or("enable_gqa", false)? {
            this.key = repeat_heads(cx, this.key, this.query)?;
            this.value = repeat_heads(cx, this.value, this.query)?;
        }
        this.spread(cx)?;
        this.widen_mask(cx)?;
        if call.bool_or("is_causal", false)? {
            this.add_causal(cx)?;
        }
        Ok(this)
    }

    fn shape(&self, cx: &Cx<'_>, value: Value) -> LowerResult<Vec<Dim>> {
        Ok(cx.b.tensor(value)?.shape.clone())
    }

    /// Axes before the last two are broadcast, as a matrix product does; the op does not.
    fn spread(&mut self, cx: &mut Cx<'_>) -> LowerResult<()> {
        let all = [self.query, self.key, self.value];
        let mut batch: Vec<Dim> = Vec::new();
        for value in all {
            let shape = self.shape(cx, value)?;
            let own = shape.len().checked_sub(2).map(|n| &shape[..n]);
            batch = broadcast(&batch, own.unwrap_or_default())?;
        }
        for operand in [&mut self.query, &mut self.key, &mut self.value] {
            let shape = cx.b.tensor(*operand)?.shape.clone();
            let (own, last) = shape.split_at(shape.len().saturating_sub(2));
            // Extents that may be equal are left alone: only an extent of 1 is repeated.
            let missing = batch.len() - own.len();
            let mut to = batch.clone();
            for (to, own) in to[missing..].iter_mut().zip(own) {
                if !own.is(1) {
                    *to = own.clone();
                }
            }
            if to != own {
                to.extend_from_slice(last);
                *operand = dims::expand(cx, *operand, &to)?;
            }
        }
        Ok(())
    }

    /// Extents L and S of the scores.
    fn lengths(&self, cx: &Cx<'_>) -> LowerResult<[Dim; 2]> {
        let (query, key) = (self.shape(cx, self.query)?, self.shape(cx, self.key)?);
        let value = self.shape(cx, self.value)?;
        let at = query.len() - 2;
        Ok([query[at].clone(), meet(&key[at], &value[at])])
    }

    /// The last axis of the mask is not broadcast by the op.
    fn widen_mask(&mut self, cx: &mut Cx<'_>) -> LowerResult<()> {
        let Some(mask) = self.mask else { return Ok(()) };
        let ty = cx.b.tensor(mask)?.clone();
        let [_, keys] = self.lengths(cx)?;
        let mut shape = ty.shape.clone();
        match shape.last_mut() {
            None => {
                self.mask = Some(dims::expand(cx, mask, &[keys])?);
            }
            Some(last) if last.is(1) && !keys.is(1) => {
                *last = keys;
                self.mask = Some(dims::expand(cx, mask, &shape)?);
            }
            Some(_) => {}
        }
        if ty.dtype != DType::Bool {
            let dtype = cx.b.tensor(self.query)?.dtype;
            if let Some(mask) = self.mask {
                self.mask = Some(cx.cast(mask, dtype)?);
            }
        }
        Ok(())
    }

    /// Query `i` attends to keys `0 … i`.
    fn add_causal(&mut self, cx: &mut Cx<'_>) -> LowerResult<()> {
        let [rows, columns] = self.lengths(cx)?;
        let (queries, keys) = (positions(cx, &rows)?, positions(cx, &columns)?);
        let queries = ExpandDims { axes: vec![1] }.build(&mut cx.b, queries)?;
        let keys = ExpandDims { axes: vec![0] }.build(&mut cx.b, keys)?;
        let causal = cx.binary(LessEqual {}, keys, queries)?;
        let Some(mask) = self.mask else {
            self.mask = Some(causal);
            return Ok(());
        };
        let dtype = cx.b.tensor(mask)?.dtype;
        self.mask = Some(if dtype == DType::Bool {
            cx.binary(LogicalAnd {}, mask, causal)?
        } else {
            let never = cx.b.scalar(dtype, f64::NEG_INFINITY)?;
            Select {}.build(&mut cx.b, causal, mask, never)?
        });
        Ok(())
    }

    /// The query scaled so that the op's own factor `1/√E` gives the wanted one.
    fn scaled_query(&self, cx: &mut Cx<'_>) -> LowerResult<Value> {
        let Some(scale) = self.scale else { return Ok(self.query) };
        let ty = cx.b.tensor(self.query)?.clone();
        let width = ty.shape.last().and_then(Dim::as_const).ok_or_else(|| {
            LowerError::dynamic("`scale` for queries of unknown width")
                .help("export the model with that extent fixed")
        })?;
        let factor = scale * (width as f64).sqrt();
        if (factor - 1.0).abs() < 1e-9 {
            return Ok(self.query);
        }
        let factor = cx.b.scalar(ty.dtype, factor)?;
        cx.binary(Mul {}, self.query, factor)
    }

    /// The result of the op.
    pub(super) fn result(&self, cx: &mut Cx<'_>) -> LowerResult<Value> {
        let query = self.scaled_query(cx)?;
        let op = ScaledDotProductAttention {};
        let y = op.build(&mut cx.b, query, self.key, self.value, self.mask)?;
        self.guarded(cx, y)
    }

    /// `y`, zero where the mask leaves no key and zeros are wanted.
    fn guarded(&self, cx: &mut Cx<'_>, y: Value) -> LowerResult<Value> {
        let Some(attends) = self.attends(cx)? else { return Ok(y) };
        let zero = cx.b.scalar(cx.b.tensor(y)?.dtype, 0.0)?;
        Ok(Select {}.build(&mut cx.b, attends, y, zero)?)
    }

    /// Whether each query has a key, the axis of keys kept with extent 1; `None` where every one is
    /// known to have, or it does not matter.
    fn attends(&self, cx: &mut Cx<'_>) -> LowerResult<Option<Value>> {
        let Some(mask) = self.mask.filter(|_| self.zeros) else { return Ok(None) };
        let bounded =
            cx.b.tensor(mask)?.dtype.is_float() && largest(cx, mask, 0).is_some_and(f64::is_finite);
        if self.is_lower_triangle(cx, mask) || bounded || never_empty(cx, mask)? {
            return Ok(None);
        }
        let axes = Some(vec![-1]);
        let op = ReduceMax { axes, keep_dims: true };
        if cx.b.tensor(mask)?.dtype == DType::Bool {
            let number = cx.cast(mask, DType::I32)?;
            let any = cx.unary(op, number)?;
            return cx.cast(any, DType::Bool).map(Some);
        }
        let greatest = cx.unary(op, mask)?;
        let never = cx.b.scalar(cx.b.tensor(mask)?.dtype, f64::NEG_INFINITY)?;
        cx.binary(Greater {}, greatest, never).map(Some)
    }

    /// A causal mask alone: each query attends to the first key.
    fn is_lower_triangle(&self, cx: &Cx<'_>, mask: Value) -> bool {
        let node = cx.b.function().def(mask);
        matches!(node, Some((_, node)) if matches!(node.op, mlc_ir::Op::LessEqual(_)))
            && cx.b.tensor(mask).is_ok_and(|ty| ty.rank() == 2)
            && node
                .is_some_and(|(_, node)| node.operands.all().iter().all(|&v| is_positions(cx, v)))
    }

    /// `query · keyᵀ · scale + mask`, in the element type of the query.
    fn scores(&self, cx: &mut Cx<'_>) -> LowerResult<Value> {
        let ty = cx.b.tensor(self.query)?.clone();
        let width = ty.shape.last().and_then(Dim::as_const).unwrap_or(1).max(1) as f64;
        let factor = cx.b.scalar(ty.dtype, self.scale.unwrap_or_else(|| width.sqrt().recip()))?;
        let query = cx.binary(Mul {}, self.query, factor)?;
        let op = Matmul { transpose_x: false, transpose_y: true };
        let scores = cx.binary(op, query, self.key)?;
        let Some(mask) = self.mask else { return Ok(scores) };
        if cx.b.tensor(mask)?.dtype == DType::Bool {
            let never = cx.b.scalar(ty.dtype, f64::NEG_INFINITY)?;
            Ok(Select {}.build(&mut cx.b, mask, scores, never)?)
        } else {
            cx.binary(Add {}, scores, mask)
        }
    }

    /// How much of each value the result of a query has: zeros where the mask leaves no key
    /// and zeros are wanted.
    pub(super) fn weights(&self, cx: &mut Cx<'_>) -> LowerResult<Value> {
        let scores = self.scores(cx)?;
        let weights = cx.unary(Softmax { axis: -1 }, scores)?;
        self.guarded(cx, weights)
    }

    /// A result without the axes that were added.
    fn unwrapped(&self, cx: &mut Cx<'_>, y: Value) -> LowerResult<Value> {
        let axes: Vec<usize> = (0..self.added).collect();
        dims::squeeze(cx, y, &axes)
    }
}

/// Whether a value is `0, 1, 2, …`, perhaps with an axis added.
fn is_positions(cx: &Cx<'_>, value: Value) -> bool {
    let Some((_, node)) = cx.b.function().def(value) else { return false };
    let mlc_ir::Op::ExpandDims(_) = node.op else { return false };
    let Some(&source) = node.operands.all().first() else { return false };
    if let Some(tensor) = cx.b.constant_of(source) {
        return tensor.count() <= MOST_SEEN
            && tensor.to_i64s().is_ok_and(|all| all.iter().zip(0..).all(|(&x, i)| x == i));
    }
    matches!(cx.b.function().def(source), Some((_, node)) if matches!(node.op, mlc_ir::Op::Range1d(_)))
}

/// `0, 1, 2, …` below an extent, as `i32`.
pub(super) fn positions(cx: &mut Cx<'_>, extent: &Dim) -> LowerResult<Value> {
    if let Some(n) = extent.as_const().filter(|&n| n <= MOST_SEEN as i64) {
        return Ok(cx.b.ints(&(0..n).collect::<Vec<_>>())?);
    }
    let (end, zero, one) = (dims::scalar(cx, extent)?, cx.b.int(0)?, cx.b.int(1)?);
    let y = Range1d {}.build(&mut cx.b, end, zero, one)?;
    cx.refine(y, std::slice::from_ref(extent))?;
    Ok(y)
}

/// The largest absolute value that a float can have, as far as the ops it is made of tell; infinite
/// beyond the range of its type.
fn largest(cx: &Cx<'_>, value: Value, depth: u32) -> Option<f64> {
    use mlc_ir::Op;
    /// Ops that are looked through.
    const DEEPEST: u32 = 16;
    let ty = cx.b.tensor(value).ok()?;
    let most = match ty.dtype {
        DType::F32 | DType::F64 | DType::Bf16 => f64::from(f32::MAX),
        DType::F16 => 65504.0,
        dtype => return dtype.int_range().map(|(low, high)| -(low as f64).min(-(high as f64))),
    };
    let (_, node) = cx.b.function().def(value).filter(|_| depth < DEEPEST)?;
    let of = |i: usize| largest(cx, *node.operands.all().get(i)?, depth + 1);
    let found = match &node.op {
        Op::Const(_) => {
            let tensor = cx.b.constant_of(value).filter(|t| t.count() <= MOST_SEEN)?;
            let all = tensor.to_f64s().ok()?;
            if all.iter().any(|x| x.is_nan()) {
                return None;
            }
            all.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
        }
        Op::Add(_) | Op::Sub(_) => of(0)? + of(1)?,
        Op::Mul(_) => of(0)? * of(1)?,
        Op::Select(_) => of(1)?.max(of(2)?),
        Op::Fill(_) => of(1)?,
        Op::Cast(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::ExpandDims(_)
        | Op::Squeeze(_)
        | Op::Tile(_)
        | Op::SliceByIndex(_) => of(0)?,
        _ => return None,
    };
    Some(if found <= most { found } else { f64::INFINITY })
}

/// Whether a mask is known to leave each query a key.
fn never_empty(cx: &Cx<'_>, mask: Value) -> LowerResult<bool> {
    let Some(tensor) = cx.b.constant_of(mask) else { return Ok(false) };
    let Some(&length) = tensor.shape().last() else { return Ok(false) };
    if tensor.count() > MOST_SEEN || length == 0 {
        return Ok(false);
    }
    let open: Vec<bool> = match tensor.dtype() {
        DType::Bool => tensor.to_i64s()?.into_iter().map(|x| x != 0).collect(),
        _ => tensor.to_f64s()?.into_iter().map(|x| x > f64::NEG_INFINITY).collect(),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(open.chunks(length).all(|row| row.contains(&true)))
}

/// Each head of keys or values as often as there are heads of queries to one of them.
fn repeat_heads(cx: &mut Cx<'_>, x: Value, query: Value) -> LowerResult<Value> {
    let shape = cx.b.tensor(x)?.shape.clone();
    let wanted = cx.b.tensor(query)?.shape.clone();
    let (Some(at), Some(from)) = (shape.len().checked_sub(3), wanted.len().checked_sub(3)) else {
        return Err(LowerError::invalid("`enable_gqa` without an axis of heads"));
    };
    if shape[at] == wanted[from] {
        return Ok(x);
    }
    let times = wanted[from].exact_div(&shape[at]).ok_or_else(|| {
        LowerError::invalid(format!("{} heads of queries, {} of keys", wanted[from], shape[at]))
    })?;
    let split = ExpandDims { axes: vec![at as i64 + 1] }.build(&mut cx.b, x)?;
    let mut repeated = shape.clone();
    repeated.insert(at + 1, times);
    let tiled = dims::expand(cx, split, &repeated)?;
    let mut to = shape;
    to[at] = wanted[from].clone();
    cx.reshape(tiled, &to)
}

fn plain(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let attention = Attention::of(cx, call)?;
    let y = attention.result(cx)?;
    let y = attention.unwrapped(cx, y)?;
    cx.one(y)
}

/// The result and the weights of the keys.
fn math(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let attention = Attention::of(cx, call)?;
    let y = attention.result(cx)?;
    let weights = attention.weights(cx)?;
    let (y, weights) = (attention.unwrapped(cx, y)?, attention.unwrapped(cx, weights)?);
    Ok(vec![cx.fresh(y), cx.fresh(weights)])
}

/// The result, the logarithm of the sum of the exponents of each query's scores as `f32`, and
/// `others` more results that only a backward pass reads.
fn with_sums(cx: &mut Cx<'_>, call: &Call<'_>, others: usize) -> LowerResult<Vec<Val>> {
    call.ignore(&["compute_log_sumexp", "return_debug_mask"]);
    let attention = Attention::of(cx, call)?;
    let y = attention.result(cx)?;
    let y = attention.unwrapped(cx, y)?;
    let mut outputs = vec![cx.fresh(y)];
    if others == 0 {
        let scores = attention.scores(cx)?;
        let scores = cx.cast(scores, DType::F32)?;
        let sums = cx.unary(ReduceLogSumExp { axes: Some(vec![-1]), keep_dims: false }, scores)?;
        outputs.push(cx.fresh(sums));
    } else {
        outputs.extend((0..=others).map(|_| Val::Opaque("state of a backward pass".to_owned())));
    }
    Ok(outputs)
}
