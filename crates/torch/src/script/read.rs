//! Opens archives.

use std::path::Path;
use std::sync::Arc;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};

use super::debug::Lines;
use super::module::{Part, ScriptModule};
use super::parse;
use super::source::{SourceFile, Sources};
use crate::archive::{Archive, Format};
use crate::pickle::{self, Pickle, Value};
use crate::report::{self, Report};
use crate::weights::is_big_endian;

/// Formats that are read. Older ones give some ops another meaning.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=10;
/// Bytes of source that are read.
const MAX_SOURCE: u64 = 64 << 20;

/// Reads the archive of `torch.jit.save` at `path`.
///
/// # Errors
/// All problems found: the file cannot be read, is of another format, would run code, or is not sound.
pub fn read(path: &Path) -> Result<ScriptModule, Diagnostics> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let file: Arc<str> = name.as_ref().into();
    let archive = Archive::open(path).map_err(|e| report::archive(&e, &file))?;
    let prefix = prefix(&archive)?;
    let mut report = Report::new(Arc::clone(archive.name()));
    let version = version(&archive, &prefix, &mut report);
    if is_big_endian(&archive, &prefix) {
        report.at_entry(codes::UNKNOWN_FORMAT, "the file is of a big-endian machine", "byteorder");
    }
    let data = part(&archive, &prefix, "data", &mut report);
    let has_constants = archive.contains(&format!("{prefix}constants.pkl"));
    let constants = if has_constants {
        part(&archive, &prefix, "constants", &mut report)
    } else {
        pickle::read(b"\x80\x02).").ok().map(|pickle| Part { pickle, folder: prefix.clone() })
    };
    // A trace's inputs are a help; without them the user is asked.
    let mut unheeded = Report::new(Arc::clone(archive.name()));
    let traced = archive
        .contains(&format!("{prefix}traced_inputs.pkl"))
        .then(|| part(&archive, &prefix, "traced_inputs", &mut unheeded))
        .flatten();
    let sources = sources(&archive, &prefix, &mut report);
    match (data, constants) {
        (Some(data), Some(constants)) if !report.has_errors() => {
            Ok(ScriptModule { archive, data, constants, traced, sources, version })
        }
        _ => Err(report.into_diagnostics()),
    }
}

/// The folder that all entries lie in.
fn prefix(archive: &Archive) -> Result<String, Diagnostics> {
    let foreign = |what: &str, help: &str| {
        let file = archive.name();
        let place = Place::Entry { file: Arc::clone(file), entry: "".into() };
        let message = format!("`{file}` is no TorchScript archive: {what}");
        Err(Diagnostic::new(codes::UNKNOWN_FORMAT, message).at(place).help(help).into())
    };
    match archive.format() {
        Format::TorchScript => {}
        Format::ExportV1 | Format::ExportV2 { .. } => {
            return foreign("`torch.export.save` wrote it", "read it with `--from pt2`");
        }
        Format::TorchSave { .. } => {
            return foreign(
                "it holds tensors or a pickled object, as `torch.save` writes them, and no code",
                "load it in Python, then save `torch.jit.trace(model, example)` or the result of \
                 `torch.export.export`",
            );
        }
        Format::OtherPackage | Format::Unknown => {
            return foreign("it holds neither code nor a module", "write it with `torch.jit.save`");
        }
    }
    let at = |entry: &str| {
        let prefix = entry.strip_suffix("data.pkl")?;
        (prefix.matches('/').count() <= 1).then(|| prefix.to_owned())
    };
    match archive.entries().find_map(at) {
        Some(prefix) => Ok(prefix),
        None => foreign("it has no `data.pkl`", "write it with `torch.jit.save`"),
    }
}

fn version(archive: &Archive, prefix: &str, report: &mut Report) -> u32 {
    let read = |entry: &str| {
        let blob = archive.blob(&format!("{prefix}{entry}")).ok()?;
        std::str::from_utf8(&blob.bytes().ok()?).ok()?.trim().parse::<u32>().ok()
    };
    let version = read("version").or_else(|| read(".data/version"));
    match version {
        Some(version) if VERSIONS.contains(&version) => version,
        Some(version) => {
            let message = format!("version {version} of the format is not supported");
            let place = report.place("version");
            report.push(
                Diagnostic::new(codes::UNSUPPORTED_SCHEMA, message)
                    .at(place)
                    .note(format!("versions {} to {} are read", VERSIONS.start(), VERSIONS.end()))
                    .help("load the file with torch 1.8 or later and save it again"),
            );
            version
        }
        None => {
            report.at_entry(codes::CORRUPT_ARCHIVE, "the version is no number", "version");
            0
        }
    }
}

fn part(archive: &Archive, prefix: &str, name: &str, report: &mut Report) -> Option<Part> {
    let entry = format!("{name}.pkl");
    let bytes = match archive.read(&format!("{prefix}{entry}")) {
        Ok(bytes) => bytes,
        Err(error) => {
            report.push(report::archive(&error, archive.name()));
            return None;
        }
    };
    match pickle::read(&bytes) {
        Ok(pickle) => {
            let fine = check_calls(&pickle, &entry, report);
            fine.then(|| Part { pickle, folder: format!("{prefix}{name}/") })
        }
        Err(error) => {
            report.at_entry(codes::CORRUPT_ARCHIVE, error.to_string(), &entry);
            None
        }
    }
}

/// Whether everything that the pickle would call is of torch's own making. Nothing is called here; a
/// pickle that asks for more was not written by torch.
fn check_calls(pickle: &Pickle, entry: &str, report: &mut Report) -> bool {
    let mut fine = true;
    for value in pickle.values() {
        let Value::Object(object) = value else { continue };
        let (module, name) = pickle.global(object.callable).unwrap_or_default();
        let known = match module {
            "torch._utils" | "torch._tensor" => name.starts_with("_rebuild_"),
            "torch.jit._pickle" => true,
            "torch" => matches!(name, "device" | "Size"),
            "collections" => name == "OrderedDict",
            "builtins" | "__builtin__" => name == "complex",
            module => module == "__torch__" || module.starts_with("__torch__."),
        };
        if !known {
            let called = pickle.describe(object.callable);
            let place = report.place(entry);
            report.push(
                Diagnostic::new(codes::CORRUPT_ARCHIVE, format!("the pickle calls {called}"))
                    .at(place)
                    .note("torch writes no such call, and nothing was run")
                    .help("do not load this file in Python; get it from a source you trust"),
            );
            fine = false;
        }
    }
    fine
}

fn sources(archive: &Archive, prefix: &str, report: &mut Report) -> Sources {
    let mut sources = Sources::default();
    let folder = format!("{prefix}code/");
    let mut budget = MAX_SOURCE;
    for entry in archive.entries() {
        let Some(name) = entry.strip_prefix(&folder) else { continue };
        let Some(module) = name.strip_suffix(".py") else { continue };
        let text = match archive.read(entry) {
            Ok(bytes) => bytes,
            Err(error) => {
                report.push(report::archive(&error, archive.name()));
                continue;
            }
        };
        budget = budget.saturating_sub(text.len() as u64);
        if budget == 0 {
            let message = format!("the source takes more than {MAX_SOURCE} bytes");
            report.at_entry(codes::RESOURCE_LIMIT, message, &folder);
            return sources;
        }
        let own = format!("code/{name}");
        let Ok(text) = String::from_utf8(text) else {
            report.at_entry(codes::SYNTAX, "the source is not UTF-8", &own);
            continue;
        };
        match parse::parse(&text) {
            Ok(file) => {
                let debug = archive.read(&format!("{entry}.debug_pkl")).unwrap_or_default();
                let lines = Lines::read(&debug, &text);
                let file = SourceFile { entry: own.as_str().into(), file, lines };
                sources.add(&module.replace('/', "."), file);
            }
            Err(error) => report.at_entry(codes::SYNTAX, error.to_string(), &own),
        }
    }
    sources
}
