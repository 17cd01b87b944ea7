//! `mlc run`: evaluates a function with given inputs.

use std::path::Path;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_eval::{Array, EvalError, EvalValue, Evaluator};
use mlc_tensor::DType;
use serde::Serialize;

use crate::feed::{self, Feed, Feeds};
use crate::opt::no_function;
use crate::sizes::Sizes;
use crate::verify::main_of;
use crate::{Driver, Kind, interface};

/// What to run and with what.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Forces the kind of the model.
    pub from: Option<Kind>,
    /// The function; the default one of a package, `main`, or else the first.
    pub function: Option<String>,
    /// Inputs by name; others are random from seed 0.
    pub feeds: Vec<(String, Feed)>,
    /// Successive calls; states keep their values from one to the next.
    pub steps: usize,
}

/// One output.
#[derive(Debug, Clone, Serialize)]
pub struct OutputReport {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// Least finite element.
    pub min: f64,
    /// Greatest finite element.
    pub max: f64,
    /// Mean of the finite elements.
    pub mean: f64,
    /// Elements that are NaN or infinite.
    pub non_finite: usize,
    /// The first elements, at most 8.
    pub first: Vec<f64>,
    /// What a label is, or the labels to which the elements belong; empty for tensors.
    pub labels: Vec<String>,
    /// All elements.
    #[serde(skip)]
    pub array: Array,
}

impl OutputReport {
    /// The bytes of a `.npy` file with all elements.
    ///
    /// # Errors
    /// The elements cannot be read.
    pub fn to_npy(&self) -> Result<Vec<u8>, String> {
        crate::npy::write(&self.array)
    }
}

/// The outputs of the last call.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// The function that ran.
    pub function: String,
    /// How often.
    pub steps: usize,
    /// In order.
    pub outputs: Vec<OutputReport>,
    /// What reading a package warned of.
    #[serde(skip)]
    pub diagnostics: Diagnostics,
}

impl Driver {
    /// Evaluates a function of the model at `path`.
    ///
    /// # Errors
    /// The model cannot be read, inputs do not fit, or an op cannot be evaluated.
    pub fn run(&self, path: &Path, options: &RunOptions) -> Result<RunReport, Diagnostics> {
        let loaded = self.load(path, options.from)?;
        let program = &loaded.program;
        let default = || loaded.package.default_function.clone();
        let name = options.function.clone().or_else(default).unwrap_or_else(|| main_of(program));
        let func = program.function(&name).ok_or_else(|| no_function(program, &name))?;
        let function = &program.functions[func];
        let mut named = interface::usual_feeds(&loaded, function);
        named.extend_from_slice(&options.feeds);
        let sizes = Sizes::default();
        let plan = Feeds { named: &named, default: &Feed::Random(0), sizes: &sizes };
        let inputs = feed::inputs(program, function, &plan)?;
        let failed =
            |e: EvalError| Diagnostics::from(Diagnostic::new(codes::EVALUATION, e.to_string()));
        let mut evaluator = Evaluator::new(program, func);
        let mut states = evaluator.initial_states().map_err(failed)?;
        let steps = options.steps.max(1);
        let mut outputs = Vec::new();
        for _ in 0..steps {
            outputs = evaluator.run(&inputs, &mut states).map_err(failed)?;
        }
        let outputs = function
            .outputs
            .iter()
            .zip(outputs)
            .map(|(output, value)| describe(&output.name, value).map_err(failed))
            .collect::<Result<Vec<_>, Diagnostics>>()?;
        let diagnostics = match loaded.kind {
            Kind::Package => loaded.warnings,
            _ => Diagnostics::new(),
        };
        Ok(RunReport { function: name, steps, outputs, diagnostics })
    }
}

fn describe(name: &str, value: EvalValue) -> Result<OutputReport, EvalError> {
    let (array, labels, dtype) = match value {
        EvalValue::Strs(labels) => {
            (Array::from_f64s(DType::F64, &[0], Vec::new())?, labels, Some("string"))
        }
        EvalValue::Dict(entries) => {
            let (labels, numbers): (Vec<String>, Vec<f64>) = entries.into_iter().unzip();
            let array = Array::from_f64s(DType::F64, &[numbers.len()], numbers)?;
            (array, labels, Some("dict"))
        }
        value => (value.array()?.clone(), Vec::new(), None),
    };
    let values = array.to_f64s()?;
    let finite = || values.iter().copied().filter(|x| x.is_finite());
    let count = finite().count();
    Ok(OutputReport {
        name: name.to_owned(),
        dtype: dtype.map_or_else(|| array.dtype().to_string(), str::to_owned),
        shape: array.shape().to_vec(),
        min: finite().fold(f64::INFINITY, f64::min),
        max: finite().fold(f64::NEG_INFINITY, f64::max),
        mean: finite().sum::<f64>() / count.max(1) as f64,
        non_finite: values.len() - count,
        first: values.iter().copied().take(8).collect(),
        labels,
        array,
    })
}
