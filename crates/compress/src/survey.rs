//! What each of several schemes would make of each weight.

use mlc_diag::{Diagnostic, codes};
use mlc_ir::Program;
use mlc_pass::Result;
use rayon::prelude::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::encode::{Weight, encode};
use crate::feedback::Layout;
use crate::float::HalfOr;
use crate::moments::{Calibration, Moments};
use crate::scheme::Scheme;
use crate::site::{Candidate, Selection, find};

/// What a scheme makes of a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The scheme; `None` for the weight as it is.
    pub scheme: Option<Scheme>,
    /// Bytes it takes.
    pub bytes: u64,
    /// Sum of squared errors: of the products with what was calibrated, or of the elements.
    pub noise: f64,
}

/// A weight, and what schemes make of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Surveyed {
    /// Its name.
    pub name: String,
    /// Elements of it.
    pub elements: u64,
    /// Sum of squares, of the products or of the elements.
    pub energy: f64,
    /// What schemes make of it, and itself, in order of bytes.
    pub choices: Vec<Choice>,
}

/// Tries `schemes` on the weights that `selection` names, in order. Schemes that do not fit a weight
/// are left out. Errors are those of products where a weight was calibrated.
///
/// # Errors
/// A condition that is none, or elements that cannot be read.
pub fn survey(
    program: &Program,
    selection: &Selection,
    schemes: &[Scheme],
    calibration: &Calibration,
) -> Result<Vec<Surveyed>> {
    let functions: Vec<_> = program.func_ids().collect();
    let found = find(program, &functions, selection)
        .map_err(|error| Diagnostic::new(codes::BAD_ARGUMENT, error.to_string()))?;
    let weights = found.weights.par_iter().with_max_len(1);
    weights.map(|(candidate, _)| try_all(candidate, schemes, calibration)).collect()
}

/// Elements of a weight that is judged by all of its rows; of a larger one some rows, in equal steps, count.
const JUDGED: usize = 1 << 18;

/// The squared error that `errors` of the elements do.
fn noise(candidate: &Candidate, moments: Option<&Moments>, errors: &[f32]) -> f64 {
    let shape: Vec<usize> = candidate.tensor.shape().iter().map(|&d| d as usize).collect();
    let layout = Layout::of(&shape, candidate.axes.output);
    match (moments, layout) {
        (Some(moments), Some(layout)) if moments.columns() == layout.columns => {
            let rows = layout.rows_of(errors);
            let step = if moments.groups() == 1 { (rows.len() / JUDGED).max(1) } else { 1 };
            if step == 1 {
                return moments.noise(&rows);
            }
            let lines = rows.chunks(layout.columns).step_by(step);
            let some: Vec<f32> = lines.flatten().copied().collect();
            moments.noise(&some) * rows.len() as f64 / some.len().max(1) as f64
        }
        _ => errors.iter().map(|&e| f64::from(e) * f64::from(e)).sum(),
    }
}

fn try_all(
    candidate: &Candidate,
    schemes: &[Scheme],
    calibration: &Calibration,
) -> Result<Surveyed> {
    let moments = calibration.moments.get(&candidate.id);
    let tensor = &candidate.tensor;
    let plain = Choice { scheme: None, bytes: tensor.byte_len(), noise: 0.0 };
    let mut surveyed = Surveyed {
        name: candidate.name.clone(),
        elements: tensor.count() as u64,
        energy: 0.0,
        choices: vec![plain],
    };
    let Some(float) = HalfOr::of(tensor.dtype()) else { return Ok(surveyed) };
    let elements = float.read(&tensor.bytes()?);
    surveyed.energy = noise(candidate, moments, &elements);
    let shape: Vec<usize> = tensor.shape().iter().map(|&d| d as usize).collect();
    for scheme in schemes {
        let weight = Weight {
            elements: &elements,
            shape: &shape,
            float,
            output: candidate.axes.output,
            input: candidate.axes.input,
            moments: moments.filter(|_| calibration.feedback),
        };
        let Ok((encoded, _)) = encode(weight, scheme) else { continue };
        let bytes = encoded.bytes();
        let mut errors = encoded.decode();
        errors.iter_mut().zip(&elements).for_each(|(y, x)| *y -= x);
        let noise = noise(candidate, moments, &errors);
        if bytes < tensor.byte_len() {
            surveyed.choices.push(Choice { scheme: Some(scheme.clone()), bytes, noise });
        }
    }
    surveyed.choices.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.noise.total_cmp(&b.noise)));
    Ok(surveyed)
}
