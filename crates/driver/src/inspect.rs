//! `mlc inspect` and `mlc dump`: what is in a model.

use std::collections::BTreeMap;
use std::path::Path;

use mlc_compress::HalfOr;
use mlc_coreml::blob::BlobReader;
use mlc_coreml::package::{Limits, PackageReader};
use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_tensor::{Tensor, TensorError};
use serde::Serialize;

use crate::feature::{FeatureReport, features};
use crate::{Driver, Kind};

/// A state of a function.
pub type StateReport = FeatureReport;

/// One function.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionReport {
    /// Its name.
    pub name: String,
    /// Inputs.
    pub inputs: Vec<FeatureReport>,
    /// Outputs.
    pub outputs: Vec<FeatureReport>,
    /// States.
    pub states: Vec<StateReport>,
    /// Ops by kind, constants not counted.
    pub ops: BTreeMap<String, usize>,
}

/// One constant.
#[derive(Debug, Clone, Serialize)]
pub struct WeightReport {
    /// Its name, where it has one.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its bytes.
    pub bytes: u64,
    /// How its elements are spread, where that was asked for and they are floats.
    pub histogram: Option<Histogram>,
}

/// How many elements lie in each of equal parts of their range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// The least finite element.
    pub min: f64,
    /// The greatest finite element.
    pub max: f64,
    /// Elements in each part.
    pub counts: Vec<u64>,
    /// Elements that are NaN or infinite.
    pub non_finite: u64,
}

impl Histogram {
    /// Parts of the range.
    const PARTS: usize = 24;

    /// That of a tensor of floats; none for others.
    ///
    /// # Errors
    /// Elements that cannot be read.
    fn of(tensor: &Tensor) -> Result<Option<Self>, TensorError> {
        let elements = match HalfOr::of(tensor.dtype()) {
            Some(float) => float.read(&tensor.bytes()?),
            None => return Ok(None),
        };
        let finite = || elements.iter().copied().filter(|x| x.is_finite());
        let (min, max) = finite()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let mut counts = vec![0; Self::PARTS];
        let width = f64::from(max) - f64::from(min);
        for x in finite() {
            let place = (f64::from(x) - f64::from(min)) / width * Self::PARTS as f64;
            counts[(place as usize).min(Self::PARTS - 1)] += 1;
        }
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return Ok(None);
        }
        let non_finite = elements.len() as u64 - total;
        Ok(Some(Self { min: min.into(), max: max.into(), counts, non_finite }))
    }
}

/// What is in a model.
#[derive(Debug, Clone, Serialize)]
pub struct InspectReport {
    /// What it is.
    pub source: String,
    /// Its kind.
    pub kind: &'static str,
    /// The lowest version of Core ML it says it needs.
    pub target: Option<String>,
    /// Its functions.
    pub functions: Vec<FunctionReport>,
    /// Elements of all constants.
    pub parameters: u64,
    /// Bytes of all constants.
    pub bytes: u64,
    /// The constants, largest first.
    pub weights: Vec<WeightReport>,
    /// Facts the model carries.
    pub metadata: BTreeMap<String, String>,
    /// Warnings.
    #[serde(skip)]
    pub diagnostics: Diagnostics,
}

impl Driver {
    /// Looks into the model at `path`; reads its weights for `histograms` alone.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn inspect(
        &self,
        path: &Path,
        from: Option<Kind>,
        histograms: bool,
    ) -> Result<InspectReport, Diagnostics> {
        let loaded = self.load(path, from)?;
        let program = &loaded.program;
        let functions = program
            .functions
            .iter()
            .map(|(_, function)| {
                let (inputs, outputs, states) =
                    features(program, &function.name, &loaded.package.features);
                let mut ops = BTreeMap::new();
                function.for_each_node(&mut |_, node| {
                    let name = function.nodes[node].op.spec().name;
                    if name != "const" {
                        *ops.entry(name.to_owned()).or_insert(0) += 1;
                    }
                });
                FunctionReport { name: function.name.clone(), inputs, outputs, states, ops }
            })
            .collect();
        let mut weights = program
            .consts
            .iter()
            .map(|(id, tensor)| {
                let histogram = match histograms && tensor.count() > 16 {
                    true => Histogram::of(tensor)?,
                    false => None,
                };
                let dims: Vec<String> = tensor.shape().iter().map(ToString::to_string).collect();
                Ok(WeightReport {
                    name: program.consts.name(id).unwrap_or_default().to_owned(),
                    ty: format!("{}[{}]", tensor.dtype(), dims.join(",")),
                    bytes: tensor.byte_len(),
                    histogram,
                })
            })
            .collect::<Result<Vec<_>, TensorError>>()
            .map_err(|error| {
                crate::input::file_problem(codes::CORRUPT_PACKAGE, path, error.to_string())
            })?;
        weights.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        Ok(InspectReport {
            source: loaded.description.clone(),
            kind: loaded.kind.as_str(),
            target: loaded.opset.map(|opset| opset.to_string()),
            functions,
            parameters: loaded.parameters,
            bytes: weights.iter().map(|w| w.bytes).sum(),
            weights,
            metadata: loaded.facts(),
            diagnostics: loaded.warnings,
        })
    }
}

/// The fields of the model file of the package at `path`, and its table of blobs, as text.
///
/// # Errors
/// It is no package, or a damaged one.
pub fn dump(path: &Path) -> Result<Vec<u8>, Diagnostics> {
    let failed = |message: String| {
        Diagnostics::from(crate::input::file_problem(codes::CORRUPT_PACKAGE, path, message))
    };
    if !path.exists() {
        let problem =
            crate::input::file_problem(codes::FILE_NOT_FOUND, path, "there is no such package");
        return Err(problem.into());
    }
    if !path.is_dir() {
        return Err(Diagnostic::new(
            codes::BAD_ARGUMENT,
            format!("`{}` is no package", path.display()),
        )
        .help("`mlc print` shows any model as text IR")
        .into());
    }
    let package =
        PackageReader::open(path, Limits::default()).map_err(|e| failed(e.to_string()))?;
    let bytes = package.model_bytes().map_err(|e| failed(e.to_string()))?;
    let loaded = package.model().map_err(|e| failed(e.to_string()))?;
    let files = package.all_weights(&loaded.model).map_err(|e| failed(e.to_string()))?;
    let mut readers = BTreeMap::new();
    for (name, file) in &files {
        readers.insert(
            name.clone(),
            BlobReader::new(file.bytes()).map_err(|e| failed(e.to_string()))?,
        );
    }
    let mut out = Vec::new();
    mlc_coreml::dump::write_dump(&mut out, &bytes, &readers).map_err(|e| failed(e.to_string()))?;
    Ok(out)
}
