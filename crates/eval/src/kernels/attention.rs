//! Attention.

use candle_core::{Device, Tensor as Candle};
use mlc_ir::ops::ScaledDotProductAttention;
use mlc_tensor::DType;

use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::activation::softmax_row;
use crate::kernels::broadcast::broadcast_index;
use crate::kernels::linear::product;

/// The mask as numbers to add, and where in it the row of scores of each query begins.
struct Mask {
    values: Vec<f64>,
    rows: Vec<usize>,
}

impl Mask {
    /// For scores of shape `outer` + `[length]`.
    fn of(
        cx: &KernelCx<'_, '_>,
        outer: &[usize],
        length: usize,
    ) -> Result<Option<Self>, EvalError> {
        let Some(mask) = cx.opt_array("attn_mask")? else { return Ok(None) };
        let values = if mask.dtype() == DType::Bool {
            let add = |keep: bool| if keep { 0.0 } else { f64::NEG_INFINITY };
            mask.to_bools()?.into_iter().map(add).collect()
        } else {
            mask.to_f64s()?
        };
        let (last, own) = mask.shape().split_last().unwrap_or((&0, &[]));
        let fits = *last == length
            && own.len() <= outer.len()
            && own.iter().rev().zip(outer.iter().rev()).all(|(&m, &n)| m == n || m == 1);
        if !fits {
            let message = format!("a mask of {:?} for scores {outer:?} by {length}", mask.shape());
            return Err(EvalError::undefined(message));
        }
        let rows = broadcast_index(own, outer).into_iter().map(|row| row * length).collect();
        Ok(Some(Self { values, rows }))
    }
}

impl Kernel for ScaledDotProductAttention {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let query = cx.array("query")?.candle();
        let (key, value) = (cx.array("key")?.candle(), cx.array("value")?.candle());
        let rank = query.rank();
        let batch = query.dims()[..rank - 2].to_vec();
        if key.dims()[..rank - 2] != batch || value.dims()[..rank - 2] != batch {
            let message = format!("{:?}, {:?} and {:?}", query.dims(), key.dims(), value.dims());
            return Err(EvalError::undefined(message));
        }
        let (l, e) = (query.dims()[rank - 2], query.dims()[rank - 1]);
        let (s, width) = (key.dims()[rank - 2], value.dims()[rank - 1]);
        let outer: Vec<usize> = batch.iter().copied().chain([l]).collect();
        let mask = Mask::of(cx, &outer, s)?;
        let count: usize = batch.iter().product();
        let query = query.reshape((count, l, e))?;
        let (key, value) = (key.reshape((count, s, e))?, value.reshape((count, s, width))?);
        let scale = (e as f64).sqrt().recip();
        let mut heads = Vec::with_capacity(count);
        for head in 0..count {
            let scores = product(&query.get(head)?, &key.get(head)?.t()?)?;
            let mut scores: Vec<f64> =
                scores.flatten_all()?.to_dtype(candle_core::DType::F64)?.to_vec1()?;
            for (i, row) in scores.chunks_mut(s.max(1)).enumerate() {
                row.iter_mut().for_each(|x| *x *= scale);
                if let Some(mask) = &mask {
                    let at = mask.rows[head * l + i];
                    row.iter_mut().zip(&mask.values[at..]).for_each(|(x, m)| *x += m);
                }
                softmax_row(row);
            }
            let weights =
                Candle::from_vec(scores, (l, s), &Device::Cpu)?.to_dtype(value.dtype())?;
            heads.push(product(&weights, &value.get(head)?)?);
        }
        let shape: Vec<usize> = outer.into_iter().chain([width]).collect();
        if shape.contains(&0) {
            return cx.one(Candle::zeros(shape, query.dtype(), &Device::Cpu)?);
        }
        cx.one(Candle::stack(&heads, 0)?.reshape(shape)?)
    }
}
