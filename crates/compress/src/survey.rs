//! What each of several schemes would make of each weight.

use mlc_ir::Program;
use mlc_pass::Result;
use rayon::prelude::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::encode::{Weight, encode};
use crate::float::HalfOr;
use crate::quality::Quality;
use crate::scheme::Scheme;
use crate::site::{Candidate, Selection, find};

/// What a scheme makes of a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The scheme; `None` for the weight as it is.
    pub scheme: Option<Scheme>,
    /// Bytes it takes.
    pub bytes: u64,
    /// Sum of squared errors.
    pub noise: f64,
}

/// A weight, and what schemes make of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Surveyed {
    /// Its name.
    pub name: String,
    /// Its elements.
    pub elements: u64,
    /// Sum of squares.
    pub energy: f64,
    /// What schemes make of it, and itself, in order of bytes.
    pub choices: Vec<Choice>,
}

/// Tries `schemes` on the weights that `selection` names, in order. Schemes that do not fit a weight
/// are left out.
///
/// # Errors
/// Elements that cannot be read.
pub fn survey(
    program: &Program,
    selection: &Selection,
    schemes: &[Scheme],
) -> Result<Vec<Surveyed>> {
    let functions: Vec<_> = program.func_ids().collect();
    let (candidates, _) = find(program, &functions, selection);
    candidates
        .par_iter()
        .with_max_len(1)
        .map(|(candidate, _)| try_all(candidate, schemes))
        .collect()
}

fn try_all(candidate: &Candidate, schemes: &[Scheme]) -> Result<Surveyed> {
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
    surveyed.energy = elements.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let shape: Vec<usize> = tensor.shape().iter().map(|&d| d as usize).collect();
    for scheme in schemes {
        let weight = Weight {
            elements: &elements,
            shape: &shape,
            float,
            output: candidate.axes.output,
            input: candidate.axes.input,
        };
        let Ok((encoded, _)) = encode(weight, scheme) else { continue };
        let quality = Quality::of(&elements, &encoded.decode());
        let (bytes, noise) = (encoded.bytes(), quality.mse * elements.len() as f64);
        if bytes < tensor.byte_len() {
            surveyed.choices.push(Choice { scheme: Some(scheme.clone()), bytes, noise });
        }
    }
    surveyed.choices.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.noise.total_cmp(&b.noise)));
    Ok(surveyed)
}
