//! Ops in terms of older ones.

use mlc_ir::ops::{
    Add, Cast, Fill, Matmul, Mul, Op, Range1d, Reshape, ResizeBilinear, Scatter, Select, Shape,
    SliceByIndex, SliceUpdate, Softmax, Transpose,
};
use mlc_ir::{Builder, Node, Value};
use mlc_pass::Result;
use mlc_tensor::DType;

/// Operands of attention; whether the last two axes of the first three are swapped.
pub(crate) struct Parts {
    pub(crate) query: (Value, bool),
    pub(crate) key: (Value, bool),
    pub(crate) value: (Value, bool),
    pub(crate) mask: Option<Value>,
}

impl Parts {
    /// The operands of the op as they are.
    pub(crate) fn of(operands: &[Value]) -> Option<Self> {
        let &[query, key, value, ref mask @ ..] = operands else { return None };
        let (query, key, value) = ((query, false), (key, false), (value, false));
        Some(Self { query, key, value, mask: mask.first().copied() })
    }
}

/// `softmax(query·keyᵀ/√E + mask)·value`.
pub(crate) fn attention(b: &mut Builder<'_>, parts: &Parts) -> Result<Option<Value>> {
    let ((query, query_turned), (key, key_turned)) = (parts.query, parts.key);
    let ty = b.tensor(query)?.clone();
    let depth = ty.rank().checked_sub(if query_turned { 2 } else { 1 });
    let width = depth.and_then(|axis| ty.shape[axis].as_const());
    let Some(width) = width else { return Ok(None) };
    // Scaling before the product keeps half precision from overflowing.
    let scale = b.scalar(ty.dtype, 1.0 / (width as f64).sqrt())?;
    let query = Mul {}.build(b, query, scale)?;
    let product = Matmul { transpose_x: query_turned, transpose_y: !key_turned };
    let mut scores = product.build(b, query, key)?;
    if let Some(mask) = parts.mask {
        scores = if b.tensor(mask)?.dtype == DType::Bool {
            let lowest = if ty.dtype == DType::F16 { -65504.0 } else { f64::from(f32::MIN) };
            let lowest = b.scalar(ty.dtype, lowest)?;
            Select {}.build(b, mask, scores, lowest)?
        } else {
            let mask = match b.tensor(mask)?.dtype {
                dtype if dtype == ty.dtype => mask,
                _ => Cast { dtype: ty.dtype }.build(b, mask)?,
            };
            Add {}.build(b, scores, mask)?
        };
    }
    let weights = Softmax { axis: -1 }.build(b, scores)?;
    let (value, value_turned) = parts.value;
    if !value_turned {
        let product = Matmul { transpose_x: false, transpose_y: false };
        return Ok(Some(product.build(b, weights, value)?));
    }
    let product = Matmul { transpose_x: false, transpose_y: true };
    let turned = product.build(b, value, weights)?;
    let rank = b.tensor(turned)?.rank();
    Ok(Some(Transpose::last_two(rank).build(b, turned)?))
}

/// Channels made of the pixels of blocks.
pub(crate) fn pixel_unshuffle(b: &mut Builder<'_>, x: Value, factor: i64) -> Result<Option<Value>> {
    let Some(shape) = b.tensor(x)?.static_shape() else { return Ok(None) };
    let [n, c, h, w] = shape.iter().map(|&d| d as i64).collect::<Vec<_>>()[..] else {
        return Ok(None);
    };
    let (Some(rows), Some(columns)) = (h.checked_div(factor), w.checked_div(factor)) else {
        return Ok(None);
    };
    // Batch and channel stay neighbours, so that five axes are enough.
    let apart = b.ints(&[n * c, rows, factor, columns, factor])?;
    let apart = Reshape {}.build(b, x, apart)?;
    let moved = Transpose { perm: vec![0, 2, 4, 1, 3] }.build(b, apart)?;
    let together = b.ints(&[n, c * factor * factor, rows, columns])?;
    Ok(Some(Reshape {}.build(b, moved, together)?))
}

/// Linear `resize` of the last two axes to known extents.
pub(crate) fn resize(b: &mut Builder<'_>, node: Node) -> Result<Option<Value>> {
    let data = &b.function().nodes[node];
    let Op::Resize(op) = &data.op else { return Ok(None) };
    let linear = op.interpolation_mode == mlc_ir::attr::InterpolationMode::Linear;
    let (x, sampling_mode) = (data.operands.all()[0], op.sampling_mode);
    let shape = b.tensor(data.results[0])?.static_shape();
    let linear = linear && b.tensor(x)?.dtype.is_float();
    let (true, 2, Some([.., height, width])) = (linear, op.resized_dims, shape.as_deref()) else {
        return Ok(None);
    };
    let op = ResizeBilinear {
        target_size_height: *height as i64,
        target_size_width: *width as i64,
        sampling_mode,
    };
    Ok(Some(op.build(b, x)?))
}

/// `fill` of the shape of the first operand with the second.
pub(crate) fn fill_like(b: &mut Builder<'_>, operands: &[Value]) -> Result<Value> {
    let shape = Shape {}.build(b, operands[0])?;
    Ok(Fill {}.build(b, shape, operands.get(1).copied())?)
}

/// The slice of the positions of all elements says where `scatter` puts the elements of the update.
pub(crate) fn slice_update(
    b: &mut Builder<'_>,
    op: SliceUpdate,
    operands: &[Value],
) -> Result<Option<Value>> {
    let [x, update, begin, end] = *operands else { return Ok(None) };
    let Some(shape) = b.tensor(x)?.static_shape() else { return Ok(None) };
    let extents: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    let count = extents.iter().try_fold(1i64, |n, &d| n.checked_mul(d)).unwrap_or(i64::MAX);
    if i32::try_from(count).is_err() || count == 0 {
        return Ok(None);
    }
    let (start, stop, step) = (b.int(0)?, b.int(count)?, b.int(1)?);
    let positions = Range1d {}.build(b, stop, start, step)?;
    let shape = b.ints(&extents)?;
    let positions = Reshape {}.build(b, positions, shape)?;
    let SliceUpdate { stride, begin_mask, end_mask, squeeze_mask } = op;
    let slice = SliceByIndex { stride, begin_mask, end_mask, squeeze_mask };
    let positions = slice.build(b, positions, begin, end)?;
    let flat = b.ints(&[-1])?;
    let positions = Reshape {}.build(b, positions, flat)?;
    let update = Reshape {}.build(b, update, flat)?;
    let data = Reshape {}.build(b, x, flat)?;
    let put = Scatter { axis: 0, mode: mlc_ir::attr::ScatterMode::Update, validate_indices: false };
    let put = put.build(b, data, positions, update)?;
    Ok(Some(Reshape {}.build(b, put, shape)?))
}
