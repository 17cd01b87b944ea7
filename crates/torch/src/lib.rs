//! The PyTorch frontend: reads what `torch.export.save` wrote, without Python, and lowers it to IR.
//!
//! Both generations of the archive are read: torch 2.5 to 2.7 (a plain zip with pickled weights) and
//! 2.8 and later (a PyTorch archive, from 2.9 on with raw weights). Weights stay ranges of the mapped
//! file; nothing of them is read here.
//!
//! Layers, each on the one before: [`archive`] (zip entries as ranges), [`pickle`] (inert Python
//! values), [`torch_save`] (tensors in pickles), weights of both generations, the JSON schema,
//! [`symexpr`] (symbolic sizes), [`graph`] (a typed and checked graph of ATen ops with its weights) and
//! [`lower`] (from there to IR).
//!
//! **Invariant:** no byte of a file is executed, and every input gives a program or a diagnostic.

pub mod archive;
pub mod dtype;
pub mod graph;
pub mod lower;
pub mod pickle;
mod report;
mod schema;
pub mod script;
pub mod symexpr;
pub mod torch_save;
mod weights;

use std::path::Path;
use std::sync::Arc;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes, nearest};

use crate::archive::{Archive, Format};
use crate::graph::ExportedProgram;
use crate::graph::signature::Stored;
use crate::report::Report;
use crate::weights::{DictError, Kind};

/// Major versions of the schema that are read.
const MAJORS: std::ops::RangeInclusive<u32> = 7..=8;

/// Reads the exported program in the file at `path`.
///
/// # Errors
/// All problems found: the file cannot be read, is of another format, holds several programs, or is
/// not sound.
pub fn read(path: &Path) -> Result<ExportedProgram, Diagnostics> {
    read_model(path, None)
}

/// Reads the program called `model` in the file at `path`; `None` stands for the only one.
///
/// # Errors
/// As [`read`]; there is no program of that name.
pub fn read_model(path: &Path, model: Option<&str>) -> Result<ExportedProgram, Diagnostics> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let file: Arc<str> = name.as_ref().into();
    let archive = Archive::open(path).map_err(|e| report::archive(&e, &file))?;
    let source = locate(&archive, model)?;
    let mut report = Report::new(Arc::clone(archive.name()));
    let (header, program) = parse(&archive, &source.program)?;
    let mut dict = |kind| match source.dict(&archive, kind) {
        Ok(dict) => dict,
        Err(e) => {
            let message = format!("weights cannot be read: {}", e.error);
            report.at_entry(codes::CORRUPT_WEIGHTS, message, &e.entry);
            torch_save::Weights::new()
        }
    };
    let stored = Stored { weights: dict(Kind::Weights), constants: dict(Kind::Constants) };
    if report.has_errors() {
        return Err(report.into_diagnostics());
    }
    let program = graph::program::program(header, &program, &stored, &mut report);
    if report.has_errors() { Err(report.into_diagnostics()) } else { Ok(program) }
}

/// Where in an archive a program lies.
struct Source {
    /// Entry of its JSON.
    program: String,
    /// Prefix and name in an archive of the second generation.
    v2: Option<(String, String)>,
}

impl Source {
    fn dict(&self, archive: &Archive, kind: Kind) -> Result<torch_save::Weights, DictError> {
        match &self.v2 {
            None => weights::read_v1(archive, kind),
            Some((prefix, model)) => weights::read_v2(archive, prefix, model, kind),
        }
    }
}

fn locate(archive: &Archive, model: Option<&str>) -> Result<Source, Diagnostics> {
    let file = archive.name();
    let place = || Place::Entry { file: Arc::clone(file), entry: "".into() };
    let foreign = |what: &str, help: &str| {
        let message = format!("`{file}` is no file of torch.export: {what}");
        Err(Diagnostic::new(codes::UNKNOWN_FORMAT, message).at(place()).help(help).into())
    };
    match archive.format() {
        Format::ExportV1 => match model {
            None | Some("model") => {
                Ok(Source { program: "serialized_exported_program.json".into(), v2: None })
            }
            Some(name) => Err(no_model(name, &["model"], place())),
        },
        Format::ExportV2 { prefix } => {
            if weights::is_big_endian(archive, &prefix) {
                let message = format!("`{file}` was written on a big-endian machine");
                return Err(Diagnostic::new(codes::UNKNOWN_FORMAT, message).at(place()).into());
            }
            let folder = format!("{prefix}models/");
            let models: Vec<&str> = archive
                .entries()
                .filter_map(|entry| entry.strip_prefix(&folder))
                .filter(|name| archive::is_model_name(name))
                .filter_map(|name| name.strip_suffix(".json"))
                .collect();
            let name = match (model, models.as_slice()) {
                (Some(name), all) if all.contains(&name) => name,
                (Some(name), all) => return Err(no_model(name, all, place())),
                (None, [only]) => only,
                (None, all) => {
                    let message = format!("`{file}` holds {} models", all.len());
                    return Err(Diagnostic::new(codes::BAD_ARGUMENT, message)
                        .at(place())
                        .note(format!("their names are {}", all.join(", ")))
                        .help("choose one by name")
                        .into());
                }
            };
            let v2 = Some((prefix.clone(), name.to_owned()));
            Ok(Source { program: format!("{folder}{name}.json"), v2 })
        }
        Format::TorchScript => foreign(
            "it is TorchScript, as `torch.jit.save` writes it",
            "export the model with `torch.export.export` and save it with `torch.export.save`",
        ),
        Format::TorchSave { .. } => foreign(
            "it holds tensors or a pickled object, as `torch.save` writes them",
            "load it in Python, then export the model with `torch.export.export`",
        ),
        Format::OtherPackage => foreign(
            "it is a package of compiled code without the program",
            "save the exported program with `torch.export.save`",
        ),
        Format::Unknown => foreign(
            "it is a zip archive with neither program nor weights",
            "save the exported program with `torch.export.save`",
        ),
    }
}

fn no_model(name: &str, known: &[&str], place: Place) -> Diagnostics {
    let message = format!("there is no model `{name}` in the file");
    let near = nearest(name, known.iter().copied());
    let shown = if near.is_empty() { known.join(", ") } else { near.join(", ") };
    Diagnostic::new(codes::BAD_ARGUMENT, message).at(place).help(format!("there is {shown}")).into()
}

fn parse(
    archive: &Archive,
    entry: &str,
) -> Result<(schema::Header, schema::ExportedProgram), Diagnostics> {
    let place = Place::Entry { file: Arc::clone(archive.name()), entry: entry.into() };
    let text = archive.read(entry).map_err(|e| report::archive(&e, archive.name()))?;
    let bad = |e: serde_json::Error| -> Diagnostics {
        let (code, what) = match e.classify() {
            serde_json::error::Category::Data => {
                (codes::INVALID_GRAPH, "the program is not as the schema has it")
            }
            _ => (codes::CORRUPT_ARCHIVE, "the program is no JSON"),
        };
        Diagnostic::new(code, format!("{what}: {e}")).at(place.clone()).into()
    };
    let header: schema::Header = serde_json::from_slice(&text).map_err(bad)?;
    let schema::SchemaVersion { major, minor } = header.schema_version;
    if !MAJORS.contains(&major) {
        let torch = header.torch_version.as_deref().unwrap_or("an unknown version");
        let message = format!("schema {major}.{minor} of torch.export is not supported");
        return Err(Diagnostic::new(codes::UNSUPPORTED_SCHEMA, message)
            .at(place)
            .note(format!("the file was written by torch {torch}; versions 7 and 8 are read"))
            .help("export the model again with torch 2.5 or later")
            .into());
    }
    let program = serde_json::from_slice(&text).map_err(bad)?;
    Ok((header, program))
}
