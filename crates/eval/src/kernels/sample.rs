//! Sampling of images at given places.

use mlc_ir::attr::{BoxCoordinateMode, CoordinatesMode, ResampleMode, ResamplePadding};
use mlc_ir::ops::{Affine, Crop, CropResize, Resample};

use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::resize::{Point, sample};
use crate::kernels::window::{checked_count, grid};

impl Kernel for Resample {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, at) = (cx.array("x")?, cx.array("coordinates")?);
        let &[batch, height, width, 2] = at.shape() else {
            return Err(EvalError::undefined(format!("coordinates of shape {:?}", at.shape())));
        };
        let [images, _, rows, columns] = image(x)?;
        if batch != images {
            let message = format!("coordinates for {batch} images, there are {images}");
            return Err(EvalError::undefined(message));
        }
        let extents = [columns, rows];
        let points: Vec<[f64; 2]> = at
            .to_f64s()?
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| [0, 1].map(|i| position(self, pair[i], extents[i])))
            .collect();
        let sampler = Sampler {
            mode: self.sampling_mode,
            padding: self.padding_mode,
            value: rounded(x, self.padding_value.0)?,
        };
        sampler.run(cx, (&points, [height, width]))
    }
}

/// The position on an axis of `extent` that coordinate `v` names.
fn position(op: &Resample, v: f64, extent: usize) -> f64 {
    let share = match op.coordinates_mode {
        CoordinatesMode::Unnormalized => return v,
        CoordinatesMode::NormalizedMinusOneToOne => (v + 1.0) / 2.0,
        CoordinatesMode::NormalizedZeroToOne => v,
    };
    let extent = extent as f64;
    if op.align_corners { share * (extent - 1.0) } else { share * extent - 0.5 }
}

impl Kernel for Affine {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, matrix) = (cx.array("x")?, cx.array("transform_matrix")?);
        let [batch, _, rows, columns] = image(x)?;
        let size = |n: i64| usize::try_from(n).unwrap_or(0);
        let (height, width) = (size(self.output_height), size(self.output_width));
        if self.align_corners && (height < 2 || width < 2) {
            return Err(EvalError::unsupported(format!(
                "`affine` to {height}x{width}: the corners of an extent of 1 are not defined"
            )));
        }
        checked_count(&[batch, height, width, 2])?;
        let matrices = matrix.to_f64s()?;
        let matrices: &[[f64; 6]] = matrices.as_chunks().0;
        if matrices.len() != batch && matrices.len() != 1 {
            let message = format!("{} matrices for {batch} images", matrices.len());
            return Err(EvalError::undefined(message));
        }
        let point = |i: usize, n: usize| match self.align_corners {
            true => 2.0 * i as f64 / (n - 1) as f64 - 1.0,
            false => (2.0 * i as f64 + 1.0) / n as f64 - 1.0,
        };
        let pixel = |at: f64, n: usize| match self.align_corners {
            true => (at + 1.0) / 2.0 * (n as f64 - 1.0),
            false => (at + 1.0) / 2.0 * n as f64 - 0.5,
        };
        let mut points = Vec::with_capacity(batch * height * width);
        for n in 0..batch {
            let [a0, a1, a2, b0, b1, b2] = matrices[n % matrices.len()];
            for h in 0..height {
                for w in 0..width {
                    let (x, y) = (point(w, width), point(h, height));
                    let at = [a0 * x + a1 * y + a2, b0 * x + b1 * y + b2];
                    points.push([pixel(at[0], columns), pixel(at[1], rows)]);
                }
            }
        }
        let sampler = Sampler {
            mode: ResampleMode::Bilinear,
            padding: ResamplePadding::Constant,
            value: 0.0,
        };
        sampler.run(cx, (&points, [height, width]))
    }
}

fn image(x: &Array) -> Result<[usize; 4], EvalError> {
    x.shape()
        .try_into()
        .map_err(|_| EvalError::internal(format!("shape {:?} is no batch of images", x.shape())))
}

/// An attribute as the op sees it: rounded to the element type of `x`.
fn rounded(x: &Array, value: f64) -> Result<f64, EvalError> {
    Ok(Array::from_f64s(x.dtype(), &[], vec![value])?.to_f64s()?[0])
}

/// How values between and beyond the elements of an image are made.
struct Sampler {
    mode: ResampleMode,
    padding: ResamplePadding,
    value: f64,
}

impl Sampler {
    /// Samples every channel of each image of `x` at its `height·width` points (column, row).
    fn run(
        &self,
        cx: &KernelCx<'_, '_>,
        (points, [height, width]): (&[[f64; 2]], [usize; 2]),
    ) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let [batch, channels, rows, columns] = image(x)?;
        let shape = [batch, channels, height, width];
        let mut result = Vec::with_capacity(checked_count(&shape)?);
        let values = x.to_f64s()?;
        let (area, count) = (rows * columns, height * width);
        if area == 0 && !shape.contains(&0) {
            return Err(EvalError::undefined(format!("an image of {rows}x{columns} is sampled")));
        }
        for n in 0..batch {
            let taps: Vec<Taps> = points[n * count..][..count]
                .iter()
                .map(|&[column, row]| {
                    self.taps([self.moved(row, rows), self.moved(column, columns)], (rows, columns))
                })
                .collect();
            for c in 0..channels {
                let plane = &values[(n * channels + c) * area..][..area];
                result.extend(taps.iter().map(|taps| self.value(plane, taps)));
            }
        }
        cx.one_f64s(&shape, result)
    }

    /// Where a position is read after padding moved it.
    fn moved(&self, at: f64, extent: usize) -> f64 {
        let last = extent as f64 - 1.0;
        let mirrored = match self.padding {
            ResamplePadding::Constant => return at,
            ResamplePadding::Border => at,
            ResamplePadding::Reflection => mirror(at, 0.0, last),
            ResamplePadding::Symmetric => mirror(at, -0.5, last + 0.5),
        };
        mirrored.clamp(0.0, last.max(0.0))
    }

    fn taps(&self, at: [f64; 2], (rows, columns): (usize, usize)) -> Taps {
        let inside = |row: f64, column: f64| {
            let fits = |i: f64, n: usize| i >= 0.0 && i < n as f64;
            (fits(row, rows) && fits(column, columns))
                .then(|| row as usize * columns + column as usize)
        };
        match self.mode {
            ResampleMode::Nearest => {
                let [row, column] = at.map(f64::round_ties_even);
                [(inside(row, column), 1.0), (None, 0.0), (None, 0.0), (None, 0.0)]
            }
            ResampleMode::Bilinear => {
                let [(row, down), (column, right)] = at.map(|at| (at.floor(), at - at.floor()));
                [
                    (inside(row, column), (1.0 - down) * (1.0 - right)),
                    (inside(row, column + 1.0), (1.0 - down) * right),
                    (inside(row + 1.0, column), down * (1.0 - right)),
                    (inside(row + 1.0, column + 1.0), down * right),
                ]
            }
        }
    }

    fn value(&self, plane: &[f64], taps: &Taps) -> f64 {
        taps.iter()
            .filter(|(_, share)| *share != 0.0)
            .map(|&(at, share)| at.map_or(self.value, |at| plane[at]) * share)
            .sum()
    }
}

/// Elements of a plane, none outside it, and their shares.
type Taps = [(Option<usize>, f64); 4];

/// `at` mirrored at `low` and `high` until it is between them.
fn mirror(at: f64, low: f64, high: f64) -> f64 {
    let span = high - low;
    if span <= 0.0 {
        return 0.0;
    }
    let far = (at - low).abs() % (2.0 * span);
    low + if far > span { 2.0 * span - far } else { far }
}

impl Kernel for CropResize {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let [batch, channels, rows, columns] = image(x)?;
        let size = |n: i64| usize::try_from(n).unwrap_or(0);
        let (height, width) = (size(self.target_height), size(self.target_width));
        let (boxes, indices, shape) = match cx.opt_array("roi")? {
            Some(roi) => {
                let (boxes, indices, per_box) = regions(roi, batch)?;
                let count = roi.shape()[0];
                (boxes, indices, vec![count, per_box, channels, height, width])
            }
            None => {
                let boxes = cx.array("boxes")?.to_f64s()?.as_chunks().0.to_vec();
                let indices = match cx.opt_array("box_indices")? {
                    Some(indices) => indices.to_i64s()?,
                    None => (0..boxes.len() as i64).collect(),
                };
                let shape = vec![boxes.len(), channels, height, width];
                (boxes, indices, shape)
            }
        };
        let mut result = Vec::with_capacity(checked_count(&shape)?);
        let (values, area) = (x.to_f64s()?, rows * columns);
        let pad = rounded(x, self.pad_value.0)?;
        for (corners, &index) in boxes.iter().zip(&indices) {
            let image = usize::try_from(index).ok().filter(|&i| i < batch).ok_or_else(|| {
                EvalError::undefined(format!("a box of image {index}, there are {batch}"))
            })?;
            let [[top, bottom], [left, right]] = edges(self, corners, [rows, columns]);
            let down = points(self, (top, bottom), (height, rows));
            let across = points(self, (left, right), (width, columns));
            for c in 0..channels {
                let plane = &values[(image * channels + c) * area..][..area];
                let row = |r: usize, across: &Point| {
                    let row = &plane[r * columns..][..columns];
                    across.between(row[across.low], row[across.high])
                };
                for down in &down {
                    result.extend(across.iter().map(|across| match (down, across) {
                        (Some(down), Some(across)) => {
                            down.between(row(down.low, across), row(down.high, across))
                        }
                        _ => pad,
                    }));
                }
            }
        }
        cx.one_f64s(&shape, result)
    }
}

/// Boxes and the numbers of their images, one a result, and how many images a box cuts.
type Regions = (Vec<[f64; 4]>, Vec<i64>, usize);

/// The boxes of the older form.
fn regions(roi: &Array, batch: usize) -> Result<Regions, EvalError> {
    let numbers = roi.to_f64s()?;
    if roi.shape().get(2) == Some(&5) {
        let (rows, _) = numbers.as_chunks::<5>();
        let boxes = rows.iter().map(|&[_, a, b, c, d]| [a, b, c, d]).collect();
        // A float that is no whole number counts no image.
        let index = |at: f64| if at.fract() == 0.0 { at as i64 } else { -1 };
        return Ok((boxes, rows.iter().map(|row| index(row[0])).collect(), 1));
    }
    let (rows, _) = numbers.as_chunks::<4>();
    let boxes = rows.iter().flat_map(|&row| std::iter::repeat_n(row, batch)).collect();
    let indices = rows.iter().flat_map(|_| 0..batch as i64).collect();
    Ok((boxes, indices, batch))
}

/// (start, end) in pixels of a box along rows and columns.
fn edges(op: &CropResize, given: &[f64; 4], extents: [usize; 2]) -> [[f64; 2]; 2] {
    let &[a, b, c, d] = given;
    let around = |centre: f64, size: f64| [centre - size / 2.0, centre + size / 2.0];
    let edges = match op.box_coordinate_mode {
        BoxCoordinateMode::CornersHeightFirst => [[a, c], [b, d]],
        BoxCoordinateMode::CornersWidthFirst => [[b, d], [a, c]],
        BoxCoordinateMode::CenterSizeHeightFirst => [around(a, c), around(b, d)],
        BoxCoordinateMode::CenterSizeWidthFirst => [around(b, d), around(a, c)],
    };
    let scale = |i: usize| {
        let whole = if op.normalized_coordinates { extents[i] as f64 - 1.0 } else { 1.0 };
        op.spatial_scale.0 * whole
    };
    [edges[0].map(|v| v * scale(0)), edges[1].map(|v| v * scale(1))]
}

/// Where each of `size` points of a box is in an axis of `extent`; `None` outside of it.
fn points(
    op: &CropResize,
    (start, end): (f64, f64),
    (size, extent): (usize, usize),
) -> Vec<Option<Point>> {
    let last = extent as f64 - 1.0;
    // Rounding of the sums must not push a point on an edge outside.
    let slack = 1e-6 * extent as f64;
    (0..size)
        .map(|i| {
            let at = start + sample(op.sampling_mode, (i, size), end - start + 1.0);
            let inside = extent > 0 && at >= -slack && at <= last + slack;
            inside.then(|| Point::at(at.clamp(0.0, last), extent))
        })
        .collect()
}

impl Kernel for Crop {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let mut sources: Vec<Vec<usize>> = x.shape().iter().map(|&d| (0..d).collect()).collect();
        let first = x.rank().checked_sub(2).ok_or_else(|| EvalError::internal("no image"))?;
        for (i, crop) in [&self.crop_height, &self.crop_width].into_iter().enumerate() {
            let amount = |at: usize| {
                crop.get(at)
                    .and_then(|&c| usize::try_from(c).ok())
                    .filter(|&c| c <= sources[first + i].len())
                    .ok_or_else(|| EvalError::undefined(format!("a crop of {crop:?}")))
            };
            let (before, after) = (amount(0)?, amount(1)?);
            let extent = sources[first + i].len();
            let end = extent - after;
            if before > end {
                return Err(EvalError::undefined(format!("a crop of {crop:?} of {extent}")));
            }
            sources[first + i] = (before..end).collect();
        }
        let shape: Vec<usize> = sources.iter().map(Vec::len).collect();
        Ok(vec![x.pick(&shape, &grid(x.shape(), &sources))?.into()])
    }
}
