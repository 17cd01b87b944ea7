//! Images at another size.

use mlc_egraph::{Build, Class, Family, Match, rule};
use mlc_ir::attr::SamplingMode;
use mlc_ir::attr::{CoordinatesMode, F64, InterpolationMode, ResampleMode, ResamplePadding};
use mlc_ir::ops::{Affine, Matmul, Mul, Resample, Reshape, Resize};
use mlc_ir::ops::{UpsampleBilinear, UpsampleNearestNeighbor};
use mlc_ir::{Dim, Op};
use mlc_tensor::Tensor;

pub(super) const FAMILY: Family = Family {
    name: "resize",
    source: include_str!("resize.rs"),
    rules: &[
        rule!(Exact, "resize-by-factors", ["resize"], resize_by_factors),
        rule!(Close, "resample-of-affine-grid", ["resample"], resample_of_affine_grid),
    ],
};

/// Greatest factor that an upsampling is given.
const MOST: i64 = 1024;

/// `resize(x, [h·H, w·W]) = upsample(x, h, w)` for whole `h` and `w`, sampled in the middle of pixels
fn resize_by_factors(m: &Match<'_>) -> Option<Build> {
    let resize = m.op::<Resize>().filter(|op| op.resized_dims == 2)?;
    if resize.sampling_mode != SamplingMode::UnalignCorners {
        return None;
    }
    let x = resize.operand(0);
    x.dtype().filter(|dtype| dtype.is_float())?;
    let [.., height, width] = x.shape() else { return None };
    let wanted = resize.operand(1).content()?;
    let [.., new_height, new_width] = wanted else { return None };
    let factor = |new: &Dim, old: &Dim| {
        let factor = if new.is(0) { Some(1) } else { new.exact_div(old)?.as_const() };
        let known = matches!(factor, Some(1..=MOST));
        factor.filter(|_| known).map(|factor| F64(factor as f64))
    };
    let (h, w) = (factor(new_height, height)?, factor(new_width, width)?);
    let op: Op = match resize.interpolation_mode {
        InterpolationMode::Linear => UpsampleBilinear {
            scale_factor_height: h,
            scale_factor_width: w,
            align_corners: false,
            half_pixel_centers: None,
        }
        .into(),
        InterpolationMode::NearestNeighbor => {
            UpsampleNearestNeighbor { scale_factor_height: h, scale_factor_width: w }.into()
        }
    };
    Some(m.build(op, [x.into()]))
}

/// Whether the rows of a constant are `(x, y, 1)` for the points of a grid of `height` by `width`:
/// with the outer ones at ±1, and without that in the middle of pixels that divide −1 to 1.
fn corners(base: &Tensor, height: u64, width: u64) -> Option<bool> {
    let count = height.checked_mul(width)?.checked_mul(3)?;
    if base.count() as u64 != count || count > 1 << 22 || height < 2 || width < 2 {
        return None;
    }
    let all = base.to_f64s().ok()?;
    let place = |i: u64, n: u64, corners: bool| match corners {
        true => 2.0 * i as f64 / (n - 1) as f64 - 1.0,
        false => (2 * i + 1) as f64 / n as f64 - 1.0,
    };
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-6;
    [true, false].into_iter().find(|&corners| {
        all.chunks(3).zip(0u64..).all(|(row, i)| {
            near(row[0], place(i % width, width, corners))
                && near(row[1], place(i / width, height, corners))
                && row[2] == 1.0
        })
    })
}

/// The matrices `[b, 2, 3]` and the base of a grid `base · θᵀ`.
fn grid<'m>(coordinates: Class<'m>) -> Option<(Class<'m>, &'m Tensor)> {
    let product = coordinates.find::<Reshape>()?.operand(0).find::<Matmul>()?;
    if product.transpose_x || !product.transpose_y {
        return None;
    }
    let (base, theta) = (product.operand(0), product.operand(1));
    let [_, rows, columns] = theta.shape() else { return None };
    (rows.is(2) && columns.is(3)).then_some((theta, base.constant()?))
}

/// `resample(x, base·θᵀ) = affine(x, θ·s)`, `s` from the places of points and pixels to the corners
fn resample_of_affine_grid(m: &Match<'_>) -> Option<Build> {
    let op = m.op::<Resample>()?;
    let plain = op.sampling_mode == ResampleMode::Bilinear
        && op.padding_mode == ResamplePadding::Constant
        && op.padding_value.0 == 0.0
        && op.coordinates_mode == CoordinatesMode::NormalizedMinusOneToOne;
    let (x, coordinates) = (op.operand(0), op.operand(1));
    let [batch, _, in_height, in_width] = x.shape() else { return None };
    let [_, _, out_height, out_width] = &m.ty()?.shape[..] else { return None };
    let (theta, base) = grid(coordinates).filter(|_| plain)?;
    let same = theta.shape().first() == Some(batch) && theta.dtype() == m.ty().map(|ty| ty.dtype);
    let extent = |dim: &Dim| u64::try_from(dim.as_const()?).ok().filter(|&n| n > 1);
    let (rows, columns) = (extent(out_height)?, extent(out_width)?);
    let at_corners = corners(base, rows, columns).filter(|_| same)?;
    // From the middle of the outer pixels to the corners, and back.
    let inwards = |n: u64| if at_corners { 1.0 } else { (n - 1) as f64 / n as f64 };
    let outwards = |n: u64| if op.align_corners { 1.0 } else { n as f64 / (n - 1) as f64 };
    let (from, to) = ([inwards(columns), inwards(rows), 1.0], [in_width, in_height]);
    let mut scale = Vec::new();
    for dim in to {
        let by = outwards(extent(dim)?);
        scale.extend(from.map(|from| by * from));
    }
    let flat = [batch.as_const()?, 6];
    let mut matrix = m.build(Reshape {}, [theta.into(), m.ints(&flat)?]);
    if scale.iter().any(|&s| s != 1.0) {
        let scale = Tensor::from_f64s(base.dtype(), &[6], &scale).ok()?;
        matrix = m.build(Mul {}, [matrix, m.constant(scale)]);
    }
    let affine = Affine {
        output_height: out_height.as_const()?,
        output_width: out_width.as_const()?,
        sampling_mode: op.sampling_mode,
        padding_mode: op.padding_mode,
        padding_value: op.padding_value,
        coordinates_mode: op.coordinates_mode,
        align_corners: true,
    };
    Some(m.build(affine, [x.into(), matrix]))
}
