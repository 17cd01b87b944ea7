//! Sampling of images at given places.

use crate::attr::{
    BoxCoordinateMode, CoordinatesMode, F64, ResampleMode, ResamplePadding, SamplingMode,
};
use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult, may_equal, meet};
use crate::types::TensorType;

op! {
    /// `y[b, c, h, w]` is `x[b, c]` at the point `coordinates[b, h, w] = (x, y)`: the nearest element
    /// (ties to even) or the mean of the four around it, weighted by distance.
    ///
    /// A coordinate `v` on an axis of extent `n` is a position as it is for `unnormalized`; otherwise
    /// it is first mapped to `u` in `0..1` (`(v+1)/2` for `normalized_minus_one_to_one`), and the
    /// position is `u·(n−1)` with `align_corners`, `u·n − 0.5` without. Outside the image:
    /// `constant` reads `padding_value`; the others move the position, `border` to the edge,
    /// `reflection` mirrors at 0 and `n−1`, `symmetric` at `−0.5` and `n−0.5`.
    "resample" = Resample(x: One, coordinates: One) {
        sampling_mode: ResampleMode,
        padding_mode: ResamplePadding,
        padding_value: F64,
        coordinates_mode: CoordinatesMode,
        align_corners: bool,
    } + Pure => infer_resample;

    /// `resample` of `x` at `x' = a₀x + a₁y + a₂`, `y' = b₀x + b₁y + b₂` for each point `(x, y)` of a
    /// grid of `output_height` by `output_width`, whose corner points are at ±1 with `align_corners`,
    /// and without it whose pixels divide −1 to 1 and have their points in the middle;
    /// `transform_matrix[b or 0]` is `(a₀, a₁, a₂, b₀, b₁, b₂)`. Bilinear and constant 0 outside: the
    /// other modes are not defined.
    "affine" = Affine(x: One, transform_matrix: One) {
        output_height: i64,
        output_width: i64,
        sampling_mode: ResampleMode,
        padding_mode: ResamplePadding,
        padding_value: F64,
        coordinates_mode: CoordinatesMode,
        align_corners: bool,
    } + Pure => infer_affine;

    /// For each box `i`, image `x[box_indices[i]]` sampled bilinearly at `target_height` by
    /// `target_width` points: on each axis, point `k` of `N` is at `start + s`, where `s` is as for
    /// `resize_bilinear` with `X = end − start + 1`. A point outside the image gives `pad_value`.
    ///
    /// Coordinates are multiplied by `spatial_scale`, and with `normalized_coordinates` by the extent
    /// of the image less 1. A box given by centre and size goes from `centre − size/2` to
    /// `centre + size/2`. `box_indices` is `0, 1, …` where absent. The result is `[N, C, h, w]`.
    ///
    /// That is the form of iOS 17. Before, in place of `boxes` and `box_indices` stands `roi` of the
    /// element type of `x`: of shape `[N, 1, 4, 1, 1]`, boxes that each cut every image, for
    /// `[N, B, C, h, w]`; or of `[N, 1, 5, 1, 1]`, where the number of the image comes first, for
    /// `[N, 1, C, h, w]`.
    "crop_resize" = CropResize(x: One, boxes: Opt, box_indices: Opt, roi: Opt) {
        target_height: i64 = 1,
        target_width: i64 = 1,
        normalized_coordinates: bool = false,
        spatial_scale: F64 = F64(1.0),
        box_coordinate_mode: BoxCoordinateMode = BoxCoordinateMode::CornersHeightFirst,
        sampling_mode: SamplingMode = SamplingMode::Default,
        pad_value: F64 = F64(0.0),
    } + Pure => infer_crop_resize;

    /// `x` without the first and last `crop_height` rows and `crop_width` columns, of its last two
    /// axes.
    "crop" = Crop(x: One) { crop_height: Vec<i64>, crop_width: Vec<i64> }
        + Pure + View => infer_crop;
}

fn images<'a>(cx: &InferCx<'a>) -> OpResult<&'a TensorType> {
    let x = cx.float("x")?;
    if x.rank() != 4 {
        return Err(OpError::shape(format!("`x` is {x}, a rank of 4 is needed")));
    }
    Ok(x)
}

fn infer_resample(_: &Resample, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (x, at) = (images(cx)?, cx.tensor("coordinates")?);
    if !at.dtype.is_float() && !at.dtype.is_int() {
        return Err(OpError::ty(format!("`coordinates` is {at}, numbers are needed")));
    }
    let [batch, height, width, two] = &at.shape[..] else {
        return Err(OpError::shape(format!("`coordinates` is {at}, a rank of 4 is needed")));
    };
    if !may_equal(two, &Dim::Const(2)) || !may_equal(batch, &x.shape[0]) {
        let message = format!("`coordinates` is {at}, pairs for {} images are needed", x.shape[0]);
        return Err(OpError::shape(message));
    }
    let batch = meet(&x.shape[0], batch);
    let shape = [batch, x.shape[1].clone(), height.clone(), width.clone()];
    Ok(Inferred::tensor(x.dtype, shape))
}

fn target(name: &str, extent: i64) -> OpResult<Dim> {
    if extent < 1 {
        return Err(OpError::attr(format!("`{name}` is {extent}, at least 1 is needed")));
    }
    Ok(Dim::Const(extent))
}

fn infer_affine(op: &Affine, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let (x, matrix) = (images(cx)?, cx.float("transform_matrix")?);
    let defined = [
        ("sampling_mode", op.sampling_mode == ResampleMode::Bilinear),
        ("padding_mode", op.padding_mode == ResamplePadding::Constant),
        ("padding_value", op.padding_value.0 == 0.0),
        ("coordinates_mode", op.coordinates_mode == CoordinatesMode::NormalizedMinusOneToOne),
    ];
    if let Some((name, _)) = defined.iter().find(|(_, fits)| !fits) {
        return Err(OpError::attr(format!(
            "`affine` is defined for bilinear, constant 0, normalized_minus_one_to_one alone; \
             `{name}` differs: compute coordinates for `resample`"
        )));
    }
    let fits = match &matrix.shape[..] {
        [count, six] => {
            may_equal(six, &Dim::Const(6)) && (count.is(1) || may_equal(count, &x.shape[0]))
        }
        _ => false,
    };
    if !fits {
        let message = format!("`transform_matrix` is {matrix}, 6 for each image are needed");
        return Err(OpError::shape(message));
    }
    let height = target("output_height", op.output_height)?;
    let width = target("output_width", op.output_width)?;
    Ok(Inferred::tensor(x.dtype, [x.shape[0].clone(), x.shape[1].clone(), height, width]))
}

fn infer_crop_resize(op: &CropResize, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = images(cx)?;
    let height = target("target_height", op.target_height)?;
    let width = target("target_width", op.target_width)?;
    if let Some(roi) = cx.opt_tensor("roi")? {
        if cx.value("boxes").is_some() || cx.value("box_indices").is_some() {
            return Err(OpError::ty("`roi` and `boxes` belong to different forms"));
        }
        cx.same_dtype(&["x", "roi"])?;
        let per_box = match &roi.shape[..] {
            [_, one, _, two, three] if [one, two, three].iter().any(|d| !may_equal(d, &Dim::Const(1))) => None,
            [_, _, Dim::Const(4), _, _] => Some(x.shape[0].clone()),
            [_, _, Dim::Const(5), _, _] => Some(Dim::Const(1)),
            _ => None,
        };
        let Some(per_box) = per_box else {
            let message = format!("`roi` is {roi}, [N, 1, 4, 1, 1] or [N, 1, 5, 1, 1] is needed");
            return Err(OpError::shape(message));
        };
        let shape = [roi.shape[0].clone(), per_box, x.shape[1].clone(), height, width];
        return Ok(Inferred::tensor(x.dtype, shape));
    }
    let boxes = cx.tensor("boxes")?;
    let count = match &boxes.shape[..] {
        [count, four] if may_equal(four, &Dim::Const(4)) => count.clone(),
        _ => return Err(OpError::shape(format!("`boxes` is {boxes}, 4 a box are needed"))),
    };
    if !boxes.dtype.is_float() && (op.normalized_coordinates || !boxes.dtype.is_int()) {
        return Err(OpError::ty(format!("`boxes` is {boxes}, floats are needed")));
    }
    let count = match cx.opt_tensor("box_indices")? {
        Some(indices) => check_indices(cx, indices, (&count, &x.shape[0]))?,
        None => match (count.as_const(), x.shape[0].as_const()) {
            (Some(n), Some(batch)) if n > batch => {
                let message = format!("{n} boxes without `box_indices` for {batch} images");
                return Err(OpError::shape(message));
            }
            _ => count,
        },
    };
    Ok(Inferred::tensor(x.dtype, [count, x.shape[1].clone(), height, width]))
}

fn check_indices(
    cx: &InferCx<'_>,
    indices: &TensorType,
    (count, batch): (&Dim, &Dim),
) -> OpResult<Dim> {
    let [given] = &indices.shape[..] else {
        return Err(OpError::shape(format!("`box_indices` is {indices}, a vector is needed")));
    };
    if !indices.dtype.is_int() || !may_equal(given, count) {
        return Err(OpError::shape(format!("`box_indices` is {indices} for {count} boxes")));
    }
    if let (Some(all), Some(batch)) = (cx.ints("box_indices"), batch.as_const())
        && let Some(index) = all.iter().find(|&&i| i < 0 || i >= batch)
    {
        return Err(OpError::shape(format!("`box_indices` has {index} for {batch} images")));
    }
    Ok(meet(count, given))
}

fn infer_crop(op: &Crop, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = cx.tensor("x")?;
    let Some(first) = x.rank().checked_sub(2).filter(|_| x.rank() >= 3) else {
        return Err(OpError::shape(format!("`x` is {x}, a rank of at least 3 is needed")));
    };
    let mut shape = x.shape.clone();
    let crops = [("crop_height", &op.crop_height), ("crop_width", &op.crop_width)];
    for (i, (name, crop)) in crops.into_iter().enumerate() {
        let &[before, after] = &crop[..] else {
            return Err(OpError::attr(format!("`{name}` is {crop:?}, 2 numbers are needed")));
        };
        let left = x.shape[first + i].sub(&Dim::Const(before)).sub(&Dim::Const(after));
        if before < 0 || after < 0 || left.as_const().is_some_and(|n| n < 1) {
            let axis = first + i;
            return Err(OpError::attr(format!("`{name}` is {crop:?} for axis {axis} of {x}")));
        }
        shape[first + i] = left;
    }
    Ok(Inferred::tensor(x.dtype, shape))
}

#[cfg(test)]
mod tests {
    use mlc_tensor::{DType, Tensor};

    use super::*;
    use crate::builder::Builder;
    use crate::program::{FuncId, Function, Param, Program, Value};
    use crate::types::Type;

    fn start(shapes: &[Vec<Dim>]) -> (Program, FuncId, Vec<Value>) {
        let mut program = Program::new();
        let mut function = Function::new("main");
        let mut values = Vec::new();
        for (i, shape) in shapes.iter().enumerate() {
            let ty = Type::tensor(DType::F32, shape.clone());
            values.push(function.add_param(Param::input(format!("x{i}")), ty));
        }
        let func = program.functions.push(function);
        (program, func, values)
    }

    fn resample() -> Resample {
        Resample {
            sampling_mode: ResampleMode::Bilinear,
            padding_mode: ResamplePadding::Constant,
            padding_value: F64(0.0),
            coordinates_mode: CoordinatesMode::Unnormalized,
            align_corners: true,
        }
    }

    #[test]
    fn resample_takes_the_grid() {
        let n = Dim::symbol("n");
        let image = vec![n, 3.into(), 8.into(), 8.into()];
        let (mut program, func, v) =
            start(&[image, vec![2.into(), 5.into(), Dim::symbol("w"), 2.into()]]);
        let mut b = Builder::new(&mut program, func);
        let y = resample().build(&mut b, v[0], v[1]).unwrap();
        let want = [2.into(), 3.into(), 5.into(), Dim::symbol("w")];
        assert_eq!(b.tensor(y).unwrap().shape, want);
        assert!(resample().build(&mut b, v[1], v[0]).is_err());
    }

    #[test]
    fn boxes_name_images() {
        let image = vec![2.into(), 3.into(), 8.into(), 8.into()];
        let (mut program, func, v) = start(&[image, vec![3.into(), 4.into()]]);
        let mut b = Builder::new(&mut program, func);
        let op = CropResize {
            target_height: 4,
            target_width: 5,
            normalized_coordinates: false,
            spatial_scale: F64(1.0),
            box_coordinate_mode: BoxCoordinateMode::CornersHeightFirst,
            sampling_mode: SamplingMode::Default,
            pad_value: F64(0.0),
        };
        let error = op.clone().build(&mut b, v[0], Some(v[1]), None, None).unwrap_err();
        assert!(error.message.contains("box_indices"), "{error}");
        let wrong = b.ints(&[0, 1, 2]).unwrap();
        assert!(op.clone().build(&mut b, v[0], Some(v[1]), Some(wrong), None).is_err());
        let indices = b.ints(&[0, 1, 1]).unwrap();
        let y = op.clone().build(&mut b, v[0], Some(v[1]), Some(indices), None).unwrap();
        assert_eq!(b.tensor(y).unwrap().shape, [3.into(), 3.into(), 4.into(), 5.into()]);
        let roi = b.constant(Tensor::splat(DType::F32, &[7, 1, 4, 1, 1], &[0; 4]).unwrap()).unwrap();
        let y = op.clone().build(&mut b, v[0], None, None, Some(roi)).unwrap();
        assert_eq!(b.tensor(y).unwrap().shape, [7, 2, 3, 4, 5].map(Dim::Const));
        assert!(op.build(&mut b, v[0], None, Some(wrong), Some(roi)).is_err());
    }

    #[test]
    fn affine_has_one_mode() {
        let image = vec![2.into(), 3.into(), 8.into(), 8.into()];
        let (mut program, func, v) = start(&[image]);
        let mut b = Builder::new(&mut program, func);
        let matrix = b.constant(Tensor::splat(DType::F32, &[1, 6], &[0; 4]).unwrap()).unwrap();
        let op = Affine {
            output_height: 4,
            output_width: 4,
            sampling_mode: ResampleMode::Bilinear,
            padding_mode: ResamplePadding::Constant,
            padding_value: F64(0.0),
            coordinates_mode: CoordinatesMode::NormalizedMinusOneToOne,
            align_corners: true,
        };
        assert!(op.clone().build(&mut b, v[0], matrix).is_ok());
        let other = Affine { padding_value: F64(1.0), ..op };
        let error = other.build(&mut b, v[0], matrix).unwrap_err();
        assert!(error.message.contains("`padding_value` differs"), "{error}");
    }
}
