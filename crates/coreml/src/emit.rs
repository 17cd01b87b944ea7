//! A legal program as a package.
//!
//! Every op of the table is written by one rule: operands by name; attributes as constants of the
//! types that the op's signature in the opset asks for; results with their types. What the opset does
//! not take is reported, all of it, before a file is touched; nothing is changed to make it fit.
//!
//! Float attributes are rounded to the type of their parameter. Passes keep them representable.

mod attrs;
mod constexpr;
mod description;
mod error;
mod function;
mod legal;
mod names;
mod types;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use mlc_diag::{Diagnostic, Diagnostics, codes};
use mlc_ir::{NodeData, Program};
use mlc_target::Opset;
use mlc_target::io::MULTI_FUNCTION_SINCE;
use prost::Message as _;

pub(crate) use legal::takes_inputs;

use crate::blob::BlobDigest;
use crate::interface::{Features, ModelMetadata};
use crate::package::{Existing, PackageWriter, WeightFile};
use crate::spec::{Metadata, Model, ModelDescription, mil, model};
use values::Values;

/// The function that runs when the caller names none and there is no other choice.
const MAIN: &str = "main";
const WEIGHT_FILE: &str = "weight.bin";

/// What a package is to be, beside its program.
#[derive(Debug, Clone, PartialEq)]
pub struct EmitOptions {
    /// The version of ML Programs to write.
    pub opset: Opset,
    /// Text for people and tools.
    pub metadata: ModelMetadata,
    /// How features look to the caller, where their types do not say it.
    pub features: Features,
    /// The function that runs when the caller names none; `main`, or else the first, if `None`.
    pub default_function: Option<String>,
}

impl EmitOptions {
    /// Plain arrays and no text.
    #[must_use]
    pub fn new(opset: Opset) -> Self {
        Self {
            opset,
            metadata: ModelMetadata::default(),
            features: Features::new(),
            default_function: None,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// Bytes of the model file.
    pub model_bytes: u64,
    /// Bytes of the weight file; 0 without one.
    pub weight_bytes: u64,
    /// Constants in the weight file.
    pub blobs: u32,
    /// Uses of a constant in the weight file beyond the first.
    pub shared: u64,
    /// Digest of model and weights: equal packages, and only they, have equal ids.
    pub id: BlobDigest,
    /// Notes, such as features that got another name.
    pub notes: Diagnostics,
}

/// Writes `program` as the package `goal`, whose name ends in `.mlpackage`. The same program and
/// options give the same bytes.
///
/// # Errors
/// Everything in the program that the opset does not take, or why the package cannot be written.
/// Nothing is at `goal` then that was not there before.
pub fn emit(
    program: &Program,
    goal: &Path,
    options: &EmitOptions,
    existing: Existing,
) -> Result<Emitted, Diagnostics> {
    let findings = check(program, options);
    if findings.has_errors() {
        return Err(findings);
    }
    let failed = |error| error::package(&error);
    let mut package = PackageWriter::create(goal, existing).map_err(failed)?;
    let mut weights = package.weights(WEIGHT_FILE).map_err(failed)?;
    let mut emission = Emission::new(program, options, Some(&mut weights));
    let model = emission.model()?;
    if emission.found.has_errors() {
        return Err(emission.found);
    }
    let shared = emission.values.shared;
    let weights = package.add_weights(weights).map_err(failed)?;
    let mut id = blake3::Hasher::new();
    let encoded = model.encode_to_vec();
    id.update(blake3::hash(&encoded).as_bytes());
    let model_bytes = encoded.len() as u64;
    drop(encoded);
    let (mut weight_bytes, mut blobs) = (0, 0);
    if let Some(weights) = weights {
        id.update(weights.digest.as_bytes());
        (weight_bytes, blobs) = (weights.byte_len, weights.count);
    }
    package.commit(&model).map_err(failed)?;
    Ok(Emitted {
        model_bytes,
        weight_bytes,
        blobs,
        shared,
        id: BlobDigest::from_bytes(*id.finalize().as_bytes()),
        notes: findings,
    })
}

/// Everything that keeps `program` from being written with `options`, and what is worth a note.
/// Reads no large constant and writes nothing.
#[must_use]
pub fn check(program: &Program, options: &EmitOptions) -> Diagnostics {
    let mut emission = Emission::new(program, options, None);
    match emission.model() {
        Ok(_) => emission.found,
        Err(problems) => {
            emission.found.extend(problems);
            emission.found
        }
    }
}

/// A package in the making.
struct Emission<'p, 'w> {
    program: &'p Program,
    options: &'p EmitOptions,
    values: Values<'w>,
    found: Diagnostics,
}

impl<'p, 'w> Emission<'p, 'w> {
    fn new(
        program: &'p Program,
        options: &'p EmitOptions,
        weights: Option<&'w mut WeightFile>,
    ) -> Self {
        let values = Values::new(options.opset, weights);
        Self { program, options, values, found: Diagnostics::new() }
    }

    fn opset(&self) -> Opset {
        self.options.opset
    }

    fn internal(&mut self, message: String) {
        self.found.push(Diagnostic::new(codes::INTERNAL, message));
    }

    /// Adds the place of an op to what went wrong with a constant of it.
    fn at<T>(&self, data: &NodeData, result: Result<T, Diagnostics>) -> Result<T, Diagnostics> {
        let loc = self.program.loc(data.loc);
        result.map_err(|problems| problems.into_iter().map(|p| p.at_op(loc)).collect())
    }

    fn model(&mut self) -> Result<Model, Diagnostics> {
        let program = self.program;
        let options = self.options;
        let count = program.functions.len();
        let mut functions = BTreeMap::new();
        let mut described = Vec::new();
        for (_, function) in program.functions.iter() {
            let emitted = function::emit(self, function)?;
            described.push(description::describe(self, function, &emitted));
            functions.insert(function.name.clone(), emitted.function);
        }
        self.check_features();
        let is_plain = count == 1 && functions.contains_key(MAIN);
        if count == 0 {
            let message = "the program has no function";
            self.found.push(Diagnostic::new(codes::INVALID_IR, message));
        } else if !is_plain && self.opset() < MULTI_FUNCTION_SINCE {
            self.needs_functions(count);
        }
        let mut description =
            ModelDescription { metadata: Some(metadata(&options.metadata)), ..Default::default() };
        if is_plain && let Some(main) = described.pop() {
            description.input = main.input;
            description.output = main.output;
            description.state = main.state;
            description.predicted_feature_name = main.predicted_feature_name;
            description.predicted_probabilities_name = main.predicted_probabilities_name;
        } else {
            description.default_function_name = self.default_function(&functions);
            description.functions = described;
        }
        let program = mil::Program { version: 1, functions, ..Default::default() };
        Ok(Model {
            specification_version: self.opset().spec_version(),
            description: Some(description),
            r#type: Some(model::Type::MlProgram(program)),
            ..Default::default()
        })
    }

    /// Options must name features that exist.
    fn check_features(&mut self) {
        for key in self.options.features.keys() {
            let function = self.program.function(&key.function);
            let exists = function.is_some_and(|id| {
                let function = &self.program.functions[id];
                function.params.iter().any(|param| param.name == key.name)
                    || function.outputs.iter().any(|output| output.name == key.name)
            });
            if !exists {
                let message = format!("`{}` has no feature `{}`", key.function, key.name);
                self.found.push(Diagnostic::new(codes::BAD_ARGUMENT, message));
            }
        }
    }

    fn needs_functions(&mut self, count: usize) {
        let since = MULTI_FUNCTION_SINCE;
        let message = if count == 1 {
            let name = self.program.functions.iter().next().map_or("", |(_, f)| f.name.as_str());
            format!("a function called `{name}` needs {}, before that it is `main`", since.label())
        } else {
            let opset = self.opset().label();
            format!("{count} functions need {}, the target is {opset}", since.label())
        };
        self.found.push(
            Diagnostic::new(codes::TARGET_TOO_OLD, message)
                .help(format!("target {}", since.label()))
                .fix(format!("--target {since}")),
        );
    }

    fn default_function(&mut self, functions: &BTreeMap<String, mil::Function>) -> String {
        let first = || self.program.functions.iter().next().map(|(_, f)| f.name.clone());
        let main = || functions.contains_key(MAIN).then(|| MAIN.to_owned());
        match &self.options.default_function {
            Some(name) if functions.contains_key(name) => name.clone(),
            Some(name) => {
                let message = format!("there is no function `{name}` to run by default");
                self.found.push(Diagnostic::new(codes::BAD_ARGUMENT, message));
                String::new()
            }
            None => main().or_else(first).unwrap_or_default(),
        }
    }
}

fn metadata(metadata: &ModelMetadata) -> Metadata {
    Metadata {
        short_description: metadata.short_description.clone(),
        version_string: metadata.version.clone(),
        author: metadata.author.clone(),
        license: metadata.license.clone(),
        user_defined: metadata.user_defined.clone(),
    }
}
