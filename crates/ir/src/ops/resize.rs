//! Resizing of images.

use crate::attr::{F64, InterpolationMode, SamplingMode};
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult};
use crate::types::TensorType;

op! {
    /// The last two axes of `x` times the scale factors: of the `N = ⌊X·scale⌋` elements, element `i`
    /// is element `⌊i·X/N⌋` of `x`. `N` is computed in f32, as the factors are.
    "upsample_nearest_neighbor" = UpsampleNearestNeighbor(x: One) {
        scale_factor_height: F64 = F64(1.0),
        scale_factor_width: F64 = F64(1.0),
    } + Pure + View => infer_upsample_nearest_neighbor;

    /// The last two axes of `x` times the scale factors, `N = ⌊X·scale⌋`, by linear interpolation
    /// between the two nearest elements of each axis. Element `i` is sampled at `i·(X−1)/(N−1)` with
    /// `align_corners`, at `(i+0.5)·X/N − 0.5` with `half_pixel_centers`, at `i·X/N` with neither;
    /// clamped to `0..X−1`. `half_pixel_centers` is `¬align_corners` where absent.
    "upsample_bilinear" = UpsampleBilinear(x: One) {
        scale_factor_height: F64 = F64(1.0),
        scale_factor_width: F64 = F64(1.0),
        align_corners: bool = true,
        half_pixel_centers: Option<bool> = None,
    } + Pure => infer_upsample_bilinear;

    /// The last two axes of `x` with the target extents: element `i` of `N` is element `⌊i·X/N⌋`.
    "resize_nearest_neighbor" = ResizeNearestNeighbor(x: One) {
        target_size_height: i64,
        target_size_width: i64,
    } + Pure + View => infer_resize_nearest_neighbor;

    /// The last two axes of `x` with the target extents, by linear interpolation. Element `i` of `N`
    /// is sampled, clamped to `0..X−1`, at
    /// `i·(X−1)/(N−1)` for `STRICT_ALIGN_CORNERS` (0 for `N = 1`) and `ALIGN_CORNERS` (the centre
    /// for `N = 1`), `i·X/N` for `DEFAULT`, `(i+0.5)·max(1, X−1)/N` for `OFFSET_CORNERS`,
    /// `(i+0.5)·X/N − 0.5` for `UNALIGN_CORNERS`.
    "resize_bilinear" = ResizeBilinear(x: One) {
        target_size_height: i64 = 1,
        target_size_width: i64 = 1,
        sampling_mode: SamplingMode = SamplingMode::Default,
    } + Pure => infer_resize_bilinear;

    /// The last `resized_dims` axes of `x` with the extents that the last `resized_dims` entries of
    /// `shape` say; 0 keeps the extent of `x`. Elements are sampled as for `resize_bilinear`;
    /// `NEAREST_NEIGHBOR` takes the element nearest to the sampling point, the later one of two.
    "resize" = Resize(x: One, shape: One) {
        resized_dims: i64,
        interpolation_mode: InterpolationMode = InterpolationMode::Linear,
        sampling_mode: SamplingMode = SamplingMode::Default,
    } + Pure => infer_resize;
}

/// An image with its last two extents replaced by what `extent` makes of them.
fn with_last_two(
    x: &TensorType,
    extent: impl Fn(usize, &Dim) -> OpResult<Dim>,
) -> OpResult<Inferred> {
    let Some(first) = x.rank().checked_sub(2).filter(|_| x.rank() >= 3) else {
        return Err(OpError::shape(format!("`x` is {x}, a rank of at least 3 is needed")));
    };
    let mut shape = x.shape[..first].to_vec();
    for i in 0..2 {
        shape.push(extent(i, &x.shape[first + i])?);
    }
    Ok(Inferred::tensor(x.dtype, shape))
}

/// `⌊extent · scale⌋`, computed in f32.
fn scaled(name: &str, scale: f64, extent: &Dim) -> OpResult<Dim> {
    let single = scale as f32;
    if !(single > 0.0 && single.is_finite()) {
        return Err(OpError::attr(format!("`{name}` is {scale}, a number above 0 is needed")));
    }
    if let Dim::Const(extent) = extent {
        let product = (*extent as f32 * single).floor();
        return match product {
            1.0..=2_147_483_648.0 => Ok(Dim::Const(product as i64)),
            _ => Err(OpError::shape(format!("`{name}` {scale} makes {extent} to {product}"))),
        };
    }
    // Exact for fractions of a power of two, for which f32 arithmetic does not round either.
    for denominator in [1i64, 2, 4, 8, 16, 32, 64] {
        let numerator = f64::from(single) * denominator as f64;
        if numerator.fract() == 0.0 && numerator < 65536.0 {
            let product = extent.mul(&Dim::Const(numerator as i64));
            return Ok(product.floor_div(&Dim::Const(denominator)));
        }
    }
    Ok(Dim::Unknown)
}

fn infer_upsample_nearest_neighbor(
    op: &UpsampleNearestNeighbor,
    cx: &InferCx<'_>,
) -> OpResult<Inferred> {
    with_last_two(cx.tensor("x")?, |i, extent| match i {
        0 => scaled("scale_factor_height", op.scale_factor_height.0, extent),
        _ => scaled("scale_factor_width", op.scale_factor_width.0, extent),
    })
}

fn infer_upsample_bilinear(op: &UpsampleBilinear, cx: &InferCx<'_>) -> OpResult<Inferred> {
    if op.align_corners && op.half_pixel_centers == Some(true) {
        return Err(OpError::attr("`align_corners` and `half_pixel_centers` are both true"));
    }
    with_last_two(cx.float("x")?, |i, extent| match i {
        0 => scaled("scale_factor_height", op.scale_factor_height.0, extent),
        _ => scaled("scale_factor_width", op.scale_factor_width.0, extent),
    })
}

fn target(name: &str, extent: i64) -> OpResult<Dim> {
    if extent < 1 {
        return Err(OpError::attr(format!("`{name}` is {extent}, at least 1 is needed")));
    }
    Ok(Dim::Const(extent))
}

fn infer_resize_nearest_neighbor(
    op: &ResizeNearestNeighbor,
    cx: &InferCx<'_>,
) -> OpResult<Inferred> {
    with_last_two(cx.tensor("x")?, |i, _| match i {
        0 => target("target_size_height", op.target_size_height),
        _ => target("target_size_width", op.target_size_width),
    })
}

fn infer_resize_bilinear(op: &ResizeBilinear, cx: &InferCx<'_>) -> OpResult<Inferred> {
    with_last_two(cx.float("x")?, |i, _| match i {
        0 => target("target_size_height", op.target_size_height),
        _ => target("target_size_width", op.target_size_width),
    })
}

fn infer_resize(op: &Resize, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (x, shape_ty) = (cx.tensor("x")?, cx.int("shape")?);
    let [length] = &shape_ty.shape[..] else {
        return Err(OpError::shape(format!("`shape` is {shape_ty}, a vector is needed")));
    };
    let resized = usize::try_from(op.resized_dims).ok().filter(|&n| n <= x.rank());
    let Some(resized) = resized else {
        let message = format!("`resized_dims` is {} for `x` of {x}", op.resized_dims);
        return Err(OpError::attr(message));
    };
    if length.as_const().is_some_and(|n| n < op.resized_dims || n > x.rank() as i64) {
        let message = format!(
            "`shape` has {length} entries, from `resized_dims` {resized} to {} are needed",
            x.rank()
        );
        return Err(OpError::shape(message));
    }
    let first = x.rank() - resized;
    let mut shape = x.shape[..first].to_vec();
    let content = cx.content("shape").and_then(|all| all.get(all.len().checked_sub(resized)?..));
    for (i, extent) in x.shape[first..].iter().enumerate() {
        shape.push(match content.map(|wanted| &wanted[i]) {
            None => Dim::Unknown,
            Some(wanted) if wanted.is(0) => extent.clone(),
            Some(wanted) if wanted.as_const().is_some_and(|n| n < 0) => {
                return Err(OpError::shape(format!("`shape` has the entry {wanted}")));
            }
            Some(wanted) => wanted.clone(),
        });
    }
    Ok(Inferred::tensor(x.dtype, shape))
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::*;
    use crate::builder::Builder;
    use crate::program::{FuncId, Function, Param, Program, Value};
    use crate::types::Type;

    fn start(shape: Vec<Dim>) -> (Program, FuncId, Value) {
        let mut program = Program::new();
        let mut function = Function::new("main");
        let x = function.add_param(Param::input("x"), Type::tensor(DType::F32, shape));
        let func = program.functions.push(function);
        (program, func, x)
    }

    fn upsample(height: f64, width: f64) -> UpsampleNearestNeighbor {
        UpsampleNearestNeighbor { scale_factor_height: F64(height), scale_factor_width: F64(width) }
    }

    #[test]
    fn scaled_extents() {
        let h = Dim::symbol("h");
        let (mut program, func, x) = start(vec![1.into(), h.clone(), 3.into()]);
        let mut b = Builder::new(&mut program, func);
        let y = upsample(2.5, 5.0 / 3.0).build(&mut b, x).unwrap();
        let half = h.mul(&5.into()).floor_div(&2.into());
        assert_eq!(b.tensor(y).unwrap().shape, [1.into(), half, 5.into()]);
        let y = upsample(1.1, 2.0).build(&mut b, x).unwrap();
        assert!(b.tensor(y).unwrap().shape[1].as_symbol().is_some());
        assert!(upsample(0.0, 1.0).build(&mut b, x).is_err());
        assert!(upsample(1.0, 0.2).build(&mut b, x).is_err());
    }

    #[test]
    fn resize_takes_runtime_shapes() {
        let h = Dim::symbol("h");
        let (mut program, func, x) = start(vec![1.into(), h.clone(), 3.into()]);
        let mut b = Builder::new(&mut program, func);
        let op = Resize {
            resized_dims: 2,
            interpolation_mode: InterpolationMode::Linear,
            sampling_mode: SamplingMode::Default,
        };
        let shape = b.ints(&[7, 0, 6]).unwrap();
        let y = op.clone().build(&mut b, x, shape).unwrap();
        assert_eq!(b.tensor(y).unwrap().shape, [1.into(), h.clone(), 6.into()]);
        let own = crate::ops::Shape {}.build(&mut b, x).unwrap();
        let y = op.clone().build(&mut b, x, own).unwrap();
        assert_eq!(b.tensor(y).unwrap().shape, [1.into(), h, 3.into()]);
        let short = b.ints(&[7]).unwrap();
        assert!(op.build(&mut b, x, short).is_err());
    }
}
