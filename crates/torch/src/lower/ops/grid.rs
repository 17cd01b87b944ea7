//! Sampling of images at points of a grid.
//!
//! A coordinate `v` from −1 to 1 on an axis of extent `n` is the position `(v + 1)/2·(n − 1)` with
//! `align_corners`, `((v + 1)·n − 1)/2` without.

use mlc_ir::attr::{CoordinatesMode, ResampleMode, ResamplePadding};
use mlc_ir::ops::{
    Abs, Add, Floor, Gather, GreaterEqual, LessEqual, LogicalAnd, Matmul, Maximum, Minimum, Mod,
    Mul, Resample, Round, Select, Stack, Sub,
};
use mlc_ir::{Dim, F64, Value};
use mlc_tensor::{DType, Tensor};

use super::indices::transposed;
use crate::lower::Cx;
use crate::lower::alias;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Scalar, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.grid_sampler", lower: grid_sampler },
    Lowering { name: "aten.grid_sampler_2d", lower: grid_sampler },
    Lowering { name: "aten.grid_sampler_3d", lower: grid_sampler },
    Lowering { name: "aten._grid_sampler_2d_cpu_fallback", lower: grid_sampler },
    Lowering { name: "aten.affine_grid_generator", lower: affine_grid_generator },
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Linear,
    Nearest,
    Cubic,
}

/// What is read outside the image.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outside {
    Zeros,
    Border,
    Reflection,
}

struct Sampler {
    mode: Mode,
    outside: Outside,
    align_corners: bool,
}

fn grid_sampler(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (x, grid) = (call.tensor("input")?, call.tensor("grid")?);
    let mode = match call.int_or("interpolation_mode", 0)? {
        0 => Mode::Linear,
        1 => Mode::Nearest,
        2 => Mode::Cubic,
        other => return Err(LowerError::invalid(format!("`interpolation_mode` is {other}"))),
    };
    let outside = match call.int_or("padding_mode", 0)? {
        0 => Outside::Zeros,
        1 => Outside::Border,
        2 => Outside::Reflection,
        other => return Err(LowerError::invalid(format!("`padding_mode` is {other}"))),
    };
    let sampler = Sampler { mode, outside, align_corners: call.bool_or("align_corners", false)? };
    let (rank, dtype) = (cx.rank(x)?, cx.dtype(x)?);
    if !dtype.is_float() {
        return Err(LowerError::dtype(format!("samples between {dtype}")));
    }
    if cx.rank(grid)? != rank {
        return Err(LowerError::invalid("`grid` has another rank than `input`"));
    }
    let (x, grid) = (cx.read(x)?, cx.read(grid)?);
    let y = match (rank, mode) {
        (4, Mode::Cubic) => sampler.cubic(cx, x, grid)?,
        (4, _) => {
            let how =
                if mode == Mode::Nearest { ResampleMode::Nearest } else { ResampleMode::Bilinear };
            sampler.resample(cx, (x, grid), (how, CoordinatesMode::NormalizedMinusOneToOne))?
        }
        (5, Mode::Cubic) | (..4, _) | (6.., _) => {
            return Err(LowerError::invalid(format!("{mode:?} samples of a rank of {rank}")));
        }
        (5, _) => sampler.volume(cx, x, grid)?,
    };
    cx.one(y)
}

impl Sampler {
    fn resample(
        &self,
        cx: &mut Cx<'_>,
        (x, points): (Value, Value),
        (sampling_mode, coordinates_mode): (ResampleMode, CoordinatesMode),
    ) -> LowerResult<Value> {
        let padding_mode = match (self.outside, self.align_corners) {
            (Outside::Zeros, _) => ResamplePadding::Constant,
            (Outside::Border, _) => ResamplePadding::Border,
            (Outside::Reflection, true) => ResamplePadding::Reflection,
            (Outside::Reflection, false) => ResamplePadding::Symmetric,
        };
        let op = Resample {
            sampling_mode,
            padding_mode,
            padding_value: F64(0.0),
            coordinates_mode,
            align_corners: self.align_corners,
        };
        cx.binary(op, x, points)
    }

    /// The positions that the coordinates of one axis of `extent` name.
    fn positions(&self, cx: &mut Cx<'_>, at: Value, extent: &Dim) -> LowerResult<Value> {
        let dtype = cx.b.tensor(at)?.dtype;
        let (one, half) = (cx.b.scalar(dtype, 1.0)?, cx.b.scalar(dtype, 0.5)?);
        let shifted = cx.binary(Add {}, at, one)?;
        let n = cx.number(&Scalar::Int(extent.clone()), dtype)?;
        if self.align_corners {
            let last = cx.binary(Sub {}, n, one)?;
            let scaled = cx.binary(Mul {}, shifted, half)?;
            return cx.binary(Mul {}, scaled, last);
        }
        let scaled = cx.binary(Mul {}, shifted, n)?;
        let scaled = cx.binary(Sub {}, scaled, one)?;
        cx.binary(Mul {}, scaled, half)
    }

    /// Cubic convolution of the sixteen elements around each point, each read as `outside` says.
    fn cubic(&self, cx: &mut Cx<'_>, x: Value, grid: Value) -> LowerResult<Value> {
        let shape = cx.b.tensor(x)?.shape.clone();
        let mut corners = Vec::with_capacity(2);
        let mut weights = Vec::with_capacity(2);
        for (place, extent) in [&shape[3], &shape[2]].into_iter().enumerate() {
            let at = alias::select(cx, grid, 3, &Dim::Const(place as i64))?;
            let at = self.positions(cx, at, extent)?;
            let low = cx.unary(Floor {}, at)?;
            let share = cx.binary(Sub {}, at, low)?;
            weights.push(cubic_weights(cx, share)?);
            corners.push(low);
        }
        let mut sum = None;
        for (row, row_weight) in weights[1].clone().into_iter().enumerate() {
            let mut line = None;
            for (column, &weight) in weights[0].iter().enumerate() {
                let at_x = shifted(cx, corners[0], column as f64 - 1.0)?;
                let at_y = shifted(cx, corners[1], row as f64 - 1.0)?;
                let points = Stack { axis: 3 }.build(&mut cx.b, vec![at_x, at_y])?;
                let how = (ResampleMode::Nearest, CoordinatesMode::Unnormalized);
                let tap = self.resample(cx, (x, points), how)?;
                line = Some(weighted(cx, line, (tap, weight))?);
            }
            let line = line.ok_or_else(|| LowerError::invalid("no taps"))?;
            sum = Some(weighted(cx, sum, (line, row_weight))?);
        }
        sum.ok_or_else(|| LowerError::invalid("no taps"))
    }

    /// Samples of volumes: the elements around each point picked by their place among all.
    fn volume(&self, cx: &mut Cx<'_>, x: Value, grid: Value) -> LowerResult<Value> {
        let shape = cx.b.tensor(x)?.shape.clone();
        let points = cx.b.tensor(grid)?.shape.clone();
        // x, y, z are columns 0, 1, 2 of the grid and axes 4, 3, 2 of the volume.
        let mut low = Vec::with_capacity(3);
        let mut shares = Vec::with_capacity(3);
        for place in 0..3 {
            let extent = &shape[4 - place];
            let at = alias::select(cx, grid, 4, &Dim::Const(place as i64))?;
            let at = self.positions(cx, at, extent)?;
            let at = self.moved(cx, at, extent)?;
            if self.mode == Mode::Nearest {
                low.push(cx.unary(Round {}, at)?);
            } else {
                let floor = cx.unary(Floor {}, at)?;
                shares.push(cx.binary(Sub {}, at, floor)?);
                low.push(floor);
            }
        }
        let (n, c) = (&shape[0], &shape[1]);
        let volume = shape[2].mul(&shape[3]).mul(&shape[4]);
        let count = Dim::product(&points[1..4]);
        let flat = cx.reshape(x, &[n.clone(), c.clone(), volume])?;
        let flat = transposed(cx, flat, &[0, 2, 1])?;
        let corners: &[usize] =
            if self.mode == Mode::Nearest { &[0] } else { &[0, 1, 2, 3, 4, 5, 6, 7] };
        let mut sum: Option<Value> = None;
        for &corner in corners {
            let mut places = Vec::with_capacity(3);
            let mut weight = None;
            for (axis, &low) in low.iter().enumerate() {
                let far = corner >> axis & 1 == 1;
                places.push(shifted(cx, low, f64::from(u8::from(far)))?);
                if let Some(&share) = shares.get(axis) {
                    let part = if far { share } else { complement(cx, share)? };
                    weight = Some(match weight {
                        None => part,
                        Some(weight) => cx.binary(Mul {}, weight, part)?,
                    });
                }
            }
            let (index, inside) = self.place(cx, &places, &shape)?;
            let index = cx.reshape(index, &[n.clone(), count.clone()])?;
            let op = Gather { axis: 1, batch_dims: 1, validate_indices: false };
            let mut part = op.build(&mut cx.b, flat, index)?;
            let column = [n.clone(), count.clone(), Dim::Const(1)];
            if let Some(weight) = weight {
                let weight = cx.reshape(weight, &column)?;
                part = cx.binary(Mul {}, part, weight)?;
            }
            if let Some(inside) = inside {
                let inside = cx.reshape(inside, &column)?;
                let zero = cx.b.scalar(cx.b.tensor(part)?.dtype, 0.0)?;
                part = Select {}.build(&mut cx.b, inside, part, zero)?;
            }
            sum = Some(match sum {
                None => part,
                Some(sum) => cx.binary(Add {}, sum, part)?,
            });
        }
        let sum = sum.ok_or_else(|| LowerError::invalid("no corners"))?;
        let sum = transposed(cx, sum, &[0, 2, 1])?;
        let mut to = vec![n.clone(), c.clone()];
        to.extend_from_slice(&points[1..4]);
        cx.reshape(sum, &to)
    }

    /// Positions outside moved to where `outside` reads them.
    fn moved(&self, cx: &mut Cx<'_>, at: Value, extent: &Dim) -> LowerResult<Value> {
        let dtype = cx.b.tensor(at)?.dtype;
        let last = cx.number(&Scalar::Int(extent.sub(&Dim::Const(1))), dtype)?;
        let zero = cx.b.scalar(dtype, 0.0)?;
        let at = match self.outside {
            Outside::Zeros => return Ok(at),
            Outside::Border => at,
            Outside::Reflection if self.align_corners && extent.is(1) => {
                cx.binary(Mul {}, at, zero)?
            }
            Outside::Reflection => {
                // The distance from the first edge, folded at the second one.
                let edge = cx.b.scalar(dtype, if self.align_corners { 0.0 } else { -0.5 })?;
                let span =
                    if self.align_corners { extent.sub(&Dim::Const(1)) } else { extent.clone() };
                let span = cx.number(&Scalar::Int(span), dtype)?;
                let twice = cx.binary(Add {}, span, span)?;
                let from = cx.binary(Sub {}, at, edge)?;
                let from = cx.unary(Abs {}, from)?;
                let from = cx.binary(Mod {}, from, twice)?;
                let beyond = cx.binary(Sub {}, from, span)?;
                let beyond = cx.unary(Abs {}, beyond)?;
                let from = cx.binary(Sub {}, span, beyond)?;
                cx.binary(Add {}, from, edge)?
            }
        };
        let at = cx.binary(Maximum {}, at, zero)?;
        cx.binary(Minimum {}, at, last)
    }

    /// The place among all elements of a volume, held inside, and whether it was inside where that
    /// matters.
    fn place(
        &self,
        cx: &mut Cx<'_>,
        places: &[Value],
        shape: &[Dim],
    ) -> LowerResult<(Value, Option<Value>)> {
        let mut index = None;
        let mut inside = None;
        for (axis, &place) in places.iter().enumerate().rev() {
            let dtype = cx.b.tensor(place)?.dtype;
            let extent = &shape[4 - axis];
            let last = cx.number(&Scalar::Int(extent.sub(&Dim::Const(1))), dtype)?;
            let zero = cx.b.scalar(dtype, 0.0)?;
            if self.outside == Outside::Zeros {
                let above = cx.binary(GreaterEqual {}, place, zero)?;
                let below = cx.binary(LessEqual {}, place, last)?;
                let both = cx.binary(LogicalAnd {}, above, below)?;
                inside = Some(match inside {
                    None => both,
                    Some(inside) => cx.binary(LogicalAnd {}, inside, both)?,
                });
            }
            let held = cx.binary(Maximum {}, place, zero)?;
            let held = cx.binary(Minimum {}, held, last)?;
            let held = cx.cast(held, DType::I32)?;
            index = Some(match index {
                None => held,
                Some(index) => {
                    let extent = cx.number(&Scalar::Int(extent.clone()), DType::I32)?;
                    let index = cx.binary(Mul {}, index, extent)?;
                    cx.binary(Add {}, index, held)?
                }
            });
        }
        Ok((index.ok_or_else(|| LowerError::invalid("no axes"))?, inside))
    }
}

fn shifted(cx: &mut Cx<'_>, x: Value, by: f64) -> LowerResult<Value> {
    if by == 0.0 {
        return Ok(x);
    }
    let by = cx.b.scalar(cx.b.tensor(x)?.dtype, by)?;
    cx.binary(Add {}, x, by)
}

/// `1 − x`
fn complement(cx: &mut Cx<'_>, x: Value) -> LowerResult<Value> {
    let one = cx.b.scalar(cx.b.tensor(x)?.dtype, 1.0)?;
    cx.binary(Sub {}, one, x)
}

/// `sum + x · weight`, the weights being the same for all channels.
fn weighted(
    cx: &mut Cx<'_>,
    sum: Option<Value>,
    (x, weight): (Value, Value),
) -> LowerResult<Value> {
    let weight = alias::unsqueeze(cx, weight, &[1])?;
    let part = cx.binary(Mul {}, x, weight)?;
    match sum {
        None => Ok(part),
        Some(sum) => cx.binary(Add {}, sum, part),
    }
}

/// The weights of four elements for points at `share` between the second and the third: Keys' kernel
/// with parameter −0.75.
fn cubic_weights(cx: &mut Cx<'_>, share: Value) -> LowerResult<Vec<Value>> {
    const A: f64 = -0.75;
    let rest = complement(cx, share)?;
    let near = |cx: &mut Cx<'_>, t: Value| polynomial(cx, t, &[1.0, 0.0, -(A + 3.0), A + 2.0]);
    let far = |cx: &mut Cx<'_>, t: Value| {
        let t = shifted(cx, t, 1.0)?;
        polynomial(cx, t, &[-4.0 * A, 8.0 * A, -5.0 * A, A])
    };
    Ok(vec![far(cx, share)?, near(cx, share)?, near(cx, rest)?, far(cx, rest)?])
}

/// `Σ coefficients[k] · xᵏ`, by Horner's rule.
fn polynomial(cx: &mut Cx<'_>, x: Value, coefficients: &[f64]) -> LowerResult<Value> {
    let dtype = cx.b.tensor(x)?.dtype;
    let mut all = coefficients.iter().rev();
    let mut sum = cx.b.scalar(dtype, all.next().copied().unwrap_or(0.0))?;
    for &coefficient in all {
        sum = cx.binary(Mul {}, sum, x)?;
        sum = shifted(cx, sum, coefficient)?;
    }
    Ok(sum)
}

/// `n` points from −1 to 1: with `align_corners` at both ends, without in the middle of `n` equal
/// parts.
fn base_points(n: i64, align_corners: bool) -> Vec<f64> {
    let point = |i: i64| {
        if n <= 1 {
            return 0.0;
        }
        let at = 2.0 * i as f64 / (n - 1) as f64 - 1.0;
        if align_corners { at } else { at * (n - 1) as f64 / n as f64 }
    };
    (0..n).map(point).collect()
}

/// The points `(x, y[, z], 1)` of a grid over the output, times the transposed matrices.
fn affine_grid_generator(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let theta = call.tensor("theta")?;
    let align_corners = call.bool_or("align_corners", false)?;
    let size = call.dims("size")?;
    let dtype = cx.dtype(theta)?;
    let Some(spatial) = size.get(2..).filter(|s| (2..=3).contains(&s.len())) else {
        return Err(LowerError::invalid(format!("a grid for {} axes", size.len())));
    };
    let known: Option<Vec<i64>> = spatial.iter().map(Dim::as_const).collect();
    let count = known.as_ref().and_then(|k| k.iter().try_fold(1i64, |n, &d| n.checked_mul(d)));
    let (Some(known), Some(count)) = (known, count.filter(|n| (0..1 << 22).contains(n))) else {
        return Err(LowerError::dynamic("an affine grid of extents that are not known")
            .help("export the model with those extents fixed"));
    };
    let columns = known.len() + 1;
    let lines: Vec<Vec<f64>> = known.iter().map(|&n| base_points(n, align_corners)).collect();
    let mut points = Vec::with_capacity(count as usize * columns);
    for at in 0..count {
        let mut rest = at;
        let mut row = vec![1.0; columns];
        for (column, axis) in (0..known.len()).rev().enumerate() {
            let place = rest % known[axis];
            rest /= known[axis];
            row[column] = lines[axis].get(place as usize).copied().unwrap_or(0.0);
        }
        points.extend(row);
    }
    let points = Tensor::from_f64s(dtype, &[count as u64, columns as u64], &points)?;
    let points = cx.b.constant(points)?;
    let theta = cx.read(theta)?;
    let grid = cx.binary(Matmul { transpose_x: false, transpose_y: true }, points, theta)?;
    let mut to = vec![size[0].clone()];
    to.extend_from_slice(spatial);
    to.push(Dim::Const(columns as i64 - 1));
    let y = cx.reshape(grid, &to)?;
    cx.one(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_reach_corners_or_centres() {
        assert_eq!(base_points(3, true), [-1.0, 0.0, 1.0]);
        let centres = base_points(4, false).into_iter().zip([-0.75, -0.25, 0.25, 0.75]);
        assert!(centres.into_iter().all(|(a, b)| (a - b).abs() < 1e-12));
        assert_eq!(base_points(1, true), [0.0]);
    }
}
