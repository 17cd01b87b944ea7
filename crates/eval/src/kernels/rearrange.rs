//! Moving elements between channels, batch and space.

use mlc_ir::ops::{
    BatchToSpace, DepthToSpace, PixelShuffle, PixelUnshuffle, SpaceToBatch, SpaceToDepth,
};

use crate::array::{Array, for_each_index, strides};
use crate::kernel::{EvalError, Kernel, KernelCx, Outputs};
use crate::kernels::window::checked_count;

impl Kernel for PixelShuffle {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, f) = (cx.array("x")?, block(self.upscale_factor)?);
        let [n, c, h, w] = image(x)?;
        moved(x, [n, divided(c, f * f)?, h * f, w * f], |[n, c, h, w]| {
            [n, c * f * f + h % f * f + w % f, h / f, w / f]
        })
    }
}

impl Kernel for PixelUnshuffle {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, f) = (cx.array("x")?, block(self.downscale_factor)?);
        let [n, c, h, w] = image(x)?;
        moved(x, [n, c * f * f, divided(h, f)?, divided(w, f)?], |[n, c, h, w]| {
            [n, c / (f * f), h * f + c / f % f, w * f + c % f]
        })
    }
}

impl Kernel for DepthToSpace {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, b) = (cx.array("x")?, block(self.block_size)?);
        let [n, c, h, w] = image(x)?;
        let channels = divided(c, b * b)?;
        moved(x, [n, channels, h * b, w * b], |[n, c, h, w]| {
            [n, (h % b * b + w % b) * channels + c, h / b, w / b]
        })
    }
}

impl Kernel for SpaceToDepth {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let (x, b) = (cx.array("x")?, block(self.block_size)?);
        let [n, channels, h, w] = image(x)?;
        moved(x, [n, channels * b * b, divided(h, b)?, divided(w, b)?], |[n, c, h, w]| {
            let (block, c) = (c / channels, c % channels);
            [n, c, h * b + block / b, w * b + block % b]
        })
    }
}

impl Kernel for SpaceToBatch {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let ([p, q], [top, bottom, left, right]) = blocks(&self.block_shape, &self.paddings)?;
        let [batch, c, height, width] = image(x)?;
        let shape = [
            batch * p * q,
            c,
            divided(height + top + bottom, p)?,
            divided(width + left + right, q)?,
        ];
        checked_count(&shape)?;
        // Padding reads the zero behind the last element.
        let (own, count) = (strides(x.shape()), x.count());
        let mut index = Vec::new();
        for_each_index(&shape, |at| {
            let (block, n) = (at[0] / batch, at[0] % batch);
            let h = (at[2] * p + block / q).checked_sub(top).filter(|&h| h < height);
            let w = (at[3] * q + block % q).checked_sub(left).filter(|&w| w < width);
            index.push(match (h, w) {
                (Some(h), Some(w)) => n * own[0] + at[1] * own[1] + h * own[2] + w,
                _ => count,
            });
        });
        let flat = x.candle().flatten_all()?;
        let zero = candle_core::Tensor::zeros(1, flat.dtype(), flat.device())?;
        let padded = Array::new(x.dtype(), candle_core::Tensor::cat(&[flat, zero], 0)?)?;
        Ok(vec![padded.pick(&shape, &index)?.into()])
    }
}

impl Kernel for BatchToSpace {
    fn eval(&self, cx: &mut KernelCx<'_, '_>) -> Result<Outputs, EvalError> {
        let x = cx.array("x")?;
        let ([p, q], [top, bottom, left, right]) = blocks(&self.block_shape, &self.crops)?;
        let [n, c, h, w] = image(x)?;
        let batch = divided(n, p * q)?;
        let (Some(height), Some(width)) =
            ((h * p).checked_sub(top + bottom), (w * q).checked_sub(left + right))
        else {
            return Err(EvalError::undefined(format!("`crops` {:?} of {h}x{w}", self.crops)));
        };
        moved(x, [batch, c, height, width], |[n, c, h, w]| {
            let (h, w) = (h + top, w + left);
            [(h % p * q + w % q) * batch + n, c, h / p, w / q]
        })
    }
}

fn image(x: &Array) -> Result<[usize; 4], EvalError> {
    x.shape()
        .try_into()
        .map_err(|_| EvalError::internal(format!("shape {:?} is no batch of images", x.shape())))
}

/// A block extent or an edge, bounded so that products do not overflow.
fn bounded(value: i64, least: i64) -> Result<usize, EvalError> {
    if (least..=65536).contains(&value) {
        Ok(value as usize)
    } else {
        Err(EvalError::unsupported(format!("{value} is not from {least} to 65536")))
    }
}

fn block(size: i64) -> Result<usize, EvalError> {
    bounded(size, 1)
}

fn blocks(block: &[i64], edges: &[i64]) -> Result<([usize; 2], [usize; 4]), EvalError> {
    let all = |values: &[i64], least| {
        values.iter().map(|&v| bounded(v, least)).collect::<Result<Vec<_>, _>>()
    };
    match (<[usize; 2]>::try_from(all(block, 1)?), <[usize; 4]>::try_from(all(edges, 0)?)) {
        (Ok(block), Ok(edges)) => Ok((block, edges)),
        _ => Err(EvalError::internal(format!("blocks {block:?} with edges {edges:?}"))),
    }
}

fn divided(extent: usize, by: usize) -> Result<usize, EvalError> {
    if extent.is_multiple_of(by) {
        Ok(extent / by)
    } else {
        Err(EvalError::undefined(format!("an extent of {extent} is no multiple of {by}")))
    }
}

/// The elements of `x` that `source` names for each place of `shape`.
fn moved(
    x: &Array,
    shape: [usize; 4],
    source: impl Fn([usize; 4]) -> [usize; 4],
) -> Result<Outputs, EvalError> {
    let own = strides(x.shape());
    let mut index = Vec::with_capacity(checked_count(&shape)?);
    for_each_index(&shape, |at| {
        let from = source([at[0], at[1], at[2], at[3]]);
        index.push(from.iter().zip(&own).map(|(i, stride)| i * stride).sum());
    });
    Ok(vec![x.pick(&shape, &index)?.into()])
}
