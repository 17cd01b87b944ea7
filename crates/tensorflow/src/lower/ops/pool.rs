//! Pools.

use mlc_ir::Value;
use mlc_ir::attr::PadType;
use mlc_ir::ops::{AvgPool, MaxPool};
use mlc_tensor::DType;

use super::axes::{Layout, channels_first, restored};
use super::conv::padding;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::Val;

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "AvgPool", lower: |cx, call| pool(cx, call, (2, false)) },
    Lowering { name: "AvgPool3D", lower: |cx, call| pool(cx, call, (3, false)) },
    Lowering { name: "MaxPool", lower: |cx, call| pool(cx, call, (2, true)) },
    Lowering { name: "MaxPool3D", lower: |cx, call| pool(cx, call, (3, true)) },
    Lowering { name: "MaxPoolV2", lower: max_pool_v2 },
];

/// Extents and strides of a window, and its padding.
pub(super) struct Pool {
    pub(super) layout: Layout,
    pub(super) kernel: Vec<i64>,
    pub(super) strides: Vec<i64>,
    pub(super) padding: (PadType, Vec<i64>),
}

fn pool(cx: &mut Cx<'_>, call: &Call<'_>, (spatial, max): (usize, bool)) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let rank = spatial + 2;
    let layout = Layout::of(call, spatial)?;
    let (kernel, strides) = (call.ints("ksize")?, call.ints("strides")?);
    let pool = Pool {
        layout,
        kernel: layout.spatial(&kernel, rank, "ksize")?,
        strides: layout.spatial(&strides, rank, "strides")?,
        padding: padding(call, layout, rank)?,
    };
    let y = pooled(cx, x, &pool, max)?;
    cx.one(y)
}

fn max_pool_v2(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    let layout = Layout::of(call, 2)?;
    let (kernel, strides) = (call.tensor(1)?, call.tensor(2)?);
    let (kernel, strides) = (cx.need_ints(kernel, "ksize")?, cx.need_ints(strides, "strides")?);
    let pool = Pool {
        layout,
        kernel: layout.spatial(&kernel, 4, "ksize")?,
        strides: layout.spatial(&strides, 4, "strides")?,
        padding: padding(call, layout, 4)?,
    };
    let y = pooled(cx, x, &pool, true)?;
    cx.one(y)
}

/// Means are over the elements that are no padding.
pub(super) fn pooled(cx: &mut Cx<'_>, x: Value, pool: &Pool, max: bool) -> LowerResult<Value> {
    if cx.rank(x)? != pool.kernel.len() + 2 {
        return Err(LowerError::invalid(format!("the input is {}", cx.b.tensor(x)?)));
    }
    let dtype = cx.dtype(x)?;
    let wide = if dtype.is_float() {
        x
    } else if dtype.bits() <= 16 {
        cx.cast(x, DType::F32)?
    } else {
        return Err(LowerError::dtype(format!("a pool over {dtype}")));
    };
    let x = channels_first(cx, wide, pool.layout)?;
    let x = if pool.kernel.len() == 3 { centred(cx, x, pool)? } else { x };
    let (pad_type, pad) = pool.padding.clone();
    let (kernel_sizes, strides) = (pool.kernel.clone(), pool.strides.clone());
    let y = if max {
        MaxPool { kernel_sizes, strides, pad_type, pad, ceil_mode: false }.build(&mut cx.b, x)?
    } else {
        AvgPool {
            exclude_padding_from_average: true,
            kernel_sizes,
            strides,
            pad_type,
            pad,
            ceil_mode: false,
        }
        .build(&mut cx.b, x)?
    };
    let y = restored(cx, y, pool.layout)?;
    cx.cast(y, dtype)
}

/// With `SAME` and three axes, TensorFlow's kernel moves windows that are smaller than the stride to the
/// middle of what is left, as if padding were negative: `x` without what is then before the first window.
fn centred(cx: &mut Cx<'_>, x: Value, pool: &Pool) -> LowerResult<Value> {
    if pool.padding.0 != PadType::Same {
        return Ok(x);
    }
    let mut x = x;
    for axis in 0..3 {
        let (kernel, stride) = (pool.kernel[axis], pool.strides[axis]);
        if kernel >= stride {
            continue;
        }
        let extent = cx.shape(x)?[axis + 2].as_const().ok_or_else(|| {
            LowerError::dynamic("windows smaller than the stride over an extent that is not known")
        })?;
        let count = (extent + stride - 1) / stride;
        let skipped = (extent - (count - 1) * stride - kernel) / 2;
        if skipped > 0 {
            x = super::slice::window(cx, x, axis + 2, (skipped, extent - skipped))?;
        }
    }
    Ok(x)
}
