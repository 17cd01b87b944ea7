//! `mlc inspect` and `mlc dump`: what is in a model.

use std::collections::BTreeMap;
use std::path::Path;

use mlc_coreml::blob::BlobReader;
use mlc_coreml::package::{Limits, PackageReader};
use mlc_diag::{Diagnostic, Diagnostics, codes};
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
    /// Looks into the model at `path`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn inspect(&self, path: &Path, from: Option<Kind>) -> Result<InspectReport, Diagnostics> {
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
        let mut weights: Vec<WeightReport> = program
            .consts
            .iter()
            .map(|(id, tensor)| {
                let dims: Vec<String> = tensor.shape().iter().map(ToString::to_string).collect();
                WeightReport {
                    name: program.consts.name(id).unwrap_or_default().to_owned(),
                    ty: format!("{}[{}]", tensor.dtype(), dims.join(",")),
                    bytes: tensor.byte_len(),
                }
            })
            .collect();
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
