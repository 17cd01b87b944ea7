//! Selection of detections.

use mlc_ir::ops::NonMaximumSuppression;
use mlc_tensor::DType;

use crate::array::Array;
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::window::checked_count;

impl Kernel for NonMaximumSuppression {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (boxes, scores) = (cx.array("boxes")?, cx.array("scores")?);
        let boxes_last = self.score_threshold.is_none();
        let (&[batch, ..], &[_, a, b]) = (boxes.shape(), scores.shape()) else {
            return Err(EvalError::internal("`boxes` and `scores` have another rank"));
        };
        let (classes, count) = if boxes_last { (a, b) } else { (b, a) };
        let (own, wanted) = if boxes_last {
            ([4, count], [classes, count])
        } else {
            ([count, 4], [count, classes])
        };
        if boxes.shape() != [&[batch][..], &own].concat()
            || scores.shape() != [&[batch][..], &wanted].concat()
        {
            let message = format!("boxes {:?} and scores {:?}", boxes.shape(), scores.shape());
            return Err(EvalError::undefined(message));
        }
        let most = usize::try_from(self.max_boxes).unwrap_or(usize::MAX);
        checked_count(&[batch, most, classes.max(4)])?;
        let rounded = |x: f64| {
            Ok::<_, EvalError>(Array::from_f64s(boxes.dtype(), &[], vec![x])?.to_f64s()?[0])
        };
        let selection = Selection {
            iou: rounded(self.iou_threshold.0)?,
            score: self.score_threshold.map(|t| rounded(t.0)).transpose()?,
            most,
            per_class: self.per_class_suppression,
        };
        let by_box = |array: &Array, width: usize| {
            Ok::<_, EvalError>(Rows { values: array.to_f64s()?, width, count, boxes_last })
        };
        let (box_rows, score_rows) = (by_box(boxes, 4)?, by_box(scores, classes)?);
        let mut indices = Vec::with_capacity(batch * most);
        let mut found = Vec::with_capacity(batch);
        for n in 0..batch {
            let kept = selection.of(&candidates(&box_rows, &score_rows, n));
            found.push(kept.len() as i64);
            indices.extend((0..most).map(|i| kept.get(i).map_or(-1, |&k| k as i64)));
        }
        let mut outputs: Outputs = Vec::new();
        for (rows, array) in [(&box_rows, boxes), (&score_rows, scores)] {
            let values = rows.selected(&indices, (batch, most));
            let shape =
                if boxes_last { [batch, rows.width, most] } else { [batch, most, rows.width] };
            outputs.push(Array::from_f64s(array.dtype(), &shape, values)?.into());
        }
        outputs.push(Array::from_i64s(DType::I32, &[batch, most], indices)?.into());
        if !boxes_last {
            outputs.push(Array::from_i64s(DType::I32, &[batch], found)?.into());
        }
        Ok(outputs)
    }
}

/// `width` numbers for each of `count` boxes, batch by batch, in either order of axes.
struct Rows {
    values: Vec<f64>,
    width: usize,
    count: usize,
    boxes_last: bool,
}

impl Rows {
    fn at(&self, n: usize, row: usize, i: usize) -> f64 {
        let start = n * self.width * self.count;
        let inner = if self.boxes_last { i * self.count + row } else { row * self.width + i };
        self.values[start + inner]
    }

    /// The rows at `indices`, zeros for negative ones, in the order of axes of the whole.
    fn selected(&self, indices: &[i64], (batch, most): (usize, usize)) -> Vec<f64> {
        let mut out = Vec::with_capacity(batch * most * self.width);
        let row = |n: usize, m: usize, i: usize| {
            usize::try_from(indices[n * most + m]).map_or(0.0, |row| self.at(n, row, i))
        };
        for n in 0..batch {
            if self.boxes_last {
                (0..self.width).for_each(|i| out.extend((0..most).map(|m| row(n, m, i))));
            } else {
                (0..most).for_each(|m| out.extend((0..self.width).map(|i| row(n, m, i))));
            }
        }
        out
    }
}

/// A box by its edges, with its score and class.
struct Candidate {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    score: f64,
    class: usize,
}

fn candidates(boxes: &Rows, scores: &Rows, n: usize) -> Vec<Candidate> {
    (0..boxes.count)
        .map(|row| {
            let [x, y, width, height] = [0, 1, 2, 3].map(|i| boxes.at(n, row, i));
            let (mut score, mut class) = (scores.at(n, row, 0), 0);
            for k in 1..scores.width {
                let other = scores.at(n, row, k);
                if other > score {
                    (score, class) = (other, k);
                }
            }
            Candidate {
                left: x - width / 2.0,
                right: x + width / 2.0,
                top: y - height / 2.0,
                bottom: y + height / 2.0,
                score,
                class,
            }
        })
        .collect()
}

impl Candidate {
    fn area(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }

    /// Intersection over union; 0 where a box has no area.
    fn overlap(&self, other: &Self) -> f64 {
        if self.area() <= 0.0 || other.area() <= 0.0 {
            return 0.0;
        }
        let width = (self.right.min(other.right) - self.left.max(other.left)).max(0.0);
        let height = (self.bottom.min(other.bottom) - self.top.max(other.top)).max(0.0);
        let both = width * height;
        both / (self.area() + other.area() - both)
    }
}

struct Selection {
    iou: f64,
    score: Option<f64>,
    most: usize,
    per_class: bool,
}

impl Selection {
    /// The selected boxes, best first.
    fn of(&self, all: &[Candidate]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..all.len()).collect();
        let key =
            |i: usize| if all[i].score.is_nan() { f64::NEG_INFINITY } else { all[i].score + 0.0 };
        order.sort_by(|&i, &j| key(j).total_cmp(&key(i)));
        let best = order.first().copied();
        if let Some(least) = self.score {
            order.retain(|&i| all[i].score >= least);
        }
        let mut kept: Vec<usize> = Vec::new();
        for i in order {
            if kept.len() == self.most {
                break;
            }
            let rivals = kept.iter().filter(|&&k| !self.per_class || all[k].class == all[i].class);
            if rivals.into_iter().all(|&k| all[k].overlap(&all[i]) <= self.iou) {
                kept.push(i);
            }
        }
        if kept.is_empty() {
            kept.extend(best);
        }
        kept
    }
}
