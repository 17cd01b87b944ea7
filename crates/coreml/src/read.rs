//! A package as a program.
//!
//! Every operation is read by one rule, the inverse of [`crate::emit`]: arguments that are operands of
//! the op's entry become operands, those that are attributes must be constants, and an argument that
//! is left out means MIL's default. Types are inferred anew; the declared ones tell extents that
//! inference leaves open, and must not contradict. What has no place in the IR is reported, all of
//! it; nothing is dropped.
//!
//! Constants in weight files stay there: the program refers to the mapped files.

mod attrs;
mod block;
mod constexpr;
mod description;
mod error;
mod function;
mod indices;
mod types;
mod values;

use std::path::Path;

use mlc_diag::{Code, Diagnostic, Diagnostics, Place, codes};
use mlc_ir::ops::Op;
use mlc_ir::{Program, verify};
use mlc_target::Opset;
use mlc_tensor::DType;

use crate::interface::{Features, ModelMetadata};
use crate::package::{Limits, PackageReader};
use crate::spec::{Metadata, Model, ModelDescription, model};
use values::Weights;

/// A package that was read.
#[derive(Debug, Clone)]
pub struct Read {
    /// Its functions and constants.
    pub program: Program,
    /// The version of ML Programs it was written for.
    pub opset: Opset,
    /// Text for people and tools.
    pub metadata: ModelMetadata,
    /// How features look to the caller, where their types do not say it.
    pub features: Features,
    /// The function that runs when the caller names none, where there are several.
    pub default_function: Option<String>,
    /// What the user should know and what did not keep the package from being read.
    pub warnings: Diagnostics,
}

/// Reads the package in directory `path`.
///
/// # Errors
/// The package is damaged, or everything in it that has no place in the IR.
pub fn read(path: &Path) -> Result<Read, Diagnostics> {
    let failed = |error| error::package(&error);
    let package = PackageReader::open(path, Limits::default()).map_err(failed)?;
    let loaded = package.model().map_err(failed)?;
    let weights = package.all_weights(&loaded.model).map_err(failed)?;
    let file =
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut reading = Reading {
        file,
        weights,
        opset: Opset::Ios15,
        program: Program::new(),
        features: Features::new(),
        found: Diagnostics::new(),
    };
    for field in &loaded.unknown.listed {
        reading.report(codes::UNSUPPORTED_SCHEMA, "model.mlmodel", format!("{field} is not known"));
    }
    if loaded.unknown.total > loaded.unknown.listed.len() as u64 {
        let rest = loaded.unknown.total - loaded.unknown.listed.len() as u64;
        let message = format!("{rest} more fields are not known");
        reading.report(codes::UNSUPPORTED_SCHEMA, "model.mlmodel", message);
    }
    reading.model(&loaded.model)
}

/// A package while it is read.
struct Reading {
    file: String,
    weights: Weights,
    opset: Opset,
    program: Program,
    features: Features,
    found: Diagnostics,
}

impl Reading {
    fn report(&mut self, code: Code, entry: &str, message: impl Into<String>) {
        let place = Place::Entry { file: self.file.as_str().into(), entry: entry.into() };
        self.found.push(Diagnostic::new(code, message).at(place));
    }

    fn model(mut self, model: &Model) -> Result<Read, Diagnostics> {
        let Some(model::Type::MlProgram(program)) = &model.r#type else {
            let message = "the model is a pipeline of models, which is not supported";
            let place =
                Place::Entry { file: self.file.as_str().into(), entry: "model.mlmodel".into() };
            self.found.push(
                Diagnostic::new(codes::UNSUPPORTED_SCHEMA, message)
                    .at(place)
                    .help("convert each of its models to a package of its own"),
            );
            return Err(self.found);
        };
        let version = model.specification_version;
        match Opset::from_spec_version(version) {
            Some(opset) => self.opset = opset,
            None => {
                let message =
                    format!("specification version {version} has no ML Programs known here");
                self.report(codes::UNSUPPORTED_SCHEMA, "model.mlmodel", message);
                return Err(self.found);
            }
        }
        if program.version != 1 {
            let message = format!("program version {} is not known, 1 is", program.version);
            self.report(codes::UNSUPPORTED_SCHEMA, "mlProgram", message);
        }
        if model.is_updatable {
            let message = "updatable models are not supported";
            self.report(codes::UNSUPPORTED_SCHEMA, "model.mlmodel", message);
        }
        let description = model.description.clone().unwrap_or_default();
        for (name, function) in &program.functions {
            function::read(&mut self, name, function, &description);
        }
        if program.functions.is_empty() {
            self.report(codes::CORRUPT_PACKAGE, "mlProgram", "the program has no function");
        }
        self.finish(&description)
    }

    /// Warns of products with an infinite f16 number: what was a large finite one in the source, such as
    /// that of a mask, makes every 0 it is multiplied with no number.
    fn infinite_factors(&mut self) {
        let program = &self.program;
        let mut found = Vec::new();
        for (_, function) in program.functions.iter() {
            function.for_each_node(&mut |_, node| {
                let data = &function.nodes[node];
                if !matches!(data.op, Op::Mul(_)) {
                    return;
                }
                for &value in data.operands.all() {
                    let constant = program.constant_of(function, value);
                    let short = constant.filter(|c| c.dtype() == DType::F16 && c.count() <= 16);
                    let numbers = short.and_then(|c| c.to_f64s().ok()).unwrap_or_default();
                    if let Some(x) = numbers.iter().find(|x| x.is_infinite()) {
                        let message = format!("a factor is {x} in f16, and times 0 no number");
                        found.push(
                            Diagnostic::new(codes::FP16_OVERFLOW_CONST, message)
                                .at_op(program.loc(data.loc))
                                .help("convert the model anew with a mask of at most 65504"),
                        );
                    }
                }
            });
        }
        for diagnostic in found {
            self.found.push(diagnostic);
        }
    }

    fn finish(mut self, description: &ModelDescription) -> Result<Read, Diagnostics> {
        if !self.found.has_errors() {
            self.found.extend(verify(&self.program));
        }
        if self.found.has_errors() {
            return Err(self.found);
        }
        self.infinite_factors();
        let name = &description.default_function_name;
        Ok(Read {
            program: self.program,
            opset: self.opset,
            metadata: metadata(description.metadata.as_ref()),
            features: self.features,
            default_function: (!name.is_empty()).then(|| name.clone()),
            warnings: self.found,
        })
    }
}

fn metadata(metadata: Option<&Metadata>) -> ModelMetadata {
    let metadata = metadata.cloned().unwrap_or_default();
    ModelMetadata {
        short_description: metadata.short_description,
        version: metadata.version_string,
        author: metadata.author,
        license: metadata.license,
        user_defined: metadata.user_defined,
    }
}
