//! Extents of sliding windows, shared by convolutions and pools.

use crate::attr::PadType;
use crate::dim::Dim;
use crate::infer::{OpError, OpResult};
use crate::types::TensorType;

/// How a window slides over the spatial axes. Every list has one entry an axis, `pad` two.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) strides: Vec<i64>,
    pub(crate) dilations: Vec<i64>,
    pub(crate) pad_type: PadType,
    pub(crate) pad: Vec<i64>,
}

impl Window {
    /// A window over `spatial` axes from attributes as written; empty lists are MIL's defaults.
    pub(crate) fn new(
        spatial: usize,
        strides: &[i64],
        dilations: &[i64],
        (pad_type, pad): (PadType, &[i64]),
    ) -> OpResult<Self> {
        Ok(Self {
            strides: positive("strides", strides, spatial)?,
            dilations: positive("dilations", dilations, spatial)?,
            pad_type,
            pad: padding(pad, spatial)?,
        })
    }

    /// `(k − 1)·dilation + 1`: what a kernel of extent `k` spans along spatial axis `axis`.
    pub(crate) fn span(&self, axis: usize, kernel: &Dim) -> Dim {
        kernel.sub(&Dim::Const(1)).mul(&Dim::Const(self.dilations[axis])).add(&Dim::Const(1))
    }

    /// The number of positions along spatial axis `axis`.
    pub(crate) fn positions(&self, axis: usize, input: &Dim, kernel: &Dim) -> OpResult<Dim> {
        let stride = Dim::Const(self.strides[axis]);
        let one = Dim::Const(1);
        let padded = match self.pad_type {
            PadType::Same | PadType::SameLower => return Ok(input.ceil_div(&stride)),
            PadType::Valid => input.clone(),
            PadType::Custom => {
                input.add(&Dim::Const(self.pad[2 * axis])).add(&Dim::Const(self.pad[2 * axis + 1]))
            }
        };
        let span = self.span(axis, kernel);
        let room = padded.sub(&span);
        if room.as_const().is_some_and(|n| n < 0) {
            let message = format!(
                "a window of {span} does not fit the padded extent {padded} of spatial axis {axis}"
            );
            return Err(OpError::shape(message));
        }
        Ok(room.floor_div(&stride).add(&one))
    }
}

/// The number of spatial axes of `x`: its rank less 2, from 1 to `most`.
pub(crate) fn spatial_rank(x: &TensorType, most: usize) -> OpResult<usize> {
    match x.rank().checked_sub(2) {
        Some(spatial) if (1..=most).contains(&spatial) => Ok(spatial),
        _ => Err(OpError::shape(format!("`x` is {x}, a rank from 3 to {} is needed", most + 2))),
    }
}

/// A list of `count` numbers of at least 1; all 1 where it is empty.
pub(crate) fn positive(name: &str, values: &[i64], count: usize) -> OpResult<Vec<i64>> {
    if values.is_empty() {
        return Ok(vec![1; count]);
    }
    if values.len() != count || values.iter().any(|&v| v < 1) {
        let message = format!("`{name}` is {values:?}, {count} numbers of at least 1 are needed");
        return Err(OpError::attr(message));
    }
    Ok(values.to_vec())
}

fn padding(pad: &[i64], spatial: usize) -> OpResult<Vec<i64>> {
    if pad.is_empty() {
        return Ok(vec![0; 2 * spatial]);
    }
    if pad.len() != 2 * spatial || pad.iter().any(|&p| p < 0) {
        let count = 2 * spatial;
        let message = format!("`pad` is {pad:?}, {count} numbers of at least 0 are needed");
        return Err(OpError::attr(message));
    }
    Ok(pad.to_vec())
}
